/*
 * Three replicas that share a store and follow its log, in every order that chance finds, one step at a time:
 * none gives from memory what is older than a change that it was told of, and none gives from anywhere what
 * was invalidated, and acknowledged, a second before it was asked, however late it is told.
 *
 * The store is a model of what the scripts do in Redis: numbers, entries, one token for a key. Between its
 * answer and the replica that takes it in lies any number of others' steps; so it does between a change, its
 * own replica's doing it, and the others' hearing of it from the log. Now and then a replica misses changes.
 *
 * CACHE_SIMULATION_STEPS says how many steps; ten million when it is not set, fewer under a sanitizer.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cached/engine_shared.h"
#include "cached/follower.h"

#define REPLICAS  3u
#define KEYS      8u
#define ACTORS    9u
#define LOG       4096u /* changes of a run, at most */
#define RUN_STEPS 6000u
#define BOUND_MS  1000u
#define LEASE_MS  1000u
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STEPS 500000u
#else
#define STEPS 10000000u
#endif

enum state { IDLE, IS_LOOKING, IS_ASKED, IS_ANSWERED, HAS_TOKEN, HAS_READ, IS_CHANGED, STATES };

/* A change in the log, and what it makes old. */
struct line {
	enum change_kind kind;
	char name[8];
	uint64_t value;   /* of the origin, when it was made */
	unsigned keys;    /* a bit for each that is covered */
	uint64_t told_ms; /* when it was acknowledged; 0: not yet */
};

/* What the store has of a key. */
struct stored {
	uint64_t number, value, fresh_ms; /* number 0: nothing */
	uint64_t ended;                   /* by which change, if it is there all the same; 0: by none */
	uint64_t token, since, expires_ms;
};

struct actor {
	enum state state;
	unsigned replica, key;
	struct get get;
	struct shared_answer answer;
	uint64_t tags[2], value, asked_ms, token;
	uint64_t stand; /* the number that its first look began with */
	uint64_t line;  /* its change, or its fill's number */
	struct shared_plan plan;
};

struct replica {
	struct engine *engine;
	struct space *space;
	struct trust trust;
	struct follower follower;
	uint64_t known[KEYS]; /* value of the origin at the latest change of the key that it was told of */
};

struct sim {
	struct fake_clock clock;
	struct seeded_random random;
	struct arena arena;
	struct replica replicas[REPLICAS];
	struct actor actors[ACTORS];
	struct line log[LOG]; /* from number 1 on */
	uint64_t number;
	struct stored stored[KEYS];
	uint64_t origin[KEYS];
	bool is_deaf; /* the log is not followed, and memory is trusted all the same */
	/* What was found. */
	uint64_t hits, answers, fills, refusals, losses, wrong, old;
};

static const char *const NAMES[KEYS] = {"a/0", "a/1", "a/2", "a/3", "b/0", "b/1", "b/2", "b/3"};

static uint32_t
draw(struct sim *sim, uint32_t bound)
{
	return (uint32_t)random_below(&sim->random.random, bound);
}

static uint64_t
now_ms(const struct sim *sim)
{
	return clock_mono_ms(&sim->clock.clock);
}

static const char *
tag_of(unsigned key)
{
	static const char *const TAGS[] = {"t0", "t1", "t2"};
	return TAGS[key % 3];
}

/* ---- the store ---- */

/* A change of these keys gets the next number. */
static uint64_t
append(struct sim *sim, enum change_kind kind, const char *name, unsigned keys, uint64_t value)
{
	struct line *line = &sim->log[++sim->number];

	*line = (struct line){.kind = kind, .keys = keys, .value = value};
	snprintf(line->name, sizeof(line->name), "%s", name);
	return sim->number;
}

static bool
is_current(const struct sim *sim, const struct stored *stored)
{
	return stored->number > 0 && stored->ended == 0 && now_ms(sim) < stored->fresh_ms;
}

