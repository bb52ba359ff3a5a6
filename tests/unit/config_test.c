/*
 * config: which source wins, and what is said about values that cannot be.
 */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "config/config.h"
#include "support/test_dir.h"

static const struct config_option OPTIONS[] = {
    {.name = "room.name", .type = CONFIG_TEXT, .def = "from default", .help = "A text.", .max = 40},
    {.name = "room.size", .type = CONFIG_INTEGER, .def = "5", .min = 1, .max = 9, .help = "A number."},
    {.name = "room.is-lit", .type = CONFIG_BOOL, .def = "false"},
    {.name = "room.wait", .type = CONFIG_DURATION, .def = "2s", .min = 10, .max = 60000},
    {.name = "room.bytes", .type = CONFIG_SIZE, .def = "1KiB", .max = 1 << 20},
    {.name = "room.kind", .type = CONFIG_CHOICE, .def = "memory", .choices = "memory|redis"},
    {.name = "room.doors", .type = CONFIG_LIST, .max = 3},
    {.name = "room.password", .type = CONFIG_TEXT, .is_secret = true, .max = 12},
    {.name = NULL}};
static const struct config_option MORE[] = {{.name = "garden.size", .type = CONFIG_INTEGER, .def = "1"},
                                            {.name = NULL}};
static const struct config_option *const TABLES[] = {OPTIONS, MORE, NULL};

static struct test_dir dir;
static struct arena arena;
static char *errors; /* of the last load */

static void
setup(void)
{
	test_dir_make(&dir);
	arena_init(&arena, 4096, SIZE_MAX);
}

static void
teardown(void)
{
	arena_fini(&arena);
	test_dir_remove(&dir);
	free(errors);
	errors = NULL;
}

static const char *
write_file(const char *name, const char *text)
{
	const char *path = arena_printf(&arena, "%s/%s", dir.path, name);
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	return path;
}

#define ARGUMENTS(...)   ((const char *const[]){"test", __VA_ARGS__, NULL})
#define ENVIRONMENT(...) ((const char *const[]){__VA_ARGS__, NULL})
static const char *const NO_ARGUMENTS[] = {"test", NULL};

/* NULL when it fails; `errors` has what was reported. */
static struct config *
load(const char *const *argv, const char *const *environ)
{
	struct config *config = NULL;
	struct config_input input = {.tables = TABLES, .argv = argv, .environ = environ};
	size_t size;

	free(errors);
	FILE *out = open_memstream(&errors, &size);
	while (argv[input.argc])
		input.argc++;
	struct status st = config_load(&input, out, &config);
	(void)fclose(out);
	ck_assert(status_ok(&st) == (config != NULL));
	return config;
}

static struct config *
load_file(const char *yaml)
{
	return load(ARGUMENTS("--config", write_file("corbel.yaml", yaml)), NULL);
}

/* ---------------------------------------------------------------- sources */

START_TEST(each_source_wins_over_the_ones_below_it)
{
	const char *file = write_file("corbel.yaml", "room:\n  name: from file\n"
	                                             "profiles:\n  prod:\n    room: {name: from profile}\n");
	const char *config_flag = arena_printf(&arena, "--config=%s", file);
	static const char *const VARIABLE[] = {"CORBEL_ROOM_NAME=from environment", NULL};
	struct {
		const char *const *argv, *const *environ;
		const char *value;
		enum config_source source;
	} turns[] = {
	    {NO_ARGUMENTS, NULL, "from default", CONFIG_DEFAULT},
	    {ARGUMENTS(config_flag), NULL, "from file", CONFIG_FILE},
	    {ARGUMENTS(config_flag, "--profile=prod"), NULL, "from profile", CONFIG_FILE},
	    {ARGUMENTS(config_flag, "--profile=prod"), VARIABLE, "from environment", CONFIG_ENVIRONMENT},
	    {ARGUMENTS(config_flag, "--profile=prod", "--room.name=from flag"), VARIABLE, "from flag",
	     CONFIG_FLAG},
	};

	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		struct config *config = load(turns[i].argv, turns[i].environ);
		ck_assert_ptr_nonnull(config);
		ck_assert_str_eq(config_text(config, "room.name"), turns[i].value);
		ck_assert_int_eq(config_source(config, "room.name"), turns[i].source);
		config_free(config);
	}
}
END_TEST

