/*
 * runner: the layers of isolation, one by one, and as root and as a user without rights.
 *
 * Programs run without the static check, so that a layer is all that stands between them and the host. What a
 * host does not allow is not tried, and said.
 */
#include <check.h>
#include <arpa/inet.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/test_runner.h"

#define NOBODY 65534

/* Tells what it can reach: "file", "list", "signal", "connect", "fork", "root" */
static const char PROBE[] = "import os, posix, _socket\n"
                            "can = []\n"
                            "def attempt(name, f):\n"
                            "    try:\n"
                            "        f()\n"
                            "        can.append(name)\n"
                            "    except (OSError, ValueError):\n"
                            "        pass\n"
                            "attempt('file', lambda: os.close(os.open('/etc/passwd', os.O_RDONLY)))\n"
                            "attempt('list', lambda: os.listdir('/etc'))\n"
                            "attempt('signal', lambda: os.kill(os.getppid() or 99999999, 0))\n"
                            "attempt('connect', lambda: _socket.socket().connect(('127.0.0.1', context)))\n"
                            "def fork():\n"
                            "    if os.fork() == 0: os._exit(0)\n"
                            "attempt('fork', fork)\n"
                            "attempt('root', lambda: os.setuid(0))\n"
                            "result = can\n";

/* A server of the host, for the test to try. */
static int listener = -1;
static char port[8];

