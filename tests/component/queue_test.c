/*
 * queue: leases against a slow and obvious model, by random steps, on both databases and in each kind of
 * order.
 *
 * The model is told the clock, so nothing waits. It knows of each message whether it is settled, which lease
 * it is under and until when; what the queue answers has to fit that.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_dir.h"
#include "support/test_postgres.h"
#include "webhookd/queue.h"
#include "webhookd/retention.h"

extern const struct store_migration webhookd_migrations[];

enum { BY_NOTHING, BY_KEY, AS_A_WHOLE, ORDERS };
enum { STEPS = 600, MESSAGES = 80, KEYS = 3, LEASED_MAX = 6, RETRIES = 3 };

static const struct store_sql ADD_ENDPOINT = {
    "test_endpoint", "INSERT INTO endpoints (id, tenant_id, disabled, next_at, owner, owner_token, "
                     "owner_until, secret, version,"
                     " message, pulled) VALUES ('ep_1', 'ten_1', 0, 0, '', 0, 0, $1, 1, $2, 1)"};
static const struct store_sql ADD_EVENT = {
    "test_event", "INSERT INTO events (tenant_id, sequence, id, type, recorded_at, digest, message)"
                  " VALUES ('ten_1', $1, $2, 'endpoint.tested', 0, $3, $3)"};
static const struct store_sql ADD_DELIVERY = {
    "test_delivery", "INSERT INTO deliveries (id, tenant_id, endpoint_id, sequence, event_id, event_type, "
                     "created_at, order_key)"
                     " VALUES ($2, 'ten_1', 'ep_1', $1, $2, 'endpoint.tested', $3, $4)"};
static const struct store_sql ADD_WAITING = {
    "test_waiting", "INSERT INTO waiting (id, tenant_id, endpoint_id, sequence, attempts, tries, due_at,"
                    " created_at, order_key) VALUES ($2, 'ten_1', 'ep_1', $1, 0, 0, $3, $3, $4)"};
static const struct store_sql ALL = {
    "test_all",
    "SELECT sequence, state, attempts, (SELECT COUNT(*) FROM attempts a WHERE a.delivery_id = d.id)"
    " FROM delivery_states d ORDER BY sequence"};

struct message {
	bool is_settled, is_leased;
	uint32_t attempts, tries;
	int64_t until; /* of the present lease */
	int key;       /* -1: none */
};

static struct test_dir dir;
static struct test_postgres *postgres;
static struct store *store;
static struct store_conn *conn;
static struct arena arena;
static struct seeded_random seeded;
static struct webhookd self;
static struct queue queue;
static struct message messages[MESSAGES + 1]; /* by sequence, from 1 */
static uint64_t published;
static int64_t now_ms = 1000000;

static void
must(struct status st)
{
	ck_assert_msg(status_ok(&st), "%s: %s", status_code_name(st.code), st.message);
}

static uint64_t
any(uint64_t bound)
{
	return random_below(&seeded.random, bound);
}

static void
run(const struct store_sql *sql, const struct store_value *params, size_t count)
{
	struct store_tx tx;
	must(store_begin(conn, &tx));
	must(store_end(&tx, store_exec(&tx, sql, params, count, NULL)));
}

/* ---------------------------------------------------------------- fixture */

static void
add_queue(int order)
{
	static char by_key[] = "/key";
	uint64_t retry_ms[RETRIES] = {300, 300, 300};
	Endpoint endpoint = CORBEL__V1__ENDPOINT__INIT;

	endpoint.n_retry_ms = RETRIES;
	endpoint.retry_ms = retry_ms;
	endpoint.has_concurrency = endpoint.has_ordered = true;
	endpoint.concurrency = LEASED_MAX;
	endpoint.ordered = order == AS_A_WHOLE;
	endpoint.order_by = order == BY_KEY ? by_key : NULL;
	run(&ADD_ENDPOINT, STORE_PARAMS(store_bytes("x", 1), packed_value(&arena, &endpoint.base)));
	must(queue_read(conn, &arena, "ep_1", &queue));
}

static void
start(int backend, int order)
{
	test_dir_make(&dir);
	postgres = backend ? test_postgres_start() : NULL;
	arena_init(&arena, 65536, SIZE_MAX);
	seeded_random_init(&seeded, 17u + (uint64_t)order);
	self.env.random = &seeded.random;
	const char *url = postgres ? postgres->url : arena_printf(&arena, "sqlite:%s", dir.path);
	must(store_new(
	    &(struct store_options){.service = "webhookd", .url = url, .migrations = webhookd_migrations},
	    &store));
	must(store_migrate(store));
	must(store_take(store, 5000, &conn));
	add_queue(order);
}

