/*
 * recorder: one commit of the log: sequences, events, and the deliveries that follow from them.
 *
 * One thread.
 */
#ifndef CORBEL_WEBHOOKD_RECORDER_H
#define CORBEL_WEBHOOKD_RECORDER_H

#include "store/store.h"
#include "writer.h"

struct recorder;

struct recorder *recorder_new(struct webhookd *self);
void recorder_free(struct recorder *recorder);
/* Records the publications in their order, in one transaction, and gives each its outcome: a publication
 * whose event is there with other content fails alone. A failure of the whole is returned, and nothing is
 * recorded then. */
struct status recorder_commit(struct recorder *recorder, struct store_conn *conn, struct publication *group);
/* Publishes that the logs of the last commit have grown. */
void recorder_announce(struct recorder *recorder);

#endif
