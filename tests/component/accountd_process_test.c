/*
 * accountd: what it publishes, and what is left of it when it is killed or started several times at once.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accountd/accountd.h>
#include "support/test_accounts.h"
#include "support/test_process.h"

const struct service *const accounts_services[] = {&accountd_service, NULL};

/* ---------------------------------------------------------------- publications */

struct listener {
	atomic_int joined;
	pthread_mutex_t lock; /* guards keys, tenants and plans */
	char keys[512], tenants[512], plans[512];
};

static void
hear(void *arg, const char *node, const char *topic, const void *payload, size_t size)
{
	struct listener *self = arg;
	(void)node;
	pthread_mutex_lock(&self->lock);
	if (strcmp(topic, "keys") == 0) {
		Corbel__V1__KeysChanged *changed = corbel__v1__keys_changed__unpack(NULL, size, payload);
		if (changed && changed->n_key_ids)
			snprintf(self->keys, sizeof(self->keys), "%s", changed->key_ids[0]);
		if (changed && changed->n_tenant_ids)
			snprintf(self->tenants, sizeof(self->tenants), "%s", changed->tenant_ids[0]);
		corbel__v1__keys_changed__free_unpacked(changed, NULL);
	} else if (strcmp(topic, "plans") == 0) {
		Corbel__V1__PlansChanged *changed = corbel__v1__plans_changed__unpack(NULL, size, payload);
		if (changed && changed->n_names)
			snprintf(self->plans, sizeof(self->plans), "%s", changed->names[0]);
		corbel__v1__plans_changed__free_unpacked(changed, NULL);
	}
	pthread_mutex_unlock(&self->lock);
}

static void
notice(void *arg, const char *node, enum subscriber_event event)
{
	(void)node;
	if (event == SUBSCRIBER_JOINED)
		atomic_store(&((struct listener *)arg)->joined, 1);
}

/* Waits until `heard` is `expected`, then forgets it. */
static void
expect(struct listener *self, char *heard, const char *expected)
{
	for (uint64_t end = test_now_ms() + 5000;; test_pause()) {
		pthread_mutex_lock(&self->lock);
		bool is_heard = strcmp(heard, expected) == 0;
		if (is_heard)
			heard[0] = '\0';
		pthread_mutex_unlock(&self->lock);
		if (is_heard)
			return;
		ck_assert_msg(test_now_ms() < end, "heard '%s', not '%s'", heard, expected);
	}
}

START_TEST(every_change_that_ends_a_cached_verification_is_published)
{
	struct accounts rig;
	struct bus *bus;
	struct subscriber *subscriber;
	static struct listener heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
	accounts_choose_store(0);
	accounts_start(&rig);
	struct bus_options bus_options = {.clock = clock_system()};
	struct status st = bus_new(&bus_options, &bus);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	struct subscriber_options options = {.address = host_publisher_address(rig.self.host, "accountd"),
	                                     .message = hear,
	                                     .event = notice,
	                                     .arg = &heard};
	st = subscriber_new(bus, &options, &subscriber);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	for (uint64_t end = test_now_ms() + 5000; !atomic_load(&heard.joined); test_pause())
		ck_assert(test_now_ms() < end);

	const char *tenant = accounts_tenant(rig.pool, "Acme");
	struct accounts_made key = accounts_key(rig.pool, tenant, ""), other = accounts_key(rig.pool, tenant, "");
	ck_assert_code(accounts_patch(rig.pool, key.id, "\"disabled\":true"), STATUS_OK);
	expect(&heard, heard.keys, key.id);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, KEYS_REVOKE, "{\"id\":\"%s\"}", key.id), STATUS_OK);
	expect(&heard, heard.keys, key.id);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, KEYS_ROTATE, "{\"id\":\"%s\"}", other.id), STATUS_OK);
	expect(&heard, heard.keys, other.id);
	ck_assert_code(
	    accounts_ask(rig.pool, &OPERATOR, TENANTS_UPDATE, "{\"id\":\"%s\",\"suspended\":true}", tenant),
	    STATUS_OK);
	expect(&heard, heard.tenants, tenant);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, SUBSCRIPTIONS_SET,
	                            "{\"tenant_id\":\"%s\",\"plan\":\"basic\"}", tenant),
	               STATUS_OK);
	expect(&heard, heard.tenants, tenant);
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, PLANS_UPDATE, "{\"name\":\"basic\",\"title\":\"B\"}"),
	               STATUS_OK);
	expect(&heard, heard.plans, "basic");
	ck_assert_code(accounts_ask(rig.pool, &OPERATOR, TENANTS_DELETE, "{\"id\":\"%s\"}", tenant), STATUS_OK);
	expect(&heard, heard.tenants, tenant);
	subscriber_free(subscriber);
	bus_free(bus);
	accounts_stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- processes */

