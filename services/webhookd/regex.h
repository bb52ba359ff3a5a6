/*
 * regex: regular expressions from outside, searched within bounds.
 *
 * PCRE2 syntax over UTF-8, without back-references and \C. PCRE2 backtracks, so an expression can be made to
 * cost exponential time. Every item that it tries is counted, and a search ends once the count passes a
 * fixed number plus a fixed number for each byte of the text: the cost of a search is linear in the text,
 * whatever the expression. Its memory is bounded, too.
 *
 * A leaf. A compiled expression never changes: any thread may search with it.
 */
#ifndef CORBEL_WEBHOOKD_REGEX_H
#define CORBEL_WEBHOOKD_REGEX_H

#include <stddef.h>

#include "base/status.h"

#define REGEX_PATTERN_MAX 500u        /* bytes */
#define REGEX_TEXT_MAX    (64u << 10) /* longer texts are not searched: REGEX_LIMIT */

struct regex;

enum regex_result {
	REGEX_NONE,
	REGEX_FOUND,
	REGEX_LIMIT /* given up: the text is too long or the search costs too much */
};

/* INVALID_ARGUMENT says what is wrong with `pattern` and where. */
struct status regex_compile(const char *pattern, size_t length, struct regex **out);
void regex_free(struct regex *regex); /* NULL is allowed */

/* Whether it is found anywhere in `text`, which is valid UTF-8. */
enum regex_result regex_search(const struct regex *regex, const char *text, size_t length);

#endif