static void
listen_on_host(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(listen(listener, 16), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
}

static void
close_listener(void)
{
	close(listener);
}

static struct test_outcome
run_unchecked(struct runner *runner, const char *code)
{
	struct runner_request request = {.code = code,
	                                 .code_size = strlen(code),
	                                 .context = port,
	                                 .context_size = strlen(port),
	                                 .is_unchecked = true};

	return test_runner_request(runner, &request);
}

static struct runner *
start_with(uint32_t layers)
{
	struct runner_options options = {.layers = layers, .policy = RUNNER_POLICY_NONE};

	return test_runner_start(&options);
}

static bool
is_active(struct runner *runner, enum runner_layer layer)
{
	struct runner_isolation isolation;

	runner_isolation(runner, &isolation);
	if (isolation.layers[layer].state == RUNNER_ACTIVE)
		return true;
	printf("not tried here: %s: %s\n", runner_layer_name(layer), isolation.layers[layer].why);
	return false;
}

static void
be_nobody(void)
{
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setresgid(NOBODY, NOBODY, NOBODY), 0);
	ck_assert_int_eq(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

/* As whatever user runs the tests, and as nobody. */
#define ADD_FOR_EACH_USER(tcase, test) tcase_add_loop_test(tcase, test, 0, 2)

/* ---------------------------------------------------------------- all */

START_TEST(all_layers_that_the_host_has_are_active)
{
	if (_i)
		be_nobody();
	struct runner *runner = test_runner_start(NULL);
	struct runner_isolation isolation;

	runner_isolation(runner, &isolation);
	ck_assert_msg(isolation.is_enough, "%s", isolation.missing);
	ck_assert_int_eq(isolation.layers[RUNNER_SECCOMP].state, RUNNER_ACTIVE);
	ck_assert_int_eq(isolation.layers[RUNNER_RLIMITS].state, RUNNER_ACTIVE);
	ck_assert_int_eq(isolation.layers[RUNNER_NO_NEW_PRIVS].state, RUNNER_ACTIVE);
	struct test_outcome out = run_unchecked(runner, PROBE);
	ck_assert_int_eq(out.outcome, RUNNER_SECURITY_VIOLATION);
	ck_assert_str_eq(out.system_call, "openat");
	test_outcome_free(&out);
	out = test_runner_run(runner, "result = 1", NULL);
	ck_assert_msg(out.outcome == RUNNER_OK, "%s", out.message);
	test_outcome_free(&out);
	runner_stop(runner, 0);
}
END_TEST

/* ---------------------------------------------------------------- one by one */

START_TEST(seccomp_alone_ends_every_system_call_class)
{
	static const char *const CODES[] = {
	    "import os; os.listdir('/')",
	    "import os; os.fork()",
	    "import os; os.getppid()",
	    "import os; os.setuid(0)",
	    "import os; os.pipe()",
	    "import os; os.close(1)",
	    "import os; os.memfd_create('x')",
	    "import os; os.sched_setaffinity(0, [0])",
	    "import os; os.nice(1)",
	    "import os; os.uname()",
	    "import os; os.stat('/')",
	    "import _socket; _socket.socket()",
	    "import _thread; _thread.start_new_thread(print, ())",
	    "import _signal; _signal.alarm(1)",
	    "import _signal; _signal.signal(_signal.SIGSYS, _signal.SIG_IGN)",
	};
	struct runner *runner = start_with(RUNNER_LAYER(RUNNER_SECCOMP));

	if (is_active(runner, RUNNER_SECCOMP)) {
		for (size_t i = 0; i < sizeof(CODES) / sizeof(CODES[0]); i++) {
			struct test_outcome out = run_unchecked(runner, CODES[i]);
			ck_assert_msg(out.outcome == RUNNER_SECURITY_VIOLATION, "%s: %s %s", CODES[i],
			              runner_outcome_name(out.outcome), out.message);
			ck_assert_str_ne(out.system_call, "");
			test_outcome_free(&out);
		}
	}
	runner_stop(runner, 0);
}
END_TEST

static void
expect_unable(uint32_t layers, enum runner_layer layer, const char *const unable[])
{
	struct runner *runner = start_with(layers);

	if (is_active(runner, layer)) {
		struct test_outcome out = run_unchecked(runner, PROBE);
		ck_assert_msg(out.outcome == RUNNER_OK, "%s: %s %s", runner_outcome_name(out.outcome), out.message,
		              out.system_call);
		for (size_t i = 0; unable[i]; i++)
			ck_assert_msg(strstr(out.result, unable[i]) == NULL, "%s can: %s", runner_layer_name(layer),
			              out.result);
		test_outcome_free(&out);
	}
	runner_stop(runner, 0);
}

START_TEST(without_layers_a_program_reaches_the_host)
{
	struct runner *runner = start_with(RUNNER_LAYER(RUNNER_CGROUP));
	struct test_outcome out = run_unchecked(runner, PROBE);

	ck_assert_str_eq(out.result, "[\"file\",\"list\",\"signal\",\"connect\",\"fork\"]");
	test_outcome_free(&out);
	runner_stop(runner, 0);
}
END_TEST

START_TEST(namespaces_alone_hide_files_processes_and_the_network)
{
	static const char *const UNABLE[] = {"file", "list", "signal", "connect", "root", NULL};

	if (_i)
		be_nobody();
	expect_unable(RUNNER_LAYER(RUNNER_NAMESPACES), RUNNER_NAMESPACES, UNABLE);
}
END_TEST

START_TEST(landlock_alone_denies_paths_and_what_else_it_knows)
{
	static const char *const UNABLE[] = {"file", "list", "connect", "root", NULL};

	if (_i)
		be_nobody();
	expect_unable(RUNNER_LAYER(RUNNER_LANDLOCK), RUNNER_LANDLOCK, UNABLE);
}
END_TEST

START_TEST(rlimits_alone_deny_processes_and_descriptors)
{
	static const char *const UNABLE[] = {"fork", "file", "connect", "root", NULL};

	if (_i)
		be_nobody();
	expect_unable(RUNNER_LAYER(RUNNER_RLIMITS), RUNNER_RLIMITS, UNABLE);
}
END_TEST

/* The run's own limit is high: the group's is reached first. */
START_TEST(the_cgroup_bounds_all_runs_together)
{
	static const char HOG[] = "x = bytearray(600 * 1024 * 1024)\nfor i in range(0, len(x), 4096): x[i] = 1";
	struct runner_options options = {.memory_bytes = UINT64_C(300) << 20};
	struct runner *runner = test_runner_start(&options);

	if (is_active(runner, RUNNER_CGROUP)) {
		struct runner_request request = {
		    .code = HOG, .code_size = sizeof(HOG) - 1, .limits.memory_bytes = UINT64_C(1) << 30};
		struct test_outcome out = test_runner_request(runner, &request);
		ck_assert_msg(out.outcome == RUNNER_MEMORY_LIMIT, "%s %s", runner_outcome_name(out.outcome),
		              out.message);
		ck_assert_str_eq(out.message, "the memory of all runs together was used up");
		test_outcome_free(&out);
		out = test_runner_run(runner, "result = 1", NULL);
		ck_assert_int_eq(out.outcome, RUNNER_OK);
		test_outcome_free(&out);
	}
	runner_stop(runner, 0);
}
END_TEST

/* ---------------------------------------------------------------- policy */

START_TEST(a_host_that_does_not_confine_enough_runs_nothing)
{
	struct runner_options options = {.layers = RUNNER_LAYER(RUNNER_RLIMITS)};
	struct runner_request request = {.code = "", .code_size = 0};
	struct runner *runner = test_runner_start(&options);
	struct runner_isolation isolation;
	uint64_t id;

	runner_isolation(runner, &isolation);
	ck_assert(!isolation.is_enough);
	ck_assert_str_eq(isolation.missing, "seccomp");
	ck_assert_int_eq(isolation.layers[RUNNER_SECCOMP].state, RUNNER_OFF);
	struct status st = runner_submit(runner, &request, NULL, NULL, &id);
	ck_assert_int_eq(st.code, STATUS_FAILED_PRECONDITION);
	runner_stop(runner, 0);
}
END_TEST

START_TEST(a_policy_names_layers_and_alternatives)
{
	struct runner_options options = {.layers = RUNNER_LAYER(RUNNER_SECCOMP),
	                                 .policy = "namespaces|seccomp,no_new_privs"};
	struct runner *runner = test_runner_start(&options);
	struct runner_isolation isolation;

	runner_isolation(runner, &isolation);
	ck_assert_msg(isolation.is_enough, "%s", isolation.missing);
	runner_stop(runner, 0);

	struct status st = runner_policy_check("seccomp,apparmor");
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(st.message, "'apparmor'"));
	ck_assert(!status_ok(&(struct status[]){runner_policy_check("")}[0]));
	ck_assert(status_ok(&(struct status[]){runner_policy_check(RUNNER_POLICY_DEFAULT)}[0]));
	ck_assert(status_ok(&(struct status[]){runner_policy_check(RUNNER_POLICY_NONE)}[0]));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("runner_layers");
	TCase *layers = tcase_create("layers");

	tcase_add_checked_fixture(layers, listen_on_host, close_listener);
	ADD_FOR_EACH_USER(layers, all_layers_that_the_host_has_are_active);
	tcase_add_test(layers, seccomp_alone_ends_every_system_call_class);
	tcase_add_test(layers, without_layers_a_program_reaches_the_host);
	ADD_FOR_EACH_USER(layers, namespaces_alone_hide_files_processes_and_the_network);
	ADD_FOR_EACH_USER(layers, landlock_alone_denies_paths_and_what_else_it_knows);
	ADD_FOR_EACH_USER(layers, rlimits_alone_deny_processes_and_descriptors);
	tcase_add_test(layers, the_cgroup_bounds_all_runs_together);
	tcase_add_test(layers, a_host_that_does_not_confine_enough_runs_nothing);
	tcase_add_test(layers, a_policy_names_layers_and_alternatives);
	suite_add_tcase(suite, layers);

	SRunner *checker = srunner_create(suite);
	srunner_run_all(checker, CK_ENV);
	int failed = srunner_ntests_failed(checker);
	srunner_free(checker);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
