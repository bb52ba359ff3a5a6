/*
 * Snapshots' files: what is written comes back, what is not whole is known for it, and what was changed since
 * is marked.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cached/change_marks.h"
#include "cached/snapshot_file.h"
#include "support/test_dir.h"

#define KEYS 500u

static struct test_dir dir;
static char path[TEST_DIR_MAX + 16];

static void
set_up(void)
{
	test_dir_make(&dir);
	snprintf(path, sizeof(path), "%s/file", dir.path);
}

static void
tear_down(void)
{
	test_dir_remove(&dir);
}

/* ---- the file of entries ---- */

static struct kept_entry
entry_of(unsigned number, char key[16], char *value, uint64_t tags[2])
{
	snprintf(key, 16, "k/%u", number);
	memset(value, 'a' + (int)(number % 26), number * 7);
	tags[0] = number;
	tags[1] = ~(uint64_t)number;
	return (struct kept_entry){.set = {.key = key,
	                                   .key_length = strlen(key),
	                                   .value = value,
	                                   .value_length = number % 5 ? number * 7 : 0,
	                                   .content_type = number % 3 ? "text/plain" : "",
	                                   .tag_hashes = tags,
	                                   .tag_count = number % 3,
	                                   .grace_ms = number * 10,
	                                   .error_grace_ms = number % 2,
	                                   .is_negative = number % 5 == 0},
	                           .past = {number, (int64_t)number - 100, number % 4}};
}

static void
write_entries(uint64_t bytes_max, uint64_t generation)
{
	struct snapshot_writer *writer;
	char key[16], value[KEYS * 7];
	uint64_t tags[2];

	ck_assert(snapshot_writer_new(path, &(struct snapshot_head){generation, 77}, bytes_max, &writer).code ==
	          STATUS_OK);
	snapshot_writer_space(writer, "nobody", "empty");
	snapshot_writer_space(writer, "tenant", "first");
	for (unsigned i = 1; i < KEYS; i++) {
		if (i == KEYS / 2)
			snapshot_writer_space(writer, "tenant", "second");
		struct kept_entry entry = entry_of(i, key, value, tags);
		snapshot_writer_add(writer, &entry);
		snapshot_writer_flush(writer);
	}
	ck_assert(snapshot_writer_end(writer).code == STATUS_OK);
}

static size_t
load(char **bytes)
{
	FILE *file = fopen(path, "rb");

	*bytes = malloc(4 << 20);
	size_t size = fread(*bytes, 1, 4 << 20, file);
	fclose(file);
	return size;
}

static void
compare(void *arg, const char *tenant, const char *name, const struct kept_entry *entry)
{
	unsigned *number = arg;
	char key[16], value[KEYS * 7];
	uint64_t tags[2];
	struct kept_entry expected = entry_of(++*number, key, value, tags);

	ck_assert_str_eq(tenant, "tenant");
	ck_assert_str_eq(name, *number < KEYS / 2 ? "first" : "second");
	ck_assert_uint_eq(entry->set.key_length, expected.set.key_length);
	ck_assert_mem_eq(entry->set.key, key, expected.set.key_length);
	ck_assert_uint_eq(entry->set.value_length, expected.set.value_length);
	ck_assert_mem_eq(entry->set.value, value, expected.set.value_length);
	ck_assert_str_eq(entry->set.content_type, expected.set.content_type);
	ck_assert_uint_eq(entry->set.tag_count, expected.set.tag_count);
	ck_assert_mem_eq(entry->set.tag_hashes, tags, expected.set.tag_count * sizeof(tags[0]));
	ck_assert_uint_eq(entry->set.grace_ms, expected.set.grace_ms);
	ck_assert_uint_eq(entry->set.error_grace_ms, expected.set.error_grace_ms);
	ck_assert(entry->set.is_negative == expected.set.is_negative);
	ck_assert_uint_eq(entry->past.age_ms, expected.past.age_ms);
	ck_assert_int_eq(entry->past.fresh_ms, expected.past.fresh_ms);
	ck_assert_uint_eq(entry->past.delta_ms, expected.past.delta_ms);
}

START_TEST(entries_come_back_as_they_were_written)
{
	struct snapshot_head head;
	unsigned count = 0;
	char *bytes;

	write_entries(UINT64_MAX, 5);
	size_t size = load(&bytes);
	ck_assert(snapshot_is_whole(bytes, size, &head));
	ck_assert_uint_eq(head.generation, 5);
	ck_assert_uint_eq(head.wall_ms, 77);
	snapshot_read(bytes, size, compare, &count);
	ck_assert_uint_eq(count, KEYS - 1);
	free(bytes);
}
END_TEST

START_TEST(a_file_that_is_cut_or_changed_anywhere_is_not_whole)
{
	struct snapshot_head head;
	char *bytes;

	write_entries(20000, 5);
	size_t size = load(&bytes);
	ck_assert_uint_le(size, 20000 + 64);
	ck_assert(snapshot_is_whole(bytes, size, &head));
	for (size_t cut = 0; cut < size; cut++)
		ck_assert(!snapshot_is_whole(bytes, cut, &head));
	for (size_t at = 0; at < size; at++) {
		bytes[at] ^= 4;
		ck_assert_msg(!snapshot_is_whole(bytes, size, &head), "byte %zu", at);
		bytes[at] ^= 4;
	}
	free(bytes);
}
END_TEST

