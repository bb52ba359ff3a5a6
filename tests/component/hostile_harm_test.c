/*
 * What a hostile program leaves to others: nothing. It has the interpreter to itself (no static check), and
 * signals its group, changes all that it can reach, or writes anything on its channel, while and before
 * others run.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test_runner.h"

static struct runner_request
bypassed(const char *code, const char *context)
{
	return (struct runner_request){.code = code,
	                               .code_size = strlen(code),
	                               .context = context,
	                               .context_size = strlen(context),
	                               .is_unchecked = true};
}

static struct test_outcome
run_bypassed(struct runner *runner, const char *code, const char *context)
{
	struct runner_request request = bypassed(code, context);

	return test_runner_request(runner, &request);
}

/* The first zygote is still the one that serves. */
static void
expect_one_zygote(struct runner *runner)
{
	struct test_outcome honest = test_runner_run(runner, "result = 1", NULL);
	struct runner_figures figures;

	ck_assert_msg(honest.outcome == RUNNER_OK, "%s", honest.message);
	test_outcome_free(&honest);
	runner_figures(runner, &figures);
	ck_assert_uint_eq(figures.zygote_deaths, 0);
}

/* Where a PID namespace is, the program is its init and outlives its own signal; where none is, it does not.
 */
START_TEST(a_program_without_the_filter_signals_nobody_but_itself)
{
	struct runner_options options = {.slots = 4,
	                                 .policy = RUNNER_POLICY_NONE,
	                                 .layers = RUNNER_ALL_LAYERS & ~RUNNER_LAYER(RUNNER_SECCOMP)};
	struct runner *runner = test_runner_start(&options);

	for (int i = 0; i < 4; i++) {
		struct test_outcome outcome = run_bypassed(runner, "import posix\nposix.killpg(0, 9)", "null");
		test_outcome_free(&outcome);
	}
	expect_one_zygote(runner);
	runner_stop(runner, 1000);
}
END_TEST

/* ---------------------------------------------------------------- what is left behind */

static const char PROBE[] =
    "import sys, gc, random, decimal, builtins, json, math, re, time, posix\n"
    "random.seed(7)\n"
    "result = [gc.get_threshold(), gc.isenabled(), sys.getrecursionlimit(), sys.get_int_max_str_digits(),\n"
    "    decimal.getcontext().prec, sorted(vars(builtins)), sorted(sys.modules), sorted(vars(json)), "
    "len(sys.path),\n"
    "    len(posix.environ), time.tzname, len(sys.meta_path), json.dumps([1]), len('x'), "
    "random.random(),\n"
    "    sys.getswitchinterval(), sys.gettrace() is None, 'left' in vars(math), list(map(str, "
    "re._cache))[:3],\n"
    "    int.__add__(1, 1), str(Ellipsis)]\n";

static const char VANDAL[] =
    "import sys, gc, random, decimal, builtins, json, math, re, time, posix\n"
    "re.compile('left')\ngc.set_threshold(1, 1, "
    "1)\ngc.disable()\nsys.setrecursionlimit(77)\nsys.set_int_max_str_digits(0)\n"
    "decimal.getcontext().prec = 3\nbuiltins.left = math.left = json.left = 1\nbuiltins.len = lambda x: 0\n"
    "json.dumps = lambda x: 'left'\nsys.modules['left'] = sys\nsys.path.append('/left')\n"
    "posix.environ[b'LEFT'] = b'1'\ntime.tzname = ('LEFT', 'LEFT')\nsys.meta_path.clear()\n"
    "random.seed = lambda x: None\nsys.setswitchinterval(1)\nsys.settrace(lambda *_: None)\n"
    "result = 1\n";

static struct test_outcome
run_ok(struct runner *runner, const char *code)
{
	struct test_outcome outcome = run_bypassed(runner, code, "null");

	ck_assert_msg(outcome.outcome == RUNNER_OK, "%s %s %s", outcome.message, outcome.traceback,
	              outcome.system_call);
	return outcome;
}

