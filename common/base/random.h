/*
 * random: unpredictable bytes as a dependency, so that tests can repeat a run.
 */
#ifndef CORBEL_BASE_RANDOM_H
#define CORBEL_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
	void (*fill)(const struct random *random, void *bytes, size_t length);
};

/* The kernel's generator; safe for secrets, never fails (aborts if the kernel has none). */
const struct random *random_system(void);

/* Repeatable bytes from a seed (for tests and for jitter that must repeat). Not thread-safe. */
struct seeded_random {
	struct random random; /* first */
	uint64_t state[4];
};
void seeded_random_init(struct seeded_random *seeded, uint64_t seed);

static inline void
random_fill(const struct random *r, void *b, size_t n)
{
	r->fill(r, b, n);
}
uint64_t random_u64(const struct random *random);
/* Uniform in [0, bound); bound > 0. No modulo bias. */
uint64_t random_below(const struct random *random, uint64_t bound);

/* A fast generator for load balancing and jitter: per thread, seeded by the kernel, not for
 * secrets. */
uint64_t random_fast_u64(void);

#endif
