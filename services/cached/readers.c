/*
 * readers: see readers.h.
 */
#include "readers.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/arena.h"
#include "heap.h"

#define RETIRED_MAX   64u
#define RETIRED_BYTES 65536u
#define SPINS         64u /* before the processor is left to somebody else: a reading takes less */

struct retired {
	void *pieces[RETIRED_MAX];
	size_t count, bytes;
};

struct readers {
	struct heap *heap;
	pthread_key_t own; /* a thread's reader */
	struct reader *_Atomic first;
	bool needs_barrier;   /* the system has none to put into other threads */
	pthread_mutex_t lock; /* guards what follows, and the list's growth */
	unsigned count;
	struct retired retired;
};

/* ThreadSanitizer knows nothing of such barriers. */
static bool
has_membarrier(void)
{
#ifdef __SANITIZE_THREAD__
	return false;
#else
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

static void
give_back(void *reader)
{
	atomic_store_explicit(&((struct reader *)reader)->is_taken, false, memory_order_release);
}

struct readers *
readers_new(struct heap *heap)
{
	struct readers *readers = mem_alloc(sizeof(*readers));

	if (pthread_key_create(&readers->own, give_back) != 0)
		abort(); /* more than a thousand kinds of what threads own */
	pthread_mutex_init(&readers->lock, NULL);
	readers->heap = heap;
	readers->needs_barrier = !has_membarrier();
	return readers;
}

void
readers_free(struct readers *readers)
{
	if (!readers)
		return;
	readers_flush(readers);
	pthread_key_delete(readers->own);
	for (struct reader *reader = atomic_load(&readers->first), *next; reader; reader = next) {
		next = reader->next;
		free(reader);
	}
	pthread_mutex_destroy(&readers->lock);
	mem_free(readers);
}

struct heap *
readers_heap(const struct readers *readers)
{
	return readers->heap;
}

/* ---- threads ---- */

static struct reader *
take_free(struct readers *readers)
{
	for (struct reader *reader = atomic_load(&readers->first); reader; reader = reader->next) {
		bool is_taken = false;
		if (atomic_compare_exchange_strong(&reader->is_taken, &is_taken, true))
			return reader;
	}
	return NULL;
}

static struct reader *
add(struct readers *readers)
{
	struct reader *reader = aligned_alloc(_Alignof(struct reader), sizeof(*reader));

	if (!reader)
		return mem_alloc(SIZE_MAX / 2); /* reports and aborts */
	memset(reader, 0, sizeof(*reader));
	reader->needs_barrier = readers->needs_barrier;
	atomic_init(&reader->is_taken, true);
	pthread_mutex_lock(&readers->lock);
	reader->number = readers->count++;
	reader->next = atomic_load(&readers->first);
	atomic_store(&readers->first, reader);
	pthread_mutex_unlock(&readers->lock);
	return reader;
}

struct reader *
readers_own(struct readers *readers)
{
	struct reader *reader = pthread_getspecific(readers->own);

	if (reader)
		return reader;
	reader = take_free(readers);
	if (!reader)
		reader = add(readers);
	if (pthread_setspecific(readers->own, reader) != 0)
		mem_alloc(SIZE_MAX / 2); /* reports and aborts: there was no memory for it */
	return reader;
}

/* ---- waiting for them ---- */

/* Read by an exchange where readers write by one: whichever comes first is seen by the other. */
static uint64_t
turns_of(struct reader *reader)
{
	if (reader->needs_barrier)
		return atomic_fetch_add(&reader->turns, 0);
	return atomic_load_explicit(&reader->turns, memory_order_acquire);
}

static void
await(struct reader *reader)
{
	uint64_t turns = turns_of(reader);

	if (turns % 2 == 0)
		return;
	for (unsigned spins = 0; atomic_load_explicit(&reader->turns, memory_order_acquire) == turns;)
		if (++spins > SPINS)
			(void)sched_yield();
}

/* Until everybody who was reading is done. Whoever begins meanwhile finds nothing of what was retired; so
 * does a thread that is not in the list yet, for the lock that it got into it by was free after that was
 * retired. */
static void
await_all(const struct readers *readers)
{
	if (!readers->needs_barrier && syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		abort(); /* it is registered: cannot fail */
	for (struct reader *reader = atomic_load(&readers->first); reader; reader = reader->next)
		await(reader);
}

static void
free_retired(const struct readers *readers, const struct retired *retired)
{
	if (retired->count == 0)
		return;
	await_all(readers);
	for (size_t i = 0; i < retired->count; i++)
		heap_release(readers->heap, retired->pieces[i]);
}

void
readers_retire(struct readers *readers, void *memory, size_t bytes)
{
	struct retired taken;

	taken.count = 0;
	pthread_mutex_lock(&readers->lock);
	struct retired *retired = &readers->retired;
	retired->pieces[retired->count++] = memory;
	retired->bytes += bytes;
	if (retired->count == RETIRED_MAX || retired->bytes >= RETIRED_BYTES) {
		taken = *retired;
		retired->count = retired->bytes = 0;
	}
	pthread_mutex_unlock(&readers->lock);
	free_retired(readers, &taken);
}

void
readers_flush(struct readers *readers)
{
	pthread_mutex_lock(&readers->lock);
	struct retired taken = readers->retired;
	readers->retired.count = readers->retired.bytes = 0;
	pthread_mutex_unlock(&readers->lock);
	free_retired(readers, &taken);
}
