/*
 * redact: what must not stand in a log, whoever wrote it there.
 *
 * A net below the rule that secrets are not logged: fields whose names say secret lose their value, and
 * passwords inside URLs are replaced in any text, such as an error message of a library.
 */
#ifndef CORBEL_TELEMETRY_REDACT_H
#define CORBEL_TELEMETRY_REDACT_H

#include <stdbool.h>
#include <stddef.h>

#define REDACTED "[redacted]"

/* "password", "api_key", "authorization" …, also at the end of a longer name. */
bool redact_is_secret_name(const char *name);
/* `text` with each "scheme://user:password@host" as "scheme://user:[redacted]@host", cut at `size` - 1 bytes
 * of `out`; `text` itself when there is none. */
const char *redact_urls(const char *text, char *out, size_t size);

#endif
