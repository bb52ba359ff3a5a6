/*
 * monotonic: conditions whose time-outs no step of the wall clock changes.
 *
 * A wait until a moment is a loop over pthread_cond_timedwait(), which returns ETIMEDOUT from that moment on.
 */
#ifndef CORBEL_BASE_MONOTONIC_H
#define CORBEL_BASE_MONOTONIC_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* A condition that is waited for until a time of CLOCK_MONOTONIC, such as the two below give. */
void monotonic_cond_init(pthread_cond_t *cond);
/* A moment, in milliseconds of clock_system()'s clock_mono_ms(). */
struct timespec monotonic_at_ms(uint64_t at_ms);
/* So many milliseconds from now. */
struct timespec monotonic_in_ms(uint64_t ms);

#endif
