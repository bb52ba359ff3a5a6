/*
 * sink_redis: events appended to Redis Streams, where any consumer group reads them.
 *
 * A try that was not answered is made again, and may have been done. So a script appends and remembers in one
 * step: beside each stream a sorted set holds which deliveries it got last, and one that is among them is not
 * appended again. A delivery that somebody sends again on purpose is another one.
 *
 * One thread with one connection sends what waits, many entries in a round trip.
 */
#include <stdio.h>
#include <string.h>

#include "sink.h"

#define BATCH_MAX      64u
#define BATCH_BYTES    (1u << 20)
#define TAKE_MS        1000u
#define CONNECT_MS     1000u
#define COMMAND_MS     5000u
#define STREAM_MAX_LEN UINT64_C(100000)
#define REMEMBERED     "10000"
#define REMEMBERED_MS  "604800000"
#define FIELDS_MAX     8u
#define STATIC_ARGS    5u

/* KEYS: the stream, what it has got. ARGV: the delivery, how long the stream may be, now, how many deliveries
 * to remember, and for how long; then the entry. Returns the entry's id, "" when it was there. */
static const struct redis_script APPEND = {
    "stream_append", "if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return '' end\n"
                     "local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 6))\n"
                     "redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])\n"
                     "redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -ARGV[4] - 1)\n"
                     "redis.call('PEXPIRE', KEYS[2], ARGV[5])\n"
                     "return id\n"};

struct sink_redis {
	struct sink base;
	struct redis *redis;
	const struct clock *clock;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows, up to the next such line */
	pthread_cond_t arrived;
	struct parcel *first, **last;
	bool is_stopping;
	/* the thread's own: */
	struct arena arena; /* of a round trip */
};

/* Of one parcel, in its arena. */
struct entry {
	struct redis_arg keys[2];
	struct redis_arg args[STATIC_ARGS + 2 * FIELDS_MAX];
	size_t arg_count, size;
	uint64_t started_mono;
};

/* ---- the entry ---- */

static struct redis_arg
arg_of(const char *text)
{
	return (struct redis_arg){.data = text, .size = strlen(text)};
}

static void
add_field(struct entry *entry, const char *name, const void *bytes, size_t size)
{
	entry->args[entry->arg_count++] = arg_of(name);
	entry->args[entry->arg_count++] = (struct redis_arg){.data = bytes, .size = size};
	entry->size += size;
}

static void
add_text(struct entry *entry, const char *name, const char *text)
{
	if (text)
		add_field(entry, name, text, strlen(text));
}

/* Both keys hash to the same slot of a Redis Cluster: that of the tenant. */
static void
name_keys(struct entry *entry, struct arena *arena, const Endpoint *endpoint)
{
	entry->keys[0] = arg_of(arena_printf(arena, "corbel:{%s}:%s", endpoint->tenant_id, endpoint->stream));
	entry->keys[1] =
	    arg_of(arena_printf(arena, "corbel:{%s}:%s:seen", endpoint->tenant_id, endpoint->stream));
}

static struct entry *
entry_new(struct parcel *parcel, const Endpoint *endpoint, uint64_t now_mono)
{
	struct arena *arena = &parcel->arena;
	struct entry *entry = ARENA_NEW(arena, struct entry);
	const Event *event = parcel->event;
	char time[TEXT_TIMESTAMP_MAX];
	uint64_t max_len = endpoint->has_stream_max_len ? endpoint->stream_max_len : STREAM_MAX_LEN;

	entry->started_mono = now_mono;
	name_keys(entry, arena, endpoint);
	text_from_timestamp_ms(event->timestamp, time);
	/* The tries of a delivery since it was last sent anew have this in common. */
	const char *token = arena_printf(arena, "%s.%u", parcel->delivery_id, parcel->attempts - parcel->tries);
	entry->args[entry->arg_count++] = arg_of(token);
	entry->args[entry->arg_count++] = arg_of(arena_printf(arena, "%llu", (unsigned long long)max_len));
	entry->args[entry->arg_count++] = arg_of(arena_printf(arena, "%lld", (long long)parcel->started_ms));
	entry->args[entry->arg_count++] = arg_of(REMEMBERED);
	entry->args[entry->arg_count++] = arg_of(REMEMBERED_MS);
	add_text(entry, "id", event->id);
	add_text(entry, "type", event->type);
	add_text(entry, "subject", event->subject);
	add_text(entry, "timestamp", arena_strdup(arena, time));
	add_text(entry, "sequence", arena_printf(arena, "%llu", (unsigned long long)event->sequence));
	add_text(entry, "tenant", arena_strdup(arena, endpoint->tenant_id));
	add_text(entry, "webhook-id", event->id);
	add_field(entry, "data", event->data.data, event->data.len);
	return entry;
}

/* ---- a round trip ---- */

static void
end(const struct sink_redis *self, struct parcel *parcel, struct parcel_outcome outcome)
{
	const struct entry *entry = parcel->of_sink;

	outcome.latency_ms = (uint32_t)(clock_mono_ms(self->clock) - entry->started_mono);
	parcel_ended(parcel, &outcome);
}

/* Only a key of another kind is the endpoint's own fault; what else Redis says of itself passes. */
static void
end_by_reply(const struct sink_redis *self, struct parcel *parcel, const struct redis_reply *reply)
{
	if (reply->type != REDIS_ERROR) {
		end(self, parcel,
		    (struct parcel_outcome){
		        .end = PARCEL_DELIVERED, .answer = reply->text, .answer_size = reply->size});
		return;
	}
	bool is_theirs = strstr(reply->text, "WRONGTYPE") != NULL;
	end(self, parcel,
	    (struct parcel_outcome){
	        .end = is_theirs ? PARCEL_REFUSED : PARCEL_UNWELL, .error = "redis", .detail = reply->text});
}

