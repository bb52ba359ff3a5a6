/*
 * notice: see notice.h.
 *
 * The tenant chooses the recipients and, by its receiver, the moment: so a tenant's messages of a day are
 * bounded, and of its own words only the URL is in them.
 */
#include "notice.h"

#include "base/id.h"
#include "mail/mail.h"
#include "mailer.h"

static const struct store_sql MAIL_COUNT = {
    "mail_count", "SELECT COUNT(*) FROM mails WHERE tenant_id = $1 AND created_at > $2"};
static const struct store_sql MAIL_INSERT = {
    "mail_insert",
    "INSERT INTO mails (id, tenant_id, endpoint_id, recipient, message, state, tries, created_at,"
    " due_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7)"};

static const char *
text_of(const Endpoint *endpoint, int64_t since_ms, struct arena *arena)
{
	bool is_gone = endpoint->disabled_reason == CORBEL__V1__DISABLED_REASON__GONE;
	char since[TEXT_TIMESTAMP_MAX];

	text_from_timestamp_ms(since_ms, since);
	return arena_printf(
	    arena,
	    "Nothing is sent any more to the webhook endpoint\n\n    %s\n\n%s%s.\n\n"
	    "Its events are kept. When it works again, this enables it and sends what it has missed:\n\n"
	    "    corbel webhooks enable %s\n    corbel webhooks recover %s --since %s\n\n"
	    "Endpoint: %s\nTenant: %s\n\n"
	    "You get this because your address is among the endpoint's contacts.\n",
	    endpoint->url ? endpoint->url : endpoint->id,
	    is_gone ? "because it answered 410 Gone" : "because everything that was sent to it has failed since ",
	    is_gone ? "" : since, endpoint->id, endpoint->id, since, endpoint->id, endpoint->tenant_id);
}

/* How many more the tenant may cause. */
static struct status
find_room(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const char *tenant,
          int64_t now_ms, size_t *room)
{
	size_t most = (size_t)config_integer(self->env.config, "webhookd.mail_per_day"), used;
	struct store_rows *rows;
	struct status st = store_query(
	    tx, &MAIL_COUNT, STORE_PARAMS(store_text(tenant), store_i64(now_ms - MAIL_DAY_MS)), 1, arena, &rows);

	*room = 0;
	if (!status_ok(&st))
		return st;
	used = (size_t)row_i64(rows, 0, 0);
	*room = used < most ? most - used : 0;
	return st;
}

static struct status
add(const struct webhookd *self, struct store_tx *tx, struct arena *arena, const Endpoint *endpoint,
    const struct mail_message *message)
{
	struct strbuf text;

	strbuf_init(&text, arena);
	struct status st = mail_write(message, &text);
	if (!status_ok(&st)) { /* one that an earlier version let pass must not keep the endpoint enabled */
		log_warn(self->env.log, "e-mail cannot be written", LOG_TEXT("endpoint", endpoint->id),
		         LOG_STATUS(&st));
		return status_ok_value();
	}
	return store_exec(tx, &MAIL_INSERT,
	                  STORE_PARAMS(store_text(message->id), store_text(endpoint->tenant_id),
	                               store_text(endpoint->id), store_text(message->to), store_text(text.data),
	                               store_i64(MAIL_WAITS), store_i64(message->date_ms)),
	                  NULL);
}

struct status
notice_disabled(const struct webhookd *self, struct store_tx *tx, struct arena *arena,
                const Endpoint *endpoint, int64_t since_ms, int64_t now_ms)
{
	size_t count = endpoint->n_contacts, room;

	if (!self->mailer || count == 0)
		return status_ok_value();
	struct status st = find_room(self, tx, arena, endpoint->tenant_id, now_ms, &room);
	if (status_ok(&st) && room < count) {
		log_warn(self->env.log, "tenant has caused as many e-mails as it may",
		         LOG_TEXT("tenant", endpoint->tenant_id), LOG_TEXT("endpoint", endpoint->id));
		mailer_count_withheld(self->mailer, count - room);
		count = room;
	}
	for (size_t i = 0; i < count && status_ok(&st); i++) {
		struct id id = id_make("mail", self->env.clock, self->env.random);
		st = add(self, tx, arena, endpoint,
		         &(struct mail_message){
		             .id = id.text,
		             .from = mailer_from(self->mailer),
		             .to = endpoint->contacts[i],
		             .subject = arena_printf(arena, "Webhook endpoint %s is disabled", endpoint->id),
		             .text = text_of(endpoint, since_ms, arena),
		             .date_ms = now_ms});
	}
	return st;
}
