/*
 * retry: whether a call is worth another try, and when.
 *
 * Corbel knows best: its Retry-After rules. Without it, the pause doubles from a quarter of a second to eight
 * seconds; a random half of it keeps callers that failed together from coming back together.
 */
#include <errno.h>
#include <time.h>

#include "base/random.h"
#include "cli.h"

#define FIRST_MS      250u
#define LAST_MS       8000u
#define AFTER_MAX_S   300 /* a longer wait is the caller's to decide */
#define SPREAD_MAX_MS 100u

static bool
may_pass(const struct exchange *exchange)
{
	switch (exchange->status) {
	case 0: /* no answer */
	case 502:
	case 503:
	case 504:
		return exchange->retry_after_s <= AFTER_MAX_S;
	case 409: /* a twin under the same idempotency key is running */
	case 429:
		return exchange->retry_after_s > 0 && exchange->retry_after_s <= AFTER_MAX_S;
	default:
		return false;
	}
}

bool
retry_is_due(const struct retry *retry, const struct exchange *exchange)
{
	return retry->left > 0 && may_pass(exchange);
}

static uint64_t
pause_ms(const struct retry *retry, const struct exchange *exchange)
{
	if (exchange->retry_after_s > 0)
		return (uint64_t)exchange->retry_after_s * 1000 + random_fast_u64() % SPREAD_MAX_MS;
	uint64_t whole = retry->made < 5 ? (uint64_t)FIRST_MS << retry->made : LAST_MS;
	return whole / 2 + random_fast_u64() % (whole / 2);
}

void
retry_wait(struct retry *retry, const struct exchange *exchange)
{
	uint64_t ms = pause_ms(retry, exchange);
	struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	retry->left--;
	retry->made++;
	if (exchange->status == 0)
		fprintf(stderr, "corbel: no answer; trying again in %.1f s\n", (double)ms / 1000);
	else
		fprintf(stderr, "corbel: %ld; trying again in %.1f s\n", exchange->status, (double)ms / 1000);
	while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
		continue;
}
