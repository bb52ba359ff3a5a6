/*
 * eviction: see eviction.h. Queues are doubly linked through an array of nodes, 20 bytes each.
 */
#include "eviction.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "duel.h"
#include "ghost.h"

#define USES_MAX    3u   /* that a turn of the main queue forgives, as in the paper */
#define ADMIT_USES  2u   /* in the small queue */
#define TURNS_MAX   256u /* forgiven for one eviction: a bound on its time */
#define LATENESS    16u  /* a use is noted anew after this part of the main queue's length */
#define SMALL_SHARE 10u  /* the small queue's part of the bytes, one in so many */

enum where { FREE, SMALL, MAIN, PLACES };

struct node {
	uint32_t prev, next; /* next is towards the tail, and the next free one of the free */
	uint32_t bytes, hash;
	_Atomic uint32_t used_at; /* turn of the last use, a little late */
	_Atomic uint8_t uses;
	uint8_t where;
};

struct queue {
	uint32_t head, tail, count;
	uint64_t bytes;
};

struct eviction {
	struct node *nodes;
	uint32_t used, capacity, free; /* free: first of them */
	struct queue queues[PLACES];
	_Atomic uint32_t turn; /* counts what was linked at the main queue's head: its clock */
	uint64_t bytes_max;
	_Atomic int policy;
	struct ghost *ghost;
	struct duel *duel; /* NULL: the policy stays */
	uint32_t next_fit; /* additions until the sample is fitted again */
};

struct eviction *
eviction_new(uint64_t bytes_max, enum eviction_policy policy)
{
	struct eviction *eviction = mem_alloc(sizeof(*eviction));

	eviction->bytes_max = bytes_max;
	eviction->free = EVICTION_NONE;
	for (int i = 0; i < PLACES; i++)
		eviction->queues[i].head = eviction->queues[i].tail = EVICTION_NONE;
	eviction->ghost = ghost_new();
	if (policy == EVICTION_ADAPTIVE)
		eviction->duel = duel_new(bytes_max);
	atomic_init(&eviction->policy, policy == EVICTION_ADAPTIVE ? EVICTION_CLOCK : (int)policy);
	return eviction;
}

void
eviction_free(struct eviction *eviction)
{
	if (!eviction)
		return;
	duel_free(eviction->duel);
	ghost_free(eviction->ghost);
	mem_free(eviction->nodes);
	mem_free(eviction);
}

enum eviction_policy
eviction_policy(const struct eviction *eviction)
{
	return (enum eviction_policy)atomic_load_explicit(&eviction->policy, memory_order_relaxed);
}

/* ---- queues ---- */

static void
unlink_node(struct eviction *eviction, uint32_t entry)
{
	struct node *node = &eviction->nodes[entry];
	struct queue *queue = &eviction->queues[node->where];

	*(node->prev == EVICTION_NONE ? &queue->head : &eviction->nodes[node->prev].next) = node->next;
	*(node->next == EVICTION_NONE ? &queue->tail : &eviction->nodes[node->next].prev) = node->prev;
	queue->count--;
	queue->bytes -= node->bytes;
}

static void
link_node(struct eviction *eviction, uint32_t entry, enum where where)
{
	struct node *node = &eviction->nodes[entry];
	struct queue *queue = &eviction->queues[where];

	node->where = (uint8_t)where;
	node->prev = EVICTION_NONE;
	node->next = queue->head;
	*(queue->head == EVICTION_NONE ? &queue->tail : &eviction->nodes[queue->head].prev) = entry;
	queue->head = entry;
	queue->count++;
	queue->bytes += node->bytes;
	if (where == MAIN)
		atomic_fetch_add_explicit(&eviction->turn, 1, memory_order_relaxed);
}

static void
move_node(struct eviction *eviction, uint32_t entry, enum where where, uint8_t uses)
{
	unlink_node(eviction, entry);
	link_node(eviction, entry, where);
	atomic_store_explicit(&eviction->nodes[entry].uses, uses, memory_order_relaxed);
}