static void
stop(void)
{
	store_put(store, conn);
	store_free(store);
	arena_fini(&arena);
	if (postgres)
		test_postgres_stop(postgres);
	test_dir_remove(&dir);
}

/* ---------------------------------------------------------------- steps */

static void
publish_as(int key)
{
	Event event = CORBEL__V1__EVENT__INIT;
	char id[16];

	if (published == MESSAGES)
		return;
	int64_t sequence = (int64_t)++published;
	struct message *message = &messages[sequence];
	message->key = key;
	snprintf(id, sizeof(id), "dlv_%d", (int)sequence);
	event.id = id;
	event.has_sequence = true;
	event.sequence = (uint64_t)sequence;
	run(&ADD_EVENT, STORE_PARAMS(store_i64(sequence), store_text(id), packed_value(&arena, &event.base)));
	const struct store_value delivery[] = {store_i64(sequence), store_text(id), store_i64(now_ms),
	                                       message->key >= 0 ? store_i64(message->key) : store_null()};
	run(&ADD_DELIVERY, delivery, 4);
	run(&ADD_WAITING, delivery, 4);
}

static void
publish(int order)
{
	publish_as(order == BY_KEY ? (int)any(KEYS + 1) - 1 : -1);
}

static bool
has_live_lease(const struct message *message)
{
	return message->is_leased && !message->is_settled && message->until > now_ms;
}

/* A message whose last lease ended is given up by whoever notices. */
static bool
may_be_given_up(const struct message *message)
{
	return message->is_leased && message->until <= now_ms && message->tries > RETRIES;
}

static void
check_order(uint64_t sequence, int order)
{
	for (uint64_t s = 1; s < sequence && order != BY_NOTHING; s++) {
		const struct message *before = &messages[s];
		bool is_same =
		    order == AS_A_WHOLE || (messages[sequence].key >= 0 && before->key == messages[sequence].key);
		ck_assert_msg(!is_same || before->is_settled || may_be_given_up(before), "%d passed %d",
		              (int)sequence, (int)s);
	}
}

static size_t
lease(int order)
{
	struct lease_request request = {
	    .now_ms = now_ms, .until_ms = now_ms + 100 + (int64_t)any(900), .most = 1 + any(4)};
	QueueMessage **got;
	struct store_tx tx;
	size_t count, live = 0;

	must(store_begin(conn, &tx));
	must(store_end(&tx, queue_lease(&self, &tx, &arena, &queue, &request, &got, &count)));
	ck_assert_uint_le(count, request.most);
	for (size_t i = 0; i < count; i++) {
		uint64_t sequence = got[i]->event->sequence;
		struct message *message = &messages[sequence];
		ck_assert_msg(!message->is_settled && !has_live_lease(message), "%d is leased twice", (int)sequence);
		check_order(sequence, order);
		ck_assert_uint_eq(got[i]->attempts, message->attempts + 1);
		ck_assert_uint_le(++message->tries, RETRIES + 1);
		message->attempts++;
		message->is_leased = true;
		message->until = request.until_ms;
	}
	for (uint64_t s = 1; s <= published; s++)
		live += has_live_lease(&messages[s]);
	ck_assert_uint_le(live, order == AS_A_WHOLE ? 1 : LEASED_MAX);
	return count;
}

