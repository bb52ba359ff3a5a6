/*
 * engine: what callers of the cache see, with time and chance in the test's hands.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "cached/engine.h"
#include "cached/eviction.h"

static struct fake_clock fake;
static struct seeded_random seeded;
static struct engine *engine;
static struct space *space;
static struct arena arena;

static void
set_up(void)
{
	fake_clock_init(&fake, 1000000000000);
	seeded_random_init(&seeded, 9);
	arena_init(&arena, 4096, 1 << 20);
	engine = engine_new(
	    &(struct engine_options){.bytes_max = 64 << 20, .clock = &fake.clock, .random = &seeded.random});
	ck_assert_int_eq(engine_space(engine, "tenant", "space", &space).code, STATUS_OK);
}

static void
tear_down(void)
{
	engine_free(engine);
	arena_fini(&arena);
}

static struct set
set_of(const char *key, const char *value)
{
	return (struct set){.key = key,
	                    .key_length = strlen(key),
	                    .value = value,
	                    .value_length = strlen(value),
	                    .ttl_ms = ENGINE_DEFAULT_MS,
	                    .grace_ms = ENGINE_DEFAULT_MS,
	                    .error_grace_ms = ENGINE_DEFAULT_MS};
}

static enum set_outcome
put_with(struct set set)
{
	engine_set(space, &set, 1);
	return set.outcome;
}

static uint64_t
put(const char *key, const char *value)
{
	struct set set = set_of(key, value);
	engine_set(space, &set, 1);
	ck_assert_int_eq(set.outcome, SET_STORED);
	return set.version;
}

static struct get
get_with(const char *key, bool may_fill, bool has_failed)
{
	struct get get = {.key = key, .key_length = strlen(key), .may_fill = may_fill, .has_failed = has_failed};
	engine_get(space, &get, 1, &arena, NULL);
	return get;
}

static struct get
look(const char *key)
{
	return get_with(key, false, false);
}

static void
assert_value(const struct get *get, const char *value)
{
	ck_assert_uint_eq(get->value_length, strlen(value));
	ck_assert_mem_eq(get->value, value, strlen(value));
}

static void
configure(uint64_t ttl_ms, uint64_t grace_ms, uint64_t error_grace_ms)
{
	struct space_options options = space_options_default();

	options.ttl_ms = ttl_ms;
	options.grace_ms = grace_ms;
	options.error_grace_ms = error_grace_ms;
	options.early = 0;
	space_configure(space, &options);
}

/* ---- entries and their times ---- */

START_TEST(a_value_is_given_as_it_was_written_with_its_type_and_version)
{
	struct set set = set_of("k", "{\"a\":1}");

	set.content_type = "application/json";
	ck_assert_int_eq(put_with(set), SET_STORED);
	struct get get = look("k");
	ck_assert_int_eq(get.outcome, GET_HIT);
	assert_value(&get, "{\"a\":1}");
	ck_assert_str_eq(get.content_type, "application/json");
	ck_assert_uint_eq(get.version, 1);
	ck_assert_uint_eq(put("k", ""), 2);
	get = look("k");
	ck_assert_int_eq(get.outcome, GET_HIT);
	ck_assert_uint_eq(get.value_length, 0);
	ck_assert_str_eq(get.content_type, "");
	ck_assert_int_eq(look("other").outcome, GET_MISS);
}
END_TEST

START_TEST(freshness_ends_within_ten_per_cent_of_the_ttl_and_not_always_at_the_same_time)
{
	int64_t least = INT64_MAX, most = 0;
	char key[32];

	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		struct set set = set_of(key, "v");
		set.ttl_ms = 10000;
		put_with(set);
		int64_t fresh_ms = look(key).fresh_ms;
		least = fresh_ms < least ? fresh_ms : least;
		most = fresh_ms > most ? fresh_ms : most;
	}
	ck_assert_int_ge(least, 9000);
	ck_assert_int_le(most, 11000);
	ck_assert_int_lt(least, 9100);
	ck_assert_int_gt(most, 10900);
}
END_TEST

START_TEST(a_stale_value_is_given_in_grace_and_later_only_to_who_says_that_the_origin_failed)
{
	configure(1000, 2000, 10000);
	put("k", "v");
	fake_clock_advance_ms(&fake, 1200);
	ck_assert_int_eq(look("k").outcome, GET_STALE);
	fake_clock_advance_ms(&fake, 2000);
	ck_assert_int_eq(look("k").outcome, GET_MISS);
	struct get get = get_with("k", true, true);
	ck_assert_int_eq(get.outcome, GET_STALE);
	ck_assert_uint_eq(get.token, 0);
	assert_value(&get, "v");
	ck_assert_int_lt(get.fresh_ms, 0);
	ck_assert_uint_ge(get.age_ms, 3200);
	ck_assert_uint_le(get.age_ms, 3264);
	fake_clock_advance_ms(&fake, 10000);
	ck_assert_int_eq(get_with("k", true, true).outcome, GET_MISS);
}
END_TEST

