/*
 * engine: a replica whose store went away, and what it wrote meanwhile when the log goes on.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cached/engine_shared.h"
#include "support/test_space.h"

#define KNOWN 100u /* number of the latest change before */

static struct test_space t;
static struct trust trust;

static struct trust *
trust_of(void *arg, const char *tenant, const char *name)
{
	(void)tenant;
	(void)name;
	return arg;
}

static void
be_in_step(bool is_alone)
{
	atomic_store(&trust.until_ms, UINT64_MAX);
	atomic_store(&trust.followed, shared_version(KNOWN));
	atomic_store(&trust.is_alone, is_alone);
}

static void
set_up(void)
{
	memset(&trust, 0, sizeof(trust));
	test_space_init(&t);
	engine_free(t.engine);
	fake_clock_advance_ms(&t.clock, 1000000);
	t.engine = engine_new(&(struct engine_options){.bytes_max = 16 << 20,
	                                               .clock = &t.clock.clock,
	                                               .random = &t.random.random,
	                                               .trust_of = trust_of,
	                                               .trust_arg = &trust});
	ck_assert_int_eq(engine_space(t.engine, "tenant", "space", &t.space).code, STATUS_OK);
	engine_forget_older(t.space, shared_version(KNOWN));
	be_in_step(true);
}

static void
tear_down(void)
{
	test_space_fini(&t);
}

static void
put_tagged(const char *key, const char *const *tag)
{
	struct set set = test_set_of(key, "v");

	set.tags = tag;
	set.tag_count = 1;
	ck_assert_int_eq(test_set(t.space, set), SET_STORED);
}

static void
follow_tag(const char *tag, uint64_t number)
{
	const struct shared_change change = {.kind = CHANGE_TAG,
	                                     .is_order = true,
	                                     .tag = tag_hash(tag, strlen(tag)),
	                                     .version = shared_version(number)};
	engine_follow(t.space, &change);
}

START_TEST(however_much_is_written_alone_the_logs_next_change_is_newer)
{
	static const char *const red[] = {"red"};
	char key[16];

	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		put_tagged(key, red);
		ck_assert_int_eq(test_look(&t, key).outcome, GET_HIT);
	}
	follow_tag("red", KNOWN + 1);
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		ck_assert_int_eq(test_look(&t, key).outcome, GET_MISS);
	}
}
END_TEST

START_TEST(when_no_number_is_left_for_an_invalidation_all_goes_and_nobody_fills)
{
	static const char *const red[] = {"red"};
	uint64_t token = test_get(&t, "asked", true, false).token;

	ck_assert_uint_ne(token, 0);
	test_put(t.space, "stays", "v"); /* takes a number, too */
	for (unsigned i = 2; i < 1u << SHARED_NUMBER_SHIFT; i++)
		ck_assert_uint_eq(engine_invalidate_tag(t.space, "blue", 4), shared_version(KNOWN) + i);
	ck_assert_int_eq(test_look(&t, "stays").outcome, GET_HIT);
	put_tagged("late", red);
	for (int i = 0; i < 3; i++) {
		engine_invalidate_tag(t.space, "blue", 4);
		ck_assert_int_eq(test_look(&t, "stays").outcome, GET_MISS);
		ck_assert_int_eq(test_look(&t, "late").outcome, GET_MISS);
		ck_assert_int_eq(test_fill(t.space, "asked", "old", token), SET_LEASE_LOST);
		put_tagged("late", red);
		ck_assert_int_eq(test_look(&t, "late").outcome, GET_HIT);
		token = test_get(&t, "asked", true, false).token;
		ck_assert_uint_ne(token, 0);
	}
	follow_tag("red", KNOWN + 1);
	ck_assert_int_eq(test_look(&t, "late").outcome, GET_MISS);
}
END_TEST

START_TEST(an_answer_from_before_does_not_take_the_place_of_what_was_written_alone)
{
	struct get asked = {.key = "k", .key_length = 1};
	struct shared_answer answer = {
	    .at = shared_version(KNOWN),
	    .has_entry = true,
	    .parts = {.version = shared_version(KNOWN - 1), .value = "old", .value_length = 3},
	    .fresh_left_ms = 60000};

	be_in_step(false);
	engine_get(t.space, &asked, 1, &t.arena, NULL);
	ck_assert(asked.is_shared);
	be_in_step(true);
	test_put(t.space, "k", "new");
	engine_settle(t.space, &asked, &answer, &t.arena, NULL);
	struct get get = test_look(&t, "k");
	test_assert_value(&get, "new");
}
END_TEST

/* Half of the outage's time at least, and all of it at most, since the log was heard of. */
START_TEST(a_namespace_that_nobody_configured_bears_an_outage_as_others_do)
{
	char key[16];
	unsigned given = 0;

	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		test_put(t.space, key, "v");
	}
	atomic_store(&trust.heard_ms, clock_mono_ms(&t.clock.clock));
	atomic_store(&trust.until_ms, 0);
	fake_clock_advance_ms(&t.clock, 149000);
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		given += test_look(&t, key).outcome == GET_HIT;
	}
	ck_assert_uint_eq(given, 50);
	fake_clock_advance_ms(&t.clock, 152000);
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		ck_assert_int_eq(test_look(&t, key).outcome, GET_MISS);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache alone");
	TCase *tests = tcase_create("alone");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, however_much_is_written_alone_the_logs_next_change_is_newer);
	tcase_add_test(tests, when_no_number_is_left_for_an_invalidation_all_goes_and_nobody_fills);
	tcase_add_test(tests, an_answer_from_before_does_not_take_the_place_of_what_was_written_alone);
	tcase_add_test(tests, a_namespace_that_nobody_configured_bears_an_outage_as_others_do);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
