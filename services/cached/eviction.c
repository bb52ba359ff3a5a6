/*
 * eviction: see eviction.h. A queue is a chain of nodes from its tail, the oldest, to its head. The main
 * queue has a clock, of which 32 ticks are about as many turns as the queue is long.
 */
#include "eviction.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "duel.h"
#include "eviction_nodes.h"
#include "ghost.h"

#define USES_MAX    3u   /* that a turn of the main queue forgives, as in the paper */
#define ADMIT_USES  2u   /* in the small queue */
#define TURNS_MAX   256u /* forgiven for one eviction: a bound on its time */
#define TICKS       32u  /* of the clock, in one length of the main queue */
#define SMALL_SHARE 10u  /* the small queue's part of the size, one in so many */

struct queue {
	uint32_t head, tail, count, holes;
	uint64_t size;
};

struct eviction {
	struct nodes nodes;
	struct queue queues[PLACES];
	_Atomic uint32_t clock;
	uint32_t next_tick; /* turns until it */
	uint64_t size_max;
	_Atomic int policy;
	struct ghost *ghost;
	struct duel *_Atomic duel; /* NULL: the policy stays, or nothing had to leave yet */
	bool is_adaptive;
	uint32_t next_fit; /* additions until the sample is fitted again */
};

struct eviction *
eviction_new(uint64_t size_max, enum eviction_policy policy)
{
	struct eviction *eviction = mem_alloc(sizeof(*eviction));

	eviction->size_max = size_max;
	nodes_init(&eviction->nodes);
	for (int i = 0; i < PLACES; i++)
		eviction->queues[i].head = eviction->queues[i].tail = EVICTION_NONE;
	eviction->ghost = ghost_new();
	eviction->is_adaptive = policy == EVICTION_ADAPTIVE;
	atomic_init(&eviction->policy, eviction->is_adaptive ? EVICTION_CLOCK : (int)policy);
	return eviction;
}

void
eviction_free(struct eviction *eviction)
{
	if (!eviction)
		return;
	nodes_fini(&eviction->nodes);
	duel_free(atomic_load_explicit(&eviction->duel, memory_order_relaxed));
	ghost_free(eviction->ghost);
	mem_free(eviction);
}

enum eviction_policy
eviction_policy(const struct eviction *eviction)
{
	return (enum eviction_policy)atomic_load_explicit(&eviction->policy, memory_order_relaxed);
}

/* ---- queues ---- */

static void
tick(struct eviction *eviction)
{
	if (eviction->next_tick-- > 0)
		return;
	eviction->next_tick = eviction->queues[MAIN].count / TICKS;
	atomic_fetch_add_explicit(&eviction->clock, 1, memory_order_relaxed);
}

static uint32_t
uses_get(const struct eviction *eviction, uint32_t entry)
{
	return atomic_load_explicit(uses_at(&eviction->nodes, entry), memory_order_relaxed);
}

/* When it was used last stays. A use that a reader notes meanwhile may be lost, or outlast this. */
static void
uses_put(struct eviction *eviction, uint32_t entry, uint32_t count)
{
	uint32_t uses = (uses_get(eviction, entry) & TICK_MASK) | count << USES_SHIFT;
	atomic_store_explicit(uses_at(&eviction->nodes, entry), (uint16_t)uses, memory_order_relaxed);
}

static void
link_node(struct eviction *eviction, uint32_t entry, enum where where, uint32_t uses)
{
	struct node *node = node_at(&eviction->nodes, entry);
	struct queue *queue = &eviction->queues[where];

	state_put(node, (state_of(node) & ~WHERE_MASK) | (uint32_t)where);
	uses_put(eviction, entry, uses);
	node->next = EVICTION_NONE;
	*(queue->head == EVICTION_NONE ? &queue->tail : &node_at(&eviction->nodes, queue->head)->next) = entry;
	queue->head = entry;
	queue->count++;
	queue->size += size_of(state_of(node));
	if (where == MAIN)
		tick(eviction);
}

/* Takes what is at the tail out of the chain. */
static uint32_t
pop_tail(struct eviction *eviction, struct queue *queue)
{
	uint32_t entry = queue->tail;

	queue->tail = node_at(&eviction->nodes, entry)->next;
	if (queue->tail == EVICTION_NONE)
		queue->head = EVICTION_NONE;
	return entry;
}

/* Lets the holes at the tail go; the queue holds an entry. */
static void
skip_holes(struct eviction *eviction, struct queue *queue)
{
	while (where_of(state_of(node_at(&eviction->nodes, queue->tail))) == GONE) {
		nodes_put_back(&eviction->nodes, pop_tail(eviction, queue));
		queue->holes--;
	}
}

static void
drop_holes(struct eviction *eviction, struct queue *queue)
{
	uint32_t entry = queue->tail, *link = &queue->tail, next;

	queue->head = EVICTION_NONE;
	for (; entry != EVICTION_NONE; entry = next) {
		struct node *node = node_at(&eviction->nodes, entry);
		next = node->next;
		if (where_of(state_of(node)) == GONE) {
			nodes_put_back(&eviction->nodes, entry);
			continue;
		}
		*link = queue->head = entry;
		link = &node->next;
	}
	*link = EVICTION_NONE;
	queue->holes = 0;
}

