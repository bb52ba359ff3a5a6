/*
 * What the scripts of the cache do in a real Redis, change by change: who may fill, how long things last
 * there, what is compared with what, and what is forgotten beyond the bounds.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cached/fleet_internal.h"
#include "support/test_fleet.h"
#include "support/test_process.h"

#define PATIENCE_MS 5000u /* the machine may be busy */
#define TTL_MS      3600000u
#define GRACE_MS    1800000u
#define WAIT_MS     60000u

static struct test_redis *server;
static struct test_replica here, there;

static void
set_up(void)
{
	server = test_redis_start(NULL);
	test_replica_start(&here, server->url, PATIENCE_MS);
	test_replica_start(&there, server->url, PATIENCE_MS);
	test_replica_configure(&here, TTL_MS, GRACE_MS, 300000);
	test_replica_configure(&there, TTL_MS, GRACE_MS, 300000);
}

static void
tear_down(void)
{
	test_replica_stop(&here);
	test_replica_stop(&there);
	test_redis_stop(server);
}

static struct op
change(struct test_replica *replica, enum op_kind kind, const char *name)
{
	struct op op = test_replica_do(replica, op_on(kind, name), NULL);

	ck_assert(!op.is_pending);
	return op;
}

/* "entry" or "lease" of a key, as it is named in Redis. */
static char *
name_in_redis(const char *what, const char *key)
{
	return arena_printf(&here.arena, "corbel:cache:{%02u}:%s:tenant/space/%s",
	                    fleet_shard_of("tenant", "space"), what, key);
}

/* The answer of a command of three words at most. */
static int64_t
ask_redis(const char *command, const char *first, const char *second)
{
	const char *words[] = {command, first, second};
	struct redis_arg args[3];
	struct redis_reply reply;
	struct redis_conn *conn;
	size_t count = 0;

	for (; count < 3 && words[count]; count++)
		args[count] = (struct redis_arg){.data = words[count], .size = strlen(words[count])};
	struct status st = redis_take(here.redis, PATIENCE_MS, &conn);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = redis_command(conn, args, count, &here.arena, &reply);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_int_eq(reply.type, REDIS_INTEGER);
	redis_put(here.redis, conn);
	return reply.integer;
}

static int64_t
run_script(const char *source, const char *key)
{
	const char *words[] = {"EVAL", source, "1", key};
	struct redis_arg args[4];
	struct redis_reply reply;
	struct redis_conn *conn;

	for (size_t i = 0; i < 4; i++)
		args[i] = (struct redis_arg){.data = words[i], .size = strlen(words[i])};
	struct status st = redis_take(here.redis, PATIENCE_MS, &conn);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = redis_command(conn, args, 4, &here.arena, &reply);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_int_eq(reply.type, REDIS_INTEGER);
	redis_put(here.redis, conn);
	return reply.integer;
}

static void
assert_lasts(const char *key, uint64_t ms)
{
	int64_t left_ms = ask_redis("PTTL", name_in_redis("entry", key), NULL);

	ck_assert_int_le(left_ms, (int64_t)ms);
	ck_assert_int_gt(left_ms, (int64_t)ms - WAIT_MS);
}

/* A replica that fell out of step for a moment asks again. */
static void
await_value(struct test_replica *replica, const char *key, const char *value)
{
	for (uint64_t end = test_now_ms() + WAIT_MS; !test_replica_has(replica, key, value); test_pause())
		ck_assert_msg(test_now_ms() < end, "'%s' is not '%s'", key, value);
}

static void
await_miss(struct test_replica *replica, const char *key)
{
	uint64_t end = test_now_ms() + WAIT_MS;

	for (; test_replica_get(replica, key, false).outcome != GET_MISS; test_pause())
		ck_assert_msg(test_now_ms() < end, "'%s' is there", key);
}

static struct op
count_up(struct test_replica *replica, const char *key, int64_t initial)
{
	struct op op = {
	    .kind = OP_INCR,
	    .incr = {
	        .key = key, .key_length = strlen(key), .by = 1, .initial = initial, .ttl_ms = ENGINE_DEFAULT_MS}};
	return test_replica_do(replica, op, NULL);
}

