/*
 * l1: entries that come, are replaced and leave, beside a plain array that holds the same.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "cached/heap.h"
#include "cached/l1.h"

#define KEYS  3000u
#define STEPS 100000u

static struct seeded_random seeded;
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

struct model {
	uint64_t versions[KEYS]; /* 0: not in */
	uint64_t fresh[KEYS];
	uint32_t count;
};

static uint32_t
draw(uint32_t bound)
{
	return (uint32_t)random_below(&seeded.random, bound);
}

/* Few homes in the index and few marks, so that keys are always in each other's way. */
static uint32_t
crowded_hash(uint32_t key)
{
	return (key % 7) << 29 | (key % 3) << 5 | (key % 2);
}

static size_t
name_of(uint32_t key, char name[16])
{
	return (size_t)snprintf(name, 16, "key%u", key);
}

static struct entry *
make(uint32_t key, uint64_t version, size_t length)
{
	char name[16], value[300] = "";
	struct entry_parts parts = {
	    .version = version, .fresh_ms = version, .key = name, .value = value, .value_length = length};

	parts.key_length = name_of(key, name);
	return entry_new(heap, &parts);
}

static void
read_version(const struct entry *entry, uint64_t seen[2])
{
	struct entry_parts parts;

	entry_read(entry, &parts);
	seen[0] = parts.version;
	seen[1] = parts.fresh_ms;
}

static void
assert_same(struct l1 *l1, const struct model *model, uint32_t key)
{
	char name[16];
	size_t length = name_of(key, name);
	uint64_t seen[2] = {0};
	uint32_t hash = crowded_hash(key);

	reader_enter(readers_own(readers));
	l1_expect(l1, hash);
	l1_arrive(l1, l1_approach(l1, hash));
	const struct entry *entry = l1_look(l1, hash, name, length);
	if (entry)
		read_version(entry, seen);
	reader_leave(readers_own(readers));
	bool is_there = entry != NULL;
	ck_assert_int_eq(is_there, model->versions[key] != 0);
	ck_assert_uint_eq(seen[0], model->versions[key]);
	ck_assert_uint_eq(seen[1], is_there ? model->fresh[key] : 0);
	ck_assert_uint_eq(l1_count(l1), model->count);
}

/* Whoever was evicted is found out by looking. */
static void
evict(struct l1 *l1, struct model *model)
{
	char name[16];

	ck_assert_int_eq(l1_evict(l1), model->count > 0);
	for (uint32_t key = 0; key < KEYS; key++)
		if (model->versions[key] && !l1_find(l1, crowded_hash(key), name, name_of(key, name))) {
			model->versions[key] = 0;
			model->count--;
			return;
		}
	ck_assert_uint_eq(model->count, 0);
}

static void
step(struct l1 *l1, struct model *model, uint64_t now)
{
	uint32_t key = draw(KEYS), what = draw(100);
	char name[16];
	size_t length = name_of(key, name);
	bool was_there = model->versions[key] != 0;

	if (what < 45) {
		l1_put(l1, crowded_hash(key), make(key, now, draw(2) ? 1 : draw(300)));
		model->count += !was_there;
		model->versions[key] = model->fresh[key] = now;
	} else if (what < 80) {
		ck_assert(l1_remove(l1, crowded_hash(key), name, length) == was_there);
		model->count -= was_there;
		model->versions[key] = 0;
	} else if (what < 90) {
		ck_assert(l1_set_fresh(l1, crowded_hash(key), name, length, now) == was_there);
		model->fresh[key] = now;
	} else if (what == 99 && draw(10) == 0) {
		evict(l1, model);
	}
	assert_same(l1, model, key);
	assert_same(l1, model, draw(KEYS));
}

START_TEST(an_entry_is_found_among_others_that_come_and_leave)
{
	struct l1 *l1 = l1_new(readers);
	struct model *model = calloc(1, sizeof(*model));

	seeded_random_init(&seeded, 11);
	for (uint64_t now = 1; now <= STEPS; now++)
		step(l1, model, now);
	for (uint32_t key = 0; key < KEYS; key++)
		assert_same(l1, model, key);
	ck_assert_uint_gt(l1_count(l1), KEYS / 3);
	l1_clear(l1);
	ck_assert_uint_eq(l1_count(l1), 0);
	ck_assert_uint_eq(l1_bytes(l1), 0);
	l1_free(l1);
	free(model);
}
END_TEST

static bool
keep_even(void *arg, const struct entry *entry)
{
	++*(uint32_t *)arg;
	return entry_version(entry) % 2 == 0;
}

