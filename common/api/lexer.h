/*
 * lexer: the tokens of JSON text (RFC 8259), checked as they are passed.
 *
 * Strict: no comments, no trailing commas, no leading zeros, no raw control characters in strings. A string
 * that is not UTF-8, or has a NUL or one half of a surrogate pair, has a fault: some readers end there, and
 * others go on behind it to find what else is wrong.
 */
#ifndef CORBEL_API_LEXER_H
#define CORBEL_API_LEXER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

#define JSON_DEPTH_MAX 32 /* of nesting, in everything that reads JSON from outside */

struct lexer {
	const char *start, *at, *end;
	const char *error; /* why the text is not JSON; NULL while it is */
};

/* A slice of the text. */
struct token {
	const char *text;
	size_t length;
	bool has_escapes;  /* string: must be decoded */
	bool is_integer;   /* number: neither fraction nor exponent */
	const char *fault; /* what is wrong with a string, or the first of those in a value; NULL: nothing */
};

void lexer_init(struct lexer *lexer, const char *text, size_t length);
/* Skips white space and returns the next byte without taking it; '\0' at the end or after an error. */
char lexer_peek(struct lexer *lexer);
/* Takes `c`, or fails with `expected`. */
bool lexer_take(struct lexer *lexer, char c, const char *expected);
/* A string without its quotes, still escaped; fails when it has a fault. */
bool lexer_string(struct lexer *lexer, struct token *out);
/* Also passes a string with a fault, which `out` names. */
bool lexer_any_string(struct lexer *lexer, struct token *out);
bool lexer_number(struct lexer *lexer, struct token *out);
/* "true", "false" or "null". */
bool lexer_word(struct lexer *lexer, const char *word);
/* Passes one value of any kind, `depth` more levels at most; `out` gets its exact bytes, and the first fault
 * of a string in it. */
bool lexer_skip(struct lexer *lexer, unsigned depth, struct token *out);
/* True at the end of the text; fails when something follows. */
bool lexer_end(struct lexer *lexer);
/* Line and column, from 1, of where the lexer stands. */
void lexer_position(const struct lexer *lexer, unsigned *line, unsigned *column);
/* The characters of a string token without a fault. NULL when the arena's ceiling is reached. */
const char *token_decode(const struct token *token, struct arena *arena, size_t *length);

#endif