static struct op
set_if(struct test_replica *replica, const char *key, const char *value, uint64_t version)
{
	struct op op = {.kind = OP_SET,
	                .set = {.key = key,
	                        .key_length = strlen(key),
	                        .value = value,
	                        .value_length = strlen(value),
	                        .ttl_ms = ENGINE_DEFAULT_MS,
	                        .grace_ms = ENGINE_DEFAULT_MS,
	                        .error_grace_ms = ENGINE_DEFAULT_MS,
	                        .has_if_version = true,
	                        .if_version = version}};
	return test_replica_do(replica, op, NULL);
}

/* ---- who fills ---- */

START_TEST(a_write_and_a_count_take_the_token_from_who_fills)
{
	uint64_t token = test_replica_get(&here, "k", true).token;

	ck_assert_uint_ne(token, 0);
	ck_assert_int_eq(test_replica_set(&there, "k", "newer", 0), SET_STORED);
	ck_assert_int_eq(ask_redis("EXISTS", name_in_redis("lease", "k"), NULL), 0);
	ck_assert_int_eq(test_replica_set(&here, "k", "late", token), SET_LEASE_LOST);
	await_value(&here, "k", "newer");
	token = test_replica_get(&here, "n", true).token;
	ck_assert_uint_ne(token, 0);
	ck_assert_int_eq(count_up(&there, "n", 0).incr.value, 1);
	ck_assert_int_eq(test_replica_set(&here, "n", "9", token), SET_LEASE_LOST);
	await_value(&here, "n", "1");
}
END_TEST

/* So that nothing but what is tested frees a token. */
static void
configure_long_leases(struct test_replica *replica)
{
	struct space_options options = space_options_default();

	options.lease_ms = 600000;
	space_configure(replica->space, &options);
}

static uint64_t
await_token(struct test_replica *replica, const char *key)
{
	uint64_t token, end = test_now_ms() + WAIT_MS;

	while ((token = test_replica_get(replica, key, true).token) == 0)
		ck_assert_msg(test_now_ms() < end, "nobody may fill '%s'", key);
	return token;
}

START_TEST(an_invalidation_makes_place_for_a_holder_of_any_replica_that_can_still_fill)
{
	static const struct {
		enum op_kind kind;
		const char *name;
	} ENDS[] = {{OP_PREFIX, "a"}, {OP_GLOB, "*b"}, {OP_ALL, ""}};

	configure_long_leases(&here);
	configure_long_leases(&there);
	for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
		uint64_t late = await_token(&here, "a/b");
		ck_assert_uint_eq(test_replica_get(&there, "a/b", true).token, 0);
		change(&here, ENDS[i].kind, ENDS[i].name);
		uint64_t token = await_token(&there, "a/b");
		ck_assert_int_eq(test_replica_set(&here, "a/b", "old", late), SET_LEASE_LOST);
		ck_assert_int_eq(test_replica_set(&there, "a/b", "new", token), SET_STORED);
		change(&here, OP_DELETE, "a/b");
	}
}
END_TEST

START_TEST(a_token_of_a_replica_that_died_is_anothers_long_before_its_lease_ends)
{
	struct test_replica dying;

	test_replica_start(&dying, server->url, PATIENCE_MS);
	configure_long_leases(&dying);
	configure_long_leases(&here);
	uint64_t lost = await_token(&dying, "k");
	ck_assert_uint_eq(test_replica_get(&here, "k", true).token, 0);
	test_replica_stop(&dying);
	uint64_t token = await_token(&here, "k");
	ck_assert_int_eq(test_replica_set(&there, "k", "late", lost), SET_LEASE_LOST);
	ck_assert_int_eq(test_replica_set(&there, "k", "made", token), SET_STORED);
}
END_TEST

