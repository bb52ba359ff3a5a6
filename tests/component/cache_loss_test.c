/*
 * Three replicas of cached on one Redis, which each reaches by a network that loses, reorders and delays what
 * the log tells, or nothing at all gets through; and replicas that are stopped for a while. Writers change
 * the origin's values and invalidate them by key, tag, prefix and pattern; readers fill what is missing and
 * check what they get: never a value older than what was invalidated, and acknowledged, a second before they
 * asked.
 *
 * CORBEL_CACHE_READS sets the number of reads (a million). The same with a program that does not follow the
 * log has to find violations.
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "support/test_cached.h"
#include "support/test_process.h"

#define REPLICAS   3u
#define GROUPS     8u /* of keys: a prefix, and a tag, each */
#define KEYS       (GROUPS * 32u)
#define BATCH      64u
#define READERS    3u
#define WRITERS    2u
#define BOUND_MS   1000u
#define REMEMBERED 256u /* acknowledgements of a key */
#define PHASE_MS   2000u
#define BACK_MS    1000u /* until a replica has Redis again */
#define READS      1000000u
#define CALL_MS    10000u
#define TOLD       10u /* violations that are described */
#define NAME       "pages"

/* What was acknowledged of a key, and when. */
struct history {
	pthread_mutex_t lock;
	struct {
		uint64_t version, at_ms;
	} entries[REMEMBERED];
	size_t first, count;
	uint64_t old; /* of what is not remembered any more */
};

struct loss {
	struct test_cached rig;
	_Atomic uint64_t origin[KEYS]; /* versions of the values as they are now */
	struct history histories[KEYS];
	_Atomic bool is_over;
	_Atomic unsigned phase;
	_Atomic unsigned shunned; /* replica that nothing is told to; REPLICAS: none */
	_Atomic uint64_t reads, hits, fills, refused, failed, invalidations, violations, worst_ms;
	uint64_t reads_wanted;
};

static char *
text(const char *constant)
{
	return (char *)(uintptr_t)constant;
}

static char *
key_of(unsigned key, struct arena *arena)
{
	return arena_printf(arena, "group%u/%u", key % GROUPS, key / GROUPS);
}

static char *
tag_of(unsigned key, struct arena *arena)
{
	return arena_printf(arena, "tag%u", key / GROUPS % GROUPS);
}

/* ---- what was acknowledged ---- */

static void
forget_one(struct history *history)
{
	uint64_t version = history->entries[history->first].version;

	history->old = version > history->old ? version : history->old;
	history->first = (history->first + 1) % REMEMBERED;
	history->count--;
}

/* More acknowledgements in a second than are remembered would make the test too strict. */
static void
acknowledge(struct history *history, uint64_t version, uint64_t now_ms)
{
	pthread_mutex_lock(&history->lock);
	while (history->count > 0 && history->entries[history->first].at_ms + BOUND_MS + CALL_MS < now_ms)
		forget_one(history);
	ck_assert_uint_lt(history->count, REMEMBERED);
	size_t at = (history->first + history->count++) % REMEMBERED;
	history->entries[at].version = version;
	history->entries[at].at_ms = now_ms;
	pthread_mutex_unlock(&history->lock);
}

/* How long before `asked_ms` a newer version than this was acknowledged; 0: it was not. */
static uint64_t
stale_ms(struct history *history, uint64_t version, uint64_t asked_ms)
{
	uint64_t longest_ms = 0;

	pthread_mutex_lock(&history->lock);
	if (version < history->old)
		longest_ms = BOUND_MS + CALL_MS;
	for (size_t i = 0; i < history->count && longest_ms == 0; i++) {
		size_t at = (history->first + i) % REMEMBERED;
		if (history->entries[at].version > version && history->entries[at].at_ms < asked_ms)
			longest_ms = asked_ms - history->entries[at].at_ms;
	}
	pthread_mutex_unlock(&history->lock);
	return longest_ms;
}

/* ---- readers ---- */

static void
raise_to(_Atomic uint64_t *most, uint64_t value)
{
	uint64_t before = atomic_load(most);
	while (value > before && !atomic_compare_exchange_weak(most, &before, value))
		;
}

