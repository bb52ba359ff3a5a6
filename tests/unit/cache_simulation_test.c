/*
 * Readers that fill and writers that invalidate, in every order that chance finds, one step at a time: what
 * was read from the origin before an invalidation is never given, nor taken in, after it.
 *
 * The origin is a number for each key, which writers raise. A writer raises it in one step and invalidates in
 * a later one; a reader asks the cache, reads the origin and fills in three. Between any two steps others
 * take theirs, time passes, upkeep runs and entries are evicted.
 *
 * CACHE_SIMULATION_STEPS says how many steps; ten million when it is not set, fewer under a sanitizer.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cached/engine.h"

#define KEYS      8u
#define ACTORS    8u
#define RUN_STEPS 10000u /* with one seed */
#define TAGS      2u
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STEPS 500000u
#else
#define STEPS 10000000u
#endif
#define UNGUARDED_STEPS 200000u

enum state { IDLE, HAS_TOKEN, HAS_READ, HAS_WRITTEN };

struct actor {
	enum state state;
	unsigned key;
	uint64_t token, read, expires_ms;
	bool is_disturbed; /* something newer covered its key since it got the token */
};

struct sim {
	struct fake_clock fake;
	struct seeded_random seeded;
	struct engine *engine;
	struct space *space;
	struct arena arena;
	bool is_guarded; /* fills use their tokens; otherwise they are plain writes */
	bool is_graceful;
	uint64_t origin[KEYS];
	uint64_t acknowledged[KEYS]; /* what the origin had at the latest invalidation of the key */
	struct actor actors[ACTORS];
	/* What was found. */
	uint64_t stale_gets, stale_fills, double_tokens, needless_refusals;
	uint64_t fills, refusals, hits, stale_given;
};

static const char *const NAMES[KEYS] = {"a/0", "a/1", "a/2", "a/3", "b/0", "b/1", "b/2", "b/3"};
static const char *const TAG_NAMES[] = {"t0", "t1", "t2", "u0", "u1"};

static uint32_t
draw(struct sim *sim, uint32_t bound)
{
	return (uint32_t)random_below(&sim->seeded.random, bound);
}

static uint64_t
now_ms(const struct sim *sim)
{
	return clock_mono_ms(&sim->fake.clock);
}

static const char *
tag_of(unsigned key, unsigned i)
{
	return TAG_NAMES[i ? 3 + key % 2 : key % 3];
}

/* ---- readers ---- */

static void
check_get(struct sim *sim, unsigned key, const struct get *get)
{
	uint64_t value;

	if (get->outcome != GET_HIT && get->outcome != GET_STALE)
		return;
	memcpy(&value, get->value, sizeof(value));
	sim->stale_gets += value < sim->acknowledged[key];
	sim->hits += get->outcome == GET_HIT;
	sim->stale_given += get->outcome == GET_STALE;
}

/* Nobody else has a token that could still fill. */
static void
check_token(struct sim *sim, const struct actor *own)
{
	for (const struct actor *other = sim->actors; other < sim->actors + ACTORS; other++)
		if (other != own && other->token && other->key == own->key && !other->is_disturbed &&
		    other->expires_ms > now_ms(sim))
			sim->double_tokens++;
}

static void
ask(struct sim *sim, struct actor *actor)
{
	actor->key = draw(sim, KEYS);
	struct get get = {
	    .key = NAMES[actor->key], .key_length = 3, .may_fill = true, .has_failed = draw(sim, 20) == 0};

	arena_reset(&sim->arena);
	engine_get(sim->space, &get, 1, &sim->arena, NULL);
	check_get(sim, actor->key, &get);
	if (!get.token)
		return;
	actor->token = get.token;
	actor->expires_ms = now_ms(sim) + get.lease_ms;
	actor->is_disturbed = false;
	actor->state = HAS_TOKEN;
	check_token(sim, actor);
}

static struct set
set_of(unsigned key, const uint64_t *value, const char *tags[TAGS])
{
	for (unsigned i = 0; i < TAGS; i++)
		tags[i] = tag_of(key, i);
	return (struct set){.key = NAMES[key],
	                    .key_length = 3,
	                    .value = value,
	                    .value_length = sizeof(*value),
	                    .tags = tags,
	                    .tag_count = TAGS,
	                    .ttl_ms = ENGINE_DEFAULT_MS,
	                    .grace_ms = ENGINE_DEFAULT_MS,
	                    .error_grace_ms = ENGINE_DEFAULT_MS};
}

