/*
 * eviction_nodes: see eviction_nodes.h.
 */
#include "eviction_nodes.h"

#include <string.h>

#include "base/arena.h"

void
nodes_init(struct nodes *nodes)
{
	memset(nodes, 0, sizeof(*nodes));
	nodes->free = NODE_NONE;
}

void
nodes_fini(struct nodes *nodes)
{
	unsigned char **chunks = atomic_load_explicit(&nodes->chunks, memory_order_relaxed);

	for (uint32_t i = 0; i < nodes->chunk_count; i++)
		mem_free(chunks[i]);
	for (uint32_t i = 0; i < nodes->old_count; i++)
		mem_free(nodes->old_chunks[i]);
	mem_free(nodes->old_chunks);
	mem_free(chunks);
}

/* How many nodes so many chunks hold. */
static uint32_t
nodes_in(uint32_t chunks)
{
	return chunks <= SMALL_CHUNKS ? chunks * SMALL_CHUNK : (chunks - SMALL_CHUNKS + 1) * LARGE_CHUNK;
}

size_t
nodes_bytes(const struct nodes *nodes)
{
	return (size_t)nodes_in(nodes->chunk_count) * NODE_BYTES +
	       2 * (size_t)nodes->chunk_capacity * sizeof(unsigned char *);
}

/* A longer list of chunks; the one before stays for readers that look into it now. Doubling keeps their sum
 * below the newest one's size. */
static void
lengthen(struct nodes *nodes)
{
	uint32_t capacity = nodes->chunk_capacity ? nodes->chunk_capacity * 2 : 4;
	unsigned char **old = atomic_load_explicit(&nodes->chunks, memory_order_relaxed);
	unsigned char **chunks = mem_array(capacity, sizeof(chunks[0]));

	if (old) {
		memcpy(chunks, old, nodes->chunk_count * sizeof(chunks[0]));
		nodes->old_chunks = mem_resize(nodes->old_chunks, nodes->old_count + 1, sizeof(nodes->old_chunks[0]));
		nodes->old_chunks[nodes->old_count++] = old;
	}
	nodes->chunk_capacity = capacity;
	atomic_store_explicit(&nodes->chunks, chunks, memory_order_release);
}

static void
add_chunk(struct nodes *nodes)
{
	if (nodes->chunk_count == nodes->chunk_capacity)
		lengthen(nodes);
	unsigned char **chunks = atomic_load_explicit(&nodes->chunks, memory_order_relaxed);
	uint32_t count = nodes->chunk_count < SMALL_CHUNKS ? SMALL_CHUNK : LARGE_CHUNK;
	chunks[nodes->chunk_count++] = mem_array(count, NODE_BYTES);
}

uint32_t
nodes_take(struct nodes *nodes)
{
	uint32_t entry = nodes->free;

	if (entry != NODE_NONE) {
		nodes->free = node_at(nodes, entry)->next;
		return entry;
	}
	if (nodes->used == nodes_in(nodes->chunk_count))
		add_chunk(nodes);
	return nodes->used++;
}

void
nodes_put_back(struct nodes *nodes, uint32_t entry)
{
	struct node *node = node_at(nodes, entry);

	state_put(node, GONE);
	node->next = nodes->free;
	nodes->free = entry;
}
