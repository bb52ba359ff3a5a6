/*
 * mailer: see mailer.h.
 */
#include "base/monotonic.h"
#include "mailer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "notice.h"

#define POLL_MS     1000u
#define TAKE_MS     1000u
#define WAIT_MAX_MS INT64_C(3600000) /* between two tries */
#define RESULTS     5

static const struct store_sql MAIL_LOOK = {"mail_look",
                                           "SELECT 1 FROM mails WHERE state = 1 AND due_at <= $1 LIMIT 1"};
static const struct store_sql MAIL_FIND = {
    "mail_find",
    "SELECT id, recipient, message, tries, created_at, endpoint_id FROM mails WHERE state = 1 AND"
    " due_at <= $1 ORDER BY due_at LIMIT 1 @claim@"};
static const struct store_sql MAIL_LEASE = {"mail_lease",
                                            "UPDATE mails SET due_at = $2, tries = tries + 1 WHERE id = $1"};
static const struct store_sql MAIL_SETTLE = {
    "mail_settle", "UPDATE mails SET state = $3, due_at = $4 WHERE id = $1 AND tries = $2 AND state = 1"};

enum outcome { SENT, FAILED, REFUSED, GIVEN_UP, WITHHELD };

struct mailer {
	struct webhookd *self;
	struct mail_server server;
	struct mail_box from;
	int64_t retry_ms, give_up_ms, lease_ms;
	struct metric_counter *results[RESULTS];
	pthread_t thread;
	bool has_thread;
	atomic_bool stop;     /* ends what is under way, and the thread */
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	bool has_news;
	/* the thread's own: */
	struct arena arena; /* of a message */
};

/* One that is leased. */
struct leased {
	const char *id, *recipient, *message, *endpoint;
	int64_t tries, created_at;
};

/* ---- options ---- */

static enum mail_tls
tls_of(const struct config *config)
{
	switch (config_text(config, "webhookd.mail_starttls")[0]) {
	case 'r':
		return MAIL_TLS_REQUIRED;
	case 'o':
		return MAIL_TLS_OFFERED;
	default:
		return MAIL_TLS_NONE;
	}
}

void
mailer_check(const struct config *config, service_complain complain, void *arg)
{
	const char *url = config_text(config, "webhookd.mail_url"),
	           *from = config_text(config, "webhookd.mail_from");
	struct mail_box box;

	if (!url)
		return;
	struct status st = mail_check_url(url);
	if (!status_ok(&st))
		complain(arg, "webhookd.mail_url", st.message);
	st = from ? mail_box_parse(from, &box)
	          : status_make(STATUS_INVALID_ARGUMENT, "is needed for webhookd.mail_url");
	if (!status_ok(&st))
		complain(arg, "webhookd.mail_from", st.message);
}

/* ---- the table ---- */

static struct status
lease_one(struct mailer *mailer, struct store_tx *tx, int64_t now_ms, struct leased *out, bool *has_one)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &MAIL_FIND, STORE_PARAMS(store_i64(now_ms)), 1, &mailer->arena, &rows);

	if (!status_ok(&st) || rows_count(rows) == 0)
		return st;
	*out = (struct leased){.id = row_text(rows, 0, 0),
	                       .recipient = row_text(rows, 0, 1),
	                       .message = row_text(rows, 0, 2),
	                       .tries = row_i64(rows, 0, 3) + 1,
	                       .created_at = row_i64(rows, 0, 4),
	                       .endpoint = row_text(rows, 0, 5)};
	*has_one = true;
	return store_exec(tx, &MAIL_LEASE,
	                  STORE_PARAMS(store_text(out->id), store_i64(now_ms + mailer->lease_ms)), NULL);
}

static struct status
take_one(struct mailer *mailer, struct leased *out, bool *has_one)
{
	struct store *store = mailer->self->env.store;
	int64_t now_ms = clock_wall_ms(mailer->self->env.clock);
	struct store_conn *conn;
	struct store_rows *rows;
	struct store_tx tx;
	struct status st = store_take(store, TAKE_MS, &conn);

	*has_one = false;
	if (!status_ok(&st))
		return st;
	st = store_read(conn, &MAIL_LOOK, STORE_PARAMS(store_i64(now_ms)), 1, &mailer->arena, &rows);
	if (status_ok(&st) && rows_count(rows) > 0) {
		st = store_begin(conn, &tx);
		if (status_ok(&st))
			st = store_end(&tx, lease_one(mailer, &tx, now_ms, out, has_one));
	}
	store_put(store, conn);
	*has_one = *has_one && status_ok(&st);
	return st;
}

