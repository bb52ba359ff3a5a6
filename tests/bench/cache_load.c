/*
 * cache_load: gets of 100-byte values, for cache_wire_bench.sh: over Corbel's bus, or of memcached or Redis
 * by their own protocols.
 *
 *   cache_load bus ADDRESS SECONDS [single|alone|many|shared|tagged]
 *   cache_load memcached PORT SECONDS
 *   cache_load redis PORT SECONDS
 *
 * Over the bus 256 gets are under way, which it puts together; or each travels alone; or 128 keys are asked
 * for in a call; or, with Redis behind, in a namespace that keeps next to nothing in memory, so that Redis is
 * asked. To memcached and Redis there are two connections with 128 gets under way on each: one command of
 * memcached's, or 128 of Redis's in a row.
 *
 * Writes a thousand keys, then asks for them in turn. Prints the gets a second, and those that found nothing.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "bus/pool.h"
#include "corbel/contract.gen.h"
#include "port_turn.h"

#define KEYS        1000u
#define VALUE       100u
#define OUTSTANDING 256u
#define CONNECTIONS 2u
#define BATCH       (OUTSTANDING / CONNECTIONS)
#define KEY_BYTES   32u

static void
must(bool is_so, const char *what)
{
	if (is_so)
		return;
	perror(what);
	exit(1);
}

static uint64_t
now_ms(void)
{
	return clock_mono_ms(clock_system());
}

static char *
key_of(unsigned number, char key[KEY_BYTES])
{
	snprintf(key, KEY_BYTES, "user/%08x/views", number * 2654435761u);
	return key;
}

static void
tell(uint64_t gets, uint64_t missed, uint64_t since_ms)
{
	printf("%.0f %lu\n", (double)gets * 1000 / (double)(now_ms() - since_ms), (unsigned long)missed);
}

/* ---- the bus ---- */

struct load {
	struct pool *pool;
	struct port *port;
	struct pool_call calls[OUTSTANDING];
	uint8_t requests[KEYS][BATCH * 32];
	size_t sizes[KEYS];
	uint64_t sent, ended, missed;
	size_t outstanding;
	bool is_over, is_fast, is_tagged;
	char *space;
	const struct api_method *method;
	size_t keys_each; /* in a request */
	Corbel__Bus__Principal principal;
};

static size_t
pack_many(char *space, unsigned first, uint8_t *out)
{
	char keys[BATCH][KEY_BYTES], *pointers[BATCH];
	Corbel__V1__CacheGetManyRequest request = CORBEL__V1__CACHE_GET_MANY_REQUEST__INIT;

	for (unsigned i = 0; i < BATCH; i++)
		pointers[i] = key_of((first + i) % KEYS, keys[i]);
	request.namespace_ = space;
	request.keys = pointers;
	request.n_keys = BATCH;
	must(protobuf_c_message_get_packed_size(&request.base) <= BATCH * 32, "size");
	return protobuf_c_message_pack(&request.base, out);
}

static void
pack_requests(struct load *load)
{
	char key[KEY_BYTES];

	for (unsigned i = 0; i < KEYS && load->keys_each > 1; i++)
		load->sizes[i] = pack_many(load->space, i * BATCH, load->requests[i]);
	if (load->keys_each > 1)
		return;
	for (unsigned i = 0; i < KEYS; i++) {
		Corbel__V1__CacheGetRequest request = CORBEL__V1__CACHE_GET_REQUEST__INIT;
		request.namespace_ = load->space;
		request.key = key_of(i, key);
		must(protobuf_c_message_get_packed_size(&request.base) <= sizeof(load->requests[i]), "size");
		load->sizes[i] = protobuf_c_message_pack(&request.base, load->requests[i]);
	}
}

static void
call_and_wait(struct load *load, const struct api_method *method, const ProtobufCMessage *request,
              struct arena *arena)
{
	uint8_t bytes[512];
	struct pool_call call = {.method = method->id,
	                         .is_fast = method->is_fast,
	                         .deadline_mono_ms = now_ms() + 5000,
	                         .principal = &load->principal,
	                         .payload = bytes,
	                         .payload_size = protobuf_c_message_pack(request, bytes)};
	struct status st = pool_call_wait(load->pool, &call, arena);

	if (status_ok(&st) || st.code == STATUS_ALREADY_EXISTS)
		return;
	fprintf(stderr, "cache_load: %s\n", st.message);
	exit(1);
}

