/*
 * threads: how many threads nng runs callbacks on.
 */
#ifndef CORBEL_BUS_THREADS_H
#define CORBEL_BUS_THREADS_H

#include <stddef.h>

/* Starts nng, if it has not started yet. */
void threads_start(void);
/* How many it runs callbacks on. */
size_t threads_count(void);

#endif
