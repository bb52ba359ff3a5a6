/*
 * follow: see follow.h. Server-sent events over libcurl.
 */
#include "follow.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/random.h"
#include "base/text.h"
#include "cli.h"
#include "http/sse.h"

#define EVENT_MAX    (4u << 20) /* an event has 256 KiB of data at most */
#define ANSWER_MAX   (64u << 10)
#define CONNECT_MS   5000L
#define SILENCE_S    60L /* four heartbeats */
#define PAUSE_MS     250u
#define PAUSE_MAX_MS 8000u

/* One connection. */
struct connection {
	struct follow *follow;
	struct arena arena;
	CURL *curl;
	struct sse *sse;
	struct strbuf answer; /* of anything but a stream */
	long status;
	bool has_moved; /* something came that brought us on */
	bool is_over;   /* the key is no longer good */
	bool is_broken; /* what came is no stream of events */
};

/* ---- what comes ---- */

static void
take_gap(const struct sse_event *event)
{
	json_t *gap = json_loadb(event->data, event->data_size, 0, NULL);
	json_int_t first = json_integer_value(json_object_get(json_object_get(gap, "data"), "first_sequence"));

	fprintf(stderr, "corbel: events before %" JSON_INTEGER_FORMAT " are no longer kept\n", first);
	json_decref(gap);
}

/* Events of the stream's own have no id of an event, which any other has. */
static bool
take_own(struct connection *connection, const struct sse_event *event)
{
	if (strcmp(event->type, "stream.gap") == 0)
		take_gap(event);
	else if (strcmp(event->type, "stream.revoked") == 0)
		connection->is_over = true;
	else if (strcmp(event->type, "stream.slow") != 0)
		return false;
	return true;
}

static bool
take(void *arg, const struct sse_event *event)
{
	struct connection *connection = arg;
	struct follow *follow = connection->follow;
	uint64_t position;

	if (!text_to_u64(event->id, strlen(event->id), &position)) {
		connection->is_broken = true;
		return false;
	}
	bool is_news =
	    event->data && !take_own(connection, event) && (!follow->has_after || position > follow->after);
	if (is_news) {
		const struct follow_event taken = {
		    .sequence = position, .json = event->data, .json_size = event->data_size};
		follow->take(follow->arg, &taken);
	}
	if (!follow->has_after || position > follow->after) {
		connection->has_moved = connection->has_moved || event->data;
		follow->has_after = true;
		follow->after = position;
	}
	return !connection->is_over;
}

static size_t
take_bytes(char *bytes, size_t size, size_t count, void *arg)
{
	struct connection *connection = arg;
	size *= count;

	if (connection->status == 0)
		curl_easy_getinfo(connection->curl, CURLINFO_RESPONSE_CODE, &connection->status);
	if (connection->status != 200) {
		strbuf_add(&connection->answer, bytes, size);
		return size;
	}
	if (!sse_feed(connection->sse, bytes, size)) {
		connection->is_broken = connection->is_broken || !connection->is_over;
		return 0;
	}
	return size;
}

/* ---- asking ---- */

static void
put_parameter(struct strbuf *url, CURL *curl, const char *name, const char *value)
{
	char *text = value ? curl_easy_escape(curl, value, 0) : NULL;

	if (text)
		strbuf_printf(url, "%c%s=%s", strchr(url->data, '?') ? '&' : '?', name, text);
	curl_free(text);
}

static const char *
url_of(struct connection *connection)
{
	const struct follow *follow = connection->follow;
	struct strbuf url;

	strbuf_init(&url, &connection->arena);
	strbuf_printf(&url, "%s/v1/stream", follow->url);
	put_parameter(&url, connection->curl, "types", follow->types);
	put_parameter(&url, connection->curl, "subject", follow->subject);
	put_parameter(&url, connection->curl, "tenant_id", follow->tenant_id);
	return url.data;
}

