/*
 * address: clients by their network address.
 *
 * A leaf. IPv4 addresses mapped into IPv6 count as IPv4; IPv6 addresses count by prefix, since one
 * customer owns all of it. Forwarded headers are believed from configured proxies only.
 */
#ifndef CORBEL_INGRESS_ADDRESS_H
#define CORBEL_INGRESS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
	bool is_v6;
	uint8_t bytes[16]; /* IPv4: the first four */
};

bool address_from_socket(const struct sockaddr *socket, struct address *out);
/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]:443", "192.0.2.1:80". */
bool address_from_text(const char *text, size_t length, struct address *out);
/* Clears what is behind the prefix of an IPv6 address. */
void address_mask(struct address *address, unsigned ipv6_prefix);

struct networks;
/* From "10.0.0.0/8"-like texts (a bare address is itself); NULL when one is wrong, which `bad` names. */
struct networks *networks_new(const char *const *texts, const char **bad);
void networks_free(struct networks *networks);
bool networks_have(const struct networks *networks, const struct address *address);
/* The client behind trusted proxies: the last address of an X-Forwarded-For list that is not one of
 * them; `peer` itself when it is no proxy or the list says nothing. */
struct address address_of_client(const struct networks *proxies, const struct address *peer,
                                 const char *forwarded);

/* One token bucket an address: 8192 of them, the longest unused give way. One thread. */
struct address_table;
struct address_table *address_table_new(uint64_t per_minute);
void address_table_free(struct address_table *table);
/* Takes one; false with the ms to wait when there is none. per_minute 0 admits all. */
bool address_take(struct address_table *table, const struct address *address, uint64_t now_ms,
                  uint64_t *retry_ms);
/* Looks without taking. */
bool address_has(struct address_table *table, const struct address *address, uint64_t now_ms,
                 uint64_t *retry_ms);

#endif
