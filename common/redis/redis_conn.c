/*
 * redis_conn: one connection: connecting, and one round trip of any number of commands.
 *
 * The socket never blocks; every wait ends at the deadline of the whole round trip, so a server that
 * sends a byte now and then cannot hold a thread. hiredis parses the replies; its blocking calls are
 * not used, because their time-out is that of each read.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "redis/redis_internal.h"

#define REPLY_BYTES_MAX ((size_t)64 << 20) /* of a round trip */

struct status
redis_away(const struct redis_conn *conn, const char *what, const char *why)
{
	const struct redis_url *url = &conn->redis->url;

	if (url->path)
		return status_make(STATUS_UNAVAILABLE, "redis at %s: %s%s", url->path, what, why);
	return status_make(STATUS_UNAVAILABLE, "redis at %s:%u: %s%s", url->host, url->port, what, why);
}

/* ---------------------------------------------------------------- waiting */

bool
redis_wait(const struct redis_conn *conn, short events)
{
	struct pollfd fd = {.fd = conn->fd, .events = events};
	int ready;

	do {
		uint64_t now = clock_mono_ms(conn->redis->clock);
		ready = poll(&fd, 1, now < conn->deadline_ms ? (int)(conn->deadline_ms - now) : 0);
	} while (ready < 0 && errno == EINTR);
	return ready > 0;
}

static void
start_timer(struct redis_conn *conn, uint32_t timeout_ms)
{
	conn->deadline_ms = clock_mono_ms(conn->redis->clock) + timeout_ms;
}

/* ---------------------------------------------------------------- addresses */

static struct status
resolve_unix(const struct redis *redis, struct redis_address *out)
{
	struct sockaddr_un *to = (struct sockaddr_un *)&out->socket;

	to->sun_family = AF_UNIX;
	snprintf(to->sun_path, sizeof(to->sun_path), "%s", redis->url.path);
	out->size = sizeof(*to);
	return status_ok_value();
}

static struct status
resolve_name(const struct redis *redis, struct redis_address *out, size_t *count)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	char port[8];

	snprintf(port, sizeof(port), "%u", redis->url.port);
	int rc = getaddrinfo(redis->url.host, port, &hints, &found);
	if (rc != 0)
		return status_make(STATUS_UNAVAILABLE, "redis at %s: %s", redis->url.host, gai_strerror(rc));
	*count = 0;
	for (struct addrinfo *at = found; at && *count < REDIS_ADDRESSES_MAX; at = at->ai_next) {
		memcpy(&out[*count].socket, at->ai_addr, at->ai_addrlen);
		out[(*count)++].size = at->ai_addrlen;
	}
	freeaddrinfo(found);
	return status_ok_value();
}

struct status
redis_resolve(struct redis *redis)
{
	struct redis_address found[REDIS_ADDRESSES_MAX];
	size_t count = 1;

	memset(found, 0, sizeof(found));
	struct status st = redis->url.path ? resolve_unix(redis, found) : resolve_name(redis, found, &count);
	if (!status_ok(&st))
		return st;
	pthread_mutex_lock(&redis->lock);
	memcpy(redis->addresses, found, sizeof(found));
	redis->address_count = count;
	pthread_mutex_unlock(&redis->lock);
	return st;
}

/* ---------------------------------------------------------------- connecting */

