/*
 * metric: Prometheus text 0.0.4 and OpenMetrics 1.0.
 *
 * Both use the canonical form of `le` ("1.0"), so that the format in use does not change a series'
 * identity.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "metric_internal.h"

static const char *const KINDS[] = {"counter", "gauge", "histogram", "summary"};

/* Label values escape quotes in both formats; help texts only in OpenMetrics. */
static void
put_escaped(struct strbuf *out, const char *text, bool has_quotes)
{
	for (; *text; text++) {
		if (*text == '\\' || (*text == '"' && has_quotes)) {
			strbuf_putc(out, '\\');
			strbuf_putc(out, *text);
		} else if (*text == '\n') {
			strbuf_puts(out, "\\n");
		} else {
			strbuf_putc(out, *text);
		}
	}
}

/* With ".0" where it would look like a whole number. */
static void
put_double(struct strbuf *out, double value)
{
	size_t start = out->length;

	if (isnan(value) || isinf(value)) {
		strbuf_puts(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
		return;
	}
	strbuf_double(out, value);
	if (!strpbrk(out->data + start, ".e"))
		strbuf_puts(out, ".0");
}

/* Labels of a series and, behind them, one more (NULL: none) whose value is a number. */
static void
put_labels(struct strbuf *out, const struct family *family, const struct series *series, const char *extra,
           double number)
{
	if (family->label_count == 0 && !extra)
		return;
	strbuf_putc(out, '{');
	for (size_t i = 0; i < family->label_count; i++) {
		strbuf_printf(out, "%s%s=\"", i ? "," : "", family->labels[i]);
		put_escaped(out, series->values[i], true);
		strbuf_putc(out, '"');
	}
	if (extra) {
		strbuf_printf(out, "%s%s=\"", family->label_count ? "," : "", extra);
		put_double(out, number);
		strbuf_putc(out, '"');
	}
	strbuf_putc(out, '}');
}

static void
put_sample_name(struct strbuf *out, const struct family *family, const struct series *series,
                const char *suffix)
{
	strbuf_puts(out, family->name);
	strbuf_puts(out, suffix);
	put_labels(out, family, series, NULL, 0);
	strbuf_putc(out, ' ');
}

static void
put_sum_and_count(struct strbuf *out, const struct family *family, const struct series *series, int64_t sum,
                  uint64_t count)
{
	put_sample_name(out, family, series, "_sum");
	put_double(out, fixed_to_double(sum));
	strbuf_putc(out, '\n');
	put_sample_name(out, family, series, "_count");
	strbuf_u64(out, count);
	strbuf_putc(out, '\n');
}

static void
put_histogram(struct strbuf *out, const struct family *family, const struct series *series)
{
	const struct metric_histogram *histogram = series->metric;
	uint64_t count = 0;

	for (size_t i = 0; i <= histogram->bound_count; i++) {
		count += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
		strbuf_puts(out, family->name);
		strbuf_puts(out, "_bucket");
		put_labels(out, family, series, "le", i < histogram->bound_count ? histogram->bounds[i] : INFINITY);
		strbuf_putc(out, ' ');
		strbuf_u64(out, count);
		strbuf_putc(out, '\n');
	}
	put_sum_and_count(out, family, series, atomic_load(&histogram->sum_fixed), count);
}

static void
put_summary(struct strbuf *out, const struct family *family, const struct series *series)
{
	static const double QUANTILES[] = {0.5, 0.9, 0.99};
	const struct metric_summary *summary = series->metric;

	for (size_t i = 0; i < sizeof(QUANTILES) / sizeof(QUANTILES[0]); i++) {
		strbuf_puts(out, family->name);
		put_labels(out, family, series, "quantile", QUANTILES[i]);
		strbuf_putc(out, ' ');
		put_double(out, sketch_quantile(summary, QUANTILES[i]));
		strbuf_putc(out, '\n');
	}
	put_sum_and_count(out, family, series, atomic_load(&summary->sum_fixed), atomic_load(&summary->count));
}

static void
put_series(struct strbuf *out, const struct family *family, const struct series *series)
{
	switch (family->kind) {
	case KIND_COUNTER:
		put_sample_name(out, family, series, "_total");
		if (family->per_unit > 1)
			put_double(out, (double)counter_value(series->metric) / family->per_unit);
		else
			strbuf_u64(out, counter_value(series->metric));
		strbuf_putc(out, '\n');
		break;
	case KIND_GAUGE:
		put_sample_name(out, family, series, "");
		strbuf_i64(out, gauge_value(series->metric));
		strbuf_putc(out, '\n');
		break;
	case KIND_HISTOGRAM:
		put_histogram(out, family, series);
		break;
	case KIND_SUMMARY:
		put_summary(out, family, series);
		break;
	}
}

/* In 0.0.4 a counter's family carries the suffix; in OpenMetrics only its sample does. */
static void
put_header(struct strbuf *out, const struct family *family, enum metric_format format)
{
	const char *suffix = family->kind == KIND_COUNTER && format == METRIC_PROMETHEUS ? "_total" : "";
	strbuf_printf(out, "# TYPE %s%s %s\n", family->name, suffix, KINDS[family->kind]);
	if (family->unit && format == METRIC_OPENMETRICS)
		strbuf_printf(out, "# UNIT %s %s\n", family->name, family->unit);
	strbuf_printf(out, "# HELP %s%s ", family->name, suffix);
	put_escaped(out, family->help, format == METRIC_OPENMETRICS);
	strbuf_putc(out, '\n');
}

void
metrics_write(struct metrics *metrics, enum metric_format format, struct strbuf *out)
{
	pthread_mutex_lock(&metrics->lock);
	for (const struct family *family = metrics->first; family; family = family->next) {
		put_header(out, family, format);
		for (const struct series *series = family->first; series; series = series->next)
			put_series(out, family, series);
	}
	pthread_mutex_unlock(&metrics->lock);
	if (format == METRIC_OPENMETRICS)
		strbuf_puts(out, "# EOF\n");
}

const char *
metric_content_type(enum metric_format format)
{
	return format == METRIC_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
	                                    : "text/plain; version=0.0.4; charset=utf-8";
}

/* The value of parameter `name` ("version", "q") of a media range, NULL when it has none. */
static const char *
parameter_of(const char *range, size_t length, const char *name)
{
	const char *end = range + length, *at = range;
	size_t size = strlen(name);
	while ((at = memchr(at, ';', (size_t)(end - at))) != NULL) {
		at++;
		while (at < end && isspace((unsigned char)*at))
			at++;
		if ((size_t)(end - at) > size && strncasecmp(at, name, size) == 0 && at[size] == '=')
			return at + size + 1;
	}
	return NULL;
}

static double
quality_of(const char *range, size_t length)
{
	const char *q = parameter_of(range, length, "q");
	double value = q ? strtod(q, NULL) : 1;
	return value >= 0 && value <= 1 ? value : 0;
}

/* True when the range names OpenMetrics in a version that we speak. */
static bool
is_openmetrics(const char *range, size_t length)
{
	static const char TYPE[] = "application/openmetrics-text";
	const char *version = parameter_of(range, length, "version");
	if (length < sizeof(TYPE) - 1 || strncasecmp(range, TYPE, sizeof(TYPE) - 1) != 0)
		return false;
	return !version || strncmp(version, "1.0.0", 5) == 0;
}

static bool
is_text(const char *range, size_t length)
{
	return (length >= 10 && strncasecmp(range, "text/plain", 10) == 0) ||
	       (length >= 6 && strncmp(range, "text/*", 6) == 0) ||
	       (length >= 3 && strncmp(range, "*/*", 3) == 0);
}

enum metric_format
metric_format_for(const char *accept)
{
	double open = 0, text = 0;

	for (const char *at = accept; at && *at;) {
		at += strspn(at, " \t,");
		size_t length = strcspn(at, ",");
		double quality = quality_of(at, length);
		if (is_openmetrics(at, length) && quality > open)
			open = quality;
		if (is_text(at, length) && quality > text)
			text = quality;
		at += length;
	}
	return open > 0 && open >= text ? METRIC_OPENMETRICS : METRIC_PROMETHEUS;
}
