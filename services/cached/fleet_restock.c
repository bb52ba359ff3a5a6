/*
 * fleet_restock: after an outage, what this replica holds is put into Redis again where nothing fresh is.
 *
 * While Redis was away every replica had values made for itself, and Redis may have lost what it had. If they
 * stayed where they are, the first replica whose copy ends would have the value made anew for all, and a key
 * would last as long as the shortest of its copies: the origins were asked too often, and in step. So the
 * first replica to come by puts its copy in, and the others take that when theirs ends.
 *
 * It is the following thread that does it, between two looks at the log: a copy is put in only if this
 * replica knows of every change in the log, which the script sees to.
 */
#include <string.h>

#include "fleet_internal.h"

#define RESTOCK_MS 30000u
#define PLACES     128u        /* of a space that are looked at together */
#define LOOKS      64u         /* in one turn, when there is nothing to put in */
#define VALUE_MAX  (64u << 10) /* a larger one is made anew */

extern const char cached_restock_lua[];

static const struct redis_script RESTOCK = {.name = "cache restock", .source = cached_restock_lua};

/* ---- which spaces ---- */

static void
add_space(void *arg, struct space *space)
{
	struct restock *restock = arg;

	restock->spaces = mem_resize(restock->spaces, restock->count + 1, sizeof(struct space *));
	restock->spaces[restock->count++] = space;
}

void
restock_end(struct restock *restock)
{
	mem_free(restock->spaces);
	*restock = (struct restock){.count = 0};
}

void
restock_begin(struct fleet *fleet, uint64_t now_ms)
{
	restock_end(&fleet->restock);
	engine_each_space(fleet->engine, NULL, add_space, &fleet->restock);
	fleet->restock.end_ms = now_ms + RESTOCK_MS;
}

bool
restock_is_on(const struct restock *restock)
{
	return restock->at < restock->count;
}

/* ---- one run ---- */

struct batch {
	const struct trust *trust;
	struct space_keys keys;
	struct redis_arg list[2 + PLACES];
	size_t count; /* of `list` */
	struct args args;
};

/* Whether Redis may not have it. */
static bool
is_missing(const struct batch *batch, const struct kept_entry *entry)
{
	return shared_is_own(entry->set.version) || entry->set.version < atomic_load(&batch->trust->renewed);
}

static void
add_entry(void *arg, const struct kept_entry *entry)
{
	struct batch *batch = arg;
	const struct set *set = &entry->set;

	if (entry->past.fresh_ms <= 0 || set->value_length > VALUE_MAX || !is_missing(batch, entry))
		return;
	batch->list[batch->count++] = fleet_entry_key(&batch->keys, set->key, set->key_length, batch->args.arena);
	args_number(&batch->args, entry->past.age_ms);
	args_number(&batch->args, (uint64_t)entry->past.fresh_ms);
	args_number(&batch->args, set->grace_ms);
	args_number(&batch->args, set->error_grace_ms);
	args_number(&batch->args, entry->past.delta_ms);
	args_rest(&batch->args, set, set->tag_hashes);
}

static void
begin(struct turn *turn, struct space *space, struct batch *batch)
{
	*batch = (struct batch){.args.arena = turn->arena, .count = 2};
	fleet_keys(space, turn->arena, &batch->keys);
	const struct shard *shard = &turn->fleet->shards[batch->keys.shard];
	batch->trust = &shard->trust;
	batch->list[0] = batch->keys.head;
	batch->list[1] = batch->keys.log;
	args_number(&batch->args, shard->follower.followed);
	args_text(&batch->args, shard->follower.name);
	args_text(&batch->args, batch->keys.space);
	args_hex(&batch->args, random_u64(turn->fleet->options.random));
}

/* False: a change came in between; the same places are to be looked at once more. */
static struct status
put_in(struct turn *turn, const struct batch *batch, bool *is_done)
{
	struct redis_eval_item item = {.script = &RESTOCK,
	                               .keys = batch->list,
	                               .key_count = batch->count,
	                               .args = batch->args.list,
	                               .arg_count = batch->args.count};
	struct redis_reply reply;
	struct status st = redis_eval_pipeline(turn->conn, &item, 1, turn->arena, &reply);

	*is_done = status_ok(&st) && reply.type == REDIS_INTEGER && reply.integer >= 0;
	if (*is_done)
		counter_add(turn->fleet->restocked, (uint64_t)reply.integer);
	return st;
}

/* Looks at places until some have something, and puts that in. */
struct status
restock_go_on(struct turn *turn, uint64_t now_ms)
{
	struct restock *restock = &turn->fleet->restock;
	struct status st = status_ok_value();
	struct batch batch;

	for (unsigned looks = 0; status_ok(&st) && restock_is_on(restock) && looks < LOOKS; looks++) {
		uint64_t cursor = restock->cursor;
		bool is_done = true;
		begin(turn, restock->spaces[restock->at], &batch);
		bool is_more = engine_each_entry(restock->spaces[restock->at], &cursor, PLACES, add_entry, &batch);
		bool has_some = batch.count > 2;
		if (has_some)
			st = put_in(turn, &batch, &is_done);
		if (is_done) {
			restock->cursor = is_more ? cursor : 0;
			restock->at += !is_more;
		}
		if (has_some)
			break;
	}
	if (!restock_is_on(restock) || now_ms > restock->end_ms)
		restock_end(restock);
	return st;
}
