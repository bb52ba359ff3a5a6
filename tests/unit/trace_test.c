/*
 * trace: trace context is read and written as W3C has it; sampling keeps a caller's decision; a collector's
 * reply is read whatever its bytes.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "telemetry/otlp.h"
#include "telemetry/trace.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN  "b7ad6b7169203331"
#define GOOD  "00-" TRACE "-" SPAN "-01"

static bool
parses(const char *text, struct trace_context *out)
{
	struct trace_context spare;
	/* Nothing behind the length may be read: an exact copy lets the sanitizers see. */
	size_t length = strlen(text);
	char *copy = malloc(length ? length : 1);
	memcpy(copy, text, length);
	bool is_ok = trace_context_parse(copy, length, out ? out : &spare);
	free(copy);
	return is_ok;
}

START_TEST(a_traceparent_is_written_as_it_was_read)
{
	static const char *const TEXTS[] = {GOOD, "00-" TRACE "-" SPAN "-00"};
	char out[TRACEPARENT_LENGTH + 1];

	for (size_t i = 0; i < 2; i++) {
		struct trace_context context;
		ck_assert(parses(TEXTS[i], &context));
		ck_assert(context.is_set);
		ck_assert(context.is_sampled == (i == 0));
		trace_context_format(&context, out);
		ck_assert_str_eq(out, TEXTS[i]);
	}
}
END_TEST

START_TEST(what_is_no_traceparent_is_refused)
{
	static const char *const WRONG[] = {
	    "",
	    "00",
	    "00-" TRACE "-" SPAN,
	    "00-" TRACE "-" SPAN "-0",
	    "ff-" TRACE "-" SPAN "-01",
	    "0g-" TRACE "-" SPAN "-01",
	    "00-00000000000000000000000000000000-" SPAN "-01",
	    "00-" TRACE "-0000000000000000-01",
	    "00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01",
	    "00-0af7651916cd43dd8448eb211c80319g-" SPAN "-01",
	    "00-" TRACE "-b7ad6b716920333G-01",
	    "00-" TRACE "-" SPAN "-0G",
	    "00_" TRACE "-" SPAN "-01",
	    "00-" TRACE "_" SPAN "-01",
	    "00-" TRACE "-" SPAN "_01",
	    "00-" TRACE "-" SPAN "-01-",
	    "00-" TRACE "-" SPAN "-01-more",
	    "00-" TRACE "-" SPAN "-011",
	    " 00-" TRACE "-" SPAN "-01",
	    "01-" TRACE "-" SPAN "-01more",
	};

	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		struct trace_context context;
		ck_assert_msg(!parses(WRONG[i], &context), "%s", WRONG[i]);
		ck_assert(!context.is_set);
	}
}
END_TEST

START_TEST(later_versions_are_read_by_what_this_one_knows)
{
	struct trace_context context;

	ck_assert(parses("01-" TRACE "-" SPAN "-01", &context));
	ck_assert(parses("cc-" TRACE "-" SPAN "-01-what-comes-later", &context));
	ck_assert(context.is_sampled);
	ck_assert(parses("00-" TRACE "-" SPAN "-03", &context)); /* flags that are not known yet */
	ck_assert(context.is_sampled);
	ck_assert(parses("00-" TRACE "-" SPAN "-fe", &context));
	ck_assert(!context.is_sampled);
}
END_TEST

START_TEST(a_child_keeps_its_parents_trace_and_decision)
{
	struct tracer *tracer = tracer_new(&(struct tracer_options){.sample_ratio = _i ? 1.0 : 0.0});
	struct trace_context parent;
	struct span span;

	for (int sampled = 0; sampled < 2; sampled++) {
		ck_assert(parses(sampled ? GOOD : "00-" TRACE "-" SPAN "-00", &parent));
		span_begin(tracer, &span, "x", SPAN_SERVER, &parent);
		ck_assert_mem_eq(span.context.trace_id, parent.trace_id, 16);
		ck_assert_mem_ne(span.context.span_id, parent.span_id, 8);
		ck_assert_mem_eq(span.parent_id, parent.span_id, 8);
		ck_assert(span.context.is_sampled == (sampled == 1));
		span_end(tracer, &span, STATUS_OK);
	}
	tracer_free(tracer, 0);
}
END_TEST

