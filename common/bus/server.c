/*
 * server: a REP socket and its contexts, from listening to the last call's end.
 *
 * A call that a worker still holds when the server is freed stays valid: the server's memory goes with
 * the last of them, and its answer goes nowhere.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <string.h>
#include <time.h>

#include "server_internal.h"

#define CONTEXTS    320u
#define GROWTH      64u
#define ARENA_BLOCK (64u << 10)
#define GROWN_BLOCK (4u << 10) /* most of these carry a call that waits */

static void
register_metrics(struct server *server, const char *service)
{
	static const char *const LABELS[] = {"service", NULL};
	static const double SIZES[] = {1, 2, 4, 8, 16, 32, 64, 128};
	static const struct metric_spec RECEIVED = {
	    .name = "corbel_bus_server_calls", .help = "Calls received.", .labels = LABELS};
	static const struct metric_spec REFUSED = {.name = "corbel_bus_server_refused",
	                                           .help = "Calls refused because too many were in flight.",
	                                           .labels = LABELS};
	static const struct metric_spec EXPIRED = {.name = "corbel_bus_server_expired",
	                                           .help = "Calls whose time was over when they arrived.",
	                                           .labels = LABELS};
	static const struct metric_spec GARBAGE = {
	    .name = "corbel_bus_server_garbage", .help = "Messages that could not be read.", .labels = LABELS};
	static const struct metric_spec BATCH = {.name = "corbel_bus_server_batch_calls",
	                                         .help = "Calls in a message.",
	                                         .labels = LABELS,
	                                         .buckets = SIZES,
	                                         .bucket_count = sizeof(SIZES) / sizeof(SIZES[0])};
	const char *const values[] = {service ? service : ""};
	struct metrics *m = server->bus->metrics;

	server->received = metrics_counter(m, &RECEIVED, values);
	server->refused = metrics_counter(m, &REFUSED, values);
	server->expired = metrics_counter(m, &EXPIRED, values);
	server->garbage = metrics_counter(m, &GARBAGE, values);
	server->sizes = metrics_histogram(m, &BATCH, values);
}

void
server_release(struct server *server)
{
	if (atomic_fetch_sub(&server->holders, 1) != 1)
		return;
	for (size_t i = 0; i < server->batch_count; i++)
		server_batch_free(server->batches[i]);
	pthread_mutex_destroy(&server->growing);
	mem_free(server->batches);
	mem_free(server);
}

/* What calls wait for comes by a message of its own, so those that wait may never hold every context. */
void
server_grow(struct server *server)
{
	pthread_mutex_lock(&server->growing);
	bool is_due = !atomic_load(&server->is_closed) && server->batch_count <= atomic_load(&server->busy);
	for (unsigned i = 0; i < GROWTH && is_due && server->batch_count < server->batch_max; i++) {
		struct server_batch *batch;
		struct status st = server_batch_new(server, GROWN_BLOCK, &batch);
		if (!status_ok(&st))
			break;
		server->batches[server->batch_count++] = batch;
		server_batch_receive(batch);
	}
	pthread_mutex_unlock(&server->growing);
}

static size_t
options_contexts(const struct server_options *options)
{
	return options->contexts ? options->contexts : CONTEXTS;
}

struct server_peer *
server_peer(struct server *server, nng_pipe pipe)
{
	return &server->peers[(unsigned)nng_pipe_id(pipe) % SERVER_PEERS];
}

static void
on_connection_gone(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct server_peer *peer = server_peer(arg, pipe);

	(void)event;
	atomic_store(&peer->called_ms, 0);
	atomic_store(&peer->is_told, false);
}

static struct status
server_start(struct server *server, const struct server_options *options)
{
	int rv = nng_rep0_open(&server->socket);
	struct status st = status_from_nng(rv, "cannot open a REP socket");

	if (status_ok(&st))
		st = socket_configure(server->bus, server->socket);
	if (status_ok(&st))
		nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, on_connection_gone, server);
	for (size_t i = 0; i < options_contexts(options) && status_ok(&st); i++) {
		st = server_batch_new(server, ARENA_BLOCK, &server->batches[i]);
		server->batch_count += status_ok(&st);
	}
	if (status_ok(&st))
		st = listener_start(server->bus, server->socket, options->address, server->url);
	for (size_t i = 0; i < server->batch_count && status_ok(&st); i++)
		server_batch_receive(server->batches[i]);
	return st;
}

