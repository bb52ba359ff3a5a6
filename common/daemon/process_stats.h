/*
 * process_stats: what the kernel knows of this process, as metrics by their customary names.
 */
#ifndef CORBEL_DAEMON_PROCESS_STATS_H
#define CORBEL_DAEMON_PROCESS_STATS_H

#include "base/clock.h"
#include "telemetry/metric.h"

struct process_stats;

struct process_stats *process_stats_new(struct metrics *metrics, const struct clock *clock);
void process_stats_free(struct process_stats *stats);
/* Before each exposition. Any thread. */
void process_stats_refresh(struct process_stats *stats);

#endif
