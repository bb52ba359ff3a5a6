/*
 * fleet_pending: what is done while Redis is away, and what the other replicas are told of it afterwards.
 *
 * Whatever a caller changed takes effect here at once. A value that was written is good for this replica
 * only, so the others are told that theirs is not: a delete, which does no harm however late it comes and in
 * whatever order. Fills change nothing that others could have. What has to be exact among all replicas, such
 * as counting, is refused.
 *
 * A change is in the journal before it is answered, and so is told by the process that comes after this one,
 * too. What cannot be written there is refused. The journal is emptied when all of it was told.
 *
 * The list is bounded; beyond that, namespaces are noted whole.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/monotonic.h"
#include "change_journal.h"
#include "errands.h"
#include "fleet_internal.h"

#define CHANGES_MAX 16384u

struct pending_change {
	struct errand errand; /* first */
	struct op op;
	struct pending *pending;
	char name[];
};

struct change_list {
	struct errand *first, *last; /* each in a pending_change */
	size_t count;
};

struct pending {
	struct fleet *fleet;
	/* the asking thread's */
	struct change_journal *journal; /* NULL: there is none, */
	struct status refusal;          /* for this reason */
	size_t widen_at;
	bool is_refusing; /* whether it was told */

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t all_told;
	struct change_list list;
	size_t telling; /* not in the list: on their way to Redis */
};

struct pending *
pending_new(struct fleet *fleet)
{
	struct pending *pending = mem_alloc(sizeof(*pending));

	pending->fleet = fleet;
	pending->widen_at = CHANGES_MAX;
	pending->refusal = status_make(STATUS_UNAVAILABLE, "it has no data directory");
	pthread_mutex_init(&pending->lock, NULL);
	monotonic_cond_init(&pending->all_told);
	return pending;
}

static void
list_free(struct change_list *list)
{
	for (struct errand *errand = list->first, *next; errand; errand = next) {
		next = errand->next;
		mem_free(errand);
	}
}

void
pending_free(struct pending *pending)
{
	list_free(&pending->list);
	change_journal_close(pending->journal);
	pthread_cond_destroy(&pending->all_told);
	pthread_mutex_destroy(&pending->lock);
	mem_free(pending);
}

/* ---- the list ---- */

static void
list_add(struct change_list *list, struct errand *errand)
{
	errand->next = NULL;
	if (list->last)
		list->last->next = errand;
	else
		list->first = errand;
	list->last = errand;
	list->count++;
}

/* The lock is held. */
static size_t
count_untold(const struct pending *pending)
{
	size_t count = pending->list.count + pending->telling;

	gauge_set(pending->fleet->waiting, (int64_t)count);
	return count;
}

/* One that failed comes again. Its record is still in the journal. */
static void
told(struct errand *errand)
{
	struct pending_change *change = (struct pending_change *)errand;
	struct pending *pending = change->pending;

	pthread_mutex_lock(&pending->lock);
	pending->telling--;
	if (change->op.is_pending)
		list_add(&pending->list, errand);
	bool is_all = count_untold(pending) == 0;
	if (is_all)
		pthread_cond_broadcast(&pending->all_told);
	pthread_mutex_unlock(&pending->lock);
	if (change->op.is_pending)
		return;
	counter_add(pending->fleet->told, 1);
	mem_free(change);
	struct status st =
	    is_all && pending->journal ? change_journal_clear(pending->journal) : status_ok_value();
	if (!status_ok(&st))
		log_warn(pending->fleet->options.log, "changes will be told again after a restart", LOG_STATUS(&st));
}

static bool
is_being_told(const struct errand *errand)
{
	return errand->done == told;
}

static void
append(struct pending *pending, struct change_list *list, struct space *space,
       const struct journal_change *from)
{
	struct pending_change *change = mem_alloc(sizeof(*change) + from->length + 1);

	memcpy(change->name, from->name, from->length);
	change->pending = pending;
	change->op = (struct op){.kind = from->kind, .name = change->name, .length = from->length};
	change->errand = (struct errand){.space = space, .ops = &change->op, .count = 1, .done = told};
	list_add(list, &change->errand);
}

/* ---- what is noted ---- */

