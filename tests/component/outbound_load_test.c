/*
 * The outbound client with many requests under way: its bound, fairness of its loop, cancelling, freeing.
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "support/test_endpoint.h"
#include "support/test_fetch.h"
#include "support/test_process.h"

#define LOOPBACK "127.0.0.1/32"
#define CROWD    2000
#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static void
say(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];

	while (test_endpoint_read(fd, request) && test_endpoint_puts(fd, test_endpoint_arg(endpoint)))
		;
}

static void
say_nothing(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	test_endpoint_drain(fd);
}

static struct outbound *
client(size_t max_in_flight, struct metrics *metrics)
{
	struct policy policy;

	policy_parse(LOOPBACK, &policy);
	return test_outbound_with(
	    (struct outbound_options){.policy = &policy, .max_in_flight = max_in_flight, .metrics = metrics});
}

/* ---------------------------------------------------------------- a crowd */

/* Lets all of the crowd in before it answers anyone: none is answered unless all are in flight at once. */
struct hall {
	int listener;
	char url[40];
	pthread_t thread;
	int guests[CROWD];
};

static void *
serve_crowd(void *arg)
{
	struct hall *hall = arg;
	static char request[TEST_ENDPOINT_REQUEST_MAX];

	for (int i = 0; i < CROWD; i++)
		hall->guests[i] = accept4(hall->listener, NULL, NULL, SOCK_CLOEXEC);
	for (int i = 0; i < CROWD; i++) {
		ck_assert(test_endpoint_read(hall->guests[i], request));
		ck_assert(test_endpoint_puts(hall->guests[i], OK_EMPTY));
	}
	for (int i = 0; i < CROWD; i++)
		close(hall->guests[i]);
	return NULL;
}

/* Takes connections, and accepts none by itself. */
static void
hall_listen(struct hall *hall)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);

	hall->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(hall->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(hall->listener, CROWD), 0);
	ck_assert_int_eq(getsockname(hall->listener, (struct sockaddr *)&address, &length), 0);
	snprintf(hall->url, sizeof(hall->url), "http://127.0.0.1:%u/", (unsigned)ntohs(address.sin_port));
}

static void
allow_descriptors(size_t count)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_uint_gt(limit.rlim_cur, count);
}

struct tally {
	atomic_uint ok, failed;
	sem_t all_done;
};

static void
count(struct outbound_request *request)
{
	struct tally *tally = request->user;
	bool is_ok = request->response.result == OUTBOUND_OK && request->response.status == 200;

	if (!is_ok)
		fprintf(stderr, "%s: %s\n", outbound_result_name(request->response.result), request->response.detail);
	atomic_fetch_add(is_ok ? &tally->ok : &tally->failed, 1);
	if (atomic_load(&tally->ok) + atomic_load(&tally->failed) == CROWD)
		sem_post(&tally->all_done);
}

START_TEST(two_thousand_requests_wait_for_a_slow_endpoint_at_once)
{
	static struct hall hall;
	static struct tally tally;
	static struct outbound_request requests[CROWD];
	struct outbound *outbound = client(0, NULL);

	sem_init(&tally.all_done, 0, 0);
	allow_descriptors(2 * CROWD + 100);
	hall_listen(&hall);
	ck_assert_int_eq(pthread_create(&hall.thread, NULL, serve_crowd, &hall), 0);
	for (int i = 0; i < CROWD; i++) {
		requests[i] = (struct outbound_request){
		    .url = hall.url, .timeout_ms = 30000, .max_bytes = 100, .done = count, .user = &tally};
		ck_assert(outbound_send(outbound, &requests[i]));
	}
	sem_wait(&tally.all_done);
	ck_assert_uint_eq(atomic_load(&tally.failed), 0);
	ck_assert_uint_eq(atomic_load(&tally.ok), CROWD);
	ck_assert_uint_eq(outbound_in_flight(outbound), 0);
	outbound_free(outbound, 0);
	pthread_join(hall.thread, NULL);
	close(hall.listener);
}
END_TEST

START_TEST(endpoints_that_hang_do_not_slow_down_one_that_answers)
{
	struct test_endpoint *hanging = test_endpoint_start(say_nothing, NULL);
	struct test_endpoint *quick = test_endpoint_start(say, OK_EMPTY);
	struct outbound *outbound = client(0, NULL);
	static struct test_fetch hung[100], fetch;

	for (size_t i = 0; i < 100; i++) {
		test_fetch_init(&hung[i], test_endpoint_url(hanging));
		hung[i].request.timeout_ms = 60000;
		test_fetch_send(outbound, &hung[i]);
	}
	for (int i = 0; i < 100; i++)
		test_expect(test_fetch(outbound, &fetch, test_endpoint_url(quick)), OUTBOUND_OK);
	ck_assert_uint_eq(outbound_in_flight(outbound), 100);
	outbound_free(outbound, 0);
	for (size_t i = 0; i < 100; i++)
		test_expect(test_fetch_wait(&hung[i]), OUTBOUND_CANCELLED);
	test_endpoint_stop(hanging);
	test_endpoint_stop(quick);
}
END_TEST