/* One entry is all that memory keeps of it. */
static void
define(struct load *load, struct arena *arena)
{
	Corbel__V1__CreateCacheNamespaceRequest request = CORBEL__V1__CREATE_CACHE_NAMESPACE_REQUEST__INIT;
	Corbel__V1__CacheNamespace definition = CORBEL__V1__CACHE_NAMESPACE__INIT;

	definition.name = load->space;
	definition.has_max_entries = true;
	definition.max_entries = 1;
	request.namespace_ = &definition;
	call_and_wait(load, CACHE_NAMESPACES_CREATE, &request.base, arena);
}

static void
invalidate(struct load *load, struct arena *arena)
{
	Corbel__V1__CacheInvalidateRequest request = CORBEL__V1__CACHE_INVALIDATE_REQUEST__INIT;
	char tag[] = "another", *tags[] = {tag};

	request.namespace_ = load->space;
	request.tags = tags;
	request.n_tags = 1;
	call_and_wait(load, CACHE_INVALIDATE, &request.base, arena);
}

static void
set(struct load *load, unsigned number, struct arena *arena)
{
	Corbel__V1__CacheSetRequest request = CORBEL__V1__CACHE_SET_REQUEST__INIT;
	char key[KEY_BYTES];
	uint8_t value[VALUE] = "x";
	char tag[] = "one", *tags[] = {tag};

	request.tags = tags;
	request.n_tags = load->is_tagged;
	request.namespace_ = load->space;
	request.key = key_of(number, key);
	request.has_value = request.has_ttl_ms = true;
	request.value = (ProtobufCBinaryData){VALUE, value};
	request.ttl_ms = 3600000;
	call_and_wait(load, CACHE_SET, &request.base, arena);
}

