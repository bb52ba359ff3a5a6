/*
 * readers and l1 under several threads: what is read stays while it is read, and what is not taken away is
 * found whatever comes and leaves around it.
 */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "cached/heap.h"
#include "cached/l1.h"
#include "cached/readers.h"

#define RETIRED 64u /* pieces that are freed together */
#define STAYING 40u
#define PASSING 400u
#define CHANGES 20000u
#define LOOKERS 3u
#define FIXED   600u
#define ROUNDS  300u
#define COPIES  16u /* of a key's number in its value: a torn one shows */

static struct heap *heap;
static struct readers *readers;

static void
set_up(void)
{
	heap = heap_new();
	readers = readers_new(heap);
}

static void
tear_down(void)
{
	readers_free(readers);
	heap_free(heap);
}

/* ---- readers ---- */

static void *
retire_many(void *arg)
{
	for (unsigned i = 0; i < RETIRED; i++)
		readers_retire(readers, heap_alloc(heap, 16), 16);
	atomic_store((_Atomic bool *)arg, true);
	return NULL;
}

START_TEST(a_writer_waits_for_who_is_reading_before_it_frees)
{
	_Atomic bool is_done = false;
	pthread_t writer;
	char *piece = heap_alloc(heap, 5);

	memcpy(piece, "read", 5);
	reader_enter(readers_own(readers));
	readers_retire(readers, piece, 5);
	pthread_create(&writer, NULL, retire_many, &is_done);
	for (unsigned i = 0; i < 1000; i++)
		sched_yield();
	ck_assert(!atomic_load(&is_done));
	ck_assert_str_eq(piece, "read");
	reader_leave(readers_own(readers));
	pthread_join(writer, NULL);
	ck_assert(atomic_load(&is_done));
}
END_TEST

START_TEST(a_writer_waits_for_nobody_who_is_not_reading)
{
	_Atomic bool is_done = false;

	reader_enter(readers_own(readers));
	reader_leave(readers_own(readers));
	retire_many(&is_done);
	readers_retire(readers, heap_alloc(heap, 1 << 20), 1 << 20);
	ck_assert(is_done);
}
END_TEST

static void *
own_number(void *arg)
{
	*(unsigned *)arg = readers_own(readers)->number;
	return NULL;
}

START_TEST(a_thread_that_ended_leaves_its_place_to_the_next)
{
	unsigned first, next, own = readers_own(readers)->number;
	pthread_t thread;

	pthread_create(&thread, NULL, own_number, &first);
	pthread_join(thread, NULL);
	pthread_create(&thread, NULL, own_number, &next);
	pthread_join(thread, NULL);
	ck_assert_uint_ne(first, own);
	ck_assert_uint_eq(first, next);
}
END_TEST

/* ---- entries that stay among others that come and leave ---- */

struct hall {
	struct l1 *l1;
	_Atomic bool is_over;
	_Atomic uint64_t looks, missing, torn;
};

/* Few homes and shards: a run of hundreds of words, of which those behind move when one leaves. */
static uint32_t
hash_of(uint32_t key)
{
	return (key % 3) << 30 | (key % 61) << 5 | key % 2;
}

static size_t
name_of(uint32_t key, char name[16])
{
	return (size_t)snprintf(name, 16, "key%u", key);
}

static struct entry *
make(uint32_t key)
{
	char name[16];
	uint32_t numbers[COPIES];

	for (unsigned i = 0; i < COPIES; i++)
		numbers[i] = key;
	return entry_new(heap, &(struct entry_parts){.version = key,
	                                             .key = name,
	                                             .key_length = name_of(key, name),
	                                             .value = numbers,
	                                             .value_length = sizeof(numbers)});
}

static void
put(struct l1 *l1, uint32_t key)
{
	l1_put(l1, hash_of(key), make(key));
}

static bool
is_whole(const struct entry *entry, uint32_t key)
{
	uint32_t numbers[COPIES];
	struct entry_parts parts;

	entry_read(entry, &parts);
	if (parts.version != key || parts.value_length != sizeof(numbers))
		return false;
	memcpy(numbers, parts.value, sizeof(numbers));
	for (unsigned i = 0; i < COPIES; i++)
		if (numbers[i] != key)
			return false;
	return true;
}

static void
look_at(struct hall *hall, struct reader *reader, uint32_t key)
{
	char name[16];
	size_t length = name_of(key, name);

	reader_enter(reader);
	const struct entry *entry = l1_look(hall->l1, hash_of(key), name, length);
	atomic_fetch_add(&hall->missing, !entry && key < STAYING);
	atomic_fetch_add(&hall->torn, entry && !is_whole(entry, key));
	if (entry)
		l1_use(hall->l1, reader, hash_of(key), entry);
	reader_leave(reader);
	atomic_fetch_add(&hall->looks, 1);
}

static void *
look_on(void *arg)
{
	struct hall *hall = arg;
	struct reader *reader = readers_own(readers);

	while (!atomic_load(&hall->is_over)) {
		look_at(hall, reader, (uint32_t)(random_fast_u64() % STAYING));
		look_at(hall, reader, (uint32_t)(random_fast_u64() % (STAYING + PASSING)));
	}
	return NULL;
}

