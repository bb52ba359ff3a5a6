/*
 * redis_codec: jobs as the argument of decide.lua, and its answer as decisions.
 *
 * The script decides and counts; what callers are told besides (what remains, when to come back) follows
 * from the counter it returns, by the same arithmetic as in memory.
 *
 * Jobs that want the same of one counter ("twins": many callers of one hot key) are one item that takes its
 * cost up to so many times. The first of them are admitted, one after the other, as if each had come alone.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "job.h"

#define ITEMS_MAX (CODEC_JOBS_MAX * TABLE_ITEMS_MAX)

__extension__ typedef unsigned __int128 wide;

#define LEADERS (2 * CODEC_JOBS_MAX) /* a power of two */

/* Which item of which job stands at a place of the script's list. */
struct place {
	struct job *job;
	size_t item;
};

struct codec {
	struct arena *arena;
	struct redis_arg keys[ITEMS_MAX];
	struct place places[ITEMS_MAX];
	struct job *leaders[LEADERS]; /* open addressing by the counter's key: jobs that others may join */
	size_t item_count, group_count;
	struct strbuf words; /* of the script's argument, but the first */
};

struct codec *
codec_new(struct arena *arena)
{
	struct codec *codec = arena_alloc_raw(arena, sizeof(*codec));
	codec->arena = arena;
	codec->item_count = codec->group_count = 0;
	memset(codec->leaders, 0, sizeof(codec->leaders));
	strbuf_init(&codec->words, arena);
	return codec;
}

static void
put_word(struct strbuf *words, uint64_t value)
{
	uint64_t bytes = htole64(value);
	strbuf_add(words, (const char *)&bytes, sizeof(bytes));
}

static unsigned
op_of(enum job_kind kind)
{
	static const unsigned OPS[] = {[JOB_TAKE] = 0,  [JOB_LOOK] = 1,   [JOB_GIVE_BACK] = 2,
	                               [JOB_RESET] = 3, [JOB_REPORT] = 4, [JOB_LEASE] = 0};
	return OPS[kind];
}

/* A report that is not bad changes nothing: it only looks. */
static unsigned
op_for(const struct job *job, const struct rule *rule)
{
	bool is_bad = job->is_throttled || (rule->latency_ms > 0 && job->latency_ms > rule->latency_ms);
	return op_of(job->kind == JOB_REPORT && !is_bad ? JOB_LOOK : job->kind);
}

static void
put_item(struct codec *codec, struct job *job, size_t i)
{
	const struct table_item *item = &job->inquiry.items[i];
	const struct rule *rule = item->rule;
	bool is_lease = job->kind == JOB_LEASE;
	const char *key = arena_printf(codec->arena, "corbel:rl:{%s}:%016llx%016llx", job->inquiry.tenant,
	                               (unsigned long long)item->key.high, (unsigned long long)item->key.low);

	codec->keys[codec->item_count] = (struct redis_arg){.data = key, .size = strlen(key)};
	codec->places[codec->item_count++] = (struct place){.job = job, .item = i};
	put_word(&codec->words, op_for(job, rule));
	put_word(&codec->words, (uint64_t)rule->strategy);
	put_word(&codec->words, rule->limit);
	put_word(&codec->words, rule->window_us);
	put_word(&codec->words, rule->burst);
	put_word(&codec->words, is_lease ? 1 : item->cost);
	put_word(&codec->words, is_lease ? item->cost : 1 + job->twin_count);
	put_word(&codec->words, rule->floor);
	put_word(&codec->words, rule->ceiling);
	put_word(&codec->words, rule->backoff_permille);
	put_word(&codec->words, rule->recover_permille);
}

/* The limits that decide together are one group; each in shadow is one of its own. */
static void
put_groups(struct codec *codec, struct job *job)
{
	size_t real = 0;

	for (size_t i = 0; i < job->inquiry.count; i++)
		real += !job->inquiry.definitions[i]->is_shadow;
	if (real > 0) {
		codec->group_count++;
		put_word(&codec->words, real);
	}
	for (size_t i = 0; i < job->inquiry.count; i++)
		if (!job->inquiry.definitions[i]->is_shadow)
			put_item(codec, job, i);
	for (size_t i = 0; i < job->inquiry.count; i++) {
		if (!job->inquiry.definitions[i]->is_shadow)
			continue;
		codec->group_count++;
		put_word(&codec->words, 1);
		put_item(codec, job, i);
	}
}

