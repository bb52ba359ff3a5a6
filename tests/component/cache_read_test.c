/*
 * Many gets that wait for Redis at the same moment: they are asked for together, and each gets what it would
 * have got alone.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_crowd.h"
#include "support/test_process.h"

#define PATIENCE_MS 60000u /* the machine may be busy */
#define KEYS        128u   /* of a reading */
#define SMALL       100u
#define LARGE       (1u << 20)

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

/* ---- values that tell whose they are ---- */

static void
put(const char *key, size_t size, const char *tag)
{
	char *value = mem_alloc(size + 1);

	memset(value, 'x', size);
	memcpy(value, key, strlen(key));
	ck_assert_int_eq(test_replica_set_tagged(&writer, key, value, 0, tag), SET_STORED);
	mem_free(value);
}

static bool
is_found(const struct get *get, size_t size)
{
	return get->outcome == GET_HIT && get->value_length == size &&
	       memcmp(get->value, get->key, get->key_length) == 0 &&
	       ((const char *)get->value)[get->key_length] == 'x';
}

/* ---- tests ---- */

START_TEST(of_all_who_want_a_cold_key_at_the_same_moment_one_gets_the_token)
{
	struct test_crowd crowd;
	size_t granted = 0, waiting = 0;

	test_crowd_init(&crowd, &reader, 3, KEYS, true);
	test_crowd_name_all(&crowd, "cold");
	test_crowd_ask(&crowd);
	for (size_t i = 0; i < 3 * KEYS; i++) {
		ck_assert_int_eq(crowd.gets[i].outcome, GET_MISS);
		granted += crowd.gets[i].token != 0;
		waiting += crowd.gets[i].is_filling;
	}
	ck_assert_uint_eq(granted, 1);
	ck_assert_uint_eq(waiting, 3 * KEYS - 1);
	test_crowd_fini(&crowd);
}
END_TEST

START_TEST(a_large_value_among_many_small_ones_is_given_like_them)
{
	struct test_crowd crowd;

	test_crowd_init(&crowd, &reader, 1, KEYS, false);
	for (size_t i = 0; i < KEYS; i++)
		put(crowd.keys[i], i == 77 ? LARGE : SMALL, NULL);
	test_crowd_ask(&crowd);
	for (size_t i = 0; i < KEYS; i++)
		ck_assert(is_found(&crowd.gets[i], i == 77 ? LARGE : SMALL));
	ck_assert(crowd.readings[0].has_room);
	test_crowd_fini(&crowd);
}
END_TEST

START_TEST(values_that_are_too_many_bytes_for_one_round_trip_come_in_several)
{
	struct test_crowd crowd;

	test_crowd_init(&crowd, &reader, 2, 8, false);
	for (size_t i = 0; i < 16; i++)
		put(crowd.keys[i], LARGE, NULL);
	test_crowd_ask(&crowd);
	for (size_t i = 0; i < 16; i++)
		ck_assert(is_found(&crowd.gets[i], LARGE));
	test_crowd_fini(&crowd);
}
END_TEST

START_TEST(what_has_no_room_is_left_out_and_the_rest_is_given)
{
	struct test_crowd crowd;
	size_t found = 0;

	test_crowd_init(&crowd, &reader, 2, 8, false);
	crowd.room.left = 5 * LARGE;
	for (size_t i = 0; i < 16; i++)
		put(crowd.keys[i], LARGE, NULL);
	test_crowd_ask(&crowd);
	for (size_t i = 0; i < 16; i++) {
		found += is_found(&crowd.gets[i], LARGE);
		ck_assert(is_found(&crowd.gets[i], LARGE) || crowd.gets[i].outcome == GET_MISS);
	}
	ck_assert_uint_eq(found, 4); /* each takes a little more than its value */
	ck_assert(!crowd.readings[0].has_room || !crowd.readings[1].has_room);
	ck_assert_uint_le(crowd.arena.used_bytes, 5 * LARGE);
	test_crowd_fini(&crowd);
}
END_TEST

