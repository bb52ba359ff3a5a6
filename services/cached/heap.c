/*
 * heap: see heap.h.
 *
 * Two-level segregated fit (Masmano, Ripoll, Crespo and Real, ECRTS 2004): free blocks in lists by size, 64
 * lists for each power of two and one for each size below 512; two words of bits say which have any. A block
 * that is freed joins its neighbours at once. Both take the same short time whatever there is.
 *
 *	region:  its head | block | block | ... | a head of size 0
 *	block:   size and flags:8 | what it holds; while free: next, previous ... size:8
 *
 * Memory comes in regions of a half of what there is, a megabyte at least and 32 at most, so that a small
 * cache takes little; those of eight and more are in large pages.
 */
#include "heap.h"

#include <assert.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/arena.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IS_WATCHED 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define IS_WATCHED 1
#endif
#ifndef IS_WATCHED
#define IS_WATCHED 0
#endif

#define LIST_BITS    6u
#define LISTS        (1u << LIST_BITS)
#define SMALL_BITS   9u /* below 2^9 each size has a list */
#define LEVELS       25u
#define PAGE         4096u
#define LARGE_PAGE   (2u << 20)
#define REGION_LEAST (1u << 20)
#define REGION_MOST  (32u << 20)
#define REGION_LARGE (8u << 20)

#define IS_FREE    1u
#define AFTER_FREE 2u /* the block before is free, and its size lies before this one's head */
#define IS_FIRST   4u /* in its region */
#define FLAGS      7u

struct block {
	/* Size, this word included, and flags. Its owner may ask for the size while a neighbour is freed. */
	_Atomic size_t head;
	/* While free. */
	struct block *next, *previous;
};

#define BLOCK_LEAST (sizeof(struct block) + sizeof(size_t))

struct region {
	struct region *next, *previous;
	size_t bytes;
};

struct heap {
	pthread_mutex_t lock;   /* guards all */
	uint32_t levels;        /* which have a list that is not empty, */
	uint64_t lists[LEVELS]; /* and which of theirs */
	struct block *first[LEVELS][LISTS];
	struct region *regions;
	struct region *spare; /* one in which nothing is; the next such one is unmapped */
	size_t used, mapped;
};

struct heap *
heap_new(void)
{
	struct heap *heap = mem_alloc(sizeof(*heap));

	pthread_mutex_init(&heap->lock, NULL);
	return heap;
}

void
heap_free(struct heap *heap)
{
	if (!heap)
		return;
	for (struct region *region = heap->regions, *next; region; region = next) {
		next = region->next;
		(void)munmap(region, region->bytes);
	}
	pthread_mutex_destroy(&heap->lock);
	mem_free(heap);
}

/* ---- blocks ---- */

static size_t
flags_of(const struct block *block)
{
	return atomic_load_explicit(&block->head, memory_order_relaxed) & FLAGS;
}

static size_t
size_of(const struct block *block)
{
	return atomic_load_explicit(&block->head, memory_order_relaxed) & ~(size_t)FLAGS;
}

static void
put_head(struct block *block, size_t size, size_t flags)
{
	atomic_store_explicit(&block->head, size | flags, memory_order_relaxed);
}

static struct block *
at_offset(const struct block *block, size_t offset)
{
	return (struct block *)((uintptr_t)block + offset);
}

static struct block *
after(const struct block *block)
{
	return at_offset(block, size_of(block));
}

/* The one before, which is free. */
static struct block *
before(const struct block *block)
{
	return (struct block *)((uintptr_t)block - ((const size_t *)block)[-1]);
}

/* ---- lists ---- */

struct list {
	unsigned level, at;
};

static struct list
list_of(size_t size)
{
	if (size < 1u << SMALL_BITS)
		return (struct list){0, (unsigned)size / HEAP_ALIGNMENT};
	unsigned bits = 63u - (unsigned)__builtin_clzl(size);
	return (struct list){bits - SMALL_BITS + 1, (unsigned)(size >> (bits - LIST_BITS)) & (LISTS - 1)};
}

