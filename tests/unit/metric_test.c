/*
 * metric: updates from many threads are exact, expositions read back as what was counted, and quantiles err
 * by a percent at most.
 */
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "telemetry/metric.h"

static struct metrics *metrics;
static struct strbuf text;

static void
setup(void)
{
	metrics = metrics_new();
	strbuf_init(&text, NULL);
}

static void
teardown(void)
{
	metrics_free(metrics);
	strbuf_fini(&text);
}

static const char *
exposition(enum metric_format format)
{
	strbuf_clear(&text);
	metrics_write(metrics, format, &text);
	return text.data;
}

/* The value of a sample, by the text before it; NaN when there is none. */
static double
sample(const char *name)
{
	const char *all = exposition(METRIC_PROMETHEUS);
	size_t length = strlen(name);
	for (const char *at = all; (at = strstr(at, name)) != NULL; at += length)
		if ((at == all || at[-1] == '\n') && at[length] == ' ')
			return strtod(at + length, NULL);
	return NAN;
}

#define ck_assert_sample(name, value) ck_assert_double_eq_tol(sample(name), (value), 1e-5)

/* ---------------------------------------------------------------- updates */

enum { THREADS = 8, ROUNDS = 20000 };

struct shared {
	struct metric_counter *counter;
	struct metric_gauge *gauge;
	struct metric_histogram *histogram;
	struct metric_summary *summary;
};

static void *
update(void *arg)
{
	struct shared *shared = arg;
	for (int i = 0; i < ROUNDS; i++) {
		counter_add(shared->counter, 1);
		gauge_add(shared->gauge, i % 2 ? 1 : -1);
		histogram_observe(shared->histogram, 0.5);
		summary_observe(shared->summary, 2);
	}
	return NULL;
}

START_TEST(no_update_of_any_thread_is_lost)
{
	pthread_t threads[THREADS];
	struct shared shared = {
	    .counter = metrics_counter(metrics, &(struct metric_spec){.name = "test_calls"}, NULL),
	    .gauge = metrics_gauge(metrics, &(struct metric_spec){.name = "test_level"}, NULL),
	    .histogram = metrics_histogram(metrics, &(struct metric_spec){.name = "test_spent"}, NULL),
	    .summary = metrics_summary(metrics, &(struct metric_spec){.name = "test_sizes"}, NULL)};

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, update, &shared);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_sample("test_calls_total", THREADS * ROUNDS);
	ck_assert_sample("test_level", 0);
	ck_assert_sample("test_spent_count", THREADS * ROUNDS);
	ck_assert_sample("test_spent_sum", THREADS * ROUNDS * 0.5);
	ck_assert_sample("test_sizes_count", THREADS * ROUNDS);
}
END_TEST

START_TEST(the_same_name_and_labels_are_the_same_series)
{
	static const char *const labels[] = {"method", "code", NULL};
	struct metric_spec spec = {.name = "test_calls", .labels = labels};
	struct metric_counter *first = metrics_counter(metrics, &spec, (const char *[]){"Check", "OK"});

	ck_assert_ptr_eq(metrics_counter(metrics, &spec, (const char *[]){"Check", "OK"}), first);
	ck_assert_ptr_ne(metrics_counter(metrics, &spec, (const char *[]){"OK", "Check"}), first);
}
END_TEST

START_TEST(label_sets_beyond_the_bound_count_together_and_are_not_lost)
{
	static const char *const labels[] = {"tenant", NULL};
	struct metric_spec spec = {.name = "test_calls", .labels = labels, .max_series = 3};

	for (int i = 0; i < 10; i++) {
		char name[16];
		const char *values[] = {name};
		snprintf(name, sizeof(name), "t%d", i);
		counter_add(metrics_counter(metrics, &spec, values), 1);
	}
	ck_assert_sample("test_calls_total{tenant=\"t0\"}", 1);
	ck_assert_sample("test_calls_total{tenant=\"t2\"}", 1);
	ck_assert_sample("test_calls_total{tenant=\"other\"}", 7);
	ck_assert(isnan(sample("test_calls_total{tenant=\"t3\"}")));
}
END_TEST

START_TEST(a_counter_of_parts_is_written_in_whole_units)
{
	struct metric_spec spec = {.name = "test_cpu_seconds", .unit = "seconds", .per_unit = 1000000};

	counter_add(metrics_counter(metrics, &spec, NULL), 2500000);
	ck_assert_ptr_nonnull(strstr(exposition(METRIC_PROMETHEUS), "test_cpu_seconds_total 2.5\n"));
	counter_add(metrics_counter(metrics, &spec, NULL), 500000);
	ck_assert_ptr_nonnull(strstr(exposition(METRIC_OPENMETRICS), "test_cpu_seconds_total 3.0\n"));
}
END_TEST

