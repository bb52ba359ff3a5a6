/*
 * The outbound client and name servers that hang, lie and change their minds. This program's getaddrinfo()
 * stands before the real one and plays such a name server for names under ".test"; everything else is real.
 */
#include <check.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_endpoint.h"
#include "support/test_fetch.h"
#include "support/test_process.h"

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

typedef int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static struct {
	pthread_mutex_t lock; /* all below */
	pthread_cond_t changed;
	const char *answers[4]; /* addresses, numeric, until NULL; none: does not exist */
	bool is_hanging;
	unsigned lookups, waiting;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static resolve
real_resolve(void)
{
	resolve found;
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");

	memcpy(&found, &symbol, sizeof(found));
	return found;
}

static int
join_answers(const char *const *answers, const char *port, struct addrinfo **out)
{
	static const struct addrinfo HINTS = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	int failed = answers[0] ? 0 : EAI_NONAME;

	*out = NULL;
	for (size_t i = 0; answers[i] && !failed; i++) {
		failed = real_resolve()(answers[i], port, &HINTS, out);
		while (!failed && *out)
			out = &(*out)->ai_next;
	}
	return failed;
}

int
getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
	const char *answers[4];

	if (!name || !strstr(name, ".test"))
		return real_resolve()(name, port, hints, out);
	pthread_mutex_lock(&names.lock);
	names.lookups++;
	names.waiting++;
	pthread_cond_broadcast(&names.changed);
	while (names.is_hanging && strstr(name, "hanging"))
		pthread_cond_wait(&names.changed, &names.lock);
	names.waiting--;
	pthread_cond_broadcast(&names.changed);
	memcpy(answers, names.answers, sizeof(answers));
	pthread_mutex_unlock(&names.lock);
	return join_answers(answers, port, out);
}

static void
answer_with(const char *first, const char *second)
{
	pthread_mutex_lock(&names.lock);
	names.answers[0] = first;
	names.answers[1] = second;
	pthread_mutex_unlock(&names.lock);
}

static void
hang(bool is_hanging)
{
	pthread_mutex_lock(&names.lock);
	names.is_hanging = is_hanging;
	pthread_cond_broadcast(&names.changed);
	pthread_mutex_unlock(&names.lock);
}

static void
await_waiting(unsigned count)
{
	pthread_mutex_lock(&names.lock);
	while (names.waiting != count)
		pthread_cond_wait(&names.changed, &names.lock);
	pthread_mutex_unlock(&names.lock);
}

static unsigned
lookups(void)
{
	pthread_mutex_lock(&names.lock);
	unsigned count = names.lookups;
	pthread_mutex_unlock(&names.lock);
	return count;
}

static void
say(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];

	if (test_endpoint_read(fd, request))
		test_endpoint_puts(fd, test_endpoint_arg(endpoint));
}

/* One request to a name at the endpoint's port, by a client that remembers nothing. */
static enum outbound_result
ask(const char *allow, struct test_endpoint *endpoint, const char *name)
{
	struct outbound *outbound = test_outbound(allow);
	static struct test_fetch fetch;
	char url[80];

	snprintf(url, sizeof(url), "http://%s:%u/", name, test_endpoint_port(endpoint));
	enum outbound_result result = test_fetch(outbound, &fetch, url)->result;
	outbound_free(outbound, 0);
	return result;
}

START_TEST(a_name_is_judged_by_what_it_resolves_to_at_the_connect)
{
	struct test_endpoint *endpoint = test_endpoint_start(say, OK_EMPTY);
	const char *allow = "127.0.0.1/32";

	answer_with("127.0.0.1", NULL);
	ck_assert_int_eq(ask(allow, endpoint, "shop.test"), OUTBOUND_OK);
	ck_assert_uint_eq(test_endpoint_connections(endpoint), 1);
	ck_assert_int_eq(ask("", endpoint, "shop.test"), OUTBOUND_REFUSED_ADDRESS);
	answer_with("127.0.0.2", NULL);
	ck_assert_int_eq(ask(allow, endpoint, "shop.test"), OUTBOUND_REFUSED_ADDRESS);
	answer_with("::ffff:127.0.0.1", NULL);
	ck_assert_int_eq(ask(allow, endpoint, "shop.test"), OUTBOUND_REFUSED_ADDRESS);
	answer_with("64:ff9b::7f00:1", "10.0.0.1");
	ck_assert_int_eq(ask("", endpoint, "shop.test"), OUTBOUND_REFUSED_ADDRESS);
	answer_with(NULL, NULL);
	ck_assert_int_eq(ask(allow, endpoint, "shop.test"), OUTBOUND_DNS);
	ck_assert_uint_eq(test_endpoint_connections(endpoint), 1);
	test_endpoint_stop(endpoint);
}
END_TEST

