/*
 * Replicas of the cache on a real Redis: what one of them changes, the others know; who fills; what happens
 * when Redis loses its data, its end, or goes away.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_fleet.h"
#include "support/test_process.h"

#define REPLICAS    3
#define PATIENCE_MS 5000u /* the machine may be busy */
#define BOUND_MS    1000u
#define WAIT_MS     60000u

static struct test_redis *server;
static struct test_replica replicas[REPLICAS];

static void
set_up(void)
{
	server = test_redis_start(NULL);
	for (int i = 0; i < REPLICAS; i++) {
		test_replica_start(&replicas[i], server->url, PATIENCE_MS);
		test_replica_configure(&replicas[i], 3600000, 0, 300000);
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
change(struct test_replica *replica, enum op_kind kind, const char *name)
{
	struct op op = test_replica_do(replica, op_on(kind, name), NULL);
	ck_assert(!op.is_pending);
}

static bool
is_gone(struct test_replica *replica, const char *key)
{
	return test_replica_get(replica, key, false).outcome == GET_MISS;
}

/* No replica gives it any more when it is asked after the bound, and until then it may. */
static void
assert_gone_everywhere(const char *key)
{
	uint64_t end = test_now_ms() + BOUND_MS;

	for (int i = 0; i < REPLICAS; i++)
		for (uint64_t asked = test_now_ms(); !is_gone(&replicas[i], key); asked = test_now_ms())
			ck_assert_uint_lt(asked, end);
}

/* A replica that fell out of step asks Redis, which has not everything back at once. */
static void
await_value(struct test_replica *replica, const char *key, const char *value)
{
	uint64_t end = test_now_ms() + WAIT_MS;

	while (!test_replica_has(replica, key, value))
		ck_assert_uint_lt(test_now_ms(), end);
}

static void
fill_everywhere(const char *key, const char *value, const char *tag)
{
	ck_assert_int_eq(test_replica_set_tagged(&replicas[0], key, value, 0, tag), SET_STORED);
	for (int i = 0; i < REPLICAS; i++)
		await_value(&replicas[i], key, value);
}

/* ---- one cache ---- */

START_TEST(a_value_and_its_version_are_the_same_on_all_replicas)
{
	fill_everywhere("k", "one", NULL);
	uint64_t version = test_replica_get(&replicas[0], "k", false).version;
	for (int i = 1; i < REPLICAS; i++)
		ck_assert_uint_eq(test_replica_get(&replicas[i], "k", false).version, version);
	fill_everywhere("k", "two", NULL);
}
END_TEST

START_TEST(what_was_read_once_is_in_memory)
{
	fill_everywhere("k", "value", NULL);
	/* One that a busy machine kept from following is allowed to ask, and is in step again soon. */
	uint64_t end = test_now_ms() + WAIT_MS, reads, more;
	do {
		ck_assert_uint_lt(test_now_ms(), end);
		reads = test_redis_calls(server, "getrange");
		for (int i = 0; i < 100; i++)
			ck_assert(test_replica_has(&replicas[i % REPLICAS], "k", "value"));
		more = test_redis_calls(server, "getrange");
	} while (more != reads);
}
END_TEST

START_TEST(every_kind_of_invalidation_reaches_all_replicas_within_the_bound)
{
	static const struct {
		enum op_kind kind;
		const char *name;
	} ENDS[] = {{OP_DELETE, "a/b/c"}, {OP_TAG, "t"},    {OP_PREFIX, "a/b"}, {OP_PREFIX, "a"},
	            {OP_PREFIX, ""},      {OP_GLOB, "*/c"}, {OP_ALL, ""}};

	for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
		fill_everywhere("a/b/c", "value", "t");
		change(&replicas[i % REPLICAS], ENDS[i].kind, ENDS[i].name);
		ck_assert(is_gone(&replicas[i % REPLICAS], "a/b/c"));
		assert_gone_everywhere("a/b/c");
		fill_everywhere("a/b/c", "new", "t");
	}
}
END_TEST

START_TEST(what_is_not_covered_stays)
{
	fill_everywhere("a/b", "one", "t");
	change(&replicas[1], OP_TAG, "u");
	change(&replicas[1], OP_PREFIX, "a/bc");
	change(&replicas[1], OP_GLOB, "b*");
	change(&replicas[1], OP_DELETE, "a/c");
	for (int i = 0; i < REPLICAS; i++)
		ck_assert(test_replica_has(&replicas[i], "a/b", "one"));
}
END_TEST

START_TEST(an_invalidation_takes_as_many_commands_for_many_entries_as_for_few)
{
	char key[16];

	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "a/%d", i);
		ck_assert_int_eq(test_replica_set_tagged(&replicas[0], key, "v", 0, "t"), SET_STORED);
	}
	uint64_t before = test_redis_calls(server, "zadd");
	change(&replicas[0], OP_TAG, "t");
	change(&replicas[0], OP_PREFIX, "a");
	ck_assert_uint_eq(test_redis_calls(server, "zadd"), before + 2);
	ck_assert_uint_eq(test_redis_calls(server, "scan") + test_redis_calls(server, "keys"), 0);
	assert_gone_everywhere("a/499");
}
END_TEST

