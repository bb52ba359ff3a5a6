/*
 * engine: what callers of the cache see, with time and chance in the test's hands.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_space.h"

static struct test_space t;

static void
set_up(void)
{
	test_space_init(&t);
}

static void
tear_down(void)
{
	test_space_fini(&t);
}

/* ---- entries and their times ---- */

START_TEST(a_value_is_given_as_it_was_written_with_its_type_and_version)
{
	struct set set = test_set_of("k", "{\"a\":1}");

	set.content_type = "application/json";
	ck_assert_int_eq(test_set(t.space, set), SET_STORED);
	struct get get = test_look(&t, "k");
	ck_assert_int_eq(get.outcome, GET_HIT);
	test_assert_value(&get, "{\"a\":1}");
	ck_assert_str_eq(get.content_type, "application/json");
	ck_assert_uint_eq(get.version, 1);
	ck_assert_uint_eq(test_put(t.space, "k", ""), 2);
	get = test_look(&t, "k");
	ck_assert_int_eq(get.outcome, GET_HIT);
	ck_assert_uint_eq(get.value_length, 0);
	ck_assert_str_eq(get.content_type, "");
	ck_assert_int_eq(test_look(&t, "other").outcome, GET_MISS);
}
END_TEST

START_TEST(freshness_ends_within_ten_per_cent_of_the_ttl_and_not_always_at_the_same_time)
{
	int64_t least = INT64_MAX, most = 0;
	char key[32];

	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		struct set set = test_set_of(key, "v");
		set.ttl_ms = 10000;
		test_set(t.space, set);
		int64_t fresh_ms = test_look(&t, key).fresh_ms;
		least = fresh_ms < least ? fresh_ms : least;
		most = fresh_ms > most ? fresh_ms : most;
	}
	ck_assert_int_ge(least, 9000);
	ck_assert_int_le(most, 11000);
	ck_assert_int_lt(least, 9100);
	ck_assert_int_gt(most, 10900);
}
END_TEST

/* As late as a timer may be. */
static uint64_t
late_ns(const struct clock *clock)
{
	return clock_mono_ns(clock) - (CLOCK_COARSE_LAG_MS - 1) * UINT64_C(1000000);
}

START_TEST(an_entry_ends_to_the_millisecond_however_coarse_the_clock_is)
{
	t.clock.clock.coarse_ns = late_ns;
	test_put(t.space, "k", "v");
	ck_assert(engine_touch(t.space, "k", 1, 1000)); /* without jitter */
	fake_clock_advance_ms(&t.clock, 999);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_HIT);
	ck_assert_int_eq(test_look(&t, "k").fresh_ms, 1);
	fake_clock_advance_ms(&t.clock, 1);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_MISS);
	struct get get = test_get(&t, "missing", true, false);
	fake_clock_advance_ms(&t.clock, get.lease_ms - 1);
	ck_assert_uint_eq(test_get(&t, "missing", true, false).token, 0);
	fake_clock_advance_ms(&t.clock, 1);
	ck_assert_uint_ne(test_get(&t, "missing", true, false).token, 0);
}
END_TEST

START_TEST(a_stale_value_is_given_in_grace_and_later_only_to_who_says_that_the_origin_failed)
{
	test_space_configure(&t, 1000, 2000, 10000);
	test_put(t.space, "k", "v");
	fake_clock_advance_ms(&t.clock, 1200);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_STALE);
	fake_clock_advance_ms(&t.clock, 2000);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_MISS);
	struct get get = test_get(&t, "k", true, true);
	ck_assert_int_eq(get.outcome, GET_STALE);
	ck_assert_uint_eq(get.token, 0);
	test_assert_value(&get, "v");
	ck_assert_int_lt(get.fresh_ms, 0);
	ck_assert_uint_ge(get.age_ms, 3200);
	ck_assert_uint_le(get.age_ms, 3264);
	fake_clock_advance_ms(&t.clock, 10000);
	ck_assert_int_eq(test_get(&t, "k", true, true).outcome, GET_MISS);
}
END_TEST

