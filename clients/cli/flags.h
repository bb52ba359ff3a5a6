/*
 * flags: the fields of a request as flags.
 *
 * A field is a flag by its name with dashes. A member of a field that is a message can be said alone, behind
 * a dot: "--limits.cpu-ms 100". Members of a list's items ("--checks.limit charts --checks.key user-42") make
 * one item, until one of them comes again and begins the next.
 */
#ifndef CORBEL_CLI_FLAGS_H
#define CORBEL_CLI_FLAGS_H

#include "cli.h"

#define FLAG_NAME_MAX 128

struct flag {
	char name[FLAG_NAME_MAX]; /* without the dashes in front */
	const ProtobufCFieldDescriptor *field;
	const struct api_field *rules;
};

/* Fields of the request, each followed by its members, of which there is one level. */
void flags_each(const struct api_method *method, void (*each)(void *arg, const struct flag *flag), void *arg);

/* Where a flag's value belongs. */
struct place {
	const ProtobufCFieldDescriptor *field;
	const struct api_field *rules;
	json_t *object; /* the request's fields, or an object inside */
};

/* The place of a flag, with the objects on the way to it made; false when there is no such flag. */
bool flags_place(struct command *command, const char *flag, size_t length, struct place *out);
/* "page-size" for "page_size". */
void flags_name(const char *field, char out[FLAG_NAME_MAX]);

#endif