/* A receipt of any message: of its present lease, or of one before. */
static void
settle(bool is_final)
{
	uint64_t sequence = 1 + any(published);
	struct message *message = &messages[sequence];
	uint32_t number = message->attempts - (uint32_t)(!is_final && any(4) == 0);
	struct settlement what = {.what = is_final ? QUEUE_ACK : any(3),
	                          .now_ms = now_ms,
	                          .has_delay = any(2),
	                          .delay_ms = (int64_t)any(500)};
	char receipt[RECEIPT_MAX], id[16], *receipts[] = {receipt};
	Corbel__V1__ReceiptResult **results;
	struct store_tx tx;

	if (number == 0 || number > message->attempts)
		return;
	snprintf(id, sizeof(id), "dlv_%d", (int)sequence);
	receipt_format(id, number, receipt);
	must(store_begin(conn, &tx));
	must(store_end(&tx, queue_settle(&self, &tx, &arena, &queue, &what, receipts, 1, &results)));
	bool is_accepted = results[0]->outcome == CORBEL__V1__RECEIPT_OUTCOME__ACCEPTED;
	bool is_present = number == message->attempts && message->is_leased && !message->is_settled;
	if (!is_present) {
		/* Only an ack that is said again may be accepted. */
		ck_assert(!is_accepted || (what.what == QUEUE_ACK && message->is_settled));
		return;
	}
	if (what.what == QUEUE_EXTEND && message->until <= now_ms) {
		ck_assert(!is_accepted);
		return;
	}
	ck_assert(is_accepted || may_be_given_up(message));
	if (!is_accepted || what.what == QUEUE_ACK) {
		message->is_settled = true;
	} else if (what.what == QUEUE_EXTEND) {
		message->until = results[0]->until;
	} else {
		message->is_leased = false;
		message->is_settled = !results[0]->has_until;
		ck_assert(message->is_settled == (message->tries > RETRIES));
	}
}

/* In the end everything was acknowledged or given up, and each lease has left one attempt. */
static void
check_end(void)
{
	struct store_rows *rows;

	must(store_read(conn, &ALL, NULL, 0, MESSAGES, &arena, &rows));
	ck_assert_uint_eq(rows_count(rows), MESSAGES);
	for (size_t r = 0; r < rows_count(rows); r++) {
		const struct message *message = &messages[row_i64(rows, r, 0)];
		int64_t state = row_i64(rows, r, 1);
		ck_assert_msg(state == 2 || (state == 3 && message->tries > RETRIES), "%d is in state %d", (int)r + 1,
		              (int)state);
		ck_assert_int_eq(row_i64(rows, r, 2), message->attempts);
		ck_assert_int_eq(row_i64(rows, r, 3), message->attempts);
	}
}

static void
finish(int order)
{
	struct store_tx tx;

	for (int quiet = 0; quiet < 3;) {
		now_ms += 1000;
		must(store_begin(conn, &tx));
		must(store_end(&tx, queue_expire(&self, &tx, &arena, &queue, now_ms)));
		quiet = lease(order) == 0 ? quiet + 1 : 0;
		for (int i = 0; i < 400 && quiet == 0; i++)
			settle(true);
		arena_reset(&arena);
		must(queue_read(conn, &arena, "ep_1", &queue));
	}
}

START_TEST(leases_of_a_queue_are_what_a_simple_model_allows)
{
	int backend = _i / ORDERS, order = _i % ORDERS;

	start(backend, order);
	for (int step = 0; step < STEPS; step++) {
		now_ms += (int64_t)any(120);
		if (any(3) == 0)
			publish(order);
		else if (any(2) == 0)
			(void)lease(order);
		else if (published > 0)
			settle(false);
		if (step % 100 == 0) {
			arena_reset(&arena);
			must(queue_read(conn, &arena, "ep_1", &queue));
		}
	}
	while (published < MESSAGES)
		publish(order);
	finish(order);
	check_end();
	stop();
}
END_TEST

START_TEST(a_message_that_nobody_fetches_is_given_up_and_the_next_of_its_key_may_go)
{
	static const char *const ARGV[] = {"webhookd", "--webhookd.retain=1m"};
	static const struct config_option *TABLES[2];
	struct fake_clock clock;
	struct config *config;

	TABLES[0] = webhookd_service.options;
	start(_i, BY_KEY);
	must(config_load(
	    &(struct config_input){
	        .tables = TABLES, .argc = 2, .argv = ARGV, .environ = (const char *const[]){NULL}},
	    stderr, &config));
	publish_as(1);
	now_ms += 50000;
	publish_as(1);
	ck_assert_uint_eq(lease(BY_KEY), 1);
	now_ms = messages[1].until + 60001;
	fake_clock_init(&clock, now_ms * 1000);
	self.env.clock = &clock.clock;
	self.env.config = config;
	retention_task(&self, conn);
	messages[1].is_settled = true;
	ck_assert_uint_eq(lease(BY_KEY), 1);
	ck_assert(messages[2].is_leased);
	config_free(config);
	stop();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("queue");
	TCase *tests = tcase_create("leases");

	tcase_add_loop_test(tests, leases_of_a_queue_are_what_a_simple_model_allows, 0, 2 * ORDERS);
	tcase_add_loop_test(tests, a_message_that_nobody_fetches_is_given_up_and_the_next_of_its_key_may_go, 0,
	                    2);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
