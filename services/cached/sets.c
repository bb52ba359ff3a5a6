/*
 * sets: writing entries.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cached_internal.h"

typedef Corbel__V1__CacheSetRequest SetRequest;
typedef Corbel__V1__CacheSetReply SetReply;

static struct status
refuse(struct call *call, const char *prefix, const char *field, const char *what)
{
	const char *pointer = arena_printf(call_arena(call), "%s/%s", prefix, field);
	call_violation(call, pointer, "%s", what);
	return status_make(STATUS_INVALID_ARGUMENT, "%s: %s", pointer, what);
}

/* The value and its type, of whichever kind it is. */
static struct status
value_of(struct call *call, const char *prefix, const SetRequest *request, struct set *set)
{
	const char *type = request->content_type ? request->content_type : "";
	bool is_json_type = strncasecmp(type, "application/json", 16) == 0 && strchr("; ", type[16]);
	int others = (request->text != NULL) + (request->has_json != 0) + (request->negative != 0);
	/* An empty body of HTTP is no value beside another one. */
	bool has_value = request->has_value && (request->value.len > 0 || others == 0);

	if (has_value + others != 1)
		return refuse(call, prefix, "value",
		              "one of value, text, json and negative has to be there, and one only");
	if (request->has_json && type[0] && !is_json_type)
		return refuse(call, prefix, "content_type", "must be left out beside json");
	if (!request->has_json && is_json_type)
		return refuse(call, prefix, "content_type", "of JSON is for json, which is checked");
	set->content_type = request->has_json           ? "application/json"
	                    : request->text && !type[0] ? "text/plain; charset=utf-8"
	                                                : type;
	set->value = request->has_json ? request->json.data : request->value.data;
	set->value_length = request->has_json ? request->json.len : request->value.len;
	if (request->text) {
		set->value = request->text;
		set->value_length = strlen(request->text);
	}
	set->is_negative = request->negative;
	return status_ok_value();
}

static struct status
set_init(struct call *call, const char *prefix, const SetRequest *request, struct set *set)
{
	*set = (struct set){
	    .key = request->key,
	    .key_length = strlen(request->key),
	    .tags = (const char *const *)request->tags,
	    .tag_count = request->n_tags,
	    .ttl_ms = request->has_ttl_ms ? request->ttl_ms : ENGINE_DEFAULT_MS,
	    .grace_ms = request->has_grace_ms ? request->grace_ms : ENGINE_DEFAULT_MS,
	    .error_grace_ms = request->has_error_grace_ms ? request->error_grace_ms : ENGINE_DEFAULT_MS,
	    .token = token_read(request->lease),
	    .has_if_version = request->has_if_version,
	    .if_version = request->if_version,
	};
	/* No token is 0, so one that says so was never handed out. */
	if (request->lease && set->token == 0)
		return refuse(call, prefix, "lease", "is not one that was given out");
	return value_of(call, prefix, request, set);
}

/* Why it was not kept; OK when it was. */
static struct status
outcome_of(const struct space *space, const struct set *set)
{
	const struct space_options options = space_options(space);

	switch (set->outcome) {
	case SET_LEASE_LOST:
		return status_make(
		    STATUS_ABORTED,
		    "the lease is not good any more: something was written or invalidated since, or it "
		    "took too long");
	case SET_VERSION_DIFFERS:
		return status_make(STATUS_FAILED_PRECONDITION, "the version is %llu, not %llu",
		                   (unsigned long long)set->version, (unsigned long long)set->if_version);
	case SET_TOO_LARGE:
		return status_make(STATUS_INVALID_ARGUMENT,
		                   "the value has %zu bytes; the namespace takes %u, and no more than its share of "
		                   "the cache",
		                   set->value_length, options.value_max);
	default:
		return status_ok_value();
	}
}

struct status
set_prepare(struct call *call, struct errand *errand)
{
	const SetRequest *request = (const SetRequest *)call_request(call);
	struct op *op = ARENA_NEW(call_arena(call), struct op);
	struct status st = space_of_call(call, request->tenant_id, request->namespace_ ? request->namespace_ : "",
	                                 true, &errand->space);

	op->kind = OP_SET;
	errand->ops = op;
	errand->count = 1;
	return status_ok(&st) ? set_init(call, "", request, &op->set) : st;
}

struct status
set_finish(struct call *call, const struct errand *errand)
{
	const struct set *set = &errand->ops[0].set;
	SetReply *reply = (SetReply *)call_reply(call);
	struct status st = outcome_of(errand->space, set);

	if (set->outcome == SET_TOO_LARGE)
		call_violation(call, "/value", "%s", st.message);
	reply->key = (char *)(uintptr_t)set->key;
	reply->has_stored = reply->stored = true;
	reply->has_version = true;
	reply->version = set->version;
	reply->has_pending = reply->pending = errand->ops[0].is_pending;
	return st;
}

static SetReply *
reply_of(struct call *call, const struct space *space, const struct op *op)
{
	const struct set *set = &op->set;
	SetReply *reply = ARENA_NEW(call_arena(call), SetReply);
	struct status st = outcome_of(space, set);

	corbel__v1__cache_set_reply__init(reply);
	reply->key = (char *)(uintptr_t)set->key;
	reply->has_stored = true;
	reply->stored = status_ok(&st);
	reply->has_version = set->version != 0;
	reply->version = set->version;
	reply->has_pending = reply->pending = op->is_pending;
	if (!status_ok(&st))
		reply->reason = arena_strdup(call_arena(call), st.message);
	return reply;
}

static struct status
set_one(struct call *call, const Corbel__V1__CacheSetManyRequest *request, size_t i, struct op *op)
{
	const char *prefix = arena_printf(call_arena(call), "/entries/%zu", i);
	const SetRequest *entry = request->entries[i];

	op->kind = OP_SET;
	if (entry->namespace_ && strcmp(entry->namespace_, request->namespace_) != 0)
		return refuse(call, prefix, "namespace", "must be that of the request, or be left out");
	return set_init(call, prefix, entry, &op->set);
}

struct status
set_many_prepare(struct call *call, struct errand *errand)
{
	const Corbel__V1__CacheSetManyRequest *request =
	    (const Corbel__V1__CacheSetManyRequest *)call_request(call);
	struct status st = space_of_call(call, request->tenant_id, request->namespace_, true, &errand->space);

	errand->ops = ARENA_ARRAY(call_arena(call), struct op, request->n_entries);
	for (; errand->count < request->n_entries && status_ok(&st); errand->count++)
		st = set_one(call, request, errand->count, &errand->ops[errand->count]);
	return st;
}

struct status
set_many_finish(struct call *call, const struct errand *errand)
{
	Corbel__V1__CacheSetManyReply *reply = (Corbel__V1__CacheSetManyReply *)call_reply(call);

	reply->entries = ARENA_ARRAY(call_arena(call), SetReply *, errand->count);
	for (; reply->n_entries < errand->count; reply->n_entries++)
		reply->entries[reply->n_entries] = reply_of(call, errand->space, &errand->ops[reply->n_entries]);
	return status_ok_value();
}
