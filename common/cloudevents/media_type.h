/*
 * media_type: what of a media type matters to an event's data.
 */
#ifndef CORBEL_CLOUDEVENTS_MEDIA_TYPE_H
#define CORBEL_CLOUDEVENTS_MEDIA_TYPE_H

#include <stdbool.h>
#include <stddef.h>

/* Length of "type/subtype", without parameters and the space before them. */
size_t media_type_length(const char *type);
/* "…/json" and "…+json". */
bool media_type_is_json(const char *type);
/* "text/…", "…/xml" and "…+xml". */
bool media_type_is_text(const char *type);

#endif
