/*
 * names: one lookup of a name at a time. curl looks up each name on a thread of its own, for as long as the
 * name server likes; a burst of requests to a name that is not known yet would take a thread each. So the
 * first one leads, and the others wait outside of curl:
 *
 *     lookup begins ──► leads ──► an address is there ──► all that wait start; curl remembers the name
 *                             ├─► it does not resolve ──► all that wait fail the same way
 *                             └─► out of time, cancelled ──► all that wait start: the first of them leads
 *
 * curl calls lookup_begins() and lookup_over() from inside, where it must not be called back: those that may
 * start are put on the ready list, which the loop empties.
 */
#include <string.h>

#include "base/hash.h"
#include "outbound/outbound_internal.h"

/* ---------------------------------------------------------------- lists */

static void
append(struct waiting_list *list, struct transfer *transfer)
{
	transfer->list = list;
	transfer->after = NULL;
	transfer->before = list->last;
	if (list->last)
		list->last->after = transfer;
	else
		list->first = transfer;
	list->last = transfer;
}

void
names_leave(struct transfer *transfer)
{
	struct waiting_list *list = transfer->list;

	if (!list)
		return;
	if (transfer->before)
		transfer->before->after = transfer->after;
	else
		list->first = transfer->after;
	if (transfer->after)
		transfer->after->before = transfer->before;
	else
		list->last = transfer->before;
	transfer->list = NULL;
}

struct transfer *
names_next_ready(struct outbound *self)
{
	struct transfer *transfer = self->ready.first;

	if (transfer)
		names_leave(transfer);
	return transfer;
}

/* ---------------------------------------------------------------- names */

/* Host and port as the URL has them: other spellings are other names, and cost another lookup at most. */
void
names_set(struct transfer *transfer)
{
	const char *start = strstr(transfer->request->url, "://");
	start = start ? start + 3 : transfer->request->url;
	size_t length = strcspn(start, "/?#");
	const char *at = memrchr(start, '@', length);

	if (at) {
		length -= (size_t)(at + 1 - start);
		start = at + 1;
	}
	/* Numbers need no lookup, though a name may begin with a digit: it is looked up alone then. */
	transfer->has_name = length > 0 && start[0] != '[' && !(start[0] >= '0' && start[0] <= '9');
	transfer->name = hash_table64(start, length);
}

static struct transfer **
bucket_of(const struct transfer *transfer)
{
	return &transfer->outbound->leaders[transfer->name % NAMES_BUCKETS];
}

static struct transfer *
leader_of(const struct transfer *transfer)
{
	struct transfer *leader = *bucket_of(transfer);

	while (leader && leader->name != transfer->name)
		leader = leader->next_leader;
	return leader;
}

bool
names_wait(struct transfer *transfer)
{
	struct transfer *leader = transfer->has_name ? leader_of(transfer) : NULL;

	if (!leader)
		return false;
	append(&leader->followers, transfer);
	if (transfer->deadline_ms < transfer->outbound->waiting_due_ms)
		transfer->outbound->waiting_due_ms = transfer->deadline_ms;
	return true;
}

void
names_lookup_begins(struct transfer *transfer)
{
	if (transfer->is_leading || !transfer->has_name || leader_of(transfer))
		return;
	transfer->is_leading = true;
	transfer->next_leader = *bucket_of(transfer);
	*bucket_of(transfer) = transfer;
}

void
names_lookup_over(struct transfer *leader, const char *failure)
{
	struct transfer **place, *waiting;

	if (!leader->is_leading)
		return;
	for (place = bucket_of(leader); *place != leader; place = &(*place)->next_leader)
		;
	*place = leader->next_leader;
	leader->is_leading = false;
	while ((waiting = leader->followers.first) != NULL) {
		names_leave(waiting);
		if (failure)
			memcpy(waiting->error, failure, strnlen(failure, CURL_ERROR_SIZE - 1) + 1);
		waiting->is_unresolved = failure != NULL;
		append(&leader->outbound->ready, waiting);
	}
}

/* ---------------------------------------------------------------- out of time */

static void
expire(struct transfer *transfer)
{
	names_leave(transfer);
	response_conclude(transfer, OUTBOUND_TIMEOUT, "the time was over before the name was resolved");
	outbound_end(transfer);
}

/* Looks at every place, though only when the first of those that wait is due. */
void
names_expire(struct outbound *self, uint64_t now_ms)
{
	if (now_ms < self->waiting_due_ms)
		return;
	self->waiting_due_ms = UINT64_MAX;
	for (size_t i = 0; i < self->seen; i++) {
		struct transfer *transfer = &self->transfers[i];
		if (transfer->list && transfer->deadline_ms <= now_ms)
			expire(transfer);
		else if (transfer->list && transfer->deadline_ms < self->waiting_due_ms)
			self->waiting_due_ms = transfer->deadline_ms;
	}
}
