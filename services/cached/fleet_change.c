/*
 * fleet_change: changes as runs of change.lua, and its answers.
 */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "fleet_internal.h"

extern const char cached_change_lua[];

static const struct redis_script CHANGE = {.name = "cache change", .source = cached_change_lua};

enum change_code {
	CODE_DONE,
	CODE_LOST,
	CODE_DIFFERS,
	CODE_ABSENT,
	CODE_NO_NUMBER,
	CODE_OVERFLOW,
	CODE_JUDGE
};

/* What an operation is on its way. */
struct op_plan {
	struct shared_plan plan;
	uint64_t oldest, judged; /* of the entry that is compared with */
	bool is_deleting;        /* the value is too large: what is there goes */
};

static const char *
kind_of(const struct op *op)
{
	static const char *const KINDS[] = {
	    [OP_SET] = "S",     [OP_DELETE] = "D", [OP_EXPIRE] = "E", [OP_TOUCH] = "T", [OP_INCR] = "I",
	    [OP_RELEASE] = "R", [OP_TAG] = "t",    [OP_PREFIX] = "p", [OP_GLOB] = "g",  [OP_ALL] = "a"};
	bool is_everything = op->kind == OP_PREFIX && prefix_hash(op->name, op->length) == 0;

	if (op->plan && op->plan->is_deleting)
		return "D";
	return is_everything ? "a" : KINDS[op->kind];
}

static void
name_of(const struct op *op, const char **name, size_t *length)
{
	*name = op->kind == OP_SET ? op->set.key : op->kind == OP_INCR ? op->incr.key : op->name;
	*length = op->kind == OP_SET    ? op->set.key_length
	          : op->kind == OP_INCR ? op->incr.key_length
	                                : op->length;
}

static bool
is_of_key(const struct op *op)
{
	return op->kind < OP_TAG;
}

/* ---- questions ---- */

static void
add_keys(struct redis_arg keys[8], const struct space_keys *space, const struct op *op, struct arena *arena)
{
	const char *name;
	size_t length;

	name_of(op, &name, &length);
	keys[0] = space->head;
	keys[1] = space->log;
	keys[2] = space->names;
	keys[3] = space->meta;
	keys[4] = space->globs;
	keys[5] = keys[6] = keys[7] = space->scratch;
	if (!is_of_key(op))
		return;
	keys[5] = fleet_entry_key(space, name, length, arena);
	keys[6] = fleet_lease_key(space, name, length, arena);
}

/* Two names: for the lookup of what covers an entry, and for the log, where everybody can read it. */
static void
add_names(struct args *args, const struct op *op)
{
	const char *name;
	size_t length;

	name_of(op, &name, &length);
	if (op->kind == OP_TAG) {
		args_hash(args, tag_hash(name, length));
		args_hash(args, tag_hash(name, length));
		return;
	}
	if (op->kind == OP_PREFIX)
		args_hash(args, prefix_hash(name, length));
	else
		args_bytes(args, name, op->kind == OP_GLOB ? length : 0);
	args_bytes(args, name, length);
}

void
args_rest(struct args *args, const struct set *set, const uint64_t *tags)
{
	size_t type_length = set->content_type ? strlen(set->content_type) : 0;
	size_t value_length = set->is_negative ? 0 : set->value_length;
	size_t size = 4 + 8 * set->tag_count + type_length + value_length;
	uint8_t *bytes = arena_alloc_raw(args->arena, size), *at = bytes + 4;

	bytes[0] = set->is_negative;
	bytes[1] = (uint8_t)set->tag_count;
	bytes[2] = (uint8_t)type_length;
	bytes[3] = ENTRY_LAYOUT;
	for (size_t i = 0; i < set->tag_count; i++, at += 8)
		put_big_endian(at, tags[i], 8);
	if (type_length > 0)
		memcpy(at, set->content_type, type_length);
	if (value_length > 0)
		memcpy(at + type_length, set->value, value_length);
	args_bytes(args, bytes, size);
}

