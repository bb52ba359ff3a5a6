/*
 * test_redis_proxy: see test_redis_proxy.h. A loop of poll(2) over pairs of connections; what Redis sends is
 * cut into whole values and put into a queue, each with the time when it is due. What a stream's readers are
 * told is taken apart into its entries.
 */
#include "support/test_redis_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/random.h"
#include "support/test_process.h"

#define PAIRS_MAX  64u
#define READ_BYTES 65536u
#define DEPTH_MAX  8u
#define TURN_MS    1 /* what is late is at most this much later */

struct bytes {
	char *at;
	size_t length, capacity;
};

/* One value, or a part of one that is too long to wait for. */
struct parcel {
	char *bytes;
	size_t length, sent;
	uint64_t due_ms;
	struct parcel *next;
};

struct pair {
	int client, server; /* -1: none */
	struct bytes to_server, from_server;
	struct parcel *first, **last; /* to the client, in order */
};

struct test_redis_proxy {
	char url[64];
	uint16_t redis_port;
	int listener;
	pthread_t thread;
	_Atomic bool is_stopping, is_hanging_up;
	pthread_mutex_t lock; /* guards trouble and counts */
	struct test_redis_trouble trouble;
	struct test_redis_proxy_counts counts;
	/* the thread's */
	struct seeded_random seeded;
	struct pair pairs[PAIRS_MAX];
};

/* ---- RESP ---- */

/* Where the line that begins at `at` ends, behind its CRLF; 0: not here yet. */
static size_t
line_end(const char *bytes, size_t length, size_t at)
{
	const char *end = at < length ? memmem(bytes + at, length - at, "\r\n", 2) : NULL;
	return end ? (size_t)(end - bytes) + 2 : 0;
}

/* How many values follow the line, that are part of its value. */
static long
parts_of(char kind, long number)
{
	if (number < 0)
		return 0;
	return kind == '*' || kind == '>' || kind == '~' ? number : kind == '%' ? 2 * number : 0;
}

/* What a line says after its kind; it ends before `end`, where nothing need follow. */
static long
number_at(const char *text, const char *end)
{
	bool is_negative = text < end && *text == '-';
	long number = 0;

	for (text += is_negative; text < end && *text >= '0' && *text <= '9' && number < LONG_MAX / 100; text++)
		number = 10 * number + (*text - '0');
	return is_negative ? -number : number;
}

/* Where the value that begins at `at` ends; 0: not all of it is here. */
static size_t
value_end(const char *bytes, size_t length, size_t at, unsigned depth)
{
	size_t end = line_end(bytes, length, at);

	if (end == 0 || depth > DEPTH_MAX)
		return 0;
	char kind = bytes[at];
	long number = number_at(bytes + at + 1, bytes + end);
	if ((kind == '$' || kind == '=' || kind == '!') && number >= 0)
		end += (size_t)number + 2;
	for (long i = parts_of(kind, number); i > 0 && end > 0 && end <= length; i--)
		end = value_end(bytes, length, end, depth + 1);
	return end <= length ? end : 0;
}

/* What XREAD tells: of each stream its name and its entries. */
static bool
is_stream_news(const char *value, size_t length)
{
	size_t first = value[0] == '*' ? line_end(value, length, 0) : 0;
	size_t name = first > 0 && first < length && memcmp(value + first, "*2", 2) == 0
	                  ? line_end(value, length, first)
	                  : 0;
	size_t list = name > 0 && name < length && value[name] == '$' ? value_end(value, length, name, 1) : 0;

	return list > 0 && list < length && value[list] == '*';
}

/* ---- what arrives ---- */

static void
bytes_add(struct bytes *to, const char *bytes, size_t length)
{
	if (to->length + length > to->capacity) {
		to->capacity = 2 * (to->length + length);
		to->at = mem_resize(to->at, to->capacity, 1);
	}
	memcpy(to->at + to->length, bytes, length);
	to->length += length;
}

