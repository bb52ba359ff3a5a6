/*
 * host_make: what the services of a process share, made as its configuration says.
 *
 * A host that fails on the way is freed as far as it came, so nothing is undone here.
 */
#include <string.h>
#include <unistd.h>

#include "daemon/host_internal.h"

static enum log_level
level_of(const char *text)
{
	static const char *const names[] = {"debug", "info", "warn", "error", "off"};

	for (size_t i = 0; i < 4; i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum log_level)i;
	}
	return LOG_OFF;
}

static enum otlp_encoding
encoding_of(const char *text)
{
	return strcmp(text, "json") == 0 ? OTLP_JSON : OTLP_PROTOBUF;
}

static void
collect(void *arg)
{
	struct host *self = arg;
	process_stats_refresh(self->stats);
}

static void
start_push(struct host *self, const char *name)
{
	const struct config *config = self->options.config;
	struct metric_push_options options = {.service = name,
	                                      .node = self->node,
	                                      .endpoint = config_text(config, "metrics.endpoint"),
	                                      .encoding = encoding_of(config_text(config, "metrics.protocol")),
	                                      .headers = config_list(config, "otlp.headers"),
	                                      .interval_ms = config_duration_ms(config, "metrics.interval"),
	                                      .metrics = self->metrics,
	                                      .log = self->log,
	                                      .clock = self->clock,
	                                      .collect = collect,
	                                      .arg = self};

	if (options.endpoint)
		self->push = metric_push_new(&options);
}

void
host_make_telemetry(struct host *self, const char *name)
{
	const struct config *config = self->options.config;
	struct log_options log = {.level = level_of(config_text(config, "log.level")),
	                          .format = strcmp(config_text(config, "log.format"), "json") == 0 ? LOG_JSON
	                                                                                           : LOG_HUMAN,
	                          .fd = STDERR_FILENO,
	                          .service = name,
	                          .node = self->node,
	                          .queue_records = 4096,
	                          .event_rate = (uint32_t)config_integer(config, "log.event_rate"),
	                          .clock = self->clock};
	struct tracer_options tracer = {.service = name,
	                                .node = self->node,
	                                .sample_ratio =
	                                    (double)config_integer(config, "trace.sample_permille") / 1000,
	                                .endpoint = config_text(config, "trace.endpoint"),
	                                .encoding = encoding_of(config_text(config, "trace.protocol")),
	                                .headers = config_list(config, "otlp.headers"),
	                                .file = config_text(config, "trace.file"),
	                                .queue_spans = (uint32_t)config_integer(config, "trace.queue"),
	                                .clock = self->clock};

	if (!tracer.endpoint && !tracer.file)
		tracer.sample_ratio = 0;
	self->metrics = metrics_new();
	log.metrics = self->metrics;
	self->log = log_new(&log);
	self->stats = process_stats_new(self->metrics, self->clock);
	tracer.log = self->log;
	tracer.metrics = self->metrics;
	self->tracer = tracer_new(&tracer);
	start_push(self, name);
}

struct status
host_make_bus(struct host *self)
{
	const struct config *config = self->options.config;
	struct bus_options options = {.node = self->node,
	                              .log = self->log,
	                              .metrics = self->metrics,
	                              .clock = self->clock,
	                              .message_max_bytes = (uint32_t)config_size_bytes(config, "bus.message_max"),
	                              .resolve_ms = (uint32_t)config_duration_ms(config, "bus.resolve"),
	                              .is_only_one = self->options.is_only_one,
	                              .tls_ca = config_text(config, "bus.tls_ca"),
	                              .tls_cert = config_text(config, "bus.tls_cert"),
	                              .tls_key = config_text(config, "bus.tls_key")};

	return bus_new(&options, &self->bus);
}

struct status
host_make_redis(struct host *self)
{
	const struct config *config = self->options.config;
	struct redis_options options = {
	    .url = config_text(config, "redis.url"),
	    .tls_ca = config_text(config, "redis.tls_ca"),
	    .tls_cert = config_text(config, "redis.tls_cert"),
	    .tls_key = config_text(config, "redis.tls_key"),
	    .connections = (uint32_t)config_integer(config, "redis.connections"),
	    .connect_timeout_ms = (uint32_t)config_duration_ms(config, "redis.connect_timeout"),
	    .command_timeout_ms = (uint32_t)config_duration_ms(config, "redis.timeout"),
	    .log = self->log,
	    .metrics = self->metrics,
	    .clock = self->clock};

	return options.url ? redis_new(&options, &self->redis) : status_ok_value();
}

static bool
write_ready(void *arg, struct strbuf *body)
{
	return host_is_ready(arg, body);
}

static bool
write_startup(void *arg, struct strbuf *body)
{
	return host_has_started(arg, body);
}

/* The default port may be taken by another process of the same machine: then we go without. A port
 * that was asked for is a must. */
struct status
host_make_admin(struct host *self)
{
	const struct config *config = self->options.config;
	const char *listen = config_text(config, "admin.listen");
	struct admin_options options = {.listen = listen,
	                                .metrics = self->metrics,
	                                .ready = write_ready,
	                                .startup = write_startup,
	                                .collect = collect,
	                                .arg = self};

	if (self->options.has_no_admin || !listen || !*listen)
		return status_ok_value();
	struct status st = admin_new(&options, &self->admin);
	if (st.code == STATUS_ALREADY_EXISTS && config_source(config, "admin.listen") == CONFIG_DEFAULT) {
		log_warn(self->log, "no admin port", LOG_STATUS(&st));
		return status_ok_value();
	}
	if (status_ok(&st))
		log_info(self->log, "admin port", LOG_TEXT("address", admin_address(self->admin)));
	return st;
}
