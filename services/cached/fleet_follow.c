/*
 * fleet_follow: the thread that follows the logs of all shards.
 *
 * It waits for what is appended to any of them, from the latest change that it followed on: what got lost on
 * the way comes again. Every 80 ms it asks for the heads, which tells whether anything is missing and until
 * when memory may be trusted, and gives this replica's sign of life.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fleet_internal.h"

#define HEADS_MS     80u
#define PATIENCE_MS  500u /* more than it waits for changes */
#define RETRY_MS     50u
#define FIRST_MS     1000u /* for the first connection */
#define ENTRIES_MAX  256u  /* of a log at once */
#define ARENA_BLOCK  (64u << 10)
#define ENTRY_FIELDS 8u

extern const char cached_head_lua[];

static const struct redis_script HEAD = {.name = "cache head", .source = cached_head_lua};

/* ---- what the logs tell ---- */

static void
publish(struct shard *shard)
{
	atomic_store(&shard->trust.followed, shared_version(shard->follower.followed));
	atomic_store(&shard->trust.until_ms, follower_trusted_until(&shard->follower));
	if (shard->follower.synced_ms > 0)
		atomic_store(&shard->trust.heard_ms, shard->follower.synced_ms);
}

struct forgetting {
	unsigned shard;
	uint64_t version;
};

static void
forget_space(void *arg, struct space *space)
{
	const struct forgetting *forgetting = arg;

	if (fleet_shard_of(space_tenant(space), space_name(space)) == forgetting->shard)
		engine_forget_older(space, forgetting->version);
}

static void
lose(struct fleet *fleet, unsigned number)
{
	struct shard *shard = &fleet->shards[number];
	struct forgetting forgetting = {number, shared_version(shard->follower.followed)};

	engine_each_space(fleet->engine, NULL, forget_space, &forgetting);
	if (atomic_exchange(&shard->is_known, true))
		counter_add(fleet->gaps, 1);
}

/* What is in memory was good when the store was heard of last. */
static void
renew(struct fleet *fleet, unsigned number)
{
	struct shard *shard = &fleet->shards[number];

	atomic_store(&shard->trust.lost_ms, atomic_load(&shard->trust.heard_ms));
	atomic_store(&shard->trust.renewed, shared_version(shard->follower.followed));
	counter_add(fleet->renewals, 1);
}

static bool
change_of(const struct redis_reply *fields, uint64_t number, struct shared_change *change)
{
	static const struct {
		char letter;
		enum change_kind kind;
	} KINDS[] = {{'S', CHANGE_SET},    {'I', CHANGE_SET},   {'D', CHANGE_DELETE},
	             {'E', CHANGE_EXPIRE}, {'R', CHANGE_TOUCH}, {'t', CHANGE_TAG},
	             {'p', CHANGE_PREFIX}, {'g', CHANGE_GLOB},  {'a', CHANGE_ALL}};
	const struct redis_reply *kind = &fields[1], *name = &fields[5];

	*change = (struct shared_change){
	    .is_order = true, .name = name->text, .length = name->size, .version = shared_version(number)};
	for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
		if (kind->size != 1 || kind->text[0] != KINDS[i].letter)
			continue;
		change->kind = KINDS[i].kind;
		if (change->kind == CHANGE_TAG)
			change->tag = big_endian(name->text, name->size < 8 ? name->size : 8);
		return true;
	}
	return false;
}

static struct space *
space_of(struct fleet *fleet, const struct redis_reply *name, struct arena *arena)
{
	char *tenant = arena_strndup(arena, name->text, name->size), *slash = strchr(tenant, '/');

	if (!slash)
		return NULL;
	*slash = '\0';
	return engine_find_space(fleet->engine, tenant, slash + 1);
}

/* One entry of a log: its id, and names and values in turn. */
static void
follow_entry(struct fleet *fleet, struct shard *shard, const struct redis_reply *entry, struct arena *arena)
{
	struct shared_change change;

	if (entry->type != REDIS_ARRAY || entry->count != 2 || entry->elements[0].type != REDIS_TEXT ||
	    entry->elements[1].type != REDIS_ARRAY || entry->elements[1].count != ENTRY_FIELDS)
		return;
	const struct redis_reply *fields = entry->elements[1].elements;
	for (size_t i = 0; i < ENTRY_FIELDS; i++)
		if (fields[i].type != REDIS_TEXT)
			return;
	uint64_t number = strtoull(entry->elements[0].text, NULL, 10);
	if (follower_entry(&shard->follower, number, fields[7].text) != FOLLOWER_NEXT)
		return;
	struct space *space = space_of(fleet, &fields[3], arena);
	if (space && change_of(fields, number, &change))
		engine_follow(space, &change);
}

