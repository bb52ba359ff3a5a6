/*
 * test_dir: a private temporary directory for one test.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_DIR_H
#define CORBEL_TESTS_SUPPORT_TEST_DIR_H

#define TEST_DIR_MAX 96

struct test_dir {
	char path[TEST_DIR_MAX];
};

/* Makes a directory under $TMPDIR (or /tmp), for the caller only. Aborts the test on failure. */
void test_dir_make(struct test_dir *dir);
/* Removes it with everything in it. */
void test_dir_remove(const struct test_dir *dir);

#endif
