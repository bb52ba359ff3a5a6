/*
 * settings: the options of the ingress, checked and read into one structure that never changes.
 */
#ifndef CORBEL_INGRESS_SETTINGS_H
#define CORBEL_INGRESS_SETTINGS_H

#include "daemon/service.h"

struct forward_rules;
struct networks;

/* What a gateway is told when accountd or ratelimitd cannot be asked. */
enum forward_failure { FORWARD_DENY, FORWARD_KNOWN, FORWARD_ALLOW };

struct settings {
	size_t body_max, header_max;
	unsigned connections, connections_per_address;
	unsigned idle_s;
	uint64_t request_ms, key_ttl_ms;
	bool has_x_headers;
	bool holds_checks;
	uint64_t anonymous_per_minute;
	unsigned ipv6_prefix;
	struct forward_rules *forward_rules;
	const char *forward_headers;
	const char *tls_certificate, *tls_key; /* NULL: plain HTTP */
	enum forward_failure forward_on_failure;
	struct networks *proxies;
	const char *const *cors_origins;
	size_t streams, streams_per_tenant, stream_buffer;
	uint64_t stream_heartbeat_ms;
};

extern const struct config_option settings_options[];

/* Complains of every value that the table's own bounds let pass and that means nothing. */
void settings_check(const struct config *config, service_complain complain, void *arg);
/* `out` is zeroed before, and untouched on failure. Texts and lists live as long as the configuration. */
struct status settings_read(const struct config *config, struct settings *out);
void settings_free(struct settings *settings);

#endif