START_TEST(expiring_leaves_the_graces_and_deleting_leaves_nothing)
{
	configure(60000, 2000, 10000);
	put("k", "v");
	ck_assert(engine_expire(space, "k", 1));
	ck_assert_int_eq(look("k").outcome, GET_STALE);
	fake_clock_advance_ms(&fake, 2500);
	ck_assert_int_eq(look("k").outcome, GET_MISS);
	ck_assert_int_eq(get_with("k", false, true).outcome, GET_STALE);
	ck_assert(engine_delete(space, "k", 1));
	ck_assert_int_eq(get_with("k", false, true).outcome, GET_MISS);
	ck_assert(!engine_delete(space, "k", 1));
	ck_assert(!engine_expire(space, "k", 1));
}
END_TEST

START_TEST(touching_makes_fresh_again_and_keeps_the_version)
{
	configure(1000, 5000, 0);
	uint64_t version = put("k", "v");
	fake_clock_advance_ms(&fake, 2000);
	ck_assert_int_eq(look("k").outcome, GET_STALE);
	ck_assert(engine_touch(space, "k", 1, 3000));
	struct get get = look("k");
	ck_assert_int_eq(get.outcome, GET_HIT);
	ck_assert_int_eq(get.fresh_ms, 3000);
	ck_assert_uint_eq(get.version, version);
	ck_assert(!engine_touch(space, "other", 5, 3000));
}
END_TEST

START_TEST(that_there_is_no_value_is_remembered_for_its_own_time_and_without_grace)
{
	configure(60000, 60000, 60000);
	struct set set = set_of("k", "ignored");
	set.is_negative = true;
	ck_assert_int_eq(put_with(set), SET_STORED);
	struct get get = get_with("k", true, false);
	ck_assert_int_eq(get.outcome, GET_NEGATIVE);
	ck_assert_ptr_null(get.value);
	ck_assert_uint_eq(get.token, 0);
	fake_clock_advance_ms(&fake, 11001);
	ck_assert_int_eq(look("k").outcome, GET_MISS);
	put_with(set);
	put("k", "created");
	ck_assert_int_eq(look("k").outcome, GET_HIT);
}
END_TEST

START_TEST(a_set_for_a_version_is_stored_only_over_that_version)
{
	struct set set = set_of("k", "v");

	set.has_if_version = true;
	set.if_version = 5;
	ck_assert_int_eq(put_with(set), SET_VERSION_DIFFERS);
	set.if_version = 0;
	ck_assert_int_eq(put_with(set), SET_STORED);
	engine_set(space, &set, 1);
	ck_assert_int_eq(set.outcome, SET_VERSION_DIFFERS);
	set.if_version = set.version;
	ck_assert_int_eq(put_with(set), SET_STORED);
}
END_TEST

static struct incr
count_up(const char *key, int64_t by, int64_t initial)
{
	struct incr incr = {
	    .key = key, .key_length = strlen(key), .by = by, .initial = initial, .ttl_ms = ENGINE_DEFAULT_MS};
	engine_incr(space, &incr);
	return incr;
}

START_TEST(counting_up_makes_keeps_and_refuses_as_it_should)
{
	ck_assert_int_eq(count_up("n", 5, 100).value, 105);
	ck_assert_int_eq(count_up("n", -205, 100).value, -100);
	struct get get = look("n");
	assert_value(&get, "-100");
	ck_assert_str_eq(get.content_type, "application/json");
	int64_t fresh_ms = get.fresh_ms;
	fake_clock_advance_ms(&fake, 1000);
	ck_assert_int_eq(count_up("n", INT64_MIN, 0).outcome, INCR_OVERFLOW);
	ck_assert_int_eq(count_up("n", 1, 0).outcome, INCR_DONE);
	ck_assert_int_eq(look("n").fresh_ms, fresh_ms - 1000);
	put("text", "12a");
	ck_assert_int_eq(count_up("text", 1, 0).outcome, INCR_NOT_A_NUMBER);
	fake_clock_advance_ms(&fake, 2 * 3600000);
	ck_assert_int_eq(count_up("n", 1, 7).value, 8);
}
END_TEST

/* ---- invalidating ---- */

