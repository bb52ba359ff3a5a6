/*
 * batch: calls that leave the bus's thread, and their arena. A steady load reuses a few of them, those of
 * calls that came together apart from those of lone ones, which take less memory.
 */
#include <stdlib.h>

#include "daemon/call_internal.h"

#define FREE_MAX      64
#define CEILING_BYTES (64 * 1024 * 1024) /* unpacked request and reply, together */

/* A block holds what a few dozen checks of limits need, and stays below what malloc maps and unmaps each
 * time. */
static const size_t BLOCK_BYTES[BATCH_KINDS] = {[BATCH_LONE] = 16 << 10, [BATCH_GATHERED] = 112 << 10};

static struct batch *
pop_free(struct dispatcher *dispatcher, enum batch_kind kind)
{
	struct free_batches *list = &dispatcher->free_batches[kind];

	pthread_mutex_lock(&dispatcher->lock);
	struct batch *batch = list->first;
	if (batch) {
		list->first = batch->next;
		list->count--;
	}
	pthread_mutex_unlock(&dispatcher->lock);
	return batch;
}

struct batch *
batch_new(struct dispatcher *dispatcher, enum batch_kind kind)
{
	struct batch *batch = pop_free(dispatcher, kind);

	if (!batch) {
		batch = mem_alloc(sizeof(*batch));
		batch->dispatcher = dispatcher;
		batch->kind = kind;
		arena_init(&batch->arena, BLOCK_BYTES[kind], CEILING_BYTES);
	}
	atomic_store_explicit(&batch->open, 1, memory_order_relaxed);
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
	struct free_batches *list = &dispatcher->free_batches[batch->kind];

	/* acq_rel: whoever resets the arena sees all that others did in it */
	if (atomic_fetch_sub_explicit(&batch->open, 1, memory_order_acq_rel) != 1)
		return;
	arena_reset(&batch->arena);
	pthread_mutex_lock(&dispatcher->lock);
	bool is_kept = list->count < FREE_MAX;
	if (is_kept) {
		batch->next = list->first;
		list->first = batch;
		list->count++;
	}
	pthread_mutex_unlock(&dispatcher->lock);
	if (!is_kept)
		batch_free(batch);
}

void
batch_free_all(struct dispatcher *dispatcher)
{
	for (size_t kind = 0; kind < BATCH_KINDS; kind++) {
		struct free_batches *list = &dispatcher->free_batches[kind];
		while (list->first) {
			struct batch *batch = list->first;
			list->first = batch->next;
			batch_free(batch);
		}
	}
}
