/*
 * A replica that dies with a lease, and one that waits for it: in whatever phases the sign of life, the
 * questions and the upkeep stand to each other, the lease is the other's within 500 ms.
 *
 * Time is injected and Redis is played: it says that another has the lease until the dead one's sign of life
 * is over. The engine, its leases, waiters and upkeep are real.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cached/engine.h"
#include "cached/engine_shared.h"
#include "cached/fleet.h"

#define BOUND_MS 500u
#define TICK_MS  20u /* of cached's upkeep */
#define TRIP_MS  10u /* a question's way, there and back; a slow one */
#define LEAD_MS  (SHARED_HELD_MS + TICK_MS + TRIP_MS)

static struct fake_clock fake;
static struct trust trust;

static struct trust *
trust_of(void *arg, const char *tenant, const char *name)
{
	(void)arg;
	(void)tenant;
	(void)name;
	return &trust;
}

struct waiting_caller {
	struct engine_waiter waiter; /* first */
	struct space *space;
	struct arena arena;
	struct get get;
	bool is_parked, was_woken;
	uint64_t answered_ms; /* when the question's answer is there; 0: none is under way */
};

static void
wake(struct engine_waiter *waiter)
{
	((struct waiting_caller *)waiter)->was_woken = true;
}

static uint64_t
now_ms(void)
{
	return clock_mono_ms(&fake.clock);
}

static void
look(struct waiting_caller *caller)
{
	arena_reset(&caller->arena);
	caller->get = (struct get){.key = "k", .key_length = 1, .may_fill = true, .may_wait = true};
	engine_get(caller->space, &caller->get, 1, &caller->arena, NULL);
	if (caller->get.is_shared)
		caller->answered_ms = now_ms() + TRIP_MS;
}

/* What the script says, as of when it ran. */
static void
take_answer(struct waiting_caller *caller, uint64_t over_ms)
{
	bool is_held = now_ms() - TRIP_MS / 2 < over_ms;
	const struct shared_answer answer = {
	    .at = shared_version(100), .is_granted = !is_held, .is_held = is_held};

	caller->answered_ms = 0;
	caller->get.token = engine_draw_token(caller->space);
	caller->get.lease_ms = 10000;
	engine_settle(caller->space, &caller->get, &answer, &caller->arena, NULL);
}

static void
park(struct waiting_caller *caller)
{
	caller->waiter.wake = wake;
	caller->was_woken = false;
	caller->is_parked = engine_wait(caller->space, "k", 1, &caller->waiter);
	if (!caller->is_parked)
		look(caller);
}

static void
step(struct waiting_caller *caller, uint64_t over_ms)
{
	if (caller->answered_ms > 0 && now_ms() >= caller->answered_ms) {
		take_answer(caller, over_ms);
		if (caller->get.token == 0)
			park(caller);
	} else if (caller->is_parked && caller->was_woken) {
		caller->is_parked = false;
		look(caller);
	} else if (!caller->is_parked && caller->answered_ms == 0) {
		look(caller);
		if (!caller->get.is_shared)
			park(caller);
	}
}

/* A replica with one caller, who has asked nothing yet. */
static struct engine *
replica_new(struct waiting_caller *caller)
{
	memset(caller, 0, sizeof(*caller));
	fake_clock_init(&fake, 0);
	fake_clock_advance_ms(&fake, 1000);
	atomic_store(&trust.until_ms, UINT64_MAX / 2);
	atomic_store(&trust.followed, shared_version(100));
	struct engine *engine = engine_new(
	    &(struct engine_options){.bytes_max = 1 << 20, .clock = &fake.clock, .trust_of = trust_of});
	ck_assert_int_eq(engine_space(engine, "t", "s", &caller->space).code, STATUS_OK);
	arena_init(&caller->arena, 4096, 1 << 16);
	return engine;
}

/* How long after the death the caller, who began to ask `asked_ms` before it, has the token. */
static uint64_t
time_to_token(uint64_t asked_ms, uint64_t tick_phase_ms)
{
	struct waiting_caller caller;
	struct engine *engine = replica_new(&caller);
	uint64_t death_ms = now_ms() + LEAD_MS, over_ms = death_ms + FLEET_HOLDER_MS;
	for (; caller.get.token == 0 || caller.answered_ms > 0; fake_clock_advance_ms(&fake, 1)) {
		ck_assert_uint_lt(now_ms(), death_ms + 10 * BOUND_MS);
		if (now_ms() % TICK_MS == tick_phase_ms)
			engine_tick(engine);
		if (now_ms() >= death_ms - asked_ms)
			step(&caller, over_ms);
	}
	uint64_t took_ms = now_ms() - death_ms;
	arena_fini(&caller.arena);
	engine_free(engine);
	return took_ms;
}

START_TEST(the_lease_of_a_holder_that_died_is_anothers_within_500_ms_in_any_phase)
{
	uint64_t longest_ms = 0;

	/* It died right after a sign of life, which is the latest that the others can learn of it. */
	for (uint64_t asked_ms = 0; asked_ms < LEAD_MS; asked_ms++)
		for (uint64_t phase_ms = 0; phase_ms < TICK_MS; phase_ms += 3) {
			uint64_t took_ms = time_to_token(asked_ms, phase_ms);
			longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
		}
	fprintf(stderr, "at most %lu ms\n", (unsigned long)longest_ms);
	ck_assert_uint_ge(longest_ms, FLEET_HOLDER_MS);
	ck_assert_uint_le(longest_ms, BOUND_MS);
}
END_TEST

START_TEST(nobody_takes_the_lease_of_a_holder_that_lives)
{
	ck_assert_uint_ge(time_to_token(0, 0), FLEET_HOLDER_MS);
	ck_assert_uint_ge(time_to_token(SHARED_HELD_MS, TICK_MS / 2), FLEET_HOLDER_MS);
}
END_TEST

/* Whether who waits for another's fill looks again at the next tick. */
static bool
looks_again_soon(bool has_heard)
{
	const struct shared_change fill = {
	    .kind = CHANGE_DELETE, .name = "k", .length = 1, .version = shared_version(101)};
	struct waiting_caller caller;
	struct engine *engine = replica_new(&caller);

	look(&caller);
	ck_assert(caller.get.is_shared);
	if (has_heard)
		engine_follow(caller.space, &fill);
	take_answer(&caller, UINT64_MAX);
	park(&caller);
	ck_assert(caller.is_parked);
	fake_clock_advance_ms(&fake, TICK_MS);
	engine_tick(engine);
	bool was_woken = caller.was_woken;
	(void)engine_wait_end(caller.space, &caller.waiter);
	arena_fini(&caller.arena);
	engine_free(engine);
	return was_woken;
}

START_TEST(who_heard_of_the_fill_before_it_was_told_of_the_lease_does_not_wait_for_it_again)
{
	ck_assert(looks_again_soon(true));
	ck_assert(!looks_again_soon(false));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache holder");
	TCase *tests = tcase_create("holder");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, the_lease_of_a_holder_that_died_is_anothers_within_500_ms_in_any_phase);
	tcase_add_test(tests, nobody_takes_the_lease_of_a_holder_that_lives);
	tcase_add_test(tests, who_heard_of_the_fill_before_it_was_told_of_the_lease_does_not_wait_for_it_again);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
