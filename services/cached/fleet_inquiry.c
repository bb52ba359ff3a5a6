/*
 * fleet_inquiry: what the readings of one namespace want together, and what becomes of the answers.
 *
 * What a question costs Redis beside its key, where the namespace stands and what time it is, is paid once
 * for all that wait at that moment, whichever calls and messages they are of.
 *
 * An entry that is older than the namespace's latest pattern is compared with the patterns here, where no
 * pattern is slow; when one covers it, it is asked for again as what is not there.
 */
#include <inttypes.h>
#include <string.h>

#include "fleet_internal.h"

/* ---- together ---- */

static struct inquiry *
inquiry_of(struct turn *turn, struct inquiry **first, struct space *space)
{
	struct inquiry **at = first;

	while (*at && (*at)->space != space)
		at = &(*at)->next;
	if (*at)
		return *at;
	struct inquiry *inquiry = ARENA_NEW(turn->arena, struct inquiry);
	inquiry->space = space;
	inquiry->lease_ms = space_options(space).lease_ms;
	inquiry->keys = *turn_keys(turn, space);
	return *at = inquiry;
}

static void
want(struct turn *turn, struct inquiry *inquiry, struct wanted wanted)
{
	if (inquiry->count == inquiry->capacity) {
		size_t capacity = inquiry->capacity ? 2 * inquiry->capacity : wanted.reading->count;
		struct wanted *list = ARENA_ARRAY(turn->arena, struct wanted, capacity);
		if (inquiry->count > 0)
			memcpy(list, inquiry->wanted, inquiry->count * sizeof(list[0]));
		inquiry->wanted = list;
		inquiry->capacity = capacity;
	}
	inquiry->wanted[inquiry->count++] = wanted;
}

struct inquiry *
inquiries_of(struct turn *turn, struct reading *readings)
{
	struct inquiry *first = NULL;

	for (struct reading *reading = readings; reading; reading = reading->next) {
		struct inquiry *inquiry = inquiry_of(turn, &first, reading->space);
		for (size_t i = 0; i < reading->count; i++)
			if (reading->gets[i].is_shared)
				want(turn, inquiry, (struct wanted){.reading = reading, .get = &reading->gets[i]});
	}
	return first;
}

/* ---- patterns ---- */

static struct redis_pipeline_item
globs_question(struct turn *turn, struct space *space, const struct space_keys *keys)
{
	struct args args = {.arena = turn->arena};

	args_text(&args, "ZRANGEBYSCORE");
	args_bytes(&args, keys->globs.data, keys->globs.size);
	args_text(&args, arena_printf(turn->arena, "(%" PRIu64, shared_number(engine_known_globs(space))));
	args_text(&args, "+inf");
	args_text(&args, "WITHSCORES");
	return (struct redis_pipeline_item){.args = args.list, .count = args.count};
}

static struct redis_pipeline_item
floor_question(struct turn *turn, const struct space_keys *keys)
{
	struct args args = {.arena = turn->arena};

	args_text(&args, "HGET");
	args_bytes(&args, keys->meta.data, keys->meta.size);
	args_text(&args, "floor");
	return (struct redis_pipeline_item){.args = args.list, .count = args.count};
}

static void
learn(struct turn *turn, struct space *space, const struct redis_reply *patterns, uint64_t floor,
      uint64_t latest)
{
	size_t count = patterns->count / 2;
	struct shared_glob *globs = ARENA_ARRAY(turn->arena, struct shared_glob, count + 1);

	for (size_t i = 0; i < count; i++) {
		const struct redis_reply *pattern = &patterns->elements[2 * i];
		uint64_t number = reply_number(&patterns->elements[2 * i + 1]);
		globs[i] = (struct shared_glob){pattern->text, pattern->size, shared_version(number)};
		latest = globs[i].version > latest ? globs[i].version : latest;
	}
	engine_learn_globs(space, &(struct shared_globs){globs, count, shared_version(floor), latest});
}

struct status
globs_learn(struct turn *turn, struct space *space, uint64_t latest)
{
	struct redis_reply replies[2];

	if (engine_known_globs(space) >= latest)
		return status_ok_value();
	const struct space_keys *keys = turn_keys(turn, space);
	/* Patterns that were forgotten since `latest` was heard of have raised the floor, which is read behind
	 * them. */
	const struct redis_pipeline_item items[] = {globs_question(turn, space, keys),
	                                            floor_question(turn, keys)};
	struct status st = redis_pipeline(turn->conn, items, 2, turn->arena, replies);
	if (status_ok(&st) && (replies[0].type != REDIS_ARRAY || replies[1].type == REDIS_ERROR))
		st = status_make(STATUS_INTERNAL, "Redis did not tell the patterns of a namespace");
	if (status_ok(&st))
		learn(turn, space, &replies[0], reply_number(&replies[1]), latest);
	return st;
}