static void
end_by_failure(const struct sink_redis *self, struct parcel *parcel, const struct status *st)
{
	end(self, parcel,
	    (struct parcel_outcome){.end = PARCEL_UNWELL,
	                            .error = st->code == STATUS_DEADLINE_EXCEEDED ? "timeout" : "connect",
	                            .detail = st->message});
}

static struct status
append_all(struct sink_redis *self, struct parcel *batch, size_t count, struct redis_reply *replies)
{
	struct redis_eval_item *items = ARENA_ARRAY(&self->arena, struct redis_eval_item, count);
	struct redis_conn *conn;
	struct status st = redis_take(self->redis, TAKE_MS, &conn);
	size_t i = 0;

	if (!status_ok(&st))
		return st;
	for (const struct parcel *parcel = batch; parcel; parcel = parcel->next) {
		const struct entry *entry = parcel->of_sink;
		items[i++] = (struct redis_eval_item){.script = &APPEND,
		                                      .keys = entry->keys,
		                                      .key_count = 2,
		                                      .args = entry->args,
		                                      .arg_count = entry->arg_count};
	}
	st = redis_eval_pipeline(conn, items, count, &self->arena, replies);
	redis_put(self->redis, conn);
	return st;
}

static void
send_batch(struct sink_redis *self, struct parcel *batch, size_t count)
{
	arena_reset(&self->arena);
	struct redis_reply *replies = ARENA_ARRAY(&self->arena, struct redis_reply, count);
	struct status st = append_all(self, batch, count, replies);

	for (size_t i = 0; batch; i++) {
		struct parcel *parcel = batch;
		batch = parcel->next;
		if (status_ok(&st))
			end_by_reply(self, parcel, &replies[i]);
		else
			end_by_failure(self, parcel, &st);
	}
}

/* ---- the thread ---- */

static struct parcel *
take_batch(struct sink_redis *self, size_t *count)
{
	struct parcel *batch = self->first, *end_of_batch = batch;
	size_t bytes = ((struct entry *)batch->of_sink)->size;

	for (*count = 1; end_of_batch->next && *count < BATCH_MAX; (*count)++) {
		bytes += ((struct entry *)end_of_batch->next->of_sink)->size;
		if (bytes > BATCH_BYTES)
			break;
		end_of_batch = end_of_batch->next;
	}
	self->first = end_of_batch->next;
	if (!self->first)
		self->last = &self->first;
	end_of_batch->next = NULL;
	return batch;
}

static void *
redis_main(void *arg)
{
	struct sink_redis *self = arg;
	size_t count;

	pthread_mutex_lock(&self->lock);
	while (!self->is_stopping) {
		if (!self->first) {
			pthread_cond_wait(&self->arrived, &self->lock);
			continue;
		}
		struct parcel *batch = take_batch(self, &count);
		pthread_mutex_unlock(&self->lock);
		send_batch(self, batch, count);
		pthread_mutex_lock(&self->lock);
	}
	pthread_mutex_unlock(&self->lock);
	return NULL;
}

/* ---- the sink ---- */

static bool
redis_sink_send(struct sink *sink, struct parcel *parcel, const Endpoint *endpoint,
                const struct signer *signer)
{
	struct sink_redis *self = (struct sink_redis *)sink;

	(void)signer;
	parcel->of_sink = entry_new(parcel, endpoint, clock_mono_ms(self->clock));
	parcel->next = NULL;
	pthread_mutex_lock(&self->lock);
	*self->last = parcel;
	self->last = &parcel->next;
	pthread_cond_signal(&self->arrived);
	pthread_mutex_unlock(&self->lock);
	return true;
}

static void
dispose(struct sink_redis *self)
{
	redis_free(self->redis);
	pthread_cond_destroy(&self->arrived);
	pthread_mutex_destroy(&self->lock);
	arena_fini(&self->arena);
	mem_free(self);
}

static void
redis_sink_free(struct sink *sink)
{
	struct sink_redis *self = (struct sink_redis *)sink;

	pthread_mutex_lock(&self->lock);
	self->is_stopping = true;
	pthread_cond_signal(&self->arrived);
	pthread_mutex_unlock(&self->lock);
	pthread_join(self->thread, NULL);
	while (self->first) {
		struct parcel *parcel = self->first;
		self->first = parcel->next;
		parcel_ended(parcel, &(struct parcel_outcome){.end = PARCEL_CUT_OFF});
	}
	dispose(self);
}

struct status
sink_redis_new(const struct service_env *env, const char *url, struct sink **out)
{
	struct sink_redis *self = mem_alloc(sizeof(*self));
	struct redis_options options = {.url = url,
	                                .tls_ca = config_text(env->config, "redis.tls_ca"),
	                                .tls_cert = config_text(env->config, "redis.tls_cert"),
	                                .tls_key = config_text(env->config, "redis.tls_key"),
	                                .connections = 1,
	                                .connect_timeout_ms = CONNECT_MS,
	                                .command_timeout_ms = COMMAND_MS,
	                                .log = env->log,
	                                .clock = env->clock};

	self->base = (struct sink){.send = redis_sink_send, .free = redis_sink_free};
	self->clock = env->clock;
	self->last = &self->first;
	arena_init(&self->arena, 64u << 10, SIZE_MAX);
	pthread_mutex_init(&self->lock, NULL);
	pthread_cond_init(&self->arrived, NULL);
	struct status st = redis_new(&options, &self->redis);
	if (status_ok(&st) && pthread_create(&self->thread, NULL, redis_main, self) != 0)
		st = status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the sink of Redis Streams");
	if (status_ok(&st))
		*out = &self->base;
	else
		dispose(self);
	return st;
}