START_TEST(what_is_invalidated_is_not_given_in_any_grace_and_what_is_written_after_is)
{
	static const char *const tags[] = {"red", "blue"};
	uint64_t sequence;

	configure(60000, 60000, 60000);
	for (int way = 0; way < 4; way++) {
		struct set set = set_of("a/b/c", "old");
		set.tags = tags;
		set.tag_count = 2;
		put_with(set);
		put("a/bb", "stays");
		if (way == 0)
			engine_invalidate_tag(space, "blue", 4);
		else if (way == 1)
			engine_invalidate_prefix(space, "a/b", 3);
		else if (way == 2)
			ck_assert_int_eq(engine_invalidate_glob(space, "*/c", 3, &sequence).code, STATUS_OK);
		else
			engine_invalidate_all(space);
		ck_assert_int_eq(get_with("a/b/c", false, true).outcome, GET_MISS);
		ck_assert_int_eq(look("a/bb").outcome, way == 3 ? GET_MISS : GET_HIT);
		put_with(set);
		ck_assert_int_eq(look("a/b/c").outcome, GET_HIT);
	}
	ck_assert_int_eq(engine_invalidate_glob(space, "x\\", 2, &sequence).code, STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(dead_entries_leave_with_time_and_their_invalidations_are_forgotten)
{
	struct space_stats stats;
	char key[32];
	uint64_t sequence;

	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "%s/%d", i % 2 ? "odd" : "even", i);
		put(key, "v");
	}
	engine_invalidate_prefix(space, "odd", 3);
	engine_invalidate_glob(space, "even/*2", 7, &sequence);
	engine_space_stats(space, &stats);
	ck_assert_uint_eq(stats.entries, 5000);
	engine_tick(engine);
	engine_space_stats(space, &stats);
	ck_assert_uint_eq(stats.entries, 2000);
	ck_assert_uint_eq(stats.evicted[EVICTED_INVALIDATED], 3000);
	fake_clock_advance_ms(&fake, 2 * 3600000);
	engine_tick(engine);
	engine_space_stats(space, &stats);
	ck_assert_uint_eq(stats.entries, 0);
	ck_assert_uint_eq(stats.evicted[EVICTED_EXPIRED], 2000);
}
END_TEST

START_TEST(a_space_that_was_dropped_begins_anew_with_higher_versions)
{
	configure(5000, 0, 0);
	uint64_t version = put("k", "v");
	ck_assert(space_is_configured(space));
	engine_drop_space(space);
	ck_assert(!space_is_configured(space));
	ck_assert_uint_eq(space_options(space).ttl_ms, 3600000);
	ck_assert_int_eq(look("k").outcome, GET_MISS);
	ck_assert_uint_gt(put("k", "v"), version);
}
END_TEST

START_TEST(tenants_and_spaces_of_one_name_are_apart_and_their_number_is_bounded)
{
	struct engine_options options = {.bytes_max = 1 << 20, .spaces_max = 3};
	struct engine *small = engine_new(&options);
	struct space *a, *b, *other;
	char name[16];

	ck_assert_int_eq(engine_space(small, "a", "s", &a).code, STATUS_OK);
	ck_assert_int_eq(engine_space(small, "b", "s", &b).code, STATUS_OK);
	ck_assert_ptr_ne(a, b);
	ck_assert_int_eq(engine_space(small, "a", "s", &other).code, STATUS_OK);
	ck_assert_ptr_eq(a, other);
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		ck_assert_int_eq(engine_space(small, "a", name, &other).code, STATUS_OK);
	}
	ck_assert_int_eq(engine_space(small, "a", "more", &other).code, STATUS_RESOURCE_EXHAUSTED);
	ck_assert_ptr_null(engine_find_space(small, "a", "more"));
	ck_assert_int_eq(engine_space(small, "b", "more", &other).code, STATUS_OK);
	engine_free(small);
}
END_TEST

/* What spaces take by themselves cannot be evicted. */
START_TEST(no_tenant_fills_the_memory_with_namespaces_alone)
{
	struct engine *small = engine_new(&(struct engine_options){.bytes_max = 8 << 20});
	struct space *other;
	char name[32];
	unsigned made = 0;

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		if (engine_space(small, "many", name, &other).code != STATUS_OK)
			continue;
		made++;
		struct set set = set_of("k", "v");
		engine_set(other, &set, 1);
	}
	engine_tick(small);
	ck_assert_uint_ge(made, 100);
	ck_assert_uint_le(engine_bytes(small), 3 << 20);
	ck_assert_int_eq(engine_space(small, "another", "s", &other).code, STATUS_OK);
	struct set set = set_of("k", "v");
	engine_set(other, &set, 1);
	ck_assert_int_eq(set.outcome, SET_STORED);
	engine_free(small);
}
END_TEST

/* ---- leases ---- */

struct listener {
	struct engine_waiter waiter; /* first */
	int woken;
};

static void
note_wake(struct engine_waiter *waiter)
{
	((struct listener *)waiter)->woken++;
}