static struct status
put_back(struct mailer *mailer, const struct leased *leased, int64_t state, int64_t due_at)
{
	struct store *store = mailer->self->env.store;
	struct store_conn *conn;
	struct store_tx tx;
	struct status st = store_take(store, TAKE_MS, &conn);

	if (!status_ok(&st))
		return st;
	st = store_begin(conn, &tx);
	if (status_ok(&st))
		st = store_end(&tx, store_exec(&tx, &MAIL_SETTLE,
		                               STORE_PARAMS(store_text(leased->id), store_i64(leased->tries),
		                                            store_i64(state), store_i64(due_at)),
		                               NULL));
	store_put(store, conn);
	return st;
}

/* ---- sending ---- */

/* Doubled with each try, up to an hour, and up to a fifth longer. */
static int64_t
wait_after(const struct mailer *mailer, int64_t tries)
{
	int64_t wait = mailer->retry_ms;

	for (int64_t i = 1; i < tries && wait < WAIT_MAX_MS; i++)
		wait *= 2;
	wait = wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS;
	return wait + (int64_t)random_below(mailer->self->env.random, (uint64_t)wait / 5 + 1);
}

static enum outcome
outcome_of(const struct mailer *mailer, const struct leased *leased, enum mail_result result, int64_t now_ms)
{
	if (result == MAIL_SENT)
		return SENT;
	if (result == MAIL_REFUSED)
		return REFUSED;
	return result == MAIL_LATER && now_ms - leased->created_at >= mailer->give_up_ms ? GIVEN_UP : FAILED;
}

static void
tell(const struct mailer *mailer, const struct leased *leased, enum outcome outcome, const char *detail)
{
	struct log *log = mailer->self->env.log;

	if (outcome == REFUSED || outcome == GIVEN_UP)
		log_error(log, outcome == REFUSED ? "e-mail refused for good" : "e-mail given up",
		          LOG_TEXT("mail", leased->id), LOG_TEXT("endpoint", leased->endpoint),
		          LOG_TEXT("why", detail));
	else if (outcome == FAILED)
		log_warn(log, "e-mail not sent; it is tried again", LOG_TEXT("mail", leased->id),
		         LOG_TEXT("why", detail));
}

static struct status
settle(struct mailer *mailer, const struct leased *leased, const struct mail_report *report)
{
	int64_t now_ms = clock_wall_ms(mailer->self->env.clock), due_at = now_ms;
	enum outcome outcome = outcome_of(mailer, leased, report->result, now_ms);
	int64_t state = outcome == SENT ? MAIL_OVER : outcome == FAILED ? MAIL_WAITS : MAIL_GIVEN_UP;

	if (outcome == FAILED && report->result != MAIL_STOPPED) {
		int64_t last = leased->created_at + mailer->give_up_ms;
		due_at = now_ms + wait_after(mailer, leased->tries);
		due_at = due_at < last ? due_at : last;
	}
	struct status st = put_back(mailer, leased, state, due_at);
	if (report->result == MAIL_STOPPED)
		return st;
	counter_add(mailer->results[outcome], 1);
	tell(mailer, leased, outcome, report->detail);
	return st;
}

/* True when there may be more to send at once. */
static bool
send_one(struct mailer *mailer)
{
	struct mail_report report;
	struct leased leased = {.tries = 0};
	bool has_one;

	arena_reset(&mailer->arena);
	struct status st = take_one(mailer, &leased, &has_one);
	if (status_ok(&st) && has_one) {
		mail_send(&mailer->server, mailer->from.address, leased.recipient, leased.message,
		          strlen(leased.message), &mailer->stop, &report);
		st = settle(mailer, &leased, &report);
	}
	if (!status_ok(&st))
		log_warn(mailer->self->env.log, "e-mails wait for the store", LOG_STATUS(&st));
	return status_ok(&st) && has_one;
}