static void
give_entry(struct sim *sim, struct actor *actor, const struct stored *stored)
{
	struct shared_answer *answer = &actor->answer;

	actor->value = stored->value;
	actor->tags[0] = tag_hash(tag_of(actor->key), 2);
	answer->has_entry = true;
	answer->parts = (struct entry_parts){.version = shared_version(stored->number),
	                                     .value = &actor->value,
	                                     .value_length = sizeof(actor->value),
	                                     .tags = actor->tags,
	                                     .tag_count = 1};
	answer->fresh_left_ms = (int64_t)(stored->fresh_ms - now_ms(sim));
}

/* The end of a first look, as fleet_look.c makes it: any number of changes after the one that it began with,
 * it finds what none up to that one has ended. False: nothing. */
static bool
store_look(struct sim *sim, struct actor *actor)
{
	const struct stored *stored = &sim->stored[actor->key];

	if (stored->number == 0 || now_ms(sim) >= stored->fresh_ms ||
	    (stored->ended > 0 && stored->ended <= actor->stand))
		return false;
	actor->answer = (struct shared_answer){.at = shared_version(actor->stand)};
	give_entry(sim, actor, stored);
	return true;
}

static void
store_answer(struct sim *sim, struct actor *actor)
{
	struct stored *stored = &sim->stored[actor->key];
	struct shared_answer *answer = &actor->answer;

	*answer = (struct shared_answer){.at = shared_version(sim->number)};
	answer->has_entry = is_current(sim, stored);
	answer->is_held = !answer->has_entry && stored->token && now_ms(sim) < stored->expires_ms;
	answer->is_granted = !answer->has_entry && !answer->is_held && actor->get.may_fill;
	if (answer->is_granted) {
		actor->get.token = engine_draw_token(sim->replicas[actor->replica].space);
		actor->get.lease_ms = LEASE_MS;
		stored->token = actor->get.token;
		stored->since = sim->number;
		stored->expires_ms = now_ms(sim) + LEASE_MS;
	}
	if (answer->has_entry)
		give_entry(sim, actor, stored);
}

/* True: the fill is in. Its number is the actor's line. */
static bool
store_fill(struct sim *sim, struct actor *actor)
{
	struct stored *stored = &sim->stored[actor->key];

	if (!stored->token || stored->token != actor->token || now_ms(sim) >= stored->expires_ms)
		return false;
	stored->token = 0;
	actor->line = append(sim, CHANGE_SET, NAMES[actor->key], 0, actor->value);
	stored->number = actor->line;
	stored->ended = 0;
	stored->value = actor->value;
	stored->fresh_ms = now_ms(sim) + actor->plan.ttl_ms;
	return true;
}

/* By the next change, and whoever fills it: only a delete takes it out. */
static void
store_end(struct sim *sim, unsigned key, bool is_deleted)
{
	struct stored *stored = &sim->stored[key];

	stored->token = 0;
	stored->number = is_deleted ? 0 : stored->number;
	stored->ended = stored->ended ? stored->ended : sim->number + 1;
}

/* Ends what the change covers. */
static void
store_change(struct sim *sim, struct actor *actor)
{
	static const enum change_kind KINDS[] = {CHANGE_DELETE, CHANGE_DELETE, CHANGE_TAG,
	                                         CHANGE_PREFIX, CHANGE_GLOB,   CHANGE_ALL};
	enum change_kind kind = KINDS[draw(sim, 40) ? draw(sim, 5) : 5];
	char pattern[] = "*/0", first[] = "a";
	const char *name = NAMES[actor->key];
	unsigned keys = 0;

	pattern[2] = name[2];
	first[0] = name[0];
	for (unsigned key = 0; key < KEYS; key++) {
		bool is_covered = kind == CHANGE_DELETE   ? key == actor->key
		                  : kind == CHANGE_TAG    ? tag_of(key) == tag_of(actor->key)
		                  : kind == CHANGE_PREFIX ? NAMES[key][0] == first[0]
		                  : kind == CHANGE_GLOB   ? NAMES[key][2] == pattern[2]
		                                          : true;
		keys |= (unsigned)is_covered << key;
		if (is_covered)
			store_end(sim, key, kind == CHANGE_DELETE);
	}
	name = kind == CHANGE_TAG      ? tag_of(actor->key)
	       : kind == CHANGE_PREFIX ? first
	       : kind == CHANGE_GLOB   ? pattern
	                               : name;
	/* Values of all keys rise together, so that one number says how old each may be. */
	actor->line = append(sim, kind, name, keys, sim->origin[actor->key]);
}

