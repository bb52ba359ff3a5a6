/*
 * heap: blocks of any size, in memory of its own that comes in large pages.
 *
 * A million entries lie on more pages than the processor remembers places of, so that a look-up waits for the
 * page tables, too; on large pages it does not. The process's own allocator gives those to its first thread
 * only, and only when the environment says so.
 *
 * Any thread may call, one at a time is served. Under AddressSanitizer blocks are the process's, so that it
 * watches them.
 */
#ifndef CORBEL_CACHED_HEAP_H
#define CORBEL_CACHED_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap;

#define HEAP_ALIGNMENT   8u  /* of blocks */
#define HEAP_BLOCK_BYTES 8u  /* that a block takes beside what it holds */
#define HEAP_LEAST       24u /* that it holds, at least */

struct heap *heap_new(void);
/* Its blocks, too. */
void heap_free(struct heap *heap);

/* Never NULL; not zeroed. */
void *heap_alloc(struct heap *heap, size_t size);
/* NULL is let pass. */
void heap_release(struct heap *heap, void *memory);
/* What a block holds: what was asked for, or a little more. */
size_t heap_block_size(const void *memory);

/* Gives the system back what lies in whole pages between blocks. What there is of large pages is given up by
 * that: the next ones come with new memory. */
void heap_trim(struct heap *heap);
/* Bytes of blocks, what they take beside what they hold included, and of address space. */
size_t heap_used(struct heap *heap);
size_t heap_mapped(struct heap *heap);

#endif
