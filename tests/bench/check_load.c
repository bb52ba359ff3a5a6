/*
 * check_load: checks of a limit over the bus, for tests/stack/scaling.py: without HTTP, so that what replicas
 * of ratelimitd decide is not bounded by who asks.
 *
 *   check_load ADDRESSES TENANT LIMIT OUTSTANDING SECONDS
 *
 * Keeps so many checks under way, of a thousand keys, at whichever replica has fewest. Prints the checks a
 * second, and those that were not answered.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bus/pool.h"
#include "corbel/contract.gen.h"
#include "port_turn.h"

#define KEYS        1000u
#define OUTSTANDING 8192u
#define DEADLINE_MS 5000u

struct load {
	struct pool *pool;
	struct port *port;
	struct pool_call calls[OUTSTANDING];
	uint8_t requests[KEYS][256];
	size_t sizes[KEYS];
	uint64_t sent, ended, failed;
	size_t outstanding;
	bool is_over;
	Corbel__Bus__Principal principal;
};

static void
must(bool is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "check_load: %s\n", what);
	exit(1);
}

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

static void
pack_requests(struct load *load, char *limit)
{
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32];
		Corbel__V1__LimitCheck check = CORBEL__V1__LIMIT_CHECK__INIT, *checks[] = {&check};
		Corbel__V1__CheckRequest request = CORBEL__V1__CHECK_REQUEST__INIT;

		snprintf(key, sizeof(key), "user-%u", i);
		check.limit = limit;
		check.key = key;
		request.checks = checks;
		request.n_checks = 1;
		must(protobuf_c_message_get_packed_size(&request.base) <= sizeof(load->requests[i]),
		     "the limit's name is too long");
		load->sizes[i] = protobuf_c_message_pack(&request.base, load->requests[i]);
	}
}

static void
send_one(struct load *load, struct pool_call *call)
{
	void (*done)(struct pool_call *) = call->done;
	unsigned number = (unsigned)(load->sent++ % KEYS);

	*call = (struct pool_call){.method = RATELIMITS_CHECK->id,
	                           .is_fast = true,
	                           .deadline_mono_ms = now_ms() + DEADLINE_MS,
	                           .principal = &load->principal,
	                           .payload = load->requests[number],
	                           .payload_size = load->sizes[number],
	                           .done = done,
	                           .user = load};
	load->outstanding++;
	port_call(load->port, load->pool, call);
}

static void
ended(struct pool_call *call)
{
	struct load *load = call->user;

	load->outstanding--;
	load->ended += call->code == STATUS_OK;
	load->failed += call->code != STATUS_OK;
	if (!load->is_over)
		send_one(load, call);
}

static void
run(struct load *load, size_t outstanding, uint64_t run_ms)
{
	uint64_t start = now_ms();

	for (size_t i = 0; i < outstanding; i++) {
		load->calls[i].done = ended;
		send_one(load, &load->calls[i]);
	}
	port_flush(load->port);
	while (now_ms() < start + run_ms)
		port_turn(load->port);
	printf("%.0f %lu\n", (double)load->ended * 1000 / (double)(now_ms() - start),
	       (unsigned long)load->failed);
	load->is_over = true;
	while (load->outstanding > 0)
		port_turn(load->port);
}

static size_t
replicas_of(const char *addresses)
{
	size_t count = 1;

	for (; *addresses; addresses++)
		count += *addresses == ',';
	return count;
}

int
main(int argc, char **argv)
{
	static struct load load;
	char scope[] = "*", *scopes[] = {scope};
	struct bus *bus;

	must(argc == 6, "ADDRESSES TENANT LIMIT OUTSTANDING SECONDS");
	size_t outstanding = strtoul(argv[4], NULL, 10);
	must(outstanding > 0 && outstanding <= OUTSTANDING, "as many as there are places for");
	load.principal = (Corbel__Bus__Principal)CORBEL__BUS__PRINCIPAL__INIT;
	load.principal.tenant = argv[2];
	load.principal.scopes = scopes;
	load.principal.n_scopes = 1;
	pack_requests(&load, argv[3]);
	struct status st = bus_new(&(struct bus_options){.node = "check-load", .clock = clock_system()}, &bus);
	must(status_ok(&st), "the bus does not start");
	st = pool_new(bus, &(struct pool_options){.service = "ratelimitd", .address = argv[1]}, &load.pool);
	must(status_ok(&st), "the addresses are none");
	for (uint64_t end = now_ms() + 10000; pool_healthy(load.pool) < replicas_of(argv[1]);
	     (void)poll(NULL, 0, 2))
		must(now_ms() < end, "not every replica answers");
	st = port_new(bus, &load.port);
	must(status_ok(&st), "no descriptor");
	run(&load, outstanding, strtoull(argv[5], NULL, 10) * 1000);
	port_free(load.port);
	pool_free(load.pool);
	bus_free(bus);
	return EXIT_SUCCESS;
}
