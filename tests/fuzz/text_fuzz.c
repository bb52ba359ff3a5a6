/*
 * Any bytes are a number, duration, size, timestamp, name or Base64, or refused; what is accepted reads back
 * from what is written of it.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_timestamp(const char *text, size_t size)
{
	char out[TEXT_TIMESTAMP_MAX];
	int64_t ms, again;

	if (!text_to_timestamp_ms(text, size, &ms))
		return;
	/* An offset may lead beyond the years that are written with four digits. */
	if (ms < INT64_C(-62167219200000) || ms > INT64_C(253402300799999))
		return;
	size_t length = text_from_timestamp_ms(ms, out);
	assert(length < sizeof(out) && text_to_timestamp_ms(out, length, &again) && again == ms);
}

static void
try_numbers(const char *text, size_t size)
{
	struct strbuf out;
	uint64_t u, ms, bytes;
	int64_t i;
	bool boolean;

	strbuf_init(&out, NULL);
	if (text_to_u64(text, size, &u)) {
		strbuf_u64(&out, u);
		uint64_t again;
		assert(text_to_u64(out.data, out.length, &again) && again == u);
	}
	strbuf_clear(&out);
	if (text_to_i64(text, size, &i)) {
		strbuf_i64(&out, i);
		int64_t again;
		assert(text_to_i64(out.data, out.length, &again) && again == i);
	}
	(void)text_to_duration_ms(text, size, &ms);
	(void)text_to_size_bytes(text, size, &bytes);
	(void)text_to_bool(text, size, &boolean);
	strbuf_fini(&out);
}

static void
try_base64(const char *text, size_t size)
{
	uint8_t *bytes = malloc(size + 1), *again = malloc(size + 4);
	char *encoded = malloc(text_base64_encoded_size(size) + 1);
	size_t length, length_again;

	if (text_base64_decode(text, size, bytes, &length)) {
		assert(length <= size);
		size_t written = text_base64_encode(bytes, length, encoded);
		assert(written == text_base64_encoded_size(length));
		assert(text_base64_decode(encoded, written, again, &length_again));
		assert(length_again == length && memcmp(bytes, again, length) == 0);
	}
	free(encoded);
	free(again);
	free(bytes);
}

static void
try_json_string(const char *text, size_t size)
{
	struct strbuf out;

	if (!text_is_utf8(text, size))
		return;
	strbuf_init(&out, NULL);
	strbuf_json_string(&out, text, size);
	assert(out.length >= size + 2 && text_is_utf8(out.data, out.length));
	strbuf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	if (size > 4096)
		return 0;
	try_timestamp(text, size);
	try_numbers(text, size);
	try_base64(text, size);
	try_json_string(text, size);
	assert(!text_is_name(text, size) || (size >= 1 && size <= 64));
	char *copy =
	    calloc(1, size + 1); /* not strndup(): strict checks of strings want its source to end in NUL */
	memcpy(copy, text, size);
	assert(!id_is_valid(copy, NULL) || strlen(copy) < ID_MAX);
	free(copy);
	return 0;
}
