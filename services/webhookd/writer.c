/*
 * writer: see writer.h.
 *
 * Tenants are locked in the order of their names, so that replicas which write for the same ones wait for
 * each other instead of deadlocking.
 */
#include "writer.h"

#include <stdlib.h>
#include <string.h>

#include "recorder.h"
#include "webhookd_internal.h"

#define QUEUE_MAX 20000u /* events */
#define GROUP_MAX 1000u  /* events in a commit */
#define TAKE_MS   2000u

struct writer {
	struct webhookd *self;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t arrived;
	struct publication *first, **last;
	size_t queued; /* events */
	bool is_stopping;
	/* the thread's own: */
	struct recorder *recorder;
};

/* Takes what fits into one commit: at least one publication. */
static struct publication *
take_group(struct writer *writer)
{
	struct publication *group = writer->first, *end = NULL;
	size_t size = 0;

	for (struct publication *p = group; p && (!end || size + p->count <= GROUP_MAX); p = p->next) {
		size += p->count;
		end = p;
	}
	writer->first = end->next;
	if (!writer->first)
		writer->last = &writer->first;
	end->next = NULL;
	writer->queued -= size;
	return group;
}

static void
fill_reply(struct publication *publication)
{
	Corbel__V1__PublishEventsReply *reply = (void *)call_reply(publication->call);
	struct arena *arena = call_arena(publication->call);

	reply->events = ARENA_ARRAY(arena, Corbel__V1__PublishedEvent *, publication->count);
	reply->n_events = publication->count;
	for (size_t i = 0; i < publication->count; i++) {
		Corbel__V1__PublishedEvent *item = ARENA_NEW(arena, Corbel__V1__PublishedEvent);
		corbel__v1__published_event__init(item);
		item->id = publication->events[i]->id;
		item->has_sequence = true;
		item->sequence = publication->events[i]->sequence;
		item->has_duplicate = item->duplicate = publication->is_duplicate[i];
		reply->events[i] = item;
	}
}

static void
end_group(struct publication *group)
{
	while (group) {
		struct publication *next = group->next; /* the call's arena goes with its end */
		if (status_ok(&group->outcome))
			fill_reply(group);
		call_end(group->call, group->outcome);
		group = next;
	}
}

/* Tells whether each of the group had better be tried alone: the fault may be one's, not the store's. */
static bool
is_worth_splitting(const struct status *st, const struct publication *group)
{
	return !status_ok(st) && group->next && st->code != STATUS_UNAVAILABLE &&
	       st->code != STATUS_DEADLINE_EXCEEDED && st->code != STATUS_RESOURCE_EXHAUSTED;
}

static void
record(struct writer *writer, struct publication *group)
{
	struct store *store = writer->self->env.store;
	struct store_conn *conn;
	struct status st = store_take(store, TAKE_MS, &conn);

	if (status_ok(&st)) {
		st = recorder_commit(writer->recorder, conn, group);
		store_put(store, conn);
	}
	if (is_worth_splitting(&st, group)) {
		while (group) {
			struct publication *next = group->next;
			group->next = NULL;
			record(writer, group);
			group = next;
		}
		return;
	}
	for (struct publication *p = group; p && !status_ok(&st); p = p->next)
		p->outcome = st;
	end_group(group);
	if (status_ok(&st)) {
		recorder_announce(writer->recorder);
	}
}

static void *
writer_main(void *arg)
{
	struct writer *writer = arg;

	pthread_mutex_lock(&writer->lock);
	for (;;) {
		while (!writer->first && !writer->is_stopping)
			pthread_cond_wait(&writer->arrived, &writer->lock);
		if (!writer->first)
			break;
		struct publication *group = take_group(writer);
		pthread_mutex_unlock(&writer->lock);
		record(writer, group);
		pthread_mutex_lock(&writer->lock);
	}
	pthread_mutex_unlock(&writer->lock);
	return NULL;
}

bool
writer_submit(struct writer *writer, struct publication *first)
{
	struct publication *last = first;
	size_t events = first->count;

	for (; last->next; last = last->next)
		events += last->next->count;
	pthread_mutex_lock(&writer->lock);
	bool is_taken = !writer->is_stopping && writer->queued + events <= QUEUE_MAX;
	if (is_taken) {
		*writer->last = first;
		writer->last = &last->next;
		writer->queued += events;
		pthread_cond_signal(&writer->arrived);
	}
	pthread_mutex_unlock(&writer->lock);
	return is_taken;
}

struct status
writer_new(struct webhookd *self, struct writer **out)
{
	struct writer *writer = mem_alloc(sizeof(*writer));

	writer->self = self;
	writer->last = &writer->first;
	writer->recorder = recorder_new(self);
	pthread_mutex_init(&writer->lock, NULL);
	pthread_cond_init(&writer->arrived, NULL);
	if (pthread_create(&writer->thread, NULL, writer_main, writer) != 0) {
		recorder_free(writer->recorder);
		mem_free(writer);
		return status_make(STATUS_RESOURCE_EXHAUSTED, "cannot start the log's writer");
	}
	pthread_setname_np(writer->thread, "writer");
	*out = writer;
	return status_ok_value();
}

void
writer_free(struct writer *writer)
{
	if (!writer)
		return;
	pthread_mutex_lock(&writer->lock);
	writer->is_stopping = true;
	pthread_cond_signal(&writer->arrived);
	pthread_mutex_unlock(&writer->lock);
	pthread_join(writer->thread, NULL);
	recorder_free(writer->recorder);
	pthread_cond_destroy(&writer->arrived);
	pthread_mutex_destroy(&writer->lock);
	mem_free(writer);
}
