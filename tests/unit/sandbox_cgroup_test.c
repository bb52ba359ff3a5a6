/*
 * cgroups of both versions, in trees of plain files that look as the kernel's do. mkdir() and rmdir() of this
 * program stand in for the kernel: a group that is made has its files, and takes them along.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "runner/cgroup.h"
#include "support/test_dir.h"

static const char *const FILES[] = {
    "memory.max", "memory.limit_in_bytes", "memory.events", "memory.oom_control", "pids.max", "cgroup.procs"};
#define FILE_COUNT (sizeof(FILES) / sizeof(FILES[0]))

static void
put_text(const char *directory, const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", directory, name);
	FILE *file = fopen(path, "we");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
	mem_free(path);
}

int
mkdir(const char *path, mode_t mode)
{
	if (mkdirat(AT_FDCWD, path, mode) != 0)
		return -1;
	for (size_t i = 0; i < FILE_COUNT; i++)
		put_text(path, FILES[i], "");
	return 0;
}

int
rmdir(const char *path)
{
	for (size_t i = 0; i < FILE_COUNT; i++) {
		char *file = mem_printf("%s/%s", path, FILES[i]);
		unlink(file);
		mem_free(file);
	}
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* ---------------------------------------------------------------- trees */

struct fake {
	struct test_dir dir;
	const char *root; /* its path */
	char *own;
};

