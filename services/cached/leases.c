/*
 * leases: see leases.h. A table of chains by hash, and a queue in the order of granting: where all leases
 * last equally long, what has run out is at its front. One that lasts longer than those behind it is found
 * late there, but never counts when somebody asks for its key.
 */
#include "leases.h"

#include "base/arena.h"

#define FIRST_BUCKETS 16u

struct held {
	struct lease lease;
	struct held *chain;
	struct held *newer, *older;
	struct engine_waiter *waiters;
};

struct leases {
	struct held **buckets; /* a power of two of them */
	size_t bucket_count, count, max;
	struct held *oldest, *newest;
};

struct leases *
leases_new(size_t max)
{
	struct leases *leases = mem_alloc(sizeof(*leases));

	leases->max = max;
	return leases;
}

void
leases_free(struct leases *leases)
{
	if (!leases)
		return;
	for (struct held *held = leases->oldest, *newer; held; held = newer) {
		newer = held->newer;
		mem_free(held);
	}
	mem_free(leases->buckets);
	mem_free(leases);
}

void
leases_set_max(struct leases *leases, size_t max)
{
	leases->max = max;
}

/* Where the chain points to the lease, or to NULL; there are buckets. */
static struct held **
link_of(const struct leases *leases, uint64_t hash)
{
	struct held **link = &leases->buckets[hash & (leases->bucket_count - 1)];

	while (*link && (*link)->lease.hash != hash)
		link = &(*link)->chain;
	return link;
}

static struct held *
find(const struct leases *leases, uint64_t hash)
{
	return leases->buckets ? *link_of(leases, hash) : NULL;
}

static void
grow(struct leases *leases)
{
	size_t count = leases->bucket_count ? leases->bucket_count * 2 : FIRST_BUCKETS;

	mem_free(leases->buckets);
	leases->buckets = mem_array(count, sizeof(leases->buckets[0]));
	leases->bucket_count = count;
	for (struct held *held = leases->oldest; held; held = held->newer) {
		struct held **bucket = &leases->buckets[held->lease.hash & (count - 1)];
		held->chain = *bucket;
		*bucket = held;
	}
}

/* ---- waiters ---- */

static void
put_first(struct engine_waiter **list, struct engine_waiter *waiter)
{
	waiter->next = *list;
	if (waiter->next)
		waiter->next->link = &waiter->next;
	waiter->link = list;
	*list = waiter;
}

/* From here on they do not wait: whoever holds `woken` wakes them. */
static void
hand_out(struct held *held, struct engine_waiter **woken)
{
	for (struct engine_waiter *waiter = held->waiters, *next; waiter; waiter = next) {
		next = waiter->next;
		waiter->next = *woken;
		waiter->link = NULL;
		*woken = waiter;
	}
	held->waiters = NULL;
}

bool
leases_wait(struct leases *leases, uint64_t hash, uint64_t now_ms, struct engine_waiter *waiter)
{
	struct held *held = find(leases, hash);

	waiter->link = NULL;
	if (!held || held->lease.expires_ms <= now_ms)
		return false;
	put_first(&held->waiters, waiter);
	return true;
}

bool
leases_wait_end(struct engine_waiter *waiter)
{
	if (!waiter->link)
		return false;
	*waiter->link = waiter->next;
	if (waiter->next)
		waiter->next->link = waiter->link;
	waiter->link = NULL;
	return true;
}

/* ---- granting and ending ---- */

const struct lease *
leases_find(const struct leases *leases, uint64_t hash, uint64_t now_ms)
{
	const struct held *held = find(leases, hash);
	return held && held->lease.expires_ms > now_ms ? &held->lease : NULL;
}

void
leases_end(struct leases *leases, uint64_t hash, struct engine_waiter **woken)
{
	struct held **link = leases->buckets ? link_of(leases, hash) : NULL, *held = link ? *link : NULL;

	if (!held)
		return;
	*link = held->chain;
	*(held->older ? &held->older->newer : &leases->oldest) = held->newer;
	*(held->newer ? &held->newer->older : &leases->newest) = held->older;
	leases->count--;
	hand_out(held, woken);
	mem_free(held);
}

bool
leases_grant(struct leases *leases, const struct lease *lease, uint64_t now_ms, struct engine_waiter **woken,
             uint64_t *lost)
{
	const struct held *before = find(leases, lease->hash);

	if (before) {
		*lost += before->lease.expires_ms <= now_ms && !before->lease.is_others;
		leases_end(leases, lease->hash, woken);
	}
	if (leases->count >= leases->max)
		*lost += leases_expire(leases, now_ms, woken);
	if (leases->count >= leases->max)
		return false;
	if (leases->count >= leases->bucket_count)
		grow(leases);
	struct held *held = mem_alloc(sizeof(*held));
	held->lease = *lease;
	held->older = leases->newest;
	*(leases->newest ? &leases->newest->newer : &leases->oldest) = held;
	leases->newest = held;
	*link_of(leases, lease->hash) = held;
	leases->count++;
	return true;
}

size_t
leases_expire(struct leases *leases, uint64_t now_ms, struct engine_waiter **woken)
{
	size_t count = 0;

	while (leases->oldest && leases->oldest->lease.expires_ms <= now_ms) {
		count += !leases->oldest->lease.is_others;
		leases_end(leases, leases->oldest->lease.hash, woken);
	}
	if (leases->count == 0) {
		mem_free(leases->buckets);
		leases->buckets = NULL;
		leases->bucket_count = 0;
	}
	return count;
}

uint64_t
leases_oldest(const struct leases *leases, uint64_t otherwise)
{
	return leases->oldest ? leases->oldest->lease.since : otherwise;
}

size_t
leases_count(const struct leases *leases)
{
	return leases->count;
}

size_t
leases_bytes(const struct leases *leases)
{
	return sizeof(*leases) + leases->bucket_count * sizeof(leases->buckets[0]) +
	       leases->count * sizeof(struct held);
}
