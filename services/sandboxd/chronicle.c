/*
 * chronicle: see chronicle.h.
 */
#include "chronicle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "run_news.h"
#include "sandboxd_internal.h"

#define AT_ONCE  64u   /* records in a transaction */
#define SOON     32u   /* so many do not wait for the next turn */
#define WAIT_MAX 4096u /* records of runs that were waited for */

static const struct store_sql RUN_RECORD = {"run_record",
                                            "INSERT INTO runs (id, tenant_id, plugin_id, state, outcome, "
                                            "created_at, started_at, ended_at, cpu_us, wall_us,"
                                            " memory_bytes, bytes, attempts, token, cancelled, message, log) "
                                            "VALUES ($1, $2, $3, 3, $4, $5, $6, $7, $8, $9,"
                                            " $10, $11, 1, 0, 0, $12, $13) ON CONFLICT (id) DO NOTHING"};
static const struct store_sql RUN_FINISH = {
    "run_finish",
    "UPDATE runs SET state = 3, outcome = $3, started_at = $4, ended_at = $5, cpu_us = $6, wall_us = $7,"
    " memory_bytes = $8, bytes = $9, message = $10, log = $11, result = $12, work = NULL, owner = NULL,"
    " leased_until = NULL WHERE id = $1 AND token = $2 AND state = 2"};
/* As if it had not been claimed. */
static const struct store_sql RUN_GIVE_BACK = {
    "run_give_back", "UPDATE runs SET state = 1, attempts = attempts - 1, owner = NULL, leased_until = NULL"
                     " WHERE id = $1 AND token = $2 AND state = 2"};

struct record {
	struct record *next;
	struct arena arena; /* of the record, too */
	PluginRun *run;     /* without log and result */
	const char *log, *event_type, *version;
	ProtobufCBinaryData result; /* of the queue only */
	int64_t token;              /* 0: it was waited for */
	bool is_given_back;
};

struct chronicle {
	struct sandboxd *self;
	pthread_mutex_t lock; /* guards all below */
	struct record *first, **last;
	size_t waiting;
	bool is_asked;        /* a turn is on its way */
	pthread_mutex_t turn; /* one writes at a time */
	struct news_filter *filter;
	struct metric_counter *ended[16], *dropped, *fenced;
	struct metric_histogram *seconds;
};

/* ---- handing over ---- */

static struct record *
record_new(const struct job *job)
{
	struct arena arena;

	arena_init(&arena, 4096, 16u << 20);
	struct record *record = ARENA_NEW(&arena, struct record);
	record->run = run_copy(&arena, job->run);
	record->log = job->run->log ? arena_strdup(&arena, job->run->log) : NULL;
	record->event_type = job->event_type ? arena_strdup(&arena, job->event_type) : NULL;
	record->token = job->token;
	if (job->program && job->program->label)
		record->version = arena_strdup(&arena, job->program->label);
	else if (job->run->has_version)
		record->version = arena_printf(&arena, "%u", job->run->version);
	if (job->token > 0 && job->run->has_result) {
		record->result.len = job->run->result.len;
		record->result.data = arena_memdup(&arena, job->run->result.data, job->run->result.len);
	}
	record->arena = arena;
	return record;
}

static void
record_free(struct record *record)
{
	struct arena arena = record->arena;
	arena_fini(&arena);
}

static void
append(struct chronicle *chronicle, struct record *record)
{
	pthread_mutex_lock(&chronicle->lock);
	bool is_kept = record->token > 0 || chronicle->waiting < WAIT_MAX;
	if (is_kept) {
		*chronicle->last = record;
		chronicle->last = &record->next;
		chronicle->waiting++;
	}
	bool is_urgent = is_kept && !chronicle->is_asked && (record->token > 0 || chronicle->waiting >= SOON);
	chronicle->is_asked = chronicle->is_asked || is_urgent;
	pthread_mutex_unlock(&chronicle->lock);
	if (!is_kept) {
		counter_add(chronicle->dropped, 1);
		record_free(record);
	}
	if (is_urgent)
		(void)host_work(chronicle->self->env.host, &sandboxd_service, chronicle_task, chronicle->self);
}

static void
count(struct chronicle *chronicle, const PluginRun *run)
{
	if ((size_t)run->outcome < sizeof(chronicle->ended) / sizeof(chronicle->ended[0]) &&
	    chronicle->ended[run->outcome])
		counter_add(chronicle->ended[run->outcome], 1);
	histogram_observe(chronicle->seconds, (double)run->wall_us / 1e6);
}

void
chronicle_add(struct chronicle *chronicle, const struct job *job)
{
	count(chronicle, job->run);
	append(chronicle, record_new(job));
}

void
chronicle_give_back(struct chronicle *chronicle, const struct job *job)
{
	struct record *record = record_new(job);

	record->is_given_back = true;
	append(chronicle, record);
}

/* ---- writing ---- */

