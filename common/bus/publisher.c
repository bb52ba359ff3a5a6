/*
 * publisher: a PUB socket whose messages are numbered.
 *
 * nng drops the oldest message of a full pipe without a word, so that each carries node, epoch and
 * sequence, and the last number is repeated every second: a subscriber sees what it missed.
 */
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "bus/pubsub.h"
#include "bus_internal.h"
#include "corbel/bus.pb-c.h"
#include "pubsub_internal.h"
#include "standby.h"

#define HEARTBEAT_MS    1000u
#define HEARTBEAT_TOPIC ""

struct publisher {
	struct bus *bus;
	nng_socket socket;
	bool is_open;
	char url[BUS_URL_MAX];
	struct ticker ticker;
	pthread_mutex_t lock; /* numbers leave in order */
	uint64_t sequence;
	uint64_t epoch; /* of this publisher: one that is made anew counts from 1 again */
	uint64_t beat_ms;
	struct metric_counter *sent;
};

/* Under the lock. */
static void
send_message(struct publisher *publisher, const char *topic, const void *payload, size_t size,
             bool is_heartbeat)
{
	Corbel__Bus__Publication publication = CORBEL__BUS__PUBLICATION__INIT;
	char name[PUBSUB_TOPIC_BYTES] = {0};
	nng_msg *message;

	publication.node = publisher->bus->node;
	publication.has_epoch = publication.has_sequence = true;
	publication.epoch = publisher->epoch;
	publication.sequence = publisher->sequence;
	publication.has_heartbeat = publication.heartbeat = is_heartbeat;
	publication.has_payload = !is_heartbeat;
	publication.payload = (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)payload};
	memcpy(name, topic, strnlen(topic, sizeof(name)));
	size_t packed = corbel__bus__publication__get_packed_size(&publication);
	if (nng_msg_alloc(&message, PUBSUB_TOPIC_BYTES + packed) != 0)
		return; /* a gap, which the next message shows */
	memcpy(nng_msg_body(message), name, sizeof(name));
	corbel__bus__publication__pack(&publication, (uint8_t *)nng_msg_body(message) + PUBSUB_TOPIC_BYTES);
	if (nng_sendmsg(publisher->socket, message, NNG_FLAG_NONBLOCK) != 0)
		nng_msg_free(message);
}

static void
heartbeat(struct publisher *publisher)
{
	pthread_mutex_lock(&publisher->lock);
	send_message(publisher, HEARTBEAT_TOPIC, NULL, 0, true);
	pthread_mutex_unlock(&publisher->lock);
}

static void
tick(void *arg, uint64_t now_ms)
{
	struct publisher *publisher = arg;
	if (now_ms - publisher->beat_ms < HEARTBEAT_MS)
		return;
	publisher->beat_ms = now_ms;
	heartbeat(publisher);
}

static void
on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct publisher *publisher = arg;
	struct standby *standby = publisher->bus->standby;

	(void)pipe;
	(void)event;
	standby_enter(standby);
	heartbeat(publisher); /* whoever joins hears at once where the numbers stand */
	standby_leave(standby);
}

struct status
publisher_new(struct bus *bus, const char *address, struct publisher **out)
{
	struct publisher *publisher = mem_alloc(sizeof(*publisher));

	publisher->bus = bus;
	publisher->epoch = random_u64(random_system()) | 1;
	pthread_mutex_init(&publisher->lock, NULL);
	publisher->sent = metrics_counter(
	    bus->metrics, &(struct metric_spec){.name = "corbel_bus_publications", .help = "Publications sent"},
	    NULL);
	struct status st = status_from_nng(nng_pub0_open(&publisher->socket), "cannot open a PUB socket");
	publisher->is_open = status_ok(&st);
	if (status_ok(&st))
		st = status_from_nng(nng_socket_set_int(publisher->socket, NNG_OPT_SENDBUF, PUBSUB_BUFFER),
		                     "cannot size the PUB socket's buffer");
	if (status_ok(&st))
		st = socket_configure(bus, publisher->socket);
	if (status_ok(&st)) {
		nng_pipe_notify(publisher->socket, NNG_PIPE_EV_ADD_POST, on_pipe, publisher);
		st = listener_start(bus, publisher->socket, address, publisher->url);
	}
	publisher->ticker = (struct ticker){.tick = tick, .arg = publisher};
	bus_add_ticker(bus, &publisher->ticker);
	if (!status_ok(&st)) {
		publisher_free(publisher);
		return st;
	}
	*out = publisher;
	return st;
}

void
publisher_free(struct publisher *publisher)
{
	if (!publisher)
		return;
	bus_remove_ticker(publisher->bus, &publisher->ticker);
	if (publisher->is_open) {
		/* nng_close() discards what is queued; 20 ms are enough for all of it (docs/bus.md). */
		const struct timespec flush = {.tv_nsec = 20000000};
		clock_nanosleep(CLOCK_MONOTONIC, 0, &flush, NULL);
		socket_close(publisher->bus, publisher->socket);
	}
	pthread_mutex_destroy(&publisher->lock);
	mem_free(publisher);
}

const char *
publisher_url(const struct publisher *publisher)
{
	return publisher->url;
}

void
publisher_send(struct publisher *publisher, const char *topic, const void *payload, size_t size)
{
	if (!publisher)
		return;
	pthread_mutex_lock(&publisher->lock);
	publisher->sequence++;
	send_message(publisher, topic, payload, size, false);
	pthread_mutex_unlock(&publisher->lock);
	counter_add(publisher->sent, 1);
}

uint64_t
publisher_sequence(const struct publisher *publisher)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&publisher->lock;
	pthread_mutex_lock(lock);
	uint64_t sequence = publisher->sequence;
	pthread_mutex_unlock(lock);
	return sequence;
}
