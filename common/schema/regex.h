/*
 * regex: regular expressions from outside, searched within bounds.
 *
 * PCRE2 syntax over UTF-8, without back-references, \C, minimums of more than 1000 ("a{1001}") and looks
 * behind over more than 1000 characters. PCRE2 backtracks, so an expression can be made to cost exponential
 * time. Every item that it tries is a step, every 128 bytes that an item runs over are one more, and a search
 * ends when the steps are used up that its caller gives it: a fixed number, and some for each byte. So the
 * cost of searches is linear in their text, whatever the expression. Their memory is bounded, too.
 *
 * A leaf. A compiled expression never changes: any thread may search with it.
 */
#ifndef CORBEL_SCHEMA_REGEX_H
#define CORBEL_SCHEMA_REGEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define REGEX_PATTERN_MAX 500u        /* bytes */
#define REGEX_TEXT_MAX    (64u << 10) /* longer texts are not searched: REGEX_LIMIT */

struct regex;

enum regex_result {
	REGEX_NONE,
	REGEX_FOUND,
	REGEX_LIMIT /* given up: the text is too long or the steps are used up */
};

/* INVALID_ARGUMENT says what is wrong with `pattern` and where. */
struct status regex_compile(const char *pattern, size_t length, struct regex **out);
void regex_free(struct regex *regex); /* NULL is allowed */

/* Steps that are enough for plain expressions over so many bytes, in one search or several. */
uint64_t regex_steps(size_t bytes);

/* Whether it is found anywhere in `text`, which is valid UTF-8. Takes its steps from `steps`. */
enum regex_result regex_search(const struct regex *regex, const char *text, size_t length, uint64_t *steps);

#endif