static void
bytes_take(struct bytes *from, size_t length)
{
	from->length -= length;
	memmove(from->at, from->at + length, from->length);
}

static struct test_redis_trouble
trouble_now(struct test_redis_proxy *proxy)
{
	pthread_mutex_lock(&proxy->lock);
	struct test_redis_trouble trouble = proxy->trouble;
	pthread_mutex_unlock(&proxy->lock);
	return trouble;
}

static bool
draw(struct test_redis_proxy *proxy, uint32_t permille)
{
	return random_below(&proxy->seeded.random, 1000) < permille;
}

static void
count(struct test_redis_proxy *proxy, uint64_t published, uint64_t dropped, uint64_t reordered)
{
	pthread_mutex_lock(&proxy->lock);
	proxy->counts.published += published;
	proxy->counts.dropped += dropped;
	proxy->counts.reordered += reordered;
	pthread_mutex_unlock(&proxy->lock);
}

static struct parcel *
parcel_new(struct test_redis_proxy *proxy, const char *bytes, size_t length, uint32_t delay_max_ms)
{
	struct parcel *parcel = mem_alloc(sizeof(*parcel));

	parcel->bytes = mem_alloc(length);
	memcpy(parcel->bytes, bytes, length);
	parcel->length = length;
	parcel->due_ms =
	    test_now_ms() + (delay_max_ms ? random_below(&proxy->seeded.random, delay_max_ms + 1) : 0);
	return parcel;
}

static void
parcel_free(struct parcel *parcel)
{
	mem_free(parcel->bytes);
	mem_free(parcel);
}

static void
enqueue(struct pair *pair, struct parcel *parcel)
{
	*pair->last = parcel;
	pair->last = &parcel->next;
}

/* ---- what becomes of news ---- */

struct slice {
	const char *at;
	size_t length;
};

#define SLICES_MAX 1024u

/* The entries of a stream, some of them lost, some in the place of the one after. */
static size_t
mistreat(struct test_redis_proxy *proxy, struct slice *slices, size_t count_in,
         const struct test_redis_trouble *trouble)
{
	size_t kept = 0, reordered = 0;

	for (size_t i = 0; i < count_in; i++)
		if (!trouble->is_mute && !draw(proxy, trouble->drop_permille))
			slices[kept++] = slices[i];
	for (size_t i = 0; i + 1 < kept; i++) {
		if (!draw(proxy, trouble->reorder_permille))
			continue;
		struct slice first = slices[i];
		slices[i] = slices[i + 1];
		slices[++i] = first;
		reordered++;
	}
	count(proxy, count_in, count_in - kept, reordered);
	return kept;
}

static void
add_head(struct bytes *out, char kind, size_t number)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "%c%zu\r\n", kind, number);

	bytes_add(out, text, (size_t)length);
}

/* One stream's part, which begins at `at`: its name as it is, its entries mistreated. Returns where it ends.
 */
static size_t
mistreat_stream(struct test_redis_proxy *proxy, const char *value, size_t length, size_t at,
                const struct test_redis_trouble *trouble, struct bytes *out)
{
	struct slice slices[SLICES_MAX];
	size_t name = line_end(value, length, at), list = value_end(value, length, name, 1);
	size_t entry = line_end(value, length, list), total = strtoul(value + list + 1, NULL, 10), taken = 0;

	for (size_t i = 0; i < total; i++) {
		size_t end = value_end(value, length, entry, 1);
		if (taken < SLICES_MAX)
			slices[taken++] = (struct slice){value + entry, end - entry};
		entry = end;
	}
	taken = mistreat(proxy, slices, taken, trouble);
	bytes_add(out, value + at, list - at);
	add_head(out, '*', taken);
	for (size_t i = 0; i < taken; i++)
		bytes_add(out, slices[i].at, slices[i].length);
	return entry;
}

