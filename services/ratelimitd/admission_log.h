/*
 * admission_log: times and costs of what a sliding log has admitted, oldest first.
 *
 * A ring that grows to what the limit needs: RULE_LOG_MAX entries of 16 bytes at most, since each entry
 * costs at least one unit. Costs admitted at the same microsecond share an entry only for popping's
 * sake: never.
 */
#ifndef CORBEL_RATELIMITD_ADMISSION_LOG_H
#define CORBEL_RATELIMITD_ADMISSION_LOG_H

#include <stddef.h>
#include <stdint.h>

struct admission_log;

/* Makes or grows *log as needed. */
void admission_log_add(struct admission_log **log, uint64_t at_us, uint64_t cost);
/* Removes the newest entry. */
void admission_log_pop(struct admission_log *log);
/* Drops entries of time <= `until_us`; returns their cost. */
uint64_t admission_log_drop(struct admission_log *log, uint64_t until_us);
/* Takes `units` off the newest entries; returns how many there were to take. */
uint64_t admission_log_forget(struct admission_log *log, uint64_t units);
/* The time of the entry with which the oldest ones reach `units` in all; the log holds that many. */
uint64_t admission_log_time_of(const struct admission_log *log, uint64_t units);
/* Moves all times `by_us` back. */
void admission_log_shift(struct admission_log *log, uint64_t by_us);
uint64_t admission_log_last(const struct admission_log *log);
size_t admission_log_count(const struct admission_log *log);
void admission_log_at(const struct admission_log *log, size_t index, uint64_t *at_us, uint64_t *cost);
void admission_log_free(struct admission_log *log);

#endif
