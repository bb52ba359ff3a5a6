/*
 * outbound: see outbound.h. This file owns the places of requests and the queue between their senders and the
 * loop. A place is taken when a request is accepted and given back just before done(), so the bound on what
 * is in flight is the number of places, and done() may send again.
 */
#include "outbound/outbound.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/arena.h"
#include "outbound/outbound_internal.h"

#define DEFAULT_IN_FLIGHT 4096u
const char *
outbound_result_name(enum outbound_result result)
{
	static const char *const NAMES[OUTBOUND_RESULTS] = {
	    "ok", "timeout", "dns", "connect", "tls", "refused_address", "protocol", "too_large", "cancelled"};

	return (unsigned)result < OUTBOUND_RESULTS ? NAMES[result] : "unknown";
}

/* ---------------------------------------------------------------- making and freeing */

static void
make_metrics(struct outbound_metrics *out, struct metrics *metrics)
{
	static const char *const LABELS[] = {"result", NULL};
	static const double SECONDS[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
	                                 0.25,  0.5,    1,     2.5,  5,     10,   30};
	static const struct metric_spec RESULTS = {
	    .name = "corbel_outbound_requests", .help = "Requests to endpoints, by result.", .labels = LABELS};
	static const struct metric_spec REJECTED = {
	    .name = "corbel_outbound_rejected", .help = "Requests not accepted because too many were in flight."};
	static const struct metric_spec CONNECTIONS = {.name = "corbel_outbound_connections",
	                                               .help = "Connections begun."};
	static const struct metric_spec IN_FLIGHT = {.name = "corbel_outbound_in_flight",
	                                             .help = "Requests accepted and not done."};
	static const struct metric_spec LATENCY = {.name = "corbel_outbound_request_seconds",
	                                           .help = "Time to the end of the response.",
	                                           .unit = "seconds",
	                                           .buckets = SECONDS,
	                                           .bucket_count = sizeof(SECONDS) / sizeof(SECONDS[0])};

	if (!metrics)
		return;
	for (unsigned i = 0; i < OUTBOUND_RESULTS; i++)
		out->results[i] = metrics_counter(metrics, &RESULTS,
		                                  (const char *[]){outbound_result_name((enum outbound_result)i)});
	out->rejected = metrics_counter(metrics, &REJECTED, NULL);
	out->connections = metrics_counter(metrics, &CONNECTIONS, NULL);
	out->in_flight = metrics_gauge(metrics, &IN_FLIGHT, NULL);
	out->seconds = metrics_histogram(metrics, &LATENCY, NULL);
}

static char *
copy_or_null(const char *text)
{
	return text && text[0] ? mem_strdup(text) : NULL;
}

static void
release(struct outbound *self)
{
	loop_close(self);
	pthread_mutex_destroy(&self->lock);
	mem_free(self->transfers);
	mem_free(self->user_agent);
	mem_free(self->proxy);
	mem_free(self->ca_file);
	mem_free(self);
}

struct status
outbound_new(const struct outbound_options *options, struct outbound **out)
{
	struct outbound *self = mem_alloc(sizeof(*self));

	if (options->policy)
		self->policy = *options->policy;
	self->user_agent = mem_strdup(options->user_agent ? options->user_agent : "corbel/" CORBEL_VERSION);
	self->proxy = copy_or_null(options->proxy);
	self->ca_file = copy_or_null(options->ca_file);
	self->log = options->log;
	self->clock = options->clock ? options->clock : clock_system();
	self->max_in_flight = options->max_in_flight ? options->max_in_flight : DEFAULT_IN_FLIGHT;
	self->max_connections = options->max_connections ? options->max_connections : self->max_in_flight;
	self->refuses_own = options->refuses_own;
	self->epoll = self->wake = -1;
	make_metrics(&self->metrics, options->metrics);
	self->transfers = mem_array(self->max_in_flight, sizeof(*self->transfers));
	pthread_mutex_init(&self->lock, NULL);
	struct status st = loop_open(self);
	if (!status_ok(&st)) {
		release(self);
		return st;
	}
	*out = self;
	return st;
}