static void
check_entry(struct loss *loss, unsigned replica, unsigned key, const Corbel__V1__CacheEntry *entry,
            uint64_t asked_ms)
{
	atomic_fetch_add(&loss->reads, 1);
	if (!entry->text)
		return;
	atomic_fetch_add(&loss->hits, 1);
	uint64_t late_ms = stale_ms(&loss->histories[key], strtoull(entry->text, NULL, 10), asked_ms);
	raise_to(&loss->worst_ms, late_ms);
	if (late_ms > BOUND_MS && atomic_fetch_add(&loss->violations, 1) < TOLD)
		fprintf(stderr,
		        "phase %u, replica %u, key %u, value %s, cache version %lu, outcome %d: %lu ms late\n",
		        atomic_load(&loss->phase), replica, key, entry->text, (unsigned long)entry->version,
		        (int)entry->outcome, (unsigned long)late_ms);
}

/* The origin is read after the token was handed out, as every caller does. */
static void
fill(struct loss *loss, unsigned replica, unsigned key, const Corbel__V1__CacheEntry *entry,
     struct arena *arena)
{
	Corbel__V1__CacheSetRequest request = CORBEL__V1__CACHE_SET_REQUEST__INIT;
	char *tags[] = {tag_of(key, arena)};
	ProtobufCMessage *reply;

	request.namespace_ = text(NAME);
	request.key = key_of(key, arena);
	request.text = arena_printf(arena, "%lu", (unsigned long)atomic_load(&loss->origin[key]));
	request.lease = entry->lease;
	request.tags = tags;
	request.n_tags = 1;
	request.has_ttl_ms = true;
	request.ttl_ms = 600000;
	struct status st =
	    test_cached_call(&loss->rig, replica, CACHE_SET, &request.base, CALL_MS, arena, &reply);
	if (status_ok(&st))
		atomic_fetch_add(&loss->fills, 1);
	else
		atomic_fetch_add(st.code == STATUS_ABORTED ? &loss->refused : &loss->failed, 1);
}

static void
read_some(struct loss *loss, unsigned replica, struct arena *arena)
{
	Corbel__V1__CacheGetManyRequest request = CORBEL__V1__CACHE_GET_MANY_REQUEST__INIT;
	unsigned numbers[BATCH];
	char *keys[BATCH];
	ProtobufCMessage *message;

	for (unsigned i = 0; i < BATCH; i++) {
		numbers[i] = (unsigned)(random_fast_u64() % KEYS);
		keys[i] = key_of(numbers[i], arena);
	}
	request.namespace_ = text(NAME);
	request.keys = keys;
	request.n_keys = BATCH;
	request.has_lease = request.lease = true;
	uint64_t asked_ms = test_now_ms();
	struct status st =
	    test_cached_call(&loss->rig, replica, CACHE_GET_MANY, &request.base, CALL_MS, arena, &message);
	if (!status_ok(&st)) {
		atomic_fetch_add(&loss->failed, 1);
		return;
	}
	const Corbel__V1__CacheGetManyReply *reply = (const Corbel__V1__CacheGetManyReply *)message;
	for (size_t i = 0; i < reply->n_entries; i++) {
		check_entry(loss, replica, numbers[i], reply->entries[i], asked_ms);
		if (reply->entries[i]->lease)
			fill(loss, replica, numbers[i], reply->entries[i], arena);
	}
}

static void *
read_all(void *arg)
{
	struct loss *loss = arg;
	struct arena arena;

	arena_init(&arena, 1 << 20, SIZE_MAX);
	for (unsigned i = 0; !atomic_load(&loss->is_over); i++) {
		arena_reset(&arena);
		read_some(loss, (unsigned)(random_fast_u64() % REPLICAS), &arena);
	}
	arena_fini(&arena);
	return NULL;
}

/* ---- writers ---- */

enum way { BY_KEY, BY_TAG, BY_PREFIX, BY_PATTERN, WAYS };

static bool
is_covered(unsigned key, enum way way, unsigned chosen)
{
	switch (way) {
	case BY_KEY:
		return key == chosen;
	case BY_TAG:
		return key / GROUPS % GROUPS == chosen / GROUPS % GROUPS;
	case BY_PREFIX:
		return key % GROUPS == chosen % GROUPS;
	default: /* the last digit of its number in its group */
		return key / GROUPS % 10 == chosen / GROUPS % 10;
	}
}

