/*
 * bus: logical calls a second with 64 and 256 outstanding, each call alone and together, over ipc, tcp and
 * inproc, beside nng's bare REQ and REP with the same payload and as many outstanding, and a ping-pong over a
 * unix socket pair. Absolute rates vary from host to host: the
 * ratios count. The server is another process (this program, started as `bus_bench serve ADDRESS`),
 * except over inproc.
 */
#include "bare_nng.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/pool.h"
#include "bus/server.h"
#include "child.h"
#include "port_turn.h"

#define RUN_MS      500u
#define OUTSTANDING 256

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

static void
must(struct status st)
{
	if (status_ok(&st))
		return;
	fprintf(stderr, "bus_bench: %s\n", st.message);
	exit(1);
}

static void
echo(void *arg, struct server_call *calls[], size_t count)
{
	(void)arg;
	for (size_t i = 0; i < count; i++) {
		calls[i]->reply.has_payload = true;
		calls[i]->reply.payload = calls[i]->call->payload;
		server_call_end(calls[i]);
	}
}

static struct server *
serve(const char *address, struct bus **bus)
{
	struct server *server;
	must(bus_new(&(struct bus_options){.node = "server"}, bus));
	must(server_new(*bus, &(struct server_options){.address = address, .handle = echo}, &server));
	return server;
}

struct load {
	struct pool *pool;
	struct port *port;
	struct pool_call calls[OUTSTANDING];
	size_t outstanding, ended, failed;
	bool is_fast, is_over;
};

static void
send_one(struct load *load, struct pool_call *call)
{
	static const char payload[64];
	void (*done)(struct pool_call *) = call->done;
	*call = (struct pool_call){.method = 1,
	                           .is_fast = load->is_fast,
	                           .deadline_mono_ms = now_ms() + 5000,
	                           .payload = payload,
	                           .payload_size = sizeof(payload),
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
	load->ended++;
	load->failed += call->code != STATUS_OK;
	if (!load->is_over)
		send_one(load, call);
}

/* Calls a second, in thousands. */
static double
measure(struct bus *bus, const char *address, bool is_fast, size_t outstanding)
{
	static struct load load;
	memset(&load, 0, sizeof(load));
	load.is_fast = is_fast;
	must(pool_new(bus, &(struct pool_options){.service = "bench", .address = address}, &load.pool));
	must(port_new(bus, &load.port));
	for (uint64_t end = now_ms() + 5000; pool_healthy(load.pool) == 0;) {
		if (now_ms() > end)
			must(status_make(STATUS_UNAVAILABLE, "%s did not answer", address));
		(void)poll(NULL, 0, 2);
	}
	for (size_t i = 0; i < outstanding; i++) {
		load.calls[i].done = ended;
		send_one(&load, &load.calls[i]);
	}
	port_flush(load.port);
	uint64_t start = now_ms();
	while (now_ms() < start + RUN_MS)
		port_turn(load.port);
	double rate = (double)load.ended / (double)(now_ms() - start);
	load.is_over = true;
	while (load.outstanding > 0)
		port_turn(load.port);
	if (load.failed)
		fprintf(stderr, "bus_bench: %zu calls failed\n", load.failed);
	port_free(load.port);
	pool_free(load.pool);
	return rate;
}

static pid_t
start_server(const char *address)
{
	pid_t pid = child_fork();
	if (pid == 0) {
		execl("/proc/self/exe", "bus_bench", "serve", address, (char *)NULL);
		_exit(1);
	}
	return pid;
}

/* Round trips a second, in thousands, with one message at a time. */
static double
ping_pong(void)
{
	int fds[2];
	char buffer[128] = {0};
	size_t count = 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		exit(1);
	pid_t pid = child_fork();
	if (pid == 0) {
		ssize_t size;
		close(fds[0]);
		while ((size = read(fds[1], buffer, sizeof(buffer))) > 0 &&
		       write(fds[1], buffer, (size_t)size) == size)
			;
		_exit(0);
	}
	close(fds[1]);
	uint64_t start = now_ms();
	while (now_ms() < start + RUN_MS && write(fds[0], buffer, 64) == 64 &&
	       read(fds[0], buffer, sizeof(buffer)) > 0)
		count++;
	double rate = (double)count / (double)(now_ms() - start);
	close(fds[0]);
	waitpid(pid, NULL, 0);
	return rate;
}

/* Medians of three turns of all that is compared. */
#define TURNS 3

static int
by_value(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

static double
median(double values[TURNS])
{
	qsort(values, TURNS, sizeof(values[0]), by_value);
	return values[TURNS / 2];
}

static void
report(struct bus *bus, const char *name, const char *address, const char *nng_address)
{
	static const size_t LEVELS[] = {64, 256};
	for (size_t i = 0; i < 2; i++) {
		double bare[TURNS], alone[TURNS], together[TURNS];
		for (int turn_of = 0; turn_of < TURNS; turn_of++) {
			bare[turn_of] = bare_measure(nng_address, LEVELS[i], RUN_MS);
			alone[turn_of] = measure(bus, address, false, LEVELS[i]);
			together[turn_of] = measure(bus, address, true, LEVELS[i]);
		}
		double of_nng = median(bare);
		printf("%-7s %4zu  %8.0f  %8.0f  %8.0f  %10.2f  %12.2f\n", name, LEVELS[i], of_nng, median(alone),
		       median(together), median(alone) / of_nng, median(together) / of_nng);
	}
}

static pid_t
start_bare(const char *address)
{
	pid_t pid = child_fork();
	if (pid == 0) {
		execl("/proc/self/exe", "bus_bench", "bare", address, (char *)NULL);
		_exit(1);
	}
	return pid;
}

static void
serve_forever(const char *kind, const char *address)
{
	struct bus *bus;

	if (strcmp(kind, "serve") == 0)
		(void)serve(address, &bus);
	else
		bare_serve(address);
	for (;;)
		pause();
}

#define TCP      "tcp://127.0.0.1:47391"
#define BARE_TCP "tcp://127.0.0.1:47392"

int
main(int argc, char **argv)
{
	struct bus *bus, *server_bus;
	char ipc[64], bare_ipc[80];

	if (argc == 3)
		serve_forever(argv[1], argv[2]);
	double ping = ping_pong();
	snprintf(ipc, sizeof(ipc), "ipc:///tmp/corbel-bus-bench.%ld", (long)getpid());
	snprintf(bare_ipc, sizeof(bare_ipc), "%s.bare", ipc);
	const pid_t servers[] = {start_server(ipc), start_server(TCP), start_bare(bare_ipc),
	                         start_bare(BARE_TCP)};
	must(bus_new(&(struct bus_options){.node = "caller"}, &bus));
	usleep(300000); /* until nng's bare servers listen, too */
	printf("unix socket ping-pong, one at a time: %.0f k/s\n", ping);
	printf("                   k/s       k/s       k/s       ratio         ratio\n");
	printf("         out  bare nng     alone  together  alone/bare together/bare\n");
	report(bus, "ipc", ipc, bare_ipc);
	report(bus, "tcp", TCP, BARE_TCP);
	for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++) {
		kill(servers[i], SIGKILL);
		waitpid(servers[i], NULL, 0);
	}
	unlink(ipc + 6);
	unlink(bare_ipc + 6);
	struct server *server = serve("inproc://bench", &server_bus);
	bare_serve("inproc://bare");
	report(bus, "inproc", "inproc://bench", "inproc://bare");
	server_free(server, 100);
	bus_free(server_bus);
	bus_free(bus);
	return 0;
}