START_TEST(expiring_leaves_the_graces_and_deleting_leaves_nothing)
{
	test_space_configure(&t, 60000, 2000, 10000);
	test_put(t.space, "k", "v");
	ck_assert(engine_expire(t.space, "k", 1));
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_STALE);
	fake_clock_advance_ms(&t.clock, 2500);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_MISS);
	ck_assert_int_eq(test_get(&t, "k", false, true).outcome, GET_STALE);
	ck_assert(engine_delete(t.space, "k", 1));
	ck_assert_int_eq(test_get(&t, "k", false, true).outcome, GET_MISS);
	ck_assert(!engine_delete(t.space, "k", 1));
	ck_assert(!engine_expire(t.space, "k", 1));
	/* What is stale has its graces from when its freshness ended, whoever expires it then. */
	test_put(t.space, "k", "v");
	ck_assert(engine_expire(t.space, "k", 1));
	fake_clock_advance_ms(&t.clock, 1500);
	ck_assert(engine_expire(t.space, "k", 1));
	fake_clock_advance_ms(&t.clock, 1000);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_MISS);
}
END_TEST

START_TEST(touching_makes_fresh_again_and_keeps_the_version)
{
	test_space_configure(&t, 1000, 5000, 0);
	uint64_t version = test_put(t.space, "k", "v");
	fake_clock_advance_ms(&t.clock, 2000);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_STALE);
	ck_assert(engine_touch(t.space, "k", 1, 3000));
	struct get get = test_look(&t, "k");
	ck_assert_int_eq(get.outcome, GET_HIT);
	ck_assert_int_eq(get.fresh_ms, 3000);
	ck_assert_uint_eq(get.version, version);
	ck_assert(!engine_touch(t.space, "other", 5, 3000));
	test_space_configure(&t, 1000, 0, 60000);
	test_put(t.space, "failing", "v");
	fake_clock_advance_ms(&t.clock, 2000);
	ck_assert_int_eq(test_get(&t, "failing", false, true).outcome, GET_STALE);
	ck_assert(!engine_touch(t.space, "failing", 7, 3000));
}
END_TEST

START_TEST(that_there_is_no_value_is_remembered_for_its_own_time_and_without_grace)
{
	test_space_configure(&t, 60000, 60000, 60000);
	struct set set = test_set_of("k", "ignored");
	set.is_negative = true;
	ck_assert_int_eq(test_set(t.space, set), SET_STORED);
	struct get get = test_get(&t, "k", true, false);
	ck_assert_int_eq(get.outcome, GET_NEGATIVE);
	ck_assert_ptr_null(get.value);
	ck_assert_uint_eq(get.token, 0);
	fake_clock_advance_ms(&t.clock, 11001);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_MISS);
	test_set(t.space, set);
	test_put(t.space, "k", "created");
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_HIT);
}
END_TEST

START_TEST(a_set_for_a_version_is_stored_only_over_that_version)
{
	struct set set = test_set_of("k", "v");

	set.has_if_version = true;
	set.if_version = 5;
	ck_assert_int_eq(test_set(t.space, set), SET_VERSION_DIFFERS);
	set.if_version = 0;
	ck_assert_int_eq(test_set(t.space, set), SET_STORED);
	engine_set(t.space, &set, 1);
	ck_assert_int_eq(set.outcome, SET_VERSION_DIFFERS);
	set.if_version = set.version;
	ck_assert_int_eq(test_set(t.space, set), SET_STORED);
}
END_TEST

static struct incr
count_up(const char *key, int64_t by, int64_t initial)
{
	struct incr incr = {
	    .key = key, .key_length = strlen(key), .by = by, .initial = initial, .ttl_ms = ENGINE_DEFAULT_MS};
	engine_incr(t.space, &incr);
	return incr;
}

START_TEST(counting_up_makes_keeps_and_refuses_as_it_should)
{
	ck_assert_int_eq(count_up("n", 5, 100).value, 105);
	ck_assert_int_eq(count_up("n", -205, 100).value, -100);
	struct get get = test_look(&t, "n");
	test_assert_value(&get, "-100");
	ck_assert_str_eq(get.content_type, "application/json");
	int64_t fresh_ms = get.fresh_ms;
	fake_clock_advance_ms(&t.clock, 1000);
	ck_assert_int_eq(count_up("n", INT64_MIN, 0).outcome, INCR_OVERFLOW);
	ck_assert_int_eq(count_up("n", 1, 0).outcome, INCR_DONE);
	ck_assert_int_eq(test_look(&t, "n").fresh_ms, fresh_ms - 1000);
	test_put(t.space, "text", "12a");
	ck_assert_int_eq(count_up("text", 1, 0).outcome, INCR_NOT_A_NUMBER);
	fake_clock_advance_ms(&t.clock, 2 * 3600000);
	ck_assert_int_eq(count_up("n", 1, 7).value, 8);
}
END_TEST

