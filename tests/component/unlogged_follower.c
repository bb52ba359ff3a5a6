/*
 * A follower of the log that lets nothing bring it out of step, in the place of services/cached/follower.c:
 * what gets lost is never missed, and memory is always trusted. The program that has it, cached_unlogged, is
 * what cache_loss_test has to find out.
 */
#include "cached/follower.h"

#include <stdio.h>

enum follower_news
follower_head(struct follower *follower, const struct follower_head *head)
{
	if (!follower->is_known)
		follower->followed = head->number;
	follower->is_known = true;
	snprintf(follower->name, sizeof(follower->name), "%s", head->name);
	follower->synced_ms = head->sent_ms;
	return FOLLOWER_SAME;
}

enum follower_step
follower_entry(struct follower *follower, uint64_t number, const char *mark)
{
	if (number <= follower->followed)
		return FOLLOWER_OLD;
	follower->followed = number;
	snprintf(follower->mark, sizeof(follower->mark), "%s", mark);
	return FOLLOWER_NEXT;
}

void
follower_cut(struct follower *follower)
{
	follower->was_cut = true;
}

uint64_t
follower_trusted_until(const struct follower *follower)
{
	return follower->is_known ? UINT64_MAX / 2 : 0;
}
