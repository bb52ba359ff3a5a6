/*
 * streams: the thread that serves all streams: see streams.h and stream.h.
 *
 *   wait for {inbox, replies, sockets}  ->  take the inbox  ->  take replies  ->  serve sockets  ->  begin
 * reads
 *
 * Without TLS a stream has a descriptor of its own, and nothing of libmicrohttpd's is left of its connection.
 * With TLS the session is libmicrohttpd's: its connection stays suspended, which nobody else touches, and
 * goes back to its shard in the end.
 */
#include "streams.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "stream_socket.h"

#define EVENTS_A_TURN 256
#define READS_A_TURN  16u
#define TURN_MAX_MS   250
#define GROWTHS_MAX   4096u
#define TICK_MS       250u
/* A client that takes nothing for so long, while there is something for it, is slow. */
#define STALL_MS 30000u
/* Answers that wait for a client to read. */
#define WORDS_MAX 16384u
/* A client that was not heard of for so many heartbeats is gone. */
#define PONGS_MISSED 3u

enum stream_message_kind { MESSAGE_OPEN, MESSAGE_KEYS, MESSAGE_GREW };

struct stream_message {
	struct stream_message *next;
	enum stream_message_kind kind;
	struct stream_offer offer; /* OPEN: its texts are the message's own */
	struct notice notice;      /* KEYS */
	char tenant[72];           /* GREW */
	uint64_t last;
};

uint64_t
streams_now_ms(const struct streams *streams)
{
	return clock_mono_ms(streams->ingress->env.clock);
}

/* ---- the inbox ---- */

static void
post(struct streams *streams, struct stream_message *message)
{
	uint64_t one = 1;

	pthread_mutex_lock(&streams->lock);
	message->next = streams->inbox;
	streams->inbox = message;
	streams->inbox_count++;
	pthread_mutex_unlock(&streams->lock);
	(void)!write(streams->wake_fd, &one, sizeof(one));
}

/* Logs that grow faster than it is heard of are found by the sweep. */
static bool
is_crowded(struct streams *streams)
{
	pthread_mutex_lock(&streams->lock);
	bool has_many = streams->inbox_count >= GROWTHS_MAX;
	pthread_mutex_unlock(&streams->lock);
	return has_many;
}

void
streams_notice(struct streams *streams, const struct notice *notice)
{
	struct stream_message *message;

	if (stream_quota_count(streams->quota) == 0)
		return;
	message = mem_alloc(sizeof(*message));
	message->kind = MESSAGE_KEYS;
	message->notice = *notice;
	post(streams, message);
}

void
streams_open(struct streams *streams, const struct stream_offer *offer)
{
	struct stream_message *message = mem_alloc(sizeof(*message));
	char *head = mem_alloc(offer->head_size + 1);

	memcpy(head, offer->head, offer->head_size);
	message->kind = MESSAGE_OPEN;
	message->offer = *offer;
	message->offer.head = head;
	message->offer.tenant = mem_strdup(offer->tenant);
	message->offer.key_id = mem_strdup(offer->key_id);
	message->offer.key_tenant = mem_strdup(offer->key_tenant);
	atomic_fetch_add(&streams->alive, 1);
	post(streams, message);
}

static void
on_growth(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct streams *streams = arg;
	struct stream_message *message;
	(void)node;
	(void)topic;

	if (stream_quota_count(streams->quota) == 0 || is_crowded(streams))
		return;
	Corbel__V1__LogGrew *grew = corbel__v1__log_grew__unpack(NULL, size, payload);
	if (grew && grew->tenant_id) {
		message = mem_alloc(sizeof(*message));
		message->kind = MESSAGE_GREW;
		message->last = grew->last_sequence;
		snprintf(message->tenant, sizeof(message->tenant), "%s", grew->tenant_id);
		post(streams, message);
	}
	if (grew)
		corbel__v1__log_grew__free_unpacked(grew, NULL);
}

enum stream_refusal
streams_reserve(struct streams *streams, const char *tenant)
{
	return stream_quota_enter(streams->quota, tenant);
}

void
streams_forgo(struct streams *streams, const char *tenant)
{
	stream_quota_leave(streams->quota, tenant);
}

/* ---- taking messages ---- */

static void
message_free(struct stream_message *message)
{
	mem_free((char *)(uintptr_t)message->offer.head);
	mem_free((char *)(uintptr_t)message->offer.tenant);
	mem_free((char *)(uintptr_t)message->offer.key_id);
	mem_free((char *)(uintptr_t)message->offer.key_tenant);
	mem_free(message);
}

