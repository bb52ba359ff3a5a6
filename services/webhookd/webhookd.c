/*
 * webhookd: the service's table, its options, and its life.
 */
#include "webhookd.h"

#include <string.h>

#include "corbel/webhookd.handlers.gen.h"
#include "callbacks.h"
#include "clearing.h"
#include "courier.h"
#include "daemon/keyring.h"
#include "desk.h"
#include "mailer.h"
#include "queue.h"
#include "recovery.h"
#include "replay.h"
#include "retention.h"
#include "types.h"
#include "webhookd_internal.h"
#include "writer.h"

extern const struct store_migration webhookd_migrations[];

static const struct config_option OPTIONS[] = {
    {.name = "webhookd.secrets",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .help =
         "Secrets that signing keys are sealed under, as id:hex texts separated by commas; the last one is "
         "current. Kept in a file of the data directory when unset, which is for one machine only."},
    {.name = "webhookd.allow",
     .type = CONFIG_TEXT,
     .help = "Networks that endpoints may be in beside public ones, such as \"127.0.0.0/8,[::1]/128\"."},
    {.name = "webhookd.origin",
     .type = CONFIG_TEXT,
     .def = "corbel",
     .help =
         "Name by which receivers that are asked for consent know this installation, such as its DNS name."},
    {.name = "webhookd.proxy",
     .type = CONFIG_TEXT,
     .help = "URL of an egress proxy for deliveries. It has to judge addresses itself then."},
    {.name = "webhookd.ca_file",
     .type = CONFIG_TEXT,
     .help = "Authorities that endpoints' certificates are checked against, PEM; the system's when unset."},
    {.name = "webhookd.in_flight",
     .type = CONFIG_INTEGER,
     .def = "1024",
     .min = 1,
     .max = 65536,
     .help = "Deliveries under way at once at most, in one replica."},
    {.name = "webhookd.lease",
     .type = CONFIG_DURATION,
     .def = "10s",
     .min = 1000,
     .max = 600000,
     .help = "How long a replica owns an endpoint without renewing that: so long an endpoint waits when its "
             "replica dies."},
    {.name = "webhookd.sweep",
     .type = CONFIG_DURATION,
     .def = "1m",
     .min = 1000,
     .max = 3600000,
     .help = "How often a replica looks through all that waits, for deliveries that are so late that nobody "
             "can have "
             "been told of them."},
    {.name = "webhookd.redis_url",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .help = "Redis for endpoints of the sink REDIS_STREAM: redis://host:port/db, rediss:// or unix:///path; "
             "redis.url when unset. The files of redis.tls_ca and the like are for it, too."},
    {.name = "webhookd.callbacks",
     .type = CONFIG_LIST,
     .max = 64,
     .help = "Daemons that endpoints of the sink CALLBACK may name, name=address each; an address of several "
             "URLs "
             "goes on behind a comma."},
    {.name = "webhookd.queue_waiting",
     .type = CONFIG_INTEGER,
     .def = "512",
     .min = 1,
     .max = 65536,
     .help =
         "Calls that may wait for messages of queues at once, in one replica; more are answered at once."},
    {.name = "webhookd.retain",
     .type = CONFIG_DURATION,
     .def = "30d",
     .min = 60000,
     .max = 315360000000,
     .help = "How long events and finished deliveries are kept."},
    {.name = "webhookd.retain_bytes",
     .type = CONFIG_SIZE,
     .def = "0",
     .help = "Bytes of events that are kept for a tenant at most, the newest ones; 0: no such bound."},
    {.name = "webhookd.mail_url",
     .type = CONFIG_TEXT,
     .is_secret = true,
     .help = "SMTP server that tells an endpoint's contacts when it was disabled: "
             "smtp://user:password@host:587 or "
             "smtps://…; a path is the name for EHLO. No e-mail when unset."},
    {.name = "webhookd.mail_from",
     .type = CONFIG_TEXT,
     .help = "Whom e-mails come from: an address, or Name <address>."},
    {.name = "webhookd.mail_starttls",
     .type = CONFIG_CHOICE,
     .def = "required",
     .choices = "required|offered|none",
     .help = "Whether smtp:// has to become secure before anything is sent, is made so when the server can, "
             "or is "
             "used in the clear."},
    {.name = "webhookd.mail_ca_file",
     .type = CONFIG_TEXT,
     .help =
         "Authorities that the SMTP server's certificate is checked against, PEM; the system's when unset."},
    {.name = "webhookd.mail_timeout",
     .type = CONFIG_DURATION,
     .def = "30s",
     .min = 1000,
     .max = 600000,
     .help = "Time for sending an e-mail. A replica that dies meanwhile is followed by another after twice "
             "that."},
    {.name = "webhookd.mail_retry",
     .type = CONFIG_DURATION,
     .def = "1m",
     .min = 100,
     .max = 3600000,
     .help = "Until an e-mail that could not be sent is tried again; doubled with each try, up to an hour."},
    {.name = "webhookd.mail_give_up",
     .type = CONFIG_DURATION,
     .def = "24h",
     .min = 100,
     .max = 604800000,
     .help = "An e-mail that could not be sent for so long is given up."},
    {.name = "webhookd.mail_per_day",
     .type = CONFIG_INTEGER,
     .def = "100",
     .min = 1,
     .max = 1000000,
     .help = "E-mails that a tenant's endpoints may cause in a day."},
    {.name = NULL}};

