/*
 * fleet_read: questions for entries and leases as runs of read.lua, and its answers.
 *
 * An entry that is older than the namespace's latest pattern is compared with the patterns here, where no
 * pattern is slow; when one covers it, it is asked for again as what is not there.
 */
#include <inttypes.h>
#include <string.h>

#include "fleet_internal.h"

#define VALUES_BYTES (2u << 20) /* of one answer; the rest is asked for again */
#define FIXED_KEYS   3u
#define FIXED_FIELDS 3u /* of an answer */
#define HEAD_BYTES   40u
#define LAYOUT_AT    39u

extern const char cached_read_lua[];

static const struct redis_script READ = {.name = "cache read", .source = cached_read_lua};

enum read_code { READ_DONE, READ_GRANTED, READ_HELD, READ_LEFT_OUT };

/* ---- questions ---- */

static const char *
mode_of(const struct get *get)
{
	if (!get->may_fill || get->has_failed)
		return "0";
	return get->is_early ? "2" : "1";
}

static void
add_question(struct args *args, struct space *space, struct get *get, uint64_t lease_ms)
{
	get->token = engine_draw_token(space);
	get->lease_ms = lease_ms;
	args_text(args, mode_of(get));
	args_number(args, shared_number(get->version));
	args_number(args, shared_number(get->oldest));
	args_text(args, arena_printf(args->arena, "%016" PRIx64, get->token));
	args_number(args, lease_ms);
	args_prefixes(args, get->key, get->key_length);
}

static void
add_key(struct redis_arg *list, size_t *count, const struct space_keys *keys, const struct get *get,
        struct arena *arena)
{
	list[(*count)++] = fleet_entry_key(keys, get->key, get->key_length, arena);
	list[(*count)++] = fleet_lease_key(keys, get->key, get->key_length, arena);
}

void
reading_encode(struct turn *turn, struct reading *reading, struct redis_eval_item *out)
{
	struct arena *arena = turn->arena;
	struct redis_arg *list = ARENA_ARRAY(arena, struct redis_arg, FIXED_KEYS + 2 * reading->count);
	struct args args = {.arena = arena};
	uint64_t lease_ms = space_options(reading->space).lease_ms;
	struct space_keys keys;
	size_t count = 0;

	fleet_keys(reading->space, arena, &keys);
	list[count++] = keys.head;
	list[count++] = keys.names;
	list[count++] = keys.meta;
	struct redis_arg life = fleet_life_prefix(keys.shard, arena);
	args_bytes(&args, life.data, life.size);
	args_text(&args, turn->fleet->holder);
	args_number(&args, turn->fleet->options.holder_ms);
	args_number(&args, VALUES_BYTES);
	for (size_t i = 0; i < reading->count; i++) {
		struct get *get = &reading->gets[i];
		if (!get->is_shared)
			continue;
		add_key(list, &count, &keys, get, arena);
		add_question(&args, reading->space, get, lease_ms);
	}
	*out = (struct redis_eval_item){
	    .script = &READ, .keys = list, .key_count = count, .args = args.list, .arg_count = args.count};
}

/* ---- answers ---- */

/* False: there is none, or what is there was written by something else, or by another release. */
static bool
entry_decode(const struct redis_reply *value, uint64_t now_ms, uint64_t tags[ENGINE_TAGS_MAX],
             struct shared_answer *answer)
{
	const uint8_t *at = (const uint8_t *)value->text;
	struct entry_parts *parts = &answer->parts;

	if (value->type != REDIS_TEXT || value->size < HEAD_BYTES || at[LAYOUT_AT] != ENTRY_LAYOUT)
		return false;
	size_t tag_count = at[37], type_length = at[38], behind = HEAD_BYTES + 8 * tag_count + type_length;
	if (tag_count > ENGINE_TAGS_MAX || type_length > ENGINE_TYPE_MAX || value->size < behind)
		return false;
	uint64_t stored_ms = big_endian(at + 8, 8), fresh_ms = big_endian(at + 16, 8);
	for (size_t i = 0; i < tag_count; i++)
		tags[i] = big_endian(at + HEAD_BYTES + 8 * i, 8);
	*parts = (struct entry_parts){.version = shared_version(big_endian(at, 8)),
	                              .grace_ms = (uint32_t)big_endian(at + 24, 4),
	                              .error_grace_ms = (uint32_t)big_endian(at + 28, 4),
	                              .delta_ms = (uint32_t)big_endian(at + 32, 4),
	                              .is_negative = at[36] & 1,
	                              .type = (const char *)at + HEAD_BYTES + 8 * tag_count,
	                              .type_length = type_length,
	                              .value = at + behind,
	                              .value_length = value->size - behind,
	                              .tags = tags,
	                              .tag_count = tag_count};
	answer->fresh_left_ms = (int64_t)(fresh_ms - now_ms);
	answer->age_ms = now_ms > stored_ms ? now_ms - stored_ms : 0;
	return true;
}

