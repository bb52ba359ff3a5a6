/*
 * options: a constant table, and one that is made at start because it names the contract's daemons and
 * the user's home directory.
 */
#include "daemon/options.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "bus/bus.h"

#define DAEMONS_MAX 32
#define DAEMON_NAME "{name}"

static const struct config_option COMMON[] = {
    {.name = "node",
     .type = CONFIG_TEXT,
     .min = 1,
     .max = 63,
     .help = "Name of this process in logs, traces and on the bus; host name and process id when unset."},
    {.name = "log.level",
     .type = CONFIG_CHOICE,
     .def = "info",
     .choices = "debug|info|warn|error|off",
     .help = "Least severe records that are written to standard error."},
    {.name = "log.format",
     .type = CONFIG_CHOICE,
     .def = "human",
     .choices = "human|json",
     .help = "Log records for people, or one JSON object a line."},
    {.name = "log.event_rate",
     .type = CONFIG_INTEGER,
     .def = "20",
     .min = 1,
     .max = 1000000,
     .help = "Warnings and errors of one kind that are written in a second; more are counted."},
    {.name = "store.url",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .help = "Database: sqlite:/directory or postgresql://user:password@host/database; sqlite in the data "
             "directory when unset."},
    {.name = "redis.url",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .help =
         "Redis for what replicas share: redis://host:port/db, rediss:// for TLS, or unix:///path; kept in "
         "memory when unset."},
    {.name = "redis.tls_ca",
     .type = CONFIG_TEXT,
     .help = "File of the authorities that a server on rediss:// is checked by; the system's when unset."},
    {.name = "redis.tls_cert",
     .type = CONFIG_TEXT,
     .help = "File of the certificate shown to a server on rediss://, where it asks for one."},
    {.name = "redis.tls_key", .type = CONFIG_TEXT, .help = "File of the private key of redis.tls_cert."},
    {.name = "redis.connections",
     .type = CONFIG_INTEGER,
     .def = "4",
     .min = 1,
     .max = 64,
     .help = "Connections to Redis at most."},
    {.name = "redis.connect_timeout",
     .type = CONFIG_DURATION,
     .def = "250ms",
     .min = 1,
     .max = 60000,
     .help = "Time for a connection to Redis."},
    {.name = "redis.timeout",
     .type = CONFIG_DURATION,
     .def = "100ms",
     .min = 1,
     .max = 60000,
     .help = "Time for a command to Redis."},
    {.name = "bus.listen",
     .type = CONFIG_TEXT,
     .help = "Where a process with one service listens for calls; its own bus address when unset."},
    {.name = "pub.listen",
     .type = CONFIG_TEXT,
     .help = "Where a process with one service publishes; its own pub address when unset."},
    {.name = "bus.template",
     .type = CONFIG_TEXT,
     .help = "Where daemons are called whose own bus address is unset: {name} stands for the daemon, as in "
             "tcp://{name}:7100."},
    {.name = "pub.template",
     .type = CONFIG_TEXT,
     .help = "Where daemons publish whose own pub address is unset: {name} stands for the daemon, as in "
             "tcp://{name}:7101."},
    {.name = "bus.message_max",
     .type = CONFIG_SIZE,
     .def = "16MiB",
     .min = 65536,
     .max = 1 << 30,
     .help = "Largest message between daemons."},
    {.name = "bus.resolve",
     .type = CONFIG_DURATION,
     .def = "3s",
     .min = 100,
     .max = 3600000,
     .help = "How often host names of bus addresses are resolved again."},
    {.name = "bus.tls_ca",
     .type = CONFIG_TEXT,
     .help = "File of the authorities that peers on tls+tcp:// are checked by."},
    {.name = "bus.tls_cert",
     .type = CONFIG_TEXT,
     .help = "File of the certificate shown to peers on tls+tcp://."},
    {.name = "bus.tls_key", .type = CONFIG_TEXT, .help = "File of the private key of bus.tls_cert."},
    {.name = "admin.listen",
     .type = CONFIG_TEXT,
     .def = "127.0.0.1:9600",
     .help = "Address and port of /livez, /readyz, /startupz and /metrics; empty: none."},
    {.name = "drain.delay",
     .type = CONFIG_DURATION,
     .def = "0s",
     .min = 0,
     .max = 60000,
     .help = "Time to serve on after SIGTERM, not ready any more, while whoever sends requests here learns "
             "of it."},
    {.name = "drain.grace",
     .type = CONFIG_DURATION,
     .def = "10s",
     .min = 0,
     .max = 600000,
     .help = "Time to finish what is under way after SIGTERM and drain.delay."},
    {.name = "workers.queue",
     .type = CONFIG_INTEGER,
     .def = "256",
     .min = 1,
     .max = 65536,
     .help = "Slow calls that may wait for a worker thread of one service; more are refused."},
    {.name = "trace.endpoint",
     .type = CONFIG_TEXT,
     .help = "OTLP/HTTP collector of traces, such as http://127.0.0.1:4318; none when unset."},
    {.name = "trace.protocol",
     .type = CONFIG_CHOICE,
     .def = "protobuf",
     .choices = "protobuf|json",
     .help = "Encoding of traces sent to trace.endpoint."},
    {.name = "trace.file",
     .type = CONFIG_TEXT,
     .help = "File that traces are appended to as JSON lines; \"-\" is standard error."},
    {.name = "trace.sample_permille",
     .type = CONFIG_INTEGER,
     .def = "10",
     .min = 0,
     .max = 1000,
     .help = "Traces begun here that are recorded, in thousandths; callers' decisions are kept."},
    {.name = "trace.queue",
     .type = CONFIG_INTEGER,
     .def = "4096",
     .min = 64,
     .max = 1048576,
     .help = "Spans that may wait for export; more are dropped and counted."},
    {.name = "metrics.endpoint",
     .type = CONFIG_TEXT,
     .help =
         "OTLP/HTTP collector that metrics are pushed to, such as http://127.0.0.1:4318; none when unset. "
         "/metrics of the admin port stays."},
    {.name = "metrics.protocol",
     .type = CONFIG_CHOICE,
     .def = "protobuf",
     .choices = "protobuf|json",
     .help = "Encoding of metrics sent to metrics.endpoint."},
    {.name = "metrics.interval",
     .type = CONFIG_DURATION,
     .def = "60s",
     .min = 100,
     .max = 3600000,
     .help = "How often metrics are pushed to metrics.endpoint."},
    {.name = "otlp.headers",
     .type = CONFIG_LIST,
     .max = 16,
     .is_secret = true,
     .help = "HTTP headers of requests to the collectors, name=value each, such as authorization=Bearer …."},
    {.name = NULL}};

