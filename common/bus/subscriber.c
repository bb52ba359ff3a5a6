/*
 * subscriber: one SUB socket for each publisher, and a ledger of what each has said.
 *
 * nng filters at the subscriber, in a linear list, and a filtered message cannot be told from a lost one;
 * so all topics are taken and those wanted picked here.
 *
 * A publisher whose address is no longer listed is listened to until it hangs up: what it still says counts
 * (it may be draining), and a connection on which messages arrive must not be closed from here (closing.c).
 */
#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <stdio.h>
#include <string.h>

#include "bus/pubsub.h"
#include "bus_internal.h"
#include "corbel/bus.pb-c.h"
#include "pubsub_internal.h"
#include "standby.h"

#define TOPICS_MAX  10
#define NODES_MAX   256
#define ARENA_BLOCK (16u << 10)

/* What a publisher has said so far. */
struct voice {
	char node[64];
	uint64_t epoch, sequence, heard_ms;
	bool is_silent;
};

/* The connection to one URL. */
struct source {
	struct source *next;
	struct subscriber *subscriber;
	char url[BUS_URL_MAX];
	nng_socket socket;
	nng_aio *aio;
	_Atomic int pipes; /* connections: one or none */
	bool is_open;
	bool is_listed; /* it and `dial` are guarded by the subscriber's lock */
	struct dial dial;
};

struct subscriber {
	struct bus *bus;
	struct subscriber_options options;
	char topics[TOPICS_MAX][PUBSUB_TOPIC_BYTES];
	size_t topic_count; /* 0: all */
	struct watch watch;
	struct ticker ticker;
	pthread_mutex_t lock; /* guards sources */
	struct source *sources;
	pthread_mutex_t turn; /* one callback at a time; guards voices and the arena */
	struct voice voices[NODES_MAX];
	size_t voice_count;
	struct arena arena;
	_Atomic bool is_closing;
	struct metric_counter *received, *gaps;
};

static struct voice *
voice_of(struct subscriber *subscriber, const char *node)
{
	for (size_t i = 0; i < subscriber->voice_count; i++)
		if (strcmp(subscriber->voices[i].node, node) == 0)
			return &subscriber->voices[i];
	return NULL;
}

/* A place for a new publisher: the longest silent one is forgotten when all are taken. */
static struct voice *
new_voice(struct subscriber *subscriber, const char *node)
{
	struct voice *voice = NULL;
	if (subscriber->voice_count < NODES_MAX) {
		voice = &subscriber->voices[subscriber->voice_count++];
	} else {
		voice = &subscriber->voices[0];
		for (size_t i = 1; i < NODES_MAX; i++)
			if (subscriber->voices[i].heard_ms < voice->heard_ms)
				voice = &subscriber->voices[i];
	}
	*voice = (struct voice){.epoch = 0};
	snprintf(voice->node, sizeof(voice->node), "%s", node);
	return voice;
}

static void
tell(struct subscriber *subscriber, const char *node, enum subscriber_event event)
{
	if (event == SUBSCRIBER_GAP)
		counter_add(subscriber->gaps, 1);
	if (subscriber->options.event)
		subscriber->options.event(subscriber->options.arg, node, event);
}

/* Enters what was heard into the ledger. Returns false for what was heard before. */
static bool
note(struct subscriber *subscriber, const Corbel__Bus__Publication *publication)
{
	struct voice *voice = voice_of(subscriber, publication->node);
	uint64_t sequence = publication->sequence;
	uint64_t missed = publication->heartbeat ? sequence : sequence - 1; /* the last number before this one */
	bool is_new = !voice;

	if (is_new)
		voice = new_voice(subscriber, publication->node);
	bool is_restart = !is_new && voice->epoch != publication->epoch;
	bool was_silent = voice->is_silent;
	voice->is_silent = false;
	voice->heard_ms = bus_now_ms(subscriber->bus);
	if (is_new || is_restart) {
		voice->epoch = publication->epoch;
		voice->sequence = sequence;
		tell(subscriber, voice->node, is_new ? SUBSCRIBER_JOINED : SUBSCRIBER_RESTARTED);
		return true;
	}
	if (sequence < voice->sequence || (sequence == voice->sequence && !publication->heartbeat))
		return false;
	if (missed > voice->sequence)
		tell(subscriber, voice->node, SUBSCRIBER_GAP);
	else if (was_silent)
		tell(subscriber, voice->node, SUBSCRIBER_BACK);
	voice->sequence = sequence;
	return true;
}

static bool
is_wanted(const struct subscriber *subscriber, const char *topic)
{
	for (size_t i = 0; i < subscriber->topic_count; i++)
		if (memcmp(subscriber->topics[i], topic, PUBSUB_TOPIC_BYTES) == 0)
			return true;
	return subscriber->topic_count == 0;
}