/* ---- what replicas are told ---- */

static void
publish(struct sim *sim, struct replica *replica)
{
	uint64_t until_ms = follower_trusted_until(&replica->follower);

	atomic_store(&replica->trust.followed, shared_version(replica->follower.followed));
	atomic_store(&replica->trust.until_ms, sim->is_deaf ? UINT64_MAX : until_ms);
}

static void
tell(struct sim *sim, struct replica *replica, uint64_t number, bool is_own)
{
	const struct line *line = &sim->log[number];
	struct shared_change change = {.kind = line->kind,
	                               .is_own = is_own,
	                               .is_order = !is_own,
	                               .name = line->name,
	                               .length = strlen(line->name),
	                               .version = shared_version(number)};

	if (line->kind == CHANGE_TAG)
		change.tag = tag_hash(line->name, change.length);
	engine_follow(replica->space, &change);
	for (unsigned key = 0; key < KEYS; key++)
		if (line->keys >> key & 1 && line->value > replica->known[key])
			replica->known[key] = line->value;
}

/* The next change, or none, or one too many. */
static void
follow(struct sim *sim, struct replica *replica)
{
	uint64_t next = replica->follower.followed + 1;

	if (!replica->follower.is_known || next > sim->number)
		return;
	if (draw(sim, 500) == 0 && next < sim->number)
		next++;
	if (follower_entry(&replica->follower, next, "") == FOLLOWER_NEXT && !sim->is_deaf)
		tell(sim, replica, next, false);
	publish(sim, replica);
}

static void
hear_of_head(struct sim *sim, struct replica *replica)
{
	const struct follower_head head = {
	    .number = sim->number, .name = "log", .has_mark = true, .sent_ms = now_ms(sim)};

	if (follower_head(&replica->follower, &head) == FOLLOWER_LOST) {
		engine_forget_older(replica->space, shared_version(replica->follower.followed));
		sim->losses++;
	}
	publish(sim, replica);
}

/* ---- readers ---- */

/* The value that was acknowledged as over a second before a read was asked for. */
static uint64_t
oldest_allowed(const struct sim *sim, unsigned key, uint64_t asked_ms)
{
	for (uint64_t number = sim->number; number > 0; number--) {
		const struct line *line = &sim->log[number];
		if (line->keys >> key & 1 && line->told_ms > 0 && line->told_ms + BOUND_MS <= asked_ms)
			return line->value;
	}
	return 0;
}

static void
check(struct sim *sim, const struct actor *actor, uint64_t at_least)
{
	uint64_t value;

	if (actor->get.outcome != GET_HIT && actor->get.outcome != GET_STALE)
		return;
	memcpy(&value, actor->get.value, sizeof(value));
	sim->wrong += value < at_least;
	sim->old += value < oldest_allowed(sim, actor->key, actor->asked_ms);
}

static void
ask(struct sim *sim, struct actor *actor)
{
	struct replica *replica = &sim->replicas[actor->replica];

	actor->asked_ms = now_ms(sim);
	actor->get =
	    (struct get){.key = NAMES[actor->key], .key_length = 3, .may_fill = true, .may_wait = draw(sim, 2)};
	engine_get(replica->space, &actor->get, 1, &sim->arena, NULL);
	sim->hits += actor->get.outcome == GET_HIT;
	check(sim, actor, replica->known[actor->key]);
	actor->stand = sim->number;
	if (actor->get.is_shared)
		actor->state = draw(sim, 2) ? IS_LOOKING : IS_ASKED;
}

