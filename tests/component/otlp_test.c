/*
 * otlp: what a collector receives of spans and metrics, and what becomes of them when it does not take them.
 */
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "otlp.pb-c.h"
#include "support/test_collector.h"
#include "support/test_process.h"
#include "telemetry/metric_push.h"
#include "telemetry/otlp.h"
#include "telemetry/trace.h"

typedef Corbel__Otlp__TraceRequest TraceRequest;
typedef Corbel__Otlp__MetricsRequest MetricsRequest;
typedef Corbel__Otlp__Metric Metric;
typedef Corbel__Otlp__Attribute Attribute;

#define NOW_US INT64_C(1700000000123456)

static struct test_collector *collector;
static struct metrics *metrics;
static struct fake_clock fake;
static const char *const BEARER[] = {"authorization=Bearer abc=def", NULL};

static void
setup(void)
{
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	collector = test_collector_start();
	metrics = metrics_new();
	fake_clock_init(&fake, NOW_US);
}

static void
teardown(void)
{
	test_collector_stop(collector);
	metrics_free(metrics);
}

static struct tracer *
tracer_to(enum otlp_encoding encoding, uint32_t queue)
{
	return tracer_new(&(struct tracer_options){.service = "ratelimitd",
	                                           .node = "node-1",
	                                           .sample_ratio = 1,
	                                           .endpoint = test_collector_url(collector),
	                                           .encoding = encoding,
	                                           .headers = BEARER,
	                                           .queue_spans = queue,
	                                           .clock = &fake.clock,
	                                           .metrics = metrics});
}

static struct metric_push *
push_to(enum otlp_encoding encoding, uint64_t interval_ms)
{
	return metric_push_new(&(struct metric_push_options){.service = "accountd",
	                                                     .node = "node-2",
	                                                     .endpoint = test_collector_url(collector),
	                                                     .encoding = encoding,
	                                                     .headers = BEARER,
	                                                     .interval_ms = interval_ms,
	                                                     .metrics = metrics,
	                                                     .clock = &fake.clock});
}

/* One sampled span of 2 ms with a parent, an attribute and an outcome. */
static struct span
record(struct tracer *tracer, enum status_code code)
{
	struct trace_context parent;
	struct span span;

	ck_assert(trace_context_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 55, &parent));
	span_begin(tracer, &span, "Limits.Check", SPAN_SERVER, &parent);
	span_attribute(&span, "limit", "l\xC3\xBC\"x");
	fake_clock_advance_ms(&fake, 2);
	span_end(tracer, &span, code);
	return span;
}

static void
record_many(struct tracer *tracer, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct span span;
		span_begin(tracer, &span, "many", SPAN_INTERNAL, NULL);
		span_end(tracer, &span, STATUS_OK);
	}
}

static uint64_t
counted(const char *family, const char *const *labels, const char *const *values)
{
	return counter_value(
	    metrics_counter(metrics, &(struct metric_spec){.name = family, .labels = labels}, values));
}

static uint64_t
exported(void)
{
	return counted("corbel_trace_spans_exported", NULL, NULL);
}

static uint64_t
dropped(const char *reason)
{
	static const char *const labels[] = {"reason", NULL};
	return counted("corbel_trace_spans_dropped", labels, &reason);
}

static uint64_t
exports(const char *signal, const char *outcome)
{
	static const char *const labels[] = {"signal", "outcome", NULL};
	return counted("corbel_otlp_exports", labels, (const char *[]){signal, outcome});
}

/* Spans in a request that was received. */
static size_t
spans_in(const struct test_collector_request *request)
{
	TraceRequest *message = corbel__otlp__trace_request__unpack(NULL, request->length, request->body);
	ck_assert_ptr_nonnull(message);
	size_t count = message->resource_spans[0]->scope_spans[0]->n_spans;
	corbel__otlp__trace_request__free_unpacked(message, NULL);
	return count;
}

static const char *
attribute(Attribute *const *attributes, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(attributes[i]->key, key) == 0)
			return attributes[i]->value->string_value;
	return "";
}

/* ---------------------------------------------------------------- spans */

