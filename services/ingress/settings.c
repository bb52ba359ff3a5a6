/*
 * settings: see settings.h.
 */
#include "settings.h"

#include <stdio.h>
#include <string.h>

#include "address.h"
#include "base/arena.h"
#include "cors.h"
#include "forward_rules.h"

const struct config_option settings_options[] = {
    {.name = "ingress.listen",
     .type = CONFIG_TEXT,
     .def = "127.0.0.1:8080",
     .help = "Address and port of the HTTP API; port 0 takes a free one."},
    {.name = "ingress.tls_cert",
     .type = CONFIG_TEXT,
     .help =
         "PEM file of the certificate chain, leaf first: serves HTTPS instead of HTTP. Read again on SIGHUP "
         "and when it changes."},
    {.name = "ingress.tls_key",
     .type = CONFIG_TEXT,
     .help = "PEM file of the certificate's private key, without a password."},
    {.name = "ingress.shards",
     .type = CONFIG_INTEGER,
     .def = "1",
     .min = 1,
     .max = 64,
     .help = "Threads that serve HTTP; each takes part of the connections."},
    {.name = "ingress.body_max",
     .type = CONFIG_SIZE,
     .def = "1MiB",
     .min = 1024,
     .max = 64 << 20,
     .help = "Largest request body."},
    {.name = "ingress.header_max",
     .type = CONFIG_SIZE,
     .def = "10KiB",
     .min = 4096,
     .max = 1 << 20,
     .help = "Largest head of a request: its URL and headers."},
    {.name = "ingress.connections",
     .type = CONFIG_INTEGER,
     .def = "4096",
     .min = 16,
     .max = 1000000,
     .help = "Open connections of a shard at most."},
    {.name = "ingress.connections_per_address",
     .type = CONFIG_INTEGER,
     .def = "512",
     .min = 0,
     .max = 1000000,
     .help = "Open connections of a shard from one address at most, trusted proxies aside; 0: no bound."},
    {.name = "ingress.idle_timeout",
     .type = CONFIG_DURATION,
     .def = "60s",
     .min = 1000,
     .max = 3600000,
     .help = "Time that a connection may wait for its next request."},
    {.name = "ingress.request_timeout",
     .type = CONFIG_DURATION,
     .def = "30s",
     .min = 1000,
     .max = 3600000,
     .help = "Time for a request to arrive and for its answer to be fetched."},
    {.name = "ingress.key_ttl",
     .type = CONFIG_DURATION,
     .def = "30s",
     .min = 1000,
     .max = 30000,
     .help = "Time that a verified key is believed when the news of its revocation is lost."},
    {.name = "ingress.anonymous_per_minute",
     .type = CONFIG_INTEGER,
     .def = "120",
     .min = 0,
     .max = 1000000,
     .help = "Requests without a good key that one address may make of a shard in a minute; 0: no bound."},
    {.name = "ingress.ipv6_prefix",
     .type = CONFIG_INTEGER,
     .def = "64",
     .min = 32,
     .max = 128,
     .help = "Bits of an IPv6 address that count as one client."},
    {.name = "ingress.trusted_proxies",
     .type = CONFIG_LIST,
     .def = "",
     .max = 256,
     .help = "Networks whose X-Forwarded-For is believed, such as 10.0.0.0/8."},
    {.name = "ingress.cors_origins",
     .type = CONFIG_LIST,
     .def = "",
     .max = 256,
     .help = "Origins whose pages may call the API from a browser, such as https://app.example; \"*\": all."},
    {.name = "ingress.streams",
     .type = CONFIG_INTEGER,
     .def = "10000",
     .min = 0,
     .max = 1000000,
     .help = "Open streams of events (GET /v1/stream) at most; 0: none."},
    {.name = "ingress.streams_per_tenant",
     .type = CONFIG_INTEGER,
     .def = "1000",
     .min = 0,
     .max = 1000000,
     .help = "Open streams of one tenant at most."},
    {.name = "ingress.stream_buffer",
     .type = CONFIG_SIZE,
     .def = "1MiB",
     .min = 16 << 10,
     .max = 64 << 20,
     .help = "How much may happen on a stream that its client does not read; beyond it the stream ends."},
    {.name = "ingress.stream_heartbeat",
     .type = CONFIG_DURATION,
     .def = "15s",
     .min = 1000,
     .max = 300000,
     .help = "A stream on which nothing happens for so long says that it is there."},
    {.name = "ingress.hold_checks",
     .type = CONFIG_BOOL,
     .def = "true",
     .help = "Answer checks of busy keys from leased units of fixed windows and from remembered refusals; "
             "otherwise ratelimitd decides every check."},
    {.name = "ingress.x_ratelimit_headers",
     .type = CONFIG_BOOL,
     .def = "false",
     .help = "Also send X-RateLimit-Limit, -Remaining and -Reset (seconds)."},
    {.name = "ingress.forward_limits",
     .type = CONFIG_LIST,
     .def = "* * = api.requests",
     .max = 1000,
     .help =
         "For forward-auth: which limit a request takes from, as \"METHOD PATTERN = LIMIT\"; the first that "
         "fits wins, and a limit that is not defined limits nothing."},
    {.name = "ingress.forward_headers",
     .type = CONFIG_CHOICE,
     .def = "original",
     .choices = "original|original_url|forwarded|path",
     .help = "For forward-auth: where the gateway puts the original method and path. original: "
             "X-Original-Method and X-Original-URI; original_url: X-Original-Method and X-Original-URL; "
             "forwarded: X-Forwarded-Method and X-Forwarded-Uri; path: its own method, and the path behind "
             "/v1/auth/forward."},
    {.name = "ingress.forward_on_failure",
     .type = CONFIG_CHOICE,
     .def = "known",
     .choices = "deny|known|allow",
     .help =
         "For forward-auth: who passes while accountd or ratelimitd cannot be asked. deny: nobody; known: "
         "without limits, whose key is known; allow: everybody."},
    {.name = NULL}};

