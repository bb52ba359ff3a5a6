/*
 * scope: whose things a call may touch, and what all nouns of all services do alike.
 */
#ifndef CORBEL_DAEMON_SCOPE_H
#define CORBEL_DAEMON_SCOPE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/call.h"
#include "store/store.h"

/* The tenant a request is for: the caller's own, or for operators the one they name. */
struct status scope_tenant(struct call *call, const char *named, const char **out);
/* May the caller see what belongs to `tenant`? */
bool scope_sees(const struct call *call, const char *tenant);
/* What belongs to another tenant is not there either. */
struct status scope_not_found(const char *what);
bool scope_has_null(char *const *nulls, size_t count, const char *field);

/* A message for a BYTEA column, packed in the arena. */
struct store_value packed_value(struct arena *arena, const ProtobufCMessage *message);
/* A column's bytes as a message, in the arena; NULL when they are not one. */
ProtobufCMessage *unpacked(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                           const struct store_rows *rows, size_t row, size_t column);

/* Pages go from the newest id down; a token is the last id of the page before. */
#define PAGE_SIZE_DEFAULT 50 /* for who asks for none */
struct page {
	uint32_t size;
	const char *before; /* "~", after every id, for the first page */
};
/* What a request for a list asks of page_read(). */
#define PAGE_ASKED(request) (request)->has_page_size, (request)->page_size, (request)->page_token
/* `prefix` is that of the ids, without the underscore. */
struct status page_read(struct call *call, bool has_size, uint32_t size, const char *token,
                        const char *prefix, struct page *out);
/* The LIMIT of a list: one row more than the page has, which tells that another page follows. */
struct store_value page_limit(const struct page *page);
/* Reads the rows of a page. `count` is how many are of this page: fewer than there are rows when another
 * follows. */
struct status page_rows(struct call *call, const struct store_sql *sql, const struct store_value *params,
                        size_t param_count, const struct page *page, struct store_rows **rows, size_t *count);
/* For a token that was never given out. */
struct status page_refuse(struct call *call);

#endif
