/*
 * eviction_nodes: what eviction knows of an entry, in 14 bytes, and where that lies.
 *
 * Nodes lie in chunks that never move, so that readers find theirs while others are added. The first 4096
 * lie in small chunks, for there are many small caches; the others in larger ones, so that their list stays
 * short. What readers write, an entry's uses, lies apart from its node: 32 entries share a line, and those of
 * a million fit into a processor's cache. Nodes are taken, put back and changed by one thread at a time;
 * uses_at() and state_of() are for any.
 */
#ifndef CORBEL_CACHED_EVICTION_NODES_H
#define CORBEL_CACHED_EVICTION_NODES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SMALL_CHUNK  256u
#define LARGE_CHUNK  4096u
#define SMALL_CHUNKS (LARGE_CHUNK / SMALL_CHUNK)

/* Of a node's state: size:19  mark:1  where:2. */
#define SIZE_SHIFT 3u
#define MARK_BIT   4u
#define WHERE_MASK 3u

/* Of its uses: count:2  used_at:8, which is a reading of the main queue's clock. */
#define USES_SHIFT 8u
#define TICK_MASK  0xFFu

/* GONE: free, or a hole in its queue's chain. */
enum where { GONE, SMALL, MAIN, PLACES };

struct node {
	uint32_t next; /* towards the head; of a free one: the next free one */
	uint32_t hash;
	_Atomic uint32_t state;
};

#define NODE_BYTES (sizeof(struct node) + sizeof(uint16_t))
_Static_assert(NODE_BYTES == 14, "what an entry costs");

struct nodes {
	unsigned char **_Atomic chunks; /* of nodes, and behind them their uses; longer ones replace it; readers
	                                   may hold one of before */
	unsigned char ***old_chunks;    /* which are kept */
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

/* Where a number's node is: in which chunk, at which place, of how many. */
struct node_place {
	unsigned char *chunk;
	uint32_t at, count;
};

static inline struct node_place
node_place(const struct nodes *nodes, uint32_t entry)
{
	unsigned char **chunks = atomic_load_explicit(&nodes->chunks, memory_order_acquire);

	if (entry < LARGE_CHUNK)
		return (struct node_place){chunks[entry / SMALL_CHUNK], entry % SMALL_CHUNK, SMALL_CHUNK};
	return (struct node_place){chunks[SMALL_CHUNKS - 1 + entry / LARGE_CHUNK], entry % LARGE_CHUNK,
	                           LARGE_CHUNK};
}

static inline struct node *
node_at(const struct nodes *nodes, uint32_t entry)
{
	struct node_place place = node_place(nodes, entry);
	return (struct node *)(void *)place.chunk + place.at;
}

static inline _Atomic uint16_t *
uses_at(const struct nodes *nodes, uint32_t entry)
{
	struct node_place place = node_place(nodes, entry);
	return (_Atomic uint16_t *)(void *)(place.chunk + place.count * sizeof(struct node)) + place.at;
}

static inline uint32_t
state_of(const struct node *node)
{
	return atomic_load_explicit(&node->state, memory_order_relaxed);
}

static inline void
state_put(struct node *node, uint32_t state)
{
	atomic_store_explicit(&node->state, state, memory_order_relaxed);
}

static inline enum where
where_of(uint32_t state)
{
	return (enum where)(state & WHERE_MASK);
}

static inline uint32_t
size_of(uint32_t state)
{
	return state >> SIZE_SHIFT;
}

static inline uint32_t
uses_of(uint32_t uses)
{
	return uses >> USES_SHIFT;
}

#endif