static void
take_message(struct streams *streams, struct stream_message *message)
{
	switch (message->kind) {
	case MESSAGE_OPEN:
		stream_new(streams, &message->offer);
		break;
	case MESSAGE_KEYS:
		stream_keys_notice(streams->keys, &message->notice);
		break;
	case MESSAGE_GREW:
		feeds_grew(streams->feeds, message->tenant, message->last);
		break;
	}
	message_free(message);
}

static void
read_inbox(struct streams *streams)
{
	uint64_t ignored;

	(void)!read(streams->wake_fd, &ignored, sizeof(ignored));
	pthread_mutex_lock(&streams->lock);
	struct stream_message *message = streams->inbox;
	streams->inbox = NULL;
	streams->inbox_count = 0;
	pthread_mutex_unlock(&streams->lock);
	while (message) {
		struct stream_message *next = message->next;
		take_message(streams, message);
		message = next;
	}
}

/* ---- the loop ---- */

/* The client has left, or was told why it is not listened to. */
static void
part(struct stream *stream)
{
	stream->has_left = true;
	stream_leave(stream);
	if (!stream->is_ending)
		stream->end_by_ms = streams_now_ms(stream->streams) + STREAM_GOODBYE_MS;
	stream->is_ending = true;
}

static void
take_bytes(struct stream *stream, const uint8_t *bytes, size_t size)
{
	stream->heard_ms = streams_now_ms(stream->streams);
	/* A client of server-sent events has nothing more to say. */
	if (!stream_is_socket(stream) || stream->has_left)
		return;
	if (!stream_socket_take(stream, bytes, size))
		part(stream);
	/* Whoever asks and does not read the answers. */
	if (stream->words_size - stream->words_sent > WORDS_MAX)
		stream_kill(stream);
	else if (!stream->is_blocked)
		(void)stream_flush(stream);
}

static void
receive(struct stream *stream)
{
	uint8_t bytes[4096];
	ssize_t got = 1;

	for (unsigned i = 0; i < READS_A_TURN && got > 0 && !stream->is_dead; i++) {
		got = stream_wire_receive(&stream->wire, bytes, sizeof(bytes));
		if (got > 0)
			take_bytes(stream, bytes, (size_t)got);
	}
	if (got < 0)
		stream_kill(stream);
}

static void
serve_socket(struct stream *stream, uint32_t events)
{
	if (stream->is_dead)
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		receive(stream);
	if (stream->is_dead || !(events & EPOLLOUT))
		return;
	if (stream->feed)
		feeds_serve(stream);
	else
		(void)stream_flush(stream);
}

static void
keep_alive(struct stream *stream, uint64_t now_ms)
{
	uint64_t each_ms = stream->streams->heartbeat_ms;
	uint64_t since = stream_is_socket(stream) ? stream->pinged_ms : stream->moved_ms;

	if (stream_is_socket(stream) && now_ms - stream->heard_ms >= PONGS_MISSED * each_ms) {
		stream_kill(stream);
	} else if (now_ms - since >= each_ms) {
		stream->pinged_ms = now_ms;
		stream_say_heartbeat(stream);
		(void)stream_flush(stream);
	}
}

static void
look_after(struct stream *stream, uint64_t now_ms)
{
	struct streams *streams = stream->streams;

	if (stream->is_ending) {
		if (now_ms >= stream->end_by_ms)
			stream_kill(stream);
	} else if (atomic_load(&streams->is_draining)) {
		stream_finish(stream, &STREAM_END_STOPPING, NULL);
	} else if (!stream->is_blocked) {
		keep_alive(stream, now_ms);
	} else {
		stream->heard_ms = now_ms; /* a pong would come behind what is not read yet */
		if (now_ms - stream->moved_ms < STALL_MS)
			return;
		counter_add(streams->slow, 1);
		stream_finish(stream, &STREAM_END_SLOW, NULL);
	}
}

static void
tick(struct streams *streams)
{
	uint64_t now = streams_now_ms(streams);

	if (now - streams->ticked_ms < TICK_MS && !atomic_load(&streams->is_draining))
		return;
	streams->ticked_ms = now;
	for (struct stream *stream = LIST_FIRST(&streams->all), *next; stream; stream = next) {
		next = LIST_NEXT(stream, of_all);
		look_after(stream, now);
	}
	feeds_sweep(streams->feeds, now);
	stream_keys_tick(streams->keys, now);
}