/* ---- answers ---- */

bool
entry_is_sound(const struct redis_reply *value)
{
	const uint8_t *at = (const uint8_t *)value->text;

	if (value->type != REDIS_TEXT || value->size < ENTRY_HEAD || at[ENTRY_LAYOUT_AT] != ENTRY_LAYOUT)
		return false;
	size_t tag_count = at[ENTRY_TAGS_AT], type_length = at[ENTRY_TYPE_AT];
	return tag_count <= ENGINE_TAGS_MAX && type_length <= ENGINE_TYPE_MAX &&
	       value->size >= ENTRY_HEAD + 8 * tag_count + type_length;
}

static bool
entry_decode(const struct redis_reply *value, uint64_t now_ms, uint64_t tags[ENGINE_TAGS_MAX],
             struct shared_answer *answer)
{
	const uint8_t *at = (const uint8_t *)value->text;
	struct entry_parts *parts = &answer->parts;

	if (!entry_is_sound(value))
		return false;
	size_t tag_count = at[ENTRY_TAGS_AT], type_length = at[ENTRY_TYPE_AT],
	       behind = ENTRY_HEAD + 8 * tag_count + type_length;
	uint64_t stored_ms = big_endian(at + ENTRY_STORED_AT, 8), fresh_ms = big_endian(at + ENTRY_FRESH_AT, 8);
	for (size_t i = 0; i < tag_count; i++)
		tags[i] = big_endian(at + ENTRY_HEAD + 8 * i, 8);
	*parts = (struct entry_parts){.version = shared_version(big_endian(at + ENTRY_VERSION_AT, 8)),
	                              .grace_ms = (uint32_t)big_endian(at + ENTRY_GRACE_AT, 4),
	                              .error_grace_ms = (uint32_t)big_endian(at + ENTRY_ERROR_GRACE_AT, 4),
	                              .delta_ms = (uint32_t)big_endian(at + ENTRY_DELTA_AT, 4),
	                              .is_negative = at[ENTRY_FLAGS_AT] & 1,
	                              .type = (const char *)at + ENTRY_HEAD + 8 * tag_count,
	                              .type_length = type_length,
	                              .value = at + behind,
	                              .value_length = value->size - behind,
	                              .tags = tags,
	                              .tag_count = tag_count};
	answer->fresh_left_ms = (int64_t)(fresh_ms - now_ms);
	answer->age_ms = now_ms > stored_ms ? now_ms - stored_ms : 0;
	return true;
}

/* Whether a pattern covers the entry that was found. */
static struct status
judge(struct turn *turn, struct inquiry *inquiry, struct get *get, const struct stand *stand,
      struct shared_answer *answer)
{
	uint64_t version = answer->parts.version, latest = shared_version(stand->globs);

	if (version >= latest)
		return status_ok_value();
	struct status st = globs_learn(turn, inquiry->space, latest);
	if (status_ok(&st) && engine_glob_covers(inquiry->space, get->key, get->key_length, version)) {
		get->oldest = version + shared_version(1);
		answer->has_entry = false;
	}
	return st;
}

static void
end(struct inquiry *inquiry, struct wanted *wanted, const struct shared_answer *answer)
{
	struct reading *reading = wanted->reading;

	if (reading->room)
		value_room_enter(reading->room, reading->arena);
	engine_settle(inquiry->space, wanted->get, answer, reading->arena, &reading->has_room);
	if (reading->room)
		value_room_leave(reading->room, reading->arena);
}

struct status
inquiry_settle(struct turn *turn, struct inquiry *inquiry, struct wanted *wanted, const struct stand *stand,
               enum read_code code, const struct redis_reply *value)
{
	uint64_t tags[ENGINE_TAGS_MAX];
	struct shared_answer answer = {
	    .at = shared_version(stand->seq), .is_granted = code == READ_GRANTED, .is_held = code == READ_HELD};
	struct status st = status_ok_value();

	if (code == READ_LEFT_OUT)
		return st;
	bool was_there = answer.has_entry = entry_decode(value, stand->now_ms, tags, &answer);
	if (was_there)
		st = judge(turn, inquiry, wanted->get, stand, &answer);
	bool is_open = was_there && !answer.has_entry && code == READ_DONE;
	if (status_ok(&st) && !is_open)
		end(inquiry, wanted, &answer);
	return st;
}