START_TEST(a_component_without_a_registry_updates_nothing)
{
	ck_assert_ptr_null(metrics_counter(NULL, &(struct metric_spec){.name = "x"}, NULL));
	counter_add(NULL, 1);
	gauge_set(NULL, 1);
	gauge_add(NULL, 1);
	histogram_observe(NULL, 1);
	summary_observe(NULL, 1);
	ck_assert_uint_eq(counter_value(NULL), 0);
	ck_assert_int_eq(gauge_value(NULL), 0);
}
END_TEST

/* ---------------------------------------------------------------- histograms and summaries */

START_TEST(a_bucket_holds_what_is_at_most_its_bound)
{
	static const double bounds[] = {1, 2.5, 10};
	struct metric_histogram *histogram = metrics_histogram(
	    metrics, &(struct metric_spec){.name = "test_spent", .buckets = bounds, .bucket_count = 3}, NULL);
	static const double values[] = {-1, 0, 1, 1.0001, 2.5, 9, 10, 10.5, INFINITY};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		histogram_observe(histogram, values[i]);
	histogram_observe(histogram, NAN); /* is nowhere */
	ck_assert_sample("test_spent_bucket{le=\"1.0\"}", 3);
	ck_assert_sample("test_spent_bucket{le=\"2.5\"}", 5);
	ck_assert_sample("test_spent_bucket{le=\"10.0\"}", 7);
	ck_assert_sample("test_spent_bucket{le=\"+Inf\"}", 9);
	ck_assert_sample("test_spent_count", 9);
}
END_TEST

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* A value of one of several shapes: uniform, over many orders of magnitude, or in two far heaps. */
static double
draw(struct seeded_random *seeded, int shape)
{
	double u = (double)(random_u64(&seeded->random) >> 11) / 9007199254740992.0;
	switch (shape) {
	case 0:
		return 0.001 + u;
	case 1:
		return 1e-8 * pow(1e16, u);
	default:
		return u < 0.5 ? 0.0001 * (1 + u) : 1000 * (1 + u);
	}
}

START_TEST(a_summarys_quantiles_err_by_a_percent_at_most)
{
	enum { COUNT = 20001 };
	static const double QUANTILES[] = {0.5, 0.9, 0.99};
	static double values[COUNT];
	struct seeded_random seeded;
	struct metric_summary *summary =
	    metrics_summary(metrics, &(struct metric_spec){.name = "test_spent"}, NULL);

	seeded_random_init(&seeded, (uint64_t)_i + 1);
	for (int i = 0; i < COUNT; i++)
		summary_observe(summary, values[i] = draw(&seeded, _i));
	qsort(values, COUNT, sizeof(values[0]), by_value);
	for (size_t i = 0; i < 3; i++) {
		char name[64];
		snprintf(name, sizeof(name), "test_spent{quantile=\"%g\"}", QUANTILES[i]);
		double exact = values[(size_t)floor(QUANTILES[i] * (COUNT - 1))];
		ck_assert_double_le(fabs(sample(name) - exact), 0.0101 * exact);
	}
}
END_TEST

START_TEST(a_summary_takes_zero_and_the_extreme_and_says_nan_while_empty)
{
	struct metric_summary *summary =
	    metrics_summary(metrics, &(struct metric_spec){.name = "test_spent"}, NULL);

	ck_assert(isnan(sample("test_spent{quantile=\"0.5\"}")));
	summary_observe(summary, 0);
	ck_assert_sample("test_spent{quantile=\"0.5\"}", 0);
	summary_observe(summary, 1e300);
	summary_observe(summary, 1e300);
	ck_assert_double_gt(sample("test_spent{quantile=\"0.99\"}"), 1e7);
	summary_observe(summary, -1);
	summary_observe(summary, NAN);
	ck_assert_sample("test_spent_count", 3);
}
END_TEST

/* ---------------------------------------------------------------- expositions */

static void
fill(void)
{
	static const char *const labels[] = {"path", NULL};
	static const double bounds[] = {0.005, 1};
	struct metric_histogram *histogram =
	    metrics_histogram(metrics,
	                      &(struct metric_spec){.name = "test_spent_seconds",
	                                            .help = "Time \\ \"spent\"\nhere.",
	                                            .unit = "seconds",
	                                            .buckets = bounds,
	                                            .bucket_count = 2},
	                      NULL);
	counter_add(metrics_counter(
	                metrics, &(struct metric_spec){.name = "test_calls", .help = "Calls.", .labels = labels},
	                (const char *[]){"a\"b\\c\nd"}),
	            3);
	gauge_set(metrics_gauge(metrics, &(struct metric_spec){.name = "test_level", .help = "Level."}, NULL),
	          -5);
	histogram_observe(histogram, 0.25);
}