static void
pass_on_news(struct test_redis_proxy *proxy, struct pair *pair, const char *value, size_t length,
             const struct test_redis_trouble *trouble)
{
	size_t streams = strtoul(value + 1, NULL, 10), at = line_end(value, length, 0);
	struct bytes out = {0};

	add_head(&out, '*', streams);
	for (size_t i = 0; i < streams; i++)
		at = mistreat_stream(proxy, value, length, at, trouble, &out);
	enqueue(pair, parcel_new(proxy, out.at, out.length, trouble->delay_max_ms));
	mem_free(out.at);
}

static void
pass_on(struct test_redis_proxy *proxy, struct pair *pair, const char *value, size_t length,
        const struct test_redis_trouble *trouble)
{
	if (is_stream_news(value, length))
		pass_on_news(proxy, pair, value, length, trouble);
	else
		enqueue(pair, parcel_new(proxy, value, length, trouble->delay_max_ms));
}

static void
pass_on_all(struct test_redis_proxy *proxy, struct pair *pair)
{
	struct test_redis_trouble trouble = trouble_now(proxy);
	struct bytes *from = &pair->from_server;
	size_t at = 0, end;

	while (at < from->length && (end = value_end(from->at, from->length, at, 0)) > 0) {
		pass_on(proxy, pair, from->at + at, end - at, &trouble);
		at = end;
	}
	if (at > 0)
		bytes_take(from, at);
}

/* ---- connections ---- */

static void
pair_close(struct pair *pair)
{
	close(pair->client);
	close(pair->server);
	for (struct parcel *parcel = pair->first, *next; parcel; parcel = next) {
		next = parcel->next;
		parcel_free(parcel);
	}
	mem_free(pair->to_server.at);
	mem_free(pair->from_server.at);
	memset(pair, 0, sizeof(*pair));
	pair->client = pair->server = -1;
}

static struct sockaddr_in
loopback(uint16_t port)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static void
take_connection(struct test_redis_proxy *proxy)
{
	struct sockaddr_in address = loopback(proxy->redis_port);
	int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC), one = 1;
	int server = client < 0 ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pair *pair = NULL;

	for (unsigned i = 0; i < PAIRS_MAX && !pair; i++)
		if (proxy->pairs[i].client < 0)
			pair = &proxy->pairs[i];
	if (!pair || server < 0 || connect(server, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(client);
		close(server);
		return;
	}
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	pair->client = client;
	pair->server = server;
	pair->last = &pair->first;
}

/* False: the connection is over. */
static bool
read_some(int from, struct bytes *to)
{
	static _Thread_local char buffer[READ_BYTES];
	ssize_t length = recv(from, buffer, sizeof(buffer), MSG_DONTWAIT);

	if (length > 0)
		bytes_add(to, buffer, (size_t)length);
	return length != 0;
}