START_TEST(a_collector_reads_spans_in_protobuf_as_they_were)
{
	struct tracer *tracer = tracer_to(OTLP_PROTOBUF, 0);
	struct span ok = record(tracer, STATUS_OK), failed = record(tracer, STATUS_NOT_FOUND);
	tracer_free(tracer, 5000);

	const struct test_collector_request *request = test_collector_request(collector, 0);
	ck_assert_str_eq(request->path, "/v1/traces");
	ck_assert_str_eq(request->content_type, "application/x-protobuf");
	ck_assert_str_eq(request->authorization, "Bearer abc=def");
	TraceRequest *message = corbel__otlp__trace_request__unpack(NULL, request->length, request->body);
	ck_assert_ptr_nonnull(message);
	const Corbel__Otlp__Resource *resource = message->resource_spans[0]->resource;
	ck_assert_str_eq(attribute(resource->attributes, resource->n_attributes, "service.name"), "ratelimitd");
	ck_assert_str_eq(attribute(resource->attributes, resource->n_attributes, "service.instance.id"),
	                 "node-1");
	const Corbel__Otlp__ScopeSpans *scope = message->resource_spans[0]->scope_spans[0];
	ck_assert_str_eq(scope->scope->name, "corbel");
	ck_assert_uint_eq(scope->n_spans, 2);
	const Corbel__Otlp__Span *first = scope->spans[0], *second = scope->spans[1];
	ck_assert_uint_eq(first->trace_id.len, 16);
	ck_assert_mem_eq(first->trace_id.data, "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c",
	                 16);
	ck_assert_uint_eq(first->span_id.len, 8);
	ck_assert_mem_eq(first->span_id.data, ok.context.span_id, 8);
	ck_assert_mem_eq(first->parent_span_id.data, "\xb7\xad\x6b\x71\x69\x20\x33\x31", 8);
	ck_assert_str_eq(first->name, "Limits.Check");
	ck_assert_int_eq(first->kind, 2);
	ck_assert_uint_eq(first->start_time_unix_nano, (uint64_t)NOW_US * 1000);
	ck_assert_uint_eq(first->end_time_unix_nano, (uint64_t)NOW_US * 1000 + 2000000);
	ck_assert_str_eq(attribute(first->attributes, first->n_attributes, "limit"), "l\xC3\xBC\"x");
	ck_assert_int_eq(first->status->code, 0);
	ck_assert_mem_eq(second->span_id.data, failed.context.span_id, 8);
	ck_assert_int_eq(second->status->code, 2);
	ck_assert_str_eq(second->status->message, "NOT_FOUND");
	corbel__otlp__trace_request__free_unpacked(message, NULL);
	ck_assert_uint_eq(exported(), 2);
}
END_TEST

static const char *
text_at(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static json_t *
first_of(const json_t *object, const char *key)
{
	return json_array_get(json_object_get(object, key), 0);
}

START_TEST(a_collector_reads_spans_in_json_as_they_were)
{
	struct tracer *tracer = tracer_to(OTLP_JSON, 0);
	char id[17] = "";
	struct span sent = record(tracer, STATUS_UNAVAILABLE);
	tracer_free(tracer, 5000);

	const struct test_collector_request *request = test_collector_request(collector, 0);
	ck_assert_str_eq(request->content_type, "application/json");
	json_t *root = json_loadb((const char *)request->body, request->length, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(root);
	json_t *span = first_of(first_of(first_of(root, "resourceSpans"), "scopeSpans"), "spans");
	text_hex_encode(sent.context.span_id, 8, id);
	ck_assert_str_eq(text_at(span, "traceId"), "0af7651916cd43dd8448eb211c80319c");
	ck_assert_str_eq(text_at(span, "spanId"), id);
	ck_assert_str_eq(text_at(span, "parentSpanId"), "b7ad6b7169203331");
	ck_assert_int_eq(json_integer_value(json_object_get(span, "kind")), 2);
	ck_assert_str_eq(text_at(span, "startTimeUnixNano"), "1700000000123456000");
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(span, "status"), "code")), 2);
	json_t *attribute_ = first_of(span, "attributes");
	ck_assert_str_eq(text_at(attribute_, "key"), "limit");
	ck_assert_str_eq(text_at(json_object_get(attribute_, "value"), "stringValue"), "l\xC3\xBC\"x");
	json_decref(root);
}
END_TEST