START_TEST(more_gets_than_one_round_trip_takes_are_all_answered)
{
	enum { READINGS = 20 };
	struct test_crowd crowd;

	test_crowd_init(&crowd, &reader, READINGS, KEYS, false);
	for (size_t i = 0; i < READINGS * KEYS; i += 100)
		put(crowd.keys[i], SMALL, NULL);
	test_crowd_ask(&crowd);
	for (size_t i = 0; i < READINGS * KEYS; i++)
		ck_assert(i % 100 == 0 ? is_found(&crowd.gets[i], SMALL) : crowd.gets[i].outcome == GET_MISS);
	test_crowd_fini(&crowd);
}
END_TEST

/* More namespaces than one round trip takes runs of the script. */
START_TEST(each_namespace_gives_its_own_values_and_tokens)
{
	enum { SPACES = 80 };
	struct space *spaces[SPACES];
	struct test_crowd crowd;
	char name[16], value[32];

	test_crowd_init(&crowd, &reader, SPACES, 2, true);
	test_crowd_name_all(&crowd, "cold");
	for (size_t i = 0; i < SPACES; i++) {
		struct space *home = writer.space;
		snprintf(name, sizeof(name), "s%zu", i);
		snprintf(value, sizeof(value), "of %s", name);
		ck_assert_int_eq(engine_space(reader.engine, "tenant", name, &spaces[i]).code, STATUS_OK);
		ck_assert_int_eq(engine_space(writer.engine, "tenant", name, &writer.space).code, STATUS_OK);
		ck_assert_int_eq(test_replica_set(&writer, "there", value, 0), SET_STORED);
		writer.space = home;
		crowd.readings[i].space = spaces[i];
		crowd.readings[i].gets[0].key = "there";
		crowd.readings[i].gets[0].key_length = 5;
	}
	test_crowd_ask(&crowd);
	for (size_t i = 0; i < SPACES; i++) {
		const struct get *there = &crowd.readings[i].gets[0], *cold = &crowd.readings[i].gets[1];
		snprintf(value, sizeof(value), "of s%zu", i);
		ck_assert_int_eq(there->outcome, GET_HIT);
		ck_assert_uint_eq(there->value_length, strlen(value));
		ck_assert_mem_eq(there->value, value, strlen(value));
		ck_assert_uint_eq(there->token, 0);
		ck_assert_int_eq(cold->outcome, GET_MISS);
		ck_assert_uint_ne(cold->token, 0);
	}
	test_crowd_fini(&crowd);
}
END_TEST

/* Each namespace's part of a round trip is smaller than one of its values. */
START_TEST(large_values_of_many_namespaces_all_come)
{
	enum { SPACES = 8 };
	struct test_crowd crowd;
	char name[16];

	test_crowd_init(&crowd, &reader, SPACES, 2, false);
	for (size_t i = 0; i < SPACES; i++) {
		struct space *home = writer.space;
		snprintf(name, sizeof(name), "s%zu", i);
		ck_assert_int_eq(engine_space(reader.engine, "tenant", name, &crowd.readings[i].space).code,
		                 STATUS_OK);
		ck_assert_int_eq(engine_space(writer.engine, "tenant", name, &writer.space).code, STATUS_OK);
		put(crowd.keys[2 * i], LARGE, NULL);
		put(crowd.keys[2 * i + 1], LARGE, NULL);
		writer.space = home;
	}
	test_crowd_ask(&crowd);
	for (size_t i = 0; i < 2 * SPACES; i++)
		ck_assert(is_found(&crowd.gets[i], LARGE));
	test_crowd_fini(&crowd);
}
END_TEST

/* What a first look cannot judge: older than the latest tag, prefix or pattern of the namespace, covered or
 * not. */
