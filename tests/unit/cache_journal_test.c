/*
 * The journal of changes: what was committed is read back whatever became of the file's end, and what could
 * not be committed is not.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cached/change_journal.h"
#include "support/test_dir.h"

#define BYTES_MAX 65536u

static struct test_dir dir;
static char path[TEST_DIR_MAX + 16];
static char heard[4096];

static void
set_up(void)
{
	test_dir_make(&dir);
	snprintf(path, sizeof(path), "%s/journal", dir.path);
}

static void
tear_down(void)
{
	test_dir_remove(&dir);
}

static void
hear(void *arg, const struct journal_change *change)
{
	size_t used = strlen(heard);

	ck_assert_ptr_null(arg);
	ck_assert_uint_eq(strlen(change->name), change->length);
	snprintf(heard + used, sizeof(heard) - used, "%d %s/%s %s;", (int)change->kind, change->tenant,
	         change->space, change->name);
}

/* What it has is in `heard` then. */
static struct change_journal *
open_journal(size_t cut_expected)
{
	struct change_journal *journal;
	size_t cut;

	heard[0] = '\0';
	struct status st = change_journal_open(path, BYTES_MAX, hear, NULL, &cut, &journal);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_uint_eq(cut, cut_expected);
	return journal;
}

static void
add(struct change_journal *journal, enum op_kind kind, const char *name)
{
	change_journal_add(journal, &(struct journal_change){kind, "ten_1", "pages", name, strlen(name)});
}

static void
commit(struct change_journal *journal, enum op_kind kind, const char *name)
{
	add(journal, kind, name);
	struct status st = change_journal_commit(journal);
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

static size_t
file_size(void)
{
	struct stat is;
	ck_assert_int_eq(stat(path, &is), 0);
	return (size_t)is.st_size;
}

START_TEST(what_was_committed_is_read_back_in_its_order_until_it_is_cleared)
{
	struct change_journal *journal = open_journal(0);

	commit(journal, OP_DELETE, "a/b");
	add(journal, OP_TAG, "red");
	commit(journal, OP_GLOB, "*.html");
	commit(journal, OP_ALL, "");
	add(journal, OP_DELETE, "not committed");
	change_journal_close(journal);
	journal = open_journal(0);
	ck_assert_str_eq(heard, "1 ten_1/pages a/b;6 ten_1/pages red;8 ten_1/pages *.html;9 ten_1/pages ;");
	ck_assert_int_eq(change_journal_clear(journal).code, STATUS_OK);
	commit(journal, OP_PREFIX, "later");
	change_journal_close(journal);
	change_journal_close(open_journal(0));
	ck_assert_str_eq(heard, "7 ten_1/pages later;");
}
END_TEST

START_TEST(an_end_that_was_not_whole_is_cut_off_and_written_over)
{
	struct change_journal *journal = open_journal(0);

	commit(journal, OP_DELETE, "first");
	size_t first = file_size();
	commit(journal, OP_DELETE, "second");
	size_t both = file_size();
	change_journal_close(journal);
	for (size_t size = both - 1; size > first; size--) {
		ck_assert_int_eq(truncate(path, (off_t)size), 0);
		journal = open_journal(size - first);
		ck_assert_str_eq(heard, "1 ten_1/pages first;");
		commit(journal, OP_DELETE, "second");
		change_journal_close(journal);
	}
	change_journal_close(open_journal(0));
	ck_assert_str_eq(heard, "1 ten_1/pages first;1 ten_1/pages second;");
}
END_TEST

START_TEST(a_record_with_any_bit_changed_is_not_read)
{
	struct change_journal *journal = open_journal(0);

	size_t start = file_size();
	commit(journal, OP_DELETE, "key");
	size_t end = file_size();
	change_journal_close(journal);
	char bytes[256];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, bytes, end, 0), (ssize_t)end);
	for (size_t bit = start * 8; bit < end * 8; bit++) {
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
		heard[0] = '\0';
		ck_assert_uint_eq(change_journal_read(bytes, end, hear, NULL), start);
		ck_assert_str_eq(heard, "");
		bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
	}
	(void)close(fd);
}
END_TEST

