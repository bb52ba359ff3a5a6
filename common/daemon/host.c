/*
 * host: makes what the services of a process share, and walks them through their lives together.
 *
 * Services start in the given order and drain in the reverse, so the last of the list, which calls the
 * others, is the first to stop. Each listens once it has started, so that nobody reaches a service before it
 * has what it decides by.
 */
#include "daemon/host.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "daemon/host_internal.h"

#define FLUSH_MS 2000 /* for each kind of telemetry at the end */

/* ---------------------------------------------------------------- directories */

/* mkdir -p, private to us. */
struct status
host_make_directory(const char *path)
{
	char *copy = mem_strdup(path);
	struct status st = status_ok_value();

	for (char *slash = copy + 1; status_ok(&st) && *slash; slash++) {
		if (*slash != '/')
			continue;
		*slash = '\0';
		if (mkdir(copy, 0700) != 0 && errno != EEXIST)
			st = status_make(STATUS_FAILED_PRECONDITION, "directory %s: %s", copy, strerror(errno));
		*slash = '/';
	}
	if (status_ok(&st) && mkdir(copy, 0700) != 0 && errno != EEXIST)
		st = status_make(STATUS_FAILED_PRECONDITION, "directory %s: %s", copy, strerror(errno));
	mem_free(copy);
	return st;
}

/* A process that keeps nothing here, with a read-only file system, does without. One that needs the
 * directory fails later, at what it needs it for. */
static void
make_directories(const struct host *self)
{
	char *run = mem_printf("%s/run", host_data_dir(self));
	struct status st = host_make_directory(run);

	if (!status_ok(&st))
		log_warn(self->log, "no data directory", LOG_STATUS(&st));
	mem_free(run);
}

const char *
host_data_dir(const struct host *self)
{
	return config_text(self->options.config, "data");
}

/* ---------------------------------------------------------------- what services ask of their host */

static struct hosted *
find_hosted(struct host *self, const struct service *service)
{
	for (size_t i = 0; i < self->count; i++) {
		if (self->hosted[i].service == service)
			return &self->hosted[i];
	}
	return NULL;
}

bool
host_work(struct host *self, const struct service *service, void (*run)(void *arg, struct store_conn *conn),
          void *arg)
{
	struct hosted *hosted = find_hosted(self, service);
	return hosted && hosted->workers && workers_run(hosted->workers, run, arg);
}

struct status
host_every(struct host *self, const struct service *service, uint32_t interval_ms,
           void (*run)(void *arg, struct store_conn *conn), void *arg)
{
	struct hosted *hosted = find_hosted(self, service);

	if (!hosted || !hosted->workers)
		return status_make(STATUS_FAILED_PRECONDITION, "the service is not of this process");
	return workers_every(hosted->workers, interval_ms, run, arg);
}

void
host_remember(struct host *self, const char *name, const char *text)
{
	struct host_announcement *one = mem_alloc(sizeof(*one));

	one->name = mem_strdup(name);
	one->text = mem_strdup(text);
	pthread_mutex_lock(&self->lock);
	one->next = self->announcements;
	self->announcements = one;
	pthread_mutex_unlock(&self->lock);
}

void
host_announce(struct host *self, const char *name, const char *text)
{
	host_remember(self, name, text);
	if (self->options.out) {
		fprintf(self->options.out, "%s: %s\n", name, text);
		fflush(self->options.out);
	}
}

const char *
host_announced(struct host *self, const char *name)
{
	const char *text = NULL;

	pthread_mutex_lock(&self->lock);
	for (struct host_announcement *one = self->announcements; one && !text; one = one->next) {
		if (strcmp(one->name, name) == 0)
			text = one->text;
	}
	pthread_mutex_unlock(&self->lock);
	return text;
}

struct log *
host_log(const struct host *self)
{
	return self->log;
}

const char *
host_admin_address(const struct host *self)
{
	return self->admin ? admin_address(self->admin) : "";
}

bool
host_waits_to_stop(const struct host *self, uint32_t ms)
{
	struct pollfd stop = {.fd = self->options.stop_fd, .events = POLLIN};
	return poll(&stop, 1, (int)ms) == 1; /* a negative descriptor is ignored: a plain pause */
}

/* ---------------------------------------------------------------- making */

static void
make_hosted(struct host *self)
{
	self->hosted = mem_array(self->count ? self->count : 1, sizeof(*self->hosted));
	for (size_t i = 0; i < self->count; i++) {
		struct hosted *hosted = &self->hosted[i];
		hosted->host = self;
		hosted->service = self->options.services[i];
		hosted->env = (struct service_env){.config = self->options.config,
		                                   .log = log_for_service(self->log, hosted->service->name),
		                                   .metrics = self->metrics,
		                                   .tracer = self->tracer,
		                                   .clock = self->clock,
		                                   .random = self->random,
		                                   .bus = self->bus,
		                                   .redis = self->redis,
		                                   .host = self};
	}
}

