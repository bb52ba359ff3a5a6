/*
 * Gets of Redis that changes overtake: looks at an entry are not one step of Redis', and whatever another
 * replica ends in between, nothing is given that was ended before the get began.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_crowd.h"
#include "support/test_process.h"

#define PATIENCE_MS 60000u /* the machine may be busy */
#define ROUNDS      1000u

static struct test_redis *server;
static struct test_replica writer, reader;

static void
set_up(void)
{
	server = test_redis_start(NULL);
	test_replica_start(&writer, server->url, PATIENCE_MS);
	test_replica_start(&reader, server->url, PATIENCE_MS);
}

static void
tear_down(void)
{
	test_replica_stop(&writer);
	test_replica_stop(&reader);
	test_redis_stop(server);
}

struct race {
	_Atomic unsigned ended; /* value that nobody may be given any more */
	_Atomic bool is_over;
};

/* Each value is ended in another way, half of them after something else has been, which leaves them doubtful;
 * and now and then Redis may forget at once by what a value was ended. */
static void *
end_values(void *arg)
{
	static const struct {
		enum op_kind kind;
		const char *name;
	} ENDS[] = {{OP_TAG, "t"}, {OP_PREFIX, "a"}, {OP_ALL, ""}, {OP_GLOB, "a/*"}, {OP_DELETE, "a/k"}};
	struct race *race = arg;
	char value[16];

	for (unsigned round = 1; round <= ROUNDS; round++) {
		snprintf(value, sizeof(value), "%u", round);
		(void)test_replica_set_tagged(&writer, "a/k", value, 0, "t");
		if (round / 5 % 2)
			(void)test_replica_do(&writer, op_on(OP_TAG, "other"), NULL);
		(void)test_replica_do(&writer, op_on(ENDS[round % 5].kind, ENDS[round % 5].name), NULL);
		atomic_store(&race->ended, round);
		if (round % 2)
			(void)test_replica_do(&writer, op_on(OP_ALL, ""), NULL);
	}
	atomic_store(&race->is_over, true);
	return NULL;
}

static unsigned
number_of(const struct get *get)
{
	char text[16] = "";

	if (get->outcome == GET_HIT && get->value_length < sizeof(text))
		memcpy(text, get->value, get->value_length);
	return (unsigned)strtoul(text, NULL, 10);
}

/* Memory is passed by: it may give for a second what Redis may not. */
START_TEST(redis_is_never_found_with_what_was_ended_before_it_was_asked)
{
	struct race race = {0};
	pthread_t thread;
	size_t found = 0;

	ck_assert_int_eq(pthread_create(&thread, NULL, end_values, &race), 0);
	while (!atomic_load(&race.is_over)) {
		unsigned ended = atomic_load(&race.ended);
		struct test_crowd crowd;
		test_crowd_init(&crowd, &reader, 2, 4, false);
		test_crowd_name_all(&crowd, "a/k");
		test_crowd_ask_redis(&crowd);
		for (size_t i = 0; i < 8; i++) {
			unsigned number = number_of(&crowd.gets[i]);
			ck_assert(number == 0 || number > ended);
			found += number > 0;
		}
		test_crowd_fini(&crowd);
	}
	(void)pthread_join(thread, NULL);
	ck_assert_uint_gt(found, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache overtaken");
	TCase *tests = tcase_create("looks");

	tcase_set_timeout(tests, 300);
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, redis_is_never_found_with_what_was_ended_before_it_was_asked);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
