/*
 * tls: what tls+tcp:// listeners and dialers show and demand.
 *
 * With an authority (tls_ca) both sides demand a certificate of it from the other, so that only daemons
 * of one installation talk to each other. A caller always needs one; a listener without it takes anybody.
 */
#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "bus_internal.h"

#define PEM_MAX (256u << 10)

/* The file as text, from mem_alloc(); NULL when it cannot be read or is too large. */
static char *
read_pem(const char *path)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return NULL;
	char *text = mem_alloc(PEM_MAX + 1);
	size_t size = fread(text, 1, PEM_MAX, file);
	bool is_whole = size > 0 && !ferror(file) && fgetc(file) == EOF;
	fclose(file);
	if (is_whole)
		return text;
	mem_free(text);
	return NULL;
}

static struct status
own_certificate(const struct bus *bus, nng_tls_config *config)
{
	char *certificate = read_pem(bus->tls_cert), *key = read_pem(bus->tls_key);
	struct status st;

	if (!certificate || !key)
		st = status_make(STATUS_FAILED_PRECONDITION, "cannot read '%s'",
		                 certificate ? bus->tls_key : bus->tls_cert);
	else
		st = status_from_nng(nng_tls_config_own_cert(config, certificate, key, NULL),
		                     "cannot use the bus's certificate");
	mem_free(certificate);
	mem_free(key);
	return st;
}

static struct status
fill(const struct bus *bus, nng_tls_config *config, const char *server_name)
{
	struct status st = status_ok_value();

	if (server_name)
		st = status_from_nng(nng_tls_config_server_name(config, server_name), "cannot name the TLS server");
	if (status_ok(&st) && bus->tls_ca)
		st = status_from_nng(nng_tls_config_ca_file(config, bus->tls_ca), "cannot use the bus's authority");
	if (status_ok(&st) && bus->tls_ca)
		st = status_from_nng(nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_REQUIRED),
		                     "cannot demand certificates");
	if (status_ok(&st) && bus->tls_cert && bus->tls_key)
		st = own_certificate(bus, config);
	return st;
}

struct status
listener_tls(const struct bus *bus, nng_listener listener)
{
	nng_tls_config *config;

	if (!bus->tls_key || !bus->tls_cert)
		return status_make(STATUS_FAILED_PRECONDITION, "tls+tcp:// needs a certificate and its key");
	int rv = nng_tls_config_alloc(&config, NNG_TLS_MODE_SERVER);
	if (rv != 0)
		return status_from_nng(rv, "cannot use TLS");
	struct status st = fill(bus, config, NULL);
	if (status_ok(&st))
		st = status_from_nng(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config), "cannot use TLS");
	nng_tls_config_free(config);
	return st;
}

struct status
dialer_tls(const struct bus *bus, nng_dialer dialer, const char *server_name)
{
	nng_tls_config *config;

	if (!bus->tls_ca)
		return status_make(STATUS_FAILED_PRECONDITION,
		                   "tls+tcp:// needs the authority that signs certificates");
	int rv = nng_tls_config_alloc(&config, NNG_TLS_MODE_CLIENT);
	if (rv != 0)
		return status_from_nng(rv, "cannot use TLS");
	struct status st = fill(bus, config, server_name);
	if (status_ok(&st))
		st = status_from_nng(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), "cannot use TLS");
	nng_tls_config_free(config);
	return st;
}
