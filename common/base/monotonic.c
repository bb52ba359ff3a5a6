/*
 * monotonic: conditions and moments of CLOCK_MONOTONIC.
 */
#include "base/monotonic.h"

#define NS_PER_SECOND 1000000000L

void
monotonic_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

struct timespec
monotonic_at_ms(uint64_t at_ms)
{
	return (struct timespec){.tv_sec = (time_t)(at_ms / 1000u), .tv_nsec = (long)(at_ms % 1000u) * 1000000};
}

struct timespec
monotonic_in_ms(uint64_t ms)
{
	struct timespec at = monotonic_at_ms(ms), now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	at.tv_sec += now.tv_sec;
	at.tv_nsec += now.tv_nsec;
	if (at.tv_nsec >= NS_PER_SECOND) {
		at.tv_sec++;
		at.tv_nsec -= NS_PER_SECOND;
	}
	return at;
}