static bool
may_have_twins(const struct job *job)
{
	return job_is_simple(job) ||
	       (job->kind == JOB_LOOK && job->inquiry.count == 1 && !job->inquiry.definitions[0]->is_shadow);
}

static bool
is_twin(const struct job *a, const struct job *b)
{
	const struct table_item *x = &a->inquiry.items[0], *y = &b->inquiry.items[0];
	return a->kind == b->kind && x->cost == y->cost && x->key.low == y->key.low &&
	       x->key.high == y->key.high && rule_is_same(x->rule, y->rule) &&
	       strcmp(a->inquiry.tenant, b->inquiry.tenant) == 0;
}

/* Lists the job with those that want the same; false when it is the first of its kind. */
static bool
join_twins(struct codec *codec, struct job *job)
{
	size_t at = job->inquiry.items[0].key.low & (LEADERS - 1);

	for (; codec->leaders[at]; at = (at + 1) & (LEADERS - 1)) {
		struct job *leader = codec->leaders[at];
		if (!is_twin(leader, job))
			continue;
		*leader->last_twin = job;
		leader->last_twin = &job->twin;
		leader->twin_count++;
		return true;
	}
	codec->leaders[at] = job;
	return false;
}

void
codec_add(struct codec *codec, struct job *jobs)
{
	for (struct job *job = jobs; job; job = job->next) {
		job->is_allowed = true;
		job->twin = NULL;
		job->last_twin = &job->twin;
		job->twin_count = 0;
		job->is_counted = !may_have_twins(job) || !join_twins(codec, job);
	}
	for (struct job *job = jobs; job; job = job->next)
		if (job->is_counted)
			put_groups(codec, job);
}

const struct redis_arg *
codec_keys(const struct codec *codec, size_t *count)
{
	*count = codec->item_count;
	return codec->keys;
}

struct redis_arg
codec_arg(struct codec *codec)
{
	struct strbuf whole;

	strbuf_init(&whole, codec->arena);
	put_word(&whole, codec->group_count);
	strbuf_add(&whole, codec->words.data, codec->words.length);
	return (struct redis_arg){.data = whole.data, .size = whole.length};
}

/* ---- the answer ---- */

static uint64_t
word_at(const char *text, size_t at)
{
	uint64_t bytes;
	memcpy(&bytes, text + at * sizeof(bytes), sizeof(bytes));
	return le64toh(bytes);
}

/* A sliding log's state is its sum and three times; the log itself stays in Redis. */
static void
log_decision(const struct rule *rule, uint64_t now_us, uint64_t cost, bool is_allowed, const uint64_t s[4],
             struct decision *out)
{
	uint64_t used = s[0], last = s[1], released_by = s[2];

	memset(out, 0, sizeof(*out));
	out->quota = rule->limit;
	out->is_impossible = cost > rule->limit;
	out->is_allowed = is_allowed && !out->is_impossible;
	out->remaining = used < rule->limit ? rule->limit - used : 0;
	out->reset_us = used > 0 && last + rule->window_us > now_us ? last + rule->window_us - now_us : 0;
	if (!out->is_allowed && !out->is_impossible && released_by + rule->window_us > now_us)
		out->retry_us = released_by + rule->window_us - now_us;
}

static struct counter
counter_from(const struct rule *rule, const uint64_t s[4])
{
	struct counter counter = {.expires_us = 0};

	switch (rule->strategy) {
	case STRATEGY_FIXED_WINDOW:
	case STRATEGY_ADAPTIVE:
		counter.fixed.window = s[0];
		counter.fixed.used = s[1];
		counter.fixed.current = s[2];
		counter.fixed.calm_from = s[3];
		break;
	case STRATEGY_SLIDING_COUNTER:
		counter.sliding.window = s[0];
		counter.sliding.used = s[1];
		counter.sliding.before = s[2];
		break;
	default: {
		wide debt = (wide)s[0] * rule->window_us + s[1];
		counter.bucket.debt_low = (uint64_t)debt;
		counter.bucket.debt_high = (uint64_t)(debt >> 64);
		counter.bucket.at_us = s[2];
		break;
	}
	}
	return counter;
}