/* What it gives is as old as the answer, but what it keeps is not older than what is known by now: the next
 * look finds out. */
static void
settle(struct sim *sim, struct actor *actor)
{
	struct replica *replica = &sim->replicas[actor->replica];

	engine_settle(replica->space, &actor->get, &actor->answer, &sim->arena, NULL);
	sim->answers++;
	check(sim, actor, 0);
	actor->token = actor->answer.is_granted ? actor->get.token : 0;
	actor->state = actor->token ? HAS_TOKEN : IDLE;
}

static struct set
set_of(const struct actor *actor, const char **tag)
{
	*tag = tag_of(actor->key);
	return (struct set){.key = NAMES[actor->key],
	                    .key_length = 3,
	                    .value = &actor->value,
	                    .value_length = sizeof(actor->value),
	                    .tags = tag,
	                    .tag_count = 1,
	                    .ttl_ms = ENGINE_DEFAULT_MS,
	                    .grace_ms = ENGINE_DEFAULT_MS,
	                    .error_grace_ms = ENGINE_DEFAULT_MS,
	                    .token = actor->token,
	                    .version = shared_version(actor->line)};
}

static void
fill(struct sim *sim, struct actor *actor)
{
	struct replica *replica = &sim->replicas[actor->replica];
	const char *tag;
	struct set set = set_of(actor, &tag);

	ck_assert(engine_plan_set(replica->space, &set, &actor->plan));
	if (store_fill(sim, actor)) {
		sim->fills++;
		actor->state = IS_CHANGED;
		return;
	}
	engine_refused(replica->space, NAMES[actor->key], 3);
	sim->refusals++;
	actor->state = IDLE;
}

/* Its own replica does it before the caller hears that it is done. */
static void
finish(struct sim *sim, struct actor *actor)
{
	struct replica *replica = &sim->replicas[actor->replica];
	struct line *line = &sim->log[actor->line];
	const char *tag;

	if (line->keys == 0) {
		struct set set = set_of(actor, &tag);
		engine_stored(replica->space, &set, &actor->plan, 5);
	} else {
		tell(sim, replica, actor->line, true);
		line->told_ms = now_ms(sim);
	}
	actor->state = IDLE;
}

/* ---- steps ---- */

static void
begin(struct sim *sim, struct actor *actor)
{
	actor->replica = draw(sim, REPLICAS);
	actor->key = draw(sim, KEYS);
	if (draw(sim, 12)) {
		ask(sim, actor);
		return;
	}
	for (unsigned key = 0; key < KEYS; key++)
		sim->origin[key]++;
	store_change(sim, actor);
	actor->state = IS_CHANGED;
}

static void
act(struct sim *sim, struct actor *actor)
{
	switch (actor->state) {
	case IS_LOOKING:
		actor->state = store_look(sim, actor) ? IS_ANSWERED : IS_ASKED;
		break;
	case IS_ASKED:
		store_answer(sim, actor);
		actor->state = IS_ANSWERED;
		break;
	case IS_ANSWERED:
		settle(sim, actor);
		break;
	case HAS_TOKEN:
		actor->value = sim->origin[actor->key];
		actor->state = HAS_READ;
		break;
	case HAS_READ:
		fill(sim, actor);
		break;
	case IS_CHANGED:
		finish(sim, actor);
		break;
	default:
		begin(sim, actor);
	}
}

static void
step(struct sim *sim)
{
	struct replica *replica = &sim->replicas[draw(sim, REPLICAS)];
	unsigned chance = draw(sim, 100);

	if (chance < 50)
		act(sim, &sim->actors[draw(sim, ACTORS)]);
	else if (chance < 85)
		follow(sim, replica);
	else if (chance < 95)
		hear_of_head(sim, replica);
	else if (chance < 97)
		engine_tick(replica->engine);
	else
		fake_clock_advance_ms(&sim->clock, draw(sim, 400));
}

/* ---- runs ---- */

static struct trust *
trust_of(void *arg, const char *tenant, const char *name)
{
	struct replica *replica = arg;

	(void)tenant;
	(void)name;
	return &replica->trust;
}