/* The shard whose log this is; NULL when it is none. */
static struct shard *
shard_of_log(struct fleet *fleet, const struct redis_reply *name)
{
	unsigned number;

	if (name->type != REDIS_TEXT || sscanf(name->text, "corbel:cache:{%2u}", &number) != 1 ||
	    number >= FLEET_SHARDS)
		return NULL;
	return &fleet->shards[number];
}

static void
follow_logs(struct fleet *fleet, const struct redis_reply *reply, struct arena *arena)
{
	for (size_t i = 0; reply->type == REDIS_ARRAY && i < reply->count; i++) {
		const struct redis_reply *log = &reply->elements[i];
		if (log->type != REDIS_ARRAY || log->count != 2)
			continue;
		struct shard *shard = shard_of_log(fleet, &log->elements[0]);
		const struct redis_reply *entries = &log->elements[1];
		for (size_t at = 0; shard && entries->type == REDIS_ARRAY && at < entries->count; at++)
			follow_entry(fleet, shard, &entries->elements[at], arena);
		if (shard)
			publish(shard);
	}
}

/* ---- asking ---- */

static struct status
wait_for_changes(struct turn *turn, uint64_t block_ms)
{
	struct args args = {.arena = turn->arena};
	struct redis_reply reply;

	args_text(&args, "XREAD");
	args_text(&args, "COUNT");
	args_number(&args, ENTRIES_MAX);
	args_text(&args, "BLOCK");
	args_number(&args, block_ms);
	args_text(&args, "STREAMS");
	for (unsigned i = 0; i < FLEET_SHARDS; i++) {
		struct redis_arg key = fleet_log_key(i, turn->arena);
		args_bytes(&args, key.data, key.size);
	}
	for (unsigned i = 0; i < FLEET_SHARDS; i++)
		args_text(&args,
		          arena_printf(turn->arena, "%" PRIu64 "-0", turn->fleet->shards[i].follower.followed));
	struct status st = redis_command(turn->conn, args.list, args.count, turn->arena, &reply);
	if (status_ok(&st))
		follow_logs(turn->fleet, &reply, turn->arena);
	return st;
}

static struct redis_eval_item
head_question(struct turn *turn, unsigned number)
{
	const struct follower *follower = &turn->fleet->shards[number].follower;
	struct redis_arg *keys = ARENA_ARRAY(turn->arena, struct redis_arg, 3);
	struct redis_arg life = fleet_life_prefix(number, turn->arena);
	struct args args = {.arena = turn->arena};
	const char *own = arena_printf(turn->arena, "%s%s", (const char *)life.data, turn->fleet->holder);

	keys[0] = fleet_head_key(number, turn->arena);
	keys[1] = fleet_log_key(number, turn->arena);
	keys[2] = (struct redis_arg){.data = own, .size = strlen(own)};
	args_hex(&args, random_u64(turn->fleet->options.random));
	args_number(&args, follower->followed);
	/* The log is compared after each loss of the connection, which may be a failover. */
	args_text(&args, follower->was_cut ? follower->mark : "");
	args_number(&args, turn->fleet->options.holder_ms);
	return (struct redis_eval_item){
	    .script = &HEAD, .keys = keys, .key_count = 3, .args = args.list, .arg_count = args.count};
}

static void
take_head(struct fleet *fleet, unsigned number, const struct redis_reply *reply, uint64_t sent_ms)
{
	struct shard *shard = &fleet->shards[number];

	if (reply->type != REDIS_ARRAY || reply->count != 4 || reply->elements[1].type != REDIS_TEXT)
		return;
	const struct redis_reply *fields = reply->elements;
	const struct follower_head head = {.number = reply_number(&fields[0]),
	                                   .name = fields[1].text,
	                                   .has_mark = reply_number(&fields[2]) == 1,
	                                   .begin = reply_number(&fields[3]),
	                                   .sent_ms = sent_ms};
	enum follower_news news = follower_head(&shard->follower, &head);
	if (news == FOLLOWER_LOST)
		lose(fleet, number);
	else if (news == FOLLOWER_RENEWED)
		renew(fleet, number);
	publish(shard);
}

static struct status
ask_for_heads(struct turn *turn, uint64_t now_ms)
{
	struct redis_eval_item items[FLEET_SHARDS];
	struct redis_reply replies[FLEET_SHARDS];

	for (unsigned i = 0; i < FLEET_SHARDS; i++)
		items[i] = head_question(turn, i);
	struct status st = redis_eval_pipeline(turn->conn, items, FLEET_SHARDS, turn->arena, replies);
	for (unsigned i = 0; i < FLEET_SHARDS && status_ok(&st); i++)
		take_head(turn->fleet, i, &replies[i], now_ms);
	return st;
}

