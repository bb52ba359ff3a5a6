/*
 * The hostile programs of tests/sandbox/hostile, each run with the static check and without it, by whatever
 * user runs the tests and by one without rights.
 *
 * A program begins with comments that say what it tries and what may come of it:
 *
 *   # Reads a file of the host.
 *   # checked: invalid_code
 *   # bypassed: security_violation openat, openat2 | runtime_error
 *   # limits: cpu=100 wall=300 memory=32
 *
 * Without the check the kernel's layers stand alone. Words behind an outcome are system calls for a security
 * violation, and parts of the message otherwise: one of them has to be there. Limits are milliseconds and
 * MiB. Whatever a program has done, its neighbours end as they should, and the zygote that served it is still
 * the first one.
 */
#include <check.h>
#include <dirent.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "support/test_runner.h"

#define PROGRAMS_MAX   400
#define PROGRAMS_LEAST 60
#define CODE_MAX       65536u
#define NAME_SIZE      80
#define EXPECTED_SIZE  200
#define SLOTS          4
#define NOBODY         65534

struct program {
	char name[NAME_SIZE];
	char expected[2][EXPECTED_SIZE]; /* without the check, with it */
	struct runner_limits limits;
	char *code;
	size_t size;
};

static struct program programs[PROGRAMS_MAX];
static size_t program_count;

/* ---------------------------------------------------------------- reading them */

/* What stands behind "# KEY: " in the head; "" when nothing does. */
static void
take_heading(const struct program *program, const char *key, char *into)
{
	char start[32];

	snprintf(start, sizeof(start), "\n# %s: ", key);
	const char *at = strstr(program->code, start);
	size_t length = at ? strcspn(at + strlen(start), "\n") : 0;
	ck_assert_uint_lt(length, EXPECTED_SIZE);
	if (at)
		memcpy(into, at + strlen(start), length);
	into[length] = '\0';
}

static uint32_t
number_after(const char *text, const char *name, uint32_t otherwise)
{
	const char *at = strstr(text, name);

	return at ? (uint32_t)strtoul(at + strlen(name), NULL, 10) : otherwise;
}

/* The defaults are more than any program needs that is not about them, on a busy machine, too. */
static struct runner_limits
limits_of(const char *text)
{
	return (struct runner_limits){
	    .cpu_ms = number_after(text, "cpu=", 5000),
	    .wall_ms = number_after(text, "wall=", 60000),
	    .memory_bytes = (uint64_t)number_after(text, "memory=", 64) << 20,
	};
}

static void
read_program(const char *directory, const char *name)
{
	struct program *program = &programs[program_count++];
	char path[1024], limits[EXPECTED_SIZE];

	ck_assert_uint_lt(strlen(name), NAME_SIZE);
	strcpy(program->name, name);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *file = fopen(path, "re");
	ck_assert_msg(file != NULL, "%s", path);
	program->code = mem_alloc(CODE_MAX + 1);
	program->size = fread(program->code, 1, CODE_MAX, file);
	fclose(file);
	take_heading(program, "bypassed", program->expected[0]);
	take_heading(program, "checked", program->expected[1]);
	take_heading(program, "limits", limits);
	program->limits = limits_of(limits);
	ck_assert_msg(program->expected[0][0] && program->expected[1][0], "%s does not say what to expect", name);
}

static void
read_programs(void)
{
	const char *source = getenv("CORBEL_SOURCE");
	char *directory = mem_printf("%s/tests/sandbox/hostile", source ? source : ".");
	DIR *found = opendir(directory);

	ck_assert_msg(found != NULL, "%s", directory);
	for (struct dirent *entry; (entry = readdir(found)) != NULL;)
		if (strstr(entry->d_name, ".py") && program_count < PROGRAMS_MAX)
			read_program(directory, entry->d_name);
	closedir(found);
	mem_free(directory);
	ck_assert_uint_ge(program_count, PROGRAMS_LEAST);
}

static void
forget_programs(void)
{
	for (size_t i = 0; i < program_count; i++)
		mem_free(programs[i].code);
	program_count = 0;
}

/* ---------------------------------------------------------------- judging them */

static bool
says(const struct test_outcome *outcome, const char *words)
{
	if (outcome->outcome == RUNNER_SECURITY_VIOLATION)
		return strcmp(outcome->system_call, words) == 0;
	return strstr(outcome->message, words) != NULL || strstr(outcome->log, words) != NULL;
}