/* ---------------------------------------------------------------- threads */

#define SENDERS         4
#define SENDER_REQUESTS 250

struct sender {
	struct outbound *outbound;
	const char *url;
	pthread_t thread;
};

/* One after the other, each sent as soon as the client has room. */
static void *
send_many(void *arg)
{
	struct sender *sender = arg;
	struct test_fetch *fetch = mem_alloc(sizeof(*fetch));

	for (int i = 0; i < SENDER_REQUESTS; i++) {
		test_fetch_init(fetch, sender->url);
		test_fetch_send(sender->outbound, fetch);
		if (i % 10 == 0)
			outbound_cancel(sender->outbound, fetch->request.id);
		const struct outbound_response *response = test_fetch_wait(fetch);
		ck_assert(response->result == OUTBOUND_OK || (i % 10 == 0 && response->result == OUTBOUND_CANCELLED));
		ck_assert_uint_eq(fetch->calls, 1);
	}
	mem_free(fetch);
	return NULL;
}

START_TEST(any_thread_may_send_and_cancel)
{
	struct test_endpoint *endpoint = test_endpoint_start(say, OK_EMPTY);
	struct outbound *outbound = client(0, NULL);
	struct sender senders[SENDERS];

	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){.outbound = outbound, .url = test_endpoint_url(endpoint)};
		ck_assert_int_eq(pthread_create(&senders[i].thread, NULL, send_many, &senders[i]), 0);
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	outbound_free(outbound, 0);
	test_endpoint_stop(endpoint);
}
END_TEST

/* ---------------------------------------------------------------- the bound */

START_TEST(beyond_the_bound_nothing_is_accepted_until_something_is_done)
{
	struct test_endpoint *hanging = test_endpoint_start(say_nothing, NULL);
	struct metrics *metrics = metrics_new();
	struct outbound *outbound = client(2, metrics);
	static struct test_fetch fetches[3];

	for (size_t i = 0; i < 3; i++)
		test_fetch_init(&fetches[i], test_endpoint_url(hanging));
	ck_assert(outbound_send(outbound, &fetches[0].request));
	ck_assert(outbound_send(outbound, &fetches[1].request));
	ck_assert(!outbound_send(outbound, &fetches[2].request));
	ck_assert_uint_eq(outbound_in_flight(outbound), 2);
	outbound_cancel(outbound, fetches[0].request.id);
	test_expect(test_fetch_wait(&fetches[0]), OUTBOUND_CANCELLED);
	ck_assert(outbound_send(outbound, &fetches[2].request));
	outbound_free(outbound, 0);
	ck_assert_uint_eq(fetches[2].calls, 1);

	static const struct metric_spec REJECTED = {.name = "corbel_outbound_rejected", .help = ""};
	ck_assert_uint_eq(counter_value(metrics_counter(metrics, &REJECTED, NULL)), 1);
	metrics_free(metrics);
	test_endpoint_stop(hanging);
}
END_TEST

struct chain {
	struct outbound *outbound;
	unsigned left;
	sem_t is_over;
};

static void
send_again(struct outbound_request *request)
{
	struct chain *chain = request->user;

	ck_assert_int_eq(request->response.result, OUTBOUND_OK);
	if (--chain->left == 0)
		sem_post(&chain->is_over);
	else
		ck_assert(outbound_send(chain->outbound, request));
}

START_TEST(a_request_that_is_done_may_be_sent_again_at_once)
{
	struct test_endpoint *endpoint = test_endpoint_start(say, OK_EMPTY);
	struct chain chain = {.outbound = client(1, NULL), .left = 100};
	struct outbound_request request = {.url = test_endpoint_url(endpoint),
	                                   .timeout_ms = 5000,
	                                   .max_bytes = 100,
	                                   .done = send_again,
	                                   .user = &chain};

	sem_init(&chain.is_over, 0, 0);
	ck_assert(outbound_send(chain.outbound, &request));
	sem_wait(&chain.is_over);
	ck_assert_uint_eq(test_endpoint_connections(endpoint), 1);
	outbound_free(chain.outbound, 0);
	test_endpoint_stop(endpoint);
}
END_TEST

/* ---------------------------------------------------------------- cancelling and freeing */

START_TEST(a_cancelled_request_ends_at_once_and_alone)
{
	struct test_endpoint *hanging = test_endpoint_start(say_nothing, NULL);
	struct outbound *outbound = client(0, NULL);
	static struct test_fetch fetches[2], other;

	for (size_t i = 0; i < 2; i++) {
		test_fetch_init(&fetches[i], test_endpoint_url(hanging));
		fetches[i].request.timeout_ms = 30000;
		test_fetch_send(outbound, &fetches[i]);
	}
	uint64_t begin_ms = test_calm_ms();
	outbound_cancel(outbound, fetches[0].request.id);
	test_expect(test_fetch_wait(&fetches[0]), OUTBOUND_CANCELLED);
	ck_assert_uint_lt(test_calm_ms() - begin_ms, 2000);
	ck_assert_uint_eq(outbound_in_flight(outbound), 1);
	/* Its place is used again, and its id names nothing any more. */
	uint64_t gone = fetches[0].request.id;
	test_fetch_init(&other, test_endpoint_url(hanging));
	other.request.timeout_ms = 300;
	test_fetch_send(outbound, &other);
	outbound_cancel(outbound, gone);
	outbound_cancel(outbound, 0);
	outbound_cancel(outbound, UINT64_MAX);
	test_expect(test_fetch_wait(&other), OUTBOUND_TIMEOUT);
	outbound_free(outbound, 0);
	test_expect(test_fetch_wait(&fetches[1]), OUTBOUND_CANCELLED);
	test_endpoint_stop(hanging);
}
END_TEST