static enum set_outcome
fill(const char *key, const char *value, uint64_t token)
{
	struct set set = set_of(key, value);
	set.token = token;
	return put_with(set);
}

START_TEST(a_miss_hands_one_caller_the_token_and_its_fill_wakes_the_others)
{
	struct listener listeners[3] = {
	    {.waiter.wake = note_wake}, {.waiter.wake = note_wake}, {.waiter.wake = note_wake}};
	struct get first = get_with("k", true, false), second = get_with("k", true, false);

	ck_assert_uint_ne(first.token, 0);
	ck_assert_uint_eq(first.lease_ms, 10000);
	ck_assert_uint_eq(second.token, 0);
	ck_assert(second.is_filling);
	ck_assert(!look("k").is_filling);
	for (int i = 0; i < 3; i++)
		ck_assert(engine_wait(space, "k", 1, &listeners[i].waiter));
	ck_assert(engine_wait_end(space, &listeners[1].waiter));
	ck_assert_int_eq(fill("k", "v", first.token), SET_STORED);
	ck_assert_int_eq(listeners[0].woken + listeners[2].woken, 2);
	ck_assert_int_eq(listeners[1].woken, 0);
	ck_assert(!engine_wait_end(space, &listeners[0].waiter));
	ck_assert(!engine_wait(space, "k", 1, &listeners[0].waiter));
	ck_assert_int_eq(get_with("k", true, false).outcome, GET_HIT);
}
END_TEST

START_TEST(whatever_is_newer_destroys_the_token)
{
	static const char *const tags[] = {"red"};
	uint64_t sequence;

	for (int way = 0; way < 9; way++) {
		engine_delete(space, "a/k", 3);
		uint64_t token = get_with("a/k", true, false).token;
		ck_assert_uint_ne(token, 0);
		bool is_newer = true;
		switch (way) {
		case 0:
			put("a/k", "newer");
			break;
		case 1:
			engine_delete(space, "a/k", 3);
			break;
		case 2:
			engine_expire(space, "a/k", 3);
			break;
		case 3:
			engine_invalidate_tag(space, "red", 3);
			break;
		case 4:
			engine_invalidate_prefix(space, "a", 1);
			break;
		case 5:
			engine_invalidate_glob(space, "?/*", 3, &sequence);
			break;
		case 6:
			engine_invalidate_all(space);
			break;
		default: /* what does not touch the key */
			engine_invalidate_tag(space, "blue", 4);
			engine_invalidate_prefix(space, "b", 1);
			put("other", "v");
			engine_tick(engine);
			is_newer = false;
		}
		struct set set = set_of("a/k", "late");
		set.token = token;
		set.tags = tags;
		set.tag_count = 1;
		ck_assert_msg((put_with(set) == SET_LEASE_LOST) == is_newer, "way %d", way);
		if (is_newer)
			ck_assert_int_eq(put_with(set), SET_LEASE_LOST);
		struct get get = look("a/k");
		ck_assert_int_eq(get.outcome, way == 0 || !is_newer ? GET_HIT : GET_MISS);
	}
}
END_TEST

START_TEST(a_holder_that_dies_loses_its_lease_in_time_and_its_waiters_hear_of_it)
{
	struct listener listener = {.waiter.wake = note_wake};
	uint64_t token = get_with("k", true, false).token;

	ck_assert(engine_wait(space, "k", 1, &listener.waiter));
	fake_clock_advance_ms(&fake, 9999);
	engine_tick(engine);
	ck_assert_int_eq(listener.woken, 0);
	ck_assert(get_with("k", true, false).is_filling);
	fake_clock_advance_ms(&fake, 1);
	engine_tick(engine);
	ck_assert_int_eq(listener.woken, 1);
	struct get next = get_with("k", true, false);
	ck_assert_uint_ne(next.token, 0);
	ck_assert_uint_ne(next.token, token);
	ck_assert_int_eq(fill("k", "late", token), SET_LEASE_LOST);
	ck_assert_int_eq(fill("k", "v", next.token), SET_STORED);
}
END_TEST

START_TEST(a_token_that_is_given_back_goes_to_the_next_caller_at_once)
{
	struct listener listener = {.waiter.wake = note_wake};
	uint64_t token = get_with("k", true, false).token;

	ck_assert(engine_wait(space, "k", 1, &listener.waiter));
	ck_assert(!engine_release(space, "k", 1, token + 1));
	ck_assert(engine_release(space, "k", 1, token));
	ck_assert_int_eq(listener.woken, 1);
	ck_assert(!engine_release(space, "k", 1, token));
	ck_assert_uint_ne(get_with("k", true, false).token, 0);
}
END_TEST

