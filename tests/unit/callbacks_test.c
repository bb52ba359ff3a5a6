/*
 * callbacks: what the option webhookd.callbacks may say.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "webhookd/callbacks.h"

static const struct config_option OPTIONS[] = {
    {.name = "webhookd.callbacks", .type = CONFIG_LIST, .max = 64, .help = "Callbacks."}, {.name = NULL}};
static const struct config_option *const TABLES[] = {OPTIONS, NULL};

static struct config *
config_of(const char *flag)
{
	const char *const argv[] = {"test", flag};
	struct config_input input = {
	    .tables = TABLES, .argc = 2, .argv = argv, .environ = (const char *const[]){NULL}};
	struct config *config;
	struct status st = config_load(&input, stderr, &config);

	ck_assert_msg(status_ok(&st), "%s", st.message);
	return config;
}

static void
note(void *arg, const char *option, const char *what)
{
	ck_assert_str_eq(option, "webhookd.callbacks");
	ck_assert_str_ne(what, "");
	*(bool *)arg = true;
}

static bool
is_refused(const char *flag)
{
	struct config *config = config_of(flag);
	bool is_refused = false;

	callbacks_check(config, note, &is_refused);
	config_free(config);
	return is_refused;
}

START_TEST(an_address_of_several_urls_goes_on_behind_a_comma)
{
	struct config *config =
	    config_of("--webhookd.callbacks=audit=tcp://a:1,tcp://b:2,sand.box-2=ipc:///run/s.rep");
	struct callback callbacks[CALLBACKS_MAX];
	struct arena arena;
	size_t count;

	arena_init(&arena, 1024, 65536);
	struct status st = callbacks_read(config, &arena, callbacks, &count);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_uint_eq(count, 2);
	ck_assert_str_eq(callbacks[0].name, "audit");
	ck_assert_str_eq(callbacks[0].address, "tcp://a:1,tcp://b:2");
	ck_assert_str_eq(callbacks[1].name, "sand.box-2");
	ck_assert_str_eq(callbacks[1].address, "ipc:///run/s.rep");
	ck_assert(callbacks_have(config, "audit") && !callbacks_have(config, "aud"));
	arena_fini(&arena);
	config_free(config);
}
END_TEST

START_TEST(what_names_no_daemon_is_refused)
{
	static const char *const FLAGS[] = {
	    "--webhookd.callbacks=tcp://a:1", "--webhookd.callbacks=audit=", "--webhookd.callbacks=audit=a:1",
	    "--webhookd.callbacks=a=tcp://a:1,a=tcp://b:1", "--webhookd.callbacks=Audit=tcp://a:1"};

	for (size_t i = 0; i < sizeof(FLAGS) / sizeof(FLAGS[0]); i++)
		ck_assert_msg(is_refused(FLAGS[i]), "%s", FLAGS[i]);
	ck_assert(!is_refused("--webhookd.callbacks="));
	ck_assert(!is_refused("--webhookd.callbacks=audit=ipc:///run/audit.rep"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("callbacks");
	TCase *tests = tcase_create("option");

	tcase_add_test(tests, an_address_of_several_urls_goes_on_behind_a_comma);
	tcase_add_test(tests, what_names_no_daemon_is_refused);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
