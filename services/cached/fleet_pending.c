/*
 * fleet_pending: what is done while Redis is away, and what the other replicas are told of it afterwards.
 *
 * Whatever a caller changed takes effect here at once. A value that was written is good for this replica
 * only, so the others are told that theirs is not: a delete, which does no harm however late it comes and in
 * whatever order. Fills change nothing that others could have. What has to be exact among all replicas, such
 * as counting, is refused.
 *
 * The list is bounded; beyond that, namespaces are noted whole.
 */
#include <string.h>

#include "errands.h"
#include "fleet_internal.h"

#define CHANGES_MAX 16384u

struct pending_change {
	struct errand errand; /* first */
	struct op op;
	struct pending *pending;
	char name[];
};

struct pending {
	struct fleet *fleet;
	pthread_mutex_t lock; /* guards the rest */
	struct errand *first, **last;
	size_t count;
};

struct pending *
pending_new(struct fleet *fleet)
{
	struct pending *pending = mem_alloc(sizeof(*pending));

	pending->fleet = fleet;
	pending->last = &pending->first;
	pthread_mutex_init(&pending->lock, NULL);
	return pending;
}

static void
free_list(struct errand *list)
{
	for (struct errand *next; list; list = next) {
		next = list->next;
		mem_free(list);
	}
}

void
pending_free(struct pending *pending)
{
	free_list(pending->first);
	pthread_mutex_destroy(&pending->lock);
	mem_free(pending);
}

/* ---- keeping ---- */

static void
told(struct errand *errand)
{
	struct pending_change *change = (struct pending_change *)errand;

	if (!change->op.is_pending)
		counter_add(change->pending->fleet->told, 1);
	mem_free(change);
}

static void
append(struct pending *pending, struct space *space, enum op_kind kind, const char *name, size_t length)
{
	struct pending_change *change = mem_alloc(sizeof(*change) + length + 1);

	memcpy(change->name, name, length);
	change->pending = pending;
	change->op = (struct op){.kind = kind, .name = change->name, .length = length};
	change->errand = (struct errand){.space = space, .ops = &change->op, .count = 1, .done = told};
	*pending->last = &change->errand;
	pending->last = &change->errand.next;
	pending->count++;
}

/* Each namespace of the list once, as a whole. */
static void
widen(struct pending *pending)
{
	struct errand *list = pending->first;

	pending->first = NULL;
	pending->last = &pending->first;
	pending->count = 0;
	for (const struct errand *errand = list; errand; errand = errand->next) {
		bool is_noted = false;
		for (const struct errand *noted = pending->first; noted && !is_noted; noted = noted->next)
			is_noted = noted->space == errand->space;
		if (!is_noted)
			append(pending, errand->space, OP_ALL, "", 0);
	}
	free_list(list);
}

static void
keep(struct pending *pending, struct space *space, enum op_kind kind, const char *name, size_t length)
{
	pthread_mutex_lock(&pending->lock);
	append(pending, space, kind, name, length);
	if (pending->count > CHANGES_MAX)
		widen(pending);
	gauge_set(pending->fleet->waiting, (int64_t)pending->count);
	pthread_mutex_unlock(&pending->lock);
}

/* ---- doing ---- */

/* Exact among all replicas, or not at all. */
static bool
is_exact(const struct op *op)
{
	return op->kind == OP_INCR || (op->kind == OP_SET && op->set.has_if_version);
}

static void
keep_op(struct pending *pending, struct space *space, struct op *op)
{
	bool is_fill = op->kind == OP_SET && op->set.token != 0;

	op->is_pending = true;
	if (op->kind == OP_TOUCH || op->kind == OP_RELEASE || is_fill)
		return;
	if (op->kind == OP_SET)
		keep(pending, space, OP_DELETE, op->set.key, op->set.key_length);
	else
		keep(pending, space, op->kind, op->name, op->length);
}

/* What Redis had answered before it was lost stays as it is. */
void
pending_run(struct pending *pending, struct errand *errand)
{
	for (size_t i = 0; i < errand->count; i++)
		if (!errand->ops[i].is_done && is_exact(&errand->ops[i])) {
			errand->status = status_make(STATUS_UNAVAILABLE,
			                             "what has to be exact among all replicas is not decided while "
			                             "Redis is away");
			return;
		}
	for (size_t i = 0; i < errand->count && errand->space; i++) {
		if (errand->ops[i].is_done)
			continue;
		op_run(errand->space, &errand->ops[i]);
		keep_op(pending, errand->space, &errand->ops[i]);
	}
}

void
pending_tell(struct pending *pending)
{
	pthread_mutex_lock(&pending->lock);
	struct errand *list = pending->first;
	pending->first = NULL;
	pending->last = &pending->first;
	pending->count = 0;
	gauge_set(pending->fleet->waiting, 0);
	pthread_mutex_unlock(&pending->lock);
	fleet_change(pending->fleet, list);
}
