/*
 * scrape: see scrape.h.
 */
#include "telemetry/scrape.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

struct cursor {
	const char *at, *end;
	struct arena *arena;
};

static void
skip_blanks(struct cursor *cursor)
{
	while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t'))
		cursor->at++;
}

static bool
take(struct cursor *cursor, char c)
{
	if (cursor->at == cursor->end || *cursor->at != c)
		return false;
	cursor->at++;
	return true;
}

static char *
copy(struct cursor *cursor, const char *text, size_t length)
{
	char *out = arena_try(cursor->arena, length + 1, 1);
	if (out && length > 0)
		memcpy(out, text, length);
	return out;
}

/* [a-zA-Z_:][a-zA-Z0-9_:]*; NULL when there is none, or no memory. */
static const char *
read_name(struct cursor *cursor)
{
	const char *start = cursor->at;

	while (cursor->at < cursor->end &&
	       (isalnum((unsigned char)*cursor->at) || *cursor->at == '_' || *cursor->at == ':'))
		cursor->at++;
	if (cursor->at == start || isdigit((unsigned char)*start))
		return NULL;
	return copy(cursor, start, (size_t)(cursor->at - start));
}

/* A quoted value with its escapes. */
static const char *
read_value(struct cursor *cursor)
{
	if (!take(cursor, '"'))
		return NULL;
	const char *start = cursor->at;
	while (cursor->at < cursor->end && *cursor->at != '"')
		cursor->at += *cursor->at == '\\' && cursor->at + 1 < cursor->end ? 2 : 1;
	char *out = copy(cursor, start, (size_t)(cursor->at - start)), *to = out;
	if (!out || !take(cursor, '"'))
		return NULL;
	for (const char *from = out; *from; from++) {
		if (*from == '\\' && from[1])
			*to++ = *++from == 'n' ? '\n' : *from;
		else
			*to++ = *from;
	}
	*to = '\0';
	return out;
}

static bool
read_labels(struct cursor *cursor, struct scrape_sample *sample)
{
	skip_blanks(cursor);
	if (!take(cursor, '{'))
		return true;
	while (!take(cursor, '}')) {
		struct scrape_label label;
		skip_blanks(cursor);
		label.name = read_name(cursor);
		if (!label.name || !take(cursor, '='))
			return false;
		label.value = read_value(cursor);
		if (!label.value || sample->label_count == SCRAPE_LABELS_MAX)
			return false;
		sample->labels[sample->label_count++] = label;
		skip_blanks(cursor);
		if (!take(cursor, ',') && (cursor->at == cursor->end || *cursor->at != '}'))
			return false;
		skip_blanks(cursor);
	}
	return true;
}

/* The number and nothing but a timestamp behind it, which does not matter here. */
static bool
read_number(struct cursor *cursor, double *out)
{
	char text[40], *end;
	size_t length = 0;

	skip_blanks(cursor);
	while (cursor->at < cursor->end && *cursor->at != ' ' && *cursor->at != '\t' && length + 1 < sizeof(text))
		text[length++] = *cursor->at++;
	text[length] = '\0';
	*out = strtod(text, &end);
	return length > 0 && *end == '\0';
}

static bool
read_line(const char *line, size_t length, struct arena *arena, struct scrape_sample *sample)
{
	struct cursor cursor = {.at = line, .end = line + length, .arena = arena};

	memset(sample, 0, sizeof(*sample));
	if (length == 0 || *line == '#')
		return false;
	sample->name = read_name(&cursor);
	return sample->name && read_labels(&cursor, sample) && read_number(&cursor, &sample->value);
}

static size_t
count_lines(const char *text, size_t length)
{
	size_t count = 1;
	for (size_t i = 0; i < length; i++)
		count += text[i] == '\n';
	return count;
}

void
scrape_read(const char *text, size_t length, struct arena *arena, struct scrape *out)
{
	size_t most = count_lines(text, length);
	const char *end = text + length;

	*out = (struct scrape){.samples = arena_try(arena, most, sizeof(struct scrape_sample))};
	while (out->samples && text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *stop = newline ? newline : end;
		if (read_line(text, (size_t)(stop - text), arena, &out->samples[out->count]))
			out->count++;
		text = newline ? newline + 1 : end;
	}
}

const char *
scrape_label(const struct scrape_sample *sample, const char *name)
{
	for (size_t i = 0; i < sample->label_count; i++)
		if (strcmp(sample->labels[i].name, name) == 0)
			return sample->labels[i].value;
	return "";
}

/* ---- histograms ---- */

/* Where the bound is, or belongs. */
static size_t
position(const struct scrape_buckets *buckets, double bound)
{
	size_t i = 0;
	while (i < buckets->count && buckets->bounds[i] < bound)
		i++;
	return i;
}

static bool
has_bound_at(const struct scrape_buckets *buckets, size_t i, double bound)
{
	return i < buckets->count && buckets->bounds[i] <= bound;
}

void
scrape_buckets_add(struct scrape_buckets *buckets, const struct scrape_sample *sample)
{
	const char *le = scrape_label(sample, "le");
	char *end;
	double bound = strtod(le, &end);

	if (end == le || *end || isnan(bound) || isnan(sample->value))
		return;
	size_t i = position(buckets, bound);
	if (has_bound_at(buckets, i, bound)) {
		buckets->counts[i] += sample->value;
		return;
	}
	if (buckets->count == SCRAPE_BUCKETS_MAX)
		return;
	memmove(&buckets->bounds[i + 1], &buckets->bounds[i], (buckets->count - i) * sizeof(double));
	memmove(&buckets->counts[i + 1], &buckets->counts[i], (buckets->count - i) * sizeof(double));
	buckets->bounds[i] = bound;
	buckets->counts[i] = sample->value;
	buckets->count++;
}

void
scrape_buckets_since(const struct scrape_buckets *now, const struct scrape_buckets *before,
                     struct scrape_buckets *out)
{
	*out = *now;
	if (before->count != now->count || before->count == 0 ||
	    before->counts[before->count - 1] > now->counts[now->count - 1])
		return;
	for (size_t i = 0; i < out->count; i++)
		out->counts[i] -= before->counts[i];
}

double
scrape_quantile(const struct scrape_buckets *buckets, double q)
{
	double total = buckets->count > 0 ? buckets->counts[buckets->count - 1] : 0;
	double rank = q * total;
	size_t i = 0;

	if (!(total > 0))
		return NAN;
	while (i + 1 < buckets->count && buckets->counts[i] < rank)
		i++;
	/* Beyond the last bound nothing is known but that it is exceeded. */
	if (isinf(buckets->bounds[i]))
		return i > 0 ? buckets->bounds[i - 1] : NAN;
	double from = i > 0 ? buckets->bounds[i - 1] : 0, below = i > 0 ? buckets->counts[i - 1] : 0;
	double inside = buckets->counts[i] - below;
	return inside > 0 ? from + (buckets->bounds[i] - from) * (rank - below) / inside : buckets->bounds[i];
}
