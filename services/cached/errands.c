/*
 * errands: see errands.h.
 */
#include "errands.h"

#include <pthread.h>
#include <string.h>

#include "cached_internal.h"
#include "fleet.h"

struct op
op_on(enum op_kind kind, const char *name)
{
	return (struct op){.kind = kind, .name = name, .length = strlen(name)};
}

void
op_run(struct space *space, struct op *op)
{
	switch (op->kind) {
	case OP_SET:
		engine_set(space, &op->set, 1);
		break;
	case OP_DELETE:
		op->is_found = engine_delete(space, op->name, op->length);
		break;
	case OP_EXPIRE:
		op->is_found = engine_expire(space, op->name, op->length);
		break;
	case OP_TOUCH:
		op->is_found = engine_touch(space, op->name, op->length, op->ttl_ms);
		break;
	case OP_INCR:
		engine_incr(space, &op->incr);
		break;
	case OP_RELEASE:
		op->is_found = engine_release(space, op->name, op->length, op->token);
		break;
	case OP_TAG:
		op->version = engine_invalidate_tag(space, op->name, op->length);
		break;
	case OP_PREFIX:
		op->version = engine_invalidate_prefix(space, op->name, op->length);
		break;
	case OP_GLOB:
		(void)engine_invalidate_glob(space, op->name, op->length, &op->version);
		break;
	case OP_ALL:
		op->version = engine_invalidate_all(space);
		break;
	}
}

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool is_done;
};

static void
note_done(struct errand *errand)
{
	struct waiter *waiter = errand->user;

	pthread_mutex_lock(&waiter->lock);
	waiter->is_done = true;
	pthread_cond_signal(&waiter->wake);
	pthread_mutex_unlock(&waiter->lock);
}

void
errand_run_wait(struct cached *self, struct errand *errand)
{
	struct waiter waiter = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

	errand->done = note_done;
	errand->user = &waiter;
	errands_run(self, errand);
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.is_done)
		pthread_cond_wait(&waiter.wake, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
	pthread_cond_destroy(&waiter.wake);
	pthread_mutex_destroy(&waiter.lock);
}

void
errands_run(struct cached *self, struct errand *list)
{
	if (self->fleet) {
		fleet_change(self->fleet, list);
		return;
	}
	for (struct errand *errand = list, *next; errand; errand = next) {
		next = errand->next;
		for (size_t i = 0; i < errand->count && errand->space; i++)
			op_run(errand->space, &errand->ops[i]);
		errand->done(errand);
	}
}