static void
replica_init(struct sim *sim, struct replica *replica)
{
	struct space_options options = space_options_default();

	memset(replica, 0, sizeof(*replica));
	replica->engine = engine_new(&(struct engine_options){.bytes_max = 4 << 20,
	                                                      .clock = &sim->clock.clock,
	                                                      .random = &sim->random.random,
	                                                      .trust_of = trust_of,
	                                                      .trust_arg = replica});
	ck_assert_int_eq(engine_space(replica->engine, "t", "s", &replica->space).code, STATUS_OK);
	options.ttl_ms = 20000;
	options.lease_ms = LEASE_MS;
	options.entries_max = draw(sim, 2) ? 6 : 0;
	space_configure(replica->space, &options);
}

static void
run_seed(struct sim *sim, uint64_t seed, uint64_t steps)
{
	fake_clock_init(&sim->clock, 1000000000000);
	fake_clock_advance_ms(&sim->clock, 100000);
	seeded_random_init(&sim->random, seed);
	memset(sim->actors, 0, sizeof(sim->actors));
	memset(sim->stored, 0, sizeof(sim->stored));
	memset(sim->origin, 0, sizeof(sim->origin));
	sim->number = 0;
	for (unsigned i = 0; i < REPLICAS; i++)
		replica_init(sim, &sim->replicas[i]);
	for (uint64_t i = 0; i < steps && sim->number + ACTORS < LOG; i++) {
		arena_reset(&sim->arena);
		step(sim);
	}
	for (unsigned i = 0; i < REPLICAS; i++)
		engine_free(sim->replicas[i].engine);
}

static struct sim *
run(bool is_deaf, uint64_t steps)
{
	struct sim *sim = calloc(1, sizeof(*sim));

	sim->is_deaf = is_deaf;
	arena_init(&sim->arena, 4096, 1 << 16);
	for (uint64_t seed = 1; steps > 0; seed++) {
		uint64_t some = steps < RUN_STEPS ? steps : RUN_STEPS;
		run_seed(sim, seed, some);
		steps -= some;
	}
	printf("%lu hits, %lu answers, %lu fills, %lu refused, %lu gaps; %lu older than what was known, %lu than "
	       "a second\n",
	       (unsigned long)sim->hits, (unsigned long)sim->answers, (unsigned long)sim->fills,
	       (unsigned long)sim->refusals, (unsigned long)sim->losses, (unsigned long)sim->wrong,
	       (unsigned long)sim->old);
	arena_fini(&sim->arena);
	return sim;
}

static uint64_t
steps_wanted(void)
{
	const char *text = getenv("CACHE_SIMULATION_STEPS");
	return text ? strtoull(text, NULL, 10) : STEPS;
}

START_TEST(no_replica_gives_what_is_older_than_it_knows_or_than_a_second)
{
	struct sim *sim = run(false, steps_wanted());

	ck_assert_uint_eq(sim->wrong, 0);
	ck_assert_uint_eq(sim->old, 0);
	ck_assert_uint_gt(sim->hits, steps_wanted() / 50);
	ck_assert_uint_gt(sim->answers, steps_wanted() / 50);
	ck_assert_uint_gt(sim->fills, steps_wanted() / 100);
	ck_assert_uint_gt(sim->refusals, steps_wanted() / 1000);
	ck_assert_uint_gt(sim->losses, steps_wanted() / 10000);
	free(sim);
}
END_TEST

START_TEST(replicas_that_do_not_follow_the_log_are_found_out)
{
	struct sim *sim = run(true, 100000);

	ck_assert_uint_gt(sim->old, 100);
	free(sim);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache replicas simulation");
	TCase *tests = tcase_create("simulation");

	tcase_set_timeout(tests, 0);
	tcase_add_test(tests, no_replica_gives_what_is_older_than_it_knows_or_than_a_second);
	tcase_add_test(tests, replicas_that_do_not_follow_the_log_are_found_out);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
