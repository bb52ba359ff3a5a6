/*
 * top_view: lines are composed plain and cut to the width; colours are put around whole lines, so that
 * cutting never breaks an escape sequence. What processes say is shown without control characters.
 */
#include "top_view.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES 512

#define BOLD    "\x1b[1m"
#define REVERSE "\x1b[7m"
#define RED     "\x1b[31m"
#define PLAIN   "\x1b[0m"

struct canvas {
	struct strbuf *out;
	const struct top_screen *screen;
	unsigned line;
};

static bool
is_full(const struct canvas *canvas)
{
	return canvas->screen->lines > 0 && canvas->line >= canvas->screen->lines;
}

/* Bytes of the first `columns` characters. */
static size_t
width_of(const char *text, unsigned columns)
{
	size_t i = 0;
	for (unsigned seen = 0; text[i]; i++)
		if (((unsigned char)text[i] & 0xC0) != 0x80 && columns > 0 && seen++ == columns)
			break;
	return i;
}

static void put_line(struct canvas *canvas, const char *colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void
put_line(struct canvas *canvas, const char *colour, const char *format, ...)
{
	char text[LINE_MAX_BYTES];
	va_list args;

	if (is_full(canvas))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7F)
			*at = ' ';
	bool is_coloured = colour && canvas->screen->has_colours;
	if (canvas->line++ > 0)
		strbuf_putc(canvas->out, '\n');
	if (is_coloured)
		strbuf_puts(canvas->out, colour);
	strbuf_add(canvas->out, text, width_of(text, canvas->screen->columns));
	if (is_coloured)
		strbuf_puts(canvas->out, PLAIN);
}

/* ---- numbers for people ---- */

struct figure {
	char text[24];
};

static struct figure
rate_text(double value)
{
	struct figure figure;
	if (value >= 99999.5)
		snprintf(figure.text, sizeof(figure.text), "%.0fk", value / 1000);
	else
		snprintf(figure.text, sizeof(figure.text), value > 0 && value < 9.95 ? "%.1f" : "%.0f", value);
	return figure;
}

static struct figure
time_text(const struct scrape_buckets *buckets, double q)
{
	struct figure figure;
	double ms = 1000 * scrape_quantile(buckets, q);

	if (isnan(ms))
		snprintf(figure.text, sizeof(figure.text), "-");
	else if (ms < 9.995)
		snprintf(figure.text, sizeof(figure.text), "%.2f ms", ms);
	else if (ms < 999.5)
		snprintf(figure.text, sizeof(figure.text), "%.0f ms", ms);
	else
		snprintf(figure.text, sizeof(figure.text), "%.1f s", ms / 1000);
	return figure;
}

static struct figure
size_text(double bytes)
{
	struct figure figure;
	if (bytes < 1024.0 * 1024 * 1024)
		snprintf(figure.text, sizeof(figure.text), "%.0f MiB", bytes / (1024 * 1024));
	else
		snprintf(figure.text, sizeof(figure.text), "%.1f GiB", bytes / (1024.0 * 1024 * 1024));
	return figure;
}

static struct figure
age_text(int64_t seconds)
{
	struct figure figure;
	if (seconds < 0)
		seconds = 0;
	if (seconds < 3600)
		snprintf(figure.text, sizeof(figure.text), "%dm %02ds", (int)(seconds / 60), (int)(seconds % 60));
	else if (seconds < 86400)
		snprintf(figure.text, sizeof(figure.text), "%dh %02dm", (int)(seconds / 3600),
		         (int)(seconds / 60 % 60));
	else
		snprintf(figure.text, sizeof(figure.text), "%lldd %02dh", (long long)(seconds / 86400),
		         (int)(seconds / 3600 % 24));
	return figure;
}

/* ---- the parts of the screen ---- */