static void
make_path(const struct fake *fake, const char *path)
{
	char *whole = mem_printf("%s%s", fake->root, path);

	for (char *at = whole + strlen(fake->root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
		*at = '\0';
		mkdirat(AT_FDCWD, whole, 0755);
	}
	mkdirat(AT_FDCWD, whole, 0755);
	mem_free(whole);
}

static void
fake_begin(struct fake *fake, const char *own)
{
	test_dir_make(&fake->dir);
	fake->root = fake->dir.path;
	put_text(fake->root, "own", own);
	fake->own = mem_printf("%s/own", fake->root);
}

static void
fake_free(struct fake *fake)
{
	test_dir_remove(&fake->dir);
	mem_free(fake->own);
}

/* The one group below `parent`, as a path to free; NULL: none. */
static char *
group_in(const struct fake *fake, const char *parent)
{
	char *command = mem_printf("ls -d %s%s/corbel-plugins-* 2>/dev/null", fake->root, parent),
	     line[4096] = "";
	FILE *list = popen(command, "re");

	ck_assert_ptr_nonnull(list);
	char *read = fgets(line, sizeof(line), list);
	pclose(list);
	mem_free(command);
	line[strcspn(line, "\n")] = '\0';
	return read ? mem_strdup(line) : NULL;
}

static void
expect_text(const char *directory, const char *name, const char *expected)
{
	char *path = mem_printf("%s/%s", directory, name), text[256];
	FILE *file = fopen(path, "re");

	ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	ck_assert_msg(strcmp(text, expected) == 0, "%s: %s", path, text);
	mem_free(path);
}

#define LIMIT     (UINT64_C(300) << 20)
#define PROCESSES 40u

static struct cgroup *
make(const struct fake *fake, char why[120])
{
	return cgroup_new((struct cgroup_tree){fake->root, fake->own}, LIMIT, PROCESSES, why, 120);
}

/* ---------------------------------------------------------------- tests */

START_TEST(version_2_has_one_group_with_both_limits)
{
	struct fake fake;
	char why[120];

	fake_begin(&fake, "0::/system.slice/corbel.service/daemon\n");
	put_text(fake.root, "cgroup.controllers", "cpu memory pids\n");
	make_path(&fake, "/system.slice/corbel.service/daemon");
	char *parent = mem_printf("%s/system.slice/corbel.service/daemon", fake.root);
	put_text(parent, "cgroup.subtree_control", "");
	struct cgroup *cgroup = make(&fake, why);
	ck_assert_msg(cgroup != NULL, "%s", why);
	ck_assert_str_eq(why, "version 2: 300 MiB, 40 processes");
	expect_text(parent, "cgroup.subtree_control", "+memory +pids");
	char *group = group_in(&fake, "/system.slice/corbel.service/daemon");
	ck_assert_ptr_nonnull(group);
	expect_text(group, "memory.max", "314572800");
	expect_text(group, "pids.max", "40");
	ck_assert(cgroup_add(cgroup, 4711));
	expect_text(group, "cgroup.procs", "4711");
	ck_assert_uint_eq(cgroup_kills(cgroup), 0);
	put_text(group, "memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n");
	ck_assert_uint_eq(cgroup_kills(cgroup), 2);
	cgroup_free(cgroup);
	ck_assert_int_ne(access(group, F_OK), 0);
	mem_free(group);
	mem_free(parent);
	fake_free(&fake);
}
END_TEST

/* As on hosts that mount both: the first version has the controllers, the second none of them. */
START_TEST(beside_a_second_version_without_controllers_the_first_is_used)
{
	struct fake fake;
	char why[120];

	fake_begin(&fake, "8:name=systemd:/\n5:cpu,pids:/apps\n4:memory:/apps\n0::/user.slice\n");
	make_path(&fake, "/unified/user.slice");
	make_path(&fake, "/memory/apps");
	make_path(&fake, "/pids/apps");
	struct cgroup *cgroup = make(&fake, why);
	ck_assert_msg(cgroup != NULL, "%s", why);
	ck_assert_str_eq(why, "version 1: 300 MiB, 40 processes");
	char *memory = group_in(&fake, "/memory/apps"), *pids = group_in(&fake, "/pids/apps");
	ck_assert(memory && pids && !group_in(&fake, "/unified/user.slice"));
	expect_text(memory, "memory.limit_in_bytes", "314572800");
	expect_text(pids, "pids.max", "40");
	ck_assert(cgroup_add(cgroup, 4711));
	expect_text(memory, "cgroup.procs", "4711");
	expect_text(pids, "cgroup.procs", "4711");
	put_text(memory, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
	ck_assert_uint_eq(cgroup_kills(cgroup), 5);
	cgroup_free(cgroup);
	ck_assert(access(memory, F_OK) != 0 && access(pids, F_OK) != 0);
	mem_free(memory);
	mem_free(pids);
	fake_free(&fake);
}
END_TEST

START_TEST(groups_of_processes_that_are_no_more_are_removed)
{
	struct fake fake;
	char why[120];
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	waitpid(gone, NULL, 0);
	fake_begin(&fake, "0::/\n");
	put_text(fake.root, "cgroup.controllers", "memory pids\n");
	char *old = mem_printf("/corbel-plugins-%d-abc", gone),
	     *living = mem_printf("/corbel-plugins-%d-abc", getpid());
	make_path(&fake, old);
	make_path(&fake, living);
	struct cgroup *cgroup = make(&fake, why);
	ck_assert_msg(cgroup != NULL, "%s", why);
	char *path = mem_printf("%s%s", fake.root, old);
	ck_assert_int_ne(access(path, F_OK), 0);
	mem_free(path);
	path = mem_printf("%s%s", fake.root, living);
	ck_assert_int_eq(access(path, F_OK), 0);
	mem_free(path);
	cgroup_free(cgroup);
	mem_free(old);
	mem_free(living);
	fake_free(&fake);
}
END_TEST

START_TEST(without_a_group_of_ones_own_there_is_none_and_the_host_says_why)
{
	static const char *const OWN[] = {"", "0::/not/there\n", "4:memory:/not/there\n", "nonsense\n:::\n"};
	char why[120];

	for (size_t i = 0; i < sizeof(OWN) / sizeof(OWN[0]); i++) {
		struct fake fake;
		fake_begin(&fake, OWN[i]);
		if (i < 2)
			put_text(fake.root, "cgroup.controllers", "memory pids\n");
		ck_assert_ptr_null(make(&fake, why));
		ck_assert_msg(strstr(why, "No such file or directory"), "%s", why);
		fake_free(&fake);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sandbox_cgroup");
	TCase *trees = tcase_create("trees");

	tcase_add_test(trees, version_2_has_one_group_with_both_limits);
	tcase_add_test(trees, beside_a_second_version_without_controllers_the_first_is_used);
	tcase_add_test(trees, groups_of_processes_that_are_no_more_are_removed);
	tcase_add_test(trees, without_a_group_of_ones_own_there_is_none_and_the_host_says_why);
	suite_add_tcase(suite, trees);

	SRunner *checker = srunner_create(suite);
	srunner_run_all(checker, CK_ENV);
	int failed = srunner_ntests_failed(checker);
	srunner_free(checker);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