static struct status
tell(struct loss *loss, unsigned replica, enum way way, unsigned chosen, struct arena *arena)
{
	Corbel__V1__CacheInvalidateRequest many = CORBEL__V1__CACHE_INVALIDATE_REQUEST__INIT;
	Corbel__V1__CacheKeyRequest one = CORBEL__V1__CACHE_KEY_REQUEST__INIT;
	char *names[1];
	ProtobufCMessage *reply;

	one.namespace_ = many.namespace_ = text(NAME);
	if (way == BY_KEY) {
		one.key = key_of(chosen, arena);
		return test_cached_call(&loss->rig, replica, CACHE_DELETE, &one.base, CALL_MS, arena, &reply);
	}
	names[0] = way == BY_TAG      ? tag_of(chosen, arena)
	           : way == BY_PREFIX ? arena_printf(arena, "group%u", chosen % GROUPS)
	                              : arena_printf(arena, "*%u", chosen / GROUPS % 10);
	many.tags = many.prefixes = many.patterns = names;
	many.n_tags = way == BY_TAG;
	many.n_prefixes = way == BY_PREFIX;
	many.n_patterns = way == BY_PATTERN;
	return test_cached_call(&loss->rig, replica, CACHE_INVALIDATE, &many.base, CALL_MS, arena, &reply);
}

/* The origin changes first, then the cache is told. What was not acknowledged promises nothing. */
static void
change(struct loss *loss, struct arena *arena)
{
	enum way way = random_fast_u64() % 4 ? BY_KEY : (enum way)(random_fast_u64() % WAYS);
	unsigned chosen = (unsigned)(random_fast_u64() % KEYS),
	         replica = (unsigned)(random_fast_u64() % REPLICAS);
	uint64_t versions[KEYS];

	if (replica == atomic_load(&loss->shunned))
		replica = (replica + 1) % REPLICAS;
	for (unsigned key = 0; key < KEYS; key++)
		if (is_covered(key, way, chosen))
			versions[key] = atomic_fetch_add(&loss->origin[key], 1) + 1;
	struct status st = tell(loss, replica, way, chosen, arena);
	uint64_t now_ms = test_now_ms();
	if (!status_ok(&st)) {
		atomic_fetch_add(&loss->failed, 1);
		return;
	}
	atomic_fetch_add(&loss->invalidations, 1);
	for (unsigned key = 0; key < KEYS; key++)
		if (is_covered(key, way, chosen))
			acknowledge(&loss->histories[key], versions[key], now_ms);
}

static void *
change_all(void *arg)
{
	struct loss *loss = arg;
	struct timespec pause = {.tv_nsec = 25000000};
	struct arena arena;

	arena_init(&arena, 65536, SIZE_MAX);
	while (!atomic_load(&loss->is_over)) {
		arena_reset(&arena);
		change(loss, &arena);
		nanosleep(&pause, NULL);
	}
	arena_fini(&arena);
	return NULL;
}

/* ---- what happens to the replicas ---- */

enum phase { CALM, LOSSY, REORDERED, LATE, MUTE, CUT, HUNG_UP, STOPPED, ALL_LOSSY, PHASES };

static void
wait_ms(const struct loss *loss, uint64_t ms)
{
	for (uint64_t end = test_now_ms() + ms; test_now_ms() < end && !atomic_load(&loss->is_over);)
		test_pause();
}

static void
trouble_all(struct loss *loss, struct test_redis_trouble trouble)
{
	for (unsigned i = 0; i < REPLICAS; i++)
		test_redis_proxy_trouble(loss->rig.replicas[i].proxy, &trouble);
}

static void
play(struct loss *loss, enum phase phase, unsigned victim)
{
	struct test_replica *replica = &loss->rig.replicas[victim];
	static const struct test_redis_trouble NONE, MUTED = {.is_mute = true}, SEVERED = {.is_cut = true};
	static const struct test_redis_trouble TROUBLES[PHASES] = {
	    [LOSSY] = {.drop_permille = 300},
	    [REORDERED] = {.reorder_permille = 300},
	    [LATE] = {.delay_max_ms = 50},
	    [ALL_LOSSY] = {.drop_permille = 300, .reorder_permille = 300, .delay_max_ms = 20},
	};

	atomic_store(&loss->shunned, phase == CUT || phase == HUNG_UP || phase == STOPPED ? victim : REPLICAS);
	atomic_store(&loss->phase, phase);
	trouble_all(loss, TROUBLES[phase]);
	if (phase == MUTE)
		test_redis_proxy_trouble(replica->proxy, &MUTED);
	if (phase == CUT)
		test_redis_proxy_trouble(replica->proxy, &SEVERED);
	if (phase == HUNG_UP)
		test_redis_proxy_hang_up(replica->proxy);
	if (phase == STOPPED)
		kill(replica->pid, SIGSTOP);
	wait_ms(loss, PHASE_MS);
	if (phase == STOPPED)
		kill(replica->pid, SIGCONT);
	trouble_all(loss, NONE);
	wait_ms(loss, BACK_MS);
}

