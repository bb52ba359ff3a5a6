/*
 * show: texts of others on a terminal.
 *
 * A control character could move the cursor, hide what was printed or answer as if it were typed; a
 * direction mark could make one text look like another. None of them reaches the terminal.
 */
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/text.h"
#include "cli.h"

/* C0, DEL, C1, and what changes the direction of writing (UAX 9). */
static bool
is_commanding(wchar_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200E || c == 0x200F ||
	       (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

/* The character at `text`, which has one; how many bytes it is. What is not UTF-8 is a byte of no meaning. */
static size_t
next_character(const char *text, wchar_t *out)
{
	mbstate_t state = {0};
	size_t size = mbrtowc(out, text, strnlen(text, 4), &state);

	if (size > 4 || size == 0) {
		*out = L'\0';
		return 1;
	}
	return size;
}

char *
show_text(struct arena *arena, const char *text)
{
	struct strbuf out;
	wchar_t c;

	strbuf_init(&out, arena);
	strbuf_add(&out, "", 0);
	for (size_t size; *text; text += size) {
		size = next_character(text, &c);
		if (is_commanding(c))
			strbuf_putc(&out, ' ');
		else
			strbuf_add(&out, text, size);
	}
	return out.data;
}

size_t
show_width(const char *text)
{
	size_t width = 0;
	wchar_t c;

	for (; *text; text += next_character(text, &c)) {
		(void)next_character(text, &c);
		int columns = wcwidth(c);
		width += columns > 0 ? (size_t)columns : 0;
	}
	return width;
}

void
show_padded(const char *text, size_t width, FILE *out)
{
	size_t used = show_width(text);

	fputs(text, out);
	for (; used < width; used++)
		fputc(' ', out);
}

char *
show_json(struct arena *arena, const json_t *value, size_t flags)
{
	char *dumped = json_dumps(value, flags | JSON_ENCODE_ANY);
	struct strbuf out;
	wchar_t c;

	strbuf_init(&out, arena);
	strbuf_add(&out, "", 0);
	for (const char *at = dumped ? dumped : "null"; *at;) {
		size_t size = next_character(at, &c);
		/* Those below are of the layout: in a string, jansson has escaped them. */
		if (c >= 0x20 && is_commanding(c))
			strbuf_printf(&out, "\\u%04x", (unsigned)c);
		else
			strbuf_add(&out, at, size);
		at += size;
	}
	free(dumped);
	return out.data;
}
