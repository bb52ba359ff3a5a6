/*
 * listen: `corbel webhooks listen`: webhooks of your own on a laptop, which Corbel could not reach.
 *
 * Events are followed as by `events tail`, and each is sent on as webhooks are: the same body, headers and
 * signatures. It is sent again while it is not taken; the stream waits meanwhile.
 */
#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "api/json.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"
#include "corbel/contract.gen.h"
#include "events/body.h"
#include "events/signature.h"
#include "follow.h"
#include "own.h"

#define TIMEOUT_MS   15000L
#define CONNECT_MS   5000L
#define TRIES        5u
#define PAUSE_MS     500u
#define PAUSE_MAX_MS 8000u

struct listener {
	struct arena arena; /* of one event */
	const char *forward;
	struct signer *signer;
	CURL *curl;
};

/* One event on its way. */
struct letter {
	const Corbel__V1__Event *event;
	struct strbuf body;
	long status; /* 0: no answer */
	char error[CURL_ERROR_SIZE];
	double seconds;
};

/* ---- one try ---- */

static size_t
pass_over(char *bytes, size_t size, size_t count, void *arg)
{
	(void)bytes;
	(void)arg;
	return size * count;
}

static struct curl_slist *
headers_of(struct listener *listener, const struct letter *letter)
{
	int64_t now_s = clock_wall_ms(clock_system()) / 1000;
	const struct signed_message message = {.id = letter->event->id,
	                                       .timestamp_s = now_s,
	                                       .body = letter->body.data,
	                                       .body_length = letter->body.length};
	struct arena *arena = &listener->arena;
	struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
	struct strbuf signature;

	strbuf_init(&signature, arena);
	list = curl_slist_append(list, "Expect:");
	list = curl_slist_append(list, arena_printf(arena, "webhook-id: %s", letter->event->id));
	list = curl_slist_append(list, arena_printf(arena, "webhook-timestamp: %lld", (long long)now_s));
	struct status st = signer_sign(listener->signer, &message, &signature);
	if (status_ok(&st))
		list = curl_slist_append(list, arena_printf(arena, "webhook-signature: %s", signature.data));
	return list;
}

static bool
try_once(struct listener *listener, struct letter *letter)
{
	CURL *curl = listener->curl;
	struct curl_slist *headers = headers_of(listener, letter);

	letter->error[0] = '\0';
	letter->status = 0;
	curl_easy_setopt(curl, CURLOPT_URL, listener->forward);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, pass_over);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, letter->error);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, letter->body.data);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)letter->body.length);
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &letter->status);
	curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME, &letter->seconds);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	curl_slist_free_all(headers);
	return letter->status >= 200 && letter->status < 300;
}

static void
tell(struct listener *listener, const struct letter *letter, const char *what)
{
	const Corbel__V1__Event *event = letter->event;
	char status[16];

	snprintf(status, sizeof(status), "%ld", letter->status);
	printf("%llu  %s  %s  %.0f ms%s\n", (unsigned long long)event->sequence,
	       show_text(&listener->arena, event->type),
	       letter->status ? status : show_text(&listener->arena, letter->error), letter->seconds * 1000,
	       what);
	(void)fflush(stdout);
}

/* ---- one event ---- */

static void
rest(unsigned turn)
{
	unsigned ms = turn < 4 ? PAUSE_MS << turn : PAUSE_MAX_MS;
	struct timespec pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
		continue;
}

static const Corbel__V1__Event *
read_event(struct arena *arena, const struct follow_event *event)
{
	struct violations *violations = ARENA_NEW(arena, struct violations);
	ProtobufCMessage *message = NULL;

	(void)json_to_message(event->json, event->json_size, api_message_of(&corbel__v1__event__descriptor),
	                      arena, violations, &message);
	const Corbel__V1__Event *read = (const Corbel__V1__Event *)message;
	return read && read->id && read->type && read->has_data ? read : NULL;
}

