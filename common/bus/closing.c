/*
 * closing: nng_close() with an end.
 *
 * nng 1.5.2 loses a receive when a connection is closed here between the arrival of a message's header
 * and that of its body (nni_aio_begin() refuses the second read without completing the first's owner), and
 * its one reaper thread then waits for it for ever, and so does every nng_close() after. It takes a peer
 * that sends at that very moment. So each close runs on a thread of its own and is waited for only so
 * long; what it leaves behind belongs to nng, and goes with the process. On a machine that is starved a close
 * takes long, too, and its connections are reaped after all: by then whoever was called back about them may
 * be gone, so nobody is any more from when the close begins.
 */
#include <nng/nng.h>
#include <pthread.h>
#include <time.h>

#include "base/arena.h"
#include "base/monotonic.h"
#include "bus_internal.h"

#define CLOSE_WAIT_MS 1000

struct closing {
	nng_socket socket;
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool is_ended, is_left; /* guarded by `lock`; who comes second frees */
};

static void
closing_free(struct closing *closing)
{
	pthread_cond_destroy(&closing->ended);
	pthread_mutex_destroy(&closing->lock);
	mem_free(closing);
}

static void *
closing_main(void *arg)
{
	struct closing *closing = arg;

	nng_close(closing->socket);
	pthread_mutex_lock(&closing->lock);
	closing->is_ended = true;
	bool is_left = closing->is_left;
	pthread_cond_signal(&closing->ended);
	pthread_mutex_unlock(&closing->lock);
	if (is_left)
		closing_free(closing);
	return NULL;
}

static struct closing *
closing_new(nng_socket socket)
{
	struct closing *closing = mem_alloc(sizeof(*closing));

	closing->socket = socket;
	pthread_mutex_init(&closing->lock, NULL);
	monotonic_cond_init(&closing->ended);
	return closing;
}

/* False when it has not ended in time; it is then the thread's. */
static bool
closing_await(struct closing *closing, uint64_t most_ms)
{
	struct timespec until = monotonic_in_ms(most_ms);
	int rv = 0;

	pthread_mutex_lock(&closing->lock);
	while (!closing->is_ended && rv == 0)
		rv = pthread_cond_timedwait(&closing->ended, &closing->lock, &until);
	bool is_ended = closing->is_ended;
	closing->is_left = !is_ended;
	pthread_mutex_unlock(&closing->lock);
	return is_ended;
}

void
socket_close(struct bus *bus, nng_socket socket)
{
	struct closing *closing = closing_new(socket);
	pthread_t thread;

	nng_pipe_notify(socket, NNG_PIPE_EV_ADD_POST, NULL, NULL);
	nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, NULL, NULL);
	if (pthread_create(&thread, NULL, closing_main, closing) != 0) {
		nng_close(socket);
		closing_free(closing);
		return;
	}
	/* Once the reaper stands, it stands for all: the others get no second of their own. */
	if (!closing_await(closing, atomic_load(&bus->is_stuck) ? 0 : CLOSE_WAIT_MS)) {
		pthread_detach(thread);
		if (!atomic_exchange(&bus->is_stuck, true))
			log_warn(bus->log, "a connection did not close; what it holds goes with the process",
			         LOG_I64("waited_ms", CLOSE_WAIT_MS));
		return;
	}
	pthread_join(thread, NULL);
	closing_free(closing);
}
