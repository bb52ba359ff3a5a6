/*
 * Any X-Forwarded-For list gives an address: the peer's when it is no proxy, and never one to the left of an
 * address that is no proxy.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "ingress/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_same(const struct address *a, const struct address *b)
{
	return a->is_v6 == b->is_v6 && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const PROXIES[] = {"10.0.0.0/8", "2001:db8::/32", NULL};
	static struct networks *proxies;
	struct address proxy, stranger, client;
	const char *bad;

	if (size > 8192)
		return 0;
	if (!proxies)
		proxies = networks_new(PROXIES, &bad);
	char *list = mem_printf("%.*s", (int)size, (const char *)data);
	char *behind = mem_printf("%s,192.0.2.1 , 10.9.9.9", list);
	assert(address_from_text("10.1.2.3", 8, &proxy) && address_from_text("192.0.2.1", 9, &stranger));
	client = address_of_client(proxies, &stranger, list);
	assert(is_same(&client, &stranger));
	client = address_of_client(proxies, &proxy, behind);
	assert(is_same(&client, &stranger));
	client = address_of_client(proxies, &proxy, list);
	address_mask(&client, 64);
	mem_free(behind);
	mem_free(list);
	return 0;
}
