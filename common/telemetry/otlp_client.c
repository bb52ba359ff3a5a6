/*
 * otlp_client: see otlp_client.h.
 *
 * Both the transfer and the pause between two attempts wait in curl_multi_poll(), which another thread may
 * interrupt: so a process that ends never waits for a collector longer than its grace.
 */
#include "telemetry/otlp_client.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/random.h"
#include "telemetry/otlp.h"

#define ATTEMPTS           6u
#define BACK_OFF_MS        200u /* doubled each time, half of it random */
#define REQUEST_TIMEOUT_MS 5000u
#define RETRY_AFTER_MAX_S  300 /* a collector that asks for more gets this */
#define REPLY_MAX_BYTES    (64u << 10)

struct otlp_client {
	char *url;
	const char *signal;
	enum otlp_encoding encoding;
	struct log *log;
	struct metric_counter *outcomes[OTLP_UNREACHABLE + 1];
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	struct strbuf reply;
	_Atomic uint64_t deadline_ms; /* monotonic; UINT64_MAX: none */
	bool is_failing;
};

/* What one attempt came to. */
struct answer {
	long status; /* 0: none */
	uint64_t retry_after_ms;
	char error[CURL_ERROR_SIZE];
};

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

static size_t
keep_reply(char *data, size_t size, size_t count, void *arg)
{
	struct strbuf *reply = arg;
	strbuf_add(reply, data, size * count);
	return size * count; /* what is cut does not matter: it is then no message and says nothing */
}

static void
add_header(struct otlp_client *client, const char *said)
{
	const char *equals = strchr(said, '=');
	if (!equals || strpbrk(said, "\r\n"))
		return;
	char *line = mem_printf("%.*s: %s", (int)(equals - said), said, equals + 1);
	client->headers = curl_slist_append(client->headers, line);
	mem_free(line);
}

static void
make_metrics(struct otlp_client *client, struct metrics *metrics)
{
	static const char *const LABELS[] = {"signal", "outcome", NULL};
	static const char *const OUTCOMES[] = {"taken", "refused", "unreachable"};
	static const struct metric_spec SPEC = {.name = "corbel_otlp_exports",
	                                        .help = "Requests to the OTLP collector, by outcome.",
	                                        .labels = LABELS};

	for (size_t i = 0; i <= OTLP_UNREACHABLE; i++)
		client->outcomes[i] = metrics_counter(metrics, &SPEC, (const char *[]){client->signal, OUTCOMES[i]});
}

struct otlp_client *
otlp_client_new(const struct otlp_client_options *options)
{
	struct otlp_client *client = mem_alloc(sizeof(*client));
	size_t length = strlen(options->endpoint);

	while (length > 0 && options->endpoint[length - 1] == '/')
		length--;
	client->url = mem_printf("%.*s/v1/%s", (int)length, options->endpoint, options->signal);
	client->signal = options->signal;
	client->encoding = options->encoding;
	client->log = options->log;
	client->deadline_ms = UINT64_MAX;
	make_metrics(client, options->metrics);
	client->headers =
	    curl_slist_append(NULL, options->encoding == OTLP_JSON ? "Content-Type: application/json"
	                                                           : "Content-Type: application/x-protobuf");
	client->headers = curl_slist_append(client->headers, "User-Agent: corbel/" CORBEL_VERSION);
	for (size_t i = 0; options->headers && options->headers[i]; i++)
		add_header(client, options->headers[i]);
	client->multi = curl_multi_init();
	client->easy = curl_easy_init();
	strbuf_init(&client->reply, NULL);
	client->reply.ceiling = REPLY_MAX_BYTES;
	return client;
}

void
otlp_client_free(struct otlp_client *client)
{
	if (!client)
		return;
	curl_easy_cleanup(client->easy);
	curl_multi_cleanup(client->multi);
	curl_slist_free_all(client->headers);
	strbuf_fini(&client->reply);
	mem_free(client->url);
	mem_free(client);
}

void
otlp_client_hurry(struct otlp_client *client, uint32_t grace_ms)
{
	if (!client)
		return;
	atomic_store(&client->deadline_ms, now_ms() + grace_ms);
	curl_multi_wakeup(client->multi);
}

/* Milliseconds until `until_ms` or the deadline, whichever is first. */
static int
left_ms(const struct otlp_client *client, uint64_t until_ms)
{
	uint64_t deadline = atomic_load(&client->deadline_ms), now = now_ms();
	uint64_t end = until_ms < deadline ? until_ms : deadline;
	return end > now ? (int)(end - now) : 0;
}

