/*
 * batch: calls that leave the bus's thread, and their arena. A steady load reuses a few of them.
 */
#include <stdlib.h>

#include "daemon/call_internal.h"

#define FREE_MAX      64
#define BLOCK_BYTES   (16 * 1024)
#define CEILING_BYTES (64 * 1024 * 1024) /* unpacked request and reply, together */

static struct batch *
pop_free(struct dispatcher *dispatcher)
{
	pthread_mutex_lock(&dispatcher->lock);
	struct batch *batch = dispatcher->free_batches;
	if (batch) {
		dispatcher->free_batches = batch->next;
		dispatcher->free_count--;
	}
	pthread_mutex_unlock(&dispatcher->lock);
	return batch;
}

struct batch *
batch_new(struct dispatcher *dispatcher, size_t calls)
{
	struct batch *batch = pop_free(dispatcher);

	if (!batch) {
		batch = mem_alloc(sizeof(*batch));
		batch->dispatcher = dispatcher;
		arena_init(&batch->arena, BLOCK_BYTES, CEILING_BYTES);
	}
	atomic_store_explicit(&batch->open, (unsigned)calls, memory_order_relaxed);
	return batch;
}

static void
batch_free(struct batch *batch)
{
	arena_fini(&batch->arena);
	mem_free(batch);
}

void
batch_leave(struct batch *batch)
{
	struct dispatcher *dispatcher = batch->dispatcher;

	/* acq_rel: whoever resets the arena sees all that others did in it */
	if (atomic_fetch_sub_explicit(&batch->open, 1, memory_order_acq_rel) != 1)
		return;
	arena_reset(&batch->arena);
	pthread_mutex_lock(&dispatcher->lock);
	bool is_kept = dispatcher->free_count < FREE_MAX;
	if (is_kept) {
		batch->next = dispatcher->free_batches;
		dispatcher->free_batches = batch;
		dispatcher->free_count++;
	}
	pthread_mutex_unlock(&dispatcher->lock);
	if (!is_kept)
		batch_free(batch);
}

void
batch_free_all(struct dispatcher *dispatcher)
{
	while (dispatcher->free_batches) {
		struct batch *batch = dispatcher->free_batches;
		dispatcher->free_batches = batch->next;
		batch_free(batch);
	}
}
