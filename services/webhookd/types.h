/*
 * types: the schemas that data is checked against, of all tenants, in memory.
 *
 * Publishing asks here and never the store. A replica learns of others' changes by asking the store every
 * second for what is newer than the last change it saw.
 */
#ifndef CORBEL_WEBHOOKD_TYPES_H
#define CORBEL_WEBHOOKD_TYPES_H

#include "api/violations.h"
#include "catalogue.h"
#include "webhookd_internal.h"

#define TYPES_REFRESH_MS 1000u

struct types;

struct types *types_new(void);
void types_free(struct types *types);
const struct catalogue *types_catalogue(const struct types *types);
/* Reads what changed since the last time. */
struct status types_refresh(struct types *types, struct store_conn *conn);
void types_refresh_task(void *webhookd, struct store_conn *conn);
/* Adds what is wrong with the event's data, below `pointer`; notes the version of the schema in the event.
 * True when nothing is, or when no schema is registered. Any thread. */
bool types_check(struct types *types, const char *tenant, Event *event, const char *pointer,
                 struct arena *arena, struct violations *violations);

#endif
