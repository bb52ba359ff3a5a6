/*
 * usage: calls by key and UTC day, counted here and reported to accountd every second.
 *
 * A report is numbered and sent until it is acknowledged; accountd counts each number once. What has been
 * counted since the last report is lost when the process is killed: at most a second's worth.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "ingress_internal.h"

#define BUCKETS   4096u
#define ITEMS_MAX 10000u
#define REPORT_MS 3000u
#define DAY_MS    INT64_C(86400000)

struct item {
	struct item *next;
	uint64_t calls, limited;
	int64_t last_used_ms;
	int64_t day; /* since 1970 */
	char key_id[64], tenant[64];
};

struct usage {
	struct ingress *ingress;
	pthread_mutex_t lock; /* guards the table */
	struct item *buckets[BUCKETS];
	size_t count;
	_Atomic uint64_t uncounted;
	pthread_mutex_t reporting; /* guards what follows; comes before `lock` */
	uint64_t number;
	struct arena arena;
	Corbel__V1__ReportUsageRequest *pending;
};

struct usage *
usage_new(struct ingress *ingress)
{
	struct usage *usage = mem_alloc(sizeof(*usage));
	usage->ingress = ingress;
	pthread_mutex_init(&usage->lock, NULL);
	pthread_mutex_init(&usage->reporting, NULL);
	arena_init(&usage->arena, 16u << 10, 64u << 20);
	return usage;
}

void
usage_free(struct usage *usage)
{
	for (size_t b = 0; usage && b < BUCKETS; b++) {
		while (usage->buckets[b]) {
			struct item *item = usage->buckets[b];
			usage->buckets[b] = item->next;
			mem_free(item);
		}
	}
	if (!usage)
		return;
	arena_fini(&usage->arena);
	pthread_mutex_destroy(&usage->reporting);
	pthread_mutex_destroy(&usage->lock);
	mem_free(usage);
}

/* Under the lock. NULL when too many keys were counted since the last report. */
static struct item *
item_for(struct usage *usage, const char *key_id, const char *tenant, int64_t day)
{
	struct item **bucket = &usage->buckets[hash_table64(key_id, strlen(key_id)) % BUCKETS];
	for (struct item *item = *bucket; item; item = item->next)
		if (strcmp(item->key_id, key_id) == 0 && item->day == day)
			return item;
	if (usage->count == ITEMS_MAX)
		return NULL;
	struct item *item = mem_alloc(sizeof(*item));
	snprintf(item->key_id, sizeof(item->key_id), "%s", key_id);
	snprintf(item->tenant, sizeof(item->tenant), "%s", tenant);
	item->day = day;
	item->next = *bucket;
	*bucket = item;
	usage->count++;
	return item;
}

void
usage_add(struct usage *usage, const struct key_entry *entry, bool is_limited)
{
	int64_t now_ms = clock_wall_ms(usage->ingress->env.clock);

	pthread_mutex_lock(&usage->lock);
	struct item *item = item_for(usage, entry->principal.key_id, entry->principal.tenant, now_ms / DAY_MS);
	if (item) {
		/* A refused call was counted when its key was found good. */
		item->calls += !is_limited;
		item->limited += is_limited;
		item->last_used_ms = now_ms;
	}
	pthread_mutex_unlock(&usage->lock);
	if (!item)
		atomic_fetch_add(&usage->uncounted, 1);
}

static Corbel__V1__ReportUsageRequest__Item *
to_message(const struct item *item, struct arena *arena)
{
	Corbel__V1__ReportUsageRequest__Item *out = ARENA_NEW(arena, Corbel__V1__ReportUsageRequest__Item);
	char stamp[TEXT_TIMESTAMP_MAX];

	text_from_timestamp_ms(item->day * DAY_MS, stamp);
	corbel__v1__report_usage_request__item__init(out);
	out->key_id = arena_strdup(arena, item->key_id);
	out->tenant_id = arena_strdup(arena, item->tenant);
	out->date = arena_strndup(arena, stamp, 10); /* YYYY-MM-DD */
	out->has_calls = out->has_limited = out->has_last_used_at = true;
	out->calls = item->calls;
	out->limited = item->limited;
	out->last_used_at = item->last_used_ms;
	return out;
}

/* Moves what was counted into the next report. */
static void
gather(struct usage *usage)
{
	Corbel__V1__ReportUsageRequest *report;

	pthread_mutex_lock(&usage->lock);
	if (usage->count > 0) {
		arena_reset(&usage->arena);
		report = ARENA_NEW(&usage->arena, Corbel__V1__ReportUsageRequest);
		corbel__v1__report_usage_request__init(report);
		report->items = ARENA_ARRAY(&usage->arena, Corbel__V1__ReportUsageRequest__Item *, usage->count);
		for (size_t b = 0; b < BUCKETS; b++) {
			while (usage->buckets[b]) {
				struct item *item = usage->buckets[b];
				usage->buckets[b] = item->next;
				report->items[report->n_items++] = to_message(item, &usage->arena);
				mem_free(item);
			}
		}
		usage->count = 0;
		report->node = (char *)(uintptr_t)bus_node(usage->ingress->env.bus);
		report->has_epoch = report->has_number = true;
		report->epoch = bus_epoch(usage->ingress->env.bus) >> 1;
		report->number = ++usage->number;
		usage->pending = report;
	}
	pthread_mutex_unlock(&usage->lock);
}

/* Sends the pending report; false when it has to be sent again. */
static bool
send_report(struct ingress *ingress, struct usage *usage)
{
	ProtobufCMessage *reply;
	struct arena arena;

	arena_init(&arena, 1024, 1u << 20);
	struct status st =
	    host_call(ingress->env.host, USAGE_REPORTS_REPORT, &usage->pending->base, REPORT_MS, &arena, &reply);
	if (status_ok(&st) || st.code == STATUS_INVALID_ARGUMENT)
		usage->pending = NULL;
	if (!status_ok(&st))
		log_warn(ingress->env.log, "usage not reported", LOG_STATUS(&st));
	arena_fini(&arena);
	return !usage->pending;
}

void
usage_task(void *arg, struct store_conn *conn)
{
	struct ingress *ingress = arg;
	struct usage *usage = ingress->usage;

	(void)conn;
	pthread_mutex_lock(&usage->reporting);
	if (!usage->pending || send_report(ingress, usage)) {
		gather(usage);
		if (usage->pending)
			send_report(ingress, usage);
	}
	pthread_mutex_unlock(&usage->reporting);
}
