/*
 * strategy: how each kind of limit counts, in exact integer arithmetic.
 *
 * A leaf: no clock, no memory but a sliding log's, no locks. Times are microseconds of the store's own
 * clock. A time before the last one seen is taken as the last one, so a clock that steps back gives
 * nothing away. docs/ratelimitd.md states each rule for users.
 *
 * The bucket family (token bucket, leaky meter, leaky queue, GCRA) keeps one number: the debt D, in
 * units times the window, which falls by `limit` for each microsecond. A cost c is admitted when
 * D + c * window <= burst * window. No rounding happens anywhere, so nothing drifts.
 */
#ifndef CORBEL_RATELIMITD_STRATEGY_H
#define CORBEL_RATELIMITD_STRATEGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum strategy {
	STRATEGY_FIXED_WINDOW = 1,
	STRATEGY_SLIDING_LOG = 2,
	STRATEGY_SLIDING_COUNTER = 3,
	STRATEGY_TOKEN_BUCKET = 4,
	STRATEGY_LEAKY_METER = 5,
	STRATEGY_LEAKY_QUEUE = 6,
	STRATEGY_GCRA = 7,
	STRATEGY_ADAPTIVE = 8
};

#define RULE_LIMIT_MAX     UINT64_C(1000000000000)
#define RULE_WINDOW_MAX_US UINT64_C(31622400000000) /* 366 days */
#define RULE_LOG_MAX       UINT64_C(10000)          /* units in a sliding log's window */

struct rule {
	enum strategy strategy;
	uint64_t limit;     /* units a window; an adaptive limit's starting value */
	uint64_t window_us; /* at least 1000 */
	uint64_t burst;     /* bucket family: capacity; at least 1 unless the limit is 0 */
	/* adaptive only: */
	uint64_t floor, ceiling;
	uint32_t backoff_permille, recover_permille, latency_ms;
};

/* Whether the two decide alike. */
bool rule_is_same(const struct rule *a, const struct rule *b);

/* The log of admissions of one key: costs by time, oldest first. */
struct admission_log;

/* What is kept for one key: 40 bytes. All zero is a key that was never seen. */
struct counter {
	union {
		struct {             /* fixed window, adaptive; current and calm: adaptive only */
			uint64_t window; /* number of the window */
			uint64_t used;
			uint64_t current;   /* limit in force, plus 1; 0: the rule's own */
			uint64_t calm_from; /* window from which recovery counts */
		} fixed;
		struct {
			uint64_t window, used, before;
		} sliding;
		struct {
			uint64_t debt_low, debt_high; /* D, 128 bits */
			uint64_t at_us;
		} bucket;
		struct {
			struct admission_log *log; /* owned */
			uint64_t used;
			uint64_t at_us;
		} log;
	};
	uint64_t expires_us; /* from then on it equals a key never seen */
};

struct decision {
	bool is_allowed;
	bool is_impossible; /* the cost is more than the limit can ever hold */
	uint64_t quota;     /* the limit in force, or the burst */
	uint64_t remaining;
	uint64_t reset_us; /* until nothing is used */
	uint64_t retry_us; /* refused and possible: waiting this long admits a lone client, less does not */
	uint64_t delay_us; /* leaky queue: wait before acting */
};

/* Decides and, when allowed, takes `cost`. A cost of 0 looks. `out` tells the state after it. */
void counter_take(const struct rule *rule, struct counter *counter, uint64_t now_us, uint64_t cost,
                  struct decision *out);
/* Takes back what the last counter_take() of this cost took, given the counter as it was before. */
void counter_undo(const struct rule *rule, struct counter *counter, const struct counter *before,
                  uint64_t cost);
/* Returns units that were taken and not used; never below nothing used. */
void counter_give_back(const struct rule *rule, struct counter *counter, uint64_t now_us, uint64_t units);
/* Adaptive: what a caller saw. Lowers at most once a window. */
void counter_report(const struct rule *rule, struct counter *counter, uint64_t now_us, bool is_throttled,
                    uint32_t latency_ms);
/* Forgets everything and frees what is owned. */
void counter_reset(const struct rule *rule, struct counter *counter);

#endif
