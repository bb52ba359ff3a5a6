/*
 * document: see document.h.
 */
#include "document.h"

#include <string.h>

void
document_init(struct document *doc, struct arena *arena)
{
	*doc = (struct document){.arena = arena};
	strbuf_init(&doc->out, arena);
}

static void
new_line(struct document *doc)
{
	strbuf_putc(&doc->out, '\n');
	for (unsigned i = 0; i < doc->depth; i++)
		strbuf_putc(&doc->out, ' ');
}

/* Before anything but the value of a member. */
static void
begin(struct document *doc)
{
	size_t length = doc->out.length;

	if (length == 0 || (length >= 2 && memcmp(doc->out.data + length - 2, ": ", 2) == 0))
		return;
	if (doc->needs_comma)
		strbuf_putc(&doc->out, ',');
	new_line(doc);
}

static void
end(struct document *doc)
{
	doc->needs_comma = true;
}

void
put_key(struct document *doc, const char *name)
{
	begin(doc);
	strbuf_json_string(&doc->out, name, strlen(name));
	strbuf_puts(&doc->out, ": ");
}

void
put_open(struct document *doc, char open)
{
	begin(doc);
	strbuf_putc(&doc->out, open);
	doc->depth++;
	doc->needs_comma = false;
}

void
put_close(struct document *doc, char close)
{
	bool is_empty = !doc->needs_comma;

	doc->depth--;
	if (!is_empty)
		new_line(doc);
	strbuf_putc(&doc->out, close);
	end(doc);
}

void
put_raw(struct document *doc, const char *json)
{
	begin(doc);
	strbuf_puts(&doc->out, json);
	end(doc);
}

void
put_text(struct document *doc, const char *text)
{
	begin(doc);
	strbuf_json_string(&doc->out, text, strlen(text));
	end(doc);
}

void
put_member(struct document *doc, const char *name, char open)
{
	put_key(doc, name);
	put_open(doc, open);
}

void
put_text_member(struct document *doc, const char *name, const char *text)
{
	if (!text || !text[0])
		return;
	put_key(doc, name);
	put_text(doc, text);
}

void
put_raw_member(struct document *doc, const char *name, const char *json)
{
	put_key(doc, name);
	put_raw(doc, json);
}

void
put_number_member(struct document *doc, const char *name, long long value)
{
	put_raw_member(doc, name, arena_printf(doc->arena, "%lld", value));
}