static void
insert(struct heap *heap, struct block *block)
{
	struct list list = list_of(size_of(block));
	struct block **first = &heap->first[list.level][list.at];

	block->next = *first;
	block->previous = NULL;
	if (*first)
		(*first)->previous = block;
	*first = block;
	heap->lists[list.level] |= UINT64_C(1) << list.at;
	heap->levels |= 1u << list.level;
}

static void
take_out(struct heap *heap, struct block *block)
{
	struct list list = list_of(size_of(block));

	if (block->next)
		block->next->previous = block->previous;
	if (block->previous)
		block->previous->next = block->next;
	else
		heap->first[list.level][list.at] = block->next;
	if (heap->first[list.level][list.at])
		return;
	heap->lists[list.level] &= ~(UINT64_C(1) << list.at);
	if (!heap->lists[list.level])
		heap->levels &= ~(1u << list.level);
}

/* A block of the first list of which any has the size; NULL: there is none. */
static struct block *
find(const struct heap *heap, size_t size)
{
	if (size >= 1u << SMALL_BITS)
		size += ((size_t)1 << (63u - (unsigned)__builtin_clzl(size) - LIST_BITS)) - 1;
	struct list list = list_of(size);
	uint64_t lists = heap->lists[list.level] & ~UINT64_C(0) << list.at;
	if (!lists) {
		uint32_t levels = heap->levels & ~UINT32_C(1) << list.level;
		if (!levels)
			return NULL;
		list.level = (unsigned)__builtin_ctz(levels);
		lists = heap->lists[list.level];
	}
	return heap->first[list.level][__builtin_ctzl(lists)];
}

/* Makes a free block of these bytes known to its neighbour and to its list. */
static void
set_free(struct heap *heap, struct block *block, size_t size, size_t flags)
{
	put_head(block, size, flags | IS_FREE);
	struct block *next = after(block);
	put_head(next, size_of(next), flags_of(next) | AFTER_FREE);
	((size_t *)next)[-1] = size;
	insert(heap, block);
}

/* ---- regions ---- */

static struct region *
region_of(const struct block *first)
{
	return (struct region *)((uintptr_t)first - sizeof(struct region));
}

static struct block *
first_of(const struct region *region)
{
	return (struct block *)((uintptr_t)region + sizeof(*region));
}

static size_t
round_up(size_t size, size_t to)
{
	return (size + to - 1) / to * to;
}

static size_t
region_bytes(const struct heap *heap, size_t least)
{
	size_t bytes = REGION_LEAST;

	while (bytes < REGION_MOST && bytes < heap->mapped / 2)
		bytes *= 2;
	least += sizeof(struct region) + sizeof(size_t);
	return bytes >= least ? bytes : round_up(least, bytes);
}

/* Aligned to large pages if it is to lie in those. */
static void *
map_region(size_t bytes)
{
	bool is_large = bytes >= REGION_LARGE;
	size_t spare = is_large ? LARGE_PAGE : 0;
	void *mapped = mmap(NULL, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mapped == MAP_FAILED)
		return mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	if (!is_large)
		return mapped;
	uintptr_t at = (uintptr_t)mapped, begin = round_up(at, LARGE_PAGE);
	if (begin > at)
		(void)munmap(mapped, begin - at);
	if (at + spare > begin)
		(void)munmap((void *)(begin + bytes), at + spare - begin);
	/* Where the kernel has none or may not, pages stay as they are. */
	(void)madvise((void *)begin, bytes, MADV_HUGEPAGE);
	return (void *)begin;
}

/* Its only block, which is free. */
static struct block *
add_region(struct heap *heap, size_t least)
{
	size_t bytes = region_bytes(heap, least);
	struct region *region = map_region(bytes);

	*region = (struct region){.next = heap->regions, .bytes = bytes};
	if (heap->regions)
		heap->regions->previous = region;
	heap->regions = region;
	heap->mapped += bytes;
	set_free(heap, first_of(region), bytes - sizeof(*region) - sizeof(size_t), IS_FIRST);
	return first_of(region);
}

static void
remove_region(struct heap *heap, struct region *region)
{
	if (region->next)
		region->next->previous = region->previous;
	*(region->previous ? &region->previous->next : &heap->regions) = region->next;
	heap->mapped -= region->bytes;
	(void)munmap(region, region->bytes);
}

/* ---- allocating ---- */

