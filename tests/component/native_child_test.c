/*
 * The channel of a child, from the other side: native code in the place of a program, with nothing that holds
 * it back, against the real runner. Each attempt runs beside honest children of the same zygote, which get
 * their own answers, whose runner keeps its descriptors and whose zygote lives.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "runner/wire.h"
#include "support/native_zygote.h"
#include "support/test_process.h"
#include "support/test_runner.h"

#define WALL_MS     700u
#define NOISE_MS    200u
#define PATIENCE_MS 60000u
#define NOISES      40

/* ---------------------------------------------------------------- what a child may say */

static void
put(int channel, const void *bytes, size_t size)
{
	for (const char *at = bytes; size > 0;) {
		ssize_t sent = send(channel, at, size, MSG_NOSIGNAL);
		if (sent <= 0)
			_exit(0);
		at += sent;
		size -= (size_t)sent;
	}
}

static void
put_head(int channel, uint32_t kind, uint32_t size)
{
	put(channel, &(struct wire_frame){kind, size}, sizeof(struct wire_frame));
}

/* OK, with this for its result. */
static void
put_result(int channel, const char *result)
{
	uint32_t size = (uint32_t)strlen(result);
	uint32_t before[] = {RUNNER_OK, 0, 0, 0, size}, after = 0;

	put_head(channel, WIRE_OUTCOME, (uint32_t)(sizeof(before) + size + sizeof(after)));
	put(channel, before, sizeof(before));
	put(channel, result, size);
	put(channel, &after, sizeof(after));
}

static void
stay(void)
{
	for (;;)
		pause();
}

/* ---------------------------------------------------------------- what a child may try */

static void
be_honest(int channel, const struct native_request *request)
{
	put_result(channel, request->context);
	stay();
}

static void
send_noise(int channel, const struct native_request *request)
{
	char bytes[4096];

	srand((unsigned)atoi(request->context));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)rand();
	/* Half of them begin as a frame would. */
	if (rand() % 2)
		put_head(channel, (uint32_t)(1 + rand() % 3), (uint32_t)(rand() % 5000));
	put(channel, bytes, (size_t)(1 + rand() % (int)sizeof(bytes)));
	if (rand() % 2)
		stay();
}

static void
flood_the_log(int channel, const struct native_request *request)
{
	static char lines[60000];

	(void)request;
	for (;;) {
		put_head(channel, WIRE_LOG, sizeof(lines));
		put(channel, lines, sizeof(lines));
	}
}

static void
send_empty_logs(int channel, const struct native_request *request)
{
	(void)request;
	for (;;)
		put_head(channel, WIRE_LOG, 0);
}

static void
send_half_a_head(int channel, const struct native_request *request)
{
	(void)request;
	put(channel, "\2\0\0", 3);
	stay();
}

static void
send_half_a_frame_and_end(int channel, const struct native_request *request)
{
	(void)request;
	put_head(channel, WIRE_OUTCOME, 200);
	put(channel, "half", 4);
	_exit(0);
}

static void
promise_too_much(int channel, const struct native_request *request)
{
	(void)request;
	put_head(channel, WIRE_OUTCOME, UINT32_MAX);
	stay();
}

/* Each field says more than follows. */
static void
lie_about_lengths(int channel, const struct native_request *request)
{
	const uint32_t words[] = {RUNNER_OK, 0, 0, 0, 1u << 31, 0};

	(void)request;
	put_head(channel, WIRE_OUTCOME, sizeof(words));
	put(channel, words, sizeof(words));
	stay();
}

static void
say_a_hosts_outcome(int channel, const struct native_request *request)
{
	const uint32_t words[] = {RUNNER_HOST_ERROR, 0, 0, 0, 0, 0};

	(void)request;
	put_head(channel, WIRE_OUTCOME, sizeof(words));
	put(channel, words, sizeof(words));
	stay();
}

