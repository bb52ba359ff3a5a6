/*
 * reader: the state of reading one JSON text into a message, shared by json_read.c (objects, arrays, maps)
 * and json_scalar.c (everything else). Used by common/api only.
 *
 * What is well-formed JSON but wrong for the contract is noted as a violation and skipped, so that all of a
 * request's faults are reported together; what is not JSON ends the walk. The path to the current value is a
 * small stack of segments, which becomes a JSON pointer only when something is wrong.
 */
#ifndef CORBEL_API_READER_H
#define CORBEL_API_READER_H

#include "api/json.h"
#include "field.h"
#include "lexer.h"

struct segment {
	const char *name; /* NULL: an index */
	size_t length;    /* or the index */
};

struct reader {
	struct lexer lexer;
	struct arena *arena;
	struct violations *violations;
	struct segment path[JSON_DEPTH_MAX * 2 + 2];
	size_t depth;
	bool is_out_of_memory;
};

/* Readers return false when the walk has ended: the text is no JSON, or memory is at its bound. */

/* Notes what is wrong with the value here. */
void reader_wrong(struct reader *reader, const char *detail);
/* Passes over the value here. */
bool reader_skip(struct reader *reader);
/* Both, for a value of another type than the field's. */
bool reader_wrong_type(struct reader *reader, const ProtobufCFieldDescriptor *field);
bool reader_no_memory(struct reader *reader); /* false */
/* A string, decoded into the arena; *text is NULL, and what is wrong is noted, when it has a fault. */
bool reader_text(struct reader *reader, const char **text, size_t *length);
const char *reader_pointer(struct reader *reader);
/* A value of any type but a message into the field's memory; *is_set tells whether it was good. */
bool read_scalar(struct reader *reader, const ProtobufCFieldDescriptor *field, const struct api_field *rules,
                 void *out, bool *is_set);

#endif