START_TEST(new_traces_are_sampled_by_the_ratio_and_differ)
{
	enum { TRACES = 20000 };
	struct tracer *tracer = tracer_new(&(struct tracer_options){.sample_ratio = 0.25});
	struct span span, last = {.name = NULL};
	int sampled = 0;

	for (int i = 0; i < TRACES; i++) {
		span_begin(tracer, &span, "x", SPAN_INTERNAL, NULL);
		ck_assert(span.context.is_set);
		ck_assert_mem_ne(span.context.trace_id, last.context.trace_id, 16);
		sampled += span.context.is_sampled;
		last = span;
	}
	/* Six standard deviations of a binomial of 5,000 in 20,000 are 368. */
	ck_assert_int_lt(abs(sampled - TRACES / 4), 368);
	tracer_free(tracer, 0);
}
END_TEST

START_TEST(spans_go_to_a_file_as_json_lines)
{
	char path[] = "/tmp/corbel-trace-XXXXXX", text[4096];
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	struct tracer *tracer =
	    tracer_new(&(struct tracer_options){.service = "x", .sample_ratio = 1, .file = path});
	struct span span;

	span_begin(tracer, &span, "written", SPAN_SERVER, NULL);
	span_attribute(&span, "limit", "charts");
	span_end(tracer, &span, STATUS_OK);
	tracer_free(tracer, 5000);
	FILE *file = fdopen(fd, "r");
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
	ck_assert_ptr_nonnull(strstr(text, "\"name\":\"written\""));
	ck_assert_ptr_nonnull(strstr(text, "{\"key\":\"limit\",\"value\":{\"stringValue\":\"charts\"}}"));
	ck_assert_ptr_null(fgets(text, sizeof(text), file));
	(void)fclose(file);
	unlink(path);
}
END_TEST

START_TEST(attributes_beyond_their_bound_are_left_out)
{
	struct tracer *tracer = tracer_new(&(struct tracer_options){.sample_ratio = 1});
	struct span span;

	span_begin(tracer, &span, "x", SPAN_SERVER, NULL);
	for (int i = 0; i < 20; i++)
		span_attribute(&span, "name", "text");
	ck_assert_uint_eq(span.attribute_count, SPAN_ATTRIBUTES_MAX);
	tracer_free(tracer, 0);
}
END_TEST

/* ---------------------------------------------------------------- a collector's reply */

START_TEST(rejections_are_read_from_replies_in_either_encoding)
{
	static const struct {
		enum otlp_encoding encoding;
		const char *body;
		size_t length;
		uint64_t rejected;
	} TURNS[] = {
	    {OTLP_PROTOBUF, "", 0, 0},
	    {OTLP_PROTOBUF, "\x0a\x00", 2, 0},
	    {OTLP_PROTOBUF, "\x0a\x02\x08\x05", 4, 5},
	    {OTLP_PROTOBUF, "\x0a\x09\x12\x03why\x08\xac\x02", 11, 300},
	    {OTLP_PROTOBUF, "\x12\x01x\x0a\x02\x08\x05", 7, 5}, /* behind a field that is not known */
	    {OTLP_PROTOBUF, "\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, 0}, /* -1 */
	    {OTLP_PROTOBUF, "\x0a\x7f\x08\x05", 4, 0},                                      /* cut */
	    {OTLP_PROTOBUF, "\xff\xff\xff", 3, 0},
	    {OTLP_JSON, "{}", 2, 0},
	    {OTLP_JSON, "{\"partialSuccess\":{\"rejectedSpans\":\"7\"}}", 40, 7},
	    {OTLP_JSON, "{\"partialSuccess\":{\"rejectedDataPoints\":7}}", 43, 7},
	    {OTLP_JSON, "{\"partialSuccess\":{\"rejectedSpans\":\"-7\"}}", 41, 0},
	    {OTLP_JSON, "{\"partialSuccess\":[]}", 21, 0},
	    {OTLP_JSON, "not json", 8, 0},
	};

	for (size_t i = 0; i < sizeof(TURNS) / sizeof(TURNS[0]); i++)
		ck_assert_uint_eq(otlp_rejected(TURNS[i].encoding, TURNS[i].body, TURNS[i].length),
		                  TURNS[i].rejected);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("trace");
	TCase *tc = tcase_create("trace");

	tcase_add_test(tc, a_traceparent_is_written_as_it_was_read);
	tcase_add_test(tc, what_is_no_traceparent_is_refused);
	tcase_add_test(tc, later_versions_are_read_by_what_this_one_knows);
	tcase_add_loop_test(tc, a_child_keeps_its_parents_trace_and_decision, 0, 2);
	tcase_add_test(tc, new_traces_are_sampled_by_the_ratio_and_differ);
	tcase_add_test(tc, spans_go_to_a_file_as_json_lines);
	tcase_add_test(tc, attributes_beyond_their_bound_are_left_out);
	tcase_add_test(tc, rejections_are_read_from_replies_in_either_encoding);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
