/*
 * notice: what people are told by e-mail, kept in the transaction of the change it tells of.
 */
#ifndef CORBEL_WEBHOOKD_NOTICE_H
#define CORBEL_WEBHOOKD_NOTICE_H

#include "webhookd_internal.h"

/* A message that waits is in this state; see schema/005_mails.sql. */
#define MAIL_WAITS    1
#define MAIL_OVER     2
#define MAIL_GIVEN_UP 3

/* How many messages a tenant's endpoints may cause in this time: webhookd.mail_per_day. */
#define MAIL_DAY_MS INT64_C(86400000)

/* A message to each contact of an endpoint that webhookd has disabled. `since_ms`: of its failures. Nothing
 * when the operator has set up no mail. */
struct status notice_disabled(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                              const Endpoint *endpoint, int64_t since_ms, int64_t now_ms);

#endif
