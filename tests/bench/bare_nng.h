/*
 * bare_nng: what nng's REQ and REP do with the bus's payload and nothing else: as many contexts as calls are
 * outstanding, each sending again when its reply has come. For bus_bench.
 */
#ifndef CORBEL_BENCH_BARE_NNG_H
#define CORBEL_BENCH_BARE_NNG_H

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BARE_CONTEXTS 256
#define BARE_PAYLOAD  64

struct bare_context {
	nng_ctx ctx;
	nng_aio *aio;
	bool is_receiving;
	struct bare *bare;
};

struct bare {
	nng_socket socket;
	struct bare_context contexts[BARE_CONTEXTS];
	_Atomic size_t done;
	_Atomic bool is_over;
};

static inline void
bare_must(int rv, const char *what)
{
	if (rv == 0)
		return;
	fprintf(stderr, "bus_bench: %s: %s\n", what, nng_strerror(rv));
	exit(1);
}

/* ---- the server ---- */

static inline void
bare_echo(void *arg)
{
	struct bare_context *context = arg;

	if (nng_aio_result(context->aio) != 0)
		return;
	context->is_receiving = !context->is_receiving;
	if (context->is_receiving) {
		nng_ctx_recv(context->ctx, context->aio);
	} else {
		/* The message that came goes back as it is. */
		nng_ctx_send(context->ctx, context->aio);
	}
}

static inline void
bare_serve(const char *address)
{
	static struct bare server;

	bare_must(nng_rep0_open(&server.socket), "rep");
	bare_must(nng_listen(server.socket, address, NULL, 0), address);
	for (size_t i = 0; i < BARE_CONTEXTS; i++) {
		struct bare_context *context = &server.contexts[i];
		context->is_receiving = true;
		bare_must(nng_ctx_open(&context->ctx, server.socket), "context");
		bare_must(nng_aio_alloc(&context->aio, bare_echo, context), "aio");
		nng_ctx_recv(context->ctx, context->aio);
	}
}

/* ---- the caller ---- */

static inline void
bare_send(struct bare_context *context)
{
	nng_msg *message;

	bare_must(nng_msg_alloc(&message, BARE_PAYLOAD), "message");
	memset(nng_msg_body(message), 0, BARE_PAYLOAD);
	context->is_receiving = false;
	nng_aio_set_msg(context->aio, message);
	nng_ctx_send(context->ctx, context->aio);
}

static inline void
bare_next(void *arg)
{
	struct bare_context *context = arg;

	if (nng_aio_result(context->aio) != 0)
		return;
	if (!context->is_receiving) {
		context->is_receiving = true;
		nng_ctx_recv(context->ctx, context->aio);
		return;
	}
	nng_msg_free(nng_aio_get_msg(context->aio));
	atomic_fetch_add(&context->bare->done, 1);
	if (!atomic_load(&context->bare->is_over))
		bare_send(context);
}

/* Round trips in `run_ms`, in thousands a second. */
static inline double
bare_measure(const char *address, size_t outstanding, unsigned run_ms)
{
	struct bare *bare = calloc(1, sizeof(*bare));
	const struct timespec warm = {.tv_nsec = 100000000},
	                      run = {.tv_sec = run_ms / 1000, .tv_nsec = (long)(run_ms % 1000) * 1000000};

	bare_must(nng_req0_open(&bare->socket), "req");
	bare_must(nng_dial(bare->socket, address, NULL, 0), address);
	for (size_t i = 0; i < outstanding; i++) {
		struct bare_context *context = &bare->contexts[i];
		context->bare = bare;
		bare_must(nng_ctx_open(&context->ctx, bare->socket), "context");
		bare_must(nng_ctx_set_ms(context->ctx, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE), "resend");
		bare_must(nng_aio_alloc(&context->aio, bare_next, context), "aio");
		bare_send(context);
	}
	nanosleep(&warm, NULL);
	size_t before = atomic_load(&bare->done);
	nanosleep(&run, NULL);
	double rate = (double)(atomic_load(&bare->done) - before) / run_ms;
	atomic_store(&bare->is_over, true);
	nanosleep(&warm, NULL);
	for (size_t i = 0; i < outstanding; i++) {
		nng_aio_stop(bare->contexts[i].aio);
		nng_aio_free(bare->contexts[i].aio);
	}
	nng_close(bare->socket);
	free(bare);
	return rate;
}

#endif