/* It was told of nothing: what Redis has is all that it knows. */
START_TEST(a_replica_that_starts_later_gives_nothing_that_was_invalidated_and_may_fill_it)
{
	static const struct {
		enum op_kind kind;
		const char *name;
	} ENDS[] = {{OP_TAG, "red"}, {OP_PREFIX, "a"}, {OP_GLOB, "*b"}, {OP_ALL, ""}};

	for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
		struct test_replica late;
		ck_assert_int_eq(test_replica_set_tagged(&here, "a/b", "old", 0, "red"), SET_STORED);
		ck_assert_int_eq(test_replica_set_tagged(&here, "other", "stays", 0, "blue"), SET_STORED);
		change(&here, ENDS[i].kind, ENDS[i].name);
		test_replica_start(&late, server->url, PATIENCE_MS);
		configure_long_leases(&late);
		ck_assert_int_eq(test_replica_get(&late, "a/b", false).outcome, GET_MISS);
		uint64_t token = await_token(&late, "a/b");
		ck_assert_int_eq(test_replica_set(&late, "a/b", "new", token), SET_STORED);
		if (ENDS[i].kind != OP_ALL)
			await_value(&late, "other", "stays");
		await_value(&here, "a/b", "new");
		test_replica_stop(&late);
	}
}
END_TEST

START_TEST(only_who_has_a_token_gives_it_back)
{
	uint64_t token = test_replica_get(&here, "k", true).token;
	struct op op = op_on(OP_RELEASE, "k");

	op.token = token ^ 1;
	ck_assert(!test_replica_do(&there, op, NULL).is_found);
	ck_assert_int_eq(test_replica_set(&here, "k", "made", token ^ 1), SET_LEASE_LOST);
	ck_assert_int_eq(test_replica_set(&here, "k", "made", token), SET_STORED);
}
END_TEST

START_TEST(a_token_to_renew_early_goes_to_one_caller_of_all_replicas)
{
	struct space_options options = space_options_default();
	uint64_t token = 0, end = test_now_ms() + WAIT_MS;

	/* Every other get is early enough, and nothing ends before the test. */
	options.early = 1000;
	options.ttl_ms = 2 * WAIT_MS;
	space_configure(here.space, &options);
	space_configure(there.space, &options);
	while (token == 0) {
		struct get get = test_replica_get(&here, "k", true);
		ck_assert_uint_lt(test_now_ms(), end);
		if (get.outcome == GET_HIT) {
			token = get.token;
		} else if (get.token) {
			for (uint64_t until = test_now_ms() + 200; test_now_ms() < until;)
				test_pause();
			(void)test_replica_set(&here, "k", "value", get.token);
		}
	}
	ck_assert_int_eq(ask_redis("EXISTS", name_in_redis("lease", "k"), NULL), 1);
	ck_assert_int_eq(test_replica_set(&there, "k", "renewed", token), SET_STORED);
	await_value(&here, "k", "renewed");
}
END_TEST

/* ---- what the others are told ---- */

START_TEST(each_change_is_one_line_of_the_log_and_what_changed_nothing_is_none)
{
	static const enum op_kind KINDS[] = {OP_DELETE, OP_EXPIRE, OP_TAG, OP_PREFIX, OP_GLOB, OP_ALL};
	const char *log = arena_printf(&here.arena, "corbel:cache:{%02u}:log", fleet_shard_of("tenant", "space"));
	char name[64];

	snprintf(name, sizeof(name), "%s", log);
	int64_t lines = ask_redis("XLEN", name, NULL);
	ck_assert_int_eq(test_replica_set(&here, "k", "1", 0), SET_STORED);
	ck_assert_int_eq(ask_redis("XLEN", name, NULL), ++lines);
	ck_assert_int_eq(count_up(&here, "k", 0).incr.value, 2);
	ck_assert_int_eq(ask_redis("XLEN", name, NULL), ++lines);
	for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
		change(&here, KINDS[i], "k");
		ck_assert_int_eq(ask_redis("XLEN", name, NULL), ++lines);
	}
	struct op op = op_on(OP_RELEASE, "k");
	op.token = await_token(&here, "k");
	ck_assert(test_replica_do(&here, op, NULL).is_found);
	ck_assert_int_eq(ask_redis("XLEN", name, NULL), ++lines);
	ck_assert(!test_replica_do(&here, op, NULL).is_found);
	ck_assert_int_eq(test_replica_set(&here, "k", "late", op.token), SET_LEASE_LOST);
	ck_assert_int_eq(set_if(&here, "k", "late", 64).set.outcome, SET_VERSION_DIFFERS);
	ck_assert_int_eq(ask_redis("XLEN", name, NULL), lines);
}
END_TEST