static uint32_t
node_take(struct eviction *eviction)
{
	uint32_t entry = eviction->free;

	if (entry != EVICTION_NONE) {
		eviction->free = eviction->nodes[entry].next;
		return entry;
	}
	if (eviction->used == eviction->capacity) {
		/* A quarter more: half of what doubling would leave unused. */
		eviction->capacity += eviction->capacity / 4 + 64;
		eviction->nodes = mem_resize(eviction->nodes, eviction->capacity, sizeof(*eviction->nodes));
	}
	return eviction->used++;
}

static void
node_give_back(struct eviction *eviction, uint32_t entry)
{
	unlink_node(eviction, entry);
	eviction->nodes[entry].where = FREE;
	eviction->nodes[entry].next = eviction->free;
	eviction->free = entry;
}

/* ---- what is told ---- */

static void
watch(struct eviction *eviction, uint64_t hash, uint32_t bytes)
{
	if (eviction->duel && duel_wants(eviction->duel, hash))
		atomic_store_explicit(&eviction->policy, (int)duel_see(eviction->duel, hash, bytes),
		                      memory_order_relaxed);
}

static void
fit(struct eviction *eviction)
{
	uint32_t count = eviction_count(eviction);

	ghost_set_span(eviction->ghost, eviction->queues[MAIN].count);
	if (eviction->duel)
		duel_fit(eviction->duel, count, eviction->bytes_max);
	eviction->next_fit = count / 16 + 16;
}

uint32_t
eviction_add(struct eviction *eviction, uint64_t hash, uint32_t bytes)
{
	uint32_t entry = node_take(eviction);
	struct node *node = &eviction->nodes[entry];

	assert(bytes > 0);
	node->bytes = bytes;
	node->hash = (uint32_t)hash;
	atomic_store_explicit(&node->uses, 0, memory_order_relaxed);
	watch(eviction, hash, bytes);
	bool was_here = ghost_take(eviction->ghost, (uint32_t)hash);
	enum eviction_policy policy = eviction_policy(eviction);
	bool is_main = policy == EVICTION_CLOCK || (policy == EVICTION_S3_FIFO && was_here);
	link_node(eviction, entry, is_main ? MAIN : SMALL);
	if (eviction->next_fit-- == 0)
		fit(eviction);
	return entry;
}

void
eviction_use(struct eviction *eviction, uint32_t entry)
{
	struct node *node = &eviction->nodes[entry];
	uint8_t uses = atomic_load_explicit(&node->uses, memory_order_relaxed);

	/* A use that is lost between two threads does not matter; a line that is not written does. */
	if (uses < USES_MAX)
		atomic_store_explicit(&node->uses, (uint8_t)(uses + 1), memory_order_relaxed);
	uint32_t turn = atomic_load_explicit(&eviction->turn, memory_order_relaxed);
	if (turn - atomic_load_explicit(&node->used_at, memory_order_relaxed) >
	    eviction->queues[MAIN].count / LATENESS)
		atomic_store_explicit(&node->used_at, turn, memory_order_relaxed);
	/* The sample is drawn by the bits that are kept. */
	watch(eviction, node->hash, node->bytes);
}

void
eviction_resize(struct eviction *eviction, uint32_t entry, uint32_t bytes)
{
	struct node *node = &eviction->nodes[entry];

	eviction->queues[node->where].bytes += bytes;
	eviction->queues[node->where].bytes -= node->bytes;
	node->bytes = bytes;
}

void
eviction_remove(struct eviction *eviction, uint32_t entry)
{
	node_give_back(eviction, entry);
}

/* ---- who leaves ---- */

static uint64_t
small_max(const struct eviction *eviction)
{
	return eviction_policy(eviction) == EVICTION_CLOCK ? 0 : eviction->bytes_max / SMALL_SHARE;
}

