/*
 * health: what the process says of itself, as application/health+json: fail when a service is not ready,
 * warn when one answers without its database.
 */
#include <string.h>

#include "daemon/host_internal.h"

static const char *
text_of(bool is_ready, bool is_degraded)
{
	return !is_ready ? "fail" : is_degraded ? "warn" : "pass";
}

static void
write_check(struct strbuf *body, struct hosted *hosted, bool is_ready, const char *reason)
{
	bool is_store_away = atomic_load(&hosted->is_store_away);

	strbuf_json_string(body, hosted->service->name, strlen(hosted->service->name));
	strbuf_printf(body, ":[{\"status\":\"%s\"", text_of(is_ready, is_store_away));
	if (!is_ready || is_store_away) {
		const char *output = is_ready ? "the store is away" : reason;
		strbuf_puts(body, ",\"output\":");
		strbuf_json_string(body, output, strlen(output));
	}
	strbuf_puts(body, "}]");
}

bool
host_is_ready(struct host *self, struct strbuf *body)
{
	bool is_all_ready = true, is_degraded = false;
	struct strbuf checks;

	strbuf_init(&checks, NULL);
	for (size_t i = 0; i < self->count; i++) {
		char reason[200] = "not ready";
		bool is_ready = hosted_is_ready(&self->hosted[i], reason, sizeof(reason));
		is_all_ready = is_all_ready && is_ready;
		is_degraded = is_degraded || atomic_load(&self->hosted[i].is_store_away);
		if (i > 0)
			strbuf_putc(&checks, ',');
		write_check(&checks, &self->hosted[i], is_ready, reason);
	}
	strbuf_printf(body, "{\"status\":\"%s\",\"version\":\"%s\",\"checks\":{",
	              text_of(is_all_ready, is_degraded), CORBEL_VERSION);
	strbuf_add(body, checks.data ? checks.data : "", checks.length);
	strbuf_puts(body, "}}\n");
	strbuf_fini(&checks);
	return is_all_ready;
}

/* Has everything been running once? Draining is no reason to restart a process. */
bool
host_has_started(struct host *self, struct strbuf *body)
{
	bool has_started = true;

	for (size_t i = 0; i < self->count; i++)
		has_started = has_started && atomic_load(&self->hosted[i].state) >= HOSTED_RUNNING;
	strbuf_printf(body, "{\"status\":\"%s\"}\n", text_of(has_started, false));
	return has_started;
}
