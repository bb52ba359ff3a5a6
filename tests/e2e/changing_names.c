/*
 * A resolver that lies, put before the real one by LD_PRELOAD: the first answer for changing.test is
 * 127.0.0.1, every later one 127.0.0.2.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <string.h>

typedef int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int
getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
	static atomic_uint asked;
	resolve real;
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");

	memcpy(&real, &symbol, sizeof(real));
	if (name && strcmp(name, "changing.test") == 0)
		name = atomic_fetch_add(&asked, 1) == 0 ? "127.0.0.1" : "127.0.0.2";
	return real(name, port, hints, out);
}
