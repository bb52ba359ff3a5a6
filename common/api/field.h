/*
 * field: reading and writing one field of a message through its protobuf-c descriptor.
 *
 * Shared by the JSON reader, the JSON writer, validation and parameter binding; not used outside
 * common/api.
 */
#ifndef CORBEL_API_FIELD_H
#define CORBEL_API_FIELD_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/text.h"

/* Where a singular field's value, or a repeated field's array pointer, lies. */
static inline void *
field_at(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	return (char *)(uintptr_t)message + field->offset;
}

/* has_x, the oneof's case, or the number of elements. */
static inline void *
field_quantifier(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	return (char *)(uintptr_t)message + field->quantifier_offset;
}

static inline bool
field_is_oneof(const ProtobufCFieldDescriptor *field)
{
	return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* Size of one element in memory. */
size_t field_size(ProtobufCType type);
bool field_is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
size_t field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* Notes presence of a singular field (has_x or the oneof's case). */
void field_mark(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* The field of that name and its position; NULL when there is none. */
const ProtobufCFieldDescriptor *field_find(const struct api_message *rules, const char *name, size_t length,
                                           size_t *position);
/* A message with its defaults, in the arena; NULL beyond the ceiling. */
ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *descriptor, struct arena *arena);
/* Bound of a field's length or number of elements. */
uint32_t field_max_len(const struct api_field *rules);
uint32_t field_max_items(const struct api_field *rules);

enum scalar_result {
	SCALAR_OK,
	SCALAR_NOT_A_NUMBER, /* not a whole number */
	SCALAR_TOO_LARGE     /* outside the type's range */
};
/* A whole number in decimal notation into a numeric field's memory. */
enum scalar_result scalar_from_digits(ProtobufCType type, const char *text, size_t length, void *out);
/* The name of a type for people: "an unsigned 32-bit whole number". */
const char *scalar_name(ProtobufCType type);

#endif