static uint64_t
delay_of(const struct rule *rule, const uint64_t s[4], uint64_t cost)
{
	wide debt = (wide)s[0] * rule->window_us + s[1], own = (wide)cost * rule->window_us;
	if (rule->strategy != STRATEGY_LEAKY_QUEUE || cost == 0 || debt <= own || rule->limit == 0)
		return 0;
	return (uint64_t)((debt - own + rule->limit - 1) / rule->limit);
}

/* What the items up to `last` want of the counter of `last`: one key may be named twice in a call. */
static uint64_t
wanted_of(const struct inquiry *inquiry, size_t last)
{
	const struct table_key *key = &inquiry->items[last].key;
	uint64_t wanted = 0;
	for (size_t i = 0; i <= last; i++)
		if (inquiry->items[i].key.high == key->high && inquiry->items[i].key.low == key->low &&
		    inquiry->definitions[i]->is_shadow == inquiry->definitions[last]->is_shadow)
			wanted += inquiry->items[i].cost;
	return wanted;
}

/* One decision about the counter as it is after it. */
static void
read_decision(struct job *job, size_t at, uint64_t now_us, bool is_allowed, const uint64_t s[4])
{
	struct table_item *item = &job->inquiry.items[at];
	const struct rule *rule = item->rule;
	bool is_shadow = job->inquiry.definitions[at]->is_shadow;
	uint64_t own = job->kind == JOB_LEASE ? 1 : item->cost;
	job->seen_us = now_us;
	uint64_t cost = is_allowed ? 0 : is_shadow || job->kind == JOB_LEASE ? own : wanted_of(&job->inquiry, at);

	if (rule->strategy == STRATEGY_SLIDING_LOG) {
		log_decision(rule, now_us, own, is_allowed, s, &item->decision);
	} else {
		struct counter counter = job->seen = counter_from(rule, s);
		counter_take(rule, &counter, now_us, cost, &item->decision);
		item->decision.is_allowed = is_allowed;
		item->decision.delay_us = is_allowed && job->kind == JOB_TAKE ? delay_of(rule, s, own) : 0;
	}
	if (is_shadow) {
		job->inquiry.was_refused[at] = !is_allowed;
		item->decision.is_allowed = true;
	} else {
		job->is_allowed = job->is_allowed && is_allowed;
	}
}

/* Where a strategy keeps the units that are used. */
static size_t
used_at(enum strategy strategy)
{
	return strategy == STRATEGY_FIXED_WINDOW || strategy == STRATEGY_ADAPTIVE ||
	       strategy == STRATEGY_SLIDING_COUNTER;
}

/* The counter's state `after` all that were granted, as each of the twins saw it. */
static void
read_twins(const struct place *place, uint64_t now_us, uint64_t granted, const uint64_t after[4])
{
	const struct table_item *item = &place->job->inquiry.items[place->item];
	size_t used = used_at(item->rule->strategy);
	uint64_t turn = 0;

	for (struct job *job = place->job; job; job = job->twin, turn++) {
		uint64_t s[4] = {after[0], after[1], after[2], after[3]};
		if (turn < granted)
			s[used] -= (granted - 1 - turn) * item->cost;
		read_decision(job, place->item, now_us, turn < granted, s);
	}
}

static void
read_item(const struct place *place, uint64_t now_us, uint64_t granted, const uint64_t s[4])
{
	struct job *job = place->job;

	if (job->kind != JOB_LEASE) {
		read_twins(place, now_us, granted, s);
		return;
	}
	job->granted = job->inquiry.definitions[0]->is_shadow ? job->inquiry.items[0].cost : granted;
	read_decision(job, place->item, now_us, granted > 0, s);
}

bool
codec_read(struct codec *codec, const struct redis_reply *reply)
{
	if (reply->type != REDIS_TEXT || reply->size != (1 + 5 * codec->item_count) * sizeof(uint64_t))
		return false;
	uint64_t now_us = word_at(reply->text, 0);
	for (size_t i = 0; i < codec->item_count; i++) {
		uint64_t granted = word_at(reply->text, 1 + 5 * i), s[4];
		for (size_t n = 0; n < 4; n++)
			s[n] = word_at(reply->text, 2 + 5 * i + n);
		read_item(&codec->places[i], now_us, granted, s);
	}
	return true;
}