/* "security_violation clone, clone3": the words behind the outcome are alternatives. */
static bool
is_one(const struct test_outcome *outcome, char *alternative)
{
	char *rest = alternative, *name = strsep(&rest, " "), *words;

	if (strcmp(name, runner_outcome_name(outcome->outcome)) != 0)
		return false;
	if (!rest || !*rest)
		return true;
	while ((words = strsep(&rest, ",")) != NULL)
		if (says(outcome, words + strspn(words, " ")))
			return true;
	return false;
}

static bool
is_expected(const struct test_outcome *outcome, const char *expected)
{
	char copy[EXPECTED_SIZE], *rest = copy, *alternative;

	strcpy(copy, expected);
	while ((alternative = strsep(&rest, "|")) != NULL) {
		alternative += strspn(alternative, " ");
		char *end = alternative + strlen(alternative);
		while (end > alternative && end[-1] == ' ')
			*--end = '\0';
		if (is_one(outcome, alternative))
			return true;
	}
	return false;
}

/* Says how it ended when that is not as it should be; returns how many that makes. */
static int
judge(const struct program *program, struct test_run *run, bool is_checked)
{
	struct test_outcome outcome = test_runner_await(run);
	bool is_right = is_expected(&outcome, program->expected[is_checked]);

	if (!is_right || getenv("CORBEL_HOSTILE_SHOW"))
		fprintf(stderr, "%s%s, %s: %s [%s] %.200s (cpu %llu ms, %llu MiB), expected: %s\n",
		        is_right ? "" : "WRONG: ", program->name, is_checked ? "checked" : "bypassed",
		        runner_outcome_name(outcome.outcome), outcome.system_call, outcome.message,
		        (unsigned long long)outcome.cpu_us / 1000,
		        (unsigned long long)outcome.memory_peak_bytes >> 20, program->expected[is_checked]);
	test_outcome_free(&outcome);
	return is_right ? 0 : 1;
}

static struct test_run *
submit(struct runner *runner, const struct program *program, bool is_checked)
{
	struct runner_request request = {.code = program->code,
	                                 .code_size = program->size,
	                                 .limits = program->limits,
	                                 .is_unchecked = !is_checked};

	return test_runner_submit(runner, &request);
}

/* As many at once as there are slots. */
static int
run_all(struct runner *runner, bool is_checked)
{
	struct test_run *runs[SLOTS] = {NULL};
	int wrong = 0;

	for (size_t i = 0; i < program_count + SLOTS; i++) {
		struct test_run **slot = &runs[i % SLOTS];
		if (*slot)
			wrong += judge(&programs[i - SLOTS], *slot, is_checked);
		*slot = i < program_count ? submit(runner, &programs[i], is_checked) : NULL;
	}
	return wrong;
}

/* ---------------------------------------------------------------- the tests */

static void
be_nobody(void)
{
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
	ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

static void
expect_unharmed(struct runner *runner)
{
	struct test_outcome honest = test_runner_run(runner, "result = sum(context) * 2", "[20, 1]");
	struct runner_figures figures;

	ck_assert_msg(honest.outcome == RUNNER_OK, "%s", honest.message);
	ck_assert_str_eq(honest.result, "42");
	test_outcome_free(&honest);
	runner_figures(runner, &figures);
	ck_assert_uint_eq(figures.zygote_deaths, 0);
	ck_assert_uint_eq(figures.ended[RUNNER_HOST_ERROR], 0);
}

/* The bits of the loop's index: with the check; as nobody. */
START_TEST(every_hostile_program_ends_as_it_says_and_harms_nobody_else)
{
	if (_i & 2)
		be_nobody();
	read_programs();
	struct runner *runner = test_runner_start(&(struct runner_options){.slots = SLOTS});
	int wrong = run_all(runner, _i & 1);

	expect_unharmed(runner);
	runner_stop(runner, 1000);
	forget_programs();
	ck_assert_msg(wrong == 0, "%d programs did not end as they should", wrong);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile");
	TCase *corpus = tcase_create("corpus");

	tcase_set_timeout(corpus, 280);
	tcase_add_loop_test(corpus, every_hostile_program_ends_as_it_says_and_harms_nobody_else, 0, 4);
	suite_add_tcase(suite, corpus);

	SRunner *checker = srunner_create(suite);
	srunner_run_all(checker, CK_ENV);
	int failed = srunner_ntests_failed(checker);
	srunner_free(checker);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