START_TEST(counting_begins_anew_where_nothing_fresh_is_and_ends_who_fills)
{
	struct set none = test_set_of("none", "");

	test_space_configure(&t, 1000, 60000, 60000);
	ck_assert_int_eq(count_up("n", 5, 0).value, 5);
	fake_clock_advance_ms(&t.clock, 2000);
	ck_assert_int_eq(test_look(&t, "n").outcome, GET_STALE);
	ck_assert_int_eq(count_up("n", 1, 100).value, 101);
	none.is_negative = true;
	ck_assert_int_eq(test_set(t.space, none), SET_STORED);
	ck_assert_int_eq(count_up("none", 1, 100).value, 101);
	uint64_t token = test_get(&t, "filled", true, false).token;
	ck_assert_int_eq(count_up("filled", 1, 0).value, 1);
	ck_assert_int_eq(test_fill(t.space, "filled", "9", token), SET_LEASE_LOST);
}
END_TEST

/* ---- invalidating ---- */

START_TEST(what_is_invalidated_is_not_given_in_any_grace_and_what_is_written_after_is)
{
	static const char *const tags[] = {"red", "blue"};
	uint64_t sequence;

	test_space_configure(&t, 60000, 60000, 60000);
	for (int way = 0; way < 4; way++) {
		struct set set = test_set_of("a/b/c", "old");
		set.tags = tags;
		set.tag_count = 2;
		test_set(t.space, set);
		test_put(t.space, "a/bb", "stays");
		if (way == 0)
			engine_invalidate_tag(t.space, "blue", 4);
		else if (way == 1)
			engine_invalidate_prefix(t.space, "a/b", 3);
		else if (way == 2)
			ck_assert_int_eq(engine_invalidate_glob(t.space, "*/c", 3, &sequence).code, STATUS_OK);
		else
			engine_invalidate_all(t.space);
		ck_assert_int_eq(test_get(&t, "a/b/c", false, true).outcome, GET_MISS);
		ck_assert_int_eq(test_look(&t, "a/bb").outcome, way == 3 ? GET_MISS : GET_HIT);
		test_set(t.space, set);
		ck_assert_int_eq(test_look(&t, "a/b/c").outcome, GET_HIT);
	}
	ck_assert_int_eq(engine_invalidate_glob(t.space, "x\\", 2, &sequence).code, STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(dead_entries_leave_with_time_and_their_invalidations_are_forgotten)
{
	struct space_stats stats;
	char key[32];
	uint64_t sequence;

	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "%s/%d", i % 2 ? "odd" : "even", i);
		test_put(t.space, key, "v");
	}
	engine_invalidate_prefix(t.space, "odd", 3);
	engine_invalidate_glob(t.space, "even/*2", 7, &sequence);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_eq(stats.entries, 5000);
	engine_tick(t.engine);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_eq(stats.entries, 2000);
	ck_assert_uint_eq(stats.evicted[EVICTED_INVALIDATED], 3000);
	fake_clock_advance_ms(&t.clock, 2 * 3600000);
	engine_tick(t.engine);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_eq(stats.entries, 0);
	ck_assert_uint_eq(stats.evicted[EVICTED_EXPIRED], 2000);
}
END_TEST

/* Every look at it takes 2 ms, so that upkeep gets no further than a part of the entries. */
struct slow_clock {
	struct clock clock; /* first */
	uint64_t *ns;
};

static uint64_t
read_slowly(const struct clock *clock)
{
	const struct slow_clock *slow = (const struct slow_clock *)clock;
	return *slow->ns += 2000000;
}

static struct engine *
slow_engine(struct slow_clock *slow, uint64_t *ns)
{
	*ns = UINT64_C(100000000000);
	*slow = (struct slow_clock){*clock_system(), ns};
	slow->clock.mono_ns = slow->clock.coarse_ns = read_slowly;
	struct engine *engine =
	    engine_new(&(struct engine_options){.bytes_max = 16 << 20, .clock = &slow->clock});
	ck_assert_int_eq(engine_space(engine, "tenant", "space", &t.space).code, STATUS_OK);
	return engine;
}

