/*
 * status: the outcome of a call that can fail.
 *
 * A canonical code, which lets the caller act, and a message meant for a person: what was wrong
 * and what was expected. Plain data, returned by value, owns nothing.
 */
#ifndef CORBEL_BASE_STATUS_H
#define CORBEL_BASE_STATUS_H

#include <stdbool.h>

/* Numbers are those of gRPC's canonical codes; they travel on the bus and must not change. */
enum status_code {
	STATUS_OK = 0,
	STATUS_CANCELLED = 1,
	STATUS_UNKNOWN = 2,
	STATUS_INVALID_ARGUMENT = 3,
	STATUS_DEADLINE_EXCEEDED = 4,
	STATUS_NOT_FOUND = 5,
	STATUS_ALREADY_EXISTS = 6,
	STATUS_PERMISSION_DENIED = 7,
	STATUS_RESOURCE_EXHAUSTED = 8,
	STATUS_FAILED_PRECONDITION = 9,
	STATUS_ABORTED = 10,
	STATUS_OUT_OF_RANGE = 11,
	STATUS_UNIMPLEMENTED = 12,
	STATUS_INTERNAL = 13,
	STATUS_UNAVAILABLE = 14,
	STATUS_DATA_LOSS = 15,
	STATUS_UNAUTHENTICATED = 16,
	STATUS_CODES = 17
};

#define STATUS_MESSAGE_MAX 240

struct status {
	enum status_code code;
	char message[STATUS_MESSAGE_MAX]; /* NUL-terminated, cut at a character boundary; "" when ok */
};

static inline struct status
status_ok_value(void)
{
	struct status st;
	st.code = STATUS_OK;
	st.message[0] = '\0';
	return st;
}

static inline bool
status_ok(const struct status *st)
{
	return st->code == STATUS_OK;
}

/* Builds a failure; `code` is not STATUS_OK. */
struct status status_make(enum status_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the message and keeps the code; an ok status stays as it is. */
struct status status_wrap(struct status st, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "INVALID_ARGUMENT"; "CODE_42" is never returned: unknown numbers give "UNKNOWN". */
const char *status_code_name(enum status_code code);

/* A number from the bus as a code; one that is not known becomes STATUS_UNKNOWN. */
enum status_code status_code_from_wire(unsigned wire);

#endif
