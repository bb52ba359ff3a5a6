/*
 * tls: the certificate chain and key that HTTPS is served with, from two PEM files.
 *
 * `struct tls` watches the files and holds the newest good pair. Shards hold pairs by reference: a handshake
 * uses the pair that its shard has at that time, and connections that are open go on with what they have.
 */
#ifndef CORBEL_INGRESS_TLS_H
#define CORBEL_INGRESS_TLS_H

#include <stdbool.h>

#include "base/status.h"
#include "telemetry/log.h"
#include "telemetry/metric.h"

struct MHD_OptionItem;
struct tls;
struct tls_pair;

/* Reads the files; a pair that is wrong or does not belong together is refused with the file's name. */
struct status tls_new(const char *certificate, const char *key, struct log *log, struct metrics *metrics,
                      struct tls **out);
void tls_free(struct tls *tls);
/* Reads the files again: always, or only if they changed since they were read last. True when there is a new
 * pair; one that is refused is logged, and the old one stays. Any thread. */
bool tls_reload(struct tls *tls, bool always);
/* The newest pair, held by the caller. */
struct tls_pair *tls_pair_newest(struct tls *tls);
void tls_pair_release(struct tls_pair *pair);

/* The pair that handshakes of this thread use from now on; the caller keeps it for as long as they may. */
void tls_use(const struct tls_pair *pair);
/* What libmicrohttpd needs to ask for it; ends with MHD_OPTION_END. */
const struct MHD_OptionItem *tls_http_options(void);

#endif