START_TEST(what_a_run_changes_in_its_interpreter_the_next_does_not_see)
{
	struct runner *runner = test_runner_start(&(struct runner_options){.slots = 1});
	struct test_outcome before = run_ok(runner, PROBE);

	for (int i = 0; i < 3; i++) {
		struct test_outcome vandal = run_ok(runner, VANDAL), after = run_ok(runner, PROBE);
		ck_assert_str_eq(after.result, before.result);
		test_outcome_free(&vandal);
		test_outcome_free(&after);
	}
	test_outcome_free(&before);
	runner_stop(runner, 1000);
}
END_TEST

/* ---------------------------------------------------------------- the channel */

#define CHATTERS 200

/* Frames of all kinds with wrong and right sizes, whole outcomes with wrong words in them, and noise. */
static const char CHATTER[] =
    "import posix, random, struct\n"
    "r = random.Random(context)\n"
    "def noise(n): return r.randbytes(r.randrange(n + 1))\n"
    "def text(): t = noise(40); return struct.pack('<I', r.choice([len(t)] * 8 + [0, 1 << 31])) + t\n"
    "def outcome(): return struct.pack('<2I', r.choice([0, 1, 2, 4, 6, 8, 10, 99]), r.randrange(3)) + text() "
    "+"
    " text() + r.choice([b'\\2\\0\\0\\0{}', b'\\0\\0\\0\\0', text()]) + struct.pack('<I', r.choice([0] * 5 + "
    "[1, 1 << 30]))\n"
    "def frame():\n"
    "    kind = r.choice([1, 1, 1, 2, 3, 0, 1 << 31])\n"
    "    body = outcome() if kind == 2 else r.randbytes(4) if kind == 3 else b'x' + noise(3000)\n"
    "    return struct.pack('<2I', kind, r.choice([len(body)] * 9 + [0, len(body) + 1, 0xffffffff])) + body\n"
    "for _ in range(r.randrange(1, 40)):\n"
    "    posix.write(1, frame() if r.random() < 0.95 else noise(200))\n"
    "if r.random() < 0.5: posix._exit(r.choice([0, 1, 255]))\n";

/* Such a child may end as it likes, but not in ways that are not a program's to bring about. */
static void
chatter(struct runner *runner, int seed)
{
	char context[16];
	snprintf(context, sizeof(context), "%d", seed);
	struct runner_request request = bypassed(CHATTER, context);
	struct test_run *hostile = test_runner_submit(runner, &request);
	struct test_outcome honest = test_runner_run(runner, "print(context)\nresult = [context]", context);
	struct test_outcome outcome = test_runner_await(hostile);

	ck_assert_msg(outcome.outcome != RUNNER_HOST_ERROR && outcome.outcome != RUNNER_CANCELLED &&
	                  outcome.outcome != RUNNER_TIMEOUT,
	              "seed %d: %s %s", seed, runner_outcome_name(outcome.outcome), outcome.message);
	ck_assert_int_eq(honest.outcome, RUNNER_OK);
	ck_assert_int_eq(atoi(honest.result + 1), seed);
	ck_assert_int_eq(atoi(honest.log), seed);
	test_outcome_free(&outcome);
	test_outcome_free(&honest);
}

START_TEST(a_child_that_writes_anything_on_its_channel_harms_its_own_run_only)
{
	struct runner *runner = test_runner_start(&(struct runner_options){.slots = 2});

	for (int seed = 0; seed < CHATTERS; seed++)
		chatter(runner, seed);
	expect_one_zygote(runner);
	runner_stop(runner, 1000);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile_harm");
	TCase *others = tcase_create("others");

	tcase_set_timeout(others, 120);
	tcase_add_test(others, a_program_without_the_filter_signals_nobody_but_itself);
	tcase_add_test(others, what_a_run_changes_in_its_interpreter_the_next_does_not_see);
	tcase_add_test(others, a_child_that_writes_anything_on_its_channel_harms_its_own_run_only);
	suite_add_tcase(suite, others);

	SRunner *checker = srunner_create(suite);
	srunner_run_all(checker, CK_ENV);
	int failed = srunner_ntests_failed(checker);
	srunner_free(checker);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