struct status
server_new(struct bus *bus, const struct server_options *options, struct server **out)
{
	struct server *server = mem_alloc(sizeof(*server));

	server->bus = bus;
	server->holders = 1;
	server->message_max = bus->message_max;
	server->handle = options->handle;
	server->arg = options->arg;
	server->max_in_flight = options->max_calls_in_flight ? options->max_calls_in_flight : 4096;
	server->batch_max =
	    options_contexts(options) > server->max_in_flight ? options_contexts(options) : server->max_in_flight;
	server->batches = mem_array(server->batch_max, sizeof(server->batches[0]));
	pthread_mutex_init(&server->growing, NULL);
	register_metrics(server, options->service);
	struct status st = server_start(server, options);
	if (!status_ok(&st)) {
		server_free(server, 0);
		return st;
	}
	*out = server;
	return st;
}

void
server_drain(struct server *server)
{
	atomic_store(&server->is_draining, true);
}

size_t
server_in_flight(const struct server *server)
{
	return atomic_load(&server->in_flight);
}

const char *
server_url(const struct server *server)
{
	return server->url;
}

#define TELL_MS     1200u /* callers that have nothing to ask ping once a second */
#define LOOK_NS     2000000
#define FLUSH_LOOKS 10u

/* Whether each of those that have called since then knows. In this process all stop together. */
static bool
everybody_knows(struct server *server, uint64_t since_ms)
{
	if (strncmp(server->url, "inproc:", 7) == 0)
		return true;
	for (size_t i = 0; i < SERVER_PEERS; i++)
		if (atomic_load(&server->peers[i].called_ms) > since_ms && !atomic_load(&server->peers[i].is_told))
			return false;
	return true;
}

/* Until whoever calls has learned, which takes a reply, that there will be no more, and then nobody has
 * called for some looks: replies that nng has accepted still have to reach the wire, which nng_close() would
 * not let them, and their readers to take note. Looks, not a time, since on a busy machine these come late,
 * too. */
static void
wait_until_idle(struct server *server, uint32_t grace_ms)
{
	/* An injected clock, by which calls are noted, may stand still meanwhile. */
	const struct clock *clock = clock_system();
	uint64_t called = bus_now_ms(server->bus), since = called > TELL_MS ? called - TELL_MS : 0;
	uint64_t begin = clock_mono_ms(clock), now = begin, taken = atomic_load(&server->taken);
	const struct timespec pause = {.tv_nsec = LOOK_NS};

	for (unsigned quiet = 0; now < begin + grace_ms && quiet < FLUSH_LOOKS;) {
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
		now = clock_mono_ms(clock);
		bool is_told = now >= begin + TELL_MS || everybody_knows(server, since);
		uint64_t taken_now = atomic_load(&server->taken);
		quiet = is_told && taken_now == taken && atomic_load(&server->busy) == 0 ? quiet + 1 : 0;
		taken = taken_now;
	}
}

void
server_free(struct server *server, uint32_t grace_ms)
{
	if (!server)
		return;
	server_drain(server);
	wait_until_idle(server, grace_ms);
	pthread_mutex_lock(&server->growing); /* from here on there are as many as there are */
	atomic_store(&server->is_closed, true);
	pthread_mutex_unlock(&server->growing);
	for (size_t i = 0; i < server->batch_count; i++) {
		pthread_mutex_lock(&server->batches[i]->lock);
		server->batches[i]->is_closed = true;
		pthread_mutex_unlock(&server->batches[i]->lock);
	}
	for (size_t i = 0; i < server->batch_count; i++)
		nng_aio_stop(server->batches[i]->aio);
	socket_close(server->bus, server->socket);
	server_release(server);
}