/* An entry that is taken from the tail: it leaves its queue's figures. */
static uint32_t
queue_take(struct eviction *eviction, struct queue *queue)
{
	uint32_t entry = pop_tail(eviction, queue);

	queue->count--;
	queue->size -= size_of(state_of(node_at(&eviction->nodes, entry)));
	return entry;
}

/* ---- what is told ---- */

static void
watch(struct eviction *eviction, uint32_t hash, uint32_t size)
{
	struct duel *duel = atomic_load_explicit(&eviction->duel, memory_order_acquire);

	if (duel && duel_wants(duel, hash))
		atomic_store_explicit(&eviction->policy, (int)duel_see(duel, hash, size), memory_order_relaxed);
}

/* The size is what its node says; of an entry that left meanwhile there is none. */
static void
watch_use(struct eviction *eviction, uint32_t entry, uint32_t hash)
{
	struct duel *duel = atomic_load_explicit(&eviction->duel, memory_order_acquire);

	if (!duel || !duel_wants(duel, hash))
		return;
	uint32_t size = size_of(state_of(node_at(&eviction->nodes, entry)));
	if (size > 0)
		watch(eviction, hash, size);
}

static void
fit(struct eviction *eviction)
{
	uint32_t count = eviction_count(eviction);
	struct duel *duel = atomic_load_explicit(&eviction->duel, memory_order_relaxed);

	ghost_set_span(eviction->ghost, eviction->queues[MAIN].count);
	if (duel)
		duel_fit(duel, count, eviction->size_max);
	eviction->next_fit = count / 16 + 16;
}

uint32_t
eviction_add(struct eviction *eviction, uint32_t hash, uint32_t size)
{
	uint32_t entry = nodes_take(&eviction->nodes);
	struct node *node = node_at(&eviction->nodes, entry);

	assert(size > 0 && size <= EVICTION_SIZE_MAX);
	node->hash = hash;
	state_put(node, size << SIZE_SHIFT);
	atomic_store_explicit(uses_at(&eviction->nodes, entry), 0, memory_order_relaxed);
	watch(eviction, hash, size);
	bool was_here = ghost_take(eviction->ghost, hash);
	enum eviction_policy policy = eviction_policy(eviction);
	bool is_main = policy == EVICTION_CLOCK || (policy == EVICTION_S3_FIFO && was_here);
	link_node(eviction, entry, is_main ? MAIN : SMALL, 0);
	if (eviction->next_fit-- == 0)
		fit(eviction);
	return entry;
}

void
eviction_use(struct eviction *eviction, uint32_t entry, uint32_t hash)
{
	_Atomic uint16_t *place = uses_at(&eviction->nodes, entry);
	uint32_t old = atomic_load_explicit(place, memory_order_relaxed);
	uint32_t count = uses_of(old) < USES_MAX ? uses_of(old) + 1 : USES_MAX;
	uint32_t now = atomic_load_explicit(&eviction->clock, memory_order_relaxed) & TICK_MASK;
	uint16_t uses = (uint16_t)(count << USES_SHIFT | now);

	/* A use that is lost between two threads does not matter; a line that is not written does. */
	if (uses != old)
		atomic_store_explicit(place, uses, memory_order_relaxed);
	watch_use(eviction, entry, hash);
}

void
eviction_expect_use(const struct eviction *eviction, uint32_t entry)
{
	__builtin_prefetch(uses_at(&eviction->nodes, entry));
}

void
eviction_resize(struct eviction *eviction, uint32_t entry, uint32_t size)
{
	struct node *node = node_at(&eviction->nodes, entry);
	uint32_t state = state_of(node);
	struct queue *queue = &eviction->queues[where_of(state)];

	assert(size > 0 && size <= EVICTION_SIZE_MAX);
	queue->size += size;
	queue->size -= size_of(state);
	state_put(node, (state & (MARK_BIT | WHERE_MASK)) | size << SIZE_SHIFT);
}

void
eviction_mark(struct eviction *eviction, uint32_t entry, bool is_marked)
{
	struct node *node = node_at(&eviction->nodes, entry);
	state_put(node, (state_of(node) & ~MARK_BIT) | (is_marked ? MARK_BIT : 0));
}

bool
eviction_is_marked(const struct eviction *eviction, uint32_t entry)
{
	uint32_t state = state_of(node_at(&eviction->nodes, entry));
	return (state & MARK_BIT) && where_of(state) != GONE;
}

void
eviction_remove(struct eviction *eviction, uint32_t entry)
{
	struct node *node = node_at(&eviction->nodes, entry);
	struct queue *queue = &eviction->queues[where_of(state_of(node))];

	queue->count--;
	queue->size -= size_of(state_of(node));
	state_put(node, GONE);
	if (++queue->holes > queue->count / 8 + 64 || queue->count == 0)
		drop_holes(eviction, queue);
}

/* ---- who leaves ---- */