START_TEST(a_span_keeps_whole_characters_and_bad_ones_spoil_no_request)
{
	struct tracer *tracer = tracer_to(OTLP_PROTOBUF, 0);
	struct span span;
	char longer[80];

	memset(longer, 'a', sizeof(longer));
	memcpy(longer + 54, "\xE2\x82\xAC", 3); /* the bytes that fit end within it */
	longer[79] = '\0';
	span_begin(tracer, &span, "x", SPAN_CLIENT, NULL);
	span_attribute(&span, "long", longer);
	span_attribute(&span, "bad", "a\xFFz");
	span_end(tracer, &span, STATUS_OK);
	tracer_free(tracer, 5000);

	const struct test_collector_request *request = test_collector_request(collector, 0);
	TraceRequest *message = corbel__otlp__trace_request__unpack(NULL, request->length, request->body);
	const Corbel__Otlp__Span *got = message->resource_spans[0]->scope_spans[0]->spans[0];
	longer[54] = '\0';
	ck_assert_str_eq(got->attributes[0]->value->string_value, longer);
	ck_assert_str_eq(got->attributes[1]->value->string_value, "a?z");
	ck_assert_uint_eq(got->parent_span_id.len, 0);
	corbel__otlp__trace_request__free_unpacked(message, NULL);
}
END_TEST

/* ---------------------------------------------------------------- a collector in trouble */

START_TEST(a_busy_collector_gets_the_same_body_again_and_not_before_it_asked)
{
	static const struct test_collector_answer ANSWERS[] = {
	    {.status = 503, .retry_after = "1"}, {.status = 429}, {.status = 200}};
	struct tracer *tracer = tracer_to(OTLP_PROTOBUF, 0);

	test_collector_script(collector, ANSWERS, 3);
	record(tracer, STATUS_OK);
	test_collector_wait(collector, 3);
	tracer_free(tracer, 5000);
	const struct test_collector_request *first = test_collector_request(collector, 0);
	for (size_t i = 1; i < 3; i++) {
		const struct test_collector_request *again = test_collector_request(collector, i);
		ck_assert_uint_eq(again->length, first->length);
		ck_assert_mem_eq(again->body, first->body, first->length);
	}
	ck_assert_uint_ge(test_collector_request(collector, 1)->at_ms - first->at_ms, 1000);
	ck_assert_uint_eq(test_collector_count(collector), 3);
	ck_assert_uint_eq(exported(), 1);
	ck_assert_uint_eq(exports("traces", "taken"), 1);
}
END_TEST

START_TEST(a_body_that_is_refused_for_good_is_counted_and_not_sent_again)
{
	static const unsigned CODES[] = {400, 401, 413, 500, 301};
	struct test_collector_answer answer = {.status = CODES[_i]};
	struct tracer *tracer = tracer_to(OTLP_PROTOBUF, 0);

	test_collector_script(collector, &answer, 1);
	record(tracer, STATUS_OK);
	tracer_free(tracer, 5000);
	ck_assert_uint_eq(test_collector_count(collector), 1);
	ck_assert_uint_eq(exported(), 0);
	ck_assert_uint_eq(dropped("not_taken"), 1);
	ck_assert_uint_eq(exports("traces", "refused"), 1);
}
END_TEST

START_TEST(what_a_collector_takes_and_throws_away_is_counted)
{
	Corbel__Otlp__PartialSuccess partial = CORBEL__OTLP__PARTIAL_SUCCESS__INIT;
	Corbel__Otlp__Response response = CORBEL__OTLP__RESPONSE__INIT;
	uint8_t bytes[128];

	partial.has_rejected = 1;
	partial.rejected = 3;
	partial.error_message = (char *)(uintptr_t) "too old";
	response.partial_success = &partial;
	struct test_collector_answer in_protobuf = {
	    .status = 200, .body = bytes, .length = corbel__otlp__response__pack(&response, bytes)};
	static const char JSON[] = "{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"too old\"}}";
	struct test_collector_answer in_json = {.status = 200, .body = JSON, .length = sizeof(JSON) - 1};
	struct tracer *tracer = tracer_to(_i ? OTLP_JSON : OTLP_PROTOBUF, 0);

	test_collector_script(collector, _i ? &in_json : &in_protobuf, 1);
	record_many(tracer, 10);
	tracer_free(tracer, 5000);
	ck_assert_uint_eq(test_collector_count(collector), 1);
	ck_assert_uint_eq(exported(), 7);
	ck_assert_uint_eq(dropped("not_taken"), 3);
}
END_TEST

