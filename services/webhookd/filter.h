/*
 * filter: which events an endpoint or a stream gets, ready to be asked for each event.
 *
 * An event passes when its type matches one of the patterns or the regular expression (any type passes when
 * there are neither), and its data passes every condition. A condition on a field that is missing is false,
 * not an error, but for ABSENT. Conditions compare like with like: a number is never equal to a string, nor
 * less than one. Numbers compare exactly, strings byte by byte.
 *
 * Data is read once for an event, however many filters ask, and only when a filter with conditions is asked
 * whose patterns match. All regular expressions of a filter together cost an event a bounded time (regex.h);
 * a search that is given up counts as not found and is counted in the event.
 *
 * A leaf. A filter never changes: any thread may ask it. An event belongs to one thread at a time.
 */
#ifndef CORBEL_WEBHOOKD_FILTER_H
#define CORBEL_WEBHOOKD_FILTER_H

#include "api/violations.h"
#include "base/arena.h"
#include "corbel/webhooks.pb-c.h"

#define FILTER_TYPES_MAX      100u
#define FILTER_CONDITIONS_MAX 20u
#define FILTER_POINTER_MAX    256u
#define FILTER_VALUE_MAX      4096u
#define FILTER_LIST_MAX       100u /* values of one IN */

struct json_value;

/* An event as filters see it. */
struct filter_event {
	const char *type; /* valid (pattern.h) */
	const char *data; /* JSON text, not NUL-terminated; both outlive the event */
	size_t data_length;
	unsigned regex_limits; /* searches that were given up so far */
	/* filter.c only: */
	struct arena arena;
	bool is_read;
	const struct json_value *root; /* NULL: not read, or cannot be read */
};

/* Takes no memory until data is read. */
void filter_event_init(struct filter_event *event, const char *type, const char *data, size_t data_length);
void filter_event_fini(struct filter_event *event);
/* The data, read once; NULL when it cannot be. */
const struct json_value *filter_event_root(struct filter_event *event);

struct filter;

/* Adds all that is wrong, with pointers below `pointer` ("/filter"); true when nothing is. */
bool filter_check(const Corbel__V1__EventFilter *message, const char *pointer, struct arena *arena,
                  struct violations *violations);
/* NULL takes everything. INVALID_ARGUMENT names the first thing that is wrong; a message that was checked has
 * none. Copies what it needs of the message. */
struct status filter_compile(const Corbel__V1__EventFilter *message, struct filter **out);
void filter_free(struct filter *filter); /* NULL is allowed */

bool filter_matches(const struct filter *filter, struct filter_event *event);
/* The type's part alone: when false, no data passes. */
bool filter_matches_type(const struct filter *filter, struct filter_event *event);

#endif