static void
drip(int channel, const struct native_request *request)
{
	(void)request;
	put_head(channel, WIRE_OUTCOME, 100000);
	for (;;) {
		put(channel, "x", 1);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

/* A frame's bytes, and with each of them as many descriptors as go along. */
static void
send_descriptors(int channel, const struct native_request *request)
{
	enum { MANY = 200 };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(MANY * sizeof(int))];
	} control = {.bytes = {0}};
	struct wire_frame frame = {WIRE_LOG, 4};
	char text[] = "text";
	struct iovec parts[] = {{&frame, sizeof(frame)}, {text, 4}};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[MANY];

	for (int i = 0; i < MANY; i++)
		fds[i] = null;
	control.head = (struct cmsghdr){
	    .cmsg_len = CMSG_LEN(sizeof(fds)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.head), fds, sizeof(fds));
	struct msghdr message = {.msg_iov = parts,
	                         .msg_iovlen = 2,
	                         .msg_control = control.bytes,
	                         .msg_controllen = sizeof(control.bytes)};
	for (int i = 0; i < 20; i++)
		if (sendmsg(channel, &message, MSG_NOSIGNAL) < 0)
			_exit(0);
	put_result(channel, request->context);
	stay();
}

static void
close_early_and_stay(int channel, const struct native_request *request)
{
	(void)request;
	close(channel);
	stay();
}

static void
answer_and_go_on(int channel, const struct native_request *request)
{
	put_result(channel, request->context);
	for (;;)
		put_result(channel, "\"another\"");
}

/* What it leaves behind has the channel, too, and ends when nobody reads that. */
static void
leave_a_process_behind(int channel, const struct native_request *request)
{
	if (fork() == 0)
		drip(channel, request);
	_exit(0);
}

static const struct attempt {
	const char *name;
	void (*run)(int channel, const struct native_request *request);
	enum runner_outcome outcome;
} ATTEMPTS[] = {
    {"honest", be_honest, RUNNER_OK},
    {"log", flood_the_log, RUNNER_SECURITY_VIOLATION},
    {"empty", send_empty_logs, RUNNER_SECURITY_VIOLATION},
    {"half-head", send_half_a_head, RUNNER_TIMEOUT},
    {"half-frame", send_half_a_frame_and_end, RUNNER_RUNTIME_ERROR},
    {"promise", promise_too_much, RUNNER_SECURITY_VIOLATION},
    {"lengths", lie_about_lengths, RUNNER_SECURITY_VIOLATION},
    {"host", say_a_hosts_outcome, RUNNER_SECURITY_VIOLATION},
    {"drip", drip, RUNNER_TIMEOUT},
    {"descriptors", send_descriptors, RUNNER_OK},
    {"close", close_early_and_stay, RUNNER_TIMEOUT},
    {"go-on", answer_and_go_on, RUNNER_OK},
    {"leave", leave_a_process_behind, RUNNER_RUNTIME_ERROR},
};
#define ATTEMPT_COUNT (sizeof(ATTEMPTS) / sizeof(ATTEMPTS[0]))

static void
be_child(int channel)
{
	struct native_request request = native_request_read(channel);

	for (size_t i = 0; i < ATTEMPT_COUNT; i++)
		if (strcmp(ATTEMPTS[i].name, request.code) == 0)
			ATTEMPTS[i].run(channel, &request);
	send_noise(channel, &request);
	_exit(0);
}

/* ---------------------------------------------------------------- from the runner's side */

static struct runner *
start(void)
{
	struct runner_options options = {.zygote = "/proc/self/exe",
	                                 .slots = 4,
	                                 .ready = 2,
	                                 .layers = RUNNER_ALL_LAYERS & ~RUNNER_LAYER(RUNNER_CGROUP)};

	return test_runner_start(&options);
}

static struct test_run *
submit(struct runner *runner, const char *code, const char *context, uint32_t wall_ms)
{
	struct runner_request request = {.code = code,
	                                 .code_size = strlen(code),
	                                 .context = context,
	                                 .context_size = strlen(context),
	                                 .limits.wall_ms = wall_ms};

	return test_runner_submit(runner, &request);
}