static uint64_t
small_max(const struct eviction *eviction)
{
	return eviction_policy(eviction) == EVICTION_CLOCK ? 0 : eviction->size_max / SMALL_SHARE;
}

/* What HOLD fills the main queue to. With some distance to the small queue's part, whatever the sizes are:
 * otherwise the one would push out of the main queue what the other just let in. */
static uint64_t
hold_max(const struct eviction *eviction)
{
	return eviction->size_max - small_max(eviction) - small_max(eviction) / 4;
}

/* Whether the last of the small queue gets into the main one. */
static bool
is_admitted(const struct eviction *eviction, uint32_t entry)
{
	uint32_t uses = uses_of(uses_get(eviction, entry));
	uint64_t main_size = eviction->queues[MAIN].size + size_of(state_of(node_at(&eviction->nodes, entry)));

	switch (eviction_policy(eviction)) {
	case EVICTION_CLOCK:
		return uses > 0;
	case EVICTION_HOLD:
		return uses >= ADMIT_USES || main_size <= hold_max(eviction);
	default:
		return uses >= ADMIT_USES;
	}
}

static uint32_t
evict_small(struct eviction *eviction)
{
	uint32_t entry = queue_take(eviction, &eviction->queues[SMALL]);

	if (is_admitted(eviction, entry)) {
		link_node(eviction, entry, MAIN, 0);
		return EVICTION_NONE;
	}
	ghost_add(eviction->ghost, node_at(&eviction->nodes, entry)->hash);
	return entry;
}

/* S3-FIFO forgives by uses, CLOCK a use in the later half of the way through the queue: then what leaves was
 * last used about one length of the queue ago, by half a length more or less, as LRU would have it. */
static bool
is_forgiven(const struct eviction *eviction, uint32_t uses)
{
	if (uses_of(uses) == 0)
		return false;
	if (eviction_policy(eviction) != EVICTION_CLOCK)
		return true;
	uint32_t now = atomic_load_explicit(&eviction->clock, memory_order_relaxed);
	uint32_t half = eviction->queues[MAIN].count / 2;
	return ((now - uses) & TICK_MASK) <= (half < TICKS / 2 ? half : TICKS / 2);
}

static uint32_t
evict_main(struct eviction *eviction, bool may_forgive)
{
	uint32_t entry = queue_take(eviction, &eviction->queues[MAIN]);
	uint32_t uses = uses_get(eviction, entry);

	if (!may_forgive || !is_forgiven(eviction, uses))
		return entry;
	link_node(eviction, entry, MAIN, eviction_policy(eviction) == EVICTION_CLOCK ? 0 : uses_of(uses) - 1);
	return EVICTION_NONE;
}

static void
begin_duel(struct eviction *eviction)
{
	if (!eviction->is_adaptive || atomic_load_explicit(&eviction->duel, memory_order_relaxed))
		return;
	atomic_store_explicit(&eviction->duel, duel_new(eviction_count(eviction), eviction->size_max),
	                      memory_order_release);
}

uint32_t
eviction_evict(struct eviction *eviction)
{
	struct queue *small = &eviction->queues[SMALL], *main = &eviction->queues[MAIN];
	uint32_t entry = EVICTION_NONE;

	begin_duel(eviction);
	for (unsigned turn = 0; entry == EVICTION_NONE && small->count + main->count > 0; turn++) {
		bool is_small = small->count > 0 && (small->size > small_max(eviction) || main->count == 0);
		skip_holes(eviction, is_small ? small : main);
		entry = is_small ? evict_small(eviction) : evict_main(eviction, turn < TURNS_MAX);
	}
	if (entry != EVICTION_NONE)
		nodes_put_back(&eviction->nodes, entry);
	return entry;
}

bool
eviction_is_over(const struct eviction *eviction)
{
	return eviction_size(eviction) > eviction->size_max;
}

/* ---- figures ---- */

void
eviction_set_max(struct eviction *eviction, uint64_t size_max)
{
	eviction->size_max = size_max;
	fit(eviction);
}

uint64_t
eviction_size(const struct eviction *eviction)
{
	return eviction->queues[SMALL].size + eviction->queues[MAIN].size;
}

uint32_t
eviction_count(const struct eviction *eviction)
{
	return eviction->queues[SMALL].count + eviction->queues[MAIN].count;
}

uint32_t
eviction_hash(const struct eviction *eviction, uint32_t entry)
{
	return node_at(&eviction->nodes, entry)->hash;
}

uint32_t
eviction_entries_end(const struct eviction *eviction)
{
	return eviction->nodes.used;
}

bool
eviction_holds(const struct eviction *eviction, uint32_t entry)
{
	return where_of(state_of(node_at(&eviction->nodes, entry))) != GONE;
}

size_t
eviction_overhead(const struct eviction *eviction)
{
	struct duel *duel = atomic_load_explicit(&eviction->duel, memory_order_relaxed);

	return sizeof(*eviction) + nodes_bytes(&eviction->nodes) + ghost_bytes(eviction->ghost) +
	       (duel ? duel_overhead(duel) : 0);
}
