/*
 * log: a record is one line that parsers and people can read, whatever stands in it; secrets are not in it,
 * and neither a flood nor a slow reader costs more than records.
 */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "support/test_process.h"
#include "telemetry/log.h"
#include "telemetry/redact.h"
#include "telemetry/trace.h"

static struct fake_clock fake;
static struct metrics *metrics;
static int fd; /* where records go */

static void
setup(void)
{
	fake_clock_init(&fake, INT64_C(1700000000123000)); /* 2023-11-14T22:13:20.123Z */
	metrics = metrics_new();
	fd = memfd_create("log", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
}

static void
teardown(void)
{
	trace_set_current(NULL, NULL);
	metrics_free(metrics);
	close(fd);
}

static struct log *
log_of(enum log_format format, uint32_t event_rate)
{
	return log_new(&(struct log_options){.level = LOG_INFO,
	                                     .format = format,
	                                     .fd = fd,
	                                     .service = "accountd",
	                                     .node = "node-1",
	                                     .event_rate = event_rate,
	                                     .metrics = metrics,
	                                     .clock = &fake.clock});
}

/* Everything written so far; static. */
static const char *
written(void)
{
	static char text[256 << 10];
	ssize_t length = pread(fd, text, sizeof(text) - 1, 0);
	ck_assert_int_ge(length, 0);
	text[length] = '\0';
	return text;
}

static size_t
lines_written(void)
{
	size_t count = 0;
	for (const char *at = written(); (at = strchr(at, '\n')) != NULL; at++)
		count++;
	return count;
}

static json_t *
record(void)
{
	json_t *root = json_loads(written(), JSON_REJECT_DUPLICATES, NULL);
	ck_assert_msg(root != NULL, "%s", written());
	return root;
}

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? text : "";
}

static uint64_t
dropped(const char *reason)
{
	static const char *const labels[] = {"reason", NULL};
	return counter_value(metrics_counter(
	    metrics, &(struct metric_spec){.name = "corbel_log_records_dropped", .labels = labels}, &reason));
}

/* ---------------------------------------------------------------- form */

START_TEST(a_json_record_has_every_field_with_its_type)
{
	struct log *log = log_of(LOG_JSON, 0);
	log_info(log, "key created", LOG_TEXT("key", "key_1"), LOG_I64("age", -3),
	         LOG_U64("calls", UINT64_C(1) << 40), LOG_DOUBLE("share", 0.25), LOG_BOOL("is_new", true),
	         LOG_TEXT("none", NULL));
	json_t *root = record();
	ck_assert_str_eq(text_of(root, "time"), "2023-11-14T22:13:20.123Z");
	ck_assert_str_eq(text_of(root, "level"), "info");
	ck_assert_str_eq(text_of(root, "service"), "accountd");
	ck_assert_str_eq(text_of(root, "node"), "node-1");
	ck_assert_str_eq(text_of(root, "event"), "key created");
	ck_assert_str_eq(text_of(root, "key"), "key_1");
	ck_assert_int_eq(json_integer_value(json_object_get(root, "age")), -3);
	ck_assert_int_eq(json_integer_value(json_object_get(root, "calls")), INT64_C(1) << 40);
	ck_assert_double_eq_tol(json_real_value(json_object_get(root, "share")), 0.25, 1e-9);
	ck_assert(json_is_true(json_object_get(root, "is_new")));
	ck_assert(json_is_null(json_object_get(root, "none")));
	json_decref(root);
	log_free(log);
}
END_TEST

START_TEST(a_record_for_people_quotes_what_is_not_a_simple_word)
{
	struct log *log = log_of(LOG_HUMAN, 0);
	log_warn(log, "no store", LOG_TEXT("url", "tcp://a:1"), LOG_TEXT("error", "it is \"away\""),
	         LOG_TEXT("empty", ""), LOG_U64("tries", 3));
	ck_assert_str_eq(written(), "2023-11-14T22:13:20.123Z warn  accountd: no store url=tcp://a:1 "
	                            "error=\"it is \\\"away\\\"\" empty=\"\" tries=3\n");
	log_free(log);
}
END_TEST

START_TEST(hostile_text_stays_inside_its_line)
{
	static const char HOSTILE[] = "a\nb\r\x1b[31m\"}\xFF\x7F\xE2\x80";
	struct log *log = log_of(_i ? LOG_HUMAN : LOG_JSON, 0);

	log_info(log, "seen", LOG_TEXT("text", HOSTILE));
	ck_assert_uint_eq(lines_written(), 1);
	for (const char *at = written(); *at; at++)
		ck_assert((unsigned char)*at >= 0x20 || *at == '\n');
	ck_assert(text_is_utf8(written(), strlen(written())));
	ck_assert_ptr_null(strchr(written(), 0x7F));
	if (_i == 0) {
		json_t *root = record();
		ck_assert_int_eq(strncmp(text_of(root, "text"), "a\nb\r\x1b[31m\"}", 11), 0);
		json_decref(root);
	}
	log_free(log);
}
END_TEST