START_TEST(entries_older_than_an_invalidation_are_each_judged_by_it)
{
	static const struct {
		const char *key, *tag;
		bool stays;
	} ENTRIES[] = {{"a/1", "t", false}, {"a/2", "u", true},   {"a/3", NULL, true}, {"b/1", NULL, false},
	               {"b/2", "u", false}, {"c.x", NULL, false}, {"c.y", "u", true}};
	enum { COUNT = sizeof(ENTRIES) / sizeof(ENTRIES[0]) };

	for (int may_fill = 0; may_fill < 2; may_fill++) {
		struct test_crowd crowd;
		for (size_t i = 0; i < COUNT; i++)
			put(ENTRIES[i].key, SMALL, ENTRIES[i].tag);
		(void)test_replica_do(&writer, op_on(OP_TAG, "t"), NULL);
		(void)test_replica_do(&writer, op_on(OP_PREFIX, "b"), NULL);
		(void)test_replica_do(&writer, op_on(OP_GLOB, "*.x"), NULL);
		test_crowd_init(&crowd, &reader, 1, COUNT, may_fill);
		for (size_t i = 0; i < COUNT; i++) {
			crowd.gets[i].key = ENTRIES[i].key;
			crowd.gets[i].key_length = strlen(ENTRIES[i].key);
		}
		test_crowd_ask(&crowd);
		for (size_t i = 0; i < COUNT; i++) {
			bool stays = ENTRIES[i].stays;
			ck_assert_msg(is_found(&crowd.gets[i], SMALL) == stays, "%s", ENTRIES[i].key);
			ck_assert_int_eq(crowd.gets[i].token != 0, may_fill && !stays);
		}
		for (size_t i = 0; i < COUNT && may_fill; i++)
			(void)test_replica_do(&writer, op_on(OP_DELETE, ENTRIES[i].key), NULL);
		test_crowd_fini(&crowd);
	}
}
END_TEST

/* Neither what is there without a doubt, nor what is older than a tag's end. */
START_TEST(fresh_values_cost_redis_no_run_of_a_script)
{
	for (unsigned looks = 1; looks <= 2; looks++) {
		struct test_crowd crowd;
		test_crowd_init(&crowd, &reader, 2, KEYS, true);
		for (size_t i = 0; i < 2 * KEYS; i++) {
			snprintf(crowd.keys[i], CROWD_KEY_BYTES, "%u/%zu", looks, i);
			crowd.gets[i].key_length = strlen(crowd.keys[i]);
			put(crowd.keys[i], SMALL, "t");
		}
		if (looks == 2)
			(void)test_replica_do(&writer, op_on(OP_TAG, "u"), NULL);
		uint64_t entries = test_redis_calls(server, "getrange"), names = test_redis_calls(server, "zmscore");
		test_crowd_ask(&crowd);
		ck_assert_uint_eq(test_redis_calls(server, "getrange"), entries + 2 * KEYS);
		ck_assert_uint_eq(test_redis_calls(server, "zmscore"), names + (looks - 1) * 2 * KEYS);
		for (size_t i = 0; i < 2 * KEYS; i++)
			ck_assert(is_found(&crowd.gets[i], SMALL));
		test_crowd_fini(&crowd);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache read");
	TCase *tests = tcase_create("together");

	tcase_set_timeout(tests, 300);
	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, of_all_who_want_a_cold_key_at_the_same_moment_one_gets_the_token);
	tcase_add_test(tests, a_large_value_among_many_small_ones_is_given_like_them);
	tcase_add_test(tests, values_that_are_too_many_bytes_for_one_round_trip_come_in_several);
	tcase_add_test(tests, what_has_no_room_is_left_out_and_the_rest_is_given);
	tcase_add_test(tests, more_gets_than_one_round_trip_takes_are_all_answered);
	tcase_add_test(tests, each_namespace_gives_its_own_values_and_tokens);
	tcase_add_test(tests, large_values_of_many_namespaces_all_come);
	tcase_add_test(tests, entries_older_than_an_invalidation_are_each_judged_by_it);
	tcase_add_test(tests, fresh_values_cost_redis_no_run_of_a_script);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
