/*
 * token: a text that proves that one of the replicas made it.
 *
 *   cst_PEPPER.CONTENT.MAC     PEPPER: id of the secret; CONTENT: base64url of the text;
 *                              MAC: base64url of an HMAC-SHA-256
 *
 * The text is not hidden. What is authenticated begins with words and a line end, so it can never be the text
 * of a key, which the same secrets authenticate.
 */
#ifndef CORBEL_ACCOUNTD_TOKEN_H
#define CORBEL_ACCOUNTD_TOKEN_H

#include "base/arena.h"
#include "daemon/keyring.h"

char *token_seal(const struct keyring *ring, const char *content, struct arena *arena);
/* The content, NUL-terminated; NULL when the token is not genuine. */
char *token_open(const struct keyring *ring, const char *token, struct arena *arena);

#endif