START_TEST(long_text_is_cut_and_a_record_too_long_goes_without_its_fields)
{
	struct log *log = log_of(LOG_JSON, 0);
	static char text[100000];

	memset(text, 'x', sizeof(text) - 1);
	log_info(log, "one", LOG_TEXT("a", text));
	json_t *root = record();
	ck_assert_uint_eq(strlen(text_of(root, "a")), 2048);
	json_decref(root);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	log_info(log, "many", LOG_TEXT("a", text), LOG_TEXT("b", text), LOG_TEXT("c", text), LOG_TEXT("d", text),
	         LOG_TEXT("e", text), LOG_TEXT("f", text), LOG_TEXT("g", text), LOG_TEXT("h", text),
	         LOG_TEXT("i", text));
	root = record();
	ck_assert_str_eq(text_of(root, "event"), "many");
	ck_assert_ptr_null(json_object_get(root, "a"));
	json_decref(root);
	log_free(log);
}
END_TEST

START_TEST(records_carry_the_trace_and_request_of_their_thread)
{
	struct log *log = log_of(LOG_JSON, 0);
	struct trace_context context;

	ck_assert(trace_context_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 55, &context));
	trace_set_current(&context, "req-7");
	log_info(log, "inside");
	trace_set_current(NULL, NULL);
	json_t *root = record();
	ck_assert_str_eq(text_of(root, "trace_id"), "0af7651916cd43dd8448eb211c80319c");
	ck_assert_str_eq(text_of(root, "request_id"), "req-7");
	json_decref(root);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	log_info(log, "outside");
	root = record();
	ck_assert_ptr_null(json_object_get(root, "trace_id"));
	ck_assert_ptr_null(json_object_get(root, "request_id"));
	json_decref(root);
	log_free(log);
}
END_TEST

START_TEST(levels_below_the_one_in_force_are_not_written_also_by_views)
{
	struct log *log = log_of(LOG_JSON, 0), *view = log_for_service(log, "ingress");

	log_debug(log, "quiet");
	log_debug(view, "quiet");
	ck_assert_uint_eq(lines_written(), 0);
	log_set_level(view, LOG_DEBUG);
	log_debug(log, "loud");
	log_debug(view, "loud");
	ck_assert_uint_eq(lines_written(), 2);
	ck_assert_ptr_nonnull(strstr(written(), "\"service\":\"ingress\""));
	log_set_level(log, LOG_OFF);
	log_error(view, "silent");
	ck_assert_uint_eq(lines_written(), 2);
	log_info(NULL, "nobody listens");
	log_free(view);
	log_free(log);
}
END_TEST

/* ---------------------------------------------------------------- secrets */

START_TEST(fields_whose_name_says_secret_lose_their_value)
{
	static const char *const SECRETS[] = {"password", "api_key", "authorization", "store.password",
	                                      "client_secret"};
	static const char *const PLAIN[] = {"key", "key_id", "secretary", "page_token", "passwordless"};
	struct log *log = log_of(_i ? LOG_HUMAN : LOG_JSON, 0);

	for (size_t i = 0; i < sizeof(SECRETS) / sizeof(SECRETS[0]); i++)
		log_info(log, "seen", LOG_TEXT(SECRETS[i], "hunter2"));
	ck_assert_ptr_null(strstr(written(), "hunter2"));
	ck_assert_ptr_nonnull(strstr(written(), "[redacted]"));
	for (size_t i = 0; i < sizeof(PLAIN) / sizeof(PLAIN[0]); i++)
		ck_assert(!redact_is_secret_name(PLAIN[i]));
	log_free(log);
}
END_TEST

START_TEST(passwords_inside_urls_are_redacted_wherever_they_stand)
{
	static const struct {
		const char *text, *seen;
	} TURNS[] = {
	    {"postgresql://corbel:hunter2@db:5432/corbel", "postgresql://corbel:[redacted]@db:5432/corbel"},
	    {"redis://:hunter2@cache/0 is away", "redis://:[redacted]@cache/0 is away"},
	    {"http://a:hunter2@b and http://c:hunter2@d", "http://a:[redacted]@b and http://c:[redacted]@d"},
	    {"http://a:hun@ter2@b/x@y", "http://a:[redacted]@b/x@y"},
	    {"http://host:80/a@b:c", "http://host:80/a@b:c"},
	    {"http://user@host:80", "http://user@host:80"},
	    {"at 10:30 mail a@b", "at 10:30 mail a@b"},
	    {"://", "://"},
	};
	char out[128];

	for (size_t i = 0; i < sizeof(TURNS) / sizeof(TURNS[0]); i++)
		ck_assert_str_eq(redact_urls(TURNS[i].text, out, sizeof(out)), TURNS[i].seen);
	ck_assert_str_eq(redact_urls(TURNS[0].text, out, 30), "postgresql://corbel:[redacted");
	struct log *log = log_of(LOG_JSON, 0);
	log_error(log, "no store", LOG_TEXT("error", TURNS[0].text));
	ck_assert_ptr_null(strstr(written(), "hunter2"));
	log_free(log);
}
END_TEST

