/*
 * cloudevent: events as CloudEvents 1.0 says, in its JSON format and its HTTP binding.
 *
 *   structured   one JSON object, application/cloudevents+json
 *   batch        a JSON array of them, application/cloudevents-batch+json
 *   binary       attributes as "ce-" headers, the data as the body
 *
 * An event that was not published as a CloudEvent is one with `source` "/tenants/TENANT/PUBLISHER". All get
 * the extension `corbelsequence`, their place in the log; those whose CloudEvent id is not the event's get
 * `corbelid`, too. On the way in extensions whose names begin with "corbel" are passed over: they are of
 * another log.
 *
 * Leaves: memory comes from the arena only, any thread.
 */
#ifndef CORBEL_CLOUDEVENTS_CLOUDEVENT_H
#define CORBEL_CLOUDEVENTS_CLOUDEVENT_H

#include <stdbool.h>
#include <stddef.h>

#include "api/violations.h"
#include "base/arena.h"
#include "base/text.h"
#include "corbel/contract.gen.h"

#define CLOUDEVENT_TYPE       "application/cloudevents+json"
#define CLOUDEVENT_BATCH_TYPE "application/cloudevents-batch+json"

enum cloudevent_mode { CLOUDEVENT_NONE, CLOUDEVENT_STRUCTURED, CLOUDEVENT_BATCH, CLOUDEVENT_BINARY };

/* STRUCTURED or BATCH by a Content-Type or one range of Accept; NONE: another, or NULL. Parameters do not
 * count. */
enum cloudevent_mode cloudevent_mode_of(const char *media_type);

/* ---- in ---- */

struct cloudevent_header {
	const char *name, *value;
};

/* Each reads what has the mode into a request to publish; NULL when the text was not read to its end. Rules
 * of the contract (lengths, patterns, bounds) are api_validate()'s. Violations point into the CloudEvent. */
Corbel__V1__PublishEventsRequest *cloudevent_read(const char *text, size_t length, enum cloudevent_mode mode,
                                                  struct arena *arena, struct violations *violations);
/* `headers` may hold others than "ce-" ones; `type` is the Content-Type or NULL. */
Corbel__V1__PublishEventsRequest *cloudevent_read_binary(const struct cloudevent_header *headers,
                                                         size_t count, const char *type, const char *body,
                                                         size_t length, struct arena *arena,
                                                         struct violations *violations);
/* A pointer into the request to publish, as one into what was sent: "/events/3/timestamp" is "/3/time" in a
 * batch. */
const char *cloudevent_pointer(const char *pointer, enum cloudevent_mode mode, struct arena *arena);
/* What the contract cannot say of attributes, wherever they come from: extensions have names of their own and
 * one value each, and data is what `data_as` says. Violations begin with `pointer`. */
void cloudevent_check(const Corbel__V1__NewEvent *event, const char *pointer, struct arena *arena,
                      struct violations *violations);

/* ---- out ---- */

/* One JSON object. */
void cloudevent_write(const Corbel__V1__Event *event, struct strbuf *out);

/* Attributes that CloudEvents has, and extensions with the two of Corbel's. */
#define CLOUDEVENT_HEADERS_MAX 32

struct cloudevent_binary {
	struct cloudevent_header headers[CLOUDEVENT_HEADERS_MAX]; /* without Content-Type */
	size_t count;
	const char *type; /* Content-Type; NULL: none */
	const char *body; /* points into the event or the arena */
	size_t size;
};
void cloudevent_write_binary(const Corbel__V1__Event *event, struct arena *arena,
                             struct cloudevent_binary *out);

#endif
