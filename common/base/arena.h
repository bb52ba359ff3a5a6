/*
 * arena: memory that is freed all at once.
 *
 * A request's memory comes from its arena: handlers free nothing, and nothing outlives the reply by
 * accident. One thread at a time uses an arena.
 *
 * Running out of the process's memory is fatal (mem_alloc aborts with a message): a daemon that
 * cannot allocate restarts clean. Input from outside decides no size without a bound: an arena has
 * a ceiling, and arena_try() answers NULL beyond it, which its caller turns into an error.
 */
#ifndef CORBEL_BASE_ARENA_H
#define CORBEL_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
	struct arena_block *head; /* newest block, the one being filled */
	size_t used_bytes;        /* handed out since the last reset */
	size_t block_bytes;       /* size of an ordinary block */
	size_t ceiling_bytes;     /* arena_try() fails beyond it */
};

/* `block_bytes` is the usual block's size, allocated on first use and kept by arena_reset(). */
void arena_init(struct arena *arena, size_t block_bytes, size_t ceiling_bytes);
/* Forgets everything handed out, keeps one block for the next use. */
void arena_reset(struct arena *arena);
void arena_fini(struct arena *arena);

/* Zeroed memory aligned for any type; never NULL. Exceeding the ceiling here is a programming
 * error: sizes that input decides go through arena_try(). */
void *arena_alloc(struct arena *arena, size_t size);
/* The same, not zeroed. */
void *arena_alloc_raw(struct arena *arena, size_t size);
/* Zeroed memory, or NULL when the ceiling would be passed or count * size overflows. */
void *arena_try(struct arena *arena, size_t count, size_t size);

char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
void *arena_memdup(struct arena *arena, const void *bytes, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#define ARENA_NEW(arena, type)          ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (size_t)(count)))

/* protobuf-c's allocator over an arena: free is a no-op; allocations obey the ceiling, so that
 * unpacking hostile bytes fails instead of growing. `ProtobufCAllocator` is its type; the void
 * pointer keeps this leaf free of protobuf-c's header. Lives as long as the arena. */
struct arena_allocator {
	void *(*alloc)(void *arena, size_t size);
	void (*free)(void *arena, void *pointer);
	void *arena;
};
struct arena_allocator arena_allocator(struct arena *arena);

/* Process memory that never fails: aborts with a message when there is none. */
void *mem_alloc(size_t size);               /* zeroed */
void *mem_array(size_t count, size_t size); /* zeroed, overflow aborts */
void *mem_resize(void *old, size_t count, size_t size);
char *mem_strdup(const char *text);
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *pointer);

#endif
