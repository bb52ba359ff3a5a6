/*
 * redis_codec: jobs as the arguments of decide.lua, and its answer as decisions.
 *
 * The script decides and counts; what callers are told besides (what remains, when to come back) follows
 * from the counter it returns, by the same arithmetic as in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "job.h"

#define ITEMS_MAX (CODEC_JOBS_MAX * TABLE_ITEMS_MAX)

__extension__ typedef unsigned __int128 wide;

/* Which item of which job stands at a place of the script's list. */
struct place {
	struct job *job;
	size_t item;
};

struct codec {
	struct arena *arena;
	struct redis_arg keys[ITEMS_MAX];
	struct place places[ITEMS_MAX];
	size_t item_count, group_count;
	struct strbuf words; /* all arguments but the first, separated by NUL */
	size_t word_count;
};

struct codec *
codec_new(struct arena *arena)
{
	struct codec *codec = arena_alloc_raw(arena, sizeof(*codec));
	codec->arena = arena;
	codec->item_count = codec->group_count = codec->word_count = 0;
	strbuf_init(&codec->words, arena);
	return codec;
}

static void
put_word(struct codec *codec, uint64_t value)
{
	strbuf_u64(&codec->words, value);
	strbuf_putc(&codec->words, '\0');
	codec->word_count++;
}

static unsigned
op_of(enum job_kind kind)
{
	static const unsigned OPS[] = {[JOB_TAKE] = 0,  [JOB_LOOK] = 1,   [JOB_GIVE_BACK] = 2,
	                               [JOB_RESET] = 3, [JOB_REPORT] = 4, [JOB_LEASE] = 5};
	return OPS[kind];
}

/* A report that is not bad changes nothing: it only looks. A lease of what cannot be leased, too. */
static unsigned
op_for(const struct job *job, const struct rule *rule)
{
	bool is_bad = job->is_throttled || (rule->latency_ms > 0 && job->latency_ms > rule->latency_ms);
	if ((job->kind == JOB_REPORT && !is_bad) || (job->kind == JOB_LEASE && !job_is_leasable(job)))
		return op_of(JOB_LOOK);
	return op_of(job->kind);
}

static void
put_item(struct codec *codec, struct job *job, size_t i)
{
	const struct table_item *item = &job->inquiry.items[i];
	const struct rule *rule = item->rule;
	const char *key = arena_printf(codec->arena, "corbel:rl:{%s}:%016llx%016llx", job->inquiry.tenant,
	                               (unsigned long long)item->key.high, (unsigned long long)item->key.low);

	codec->keys[codec->item_count] = (struct redis_arg){.data = key, .size = strlen(key)};
	codec->places[codec->item_count++] = (struct place){.job = job, .item = i};
	put_word(codec, op_for(job, rule));
	put_word(codec, (uint64_t)rule->strategy);
	put_word(codec, rule->limit);
	put_word(codec, rule->window_us);
	put_word(codec, rule->burst);
	put_word(codec, item->cost);
	put_word(codec, rule->floor);
	put_word(codec, rule->ceiling);
	put_word(codec, rule->backoff_permille);
	put_word(codec, rule->recover_permille);
}

/* The limits that decide together are one group; each in shadow is one of its own. */
void
codec_add(struct codec *codec, struct job *job)
{
	size_t real = 0;

	job->is_allowed = true;
	for (size_t i = 0; i < job->inquiry.count; i++)
		real += !job->inquiry.definitions[i]->is_shadow;
	if (real > 0) {
		codec->group_count++;
		put_word(codec, real);
	}
	for (size_t i = 0; i < job->inquiry.count; i++)
		if (!job->inquiry.definitions[i]->is_shadow)
			put_item(codec, job, i);
	for (size_t i = 0; i < job->inquiry.count; i++) {
		if (!job->inquiry.definitions[i]->is_shadow)
			continue;
		codec->group_count++;
		put_word(codec, 1);
		put_item(codec, job, i);
	}
}

const struct redis_arg *
codec_keys(const struct codec *codec, size_t *count)
{
	*count = codec->item_count;
	return codec->keys;
}

const struct redis_arg *
codec_args(struct codec *codec, size_t *count)
{
	struct redis_arg *args = ARENA_ARRAY(codec->arena, struct redis_arg, codec->word_count + 1);
	const char *first = arena_printf(codec->arena, "%zu", codec->group_count), *at = codec->words.data;

	args[0] = (struct redis_arg){.data = first, .size = strlen(first)};
	for (size_t i = 1; i <= codec->word_count; i++) {
		size_t length = strlen(at);
		args[i] = (struct redis_arg){.data = at, .size = length};
		at += length + 1;
	}
	*count = codec->word_count + 1;
	return args;
}

/* ---- the answer ---- */

static bool
number_of(const struct redis_reply *reply, uint64_t *out)
{
	return reply->type == REDIS_TEXT && text_to_u64(reply->text, reply->size, out);
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

static void
read_item(const struct place *place, uint64_t now_us, bool is_allowed, uint64_t s[4])
{
	struct job *job = place->job;
	struct table_item *item = &job->inquiry.items[place->item];
	const struct rule *rule = item->rule;
	bool is_shadow = job->inquiry.definitions[place->item]->is_shadow;

	if (job->kind == JOB_LEASE) {
		job->granted = job_is_leasable(job) ? s[3] : 0;
		if (rule->strategy == STRATEGY_FIXED_WINDOW)
			s[3] = 0;
	}
	uint64_t cost = is_allowed ? 0 : is_shadow ? item->cost : wanted_of(&job->inquiry, place->item);
	if (rule->strategy == STRATEGY_SLIDING_LOG) {
		log_decision(rule, now_us, item->cost, is_allowed, s, &item->decision);
	} else {
		struct counter counter = counter_from(rule, s);
		counter_take(rule, &counter, now_us, cost, &item->decision);
		item->decision.is_allowed = is_allowed;
		item->decision.delay_us = is_allowed && job->kind == JOB_TAKE ? delay_of(rule, s, item->cost) : 0;
	}
	if (is_shadow) {
		job->inquiry.was_refused[place->item] = !is_allowed;
		item->decision.is_allowed = true;
	} else {
		job->is_allowed = job->is_allowed && is_allowed;
	}
}

bool
codec_read(struct codec *codec, const struct redis_reply *reply)
{
	uint64_t now_us;

	if (reply->type != REDIS_ARRAY || reply->count != 1 + 5 * codec->item_count ||
	    !number_of(&reply->elements[0], &now_us))
		return false;
	for (size_t i = 0; i < codec->item_count; i++) {
		const struct redis_reply *at = &reply->elements[1 + 5 * i];
		uint64_t s[4];
		for (int n = 0; n < 4; n++)
			if (!number_of(&at[1 + n], &s[n]))
				return false;
		if (at[0].type != REDIS_INTEGER)
			return false;
		read_item(&codec->places[i], now_us, at[0].integer != 0, s);
	}
	return true;
}
