/*
 * The bus when replicas die, stand still, or are spoken to by strangers. Replicas are real processes:
 * this program again, started as `bus_failure_test replica NODE ADDRESS JOURNAL`.
 */
#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bus/pool.h"
#include "bus/server.h"
#include "support/test_dir.h"
#include "support/test_process.h"

#define ECHO  1u /* answers the node's name */
#define WORK  2u /* notes its run in the journal, takes 50 ms, answers the node's name */
#define NEVER 3u /* is not answered */

#define WORK_MS 50u

/* ---- the wall clock of this process can be stepped; the monotonic clock cannot ---- */

static _Atomic int64_t wall_offset_s;

int
clock_gettime(clockid_t id, struct timespec *out)
{
	int rv = (int)syscall(SYS_clock_gettime, id, out);
	if (rv == 0 && id == CLOCK_REALTIME)
		out->tv_sec += (time_t)atomic_load(&wall_offset_s);
	return rv;
}

/* ---- a replica ---- */

struct work {
	struct server_call *call;
	uint64_t due_ms;
};

struct replica {
	const char *node;
	int journal;
	pthread_mutex_t lock;
	struct work works[4096];
	size_t first, count;
};

static void
answer(struct replica *replica, struct server_call *call)
{
	call->reply.has_payload = true;
	call->reply.payload.data = (uint8_t *)(uintptr_t)replica->node;
	call->reply.payload.len = strlen(replica->node);
	server_call_end(call);
}

static void
serve(void *arg, struct server_call *calls[], size_t count)
{
	struct replica *replica = arg;
	for (size_t i = 0; i < count; i++) {
		if (calls[i]->call->method == ECHO)
			answer(replica, calls[i]);
		if (calls[i]->call->method != WORK)
			continue;
		ssize_t written = write(replica->journal, calls[i]->call->payload.data, calls[i]->call->payload.len);
		(void)written;
		pthread_mutex_lock(&replica->lock);
		size_t at = (replica->first + replica->count++) % 4096;
		replica->works[at] = (struct work){calls[i], test_now_ms() + WORK_MS};
		pthread_mutex_unlock(&replica->lock);
	}
}

static struct server_call *
due_call(struct replica *replica)
{
	struct server_call *call = NULL;
	pthread_mutex_lock(&replica->lock);
	if (replica->count > 0 && replica->works[replica->first].due_ms <= test_now_ms()) {
		call = replica->works[replica->first].call;
		replica->first = (replica->first + 1) % 4096;
		replica->count--;
	}
	pthread_mutex_unlock(&replica->lock);
	return call;
}

static int
replica_main(const char *node, const char *address, const char *journal)
{
	static struct replica replica;
	struct bus *bus;
	struct server *server;

	replica.node = node;
	replica.journal = open(journal, O_WRONLY | O_CREAT | O_APPEND, 0600);
	pthread_mutex_init(&replica.lock, NULL);
	struct status st = bus_new(&(struct bus_options){.node = node}, &bus);
	if (status_ok(&st))
		st = server_new(bus, &(struct server_options){.address = address, .handle = serve, .arg = &replica},
		                &server);
	if (!status_ok(&st)) {
		fprintf(stderr, "%s\n", st.message);
		return 1;
	}
	for (;;) {
		struct server_call *call;
		while ((call = due_call(&replica)) != NULL)
			answer(&replica, call);
		test_pause();
	}
}

static pid_t
start_replica(const char *node, const char *address, const char *journal)
{
	const char *const argv[] = {"/proc/self/exe", "replica", node, address, journal, NULL};
	return test_process_start(&(struct test_process_options){.argv = argv, .death_signal = SIGKILL});
}

/* ---- a caller that keeps calls in flight ---- */

#define SLOTS 64

struct caller;

struct slot {
	struct pool_call call;
	struct caller *caller;
	char id[16];
	bool is_idle;
};

struct caller {
	struct bus *bus;
	struct pool *pool;
	struct port *port;
	struct slot slots[SLOTS];
	size_t started, ended, ok, unavailable, expired, other, late;
	size_t by_node[2]; /* answers of "a" and "b" */
};

static void
caller_init(struct caller *caller, const char *address, size_t replicas)
{
	memset(caller, 0, sizeof(*caller));
	struct status st = bus_new(&(struct bus_options){.node = "caller"}, &caller->bus);
	ck_assert(status_ok(&st));
	st = pool_new(caller->bus, &(struct pool_options){.service = "test", .address = address, .ping_ms = 200},
	              &caller->pool);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = port_new(caller->bus, &caller->port);
	ck_assert(status_ok(&st));
	for (size_t i = 0; i < SLOTS; i++) {
		caller->slots[i].caller = caller;
		caller->slots[i].is_idle = true;
	}
	for (uint64_t end = test_now_ms() + 10000; pool_healthy(caller->pool) < replicas; test_pause())
		ck_assert_msg(test_now_ms() < end, "the replicas did not come up");
}

static void
caller_fini(struct caller *caller)
{
	port_free(caller->port);
	pool_free(caller->pool);
	bus_free(caller->bus);
}

