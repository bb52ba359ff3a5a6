/*
 * cloudevent: attributes into an event, whichever format they came in.
 */
#include <assert.h>
#include <string.h>

#include "cloudevent_internal.h"

NewEvent *
cloudevent_new(struct arena *arena)
{
	NewEvent *event = ARENA_NEW(arena, NewEvent);
	Attributes *attributes = ARENA_NEW(arena, Attributes);

	corbel__v1__new_event__init(event);
	corbel__v1__cloud_event_attributes__init(attributes);
	attributes->extensions = ARENA_ARRAY(arena, Extension *, EXTENSIONS_MAX);
	event->cloud_event = attributes;
	return event;
}

/* Where the text of an attribute that CloudEvents defines is kept; NULL: elsewhere, or it defines none. */
static char **
text_of(NewEvent *event, const char *name)
{
	const struct {
		const char *name;
		char **at;
	} places[] = {{"id", &event->cloud_event->id},
	              {"source", &event->cloud_event->source},
	              {"type", &event->type},
	              {"subject", &event->subject},
	              {"dataschema", &event->cloud_event->dataschema},
	              {"datacontenttype", &event->cloud_event->datacontenttype}};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (strcmp(places[i].name, name) == 0)
			return places[i].at;
	return NULL;
}

static void
set_time(NewEvent *event, const char *value, const char *pointer, struct arena *arena,
         struct violations *violations)
{
	event->has_timestamp = text_to_timestamp_ms(value, strlen(value), &event->timestamp);
	if (!event->has_timestamp)
		violations_add(violations, arena, pointer, "must be a timestamp of RFC 3339");
}

void
cloudevent_set_text(NewEvent *event, const char *name, const char *value, const char *pointer,
                    struct arena *arena, struct violations *violations)
{
	char **place = text_of(event, name);

	if (place) {
		*place = (char *)(uintptr_t)value;
	} else if (strcmp(name, "specversion") == 0) {
		if (strcmp(value, "1.0") != 0)
			violations_add(violations, arena, pointer, "must be \"1.0\"");
	} else if (strcmp(name, "time") == 0) {
		set_time(event, value, pointer, arena, violations);
	} else {
		Extension *extension = cloudevent_add_extension(event, name, pointer, arena, violations);
		if (extension)
			extension->text = (char *)(uintptr_t)value;
	}
}

Extension *
cloudevent_add_extension(NewEvent *event, const char *name, const char *pointer, struct arena *arena,
                         struct violations *violations)
{
	Attributes *attributes = event->cloud_event;

	assert(attributes);
	if (strncmp(name, "corbel", 6) == 0)
		return NULL;
	if (attributes->n_extensions == EXTENSIONS_MAX) {
		violations_add(violations, arena, pointer, "is one extension too many: %d are kept", EXTENSIONS_MAX);
		return NULL;
	}
	Extension *extension = ARENA_NEW(arena, Extension);
	corbel__v1__cloud_event_extension__init(extension);
	extension->name = (char *)(uintptr_t)name;
	attributes->extensions[attributes->n_extensions++] = extension;
	return extension;
}

void
cloudevent_require(const NewEvent *event, bool has_version, const char *pointer, struct arena *arena,
                   struct violations *violations)
{
	const struct {
		const char *name;
		bool is_there;
	} wanted[] = {{"specversion", has_version},
	              {"id", event->cloud_event->id != NULL},
	              {"source", event->cloud_event->source != NULL},
	              {"type", event->type != NULL}};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!wanted[i].is_there)
			violations_add(violations, arena, arena_printf(arena, "%s/%s", pointer, wanted[i].name),
			               "is required");
}