struct options {
	struct arena arena;
	struct config_option dynamic[3 * DAEMONS_MAX + 2];
	size_t count;
	const struct config_option **tables;
};

static bool
is_listed(const char *const names[], size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

void
options_each_daemon(const struct service *const *services, void (*each)(void *arg, const char *name),
                    void *arg)
{
	const char *seen[DAEMONS_MAX];
	size_t count = 0;

	for (size_t i = 0; services[i] && count < DAEMONS_MAX; i++)
		seen[count++] = services[i]->name;
	for (size_t i = 0; api_services[i] && count < DAEMONS_MAX; i++) {
		if (!is_listed(seen, count, api_services[i]->daemon))
			seen[count++] = api_services[i]->daemon;
	}
	for (size_t i = 0; i < count; i++)
		each(arg, seen[i]);
}

static void
add(struct options *self, struct config_option option)
{
	assert(self->count < sizeof(self->dynamic) / sizeof(self->dynamic[0]) - 1);
	self->dynamic[self->count++] = option;
}

static void
add_addresses(void *arg, const char *name)
{
	struct options *self = arg;
	struct arena *arena = &self->arena;

	add(self, (struct config_option){
	              .name = arena_printf(arena, "bus.%s", name),
	              .type = CONFIG_TEXT,
	              .help = arena_printf(
	                  arena, "Where %s is called: URLs separated by commas, one or more a replica.", name)});
	add(self, (struct config_option){
	              .name = arena_printf(arena, "pub.%s", name),
	              .type = CONFIG_TEXT,
	              .help = arena_printf(arena, "Where %s publishes: URLs separated by commas.", name)});
}

static void
add_data(struct options *self)
{
	const char *base = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	const char *path = base && *base == '/'
	                       ? arena_printf(&self->arena, "%s/corbel", base)
	                       : arena_printf(&self->arena, "%s/.local/share/corbel", home ? home : "");

	add(self, (struct config_option){.name = "data",
	                                 .type = CONFIG_TEXT,
	                                 .def = path,
	                                 .min = 1,
	                                 .max = 4000,
	                                 .help = "Directory of everything that Corbel keeps on this machine."});
}

static void
add_workers(struct options *self, const struct service *service)
{
	add(self,
	    (struct config_option){
	        .name = arena_printf(&self->arena, "workers.%s", service->name),
	        .type = CONFIG_INTEGER,
	        .def = arena_printf(&self->arena, "%u", service->workers ? service->workers : 4),
	        .min = 1,
	        .max = 256,
	        .help = arena_printf(&self->arena,
	                             "Threads of %s for calls that may wait; each has a connection to its store.",
	                             service->name)});
}

struct options *
options_new(const struct service *const *services)
{
	struct options *self = mem_alloc(sizeof(*self));
	size_t count = 0, table = 0;

	while (services[count])
		count++;
	arena_init(&self->arena, 16384, SIZE_MAX);
	self->tables = mem_array(count + 3, sizeof(*self->tables));
	add_data(self);
	options_each_daemon(services, add_addresses, self);
	for (size_t i = 0; i < count; i++)
		add_workers(self, services[i]);
	self->tables[table++] = COMMON;
	self->tables[table++] = self->dynamic;
	for (size_t i = 0; i < count; i++) {
		if (services[i]->options)
			self->tables[table++] = services[i]->options;
	}
	return self;
}

void
options_free(struct options *self)
{
	if (!self)
		return;
	arena_fini(&self->arena);
	mem_free(self->tables);
	mem_free(self);
}

const struct config_option *const *
options_tables(const struct options *self)
{
	return (const struct config_option *const *)self->tables;
}

/* ---------------------------------------------------------------- what types cannot say */

struct check {
	const struct config *config;
	FILE *errors;
	size_t count;
};

static void
complain(struct check *check, const char *name, const char *message)
{
	static const char *const sources[] = {"default", "file", "environment", "flag"};

	check->count++;
	if (check->errors)
		fprintf(check->errors, "%s (%s): %s\n", name, sources[config_source(check->config, name)], message);
}

static void
check_address(struct check *check, const char *name)
{
	const char *address = config_text(check->config, name);
	struct status st = address ? bus_address_check(address) : status_ok_value();

	if (!status_ok(&st))
		complain(check, name, st.message);
}

static void
check_addresses(void *arg, const char *daemon)
{
	char name[80];

	snprintf(name, sizeof(name), "bus.%s", daemon);
	check_address(arg, name);
	snprintf(name, sizeof(name), "pub.%s", daemon);
	check_address(arg, name);
}

char *
options_fill_template(const char *pattern, const char *daemon)
{
	const char *at = strstr(pattern, DAEMON_NAME);

	return at ? mem_printf("%.*s%s%s", (int)(at - pattern), pattern, daemon, at + strlen(DAEMON_NAME)) : NULL;
}

static void
check_template(struct check *check, const char *name)
{
	const char *pattern = config_text(check->config, name);
	char *filled = pattern ? options_fill_template(pattern, "daemon") : NULL;
	struct status st = filled ? bus_address_check(filled) : status_ok_value();

	if (pattern && !filled)
		complain(check, name, "expected " DAEMON_NAME " in it, for the name of a daemon");
	else if (!status_ok(&st))
		complain(check, name, st.message);
	mem_free(filled);
}

static bool
begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void
check_headers(struct check *check)
{
	for (const char *const *header = config_list(check->config, "otlp.headers"); *header; header++) {
		if (strchr(*header, '=') == NULL || **header == '=')
			complain(check, "otlp.headers", "expected name=value");
	}
}

static void
check_urls(struct check *check)
{
	static const char *const collectors[] = {"trace.endpoint", "metrics.endpoint"};
	const char *store = config_text(check->config, "store.url");

	if (store && !begins_with(store, "sqlite:") && !begins_with(store, "postgresql://") &&
	    !begins_with(store, "postgres://"))
		complain(check, "store.url", "expected sqlite:/directory or postgresql://…");
	for (size_t i = 0; i < sizeof(collectors) / sizeof(collectors[0]); i++) {
		const char *url = config_text(check->config, collectors[i]);
		if (url && !begins_with(url, "http://") && !begins_with(url, "https://"))
			complain(check, collectors[i], "expected http://host:port or https://…");
	}
}

static void
check_redis(struct check *check)
{
	const char *url = config_text(check->config, "redis.url");

	if (url && !begins_with(url, "redis://") && !begins_with(url, "rediss://") &&
	    !begins_with(url, "unix://"))
		complain(check, "redis.url", "expected redis://host:port/db, rediss://host:port/db or unix:///path");
	if (!config_text(check->config, "redis.tls_cert") != !config_text(check->config, "redis.tls_key"))
		complain(check, "redis.tls_cert", "is of use only with redis.tls_key, and the reverse");
}

static void
complain_for_service(void *arg, const char *option, const char *what)
{
	complain(arg, option, what);
}

size_t
options_check(const struct config *config, const struct service *const *services, FILE *errors)
{
	struct check check = {.config = config, .errors = errors};

	options_each_daemon(services, check_addresses, &check);
	check_address(&check, "bus.listen");
	check_address(&check, "pub.listen");
	check_template(&check, "bus.template");
	check_template(&check, "pub.template");
	if (services[0] && services[1]) {
		if (config_text(config, "bus.listen"))
			complain(&check, "bus.listen", "is for a process with one service; use bus.NAME here");
		if (config_text(config, "pub.listen"))
			complain(&check, "pub.listen", "is for a process with one service; use pub.NAME here");
	}
	check_urls(&check);
	check_redis(&check);
	check_headers(&check);
	for (size_t i = 0; services[i]; i++)
		if (services[i]->check)
			services[i]->check(config, complain_for_service, &check);
	return check.count;
}