START_TEST(blocks_of_another_file_are_not_taken)
{
	struct snapshot_head head;
	char *bytes, *others;

	write_entries(20000, 5);
	size_t size = load(&bytes);
	write_entries(20000, 6);
	load(&others);
	memcpy(others, bytes, 32); /* the head */
	ck_assert(snapshot_is_whole(bytes, size, &head));
	ck_assert(!snapshot_is_whole(others, size, &head));
	free(bytes);
	free(others);
}
END_TEST

/* ---- marks ---- */

static struct subject
subject_of(const char *key, const uint64_t *tags, size_t tag_count)
{
	return (struct subject){key, strlen(key), tags, tag_count};
}

static struct change
change_of(enum change_kind kind, const char *text)
{
	return (struct change){.kind = kind,
	                       .subject = {text, strlen(text), NULL, 0},
	                       .name = text,
	                       .name_length = strlen(text),
	                       .tag = tag_hash(text, strlen(text))};
}

static struct change_marks *
marks_new(uint64_t generation)
{
	struct change_marks *marks;
	struct status st = change_marks_new(path, generation, &marks);
	ck_assert_msg(st.code == STATUS_OK, "%s", st.message);
	return marks;
}

START_TEST(each_kind_of_change_marks_what_it_covers_and_little_else)
{
	struct change_marks *marks = marks_new(1);
	uint64_t space = change_marks_space("t", "s"), other = change_marks_space("t", "other");
	uint64_t tags[] = {tag_hash("red", 3), tag_hash("blue", 4)};
	const struct change changes[] = {change_of(CHANGE_SET, "set"),        change_of(CHANGE_FILL, "filled"),
	                                 change_of(CHANGE_DELETE, "deleted"), change_of(CHANGE_EXPIRE, "expired"),
	                                 change_of(CHANGE_TAG, "blue"),       change_of(CHANGE_PREFIX, "a/b//"),
	                                 change_of(CHANGE_TOUCH, "touched")};
	static const char *const COVERED[] = {"set", "filled", "deleted", "expired", "a/b", "a/b/c", "a/b/c/d"};
	static const char *const NOT[] = {"touched", "a/bc", "a", "blue", "b/a/b"};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		change_marks_add(marks, space, &changes[i]);
	for (size_t i = 0; i < sizeof(COVERED) / sizeof(COVERED[0]); i++) {
		struct subject subject = subject_of(COVERED[i], NULL, 0);
		ck_assert_msg(change_marks_cover(marks, space, &subject), "%s", COVERED[i]);
		ck_assert(!change_marks_cover(marks, other, &subject));
	}
	for (size_t i = 0; i < sizeof(NOT) / sizeof(NOT[0]); i++) {
		struct subject subject = subject_of(NOT[i], tags, 1);
		ck_assert_msg(!change_marks_cover(marks, space, &subject), "%s", NOT[i]);
		subject.tag_count = 2;
		ck_assert(change_marks_cover(marks, space, &subject));
	}
	struct change glob = change_of(CHANGE_GLOB, "x*");
	struct subject any = subject_of("any", NULL, 0);
	change_marks_add(marks, other, &glob);
	ck_assert(change_marks_cover(marks, other, &any));
	ck_assert(!change_marks_cover(marks, space, &any));
	change_marks_close(marks);
}
END_TEST

/* As if another boot had written it. */
static void
change_boot(void)
{
	FILE *file = fopen(path, "r+b");

	fseek(file, 16, SEEK_SET);
	fputc('x', file);
	fclose(file);
}

START_TEST(marks_are_trusted_in_the_boot_that_made_them_or_when_they_were_sealed)
{
	struct change_marks *marks = marks_new(7);
	struct change change = change_of(CHANGE_DELETE, "k");
	struct subject subject = subject_of("k", NULL, 0);

	change_marks_add(marks, 1, &change);
	change_marks_close(marks);
	ck_assert_int_eq(change_marks_open(path, 8, &marks).code, STATUS_FAILED_PRECONDITION);
	ck_assert_int_eq(change_marks_open(path, 7, &marks).code, STATUS_OK);
	ck_assert(change_marks_cover(marks, 1, &subject));
	ck_assert_int_eq(change_marks_seal(marks).code, STATUS_OK);
	change_marks_close(marks);
	change_boot();
	/* Sealed; opening breaks the seal. */
	ck_assert_int_eq(change_marks_open(path, 7, &marks).code, STATUS_OK);
	ck_assert(change_marks_cover(marks, 1, &subject));
	change_marks_close(marks);
	change_boot();
	ck_assert_int_eq(change_marks_open(path, 7, &marks).code, STATUS_FAILED_PRECONDITION);
}
END_TEST

START_TEST(marks_have_one_owner_at_a_time)
{
	struct change_marks *marks = marks_new(7), *again;

	ck_assert_int_eq(change_marks_open(path, 7, &again).code, STATUS_UNAVAILABLE);
	change_marks_close(marks);
	ck_assert_int_eq(change_marks_open(path, 7, &again).code, STATUS_OK);
	change_marks_close(again);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache snapshot");
	TCase *tests = tcase_create("snapshot");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, entries_come_back_as_they_were_written);
	tcase_add_test(tests, a_file_that_is_cut_or_changed_anywhere_is_not_whole);
	tcase_add_test(tests, blocks_of_another_file_are_not_taken);
	tcase_add_test(tests, each_kind_of_change_marks_what_it_covers_and_little_else);
	tcase_add_test(tests, marks_are_trusted_in_the_boot_that_made_them_or_when_they_were_sealed);
	tcase_add_test(tests, marks_have_one_owner_at_a_time);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
