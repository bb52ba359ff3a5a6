/*
 * random: the kernel's generator, and xoshiro256** (Blackman and Vigna, 2018) seeded by splitmix64
 * where repeatability or speed matter and secrecy does not.
 */
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define AHEAD_BYTES 512

static void
kernel_fill(unsigned char *out, size_t length)
{
	while (length > 0) {
		ssize_t got = getrandom(out, length, 0);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			fprintf(stderr, "the kernel gives no random bytes: %s\n", strerror(errno));
			abort();
		}
		out += got;
		length -= (size_t)got;
	}
}

/* Ids need a few bytes each and many a second, at a system call each. A page of them is fetched at a time;
 * what is handed out is wiped here, and a child process fetches its own. */
static void
system_fill(const struct random *random, void *bytes, size_t length)
{
	static _Thread_local struct {
		unsigned char bytes[AHEAD_BYTES];
		size_t left;
		pid_t owner;
	} ahead;
	(void)random;

	if (length > AHEAD_BYTES / 8) {
		kernel_fill(bytes, length);
		return;
	}
	if (ahead.left < length || ahead.owner != getpid()) {
		kernel_fill(ahead.bytes, sizeof(ahead.bytes));
		ahead.left = sizeof(ahead.bytes);
		ahead.owner = getpid();
	}
	ahead.left -= length;
	memcpy(bytes, ahead.bytes + ahead.left, length);
	memset(ahead.bytes + ahead.left, 0, length);
}

const struct random *
random_system(void)
{
	static const struct random SYSTEM = {.fill = system_fill};
	return &SYSTEM;
}

static uint64_t
splitmix64(uint64_t *state)
{
	uint64_t z = (*state += 0x9E3779B97F4A7C15u);
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

static uint64_t
rotate_left(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static uint64_t
xoshiro_next(uint64_t s[4])
{
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

static void
seeded_fill(const struct random *random, void *bytes, size_t length)
{
	/* The interface takes a const random; this one is declared to have a state. */
	uint64_t *state = ((struct seeded_random *)(uintptr_t)random)->state;
	unsigned char *out = bytes;
	while (length > 0) {
		uint64_t value = xoshiro_next(state);
		size_t n = length < sizeof(value) ? length : sizeof(value);
		memcpy(out, &value, n);
		out += n;
		length -= n;
	}
}

void
seeded_random_init(struct seeded_random *seeded, uint64_t seed)
{
	seeded->random.fill = seeded_fill;
	for (int i = 0; i < 4; i++)
		seeded->state[i] = splitmix64(&seed);
}

uint64_t
random_u64(const struct random *random)
{
	uint64_t value;
	random_fill(random, &value, sizeof(value));
	return value;
}

uint64_t
random_below(const struct random *random, uint64_t bound)
{
	/* Values below `skew` would make the first residues more frequent. */
	uint64_t skew = (0 - bound) % bound;
	uint64_t value;
	do
		value = random_u64(random);
	while (value < skew);
	return value % bound;
}

uint64_t
random_fast_u64(void)
{
	static _Thread_local uint64_t state[4];
	while (!(state[0] | state[1] | state[2] | state[3]))
		system_fill(NULL, state, sizeof(state));
	return xoshiro_next(state);
}