/* Under the lock. Only a loop that sleeps costs a system call, so a busy one is fed without any. */
static void
wake(struct outbound *self)
{
	if (self->is_asleep)
		eventfd_write(self->wake, 1);
	self->is_asleep = false;
}

void
outbound_free(struct outbound *self, uint32_t grace_ms)
{
	if (!self)
		return;
	pthread_mutex_lock(&self->lock);
	self->is_closing = true;
	self->end_mono_ms = clock_mono_ms(clock_system()) + grace_ms;
	wake(self);
	pthread_mutex_unlock(&self->lock);
	release(self);
}

/* ---------------------------------------------------------------- sending and ending */

/* Generations begin at 1 and skip 0, so no id is 0. */
static uint64_t
id_of(const struct transfer *transfer)
{
	return (uint64_t)transfer->generation << 32 | (uint64_t)(transfer - transfer->outbound->transfers);
}

/* Under the lock. A place given back, else one that was never used, else NULL. */
static struct transfer *
take_place(struct outbound *self)
{
	struct transfer *transfer = self->free;

	if (transfer)
		self->free = transfer->next;
	else if (self->used < self->max_in_flight)
		transfer = &self->transfers[self->used++];
	return transfer;
}

/* Under the lock. */
static void
queue_request(struct outbound *self, struct transfer *transfer, struct outbound_request *request)
{
	transfer->outbound = self;
	transfer->next = NULL;
	transfer->request = request;
	transfer->is_cancelled = false;
	if (++transfer->generation == 0)
		transfer->generation = 1;
	request->id = id_of(transfer);
	if (!self->sent_first)
		self->sent_first = transfer;
	else
		self->sent_last->next = transfer;
	self->sent_last = transfer;
}

bool
outbound_send(struct outbound *self, struct outbound_request *request)
{
	pthread_mutex_lock(&self->lock);
	struct transfer *transfer = self->is_closing ? NULL : take_place(self);
	if (transfer) {
		queue_request(self, transfer, request);
		atomic_fetch_add_explicit(&self->in_flight, 1, memory_order_relaxed);
		gauge_add(self->metrics.in_flight, 1);
		wake(self);
	}
	pthread_mutex_unlock(&self->lock);
	if (!transfer)
		counter_add(self->metrics.rejected, 1);
	return transfer != NULL;
}

void
outbound_cancel(struct outbound *self, uint64_t id)
{
	size_t place = (size_t)(id & UINT32_MAX);

	if (place >= self->max_in_flight)
		return;
	struct transfer *transfer = &self->transfers[place];
	pthread_mutex_lock(&self->lock);
	if (transfer->request && id_of(transfer) == id) {
		transfer->is_cancelled = self->has_cancels = true;
		wake(self);
	}
	pthread_mutex_unlock(&self->lock);
}

void
outbound_end(struct transfer *transfer)
{
	struct outbound *self = transfer->outbound;
	struct outbound_request *request = transfer->request;
	enum outbound_result result = request->response.result;

	counter_add(self->metrics.results[result], 1);
	if (request->response.status)
		histogram_observe(self->metrics.seconds, request->response.latency_ms / 1000.0);
	pthread_mutex_lock(&self->lock);
	transfer->request = NULL;
	transfer->next = self->free;
	self->free = transfer;
	atomic_fetch_sub_explicit(&self->in_flight, 1, memory_order_relaxed);
	gauge_add(self->metrics.in_flight, -1);
	pthread_mutex_unlock(&self->lock);
	request->done(request);
	response_trim(transfer);
}

size_t
outbound_in_flight(const struct outbound *self)
{
	return atomic_load_explicit(&self->in_flight, memory_order_relaxed);
}