START_TEST(a_hanging_collector_delays_no_span_and_every_span_is_accounted_for)
{
	enum { QUEUE = 512, SPANS = 20000 };
	struct tracer *tracer = tracer_to(OTLP_PROTOBUF, QUEUE);
	size_t received = 0;

	test_collector_hang(collector, 1);
	record_many(tracer, 1);
	test_collector_wait(collector, 1);
	uint64_t begin_ms = test_calm_ms();
	record_many(tracer, SPANS);
	/* 20,000 spans in a second is a hundred times slower than it is: a collector's time is seconds. */
	ck_assert_uint_lt(test_calm_ms() - begin_ms, 1000);
	ck_assert_uint_eq(dropped("queue_full"), SPANS - QUEUE);
	test_collector_hang(collector, 0);
	tracer_free(tracer, 5000);
	for (size_t i = 0; i < test_collector_count(collector); i++)
		received += spans_in(test_collector_request(collector, i));
	ck_assert_uint_eq(received, 1 + QUEUE);
	ck_assert_uint_eq(exported(), 1 + QUEUE);
	ck_assert_uint_eq(exported() + dropped("queue_full") + dropped("not_taken"), 1 + SPANS);
}
END_TEST

START_TEST(an_end_waits_for_a_hanging_or_absent_collector_no_longer_than_its_grace)
{
	struct tracer *tracer = tracer_to(OTLP_PROTOBUF, 0);

	if (_i == 0) {
		test_collector_hang(collector, 1);
	} else {
		static const struct test_collector_answer LATER = {.status = 503, .retry_after = "200"};
		test_collector_script(collector, &LATER, 1);
	}
	record_many(tracer, 300);
	test_collector_wait(collector, 1);
	uint64_t begin_ms = test_calm_ms();
	tracer_free(tracer, 300);
	ck_assert_uint_lt(test_calm_ms() - begin_ms, 1000);
	ck_assert_uint_eq(dropped("not_taken"), 300);
}
END_TEST

START_TEST(spans_reach_a_collector_that_comes_back)
{
	static const struct test_collector_answer ANSWERS[] = {{.status = 400}, {.status = 200}};
	struct tracer *tracer = tracer_to(OTLP_PROTOBUF, 0);

	test_collector_script(collector, ANSWERS, 2);
	record_many(tracer, 256);
	test_collector_wait(collector, 1);
	record_many(tracer, 256);
	tracer_free(tracer, 5000);
	ck_assert_uint_eq(dropped("not_taken"), 256);
	ck_assert_uint_eq(exported(), 256);
}
END_TEST

/* ---------------------------------------------------------------- metrics */

static void
fill_registry(void)
{
	static const char *const labels[] = {"method", "code", NULL};
	static const double bounds[] = {0.005, 0.25, 4};
	struct metric_counter *calls = metrics_counter(
	    metrics, &(struct metric_spec){.name = "test_calls", .help = "Calls.", .labels = labels},
	    (const char *[]){"Check", "OK"});
	struct metric_gauge *open =
	    metrics_gauge(metrics, &(struct metric_spec){.name = "test_memory_bytes", .unit = "bytes"}, NULL);
	struct metric_histogram *spent = metrics_histogram(
	    metrics,
	    &(struct metric_spec){
	        .name = "test_spent_seconds", .unit = "seconds", .buckets = bounds, .bucket_count = 3},
	    NULL);
	struct metric_summary *sizes =
	    metrics_summary(metrics, &(struct metric_spec){.name = "test_sizes"}, NULL);

	counter_add(metrics_counter(
	                metrics,
	                &(struct metric_spec){.name = "test_cpu_seconds", .unit = "seconds", .per_unit = 1000},
	                NULL),
	            1250);
	counter_add(calls, 40);
	counter_add(calls, 2);
	gauge_set(open, -7);
	for (int i = 0; i < 3; i++)
		histogram_observe(spent, 0.25);
	histogram_observe(spent, 8);
	for (int i = 1; i <= 100; i++)
		summary_observe(sizes, i);
}

