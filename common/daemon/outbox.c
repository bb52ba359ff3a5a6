/*
 * outbox: see outbox.h.
 *
 * Replicas relay side by side: what two of them send is recorded once. The relay looks when this process has
 * added something, and every few seconds for what others left.
 */
#include "daemon/outbox.h"

#include <stdatomic.h>
#include <string.h>

#include "base/id.h"
#include "corbel/contract.gen.h"
#include "daemon/outbox_internal.h"

#define BATCH   100
#define ROUNDS  20
#define IDLE_MS 2000u
#define CALL_MS 5000u

static const char TABLE[] =
    "CREATE TABLE IF NOT EXISTS outbox (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, type TEXT NOT NULL,"
    " subject TEXT, at BIGINT NOT NULL, data BYTEA NOT NULL, state BIGINT NOT NULL)";

static const struct store_sql ADD = {
    "outbox_add",
    "INSERT INTO outbox (id, tenant, type, subject, at, data, state) VALUES ($1, $2, $3, $4, $5, $6, 0)"};
static const struct store_sql WAITING = {
    "outbox_waiting",
    "SELECT id, tenant, type, subject, at, data FROM outbox WHERE state = 0 ORDER BY id LIMIT $1"};
static const struct store_sql DONE = {"outbox_done", "DELETE FROM outbox WHERE id = $1"};
static const struct store_sql BAD = {"outbox_bad", "UPDATE outbox SET state = 1 WHERE id = $1"};

struct outbox {
	struct service_env env;
	const char *service;
	_Atomic bool is_fresh; /* something was added here */
	_Atomic uint64_t looked_mono;
	struct metric_counter *relayed, *refused;
};

struct status
outbox_migrate(struct store *store)
{
	return status_wrap(store_create(store, TABLE), "create table outbox");
}

struct outbox *
outbox_new(const struct service_env *env, const char *service)
{
	struct outbox *outbox = mem_alloc(sizeof(*outbox));
	static const char *const labels[] = {"service", NULL};
	const char *const values[] = {service};

	outbox->env = *env;
	outbox->service = service;
	outbox->is_fresh = true;
	outbox->relayed = metrics_counter(env->metrics,
	                                  &(struct metric_spec){.name = "corbel_outbox_relayed",
	                                                        .help = "Events handed to the event log",
	                                                        .labels = labels},
	                                  values);
	outbox->refused =
	    metrics_counter(env->metrics,
	                    &(struct metric_spec){.name = "corbel_outbox_refused",
	                                          .help = "Events that the event log refused for good",
	                                          .labels = labels},
	                    values);
	return outbox;
}

void
outbox_free(struct outbox *outbox)
{
	mem_free(outbox);
}

/* ---- adding ---- */

static void
put_texts(struct strbuf *out, char *const *texts, size_t count)
{
	strbuf_putc(out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			strbuf_putc(out, ',');
		strbuf_json_string(out, texts[i], strlen(texts[i]));
	}
	strbuf_putc(out, ']');
}

static bool
is_absent(const struct outbox_field *field)
{
	return (field->type == OUTBOX_TEXT && !field->text) ||
	       (field->type == OUTBOX_TIME && field->number == 0) ||
	       (field->type == OUTBOX_TEXTS && (!field->texts || field->number == 0));
}

static void
put_field(struct strbuf *out, const struct outbox_field *field)
{
	char time[TEXT_TIMESTAMP_MAX];

	strbuf_puts(out, out->length > 1 ? ",\"" : "\"");
	strbuf_puts(out, field->name);
	strbuf_puts(out, "\":");
	switch (field->type) {
	case OUTBOX_TEXT:
		strbuf_json_string(out, field->text, strlen(field->text));
		break;
	case OUTBOX_I64:
		strbuf_i64(out, field->number);
		break;
	case OUTBOX_TIME:
		strbuf_json_string(out, time, text_from_timestamp_ms(field->number, time));
		break;
	case OUTBOX_TEXTS:
		put_texts(out, field->texts, (size_t)field->number);
		break;
	}
}

struct status
outbox_add(struct outbox *outbox, struct store_tx *tx, struct arena *arena, const struct outbox_event *event)
{
	struct id id = id_make("evt", outbox->env.clock, outbox->env.random);
	struct strbuf data;

	strbuf_init(&data, arena);
	strbuf_putc(&data, '{');
	for (const struct outbox_field *field = event->fields; field->name; field++)
		if (!is_absent(field))
			put_field(&data, field);
	strbuf_putc(&data, '}');
	atomic_store(&outbox->is_fresh, true);
	return store_exec(tx, &ADD,
	                  STORE_PARAMS(store_text(id.text), store_text(event->tenant), store_text(event->type),
	                               store_text(event->subject), store_i64(clock_wall_ms(outbox->env.clock)),
	                               store_bytes(data.data, data.length)),
	                  NULL);
}

/* ---- relaying ---- */