static void
put_sums(struct canvas *canvas, const struct top_reading *reading)
{
	const struct top_row *all = &reading->all;
	double decisions = reading->admitted + reading->refused;

	put_line(canvas, all->server_errors > 0 ? RED : NULL,
	         "requests  %6s/s  p50 %s  p99 %s  4xx %s/s  5xx %s/s  %.0f in flight",
	         rate_text(all->total).text, time_text(&all->time, 0.5).text, time_text(&all->time, 0.99).text,
	         rate_text(all->client_errors).text, rate_text(all->server_errors).text, all->in_flight);
	put_line(canvas, reading->degraded > 0 ? RED : NULL,
	         "limits    %6s/s  %s/s refused (%.1f %%)  %s/s degraded  %.0f keys held",
	         rate_text(decisions).text, rate_text(reading->refused).text,
	         decisions > 0 ? 100 * reading->refused / decisions : 0, rate_text(reading->degraded).text,
	         reading->keys);
	put_line(canvas, reading->unchecked > 0 ? RED : NULL,
	         "callers   %6s/s without a good key  %s/s over their limit  %s/s unchecked",
	         rate_text(reading->unauthenticated).text, rate_text(reading->over_plan).text,
	         rate_text(reading->unchecked).text);
	put_line(canvas, NULL, "process   %6.0f %% of a core  %s  %.0f of %.0f files  %.0f threads  %.0f queued",
	         100 * reading->cpu_s, size_text(reading->memory_bytes).text, reading->files, reading->files_max,
	         reading->threads, reading->queued);
}

static void
put_routes(struct canvas *canvas, const struct top_table *table, size_t most)
{
	put_line(canvas, BOLD, "%-6s %-28s %8s %9s %9s %6s %6s", "VERB", "ROUTE", "REQ/S", "P50", "P99", "4XX/S",
	         "5XX/S");
	for (size_t i = 0; i < table->count && i < most; i++) {
		const struct top_row *row = &table->rows[i];
		put_line(canvas, row->server_errors > 0 ? RED : NULL, "%-6s %-28.28s %8s %9s %9s %6s %6s", row->verb,
		         row->name, rate_text(row->total).text, time_text(&row->time, 0.5).text,
		         time_text(&row->time, 0.99).text, rate_text(row->client_errors).text,
		         rate_text(row->server_errors).text);
	}
}

static void
put_services(struct canvas *canvas, const struct top_table *table)
{
	put_line(canvas, BOLD, "%-20s %10s %9s %9s %7s %9s %9s", "SERVICE", "CALLS/S", "P50", "P99", "FAIL/S",
	         "IN FLIGHT", "REPLICAS");
	for (size_t i = 0; i < table->count; i++) {
		const struct top_row *row = &table->rows[i];
		put_line(canvas, row->server_errors > 0 ? RED : NULL, "%-20.20s %10s %9s %9s %7s %9.0f %9.0f",
		         row->name, rate_text(row->total).text, time_text(&row->time, 0.5).text,
		         time_text(&row->time, 0.99).text, rate_text(row->server_errors).text, row->in_flight,
		         row->replicas);
	}
}

/* Routes that anybody has asked for: the others would only fill the screen. */
static void
drop_idle(struct top_table *table)
{
	size_t kept = 0;
	for (size_t i = 0; i < table->count; i++)
		if (table->rows[i].total > 0)
			table->rows[kept++] = table->rows[i];
	table->count = kept;
}

/* Lines left for routes when the services below them are to be seen, too. */
static size_t
room_for_routes(const struct canvas *canvas, const struct top_reading *reading)
{
	size_t others = canvas->line + 1 + 1 + 1 + reading->services.count;
	if (canvas->screen->lines == 0)
		return TOP_ROWS_MAX;
	return canvas->screen->lines > others + 3 ? canvas->screen->lines - others : 3;
}

void
top_view(const struct top_reading *reading, const struct top_status *status, const struct top_screen *screen,
         struct strbuf *out)
{
	struct canvas canvas = {.out = out, .screen = screen};
	struct top_table *routes = mem_alloc(sizeof(*routes));

	put_line(&canvas, REVERSE, "corbel top   %s   up %s   every %g s   q quits", status->where,
	         reading->started_s > 0 ? age_text(status->now_s - (int64_t)reading->started_s).text : "-",
	         (double)status->interval_ms / 1000);
	put_sums(&canvas, reading);
	put_line(&canvas, status->is_healthy ? NULL : RED, "health    %s%s", status->health,
	         !reading->has_redis     ? ""
	         : reading->redis_up > 0 ? "   redis up"
	                                 : "   redis away");
	put_line(&canvas, NULL, "%s", "");
	*routes = reading->routes;
	drop_idle(routes);
	put_routes(&canvas, routes, room_for_routes(&canvas, reading));
	put_line(&canvas, NULL, "%s", "");
	put_services(&canvas, &reading->services);
	mem_free(routes);
}
