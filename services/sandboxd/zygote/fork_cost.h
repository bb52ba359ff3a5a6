/*
 * fork_cost: what an empty fork and wait of this warmed process takes, to compare runs with.
 */
#ifndef CORBEL_ZYGOTE_FORK_COST_H
#define CORBEL_ZYGOTE_FORK_COST_H

/* Prints median and 99th percentile in microseconds. */
void fork_cost_print(void);

#endif