static void
add_times(struct args *args, const struct shared_plan *plan)
{
	args_number(args, plan->ttl_ms);
	args_number(args, plan->grace_ms);
	args_number(args, plan->error_grace_ms);
}

static void
add_judged(struct args *args, const struct op_plan *plan)
{
	args_number(args, shared_number(plan->oldest));
	args_number(args, shared_number(plan->judged));
}

static void
add_set(struct args *args, const struct op *op)
{
	const struct set *set = &op->set;

	add_judged(args, op->plan);
	if (set->token || set->has_if_version)
		args_prefixes(args, set->key, set->key_length);
	else
		args_text(args, "0");
	if (set->token)
		args_hex(args, set->token);
	else
		args_text(args, "");
	if (set->has_if_version)
		args_number(args, shared_number(set->if_version));
	else
		args_text(args, "");
	add_times(args, &op->plan->plan);
	args_rest(args, set, op->plan->plan.tags);
}

static void
add_incr(struct args *args, const struct op *op)
{
	add_judged(args, op->plan);
	args_prefixes(args, op->incr.key, op->incr.key_length);
	args_text(args, arena_printf(args->arena, "%" PRId64, op->incr.by));
	args_text(args, arena_printf(args->arena, "%" PRId64, op->incr.initial));
	add_times(args, &op->plan->plan);
}

/* A version that was given out while Redis was away is nobody's any more. */
static bool
is_decided(struct op *op)
{
	if (op->kind != OP_SET || !op->set.has_if_version || !shared_is_own(op->set.if_version))
		return false;
	op->set.outcome = SET_VERSION_DIFFERS;
	op->is_done = true;
	return true;
}

static void
plan_op(struct turn *turn, struct errand *errand, struct op *op)
{
	if (op->plan || (op->kind != OP_SET && op->kind != OP_INCR))
		return;
	op->plan = ARENA_NEW(turn->arena, struct op_plan);
	if (op->kind == OP_INCR)
		engine_plan_incr(errand->space, &op->incr, &op->plan->plan);
	else
		op->plan->is_deleting = !engine_plan_set(errand->space, &op->set, &op->plan->plan);
}

bool
op_encode(struct turn *turn, struct errand *errand, struct op *op, struct redis_eval_item *out)
{
	struct args args = {.arena = turn->arena};
	struct redis_arg *list = ARENA_ARRAY(turn->arena, struct redis_arg, 8);

	if (is_decided(op))
		return false;
	plan_op(turn, errand, op);
	const struct space_keys *keys = turn_keys(turn, errand->space);
	add_keys(list, keys, op, turn->arena);
	const char *kind = kind_of(op);
	args_text(&args, kind);
	args_text(&args, keys->space);
	args_hex(&args, random_u64(turn->fleet->options.random));
	add_names(&args, op);
	if (kind[0] == 'S')
		add_set(&args, op);
	else if (kind[0] == 'I')
		add_incr(&args, op);
	else if (kind[0] == 'T')
		args_number(&args,
		            op->ttl_ms == ENGINE_DEFAULT_MS ? space_options(errand->space).ttl_ms : op->ttl_ms);
	else if (kind[0] == 'R')
		args_hex(&args, op->token);
	*out = (struct redis_eval_item){
	    .script = &CHANGE, .keys = list, .key_count = 8, .args = args.list, .arg_count = args.count};
	return true;
}

/* ---- answers ---- */