static void
ended(struct pool_call *call)
{
	struct slot *slot = call->user;
	struct caller *caller = slot->caller;

	slot->is_idle = true;
	caller->ended++;
	caller->late += test_now_ms() > call->deadline_mono_ms + 100;
	if (call->code == STATUS_OK && call->reply->code == 0) {
		caller->ok++;
		caller->by_node[call->reply->payload.data[0] == 'b']++;
	} else if (call->code == STATUS_UNAVAILABLE) {
		caller->unavailable++;
	} else if (call->code == STATUS_DEADLINE_EXCEEDED) {
		caller->expired++;
	} else {
		caller->other++;
	}
}

static void
fill(struct caller *caller, size_t slots, uint32_t method, uint64_t timeout_ms)
{
	for (size_t i = 0; i < slots; i++) {
		struct slot *slot = &caller->slots[i];
		if (!slot->is_idle)
			continue;
		slot->is_idle = false;
		int size = snprintf(slot->id, sizeof(slot->id), "%08zu\n", caller->started++);
		slot->call = (struct pool_call){.method = method,
		                                .is_fast = method == ECHO,
		                                .done = ended,
		                                .user = slot,
		                                .deadline_mono_ms = test_now_ms() + timeout_ms,
		                                .payload = slot->id,
		                                .payload_size = (size_t)size};
		port_call(caller->port, caller->pool, &slot->call);
	}
	port_flush(caller->port);
}

static void
turn(struct caller *caller)
{
	struct pollfd fd = {.fd = port_fd(caller->port), .events = POLLIN};
	int timeout = port_timeout_ms(caller->port);
	(void)poll(&fd, 1, timeout < 0 || timeout > 5 ? 5 : timeout);
	port_poll(caller->port);
	port_flush(caller->port);
}

/* Keeps `slots` calls in flight for a while. Without a replica calls fail at once: a turn each 5 ms is
 * enough. */
static void
drive(struct caller *caller, uint64_t for_ms, size_t slots, uint32_t method, uint64_t timeout_ms)
{
	for (uint64_t end = test_now_ms() + for_ms; test_now_ms() < end;) {
		fill(caller, slots, method, timeout_ms);
		turn(caller);
	}
}

static void
finish(struct caller *caller)
{
	for (uint64_t end = test_now_ms() + 10000; caller->ended < caller->started; turn(caller))
		ck_assert_msg(test_now_ms() < end, "%zu of %zu calls ended", caller->ended, caller->started);
}

static struct test_dir dir;
static char address_a[160], address_b[160], both[330], journal[160];

static void
make_addresses(void)
{
	test_dir_make(&dir);
	snprintf(address_a, sizeof(address_a), "ipc://%s/a.rep", dir.path);
	snprintf(address_b, sizeof(address_b), "ipc://%s/b.rep", dir.path);
	snprintf(both, sizeof(both), "%s,%s", address_a, address_b);
	snprintf(journal, sizeof(journal), "%s/journal", dir.path);
}

static void
assert_no_line_twice(const char *path)
{
	static bool seen[1000000];
	unsigned id;
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fscanf(file, "%8u\n", &id) == 1) {
		ck_assert_uint_lt(id, 1000000);
		ck_assert_msg(!seen[id], "call %u ran twice", id);
		seen[id] = true;
	}
	fclose(file);
}

START_TEST(a_killed_replica_costs_only_the_calls_it_held_and_nothing_runs_twice)
{
	static struct caller caller;
	make_addresses();
	pid_t a = start_replica("a", address_a, journal), b = start_replica("b", address_b, journal);
	caller_init(&caller, both, 2);
	drive(&caller, 300, 32, WORK, 2000);
	kill(a, SIGKILL);
	drive(&caller, 300, 32, WORK, 2000);
	test_process_end(a, SIGKILL);
	ck_assert_uint_le(caller.unavailable, 32);
	a = start_replica("a", address_a, journal);
	caller.by_node[0] = 0;
	uint64_t start = test_calm_ms();
	while (caller.by_node[0] == 0 && test_calm_ms() < start + 5000)
		drive(&caller, 20, 32, WORK, 2000);
	/* The process needs a moment to start listening; the rest is the pool's. */
	ck_assert_uint_lt(test_calm_ms() - start, 1500);
	finish(&caller);
	ck_assert_uint_gt(caller.unavailable, 0);
	ck_assert_uint_eq(caller.ok + caller.unavailable, caller.started);
	ck_assert_uint_eq(caller.late, 0);
	assert_no_line_twice(journal);
	caller_fini(&caller);
	test_process_end(a, SIGKILL);
	test_process_end(b, SIGKILL);
	test_dir_remove(&dir);
}
END_TEST

