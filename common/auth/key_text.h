/*
 * key_text: how an API key is written.
 *
 *   cb_live_7Hk2mQ9xT4vN_4fGh…(27 characters)…Zc9w2K
 *   |  |    |            |                    `-- CRC-32 of all before it, 6 digits
 *   |  |    |            `-- secret: 160 bits, 27 digits
 *   |  |    `-- public id: 12 digits, found by an index
 *   |  `-- environment
 *   `-- prefix
 *
 * Digits are base62 (0-9, A-Z, a-z). The checksum refuses a mistyped key without a look-up and lets
 * secret scanners recognise one; it proves nothing else.
 */
#ifndef CORBEL_AUTH_KEY_TEXT_H
#define CORBEL_AUTH_KEY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/random.h"

#define KEY_TEXT_MAX  128
#define KEY_PUBLIC_ID 12
#define KEY_SECRET    27
#define KEY_CHECKSUM  6
#define KEY_LABEL_MAX 12 /* prefix and environment each */

struct key_text {
	char start[2 * KEY_LABEL_MAX + 3 + KEY_PUBLIC_ID]; /* "cb_live_7Hk2mQ9xT4vN" */
	char public_id[KEY_PUBLIC_ID + 1];
};

/* False when the text is not a key or its checksum is wrong; takes no time that depends on a secret. */
bool key_text_parse(const char *text, size_t length, struct key_text *out);
/* Writes a new key, NUL-terminated; prefix and environment are 1 to 12 of a-z and 0-9. */
void key_text_make(const char *prefix, const char *environment, const struct random *random,
                   char out[KEY_TEXT_MAX], struct key_text *parts);

#endif
