/*
 * redis_tls: TLS to the server of a rediss:// URL, by OpenSSL on a connection's socket.
 *
 * The server has to show a certificate for the URL's host, by an authority of `tls_ca` or one that the system
 * trusts. The socket does not block; TLS may want to read in order to write, and the reverse, so each call
 * says what to wait for.
 */
#include "redis/redis_internal.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

static const char *
reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());

	return text ? text : "it is of no use";
}

/* ---------------------------------------------------------------- what all connections share */

static struct status
use_files(SSL_CTX *context, const struct redis_options *options)
{
	ERR_clear_error();
	if (!options->tls_ca && !SSL_CTX_set_default_verify_paths(context))
		return status_make(STATUS_INVALID_ARGUMENT, "redis.tls_ca: the system has no authorities: %s",
		                   reason());
	if (options->tls_ca && !SSL_CTX_load_verify_file(context, options->tls_ca))
		return status_make(STATUS_INVALID_ARGUMENT, "redis.tls_ca: %s: %s", options->tls_ca, reason());
	if (!options->tls_cert)
		return status_ok_value();
	if (SSL_CTX_use_certificate_chain_file(context, options->tls_cert) != 1)
		return status_make(STATUS_INVALID_ARGUMENT, "redis.tls_cert: %s: %s", options->tls_cert, reason());
	if (SSL_CTX_use_PrivateKey_file(context, options->tls_key, SSL_FILETYPE_PEM) != 1)
		return status_make(STATUS_INVALID_ARGUMENT, "redis.tls_key: %s: %s", options->tls_key, reason());
	return status_ok_value();
}

struct status
redis_tls_new(const struct redis_options *options, SSL_CTX **out)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	*out = NULL;
	if (!context)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "redis: TLS cannot be set up: %s", reason());
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	struct status st = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION)
	                       ? use_files(context, options)
	                       : status_make(STATUS_INTERNAL, "redis: TLS 1.2 is not to be had: %s", reason());
	if (status_ok(&st))
		*out = context;
	else
		SSL_CTX_free(context);
	return st;
}

/* ---------------------------------------------------------------- a connection */

/* The name that the certificate has to be for, and that the server is told. */
static bool
expect_host(SSL *tls, const char *host)
{
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host))
		return true;
	/* What SSL_set_tlsext_host_name() stands for, with a cast that every compiler lets pass. */
	return SSL_set1_host(tls, host) && SSL_ctrl(tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
	                                            (void *)(uintptr_t)host) == 1;
}

/* What a call that returned `result` waits for; 0: it failed. */
static short
wanted_after(const SSL *tls, int result)
{
	switch (SSL_get_error(tls, result)) {
	case SSL_ERROR_WANT_READ:
		return POLLIN;
	case SSL_ERROR_WANT_WRITE:
		return POLLOUT;
	default:
		return 0;
	}
}

static struct status
refused(const struct redis_conn *conn)
{
	long verdict = SSL_get_verify_result(conn->tls);

	return redis_away(conn,
	                  "TLS: ", verdict == X509_V_OK ? reason() : X509_verify_cert_error_string(verdict));
}

static struct status
shake_hands(struct redis_conn *conn)
{
	for (;;) {
		ERR_clear_error();
		int result = SSL_connect(conn->tls);
		if (result == 1)
			return status_ok_value();
		short wanted = wanted_after(conn->tls, result);
		if (!wanted)
			return refused(conn);
		if (!redis_wait(conn, wanted))
			return redis_away(conn, "TLS takes too long", "");
	}
}

struct status
redis_tls_open(struct redis_conn *conn)
{
	ERR_clear_error();
	conn->tls = SSL_new(conn->redis->tls);
	if (!conn->tls || !SSL_set_fd(conn->tls, conn->fd) || !expect_host(conn->tls, conn->redis->url.host))
		return redis_away(conn, "TLS: ", reason());
	return shake_hands(conn);
}

void
redis_tls_close(struct redis_conn *conn)
{
	SSL_free(conn->tls);
	conn->tls = NULL;
}

ssize_t
redis_tls_send(struct redis_conn *conn, const void *data, size_t size, short *wanted)
{
	size_t sent = 0;

	ERR_clear_error();
	int result = SSL_write_ex(conn->tls, data, size, &sent);
	if (result == 1)
		return (ssize_t)sent;
	*wanted = wanted_after(conn->tls, result);
	return *wanted ? 0 : -1;
}

ssize_t
redis_tls_receive(struct redis_conn *conn, void *buffer, size_t size, short *wanted)
{
	size_t received = 0;

	ERR_clear_error();
	int result = SSL_read_ex(conn->tls, buffer, size, &received);
	if (result == 1)
		return (ssize_t)received;
	*wanted = wanted_after(conn->tls, result);
	return *wanted ? 0 : -1;
}

bool
redis_tls_has_received(const struct redis_conn *conn)
{
	return SSL_pending(conn->tls) > 0;
}

bool
redis_tls_is_quiet(const struct redis_conn *conn)
{
	char byte;

	ERR_clear_error();
	return wanted_after(conn->tls, SSL_peek(conn->tls, &byte, 1)) == POLLIN;
}