static pid_t
spawn(const char *extra, const char *log)
{
	int argc;
	char **argv = accounts_flags(PEPPER_1, extra, &argc);
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, STDOUT_FILENO);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	ck_assert_int_gt(pid, 0);
	return pid;
}

static const char *
contents(const char *path)
{
	char *text = arena_alloc(accounts_arena, 8192);
	FILE *file = fopen(path, "r");
	size_t length = file ? fread(text, 1, 8191, file) : 0;
	text[length] = '\0';
	if (file)
		fclose(file);
	return text;
}

static void
until_ready(const char *log)
{
	for (uint64_t end = test_now_ms() + 20000; !strstr(contents(log), "ready"); test_pause())
		ck_assert_msg(test_now_ms() < end, "%s", contents(log));
}

static struct pool *
dial(struct bus **bus, const char *address)
{
	struct bus_options options = {.clock = clock_system()};
	struct pool_options pool_options = {.service = "accountd", .address = address};
	struct pool *pool;
	struct status st = bus_new(&options, bus);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = pool_new(*bus, &pool_options, &pool);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	for (uint64_t end = test_now_ms() + 10000; pool_healthy(pool) == 0; test_pause())
		ck_assert(test_now_ms() < end);
	return pool;
}

static void
finish(pid_t pid, int number)
{
	int status;
	kill(pid, number);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

START_TEST(a_key_whose_creation_was_acknowledged_survives_kill_9)
{
	struct bus *bus;
	struct accounts_made keys[5];
	accounts_choose_store(_i);
	const char *log = arena_printf(accounts_arena, "%s/log", accounts_dir());
	const char *address = arena_printf(accounts_arena, "ipc://%s/run/accountd.rep", accounts_dir());
	for (int i = 0; i < 5; i++) {
		pid_t pid = spawn(NULL, log);
		until_ready(log);
		struct pool *pool = dial(&bus, address);
		keys[i] = accounts_key(pool, "root", "");
		finish(pid, SIGKILL);
		pool_free(pool);
		bus_free(bus);
		ck_assert_int_eq(remove(log), 0);
	}
	pid_t pid = spawn(NULL, log);
	until_ready(log);
	struct pool *pool = dial(&bus, address);
	for (int i = 0; i < 5; i++)
		ck_assert_str_eq(accounts_verdict(pool, keys[i].secret), "ok");
	pool_free(pool);
	bus_free(bus);
	finish(pid, SIGTERM);
}
END_TEST

static size_t
count_of(const char *text, const char *part)
{
	size_t count = 0;
	for (; (text = strstr(text, part)) != NULL; text += strlen(part))
		count++;
	return count;
}

START_TEST(replicas_that_start_first_at_once_make_one_admin_key)
{
	enum { REPLICAS = 4 };
	pid_t pids[REPLICAS];
	const char *log = arena_printf(accounts_arena, "%s/log", accounts_dir()), *first = NULL;
	struct bus *bus;
	size_t shown = 0;
	accounts_choose_store(1);
	for (int i = 0; i < REPLICAS; i++) {
		const char *address = arena_printf(accounts_arena, "ipc://%s/r%d", accounts_dir(), i);
		pids[i] =
		    spawn(arena_printf(accounts_arena, "--bus.listen=%s.rep --pub.listen=%s.pub", address, address),
		          arena_printf(accounts_arena, "%s%d", log, i));
		if (i == 0)
			first = arena_printf(accounts_arena, "%s.rep", address);
	}
	for (int i = 0; i < REPLICAS; i++) {
		until_ready(arena_printf(accounts_arena, "%s%d", log, i));
		shown += count_of(contents(arena_printf(accounts_arena, "%s%d", log, i)), "first admin key:");
	}
	ck_assert_uint_eq(shown, 1);
	struct pool *pool = dial(&bus, first);
	struct answer keys = accounts_ask(pool, &OPERATOR, KEYS_LIST, "{}");
	(void)answer_good(keys, "keys.0.id");
	ck_assert_ptr_null(answer_at(&keys, "keys.1"));
	pool_free(pool);
	bus_free(bus);
	for (int i = 0; i < REPLICAS; i++)
		finish(pids[i], SIGTERM);
}
END_TEST

int
main(int argc, char **argv)
{
	if (strcmp(argv[0], "accountd") == 0)
		return daemon_main(argc, argv, accounts_services);

	Suite *suite = suite_create("accountd_process");
	TCase *tcase = tcase_create("accountd_process");

	tcase_add_checked_fixture(tcase, accounts_setup, accounts_teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, every_change_that_ends_a_cached_verification_is_published);
	tcase_add_loop_test(tcase, a_key_whose_creation_was_acknowledged_survives_kill_9, 0, 2);
	tcase_add_test(tcase, replicas_that_start_first_at_once_make_one_admin_key);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
