/*
 * fleet_read: what the first look left open, as runs of read.lua, and its answers.
 */
#include <string.h>

#include "fleet_internal.h"

#define KEYS_MAX     128u /* of a run, which stops Redis while it lasts */
#define FIXED_KEYS   3u
#define FIXED_FIELDS 3u /* of an answer */

extern const char cached_read_lua[];

static const struct redis_script READ = {.name = "cache read", .source = cached_read_lua};

/* ---- questions ---- */

static const char *
mode_of(const struct get *get)
{
	if (!get->may_fill || get->has_failed)
		return "0";
	return get->is_early ? "2" : "1";
}

static void
add_question(struct args *args, const struct inquiry *inquiry, struct get *get)
{
	get->token = engine_draw_token(inquiry->space);
	get->lease_ms = inquiry->lease_ms;
	args_text(args, mode_of(get));
	args_number(args, shared_number(get->version));
	args_number(args, shared_number(get->oldest));
	args_hex(args, get->token);
	args_number(args, get->lease_ms);
	args_prefixes(args, get->key, get->key_length);
}

size_t
reads_left(const struct inquiry *inquiry)
{
	size_t open = 0;

	if (inquiry->doubts > 0)
		return 0;
	for (size_t i = inquiry->read; i < inquiry->count; i++)
		open += inquiry->wanted[i].get->is_shared;
	return (open + KEYS_MAX - 1) / KEYS_MAX;
}

/* As many as one run takes of what is open, with what is between. */
static struct read_run
take_open(struct inquiry *inquiry)
{
	struct read_run run = {.inquiry = inquiry, .wanted = inquiry->wanted + inquiry->read};

	for (size_t open = 0; inquiry->read < inquiry->count && open < KEYS_MAX; inquiry->read++, run.count++)
		open += inquiry->wanted[inquiry->read].get->is_shared;
	return run;
}

void
read_encode(struct turn *turn, struct inquiry *inquiry, const struct read_bounds *bounds,
            struct read_run *run, struct redis_eval_item *out)
{
	const struct space_keys *keys = &inquiry->keys;
	struct args args = {.arena = turn->arena};
	struct redis_arg *list = ARENA_ARRAY(args.arena, struct redis_arg, FIXED_KEYS + 2 * KEYS_MAX);
	struct redis_arg life = fleet_life_prefix(keys->shard, args.arena);
	size_t count = 0;

	*run = take_open(inquiry);
	list[count++] = keys->head;
	list[count++] = keys->names;
	list[count++] = keys->meta;
	args_bytes(&args, life.data, life.size);
	args_text(&args, turn->fleet->holder);
	args_number(&args, turn->fleet->options.holder_ms);
	args_number(&args, bounds->bytes);
	args_text(&args, bounds->has_one ? "1" : "0");
	for (size_t i = 0; i < run->count; i++) {
		struct get *get = run->wanted[i].get;
		if (!get->is_shared)
			continue;
		list[count++] = fleet_entry_key(keys, get->key, get->key_length, args.arena);
		list[count++] = fleet_lease_key(keys, get->key, get->key_length, args.arena);
		add_question(&args, inquiry, get);
	}
	*out = (struct redis_eval_item){
	    .script = &READ, .keys = list, .key_count = count, .args = args.list, .arg_count = args.count};
}

/* ---- answers ---- */

struct status
read_decode(struct turn *turn, const struct read_run *run, const struct redis_reply *reply)
{
	struct status st = status_ok_value();
	size_t at = FIXED_FIELDS;

	if (reply->type == REDIS_ERROR)
		return status_make(STATUS_INTERNAL, "Redis refused the script: %.200s", reply->text);
	if (reply->type != REDIS_ARRAY || reply->count < FIXED_FIELDS)
		return status_make(STATUS_UNAVAILABLE, "the log in Redis has not begun yet");
	const struct redis_reply *fields = reply->elements;
	struct stand stand = {.seq = reply_number(&fields[0]),
	                      .now_ms = reply_number(&fields[1]),
	                      .globs = reply_number(&fields[2])};
	for (size_t i = 0; i < run->count && status_ok(&st); i++) {
		if (!run->wanted[i].get->is_shared)
			continue;
		if (at + 1 >= reply->count)
			return status_make(STATUS_INTERNAL, "Redis gave an answer that is not the script's");
		st = inquiry_settle(turn, run->inquiry, &run->wanted[i], &stand,
		                    (enum read_code)reply_number(&fields[at]), &fields[at + 1]);
		at += 2;
	}
	return st;
}
