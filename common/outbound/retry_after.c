/*
 * retry_after: see retry_after.h.
 */
#include "outbound/retry_after.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"

#define DATE_MAX 64

static bool
is_digits(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
	}
	return length > 0;
}

static uint64_t
from_seconds(const char *text, size_t length)
{
	uint64_t seconds;

	if (!text_to_u64(text, length, &seconds) || seconds > RETRY_AFTER_MAX_MS / 1000)
		return RETRY_AFTER_MAX_MS;
	return seconds * 1000;
}

/* All three forms of a date begin with the day of the week (RFC 9110, 5.6.7). */
static bool
has_weekday(const char *text, size_t length)
{
	static const char DAYS[][4] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

	for (size_t i = 0; i < sizeof(DAYS) / sizeof(DAYS[0]); i++)
		if (length > 3 && memcmp(text, DAYS[i], 3) == 0)
			return true;
	return false;
}

static uint64_t
from_date(const char *text, size_t length, int64_t now_ms)
{
	char date[DATE_MAX];

	if (length >= sizeof(date) || !has_weekday(text, length))
		return 0;
	memcpy(date, text, length);
	date[length] = '\0';
	int64_t seconds = curl_getdate(date, NULL);
	if (seconds > INT64_MAX / 1000) /* not every version of libcurl refuses such a year */
		return RETRY_AFTER_MAX_MS;
	if (seconds < 0 || seconds * 1000 <= now_ms)
		return 0;
	uint64_t wait_ms = (uint64_t)(seconds * 1000 - now_ms);
	return wait_ms < RETRY_AFTER_MAX_MS ? wait_ms : RETRY_AFTER_MAX_MS;
}

uint64_t
retry_after_ms(const char *value, size_t length, int64_t now_ms)
{
	return is_digits(value, length) ? from_seconds(value, length) : from_date(value, length, now_ms);
}