START_TEST(a_full_journal_takes_nothing_more_and_keeps_what_it_has)
{
	struct change_journal *journal = open_journal(0);
	char name[1001];
	unsigned count = 0;

	memset(name, 'n', 1000);
	name[1000] = '\0';
	add(journal, OP_DELETE, name);
	while (change_journal_commit(journal).code == STATUS_OK) {
		count++;
		add(journal, OP_DELETE, name);
	}
	ck_assert_uint_le(file_size(), BYTES_MAX);
	ck_assert_uint_ge(count, BYTES_MAX / 1100);
	commit(journal, OP_DELETE, "one that fits");
	add(journal, OP_ALL, "");
	ck_assert_int_eq(change_journal_replace(journal).code, STATUS_OK);
	commit(journal, OP_DELETE, "later");
	change_journal_close(journal);
	change_journal_close(open_journal(0));
	ck_assert_str_eq(heard, "9 ten_1/pages ;1 ten_1/pages later;");
}
END_TEST

START_TEST(what_the_disk_does_not_take_is_not_there_afterwards)
{
	struct change_journal *journal = open_journal(0);

	commit(journal, OP_DELETE, "first");
	struct rlimit limit, small;
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = (struct rlimit){file_size() + 20, limit.rlim_max};
	ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	add(journal, OP_DELETE, "a name for which there is no room");
	ck_assert_int_eq(change_journal_commit(journal).code, STATUS_UNAVAILABLE);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	commit(journal, OP_DELETE, "second");
	change_journal_close(journal);
	change_journal_close(open_journal(0));
	ck_assert_str_eq(heard, "1 ten_1/pages first;1 ten_1/pages second;");
}
END_TEST

START_TEST(a_file_that_is_open_elsewhere_or_of_another_version_is_left_alone)
{
	struct change_journal *journal = open_journal(0), *second;
	size_t cut;

	commit(journal, OP_DELETE, "first");
	struct status st = change_journal_open(path, BYTES_MAX, hear, NULL, &cut, &second);
	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
	ck_assert_ptr_null(second);
	ck_assert_int_eq(change_journal_replace(journal).code, STATUS_OK);
	st = change_journal_open(path, BYTES_MAX, hear, NULL, &cut, &second);
	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
	commit(journal, OP_DELETE, "second");
	change_journal_close(journal);
	size_t size = file_size();
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "clbpend2", 8, 0), 8);
	(void)close(fd);
	st = change_journal_open(path, BYTES_MAX, hear, NULL, &cut, &second);
	ck_assert_int_eq(st.code, STATUS_FAILED_PRECONDITION);
	ck_assert_uint_eq(file_size(), size);
}
END_TEST

START_TEST(where_no_file_can_be_made_it_says_so)
{
	struct change_journal *journal;
	size_t cut;

	struct status st = change_journal_open("/proc/journal", BYTES_MAX, hear, NULL, &cut, &journal);
	ck_assert_int_eq(st.code, STATUS_UNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(st.message, "/proc/journal"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache journal");
	TCase *tests = tcase_create("journal");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_add_test(tests, what_was_committed_is_read_back_in_its_order_until_it_is_cleared);
	tcase_add_test(tests, an_end_that_was_not_whole_is_cut_off_and_written_over);
	tcase_add_test(tests, a_record_with_any_bit_changed_is_not_read);
	tcase_add_test(tests, a_full_journal_takes_nothing_more_and_keeps_what_it_has);
	tcase_add_test(tests, what_the_disk_does_not_take_is_not_there_afterwards);
	tcase_add_test(tests, a_file_that_is_open_elsewhere_or_of_another_version_is_left_alone);
	tcase_add_test(tests, where_no_file_can_be_made_it_says_so);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
