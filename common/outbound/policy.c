/*
 * policy: see policy.h. The lists follow IANA's special-purpose registries (RFC 6890 and its updates). The
 * allow-list is asked first, so a deployment may open what it needs and nothing beside it.
 */
#include "outbound/policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/text.h"

#define ENTRY_MAX 64 /* longer than any address with brackets and length */

static const struct policy_net REFUSED_V4[] = {
    {false, {0}, 8},             /* this network */
    {false, {10}, 8},            /* private */
    {false, {100, 64}, 10},      /* carrier-grade NAT */
    {false, {127}, 8},           /* loopback */
    {false, {169, 254}, 16},     /* link-local, cloud metadata */
    {false, {172, 16}, 12},      /* private */
    {false, {192, 0, 0}, 24},    /* protocol assignments */
    {false, {192, 0, 2}, 24},    /* documentation */
    {false, {192, 88, 99}, 24},  /* 6to4 relays */
    {false, {192, 168}, 16},     /* private */
    {false, {198, 18}, 15},      /* benchmarks */
    {false, {198, 51, 100}, 24}, /* documentation */
    {false, {203, 0, 113}, 24},  /* documentation */
    {false, {224}, 4},           /* multicast */
    {false, {240}, 4},           /* reserved, broadcast */
};

static const struct policy_net REFUSED_V6[] = {
    {true, {0}, 8},           /* unspecified, loopback, IPv4 mapped, compatible, translated, NAT64 */
    {true, {0x01}, 64},       /* discard */
    {true, {0x20, 0x01}, 23}, /* protocol assignments, Teredo, benchmarks, ORCHID */
    {true, {0x20, 0x01, 0x0D, 0xB8}, 32}, /* documentation */
    {true, {0x20, 0x02}, 16},             /* 6to4 */
    {true, {0x3F, 0xFF}, 20},             /* documentation */
    {true, {0x5F}, 16},                   /* segment routing */
    {true, {0xFC}, 7},                    /* unique local */
    {true, {0xFE, 0x80}, 10},             /* link-local */
    {true, {0xFE, 0xC0}, 10},             /* site-local, which RFC 3879 deprecated and some networks use */
    {true, {0xFF}, 8},                    /* multicast */
};

static const struct policy_net NAT64 = {true, {0x00, 0x64, 0xFF, 0x9B}, 96};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---------------------------------------------------------------- judging */

