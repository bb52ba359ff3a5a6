/*
 * problem: the kinds of problem (RFC 9457) that an answer can be, and the page that explains them.
 *
 * The ingress answers with them; the OpenAPI document lists them for each HTTP status.
 *
 * A leaf: constant tables.
 */
#ifndef CORBEL_HTTP_PROBLEM_H
#define CORBEL_HTTP_PROBLEM_H

#include "base/status.h"
#include "base/text.h"

struct problem {
	const char *slug;
	unsigned http;
	const char *title, *meaning;
	bool is_registered; /* with IANA, which then gives its type */
};

/* Never NULL: a slug that a service invented has its code's status and title. */
struct problem problem_of(enum status_code code, const char *slug);
/* By slug alone, which must be one of the table. */
const struct problem *problem_named(const char *slug);
/* The kinds in the order of their HTTP status, from 0 on; NULL behind the last. */
const struct problem *problem_at(size_t index);
/* The canonical code that makes a problem of this kind: "NOT_FOUND"; NULL when no code alone does. */
const char *problem_code(const struct problem *problem);
void problem_put_type(const struct problem *problem, struct strbuf *out);
/* The page behind the types that are not registered; each problem has its slug as its anchor. */
char *problem_make_page(void);

#endif