static void
send_one(struct load *load, struct pool_call *call)
{
	void (*done)(struct pool_call *) = call->done;
	unsigned number = (unsigned)(load->sent++ % KEYS);

	*call = (struct pool_call){.method = load->method->id,
	                           .is_fast = load->is_fast,
	                           .deadline_mono_ms = now_ms() + 5000,
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
	bool is_found =
	    call->code == STATUS_OK && call->reply && call->reply->payload.len > VALUE * load->keys_each;

	load->outstanding--;
	load->ended += load->keys_each;
	load->missed += is_found ? 0 : load->keys_each;
	if (!load->is_over)
		send_one(load, call);
}

static void
run_bus(const char *address, uint64_t run_ms, const char *way)
{
	static struct load load;
	char tenant[] = "bench", scope[] = "cache.*", *scopes[] = {scope}, kept[] = "pages", unkept[] = "unkept",
	     tagged[] = "tagged";
	struct bus *bus;
	struct arena arena;
	struct status st = bus_new(&(struct bus_options){.node = "load", .clock = clock_system()}, &bus);

	load.principal = (Corbel__Bus__Principal)CORBEL__BUS__PRINCIPAL__INIT;
	load.principal.tenant = tenant;
	load.principal.scopes = scopes;
	load.principal.n_scopes = 1;
	load.keys_each = strcmp(way, "many") == 0 ? BATCH : 1;
	load.is_tagged = strcmp(way, "tagged") == 0;
	load.is_fast = load.is_tagged || strcmp(way, "single") == 0 || strcmp(way, "shared") == 0;
	load.space = load.is_tagged ? tagged : strcmp(way, "shared") == 0 ? unkept : kept;
	load.method = load.keys_each > 1 ? CACHE_GET_MANY : CACHE_GET;
	must(status_ok(&st), "bus");
	st = pool_new(bus, &(struct pool_options){.service = "cached", .address = address}, &load.pool);
	must(status_ok(&st), "pool");
	for (uint64_t end = now_ms() + 10000; pool_healthy(load.pool) == 0; (void)poll(NULL, 0, 2))
		must(now_ms() < end, "cached does not answer");
	arena_init(&arena, 65536, SIZE_MAX);
	pack_requests(&load);
	if (load.space != kept)
		define(&load, &arena);
	for (unsigned i = 0; i < KEYS; i++)
		set(&load, i, &arena);
	if (load.is_tagged)
		invalidate(&load, &arena);
	st = port_new(bus, &load.port);
	must(status_ok(&st), "port");
	uint64_t start = now_ms();
	for (size_t i = 0; i < (load.keys_each > 1 ? 4u : OUTSTANDING); i++) {
		load.calls[i].done = ended;
		send_one(&load, &load.calls[i]);
	}
	port_flush(load.port);
	while (now_ms() < start + run_ms)
		port_turn(load.port);
	tell(load.ended, load.missed, start);
	load.is_over = true;
	while (load.outstanding > 0)
		port_turn(load.port);
	port_free(load.port);
	pool_free(load.pool);
	bus_free(bus);
	arena_fini(&arena);
}

/* ---- memcached and Redis ---- */

/* Gets that go out together: as text, made beforehand, and how long their answers are. */
struct group {
	char *text;
	size_t length, answer;
};

struct protocol {
	int (*set)(char *out, size_t size, const char *key, const char *value);
	const char *set_answer;
	void (*get)(struct group *group, unsigned first);
};

static int
memcached_set(char *out, size_t size, const char *key, const char *value)
{
	return snprintf(out, size, "set %s 0 0 %u\r\n%s\r\n", key, VALUE, value);
}

/* One command for all of them, which memcached does fastest. */
static void
memcached_get(struct group *group, unsigned first)
{
	char key[KEY_BYTES];

	group->length = (size_t)sprintf(group->text, "get");
	for (unsigned i = 0; i < BATCH; i++) {
		key_of((first + i) % KEYS, key);
		group->length += (size_t)sprintf(group->text + group->length, " %s", key);
		group->answer += strlen("VALUE  0 100\r\n\r\n") + strlen(key) + VALUE;
	}
	group->length += (size_t)sprintf(group->text + group->length, "\r\n");
	group->answer += strlen("END\r\n");
}

static int
redis_set(char *out, size_t size, const char *key, const char *value)
{
	return snprintf(out, size, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n%s\r\n", strlen(key), key, VALUE,
	                value);
}

static void
redis_get(struct group *group, unsigned first)
{
	char key[KEY_BYTES];

	for (unsigned i = 0; i < BATCH; i++) {
		key_of((first + i) % KEYS, key);
		group->length += (size_t)sprintf(group->text + group->length, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n",
		                                 strlen(key), key);
		group->answer += strlen("$100\r\n\r\n") + VALUE;
	}
}

static const struct protocol MEMCACHED = {memcached_set, "STORED\r\n", memcached_get};
static const struct protocol REDIS = {redis_set, "+OK\r\n", redis_get};

static int
dial(const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
	                              .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
	                              .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
	return fd;
}

static void
send_all(int fd, const char *bytes, size_t length)
{
	for (ssize_t sent; length > 0; bytes += sent, length -= (size_t)sent)
		must((sent = send(fd, bytes, length, MSG_NOSIGNAL)) > 0, "send");
}

static void
read_all(int fd, size_t length)
{
	static char buffer[1 << 16];
	for (ssize_t got; length > 0; length -= (size_t)got)
		must((got = recv(fd, buffer, length < sizeof(buffer) ? length : sizeof(buffer), 0)) > 0, "recv");
}

/* Each connection always has a group under way; answers of hits have a known length, so a miss would stall.
 */
static void
run_protocol(const struct protocol *protocol, const char *port, uint64_t run_ms)
{
	enum { GROUPS = KEYS / BATCH };
	char key[KEY_BYTES], value[VALUE + 1], text[256];
	struct group groups[GROUPS];
	int fds[CONNECTIONS];
	uint64_t gets = 0;

	memset(value, 'x', VALUE);
	value[VALUE] = '\0';
	for (unsigned i = 0; i < CONNECTIONS; i++)
		fds[i] = dial(port);
	for (unsigned i = 0; i < KEYS; i++) {
		int length = protocol->set(text, sizeof(text), key_of(i, key), value);
		send_all(fds[0], text, (size_t)length);
		read_all(fds[0], strlen(protocol->set_answer));
	}
	for (unsigned i = 0; i < GROUPS; i++) {
		groups[i] = (struct group){.text = mem_alloc(BATCH * 128u)};
		protocol->get(&groups[i], i * BATCH);
	}
	uint64_t start = now_ms();
	for (unsigned i = 0; i < CONNECTIONS; i++)
		send_all(fds[i], groups[i].text, groups[i].length);
	for (unsigned n = 0; now_ms() < start + run_ms; n++, gets += BATCH) {
		const struct group *next = &groups[(n + CONNECTIONS) % GROUPS];
		read_all(fds[n % CONNECTIONS], groups[n % GROUPS].answer);
		send_all(fds[n % CONNECTIONS], next->text, next->length);
	}
	tell(gets, 0, start);
}

int
main(int argc, char **argv)
{
	must(argc >= 4, "cache_load bus|memcached|redis WHERE SECONDS");
	uint64_t run_ms = strtoull(argv[3], NULL, 10) * 1000;

	if (strcmp(argv[1], "bus") == 0)
		run_bus(argv[2], run_ms, argc > 4 ? argv[4] : "single");
	else
		run_protocol(strcmp(argv[1], "redis") == 0 ? &REDIS : &MEMCACHED, argv[2], run_ms);
	return EXIT_SUCCESS;
}