START_TEST(a_replica_that_starts_later_judges_old_entries_by_patterns_it_never_heard_of)
{
	struct test_replica late;

	fill_everywhere("a/old", "v", NULL);
	fill_everywhere("b/old", "v", NULL);
	change(&replicas[0], OP_GLOB, "a/*");
	test_replica_start(&late, server->url, PATIENCE_MS);
	ck_assert(is_gone(&late, "a/old"));
	ck_assert(test_replica_has(&late, "b/old", "v"));
	struct op op = {.kind = OP_SET,
	                .set = {.key = "a/old",
	                        .key_length = 5,
	                        .value = "n",
	                        .value_length = 1,
	                        .ttl_ms = ENGINE_DEFAULT_MS,
	                        .grace_ms = ENGINE_DEFAULT_MS,
	                        .error_grace_ms = ENGINE_DEFAULT_MS,
	                        .has_if_version = true}};
	ck_assert_int_eq(test_replica_do(&late, op, NULL).set.outcome, SET_STORED);
	test_replica_stop(&late);
}
END_TEST

/* As a replica of another release might have written it. */
START_TEST(an_entry_of_another_layout_is_a_miss_and_is_written_over)
{
	struct test_replica late;

	fill_everywhere("k", "old", NULL);
	for (int shard = 0; shard < 16; shard++) {
		char command[96];
		snprintf(command, sizeof(command), "SETRANGE corbel:cache:{%02d}:entry:tenant/space/k 39 X", shard);
		test_redis_tell(server, command);
	}
	test_replica_start(&late, server->url, PATIENCE_MS);
	struct get get = test_replica_get(&late, "k", true);
	ck_assert_int_eq(get.outcome, GET_MISS);
	ck_assert_uint_ne(get.token, 0);
	struct op incr = {.kind = OP_INCR, .incr = {.key = "k", .key_length = 1, .by = 5, .ttl_ms = 60000}};
	incr = test_replica_do(&late, incr, NULL);
	ck_assert_int_eq(incr.incr.outcome, INCR_DONE);
	ck_assert_int_eq(incr.incr.value, 5);
	ck_assert_int_eq(test_replica_set(&late, "k", "new", 0), SET_STORED);
	for (int i = 0; i < REPLICAS; i++)
		await_value(&replicas[i], "k", "new");
	test_replica_stop(&late);
}
END_TEST

/* ---- who fills ---- */

START_TEST(one_token_is_handed_out_among_all_replicas_and_what_it_fills_all_give)
{
	struct get first = test_replica_get(&replicas[0], "k", true);

	ck_assert_uint_ne(first.token, 0);
	for (int i = 0; i < REPLICAS; i++) {
		struct get get = test_replica_get(&replicas[i], "k", true);
		ck_assert_uint_eq(get.token, 0);
		ck_assert(get.is_filling);
	}
	/* Another replica may bring what the first was asked for. */
	ck_assert_int_eq(test_replica_set(&replicas[1], "k", "made", first.token), SET_STORED);
	for (int i = 0; i < REPLICAS; i++)
		await_value(&replicas[i], "k", "made");
	ck_assert_int_eq(test_replica_set(&replicas[0], "k", "late", first.token), SET_LEASE_LOST);
}
END_TEST

START_TEST(a_fill_is_refused_after_anything_that_covers_it)
{
	static const struct {
		enum op_kind kind;
		const char *name;
	} ENDS[] = {{OP_DELETE, "a/b"}, {OP_TAG, "t"},      {OP_PREFIX, "a"},
	            {OP_GLOB, "*b"},    {OP_EXPIRE, "a/b"}, {OP_ALL, ""}};

	for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
		struct get get = test_replica_get(&replicas[0], "a/b", true);
		ck_assert_uint_ne(get.token, 0);
		change(&replicas[1], ENDS[i].kind, ENDS[i].name);
		ck_assert_int_eq(test_replica_set_tagged(&replicas[0], "a/b", "old", get.token, "t"), SET_LEASE_LOST);
		ck_assert(is_gone(&replicas[2], "a/b"));
	}
}
END_TEST

