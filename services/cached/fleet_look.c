/*
 * fleet_look: the first look at entries, by plain commands, which cost Redis a tenth of a script's run.
 *
 *     TIME   HGET head   HMGET meta   GETRANGE entry, for each key
 *
 * They are one after the other, not all at one moment as in read.lua: others' changes may come between. This
 * gives nothing that the script would not have given:
 *
 * - Where the namespace stood is read before the entries are. An entry that is found was written before that
 *   moment, and then what covered it by then is known and holds; or after it, and then it was the entry of
 * that key at a moment of this call. What an invalidation ends between the two is given as if it had been
 * asked for a moment earlier; the one who invalidates has no answer before that moment.
 * - What is kept in memory is kept as of the number that was read first. A change that came later has a
 * higher one, so the guard of engine_settle() refuses the copy if the change is known here, and the log ends
 * the copy if it is not yet.
 * - Nothing is decided for others: a token is handed out, and what tags and prefixes cover is compared, by
 * read.lua alone, which is asked for whatever is left open here.
 */
#include <string.h>

#include "fleet_internal.h"

#define HEAD_BYTES  40u /* an entry's, see change.lua */
#define FIXED_ITEMS 3u

/* ---- questions ---- */

size_t
look_items(const struct inquiry *inquiry)
{
	return inquiry->count > 0 ? FIXED_ITEMS + inquiry->count : 0;
}

static struct redis_arg
word(const char *text)
{
	return (struct redis_arg){.data = text, .size = strlen(text)};
}

static struct redis_eval_item
command(struct arena *arena, const struct redis_arg *words, size_t count)
{
	struct redis_arg *args = ARENA_ARRAY(arena, struct redis_arg, count);

	memcpy(args, words, count * sizeof(args[0]));
	return (struct redis_eval_item){.args = args, .arg_count = count};
}

void
look_encode(struct turn *turn, struct inquiry *inquiry, size_t bytes_max, struct redis_eval_item *out)
{
	const struct space_keys *keys = &inquiry->keys;
	struct arena *arena = turn->arena;
	const struct redis_arg time[] = {word("TIME")};
	const struct redis_arg head[] = {word("HGET"), keys->head, word("seq")};
	const struct redis_arg meta[] = {word("HMGET"), keys->meta,       word("floor"),
	                                 word("tags"),  word("prefixes"), word("globs")};
	struct redis_arg entry[] = {word("GETRANGE"), {0}, word("0"), {0}};

	*out++ = command(arena, time, 1);
	*out++ = command(arena, head, 3);
	*out++ = command(arena, meta, 6);
	entry[3] = word(arena_printf(arena, "%zu", bytes_max - 1));
	for (size_t i = 0; i < inquiry->count; i++) {
		const struct get *get = inquiry->wanted[i].get;
		entry[1] = fleet_entry_key(keys, get->key, get->key_length, arena);
		*out++ = command(arena, entry, 4);
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

enum seen { SEEN_NOTHING, SEEN_FRESH, SEEN_STALE, SEEN_UNSURE };

/* As read.lua judges. Unsure: it is longer than what was returned, or a tag or prefix may cover it. */
static enum seen
judge(const struct stand *stand, const struct get *get, const struct redis_reply *value, size_t bytes_max)
{
	const uint8_t *at = (const uint8_t *)value->text;

	if (value->size == bytes_max)
		return SEEN_UNSURE;
	if (value->size < HEAD_BYTES || at[39] != ENTRY_LAYOUT)
		return SEEN_NOTHING;
	uint64_t version = big_endian(at, 8), fresh_ms = big_endian(at + 16, 8);
	if (version < stand->floor || version < shared_number(get->oldest))
		return SEEN_NOTHING;
	bool has_tags = at[37] > 0;
	if (version < stand->prefixes || (has_tags && version < stand->tags))
		return SEEN_UNSURE;
	return stand->now_ms < fresh_ms ? SEEN_FRESH : SEEN_STALE;
}

/* Whether who asked is content with that, and wants no token. */
static bool
is_enough(enum seen seen, const struct get *get)
{
	bool wants_token = get->may_fill && !get->has_failed && (seen != SEEN_FRESH || get->is_early);
	return seen != SEEN_UNSURE && !wants_token;
}

struct status
look_decode(struct turn *turn, struct inquiry *inquiry, size_t bytes_max, const struct redis_reply *replies)
{
	static const struct redis_reply NOTHING = {.type = REDIS_NIL};
	struct stand stand;
	struct status st = stand_decode(replies, &stand);

	for (size_t i = 0; i < inquiry->count && status_ok(&st); i++) {
		struct wanted *wanted = &inquiry->wanted[i];
		const struct redis_reply *value = &replies[FIXED_ITEMS + i];
		if (value->type != REDIS_TEXT)
			return status_make(STATUS_INTERNAL, "Redis has something else in an entry's place");
		enum seen seen = judge(&stand, wanted->get, value, bytes_max);
		if (is_enough(seen, wanted->get))
			st = inquiry_settle(turn, inquiry, wanted, &stand, READ_DONE,
			                    seen == SEEN_NOTHING ? &NOTHING : value);
	}
	return st;
}