START_TEST(an_invalidation_makes_place_for_a_holder_that_can_still_fill)
{
	struct listener listener = {.waiter.wake = note_wake};
	uint64_t token = get_with("a/k", true, false).token;

	ck_assert(engine_wait(space, "a/k", 3, &listener.waiter));
	engine_invalidate_prefix(space, "a", 1);
	struct get next = get_with("a/k", true, false);
	ck_assert_uint_ne(next.token, 0);
	ck_assert_int_eq(listener.woken, 1);
	ck_assert_int_eq(fill("a/k", "old", token), SET_LEASE_LOST);
	ck_assert_int_eq(fill("a/k", "new", next.token), SET_STORED);
}
END_TEST

START_TEST(in_grace_one_caller_renews_and_the_others_take_what_there_is)
{
	configure(1000, 60000, 0);
	put("k", "old");
	fake_clock_advance_ms(&fake, 2000);
	struct get first = get_with("k", true, false), second = get_with("k", true, false);
	ck_assert_int_eq(first.outcome, GET_STALE);
	ck_assert_uint_ne(first.token, 0);
	ck_assert_int_eq(second.outcome, GET_STALE);
	ck_assert_uint_eq(second.token, 0);
	ck_assert(second.is_filling);
	ck_assert_int_eq(fill("k", "new", first.token), SET_STORED);
	second = get_with("k", true, false);
	ck_assert_int_eq(second.outcome, GET_HIT);
	assert_value(&second, "new");
}
END_TEST

/* XFetch: the probability that a value that took d to make is renewed with t left is exp(-t / d). */
START_TEST(a_value_that_took_long_to_make_is_renewed_before_its_end_by_one_caller)
{
	unsigned early[3] = {0};
	char key[32];

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		uint64_t token = get_with(key, true, false).token;
		fake_clock_advance_ms(&fake, 1000); /* d */
		ck_assert_int_eq(fill(key, "v", token), SET_STORED);
		engine_touch(space, key, strlen(key), 60000);
		fake_clock_advance_ms(&fake, 57000);
		for (unsigned left = 0; left < 3; left++, fake_clock_advance_ms(&fake, 1000)) {
			struct get get = get_with(key, true, false);
			ck_assert_int_eq(get.outcome, GET_HIT);
			early[left] += get.token != 0;
			if (get.token)
				ck_assert(engine_release(space, key, strlen(key), get.token));
		}
	}
	ck_assert_uint_ge(early[0], 60); /* exp(-3) of 2000: 100 */
	ck_assert_uint_le(early[0], 150);
	ck_assert_uint_ge(early[2], 650); /* exp(-1) of 2000: 736 */
	ck_assert_uint_le(early[2], 820);
	ck_assert_uint_gt(early[1], early[0]);
}
END_TEST

/* ---- room ---- */

static uint64_t
entries_of(struct space *of)
{
	struct space_stats stats;
	engine_space_stats(of, &stats);
	return stats.entries;
}

static void
put_many(struct space *to, const char *prefix, unsigned count, size_t length)
{
	char *value = calloc(1, length + 1), key[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s%u", prefix, i);
		struct set set = set_of(key, "");
		set.value = value;
		set.value_length = length;
		engine_set(to, &set, 1);
		ck_assert_int_ne(set.outcome, SET_LEASE_LOST);
	}
	free(value);
}

START_TEST(bytes_never_exceed_the_bound_whatever_the_sizes)
{
	const uint64_t bytes_max = 4 << 20;
	struct engine *small = engine_new(
	    &(struct engine_options){.bytes_max = bytes_max, .clock = &fake.clock, .random = &seeded.random});
	struct space *spaces[3];
	char name[16], key[32];
	char *value = calloc(1, 400000);

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		engine_space(small, i ? "one" : "two", name, &spaces[i]);
	}
	for (unsigned i = 0; i < 60000; i++) {
		snprintf(key, sizeof(key), "%u", (unsigned)random_below(&seeded.random, 20000));
		struct set set = set_of(key, "");
		set.value = value;
		/* Phases of small and of large ones, and some that are too large. */
		set.value_length = (size_t)random_below(&seeded.random, i / 6000 % 2 ? 16u : 300000u >> i % 13);
		engine_set(spaces[i % 3], &set, 1);
		ck_assert_int_eq(set.outcome, set.value_length > 257900 ? SET_TOO_LARGE : SET_STORED);
		ck_assert_uint_le(engine_bytes(small), bytes_max);
		if (i % 500 == 0)
			engine_tick(small);
		ck_assert_uint_le(engine_bytes(small), bytes_max);
	}
	ck_assert_uint_gt(engine_bytes(small), bytes_max / 10 * 9);
	engine_free(small);
	free(value);
}
END_TEST