START_TEST(a_sweep_in_parts_offers_every_entry_once_and_lets_go_what_is_refused)
{
	struct l1 *l1 = l1_new(readers);
	uint32_t cursor = 0, offered = 0, parts = 1;

	for (uint32_t key = 0; key < 10000; key++)
		l1_put(l1, (uint32_t)hash_stable64(&key, sizeof(key), 0), make(key, key + 1, 10));
	while (l1_sweep(l1, &cursor, 256, keep_even, &offered))
		parts++;
	ck_assert_uint_eq(offered, 10000);
	ck_assert_uint_eq(parts, 40);
	ck_assert_uint_eq(cursor, 0);
	ck_assert_uint_eq(l1_count(l1), 5000);
	l1_free(l1);
}
END_TEST

START_TEST(an_entry_is_read_as_it_was_made_whatever_it_has)
{
	char key[1024], type[127], value[5000];
	uint64_t tags[16];

	memset(key, 'k', sizeof(key));
	memset(type, 't', sizeof(type));
	memset(value, 'v', sizeof(value));
	for (uint64_t i = 0; i < 16; i++)
		tags[i] = i * UINT64_C(0x0123456789ABCDEF);
	for (unsigned what = 0; what < 64; what++) {
		struct entry_parts parts = {.version = (UINT64_C(1) << 48) - 1,
		                            .fresh_ms = ENTRY_TIME_MAX - what,
		                            .stored_ms = 64000000,
		                            .is_negative = what & 1,
		                            .key = key,
		                            .key_length = what & 2 ? 1024 : 1,
		                            .type = type,
		                            .type_length = what & 4 ? 127 : 0,
		                            .tags = tags,
		                            .tag_count = what & 8 ? 16 : 0,
		                            .value = value,
		                            .value_length = what & 16 ? sizeof(value) : 0,
		                            .grace_ms = what & 32 ? UINT32_MAX : 0,
		                            .delta_ms = what & 32 ? 7 : 0},
		                   read;
		struct entry *entry = entry_new(heap, &parts);
		entry_read(entry, &read);
		ck_assert_uint_eq(read.version, parts.version);
		ck_assert_uint_eq(read.fresh_ms, parts.fresh_ms);
		ck_assert_uint_eq(read.stored_ms, parts.stored_ms);
		ck_assert_int_eq(read.is_negative, parts.is_negative);
		ck_assert_uint_eq(read.grace_ms, parts.grace_ms);
		ck_assert_uint_eq(read.delta_ms, parts.delta_ms);
		ck_assert_uint_eq(read.key_length, parts.key_length);
		ck_assert_mem_eq(read.key, key, parts.key_length);
		ck_assert_uint_eq(read.type_length, parts.type_length);
		ck_assert(parts.type_length == 0 || memcmp(read.type, type, parts.type_length) == 0);
		ck_assert_uint_eq(read.tag_count, parts.tag_count);
		ck_assert(parts.tag_count == 0 || memcmp(read.tags, tags, sizeof(tags)) == 0);
		ck_assert_uint_eq(read.value_length, parts.value_length);
		ck_assert(memcmp(read.value, value, parts.value_length) == 0);
		ck_assert(entry_has_key(entry, key, parts.key_length));
		ck_assert(!entry_has_key(entry, type, 1));
		ck_assert_uint_le((uint64_t)entry_units(entry) * ENTRY_UNIT_BYTES, entry_bytes_for(&parts));
		entry_free(heap, entry);
	}
}
END_TEST

START_TEST(what_an_entry_will_take_is_known_before_and_little_more_than_it_takes)
{
	static const size_t lengths[] = {0,    1,     3,     4,      11,     12,     100,
	                                 1000, 65000, 65536, 131000, 131072, 200000, 1 << 20};
	char *value = calloc(1, 1 << 20);

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct entry_parts parts = {.key = "k", .key_length = 1, .value = value, .value_length = lengths[i]};
		struct entry *entry = entry_new(heap, &parts);
		uint64_t bytes = (uint64_t)entry_units(entry) * ENTRY_UNIT_BYTES, most = entry_bytes_for(&parts);
		ck_assert_uint_le(bytes, most);
		ck_assert_uint_le(most, bytes + 48 + bytes / 15);
		entry_free(heap, entry);
	}
	free(value);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache table");
	TCase *tests = tcase_create("table");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, an_entry_is_found_among_others_that_come_and_leave);
	tcase_add_test(tests, a_sweep_in_parts_offers_every_entry_once_and_lets_go_what_is_refused);
	tcase_add_test(tests, an_entry_is_read_as_it_was_made_whatever_it_has);
	tcase_add_test(tests, what_an_entry_will_take_is_known_before_and_little_more_than_it_takes);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