/* Exact among all replicas, or not at all. */
static bool
is_inexact_alone(const struct errand *errand)
{
	for (size_t i = 0; i < errand->count; i++) {
		const struct op *op = &errand->ops[i];
		if (!op->is_done && (op->kind == OP_INCR || (op->kind == OP_SET && op->set.has_if_version)))
			return true;
	}
	return false;
}

/* False: nothing that others could have is changed, or Redis had answered before it was lost. */
static bool
note_of(const struct errand *errand, const struct op *op, struct journal_change *out)
{
	bool is_fill = op->kind == OP_SET && op->set.token != 0;

	if (op->is_done || op->kind == OP_TOUCH || op->kind == OP_RELEASE || is_fill)
		return false;
	*out = (struct journal_change){op->kind, space_tenant(errand->space), space_name(errand->space), op->name,
	                               op->length};
	if (op->kind == OP_SET) {
		out->kind = OP_DELETE;
		out->name = op->set.key;
		out->length = op->set.key_length;
	}
	return true;
}

/* How many changes of the errand are noted; each goes to the journal's next commit, if there is one. */
static size_t
add_notes(struct change_journal *journal, const struct errand *errand)
{
	struct journal_change note;
	size_t count = 0;

	if (is_being_told(errand) || !errand->space || is_inexact_alone(errand))
		return 0;
	for (size_t i = 0; i < errand->count; i++) {
		if (!note_of(errand, &errand->ops[i], &note))
			continue;
		if (journal)
			change_journal_add(journal, &note);
		count++;
	}
	return count;
}

static void
append_whole(struct pending *pending, struct change_list *list, struct space *space)
{
	const struct journal_change all = {OP_ALL, space_tenant(space), space_name(space), "", 0};

	for (const struct errand *noted = list->first; noted; noted = noted->next)
		if (noted->space == space)
			return;
	change_journal_add(pending->journal, &all);
	append(pending, list, space, &all);
}

/* Each namespace of what waits, and of the errands, once and as a whole; the lock is held. */
static struct status
widen_locked(struct pending *pending, const struct errand *errands)
{
	struct change_list whole = {.count = 0};

	if (pending->telling > 0)
		return status_make(STATUS_RESOURCE_EXHAUSTED, "more is being told than the journal holds");
	for (const struct errand *errand = pending->list.first; errand; errand = errand->next)
		append_whole(pending, &whole, errand->space);
	for (const struct errand *errand = errands; errand; errand = errand->next)
		if (add_notes(NULL, errand) > 0)
			append_whole(pending, &whole, errand->space);
	struct status st = change_journal_replace(pending->journal);
	list_free(status_ok(&st) ? &pending->list : &whole);
	if (status_ok(&st))
		pending->list = whole;
	pending->widen_at = whole.count > CHANGES_MAX / 2 ? 2 * whole.count : CHANGES_MAX;
	return st;
}

static struct status
widen(struct pending *pending, const struct errand *errands)
{
	pthread_mutex_lock(&pending->lock);
	struct status st = widen_locked(pending, errands);
	pthread_mutex_unlock(&pending->lock);
	return st;
}

/* All that the errands change is on disk when this is well. */
static struct status
write_down(struct pending *pending, const struct errand *errands)
{
	size_t count = 0;

	for (const struct errand *errand = errands; errand; errand = errand->next)
		count += add_notes(pending->journal, errand);
	if (count == 0)
		return status_ok_value();
	if (!pending->journal)
		return pending->refusal;
	struct status st = change_journal_commit(pending->journal);
	pthread_mutex_lock(&pending->lock);
	bool is_full = pending->list.count + count > pending->widen_at;
	pthread_mutex_unlock(&pending->lock);
	if (st.code == STATUS_RESOURCE_EXHAUSTED)
		return widen(pending, errands);
	if (status_ok(&st) && is_full)
		(void)widen(pending, errands); /* what was committed holds, however long the list */
	return st;
}

/* ---- doing ---- */

static void
do_op(struct pending *pending, const struct errand *errand, struct op *op)
{
	struct journal_change note;
	bool is_noted = note_of(errand, op, &note);

	op_run(errand->space, op);
	op->is_pending = true;
	if (!is_noted)
		return;
	pthread_mutex_lock(&pending->lock);
	append(pending, &pending->list, errand->space, &note);
	(void)count_untold(pending);
	pthread_mutex_unlock(&pending->lock);
}