static void *
streams_main(void *arg)
{
	struct streams *streams = arg;
	struct epoll_event events[EVENTS_A_TURN];

	while (!atomic_load(&streams->is_stopping)) {
		int port_ms = port_timeout_ms(streams->port);
		int timeout = port_ms >= 0 && port_ms < TURN_MAX_MS ? port_ms : TURN_MAX_MS;
		int count = epoll_wait(streams->epoll_fd, events, EVENTS_A_TURN, timeout);
		read_inbox(streams);
		(void)port_poll(streams->port);
		for (int i = 0; i < count; i++)
			if (events[i].data.ptr)
				serve_socket(events[i].data.ptr, events[i].events);
		tick(streams);
		feeds_turn(streams->feeds);
		port_flush(streams->port);
		streams_bury(streams);
	}
	return NULL;
}

/* ---- start and stop ---- */

static void
register_metrics(struct streams *streams)
{
	static const struct metric_spec OPEN = {.name = "corbel_streams_open", .help = "Open streams of events."};
	static const struct metric_spec SENT = {.name = "corbel_stream_events_sent",
	                                        .help = "Events sent on streams."};
	static const struct metric_spec PAGES = {
	    .name = "corbel_stream_pages_read",
	    .help = "Pages of logs read for streams that were behind what is kept in memory."};
	static const struct metric_spec SLOW = {.name = "corbel_streams_slow",
	                                        .help = "Streams ended because their client was too slow."};
	struct metrics *m = streams->ingress->env.metrics;

	streams->open = metrics_gauge(m, &OPEN, NULL);
	streams->sent = metrics_counter(m, &SENT, NULL);
	streams->pages = metrics_counter(m, &PAGES, NULL);
	streams->slow = metrics_counter(m, &SLOW, NULL);
}

static struct status
loop_start(struct streams *streams)
{
	const int fds[] = {port_fd(streams->port), streams->wake_fd};
	struct epoll_event event = {.events = EPOLLIN};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (streams->epoll_fd < 0 || epoll_ctl(streams->epoll_fd, EPOLL_CTL_ADD, fds[i], &event) != 0)
			return status_make(STATUS_UNAVAILABLE, "cannot watch streams: %s", strerror(errno));
	streams->has_thread = pthread_create(&streams->thread, NULL, streams_main, streams) == 0;
	return streams->has_thread ? status_ok_value()
	                           : status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start a thread");
}

struct status
streams_start(struct ingress *ingress, struct streams **out)
{
	static const char *const TOPICS[] = {"events", NULL};
	const struct settings *settings = &ingress->settings;
	struct streams *streams = *out = mem_alloc(sizeof(*streams));
	struct subscriber_options growth = {.address =
	                                        host_publisher_address(ingress->env.host, EVENTS_LIST->daemon),
	                                    .topics = TOPICS,
	                                    .message = on_growth,
	                                    .arg = streams};

	streams->ingress = ingress;
	streams->quota = stream_quota_new(settings->streams, settings->streams_per_tenant);
	streams->buffer_bytes = settings->stream_buffer;
	streams->heartbeat_ms = settings->stream_heartbeat_ms;
	streams->log = host_pool(ingress->env.host, EVENTS_LIST->daemon);
	streams->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	streams->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_init(&streams->lock, NULL);
	LIST_INIT(&streams->all);
	TAILQ_INIT(&streams->dead);
	streams->feeds = feeds_new(streams);
	streams->keys = stream_keys_new(streams);
	register_metrics(streams);
	struct status st = port_new(ingress->env.bus, &streams->port);
	if (status_ok(&st))
		st = subscriber_new(ingress->env.bus, &growth, &streams->growth);
	return status_ok(&st) ? loop_start(streams) : st;
}

void
streams_drain(struct streams *streams)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t one = 1;

	if (!streams) /* the start failed before it */
		return;
	uint64_t end = streams_now_ms(streams) + 2 * STREAM_DRAINING_MS;
	atomic_store(&streams->is_draining, true);
	(void)!write(streams->wake_fd, &one, sizeof(one));
	while (atomic_load(&streams->alive) > 0 && streams_now_ms(streams) < end)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

void
streams_free(struct streams *streams)
{
	uint64_t one = 1;

	if (!streams)
		return;
	subscriber_free(streams->growth);
	atomic_store(&streams->is_stopping, true);
	(void)!write(streams->wake_fd, &one, sizeof(one));
	if (streams->has_thread)
		pthread_join(streams->thread, NULL);
	read_inbox(streams);
	while (!LIST_EMPTY(&streams->all))
		stream_kill(LIST_FIRST(&streams->all));
	streams_bury(streams);
	feeds_turn(streams->feeds);
	/* What is under way ends CANCELLED, and nobody is left to hear of it. */
	port_free(streams->port);
	feeds_free(streams->feeds);
	stream_keys_free(streams->keys);
	stream_quota_free(streams->quota);
	close(streams->epoll_fd);
	close(streams->wake_fd);
	pthread_mutex_destroy(&streams->lock);
	mem_free(streams);
}