static void
report(const struct loss *loss, const char *what)
{
	struct test_redis_proxy_counts sum = {0};

	for (unsigned i = 0; i < REPLICAS; i++) {
		struct test_redis_proxy_counts counts = test_redis_proxy_counts(loss->rig.replicas[i].proxy);
		sum.published += counts.published;
		sum.dropped += counts.dropped;
		sum.reordered += counts.reordered;
	}
	printf(
	    "%s: %lu reads, %lu of them hits, %lu fills and %lu refused, %lu invalidations, %lu calls failed;\n"
	    "  of %lu news %lu lost, %lu reordered; %lu reads beyond the bound, the oldest %lu ms\n",
	    what, (unsigned long)loss->reads, (unsigned long)loss->hits, (unsigned long)loss->fills,
	    (unsigned long)loss->refused, (unsigned long)loss->invalidations, (unsigned long)loss->failed,
	    (unsigned long)sum.published, (unsigned long)sum.dropped, (unsigned long)sum.reordered,
	    (unsigned long)loss->violations, (unsigned long)loss->worst_ms);
}

/* What a replica without Redis gives for a while, and is told while it cannot tell the others, is beyond what
 * is tested here: nothing is given then, nothing is told to one that is cut off, and a slow machine is no
 * outage. */
static const char *const STRICT[] = {"--cached.outage=0ms", "--cached.redis_patience=2s",
                                     "--redis.timeout=5s", "--redis.connect_timeout=5s", NULL};

/* Until there were enough reads, and every phase at least once; or, when violations are looked for, one. */
static void
run(struct loss *loss, const char *program, bool is_to_fail)
{
	const char *wanted = getenv("CORBEL_CACHE_READS");
	pthread_t readers[READERS], writers[WRITERS];

	memset(loss, 0, sizeof(*loss));
	loss->reads_wanted = wanted ? strtoull(wanted, NULL, 10) : READS;
	for (unsigned i = 0; i < KEYS; i++)
		pthread_mutex_init(&loss->histories[i].lock, NULL);
	test_cached_start(&loss->rig,
	                  &(struct test_cached_options){
	                      .replicas = REPLICAS, .program = program, .has_redis = true, .options = STRICT});
	for (unsigned i = 0; i < READERS; i++)
		pthread_create(&readers[i], NULL, read_all, loss);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_create(&writers[i], NULL, change_all, loss);
	for (unsigned i = 0; i < PHASES || (loss->reads < loss->reads_wanted && !is_to_fail); i++) {
		play(loss, (enum phase)(i % PHASES), i / PHASES % REPLICAS);
		if (is_to_fail && loss->violations > 0)
			break;
	}
	atomic_store(&loss->is_over, true);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	report(loss, program ? program : "cached");
	if (loss->violations > 0 && !is_to_fail)
		test_cached_print_logs(&loss->rig);
	test_cached_stop(&loss->rig);
}

START_TEST(no_read_is_older_than_a_second_after_an_invalidation_whatever_is_lost)
{
	static struct loss loss;

	run(&loss, NULL, false);
	ck_assert_uint_eq(loss.violations, 0);
	ck_assert_uint_gt(loss.hits, loss.reads / 10);
	ck_assert_uint_gt(loss.fills, 1000);
}
END_TEST

START_TEST(replicas_that_do_not_follow_the_log_are_found_out)
{
	static struct loss loss;

	run(&loss, "component/cached_unlogged", true);
	ck_assert_uint_gt(loss.violations, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache loss");
	TCase *tests = tcase_create("loss");

	tcase_set_timeout(tests, 600);
	tcase_add_test(tests, no_read_is_older_than_a_second_after_an_invalidation_whatever_is_lost);
	tcase_add_test(tests, replicas_that_do_not_follow_the_log_are_found_out);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
