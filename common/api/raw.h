/*
 * raw: bodies of HTTP that are one field of a message, as they come, with their media type.
 *
 * Which fields is said by the contract: options raw_body and raw_answer of a method. The media type is the
 * field "content_type" beside it.
 */
#ifndef CORBEL_API_RAW_H
#define CORBEL_API_RAW_H

#include <stddef.h>

#include "api/api.h"
#include "base/arena.h"

/* "application/json", with or without parameters. */
bool raw_type_is_json(const char *type);

/* A request of which nothing but body and media type is set; borrows both. A body of JSON goes to the field
 * of bytes with format JSON, if the message has one. `type` may be NULL. NULL: beyond the arena's ceiling. */
ProtobufCMessage *raw_to_message(const struct api_method *method, const char *type, const void *body,
                                 size_t size, struct arena *arena);

struct raw_answer {
	const void *body;
	size_t size;
	const char *type; /* NULL: none is given */
};
/* Borrows from the message; false when the field is absent. */
bool raw_from_message(const struct api_method *method, const ProtobufCMessage *message,
                      struct raw_answer *out);

#endif
