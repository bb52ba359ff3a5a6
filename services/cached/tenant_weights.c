/*
 * tenant_weights: see tenant_weights.h. The list is looked through when a tenant's first space is made, and
 * not by its calls.
 */
#include "tenant_weights.h"

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/text.h"

#define OPTION "cached.tenant_weights"

/* "TENANT=WEIGHT": the weight, and how long the tenant's id is; 0: it is none. */
static uint32_t
read_item(const char *item, size_t *length)
{
	uint64_t weight = 0;
	char id[ID_MAX];

	*length = strcspn(item, "=");
	if (item[*length] != '=' || *length >= sizeof(id))
		return 0;
	memcpy(id, item, *length);
	id[*length] = '\0';
	const char *digits = item + *length + 1;
	if (!id_is_valid(id, "ten") || !text_to_u64(digits, strlen(digits), &weight) ||
	    weight > TENANT_WEIGHT_MAX)
		return 0;
	return (uint32_t)weight;
}

/* In the elements up to `end`; NULL: of all. */
static uint32_t
find(const char *const *items, const char *const *end, const char *tenant, size_t tenant_length)
{
	for (; items && *items && items != end; items++) {
		size_t length;
		uint32_t weight = read_item(*items, &length);
		if (weight && length == tenant_length && strncmp(*items, tenant, length) == 0)
			return weight;
	}
	return 0;
}

uint32_t
tenant_weight(const struct config *config, const char *tenant)
{
	uint32_t weight = find(config_list(config, OPTION), NULL, tenant, strlen(tenant));
	return weight ? weight : 1;
}

void
tenant_weights_check(const struct config *config, service_complain complain, void *arg)
{
	const char *const *items = config_list(config, OPTION);

	for (const char *const *at = items; at && *at; at++) {
		char what[256];
		size_t length;
		if (!read_item(*at, &length))
			snprintf(what, sizeof(what), "'%.100s' must be TENANT=WEIGHT, with a weight from 1 to %u", *at,
			         TENANT_WEIGHT_MAX);
		else if (find(items, at, *at, length))
			snprintf(what, sizeof(what), "'%.*s' is there twice", (int)length, *at);
		else
			continue;
		complain(arg, OPTION, what);
		return;
	}
}