/* ---------------------------------------------------------------- floods */

START_TEST(a_warning_that_repeats_is_bounded_by_the_second_and_the_rest_is_told)
{
	struct log *log = log_of(LOG_JSON, 3);

	for (int i = 0; i < 100; i++)
		log_warn(log, "no store");
	log_error(log, "another event");
	ck_assert_uint_eq(lines_written(), 4);
	ck_assert_uint_eq(dropped("suppressed"), 97);
	fake_clock_advance_ms(&fake, 1000);
	log_warn(log, "no store", LOG_U64("tries", 100));
	log_warn(log, "no store");
	ck_assert_ptr_nonnull(strstr(written(), "\"tries\":100,\"suppressed\":97}\n"));
	ck_assert_uint_eq(lines_written(), 6);
	const char *last = strrchr(written(), '{');
	ck_assert_ptr_null(strstr(last, "suppressed"));
	log_free(log);
}
END_TEST

START_TEST(what_is_no_warning_is_not_bounded)
{
	struct log *log = log_of(LOG_JSON, 1);

	for (int i = 0; i < 50; i++)
		log_info(log, "request");
	ck_assert_uint_eq(lines_written(), 50);
	log_free(log);
}
END_TEST

static void *
read_slowly(void *arg)
{
	char buffer[65536];
	int reader = *(int *)arg;
	while (read(reader, buffer, sizeof(buffer)) > 0)
		;
	return NULL;
}

START_TEST(a_reader_that_stops_delays_nobody_and_every_record_is_accounted_for)
{
	enum { RECORDS = 20000, QUEUE = 100 };
	int pipe_fds[2];
	pthread_t reader;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	struct log *log = log_new(&(struct log_options){.level = LOG_INFO,
	                                                .format = LOG_JSON,
	                                                .fd = pipe_fds[1],
	                                                .service = "x",
	                                                .queue_records = QUEUE,
	                                                .metrics = metrics});
	uint64_t begin_ms = test_calm_ms();
	for (int i = 0; i < RECORDS; i++)
		log_info(log, "record", LOG_I64("number", i));
	ck_assert_uint_lt(test_calm_ms() - begin_ms, 2000);
	ck_assert_uint_gt(log_dropped(log), RECORDS / 2);
	ck_assert_uint_eq(log_dropped(log), dropped("queue_full"));
	pthread_create(&reader, NULL, read_slowly, &pipe_fds[0]);
	log_free(log);
	close(pipe_fds[1]);
	pthread_join(reader, NULL);
	close(pipe_fds[0]);
}
END_TEST

START_TEST(an_ending_log_writes_what_is_queued)
{
	struct log *log = log_new(&(struct log_options){.level = LOG_INFO,
	                                                .format = LOG_JSON,
	                                                .fd = fd,
	                                                .service = "x",
	                                                .queue_records = 1000,
	                                                .clock = &fake.clock});

	for (int i = 0; i < 500; i++)
		log_info(log, "record");
	log_free(log);
	ck_assert_uint_eq(lines_written(), 500);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_json_record_has_every_field_with_its_type);
	tcase_add_test(tc, a_record_for_people_quotes_what_is_not_a_simple_word);
	tcase_add_loop_test(tc, hostile_text_stays_inside_its_line, 0, 2);
	tcase_add_test(tc, long_text_is_cut_and_a_record_too_long_goes_without_its_fields);
	tcase_add_test(tc, records_carry_the_trace_and_request_of_their_thread);
	tcase_add_test(tc, levels_below_the_one_in_force_are_not_written_also_by_views);
	tcase_add_loop_test(tc, fields_whose_name_says_secret_lose_their_value, 0, 2);
	tcase_add_test(tc, passwords_inside_urls_are_redacted_wherever_they_stand);
	tcase_add_test(tc, a_warning_that_repeats_is_bounded_by_the_second_and_the_rest_is_told);
	tcase_add_test(tc, what_is_no_warning_is_not_bounded);
	tcase_add_test(tc, a_reader_that_stops_delays_nobody_and_every_record_is_accounted_for);
	tcase_add_test(tc, an_ending_log_writes_what_is_queued);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
