/*
 * answer: what a child says on its channel, read as the words of an enemy.
 *
 * Bytes are fed as they come; nothing is kept beyond the run's own limits. Texts come out as UTF-8 without
 * NUL, whatever went in, and a result only when it is JSON that the rest of Corbel reads, too.
 */
#ifndef CORBEL_SANDBOXD_ANSWER_H
#define CORBEL_SANDBOXD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/text.h"
#include "runner.h"
#include "runner/wire.h"

enum answer_state {
	ANSWER_OPEN,     /* more may come */
	ANSWER_COMPLETE, /* `result` is filled in; what follows is not read */
	ANSWER_BROKEN    /* it makes no sense: `problem` says why */
};

struct answer {
	enum answer_state state;
	uint32_t log_bytes, output_bytes; /* the run's limits */
	const char *problem;
	int system_call; /* that the child's handler has named; -1: none */
	bool has_named_call;
	struct strbuf log;
	bool is_log_cut;
	uint64_t flood_bytes; /* of the log, beyond its limit */
	/* The frame that is being read. */
	struct wire_frame frame;
	size_t head_bytes; /* of `frame` that are there */
	struct strbuf payload;
	struct arena arena; /* holds `result`'s texts */
	struct runner_result result;
};

void answer_init(struct answer *answer, uint32_t log_bytes, uint32_t output_bytes);
void answer_fini(struct answer *answer);
enum answer_state answer_feed(struct answer *answer, const char *bytes, size_t size);
/* The log as text, in the answer's arena. */
const char *answer_log(struct answer *answer, size_t *size);

#endif