static void
follow(struct errand *errand, const struct op *op, uint64_t version)
{
	static const enum change_kind KINDS[] = {
	    [OP_SET] = CHANGE_DELETE,    [OP_DELETE] = CHANGE_DELETE, [OP_EXPIRE] = CHANGE_EXPIRE,
	    [OP_INCR] = CHANGE_SET,      [OP_RELEASE] = CHANGE_TOUCH, [OP_TAG] = CHANGE_TAG,
	    [OP_PREFIX] = CHANGE_PREFIX, [OP_GLOB] = CHANGE_GLOB,     [OP_ALL] = CHANGE_ALL};
	struct shared_change change = {.kind = KINDS[op->kind], .is_own = true, .version = version};

	name_of(op, &change.name, &change.length);
	if (op->kind == OP_TAG)
		change.tag = tag_hash(change.name, change.length);
	engine_follow(errand->space, &change);
}

static void
end_set(struct errand *errand, struct op *op, enum change_code code, uint64_t version, uint64_t more)
{
	struct set *set = &op->set;

	set->version = 0;
	if (op->plan->is_deleting) {
		set->outcome = SET_TOO_LARGE;
		follow(errand, op, version);
	} else if (code == CODE_DIFFERS) {
		set->outcome = SET_VERSION_DIFFERS;
		set->version = shared_version(more);
	} else if (code != CODE_DONE) {
		set->outcome = SET_LEASE_LOST;
		engine_refused(errand->space, set->key, set->key_length);
	} else {
		set->outcome = SET_STORED;
		set->version = version;
		engine_stored(errand->space, set, &op->plan->plan, more);
	}
}

/* `sum`: NULL when Redis told none. */
static void
end_incr(struct errand *errand, struct op *op, enum change_code code, uint64_t version,
         const struct redis_reply *sum)
{
	struct incr *incr = &op->incr;

	incr->version = version;
	incr->outcome = code == CODE_NO_NUMBER ? INCR_NOT_A_NUMBER : INCR_OVERFLOW;
	if (code != CODE_DONE || !sum || sum->type != REDIS_TEXT ||
	    !text_to_i64(sum->text, sum->size, &incr->value))
		return;
	incr->outcome = INCR_DONE;
	follow(errand, op, version);
}

/* There is an entry that only the patterns can tell about. */
static struct status
judge(struct turn *turn, struct errand *errand, struct op *op, uint64_t at, uint64_t version)
{
	struct status st = globs_learn(turn, errand->space, at);
	const char *name;
	size_t length;

	name_of(op, &name, &length);
	op->plan->judged = at;
	if (status_ok(&st) && engine_glob_covers(errand->space, name, length, version))
		op->plan->oldest = version + shared_version(1);
	return st;
}

static void
end(struct errand *errand, struct op *op, enum change_code code, uint64_t version,
    const struct redis_reply *more)
{
	op->is_found = code == CODE_DONE;
	op->version = version;
	if (op->kind == OP_SET)
		end_set(errand, op, code, version, more ? reply_number(more) : 0);
	else if (op->kind == OP_INCR)
		end_incr(errand, op, code, version, more);
	else if (op->kind == OP_TOUCH && op->is_found)
		engine_touched(errand->space, op->name, op->length, op->ttl_ms);
	else if (op->is_found || (op->kind != OP_TOUCH && op->kind != OP_RELEASE))
		follow(errand, op, version);
}

struct status
op_decode(struct turn *turn, struct errand *errand, struct op *op, const struct redis_reply *reply)
{
	if (reply->type == REDIS_ERROR)
		return status_make(STATUS_INTERNAL, "Redis refused the script: %.200s", reply->text);
	if (reply->type != REDIS_ARRAY || reply->count < 2)
		return status_make(STATUS_UNAVAILABLE, "the log in Redis has not begun yet");
	const struct redis_reply *fields = reply->elements;
	enum change_code code = (enum change_code)reply_number(&fields[0]);
	uint64_t version = shared_version(reply_number(&fields[1]));
	bool has_more = reply->count > 2;

	op->is_again = code == CODE_JUDGE && has_more;
	if (op->is_again)
		return judge(turn, errand, op, version, shared_version(reply_number(&fields[2])));
	end(errand, op, code, version, has_more ? &fields[2] : NULL);
	op->is_done = true;
	return status_ok_value();
}
