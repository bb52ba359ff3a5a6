/*
 * scrape: what the registry exposes reads back as what was counted; what is no exposition does no harm.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "telemetry/metric.h"
#include "telemetry/scrape.h"

static struct arena arena;
static struct scrape scrape;

static void
setup(void)
{
	arena_init(&arena, 4096, 1u << 20);
}

static void
teardown(void)
{
	arena_fini(&arena);
}

static void
read_text(const char *text)
{
	/* An exact copy lets the sanitizers see a read beyond the end. */
	char *copy = malloc(strlen(text) + 1);
	memcpy(copy, text, strlen(text));
	scrape_read(copy, strlen(text), &arena, &scrape);
	free(copy);
}

static const struct scrape_sample *
sample_named(const char *name)
{
	for (size_t i = 0; i < scrape.count; i++)
		if (strcmp(scrape.samples[i].name, name) == 0)
			return &scrape.samples[i];
	ck_abort_msg("no sample %s", name);
}

START_TEST(our_own_exposition_reads_back)
{
	static const char *const labels[] = {"method", "path", NULL};
	static const double bounds[] = {0.5, 1};
	enum metric_format format = _i ? METRIC_OPENMETRICS : METRIC_PROMETHEUS;
	struct metrics *metrics = metrics_new();
	struct strbuf text;

	counter_add(metrics_counter(metrics, &(struct metric_spec){.name = "a_calls", .labels = labels},
	                            (const char *[]){"GET", "x\"y\\z\n,}= "}),
	            7);
	gauge_set(metrics_gauge(metrics, &(struct metric_spec){.name = "a_level"}, NULL), -3);
	histogram_observe(
	    metrics_histogram(
	        metrics, &(struct metric_spec){.name = "a_time", .buckets = bounds, .bucket_count = 2}, NULL),
	    0.75);
	strbuf_init(&text, &arena);
	metrics_write(metrics, format, &text);
	metrics_free(metrics);
	read_text(text.data);
	ck_assert_uint_eq(scrape.count, 7);
	ck_assert_double_eq_tol(sample_named("a_calls_total")->value, 7, 1e-12);
	ck_assert_str_eq(scrape_label(sample_named("a_calls_total"), "method"), "GET");
	ck_assert_str_eq(scrape_label(sample_named("a_calls_total"), "path"), "x\"y\\z\n,}= ");
	ck_assert_str_eq(scrape_label(sample_named("a_calls_total"), "none"), "");
	ck_assert_double_eq_tol(sample_named("a_level")->value, -3, 1e-12);
	ck_assert_double_eq_tol(sample_named("a_time_sum")->value, 0.75, 1e-5);
}
END_TEST

START_TEST(what_others_may_write_is_understood)
{
	read_text("a{} 1\nb{x=\"1\",} 2 1700000000000\nc { x=\"1\" } 3\nd +Inf\ne NaN\nf 1e3");
	ck_assert_uint_eq(scrape.count, 6);
	ck_assert_double_eq_tol(sample_named("b")->value, 2, 1e-12);
	ck_assert(isinf(sample_named("d")->value));
	ck_assert(isnan(sample_named("e")->value));
	ck_assert_double_eq_tol(sample_named("f")->value, 1000, 1e-12);
}
END_TEST

START_TEST(lines_that_are_no_samples_are_skipped)
{
	static const char *const WRONG[] = {"",
	                                    "#",
	                                    "# TYPE a counter",
	                                    "a",
	                                    "a{",
	                                    "a{x",
	                                    "a{x=",
	                                    "a{x=\"",
	                                    "a{x=\"\\",
	                                    "a{x=\"1\"",
	                                    "a{x=\"1\"}",
	                                    "a{x=\"1\" y=\"2\"} 1",
	                                    "a{=\"1\"} 1",
	                                    "1a 1",
	                                    "a x",
	                                    "a 1x",
	                                    "{x=\"1\"} 1",
	                                    " a 1"};

	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		read_text(WRONG[i]);
		ck_assert_msg(scrape.count == 0, "'%s'", WRONG[i]);
	}
}
END_TEST

START_TEST(what_exceeds_the_arenas_ceiling_is_left_out)
{
	struct arena small;
	char text[20000];

	memset(text, '\n', sizeof(text));
	arena_init(&small, 1024, 4096);
	scrape_read(text, sizeof(text), &small, &scrape);
	ck_assert_uint_eq(scrape.count, 0);
	scrape_read("a 1\n", 4, &small, &scrape);
	ck_assert_uint_eq(scrape.count, 1);
	arena_fini(&small);
}
END_TEST

static void
add(struct scrape_buckets *buckets, const char *le, double value)
{
	struct scrape_sample sample = {.name = "x", .labels = {{"le", le}}, .label_count = 1, .value = value};
	scrape_buckets_add(buckets, &sample);
}

START_TEST(quantiles_lie_where_the_buckets_say)
{
	struct scrape_buckets buckets = {.count = 0};

	ck_assert(isnan(scrape_quantile(&buckets, 0.5)));
	add(&buckets, "+Inf", 100); /* in any order */
	add(&buckets, "2.0", 80);
	add(&buckets, "1.0", 40);
	add(&buckets, "1.0", 0);
	add(&buckets, "no number", 9);
	add(&buckets, "", 9);
	ck_assert_uint_eq(buckets.count, 3);
	ck_assert_double_eq_tol(scrape_quantile(&buckets, 0.2), 0.5, 1e-9);
	ck_assert_double_eq_tol(scrape_quantile(&buckets, 0.4), 1, 1e-9);
	ck_assert_double_eq_tol(scrape_quantile(&buckets, 0.6), 1.5, 1e-9);
	ck_assert_double_eq_tol(scrape_quantile(&buckets, 0.99), 2, 1e-9); /* more is not known */
}
END_TEST

START_TEST(a_histogram_counts_from_where_it_was_and_anew_after_a_restart)
{
	struct scrape_buckets before = {.count = 0}, now = {.count = 0}, out;

	add(&before, "1", 10);
	add(&before, "+Inf", 30);
	add(&now, "1", 12);
	add(&now, "+Inf", 36);
	scrape_buckets_since(&now, &before, &out);
	ck_assert_double_eq_tol(out.counts[0], 2, 1e-9);
	ck_assert_double_eq_tol(out.counts[1], 6, 1e-9);
	scrape_buckets_since(&before, &now, &out);
	ck_assert_double_eq_tol(out.counts[1], 30, 1e-9);
}
END_TEST

START_TEST(more_buckets_than_the_bound_are_left_out)
{
	struct scrape_buckets buckets = {.count = 0};

	for (int i = 0; i < 2 * SCRAPE_BUCKETS_MAX; i++) {
		char le[16];
		snprintf(le, sizeof(le), "%d", i);
		add(&buckets, le, i);
	}
	ck_assert_uint_eq(buckets.count, SCRAPE_BUCKETS_MAX);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("scrape");
	TCase *tc = tcase_create("scrape");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, our_own_exposition_reads_back, 0, 2);
	tcase_add_test(tc, what_others_may_write_is_understood);
	tcase_add_test(tc, lines_that_are_no_samples_are_skipped);
	tcase_add_test(tc, what_exceeds_the_arenas_ceiling_is_left_out);
	tcase_add_test(tc, quantiles_lie_where_the_buckets_say);
	tcase_add_test(tc, a_histogram_counts_from_where_it_was_and_anew_after_a_restart);
	tcase_add_test(tc, more_buckets_than_the_bound_are_left_out);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
