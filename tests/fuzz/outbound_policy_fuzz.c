/*
 * Any text is an allow-list or refused whole; an accepted network is one, and allows its own first address.
 */
#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#include "outbound/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
allows_itself(const struct policy *policy, const struct policy_net *net)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	memcpy(&v4.sin_addr, net->bytes, 4);
	memcpy(&v6.sin6_addr, net->bytes, 16);
	return net->is_v6 ? policy_allows(policy, (struct sockaddr *)&v6, sizeof(v6))
	                  : policy_allows(policy, (struct sockaddr *)&v4, sizeof(v4));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy policy;
	char text[1024];

	if (size >= sizeof(text))
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	struct status st = policy_parse(text, &policy);
	assert(policy.allowed_count <= POLICY_ALLOWED_MAX);
	assert(status_ok(&st) || (policy.allowed_count == 0 && st.code == STATUS_INVALID_ARGUMENT));
	for (size_t i = 0; i < policy.allowed_count; i++) {
		assert(policy.allowed[i].bits <= (policy.allowed[i].is_v6 ? 128u : 32u));
		assert(allows_itself(&policy, &policy.allowed[i]));
	}
	return 0;
}
