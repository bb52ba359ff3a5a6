/*
 * bus: what the parts of this folder share. nng's types stay in here.
 *
 * Lock order: bus->lock (timers, watches), then pool->lock, then port->lock. None is held while nng is
 * called to send, receive or close: nng may call back at once.
 */
#ifndef CORBEL_BUS_INTERNAL_H
#define CORBEL_BUS_INTERNAL_H

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "bus/bus.h"
#include "bus/pool.h"

#define BUS_URL_MAX       256
#define BUS_ADDRESSES_MAX 256
#define TICK_MS           50

/* Called by the bus's timer thread every TICK_MS. */
struct ticker {
	struct ticker *next;
	void (*tick)(void *arg, uint64_t now_ms);
	void *arg;
};

struct lookup;
struct replies;
struct standby;

/* An address whose host names are resolved again and again; `changed` gets all URLs it stands for, in one
 * thread at a time. */
struct watch {
	struct lookup *lookup; /* NULL: it holds no names */
	char *address;
	void (*changed)(void *arg, char urls[][BUS_URL_MAX], size_t count);
	void *arg;
};

struct bus {
	char *node;
	uint64_t epoch;
	struct log *log;
	struct metrics *metrics;
	const struct clock *clock;
	size_t message_max;
	uint32_t resolve_ms;
	char *tls_ca, *tls_cert, *tls_key;
	struct standby *standby; /* NULL: none */
	_Atomic bool is_stuck;   /* a socket of this process did not close: closing.c */

	pthread_mutex_t replies_lock; /* a leaf; guards the two below */
	struct replies *spare_replies;
	size_t spare_count;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t wake;
	struct ticker *tickers;
	bool is_stopping;
	bool is_ticking;            /* a callback runs: removal waits */
	struct port *idle_ports;    /* for pool_call_wait() */
	struct call_series *series; /* one a service that is called */
	pthread_t timer;
};

static inline uint64_t
bus_now_ms(const struct bus *bus)
{
	return clock_mono_ms(bus->clock);
}

void bus_add_ticker(struct bus *bus, struct ticker *ticker);
/* On return no tick of it runs or will run. */
void bus_remove_ticker(struct bus *bus, struct ticker *ticker);
/* Static URLs are reported before the return; names by a thread, with no lock held but its own. */
void bus_add_watch(struct bus *bus, struct watch *watch);
/* On return nothing of it is reported or will be. */
void bus_remove_watch(struct watch *watch);

/* Frees the ports kept for pool_call_wait(). */
void ports_free_idle(struct bus *bus);
/* Frees the memory kept for replies. */
void replies_free_spare(struct bus *bus);

struct status status_from_nng(int rv, const char *what);
/* Bounds and, for tls+tcp, certificates. */
struct status socket_configure(const struct bus *bus, nng_socket socket);
struct status listener_start(const struct bus *bus, nng_socket socket, const char *address,
                             char bound[BUS_URL_MAX]);

/* ---- dial.c ---- */
/* A dialer, of one thread at a time. */
struct dial {
	nng_dialer dialer;
	bool is_dialling;
	uint64_t again_ms; /* when it is replaced, if it has no connection then; 0: not yet looked at */
};
bool bus_is_tls(const char *url);
struct status dial_start(const struct bus *bus, nng_socket socket, const char *url, struct dial *dial);
/* Sees to it that there is a connection; called by the timer at each tick. */
void dial_tend(const struct bus *bus, nng_socket socket, const char *url, struct dial *dial,
               bool is_connected, uint64_t now_ms);

/* ---- tls.c ---- */
struct status listener_tls(const struct bus *bus, nng_listener listener);
/* `server_name` is what the listener's certificate has to say. */
struct status dialer_tls(const struct bus *bus, nng_dialer dialer, const char *server_name);
/* Returns within a second or so, closed or not; no callback of the socket's pipes comes after. The aios of
 * its operations have been stopped: that looks into the socket, which one that is left to close by itself may
 * free meanwhile. */
void socket_close(struct bus *bus, nng_socket socket);
/* Calls `each` for every URL of a comma-separated address. */
void address_each(const char *address, void (*each)(void *arg, const char *url, size_t length), void *arg);

#endif