START_TEST(a_token_of_a_replica_that_died_goes_to_another_soon)
{
	struct test_replica dying;

	test_replica_start(&dying, server->url, PATIENCE_MS);
	uint64_t lost = test_replica_get(&dying, "k", true).token;
	ck_assert_uint_ne(lost, 0);
	ck_assert_uint_eq(test_replica_get(&replicas[0], "k", true).token, 0);
	/* Its sign of life is not renewed any more. */
	test_replica_stop(&dying);
	uint64_t token = 0, end = test_now_ms() + WAIT_MS;
	while (token == 0 && test_now_ms() < end)
		token = test_replica_get(&replicas[0], "k", true).token;
	ck_assert_uint_ne(token, 0);
	ck_assert_int_eq(test_replica_set(&replicas[1], "k", "late", lost), SET_LEASE_LOST);
	ck_assert_int_eq(test_replica_set(&replicas[0], "k", "made", token), SET_STORED);
}
END_TEST

START_TEST(a_token_that_was_given_back_is_the_next_ones)
{
	struct op op = op_on(OP_RELEASE, "k");

	op.token = test_replica_get(&replicas[0], "k", true).token;
	ck_assert(test_replica_do(&replicas[1], op, NULL).is_found);
	ck_assert(!test_replica_do(&replicas[1], op, NULL).is_found);
	uint64_t token = 0, end = test_now_ms() + WAIT_MS;
	while (token == 0 && test_now_ms() < end)
		token = test_replica_get(&replicas[2], "k", true).token;
	ck_assert_uint_ne(token, 0);
}
END_TEST

/* ---- numbers ---- */

START_TEST(numbers_are_added_to_exactly_in_64_bits_and_keep_their_times)
{
	struct op op = {
	    .kind = OP_INCR,
	    .incr = {.key = "n", .key_length = 1, .by = 1, .initial = INT64_MAX - 2, .ttl_ms = 60000}};

	op = test_replica_do(&replicas[0], op, NULL);
	ck_assert_int_eq(op.incr.value, INT64_MAX - 1);
	op.plan = NULL;
	op = test_replica_do(&replicas[1], op, NULL);
	ck_assert_int_eq(op.incr.value, INT64_MAX);
	op.plan = NULL;
	ck_assert_int_eq(test_replica_do(&replicas[2], op, NULL).incr.outcome, INCR_OVERFLOW);
	ck_assert(test_replica_has(&replicas[2], "n", "9223372036854775807"));
	ck_assert_int_eq(test_replica_set(&replicas[0], "n", "word", 0), SET_STORED);
	op.plan = NULL;
	ck_assert_int_eq(test_replica_do(&replicas[1], op, NULL).incr.outcome, INCR_NOT_A_NUMBER);
}
END_TEST

/* ---- when Redis fails ---- */

START_TEST(when_redis_forgets_everything_nothing_old_is_given_a_second_later)
{
	fill_everywhere("k", "value", NULL);
	test_redis_tell(server, "FLUSHALL");
	assert_gone_everywhere("k");
	fill_everywhere("k", "new", NULL);
}
END_TEST

START_TEST(a_replica_that_missed_more_than_the_log_keeps_forgets_what_it_held)
{
	fill_everywhere("k", "value", NULL);
	/* The log ends before what was followed, and goes on beyond it. */
	for (int shard = 0; shard < 16; shard++) {
		char command[96];
		snprintf(command, sizeof(command), "HINCRBY corbel:cache:{%02d}:head seq 10", shard);
		test_redis_tell(server, command);
	}
	ck_assert_int_eq(test_replica_set(&replicas[0], "other", "x", 0), SET_STORED);
	uint64_t end = test_now_ms() + WAIT_MS, reads = test_redis_calls(server, "getrange");
	/* It is asked for again: Redis still has it. */
	while (test_redis_calls(server, "getrange") == reads) {
		ck_assert(test_replica_has(&replicas[1], "k", "value"));
		ck_assert_uint_lt(test_now_ms(), end);
	}
}
END_TEST

