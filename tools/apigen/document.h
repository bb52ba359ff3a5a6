/*
 * document: JSON written member by member, a line each, with every string escaped.
 */
#ifndef CORBEL_APIGEN_DOCUMENT_H
#define CORBEL_APIGEN_DOCUMENT_H

#include "base/arena.h"
#include "base/text.h"

struct document {
	struct strbuf out;
	struct arena *arena;
	unsigned depth;
	bool needs_comma; /* something stands before, in the same object or array */
};

void document_init(struct document *doc, struct arena *arena);
/* A member's name; its value follows. */
void put_key(struct document *doc, const char *name);
/* `open` is '{' or '[', as a member's value or an array's element. */
void put_open(struct document *doc, char open);
void put_close(struct document *doc, char close);
/* A value that is JSON already. */
void put_raw(struct document *doc, const char *json);
void put_text(struct document *doc, const char *text);
/* put_key() and a value; text members that are NULL or "" are left out. */
void put_member(struct document *doc, const char *name, char open);
void put_text_member(struct document *doc, const char *name, const char *text);
void put_raw_member(struct document *doc, const char *name, const char *json);
void put_number_member(struct document *doc, const char *name, long long value);

#endif
