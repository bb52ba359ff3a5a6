/*
 * text: RFC 3339 timestamps.
 *
 * Days are counted by the civil-calendar arithmetic of the proleptic Gregorian calendar, with years
 * that begin in March so that the leap day comes last.
 */
#include <string.h>

#include "base/text.h"

/* Years 0000 to 9999, in UTC: an offset can lead out of them. */
#define FIRST_MS INT64_C(-62167219200000)
#define LAST_MS  INT64_C(253402300799999)

static int64_t
days_from_civil(int64_t year, unsigned month, unsigned day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	unsigned year_of_era = (unsigned)(year - era * 400);
	unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return era * 146097 + (int64_t)day_of_era - 719468;
}

static void
civil_from_days(int64_t days, int *year, unsigned *month, unsigned *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	unsigned doe = (unsigned)(days - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned shifted = (5 * doy + 2) / 153;
	*day = doy - (153 * shifted + 2) / 5 + 1;
	*month = shifted < 10 ? shifted + 3 : shifted - 9;
	*year = (int)((int64_t)yoe + era * 400 + (*month <= 2));
}

static unsigned
days_in_month(unsigned year, unsigned month)
{
	static const unsigned char DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return month == 2 && is_leap ? 29 : DAYS[month - 1];
}

/* `count` digits at `*at`, which moves behind them. */
static bool
digits(const char *text, size_t length, size_t *at, size_t count, unsigned *out)
{
	uint64_t value;
	if (length - *at < count || !text_to_u64(text + *at, count, &value))
		return false;
	*at += count;
	*out = (unsigned)value;
	return true;
}

static bool
one_of(const char *text, size_t length, size_t *at, const char *set)
{
	if (*at >= length || text[*at] == '\0' || !strchr(set, text[*at]))
		return false;
	(*at)++;
	return true;
}

/* An optional fraction, cut to milliseconds. */
static bool
fraction(const char *text, size_t length, size_t *at, unsigned *ms)
{
	size_t count = 0;
	*ms = 0;
	if (*at >= length || text[*at] != '.')
		return true;
	(*at)++;
	for (; *at < length && text[*at] >= '0' && text[*at] <= '9'; (*at)++, count++)
		if (count < 3)
			*ms = *ms * 10 + (unsigned)(text[*at] - '0');
	for (size_t i = count; i < 3; i++)
		*ms *= 10;
	return count >= 1 && count <= 9;
}

/* "Z" or "+hh:mm", in minutes to subtract. */
static bool
offset(const char *text, size_t length, size_t *at, int *minutes)
{
	unsigned hours, mins;
	*minutes = 0;
	if (one_of(text, length, at, "Zz"))
		return true;
	bool is_negative = *at < length && text[*at] == '-';
	if (!one_of(text, length, at, "+-") || !digits(text, length, at, 2, &hours) ||
	    !one_of(text, length, at, ":") || !digits(text, length, at, 2, &mins) || hours > 23 || mins > 59)
		return false;
	*minutes = (int)(hours * 60 + mins) * (is_negative ? -1 : 1);
	return true;
}

bool
text_to_timestamp_ms(const char *text, size_t length, int64_t *out_ms)
{
	unsigned year, month, day, hour, minute, second, ms;
	int minutes_east;
	size_t at = 0;

	if (!digits(text, length, &at, 4, &year) || !one_of(text, length, &at, "-") ||
	    !digits(text, length, &at, 2, &month) || !one_of(text, length, &at, "-") ||
	    !digits(text, length, &at, 2, &day) || !one_of(text, length, &at, "Tt ") ||
	    !digits(text, length, &at, 2, &hour) || !one_of(text, length, &at, ":") ||
	    !digits(text, length, &at, 2, &minute) || !one_of(text, length, &at, ":") ||
	    !digits(text, length, &at, 2, &second) || !fraction(text, length, &at, &ms) ||
	    !offset(text, length, &at, &minutes_east) || at != length)
		return false;
	if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 ||
	    second > 60)
		return false;
	bool is_leap = second == 60;
	if (is_leap) {
		second = 59;
		ms = 999;
	}
	int64_t seconds =
	    days_from_civil((int64_t)year, month, day) * 86400 + (int64_t)(hour * 3600 + minute * 60 + second);
	seconds -= (int64_t)minutes_east * 60;
	/* Leap seconds end a day of UTC (RFC 3339 section 5.7). */
	if (is_leap && (seconds + 1) % 86400 != 0)
		return false;
	*out_ms = seconds * 1000 + (int64_t)ms;
	return *out_ms >= FIRST_MS && *out_ms <= LAST_MS;
}

static char *
put_digits(char *out, unsigned value, unsigned count)
{
	for (unsigned i = count; i > 0; i--) {
		out[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	return out + count;
}

size_t
text_from_timestamp_ms(int64_t ms, char out[TEXT_TIMESTAMP_MAX])
{
	/* Years 0000 to 9999: what lies outside is shown as the nearest that can be written. */
	ms = ms < FIRST_MS ? FIRST_MS : ms > LAST_MS ? LAST_MS : ms;
	int64_t days = ms / 86400000 - (ms % 86400000 < 0);
	unsigned left = (unsigned)(ms - days * 86400000);
	int year;
	unsigned month, day;
	char *p = out;

	civil_from_days(days, &year, &month, &day);
	p = put_digits(p, (unsigned)year, 4);
	*p++ = '-';
	p = put_digits(p, month, 2);
	*p++ = '-';
	p = put_digits(p, day, 2);
	*p++ = 'T';
	p = put_digits(p, left / 3600000, 2);
	*p++ = ':';
	p = put_digits(p, left / 60000 % 60, 2);
	*p++ = ':';
	p = put_digits(p, left / 1000 % 60, 2);
	if (left % 1000) {
		*p++ = '.';
		p = put_digits(p, left % 1000, 3);
	}
	*p++ = 'Z';
	*p = '\0';
	return (size_t)(p - out);
}
