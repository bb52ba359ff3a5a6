/*
 * accountd: the service's table, its options, and its life.
 */
#include "accountd.h"

#include <string.h>

#include "accountd_internal.h"
#include "corbel/accountd.handlers.gen.h"

extern const struct store_migration accountd_migrations[];

static const struct config_option OPTIONS[] = {
    {.name = "accountd.peppers",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .help =
         "Secrets that keys are hashed under, as id:hex texts separated by commas; the last one is current. "
         "Kept in a file of the data directory when unset, which is for one machine only."},
    {.name = "accountd.bootstrap_key",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .help = "Key that the operators begin with, instead of one that is made and shown at the first start."},
    {.name = NULL}};

static void
destroy(void *arg)
{
	struct accountd *self = arg;
	keyring_free(self->peppers);
	mem_free(self);
}

static struct status
create(const struct service_env *env, void **out)
{
	struct accountd *self = mem_alloc(sizeof(*self));
	self->env = *env;
	struct status st = keyring_load(env, "accountd.peppers", "accountd.pepper", &self->peppers);
	if (!status_ok(&st)) {
		destroy(self);
		return st;
	}
	*out = self;
	return st;
}

static struct status
start(void *arg)
{
	return bootstrap(arg);
}

static const struct service_handlers HANDLERS[] = {{&api_tenants, tenants_handlers},
                                                   {&api_users, users_handlers},
                                                   {&api_plans, plans_handlers},
                                                   {&api_subscriptions, subscriptions_handlers},
                                                   {&api_keys, keys_handlers},
                                                   {&api_usage_reports, usage_reports_handlers},
                                                   {&api_stream_tokens, stream_tokens_handlers},
                                                   {NULL, NULL}};

const struct service accountd_service = {
    .name = "accountd",
    .summary = "Keeps tenants, users, plans, subscriptions and API keys",
    .options = OPTIONS,
    .handlers = HANDLERS,
    .migrations = accountd_migrations,
    .publishes = true,
    .workers = 4,
    .create = create,
    .start = start,
    .destroy = destroy,
};