/* ---- how long ---- */

START_TEST(an_entry_lasts_in_redis_as_long_as_its_graces_whatever_is_done_to_it)
{
	struct op touch = op_on(OP_TOUCH, "k");

	touch.ttl_ms = 600000;
	ck_assert_int_eq(test_replica_set(&here, "k", "1", 0), SET_STORED);
	/* Freshness may be a tenth longer. */
	ck_assert_int_gt(ask_redis("PTTL", name_in_redis("entry", "k"), NULL),
	                 TTL_MS / 10 * 9 + GRACE_MS - WAIT_MS);
	ck_assert(test_replica_do(&here, touch, NULL).is_found);
	assert_lasts("k", 600000 + GRACE_MS);
	ck_assert_int_eq(count_up(&here, "k", 0).incr.value, 2);
	assert_lasts("k", 600000 + GRACE_MS);
	ck_assert(change(&there, OP_EXPIRE, "k").is_found);
	assert_lasts("k", GRACE_MS);
	for (uint64_t end = test_now_ms() + WAIT_MS; test_replica_get(&here, "k", false).outcome != GET_STALE;)
		ck_assert_uint_lt(test_now_ms(), end);
	/* What is stale has its grace from when its freshness ended. */
	ck_assert(change(&there, OP_EXPIRE, "k").is_found);
	assert_lasts("k", GRACE_MS);
	ck_assert(!change(&there, OP_EXPIRE, "other").is_found);
}
END_TEST

START_TEST(counting_begins_anew_where_nothing_fresh_is)
{
	struct op none = {.kind = OP_SET,
	                  .set = {.key = "none",
	                          .key_length = 4,
	                          .is_negative = true,
	                          .ttl_ms = 600000,
	                          .grace_ms = ENGINE_DEFAULT_MS,
	                          .error_grace_ms = ENGINE_DEFAULT_MS}};

	ck_assert_int_eq(count_up(&here, "n", 4).incr.value, 5);
	ck_assert(change(&there, OP_EXPIRE, "n").is_found);
	ck_assert_int_eq(count_up(&here, "n", 100).incr.value, 101);
	ck_assert_int_eq(test_replica_do(&here, none, NULL).set.outcome, SET_STORED);
	ck_assert_int_eq(count_up(&there, "none", 100).incr.value, 101);
	await_value(&here, "none", "101");
	change(&here, OP_GLOB, "n*");
	ck_assert_int_eq(count_up(&there, "n", 7).incr.value, 8);
}
END_TEST

/* ---- what is compared ---- */

START_TEST(a_write_for_a_version_is_kept_only_over_that_version_wherever_it_is)
{
	struct op op = set_if(&here, "k", "one", 64);

	ck_assert_int_eq(op.set.outcome, SET_VERSION_DIFFERS);
	ck_assert_uint_eq(op.set.version, 0);
	op = set_if(&there, "k", "one", 0);
	ck_assert_int_eq(op.set.outcome, SET_STORED);
	uint64_t version = op.set.version;
	op = set_if(&here, "k", "two", 0);
	ck_assert_int_eq(op.set.outcome, SET_VERSION_DIFFERS);
	ck_assert_uint_eq(op.set.version, version);
	ck_assert_int_eq(set_if(&here, "k", "two", version).set.outcome, SET_STORED);
	ck_assert_int_eq(set_if(&there, "k", "three", version).set.outcome, SET_VERSION_DIFFERS);
	/* What was invalidated is not there. */
	static const struct {
		enum op_kind kind;
		const char *name;
	} ENDS[] = {{OP_DELETE, "k"}, {OP_PREFIX, "k"}, {OP_GLOB, "*k"}, {OP_ALL, ""}};
	for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
		ck_assert_int_eq(set_if(&here, "k", "again", 0).set.outcome, SET_VERSION_DIFFERS);
		change(&here, ENDS[i].kind, ENDS[i].name);
		ck_assert_int_eq(set_if(&there, "k", "made", 0).set.outcome, SET_STORED);
	}
}
END_TEST

/* ---- what is forgotten ---- */

