/*
 * fair: see fair.h.
 */
#include "fair.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"

#define ADVANCE_US                                                                                           \
	1000u /* charged at the start, so that one who begins many at once is not the least charged */
#define IDLE_MAX 4096u /* tenants remembered for what they were charged */

struct fair_tenant {
	struct fair_tenant *next;
	char id[72];
	uint64_t charged_us;
	size_t waiting, under_way, at_once_max;
	struct fair_item *first, **last;
};

struct fair {
	size_t slots, waiting_max;
	size_t waiting, under_way, tenants;
	uint64_t now_us; /* what the tenant that began last had been charged: the present, for newcomers */
	struct fair_tenant *first;
};

struct fair *
fair_new(size_t slots, size_t waiting_max)
{
	struct fair *fair = mem_alloc(sizeof(*fair));

	fair->slots = slots;
	fair->waiting_max = waiting_max;
	return fair;
}

void
fair_free(struct fair *fair)
{
	while (fair && fair->first) {
		struct fair_tenant *tenant = fair->first;
		fair->first = tenant->next;
		mem_free(tenant);
	}
	mem_free(fair);
}

static bool
is_idle(const struct fair_tenant *tenant)
{
	return tenant->waiting == 0 && tenant->under_way == 0;
}

/* Forgets those that owe nothing: the present has come to what they were charged. */
static void
forget(struct fair *fair)
{
	for (struct fair_tenant **slot = &fair->first; *slot;) {
		struct fair_tenant *tenant = *slot;
		bool is_even = tenant->charged_us <= fair->now_us || fair->tenants > IDLE_MAX;
		if (!is_idle(tenant) || !is_even) {
			slot = &tenant->next;
			continue;
		}
		*slot = tenant->next;
		fair->tenants--;
		mem_free(tenant);
	}
}

static struct fair_tenant *
tenant_of(struct fair *fair, const char *id)
{
	for (struct fair_tenant *tenant = fair->first; tenant; tenant = tenant->next)
		if (strcmp(tenant->id, id) == 0)
			return tenant;
	struct fair_tenant *tenant = mem_alloc(sizeof(*tenant));
	snprintf(tenant->id, sizeof(tenant->id), "%s", id);
	tenant->last = &tenant->first;
	tenant->charged_us = fair->now_us;
	tenant->next = fair->first;
	fair->first = tenant;
	fair->tenants++;
	return tenant;
}

bool
fair_push(struct fair *fair, struct fair_item *item, const char *id, size_t at_once_max)
{
	forget(fair);
	struct fair_tenant *tenant = tenant_of(fair, id);
	if (tenant->waiting >= fair->waiting_max - fair->waiting)
		return false;
	if (is_idle(tenant) && tenant->charged_us < fair->now_us)
		tenant->charged_us = fair->now_us;
	tenant->at_once_max = at_once_max;
	item->tenant = tenant;
	item->next = NULL;
	*tenant->last = item;
	tenant->last = &item->next;
	tenant->waiting++;
	fair->waiting++;
	return true;
}

static bool
may_begin(const struct fair *fair, const struct fair_tenant *tenant)
{
	return tenant->waiting > 0 && tenant->under_way < fair->slots - fair->under_way &&
	       (tenant->at_once_max == 0 || tenant->under_way < tenant->at_once_max);
}

static void
take_first(struct fair *fair, struct fair_tenant *tenant)
{
	tenant->first = tenant->first->next;
	if (!tenant->first)
		tenant->last = &tenant->first;
	tenant->waiting--;
	fair->waiting--;
}

struct fair_item *
fair_pop(struct fair *fair)
{
	struct fair_tenant *least = NULL;

	for (struct fair_tenant *tenant = fair->first; tenant; tenant = tenant->next)
		if (may_begin(fair, tenant) && (!least || tenant->charged_us < least->charged_us))
			least = tenant;
	if (!least)
		return NULL;
	struct fair_item *item = least->first;
	take_first(fair, least);
	least->under_way++;
	fair->under_way++;
	if (least->charged_us > fair->now_us)
		fair->now_us = least->charged_us;
	least->charged_us += ADVANCE_US;
	return item;
}

void
fair_done(struct fair *fair, struct fair_item *item, uint64_t spent_us)
{
	struct fair_tenant *tenant = item->tenant;

	tenant->under_way--;
	fair->under_way--;
	if (spent_us > ADVANCE_US)
		tenant->charged_us += spent_us - ADVANCE_US;
}

bool
fair_remove(struct fair *fair, struct fair_item *item)
{
	struct fair_tenant *tenant = item->tenant;
	struct fair_item **slot = &tenant->first;

	while (*slot && *slot != item)
		slot = &(*slot)->next;
	if (!*slot)
		return false;
	*slot = item->next;
	if (!*slot)
		tenant->last = slot;
	tenant->waiting--;
	fair->waiting--;
	return true;
}

size_t
fair_room(const struct fair *fair, const char *id)
{
	const struct fair_tenant *tenant = fair->first;

	while (tenant && strcmp(tenant->id, id) != 0)
		tenant = tenant->next;
	size_t own = tenant ? tenant->under_way : 0, waiting = tenant ? tenant->waiting : 0;
	if (fair->under_way + own >= fair->slots)
		return 0;
	/* The k-th begins while own + k - 1 < slots - (all + k - 1). */
	size_t room = (fair->slots - fair->under_way - own + 1) / 2;
	if (tenant && tenant->at_once_max > 0 && own + room > tenant->at_once_max)
		room = tenant->at_once_max > own ? tenant->at_once_max - own : 0;
	return room > waiting ? room - waiting : 0;
}

size_t
fair_waiting(const struct fair *fair)
{
	return fair->waiting;
}

size_t
fair_under_way(const struct fair *fair)
{
	return fair->under_way;
}
