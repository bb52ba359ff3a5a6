/*
 * eviction_nodes: what eviction knows of an entry, in 20 bytes, and where that lies.
 *
 * Nodes lie in chunks that never move, so that readers find theirs while others are added. The first 4096
 * lie in small chunks, for there are many small caches; the others in larger ones, so that their list stays
 * short. Nodes are taken and put back by one thread at a time; node_at() and the functions on a node's state
 * may be called by any.
 */
#ifndef CORBEL_CACHED_EVICTION_NODES_H
#define CORBEL_CACHED_EVICTION_NODES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SMALL_CHUNK  256u
#define LARGE_CHUNK  4096u
#define SMALL_CHUNKS (LARGE_CHUNK / SMALL_CHUNK)

/* size:19  mark:1  where:2  uses:2  used_at:8, which is a reading of the main queue's clock. */
#define SIZE_SHIFT  13u
#define MARK_BIT    (1u << 12)
#define WHERE_SHIFT 10u
#define USES_SHIFT  8u
#define TICK_MASK   0xFFu

/* GONE: free, or a hole in its queue's chain. */
enum where { GONE, SMALL, MAIN, PLACES };

struct node {
	_Atomic uint32_t item[2]; /* a pointer, in halves: the node is aligned to 4 */
	uint32_t next;            /* towards the head; of a free one: the next free one */
	uint32_t hash;
	_Atomic uint32_t state;
};

_Static_assert(sizeof(struct node) == 20, "what an entry costs");

struct nodes {
	struct node **_Atomic chunks; /* longer ones replace it; readers may hold one of before */
	struct node ***old_chunks;    /* which are kept */
	uint32_t old_count, chunk_count, chunk_capacity;
	uint32_t used,
	    free; /* numbers below `used` were taken at least once; free: the first of those put back */
};

#define NODE_NONE UINT32_MAX

void nodes_init(struct nodes *nodes);
void nodes_fini(struct nodes *nodes);
size_t nodes_bytes(const struct nodes *nodes);
/* A number; those that were put back first. */
uint32_t nodes_take(struct nodes *nodes);
void nodes_put_back(struct nodes *nodes, uint32_t entry);

static inline struct node *
node_at(const struct nodes *nodes, uint32_t entry)
{
	struct node **chunks = atomic_load_explicit(&nodes->chunks, memory_order_acquire);

	if (entry < LARGE_CHUNK)
		return &chunks[entry / SMALL_CHUNK][entry % SMALL_CHUNK];
	return &chunks[SMALL_CHUNKS - 1 + entry / LARGE_CHUNK][entry % LARGE_CHUNK];
}

static inline uint32_t
state_of(const struct node *node)
{
	return atomic_load_explicit(&node->state, memory_order_relaxed);
}

static inline enum where
where_of(uint32_t state)
{
	return (enum where)(state >> WHERE_SHIFT & 3u);
}

static inline uint32_t
uses_of(uint32_t state)
{
	return state >> USES_SHIFT & 3u;
}

static inline uint32_t
size_of(uint32_t state)
{
	return state >> SIZE_SHIFT;
}

/* Changes the bits of `mask` and keeps what others write to the rest meanwhile. */
static inline void
state_change(struct node *node, uint32_t mask, uint32_t bits)
{
	uint32_t old = state_of(node);
	while (!atomic_compare_exchange_weak_explicit(&node->state, &old, (old & ~mask) | bits,
	                                              memory_order_relaxed, memory_order_relaxed))
		;
}

static inline void
item_put(struct node *node, const void *item)
{
	uint64_t bits = (uintptr_t)item;

	atomic_store_explicit(&node->item[0], (uint32_t)bits, memory_order_relaxed);
	atomic_store_explicit(&node->item[1], (uint32_t)(bits >> 32), memory_order_relaxed);
}

static inline void *
item_get(const struct node *node)
{
	uint64_t low = atomic_load_explicit(&node->item[0], memory_order_relaxed);
	uint64_t high = atomic_load_explicit(&node->item[1], memory_order_relaxed);

	return (void *)(uintptr_t)(high << 32 | low);
}

#endif
