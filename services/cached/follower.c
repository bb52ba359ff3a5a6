/*
 * follower: see follower.h.
 */
#include "follower.h"

#include <stdio.h>
#include <string.h>

static void
begin(struct follower *follower, uint64_t number, const char *name)
{
	follower->followed = number;
	follower->mark[0] = '\0';
	snprintf(follower->name, sizeof(follower->name), "%s", name);
	follower->is_known = true;
}

static void
note_step(struct follower *follower)
{
	if (follower->followed >= follower->target && follower->target_sent_ms > follower->synced_ms)
		follower->synced_ms = follower->target_sent_ms;
}

/* A log that began anew is followed from its beginning: others may have told of something since. */
static enum follower_news
compare(struct follower *follower, const struct follower_head *head)
{
	bool is_other = strcmp(follower->name, head->name) != 0;

	if (follower->is_known && !is_other && head->has_mark && head->number >= follower->followed)
		return FOLLOWER_SAME;
	bool is_renewed = follower->is_known && is_other && follower->was_cut && head->begin > follower->followed;
	begin(follower, is_renewed ? head->begin : head->number, head->name);
	return is_renewed ? FOLLOWER_RENEWED : FOLLOWER_LOST;
}

enum follower_news
follower_head(struct follower *follower, const struct follower_head *head)
{
	enum follower_news news = compare(follower, head);

	follower->was_cut = false;
	follower->target = head->number;
	follower->target_sent_ms = head->sent_ms;
	note_step(follower);
	return news;
}

enum follower_step
follower_entry(struct follower *follower, uint64_t number, const char *mark)
{
	if (!follower->is_known || number <= follower->followed)
		return FOLLOWER_OLD;
	if (number > follower->followed + 1) {
		follower->is_known = false;
		follower->synced_ms = 0;
		return FOLLOWER_GAP;
	}
	follower->followed = number;
	snprintf(follower->mark, sizeof(follower->mark), "%s", mark);
	note_step(follower);
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
	return follower->is_known && follower->synced_ms > 0 ? follower->synced_ms + FOLLOWER_TRUST_MS : 0;
}
