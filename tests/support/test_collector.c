/*
 * test_collector: libmicrohttpd with a thread a connection, so that a hanging answer hangs nobody else.
 */
#include "support/test_collector.h"

#include <check.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/text.h"
#include "support/test_process.h"

#define REQUESTS_MAX 256
#define WAIT_S       10

struct test_collector {
	struct MHD_Daemon *daemon;
	char url[40];
	pthread_mutex_t lock; /* all below */
	pthread_cond_t changed;
	struct test_collector_request requests[REQUESTS_MAX];
	size_t count;
	const struct test_collector_answer *answers;
	size_t answer_count, answered;
	int is_hanging;
};

static void
copy_header(struct MHD_Connection *connection, const char *name, char *out, size_t size)
{
	const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
	snprintf(out, size, "%s", value ? value : "");
}

/* Keeps the request and decides its answer, which may take until hanging ends. */
static struct test_collector_answer
receive(struct test_collector *self, struct MHD_Connection *connection, const char *path,
        const struct strbuf *body)
{
	struct test_collector_answer answer = {.status = 200, .body = ""};

	pthread_mutex_lock(&self->lock);
	ck_assert_uint_lt(self->count, REQUESTS_MAX);
	struct test_collector_request *request = &self->requests[self->count++];
	snprintf(request->path, sizeof(request->path), "%s", path);
	copy_header(connection, "Content-Type", request->content_type, sizeof(request->content_type));
	copy_header(connection, "Authorization", request->authorization, sizeof(request->authorization));
	request->at_ms = test_now_ms();
	request->length = body->length;
	request->body = mem_alloc(body->length + 1);
	if (body->length)
		memcpy(request->body, body->data, body->length);
	pthread_cond_broadcast(&self->changed);
	while (self->is_hanging)
		pthread_cond_wait(&self->changed, &self->lock);
	if (self->answer_count > 0)
		answer = self->answers[self->answered + 1 < self->answer_count ? self->answered++ : self->answered];
	pthread_mutex_unlock(&self->lock);
	return answer;
}

static enum MHD_Result
reply(struct MHD_Connection *connection, const struct test_collector_answer *answer)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    answer->length, (void *)(uintptr_t)(answer->body ? answer->body : ""), MHD_RESPMEM_MUST_COPY);
	if (answer->retry_after)
		MHD_add_response_header(response, "Retry-After", answer->retry_after);
	enum MHD_Result result = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result
handle(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
       const char *version, const char *data, size_t *size, void **state)
{
	struct strbuf *body = *state;

	(void)method;
	(void)version;
	if (!body) {
		body = mem_alloc(sizeof(*body));
		strbuf_init(body, NULL);
		*state = body;
		return MHD_YES;
	}
	if (*size > 0) {
		strbuf_add(body, data, *size);
		*size = 0;
		return MHD_YES;
	}
	struct test_collector_answer answer = receive(arg, connection, path, body);
	return reply(connection, &answer);
}

static void
completed(void *arg, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
	(void)arg;
	(void)connection;
	(void)code;
	if (*state)
		strbuf_fini(*state);
	mem_free(*state);
}

struct test_collector *
test_collector_start(void)
{
	struct test_collector *self = mem_alloc(sizeof(*self));
	uint16_t port = test_free_port();

	pthread_mutex_init(&self->lock, NULL);
	pthread_cond_init(&self->changed, NULL);
	self->daemon = MHD_start_daemon(
	    MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, port, NULL, NULL,
	    handle, self, MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_END);
	ck_assert_ptr_nonnull(self->daemon);
	snprintf(self->url, sizeof(self->url), "http://127.0.0.1:%u", (unsigned)port);
	return self;
}

void
test_collector_stop(struct test_collector *self)
{
	test_collector_hang(self, 0);
	MHD_stop_daemon(self->daemon);
	for (size_t i = 0; i < self->count; i++)
		mem_free(self->requests[i].body);
	pthread_cond_destroy(&self->changed);
	pthread_mutex_destroy(&self->lock);
	mem_free(self);
}

const char *
test_collector_url(const struct test_collector *self)
{
	return self->url;
}

void
test_collector_script(struct test_collector *self, const struct test_collector_answer *answers, size_t count)
{
	pthread_mutex_lock(&self->lock);
	self->answers = answers;
	self->answer_count = count;
	self->answered = 0;
	pthread_mutex_unlock(&self->lock);
}

void
test_collector_hang(struct test_collector *self, int is_hanging)
{
	pthread_mutex_lock(&self->lock);
	self->is_hanging = is_hanging;
	pthread_cond_broadcast(&self->changed);
	pthread_mutex_unlock(&self->lock);
}

void
test_collector_wait(struct test_collector *self, size_t count)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&self->lock);
	while (self->count < count && pthread_cond_timedwait(&self->changed, &self->lock, &until) != ETIMEDOUT)
		;
	size_t got = self->count;
	pthread_mutex_unlock(&self->lock);
	ck_assert_uint_ge(got, count);
}

size_t
test_collector_count(struct test_collector *self)
{
	pthread_mutex_lock(&self->lock);
	size_t count = self->count;
	pthread_mutex_unlock(&self->lock);
	return count;
}

const struct test_collector_request *
test_collector_request(struct test_collector *self, size_t i)
{
	ck_assert_uint_lt(i, test_collector_count(self));
	return &self->requests[i];
}