static void
do_errand(struct pending *pending, struct errand *errand, const struct status *written)
{
	if (is_inexact_alone(errand)) {
		errand->status =
		    status_make(STATUS_UNAVAILABLE, "what has to be exact among all replicas is not decided while "
		                                    "Redis is away");
		return;
	}
	if (!status_ok(written) && add_notes(NULL, errand) > 0) {
		errand->status = status_make(STATUS_UNAVAILABLE,
		                             "Redis is away, and this replica cannot keep the change for the others: "
		                             "%s",
		                             written->message);
		return;
	}
	for (size_t i = 0; i < errand->count && errand->space; i++)
		if (!errand->ops[i].is_done)
			do_op(pending, errand, &errand->ops[i]);
}

void
pending_run(struct pending *pending, struct errand *errands)
{
	struct status written = write_down(pending, errands);

	if (!status_ok(&written) && !pending->is_refusing)
		log_warn(pending->fleet->options.log, "changes refused while Redis is away", LOG_STATUS(&written));
	pending->is_refusing = !status_ok(&written);
	for (struct errand *errand = errands; errand; errand = errand->next)
		if (is_being_told(errand))
			errand->ops[0].is_pending = !errand->ops[0].is_done;
		else
			do_errand(pending, errand, &written);
	fleet_be_alone(pending->fleet, true); /* pending_join() may have come in between */
}

void
pending_tell(struct pending *pending)
{
	pthread_mutex_lock(&pending->lock);
	struct errand *first = pending->list.first;
	for (struct errand *errand = first; errand; errand = errand->next)
		errand->ops[0].is_pending = false;
	pending->telling += pending->list.count;
	pending->list = (struct change_list){.count = 0};
	pthread_mutex_unlock(&pending->lock);
	fleet_change(pending->fleet, first);
}

bool
pending_join(struct pending *pending)
{
	pthread_mutex_lock(&pending->lock);
	bool is_all = count_untold(pending) == 0;
	if (is_all)
		fleet_be_alone(pending->fleet, false);
	pthread_mutex_unlock(&pending->lock);
	return is_all;
}

size_t
fleet_await_told(struct fleet *fleet, uint32_t wait_ms)
{
	struct pending *pending = fleet->pending;
	struct timespec end = monotonic_in_ms(wait_ms);
	int error = 0;

	pthread_mutex_lock(&pending->lock);
	while (count_untold(pending) > 0 && error != ETIMEDOUT)
		error = pthread_cond_timedwait(&pending->all_told, &pending->lock, &end);
	size_t left = count_untold(pending);
	pthread_mutex_unlock(&pending->lock);
	return left;
}

/* ---- after a start ---- */

struct restoring {
	struct pending *pending;
	struct engine *engine;
	struct status status;
};

static void
restore(void *arg, const struct journal_change *change)
{
	struct restoring *restoring = arg;
	struct space *space;

	if (!status_ok(&restoring->status))
		return;
	restoring->status = engine_space(restoring->engine, change->tenant, change->space, &space);
	if (status_ok(&restoring->status))
		append(restoring->pending, &restoring->pending->list, space, change);
}

struct status
pending_restore(struct pending *pending, const char *path, size_t bytes_max, struct engine *engine)
{
	struct restoring restoring = {pending, engine, status_ok_value()};
	struct log *log = pending->fleet->options.log;
	size_t cut;

	pending->refusal = change_journal_open(path, bytes_max, restore, &restoring, &cut, &pending->journal);
	if (!status_ok(&pending->refusal))
		log_warn(log, "nothing can be changed while Redis is away", LOG_STATUS(&pending->refusal));
	if (cut > 0)
		log_warn(log, "a journal's end was not whole", LOG_TEXT("path", path), LOG_U64("bytes", cut));
	pthread_mutex_lock(&pending->lock);
	size_t count = count_untold(pending);
	pthread_mutex_unlock(&pending->lock);
	if (count > 0)
		log_info(log, "changes are still to be told", LOG_U64("changes", count));
	return restoring.status;
}
