/*
 * Any sender, recipient, subject and text, each ended by a NUL: what is refused writes nothing that would be
 * sent, and what is written is ASCII of short lines with the nine headers that it should have, whatever the
 * texts say.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "mail/mail.h"

#define HEADERS 9

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Up to the next NUL. */
static const char *
take(const char **rest)
{
	const char *text = *rest;
	*rest += strlen(text) + 1;
	return text;
}

static void
check_lines(const char *text)
{
	size_t headers = 0;
	bool is_body = false;

	while (*text) {
		size_t length = strcspn(text, "\r\n");
		for (size_t i = 0; i < length; i++)
			assert((text[i] >= ' ' && text[i] < 0x7F) || (is_body && text[i] == '\t'));
		assert(length <= (is_body ? 76 : 998) && text[length] == '\r' && text[length + 1] == '\n');
		headers += !is_body && length > 0 && text[0] != ' ';
		is_body = is_body || length == 0;
		text += length + 2;
	}
	assert(is_body && headers == HEADERS);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct mail_box from;
	struct strbuf out;

	if (size > 65536)
		return 0;
	arena_init(&arena, 4096, 16u << 20);
	char *input = arena_alloc(&arena, size + 4);
	memcpy(input, data, size);
	const char *rest = input, *end = input + size;
	const char *sender = take(&rest), *to = rest <= end ? take(&rest) : "",
	           *subject = rest <= end ? take(&rest) : "";
	strbuf_init(&out, &arena);
	struct status st = mail_box_parse(sender, &from);
	if (status_ok(&st)) {
		assert(mail_address_is_valid(from.address));
		st = mail_write(&(struct mail_message){.id = "mail_1",
		                                       .from = &from,
		                                       .to = to,
		                                       .subject = subject,
		                                       .text = rest <= end ? rest : "",
		                                       .date_ms = 0},
		                &out);
		if (status_ok(&st))
			check_lines(out.data);
	}
	arena_fini(&arena);
	return 0;
}