static bool
net_holds(const struct policy_net *net, bool is_v6, const uint8_t *bytes)
{
	size_t whole = net->bits / 8;
	unsigned rest = net->bits % 8;

	if (net->is_v6 != is_v6 || memcmp(net->bytes, bytes, whole) != 0)
		return false;
	return rest == 0 || (net->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

static bool
any_holds(const struct policy_net *nets, size_t count, bool is_v6, const uint8_t *bytes)
{
	for (size_t i = 0; i < count; i++) {
		if (net_holds(&nets[i], is_v6, bytes))
			return true;
	}
	return false;
}

static bool
allows_v4(const struct policy *policy, const uint8_t bytes[4])
{
	return any_holds(policy->allowed, policy->allowed_count, false, bytes) ||
	       !any_holds(REFUSED_V4, COUNT(REFUSED_V4), false, bytes);
}

static bool
allows_v6(const struct policy *policy, const uint8_t bytes[16])
{
	if (any_holds(policy->allowed, policy->allowed_count, true, bytes))
		return true;
	if (net_holds(&NAT64, true, bytes))
		return allows_v4(policy, bytes + 12);
	return !any_holds(REFUSED_V6, COUNT(REFUSED_V6), true, bytes);
}

bool
policy_allows(const struct policy *policy, const struct sockaddr *address, socklen_t length)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (length >= sizeof(v4) && address->sa_family == AF_INET) {
		memcpy(&v4, address, sizeof(v4));
		return allows_v4(policy, (const uint8_t *)&v4.sin_addr);
	}
	if (length >= sizeof(v6) && address->sa_family == AF_INET6) {
		memcpy(&v6, address, sizeof(v6));
		return allows_v6(policy, v6.sin6_addr.s6_addr);
	}
	return false;
}

/* ---------------------------------------------------------------- reading the allow-list */

static struct status
wrong(const char *entry, size_t length, const char *what)
{
	return status_make(STATUS_INVALID_ARGUMENT, "network '%.*s': %s",
	                   (int)(length < ENTRY_MAX ? length : ENTRY_MAX), entry, what);
}

/* "[::1]" and "::1" are the same; brackets around IPv4 are none. */
static bool
address_parse(const char *text, size_t length, struct policy_net *out)
{
	char host[ENTRY_MAX];
	bool is_bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';

	if (is_bracketed) {
		text++;
		length -= 2;
	}
	if (length == 0 || length >= sizeof(host) || memchr(text, '\0', length))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	out->is_v6 = is_bracketed || memchr(host, ':', length) != NULL;
	return inet_pton(out->is_v6 ? AF_INET6 : AF_INET, host, out->bytes) == 1;
}

static bool
bits_parse(const char *text, size_t length, unsigned most, unsigned *out)
{
	uint64_t bits;

	if (length == 0 || (length > 1 && text[0] == '0') || !text_to_u64(text, length, &bits) || bits > most)
		return false;
	*out = (unsigned)bits;
	return true;
}

/* Whether all bits of the address after the network's length are zero. */
static bool
is_network(const struct policy_net *net)
{
	struct policy_net zeroed = *net;
	size_t size = net->is_v6 ? 16 : 4;

	for (size_t bit = net->bits; bit < size * 8; bit++)
		zeroed.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
	return memcmp(zeroed.bytes, net->bytes, size) == 0;
}

static struct status
net_parse(const char *entry, size_t length, struct policy_net *out)
{
	const char *slash = memchr(entry, '/', length);
	size_t address_length = slash ? (size_t)(slash - entry) : length;

	*out = (struct policy_net){.is_v6 = false};
	if (length == 0)
		return status_make(STATUS_INVALID_ARGUMENT, "a network is missing between two commas");
	if (!address_parse(entry, address_length, out))
		return wrong(entry, length, "expected an address such as 10.0.0.0/8 or [::1]/128");
	unsigned most = out->is_v6 ? 128 : 32;
	out->bits = most;
	if (slash && !bits_parse(slash + 1, length - address_length - 1, most, &out->bits))
		return wrong(entry, length,
		             out->is_v6 ? "the length after '/' is a number from 0 to 128"
		                        : "the length after '/' is a number from 0 to 32");
	if (!is_network(out))
		return wrong(entry, length, "the address has bits beyond the length after '/'");
	return status_ok_value();
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct status
entry_add(const char *entry, size_t length, struct policy *out)
{
	while (length > 0 && is_blank(entry[0])) {
		entry++;
		length--;
	}
	while (length > 0 && is_blank(entry[length - 1]))
		length--;
	if (out->allowed_count == POLICY_ALLOWED_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "more than %d networks", POLICY_ALLOWED_MAX);
	struct status st = net_parse(entry, length, &out->allowed[out->allowed_count]);
	if (status_ok(&st))
		out->allowed_count++;
	return st;
}

struct status
policy_parse(const char *text, struct policy *out)
{
	struct status st = status_ok_value();

	memset(out, 0, sizeof(*out));
	if (!text || text[strspn(text, " \t")] == '\0')
		return st;
	while (text && status_ok(&st)) {
		const char *comma = strchr(text, ',');
		st = entry_add(text, comma ? (size_t)(comma - text) : strlen(text), out);
		text = comma ? comma + 1 : NULL;
	}
	if (!status_ok(&st))
		memset(out, 0, sizeof(*out));
	return st;
}