static bool
send_some(int to, struct bytes *from)
{
	ssize_t length = from->length ? send(to, from->at, from->length, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (length > 0)
		bytes_take(from, (size_t)length);
	return true;
}

static void
send_parcels(struct pair *pair)
{
	uint64_t now_ms = test_now_ms();

	while (pair->first && pair->first->due_ms <= now_ms) {
		struct parcel *parcel = pair->first;
		ssize_t length = send(pair->client, parcel->bytes + parcel->sent, parcel->length - parcel->sent,
		                      MSG_DONTWAIT | MSG_NOSIGNAL);
		if (length <= 0)
			return;
		parcel->sent += (size_t)length;
		if (parcel->sent < parcel->length)
			return;
		pair->first = parcel->next;
		if (!pair->first)
			pair->last = &pair->first;
		parcel_free(parcel);
	}
}

static void
serve(struct test_redis_proxy *proxy, struct pair *pair, bool has_client, bool has_server)
{
	bool is_open = true;

	if (has_client)
		is_open = read_some(pair->client, &pair->to_server);
	if (has_server && is_open)
		is_open = read_some(pair->server, &pair->from_server);
	pass_on_all(proxy, pair);
	(void)send_some(pair->server, &pair->to_server);
	send_parcels(pair);
	if (!is_open)
		pair_close(pair);
}

/* ---- the thread ---- */

static void
turn(struct test_redis_proxy *proxy)
{
	struct pollfd polled[1 + 2 * PAIRS_MAX];
	bool is_cut = trouble_now(proxy).is_cut;

	polled[0] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
	for (unsigned i = 0; i < PAIRS_MAX; i++) {
		const struct pair *pair = &proxy->pairs[i];
		polled[1 + 2 * i] = (struct pollfd){.fd = is_cut ? -1 : pair->client, .events = POLLIN};
		polled[2 + 2 * i] = (struct pollfd){.fd = is_cut ? -1 : pair->server, .events = POLLIN};
	}
	(void)poll(polled, 1 + 2 * PAIRS_MAX, TURN_MS);
	for (unsigned i = 0; i < PAIRS_MAX && !is_cut; i++)
		if (proxy->pairs[i].client >= 0)
			serve(proxy, &proxy->pairs[i], polled[1 + 2 * i].revents, polled[2 + 2 * i].revents);
	if (polled[0].revents)
		take_connection(proxy);
}

static void
close_all(struct test_redis_proxy *proxy)
{
	for (unsigned i = 0; i < PAIRS_MAX; i++)
		if (proxy->pairs[i].client >= 0)
			pair_close(&proxy->pairs[i]);
}

static void *
proxy_main(void *arg)
{
	struct test_redis_proxy *proxy = arg;

	while (!atomic_load(&proxy->is_stopping)) {
		turn(proxy);
		if (atomic_exchange(&proxy->is_hanging_up, false))
			close_all(proxy);
	}
	close_all(proxy);
	return NULL;
}

struct test_redis_proxy *
test_redis_proxy_start(uint16_t redis_port, uint64_t seed)
{
	struct test_redis_proxy *proxy = mem_alloc(sizeof(*proxy));
	uint16_t port = test_free_port();
	struct sockaddr_in address = loopback(port);
	int one = 1;

	proxy->redis_port = redis_port;
	seeded_random_init(&proxy->seeded, seed);
	pthread_mutex_init(&proxy->lock, NULL);
	for (unsigned i = 0; i < PAIRS_MAX; i++)
		proxy->pairs[i].client = proxy->pairs[i].server = -1;
	snprintf(proxy->url, sizeof(proxy->url), "redis://127.0.0.1:%u/0", port);
	proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(proxy->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(proxy->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(proxy->listener, 64) != 0 || pthread_create(&proxy->thread, NULL, proxy_main, proxy) != 0) {
		perror("test_redis_proxy");
		abort();
	}
	return proxy;
}

void
test_redis_proxy_stop(struct test_redis_proxy *proxy)
{
	atomic_store(&proxy->is_stopping, true);
	pthread_join(proxy->thread, NULL);
	close(proxy->listener);
	pthread_mutex_destroy(&proxy->lock);
	mem_free(proxy);
}

const char *
test_redis_proxy_url(const struct test_redis_proxy *proxy)
{
	return proxy->url;
}

void
test_redis_proxy_trouble(struct test_redis_proxy *proxy, const struct test_redis_trouble *trouble)
{
	pthread_mutex_lock(&proxy->lock);
	proxy->trouble = *trouble;
	pthread_mutex_unlock(&proxy->lock);
}

void
test_redis_proxy_hang_up(struct test_redis_proxy *proxy)
{
	atomic_store(&proxy->is_hanging_up, true);
}

struct test_redis_proxy_counts
test_redis_proxy_counts(struct test_redis_proxy *proxy)
{
	pthread_mutex_lock(&proxy->lock);
	struct test_redis_proxy_counts counts = proxy->counts;
	pthread_mutex_unlock(&proxy->lock);
	return counts;
}