/* A token that was used up or given back is nobody's. */
static void
fill(struct sim *sim, struct actor *actor)
{
	const char *tags[TAGS];
	struct set set = set_of(actor->key, &actor->read, tags);
	bool is_late = actor->expires_ms <= now_ms(sim);

	set.token = sim->is_guarded ? actor->token : 0;
	engine_set(sim->space, &set, 1);
	if (set.outcome == SET_STORED) {
		sim->fills++;
		sim->stale_fills += actor->read < sim->acknowledged[actor->key];
	} else {
		sim->refusals++;
		sim->needless_refusals += !actor->is_disturbed && !is_late;
	}
	actor->token = 0;
	actor->state = IDLE;
}

static void
give_back(struct sim *sim, struct actor *actor)
{
	engine_release(sim->space, NAMES[actor->key], 3, actor->token);
	actor->token = 0;
	actor->state = IDLE;
}

/* ---- writers ---- */

/* An invalidation of these keys was acknowledged. */
static void
acknowledge(struct sim *sim, unsigned keys)
{
	for (unsigned key = 0; key < KEYS; key++)
		if (keys >> key & 1)
			sim->acknowledged[key] = sim->origin[key];
	for (struct actor *actor = sim->actors; actor < sim->actors + ACTORS; actor++)
		actor->is_disturbed = actor->is_disturbed || (keys >> actor->key & 1);
}

static unsigned
tagged(const char *tag)
{
	unsigned keys = 0;
	for (unsigned key = 0; key < KEYS; key++)
		keys |= (unsigned)(strcmp(tag_of(key, 0), tag) == 0 || strcmp(tag_of(key, 1), tag) == 0) << key;
	return keys;
}

/* Returns the keys that were invalidated; the writer's own is among them. */
static unsigned
invalidate(struct sim *sim, unsigned key)
{
	const char *tag = tag_of(key, draw(sim, TAGS));
	char pattern[] = "*/0";
	uint64_t sequence;

	switch (draw(sim, 10)) {
	case 0:
	case 1:
		engine_invalidate_tag(sim->space, tag, strlen(tag));
		return tagged(tag);
	case 2:
		engine_invalidate_prefix(sim->space, NAMES[key], 1);
		return key < 4 ? 0x0Fu : 0xF0u;
	case 3:
		engine_invalidate_prefix(sim->space, NAMES[key], 3);
		return 1u << key;
	case 4:
		pattern[2] = NAMES[key][2];
		engine_invalidate_glob(sim->space, pattern, 3, &sequence);
		return 0x11u << key % 4;
	case 5:
		if (draw(sim, 10) == 0) {
			engine_invalidate_all(sim->space);
			return 0xFFu;
		}
		/* fall through */
	default:
		engine_delete(sim->space, NAMES[key], 3);
		return 1u << key;
	}
}

/* The new value goes into the cache at once, as one step with the origin's. */
static void
write_through(struct sim *sim, unsigned key)
{
	const char *tags[TAGS];
	struct set set = set_of(key, &sim->origin[key], tags);

	sim->origin[key]++;
	engine_set(sim->space, &set, 1);
	acknowledge(sim, 1u << key);
}

static void
begin(struct sim *sim, struct actor *actor)
{
	unsigned key = draw(sim, KEYS), what = draw(sim, 100);

	if (what < 70) {
		ask(sim, actor);
	} else if (what < 90) {
		actor->key = key;
		sim->origin[key]++;
		actor->state = HAS_WRITTEN;
	} else if (what < 93) {
		write_through(sim, key);
	} else if (what < 95) {
		engine_touch(sim->space, NAMES[key], 3, ENGINE_DEFAULT_MS);
	} else {
		/* What was asked for before may be given in grace, but not taken in. */
		engine_expire(sim->space, NAMES[key], 3);
		for (struct actor *other = sim->actors; other < sim->actors + ACTORS; other++)
			other->is_disturbed = other->is_disturbed || other->key == key;
	}
}

