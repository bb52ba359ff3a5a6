/*
 * pepper: the secret under which keys are hashed, and its predecessors.
 *
 * A stored digest is HMAC-SHA-256 of the whole key under a pepper, beside the pepper's id, so that a
 * stolen table verifies nothing. The last pepper of the list is current; a key is hashed anew under it
 * when it is next verified.
 */
#ifndef CORBEL_ACCOUNTD_PEPPER_H
#define CORBEL_ACCOUNTD_PEPPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/random.h"
#include "base/status.h"

struct peppers;

/* From "id:hex" texts (16 to 64 bytes each); at least one. */
struct status peppers_parse(const char *const *list, struct peppers **out);
/* From a file of one such text, made on first use (mode 0600, synced) with a random pepper. */
struct status peppers_from_file(const char *path, const struct random *random, struct peppers **out);
void peppers_free(struct peppers *peppers);
const char *peppers_current(const struct peppers *peppers); /* its id */
/* False when no pepper has that id; then the digest is of a pepper that is nobody's, in the same time. */
bool peppers_digest(const struct peppers *peppers, const char *id, const char *key,
                    uint8_t out[SHA256_BYTES]);

#endif
