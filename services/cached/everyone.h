/*
 * everyone: what all replicas are asked by the one that a caller asked.
 */
#ifndef CORBEL_CACHED_EVERYONE_H
#define CORBEL_CACHED_EVERYONE_H

#include "cached_internal.h"

#define EVERYONE_MAX 64u /* others */

struct everyone {
	const struct api_method *method; /* internal, of this service */
	uint32_t answer_ms; /* that all have to answer, together; less if the call's time is shorter */
	/* Once for each of the others that is known. `answer`: NULL when none came in time. Both it and the name
	 * are in the arena. */
	void (*take)(void *arg, char *name, const ProtobufCMessage *answer);
	void *arg;
};

/* Asks all other replicas the same at once and waits for their answers; on a worker. The arena is used by
 * nobody else meanwhile. */
void everyone_ask(struct cached *self, const struct call *call, const struct everyone *everyone,
                  const ProtobufCMessage *request, struct arena *arena);
/* Puts a name behind others, of EVERYONE_MAX + 1 at most. */
void everyone_name(char ***names, size_t *count, char *name, struct arena *arena);

#endif