static void
step(struct sim *sim)
{
	struct actor *actor = &sim->actors[draw(sim, ACTORS)];
	unsigned chance = draw(sim, 200);

	if (chance < 10)
		fake_clock_advance_ms(&sim->fake, draw(sim, 300));
	if (chance < 4)
		engine_tick(sim->engine);
	switch (actor->state) {
	case IDLE:
		begin(sim, actor);
		break;
	case HAS_TOKEN:
		actor->read = sim->origin[actor->key];
		actor->state = HAS_READ;
		break;
	case HAS_READ:
		if (draw(sim, 20) == 0)
			give_back(sim, actor);
		else
			fill(sim, actor);
		break;
	case HAS_WRITTEN:
		acknowledge(sim, invalidate(sim, actor->key));
		actor->state = IDLE;
		break;
	}
}

/* ---- runs ---- */

static void
sim_init(struct sim *sim, uint64_t seed)
{
	struct space_options options = space_options_default();

	memset(sim->origin, 0, sizeof(sim->origin));
	memset(sim->acknowledged, 0, sizeof(sim->acknowledged));
	memset(sim->actors, 0, sizeof(sim->actors));
	fake_clock_init(&sim->fake, 1000000000000);
	seeded_random_init(&sim->seeded, seed);
	sim->engine = engine_new(&(struct engine_options){
	    .bytes_max = 1 << 20, .clock = &sim->fake.clock, .random = &sim->seeded.random});
	engine_space(sim->engine, "t", "s", &sim->space);
	options.ttl_ms = 2000;
	options.lease_ms = 1000;
	options.grace_ms = sim->is_graceful ? 3000 : 0;
	options.error_grace_ms = sim->is_graceful ? 6000 : 0;
	options.entries_max = draw(sim, 2) ? 6 : 0;
	space_configure(sim->space, &options);
	arena_init(&sim->arena, 4096, 1 << 16);
}

static void
sim_fini(struct sim *sim)
{
	engine_free(sim->engine);
	arena_fini(&sim->arena);
}

static uint64_t
steps_wanted(void)
{
	const char *text = getenv("CACHE_SIMULATION_STEPS");
	return text ? strtoull(text, NULL, 10) : STEPS;
}

static void
run(struct sim *sim, uint64_t steps)
{
	for (uint64_t seed = 1; steps > 0; seed++) {
		uint64_t some = steps < RUN_STEPS ? steps : RUN_STEPS;
		sim->is_graceful = seed % 2;
		sim_init(sim, seed);
		for (uint64_t i = 0; i < some; i++)
			step(sim);
		sim_fini(sim);
		steps -= some;
	}
	printf("%lu fills, %lu refused, %lu hits, %lu given in grace; %lu stale fills, %lu stale gets\n",
	       (unsigned long)sim->fills, (unsigned long)sim->refusals, (unsigned long)sim->hits,
	       (unsigned long)sim->stale_given, (unsigned long)sim->stale_fills, (unsigned long)sim->stale_gets);
}

START_TEST(nothing_that_was_read_before_an_invalidation_is_taken_in_or_given_after_it)
{
	struct sim sim = {.is_guarded = true};

	run(&sim, steps_wanted());
	ck_assert_uint_eq(sim.stale_fills, 0);
	ck_assert_uint_eq(sim.stale_gets, 0);
	ck_assert_uint_eq(sim.double_tokens, 0);
	ck_assert_uint_eq(sim.needless_refusals, 0);
	ck_assert_uint_gt(sim.fills, steps_wanted() / 50);
	ck_assert_uint_gt(sim.refusals, steps_wanted() / 100);
	ck_assert_uint_gt(sim.hits, steps_wanted() / 50);
	ck_assert_uint_gt(sim.stale_given, steps_wanted() / 1000);
}
END_TEST

START_TEST(without_the_guard_the_same_run_finds_stale_fills_and_stale_reads)
{
	struct sim sim = {.is_guarded = false};

	run(&sim, UNGUARDED_STEPS);
	ck_assert_uint_gt(sim.stale_fills, 1000);
	ck_assert_uint_gt(sim.stale_gets, 100);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache simulation");
	TCase *tests = tcase_create("simulation");

	tcase_set_timeout(tests, 0);
	tcase_add_test(tests, nothing_that_was_read_before_an_invalidation_is_taken_in_or_given_after_it);
	tcase_add_test(tests, without_the_guard_the_same_run_finds_stale_fills_and_stale_reads);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
