/*
 * Publications: what arrives, and how each kind of loss shows. The publisher that stands still is another
 * process: this program again, started as `bus_pubsub_test publisher ADDRESS`.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pubsub.h"
#include "support/test_dir.h"
#include "support/test_process.h"

static int
publisher_main(const char *address)
{
	struct bus *bus;
	struct publisher *publisher;
	struct status st = bus_new(&(struct bus_options){.node = "other"}, &bus);
	if (status_ok(&st))
		st = publisher_new(bus, address, &publisher);
	while (status_ok(&st)) {
		publisher_send(publisher, "keys", "x", 1);
		test_pause();
	}
	return 1;
}

/* What a subscriber has heard. */
struct ear {
	_Atomic size_t messages, in_order, wrong;
	_Atomic uint32_t last;
	_Atomic size_t events[5];
	_Atomic bool is_blocked;
};

static void
hear(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct ear *ear = arg;
	uint32_t number = 0;

	while (atomic_load(&ear->is_blocked))
		test_pause();
	if (strcmp(topic, "keys") != 0 || !node[0])
		atomic_fetch_add(&ear->wrong, 1);
	if (size == sizeof(number)) {
		memcpy(&number, payload, size);
		if (number > atomic_load(&ear->last))
			atomic_fetch_add(&ear->in_order, 1);
		atomic_store(&ear->last, number);
	}
	atomic_fetch_add(&ear->messages, 1);
}

static void
notice(void *arg, const char *node, enum subscriber_event event)
{
	struct ear *ear = arg;
	(void)node;
	atomic_fetch_add(&ear->events[event], 1);
}

static void
await_count(_Atomic size_t *counter, size_t least, const char *what)
{
	for (uint64_t end = test_now_ms() + 20000; atomic_load(counter) < least; test_pause())
		ck_assert_msg(test_now_ms() < end, "%s: %zu, not %zu", what, (size_t)atomic_load(counter), least);
}

static struct bus *
make_bus(const char *node)
{
	struct bus *bus;
	struct status st = bus_new(&(struct bus_options){.node = node}, &bus);
	ck_assert(status_ok(&st));
	return bus;
}

static struct publisher *
make_publisher(struct bus *bus, const char *address)
{
	struct publisher *publisher;
	struct status st = publisher_new(bus, address, &publisher);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	return publisher;
}

static struct subscriber *
subscribe(struct bus *bus, const char *address, struct ear *ear)
{
	static const char *const TOPICS[] = {"keys", NULL};
	struct subscriber *subscriber;
	struct status st = subscriber_new(bus,
	                                  &(struct subscriber_options){.address = address,
	                                                               .topics = TOPICS,
	                                                               .message = hear,
	                                                               .event = notice,
	                                                               .arg = ear,
	                                                               .silence_ms = 1500},
	                                  &subscriber);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	return subscriber;
}

static void
publish(struct publisher *publisher, const char *topic, uint32_t from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t number = from + i;
		publisher_send(publisher, topic, &number, sizeof(number));
	}
}

START_TEST(publications_arrive_in_order_at_every_subscriber_of_their_topic)
{
	static const char *const ADDRESSES[] = {"inproc://pub-order", "tcp://127.0.0.1:0"};
	struct bus *bus = make_bus("a");
	struct publisher *publisher = make_publisher(bus, ADDRESSES[_i]);
	static struct ear ears[2];
	struct subscriber *subscribers[2];
	memset(ears, 0, sizeof(ears));
	for (int i = 0; i < 2; i++) {
		subscribers[i] = subscribe(bus, publisher_url(publisher), &ears[i]);
		await_count(&ears[i].events[SUBSCRIBER_JOINED], 1, "joined");
	}
	publish(publisher, "plans", 1, 50);
	publish(publisher, "keys", 1, 1000);
	for (int i = 0; i < 2; i++) {
		await_count(&ears[i].messages, 1000, "messages");
		ck_assert_uint_eq(ears[i].in_order, 1000);
		ck_assert_uint_eq(ears[i].wrong, 0);
		ck_assert_uint_eq(ears[i].events[SUBSCRIBER_GAP], 0);
		subscriber_free(subscribers[i]);
	}
	ck_assert_uint_eq(publisher_sequence(publisher), 1050);
	publisher_free(publisher);
	bus_free(bus);
}
END_TEST