START_TEST(prometheus_text_is_written_as_its_format_says)
{
	fill();
	ck_assert_str_eq(exposition(METRIC_PROMETHEUS), "# TYPE test_spent_seconds histogram\n"
	                                                "# HELP test_spent_seconds Time \\\\ \"spent\"\\nhere.\n"
	                                                "test_spent_seconds_bucket{le=\"0.005\"} 0\n"
	                                                "test_spent_seconds_bucket{le=\"1.0\"} 1\n"
	                                                "test_spent_seconds_bucket{le=\"+Inf\"} 1\n"
	                                                "test_spent_seconds_sum 0.25\n"
	                                                "test_spent_seconds_count 1\n"
	                                                "# TYPE test_calls_total counter\n"
	                                                "# HELP test_calls_total Calls.\n"
	                                                "test_calls_total{path=\"a\\\"b\\\\c\\nd\"} 3\n"
	                                                "# TYPE test_level gauge\n"
	                                                "# HELP test_level Level.\n"
	                                                "test_level -5\n");
}
END_TEST

START_TEST(openmetrics_names_units_and_families_without_suffix_and_ends)
{
	fill();
	ck_assert_str_eq(exposition(METRIC_OPENMETRICS),
	                 "# TYPE test_spent_seconds histogram\n"
	                 "# UNIT test_spent_seconds seconds\n"
	                 "# HELP test_spent_seconds Time \\\\ \\\"spent\\\"\\nhere.\n"
	                 "test_spent_seconds_bucket{le=\"0.005\"} 0\n"
	                 "test_spent_seconds_bucket{le=\"1.0\"} 1\n"
	                 "test_spent_seconds_bucket{le=\"+Inf\"} 1\n"
	                 "test_spent_seconds_sum 0.25\n"
	                 "test_spent_seconds_count 1\n"
	                 "# TYPE test_calls counter\n"
	                 "# HELP test_calls Calls.\n"
	                 "test_calls_total{path=\"a\\\"b\\\\c\\nd\"} 3\n"
	                 "# TYPE test_level gauge\n"
	                 "# HELP test_level Level.\n"
	                 "test_level -5\n"
	                 "# EOF\n");
}
END_TEST

START_TEST(the_format_follows_what_a_scraper_accepts)
{
	static const struct {
		const char *accept;
		enum metric_format format;
	} TURNS[] = {
	    {NULL, METRIC_PROMETHEUS},
	    {"", METRIC_PROMETHEUS},
	    {"*/*", METRIC_PROMETHEUS},
	    {"text/plain", METRIC_PROMETHEUS},
	    {"application/openmetrics-text", METRIC_OPENMETRICS},
	    {"application/openmetrics-text; version=1.0.0", METRIC_OPENMETRICS},
	    {"application/openmetrics-text; version=2.0.0", METRIC_PROMETHEUS},
	    {"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
	     METRIC_OPENMETRICS},
	    {"application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.3",
	     METRIC_PROMETHEUS},
	    {"application/openmetrics-text;q=0,text/plain", METRIC_PROMETHEUS},
	    {"application/openmetrics-text;q=9,text/plain", METRIC_PROMETHEUS},
	    {"APPLICATION/OpenMetrics-Text", METRIC_OPENMETRICS},
	};

	for (size_t i = 0; i < sizeof(TURNS) / sizeof(TURNS[0]); i++)
		ck_assert_msg(metric_format_for(TURNS[i].accept) == TURNS[i].format, "%s", TURNS[i].accept);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("metric");
	TCase *tc = tcase_create("metric");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, no_update_of_any_thread_is_lost);
	tcase_add_test(tc, the_same_name_and_labels_are_the_same_series);
	tcase_add_test(tc, label_sets_beyond_the_bound_count_together_and_are_not_lost);
	tcase_add_test(tc, a_counter_of_parts_is_written_in_whole_units);
	tcase_add_test(tc, a_component_without_a_registry_updates_nothing);
	tcase_add_test(tc, a_bucket_holds_what_is_at_most_its_bound);
	tcase_add_loop_test(tc, a_summarys_quantiles_err_by_a_percent_at_most, 0, 3);
	tcase_add_test(tc, a_summary_takes_zero_and_the_extreme_and_says_nan_while_empty);
	tcase_add_test(tc, prometheus_text_is_written_as_its_format_says);
	tcase_add_test(tc, openmetrics_names_units_and_families_without_suffix_and_ends);
	tcase_add_test(tc, the_format_follows_what_a_scraper_accepts);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
