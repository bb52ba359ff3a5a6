/*
 * cached: the service's table, its options, and its life.
 */
#include "cached.h"

#include <string.h>

#include "cached_internal.h"
#include "corbel/cached.handlers.gen.h"

#define REFRESH_MS 1000u

extern const struct store_migration cached_migrations[];

static const struct config_option OPTIONS[] = {{.name = NULL}};

static void
on_changes(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct cached *self = arg;
	(void)topic;
	(void)payload;
	(void)size;
	if (strcmp(node, bus_node(self->env.bus)) != 0)
		(void)host_work(self->env.host, &cached_service, namespaces_refresh_task, self);
}

static struct status
create(const struct service_env *env, void **out)
{
	struct cached *self = mem_alloc(sizeof(*self));

	self->env = *env;
	self->definitions = definitions_new();
	*out = self;
	return status_ok_value();
}

static struct status
load(struct cached *self)
{
	struct store_conn *conn;
	struct status st = store_take(self->env.store, 5000, &conn);
	if (!status_ok(&st))
		return st;
	st = namespaces_refresh(self, conn);
	store_put(self->env.store, conn);
	return st;
}

static struct status
start(void *arg)
{
	struct cached *self = arg;
	static const char *const TOPICS[] = {"namespaces", NULL};
	struct subscriber_options options = {.address = host_publisher_address(self->env.host, "cached"),
	                                     .topics = TOPICS,
	                                     .message = on_changes,
	                                     .arg = self};
	struct status st = load(self);

	if (status_ok(&st))
		st = subscriber_new(self->env.bus, &options, &self->changes);
	if (status_ok(&st))
		st = host_every(self->env.host, &cached_service, REFRESH_MS, namespaces_refresh_task, self);
	return st;
}

static void
destroy(void *arg)
{
	struct cached *self = arg;
	subscriber_free(self->changes);
	definitions_free(self->definitions);
	mem_free(self);
}

static const struct service_handlers HANDLERS[] = {{&api_cache_namespaces, cache_namespaces_handlers},
                                                   {NULL, NULL}};

const struct service cached_service = {
    .name = "cached",
    .summary = "Keeps values for a while, and the namespaces they are in",
    .options = OPTIONS,
    .handlers = HANDLERS,
    .migrations = cached_migrations,
    .publishes = true,
    .workers = 4,
    .create = create,
    .start = start,
    .destroy = destroy,
};