static void
prepare(struct otlp_client *client, const struct strbuf *body, struct answer *answer)
{
	CURL *easy = client->easy;

	strbuf_clear(&client->reply);
	curl_easy_reset(easy);
	curl_easy_setopt(easy, CURLOPT_URL, client->url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, client->headers);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body->data ? body->data : "");
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->length);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_reply);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &client->reply);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, answer->error);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
}

/* The result of the transfer that has ended. */
static CURLcode
transfer_result(struct otlp_client *client)
{
	int left;
	const CURLMsg *message = curl_multi_info_read(client->multi, &left);
	return message && message->msg == CURLMSG_DONE ? message->data.result : CURLE_ABORTED_BY_CALLBACK;
}

static void
read_answer(struct otlp_client *client, struct answer *answer)
{
	curl_off_t retry_after_s = 0;

	curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &answer->status);
	curl_easy_getinfo(client->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	if (retry_after_s > RETRY_AFTER_MAX_S)
		retry_after_s = RETRY_AFTER_MAX_S;
	answer->retry_after_ms = retry_after_s > 0 ? (uint64_t)retry_after_s * 1000 : 0;
	/* A reply longer than any that is meant says nothing. */
	if (client->reply.is_cut)
		strbuf_clear(&client->reply);
}

static void
post(struct otlp_client *client, const struct strbuf *body, struct answer *answer)
{
	uint64_t end_ms = now_ms() + REQUEST_TIMEOUT_MS;
	int running = 1, wait_ms;

	*answer = (struct answer){.status = 0};
	prepare(client, body, answer);
	curl_multi_add_handle(client->multi, client->easy);
	while (curl_multi_perform(client->multi, &running) == CURLM_OK && running) {
		wait_ms = left_ms(client, end_ms);
		if (wait_ms == 0)
			break;
		curl_multi_poll(client->multi, NULL, 0, wait_ms, NULL);
	}
	if (!running && transfer_result(client) == CURLE_OK)
		read_answer(client, answer);
	else if (!answer->error[0])
		strcpy(answer->error, "no answer in time");
	curl_multi_remove_handle(client->multi, client->easy);
}

static bool
is_retryable(long status)
{
	return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

/* Waits before the next attempt; false when the deadline would come first. */
static bool
back_off(struct otlp_client *client, unsigned attempt, uint64_t retry_after_ms)
{
	uint64_t wait_ms = BACK_OFF_MS << attempt;
	wait_ms = wait_ms / 2 + random_fast_u64() % (wait_ms / 2);
	if (wait_ms < retry_after_ms)
		wait_ms = retry_after_ms;
	uint64_t end_ms = now_ms() + wait_ms;
	/* A wake-up only means that the deadline may have moved. */
	while (now_ms() < end_ms && end_ms < atomic_load(&client->deadline_ms))
		curl_multi_poll(client->multi, NULL, 0, left_ms(client, end_ms), NULL);
	return end_ms < atomic_load(&client->deadline_ms);
}

static enum otlp_outcome
try_to_send(struct otlp_client *client, const struct strbuf *body, struct answer *answer)
{
	for (unsigned attempt = 0;; attempt++) {
		post(client, body, answer);
		if (answer->status >= 200 && answer->status < 300)
			return OTLP_TAKEN;
		if (!is_retryable(answer->status))
			return OTLP_REFUSED;
		if (attempt + 1 == ATTEMPTS || !back_off(client, attempt, answer->retry_after_ms))
			return OTLP_UNREACHABLE;
	}
}

static void
log_change(struct otlp_client *client, enum otlp_outcome outcome, const struct answer *answer)
{
	bool is_failing = outcome != OTLP_TAKEN;

	if (is_failing && !client->is_failing)
		log_warn(client->log, "collector takes nothing", LOG_TEXT("signal", client->signal),
		         LOG_TEXT("url", client->url), LOG_I64("http_status", answer->status),
		         LOG_TEXT("error", answer->error));
	else if (!is_failing && client->is_failing)
		log_info(client->log, "collector takes again", LOG_TEXT("signal", client->signal));
	client->is_failing = is_failing;
}

enum otlp_outcome
otlp_client_send(struct otlp_client *client, const struct strbuf *body, uint64_t *rejected)
{
	struct answer answer;
	enum otlp_outcome outcome = try_to_send(client, body, &answer);

	*rejected =
	    outcome == OTLP_TAKEN ? otlp_rejected(client->encoding, client->reply.data, client->reply.length) : 0;
	counter_add(client->outcomes[outcome], 1);
	log_change(client, outcome, &answer);
	return outcome;
}
