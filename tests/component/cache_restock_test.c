/*
 * What replicas hold when Redis is back from an outage: one copy of each is shared again, so that nobody is
 * asked to make it anew, and nothing that was ended meanwhile is shared.
 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_fleet.h"
#include "support/test_process.h"

#define REPLICAS    3
#define PATIENCE_MS 5000u /* the machine may be busy */
#define BOUND_MS    1000u
#define WAIT_MS     60000u
#define TTL_MS      3600000u
#define KEYS        300u

static struct test_redis *server;
static struct test_replica replicas[REPLICAS];

static void
set_up(void)
{
	server = test_redis_start(NULL);
	for (int i = 0; i < REPLICAS; i++) {
		test_replica_start(&replicas[i], server->url, PATIENCE_MS);
		test_replica_configure(&replicas[i], TTL_MS, 0, 300000);
	}
}

static void
tear_down(void)
{
	for (int i = 0; i < REPLICAS; i++)
		test_replica_stop(&replicas[i]);
	test_redis_stop(server);
}

static void
lose_redis(void)
{
	test_redis_kill(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_alone(&replicas[i]);
}

/* Without its data. */
static void
get_redis_back(void)
{
	test_redis_restart(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_together(&replicas[i]);
}

static void
make(struct test_replica *replica, const char *key, const char *value, const char *tag)
{
	struct get get = test_replica_get(replica, key, true);

	ck_assert_uint_ne(get.token, 0);
	ck_assert_int_eq(test_replica_set_tagged(replica, key, value, get.token, tag), SET_STORED);
}

static void
until_it_has(struct test_replica *replica, const char *key, const char *value)
{
	for (uint64_t end = test_now_ms() + WAIT_MS; !test_replica_has(replica, key, value); test_pause())
		ck_assert_uint_lt(test_now_ms(), end);
}

START_TEST(what_a_replica_made_without_redis_the_others_take_from_it_afterwards)
{
	lose_redis();
	make(&replicas[0], "a/k", "made", "t");
	get_redis_back();
	until_it_has(&replicas[1], "a/k", "made");
	struct get get = test_replica_get(&replicas[2], "a/k", true);
	ck_assert_int_eq(get.outcome, GET_HIT);
	ck_assert_uint_eq(get.token, 0);
	/* It is an entry like any other. */
	struct op op = test_replica_do(&replicas[1], op_on(OP_TAG, "t"), NULL);
	ck_assert(!op.is_pending);
	for (uint64_t end = test_now_ms() + BOUND_MS, i = 0; i < REPLICAS; i++)
		while (test_replica_get(&replicas[i], "a/k", false).outcome != GET_MISS)
			ck_assert_uint_lt(test_now_ms(), end);
}
END_TEST

START_TEST(what_redis_lost_it_has_again_and_not_for_longer_than_an_outage_is_borne)
{
	ck_assert_int_eq(test_replica_set(&replicas[0], "k", "value", 0), SET_STORED);
	lose_redis();
	get_redis_back();
	until_it_has(&replicas[1], "k", "value");
	ck_assert_int_le(test_replica_get(&replicas[1], "k", false).fresh_ms, 300000);
}
END_TEST

START_TEST(of_several_copies_the_first_is_kept_for_all)
{
	lose_redis();
	for (int i = 0; i < REPLICAS; i++)
		make(&replicas[i], "k", i == 0 ? "0" : i == 1 ? "1" : "2", NULL);
	make(&replicas[0], "last", "made", NULL);
	get_redis_back();
	until_it_has(&replicas[2], "last", "made");
	struct test_replica late;
	test_replica_start(&late, server->url, PATIENCE_MS);
	struct get first = test_replica_get(&late, "k", true);
	ck_assert_int_eq(first.outcome, GET_HIT);
	ck_assert_uint_eq(first.token, 0);
	test_replica_stop(&late);
	for (int i = 0; i < REPLICAS; i++)
		ck_assert_int_eq(test_replica_get(&replicas[i], "k", true).outcome, GET_HIT);
}
END_TEST

START_TEST(what_another_replica_invalidated_without_redis_is_not_shared_again)
{
	lose_redis();
	make(&replicas[0], "gone", "made", NULL);
	make(&replicas[0], "kept", "made", NULL);
	ck_assert(test_replica_do(&replicas[2], op_on(OP_DELETE, "gone"), NULL).is_pending);
	get_redis_back();
	until_it_has(&replicas[1], "kept", "made");
	for (uint64_t end = test_now_ms() + BOUND_MS, i = 0; i < REPLICAS; i++)
		while (test_replica_get(&replicas[i], "gone", false).outcome != GET_MISS)
			ck_assert_uint_lt(test_now_ms(), end);
}
END_TEST

/* ---- while it goes on ---- */

static const char *
key_of(unsigned number, char key[16])
{
	snprintf(key, 16, "k%u", number);
	return key;
}

static void *
delete_all(void *arg)
{
	char key[16];

	for (unsigned i = 0; i < KEYS; i++)
		(void)test_replica_do(arg, op_on(OP_DELETE, key_of(i, key)), NULL);
	return NULL;
}

START_TEST(what_is_deleted_while_copies_are_shared_again_stays_deleted)
{
	pthread_t deleting[2];
	char key[16];

	lose_redis();
	for (unsigned i = 0; i < KEYS; i++)
		make(&replicas[0], key_of(i, key), "made", NULL);
	test_redis_restart(server);
	test_replica_until_together(&replicas[1]);
	pthread_create(&deleting[0], NULL, delete_all, &replicas[1]);
	pthread_create(&deleting[1], NULL, delete_all, &replicas[2]);
	pthread_join(deleting[0], NULL);
	pthread_join(deleting[1], NULL);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_together(&replicas[i]);
	make(&replicas[2], "mark", "made", NULL);
	until_it_has(&replicas[0], "mark", "made");
	for (uint64_t end = test_now_ms() + BOUND_MS, i = 0; i < REPLICAS * KEYS; i++)
		while (
		    test_replica_get(&replicas[i % REPLICAS], key_of((unsigned)i / REPLICAS, key), false).outcome !=
		    GET_MISS)
			ck_assert_uint_lt(test_now_ms(), end);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache restock");
	TCase *tests = tcase_create("restock");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 240);
	tcase_add_test(tests, what_a_replica_made_without_redis_the_others_take_from_it_afterwards);
	tcase_add_test(tests, what_redis_lost_it_has_again_and_not_for_longer_than_an_outage_is_borne);
	tcase_add_test(tests, of_several_copies_the_first_is_kept_for_all);
	tcase_add_test(tests, what_another_replica_invalidated_without_redis_is_not_shared_again);
	tcase_add_test(tests, what_is_deleted_while_copies_are_shared_again_stays_deleted);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