START_TEST(an_entry_that_is_too_large_is_refused_and_takes_the_old_value_with_it)
{
	char *value = calloc(1, 5 << 20);
	struct set set = set_of("k", "");
	struct space_options options = space_options_default();

	put("k", "old");
	set.value = value;
	set.value_length = 5 << 20;
	ck_assert_int_eq(put_with(set), SET_TOO_LARGE);
	ck_assert_int_eq(look("k").outcome, GET_MISS);
	set.value_length = 1 << 20;
	ck_assert_int_eq(put_with(set), SET_STORED);
	options.value_max = 100;
	space_configure(space, &options);
	ck_assert_int_eq(put_with(set), SET_TOO_LARGE);
	set.value_length = 100;
	ck_assert_int_eq(put_with(set), SET_STORED);
	free(value);
}
END_TEST

START_TEST(a_space_keeps_to_its_own_bounds)
{
	struct space_options options = space_options_default();
	struct space_stats stats;

	options.entries_max = 100;
	space_configure(space, &options);
	put_many(space, "k", 1000, 10);
	ck_assert_uint_eq(entries_of(space), 100);
	options.entries_max = 0;
	options.bytes_max = 20000;
	space_configure(space, &options);
	put_many(space, "k", 1000, 100);
	engine_space_stats(space, &stats);
	ck_assert_uint_le(stats.bytes, 20000);
	ck_assert_uint_gt(stats.bytes, 19000);
	options.bytes_max = 5000;
	space_configure(space, &options);
	engine_space_stats(space, &stats);
	ck_assert_uint_le(stats.bytes, 5000);
	ck_assert_uint_gt(stats.evicted[EVICTED_FOR_SPACE], 1900);
}
END_TEST

static void
put_negatives(const char *prefix, unsigned count)
{
	char key[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s%u", prefix, i);
		struct set set = set_of(key, "");
		set.is_negative = true;
		ck_assert_int_eq(put_with(set), SET_STORED);
		ck_assert_int_eq(look(key).outcome, GET_NEGATIVE);
	}
}

START_TEST(that_there_is_no_value_takes_a_tenth_of_the_entries_at_most)
{
	struct space_options options = space_options_default();
	struct space_stats stats;

	options.entries_max = 1000;
	space_configure(space, &options);
	put_many(space, "k", 900, 10);
	put_negatives("none", 5000);
	engine_space_stats(space, &stats);
	ck_assert_uint_eq(stats.negative_entries, 100);
	ck_assert_uint_eq(stats.entries, 1000);
	put("none4999", "created");
	engine_space_stats(space, &stats);
	ck_assert_uint_eq(stats.negative_entries, 99);
	engine_invalidate_all(space);
	for (unsigned i = 0; i < 20; i++)
		engine_tick(engine);
	engine_space_stats(space, &stats);
	ck_assert_uint_eq(stats.negative_entries, 0);
	ck_assert_uint_eq(stats.negative_bytes, 0);
}
END_TEST

START_TEST(that_there_is_no_value_takes_a_tenth_of_the_bytes_at_most)
{
	struct space_options options = space_options_default();
	struct space_stats stats;

	options.bytes_max = 100000;
	space_configure(space, &options);
	put_many(space, "k", 200, 100);
	put_negatives("none", 2000);
	engine_space_stats(space, &stats);
	ck_assert_uint_gt(stats.negative_bytes, 9000);
	ck_assert_uint_le(stats.negative_bytes, 10000);
	ck_assert_uint_eq(stats.entries, 200 + stats.negative_entries);
	/* Where a tenth is less than one, one has its place. */
	options.bytes_max = 1000;
	space_configure(space, &options);
	put_negatives("none", 10);
	engine_space_stats(space, &stats);
	ck_assert_uint_eq(stats.negative_entries, 1);
}
END_TEST

START_TEST(a_tenant_keeps_to_its_quota_and_cannot_push_out_anothers_share)
{
	struct engine *small = engine_new(
	    &(struct engine_options){.bytes_max = 4 << 20, .clock = &fake.clock, .random = &seeded.random});
	struct space *meek, *greedy;
	struct tenant_stats stats;

	engine_space(small, "meek", "s", &meek);
	engine_space(small, "greedy", "s", &greedy);
	put_many(meek, "m", 5000, 100);
	uint64_t kept = entries_of(meek);
	ck_assert_uint_eq(kept, 5000);
	put_many(greedy, "g", 100000, 100);
	ck_assert_uint_eq(entries_of(meek), kept);
	ck_assert_uint_gt(entries_of(greedy), 8000);
	/* Above its share, it loses to who is below. */
	put_many(meek, "m", 100000, 100);
	engine_tenant_stats(small, "meek", &stats);
	ck_assert_uint_gt(stats.bytes, 1900000);
	ck_assert_uint_lt(stats.bytes, 2300000);
	engine_set_quota(small, "greedy", &(struct tenant_quota){.weight = 3});
	put_many(greedy, "h", 100000, 100);
	engine_tenant_stats(small, "meek", &stats);
	ck_assert_uint_lt(stats.bytes, 1200000);
	engine_set_quota(small, "greedy", &(struct tenant_quota){.bytes_max = 500000, .entries_max = 1000});
	engine_tick(small);
	engine_tenant_stats(small, "greedy", &stats);
	ck_assert_uint_le(stats.bytes, 500000);
	ck_assert_uint_le(stats.entries, 1000);
	put_many(greedy, "i", 5000, 10);
	engine_tenant_stats(small, "greedy", &stats);
	ck_assert_uint_le(stats.entries, 1000);
	engine_free(small);
}
END_TEST

