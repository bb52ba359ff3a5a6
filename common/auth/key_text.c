/*
 * key_text: see key_text.h.
 */
#include "auth/key_text.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static const char DIGITS[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static bool
is_digits(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] == '\0' || !strchr(DIGITS, text[i]))
			return false;
	return true;
}

static bool
is_label(const char *text, size_t length)
{
	if (length < 1 || length > KEY_LABEL_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9')))
			return false;
	return true;
}

static void
put_checksum(const char *text, size_t length, char out[KEY_CHECKSUM])
{
	uint32_t crc = hash_crc32(text, length);
	for (int i = KEY_CHECKSUM - 1; i >= 0; i--) {
		out[i] = DIGITS[crc % 62];
		crc /= 62;
	}
}

static void
put_random(const struct random *random, size_t count, char *out)
{
	for (size_t i = 0; i < count; i++)
		out[i] = DIGITS[random_below(random, 62)];
}

bool
key_text_parse(const char *text, size_t length, struct key_text *out)
{
	char checksum[KEY_CHECKSUM];
	const char *first = memchr(text, '_', length);
	const char *second = first ? memchr(first + 1, '_', length - (size_t)(first + 1 - text)) : NULL;

	if (!second || !is_label(text, (size_t)(first - text)) ||
	    !is_label(first + 1, (size_t)(second - first - 1)))
		return false;
	const char *id = second + 1;
	size_t rest = length - (size_t)(id - text);
	if (rest != KEY_PUBLIC_ID + 1 + KEY_SECRET + KEY_CHECKSUM || id[KEY_PUBLIC_ID] != '_' ||
	    !is_digits(id, KEY_PUBLIC_ID) || !is_digits(id + KEY_PUBLIC_ID + 1, KEY_SECRET + KEY_CHECKSUM))
		return false;
	put_checksum(text, length - KEY_CHECKSUM, checksum);
	if (memcmp(checksum, text + length - KEY_CHECKSUM, KEY_CHECKSUM) != 0)
		return false;
	snprintf(out->start, sizeof(out->start), "%.*s", (int)(id - text + KEY_PUBLIC_ID), text);
	memcpy(out->public_id, id, KEY_PUBLIC_ID);
	out->public_id[KEY_PUBLIC_ID] = '\0';
	return true;
}

void
key_text_make(const char *prefix, const char *environment, const struct random *random,
              char out[KEY_TEXT_MAX], struct key_text *parts)
{
	int n = snprintf(out, KEY_TEXT_MAX, "%s_%s_", prefix, environment);
	size_t at = (size_t)n;

	assert(is_label(prefix, strlen(prefix)) && is_label(environment, strlen(environment)));
	put_random(random, KEY_PUBLIC_ID, out + at);
	at += KEY_PUBLIC_ID;
	out[at++] = '_';
	/* 27 base62 digits are 160.8 bits. */
	put_random(random, KEY_SECRET, out + at);
	at += KEY_SECRET;
	put_checksum(out, at, out + at);
	at += KEY_CHECKSUM;
	out[at] = '\0';
	bool is_good = key_text_parse(out, at, parts);
	assert(is_good);
	(void)is_good;
}
