/*
 * changes: what callers do to entries. Each method says what is to be done, and what its caller is told
 * when it is.
 */
#include <string.h>

#include "cached_internal.h"
#include "corbel/cached.methods.gen.h"
#include "errands.h"
#include "glob.h"

typedef Corbel__V1__CacheFoundReply FoundReply;
typedef Corbel__V1__CacheKeyRequest KeyRequest;

/* Others may have what is in a namespace that this replica has not seen. */
static bool
is_shared(const struct call *call)
{
	const struct cached *self = call_service(call);
	return self->fleet != NULL;
}

/* A namespace that nobody has used yet has nothing to change. */
static struct status
one_op(struct call *call, const char *tenant_id, const char *namespace_, struct op op, struct errand *errand)
{
	errand->ops = ARENA_NEW(call_arena(call), struct op);
	errand->ops[0] = op;
	errand->count = 1;
	return space_of_call(call, tenant_id, namespace_, is_shared(call), &errand->space);
}

static struct status
found_finish(struct call *call, const struct errand *errand)
{
	FoundReply *reply = (FoundReply *)call_reply(call);

	reply->has_found = true;
	reply->found = errand->ops[0].is_found;
	reply->has_pending = reply->pending = errand->ops[0].is_pending;
	return status_ok_value();
}

static struct status
delete_prepare(struct call *call, struct errand *errand)
{
	const KeyRequest *request = (const KeyRequest *)call_request(call);
	return one_op(call, request->tenant_id, request->namespace_, op_on(OP_DELETE, request->key), errand);
}

static struct status
expire_prepare(struct call *call, struct errand *errand)
{
	const KeyRequest *request = (const KeyRequest *)call_request(call);
	return one_op(call, request->tenant_id, request->namespace_, op_on(OP_EXPIRE, request->key), errand);
}

static struct status
touch_prepare(struct call *call, struct errand *errand)
{
	const Corbel__V1__CacheTouchRequest *request = (const Corbel__V1__CacheTouchRequest *)call_request(call);
	struct op op = op_on(OP_TOUCH, request->key);

	op.ttl_ms = request->has_ttl_ms ? request->ttl_ms : ENGINE_DEFAULT_MS;
	return one_op(call, request->tenant_id, request->namespace_, op, errand);
}

static struct status
release_prepare(struct call *call, struct errand *errand)
{
	const Corbel__V1__CacheReleaseRequest *request =
	    (const Corbel__V1__CacheReleaseRequest *)call_request(call);
	struct op op = op_on(OP_RELEASE, request->key);

	op.token = token_read(request->lease);
	return one_op(call, request->tenant_id, request->namespace_, op, errand);
}

static struct status
delete_many_prepare(struct call *call, struct errand *errand)
{
	const Corbel__V1__CacheKeysRequest *request = (const Corbel__V1__CacheKeysRequest *)call_request(call);

	errand->ops = ARENA_ARRAY(call_arena(call), struct op, request->n_keys);
	for (; errand->count < request->n_keys; errand->count++)
		errand->ops[errand->count] = op_on(OP_DELETE, request->keys[errand->count]);
	return space_of_call(call, request->tenant_id, request->namespace_, is_shared(call), &errand->space);
}

static struct status
delete_many_finish(struct call *call, const struct errand *errand)
{
	Corbel__V1__CacheCountReply *reply = (Corbel__V1__CacheCountReply *)call_reply(call);

	reply->has_found = true;
	for (size_t i = 0; i < errand->count; i++)
		reply->found += errand->ops[i].is_found;
	reply->has_pending = reply->pending = errand->count > 0 && errand->ops[0].is_pending;
	return status_ok_value();
}

static struct status
incr_prepare(struct call *call, struct errand *errand)
{
	const Corbel__V1__CacheIncrRequest *request = (const Corbel__V1__CacheIncrRequest *)call_request(call);
	struct op *op = ARENA_NEW(call_arena(call), struct op);

	op->kind = OP_INCR;
	op->incr = (struct incr){.key = request->key,
	                         .key_length = strlen(request->key),
	                         .by = request->has_by ? request->by : 1,
	                         .initial = request->initial,
	                         .ttl_ms = request->has_ttl_ms ? request->ttl_ms : ENGINE_DEFAULT_MS};
	errand->ops = op;
	errand->count = 1;
	return space_of_call(call, request->tenant_id, request->namespace_, true, &errand->space);
}

static struct status
incr_finish(struct call *call, const struct errand *errand)
{
	Corbel__V1__CacheIncrReply *reply = (Corbel__V1__CacheIncrReply *)call_reply(call);
	const struct incr *incr = &errand->ops[0].incr;

	switch (incr->outcome) {
	case INCR_NOT_A_NUMBER:
		return status_make(STATUS_FAILED_PRECONDITION, "the value is no whole number of 64 bits");
	case INCR_OVERFLOW:
		return status_make(STATUS_OUT_OF_RANGE, "the sum would need more than 64 bits");
	case INCR_TOO_LARGE:
		return status_make(STATUS_INVALID_ARGUMENT, "the entry is larger than the namespace takes");
	default:
		break;
	}
	reply->has_value = reply->has_version = true;
	reply->value = incr->value;
	reply->version = incr->version;
	return status_ok_value();
}

