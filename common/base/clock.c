/*
 * clock: the system's clocks, and one that tests move.
 */
#include "base/clock.h"

#include <time.h>

static uint64_t
read_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t
system_mono_ns(const struct clock *clock)
{
	(void)clock;
	return read_ns(CLOCK_MONOTONIC);
}

static uint64_t
system_coarse_ns(const struct clock *clock)
{
	(void)clock;
	return read_ns(CLOCK_MONOTONIC_COARSE);
}

static int64_t
system_wall_us(const struct clock *clock)
{
	struct timespec ts;
	(void)clock;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

const struct clock *
clock_system(void)
{
	static const struct clock SYSTEM = {
	    .mono_ns = system_mono_ns, .wall_us = system_wall_us, .coarse_ns = system_coarse_ns};
	return &SYSTEM;
}

static uint64_t
fake_mono_ns(const struct clock *clock)
{
	return ((const struct fake_clock *)clock)->mono_ns;
}

static int64_t
fake_wall_us(const struct clock *clock)
{
	return ((const struct fake_clock *)clock)->wall_us;
}

void
fake_clock_init(struct fake_clock *fake, int64_t wall_us)
{
	fake->clock.mono_ns = fake_mono_ns;
	fake->clock.wall_us = fake_wall_us;
	fake->clock.coarse_ns = fake_mono_ns;
	fake->mono_ns = 1000000000u;
	fake->wall_us = wall_us;
}

void
fake_clock_advance_ms(struct fake_clock *fake, uint64_t ms)
{
	fake->mono_ns += ms * 1000000u;
	fake->wall_us += (int64_t)(ms * 1000u);
}

void
fake_clock_step_wall_ms(struct fake_clock *fake, int64_t ms)
{
	fake->wall_us += ms * 1000;
}