START_TEST(an_invalidation_that_comes_while_entries_are_looked_through_is_not_forgotten)
{
	static const char *const tags[] = {"red"};
	struct get get = {.key = "k0", .key_length = 2};
	struct slow_clock slow;
	uint64_t ns;
	struct engine *engine = slow_engine(&slow, &ns);

	struct set set = test_set_of("k0", "v");
	set.tags = tags;
	set.tag_count = 1;
	ck_assert_int_eq(test_set(t.space, set), SET_STORED);
	test_put_many(t.space, "other", 2000, 10);
	engine_tick(engine); /* is past k0 and not through */
	engine_invalidate_tag(t.space, "red", 3);
	for (int i = 0; i < 30; i++) {
		engine_tick(engine);
		engine_get(t.space, &get, 1, &t.arena, NULL);
		ck_assert_int_eq(get.outcome, GET_MISS);
	}
	ck_assert_uint_eq(test_entries(t.space), 2000);
	engine_free(engine);
}
END_TEST

/* Each of them is compared with each pattern, and others wait for the lock meanwhile. */
START_TEST(the_more_patterns_there_are_the_fewer_entries_are_looked_through_at_once)
{
	struct slow_clock slow;
	uint64_t ns, sequence;
	struct engine *engine = slow_engine(&slow, &ns);

	test_put_many(t.space, "k/", 1000, 10);
	for (int i = 0; i < 1024; i++)
		ck_assert_int_eq(engine_invalidate_glob(t.space, "*none*", 6, &sequence).code, STATUS_OK);
	engine_invalidate_prefix(t.space, "k", 1);
	engine_tick(engine);
	ck_assert_uint_lt(test_entries(t.space), 1000);
	ck_assert_uint_ge(test_entries(t.space), 1000 - 16);
	for (int i = 0; i < 1000 && test_entries(t.space) > 0; i++)
		engine_tick(engine);
	ck_assert_uint_eq(test_entries(t.space), 0);
	engine_free(engine);
}
END_TEST

START_TEST(a_space_that_was_dropped_begins_anew_with_higher_versions)
{
	test_space_configure(&t, 5000, 0, 0);
	uint64_t version = test_put(t.space, "k", "v");
	ck_assert(space_is_configured(t.space));
	engine_drop_space(t.space);
	ck_assert(!space_is_configured(t.space));
	ck_assert_uint_eq(space_options(t.space).ttl_ms, 3600000);
	ck_assert_int_eq(test_look(&t, "k").outcome, GET_MISS);
	ck_assert_uint_gt(test_put(t.space, "k", "v"), version);
}
END_TEST

/* ---- many at once, figures ---- */

START_TEST(many_keys_are_looked_up_at_once_and_what_has_no_room_is_said)
{
	struct get gets[200];
	char keys[200][24];
	struct arena tight;
	bool has_room;

	test_put_many(t.space, "", 100, 50);
	for (size_t i = 0; i < 200; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%zu", i);
		gets[i] = (struct get){.key = keys[i], .key_length = strlen(keys[i])};
	}
	engine_get(t.space, gets, 200, &t.arena, &has_room);
	ck_assert(has_room);
	for (size_t i = 0; i < 200; i++)
		ck_assert_int_eq(gets[i].outcome, i < 100 ? GET_HIT : GET_MISS);
	arena_init(&tight, 512, 1000);
	gets[0].may_fill = true;
	engine_get(t.space, gets, 200, &tight, &has_room);
	ck_assert(!has_room);
	ck_assert_int_eq(gets[0].outcome, GET_HIT);
	ck_assert_int_eq(gets[99].outcome, GET_MISS);
	ck_assert_uint_eq(gets[99].token, 0);
	arena_fini(&tight);
}
END_TEST