static void
take_message(struct subscriber *subscriber, const uint8_t *body, size_t length)
{
	char topic[PUBSUB_TOPIC_BYTES + 1] = {0};
	struct arena_allocator allocator = arena_allocator(&subscriber->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};

	if (length < PUBSUB_TOPIC_BYTES)
		return;
	pthread_mutex_lock(&subscriber->turn);
	arena_reset(&subscriber->arena);
	memcpy(topic, body, PUBSUB_TOPIC_BYTES);
	const Corbel__Bus__Publication *publication =
	    corbel__bus__publication__unpack(&protobuf, length - PUBSUB_TOPIC_BYTES, body + PUBSUB_TOPIC_BYTES);
	if (publication && publication->node && strlen(publication->node) < sizeof(subscriber->voices[0].node)) {
		bool is_fresh = note(subscriber, publication);
		if (is_fresh && !publication->heartbeat && is_wanted(subscriber, topic)) {
			counter_add(subscriber->received, 1);
			subscriber->options.message(subscriber->options.arg, publication->node, topic,
			                            publication->payload.data, publication->payload.len);
		}
	}
	pthread_mutex_unlock(&subscriber->turn);
}

static void
on_message(void *arg)
{
	struct source *source = arg;
	struct standby *standby = source->subscriber->bus->standby;
	int rv = nng_aio_result(source->aio);

	standby_enter(standby);
	if (rv == 0) {
		nng_msg *message = nng_aio_get_msg(source->aio);
		if (!atomic_load(&source->subscriber->is_closing))
			take_message(source->subscriber, nng_msg_body(message), nng_msg_len(message));
		nng_msg_free(message);
	}
	if (rv != NNG_ECLOSED && rv != NNG_ECANCELED && !atomic_load(&source->subscriber->is_closing))
		nng_recv_aio(source->socket, source->aio);
	standby_leave(standby);
}

static void
look_for_silence(struct subscriber *subscriber, uint64_t now_ms)
{
	pthread_mutex_lock(&subscriber->turn);
	for (size_t i = 0; i < subscriber->voice_count; i++) {
		struct voice *voice = &subscriber->voices[i];
		if (voice->is_silent || now_ms - voice->heard_ms < subscriber->options.silence_ms ||
		    now_ms < voice->heard_ms)
			continue;
		voice->is_silent = true;
		tell(subscriber, voice->node, SUBSCRIBER_SILENT);
	}
	pthread_mutex_unlock(&subscriber->turn);
}

static void
source_close(struct source *source)
{
	if (source->aio)
		nng_aio_stop(source->aio);
	if (source->is_open)
		socket_close(source->subscriber->bus, source->socket);
	if (source->aio)
		nng_aio_free(source->aio);
	mem_free(source);
}

static void
on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct source *source = arg;
	(void)pipe;
	atomic_fetch_add(&source->pipes, event == NNG_PIPE_EV_ADD_POST ? 1 : -1);
}

static struct status
source_open(struct source *source)
{
	struct bus *bus = source->subscriber->bus;
	struct status st = status_from_nng(nng_sub0_open(&source->socket), "cannot open a SUB socket");

	source->is_open = status_ok(&st);
	if (status_ok(&st))
		st =
		    status_from_nng(nng_socket_set(source->socket, NNG_OPT_SUB_SUBSCRIBE, "", 0), "cannot subscribe");
	if (status_ok(&st))
		st = status_from_nng(nng_socket_set_int(source->socket, NNG_OPT_RECVBUF, PUBSUB_BUFFER),
		                     "cannot size the SUB socket's buffer");
	if (status_ok(&st))
		st = socket_configure(bus, source->socket);
	if (status_ok(&st))
		st = status_from_nng(nng_aio_alloc(&source->aio, on_message, source), "cannot make an aio");
	if (!status_ok(&st))
		return st;
	nng_pipe_notify(source->socket, NNG_PIPE_EV_ADD_POST, on_pipe, source);
	nng_pipe_notify(source->socket, NNG_PIPE_EV_REM_POST, on_pipe, source);
	nng_aio_set_timeout(source->aio, NNG_DURATION_INFINITE);
	st = dial_start(bus, source->socket, source->url, &source->dial);
	if (status_ok(&st))
		nng_recv_aio(source->socket, source->aio);
	return st;
}

static void
add_source(struct subscriber *subscriber, const char *url)
{
	struct source *source = mem_alloc(sizeof(*source));
	source->subscriber = subscriber;
	source->is_listed = true;
	snprintf(source->url, sizeof(source->url), "%s", url);
	struct status st = source_open(source);
	if (!status_ok(&st)) {
		log_error(subscriber->bus->log, "cannot subscribe", LOG_TEXT("url", url), LOG_STATUS(&st));
		source_close(source);
		return;
	}
	pthread_mutex_lock(&subscriber->lock);
	source->next = subscriber->sources;
	subscriber->sources = source;
	pthread_mutex_unlock(&subscriber->lock);
}