/* ---- many entries by one word ---- */

static struct status
check_patterns(struct call *call, const Corbel__V1__CacheInvalidateRequest *request)
{
	struct glob *glob;

	for (size_t i = 0; i < request->n_patterns; i++) {
		struct status st = glob_new(request->patterns[i], strlen(request->patterns[i]), &glob);
		if (!status_ok(&st)) {
			call_violation(call, arena_printf(call_arena(call), "/patterns/%zu", i), "%s", st.message);
			return st;
		}
		glob_free(glob);
	}
	return status_ok_value();
}

static void
add_ops(struct errand *errand, enum op_kind kind, char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		errand->ops[errand->count++] = op_on(kind, names[i]);
}

static struct status
invalidate_prepare(struct call *call, struct errand *errand)
{
	const Corbel__V1__CacheInvalidateRequest *request =
	    (const Corbel__V1__CacheInvalidateRequest *)call_request(call);
	size_t count = request->n_tags + request->n_prefixes + request->n_patterns;
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, true, &errand->space);

	if (!status_ok(&st))
		return st;
	if (count == 0 && !request->everything) {
		call_violation(call, "", "one of tags, prefixes, patterns and everything has to be there");
		return status_make(STATUS_INVALID_ARGUMENT,
		                   "one of tags, prefixes, patterns and everything has to be there");
	}
	errand->ops = ARENA_ARRAY(call_arena(call), struct op, count + 1);
	add_ops(errand, OP_GLOB, request->patterns, request->n_patterns);
	add_ops(errand, OP_TAG, request->tags, request->n_tags);
	add_ops(errand, OP_PREFIX, request->prefixes, request->n_prefixes);
	if (request->everything)
		errand->ops[errand->count++] = op_on(OP_ALL, "");
	return check_patterns(call, request);
}

static struct status
invalidate_finish(struct call *call, const struct errand *errand)
{
	Corbel__V1__CacheInvalidateReply *reply = (Corbel__V1__CacheInvalidateReply *)call_reply(call);

	reply->has_version = true;
	reply->version = errand->ops[errand->count - 1].version;
	reply->has_pending = reply->pending = errand->ops[0].is_pending;
	return status_ok_value();
}

/* ---- all of them ---- */

struct change_handler {
	struct status (*prepare)(struct call *call, struct errand *errand);
	struct status (*finish)(struct call *call, const struct errand *errand);
};

static const struct change_handler *
handler_of(const struct api_method *method)
{
	static const struct {
		const char *name;
		struct change_handler handler;
	} HANDLERS[] = {
	    {"Cache/Set", {set_prepare, set_finish}},
	    {"Cache/SetMany", {set_many_prepare, set_many_finish}},
	    {"Cache/Delete", {delete_prepare, found_finish}},
	    {"Cache/DeleteMany", {delete_many_prepare, delete_many_finish}},
	    {"Cache/Expire", {expire_prepare, found_finish}},
	    {"Cache/Touch", {touch_prepare, found_finish}},
	    {"Cache/Incr", {incr_prepare, incr_finish}},
	    {"Cache/Release", {release_prepare, found_finish}},
	    {"Cache/Invalidate", {invalidate_prepare, invalidate_finish}},
	};
	for (size_t i = 0; i < sizeof(HANDLERS) / sizeof(HANDLERS[0]); i++)
		if (strcmp(method->name, HANDLERS[i].name) == 0)
			return &HANDLERS[i].handler;
	return NULL;
}

static void
finish(struct errand *errand)
{
	struct call *call = errand->user;
	struct status st = errand->status;

	call_end(call, status_ok(&st) ? handler_of(call_method(call))->finish(call, errand) : st);
}

static struct errand *
prepare(struct call *call)
{
	struct errand *errand = ARENA_NEW(call_arena(call), struct errand);
	struct status st = handler_of(call_method(call))->prepare(call, errand);

	errand->user = call;
	errand->done = finish;
	if (status_ok(&st))
		return errand;
	call_end(call, st);
	return NULL;
}

/* Nothing is begun before all of a message is read: its calls share their memory, which whoever ends them
 * goes on to use. */
void
cache_change_batch(void *arg, struct call *calls[], size_t count)
{
	struct errand *list = NULL, **last = &list;

	for (size_t i = 0; i < count; i++) {
		struct errand *errand = prepare(calls[i]);
		if (!errand)
			continue;
		*last = errand;
		last = &errand->next;
	}
	errands_run(arg, list);
}

bool
cache_changes(const struct api_method *method)
{
	return handler_of(method) != NULL;
}
