/*
 * threads: how many threads nng runs callbacks on.
 */
#ifndef CORBEL_BUS_THREADS_H
#define CORBEL_BUS_THREADS_H

/* Starts nng, if it has not started yet. */
void threads_start(void);

#endif
