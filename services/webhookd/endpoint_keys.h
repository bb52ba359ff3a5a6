/*
 * endpoint_keys: an endpoint's signing keys, from requests and to replies.
 */
#ifndef CORBEL_WEBHOOKD_ENDPOINT_KEYS_H
#define CORBEL_WEBHOOKD_ENDPOINT_KEYS_H

#include "webhookd_internal.h"

/* The key that a request gives, or a new one. */
struct status key_choose(struct call *call, const char *given, struct signing_key *out);
char *key_secret_text(struct arena *arena, const struct signing_key *key);
char *key_public_text(struct arena *arena, const struct signing_key *key);

#endif
