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

/* Splits "a,b" in place. */
static struct status
peppers_from_option(const char *text, struct peppers **out)
{
	char *copy = mem_strdup(text), *rest = copy;
	const char *list[17] = {NULL};
	size_t count = 0;

	for (char *item; (item = strsep(&rest, ", ")) != NULL && count < 16;)
		if (item[0])
			list[count++] = item;
	struct status st = peppers_parse(list, out);
	explicit_bzero(copy, strlen(text));
	mem_free(copy);
	return status_wrap(st, "accountd.peppers");
}

static struct status
load_peppers(struct accountd *self)
{
	const char *text = config_text(self->env.config, "accountd.peppers");
	if (text)
		return peppers_from_option(text, &self->peppers);
	if (store_is_postgres(self->env.store))
		return status_make(
		    STATUS_INVALID_ARGUMENT,
		    "accountd.peppers must be set when the store is PostgreSQL, since all replicas need the "
		    "same; make one with: echo 1:$(openssl rand -hex 32)");
	char *path = mem_printf("%s/accountd.pepper", host_data_dir(self->env.host));
	struct status st = peppers_from_file(path, self->env.random, &self->peppers);
	mem_free(path);
	return st;
}

static void
destroy(void *arg)
{
	struct accountd *self = arg;
	peppers_free(self->peppers);
	mem_free(self);
}

static struct status
create(const struct service_env *env, void **out)
{
	struct accountd *self = mem_alloc(sizeof(*self));
	self->env = *env;
	struct status st = load_peppers(self);
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