START_TEST(every_type_is_read_from_every_source)
{
	const char *file =
	    write_file("corbel.yaml", "room:\n  size: 7\n  is-lit: yes\n  wait: 250ms\n  bytes: 64KiB\n"
	                              "  kind: redis\n  doors: [north, east]\n");
	const char *const *argvs[] = {ARGUMENTS("--config", file), NO_ARGUMENTS,
	                              ARGUMENTS("--room.size", "7", "--room.is-lit", "--room.wait=250ms",
	                                        "--room.bytes=64KiB", "--room.kind=redis", "--room.doors",
	                                        "north, east")};
	const char *const *environs[] = {NULL,
	                                 ENVIRONMENT("CORBEL_ROOM_SIZE=7", "CORBEL_ROOM_IS_LIT=on",
	                                             "CORBEL_ROOM_WAIT=250ms", "CORBEL_ROOM_BYTES=64KiB",
	                                             "CORBEL_ROOM_KIND=redis", "CORBEL_ROOM_DOORS=north,east"),
	                                 NULL};

	for (size_t i = 0; i < 3; i++) {
		struct config *config = load(argvs[i], environs[i]);
		ck_assert_msg(config != NULL, "%s", errors);
		ck_assert_int_eq(config_integer(config, "room.size"), 7);
		ck_assert(config_bool(config, "room.is-lit"));
		ck_assert_uint_eq(config_duration_ms(config, "room.wait"), 250);
		ck_assert_uint_eq(config_size_bytes(config, "room.bytes"), 65536);
		ck_assert_str_eq(config_text(config, "room.kind"), "redis");
		ck_assert_str_eq(config_list(config, "room.doors")[0], "north");
		ck_assert_str_eq(config_list(config, "room.doors")[1], "east");
		ck_assert_ptr_null(config_list(config, "room.doors")[2]);
		config_free(config);
	}
}
END_TEST

START_TEST(defaults_hold_where_nothing_is_said)
{
	struct config *config = load(NO_ARGUMENTS, ENVIRONMENT("CORBEL_OTHER=1", "PATH=/bin", "CORBEL_ROOM=x"));
	ck_assert_ptr_nonnull(config);
	ck_assert_int_eq(config_integer(config, "room.size"), 5);
	ck_assert(!config_bool(config, "room.is-lit"));
	ck_assert_uint_eq(config_duration_ms(config, "room.wait"), 2000);
	ck_assert_ptr_null(config_list(config, "room.doors")[0]);
	ck_assert_ptr_null(config_text(config, "room.password"));
	ck_assert_int_eq(config_integer(config, "garden.size"), 1);
	config_free(config);
}
END_TEST

START_TEST(the_last_of_several_flags_counts_and_the_rest_are_arguments)
{
	struct config *config = load(ARGUMENTS("one", "--room.size=2", "--room.is-lit", "--room.size", "3", "two",
	                                       "--no-room.is-lit", "--", "--room.size=4"),
	                             NULL);
	ck_assert_ptr_nonnull(config);
	ck_assert_int_eq(config_integer(config, "room.size"), 3);
	ck_assert(!config_bool(config, "room.is-lit"));
	const char *const *arguments = config_arguments(config);
	ck_assert_str_eq(arguments[0], "one");
	ck_assert_str_eq(arguments[1], "two");
	ck_assert_str_eq(arguments[2], "--room.size=4");
	ck_assert_ptr_null(arguments[3]);
	config_free(config);
}
END_TEST

START_TEST(the_file_and_the_profile_may_come_from_the_environment)
{
	const char *file = write_file("corbel.yaml", "profiles: {prod: {room.size: 8}}");
	struct config *config = load(
	    NO_ARGUMENTS, ENVIRONMENT(arena_printf(&arena, "CORBEL_CONFIG=%s", file), "CORBEL_PROFILE=prod"));
	ck_assert_msg(config != NULL, "%s", errors);
	ck_assert_int_eq(config_integer(config, "room.size"), 8);
	config_free(config);
}
END_TEST

START_TEST(the_profile_may_be_named_in_the_file)
{
	struct config *config =
	    load_file("profile: dev\nprofiles: {dev: {room: {size: 6}}, prod: {room: {size: 8}}}");
	ck_assert_msg(config != NULL, "%s", errors);
	ck_assert_int_eq(config_integer(config, "room.size"), 6);
	config_free(config);
}
END_TEST