static Corbel__V1__NewEvent *
event_from_row(struct arena *arena, const struct store_rows *rows, size_t row)
{
	Corbel__V1__NewEvent *event = ARENA_NEW(arena, Corbel__V1__NewEvent);
	size_t size;

	corbel__v1__new_event__init(event);
	event->id = row_text(rows, row, 0);
	event->type = row_text(rows, row, 2);
	event->subject = row_text(rows, row, 3);
	event->has_timestamp = event->has_data = true;
	event->timestamp = row_i64(rows, row, 4);
	event->data.data = (uint8_t *)(uintptr_t)row_bytes(rows, row, 5, &size);
	event->data.len = size;
	return event;
}

static struct status
settle(struct store_conn *conn, const struct store_sql *sql, const struct store_rows *rows, size_t from,
       size_t to)
{
	struct store_tx tx;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	for (size_t r = from; r < to && status_ok(&st); r++)
		st = store_exec(&tx, sql, STORE_PARAMS(store_text(row_text(rows, r, 0))), NULL);
	return store_end(&tx, st);
}

/* Whether the log will never take it. */
static bool
is_final(const struct status *st)
{
	return st->code == STATUS_INVALID_ARGUMENT || st->code == STATUS_ALREADY_EXISTS ||
	       st->code == STATUS_UNIMPLEMENTED;
}

/* Rows `from` up to `to`, all of one tenant. */
static struct status
send(struct outbox *outbox, struct store_conn *conn, struct arena *arena, const struct store_rows *rows,
     size_t from, size_t to)
{
	Corbel__V1__PublishEventsRequest request = CORBEL__V1__PUBLISH_EVENTS_REQUEST__INIT;
	ProtobufCMessage *reply;

	request.events = ARENA_ARRAY(arena, Corbel__V1__NewEvent *, to - from);
	for (size_t r = from; r < to; r++)
		request.events[request.n_events++] = event_from_row(arena, rows, r);
	request.tenant_id = row_text(rows, from, 1);
	request.source = (char *)(uintptr_t)outbox->service;
	struct status st = host_call(outbox->env.host, EVENTS_PUBLISH, &request.base, CALL_MS, arena, &reply);
	if (status_ok(&st)) {
		counter_add(outbox->relayed, to - from);
		return settle(conn, &DONE, rows, from, to);
	}
	if (!is_final(&st))
		return st;
	if (to - from > 1) { /* find the one */
		st = status_ok_value();
		for (size_t r = from; r < to && status_ok(&st); r++)
			st = send(outbox, conn, arena, rows, r, r + 1);
		return st;
	}
	counter_add(outbox->refused, 1);
	log_error(outbox->env.log, "event refused by the event log; its row is kept",
	          LOG_TEXT("event", row_text(rows, from, 0)), LOG_TEXT("type", row_text(rows, from, 2)),
	          LOG_STATUS(&st));
	return settle(conn, &BAD, rows, from, to);
}

static struct status
relay_batch(struct outbox *outbox, struct store_conn *conn, struct arena *arena, size_t *count)
{
	struct store_rows *rows;
	struct status st = store_read(conn, &WAITING, STORE_PARAMS(store_i64(BATCH)), BATCH, arena, &rows);
	size_t from = 0;

	*count = status_ok(&st) ? rows_count(rows) : 0;
	for (size_t r = 1; status_ok(&st) && r <= *count; r++) {
		if (r < *count && strcmp(row_text(rows, r, 1), row_text(rows, from, 1)) == 0)
			continue;
		st = send(outbox, conn, arena, rows, from, r);
		from = r;
	}
	return st;
}

static bool
is_log_there(const struct outbox *outbox)
{
	const struct pool *pool = host_pool(outbox->env.host, EVENTS_PUBLISH->daemon);
	return pool && pool_healthy(pool) > 0;
}

void
outbox_relay(void *arg, struct store_conn *conn)
{
	struct outbox *outbox = arg;
	uint64_t now = clock_mono_ms(outbox->env.clock);
	struct status st = status_ok_value();
	size_t count = BATCH;
	struct arena arena;

	if (!atomic_exchange(&outbox->is_fresh, false) && now - atomic_load(&outbox->looked_mono) < IDLE_MS)
		return;
	atomic_store(&outbox->looked_mono, now);
	/* Nobody is there: a worker has better things to do than to wait. */
	if (!is_log_there(outbox))
		return;
	arena_init(&arena, 64u << 10, 256u << 20);
	for (int round = 0; round < ROUNDS && count == BATCH && status_ok(&st); round++) {
		arena_reset(&arena);
		st = relay_batch(outbox, conn, &arena, &count);
	}
	arena_fini(&arena);
	if (status_ok(&st) && count == BATCH)
		atomic_store(&outbox->is_fresh, true); /* more waits */
	if (!status_ok(&st))
		log_warn(outbox->env.log, "events wait for the event log", LOG_STATUS(&st));
}