START_TEST(a_request_that_is_cancelled_as_soon_as_it_is_sent_ends)
{
	static struct hall hall;
	static struct test_fetch fetches[16];
	struct outbound *outbound = client(0, NULL);

	hall_listen(&hall);
	/* Many, so that the loop is anywhere between waking and sleeping when they come. */
	for (int i = 0; i < 60; i++) {
		for (size_t k = 0; k < 16; k++) {
			test_fetch_init(&fetches[k], hall.url);
			fetches[k].request.timeout_ms = 60000;
			test_fetch_send(outbound, &fetches[k]);
			outbound_cancel(outbound, fetches[k].request.id);
		}
		for (size_t k = 0; k < 16; k++)
			test_expect(test_fetch_wait(&fetches[k]), OUTBOUND_CANCELLED);
	}
	outbound_free(outbound, 0);
	close(hall.listener);
}
END_TEST

/* Answers when it is told to by the pipe whose reading end is in the argument. */
static void
answer_on_signal(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];
	char signal;

	if (test_endpoint_read(fd, request) && read(*(const int *)test_endpoint_arg(endpoint), &signal, 1) == 1)
		test_endpoint_puts(fd, OK_EMPTY);
}

static void *
free_with_grace(void *arg)
{
	outbound_free(arg, 20000);
	return NULL;
}

START_TEST(freeing_waits_for_what_is_under_way_and_accepts_nothing_more)
{
	int gate[2];
	ck_assert_int_eq(pipe(gate), 0);
	struct test_endpoint *endpoint = test_endpoint_start(answer_on_signal, &gate[0]);
	struct outbound *outbound = client(0, NULL);
	static struct test_fetch fetch, late;
	pthread_t thread;
	bool is_accepted = true;

	test_fetch_init(&fetch, test_endpoint_url(endpoint));
	test_fetch_send(outbound, &fetch);
	ck_assert_int_eq(pthread_create(&thread, NULL, free_with_grace, outbound), 0);
	for (uint64_t end = test_now_ms() + 10000; is_accepted && test_now_ms() < end; test_pause()) {
		test_fetch_init(&late, "ftp://refused-at-once/");
		is_accepted = outbound_send(outbound, &late.request);
		if (is_accepted)
			test_fetch_wait(&late);
	}
	ck_assert(!is_accepted);
	ck_assert_int_eq(write(gate[1], "!", 1), 1);
	test_expect(test_fetch_wait(&fetch), OUTBOUND_OK);
	pthread_join(thread, NULL);
	test_endpoint_stop(endpoint);
	close(gate[0]);
	close(gate[1]);
}
END_TEST

START_TEST(freeing_cancels_what_is_not_done_within_the_grace)
{
	struct test_endpoint *hanging = test_endpoint_start(say_nothing, NULL);
	struct outbound *outbound = client(0, NULL);
	static struct test_fetch fetches[10];

	for (size_t i = 0; i < 10; i++) {
		test_fetch_init(&fetches[i], test_endpoint_url(hanging));
		fetches[i].request.timeout_ms = 60000;
		test_fetch_send(outbound, &fetches[i]);
	}
	uint64_t begin_ms = test_now_ms(), calm_ms = test_calm_ms();
	outbound_free(outbound, 200);
	ck_assert_uint_ge(test_now_ms() - begin_ms, 200);
	ck_assert_uint_lt(test_calm_ms() - calm_ms, 5000);
	for (size_t i = 0; i < 10; i++) {
		test_expect(test_fetch_wait(&fetches[i]), OUTBOUND_CANCELLED);
		ck_assert_uint_eq(fetches[i].calls, 1);
	}
	test_endpoint_stop(hanging);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outbound under load");
	TCase *tests = tcase_create("load");

	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, two_thousand_requests_wait_for_a_slow_endpoint_at_once);
	tcase_add_test(tests, endpoints_that_hang_do_not_slow_down_one_that_answers);
	tcase_add_test(tests, any_thread_may_send_and_cancel);
	tcase_add_test(tests, beyond_the_bound_nothing_is_accepted_until_something_is_done);
	tcase_add_test(tests, a_request_that_is_done_may_be_sent_again_at_once);
	tcase_add_test(tests, a_cancelled_request_ends_at_once_and_alone);
	tcase_add_test(tests, a_request_that_is_cancelled_as_soon_as_it_is_sent_ends);
	tcase_add_test(tests, freeing_waits_for_what_is_under_way_and_accepts_nothing_more);
	tcase_add_test(tests, freeing_cancels_what_is_not_done_within_the_grace);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