static struct redis_pipeline_item
globs_question(struct turn *turn, struct space *space)
{
	struct args args = {.arena = turn->arena};
	struct space_keys keys;

	fleet_keys(space, turn->arena, &keys);
	args_text(&args, "ZRANGEBYSCORE");
	args_bytes(&args, keys.globs.data, keys.globs.size);
	args_text(&args, arena_printf(turn->arena, "(%" PRIu64, shared_number(engine_known_globs(space))));
	args_text(&args, "+inf");
	args_text(&args, "WITHSCORES");
	return (struct redis_pipeline_item){.args = args.list, .count = args.count};
}

struct status
globs_learn(struct turn *turn, struct space *space, uint64_t latest)
{
	struct redis_reply reply;

	if (engine_known_globs(space) >= latest)
		return status_ok_value();
	struct redis_pipeline_item item = globs_question(turn, space);
	struct status st = redis_command(turn->conn, item.args, item.count, turn->arena, &reply);
	if (!status_ok(&st) || reply.type != REDIS_ARRAY)
		return st;
	size_t count = reply.count / 2;
	struct shared_glob *globs = ARENA_ARRAY(turn->arena, struct shared_glob, count + 1);
	for (size_t i = 0; i < count; i++) {
		const struct redis_reply *pattern = &reply.elements[2 * i];
		uint64_t number = reply_number(&reply.elements[2 * i + 1]);
		globs[i] = (struct shared_glob){pattern->text, pattern->size, shared_version(number)};
		latest = globs[i].version > latest ? globs[i].version : latest;
	}
	engine_learn_globs(space, globs, count, latest);
	return st;
}

/* What was read at which time, the same for all keys of an answer. */
struct stand {
	uint64_t at, now_ms, globs;
};

static struct status
settle(struct turn *turn, struct reading *reading, struct get *get, const struct stand *stand,
       enum read_code code, const struct redis_reply *value)
{
	uint64_t tags[ENGINE_TAGS_MAX];
	struct shared_answer answer = {
	    .at = stand->at, .is_granted = code == READ_GRANTED, .is_held = code == READ_HELD};
	struct status st = status_ok_value();

	if (code == READ_LEFT_OUT)
		return st;
	answer.has_entry = entry_decode(value, stand->now_ms, tags, &answer);
	if (answer.has_entry && answer.parts.version < stand->globs) {
		st = globs_learn(turn, reading->space, stand->globs);
		if (!status_ok(&st))
			return st;
		if (engine_glob_covers(reading->space, get->key, get->key_length, answer.parts.version)) {
			get->oldest = answer.parts.version + shared_version(1);
			answer.has_entry = false;
			if (code == READ_DONE)
				return st;
		}
	}
	engine_settle(reading->space, get, &answer, reading->arena, &reading->has_room);
	return st;
}

struct status
reading_decode(struct turn *turn, struct reading *reading, const struct redis_reply *reply, bool *is_settled)
{
	struct status st = status_ok_value();
	size_t at = FIXED_FIELDS;

	*is_settled = true;
	if (reply->type != REDIS_ARRAY || reply->count < FIXED_FIELDS)
		return status_make(STATUS_UNAVAILABLE, "the log in Redis has not begun yet");
	const struct redis_reply *fields = reply->elements;
	struct stand stand = {shared_version(reply_number(&fields[0])), reply_number(&fields[1]),
	                      shared_version(reply_number(&fields[2]))};
	for (size_t i = 0; i < reading->count && status_ok(&st); i++) {
		struct get *get = &reading->gets[i];
		if (!get->is_shared)
			continue;
		if (at + 1 >= reply->count)
			return status_make(STATUS_INTERNAL, "Redis gave an answer that is not the script's");
		st = settle(turn, reading, get, &stand, (enum read_code)reply_number(&fields[at]), &fields[at + 1]);
		*is_settled = *is_settled && !get->is_shared;
		at += 2;
	}
	return st;
}