START_TEST(while_redis_is_away_memory_answers_and_fills_go_on_without_an_error)
{
	fill_everywhere("k", "value", NULL);
	test_redis_kill(server);
	for (int i = 0; i < REPLICAS; i++) {
		test_replica_until_alone(&replicas[i]);
		ck_assert(test_replica_has(&replicas[i], "k", "value"));
		struct get get = test_replica_get(&replicas[i], "cold", true);
		ck_assert_uint_ne(get.token, 0);
		ck_assert(test_replica_get(&replicas[i], "cold", true).is_filling);
		ck_assert_int_eq(test_replica_set(&replicas[i], "cold", "made", get.token), SET_STORED);
		ck_assert(test_replica_has(&replicas[i], "cold", "made"));
	}
}
END_TEST

START_TEST(what_has_to_be_exact_is_refused_while_redis_is_away)
{
	struct op op = {.kind = OP_INCR, .incr = {.key = "n", .key_length = 1, .by = 1, .ttl_ms = 60000}};
	struct status st;

	test_redis_kill(server);
	test_replica_until_alone(&replicas[0]);
	(void)test_replica_do(&replicas[0], op, &st);
	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
}
END_TEST

START_TEST(a_namespace_may_forbid_values_from_before_an_outage)
{
	fill_everywhere("k", "value", NULL);
	test_replica_configure(&replicas[0], 3600000, 0, 0);
	test_redis_kill(server);
	uint64_t end = test_now_ms() + WAIT_MS;
	while (!is_gone(&replicas[0], "k"))
		ck_assert_uint_lt(test_now_ms(), end);
	ck_assert(test_replica_has(&replicas[1], "k", "value"));
}
END_TEST