/* ---- the thread ---- */

static void
wait_for_news(struct mailer *mailer)
{
	struct timespec until = monotonic_in_ms(POLL_MS);

	pthread_mutex_lock(&mailer->lock);
	while (!mailer->has_news && !atomic_load(&mailer->stop))
		if (pthread_cond_timedwait(&mailer->wake, &mailer->lock, &until) != 0)
			break;
	mailer->has_news = false;
	pthread_mutex_unlock(&mailer->lock);
}

static void *
mailer_main(void *arg)
{
	struct mailer *mailer = arg;

	while (!atomic_load(&mailer->stop))
		if (!send_one(mailer))
			wait_for_news(mailer);
	return NULL;
}

void
mailer_hint(struct mailer *mailer)
{
	if (!mailer)
		return;
	pthread_mutex_lock(&mailer->lock);
	mailer->has_news = true;
	pthread_cond_signal(&mailer->wake);
	pthread_mutex_unlock(&mailer->lock);
}

const struct mail_box *
mailer_from(const struct mailer *mailer)
{
	return &mailer->from;
}

void
mailer_count_withheld(struct mailer *mailer, size_t count)
{
	counter_add(mailer->results[WITHHELD], count);
}

/* ---- life ---- */

static void
make_metrics(struct mailer *mailer)
{
	static const char *const LABELS[] = {"result", NULL};
	static const char *const NAMES[RESULTS] = {[SENT] = "sent",
	                                           [FAILED] = "failed",
	                                           [REFUSED] = "refused",
	                                           [GIVEN_UP] = "given_up",
	                                           [WITHHELD] = "withheld"};
	static const struct metric_spec SPEC = {.name = "corbel_webhook_mails",
	                                        .help = "E-mails to contacts, by what became of a try",
	                                        .labels = LABELS};

	for (size_t i = 0; i < RESULTS; i++)
		mailer->results[i] = metrics_counter(mailer->self->env.metrics, &SPEC, &NAMES[i]);
}

struct status
mailer_new(struct webhookd *self, struct mailer **out)
{
	const struct config *config = self->env.config;
	const char *url = config_text(config, "webhookd.mail_url");

	if (!url)
		return status_ok_value();
	struct mailer *mailer = mem_alloc(sizeof(*mailer));
	mailer->self = self;
	mailer->server =
	    (struct mail_server){.url = url,
	                         .tls = tls_of(config),
	                         .ca_file = config_text(config, "webhookd.mail_ca_file"),
	                         .timeout_ms = (uint32_t)config_duration_ms(config, "webhookd.mail_timeout")};
	mailer->retry_ms = (int64_t)config_duration_ms(config, "webhookd.mail_retry");
	mailer->give_up_ms = (int64_t)config_duration_ms(config, "webhookd.mail_give_up");
	/* Longer than a try can take. */
	mailer->lease_ms = 2 * (int64_t)mailer->server.timeout_ms;
	arena_init(&mailer->arena, 16u << 10, SIZE_MAX);
	pthread_mutex_init(&mailer->lock, NULL);
	monotonic_cond_init(&mailer->wake);
	make_metrics(mailer);
	*out = mailer;
	return mail_box_parse(config_text(config, "webhookd.mail_from"), &mailer->from);
}

struct status
mailer_start(struct mailer *mailer)
{
	if (!mailer)
		return status_ok_value();
	mailer->has_thread = pthread_create(&mailer->thread, NULL, mailer_main, mailer) == 0;
	return mailer->has_thread ? status_ok_value()
	                          : status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the mailer");
}

void
mailer_drain(struct mailer *mailer)
{
	if (!mailer)
		return;
	atomic_store(&mailer->stop, true);
	mailer_hint(mailer);
}

void
mailer_free(struct mailer *mailer)
{
	if (!mailer)
		return;
	mailer_drain(mailer);
	if (mailer->has_thread)
		pthread_join(mailer->thread, NULL);
	pthread_cond_destroy(&mailer->wake);
	pthread_mutex_destroy(&mailer->lock);
	arena_fini(&mailer->arena);
	mem_free(mailer);
}