static const Metric *
metric_named(const MetricsRequest *message, const char *name)
{
	const Corbel__Otlp__ScopeMetrics *scope = message->resource_metrics[0]->scope_metrics[0];
	for (size_t i = 0; i < scope->n_metrics; i++)
		if (strcmp(scope->metrics[i]->name, name) == 0)
			return scope->metrics[i];
	ck_abort_msg("no metric %s", name);
}

static void
check_counter(const Metric *metric)
{
	ck_assert_str_eq(metric->description, "Calls.");
	ck_assert_str_eq(metric->unit, "1");
	ck_assert_int_eq(metric->sum->aggregation_temporality, 2);
	ck_assert(metric->sum->is_monotonic);
	const Corbel__Otlp__NumberPoint *point = metric->sum->data_points[0];
	ck_assert_int_eq(point->as_int, 42);
	ck_assert_uint_eq(point->time_unix_nano, (uint64_t)NOW_US * 1000);
	ck_assert_uint_gt(point->start_time_unix_nano, 0);
	ck_assert_str_eq(attribute(point->attributes, point->n_attributes, "method"), "Check");
	ck_assert_str_eq(attribute(point->attributes, point->n_attributes, "code"), "OK");
}

static void
check_histogram(const Metric *metric)
{
	const Corbel__Otlp__HistogramPoint *point = metric->histogram->data_points[0];
	ck_assert_str_eq(metric->unit, "s");
	ck_assert_int_eq(metric->histogram->aggregation_temporality, 2);
	ck_assert_uint_eq(point->count, 4);
	ck_assert_double_eq_tol(point->sum, 8.75, 1e-5);
	ck_assert_uint_eq(point->n_bucket_counts, 4);
	ck_assert_uint_eq(point->bucket_counts[0], 0);
	ck_assert_uint_eq(point->bucket_counts[1], 3);
	ck_assert_uint_eq(point->bucket_counts[2], 0);
	ck_assert_uint_eq(point->bucket_counts[3], 1);
	ck_assert_uint_eq(point->n_explicit_bounds, 3);
	ck_assert_double_eq_tol(point->explicit_bounds[0], 0.005, 1e-12);
	ck_assert_double_eq_tol(point->explicit_bounds[2], 4, 1e-12);
}

static void
check_summary(const Metric *metric)
{
	const Corbel__Otlp__SummaryPoint *point = metric->summary->data_points[0];
	ck_assert_uint_eq(point->count, 100);
	ck_assert_double_eq_tol(point->sum, 5050, 1e-3);
	ck_assert_uint_eq(point->n_quantile_values, 3);
	ck_assert_double_eq_tol(point->quantile_values[0]->quantile, 0.5, 1e-12);
	ck_assert_double_eq_tol(point->quantile_values[0]->value, 50, 1);
	ck_assert_double_eq_tol(point->quantile_values[2]->value, 99, 1.5);
}

START_TEST(a_collector_reads_the_registrys_numbers_in_protobuf)
{
	fill_registry();
	struct metric_push *push = push_to(OTLP_PROTOBUF, 3600000);
	metric_push_free(push, 5000);

	const struct test_collector_request *request = test_collector_request(collector, 0);
	ck_assert_str_eq(request->path, "/v1/metrics");
	ck_assert_str_eq(request->content_type, "application/x-protobuf");
	ck_assert_str_eq(request->authorization, "Bearer abc=def");
	MetricsRequest *message = corbel__otlp__metrics_request__unpack(NULL, request->length, request->body);
	ck_assert_ptr_nonnull(message);
	const Corbel__Otlp__Resource *resource = message->resource_metrics[0]->resource;
	ck_assert_str_eq(attribute(resource->attributes, resource->n_attributes, "service.name"), "accountd");
	check_counter(metric_named(message, "test_calls"));
	ck_assert_str_eq(metric_named(message, "test_memory_bytes")->unit, "By");
	ck_assert_int_eq(metric_named(message, "test_memory_bytes")->gauge->data_points[0]->as_int, -7);
	ck_assert_double_eq_tol(metric_named(message, "test_cpu_seconds")->sum->data_points[0]->as_double, 1.25,
	                        1e-9);
	check_histogram(metric_named(message, "test_spent_seconds"));
	check_summary(metric_named(message, "test_sizes"));
	corbel__otlp__metrics_request__free_unpacked(message, NULL);
}
END_TEST