/* Gets of keys that are put in when they miss, in a space of a thousand entries. */
static double
hit_ratio(uint32_t (*draw_key)(uint32_t i), uint32_t gets)
{
	struct space_options options = space_options_default();
	uint32_t hits = 0;
	char key[32];

	options.entries_max = 1000;
	space_configure(space, &options);
	for (uint32_t i = 0; i < gets; i++) {
		snprintf(key, sizeof(key), "key%u", draw_key(i));
		arena_reset(&arena);
		if (look(key).outcome == GET_HIT)
			hits++;
		else
			put(key, "value");
	}
	return (double)hits / gets;
}

#define DRAWN 60000u

/* The same, of the eviction by itself. */
static double
hit_ratio_of_eviction(uint32_t (*draw_key)(uint32_t i), uint32_t gets)
{
	struct eviction *eviction = eviction_new(1000, EVICTION_ADAPTIVE);
	uint32_t *entry_of = calloc(DRAWN, sizeof(*entry_of)), hits = 0; /* + 1 */

	for (uint32_t i = 0; i < gets; i++) {
		uint32_t key = draw_key(i), *entry = &entry_of[key];
		if (*entry) {
			hits++;
			eviction_use(eviction, *entry - 1);
			continue;
		}
		*entry = eviction_add(eviction, (uint32_t)hash_stable64(&key, sizeof(key), 0), 1, entry) + 1;
		while (eviction_is_over(eviction))
			*(uint32_t *)eviction_item(eviction, eviction_evict(eviction)) = 0;
	}
	free(entry_of);
	eviction_free(eviction);
	return (double)hits / gets;
}

static uint32_t
draw_looped(uint32_t i)
{
	return i % 1100;
}

/* Half of the gets are of 600 keys, the others of a hundred times as many. */
static uint32_t
draw_popular(uint32_t i)
{
	return (uint32_t)hash_mix64(i, 1) % (i % 2 ? 600u : DRAWN);
}

START_TEST(the_whole_keeps_what_its_eviction_promises)
{
	double looped = hit_ratio(draw_looped, 40000);
	ck_assert_double_ge(looped, 0.4);
	ck_assert_double_ge(looped, hit_ratio_of_eviction(draw_looped, 40000) - 0.02);
	ck_assert_int_eq(engine_space(engine, "tenant", "other", &space).code, STATUS_OK);
	ck_assert_double_ge(hit_ratio(draw_popular, 60000), hit_ratio_of_eviction(draw_popular, 60000) - 0.02);
}
END_TEST

START_TEST(shrinking_lets_entries_go_until_the_bytes_are_what_was_asked)
{
	struct space_stats stats;

	put_many(space, "k", 50000, 200);
	engine_shrink(engine, 2 << 20);
	ck_assert_uint_le(engine_bytes(engine), 2 << 20);
	engine_space_stats(space, &stats);
	ck_assert_uint_gt(stats.entries, 4000);
	ck_assert_uint_eq(stats.entries + stats.evicted[EVICTED_SHRUNK], 50000);
}
END_TEST

/* ---- many at once, figures ---- */