static struct status
http_options(const struct service_env *env, struct policy *policy, struct outbound_options *out)
{
	struct status st = policy_parse(config_text(env->config, "webhookd.allow"), policy);

	*out =
	    (struct outbound_options){.max_in_flight = (size_t)config_integer(env->config, "webhookd.in_flight"),
	                              .policy = policy,
	                              .refuses_own = true,
	                              .proxy = config_text(env->config, "webhookd.proxy"),
	                              .ca_file = config_text(env->config, "webhookd.ca_file"),
	                              .log = env->log,
	                              .metrics = env->metrics,
	                              .clock = env->clock};
	return status_wrap(st, "webhookd.allow");
}

static void
destroy(void *arg)
{
	struct webhookd *self = arg;

	subscriber_free(self->growth);
	desk_free(self->desk);
	writer_free(self->writer);
	courier_free(self->courier);
	mailer_free(self->mailer);
	queue_metrics_free(self->queue_metrics);
	types_free(self->types);
	keyring_free(self->keyring);
	mem_free(self);
}

static struct status
create(const struct service_env *env, void **out)
{
	struct webhookd *self = mem_alloc(sizeof(*self));

	self->env = *env;
	self->types = types_new();
	self->queue_metrics = queue_metrics_new(env->metrics);
	self->recorded = metrics_counter(
	    env->metrics,
	    &(struct metric_spec){.name = "corbel_events_recorded", .help = "Events taken into the log"}, NULL);
	struct status st = keyring_load(env, "webhookd.secrets", "webhookd.secret", &self->keyring);
	if (status_ok(&st))
		st = mailer_new(self, &self->mailer);
	if (!status_ok(&st)) {
		destroy(self);
		return st;
	}
	*out = self;
	return st;
}

void
webhookd_hint(const struct webhookd *self, const char *tenant)
{
	courier_hint(self->courier, tenant);
	desk_hint(self->desk, tenant);
}

/* Another replica has recorded something: an endpoint that is ours may have more. */
static void
on_growth(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct webhookd *self = arg;
	(void)topic;
	if (strcmp(node, bus_node(self->env.bus)) == 0)
		return;
	Corbel__V1__LogGrew *grew = corbel__v1__log_grew__unpack(NULL, size, payload);
	if (grew && grew->tenant_id && grew->deliveries)
		webhookd_hint(self, grew->tenant_id);
	if (grew)
		corbel__v1__log_grew__free_unpacked(grew, NULL);
}

static struct status
load_types(struct webhookd *self)
{
	struct store_conn *conn;
	struct status st = store_take(self->env.store, 5000, &conn);

	if (!status_ok(&st))
		return st;
	st = types_refresh(self->types, conn);
	store_put(self->env.store, conn);
	return st;
}

static struct status
start(void *arg)
{
	static const char *const TOPICS[] = {"events", NULL};
	struct webhookd *self = arg;
	struct outbound_options http;
	struct policy policy;
	struct subscriber_options growth = {.address = host_publisher_address(self->env.host, "webhookd"),
	                                    .topics = TOPICS,
	                                    .message = on_growth,
	                                    .arg = self};
	struct status st = http_options(&self->env, &policy, &http);

	if (status_ok(&st))
		st = load_types(self);
	if (status_ok(&st))
		st = mailer_start(self->mailer);
	if (status_ok(&st))
		st = courier_new(self, &http, &self->courier);
	if (status_ok(&st))
		st = desk_new(self, &self->desk);
	if (status_ok(&st))
		st = writer_new(self, &self->writer);
	if (status_ok(&st))
		st = subscriber_new(self->env.bus, &growth, &self->growth);
	return st;
}

static service_batch
batch(void *self, const struct api_method *method)
{
	(void)self;
	if (strcmp(method->name, "Events/Publish") == 0)
		return events_publish_batch;
	return strcmp(method->name, "Queues/Receive") == 0 ? queues_receive_batch : NULL;
}

static void
drain(void *arg, uint32_t grace_ms)
{
	struct webhookd *self = arg;
	desk_drain(self->desk);
	courier_drain(self->courier, grace_ms);
	mailer_drain(self->mailer);
}

static void
check(const struct config *config, service_complain complain, void *arg)
{
	callbacks_check(config, complain, arg);
	mailer_check(config, complain, arg);
}

static const struct service_handlers HANDLERS[] = {{&api_events, events_handlers},
                                                   {&api_event_types, event_types_handlers},
                                                   {&api_endpoints, endpoints_handlers},
                                                   {&api_deliveries, deliveries_handlers},
                                                   {&api_replays, replays_handlers},
                                                   {&api_queues, queues_handlers},
                                                   {NULL, NULL}};

static const struct service_task TASKS[] = {{TYPES_REFRESH_MS, types_refresh_task},
                                            {RETENTION_MS, retention_task},
                                            {QUEUE_SWEEP_MS, queue_sweep_task},
                                            {REPLAY_TICK_MS, replay_task},
                                            {RECOVERY_TICK_MS, recovery_task},
                                            {CLEARING_TICK_MS, clearing_task},
                                            {0, NULL}};

const struct service webhookd_service = {
    .name = "webhookd",
    .summary = "Keeps events in order and delivers them as webhooks",
    .options = OPTIONS,
    .check = check,
    .handlers = HANDLERS,
    .migrations = webhookd_migrations,
    .publishes = true,
    .workers = 4,
    .store_threads = 5, /* writer, courier, settler, desk, mailer */
    .create = create,
    .start = start,
    .tasks = TASKS,
    .batch = batch,
    .drain = drain,
    .destroy = destroy,
};