static struct curl_slist *
headers_of(struct connection *connection)
{
	const struct follow *follow = connection->follow;
	struct arena *arena = &connection->arena;
	struct curl_slist *list = curl_slist_append(NULL, "Accept: text/event-stream");

	if (follow->api_key)
		list = curl_slist_append(list, arena_printf(arena, "Authorization: Bearer %s", follow->api_key));
	if (follow->has_after)
		list = curl_slist_append(
		    list, arena_printf(arena, "Last-Event-ID: %llu", (unsigned long long)follow->after));
	return list;
}

static CURLcode
perform(struct connection *connection)
{
	CURL *curl = connection->curl;
	struct curl_slist *headers = headers_of(connection);

	curl_easy_setopt(curl, CURLOPT_URL, url_of(connection));
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENCE_S);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, connection);
	CURLcode rc = curl_easy_perform(curl);
	if (connection->status == 0)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &connection->status);
	curl_slist_free_all(headers);
	return rc;
}

/* ---- outcomes ---- */

/* The exit code of an answer that is not worth asking for again; 0: it may be another time. */
static int
verdict(struct connection *connection)
{
	json_t *problem;
	int code = exit_code_of(connection->status);

	if (connection->is_over) {
		fputs("corbel: the key is no longer good\n", stderr);
		return EXIT_CODE_FORBIDDEN;
	}
	if (connection->is_broken) {
		fprintf(stderr, "corbel: %s sent no stream of events: is this Corbel?\n", connection->follow->url);
		return EXIT_CODE_OTHER;
	}
	if (code == EXIT_CODE_OK || code == EXIT_CODE_UNAVAILABLE || code == EXIT_CODE_LIMITED)
		return 0;
	problem = json_loads(connection->answer.data, JSON_DECODE_ANY, NULL);
	output_problem(&connection->arena, connection->status, problem, stderr);
	json_decref(problem);
	return code;
}

/* Why the first connection failed, for people. */
static int
tell_failure(struct connection *connection, CURLcode rc)
{
	json_t *problem = json_loads(connection->answer.data, JSON_DECODE_ANY, NULL);

	if (connection->status == 0)
		fprintf(stderr, "corbel: %s: %s\n", connection->follow->url, curl_easy_strerror(rc));
	else
		output_problem(&connection->arena, connection->status, problem, stderr);
	json_decref(problem);
	return exit_code_of(connection->status);
}

static void
rest(unsigned turn)
{
	unsigned whole = turn < 5 ? PAUSE_MS << turn : PAUSE_MAX_MS;
	unsigned ms = whole / 2 + (unsigned)(random_fast_u64() % (whole / 2));
	struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
		continue;
}

/* One connection from its beginning to its end; false: the command is over. */
static bool
follow_once(struct follow *follow, bool is_first, unsigned *turn, int *code)
{
	struct connection connection = {.follow = follow, .curl = curl_easy_init()};

	arena_init(&connection.arena, 4096, SIZE_MAX);
	connection.sse = sse_new(EVENT_MAX, take, &connection);
	strbuf_init(&connection.answer, &connection.arena);
	connection.answer.ceiling = ANSWER_MAX;
	strbuf_add(&connection.answer, "", 0);
	CURLcode rc = perform(&connection);
	*code = verdict(&connection);
	if (*code == 0 && is_first && connection.status != 200)
		*code = tell_failure(&connection, rc);
	else if (*code == 0 && follow->is_verbose)
		fprintf(stderr, "* the stream ended: %s\n",
		        rc == CURLE_OK ? "by the server" : curl_easy_strerror(rc));
	*turn = connection.has_moved ? 0 : *turn + 1;
	sse_free(connection.sse);
	curl_easy_cleanup(connection.curl);
	arena_fini(&connection.arena);
	return *code == 0;
}

int
follow_run(struct follow *follow)
{
	unsigned turn = 0;
	int code = 0;

	for (bool is_first = true; follow_once(follow, is_first, &turn, &code); is_first = false)
		rest(turn);
	return code;
}
