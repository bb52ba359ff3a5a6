/*
 * strategy: see strategy.h. One function a kind; each first brings the counter up to `now`.
 */
#include "strategy.h"

#include <string.h>

#include "admission_log.h"

__extension__ typedef unsigned __int128 wide;

static uint64_t
divide_up(wide numerator, uint64_t denominator)
{
	wide result = (numerator + denominator - 1) / denominator;
	return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

static uint64_t
minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

bool
rule_is_same(const struct rule *a, const struct rule *b)
{
	return a == b || (a->strategy == b->strategy && a->limit == b->limit && a->window_us == b->window_us &&
	                  a->burst == b->burst && a->floor == b->floor && a->ceiling == b->ceiling &&
	                  a->backoff_permille == b->backoff_permille &&
	                  a->recover_permille == b->recover_permille && a->latency_ms == b->latency_ms);
}

/* ---- fixed window and adaptive ---- */

static uint64_t
clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

/* Limit in force: an adaptive one has recovered by a step for each calm window. */
static uint64_t
limit_in_force(const struct rule *rule, const struct counter *counter, uint64_t window)
{
	if (rule->strategy != STRATEGY_ADAPTIVE)
		return rule->limit;
	if (counter->fixed.current == 0)
		return clamp(rule->limit, rule->floor, rule->ceiling);
	uint64_t calm = minus(window, counter->fixed.calm_from);
	wide step = ((wide)rule->ceiling * rule->recover_permille + 999) / 1000;
	wide limit = (wide)(counter->fixed.current - 1) + step * calm;
	return limit > rule->ceiling ? rule->ceiling : clamp((uint64_t)limit, rule->floor, rule->ceiling);
}

static uint64_t
fixed_now(const struct rule *rule, struct counter *counter, uint64_t now_us)
{
	if (counter->fixed.window > now_us / rule->window_us + 1)
		counter->fixed.window = now_us / rule->window_us; /* written by a clock that had jumped ahead */
	uint64_t start = counter->fixed.window * rule->window_us;
	if (now_us < start)
		now_us = start;
	if (now_us / rule->window_us > counter->fixed.window) {
		counter->fixed.window = now_us / rule->window_us;
		counter->fixed.used = 0;
	}
	return now_us;
}

static void
take_fixed(const struct rule *rule, struct counter *counter, uint64_t now_us, uint64_t cost,
           struct decision *out)
{
	now_us = fixed_now(rule, counter, now_us);
	uint64_t limit = limit_in_force(rule, counter, counter->fixed.window);
	uint64_t highest = rule->strategy == STRATEGY_ADAPTIVE ? rule->ceiling : rule->limit;
	uint64_t left_us = rule->window_us - now_us % rule->window_us;

	out->quota = limit;
	out->is_impossible = cost > highest;
	out->is_allowed = !out->is_impossible && cost <= minus(limit, counter->fixed.used);
	if (out->is_allowed)
		counter->fixed.used += cost;
	out->remaining = minus(limit, counter->fixed.used);
	out->reset_us = counter->fixed.used > 0 ? left_us : 0;
	out->retry_us = left_us;
	if (!out->is_allowed && !out->is_impossible && rule->strategy == STRATEGY_ADAPTIVE) {
		/* The next window's limit may still be too low: find the first that is not. */
		uint64_t window = counter->fixed.window + 1;
		while (limit_in_force(rule, counter, window) < cost)
			window++;
		out->retry_us += (window - counter->fixed.window - 1) * rule->window_us;
	}
	/* An adaptive limit is remembered until it has recovered. */
	uint64_t kept = rule->strategy == STRATEGY_ADAPTIVE && counter->fixed.current
	                    ? rule->window_us * (2 + 1000 / (rule->recover_permille ? rule->recover_permille : 1))
	                    : 0;
	counter->expires_us = now_us + left_us + kept;
}

/* ---- sliding counter ---- */

static uint64_t
sliding_now(const struct rule *rule, struct counter *counter, uint64_t now_us)
{
	if (counter->sliding.window > now_us / rule->window_us + 1)
		counter->sliding.window = now_us / rule->window_us;
	uint64_t start = counter->sliding.window * rule->window_us;
	if (now_us < start)
		now_us = start;
	uint64_t window = now_us / rule->window_us;
	if (window == counter->sliding.window + 1)
		counter->sliding.before = counter->sliding.used;
	else if (window > counter->sliding.window)
		counter->sliding.before = 0;
	if (window > counter->sliding.window)
		counter->sliding.used = 0;
	counter->sliding.window = window;
	return now_us;
}

/* Until used + before * (1 - f) + cost <= limit, f being how far the window has gone. */
static uint64_t
sliding_retry(const struct rule *rule, const struct counter *counter, uint64_t gone_us, uint64_t cost)
{
	uint64_t window = rule->window_us, left = window - gone_us;
	uint64_t used = counter->sliding.used, before = counter->sliding.before;

	if (used + cost <= rule->limit && before > 0) {
		wide fits = (wide)(rule->limit - cost - used) * window / before;
		return fits >= left ? 0 : left - (uint64_t)fits;
	}
	/* In the next window this one is the one before. */
	wide fits = used > 0 ? (wide)(rule->limit - cost) * window / used : window;
	return left + (fits >= window ? 0 : window - (uint64_t)fits);
}

static void
take_sliding(const struct rule *rule, struct counter *counter, uint64_t now_us, uint64_t cost,
             struct decision *out)
{
	now_us = sliding_now(rule, counter, now_us);
	uint64_t window = rule->window_us, gone = now_us % window;
	wide weighted = (wide)counter->sliding.before * (window - gone); /* times the window */

	out->quota = rule->limit;
	out->is_impossible = cost > rule->limit;
	out->is_allowed = !out->is_impossible &&
	                  (wide)(counter->sliding.used + cost) * window + weighted <= (wide)rule->limit * window;
	out->retry_us = out->is_allowed || out->is_impossible ? 0 : sliding_retry(rule, counter, gone, cost);
	if (out->is_allowed)
		counter->sliding.used += cost;
	wide used = (wide)counter->sliding.used * window + weighted;
	wide limit = (wide)rule->limit * window;
	out->remaining = used >= limit ? 0 : (uint64_t)((limit - used) / window);
	out->reset_us = counter->sliding.used > 0     ? 2 * window - gone
	                : counter->sliding.before > 0 ? window - gone
	                                              : 0;
	counter->expires_us = now_us + 2 * window - gone;
}

/* ---- the bucket family ---- */

static wide
debt_of(const struct counter *counter)
{
	return (wide)counter->bucket.debt_high << 64 | counter->bucket.debt_low;
}

static void
set_debt(const struct rule *rule, struct counter *counter, wide debt)
{
	counter->bucket.debt_low = (uint64_t)debt;
	counter->bucket.debt_high = (uint64_t)(debt >> 64);
	counter->expires_us = rule->limit > 0 ? counter->bucket.at_us + divide_up(debt, rule->limit) : UINT64_MAX;
}

static wide
bucket_now(const struct rule *rule, struct counter *counter, uint64_t now_us)
{
	wide debt = debt_of(counter);
	if (counter->bucket.at_us > now_us + rule->window_us)
		counter->bucket.at_us = now_us;
	if (now_us > counter->bucket.at_us) {
		wide paid = (wide)(now_us - counter->bucket.at_us) * rule->limit;
		debt = paid >= debt ? 0 : debt - paid;
		counter->bucket.at_us = now_us;
	}
	return debt;
}

static void
take_bucket(const struct rule *rule, struct counter *counter, uint64_t now_us, uint64_t cost,
            struct decision *out)
{
	wide debt = bucket_now(rule, counter, now_us);
	wide capacity = (wide)rule->burst * rule->window_us, wanted = (wide)cost * rule->window_us;
	bool can_refill = rule->limit > 0;

	out->quota = rule->burst;
	out->is_impossible = cost > rule->burst || (cost > 0 && !can_refill);
	out->is_allowed = !out->is_impossible && debt + wanted <= capacity;
	/* A lowered burst may leave more debt than fits: a look is always allowed. */
	out->is_allowed = out->is_allowed || cost == 0;
	if (out->is_allowed) {
		out->delay_us = rule->strategy == STRATEGY_LEAKY_QUEUE && cost > 0 ? divide_up(debt, rule->limit) : 0;
		debt += wanted;
	} else if (!out->is_impossible) {
		out->retry_us = divide_up(debt + wanted - capacity, rule->limit);
	}
	out->remaining = debt >= capacity ? 0 : (uint64_t)((capacity - debt) / rule->window_us);
	out->reset_us = can_refill ? divide_up(debt, rule->limit) : 0;
	set_debt(rule, counter, debt);
}

/* ---- sliding log ---- */

static uint64_t
log_now(const struct rule *rule, struct counter *counter, uint64_t now_us)
{
	if (counter->log.at_us > now_us + rule->window_us) {
		admission_log_shift(counter->log.log, counter->log.at_us - now_us);
		counter->log.at_us = now_us;
	}
	if (now_us < counter->log.at_us)
		now_us = counter->log.at_us;
	counter->log.at_us = now_us;
	/* What is a whole window old has left it: windows are half-open. */
	if (counter->log.log && now_us >= rule->window_us)
		counter->log.used -= admission_log_drop(counter->log.log, now_us - rule->window_us);
	return now_us;
}

static void
take_log(const struct rule *rule, struct counter *counter, uint64_t now_us, uint64_t cost,
         struct decision *out)
{
	now_us = log_now(rule, counter, now_us);
	out->quota = rule->limit;
	out->is_impossible = cost > rule->limit;
	out->is_allowed = !out->is_impossible && cost <= minus(rule->limit, counter->log.used);
	out->is_allowed = out->is_allowed || cost == 0;
	if (out->is_allowed && cost > 0) {
		admission_log_add(&counter->log.log, now_us, cost);
		counter->log.used += cost;
	} else if (!out->is_allowed && !out->is_impossible) {
		uint64_t excess = counter->log.used + cost - rule->limit;
		out->retry_us = admission_log_time_of(counter->log.log, excess) + rule->window_us - now_us;
	}
	out->remaining = minus(rule->limit, counter->log.used);
	uint64_t last = counter->log.used > 0 ? admission_log_last(counter->log.log) : 0;
	out->reset_us = counter->log.used > 0 ? last + rule->window_us - now_us : 0;
	counter->expires_us = now_us + out->reset_us;
}

/* ---- for all ---- */

void
counter_take(const struct rule *rule, struct counter *counter, uint64_t now_us, uint64_t cost,
             struct decision *out)
{
	memset(out, 0, sizeof(*out));
	switch (rule->strategy) {
	case STRATEGY_FIXED_WINDOW:
	case STRATEGY_ADAPTIVE:
		take_fixed(rule, counter, now_us, cost, out);
		break;
	case STRATEGY_SLIDING_COUNTER:
		take_sliding(rule, counter, now_us, cost, out);
		break;
	case STRATEGY_SLIDING_LOG:
		take_log(rule, counter, now_us, cost, out);
		break;
	default:
		take_bucket(rule, counter, now_us, cost, out);
		break;
	}
	/* Looking takes nothing, and is never refused. */
	out->is_allowed = out->is_allowed || cost == 0;
	if (out->is_allowed || out->is_impossible)
		out->retry_us = 0;
}

void
counter_undo(const struct rule *rule, struct counter *counter, const struct counter *before, uint64_t cost)
{
	if (rule->strategy != STRATEGY_SLIDING_LOG) {
		*counter = *before;
		return;
	}
	if (cost > 0) {
		admission_log_pop(counter->log.log);
		counter->log.used -= cost;
	}
}

void
counter_give_back(const struct rule *rule, struct counter *counter, uint64_t now_us, uint64_t units)
{
	switch (rule->strategy) {
	case STRATEGY_FIXED_WINDOW:
	case STRATEGY_ADAPTIVE:
		fixed_now(rule, counter, now_us);
		counter->fixed.used = minus(counter->fixed.used, units);
		break;
	case STRATEGY_SLIDING_COUNTER:
		sliding_now(rule, counter, now_us);
		counter->sliding.used = minus(counter->sliding.used, units);
		break;
	case STRATEGY_SLIDING_LOG:
		log_now(rule, counter, now_us);
		if (counter->log.log)
			counter->log.used -= admission_log_forget(counter->log.log, units);
		break;
	default: {
		wide debt = bucket_now(rule, counter, now_us), returned = (wide)units * rule->window_us;
		set_debt(rule, counter, returned >= debt ? 0 : debt - returned);
		break;
	}
	}
}

void
counter_report(const struct rule *rule, struct counter *counter, uint64_t now_us, bool is_throttled,
               uint32_t latency_ms)
{
	bool is_bad = is_throttled || (rule->latency_ms > 0 && latency_ms > rule->latency_ms);

	if (rule->strategy != STRATEGY_ADAPTIVE || !is_bad)
		return;
	fixed_now(rule, counter, now_us);
	uint64_t window = counter->fixed.window;
	/* `calm_from` lies ahead while a decrease of this window is in force: one a window is enough, since
	 * all calls in flight see the same congestion. */
	if (counter->fixed.current != 0 && counter->fixed.calm_from > window)
		return;
	uint64_t limit = limit_in_force(rule, counter, window);
	limit = (uint64_t)((wide)limit * rule->backoff_permille / 1000);
	counter->fixed.current = clamp(limit, rule->floor, rule->ceiling) + 1;
	counter->fixed.calm_from = window + 1;
}

void
counter_reset(const struct rule *rule, struct counter *counter)
{
	if (rule->strategy == STRATEGY_SLIDING_LOG)
		admission_log_free(counter->log.log);
	memset(counter, 0, sizeof(*counter));
}
