/*
 * stream_filter: see stream_filter.h.
 *
 * Lists are texts one behind the other, each with its NUL, and an empty one at the end.
 */
#include "stream_filter.h"

#include <string.h>

#include "events/pattern.h"

struct stream_filter {
	const char *types, *granted, *subject; /* NULL: any; otherwise within `text` */
	char text[];
};

static struct status
refuse_count(void)
{
	return status_make(STATUS_INVALID_ARGUMENT, "must be at most %u patterns", STREAM_PATTERNS_MAX);
}

struct status
stream_patterns_parse(const char *text, struct arena *arena, const char ***out, size_t *count)
{
	*out = ARENA_ARRAY(arena, const char *, STREAM_PATTERNS_MAX);
	for (*count = 0;;) {
		const char *comma = text + strcspn(text, ","), *end = comma;
		while (*text == ' ')
			text++;
		while (end > text && end[-1] == ' ')
			end--;
		if (*count == STREAM_PATTERNS_MAX)
			return refuse_count();
		struct status st = pattern_check(text, end > text ? (size_t)(end - text) : 0);
		if (!status_ok(&st))
			return st;
		(*out)[(*count)++] = arena_strndup(arena, text, (size_t)(end - text));
		if (!*comma)
			return status_ok_value();
		text = comma + 1;
	}
}

static size_t
list_size(const char *const *list, size_t count)
{
	size_t size = 1;
	for (size_t i = 0; i < count; i++)
		size += strlen(list[i]) + 1;
	return size;
}

/* Writes a list and moves on; NULL when it is empty. */
static const char *
put_list(char **at, const char *const *list, size_t count)
{
	const char *first = *at;

	for (size_t i = 0; i < count; i++) {
		size_t size = strlen(list[i]) + 1;
		memcpy(*at, list[i], size);
		*at += size;
	}
	*(*at)++ = '\0';
	return count > 0 ? first : NULL;
}

struct stream_filter *
stream_filter_new(const struct stream_filter_options *options)
{
	size_t subjects = options->subject ? 1 : 0;
	struct stream_filter *filter = mem_alloc(
	    sizeof(*filter) + list_size(options->types, options->type_count) +
	    list_size(options->granted, options->granted_count) + list_size(&options->subject, subjects));
	char *at = filter->text;

	filter->types = put_list(&at, options->types, options->type_count);
	filter->granted = put_list(&at, options->granted, options->granted_count);
	filter->subject = put_list(&at, &options->subject, subjects);
	return filter;
}

static bool
is_listed(const char *list, const char *type)
{
	if (!list)
		return true;
	for (; *list; list += strlen(list) + 1)
		if (pattern_matches(list, type))
			return true;
	return false;
}

bool
stream_filter_passes(const struct stream_filter *filter, const char *type, const char *subject)
{
	if (filter->subject && (!subject || strcmp(filter->subject, subject) != 0))
		return false;
	return is_listed(filter->types, type) && is_listed(filter->granted, type);
}
