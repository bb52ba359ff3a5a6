/*
 * stream_quota: see stream_quota.h. Memory is bounded by the number of streams.
 */
#include "stream_quota.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"

#define BUCKETS 1024u

struct tenant_count {
	struct tenant_count *next;
	size_t count;
	char tenant[];
};

struct stream_quota {
	size_t all_max, tenant_max;
	pthread_mutex_t lock; /* of what follows; a leaf */
	size_t all;
	struct tenant_count *buckets[BUCKETS];
};

struct stream_quota *
stream_quota_new(size_t all, size_t per_tenant)
{
	struct stream_quota *quota = mem_alloc(sizeof(*quota));

	quota->all_max = all;
	quota->tenant_max = per_tenant;
	pthread_mutex_init(&quota->lock, NULL);
	return quota;
}

void
stream_quota_free(struct stream_quota *quota)
{
	if (!quota)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (quota->buckets[i]) {
			struct tenant_count *entry = quota->buckets[i];
			quota->buckets[i] = entry->next;
			mem_free(entry);
		}
	}
	pthread_mutex_destroy(&quota->lock);
	mem_free(quota);
}

/* Where the tenant's entry is, or would be. */
static struct tenant_count **
slot_of(struct stream_quota *quota, const char *tenant)
{
	struct tenant_count **slot = &quota->buckets[hash_table64(tenant, strlen(tenant)) % BUCKETS];

	while (*slot && strcmp((*slot)->tenant, tenant) != 0)
		slot = &(*slot)->next;
	return slot;
}

static enum stream_refusal
enter(struct stream_quota *quota, const char *tenant)
{
	struct tenant_count **slot = slot_of(quota, tenant);

	if (quota->all >= quota->all_max)
		return STREAM_ALL_FULL;
	if ((*slot ? (*slot)->count : 0) >= quota->tenant_max)
		return STREAM_TENANT_FULL;
	if (!*slot) {
		size_t size = strlen(tenant) + 1;
		*slot = mem_alloc(sizeof(**slot) + size);
		memcpy((*slot)->tenant, tenant, size);
	}
	(*slot)->count++;
	quota->all++;
	return STREAM_ADMITTED;
}

enum stream_refusal
stream_quota_enter(struct stream_quota *quota, const char *tenant)
{
	pthread_mutex_lock(&quota->lock);
	enum stream_refusal refusal = enter(quota, tenant);
	pthread_mutex_unlock(&quota->lock);
	return refusal;
}

void
stream_quota_leave(struct stream_quota *quota, const char *tenant)
{
	pthread_mutex_lock(&quota->lock);
	struct tenant_count **slot = slot_of(quota, tenant), *entry = *slot;
	assert(entry);
	quota->all--;
	if (--entry->count == 0) {
		*slot = entry->next;
		mem_free(entry);
	}
	pthread_mutex_unlock(&quota->lock);
}

size_t
stream_quota_count(struct stream_quota *quota)
{
	pthread_mutex_lock(&quota->lock);
	size_t all = quota->all;
	pthread_mutex_unlock(&quota->lock);
	return all;
}
