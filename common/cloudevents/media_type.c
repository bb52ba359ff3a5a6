/*
 * media_type: see media_type.h. RFC 6839 has the suffixes.
 */
#include "media_type.h"

#include <string.h>
#include <strings.h>

size_t
media_type_length(const char *type)
{
	size_t length = strcspn(type, ";");

	while (length > 0 && (type[length - 1] == ' ' || type[length - 1] == '\t'))
		length--;
	return length;
}

/* "…/name" or "…+name". */
static bool
has_subtype(const char *type, const char *name)
{
	size_t length = media_type_length(type), size = strlen(name);

	if (length <= size + 1 || strncasecmp(type + length - size, name, size) != 0)
		return false;
	char before = type[length - size - 1];
	return before == '+' || before == '/';
}

bool
media_type_is_json(const char *type)
{
	return has_subtype(type, "json");
}

bool
media_type_is_text(const char *type)
{
	return strncasecmp(type, "text/", 5) == 0 || has_subtype(type, "xml");
}
