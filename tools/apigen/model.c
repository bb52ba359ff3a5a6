/*
 * model: from a FileDescriptorSet to messages, enums, services and methods with their options and
 * comments.
 *
 * protobuf-c keeps custom options as unknown fields of the options message: a tag, and for our
 * length-delimited ones the serialised message. Comments are found by the path of SourceCodeInfo
 * (descriptor.proto, "Location").
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"

#define OPTION_TAG     50501
#define PATH_MAX_DEPTH 12

typedef Google__Protobuf__FileDescriptorProto FileProto;
typedef Google__Protobuf__DescriptorProto MessageProto;
typedef Google__Protobuf__SourceCodeInfo__Location Location;

struct loader {
	struct model *model;
	const FileProto *file;
	int path[PATH_MAX_DEPTH];
	size_t depth;
};

static void
die(const char *what)
{
	fprintf(stderr, "apigen: %s\n", what);
	exit(1);
}

/* The bytes of our option among the unknown fields, without the length that protobuf-c leaves in front. */
static bool
option_bytes(const ProtobufCMessage *options, const uint8_t **bytes, size_t *length)
{
	for (unsigned i = 0; options && i < options->n_unknown_fields; i++) {
		const ProtobufCMessageUnknownField *field = &options->unknown_fields[i];
		if (field->tag != OPTION_TAG || field->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
			continue;
		size_t skip = 0;
		while (skip < field->len && (field->data[skip] & 0x80))
			skip++;
		*bytes = field->data + skip + 1;
		*length = field->len - skip - 1;
		return true;
	}
	return false;
}

static const char *
trimmed(struct arena *arena, const char *comment)
{
	struct strbuf out;
	strbuf_init(&out, arena);
	strbuf_add(&out, "", 0);
	for (const char *line = comment; line && *line;) {
		size_t length = strcspn(line, "\n");
		size_t lead = length && line[0] == ' ';
		strbuf_add(&out, line + lead, length - lead);
		line += length;
		if (*line == '\n' && *++line)
			strbuf_putc(&out, '\n');
	}
	while (out.length && (out.data[out.length - 1] == '\n' || out.data[out.length - 1] == ' '))
		out.data[--out.length] = '\0';
	return out.data;
}

static const Location *
location_here(const struct loader *loader)
{
	const Google__Protobuf__SourceCodeInfo *info = loader->file->source_code_info;
	for (size_t i = 0; info && i < info->n_location; i++) {
		const Location *where = info->location[i];
		if (where->n_path == loader->depth &&
		    memcmp(where->path, loader->path, loader->depth * sizeof(int)) == 0)
			return where;
	}
	return NULL;
}

/* The comment before the thing at the loader's path, or behind it; and its line. */
static struct model_note
note_here(const struct loader *loader)
{
	struct arena *arena = loader->model->arena;
	const Location *where = location_here(loader);
	const char *comment = NULL;

	if (where)
		comment = where->leading_comments ? where->leading_comments : where->trailing_comments;
	return (struct model_note){.doc = trimmed(arena, comment),
	                           .place = arena_printf(arena, "%s:%d", loader->file->name,
	                                                 where && where->n_span > 0 ? where->span[0] + 1 : 0)};
}

static void
enter(struct loader *loader, int field, int index)
{
	if (loader->depth + 2 > PATH_MAX_DEPTH)
		die("messages are nested too deeply");
	loader->path[loader->depth++] = field;
	loader->path[loader->depth++] = index;
}

static void
leave(struct loader *loader)
{
	loader->depth -= 2;
}

static const Corbel__FieldOptions *
field_options(const FieldProto *proto)
{
	static const Corbel__FieldOptions NONE = CORBEL__FIELD_OPTIONS__INIT;
	const uint8_t *bytes;
	size_t length;

	if (!proto->options || !option_bytes(&proto->options->base, &bytes, &length))
		return &NONE;
	const Corbel__FieldOptions *options = corbel__field_options__unpack(NULL, length, bytes);
	if (!options)
		die("a field's options cannot be read");
	return options;
}

static const Corbel__MethodOptions *
method_options(const Google__Protobuf__MethodDescriptorProto *proto)
{
	static const Corbel__MethodOptions NONE = CORBEL__METHOD_OPTIONS__INIT;
	const uint8_t *bytes;
	size_t length;

	if (!proto->options || !option_bytes(&proto->options->base, &bytes, &length))
		return &NONE;
	const Corbel__MethodOptions *options = corbel__method_options__unpack(NULL, length, bytes);
	if (!options)
		die("a method's options cannot be read");
	return options;
}

static int
by_number(const void *a, const void *b)
{
	const struct model_field *left = a, *right = b;
	return left->proto->number - right->proto->number;
}

static void
load_fields(struct loader *loader, struct model_message *message)
{
	const MessageProto *proto = message->proto;

	message->field_count = proto->n_field;
	message->fields = ARENA_ARRAY(loader->model->arena, struct model_field, proto->n_field + 1);
	for (size_t i = 0; i < proto->n_field; i++) {
		struct model_field *field = &message->fields[i];
		enter(loader, 2, (int)i);
		field->name = proto->field[i]->name;
		field->proto = proto->field[i];
		field->options = field_options(proto->field[i]);
		field->note = note_here(loader);
		field->is_repeated =
		    proto->field[i]->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED;
		leave(loader);
	}
	qsort(message->fields, message->field_count, sizeof(*message->fields), by_number);
}

static void load_enum(struct loader *loader, const EnumProto *proto, const char *scope);

static void
load_message(struct loader *loader, const MessageProto *proto, const char *scope)
{
	struct model *model = loader->model;
	struct model_message *message = &model->messages[model->message_count++];
	size_t package = strlen(loader->file->package);

	message->full_name = arena_printf(model->arena, "%s.%s", scope, proto->name);
	message->short_name = message->full_name + package + 1;
	message->proto = proto;
	message->note = note_here(loader);
	message->is_map_entry = proto->options && proto->options->has_map_entry && proto->options->map_entry;
	load_fields(loader, message);
	for (size_t i = 0; i < proto->n_nested_type; i++) {
		enter(loader, 3, (int)i);
		load_message(loader, proto->nested_type[i], message->full_name);
		leave(loader);
	}
	for (size_t i = 0; i < proto->n_enum_type; i++) {
		enter(loader, 4, (int)i);
		load_enum(loader, proto->enum_type[i], message->full_name);
		leave(loader);
	}
}

static void
load_enum(struct loader *loader, const EnumProto *proto, const char *scope)
{
	struct model *model = loader->model;
	struct model_enum *entry = &model->enums[model->enum_count++];
	struct model_note *values = ARENA_ARRAY(model->arena, struct model_note, proto->n_value + 1);

	entry->full_name = arena_printf(model->arena, "%s.%s", scope, proto->name);
	entry->short_name = entry->full_name + strlen(loader->file->package) + 1;
	entry->proto = proto;
	entry->note = note_here(loader);
	for (size_t i = 0; i < proto->n_value; i++) {
		enter(loader, 2, (int)i);
		values[i] = note_here(loader);
		leave(loader);
	}
	entry->values = values;
}

static const struct model_message *
find_message(const struct model *model, const char *type_name)
{
	for (size_t i = 0; i < model->message_count; i++)
		if (strcmp(model->messages[i].full_name, type_name + 1) == 0)
			return &model->messages[i];
	return NULL;
}

static void
link_types(struct model *model)
{
	for (size_t m = 0; m < model->message_count; m++) {
		for (size_t f = 0; f < model->messages[m].field_count; f++) {
			struct model_field *field = &model->messages[m].fields[f];
			if (!field->proto->type_name)
				continue;
			field->message = find_message(model, field->proto->type_name);
			field->is_map = field->message && field->message->is_map_entry;
			for (size_t e = 0; e < model->enum_count; e++)
				if (strcmp(model->enums[e].full_name, field->proto->type_name + 1) == 0)
					field->enumeration = &model->enums[e];
		}
	}
}

static unsigned
method_id(struct arena *arena, const char *package, const char *service, const char *method)
{
	uint8_t digest[SHA256_BYTES];
	const char *name = arena_printf(arena, "%s.%s/%s", package, service, method);
	hash_sha256(name, strlen(name), digest);
	return (unsigned)digest[0] << 24 | (unsigned)digest[1] << 16 | (unsigned)digest[2] << 8 | digest[3];
}

static const char *
daemon_of(struct model *model, const FileProto *file)
{
	const uint8_t *bytes;
	size_t length;
	if (!file->options || !option_bytes(&file->options->base, &bytes, &length))
		return NULL;
	return arena_strndup(model->arena, (const char *)bytes, length);
}

static void
load_service(struct loader *loader, const Google__Protobuf__ServiceDescriptorProto *proto, const char *daemon)
{
	struct model *model = loader->model;
	struct model_service *service = &model->services[model->service_count++];

	service->name = proto->name;
	service->daemon = daemon;
	service->note = note_here(loader);
	service->method_count = proto->n_method;
	service->methods = ARENA_ARRAY(model->arena, struct model_method, proto->n_method + 1);
	for (size_t i = 0; i < proto->n_method; i++) {
		struct model_method *method = &service->methods[i];
		enter(loader, 2, (int)i);
		method->name = proto->method[i]->name;
		method->options = method_options(proto->method[i]);
		method->note = note_here(loader);
		method->request = find_message(model, proto->method[i]->input_type);
		method->reply = find_message(model, proto->method[i]->output_type);
		method->service = service;
		method->id = method_id(model->arena, loader->file->package, service->name, method->name);
		method->index = i;
		leave(loader);
	}
}

static size_t
count_messages(MessageProto *const *messages, size_t count)
{
	size_t total = count;
	for (size_t i = 0; i < count; i++)
		total += count_messages(messages[i]->nested_type, messages[i]->n_nested_type);
	return total;
}

static size_t
count_enums(MessageProto *const *messages, size_t count)
{
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += messages[i]->n_enum_type + count_enums(messages[i]->nested_type, messages[i]->n_nested_type);
	return total;
}

static bool
is_served(const FileProto *file)
{
	return file->package && strncmp(file->package, "corbel.", 7) == 0;
}

static void
reserve(struct model *model, const Google__Protobuf__FileDescriptorSet *set)
{
	size_t messages = 0, enums = 0, services = 0;
	for (size_t i = 0; i < set->n_file; i++) {
		messages += count_messages(set->file[i]->message_type, set->file[i]->n_message_type);
		enums +=
		    set->file[i]->n_enum_type + count_enums(set->file[i]->message_type, set->file[i]->n_message_type);
		services += set->file[i]->n_service;
	}
	model->messages = ARENA_ARRAY(model->arena, struct model_message, messages + 1);
	model->enums = ARENA_ARRAY(model->arena, struct model_enum, enums + 1);
	model->services = ARENA_ARRAY(model->arena, struct model_service, services + 1);
	model->files = ARENA_ARRAY(model->arena, const char *, set->n_file + 1);
}

static void
load_types(struct loader *loader)
{
	const FileProto *file = loader->file;
	for (size_t i = 0; i < file->n_message_type; i++) {
		enter(loader, 4, (int)i);
		load_message(loader, file->message_type[i], file->package);
		leave(loader);
	}
	for (size_t i = 0; i < file->n_enum_type; i++) {
		enter(loader, 5, (int)i);
		load_enum(loader, file->enum_type[i], file->package);
		leave(loader);
	}
}

static void
load_services(struct loader *loader)
{
	const char *daemon = daemon_of(loader->model, loader->file);
	if (loader->file->n_service && !daemon)
		die(arena_printf(loader->model->arena, "%s: option (corbel.daemon) is missing", loader->file->name));
	for (size_t i = 0; i < loader->file->n_service; i++) {
		enter(loader, 6, (int)i);
		load_service(loader, loader->file->service[i], daemon);
		leave(loader);
	}
}

static Google__Protobuf__FileDescriptorSet *
read_set(const char *path, struct arena *arena)
{
	FILE *file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0)
		die(arena_printf(arena, "cannot read %s", path));
	long size = ftell(file);
	rewind(file);
	uint8_t *bytes = arena_alloc_raw(arena, size > 0 ? (size_t)size : 1);
	if (size <= 0 || fread(bytes, 1, (size_t)size, file) != (size_t)size)
		die(arena_printf(arena, "cannot read %s", path));
	(void)fclose(file);
	Google__Protobuf__FileDescriptorSet *set =
	    google__protobuf__file_descriptor_set__unpack(NULL, (size_t)size, bytes);
	if (!set)
		die(arena_printf(arena, "%s is not a descriptor set", path));
	return set;
}

struct model *
model_load(const char *path, struct arena *arena)
{
	struct model *model = ARENA_NEW(arena, struct model);
	Google__Protobuf__FileDescriptorSet *set = read_set(path, arena);

	model->arena = arena;
	reserve(model, set);
	for (size_t i = 0; i < set->n_file; i++) {
		struct loader loader = {.model = model, .file = set->file[i]};
		if (!is_served(set->file[i]))
			continue;
		load_types(&loader);
		model->files[model->file_count++] = set->file[i]->name;
	}
	link_types(model);
	for (size_t i = 0; i < set->n_file; i++) {
		struct loader loader = {.model = model, .file = set->file[i]};
		if (is_served(set->file[i]))
			load_services(&loader);
	}
	return model;
}

const struct model_field *
model_field_find(const struct model_message *message, const char *name, size_t length)
{
	for (size_t i = 0; i < message->field_count; i++)
		if (strlen(message->fields[i].name) == length && memcmp(message->fields[i].name, name, length) == 0)
			return &message->fields[i];
	return NULL;
}
