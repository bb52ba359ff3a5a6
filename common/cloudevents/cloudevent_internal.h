/*
 * cloudevent: shared by the files of this folder.
 */
#ifndef CORBEL_CLOUDEVENTS_CLOUDEVENT_INTERNAL_H
#define CORBEL_CLOUDEVENTS_CLOUDEVENT_INTERNAL_H

#include "api/lexer.h"
#include "cloudevent.h"

typedef Corbel__V1__NewEvent NewEvent;
typedef Corbel__V1__CloudEventAttributes Attributes;
typedef Corbel__V1__CloudEventExtension Extension;

#define EVENTS_MAX     100 /* of a batch, as of any publication */
#define EXTENSIONS_MAX 20  /* of an event, as the contract says */

/* A name that CloudEvents defines itself. */
bool cloudevent_is_own_name(const char *name);
#define CLOUDEVENT_SOURCE_MAX 256
/* `source` of an event that was not published as a CloudEvent. */
void cloudevent_source(const Corbel__V1__Event *event, char out[CLOUDEVENT_SOURCE_MAX]);
/* The characters of a JSON string; NULL when it is none. */
const char *cloudevent_decode_text(const ProtobufCBinaryData *data, struct arena *arena, size_t *size);
/* The bytes that a JSON string holds in base64; NULL when it does not. */
const uint8_t *cloudevent_decode_base64(const ProtobufCBinaryData *data, struct arena *arena, size_t *size);

/* An event that is being read, with room for its attributes. */
NewEvent *cloudevent_new(struct arena *arena);
/* An attribute or an extension of type text, from either format. */
void cloudevent_set_text(NewEvent *event, const char *name, const char *value, const char *pointer,
                         struct arena *arena, struct violations *violations);
/* A place for one more extension; NULL, and a violation, when there are too many. `name` is kept. */
Extension *cloudevent_add_extension(NewEvent *event, const char *name, const char *pointer,
                                    struct arena *arena, struct violations *violations);
/* "id", "source", "type" and "specversion" have to be there. */
void cloudevent_require(const NewEvent *event, bool has_version, const char *pointer, struct arena *arena,
                        struct violations *violations);

#endif
