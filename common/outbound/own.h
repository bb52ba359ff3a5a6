/*
 * own: which addresses this process listens on itself. An allow-list that opens the loopback interface or the
 * host's own addresses is for endpoints beside us, not for our admin port and our bus, which ask nobody who
 * he is.
 *
 * One thread only.
 */
#ifndef CORBEL_OUTBOUND_OWN_H
#define CORBEL_OUTBOUND_OWN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define OWN_LISTENERS_MAX 64
#define OWN_ADDRESSES_MAX 256

/* Plain data, all zero at first; members are private. */
struct own {
	uint64_t looked_ms; /* 0: never */
	struct own_listener {
		struct in6_addr address; /* IPv4 as mapped */
		uint16_t port;           /* network order */
	} listeners[OWN_LISTENERS_MAX];
	size_t listener_count;
	struct in6_addr addresses[OWN_ADDRESSES_MAX]; /* of the host's interfaces */
	size_t address_count;
};

/* True when a connect() to the address would reach a socket of this process. Looks again when what it knows
 * is a second old. */
bool own_listens(struct own *own, const struct sockaddr *address, socklen_t length);

#endif
