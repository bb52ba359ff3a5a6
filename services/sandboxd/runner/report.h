/*
 * report: what a zygote says, checked before it is used.
 */
#ifndef CORBEL_SANDBOXD_REPORT_H
#define CORBEL_SANDBOXD_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "runner/wire.h"

/* One message of the control socket. */
struct report {
	uint32_t kind; /* enum wire_report_kind */
	union {
		struct wire_hello hello;
		struct wire_report about; /* a child */
	};
};

/* False: it is no message of a zygote of this build. Texts end with NUL, states and kinds are known. */
bool report_parse(const void *bytes, size_t size, struct report *out);

#endif