static struct block *
alloc_block(struct heap *heap, size_t size)
{
	struct block *block = find(heap, size);

	if (!block)
		block = add_region(heap, size);
	take_out(heap, block);
	if (heap->spare && block == first_of(heap->spare))
		heap->spare = NULL;
	size_t all = size_of(block), flags = flags_of(block) & IS_FIRST;
	if (all - size >= BLOCK_LEAST) {
		put_head(block, size, flags);
		set_free(heap, after(block), all - size, 0);
	} else {
		put_head(block, all, flags);
		struct block *next = after(block);
		put_head(next, size_of(next), flags_of(next) & ~(size_t)AFTER_FREE);
	}
	heap->used += size_of(block);
	return block;
}

void *
heap_alloc(struct heap *heap, size_t size)
{
	if (IS_WATCHED)
		return mem_alloc(size > HEAP_LEAST ? size : HEAP_LEAST);
	assert(size <= UINT32_MAX);
	size = round_up(size + HEAP_BLOCK_BYTES, HEAP_ALIGNMENT);
	pthread_mutex_lock(&heap->lock);
	struct block *block = alloc_block(heap, size > BLOCK_LEAST ? size : BLOCK_LEAST);
	pthread_mutex_unlock(&heap->lock);
	return &block->next;
}

/* Joins a block, which is in no list, with its neighbours that are free. */
static void
free_block(struct heap *heap, struct block *block)
{
	size_t size = size_of(block);
	struct block *next = after(block);

	heap->used -= size;
	if (flags_of(next) & IS_FREE) {
		take_out(heap, next);
		size += size_of(next);
	}
	if (flags_of(block) & AFTER_FREE) {
		block = before(block);
		take_out(heap, block);
		size += size_of(block);
	}
	bool is_all = (flags_of(block) & IS_FIRST) && size_of(at_offset(block, size)) == 0;
	if (is_all && heap->spare) {
		remove_region(heap, region_of(block));
		return;
	}
	set_free(heap, block, size, flags_of(block) & IS_FIRST);
	if (is_all)
		heap->spare = region_of(block);
}

static struct block *
block_of(const void *memory)
{
	return (struct block *)((uintptr_t)memory - HEAP_BLOCK_BYTES);
}

void
heap_release(struct heap *heap, void *memory)
{
	if (IS_WATCHED || !memory) {
		mem_free(memory);
		return;
	}
	pthread_mutex_lock(&heap->lock);
	free_block(heap, block_of(memory));
	pthread_mutex_unlock(&heap->lock);
}

size_t
heap_block_size(const void *memory)
{
	if (IS_WATCHED)
		return malloc_usable_size((void *)(uintptr_t)memory);
	return size_of(block_of(memory)) - HEAP_BLOCK_BYTES;
}

/* ---- giving back ---- */

/* Its ends are in use: what it says of itself. */
static void
trim_block(const struct block *block)
{
	uintptr_t begin = round_up((uintptr_t)block + sizeof(*block), PAGE);
	uintptr_t end = ((uintptr_t)after(block) - sizeof(size_t)) / PAGE * PAGE;

	if (end > begin)
		(void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static void
trim_level(const struct heap *heap, unsigned level)
{
	for (unsigned at = 0; at < LISTS; at++)
		for (const struct block *block = heap->first[level][at]; block; block = block->next)
			trim_block(block);
}

/* Large pages first: the kernel would make new ones of what is left of them, and fill them up. */
void
heap_trim(struct heap *heap)
{
	pthread_mutex_lock(&heap->lock);
	for (struct region *region = heap->regions; region; region = region->next)
		(void)madvise(region, region->bytes, MADV_NOHUGEPAGE);
	for (unsigned level = list_of(PAGE).level; level < LEVELS; level++)
		trim_level(heap, level);
	pthread_mutex_unlock(&heap->lock);
}

size_t
heap_used(struct heap *heap)
{
	pthread_mutex_lock(&heap->lock);
	size_t used = heap->used;
	pthread_mutex_unlock(&heap->lock);
	return used;
}

size_t
heap_mapped(struct heap *heap)
{
	pthread_mutex_lock(&heap->lock);
	size_t mapped = heap->mapped;
	pthread_mutex_unlock(&heap->lock);
	return mapped;
}
