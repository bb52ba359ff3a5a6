/*
 * test_host: see test_host.h.
 */
#include "support/test_host.h"

#include <check.h>

#include "daemon/options.h"
#include "support/test_process.h"

#define DRAIN_MS   5000u
#define CONNECT_MS 20000u

static void
must(struct status st)
{
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

struct status
test_host_try(struct test_host *self, const struct service *const *services, const char *const *flags,
              int count, FILE *out)
{
	*self = (struct test_host){.options = options_new(services)};
	struct config_input input = {.tables = options_tables(self->options),
	                             .argc = count,
	                             .argv = flags,
	                             .environ = (const char *[]){NULL}};
	must(config_load(&input, stderr, &self->config));
	struct host_options options = {.config = self->config, .services = services, .stop_fd = -1, .out = out};
	must(host_new(&options, &self->host));
	return host_start(self->host);
}

void
test_host_start(struct test_host *self, const struct service *const *services, const char *const *flags,
                int count)
{
	must(test_host_try(self, services, flags, count, NULL));
}

void
test_host_stop(struct test_host *self)
{
	ck_assert(host_drain(self->host, DRAIN_MS));
	host_free(self->host);
	config_free(self->config);
	options_free(self->options);
}

struct pool *
test_host_pool(struct test_host *self, const char *service)
{
	struct pool *pool = host_pool(self->host, service);

	for (uint64_t end = test_now_ms() + CONNECT_MS; pool_healthy(pool) == 0; test_pause())
		ck_assert_msg(test_now_ms() < end, "%s is not reached", service);
	return pool;
}