START_TEST(a_late_joiner_learns_that_it_missed_what_came_before)
{
	struct bus *bus = make_bus("a");
	struct publisher *publisher = make_publisher(bus, "inproc://pub-late");
	static struct ear ear;
	publish(publisher, "keys", 1, 10);
	struct subscriber *subscriber = subscribe(bus, "inproc://pub-late", &ear);
	uint64_t start = test_calm_ms();
	await_count(&ear.events[SUBSCRIBER_JOINED], 1, "joined");
	ck_assert_uint_lt(test_calm_ms() - start, 900); /* at once, not at the next heartbeat */
	ck_assert_uint_eq(ear.messages, 0);
	publish(publisher, "keys", 11, 1);
	await_count(&ear.messages, 1, "messages");
	ck_assert_uint_eq(ear.events[SUBSCRIBER_GAP], 0);
	subscriber_free(subscriber);
	publisher_free(publisher);
	bus_free(bus);
}
END_TEST

START_TEST(a_subscriber_too_slow_for_the_buffers_hears_of_the_gap)
{
	struct bus *bus = make_bus("a");
	struct publisher *publisher = make_publisher(bus, "inproc://pub-gap");
	static struct ear ear;
	struct subscriber *subscriber = subscribe(bus, "inproc://pub-gap", &ear);
	await_count(&ear.events[SUBSCRIBER_JOINED], 1, "joined");
	atomic_store(&ear.is_blocked, true);
	publish(publisher, "keys", 1, 40000);
	atomic_store(&ear.is_blocked, false);
	await_count(&ear.events[SUBSCRIBER_GAP], 1, "gaps");
	for (uint64_t end = test_now_ms() + 20000; atomic_load(&ear.last) != 40000; test_pause())
		ck_assert_msg(test_now_ms() < end, "the newest publication did not arrive");
	ck_assert_uint_lt(ear.messages, 40000);
	ck_assert_uint_eq(ear.in_order, ear.messages);
	subscriber_free(subscriber);
	publisher_free(publisher);
	bus_free(bus);
}
END_TEST

START_TEST(a_restarted_publisher_is_told_from_one_that_went_on)
{
	struct bus *bus = make_bus("a"), *publishing = make_bus("p");
	struct publisher *publisher = make_publisher(publishing, "inproc://pub-restart");
	static struct ear ear;
	struct subscriber *subscriber = subscribe(bus, "inproc://pub-restart", &ear);
	await_count(&ear.events[SUBSCRIBER_JOINED], 1, "joined");
	publish(publisher, "keys", 1, 5);
	await_count(&ear.messages, 5, "messages");
	publisher_free(publisher);
	publisher = make_publisher(publishing, "inproc://pub-restart");
	await_count(&ear.events[SUBSCRIBER_RESTARTED], 1, "restarts");
	publish(publisher, "keys", 6, 1);
	await_count(&ear.messages, 6, "messages");
	ck_assert_uint_eq(ear.events[SUBSCRIBER_GAP], 0);
	ck_assert_uint_eq(ear.events[SUBSCRIBER_JOINED], 1);
	subscriber_free(subscriber);
	publisher_free(publisher);
	bus_free(publishing);
	bus_free(bus);
}
END_TEST

START_TEST(a_publisher_that_stands_still_is_reported_silent_and_back)
{
	struct test_dir dir;
	char address[160];
	test_dir_make(&dir);
	snprintf(address, sizeof(address), "ipc://%s/a.pub", dir.path);
	const char *const argv[] = {"/proc/self/exe", "publisher", address, NULL};
	pid_t pid = test_process_start(&(struct test_process_options){.argv = argv, .death_signal = SIGKILL});
	struct bus *bus = make_bus("a");
	static struct ear ear;
	struct subscriber *subscriber = subscribe(bus, address, &ear);
	await_count(&ear.messages, 3, "messages");
	test_process_freeze(pid);
	await_count(&ear.events[SUBSCRIBER_SILENT], 1, "silences");
	kill(pid, SIGCONT);
	await_count(&ear.events[SUBSCRIBER_BACK], 1, "returns");
	ck_assert_uint_eq(ear.events[SUBSCRIBER_GAP], 0);
	ck_assert_uint_eq(ear.events[SUBSCRIBER_RESTARTED], 0);
	subscriber_free(subscriber);
	bus_free(bus);
	test_process_end(pid, SIGKILL);
	test_dir_remove(&dir);
}
END_TEST

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "publisher") == 0)
		return publisher_main(argv[2]);
	Suite *suite = suite_create("bus publications");
	TCase *tests = tcase_create("publications");
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, publications_arrive_in_order_at_every_subscriber_of_their_topic, 0, 2);
	tcase_add_test(tests, a_late_joiner_learns_that_it_missed_what_came_before);
	tcase_add_test(tests, a_subscriber_too_slow_for_the_buffers_hears_of_the_gap);
	tcase_add_test(tests, a_restarted_publisher_is_told_from_one_that_went_on);
	tcase_add_test(tests, a_publisher_that_stands_still_is_reported_silent_and_back);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
