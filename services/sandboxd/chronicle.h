/*
 * chronicle: how runs ended, made durable.
 *
 * Ends are written many to a transaction, off the way of those who wait for a run: a run that was waited for
 * is in the history within a second after its answer, and one whose replica dies before is not. A run of the
 * queue stays claimed until its end is written, so it is run again instead.
 *
 * Any thread hands over; a worker writes.
 */
#ifndef CORBEL_SANDBOXD_CHRONICLE_H
#define CORBEL_SANDBOXD_CHRONICLE_H

#include "job.h"

struct chronicle;
struct sandboxd;

struct chronicle *chronicle_new(struct sandboxd *self);
/* What is not written is lost. */
void chronicle_free(struct chronicle *chronicle);

/* Copies what is to be kept of a run that has ended. Beyond a bound, runs that were waited for are not kept.
 */
void chronicle_add(struct chronicle *chronicle, const struct job *job);
/* A run of the queue that was not run: it waits again. */
void chronicle_give_back(struct chronicle *chronicle, const struct job *job);
/* Repeated, and when a run of the queue has ended. */
#define CHRONICLE_MS 500u
void chronicle_task(void *sandboxd, struct store_conn *conn);

#endif
