/*
 * address: see address.h.
 */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "base/text.h"

static void
set_v4(struct address *out, const void *bytes)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->bytes, bytes, 4);
}

static void
set_v6(struct address *out, const uint8_t bytes[16])
{
	static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
	if (memcmp(bytes, MAPPED, sizeof(MAPPED)) == 0) {
		set_v4(out, bytes + 12);
		return;
	}
	out->is_v6 = true;
	memcpy(out->bytes, bytes, 16);
}

bool
address_from_socket(const struct sockaddr *socket, struct address *out)
{
	if (socket->sa_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, socket, sizeof(v4));
		set_v4(out, &v4.sin_addr);
		return true;
	}
	if (socket->sa_family != AF_INET6)
		return false;
	struct sockaddr_in6 v6;
	memcpy(&v6, socket, sizeof(v6));
	set_v6(out, v6.sin6_addr.s6_addr);
	return true;
}

bool
address_from_text(const char *text, size_t length, struct address *out)
{
	char host[64];
	uint8_t bytes[16];

	if (length > 0 && text[0] == '[') {
		const char *end = memchr(text, ']', length);
		if (!end)
			return false;
		text++;
		length = (size_t)(end - text);
	} else {
		const char *colon = memchr(text, ':', length);
		if (colon && !memchr(colon + 1, ':', length - (size_t)(colon + 1 - text)))
			length = (size_t)(colon - text);
	}
	if (length == 0 || length >= sizeof(host))
		return false;
	snprintf(host, sizeof(host), "%.*s", (int)length, text);
	if (inet_pton(AF_INET, host, bytes) == 1) {
		set_v4(out, bytes);
		return true;
	}
	if (inet_pton(AF_INET6, host, bytes) != 1)
		return false;
	set_v6(out, bytes);
	return true;
}

static void
clear_behind(uint8_t *bytes, size_t size, unsigned prefix)
{
	for (size_t i = 0; i < size; i++) {
		unsigned kept = prefix > i * 8 ? prefix - (unsigned)i * 8 : 0;
		if (kept < 8)
			bytes[i] = (uint8_t)(bytes[i] & ~(0xFFu >> kept));
	}
}

void
address_mask(struct address *address, unsigned ipv6_prefix)
{
	if (address->is_v6)
		clear_behind(address->bytes, 16, ipv6_prefix);
}

/* ---- networks ---- */

struct network {
	struct address base;
	unsigned prefix;
};

struct networks {
	size_t count;
	struct network items[];
};

static bool
network_parse(const char *text, struct network *out)
{
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	uint64_t prefix;

	memset(out, 0, sizeof(*out));
	if (!address_from_text(text, length, &out->base))
		return false;
	unsigned bits = out->base.is_v6 ? 128 : 32;
	out->prefix = bits;
	if (slash) {
		if (!text_to_u64(slash + 1, strlen(slash + 1), &prefix) || prefix > bits)
			return false;
		out->prefix = (unsigned)prefix;
	}
	clear_behind(out->base.bytes, bits / 8, out->prefix);
	return true;
}

struct networks *
networks_new(const char *const *texts, const char **bad)
{
	size_t count = 0;
	while (texts[count])
		count++;
	struct networks *networks = mem_alloc(sizeof(*networks) + count * sizeof(struct network));
	for (; networks->count < count; networks->count++) {
		if (network_parse(texts[networks->count], &networks->items[networks->count]))
			continue;
		*bad = texts[networks->count];
		networks_free(networks);
		return NULL;
	}
	return networks;
}

void
networks_free(struct networks *networks)
{
	mem_free(networks);
}

bool
networks_have(const struct networks *networks, const struct address *address)
{
	for (size_t i = 0; i < networks->count; i++) {
		const struct network *network = &networks->items[i];
		struct address masked = *address;
		if (network->base.is_v6 != address->is_v6)
			continue;
		clear_behind(masked.bytes, address->is_v6 ? 16 : 4, network->prefix);
		if (memcmp(masked.bytes, network->base.bytes, 16) == 0)
			return true;
	}
	return false;
}

struct address
address_of_client(const struct networks *proxies, const struct address *peer, const char *forwarded)
{
	struct address client = *peer;
	size_t end = forwarded ? strlen(forwarded) : 0;

	/* From the right: each address was added by the one before it in the list's end, so the first that
	 * is no proxy of ours is the last we can believe. */
	while (end > 0 && networks_have(proxies, &client)) {
		size_t start = end;
		while (start > 0 && forwarded[start - 1] != ',')
			start--;
		const char *item = forwarded + start;
		size_t length = end - start;
		while (length > 0 && (*item == ' ' || *item == '\t')) {
			item++;
			length--;
		}
		while (length > 0 && (item[length - 1] == ' ' || item[length - 1] == '\t'))
			length--;
		struct address next;
		if (!address_from_text(item, length, &next))
			break;
		client = next;
		end = start > 0 ? start - 1 : 0;
	}
	return client;
}

/* ---- limits ---- */

#define SETS 2048u
#define WAYS 4u

struct bucket {
	struct address address;
	bool is_used;
	uint64_t full_at_ms; /* when the bucket will be full again: the form that needs one number */
};

struct address_table {
	uint64_t per_minute;
	struct bucket sets[SETS][WAYS];
};

struct address_table *
address_table_new(uint64_t per_minute)
{
	struct address_table *table = mem_alloc(sizeof(*table));
	table->per_minute = per_minute;
	return table;
}

void
address_table_free(struct address_table *table)
{
	mem_free(table);
}

/* The address's bucket; a new one takes the place of the fullest of its set, which has least to forget. */
static struct bucket *
bucket_of(struct address_table *table, const struct address *address)
{
	struct bucket *set = table->sets[hash_table64(address->bytes, 16) % SETS], *oldest = &set[0];
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].is_used && set[i].address.is_v6 == address->is_v6 &&
		    memcmp(set[i].address.bytes, address->bytes, 16) == 0)
			return &set[i];
		if (set[i].full_at_ms < oldest->full_at_ms)
			oldest = &set[i];
	}
	*oldest = (struct bucket){.address = *address, .is_used = true};
	return oldest;
}

static bool
take(struct address_table *table, const struct address *address, uint64_t now_ms, bool takes,
     uint64_t *retry_ms)
{
	if (table->per_minute == 0)
		return true;
	struct bucket *bucket = bucket_of(table, address);
	uint64_t step = (60000 + table->per_minute - 1) / table->per_minute;
	uint64_t full_at = bucket->full_at_ms > now_ms ? bucket->full_at_ms : now_ms;

	/* Whole steps, or the rounding of a step would cost the last request of the minute. */
	uint64_t depth = step * table->per_minute;
	if (full_at + step > now_ms + depth) {
		*retry_ms = full_at + step - now_ms - depth;
		return false;
	}
	if (takes)
		bucket->full_at_ms = full_at + step;
	return true;
}

bool
address_take(struct address_table *table, const struct address *address, uint64_t now_ms, uint64_t *retry_ms)
{
	return take(table, address, now_ms, true, retry_ms);
}

bool
address_has(struct address_table *table, const struct address *address, uint64_t now_ms, uint64_t *retry_ms)
{
	return take(table, address, now_ms, false, retry_ms);
}