START_TEST(a_stopped_replica_is_set_aside_after_a_handful_of_timeouts_and_comes_back)
{
	static struct caller caller;
	make_addresses();
	pid_t a = start_replica("a", address_a, journal), b = start_replica("b", address_b, journal);
	caller_init(&caller, both, 2);
	/* Both serve before one is stopped, however long a busy machine takes to let them. */
	for (uint64_t end = test_now_ms() + 30000; !caller.by_node[0] || !caller.by_node[1];) {
		ck_assert_msg(test_now_ms() < end, "a replica does not answer");
		drive(&caller, 200, 16, ECHO, 500);
	}
	test_process_freeze(a);
	drive(&caller, 1500, 16, ECHO, 500);
	ck_assert_uint_eq(pool_healthy(caller.pool), 1);
	ck_assert_msg(caller.expired <= 16, "%zu calls timed out", caller.expired);
	size_t before = caller.expired;
	caller.by_node[0] = 0;
	drive(&caller, 500, 16, ECHO, 500);
	ck_assert_uint_eq(caller.expired, before);
	ck_assert_uint_eq(caller.by_node[0], 0);
	kill(a, SIGCONT);
	for (uint64_t end = test_calm_ms() + 2000; caller.by_node[0] == 0;) {
		ck_assert_msg(test_calm_ms() < end, "the replica was not used again");
		drive(&caller, 20, 16, ECHO, 500);
	}
	finish(&caller);
	ck_assert_uint_eq(caller.late, 0);
	ck_assert_uint_eq(caller.other, 0);
	caller_fini(&caller);
	test_process_end(a, SIGKILL);
	test_process_end(b, SIGKILL);
	test_dir_remove(&dir);
}
END_TEST

START_TEST(a_step_of_the_wall_clock_changes_no_deadline)
{
	static const int64_t STEPS[] = {3600, -3600};
	static struct caller caller;
	make_addresses();
	pid_t a = start_replica("a", address_a, journal);
	caller_init(&caller, address_a, 1);
	uint64_t start = test_now_ms(), calm_ms = test_calm_ms();
	fill(&caller, 2, NEVER, 1500);
	turn(&caller);
	atomic_store(&wall_offset_s, STEPS[_i]);
	fill(&caller, 4, NEVER, 1500);
	while (test_now_ms() < start + 1000)
		turn(&caller);
	ck_assert_uint_eq(caller.ended, 0);
	finish(&caller);
	ck_assert_uint_lt(test_calm_ms() - calm_ms, 3000);
	ck_assert_uint_eq(caller.expired, 4);
	caller_fini(&caller);
	test_process_end(a, SIGKILL);
	test_dir_remove(&dir);
}
END_TEST

/* ---- strangers on the listening port ---- */

static int
connect_to(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void
say(int fd, const char *bytes, size_t size)
{
	ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* The greeting of a REQ peer (SP over TCP, RFC-style draft sp-tcp-mapping-01: protocol 0x30). */
static const char GREETING[8] = "\0SP\0\0\x30\0";
static const char HUGE[12] = "\x7f\xff\xff\xff\xff\xff\xff\xff\x80\0\0";
static const char GARBAGE[18] = "\0\0\0\0\0\0\0\x0a\x80\0\0\1\xff\xff\xff\xff\xff\xff";
/* A Request whose version is 99. */
static const char FUTURE[14] = "\0\0\0\0\0\0\0\x06\x80\0\0\2\x08\x63";

static void
pester(uint16_t port, int fds[24])
{
	for (int i = 0; i < 24; i++) {
		fds[i] = connect_to(port);
		if (i % 6 == 0)
			continue; /* never says a word */
		if (i % 6 == 1) {
			say(fds[i], "GET / HTTP/1.1\r\n\r\n", 18);
			continue;
		}
		say(fds[i], GREETING, i % 6 == 2 ? 3 : 8);
		if (i % 6 == 3)
			say(fds[i], HUGE, sizeof(HUGE));
		else if (i % 6 == 4)
			say(fds[i], GARBAGE, sizeof(GARBAGE));
		else if (i % 6 == 5)
			say(fds[i], FUTURE, sizeof(FUTURE));
	}
}

START_TEST(strangers_and_half_open_peers_harm_nobody)
{
	static struct caller caller;
	char address[64];
	int fds[24];
	make_addresses();
	uint16_t port = test_free_port();
	snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", (unsigned)port);
	pid_t a = start_replica("a", address, journal);
	caller_init(&caller, address, 1);
	for (int round = 0; round < 5; round++) {
		pester(port, fds);
		drive(&caller, 100, 16, ECHO, 2000);
		for (int i = 0; i < 24; i++)
			close(fds[i]);
		drive(&caller, 50, 16, ECHO, 2000);
	}
	finish(&caller);
	ck_assert_uint_eq(caller.ok, caller.started);
	ck_assert(test_process_is_alive(a));
	caller_fini(&caller);
	test_process_end(a, SIGKILL);
	test_dir_remove(&dir);
}
END_TEST

int
main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "replica") == 0)
		return replica_main(argv[2], argv[3], argv[4]);
	Suite *suite = suite_create("bus failures");
	TCase *tests = tcase_create("failures");
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_killed_replica_costs_only_the_calls_it_held_and_nothing_runs_twice);
	tcase_add_test(tests, a_stopped_replica_is_set_aside_after_a_handful_of_timeouts_and_comes_back);
	tcase_add_loop_test(tests, a_step_of_the_wall_clock_changes_no_deadline, 0, 2);
	tcase_add_test(tests, strangers_and_half_open_peers_harm_nobody);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