static struct status
connect_to(struct redis_conn *conn, const struct redis_address *to)
{
	int one = 1, error = 0;
	socklen_t size = sizeof(error);

	conn->fd = socket(to->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (conn->fd < 0)
		return redis_away(conn, "", strerror(errno));
	if (to->socket.ss_family != AF_UNIX) {
		setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	if (connect(conn->fd, (const struct sockaddr *)&to->socket, to->size) == 0)
		return status_ok_value();
	if (errno != EINPROGRESS)
		return redis_away(conn, "", strerror(errno));
	if (!redis_wait(conn, POLLOUT))
		return redis_away(conn, "connecting takes too long", "");
	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
		return redis_away(conn, "", strerror(error));
	return status_ok_value();
}

static void
close_socket(struct redis_conn *conn)
{
	redis_tls_close(conn);
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
}

static struct status
connect_to_any(struct redis_conn *conn)
{
	struct redis *redis = conn->redis;
	struct redis_address addresses[REDIS_ADDRESSES_MAX] = {0};
	struct status st = redis_away(conn, "its name is not resolved", "");

	pthread_mutex_lock(&redis->lock);
	size_t count = redis->address_count;
	memcpy(addresses, redis->addresses, sizeof(addresses));
	conn->generation = redis->generation;
	pthread_mutex_unlock(&redis->lock);
	for (size_t i = 0; i < count; i++) {
		st = connect_to(conn, &addresses[i]);
		if (status_ok(&st) && redis->tls)
			st = redis_tls_open(conn);
		if (status_ok(&st))
			return st;
		close_socket(conn);
	}
	return st;
}

static struct redis_arg
arg(const char *text)
{
	return (struct redis_arg){.data = text, .size = strlen(text)};
}

static struct status
introduce(struct redis_conn *conn, const struct redis_arg *args, size_t count)
{
	struct redis_pipeline_item item = {.args = args, .count = count};
	struct redis_reply reply = {.type = REDIS_NIL};
	struct arena arena;

	arena_init(&arena, 1024, 65536);
	struct status st = redis_exchange(conn, &item, 1, &arena, &reply);
	if (status_ok(&st) && reply.type == REDIS_ERROR)
		st = redis_away(conn, "", reply.text);
	arena_fini(&arena);
	return st;
}

static struct status
log_in(struct redis_conn *conn)
{
	const struct redis_url *url = &conn->redis->url;
	struct redis_arg args[3] = {arg("AUTH")};
	size_t count = 1;

	if (!url->password)
		return status_ok_value();
	if (url->user)
		args[count++] = arg(url->user);
	args[count++] = arg(url->password);
	return introduce(conn, args, count);
}

static struct status
select_database(struct redis_conn *conn)
{
	char number[16];

	if (conn->redis->url.database == 0)
		return status_ok_value();
	snprintf(number, sizeof(number), "%u", conn->redis->url.database);
	return introduce(conn, (struct redis_arg[]){arg("SELECT"), arg(number)}, 2);
}

struct status
redis_conn_open(struct redis_conn *conn)
{
	start_timer(conn, conn->patience_ms ? conn->patience_ms : conn->redis->connect_timeout_ms);
	conn->is_broken = false;
	struct status st = connect_to_any(conn);
	if (!status_ok(&st))
		return st;
	conn->reader = redisReaderCreate();
	st = log_in(conn);
	if (status_ok(&st))
		st = select_database(conn);
	if (!status_ok(&st))
		redis_conn_close(conn);
	return st;
}

void
redis_conn_close(struct redis_conn *conn)
{
	close_socket(conn);
	if (conn->reader)
		redisReaderFree(conn->reader);
	conn->reader = NULL;
	strbuf_fini(&conn->out);
	strbuf_init(&conn->out, NULL);
}

bool
redis_conn_is_alive(const struct redis_conn *conn)
{
	struct pollfd fd = {.fd = conn->fd, .events = POLLIN};

	/* Nothing is awaited, so what can be read is the end. */
	return poll(&fd, 1, 0) == 0 || (conn->tls && redis_tls_is_quiet(conn));
}

/* ---------------------------------------------------------------- a round trip */

static void
add_command(struct strbuf *out, const struct redis_arg *args, size_t count)
{
	strbuf_putc(out, '*');
	strbuf_u64(out, count);
	strbuf_puts(out, "\r\n");
	for (size_t i = 0; i < count; i++) {
		strbuf_putc(out, '$');
		strbuf_u64(out, args[i].size);
		strbuf_puts(out, "\r\n");
		strbuf_add(out, args[i].data, args[i].size);
		strbuf_puts(out, "\r\n");
	}
}

/* These two: 0 says to wait for `*wanted` and call again, -1 that the connection is lost. */
static ssize_t
send_some(struct redis_conn *conn, const char *data, size_t size, short *wanted)
{
	if (conn->tls)
		return redis_tls_send(conn, data, size, wanted);
	*wanted = POLLOUT;
	ssize_t n = send(conn->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
}

static ssize_t
receive_some(struct redis_conn *conn, char *buffer, size_t size, short *wanted)
{
	if (conn->tls)
		return redis_tls_receive(conn, buffer, size, wanted);
	*wanted = POLLIN;
	ssize_t n = recv(conn->fd, buffer, size, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n > 0 ? n : -1;
}

static struct status
send_all(struct redis_conn *conn)
{
	short wanted = POLLOUT;

	for (size_t sent = 0; sent < conn->out.length;) {
		ssize_t n = send_some(conn, conn->out.data + sent, conn->out.length - sent, &wanted);
		if (n < 0)
			return redis_away(conn, "the connection was lost", "");
		if (n == 0 && !redis_wait(conn, wanted))
			return redis_away(conn, "it takes no more commands", "");
		sent += (size_t)n;
	}
	return status_ok_value();
}

static struct status
feed(struct redis_conn *conn, size_t *received)
{
	char buffer[16384];
	short wanted = POLLIN;
	ssize_t n;

	do {
		if (!(conn->tls && redis_tls_has_received(conn)) && !redis_wait(conn, wanted))
			return redis_away(conn, "no answer in time", "");
		n = receive_some(conn, buffer, sizeof(buffer), &wanted);
	} while (n == 0);
	if (n < 0)
		return redis_away(conn, "the connection was lost", "");
	*received += (size_t)n;
	if (*received > REPLY_BYTES_MAX || redisReaderFeed(conn->reader, buffer, (size_t)n) != REDIS_OK)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "redis: the reply is too large");
	return status_ok_value();
}

/* hiredis refuses deeper nesting than its own few levels, which bounds the recursion. */
static bool
copy_reply(const redisReply *from, struct arena *arena, struct redis_reply *to)
{
	*to = (struct redis_reply){.type = REDIS_NIL};
	if (from->type == REDIS_REPLY_INTEGER) {
		to->type = REDIS_INTEGER;
		to->integer = from->integer;
	} else if (from->type == REDIS_REPLY_ARRAY) {
		struct redis_reply *elements = arena_try(arena, from->elements + 1, sizeof(*elements));
		bool is_copied = elements != NULL;
		for (size_t i = 0; is_copied && i < from->elements; i++)
			is_copied = copy_reply(from->element[i], arena, &elements[i]);
		to->type = REDIS_ARRAY;
		to->elements = elements;
		to->count = from->elements;
		return is_copied;
	} else if (from->type != REDIS_REPLY_NIL) {
		char *text = arena_try(arena, from->len + 1, 1);
		if (text)
			memcpy(text, from->str, from->len);
		to->type = from->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
		           : from->type == REDIS_REPLY_STATUS ? REDIS_STATUS
		                                              : REDIS_TEXT;
		to->text = text;
		to->size = from->len;
		return text != NULL;
	}
	return true;
}

static struct status
receive_one(struct redis_conn *conn, size_t *received, struct arena *arena, struct redis_reply *out)
{
	void *reply = NULL;

	for (;;) {
		if (redisReaderGetReply(conn->reader, &reply) != REDIS_OK)
			return redis_away(conn, "it does not speak the protocol: ", conn->reader->errstr);
		if (reply)
			break;
		struct status st = feed(conn, received);
		if (!status_ok(&st))
			return st;
	}
	bool is_copied = copy_reply(reply, arena, out);
	freeReplyObject(reply);
	return is_copied ? status_ok_value()
	                 : status_make(STATUS_RESOURCE_EXHAUSTED, "redis: the reply is too large");
}

struct status
redis_exchange(struct redis_conn *conn, const struct redis_pipeline_item *items, size_t count,
               struct arena *arena, struct redis_reply *out)
{
	size_t received = 0;

	strbuf_clear(&conn->out);
	for (size_t i = 0; i < count; i++)
		add_command(&conn->out, items[i].args, items[i].count);
	struct status st = send_all(conn);
	for (size_t i = 0; status_ok(&st) && i < count; i++)
		st = receive_one(conn, &received, arena, &out[i]);
	if (!status_ok(&st))
		conn->is_broken = true; /* late replies would be taken for those of the next round trip */
	return st;
}

struct status
redis_reply_verdict(const struct redis_reply *reply)
{
	static const char *const words[] = {"LOADING ", "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ",
	                                    "BUSY ",    "MISCONF ",  "NOREPLICAS ", "OOM ",         "NOAUTH "};

	for (size_t i = 0; reply->type == REDIS_ERROR && i < sizeof(words) / sizeof(words[0]); i++) {
		if (strncmp(reply->text, words[i], strlen(words[i])) == 0)
			return status_make(STATUS_UNAVAILABLE, "redis: %s", reply->text);
	}
	return status_ok_value();
}
