/*
 * subscriptions: see subscriptions.h.
 */
#include "subscriptions.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "webhookd_internal.h"

#define BUCKETS     1024u
#define TENANTS_MAX 20000u
#define ENDPOINTS   1000u

static const struct store_sql SUBSCRIPTIONS = {
    "subscriptions", "SELECT id, disabled, message, pulled FROM endpoints WHERE tenant_id = $1 ORDER BY id"};

struct tenant_list {
	struct tenant_list *next;
	char tenant[72];
	int64_t version;
	struct subscription_list list;
};

struct subscriptions {
	struct tenant_list *buckets[BUCKETS];
	size_t count;
};

struct subscriptions *
subscriptions_new(void)
{
	return mem_alloc(sizeof(struct subscriptions));
}

static bool
names_operational(const Corbel__V1__EventFilter *filter)
{
	for (size_t i = 0; filter && i < filter->n_types; i++)
		if (is_operational(filter->types[i]))
			return true;
	return false;
}

struct status
subscription_init(const Endpoint *endpoint, const char *id, bool is_disabled, bool is_pulled,
                  struct subscription *out)
{
	*out = (struct subscription){.is_disabled = is_disabled,
	                             .is_pulled = is_pulled,
	                             .wants_operational = names_operational(endpoint->filter)};
	snprintf(out->endpoint, sizeof(out->endpoint), "%s", id);
	struct status st = filter_compile(endpoint->filter, &out->filter);
	if (!status_ok(&st))
		return status_wrap(st, "endpoint %s", id);
	out->order_by = endpoint->order_by ? mem_strdup(endpoint->order_by) : NULL;
	return st;
}

void
subscription_fini(struct subscription *subscription)
{
	filter_free(subscription->filter);
	mem_free(subscription->order_by);
}

bool
subscription_wants(const struct subscription *subscription, const Event *event, struct filter_event *parsed)
{
	bool is_theirs = !is_operational(event->type) ||
	                 (subscription->wants_operational &&
	                  strcmp(event->subject ? event->subject : "", subscription->endpoint) != 0);
	return is_theirs && filter_matches(subscription->filter, parsed);
}

static void
clear_list(struct subscription_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		subscription_fini(&list->items[i]);
	mem_free(list->items);
	*list = (struct subscription_list){.items = NULL};
}

static void
drop_all(struct subscriptions *subscriptions)
{
	for (size_t b = 0; b < BUCKETS; b++) {
		while (subscriptions->buckets[b]) {
			struct tenant_list *entry = subscriptions->buckets[b];
			subscriptions->buckets[b] = entry->next;
			clear_list(&entry->list);
			mem_free(entry);
		}
	}
	subscriptions->count = 0;
}

void
subscriptions_free(struct subscriptions *subscriptions)
{
	if (!subscriptions)
		return;
	drop_all(subscriptions);
	mem_free(subscriptions);
}

static struct tenant_list *
entry_of(struct subscriptions *subscriptions, const char *tenant)
{
	struct tenant_list **bucket = &subscriptions->buckets[hash_table64(tenant, strlen(tenant)) % BUCKETS];

	for (struct tenant_list *entry = *bucket; entry; entry = entry->next)
		if (strcmp(entry->tenant, tenant) == 0)
			return entry;
	struct tenant_list *entry = mem_alloc(sizeof(*entry));
	snprintf(entry->tenant, sizeof(entry->tenant), "%s", tenant);
	entry->version = -1;
	entry->next = *bucket;
	*bucket = entry;
	subscriptions->count++;
	return entry;
}

static struct status
read_list(struct store_tx *tx, struct arena *arena, struct tenant_list *entry)
{
	struct store_rows *rows;
	struct status st = store_query(tx, &SUBSCRIPTIONS, STORE_PARAMS(store_text(entry->tenant)),
	                               ENDPOINTS + 100, arena, &rows);

	if (!status_ok(&st))
		return st;
	clear_list(&entry->list);
	entry->list.items = mem_array(rows_count(rows) + 1, sizeof(*entry->list.items));
	for (size_t r = 0; r < rows_count(rows); r++) {
		const Endpoint *endpoint = (Endpoint *)unpacked(arena, &corbel__v1__endpoint__descriptor, rows, r, 2);
		if (!endpoint)
			return status_make(STATUS_DATA_LOSS, "a stored endpoint cannot be read");
		st = subscription_init(endpoint, row_text(rows, r, 0), row_i64(rows, r, 1) != 0,
		                       row_i64(rows, r, 3) != 0, &entry->list.items[entry->list.count]);
		if (!status_ok(&st))
			return st;
		entry->list.count++;
	}
	return st;
}

struct status
subscriptions_of(struct subscriptions *subscriptions, struct store_tx *tx, struct arena *arena,
                 const char *tenant, int64_t version, struct subscription_list **out)
{
	if (subscriptions->count >= TENANTS_MAX)
		drop_all(subscriptions);
	struct tenant_list *entry = entry_of(subscriptions, tenant);
	struct status st = status_ok_value();

	if (entry->version != version) {
		entry->version = -1;
		st = read_list(tx, arena, entry);
	}
	if (status_ok(&st))
		entry->version = version;
	*out = &entry->list;
	return st;
}