/* ---- life ---- */

static void
tell_figures(struct fleet *fleet, uint64_t now_ms)
{
	uint64_t lag_ms = 0;
	int64_t trusted = 0;

	for (unsigned i = 0; i < FLEET_SHARDS; i++) {
		uint64_t synced_ms = fleet->shards[i].follower.synced_ms;
		uint64_t late_ms = now_ms > synced_ms ? now_ms - synced_ms : 0;
		lag_ms = late_ms > lag_ms ? late_ms : lag_ms;
		trusted += follower_trusted_until(&fleet->shards[i].follower) > now_ms;
	}
	gauge_set(fleet->lag, (int64_t)(lag_ms / 1000));
	gauge_set(fleet->trusted, trusted);
}

/* What was done meanwhile is told at once. Memory decides until it is in step again: a store that came back
 * empty would have everything asked of the origins. */
static void
be_back(struct fleet *fleet, uint64_t now_ms)
{
	bool is_in_step = true;

	for (unsigned i = 0; i < FLEET_SHARDS; i++)
		is_in_step = is_in_step && follower_trusted_until(&fleet->shards[i].follower) > now_ms;
	if (!fleet_is_alone(fleet) || !redis_is_up(fleet->options.redis))
		return;
	pending_tell(fleet->pending);
	if (!is_in_step || !pending_join(fleet->pending))
		return;
	atomic_store(&fleet->is_restoring, false);
	restock_begin(fleet, now_ms);
}

static uint64_t
wait_ms(const struct fleet *fleet, uint64_t due_ms, uint64_t now_ms)
{
	if (due_ms <= now_ms || restock_is_on(&fleet->restock))
		return 1;
	return due_ms - now_ms;
}

/* Until the connection is lost, or it is over. */
static void
follow(struct turn *turn)
{
	struct fleet *fleet = turn->fleet;
	const struct clock *clock = fleet->options.clock;
	uint64_t due_ms = 0;
	struct status st = status_ok_value();

	while (status_ok(&st) && !atomic_load(&fleet->is_ending)) {
		uint64_t now_ms = clock_mono_ms(clock);
		arena_reset(turn->arena);
		if (now_ms >= due_ms) {
			st = ask_for_heads(turn, now_ms);
			due_ms = now_ms + HEADS_MS;
			tell_figures(fleet, now_ms);
			if (status_ok(&st))
				be_back(fleet, now_ms);
		}
		now_ms = clock_mono_ms(clock);
		if (status_ok(&st) && !fleet_is_alone(fleet))
			st = restock_go_on(turn, now_ms);
		if (status_ok(&st))
			st = wait_for_changes(turn, wait_ms(fleet, due_ms, now_ms));
	}
}

static void
rest(const struct fleet *fleet)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};

	if (!atomic_load(&fleet->is_ending))
		nanosleep(&pause, NULL);
}

/* Before anybody tried there is nothing to conclude from a connection that cannot be had. */
static void
await_first_probe(struct redis *redis)
{
	struct redis_conn *conn;
	struct status st = redis_take(redis, FIRST_MS, &conn);

	if (status_ok(&st))
		redis_put(redis, conn);
}

void *
fleet_follow_main(void *arg)
{
	struct fleet *fleet = arg;
	struct turn turn = {.fleet = fleet};
	uint32_t patience_ms = PATIENCE_MS + fleet->options.patience_ms;
	struct arena arena;

	arena_init(&arena, ARENA_BLOCK, SIZE_MAX);
	turn.arena = &arena;
	await_first_probe(fleet->options.redis);
	while (!atomic_load(&fleet->is_ending)) {
		struct status st = redis_take_hurried(fleet->options.redis, patience_ms, &turn.conn);
		if (status_ok(&st)) {
			follow(&turn);
			redis_put(fleet->options.redis, turn.conn);
		} else if (st.code == STATUS_UNAVAILABLE) {
			fleet_be_alone(fleet, true);
			atomic_store(&fleet->is_restoring, false);
		}
		for (unsigned i = 0; i < FLEET_SHARDS; i++)
			follower_cut(&fleet->shards[i].follower);
		tell_figures(fleet, clock_mono_ms(fleet->options.clock));
		rest(fleet);
	}
	restock_end(&fleet->restock);
	arena_fini(&arena);
	return NULL;
}
