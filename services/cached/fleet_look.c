/*
 * fleet_look: the first look at entries, by plain commands, which cost Redis a tenth of a script's run.
 *
 *     TIME   HGET head   HMGET meta   GETRANGE entry, for each key
 *
 * They are one after the other, not all at one moment as in read.lua: others' changes may come between. This
 * gives nothing that the script would not have given at some moment of the call.
 *
 * Where the namespace stood is read before the entries are. An entry that is found was written before that
 * moment, and then what had ended it by then is known; or after it, and then it was the key's entry at a
 * moment of this call. What an invalidation ends between the two is given as if it had been asked for a
 * moment earlier, and whoever invalidates has no answer before that.
 *
 * What is kept in memory is kept as of the number that was read first. A change that came later has a higher
 * one: if it is known here, the guard of engine_settle() refuses the copy, and if not yet, the log ends the
 * copy.
 *
 * Nothing is decided for others: tokens are handed out by read.lua alone. What tags and prefixes have ended
 * is looked at in fleet_names.c, where an entry is older than the latest of them.
 */
#include <string.h>

#include "fleet_internal.h"

#define FIXED_ITEMS 3u

/* ---- questions ---- */

size_t
look_items(const struct inquiry *inquiry)
{
	return inquiry->count > 0 ? FIXED_ITEMS + inquiry->count : 0;
}

/* NULL at the end. */
static void
args_words(struct args *args, const char *const *words)
{
	for (; *words; words++)
		args_text(args, *words);
}

static struct redis_eval_item
time_question(struct arena *arena)
{
	struct args args = {.arena = arena};

	args_text(&args, "TIME");
	return args_command(&args);
}

static struct redis_eval_item
fields_question(struct arena *arena, const char *command, struct redis_arg key, const char *const *fields)
{
	struct args args = {.arena = arena};

	args_text(&args, command);
	args_bytes(&args, key.data, key.size);
	args_words(&args, fields);
	return args_command(&args);
}

void
look_encode(struct turn *turn, struct inquiry *inquiry, size_t bytes_max, struct redis_eval_item *out)
{
	static const char *const HEAD[] = {"seq", NULL}, *const META[] = {"floor", "tags", "prefixes", "globs",
	                                                                  NULL};
	const struct space_keys *keys = &inquiry->keys;
	struct arena *arena = turn->arena;
	const char *end = arena_printf(arena, "%zu", bytes_max - 1);

	*out++ = time_question(arena);
	*out++ = fields_question(arena, "HGET", keys->head, HEAD);
	*out++ = fields_question(arena, "HMGET", keys->meta, META);
	for (size_t i = 0; i < inquiry->count; i++) {
		const struct get *get = inquiry->wanted[i].get;
		struct redis_arg *words = ARENA_ARRAY(arena, struct redis_arg, 4);
		words[0] = (struct redis_arg){"GETRANGE", 8};
		words[1] = fleet_entry_key(keys, get->key, get->key_length, arena);
		words[2] = (struct redis_arg){"0", 1};
		words[3] = (struct redis_arg){end, strlen(end)};
		*out++ = (struct redis_eval_item){.args = words, .arg_count = 4};
	}
}

/* ---- answers ---- */

static struct status
stand_decode(const struct redis_reply replies[FIXED_ITEMS], struct stand *stand)
{
	const struct redis_reply *time = &replies[0], *head = &replies[1], *meta = &replies[2];

	if (head->type == REDIS_NIL)
		return status_make(STATUS_UNAVAILABLE, "the log in Redis has not begun yet");
	if (time->type != REDIS_ARRAY || time->count != 2 || head->type != REDIS_TEXT ||
	    meta->type != REDIS_ARRAY || meta->count != 4)
		return status_make(STATUS_INTERNAL, "Redis did not tell where a namespace stands");
	*stand = (struct stand){
	    .seq = reply_number(head),
	    .now_ms = reply_number(&time->elements[0]) * 1000 + reply_number(&time->elements[1]) / 1000,
	    .floor = reply_number(&meta->elements[0]),
	    .tags = reply_number(&meta->elements[1]),
	    .prefixes = reply_number(&meta->elements[2]),
	    .globs = reply_number(&meta->elements[3]),
	};
	return status_ok_value();
}

enum seen { SEEN_NOTHING, SEEN_FRESH, SEEN_STALE, SEEN_PART };

/* As read.lua judges, but for tags and prefixes. A part: it is longer than what was returned. */
static enum seen
judge(const struct stand *stand, const struct get *get, const struct redis_reply *value, size_t bytes_max)
{
	const uint8_t *at = (const uint8_t *)value->text;

	if (value->size == bytes_max)
		return SEEN_PART;
	if (!entry_is_sound(value))
		return SEEN_NOTHING;
	uint64_t version = big_endian(at + ENTRY_VERSION_AT, 8), fresh_ms = big_endian(at + ENTRY_FRESH_AT, 8);
	if (version < stand->floor || version < shared_number(get->oldest))
		return SEEN_NOTHING;
	return stand->now_ms < fresh_ms ? SEEN_FRESH : SEEN_STALE;
}

/* Whether a tag or prefix may have ended it. */
static bool
is_doubtful(const struct stand *stand, const struct redis_reply *value)
{
	const uint8_t *at = (const uint8_t *)value->text;
	uint64_t version = big_endian(at + ENTRY_VERSION_AT, 8);
	bool has_tags = at[ENTRY_TAGS_AT] > 0;

	return version < stand->prefixes || (has_tags && version < stand->tags);
}

/* Whether who asked is content with that, and wants no token. */
static bool
is_enough(enum seen seen, const struct get *get)
{
	bool wants_token = get->may_fill && !get->has_failed && (seen != SEEN_FRESH || get->is_early);
	return seen != SEEN_PART && !wants_token;
}

static struct status
take_one(struct turn *turn, struct inquiry *inquiry, struct wanted *wanted, size_t bytes_max,
         const struct redis_reply *value)
{
	static const struct redis_reply NOTHING = {.type = REDIS_NIL};
	enum seen seen = judge(&inquiry->stand, wanted->get, value, bytes_max);

	if (!is_enough(seen, wanted->get))
		return status_ok_value();
	if (seen != SEEN_NOTHING && is_doubtful(&inquiry->stand, value)) {
		wanted->doubtful = value;
		inquiry->doubts++;
		return status_ok_value();
	}
	return inquiry_settle(turn, inquiry, wanted, &inquiry->stand, READ_DONE,
	                      seen == SEEN_NOTHING ? &NOTHING : value);
}

struct status
look_decode(struct turn *turn, struct inquiry *inquiry, size_t bytes_max, const struct redis_reply *replies)
{
	struct status st = stand_decode(replies, &inquiry->stand);

	for (size_t i = 0; i < inquiry->count && status_ok(&st); i++) {
		const struct redis_reply *value = &replies[FIXED_ITEMS + i];
		if (value->type != REDIS_TEXT)
			return status_make(STATUS_INTERNAL, "Redis has something else in an entry's place");
		st = take_one(turn, inquiry, &inquiry->wanted[i], bytes_max, value);
	}
	return st;
}
