/*
 * errands: see errands.h.
 */
#include "errands.h"

#include <string.h>

#include "cached_internal.h"

struct op
op_on(enum op_kind kind, const char *name)
{
	return (struct op){.kind = kind, .name = name, .length = strlen(name)};
}

static void
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

void
errands_run(struct cached *self, struct errand *list)
{
	(void)self;
	for (struct errand *errand = list, *next; errand; errand = next) {
		next = errand->next;
		for (size_t i = 0; i < errand->count && errand->space; i++)
			op_run(errand->space, &errand->ops[i]);
		errand->done(errand);
	}
}