START_TEST(what_was_invalidated_during_an_outage_the_others_hear_of_afterwards)
{
	fill_everywhere("a/k", "value", "t");
	fill_everywhere("b/k", "value", NULL);
	test_redis_freeze(server);
	/* Its answer would come too late. */
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_alone(&replicas[i]);
	ck_assert(test_replica_do(&replicas[0], op_on(OP_TAG, "t"), NULL).is_pending);
	ck_assert(is_gone(&replicas[0], "a/k"));
	ck_assert(test_replica_has(&replicas[1], "a/k", "value"));
	test_redis_thaw(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_together(&replicas[i]);
	uint64_t end = test_now_ms() + WAIT_MS;
	for (int i = 0; i < REPLICAS; i++)
		while (!is_gone(&replicas[i], "a/k"))
			ck_assert_uint_lt(test_now_ms(), end);
	for (int i = 0; i < REPLICAS; i++)
		ck_assert(test_replica_has(&replicas[i], "b/k", "value"));
}
END_TEST

/* What a fill brings is for this replica; a write of its own right is news for the others, too. */
START_TEST(whatever_was_changed_during_an_outage_the_others_give_no_longer)
{
	static const char *const KEYS[] = {"written", "deleted", "expired", "pre/fix", "by pattern"};

	for (size_t k = 0; k < 5; k++)
		fill_everywhere(KEYS[k], "old", NULL);
	test_redis_freeze(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_alone(&replicas[i]);
	ck_assert_int_eq(test_replica_set(&replicas[0], "written", "new", 0), SET_STORED);
	ck_assert(test_replica_do(&replicas[0], op_on(OP_DELETE, "deleted"), NULL).is_pending);
	ck_assert(test_replica_do(&replicas[0], op_on(OP_EXPIRE, "expired"), NULL).is_pending);
	ck_assert(test_replica_do(&replicas[0], op_on(OP_PREFIX, "pre"), NULL).is_pending);
	ck_assert(test_replica_do(&replicas[0], op_on(OP_GLOB, "*pattern"), NULL).is_pending);
	test_redis_thaw(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_together(&replicas[i]);
	uint64_t end = test_now_ms() + WAIT_MS;
	for (size_t k = 0; k < 5; k++)
		for (int i = 0; i < REPLICAS; i++)
			while (test_replica_has(&replicas[i], KEYS[k], "old"))
				ck_assert_msg(test_now_ms() < end, "replica %d still has '%s'", i, KEYS[k]);
}
END_TEST

START_TEST(what_was_in_memory_is_still_given_when_redis_comes_back_empty)
{
	fill_everywhere("k", "value", NULL);
	fill_everywhere("gone", "value", NULL);
	test_redis_kill(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_alone(&replicas[i]);
	ck_assert(test_replica_do(&replicas[2], op_on(OP_DELETE, "gone"), NULL).is_pending);
	test_redis_restart(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_together(&replicas[i]);
	for (int i = 0; i < REPLICAS; i++)
		await_value(&replicas[i], "k", "value");
	uint64_t end = test_now_ms() + WAIT_MS;
	for (int i = 0; i < REPLICAS; i++)
		while (!is_gone(&replicas[i], "gone"))
			ck_assert_uint_lt(test_now_ms(), end);
	/* What is changed from then on is heard of as before. */
	change(&replicas[1], OP_DELETE, "k");
	assert_gone_everywhere("k");
}
END_TEST

START_TEST(however_much_was_changed_during_an_outage_what_others_change_afterwards_is_newer)
{
	char key[16];

	test_redis_freeze(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_alone(&replicas[i]);
	/* As many numbers as there could be between two of the log's, and more. */
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		struct get get = test_replica_get(&replicas[0], key, true);
		ck_assert_uint_ne(get.token, 0);
		ck_assert_int_eq(test_replica_set_tagged(&replicas[0], key, "made", get.token, "t"), SET_STORED);
		ck_assert(test_replica_has(&replicas[0], key, "made"));
		if (i % 2 == 0)
			continue;
		ck_assert(test_replica_do(&replicas[0], op_on(OP_TAG, "t"), NULL).is_pending);
		ck_assert(is_gone(&replicas[0], key));
	}
	struct get last = test_replica_get(&replicas[0], "last", true);
	ck_assert_int_eq(test_replica_set_tagged(&replicas[0], "last", "made", last.token, "u"), SET_STORED);
	ck_assert(test_replica_has(&replicas[0], "last", "made"));
	test_redis_thaw(server);
	for (int i = 0; i < REPLICAS; i++)
		test_replica_until_together(&replicas[i]);
	await_value(&replicas[0], "last", "made");
	change(&replicas[1], OP_TAG, "u");
	assert_gone_everywhere("last");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache fleet");
	TCase *together = tcase_create("together"), *failing = tcase_create("failing");

	tcase_add_checked_fixture(together, set_up, tear_down);
	tcase_add_checked_fixture(failing, set_up, tear_down);
	tcase_set_timeout(together, 240);
	tcase_set_timeout(failing, 240);
	tcase_add_test(together, a_value_and_its_version_are_the_same_on_all_replicas);
	tcase_add_test(together, what_was_read_once_is_in_memory);
	tcase_add_test(together, every_kind_of_invalidation_reaches_all_replicas_within_the_bound);
	tcase_add_test(together, what_is_not_covered_stays);
	tcase_add_test(together, an_invalidation_takes_as_many_commands_for_many_entries_as_for_few);
	tcase_add_test(together, a_replica_that_starts_later_judges_old_entries_by_patterns_it_never_heard_of);
	tcase_add_test(together, an_entry_of_another_layout_is_a_miss_and_is_written_over);
	tcase_add_test(together, one_token_is_handed_out_among_all_replicas_and_what_it_fills_all_give);
	tcase_add_test(together, a_fill_is_refused_after_anything_that_covers_it);
	tcase_add_test(together, a_token_of_a_replica_that_died_goes_to_another_soon);
	tcase_add_test(together, a_token_that_was_given_back_is_the_next_ones);
	tcase_add_test(together, numbers_are_added_to_exactly_in_64_bits_and_keep_their_times);
	tcase_add_test(failing, when_redis_forgets_everything_nothing_old_is_given_a_second_later);
	tcase_add_test(failing, a_replica_that_missed_more_than_the_log_keeps_forgets_what_it_held);
	tcase_add_test(failing, while_redis_is_away_memory_answers_and_fills_go_on_without_an_error);
	tcase_add_test(failing, what_has_to_be_exact_is_refused_while_redis_is_away);
	tcase_add_test(failing, a_namespace_may_forbid_values_from_before_an_outage);
	tcase_add_test(failing, what_was_invalidated_during_an_outage_the_others_hear_of_afterwards);
	tcase_add_test(failing, whatever_was_changed_during_an_outage_the_others_give_no_longer);
	tcase_add_test(failing, however_much_was_changed_during_an_outage_what_others_change_afterwards_is_newer);
	tcase_add_test(failing, what_was_in_memory_is_still_given_when_redis_comes_back_empty);
	suite_add_tcase(suite, together);
	suite_add_tcase(suite, failing);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