static int64_t
bytes_of(const struct record *record)
{
	size_t log = record->log ? strlen(record->log) : 0;
	return (int64_t)(protobuf_c_message_get_packed_size(&record->run->base) + log + record->result.len);
}

static struct status
write_new(struct store_tx *tx, struct arena *arena, struct record *record, int64_t *changed)
{
	const PluginRun *run = record->run;
	return store_exec(tx, &RUN_RECORD,
	                  STORE_PARAMS(store_text(run->id), store_text(run->tenant_id),
	                               store_text(run->plugin_id ? run->plugin_id : ""), store_i64(run->outcome),
	                               store_i64(run->created_at), store_i64(run->started_at),
	                               store_i64(run->ended_at), store_i64((int64_t)run->cpu_us),
	                               store_i64((int64_t)run->wall_us), store_i64((int64_t)run->memory_bytes),
	                               store_i64(bytes_of(record)), packed_value(arena, &run->base),
	                               store_text(record->log)),
	                  changed);
}

static struct status
write_end(struct store_tx *tx, struct arena *arena, struct record *record, int64_t *changed)
{
	const PluginRun *run = record->run;
	struct store_value result =
	    record->result.data ? store_bytes(record->result.data, record->result.len) : store_null();
	return store_exec(tx, &RUN_FINISH,
	                  STORE_PARAMS(store_text(run->id), store_i64(record->token), store_i64(run->outcome),
	                               store_i64(run->started_at), store_i64(run->ended_at),
	                               store_i64((int64_t)run->cpu_us), store_i64((int64_t)run->wall_us),
	                               store_i64((int64_t)run->memory_bytes), store_i64(bytes_of(record)),
	                               packed_value(arena, &run->base), store_text(record->log), result),
	                  changed);
}

static struct status
give_back(struct store_tx *tx, struct arena *arena, const struct record *record)
{
	int64_t waiting, changed = 0;
	struct status st = queue_lock(tx, arena, record->run->tenant_id, 0, &waiting);

	if (status_ok(&st))
		st = store_exec(tx, &RUN_GIVE_BACK,
		                STORE_PARAMS(store_text(record->run->id), store_i64(record->token)), &changed);
	return status_ok(&st) && changed > 0 ? queue_lock(tx, arena, record->run->tenant_id, 1, &waiting) : st;
}

static struct status
write_one(struct chronicle *chronicle, struct store_tx *tx, struct arena *arena, struct record *record)
{
	struct status st = status_ok_value();
	int64_t waiting, changed = 1;

	if (record->is_given_back)
		return give_back(tx, arena, record);
	if (record->token > 0)
		st = write_end(tx, arena, record, &changed);
	else
		st = queue_lock(tx, arena, record->run->tenant_id, 0, &waiting);
	if (status_ok(&st) && record->token == 0)
		st = write_new(tx, arena, record, &changed);
	if (changed == 0)
		counter_add(record->token > 0 ? chronicle->fenced : chronicle->dropped, 1);
	if (!status_ok(&st) || changed == 0)
		return st;
	return tell_run(chronicle->self, chronicle->filter, tx, arena,
	                &(struct run_news){.run = record->run,
	                                   .version = record->version,
	                                   .event_type = record->event_type,
	                                   .is_queued = record->token > 0});
}

static struct record *
take_some(struct chronicle *chronicle)
{
	pthread_mutex_lock(&chronicle->lock);
	struct record *taken = chronicle->first, **end = &taken;
	size_t count = 0;
	for (; *end && count < AT_ONCE; count++)
		end = &(*end)->next;
	chronicle->first = *end;
	if (!chronicle->first)
		chronicle->last = &chronicle->first;
	*end = NULL;
	chronicle->waiting -= count;
	chronicle->is_asked = false;
	pthread_mutex_unlock(&chronicle->lock);
	return taken;
}

static void
put_back(struct chronicle *chronicle, struct record *records)
{
	struct record **end = &records;
	size_t count = 0;

	for (; *end; end = &(*end)->next)
		count++;
	pthread_mutex_lock(&chronicle->lock);
	*end = chronicle->first;
	if (!chronicle->first)
		chronicle->last = end;
	chronicle->first = records;
	chronicle->waiting += count;
	pthread_mutex_unlock(&chronicle->lock);
}

/* Rows of tenants are locked in one order, so that replicas wait for each other instead of deadlocking. */
static struct record *
sorted(struct record *records)
{
	struct record *out = NULL;

	while (records) {
		struct record *one = records, **slot = &out;
		records = one->next;
		while (*slot && strcmp((*slot)->run->tenant_id, one->run->tenant_id) <= 0)
			slot = &(*slot)->next;
		one->next = *slot;
		*slot = one;
	}
	return out;
}

static struct status
write_all(struct chronicle *chronicle, struct store_conn *conn, struct record *records)
{
	struct store_tx tx;
	struct arena arena;
	struct status st = store_begin(conn, &tx);

	if (!status_ok(&st))
		return st;
	arena_init(&arena, 64u << 10, SIZE_MAX);
	for (struct record *record = records; record && status_ok(&st); record = record->next)
		st = write_one(chronicle, &tx, &arena, record);
	st = store_end(&tx, st);
	arena_fini(&arena);
	return st;
}