static struct test_outcome
beside_an_honest_run(struct runner *runner, const char *code, const char *context, uint32_t wall_ms)
{
	struct test_run *hostile = submit(runner, code, context, wall_ms);
	struct test_run *honest = submit(runner, "honest", "[\"its own\"]", PATIENCE_MS);
	struct test_outcome own = test_runner_await(honest);

	ck_assert_msg(own.outcome == RUNNER_OK, "%s: %s", code, own.message);
	ck_assert_str_eq(own.result, "[\"its own\"]");
	test_outcome_free(&own);
	return test_runner_await(hostile);
}

static size_t
count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	while (directory && readdir(directory))
		count++;
	if (directory)
		closedir(directory);
	return count;
}

/* As many as when all was quiet: children that wait have some. */
static void
expect_quiet(struct runner *runner, size_t descriptors)
{
	struct runner_figures figures;
	uint64_t until_ms = test_now_ms() + PATIENCE_MS;

	do {
		ck_assert_msg(test_now_ms() < until_ms, "%zu descriptors, %zu before", count_descriptors(),
		              descriptors);
		test_pause();
		runner_figures(runner, &figures);
	} while (figures.ready != 2 || figures.running > 0 || count_descriptors() > descriptors);
	ck_assert_uint_eq(figures.zygote_deaths, 0);
	ck_assert_uint_eq(figures.zygotes, 1);
}

static size_t
quiet_descriptors(struct runner *runner)
{
	struct runner_figures figures;

	do {
		test_pause();
		runner_figures(runner, &figures);
	} while (figures.ready != 2);
	return count_descriptors();
}

START_TEST(native_code_in_a_child_harms_its_own_run_only)
{
	const struct attempt *attempt = &ATTEMPTS[_i];
	struct runner *runner = start();
	size_t descriptors = quiet_descriptors(runner);

	for (int turn = 0; turn < 2; turn++) {
		struct test_outcome outcome = beside_an_honest_run(runner, attempt->name, "{\"n\": 7}", WALL_MS);
		ck_assert_msg(outcome.outcome == attempt->outcome, "%s: %s, %s", attempt->name,
		              runner_outcome_name(outcome.outcome), outcome.message);
		ck_assert_str_eq(outcome.result, outcome.outcome == RUNNER_OK ? "{\"n\": 7}" : "");
		test_outcome_free(&outcome);
	}
	expect_quiet(runner, descriptors);
	runner_stop(runner, 0);
}
END_TEST

START_TEST(noise_of_native_code_is_never_the_hosts_fault)
{
	struct runner *runner = start();
	size_t descriptors = quiet_descriptors(runner);
	char seed[16];

	for (int i = 0; i < NOISES; i++) {
		snprintf(seed, sizeof(seed), "%d", i);
		struct test_outcome outcome = beside_an_honest_run(runner, "noise", seed, NOISE_MS);
		ck_assert_msg(outcome.outcome != RUNNER_HOST_ERROR && outcome.outcome != RUNNER_CANCELLED &&
		                  outcome.outcome != RUNNER_OK,
		              "seed %d: %s, %s", i, runner_outcome_name(outcome.outcome), outcome.message);
		test_outcome_free(&outcome);
	}
	expect_quiet(runner, descriptors);
	runner_stop(runner, 0);
}
END_TEST

int
main(int argc, char **argv)
{
	(void)argv;
	if (native_zygote_is_wanted(argc))
		native_zygote_serve(be_child);
	Suite *suite = suite_create("native_child");
	TCase *attempts = tcase_create("attempts");

	tcase_set_timeout(attempts, 120);
	tcase_add_loop_test(attempts, native_code_in_a_child_harms_its_own_run_only, 0, ATTEMPT_COUNT);
	tcase_add_test(attempts, noise_of_native_code_is_never_the_hosts_fault);
	suite_add_tcase(suite, attempts);

	SRunner *checker = srunner_create(suite);
	srunner_run_all(checker, CK_ENV);
	int failed = srunner_ntests_failed(checker);
	srunner_free(checker);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