static bool
is_listed(char urls[][BUS_URL_MAX], size_t count, const char *url)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(urls[i], url) == 0)
			return true;
	return false;
}

static void
mark_listed(struct subscriber *subscriber, char urls[][BUS_URL_MAX], size_t count)
{
	pthread_mutex_lock(&subscriber->lock);
	for (struct source *source = subscriber->sources; source; source = source->next)
		source->is_listed = is_listed(urls, count, source->url);
	pthread_mutex_unlock(&subscriber->lock);
}

/* Takes out one source that is neither listed nor connected; NULL when there is none. */
static struct source *
take_gone(struct subscriber *subscriber)
{
	struct source *found = NULL;
	pthread_mutex_lock(&subscriber->lock);
	for (struct source **slot = &subscriber->sources; *slot && !found; slot = &(*slot)->next) {
		if ((*slot)->is_listed || atomic_load(&(*slot)->pipes) > 0)
			continue;
		found = *slot;
		*slot = found->next;
		break;
	}
	pthread_mutex_unlock(&subscriber->lock);
	return found;
}

static bool
has_source(struct subscriber *subscriber, const char *url)
{
	bool has = false;
	pthread_mutex_lock(&subscriber->lock);
	for (const struct source *source = subscriber->sources; source; source = source->next)
		has = has || strcmp(source->url, url) == 0;
	pthread_mutex_unlock(&subscriber->lock);
	return has;
}

static void
tend_dialers(struct subscriber *subscriber, uint64_t now_ms)
{
	pthread_mutex_lock(&subscriber->lock);
	for (struct source *source = subscriber->sources; source; source = source->next)
		dial_tend(subscriber->bus, source->socket, source->url, &source->dial,
		          atomic_load(&source->pipes) > 0 || !source->is_listed, now_ms);
	pthread_mutex_unlock(&subscriber->lock);
}

static void
tick(void *arg, uint64_t now_ms)
{
	struct subscriber *subscriber = arg;
	struct source *gone;

	look_for_silence(subscriber, now_ms);
	tend_dialers(subscriber, now_ms);
	while ((gone = take_gone(subscriber)) != NULL)
		source_close(gone);
}

static void
addresses_changed(void *arg, char urls[][BUS_URL_MAX], size_t count)
{
	struct subscriber *subscriber = arg;

	mark_listed(subscriber, urls, count);
	for (size_t i = 0; i < count; i++)
		if (!has_source(subscriber, urls[i]))
			add_source(subscriber, urls[i]);
}

struct status
subscriber_new(struct bus *bus, const struct subscriber_options *options, struct subscriber **out)
{
	struct status st = bus_address_check(options->address);
	if (!status_ok(&st))
		return st;

	struct subscriber *subscriber = mem_alloc(sizeof(*subscriber));
	subscriber->bus = bus;
	subscriber->options = *options;
	subscriber->options.silence_ms = options->silence_ms ? options->silence_ms : 3000;
	for (size_t i = 0; options->topics && options->topics[i] && i < TOPICS_MAX; i++)
		memcpy(subscriber->topics[subscriber->topic_count++], options->topics[i],
		       strnlen(options->topics[i], PUBSUB_TOPIC_BYTES));
	pthread_mutex_init(&subscriber->lock, NULL);
	pthread_mutex_init(&subscriber->turn, NULL);
	arena_init(&subscriber->arena, ARENA_BLOCK, bus->message_max * 2 + (1u << 20));
	subscriber->received = metrics_counter(
	    bus->metrics,
	    &(struct metric_spec){.name = "corbel_bus_publications_received", .help = "Publications received"},
	    NULL);
	subscriber->gaps = metrics_counter(bus->metrics,
	                                   &(struct metric_spec){.name = "corbel_bus_publication_gaps",
	                                                         .help = "Times publications were missed"},
	                                   NULL);
	subscriber->watch = (struct watch){
	    .address = mem_strdup(options->address), .changed = addresses_changed, .arg = subscriber};
	bus_add_watch(bus, &subscriber->watch);
	subscriber->ticker = (struct ticker){.tick = tick, .arg = subscriber};
	bus_add_ticker(bus, &subscriber->ticker);
	*out = subscriber;
	return st;
}

void
subscriber_free(struct subscriber *subscriber)
{
	if (!subscriber)
		return;
	bus_remove_watch(&subscriber->watch);
	bus_remove_ticker(subscriber->bus, &subscriber->ticker);
	atomic_store(&subscriber->is_closing, true);
	while (subscriber->sources) {
		struct source *source = subscriber->sources;
		subscriber->sources = source->next;
		source_close(source);
	}
	arena_fini(&subscriber->arena);
	pthread_mutex_destroy(&subscriber->lock);
	pthread_mutex_destroy(&subscriber->turn);
	mem_free(subscriber->watch.address);
	mem_free(subscriber);
}