static json_t *
json_metric_named(const json_t *root, const char *name)
{
	const json_t *scope = first_of(first_of(root, "resourceMetrics"), "scopeMetrics");
	json_t *metric;
	size_t i;

	json_array_foreach(json_object_get(scope, "metrics"), i,
	                   metric) if (strcmp(text_at(metric, "name"), name) == 0) return metric;
	ck_abort_msg("no metric %s", name);
}

START_TEST(a_collector_reads_the_registrys_numbers_in_json)
{
	fill_registry();
	struct metric_push *push = push_to(OTLP_JSON, 3600000);
	metric_push_free(push, 5000);

	const struct test_collector_request *request = test_collector_request(collector, 0);
	ck_assert_str_eq(request->content_type, "application/json");
	json_t *root = json_loadb((const char *)request->body, request->length, JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(root);
	const json_t *calls = json_object_get(json_metric_named(root, "test_calls"), "sum");
	ck_assert(json_is_true(json_object_get(calls, "isMonotonic")));
	ck_assert_int_eq(json_integer_value(json_object_get(calls, "aggregationTemporality")), 2);
	ck_assert_str_eq(text_at(first_of(calls, "dataPoints"), "asInt"), "42");
	const json_t *spent =
	    first_of(json_object_get(json_metric_named(root, "test_spent_seconds"), "histogram"), "dataPoints");
	ck_assert_str_eq(text_at(spent, "count"), "4");
	ck_assert_double_eq_tol(json_number_value(json_object_get(spent, "sum")), 8.75, 1e-5);
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(spent, "bucketCounts"), 1)), "3");
	ck_assert_double_eq_tol(json_number_value(json_array_get(json_object_get(spent, "explicitBounds"), 0)),
	                        0.005, 1e-12);
	json_decref(root);
}
END_TEST

START_TEST(metrics_are_pushed_at_every_interval_and_once_more_at_the_end)
{
	static const struct test_collector_answer ANSWERS[] = {{.status = 400}, {.status = 200}};
	struct metric_push *push;

	test_collector_script(collector, ANSWERS, 2);
	push = push_to(OTLP_PROTOBUF, 20);
	test_collector_wait(collector, 3);
	struct metric_counter *late = metrics_counter(metrics, &(struct metric_spec){.name = "test_late"}, NULL);
	counter_add(late, 5);
	metric_push_free(push, 5000);
	const struct test_collector_request *last =
	    test_collector_request(collector, test_collector_count(collector) - 1);
	MetricsRequest *message = corbel__otlp__metrics_request__unpack(NULL, last->length, last->body);
	ck_assert_int_eq(metric_named(message, "test_late")->sum->data_points[0]->as_int, 5);
	corbel__otlp__metrics_request__free_unpacked(message, NULL);
	ck_assert_uint_eq(exports("metrics", "refused"), 1);
	ck_assert_uint_eq(exports("metrics", "taken"), test_collector_count(collector) - 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("otlp");
	TCase *tc = tcase_create("otlp");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_collector_reads_spans_in_protobuf_as_they_were);
	tcase_add_test(tc, a_collector_reads_spans_in_json_as_they_were);
	tcase_add_test(tc, a_span_keeps_whole_characters_and_bad_ones_spoil_no_request);
	tcase_add_test(tc, a_busy_collector_gets_the_same_body_again_and_not_before_it_asked);
	tcase_add_loop_test(tc, a_body_that_is_refused_for_good_is_counted_and_not_sent_again, 0, 5);
	tcase_add_loop_test(tc, what_a_collector_takes_and_throws_away_is_counted, 0, 2);
	tcase_add_test(tc, a_hanging_collector_delays_no_span_and_every_span_is_accounted_for);
	tcase_add_loop_test(tc, an_end_waits_for_a_hanging_or_absent_collector_no_longer_than_its_grace, 0, 2);
	tcase_add_test(tc, spans_reach_a_collector_that_comes_back);
	tcase_add_test(tc, a_collector_reads_the_registrys_numbers_in_protobuf);
	tcase_add_test(tc, a_collector_reads_the_registrys_numbers_in_json);
	tcase_add_test(tc, metrics_are_pushed_at_every_interval_and_once_more_at_the_end);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
