/*
 * policy: which network addresses may be connected to for somebody else.
 *
 * It judges addresses after resolution, in binary, as the connect() would get them: no spelling of an address
 * and no answer of a name server passes by it. Global unicast addresses are allowed; what is private, local
 * to a host or link, shared, multicast, reserved, for documentation, or an IPv4 address in other clothes is
 * refused, unless a network of the allow-list holds it.
 */
#ifndef CORBEL_OUTBOUND_POLICY_H
#define CORBEL_OUTBOUND_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/status.h"

#define POLICY_ALLOWED_MAX 64

struct policy_net {
	bool is_v6;
	uint8_t bytes[16]; /* 4 of them for IPv4; zero after `bits` */
	unsigned bits;
};

/* Plain data; all zero allows nothing beside global addresses. */
struct policy {
	struct policy_net allowed[POLICY_ALLOWED_MAX];
	size_t allowed_count;
};

/* Reads networks separated by commas, such as "10.0.0.0/8, 127.0.0.1, [::1]/128, fd00::/8"; "" and NULL are
 * none. An address without a length is that address only. INVALID_ARGUMENT names the entry that is wrong;
 * *out is all zero then. */
struct status policy_parse(const char *text, struct policy *out);

/* True when connecting to this address is allowed; false for all but IPv4 and IPv6. An IPv4 network of the
 * allow-list also holds for the NAT64 form of its addresses (64:ff9b::/96), and for no other IPv6 form. */
bool policy_allows(const struct policy *policy, const struct sockaddr *address, socklen_t length);

#endif
