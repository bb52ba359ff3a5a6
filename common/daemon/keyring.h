/*
 * keyring: the secret that a service keeps other things under, and its predecessors.
 *
 * What is kept carries the id of its secret. The last secret of the list is current; what was kept under an
 * older one stays readable, and its owner moves it when it is next used.
 */
#ifndef CORBEL_DAEMON_KEYRING_H
#define CORBEL_DAEMON_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/random.h"
#include "base/status.h"
#include "daemon/service.h"

struct keyring;

/* From "id:hex" texts (16 to 64 bytes each); at least one. */
struct status keyring_parse(const char *const *list, struct keyring **out);
/* From a file of one such text, made on first use (mode 0600, synced) with a random secret. */
struct status keyring_from_file(const char *path, const struct random *random, struct keyring **out);
/* From the option's value, a list with commas; when it is not set from `file` in the data directory, which
 * is for one machine only: on PostgreSQL the option is required. */
struct status keyring_load(const struct service_env *env, const char *option, const char *file,
                           struct keyring **out);
void keyring_free(struct keyring *ring);
const char *keyring_current(const struct keyring *ring); /* its id */
/* HMAC-SHA-256 of a text under the secret of that id. False when there is none; then it is made under a
 * secret that is nobody's, in the same time. */
bool keyring_mac(const struct keyring *ring, const char *id, const char *text, uint8_t out[SHA256_BYTES]);

#endif
