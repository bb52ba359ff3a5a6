/*
 * measure: what a child has used, read from the kernel while it lives.
 */
#ifndef CORBEL_SANDBOXD_MEASURE_H
#define CORBEL_SANDBOXD_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Processor time of all its threads; 0: it is gone. */
uint64_t measure_cpu_us(pid_t pid);
/* Highest resident size, with what it shares with the zygote; 0: unknown. */
uint64_t measure_peak_bytes(pid_t pid);
/* Memory that it shares with no other process; 0: unknown. */
uint64_t measure_own_bytes(pid_t pid);

#endif