static void
free_all(struct record *records)
{
	while (records) {
		struct record *next = records->next;
		record_free(records);
		records = next;
	}
}

/* The store's own troubles pass; others are those of a record. */
static bool
will_pass(const struct status *st)
{
	return st->code == STATUS_UNAVAILABLE || st->code == STATUS_DEADLINE_EXCEEDED ||
	       st->code == STATUS_ABORTED || st->code == STATUS_RESOURCE_EXHAUSTED;
}

/* One by one, so that a record that cannot be written keeps no other from it. */
static void
write_apart(struct chronicle *chronicle, struct store_conn *conn, struct record *records)
{
	while (records) {
		struct record *record = records;
		records = record->next;
		record->next = NULL;
		struct status st = write_all(chronicle, conn, record);
		if (!status_ok(&st) && will_pass(&st)) {
			put_back(chronicle, record);
			continue;
		}
		if (!status_ok(&st))
			log_error(chronicle->self->env.log, "the end of a run cannot be written",
			          LOG_TEXT("run", record->run->id), LOG_STATUS(&st));
		record_free(record);
	}
}

/* False: not now. */
static bool
write_some(struct chronicle *chronicle, struct store_conn *conn, struct record *records, bool *had_queued)
{
	struct status st = write_all(chronicle, conn, records);

	for (const struct record *record = records; record; record = record->next)
		*had_queued = *had_queued || (record->token > 0 && !record->is_given_back);
	if (status_ok(&st)) {
		free_all(records);
		return true;
	}
	log_warn(chronicle->self->env.log, "ends of runs not written yet", LOG_STATUS(&st));
	if (will_pass(&st))
		put_back(chronicle, records);
	else
		write_apart(chronicle, conn, records);
	return false;
}

void
chronicle_task(void *arg, struct store_conn *conn)
{
	struct sandboxd *self = arg;
	struct chronicle *chronicle = self->chronicle;
	struct record *records;
	bool had_queued = false;

	if (!conn)
		return;
	pthread_mutex_lock(&chronicle->turn);
	while ((records = take_some(chronicle)) && write_some(chronicle, conn, sorted(records), &had_queued))
		;
	pthread_mutex_unlock(&chronicle->turn);
	if (had_queued)
		queue_ask(self);
}

/* ---- life ---- */

static void
register_metrics(struct chronicle *chronicle, struct metrics *metrics)
{
	static const char *const LABELS[] = {"outcome", NULL};
	static const double SECONDS[] = {0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30};
	const ProtobufCEnumDescriptor *outcomes = &corbel__v1__run_outcome__descriptor;

	for (unsigned i = 0; i < outcomes->n_values; i++) {
		int value = outcomes->values[i].value;
		if (value > 0 && value < 16)
			chronicle->ended[value] = metrics_counter(metrics,
			                                          &(struct metric_spec){.name = "corbel_sandbox_runs",
			                                                                .help = "Runs that ended, by how",
			                                                                .labels = LABELS},
			                                          (const char *[]){outcomes->values[i].name, NULL});
	}
	chronicle->dropped =
	    metrics_counter(metrics,
	                    &(struct metric_spec){.name = "corbel_sandbox_unrecorded",
	                                          .help = "Runs that are not in the history, because too many "
	                                                  "waited to be written, or their id was taken"},
	                    NULL);
	chronicle->fenced = metrics_counter(
	    metrics,
	    &(struct metric_spec){.name = "corbel_sandbox_fenced",
	                          .help = "Ends of queued runs not heeded, because another replica had the run"},
	    NULL);
	chronicle->seconds =
	    metrics_histogram(metrics,
	                      &(struct metric_spec){.name = "corbel_sandbox_run_seconds",
	                                            .help = "Time of a run, without waiting for a slot",
	                                            .unit = "seconds",
	                                            .buckets = SECONDS,
	                                            .bucket_count = sizeof(SECONDS) / sizeof(SECONDS[0])},
	                      NULL);
}

struct chronicle *
chronicle_new(struct sandboxd *self)
{
	struct chronicle *chronicle = mem_alloc(sizeof(*chronicle));

	chronicle->self = self;
	chronicle->last = &chronicle->first;
	chronicle->filter = news_filter_new(self->env.clock);
	pthread_mutex_init(&chronicle->lock, NULL);
	pthread_mutex_init(&chronicle->turn, NULL);
	register_metrics(chronicle, self->env.metrics);
	return chronicle;
}

void
chronicle_free(struct chronicle *chronicle)
{
	if (!chronicle)
		return;
	free_all(chronicle->first);
	news_filter_free(chronicle->filter);
	pthread_mutex_destroy(&chronicle->lock);
	pthread_mutex_destroy(&chronicle->turn);
	mem_free(chronicle);
}
