/*
 * dial: connecting to a listener, and again when the connection is gone.
 *
 * nng connects again by itself, after 10 ms first and 500 ms in the end, but for two cases of its
 * version 1.5.2:
 *
 * - It can lose a connection between its opening and the end of its handshake, when the listener dies then,
 * and never dials again. So a dialer that has had no connection for long is replaced.
 * - It has its poller watch a local socket before that is connected, which epoll reports as hung up: until
 * the attempt has failed the poller runs in circles, against the thread that makes the attempt. So a local
 * listener whose socket file is not there is not dialled before the file is; the timer looks.
 */
#include <errno.h>
#include <nng/nng.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus_internal.h"

#define PATIENCE_LOCAL_MS 1000u
#define PATIENCE_MS       3000u

bool
bus_is_tls(const char *url)
{
	return strncmp(url, "tls+", 4) == 0;
}

/* `url` may end in "#host": the name that the address stands for, which a TLS certificate has to carry. */
static struct status
start(const struct bus *bus, nng_socket socket, const char *url, nng_dialer *out)
{
	char address[BUS_URL_MAX], host[BUS_URL_MAX];
	const char *name = strchr(url, '#'), *scheme = strstr(url, "://");

	snprintf(address, sizeof(address), "%.*s", (int)(name ? name - url : (ptrdiff_t)strlen(url)), url);
	const char *colon = strrchr(address, ':');
	struct status st = status_from_nng(nng_dialer_create(out, socket, address), "cannot dial");
	if (status_ok(&st) && bus_is_tls(url) && scheme && colon) {
		size_t length = (size_t)(colon - address) - (size_t)(scheme + 3 - url);
		snprintf(host, sizeof(host), "%.*s", (int)length, scheme + 3);
		st = dialer_tls(bus, *out, name ? name + 1 : host);
	}
	if (status_ok(&st))
		st = status_from_nng(nng_dialer_start(*out, NNG_FLAG_NONBLOCK), "cannot dial");
	return status_wrap(st, "%s", url);
}

static bool
is_absent(const char *url)
{
	return strncmp(url, "ipc://", 6) == 0 && access(url + 6, F_OK) != 0 && errno == ENOENT;
}

static uint64_t
patience_ms(const char *url)
{
	bool is_local = strncmp(url, "ipc:", 4) == 0 || strncmp(url, "inproc:", 7) == 0;
	return is_local ? PATIENCE_LOCAL_MS : PATIENCE_MS;
}

static void
stop(struct dial *dial)
{
	if (dial->is_dialling)
		(void)nng_dialer_close(dial->dialer);
	dial->is_dialling = false;
}

struct status
dial_start(const struct bus *bus, nng_socket socket, const char *url, struct dial *dial)
{
	if (is_absent(url))
		return status_ok_value(); /* later, by dial_tend() */
	struct status st = start(bus, socket, url, &dial->dialer);
	dial->is_dialling = status_ok(&st);
	return st;
}

static void
again(const struct bus *bus, nng_socket socket, const char *url, struct dial *dial)
{
	stop(dial);
	struct status st = dial_start(bus, socket, url, dial);
	if (!status_ok(&st))
		log_warn(bus->log, "cannot dial again", LOG_TEXT("url", url), LOG_STATUS(&st));
}

void
dial_tend(const struct bus *bus, nng_socket socket, const char *url, struct dial *dial, bool is_connected,
          uint64_t now_ms)
{
	if (!is_connected && is_absent(url)) {
		stop(dial);
		dial->again_ms = now_ms; /* at once, when it is there */
	} else if (is_connected || (dial->is_dialling && dial->again_ms == 0)) {
		dial->again_ms = now_ms + patience_ms(url);
	} else if (now_ms >= dial->again_ms) {
		again(bus, socket, url, dial);
		dial->again_ms = now_ms + patience_ms(url);
	}
}