START_TEST(a_secret_may_stand_in_a_file_of_its_own)
{
	const char *secret = write_file("secret", "hunter2\n");
	const char *variable = arena_printf(&arena, "CORBEL_ROOM_PASSWORD_FILE=%s", secret);
	const char *flag = arena_printf(&arena, "--room.password=file:%s", secret);
	struct config *config = load(NO_ARGUMENTS, ENVIRONMENT(variable));
	ck_assert_msg(config != NULL, "%s", errors);
	ck_assert_str_eq(config_text(config, "room.password"), "hunter2");
	config_free(config);
	config = load(ARGUMENTS(flag), NULL);
	ck_assert_str_eq(config_text(config, "room.password"), "hunter2");
	config_free(config);
	ck_assert_ptr_null(load(ARGUMENTS("--room.password=file:/nonexistent/x"), NULL));
	ck_assert_str_eq(errors, "flag --room.password: cannot read the file '/nonexistent/x'\n");
	ck_assert_ptr_null(load(ARGUMENTS("--room.password=file:/"), NULL));
	ck_assert_ptr_null(load(ARGUMENTS("--room.password=file:/dev/zero"), NULL));
	ck_assert_str_eq(errors, "flag --room.password: cannot read the file '/dev/zero', or it is larger than "
	                         "64 KiB\n");
}
END_TEST

/* ---------------------------------------------------------------- errors */

START_TEST(all_errors_are_reported_together_each_with_its_source)
{
	const char *file = write_file("corbel.yaml", "room:\n  name: x\n  size: 10\n\n  kind: disk\n");
	const char *flag = arena_printf(&arena, "--config=%s", file);
	ck_assert_ptr_null(load(ARGUMENTS(flag, "--room.bytes=much", "--garden.pond=1"),
	                        ENVIRONMENT("CORBEL_ROOM_WAIT=1h", "CORBEL_ROOM_IS_LIT=perhaps")));
	const char *const wanted[] = {
	    arena_printf(&arena, "%s:3: room.size must be 1 to 9, is '10'\n", file),
	    arena_printf(&arena, "%s:5: room.kind must be one of memory|redis, is 'disk'\n", file),
	    "flag --room.bytes: room.bytes must be a size such as 512, 64KiB or 16MiB, is 'much'\n",
	    "flag --garden.pond: there is no such option\n",
	    "environment CORBEL_ROOM_WAIT: room.wait must be 10ms to 1m, is '1h'\n",
	    "environment CORBEL_ROOM_IS_LIT: room.is-lit must be true or false, is 'perhaps'\n",
	};
	size_t length = 0;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		ck_assert_msg(strstr(errors, wanted[i]) != NULL, "'%s' is not in:\n%s", wanted[i], errors);
		length += strlen(wanted[i]);
	}
	ck_assert_uint_eq(strlen(errors), length);
}
END_TEST

START_TEST(a_value_that_a_stronger_source_replaces_is_not_judged)
{
	const char *file = write_file("corbel.yaml", "room: {size: none}");
	struct config *config = load(ARGUMENTS("--config", file, "--room.size=2"), NULL);
	ck_assert_msg(config != NULL, "%s", errors);
	config_free(config);
}
END_TEST

START_TEST(a_wrong_file_is_refused_with_its_line)
{
	static const struct {
		const char *yaml, *error;
	} TURNS[] = {
	    {"room: {name: a\n  b: [", ":2: is not YAML"},
	    {"- a\n- b\n", ":1: must be a map of options"},
	    {"room:\n  colour: red\n", ":2: there is no option 'room.colour'"},
	    {"room:\n  size: 1\nroom.size: 2\n", ":3: room.size is said twice"},
	    {"room:\n  size: 1\n  size: 2\n", ":3: room.size is said twice"},
	    {"room:\n  doors:\n    - a\n    - 'b,c'\n", ":4: a list's elements must be texts without commas"},
	    {"room:\n  doors: [a, b, c, d]\n", ":2: room.doors must have at most 3 elements, has 4"},
	    {"profiles: [a]\n", ":1: 'profiles' must be a map of profiles"},
	    {"profiles:\n  prod: 1\n", ":2: a profile must be a map of options"},
	    {"profiles:\n  prod:\n    room: {colour: red}\n", ":3: there is no option 'room.colour'"},
	    {"profile: prod\n", ": has no profile 'prod'"},
	    {"a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}}}}",
	     ":1: must be a map of names to values, at most 16 deep"},
	};

	for (size_t i = 0; i < sizeof(TURNS) / sizeof(TURNS[0]); i++) {
		ck_assert_msg(load_file(TURNS[i].yaml) == NULL, "%s", TURNS[i].yaml);
		ck_assert_msg(strstr(errors, TURNS[i].error) != NULL, "'%s' is not in:\n%s", TURNS[i].error, errors);
	}
	ck_assert_ptr_null(load(ARGUMENTS("--config=/nonexistent/corbel.yaml"), NULL));
	ck_assert_str_eq(errors, "/nonexistent/corbel.yaml: cannot be read\n");
}
END_TEST