START_TEST(of_several_addresses_only_those_allowed_are_tried)
{
	struct test_endpoint *endpoint = test_endpoint_start(say, OK_EMPTY);

	/* Nobody listens on 127.0.0.2; curl would go on to the next address. */
	answer_with("127.0.0.2", "127.0.0.1");
	ck_assert_int_eq(ask("127.0.0.2/32", endpoint, "shop.test"), OUTBOUND_CONNECT);
	ck_assert_uint_eq(test_endpoint_connections(endpoint), 0);
	ck_assert_int_eq(ask("127.0.0.1/32", endpoint, "shop.test"), OUTBOUND_OK);
	ck_assert_uint_eq(test_endpoint_connections(endpoint), 1);
	test_endpoint_stop(endpoint);
}
END_TEST

START_TEST(a_lookup_that_hangs_ends_at_its_deadline_and_holds_up_nobody)
{
	struct test_endpoint *endpoint = test_endpoint_start(say, OK_EMPTY);
	struct outbound *outbound = test_outbound("127.0.0.1/32");
	static struct test_fetch hanging, other;

	answer_with("127.0.0.1", NULL);
	hang(true);
	test_fetch_init(&hanging, "http://hanging.test/");
	hanging.request.timeout_ms = 500;
	uint64_t begin_ms = test_calm_ms();
	test_fetch_send(outbound, &hanging);
	await_waiting(1);
	for (int i = 0; i < 10; i++)
		test_expect(test_fetch(outbound, &other, test_endpoint_url(endpoint)), OUTBOUND_OK);
	test_expect(test_fetch_wait(&hanging), OUTBOUND_TIMEOUT);
	ck_assert_uint_lt(test_calm_ms() - begin_ms, 3000);
	test_expect(test_fetch(outbound, &other, test_endpoint_url(endpoint)), OUTBOUND_OK);

	test_fetch_init(&hanging, "http://hanging.test/");
	test_fetch_send(outbound, &hanging);
	await_waiting(2);
	begin_ms = test_calm_ms();
	outbound_free(outbound, 0);
	ck_assert_uint_lt(test_calm_ms() - begin_ms, 3000);
	test_expect(test_fetch_wait(&hanging), OUTBOUND_CANCELLED);
	hang(false);
	await_waiting(0);
	test_endpoint_stop(endpoint);
}
END_TEST

START_TEST(a_name_is_not_looked_up_for_each_request)
{
	struct test_endpoint *endpoint = test_endpoint_start(say, OK_EMPTY);
	struct outbound *outbound = test_outbound("127.0.0.1/32");
	static struct test_fetch fetch;
	unsigned before = lookups();
	char url[80];

	answer_with("127.0.0.1", NULL);
	snprintf(url, sizeof(url), "http://shop.test:%u/", test_endpoint_port(endpoint));
	for (int i = 0; i < 10; i++)
		test_expect(test_fetch(outbound, &fetch, url), OUTBOUND_OK);
	ck_assert_uint_eq(test_endpoint_connections(endpoint), 10);
	ck_assert_uint_eq(lookups() - before, 1);
	outbound_free(outbound, 0);
	test_endpoint_stop(endpoint);
}
END_TEST

/* ---------------------------------------------------------------- one lookup of a name at a time */

#define CROWD 50

/* Requests to a name whose lookup hangs, by a client of their own. */
struct crowd {
	struct test_endpoint *endpoint;
	struct outbound *outbound;
	char url[80];
	unsigned lookups; /* before */
	struct test_fetch fetches[CROWD];
};

static struct crowd crowd;

static void
crowd_gather(const char *answer)
{
	crowd.endpoint = test_endpoint_start(say, OK_EMPTY);
	crowd.outbound = test_outbound("127.0.0.1/32");
	crowd.lookups = lookups();
	snprintf(crowd.url, sizeof(crowd.url), "http://hanging.test:%u/", test_endpoint_port(crowd.endpoint));
	answer_with(answer, NULL);
	hang(true);
	for (size_t i = 0; i < CROWD; i++)
		test_fetch_init(&crowd.fetches[i], crowd.url);
}

static void
crowd_send(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		test_fetch_send(crowd.outbound, &crowd.fetches[i]);
}

static void
crowd_expect(size_t from, size_t to, enum outbound_result expected)
{
	for (size_t i = from; i < to; i++)
		test_expect(test_fetch_wait(&crowd.fetches[i]), expected);
}

static void
crowd_leave(void)
{
	outbound_free(crowd.outbound, 0);
	hang(false);
	await_waiting(0);
	test_endpoint_stop(crowd.endpoint);
}

