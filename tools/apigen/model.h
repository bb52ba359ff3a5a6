/*
 * model: the contract as apigen sees it, read from a FileDescriptorSet.
 *
 * Everything is owned by one arena and lives until the program ends. Lists keep the order of the
 * .proto files.
 */
#ifndef CORBEL_APIGEN_MODEL_H
#define CORBEL_APIGEN_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "corbel/options.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"

typedef Google__Protobuf__FieldDescriptorProto FieldProto;
typedef Google__Protobuf__EnumDescriptorProto EnumProto;

/* What is written about something, and where: "corbel/accounts.proto:12". */
struct model_note {
	const char *doc; /* "" when uncommented */
	const char *place;
};

struct model_enum {
	const char *full_name;  /* "corbel.v1.Role" */
	const char *short_name; /* "Role" */
	const EnumProto *proto;
	struct model_note note;
	const struct model_note *values; /* by value index */
};

struct model_message;

struct model_field {
	const char *name;
	const FieldProto *proto;
	const Corbel__FieldOptions *options; /* never NULL */
	struct model_note note;
	bool is_repeated, is_map;
	const struct model_message *message;  /* of a message field */
	const struct model_enum *enumeration; /* of an enum field */
};

struct model_message {
	const char *full_name;  /* "corbel.v1.ApiKey" */
	const char *short_name; /* "ApiKey", nested "BatchCheckReply.Item" */
	struct model_note note;
	bool is_map_entry;
	struct model_field *fields; /* in order of their numbers, as protobuf-c keeps them */
	size_t field_count;
	const Google__Protobuf__DescriptorProto *proto;
};

struct model_method {
	const char *name;
	const Corbel__MethodOptions *options; /* never NULL */
	struct model_note note;
	const struct model_message *request, *reply;
	const struct model_service *service;
	unsigned id;
	size_t index;
};

struct model_service {
	const char *name;
	const char *daemon;
	struct model_note note;
	struct model_method *methods;
	size_t method_count;
};

struct model {
	struct arena *arena;
	struct model_message *messages;
	size_t message_count;
	struct model_enum *enums;
	size_t enum_count;
	struct model_service *services;
	size_t service_count;
	const char **files; /* served files, such as "corbel/accounts.proto" */
	size_t file_count;
};

/* Exits with a message when the file cannot be read. */
struct model *model_load(const char *path, struct arena *arena);
const struct model_field *model_field_find(const struct model_message *message, const char *name,
                                           size_t length);
/* Prints one line for every breach of the contract's rules, with its place; returns how many. */
size_t model_check(const struct model *model);

/* Types by their position in the model: true for those that callers can meet. */
struct model_reach {
	bool *messages, *enums;
};
/* Requests and replies of methods with a path, and what these hold; of one daemon, or of all (NULL). */
struct model_reach reach_methods(const struct model *model, const char *daemon);
/* Adds a message and what it holds. */
void reach_message(const struct model *model, const struct model_message *message, struct model_reach *reach);

/* Names as protobuf-c and our conventions make them. */
const char *name_c_type(struct arena *arena, const char *full_name);   /* Corbel__V1__ApiKey */
const char *name_c_symbol(struct arena *arena, const char *full_name); /* corbel__v1__api_key */
const char *name_snake(struct arena *arena, const char *camel);        /* usage_reports */
const char *name_upper(struct arena *arena, const char *camel);        /* USAGE_REPORTS */
/* "{id}" or "{path...}": the next parameter of a path from *at on; false when there is none. */
bool path_parameter(const char *path, size_t *at, const char **name, size_t *length);
/* True when the path of `method` (or of NULL: none) gives the field. */
bool is_path_parameter(const struct model_method *method, const char *field);
/* The verb has a body, and there are fields that the path does not give. */
bool has_body(const struct model_method *method);
const char *verb_name(Corbel__Verb verb); /* "GET" */

/* A C string literal without its quotes. */
const char *c_escape(struct arena *arena, const char *text);

/* Writers: each makes one file below `out`. */
void emit_c(const struct model *model, const char *out, const char *openapi);
void emit_handlers(const struct model *model, const char *out);
char *emit_openapi(const struct model *model);
void emit_docs(const struct model *model, const char *out);
/* Writes only when the content differs, so that nothing is rebuilt for no reason. */
void write_file(const char *directory, const char *name, const char *text, size_t length);

#endif