/* Whether the last of the small queue gets into the main one. */
static bool
is_admitted(const struct eviction *eviction, const struct node *node)
{
	unsigned uses = atomic_load_explicit(&node->uses, memory_order_relaxed);
	uint64_t main_bytes = eviction->queues[MAIN].bytes + node->bytes;

	switch (eviction_policy(eviction)) {
	case EVICTION_CLOCK:
		return uses > 0;
	case EVICTION_HOLD:
		return uses >= ADMIT_USES || main_bytes <= eviction->bytes_max - small_max(eviction);
	default:
		return uses >= ADMIT_USES;
	}
}

static uint32_t
evict_small(struct eviction *eviction)
{
	uint32_t entry = eviction->queues[SMALL].tail;

	if (is_admitted(eviction, &eviction->nodes[entry])) {
		move_node(eviction, entry, MAIN, 0);
		return EVICTION_NONE;
	}
	ghost_add(eviction->ghost, eviction->nodes[entry].hash);
	node_give_back(eviction, entry);
	return entry;
}

/* S3-FIFO forgives by uses, CLOCK a use in the later half of the way through the queue: then what leaves was
 * last used about one length of the queue ago, by half a length more or less, as LRU would have it. */
static bool
is_forgiven(const struct eviction *eviction, const struct node *node)
{
	if (atomic_load_explicit(&node->uses, memory_order_relaxed) == 0)
		return false;
	if (eviction_policy(eviction) != EVICTION_CLOCK)
		return true;
	uint32_t age = atomic_load_explicit(&eviction->turn, memory_order_relaxed) -
	               atomic_load_explicit(&node->used_at, memory_order_relaxed);
	return age <= eviction->queues[MAIN].count / 2;
}

static uint32_t
evict_main(struct eviction *eviction, bool may_forgive)
{
	uint32_t entry = eviction->queues[MAIN].tail;
	uint8_t uses = atomic_load_explicit(&eviction->nodes[entry].uses, memory_order_relaxed);

	if (may_forgive && is_forgiven(eviction, &eviction->nodes[entry])) {
		move_node(eviction, entry, MAIN,
		          eviction_policy(eviction) == EVICTION_CLOCK ? 0 : (uint8_t)(uses - 1));
		return EVICTION_NONE;
	}
	node_give_back(eviction, entry);
	return entry;
}

uint32_t
eviction_evict(struct eviction *eviction)
{
	const struct queue *small = &eviction->queues[SMALL], *main = &eviction->queues[MAIN];
	uint32_t entry = EVICTION_NONE;

	for (unsigned turn = 0; entry == EVICTION_NONE && small->count + main->count > 0; turn++) {
		bool is_small = small->count > 0 && (small->bytes > small_max(eviction) || main->count == 0);
		entry = is_small ? evict_small(eviction) : evict_main(eviction, turn < TURNS_MAX);
	}
	return entry;
}

bool
eviction_is_over(const struct eviction *eviction)
{
	return eviction_bytes(eviction) > eviction->bytes_max;
}

/* ---- figures ---- */

void
eviction_set_bytes_max(struct eviction *eviction, uint64_t bytes_max)
{
	eviction->bytes_max = bytes_max;
	fit(eviction);
}

uint64_t
eviction_bytes(const struct eviction *eviction)
{
	return eviction->queues[SMALL].bytes + eviction->queues[MAIN].bytes;
}

uint32_t
eviction_count(const struct eviction *eviction)
{
	return eviction->queues[SMALL].count + eviction->queues[MAIN].count;
}

uint32_t
eviction_hash(const struct eviction *eviction, uint32_t entry)
{
	return eviction->nodes[entry].hash;
}

size_t
eviction_overhead(const struct eviction *eviction)
{
	return sizeof(*eviction) + eviction->capacity * sizeof(struct node) + ghost_bytes(eviction->ghost) +
	       (eviction->duel ? duel_overhead(eviction->duel) : 0);
}
