/*
 * otlp: the registry as an ExportMetricsServiceRequest.
 *
 * Everything is cumulative, so a push that is lost costs resolution and no count. The registry's lock is
 * held while the body is written, as for an exposition: that delays only the making of new series.
 */
#include <string.h>

#include "telemetry/metric_internal.h"
#include "telemetry/otlp.h"

#define F(field_name, field_number) ((struct otlp_field){.name = (field_name), .number = (field_number)})

#define CUMULATIVE 2u

struct moment {
	uint64_t start_ns, now_ns;
};

/* OpenTelemetry writes units by UCUM. */
static const char *
unit_of(const struct family *family)
{
	if (family->unit && strcmp(family->unit, "seconds") == 0)
		return "s";
	if (family->unit && strcmp(family->unit, "bytes") == 0)
		return "By";
	return family->unit ? family->unit : "1";
}

static void
put_labels(struct otlp_writer *writer, struct otlp_field list, const struct family *family,
           const struct series *series)
{
	otlp_list(writer, list);
	for (size_t i = 0; i < family->label_count; i++)
		otlp_put_attribute(writer, list, family->labels[i], series->values[i]);
	otlp_list_end(writer);
}

static void
put_times(struct otlp_writer *writer, const struct moment *moment)
{
	otlp_fixed64(writer, F("startTimeUnixNano", 2), moment->start_ns);
	otlp_fixed64(writer, F("timeUnixNano", 3), moment->now_ns);
}

static void
put_number_point(struct otlp_writer *writer, const struct family *family, const struct series *series,
                 const struct moment *moment)
{
	int64_t value =
	    family->kind == KIND_COUNTER ? (int64_t)counter_value(series->metric) : gauge_value(series->metric);

	put_times(writer, moment);
	if (family->per_unit > 1)
		otlp_double(writer, F("asDouble", 4), (double)value / family->per_unit);
	else
		otlp_sfixed64(writer, F("asInt", 6), value);
	put_labels(writer, F("attributes", 7), family, series);
}

static void
put_histogram_point(struct otlp_writer *writer, const struct family *family, const struct series *series,
                    const struct moment *moment)
{
	const struct metric_histogram *histogram = series->metric;
	uint64_t counts[BOUNDS_MAX + 1], total = 0;

	for (size_t i = 0; i <= histogram->bound_count; i++) {
		counts[i] = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
		total += counts[i];
	}
	put_times(writer, moment);
	otlp_fixed64(writer, F("count", 4), total);
	otlp_double(writer, F("sum", 5), fixed_to_double(atomic_load(&histogram->sum_fixed)));
	otlp_fixed64s(writer, F("bucketCounts", 6), counts, histogram->bound_count + 1);
	otlp_doubles(writer, F("explicitBounds", 7), histogram->bounds, histogram->bound_count);
	put_labels(writer, F("attributes", 9), family, series);
}

static void
put_quantiles(struct otlp_writer *writer, const struct metric_summary *summary)
{
	static const double QUANTILES[] = {0.5, 0.9, 0.99};
	const struct otlp_field list = F("quantileValues", 6);

	otlp_list(writer, list);
	for (size_t i = 0; i < sizeof(QUANTILES) / sizeof(QUANTILES[0]); i++) {
		otlp_item(writer, list);
		otlp_double(writer, F("quantile", 1), QUANTILES[i]);
		otlp_double(writer, F("value", 2), sketch_quantile(summary, QUANTILES[i]));
		otlp_close(writer);
	}
	otlp_list_end(writer);
}

static void
put_summary_point(struct otlp_writer *writer, const struct family *family, const struct series *series,
                  const struct moment *moment)
{
	const struct metric_summary *summary = series->metric;

	put_times(writer, moment);
	otlp_fixed64(writer, F("count", 4), atomic_load(&summary->count));
	otlp_double(writer, F("sum", 5), fixed_to_double(atomic_load(&summary->sum_fixed)));
	put_quantiles(writer, summary);
	put_labels(writer, F("attributes", 7), family, series);
}

static void
put_points(struct otlp_writer *writer, const struct family *family, const struct moment *moment)
{
	const struct otlp_field points = F("dataPoints", 1);

	otlp_list(writer, points);
	for (const struct series *series = family->first; series; series = series->next) {
		otlp_item(writer, points);
		if (family->kind == KIND_HISTOGRAM)
			put_histogram_point(writer, family, series, moment);
		else if (family->kind == KIND_SUMMARY)
			put_summary_point(writer, family, series, moment);
		else
			put_number_point(writer, family, series, moment);
		otlp_close(writer);
	}
	otlp_list_end(writer);
}

static void
put_family(struct otlp_writer *writer, const struct family *family, const struct moment *moment)
{
	static const struct otlp_field DATA[] = {[KIND_COUNTER] = {"sum", 7},
	                                         [KIND_GAUGE] = {"gauge", 5},
	                                         [KIND_HISTOGRAM] = {"histogram", 9},
	                                         [KIND_SUMMARY] = {"summary", 11}};

	otlp_item(writer, F("metrics", 2));
	otlp_text(writer, F("name", 1), family->name);
	otlp_text(writer, F("description", 2), family->help);
	otlp_text(writer, F("unit", 3), unit_of(family));
	otlp_open(writer, DATA[family->kind]);
	put_points(writer, family, moment);
	if (family->kind == KIND_COUNTER || family->kind == KIND_HISTOGRAM)
		otlp_enum(writer, F("aggregationTemporality", 2), CUMULATIVE);
	if (family->kind == KIND_COUNTER)
		otlp_bool(writer, F("isMonotonic", 3), true);
	otlp_close(writer);
	otlp_close(writer);
}

static void
put_families(struct otlp_writer *writer, struct metrics *metrics, int64_t now_us)
{
	struct moment moment = {.start_ns = (uint64_t)metrics->start_us * 1000,
	                        .now_ns = (uint64_t)now_us * 1000};

	otlp_list(writer, F("metrics", 2));
	pthread_mutex_lock(&metrics->lock);
	for (const struct family *family = metrics->first; family; family = family->next)
		put_family(writer, family, &moment);
	pthread_mutex_unlock(&metrics->lock);
	otlp_list_end(writer);
}

void
otlp_encode_metrics(const struct otlp_resource *resource, struct metrics *metrics, int64_t now_us,
                    enum otlp_encoding encoding, struct strbuf *out)
{
	struct otlp_writer writer;

	otlp_writer_begin(&writer, encoding, out);
	otlp_list(&writer, F("resourceMetrics", 1));
	otlp_item(&writer, F("resourceMetrics", 1));
	otlp_put_resource(&writer, resource);
	otlp_list(&writer, F("scopeMetrics", 2));
	otlp_item(&writer, F("scopeMetrics", 2));
	otlp_put_scope(&writer);
	put_families(&writer, metrics, now_us);
	otlp_close(&writer);
	otlp_list_end(&writer);
	otlp_close(&writer);
	otlp_list_end(&writer);
	otlp_writer_end(&writer);
}