START_TEST(figures_say_what_happened)
{
	struct space_stats stats;
	struct hot_key hot[3];
	char key[32];

	test_space_configure(&t, 1000, 60000, 0);
	uint64_t token = test_get(&t, "k", true, false).token;
	test_fill(t.space, "k", "v", token);
	test_fill(t.space, "k", "v", token);
	for (int i = 0; i < 9; i++)
		test_look(&t, "k");
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "cold%d", i);
		test_look(&t, key);
	}
	fake_clock_advance_ms(&t.clock, 2000);
	test_look(&t, "k");
	engine_delete(t.space, "k", 1);
	engine_invalidate_all(t.space);
	engine_space_stats(t.space, &stats);
	ck_assert_uint_eq(stats.hits, 9);
	ck_assert_uint_eq(stats.misses, 501);
	ck_assert_uint_eq(stats.stale, 1);
	ck_assert_uint_eq(stats.leases, 1);
	ck_assert_uint_eq(stats.fills, 1);
	ck_assert_uint_eq(stats.refused, 1);
	ck_assert_uint_eq(stats.sets, 1);
	ck_assert_uint_eq(stats.deletes, 1);
	ck_assert_uint_eq(stats.invalidations, 1);
	ck_assert_uint_eq(engine_hot_keys(t.space, hot, 3, &t.arena), 3);
	ck_assert_str_eq(hot[0].key, "k");
	ck_assert_uint_ge(hot[0].gets, 11);
	ck_assert_uint_le(hot[0].gets - hot[0].error, 11);
}
END_TEST

struct kept {
	struct space *to;
	unsigned count;
};

static void
keep(void *arg, const struct kept_entry *entry)
{
	struct kept *kept = arg;
	struct set set = entry->set;

	engine_set(kept->to, &set, 1);
	kept->count++;
}

START_TEST(entries_that_were_kept_can_be_put_back_with_their_tags)
{
	static const char *const tags[] = {"red"};
	struct engine *next =
	    engine_new(&(struct engine_options){.bytes_max = 16 << 20, .clock = &t.clock.clock});
	struct kept kept = {0};
	uint64_t cursor = 0;

	engine_space(next, "tenant", "space", &kept.to);
	test_put_many(t.space, "k", 1000, 10);
	struct set set = test_set_of("tagged", "v");
	set.tags = tags;
	set.tag_count = 1;
	set.content_type = "text/plain";
	test_set(t.space, set);
	while (engine_each_entry(t.space, &cursor, 100, keep, &kept))
		;
	ck_assert_uint_eq(kept.count, 1001);
	ck_assert_uint_eq(test_entries(kept.to), 1001);
	t.space = kept.to;
	struct get get = test_look(&t, "tagged");
	ck_assert_int_eq(get.outcome, GET_HIT);
	ck_assert_str_eq(get.content_type, "text/plain");
	engine_invalidate_tag(t.space, "red", 3);
	ck_assert_int_eq(test_look(&t, "tagged").outcome, GET_MISS);
	ck_assert_int_eq(test_look(&t, "k1").outcome, GET_HIT);
	engine_free(next);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache engine");
	TCase *tests = tcase_create("engine");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_value_is_given_as_it_was_written_with_its_type_and_version);
	tcase_add_test(tests, freshness_ends_within_ten_per_cent_of_the_ttl_and_not_always_at_the_same_time);
	tcase_add_test(tests, an_entry_ends_to_the_millisecond_however_coarse_the_clock_is);
	tcase_add_test(tests, a_stale_value_is_given_in_grace_and_later_only_to_who_says_that_the_origin_failed);
	tcase_add_test(tests, expiring_leaves_the_graces_and_deleting_leaves_nothing);
	tcase_add_test(tests, touching_makes_fresh_again_and_keeps_the_version);
	tcase_add_test(tests, that_there_is_no_value_is_remembered_for_its_own_time_and_without_grace);
	tcase_add_test(tests, a_set_for_a_version_is_stored_only_over_that_version);
	tcase_add_test(tests, counting_up_makes_keeps_and_refuses_as_it_should);
	tcase_add_test(tests, counting_begins_anew_where_nothing_fresh_is_and_ends_who_fills);
	tcase_add_test(tests, an_invalidation_that_comes_while_entries_are_looked_through_is_not_forgotten);
	tcase_add_test(tests, what_is_invalidated_is_not_given_in_any_grace_and_what_is_written_after_is);
	tcase_add_test(tests, dead_entries_leave_with_time_and_their_invalidations_are_forgotten);
	tcase_add_test(tests, the_more_patterns_there_are_the_fewer_entries_are_looked_through_at_once);
	tcase_add_test(tests, a_space_that_was_dropped_begins_anew_with_higher_versions);
	tcase_add_test(tests, many_keys_are_looked_up_at_once_and_what_has_no_room_is_said);
	tcase_add_test(tests, figures_say_what_happened);
	tcase_add_test(tests, entries_that_were_kept_can_be_put_back_with_their_tags);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