START_TEST(an_empty_file_says_nothing)
{
	struct config *config = load_file("");
	ck_assert_msg(config != NULL, "%s", errors);
	config_free(config);
	config = load_file("# only a comment\n");
	ck_assert_msg(config != NULL, "%s", errors);
	config_free(config);
}
END_TEST

START_TEST(wrong_flags_are_named)
{
	ck_assert_ptr_null(load(ARGUMENTS("--room.size"), NULL));
	ck_assert_str_eq(errors, "flag --room.size: needs a value\n");
	ck_assert_ptr_null(load(ARGUMENTS("--no-room.size"), NULL));
	ck_assert_str_eq(errors, "flag --no-room.size: there is no such option\n");
	ck_assert_ptr_null(load(ARGUMENTS("--room.size=3x"), NULL));
	ck_assert_str_eq(errors, "flag --room.size: room.size must be a whole number, is '3x'\n");
	ck_assert_ptr_null(load(ARGUMENTS("--room.name=12345678901234567890123456789012345678901"), NULL));
	ck_assert_ptr_nonnull(strstr(errors, "room.name must be at most 40 bytes"));
}
END_TEST

/* ---------------------------------------------------------------- printing */

static char *
printed(const struct config *config)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	config_print(config, out);
	(void)fclose(out);
	return text;
}

START_TEST(printing_names_every_value_with_its_origin_and_no_secret)
{
	const char *file = write_file("corbel.yaml", "room:\n  kind: redis\n");
	struct config *config = load(ARGUMENTS("--config", file, "--room.size=3", "--room.password=hunter2"),
	                             ENVIRONMENT("CORBEL_ROOM_NAME=hall"));
	char *text = printed(config);
	ck_assert_ptr_nonnull(strstr(text, "room.name = hall  # environment CORBEL_ROOM_NAME\n"));
	ck_assert_ptr_nonnull(strstr(text, "room.size = 3  # flag --room.size\n"));
	ck_assert_ptr_nonnull(strstr(text, arena_printf(&arena, "room.kind = redis  # %s:2\n", file)));
	ck_assert_ptr_nonnull(strstr(text, "room.wait = 2s  # default\n"));
	ck_assert_ptr_nonnull(strstr(text, "room.doors = (unset)  # default\n"));
	ck_assert_ptr_nonnull(strstr(text, "room.password = [redacted]  # flag --room.password\n"));
	ck_assert_ptr_null(strstr(text, "hunter2"));
	free(text);
	config_free(config);
}
END_TEST

START_TEST(an_error_shows_no_secret)
{
	ck_assert_ptr_null(load(ARGUMENTS("--room.password=correct horse battery"), NULL));
	ck_assert_str_eq(errors,
	                 "flag --room.password: room.password must be at most 12 bytes, is '[redacted]'\n");
}
END_TEST

START_TEST(help_lists_every_option_once)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	config_print_help(TABLES, out);
	(void)fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "  --room.size=NUMBER\n      A number. (default 5)\n"));
	ck_assert_ptr_nonnull(strstr(text, "  --room.kind=memory|redis\n"));
	ck_assert_ptr_nonnull(strstr(text, "  --print-config\n"));
	char *first = strstr(text, "--room.wait");
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_null(strstr(first + 1, "--room.wait"));
	free(text);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("config");
	TCase *tc = tcase_create("config");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_source_wins_over_the_ones_below_it);
	tcase_add_test(tc, every_type_is_read_from_every_source);
	tcase_add_test(tc, defaults_hold_where_nothing_is_said);
	tcase_add_test(tc, the_last_of_several_flags_counts_and_the_rest_are_arguments);
	tcase_add_test(tc, the_file_and_the_profile_may_come_from_the_environment);
	tcase_add_test(tc, the_profile_may_be_named_in_the_file);
	tcase_add_test(tc, a_secret_may_stand_in_a_file_of_its_own);
	tcase_add_test(tc, all_errors_are_reported_together_each_with_its_source);
	tcase_add_test(tc, a_value_that_a_stronger_source_replaces_is_not_judged);
	tcase_add_test(tc, a_wrong_file_is_refused_with_its_line);
	tcase_add_test(tc, an_empty_file_says_nothing);
	tcase_add_test(tc, wrong_flags_are_named);
	tcase_add_test(tc, printing_names_every_value_with_its_origin_and_no_secret);
	tcase_add_test(tc, an_error_shows_no_secret);
	tcase_add_test(tc, help_lists_every_option_once);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
