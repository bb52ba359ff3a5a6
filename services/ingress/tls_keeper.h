/*
 * tls_keeper: the pairs that the connections of one shard may still be using.
 *
 * A pair is numbered by its turn. A connection that began under number n shakes hands with pair n or a later
 * one, so a pair goes once no connection is left that began with its number or before. One thread.
 */
#ifndef CORBEL_INGRESS_TLS_KEEPER_H
#define CORBEL_INGRESS_TLS_KEEPER_H

#include <stdint.h>

#include "tls.h"

struct tls_keeper;

/* NULL, for plain HTTP, is a keeper of nothing to all but tls_keeper_renew(). */
struct tls_keeper *tls_keeper_new(struct tls *tls);
void tls_keeper_free(struct tls_keeper *keeper);
/* In the shard's thread, before its first handshake. */
void tls_keeper_begin(struct tls_keeper *keeper);
/* Handshakes use the newest pair from now on. */
void tls_keeper_renew(struct tls_keeper *keeper);
uint64_t tls_keeper_number(const struct tls_keeper *keeper);
/* Lets go of what no connection uses; `oldest` is the lowest number of the open ones. */
void tls_keeper_tidy(struct tls_keeper *keeper, uint64_t oldest);

#endif