START_TEST(requests_to_a_name_that_is_being_looked_up_share_its_lookup)
{
	crowd_gather("127.0.0.1");
	crowd_send(0, CROWD);
	await_waiting(1);
	hang(false);
	crowd_expect(0, CROWD, OUTBOUND_OK);
	ck_assert_uint_eq(lookups() - crowd.lookups, 1);
	crowd_leave();
}
END_TEST

START_TEST(when_a_lookup_fails_those_who_share_it_fail_the_same_way)
{
	crowd_gather(NULL);
	crowd_send(0, 1);
	await_waiting(1);
	crowd_send(1, CROWD);
	/* Another request through the same loop, sent after them and done: all of them have begun. */
	static struct test_fetch other;
	test_expect(test_fetch(crowd.outbound, &other, test_endpoint_url(crowd.endpoint)), OUTBOUND_OK);
	hang(false);
	crowd_expect(0, CROWD, OUTBOUND_DNS);
	ck_assert_uint_eq(lookups() - crowd.lookups, 1);
	ck_assert_str_eq(crowd.fetches[0].request.response.detail,
	                 crowd.fetches[CROWD - 1].request.response.detail);
	crowd_leave();
}
END_TEST

START_TEST(who_waits_for_a_lookup_keeps_its_own_deadline)
{
	crowd_gather("127.0.0.1");
	crowd_send(0, 1);
	await_waiting(1);
	crowd.fetches[1].request.timeout_ms = 300;
	crowd.fetches[2].request.timeout_ms = 600;
	uint64_t begin_ms = test_now_ms(), calm_ms = test_calm_ms();
	crowd_send(1, 4);
	test_expect(test_fetch_wait(&crowd.fetches[1]), OUTBOUND_TIMEOUT);
	ck_assert_uint_ge(test_now_ms() - begin_ms, 300);
	test_expect(test_fetch_wait(&crowd.fetches[2]), OUTBOUND_TIMEOUT);
	ck_assert_uint_ge(test_now_ms() - begin_ms, 600);
	ck_assert_uint_lt(test_calm_ms() - calm_ms, 3000);
	ck_assert_uint_eq(outbound_in_flight(crowd.outbound), 2);
	hang(false);
	crowd_expect(0, 1, OUTBOUND_OK);
	crowd_expect(3, 4, OUTBOUND_OK);
	ck_assert_uint_eq(lookups() - crowd.lookups, 1);
	crowd_leave();
}
END_TEST

START_TEST(when_the_first_gives_up_the_next_looks_the_name_up)
{
	crowd_gather("127.0.0.1");
	crowd.fetches[0].request.timeout_ms = 300;
	crowd_send(0, 1);
	await_waiting(1);
	crowd_send(1, CROWD);
	crowd_expect(0, 1, OUTBOUND_TIMEOUT);
	await_waiting(2);
	outbound_cancel(crowd.outbound, crowd.fetches[1].request.id);
	crowd_expect(1, 2, OUTBOUND_CANCELLED);
	await_waiting(3);
	hang(false);
	crowd_expect(2, CROWD, OUTBOUND_OK);
	ck_assert_uint_eq(lookups() - crowd.lookups, 3);
	crowd_leave();
}
END_TEST

START_TEST(who_waits_for_a_lookup_can_be_cancelled_and_freed)
{
	crowd_gather("127.0.0.1");
	crowd_send(0, CROWD);
	await_waiting(1);
	for (size_t i = 10; i < 20; i++)
		outbound_cancel(crowd.outbound, crowd.fetches[i].request.id);
	crowd_expect(10, 20, OUTBOUND_CANCELLED);
	ck_assert_uint_eq(outbound_in_flight(crowd.outbound), CROWD - 10);
	outbound_free(crowd.outbound, 0);
	crowd_expect(0, 10, OUTBOUND_CANCELLED);
	crowd_expect(20, CROWD, OUTBOUND_CANCELLED);
	hang(false);
	await_waiting(0);
	test_endpoint_stop(crowd.endpoint);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outbound and names");
	TCase *tests = tcase_create("names");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_name_is_judged_by_what_it_resolves_to_at_the_connect);
	tcase_add_test(tests, of_several_addresses_only_those_allowed_are_tried);
	tcase_add_test(tests, a_lookup_that_hangs_ends_at_its_deadline_and_holds_up_nobody);
	tcase_add_test(tests, a_name_is_not_looked_up_for_each_request);
	tcase_add_test(tests, requests_to_a_name_that_is_being_looked_up_share_its_lookup);
	tcase_add_test(tests, when_a_lookup_fails_those_who_share_it_fail_the_same_way);
	tcase_add_test(tests, who_waits_for_a_lookup_keeps_its_own_deadline);
	tcase_add_test(tests, when_the_first_gives_up_the_next_looks_the_name_up);
	tcase_add_test(tests, who_waits_for_a_lookup_can_be_cancelled_and_freed);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
