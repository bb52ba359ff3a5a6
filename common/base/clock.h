/*
 * clock: time as a dependency, so that a day passes in a test instantly.
 *
 * Deadlines, windows held in memory and intervals use the monotonic clock; only what people read or
 * what outlives the process uses wall time. A clock may be shared by all threads.
 */
#ifndef CORBEL_BASE_CLOCK_H
#define CORBEL_BASE_CLOCK_H

#include <stdint.h>

struct clock {
	uint64_t (*mono_ns)(const struct clock *clock); /* since an arbitrary start, never backwards */
	int64_t (*wall_us)(const struct clock *clock);  /* microseconds since 1970-01-01T00:00:00Z */
	/* What mono_ns said a few milliseconds ago, for a fifth of its price. */
	uint64_t (*coarse_ns)(const struct clock *clock);
};

/* The coarse clock moves with the system's timer, 1 to 10 ms at a time. Where processors are virtual and
 * wanted by others a turn may be late; Linux lets another processor take it over after five. */
#define CLOCK_COARSE_LAG_MS 100u /* so it is never so late */

/* CLOCK_MONOTONIC, CLOCK_REALTIME and CLOCK_MONOTONIC_COARSE. */
const struct clock *clock_system(void);

static inline uint64_t
clock_mono_ns(const struct clock *c)
{
	return c->mono_ns(c);
}
static inline uint64_t
clock_mono_ms(const struct clock *c)
{
	return c->mono_ns(c) / 1000000u;
}
static inline uint64_t
clock_coarse_ms(const struct clock *c)
{
	return c->coarse_ns(c) / 1000000u;
}
static inline int64_t
clock_wall_us(const struct clock *c)
{
	return c->wall_us(c);
}
static inline int64_t
clock_wall_ms(const struct clock *c)
{
	return c->wall_us(c) / 1000;
}

/* A clock that stands still until it is moved. Set and advance from any thread. */
struct fake_clock {
	struct clock clock; /* first: pass &fake.clock */
	_Atomic uint64_t mono_ns;
	_Atomic int64_t wall_us;
};
void fake_clock_init(struct fake_clock *fake, int64_t wall_us);
void fake_clock_advance_ms(struct fake_clock *fake, uint64_t ms);  /* both clocks */
void fake_clock_step_wall_ms(struct fake_clock *fake, int64_t ms); /* wall time only, either way */

#endif
