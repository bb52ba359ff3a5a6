/*
 * fleet_trips: the round trips of one turn.
 *
 *     changes, first looks ──► second looks, changes again ──► runs of read.lua ──► more of them
 *
 * Each goes on only with what the ones before left open; mostly the first is the only one. Every namespace
 * goes its own way through them.
 */
#include "fleet_internal.h"

#define READS_MAX  64u        /* runs of read.lua in one round trip */
#define TRIP_BYTES (4u << 20) /* of values to read in one round trip, unless a single one is larger */

enum run_kind { RUN_CHANGE, RUN_LOOK, RUN_NAMES, RUN_READ };

/* Whose replies these are. */
struct run {
	enum run_kind kind;
	size_t items;
	struct errand *errand; /* of a change */
	struct op *op;
	struct inquiry *inquiry; /* of a look, and at names */
	struct read_run read;    /* of read.lua */
};

/* What a round trip asks, and what it takes to understand the answers. */
struct runs {
	struct redis_eval_item *items;
	struct run *whose;
	size_t item_count, count;
	struct inquiry *inquiries; /* of the turn */
	size_t bytes_max;          /* of an entry, in the first look */
};

/* No round trip of the turn has more than the first and the runs of read.lua: each entry is looked at there,
 * and once more at most; each namespace has one run of commands at a time. */
static void
make_room(struct turn *turn, const struct work_list *work, struct runs *runs)
{
	size_t items = READS_MAX, whose = READS_MAX, gets = 0;

	for (const struct errand *errand = work->errands; errand; errand = errand->next) {
		items += errand->count;
		whose += errand->count;
	}
	for (const struct inquiry *inquiry = runs->inquiries; inquiry; inquiry = inquiry->next) {
		items += look_items(inquiry);
		whose++;
		gets += inquiry->count;
	}
	runs->items = ARENA_ARRAY(turn->arena, struct redis_eval_item, items);
	runs->whose = ARENA_ARRAY(turn->arena, struct run, whose);
	runs->bytes_max = TRIP_BYTES / (gets + 1);
}

/* Where the next run's items go. */
static struct redis_eval_item *
free_items(const struct runs *runs)
{
	return &runs->items[runs->item_count];
}

static void
add_run(struct runs *runs, struct run run)
{
	runs->whose[runs->count++] = run;
	runs->item_count += run.items;
}

static void
add_change(struct turn *turn, struct errand *errand, struct op *op, struct runs *runs)
{
	if (op_encode(turn, errand, op, free_items(runs)))
		add_run(runs, (struct run){.kind = RUN_CHANGE, .items = 1, .errand = errand, .op = op});
}

static void
add_look(struct turn *turn, struct inquiry *inquiry, struct runs *runs)
{
	size_t items = look_items(inquiry);

	if (items == 0)
		return;
	look_encode(turn, inquiry, runs->bytes_max, free_items(runs));
	add_run(runs, (struct run){.kind = RUN_LOOK, .items = items, .inquiry = inquiry});
}

static void
add_names(struct turn *turn, struct inquiry *inquiry, struct runs *runs)
{
	size_t items = names_items(inquiry);

	if (items == 0)
		return;
	names_encode(turn, inquiry, free_items(runs));
	add_run(runs, (struct run){.kind = RUN_NAMES, .items = items, .inquiry = inquiry});
}

/* Changes, and a first look at what is to be read. */
static void
begin(struct turn *turn, const struct work_list *work, struct runs *runs)
{
	*runs = (struct runs){.inquiries = inquiries_of(turn, work->readings)};
	make_room(turn, work, runs);
	for (struct errand *errand = work->errands; errand; errand = errand->next)
		for (size_t i = 0; i < errand->count && errand->space; i++)
			add_change(turn, errand, &errand->ops[i], runs);
	for (struct inquiry *inquiry = runs->inquiries; inquiry; inquiry = inquiry->next)
		add_look(turn, inquiry, runs);
}

static size_t
count_reads(const struct runs *runs)
{
	size_t count = 0;

	for (const struct inquiry *inquiry = runs->inquiries; inquiry && count < READS_MAX;
	     inquiry = inquiry->next)
		count += reads_left(inquiry);
	return count < READS_MAX ? count : READS_MAX;
}

/* What the looks left open. Each run returns its part of a trip's bytes at most, but the first, which is of
 * the reading that waits longest, one value in any case: so all come to their end. */
static void
add_reads(struct turn *turn, struct runs *runs)
{
	size_t count = count_reads(runs);
	struct read_bounds bounds = {.bytes = TRIP_BYTES / (count > 0 ? count : 1), .has_one = true};
	struct inquiry *inquiry = runs->inquiries;

	for (size_t i = 0; i < count; i++, bounds.has_one = false) {
		struct run run = {.kind = RUN_READ, .items = 1};
		while (reads_left(inquiry) == 0)
			inquiry = inquiry->next;
		read_encode(turn, inquiry, &bounds, &run.read, free_items(runs));
		add_run(runs, run);
	}
}

/* Operations that were judged meanwhile come once more, and readings move on. */
static void
go_on(struct turn *turn, struct runs *runs)
{
	size_t before = runs->count;

	runs->count = runs->item_count = 0;
	for (size_t i = 0; i < before; i++) {
		struct run run = runs->whose[i];
		if (run.kind != RUN_CHANGE || !run.op->is_again)
			continue;
		run.op->is_again = false;
		add_change(turn, run.errand, run.op, runs);
	}
	for (struct inquiry *inquiry = runs->inquiries; inquiry; inquiry = inquiry->next)
		add_names(turn, inquiry, runs);
	add_reads(turn, runs);
}

static struct status
decode(struct turn *turn, const struct runs *runs, const struct run *run, const struct redis_reply *replies)
{
	switch (run->kind) {
	case RUN_LOOK:
		return look_decode(turn, run->inquiry, runs->bytes_max, replies);
	case RUN_NAMES:
		return names_decode(turn, run->inquiry, replies);
	case RUN_READ:
		return read_decode(turn, &run->read, replies);
	default:
		return op_decode(turn, run->errand, run->op, replies);
	}
}

static struct status
exchange(struct turn *turn, struct runs *runs)
{
	struct redis_reply *replies = ARENA_ARRAY(turn->arena, struct redis_reply, runs->item_count);
	struct status st = redis_eval_pipeline(turn->conn, runs->items, runs->item_count, turn->arena, replies);
	const struct redis_reply *at = replies;

	for (size_t i = 0; i < runs->count && status_ok(&st); i++) {
		st = decode(turn, runs, &runs->whose[i], at);
		at += runs->whose[i].items;
	}
	return st;
}

struct status
trips_run(struct fleet *fleet, const struct work_list *work, struct arena *arena)
{
	struct turn turn = {.fleet = fleet, .arena = arena};
	struct runs runs;
	struct status st = redis_take_hurried(fleet->options.redis, fleet->options.patience_ms, &turn.conn);

	if (!status_ok(&st))
		return st;
	begin(&turn, work, &runs);
	while (status_ok(&st) && runs.count > 0) {
		st = exchange(&turn, &runs);
		if (status_ok(&st))
			go_on(&turn, &runs);
	}
	redis_put(fleet->options.redis, turn.conn);
	return st;
}