/* ---- checking ---- */

static void
complain_of(service_complain complain, void *arg, const char *option, const char *value, const char *expected)
{
	char *text = mem_printf("'%s' is not %s", value, expected);
	complain(arg, option, text);
	mem_free(text);
}

void
settings_check(const struct config *config, service_complain complain, void *arg)
{
	const char *bad = NULL;
	struct networks *proxies = networks_new(config_list(config, "ingress.trusted_proxies"), &bad);
	struct forward_rules *rules;

	if (!proxies)
		complain_of(complain, arg, "ingress.trusted_proxies", bad, "an address or a network");
	rules = forward_rules_new(config_list(config, "ingress.forward_limits"), &bad);
	if (!rules)
		complain_of(complain, arg, "ingress.forward_limits", bad, "\"METHOD PATTERN = LIMIT\"");
	bad = cors_check(config_list(config, "ingress.cors_origins"));
	if (bad)
		complain_of(complain, arg, "ingress.cors_origins", bad,
		            "an origin such as https://app.example, or *");
	if (!config_text(config, "ingress.tls_cert") != !config_text(config, "ingress.tls_key"))
		complain(arg, "ingress.tls_cert", "ingress.tls_cert and ingress.tls_key need each other");
	networks_free(proxies);
	forward_rules_free(rules);
}

/* ---- reading ---- */

static enum forward_failure
read_forward_failure(const struct config *config)
{
	const char *text = config_text(config, "ingress.forward_on_failure");
	return strcmp(text, "deny") == 0    ? FORWARD_DENY
	       : strcmp(text, "allow") == 0 ? FORWARD_ALLOW
	                                    : FORWARD_KNOWN;
}

/* Keeps the first complaint. */
static void
refuse(void *arg, const char *option, const char *what)
{
	struct status *st = arg;
	if (status_ok(st))
		*st = status_make(STATUS_INVALID_ARGUMENT, "%s: %s", option, what);
}

struct status
settings_read(const struct config *config, struct settings *out)
{
	struct status st = status_ok_value();
	const char *bad;

	settings_check(config, refuse, &st);
	if (!status_ok(&st))
		return st;
	out->body_max = config_size_bytes(config, "ingress.body_max");
	out->header_max = config_size_bytes(config, "ingress.header_max");
	out->connections = (unsigned)config_integer(config, "ingress.connections");
	out->connections_per_address = (unsigned)config_integer(config, "ingress.connections_per_address");
	out->idle_s = (unsigned)(config_duration_ms(config, "ingress.idle_timeout") / 1000);
	out->request_ms = config_duration_ms(config, "ingress.request_timeout");
	out->key_ttl_ms = config_duration_ms(config, "ingress.key_ttl");
	out->has_x_headers = config_bool(config, "ingress.x_ratelimit_headers");
	out->holds_checks = config_bool(config, "ingress.hold_checks");
	out->anonymous_per_minute = (uint64_t)config_integer(config, "ingress.anonymous_per_minute");
	out->ipv6_prefix = (unsigned)config_integer(config, "ingress.ipv6_prefix");
	out->tls_certificate = config_text(config, "ingress.tls_cert");
	out->tls_key = config_text(config, "ingress.tls_key");
	out->cors_origins = config_list(config, "ingress.cors_origins");
	out->forward_headers = config_text(config, "ingress.forward_headers");
	out->forward_on_failure = read_forward_failure(config);
	out->streams = (size_t)config_integer(config, "ingress.streams");
	out->streams_per_tenant = (size_t)config_integer(config, "ingress.streams_per_tenant");
	out->stream_buffer = config_size_bytes(config, "ingress.stream_buffer");
	out->stream_heartbeat_ms = config_duration_ms(config, "ingress.stream_heartbeat");
	out->proxies = networks_new(config_list(config, "ingress.trusted_proxies"), &bad);
	out->forward_rules = forward_rules_new(config_list(config, "ingress.forward_limits"), &bad);
	return st;
}

void
settings_free(struct settings *settings)
{
	networks_free(settings->proxies);
	forward_rules_free(settings->forward_rules);
}
