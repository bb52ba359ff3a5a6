/*
 * fleet_names: the second look at entries: what a tag or prefix has ended since they were written.
 *
 *     ZMSCORE names t… p…, for each entry   HGET meta floor
 *
 * Only for what the first look found and is older than the latest tag or prefix of its namespace. The numbers
 * are those of after the entry was read, so they cover all that was ended by then. A number that is forgotten
 * because there are too many, or because everything was ended, has raised the floor in the same change: so
 * the floor is read again behind them, and what is older is nothing.
 */
#include <string.h>

#include "fleet_internal.h"

#define NAME_BYTES 9u /* a letter and a hash */

/* ---- questions ---- */

size_t
names_items(const struct inquiry *inquiry)
{
	return inquiry->doubts > 0 ? inquiry->doubts + 1 : 0;
}

static void
add_name(struct args *args, char letter, const void *hash)
{
	char *name = arena_alloc_raw(args->arena, NAME_BYTES);

	name[0] = letter;
	memcpy(name + 1, hash, NAME_BYTES - 1);
	args_bytes(args, name, NAME_BYTES);
}

static struct redis_eval_item
names_of(struct turn *turn, const struct inquiry *inquiry, const struct wanted *wanted)
{
	const uint8_t *entry = (const uint8_t *)wanted->doubtful->text;
	uint64_t version = big_endian(entry + ENTRY_VERSION_AT, 8), prefixes[INVALIDATIONS_DEPTH_MAX + 1];
	size_t tag_count = version < inquiry->stand.tags ? entry[ENTRY_TAGS_AT] : 0, prefix_count = 0;
	struct args args = {.arena = turn->arena};

	if (version < inquiry->stand.prefixes)
		prefix_count = prefix_hashes_of(wanted->get->key, wanted->get->key_length, prefixes);
	args_text(&args, "ZMSCORE");
	args_bytes(&args, inquiry->keys.names.data, inquiry->keys.names.size);
	for (size_t i = 0; i < tag_count; i++)
		add_name(&args, 't', entry + ENTRY_HEAD + 8 * i);
	for (size_t i = 0; i < prefix_count; i++) {
		uint8_t hash[8];
		put_big_endian(hash, prefixes[i], sizeof(hash));
		add_name(&args, 'p', hash);
	}
	return args_command(&args);
}

void
names_encode(struct turn *turn, struct inquiry *inquiry, struct redis_eval_item *out)
{
	struct args floor = {.arena = turn->arena};

	for (size_t i = 0; i < inquiry->count; i++)
		if (inquiry->wanted[i].doubtful)
			*out++ = names_of(turn, inquiry, &inquiry->wanted[i]);
	args_text(&floor, "HGET");
	args_bytes(&floor, inquiry->keys.meta.data, inquiry->keys.meta.size);
	args_text(&floor, "floor");
	*out = args_command(&floor);
}

/* ---- answers ---- */

/* Whether one of them is newer than the entry. A score that is no whole number is as good as newer. */
static bool
are_newer(const struct redis_reply *scores, uint64_t version)
{
	for (size_t i = 0; i < scores->count; i++) {
		const struct redis_reply *score = &scores->elements[i];
		uint64_t number = reply_number(score);
		if (score->type != REDIS_NIL && (number == 0 || number > version))
			return true;
	}
	return false;
}

static struct status
take_one(struct turn *turn, struct inquiry *inquiry, struct wanted *wanted, uint64_t floor,
         const struct redis_reply *scores)
{
	static const struct redis_reply NOTHING = {.type = REDIS_NIL};
	const struct redis_reply *value = wanted->doubtful;
	const struct get *get = wanted->get;
	uint64_t version = big_endian(value->text + ENTRY_VERSION_AT, 8);
	bool is_ended = version < floor || are_newer(scores, version);

	wanted->doubtful = NULL;
	inquiry->doubts--;
	if (is_ended && get->may_fill && !get->has_failed)
		return status_ok_value();
	return inquiry_settle(turn, inquiry, wanted, &inquiry->stand, READ_DONE, is_ended ? &NOTHING : value);
}

struct status
names_decode(struct turn *turn, struct inquiry *inquiry, const struct redis_reply *replies)
{
	const struct redis_reply *floor = &replies[inquiry->doubts];
	struct status st = status_ok_value();

	if (floor->type != REDIS_TEXT && floor->type != REDIS_NIL)
		return status_make(STATUS_INTERNAL, "Redis did not tell where a namespace stands");
	for (size_t i = 0; i < inquiry->count && status_ok(&st); i++) {
		struct wanted *wanted = &inquiry->wanted[i];
		if (!wanted->doubtful)
			continue;
		if (replies->type != REDIS_ARRAY)
			return status_make(STATUS_INTERNAL, "Redis did not tell what a namespace's tags have ended");
		st = take_one(turn, inquiry, wanted, reply_number(floor), replies++);
	}
	return st;
}
