/*
 * mailer: sends the messages that wait in the table of mails, on a thread of its own, since an SMTP server
 * may take its time.
 *
 * Replicas work side by side: a message is leased before it is sent. One that was taken over by the server,
 * but not recorded as such before a crash, comes again with the same Message-ID.
 */
#ifndef CORBEL_WEBHOOKD_MAILER_H
#define CORBEL_WEBHOOKD_MAILER_H

#include "daemon/service.h"
#include "mail/mail.h"

struct mailer;
struct webhookd;

/* Complains of options of mail that do not fit together; part of --check-config. */
void mailer_check(const struct config *config, service_complain complain, void *arg);

/* NULL in *out when no server is set up. Its thread starts with mailer_start(). */
struct status mailer_new(struct webhookd *self, struct mailer **out);
struct status mailer_start(struct mailer *mailer);
/* Messages may have come. Any thread; NULL is fine, here and below. */
void mailer_hint(struct mailer *mailer);
/* Ends what is under way: it is sent again later. */
void mailer_drain(struct mailer *mailer);
void mailer_free(struct mailer *mailer);

/* Whom messages come from. */
const struct mail_box *mailer_from(const struct mailer *mailer);
/* Messages that were not made because their tenant has caused too many. */
void mailer_count_withheld(struct mailer *mailer, size_t count);

#endif