START_TEST(beyond_the_bound_of_patterns_everything_older_is_old)
{
	char pattern[32];

	ck_assert_int_eq(test_replica_set(&here, "old", "value", 0), SET_STORED);
	for (unsigned i = 0; i < 1024; i++) {
		snprintf(pattern, sizeof(pattern), "nothing%u*", i);
		change(&here, OP_GLOB, pattern);
	}
	await_value(&there, "old", "value");
	change(&here, OP_GLOB, "one more*");
	await_miss(&here, "old");
	await_miss(&there, "old");
	struct op again = set_if(&there, "old", "new", 0);
	ck_assert_int_eq(again.set.outcome, SET_STORED);
	await_value(&here, "old", "new");
}
END_TEST

START_TEST(beyond_the_bound_of_tags_everything_older_is_old)
{
	char names[64], meta[64];

	snprintf(names, sizeof(names), "corbel:cache:{%02u}:names:tenant/space",
	         fleet_shard_of("tenant", "space"));
	snprintf(meta, sizeof(meta), "corbel:cache:{%02u}:meta:tenant/space", fleet_shard_of("tenant", "space"));
	change(&here, OP_TAG, "first");
	ck_assert_int_eq(
	    run_script("for i = 1, 65536 do redis.call('ZADD', KEYS[1], 1, 't' .. i) end return 1", names), 1);
	ck_assert_int_eq(ask_redis("HEXISTS", meta, "floor"), 0);
	/* The oldest leave; the first tag is among those that stay. */
	change(&here, OP_TAG, "second");
	ck_assert_int_eq(ask_redis("ZCARD", names, NULL), 61440);
	ck_assert_int_eq(ask_redis("HEXISTS", meta, "floor"), 1);
}
END_TEST

/* ---- when the log is another one ---- */

/* A failover to a Redis that has another change of the number that was followed last. */
START_TEST(what_was_in_memory_goes_when_the_end_of_the_log_is_another_after_a_lost_connection)
{
	static const char SWAP[] =
	    "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1] "
	    "redis.call('DEL', KEYS[1]) "
	    "redis.call('XADD', KEYS[1], last[1], 'k', 'D', 's', 'x/y', 'n', '', 'm', 'another') "
	    "return 1";
	char log[64];

	snprintf(log, sizeof(log), "corbel:cache:{%02u}:log", fleet_shard_of("tenant", "space"));
	ck_assert_int_eq(test_replica_set(&here, "k", "value", 0), SET_STORED);
	await_value(&there, "k", "value");
	ck_assert_int_eq(ask_redis("DEL", name_in_redis("entry", "k"), NULL), 1);
	ck_assert(test_replica_has(&there, "k", "value"));
	ck_assert_int_eq(run_script(SWAP, log), 1);
	test_redis_tell(server, "CLIENT KILL TYPE normal");
	await_miss(&there, "k");
	await_miss(&here, "k");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache scripts");
	TCase *tests = tcase_create("scripts");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 240);
	tcase_add_test(tests, a_write_and_a_count_take_the_token_from_who_fills);
	tcase_add_test(tests, an_invalidation_makes_place_for_a_holder_of_any_replica_that_can_still_fill);
	tcase_add_test(tests, a_token_of_a_replica_that_died_is_anothers_long_before_its_lease_ends);
	tcase_add_test(tests, each_change_is_one_line_of_the_log_and_what_changed_nothing_is_none);
	tcase_add_test(tests, a_replica_that_starts_later_gives_nothing_that_was_invalidated_and_may_fill_it);
	tcase_add_test(tests, only_who_has_a_token_gives_it_back);
	tcase_add_test(tests, a_token_to_renew_early_goes_to_one_caller_of_all_replicas);
	tcase_add_test(tests, an_entry_lasts_in_redis_as_long_as_its_graces_whatever_is_done_to_it);
	tcase_add_test(tests, counting_begins_anew_where_nothing_fresh_is);
	tcase_add_test(tests, a_write_for_a_version_is_kept_only_over_that_version_wherever_it_is);
	tcase_add_test(tests, beyond_the_bound_of_patterns_everything_older_is_old);
	tcase_add_test(tests, beyond_the_bound_of_tags_everything_older_is_old);
	tcase_add_test(tests, what_was_in_memory_goes_when_the_end_of_the_log_is_another_after_a_lost_connection);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
