/*
 * readers: memory that is read without a lock, and freed when nobody can be reading it any more.
 *
 * A thread says when it is reading by a counter of its own, which is odd meanwhile; nobody else writes to
 * that line. What a writer took out of a structure it retires: some of it is gathered, then the writer looks
 * at every thread's counter, waits for those that were reading to be done, and frees it (epoch-based
 * reclamation: Fraser, "Practical lock-freedom", 2004). So a reader never waits, and a writer only for as
 * long as a reading takes, once for many entries.
 *
 * That a counter is seen before what its thread reads next would need a barrier for each reading. Linux'
 * membarrier(2) puts one into all threads when a writer asks for it; where there is none readers pay.
 *
 * A reading takes no lock that somebody holds who retires.
 */
#ifndef CORBEL_CACHED_READERS_H
#define CORBEL_CACHED_READERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap;
struct l1;
struct readers;

/* What a thread found last, to be noted as used when it looks the next time (l1_use()). */
struct use {
	struct l1 *l1; /* NULL: none */
	uint32_t number, hash;
};

/* A thread's, kept until it ends; the next thread may get it then. */
struct reader {
	_Atomic uint64_t turns; /* odd: reading */
	bool needs_barrier;
	_Atomic bool is_taken;
	unsigned number; /* from 0 on, in the order they came */
	struct use use;
	struct reader *next;
} __attribute__((aligned(64)));

/* What is retired is the heap's, which lives longer. */
struct readers *readers_new(struct heap *heap);
/* Nobody reads. Frees what was retired. */
void readers_free(struct readers *readers);

struct heap *readers_heap(const struct readers *readers);
/* The calling thread's. */
struct reader *readers_own(struct readers *readers);

/* What is found from here on stays until reader_leave(). No reading within a reading. */
static inline void
reader_enter(struct reader *reader)
{
	uint64_t turns = atomic_load_explicit(&reader->turns, memory_order_relaxed) + 1;

	if (reader->needs_barrier) {
		(void)atomic_exchange(&reader->turns, turns);
	} else {
		atomic_store_explicit(&reader->turns, turns, memory_order_relaxed);
		atomic_signal_fence(memory_order_seq_cst);
	}
}

static inline void
reader_leave(struct reader *reader)
{
	uint64_t turns = atomic_load_explicit(&reader->turns, memory_order_relaxed) + 1;
	atomic_store_explicit(&reader->turns, turns, memory_order_release);
}

/* Takes the memory, which no reader finds from now on. At most 64 pieces and 64 KiB, or one
 * larger piece, wait to be freed. May wait for readers. */
void readers_retire(struct readers *readers, void *memory, size_t bytes);
/* Frees what waits. */
void readers_flush(struct readers *readers);

#endif
