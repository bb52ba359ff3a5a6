/*
 * arena: a list of blocks, the newest being filled from its start.
 *
 * Blocks are of the usual size; a request larger than that gets a block of its own. arena_reset()
 * keeps one block of the usual size, so that a steady load allocates nothing.
 */
#include "base/arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 16u

struct arena_block {
	struct arena_block *next;
	size_t used;
	size_t size;
	_Alignas(ALIGNMENT) unsigned char bytes[];
};

static void
die_of_memory(size_t size)
{
	fprintf(stderr, "out of memory: cannot allocate %zu bytes\n", size);
	abort();
}

void *
mem_alloc(size_t size)
{
	void *pointer = calloc(1, size ? size : 1);
	if (!pointer)
		die_of_memory(size);
	return pointer;
}

void *
mem_array(size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes))
		die_of_memory(SIZE_MAX);
	return mem_alloc(bytes);
}

void *
mem_resize(void *old, size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes))
		die_of_memory(SIZE_MAX);
	void *pointer = realloc(old, bytes ? bytes : 1);
	if (!pointer)
		die_of_memory(bytes);
	return pointer;
}

char *
mem_strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = mem_alloc(size);
	memcpy(copy, text, size);
	return copy;
}

char *
mem_printf(const char *format, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, format);
	int written = vasprintf(&text, format, args);
	va_end(args);
	if (written < 0)
		die_of_memory(0);
	return text;
}

void
mem_free(void *pointer)
{
	free(pointer);
}

void
arena_init(struct arena *arena, size_t block_bytes, size_t ceiling_bytes)
{
	arena->head = NULL;
	arena->used_bytes = 0;
	arena->block_bytes = block_bytes;
	arena->ceiling_bytes = ceiling_bytes;
}

void
arena_reset(struct arena *arena)
{
	struct arena_block *kept = NULL;
	struct arena_block *block = arena->head;

	while (block) {
		struct arena_block *next = block->next;
		if (!kept && block->size == arena->block_bytes)
			kept = block;
		else
			free(block);
		block = next;
	}
	if (kept) {
		kept->next = NULL;
		kept->used = 0;
	}
	arena->head = kept;
	arena->used_bytes = 0;
}

void
arena_fini(struct arena *arena)
{
	struct arena_block *block = arena->head;
	while (block) {
		struct arena_block *next = block->next;
		free(block);
		block = next;
	}
	arena->head = NULL;
	arena->used_bytes = 0;
}

/* A block for `size` bytes. One larger than usual goes behind the head, whose rest stays usable. */
static struct arena_block *
block_for(struct arena *arena, size_t size)
{
	size_t capacity = size > arena->block_bytes ? size : arena->block_bytes;
	struct arena_block *block = malloc(sizeof(*block) + capacity);

	if (!block)
		die_of_memory(capacity);
	block->used = 0;
	block->size = capacity;
	if (size > arena->block_bytes && arena->head) {
		block->next = arena->head->next;
		arena->head->next = block;
	} else {
		block->next = arena->head;
		arena->head = block;
	}
	return block;
}

static void *
take(struct arena *arena, size_t size)
{
	size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	struct arena_block *block = arena->head;

	assert(rounded >= size);
	if (!block || block->size - block->used < rounded)
		block = block_for(arena, rounded);
	void *pointer = block->bytes + block->used;
	block->used += rounded;
	arena->used_bytes += rounded;
	return pointer;
}

void *
arena_alloc_raw(struct arena *arena, size_t size)
{
	return take(arena, size);
}

void *
arena_alloc(struct arena *arena, size_t size)
{
	void *pointer = take(arena, size);
	memset(pointer, 0, size);
	return pointer;
}

/* True when `size` more bytes, rounded, stay below the ceiling. */
static int
fits(const struct arena *arena, size_t size)
{
	size_t room = arena->ceiling_bytes > arena->used_bytes ? arena->ceiling_bytes - arena->used_bytes : 0;
	return room >= ALIGNMENT && size <= room - (ALIGNMENT - 1);
}

void *
arena_try(struct arena *arena, size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes) || !fits(arena, bytes))
		return NULL;
	return arena_alloc(arena, bytes);
}

void *
arena_memdup(struct arena *arena, const void *bytes, size_t length)
{
	void *copy = take(arena, length);
	if (length)
		memcpy(copy, bytes, length);
	return copy;
}

char *
arena_strndup(struct arena *arena, const char *text, size_t length)
{
	char *copy = take(arena, length + 1);
	if (length)
		memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *
arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *
arena_vprintf(struct arena *arena, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int length = vsnprintf(NULL, 0, format, args);
	assert(length >= 0);
	char *text = take(arena, (size_t)length + 1);
	vsnprintf(text, (size_t)length + 1, format, again);
	va_end(again);
	return text;
}

char *
arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = arena_vprintf(arena, format, args);
	va_end(args);
	return text;
}

static void *
allocator_alloc(void *arena, size_t size)
{
	struct arena *self = arena;
	return fits(self, size) ? take(self, size) : NULL;
}

static void
allocator_free(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer;
}

struct arena_allocator
arena_allocator(struct arena *arena)
{
	return (struct arena_allocator){.alloc = allocator_alloc, .free = allocator_free, .arena = arena};
}
