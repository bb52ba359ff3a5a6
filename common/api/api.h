/*
 * api: the contract's description at run time.
 *
 * tools/apigen writes one `struct api_service` for each service of proto/, with its methods and their
 * options; rules of fields are found by message descriptor and field number. All of it is constant
 * data: any thread, never freed.
 */
#ifndef CORBEL_API_API_H
#define CORBEL_API_API_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum api_verb { API_NONE, API_GET, API_POST, API_PUT, API_PATCH, API_DELETE };
enum api_cost { API_FREE, API_READ, API_WRITE, API_HEAVY };
enum api_format { API_PLAIN, API_TIMESTAMP, API_EMAIL, API_URL, API_ID, API_NAME, API_JSON, API_DATE };

/* Rules of one field; see proto/corbel/options.proto. */
struct api_field {
	const char *name;
	uint32_t tag;
	enum api_format format;
	bool is_required, is_secret, is_output_only, is_nulls, is_map;
	bool has_min, has_max;
	int64_t min, max;
	uint32_t min_len, max_len;     /* max_len 0: 64 KiB */
	uint32_t min_items, max_items; /* max_items 0: 1000 */
	const char *pattern;           /* NULL: none */
	const char *unit, *example, *doc;
};

struct api_message {
	const ProtobufCMessageDescriptor *descriptor;
	const struct api_field *fields; /* in the descriptor's order (by tag); one for each field */
	const char *doc;
};

struct api_enum_value {
	int number;
	const char *doc;
};

struct api_enum {
	const ProtobufCEnumDescriptor *descriptor;
	const struct api_enum_value *values; /* in the contract's order */
	size_t value_count;
	const char *doc;
};

struct call; /* daemon/call.h */
/* Handlers are typed; the table stores them with this type and the generated thunk restores it. */
typedef struct status (*api_handler)(struct call *call, const ProtobufCMessage *request,
                                     ProtobufCMessage *reply);

struct api_method {
	uint32_t id;           /* on the bus */
	const char *name;      /* "Keys/Revoke" */
	const char *full_name; /* "corbel.v1.Keys/Revoke" */
	const char *daemon;    /* "accountd" */
	const struct api_message *request, *reply;
	enum api_verb verb;
	const char *path;  /* NULL: internal */
	const char *scope; /* "" : none */
	bool is_public, is_idempotent, is_fast, is_waiting, is_batched, is_operator_only, is_cloud_events;
	bool spends_held, ends_held; /* the ingress may answer it from leases of limits; it ends those */
	enum api_cost cost;
	uint32_t deadline_ms;
	const char *route_by; /* "" : any replica */
	uint16_t success;
	const char *cli, *confirm, *columns, *doc, *tag;
	const char *cli_words;             /* field of the request that takes further words; "": none */
	const char *or_waits, *hung_up;    /* full names; NULL: none */
	const char *plan_limit;            /* that each call over HTTP counts for, too; NULL: none */
	const char *raw_body, *raw_answer; /* fields; NULL: none */
	size_t index;                      /* in its service */
};

struct api_service {
	const char *name; /* "Keys" */
	const char *daemon;
	const struct api_method *methods;
	size_t method_count;
	const char *doc;
};

/* What the build generates, in corbel/contract.gen.h: for a service "Keys", `extern const struct
 * api_service api_keys` and, for each method, `#define KEYS_CREATE (&api_keys.methods[0])`. And for each
 * daemon corbel/DAEMON.methods.gen.h, prototypes of its typed handlers (`struct status keys_create(struct
 * call *, const …Request *, …Reply *)`), and corbel/DAEMON.handlers.gen.h, included by the daemon's main
 * file alone: the tables `static const api_handler keys_handlers[]` (NULL for batched methods). */

/* Every service of the contract, NULL-terminated (generated). */
extern const struct api_service *const api_services[];
/* Every enum of the contract, NULL-terminated (generated). */
extern const struct api_enum *const api_enums[];
/* The OpenAPI document (generated), NUL-terminated. */
extern const char api_openapi_json[];
extern const size_t api_openapi_json_size;

const struct api_method *api_method_by_id(uint32_t id);             /* NULL: unknown */
const struct api_method *api_method_by_name(const char *full_name); /* NULL: unknown */
/* Rules of a message; every message of the contract has them. NULL for others. */
const struct api_message *api_message_of(const ProtobufCMessageDescriptor *descriptor);
/* What the contract says about a value of an enum; "" for one that it does not know. */
const char *api_enum_doc(const ProtobufCEnumDescriptor *descriptor, int number);

#endif