static char *
store_url(const struct host *self)
{
	const char *said = config_text(self->options.config, "store.url");
	return said ? mem_strdup(said) : mem_printf("sqlite:%s", host_data_dir(self));
}

/* Host name and process id, unless said: what tells replicas apart. */
static char *
node_name(const struct host *self)
{
	const char *said = config_text(self->options.config, "node");
	char host[48] = "";

	if (said)
		return mem_strdup(said);
	if (gethostname(host, sizeof(host) - 1) != 0 || !*host)
		strcpy(host, "corbel");
	return mem_printf("%s-%d", host, (int)getpid());
}

struct status
host_new(const struct host_options *options, struct host **out)
{
	struct host *self = mem_alloc(sizeof(*self));

	self->options = *options;
	self->clock = clock_system();
	self->random = random_system();
	self->store_url = store_url(self);
	self->node = node_name(self);
	pthread_mutex_init(&self->lock, NULL);
	while (options->services[self->count])
		self->count++;
	host_make_telemetry(self, self->count == 1 ? options->services[0]->name : "corbel");
	make_directories(self);
	struct status st = host_make_bus(self);
	if (status_ok(&st))
		st = host_make_redis(self);
	make_hosted(self);
	if (status_ok(&st))
		st = host_make_admin(self);
	if (!status_ok(&st)) {
		host_free(self);
		self = NULL;
	}
	*out = self;
	return st;
}

/* ---------------------------------------------------------------- life */

static struct status
for_each(struct host *self, struct status (*step)(struct hosted *hosted))
{
	struct status st = status_ok_value();

	for (size_t i = 0; i < self->count && status_ok(&st); i++)
		st = step(&self->hosted[i]);
	return st;
}

static struct status
open_for_calls(struct hosted *hosted)
{
	struct status st = hosted_start(hosted);
	return status_ok(&st) ? hosted_listen(hosted) : st;
}

struct status
host_migrate(struct host *self)
{
	return for_each(self, hosted_prepare);
}

struct status
host_start(struct host *self)
{
	struct status st = host_migrate(self);

	if (status_ok(&st))
		st = for_each(self, hosted_create);
	if (status_ok(&st))
		st = for_each(self, open_for_calls);
	return st;
}

void
host_reload(struct host *self)
{
	for (size_t i = 0; i < self->count; i++) {
		const struct hosted *hosted = &self->hosted[i];
		if (hosted->has_started && hosted->service->reload)
			hosted->service->reload(hosted->self);
	}
}

void
host_leave(struct host *self, uint32_t delay_ms)
{
	atomic_store(&self->is_leaving, true);
	for (size_t i = 0; i < self->count; i++)
		hosted_leave(&self->hosted[i]);
	if (delay_ms > 0)
		poll(NULL, 0, (int)delay_ms);
}

static uint32_t
left_ms(const struct host *self, uint64_t end_ms)
{
	uint64_t now_ms = clock_mono_ms(self->clock);
	return now_ms < end_ms ? (uint32_t)(end_ms - now_ms) : 0;
}

bool
host_drain(struct host *self, uint32_t grace_ms)
{
	uint64_t end_ms = clock_mono_ms(self->clock) + grace_ms;
	bool is_quiet = true;

	for (size_t i = self->count; i-- > 0;) {
		struct hosted *hosted = &self->hosted[i];
		hosted_drain(hosted, left_ms(self, end_ms));
		if (!hosted_finish(hosted, left_ms(self, end_ms))) {
			log_warn(hosted->env.log, "work was under way at the end of the grace");
			is_quiet = false;
		}
	}
	return is_quiet;
}

static void
free_lists(struct host *self)
{
	while (self->announcements) {
		struct host_announcement *one = self->announcements;
		self->announcements = one->next;
		mem_free(one->name);
		mem_free(one->text);
		mem_free(one);
	}
	while (self->pools) {
		struct host_pool *one = self->pools;
		self->pools = one->next;
		pool_free(one->pool);
		mem_free(one);
	}
}

void
host_free(struct host *self)
{
	if (!self)
		return;
	admin_free(self->admin);
	for (size_t i = self->count; self->hosted && i-- > 0;)
		hosted_free(&self->hosted[i]);
	free_lists(self);
	if (self->redis)
		redis_free(self->redis);
	if (self->bus)
		bus_free(self->bus);
	tracer_free(self->tracer, FLUSH_MS);
	metric_push_free(self->push, FLUSH_MS);
	log_free(self->log);
	process_stats_free(self->stats);
	metrics_free(self->metrics);
	pthread_mutex_destroy(&self->lock);
	mem_free(self->hosted);
	mem_free(self->store_url);
	mem_free(self->node);
	mem_free(self);
}
