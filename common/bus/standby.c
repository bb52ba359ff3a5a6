/*
 * standby: see standby.h.
 *
 * nng runs callbacks on two threads at least, and wakes one that waits for each step of a message: when a
 * head has been read, when a body has, when a message has left. Most of these steps end on one of the two
 * threads itself, which takes the next one as soon as it returns; the other wakes for it, finds nothing, and
 * sleeps again. On one or two processors that costs more than it ever helps, so there one of the two waits
 * inside a callback and hears of nothing.
 *
 * With a single thread, a callback that waits for what another does would wait for ever, which is why nng
 * starts two. So the one that waits aside looks up now and then: when the callback that runs is the one that
 * ran before, it goes to work. The bus's timer sends it aside again when nothing has needed it for a while;
 * should the timer itself be held up by a callback, it stays at work.
 *
 *   aside --a callback lasts from one look to the next--> at work --AT_WORK_MS, and no callback runs--> aside
 */
#include "standby.h"

#include "base/arena.h"
#include "base/monotonic.h"
#include "bus/threads.h"

#define LOOK_MS    50u
#define AT_WORK_MS 1000u

struct standby {
	struct bus *bus;
	struct ticker ticker;
	nng_aio *aio;                   /* its callback is where the thread waits */
	_Atomic uint64_t entered, left; /* callbacks, in all */
	uint64_t at_work_ms;            /* since when it is not aside; 0: not yet seen; the timer's */
	pthread_mutex_t lock;
	pthread_cond_t end;
	bool is_aside, is_over; /* guarded by `lock` */
};

/* What ran at two looks. */
struct sight {
	uint64_t entered, left;
};

static struct sight
look(const struct standby *standby)
{
	struct sight sight;

	/* In this order: a callback that ends between the two is taken for one that runs, but not for the same
	 * one. */
	sight.left = atomic_load(&standby->left);
	sight.entered = atomic_load(&standby->entered);
	return sight;
}

static bool
is_held_up(const struct sight *before, const struct sight *now)
{
	return now->entered != now->left && now->entered == before->entered && now->left == before->left;
}

static void
wait_aside(void *arg)
{
	struct standby *standby = arg;
	struct sight before, now = look(standby);

	pthread_mutex_lock(&standby->lock);
	do {
		struct timespec at = monotonic_in_ms(LOOK_MS);
		before = now;
		pthread_cond_timedwait(&standby->end, &standby->lock, &at);
		now = look(standby);
	} while (!standby->is_over && !is_held_up(&before, &now));
	standby->is_aside = false;
	pthread_mutex_unlock(&standby->lock);
}

static void
send_aside(struct standby *standby)
{
	pthread_mutex_lock(&standby->lock);
	standby->is_aside = true;
	pthread_mutex_unlock(&standby->lock);
	if (nng_aio_begin(standby->aio))
		nng_aio_finish(standby->aio, 0);
}

bool
standby_is_aside(struct standby *standby)
{
	pthread_mutex_lock(&standby->lock);
	bool is_aside = standby->is_aside;
	pthread_mutex_unlock(&standby->lock);
	return is_aside;
}

static void
tick(void *arg, uint64_t now_ms)
{
	struct standby *standby = arg;
	struct sight sight = look(standby);

	if (standby_is_aside(standby))
		standby->at_work_ms = 0;
	else if (standby->at_work_ms == 0)
		standby->at_work_ms = now_ms;
	else if (now_ms - standby->at_work_ms >= AT_WORK_MS && sight.entered == sight.left)
		send_aside(standby);
}

struct standby *
standby_new(struct bus *bus)
{
	if (threads_count() > 2)
		return NULL;
	struct standby *standby = mem_alloc(sizeof(*standby));
	if (nng_aio_alloc(&standby->aio, wait_aside, standby) != 0) {
		mem_free(standby);
		return NULL;
	}
	standby->bus = bus;
	pthread_mutex_init(&standby->lock, NULL);
	monotonic_cond_init(&standby->end);
	standby->ticker = (struct ticker){.tick = tick, .arg = standby};
	bus_add_ticker(bus, &standby->ticker);
	return standby;
}

void
standby_free(struct standby *standby)
{
	if (!standby)
		return;
	bus_remove_ticker(standby->bus, &standby->ticker);
	pthread_mutex_lock(&standby->lock);
	standby->is_over = true;
	pthread_cond_signal(&standby->end);
	pthread_mutex_unlock(&standby->lock);
	nng_aio_free(standby->aio); /* waits until the thread has left */
	pthread_cond_destroy(&standby->end);
	pthread_mutex_destroy(&standby->lock);
	mem_free(standby);
}

void
standby_enter(struct standby *standby)
{
	if (standby)
		atomic_fetch_add_explicit(&standby->entered, 1, memory_order_relaxed);
}

void
standby_leave(struct standby *standby)
{
	if (standby)
		atomic_fetch_add_explicit(&standby->left, 1, memory_order_relaxed);
}
