/*
 * mail_box: addresses. The form is narrower than RFC 5322 has it (no quoted local parts, no comments, no
 * address literals), so that an address means the same to every server, and nothing beside itself.
 */
#include <string.h>

#include "mail/mail_internal.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

#define LOCAL_MAX 64u
#define LABEL_MAX 63u

/* Words of these characters with single dots between them. */
static bool
is_dotted(const char *text, size_t length, const char *characters, size_t word_max)
{
	size_t word = 0;

	for (size_t i = 0; i < length; i++) {
		bool is_dot = text[i] == '.';
		if (is_dot ? word == 0 : text[i] == '\0' || !strchr(characters, text[i]))
			return false;
		word = is_dot ? 0 : word + 1;
		if (word > word_max)
			return false;
	}
	return word > 0;
}

bool
mail_address_is_valid(const char *text)
{
	const char *at = strchr(text, '@');
	size_t length = strlen(text);

	if (!at || length >= MAIL_ADDRESS_MAX || (size_t)(at - text) > LOCAL_MAX || at[1] == '-')
		return false;
	return is_dotted(text, (size_t)(at - text), LETTERS "!#$%&'*+-/=?^_`{|}~", LOCAL_MAX) &&
	       is_dotted(at + 1, length - (size_t)(at - text) - 1, LETTERS "-", LABEL_MAX);
}

static bool
has_control(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7F)
			return true;
	return false;
}

static bool
take_part(const char *text, size_t length, char *out, size_t capacity)
{
	if (length >= capacity || has_control(text, length) || !text_is_utf8(text, length))
		return false;
	memcpy(out, text, length);
	out[length] = '\0';
	return true;
}

struct status
mail_box_parse(const char *text, struct mail_box *out)
{
	const char *open = strchr(text, '<');
	size_t name = open ? (size_t)(open - text) : 0;
	const char *address = open ? open + 1 : text;
	size_t length = strlen(address);
	bool is_whole = true;

	if (open)
		is_whole = length > 0 && address[--length] == '>';
	while (name > 0 && text[name - 1] == ' ')
		name--;
	if (!is_whole || !take_part(text, name, out->name, sizeof(out->name)) ||
	    !take_part(address, length, out->address, sizeof(out->address)) ||
	    !mail_address_is_valid(out->address))
		return status_make(STATUS_INVALID_ARGUMENT,
		                   "must be an address such as corbel@example.com, or Name <corbel@example.com>");
	return status_ok_value();
}
