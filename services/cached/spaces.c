/*
 * spaces: from a caller and a name to the engine's space, under the rules that hold for it.
 *
 * The engine makes a space when it is first used, with rules of its own; the definitions' are put in force
 * before anything is written to it.
 */
#include <string.h>

#include "cached_internal.h"
#include "daemon/scope.h"
#include "tenant_weights.h"

#define ORIGIN_MARGIN_MS 1000u

bool
space_has_origin(struct cached *self, const char *tenant, const char *name)
{
	struct definition_rules rules;

	if (!definitions_have_origins(self->definitions))
		return false;
	definitions_find(self->definitions, tenant, name, &rules);
	return rules.origin_timeout_ms > 0;
}

static void
configure(struct cached *self, struct space *space)
{
	struct space_options options = space_options_default();
	struct definition_rules rules;

	definitions_find(self->definitions, space_tenant(space), space_name(space), &rules);
	options.ttl_ms = rules.ttl_ms;
	options.grace_ms = rules.grace_ms;
	options.error_grace_ms = rules.error_grace_ms;
	options.outage_ms = rules.has_outage ? rules.outage_ms : self->outage_ms;
	options.negative_ttl_ms = rules.negative_ttl_ms;
	/* Whoever fetches from the origin keeps the token for as long as that may take. */
	options.lease_ms = self->lease_ms;
	if (rules.origin_timeout_ms + ORIGIN_MARGIN_MS > options.lease_ms && rules.origin_timeout_ms > 0)
		options.lease_ms = rules.origin_timeout_ms + ORIGIN_MARGIN_MS;
	options.bytes_max = rules.max_bytes;
	options.entries_max = rules.max_entries;
	options.value_max = rules.max_value_bytes;
	space_configure(space, &options);
}

static void
configure_one(void *arg, struct space *space)
{
	configure(arg, space);
}

void
spaces_configure(struct cached *self)
{
	engine_each_space(self->engine, NULL, configure_one, self);
}

/* Before anything is written to it. */
static void
put_in_force(struct cached *self, struct space *space)
{
	if (space_is_configured(space))
		return;
	const struct tenant_quota quota = {.bytes_max = self->tenant_bytes,
	                                   .entries_max = self->tenant_entries,
	                                   .weight = tenant_weight(self->env.config, space_tenant(space))};
	engine_set_quota(self->engine, space_tenant(space), &quota);
	configure(self, space);
}

struct status
space_make(struct cached *self, const char *tenant, const char *name, struct space **out)
{
	struct status st = engine_space(self->engine, tenant, name, out);
	if (status_ok(&st))
		put_in_force(self, *out);
	return st;
}

struct status
space_of_call(struct call *call, const char *tenant_id, const char *name, bool is_made, struct space **out)
{
	struct cached *self = call_service(call);
	const char *tenant;
	struct status st = scope_tenant(call, tenant_id, &tenant);

	*out = NULL;
	if (!status_ok(&st))
		return st;
	*out = engine_find_space(self->engine, tenant, name);
	if (*out)
		put_in_force(self, *out);
	else if (is_made || space_has_origin(self, tenant, name))
		st = space_make(self, tenant, name, out);
	return st;
}
