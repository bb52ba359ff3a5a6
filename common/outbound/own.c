/*
 * own: see own.h. What listens is found among the process's descriptors, whoever opened it; a listener on any
 * address is reached by every address of the host.
 */
#include "outbound/own.h"

#include <dirent.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define LOOK_AGAIN_MS 1000

static bool
read_address(const struct sockaddr *address, struct in6_addr *out, uint16_t *port)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (address->sa_family == AF_INET6) {
		memcpy(&v6, address, sizeof(v6));
		*out = v6.sin6_addr;
		*port = v6.sin6_port;
		return true;
	}
	if (address->sa_family != AF_INET)
		return false;
	memcpy(&v4, address, sizeof(v4));
	*out = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
	memcpy(&out->s6_addr[12], &v4.sin_addr, 4);
	*port = v4.sin_port;
	return true;
}

static bool
is_v4(const struct in6_addr *address)
{
	return IN6_IS_ADDR_V4MAPPED(address);
}

static bool
is_any(const struct in6_addr *address)
{
	static const uint8_t NONE[4];
	return IN6_IS_ADDR_UNSPECIFIED(address) ||
	       (is_v4(address) && memcmp(&address->s6_addr[12], NONE, sizeof(NONE)) == 0);
}

static bool
is_loopback(const struct in6_addr *address)
{
	return IN6_IS_ADDR_LOOPBACK(address) || (is_v4(address) && address->s6_addr[12] == 127);
}

/* ---------------------------------------------------------------- looking */

static void
add_listener(struct own *own, int fd)
{
	struct sockaddr_storage name;
	socklen_t size = sizeof(name);
	int listens = 0;
	socklen_t listens_size = sizeof(listens);
	struct own_listener *listener = &own->listeners[own->listener_count];

	if (own->listener_count == OWN_LISTENERS_MAX ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) != 0 || !listens)
		return;
	if (getsockname(fd, (struct sockaddr *)&name, &size) == 0 &&
	    read_address((struct sockaddr *)&name, &listener->address, &listener->port))
		own->listener_count++;
}

static void
find_listeners(struct own *own)
{
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;

	own->listener_count = 0;
	while (directory && (entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] != '.')
			add_listener(own, (int)strtol(entry->d_name, NULL, 10));
	}
	if (directory)
		closedir(directory);
}

static void
find_addresses(struct own *own)
{
	struct ifaddrs *all = NULL;
	uint16_t port;

	own->address_count = 0;
	if (getifaddrs(&all) != 0)
		return;
	for (const struct ifaddrs *one = all; one && own->address_count < OWN_ADDRESSES_MAX; one = one->ifa_next)
		if (one->ifa_addr && read_address(one->ifa_addr, &own->addresses[own->address_count], &port))
			own->address_count++;
	freeifaddrs(all);
}

static void
look(struct own *own)
{
	uint64_t now = clock_mono_ms(clock_system());

	if (own->looked_ms > 0 && now - own->looked_ms < LOOK_AGAIN_MS)
		return;
	own->looked_ms = now;
	find_listeners(own);
	find_addresses(own);
}

/* ---------------------------------------------------------------- judging */

static bool
is_of_host(const struct own *own, const struct in6_addr *address)
{
	if (is_any(address) || is_loopback(address))
		return true;
	for (size_t i = 0; i < own->address_count; i++) {
		if (IN6_ARE_ADDR_EQUAL(&own->addresses[i], address))
			return true;
	}
	return false;
}

/* Connecting to no address at all reaches the loopback interface. */
static bool
reaches(const struct own *own, const struct own_listener *listener, const struct in6_addr *address)
{
	if (is_any(&listener->address))
		return is_of_host(own, address);
	return IN6_ARE_ADDR_EQUAL(&listener->address, address) ||
	       (is_any(address) && is_loopback(&listener->address));
}

bool
own_listens(struct own *own, const struct sockaddr *address, socklen_t length)
{
	struct in6_addr to;
	uint16_t port;

	if (length < sizeof(struct sockaddr_in) ||
	    (address->sa_family == AF_INET6 && length < sizeof(struct sockaddr_in6)) ||
	    !read_address(address, &to, &port))
		return false;
	look(own);
	for (size_t i = 0; i < own->listener_count; i++) {
		if (own->listeners[i].port == port && reaches(own, &own->listeners[i], &to))
			return true;
	}
	return false;
}