/* Those that stay are replaced now and then; the others come and leave, all of them from time to time, so
 * that the tables grow and shrink. */
static void
change(struct hall *hall, const struct random *random, unsigned turn)
{
	char name[16];
	uint32_t key = STAYING + (uint32_t)random_below(random, PASSING);
	bool is_filling = turn / (2 * PASSING) % 2 == 0;

	if (turn % 8 == 0)
		put(hall->l1, (uint32_t)random_below(random, STAYING));
	else if (random_below(random, 8) < (is_filling ? 6u : 1u))
		put(hall->l1, key);
	else
		l1_remove(hall->l1, hash_of(key), name, name_of(key, name));
}

START_TEST(what_stays_is_found_at_any_time_and_whole_while_others_come_and_leave)
{
	struct hall hall = {.l1 = l1_new(readers)};
	struct seeded_random seeded;
	pthread_t lookers[LOOKERS];

	seeded_random_init(&seeded, 3);
	for (uint32_t key = STAYING + PASSING; key-- > 0;)
		put(hall.l1, key);
	for (unsigned i = 0; i < LOOKERS; i++)
		pthread_create(&lookers[i], NULL, look_on, &hall);
	for (unsigned turn = 0; turn < CHANGES || atomic_load(&hall.looks) < CHANGES; turn++)
		change(&hall, &seeded.random, turn);
	atomic_store(&hall.is_over, true);
	for (unsigned i = 0; i < LOOKERS; i++)
		pthread_join(lookers[i], NULL);
	ck_assert_uint_eq(hall.missing, 0);
	ck_assert_uint_eq(hall.torn, 0);
	l1_free(hall.l1);
}
END_TEST

/* ---- an entry whose word moves far ---- */

/* A run of words, more than one for each place, of which only the first three and the last have their home at
 * the front: when one of the three leaves, the last moves over the whole run. */
#define FRONT (1u << 29)

struct run {
	struct l1 *l1;
	_Atomic uint32_t key; /* that is in all the time; 0: none */
	_Atomic bool is_over;
	_Atomic uint64_t looks, missing;
};

static void
put_at(struct l1 *l1, uint32_t hash, uint32_t key)
{
	l1_put(l1, hash, make(key));
}

static void
remove_at(struct l1 *l1, uint32_t hash, uint32_t key)
{
	char name[16];
	ck_assert(l1_remove(l1, hash, name, name_of(key, name)));
}

static void
fill_run(struct l1 *l1)
{
	for (uint32_t i = 0; i < 3; i++)
		put_at(l1, FRONT, 1 + i);
	for (uint32_t i = 0; i < FIXED; i++)
		put_at(l1, (FRONT + (7u << 20) + i * (UINT32_MAX / FIXED / 20 * 11)) & ~31u, 10 + i);
}

static void *
look_for_one(void *arg)
{
	struct run *run = arg;
	struct reader *reader = readers_own(readers);
	char name[16];

	while (!atomic_load(&run->is_over)) {
		uint32_t key = atomic_load(&run->key);
		size_t length = name_of(key, name);
		reader_enter(reader);
		bool is_there = key && l1_look(run->l1, FRONT, name, length);
		reader_leave(reader);
		/* Another key meanwhile: this one may have left. */
		if (key && atomic_load(&run->key) == key && !is_there)
			atomic_fetch_add(&run->missing, 1);
		atomic_fetch_add(&run->looks, 1);
	}
	return NULL;
}

static void
await_looks(const struct run *run)
{
	for (uint64_t looks = atomic_load(&run->looks); atomic_load(&run->looks) < looks + 2;)
		sched_yield();
}

START_TEST(an_entry_is_found_while_its_word_moves_from_the_end_of_a_run_to_the_front)
{
	struct run run = {.l1 = l1_new(readers)};
	pthread_t looker;

	fill_run(run.l1);
	pthread_create(&looker, NULL, look_for_one, &run);
	for (uint32_t round = 0; round < ROUNDS; round++) {
		uint32_t key = 10 + FIXED + round;
		put_at(run.l1, FRONT, key);
		atomic_store(&run.key, key);
		await_looks(&run);
		remove_at(run.l1, FRONT, 1);
		await_looks(&run);
		atomic_store(&run.key, 0);
		remove_at(run.l1, FRONT, key);
		put_at(run.l1, FRONT, 1);
	}
	atomic_store(&run.is_over, true);
	pthread_join(looker, NULL);
	ck_assert_uint_eq(run.missing, 0);
	l1_free(run.l1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache readers");
	TCase *tests = tcase_create("readers");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 300);
	tcase_add_test(tests, a_writer_waits_for_who_is_reading_before_it_frees);
	tcase_add_test(tests, a_writer_waits_for_nobody_who_is_not_reading);
	tcase_add_test(tests, a_thread_that_ended_leaves_its_place_to_the_next);
	tcase_add_test(tests, what_stays_is_found_at_any_time_and_whole_while_others_come_and_leave);
	tcase_add_test(tests, an_entry_is_found_while_its_word_moves_from_the_end_of_a_run_to_the_front);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