START_TEST(many_keys_are_looked_up_at_once_and_what_has_no_room_is_said)
{
	struct get gets[200];
	char keys[200][24];
	struct arena tight;
	bool has_room;

	put_many(space, "", 100, 50);
	for (size_t i = 0; i < 200; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%zu", i);
		gets[i] = (struct get){.key = keys[i], .key_length = strlen(keys[i])};
	}
	engine_get(space, gets, 200, &arena, &has_room);
	ck_assert(has_room);
	for (size_t i = 0; i < 200; i++)
		ck_assert_int_eq(gets[i].outcome, i < 100 ? GET_HIT : GET_MISS);
	arena_init(&tight, 512, 1000);
	gets[0].may_fill = true;
	engine_get(space, gets, 200, &tight, &has_room);
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

	configure(1000, 60000, 0);
	uint64_t token = get_with("k", true, false).token;
	fill("k", "v", token);
	fill("k", "v", token);
	for (int i = 0; i < 9; i++)
		look("k");
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "cold%d", i);
		look(key);
	}
	fake_clock_advance_ms(&fake, 2000);
	look("k");
	engine_delete(space, "k", 1);
	engine_invalidate_all(space);
	engine_space_stats(space, &stats);
	ck_assert_uint_eq(stats.hits, 9);
	ck_assert_uint_eq(stats.misses, 501);
	ck_assert_uint_eq(stats.stale, 1);
	ck_assert_uint_eq(stats.leases, 1);
	ck_assert_uint_eq(stats.fills, 1);
	ck_assert_uint_eq(stats.refused, 1);
	ck_assert_uint_eq(stats.sets, 1);
	ck_assert_uint_eq(stats.deletes, 1);
	ck_assert_uint_eq(stats.invalidations, 1);
	ck_assert_uint_eq(engine_hot_keys(space, hot, 3, &arena), 3);
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
	struct engine *next = engine_new(&(struct engine_options){.bytes_max = 16 << 20, .clock = &fake.clock});
	struct kept kept = {0};
	uint64_t cursor = 0;

	engine_space(next, "tenant", "space", &kept.to);
	put_many(space, "k", 1000, 10);
	struct set set = set_of("tagged", "v");
	set.tags = tags;
	set.tag_count = 1;
	set.content_type = "text/plain";
	put_with(set);
	while (engine_each_entry(space, &cursor, 100, keep, &kept))
		;
	ck_assert_uint_eq(kept.count, 1001);
	ck_assert_uint_eq(entries_of(kept.to), 1001);
	space = kept.to;
	struct get get = look("tagged");
	ck_assert_int_eq(get.outcome, GET_HIT);
	ck_assert_str_eq(get.content_type, "text/plain");
	engine_invalidate_tag(space, "red", 3);
	ck_assert_int_eq(look("tagged").outcome, GET_MISS);
	ck_assert_int_eq(look("k1").outcome, GET_HIT);
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
	tcase_add_test(tests, a_stale_value_is_given_in_grace_and_later_only_to_who_says_that_the_origin_failed);
	tcase_add_test(tests, expiring_leaves_the_graces_and_deleting_leaves_nothing);
	tcase_add_test(tests, touching_makes_fresh_again_and_keeps_the_version);
	tcase_add_test(tests, that_there_is_no_value_is_remembered_for_its_own_time_and_without_grace);
	tcase_add_test(tests, a_set_for_a_version_is_stored_only_over_that_version);
	tcase_add_test(tests, counting_up_makes_keeps_and_refuses_as_it_should);
	tcase_add_test(tests, what_is_invalidated_is_not_given_in_any_grace_and_what_is_written_after_is);
	tcase_add_test(tests, dead_entries_leave_with_time_and_their_invalidations_are_forgotten);
	tcase_add_test(tests, a_space_that_was_dropped_begins_anew_with_higher_versions);
	tcase_add_test(tests, tenants_and_spaces_of_one_name_are_apart_and_their_number_is_bounded);
	tcase_add_test(tests, no_tenant_fills_the_memory_with_namespaces_alone);
	tcase_add_test(tests, a_miss_hands_one_caller_the_token_and_its_fill_wakes_the_others);
	tcase_add_test(tests, whatever_is_newer_destroys_the_token);
	tcase_add_test(tests, a_holder_that_dies_loses_its_lease_in_time_and_its_waiters_hear_of_it);
	tcase_add_test(tests, a_token_that_is_given_back_goes_to_the_next_caller_at_once);
	tcase_add_test(tests, an_invalidation_makes_place_for_a_holder_that_can_still_fill);
	tcase_add_test(tests, in_grace_one_caller_renews_and_the_others_take_what_there_is);
	tcase_add_test(tests, a_value_that_took_long_to_make_is_renewed_before_its_end_by_one_caller);
	tcase_add_test(tests, bytes_never_exceed_the_bound_whatever_the_sizes);
	tcase_add_test(tests, an_entry_that_is_too_large_is_refused_and_takes_the_old_value_with_it);
	tcase_add_test(tests, a_space_keeps_to_its_own_bounds);
	tcase_add_test(tests, that_there_is_no_value_takes_a_tenth_of_the_entries_at_most);
	tcase_add_test(tests, that_there_is_no_value_takes_a_tenth_of_the_bytes_at_most);
	tcase_add_test(tests, a_tenant_keeps_to_its_quota_and_cannot_push_out_anothers_share);
	tcase_add_test(tests, the_whole_keeps_what_its_eviction_promises);
	tcase_add_test(tests, shrinking_lets_entries_go_until_the_bytes_are_what_was_asked);
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