static void
take(void *arg, const struct follow_event *event)
{
	struct listener *listener = arg;
	struct letter letter = {.event = read_event(&listener->arena, event)};

	if (!letter.event) {
		fprintf(stderr, "corbel: event %llu cannot be read\n", (unsigned long long)event->sequence);
		return;
	}
	strbuf_init(&letter.body, &listener->arena);
	event_body_write(&(struct event_body){.id = letter.event->id,
	                                      .type = letter.event->type,
	                                      .subject = letter.event->subject,
	                                      .timestamp_ms = letter.event->timestamp,
	                                      .sequence = letter.event->sequence,
	                                      .data = letter.event->data.data,
	                                      .data_size = letter.event->data.len},
	                 &letter.body);
	bool is_taken = false;
	for (unsigned turn = 0; turn < TRIES && !is_taken; turn++) {
		is_taken = try_once(listener, &letter);
		bool goes_on = !is_taken && turn + 1 < TRIES;
		tell(listener, &letter, is_taken ? "" : goes_on ? ", trying again" : ", given up");
		if (goes_on)
			rest(turn);
	}
	arena_reset(&listener->arena);
}

/* ---- the command ---- */

/* The key that is signed with; false when the text is none. */
static bool
take_secret(struct listener *listener, const char *text)
{
	struct signing_key key;
	char shown[SIGNING_KEY_TEXT_MAX];

	if (text) {
		struct status st = signing_key_parse(text, strlen(text), random_system(), &key);
		if (!status_ok(&st)) {
			fprintf(stderr, "corbel: --secret: %s\n", st.message);
			return false;
		}
	} else {
		signing_key_make(random_system(), &key);
	}
	listener->signer = signer_new(&key, NULL, (struct signer_options){.with_ed25519 = false});
	signing_key_secret_text(&key, shown);
	signing_key_wipe(&key);
	printf("secret: %s\n", shown);
	(void)fflush(stdout);
	return true;
}

static int
listen_with(struct listener *listener, struct follow *follow)
{
	arena_init(&listener->arena, 16u << 10, SIZE_MAX);
	listener->curl = curl_easy_init();
	follow->take = take;
	follow->arg = listener;
	int code = follow_run(follow);
	curl_easy_cleanup(listener->curl);
	signer_free(listener->signer);
	arena_fini(&listener->arena);
	return code;
}

static int
run(int argc, char **argv, struct arena *arena)
{
	struct settings settings = {.output = OUTPUT_TABLE};
	struct follow follow = {.has_after = false};
	struct listener listener = {.forward = NULL};
	const char *secret = NULL;
	const struct own_flag flags[] = {
	    {"forward", "URL", "Where each event is sent, such as http://localhost:3000/hook.", &listener.forward,
	     false},
	    {"type", "PATTERN", "Only events of these types, such as 'file.*'; commas may stand between several.",
	     &follow.types, true},
	    {"subject", "TEXT", "Only events with this subject.", &follow.subject, false},
	    {"secret", "WHSEC", "Secret that is signed with (whsec_…); a new one when absent.", &secret, false},
	    {.name = NULL}};
	int code;

	if (!own_flags(&own_listen, flags, argc, argv, &settings, arena, &code))
		return code;
	if (!listener.forward) {
		fputs("corbel: --forward says where events are sent\n", stderr);
		return EXIT_CODE_USAGE;
	}
	if (!take_secret(&listener, secret))
		return EXIT_CODE_USAGE;
	follow.url = settings.url;
	follow.api_key = settings.api_key;
	follow.is_verbose = settings.is_verbose;
	return listen_with(&listener, &follow);
}

const struct own_command own_listen = {
    .resource = "webhooks",
    .action = "listen",
    .summary = "Receives webhooks on this machine: sends each event on as Corbel sends webhooks, signed.",
    .help = "It shows the secret for the receiver, then a line for each try. An event that is not taken is "
            "tried\n"
            "five times. When the server restarts or the connection breaks it goes on behind the last event. "
            "The\n"
            "key needs the scope events.read.",
    .flags = "--forward --type --subject --secret",
    .run = run};
