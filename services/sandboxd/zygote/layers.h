/*
 * layers: how a child is confined, step by step, and what the host allows of it.
 *
 * What can be inherited is done once, in the zygote (namespaces, Landlock, no new privileges, the limits that
 * are the same for all); a child adds what is its own. Each layer is tried, and what comes of it is kept to
 * be reported: the policy over them is sandboxd's.
 */
#ifndef CORBEL_ZYGOTE_LAYERS_H
#define CORBEL_ZYGOTE_LAYERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runner.h"
#include "runner/wire.h"

struct layers {
	uint32_t wanted; /* bits RUNNER_LAYER() */
	struct {
		enum runner_layer_state state;
		char why[WIRE_WHY_MAX];
	} layer[RUNNER_LAYERS];
	int clone_flags;              /* namespaces that each child gets for itself */
	uint64_t address_space_bytes; /* of the warmed zygote, on top of which a run's memory is counted */
};

static inline bool
layers_has(const struct layers *layers, enum runner_layer layer)
{
	return layers->layer[layer].state == RUNNER_ACTIVE;
}
/* Notes what became of a layer; `why` as for printf. */
void layers_note(struct layers *layers, enum runner_layer layer, enum runner_layer_state state,
                 const char *why, ...) __attribute__((format(printf, 4, 5)));

/* Locks the zygote itself, after it is warm: nothing can be opened from then on. */
void layers_lock_zygote(struct layers *layers, uint32_t wanted);
/* In a child, with three descriptors open. False: a layer that the zygote has noted as active did not hold.
 */
bool layers_prepare_child(const struct layers *layers);
/* In a child, last: what the run may use, and the filter. */
bool layers_close(const struct layers *layers, const struct wire_run *run);

/* One file each. They note what they did. */
void namespaces_enter(struct layers *layers);
void landlock_deny_all(struct layers *layers);

bool seccomp_filter_load(void);

#endif
