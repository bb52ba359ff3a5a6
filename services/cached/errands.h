/*
 * errands: what is to be done to entries of a namespace, and what came of it.
 *
 * A handler says what is to be done and is called back when it is: at once where this process decides, from
 * another thread where the fleet does. Nothing here waits.
 */
#ifndef CORBEL_CACHED_ERRANDS_H
#define CORBEL_CACHED_ERRANDS_H

#include "base/status.h"
#include "engine.h"

struct cached;

enum op_kind {
	OP_SET,
	OP_DELETE,
	OP_EXPIRE,
	OP_TOUCH,
	OP_INCR,
	OP_RELEASE,
	OP_TAG,
	OP_PREFIX,
	OP_GLOB,
	OP_ALL,
};

struct op_plan;

struct op {
	enum op_kind kind;
	const char *name; /* key, tag, prefix or pattern; of a set and an incr it is in these */
	size_t length;
	struct set set;
	struct incr incr;
	uint64_t token;  /* to release */
	uint64_t ttl_ms; /* of a touch */

	bool is_found;    /* out: there was one; or the token was held */
	bool is_pending;  /* out: done here, and the other replicas are told later */
	uint64_t version; /* out: of an invalidation */

	struct op_plan *plan; /* the fleet's */
	bool is_again, is_done;
};

/* All of it is its owner's, and stays until `done` is called. */
struct errand {
	struct space *space; /* NULL: nothing is there, and nothing is done */
	struct op *ops;      /* done in this order */
	size_t count;
	void (*done)(struct errand *errand);
	void *user;
	struct status status; /* out: why nothing of it could be promised */
	struct errand *next;
};

struct op op_on(enum op_kind kind, const char *name);
/* Decides in this process. */
void op_run(struct space *space, struct op *op);
/* Runs a list of errands and calls each one's `done`, which may be before it returns. */
void errands_run(struct cached *self, struct errand *list);
/* The same with one, and waits until it is done: on threads that may. */
void errand_run_wait(struct cached *self, struct errand *errand);

#endif
