/*
 * mail_send: one message to one recipient, by curl. curl doubles the dots at the beginnings of lines.
 *
 * What a refusal means depends on what was refused: an address or a content that is refused for good (5xx)
 * stays refused, but a server that wants no mail of ours at all may be set right by the operator.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "mail/mail_internal.h"

#define CONNECT_MS 10000L

struct sending {
	const char *text;
	size_t size, at;
	const atomic_bool *stop;
	bool is_about_mail;            /* the server has been asked for the recipient, then for the content */
	char reply[MAIL_DETAIL_MAX];   /* the server's last refusal */
	char failure[CURL_ERROR_SIZE]; /* curl's words */
};

static size_t
give_text(char *buffer, size_t size, size_t count, void *arg)
{
	struct sending *sending = arg;
	size_t left = sending->size - sending->at, room = size * count;
	size_t given = left < room ? left : room;

	memcpy(buffer, sending->text + sending->at, given);
	sending->at += given;
	return given;
}

/* A line of the server's: a refusal is kept. It goes to the log, so only what can be read of it is. */
static size_t
take_reply(char *line, size_t size, size_t count, void *arg)
{
	struct sending *sending = arg;
	size_t length = size * count, kept = 0;

	if (length == 0 || (line[0] != '4' && line[0] != '5'))
		return length;
	for (size_t i = 0; i < length && kept + 1 < sizeof(sending->reply); i++)
		if (line[i] >= ' ' && line[i] < 0x7F)
			sending->reply[kept++] = line[i];
	sending->reply[kept] = '\0';
	return length;
}

static int
see_command(CURL *curl, curl_infotype type, char *line, size_t size, void *arg)
{
	struct sending *sending = arg;

	(void)curl;
	if (type == CURLINFO_HEADER_OUT && size >= 4 && memcmp(line, "RCPT", 4) == 0)
		sending->is_about_mail = true;
	return 0;
}

static int
look_at_stop(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct sending *sending = arg;

	(void)a, (void)b, (void)c, (void)d;
	return sending->stop && atomic_load_explicit(sending->stop, memory_order_relaxed);
}

static long
use_ssl(const struct mail_server *server)
{
	switch (server->tls) {
	case MAIL_TLS_REQUIRED:
		return CURLUSESSL_ALL;
	case MAIL_TLS_OFFERED:
		return CURLUSESSL_TRY;
	case MAIL_TLS_NONE:
		break;
	}
	return CURLUSESSL_NONE;
}

static void
set_connection(CURL *curl, const struct mail_server *server, struct sending *sending)
{
	curl_easy_setopt(curl, CURLOPT_URL, server->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(curl, CURLOPT_USE_SSL, use_ssl(server));
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (server->ca_file && server->ca_file[0])
		curl_easy_setopt(curl, CURLOPT_CAINFO, server->ca_file);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
	                 server->timeout_ms < CONNECT_MS ? (long)server->timeout_ms : CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)server->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, sending->failure);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_reply);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, sending);
	curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, see_command);
	curl_easy_setopt(curl, CURLOPT_DEBUGDATA, sending);
	curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_stop);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, sending);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

static enum mail_result
result_of(CURL *curl, CURLcode code, const struct sending *sending)
{
	long reply = 0;

	if (code == CURLE_OK)
		return MAIL_SENT;
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return MAIL_STOPPED;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply);
	return sending->is_about_mail && reply >= 500 && reply <= 599 ? MAIL_REFUSED : MAIL_LATER;
}

/* A failure of the connection or of TLS is told by curl, a refusal by the server. */
static void
report(CURL *curl, CURLcode code, const struct sending *sending, struct mail_report *out)
{
	long reply = 0;

	out->result = result_of(curl, code, sending);
	out->detail[0] = '\0';
	if (out->result == MAIL_SENT)
		return;
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply);
	const char *said = sending->failure[0] ? sending->failure : curl_easy_strerror(code);
	if (reply >= 400 && sending->reply[0])
		said = sending->reply;
	snprintf(out->detail, sizeof(out->detail), "%s", said);
}

void
mail_send(const struct mail_server *server, const char *from, const char *to, const char *text, size_t size,
          const atomic_bool *stop, struct mail_report *out)
{
	char sender[MAIL_ADDRESS_MAX + 2], recipient[MAIL_ADDRESS_MAX + 2];
	struct sending sending = {.text = text, .size = size, .stop = stop};
	struct curl_slist *recipients = NULL;
	CURL *curl = NULL;

	*out = (struct mail_report){.result = MAIL_LATER};
	snprintf(sender, sizeof(sender), "<%s>", from);
	snprintf(recipient, sizeof(recipient), "<%s>", to);
	/* Counted by curl and never given back, as by everyone else in this process. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		curl = curl_easy_init();
	if (curl)
		recipients = curl_slist_append(NULL, recipient);
	if (!recipients) {
		snprintf(out->detail, sizeof(out->detail), "curl cannot be initialised");
		goto done;
	}
	set_connection(curl, server, &sending);
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM, sender);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_text);
	curl_easy_setopt(curl, CURLOPT_READDATA, &sending);
	report(curl, curl_easy_perform(curl), &sending, out);
done:
	curl_slist_free_all(recipients);
	curl_easy_cleanup(curl);
}

struct status
mail_check_url(const char *url)
{
	CURLU *parsed = curl_url();
	char *scheme = NULL;
	bool is_good = parsed &&
	               curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
	               curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	               (strcmp(scheme, "smtp") == 0 || strcmp(scheme, "smtps") == 0);

	curl_free(scheme);
	curl_url_cleanup(parsed);
	return is_good
	           ? status_ok_value()
	           : status_make(STATUS_INVALID_ARGUMENT,
	                         "must be smtp://host:port or smtps://host:port, with user:password@ if need be");
}
