/*
 * news: see news.h.
 */
#include "news.h"

#include "alarms.h"
#include "daemon/outbox.h"
#include "ratelimitd_internal.h"

#define ALARMS_MAX 256 /* in a transaction */

struct status
news_of_limit(struct call *call, struct store_tx *tx, const Corbel__V1__Limit *limit, const char *action)
{
	const struct ratelimitd *self = call_service(call);
	const char *by = call_key_id(call);

	return outbox_add(self->env.outbox, tx, call_arena(call),
	                  &(struct outbox_event){
	                      .tenant = limit->tenant_id,
	                      .type = "ratelimit.policy.updated",
	                      .subject = limit->id,
	                      .fields = (const struct outbox_field[]){
	                          {.name = "limit", .text = limit->name},
	                          {.name = "action", .text = action},
	                          {.name = "quota", .type = OUTBOX_I64, .number = (int64_t)limit->limit},
	                          {.name = "window_ms", .type = OUTBOX_I64, .number = (int64_t)limit->window_ms},
	                          {.name = "by", .text = by && by[0] ? by : NULL},
	                          {.name = NULL}}});
}

/* A limit of nothing refuses for good; of all others the caller may come back. */
static struct status
tell(const struct ratelimitd *self, struct store_tx *tx, struct arena *arena, const struct alarm *alarm)
{
	bool is_blocked = alarm->quota == 0;

	return outbox_add(
	    self->env.outbox, tx, arena,
	    &(struct outbox_event){
	        .tenant = alarm->tenant,
	        .type = is_blocked ? "ratelimit.blocked" : "ratelimit.exceeded",
	        .subject = alarm->key,
	        .fields = (const struct outbox_field[]){
	            {.name = "limit", .text = alarm->limit},
	            {.name = "key", .text = alarm->key},
	            {.name = "refused", .type = OUTBOX_I64, .number = (int64_t)alarm->refused},
	            {.name = "reason", .text = is_blocked ? "the limit admits nothing" : NULL},
	            {.name = is_blocked ? NULL : "quota", .type = OUTBOX_I64, .number = (int64_t)alarm->quota},
	            {.name = "window_ms", .type = OUTBOX_I64, .number = (int64_t)alarm->window_ms},
	            {.name = "retry_after_ms", .type = OUTBOX_I64, .number = (int64_t)alarm->retry_ms},
	            {.name = NULL}}});
}

void
news_task(void *arg, struct store_conn *conn)
{
	struct ratelimitd *self = arg;
	struct alarm *alarms;
	struct arena arena;
	struct store_tx tx;

	if (!conn)
		return; /* what is noted stays */
	arena_init(&arena, 16u << 10, SIZE_MAX);
	alarms = ARENA_ARRAY(&arena, struct alarm, ALARMS_MAX);
	size_t count = alarms_collect(self->alarms, &arena, alarms, ALARMS_MAX);
	struct status st = count > 0 ? store_begin(conn, &tx) : status_ok_value();
	if (count > 0 && status_ok(&st)) {
		for (size_t i = 0; i < count && status_ok(&st); i++)
			st = tell(self, &tx, &arena, &alarms[i]);
		st = store_end(&tx, st);
	}
	if (!status_ok(&st))
		log_warn(self->env.log, "refusals not told of", LOG_U64("alarms", count), LOG_STATUS(&st));
	arena_fini(&arena);
}
