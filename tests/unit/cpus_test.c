/*
 * cpus: quotas of both versions of cgroups, from files such as a container sees.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpus.h"
#include "support/test_dir.h"

static struct test_dir dir;

static void
put(const char *name, const char *text)
{
	char path[600];
	snprintf(path, sizeof(path), "%s/%s", dir.path, name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

static void
begin(void)
{
	char path[600];
	test_dir_make(&dir);
	snprintf(path, sizeof(path), "%s/cpu", dir.path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void
end(void)
{
	test_dir_remove(&dir);
}

START_TEST(a_quota_of_either_version_counts_when_it_is_less)
{
	size_t all = cpus_available(dir.path); /* nothing there */
	ck_assert_uint_ge(all, 1);
	put("cpu.max", "max 100000\n");
	ck_assert_uint_eq(cpus_available(dir.path), all);
	put("cpu.max", "50000 100000\n");
	ck_assert_uint_eq(cpus_available(dir.path), 1);
	put("cpu.max", "99900000 100000\n");
	ck_assert_uint_eq(cpus_available(dir.path), all);
	put("cpu.max", "nonsense\n");
	ck_assert_uint_eq(cpus_available(dir.path), all);
	put("cpu/cpu.cfs_period_us", "100000\n");
	put("cpu/cpu.cfs_quota_us", "-1\n");
	ck_assert_uint_eq(cpus_available(dir.path), all);
	put("cpu/cpu.cfs_quota_us", "100000\n");
	ck_assert_uint_eq(cpus_available(dir.path), 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cpus");
	TCase *tcase = tcase_create("cpus");
	tcase_add_checked_fixture(tcase, begin, end);
	tcase_add_test(tcase, a_quota_of_either_version_counts_when_it_is_less);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
