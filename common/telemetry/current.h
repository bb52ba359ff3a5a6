/*
 * current: the trace and request that the calling thread works for, as log records show them.
 */
#ifndef CORBEL_TELEMETRY_CURRENT_H
#define CORBEL_TELEMETRY_CURRENT_H

#include <stdbool.h>

#define TRACE_ID_TEXT 33

/* False when the thread works for no trace. */
bool current_trace_id(char out[TRACE_ID_TEXT]);
/* "" when the thread works for no request. */
const char *current_request_id(void);

#endif
