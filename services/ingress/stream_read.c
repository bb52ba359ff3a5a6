/*
 * stream_read: see stream_read.h.
 */
#include "stream_read.h"

#define PAGE_EVENTS 200u
#define WAIT_MS     10000u
#define ARENA_BLOCK 1024u

struct stream_read {
	struct streams *streams;
	const char *tenant;
	stream_read_done done;
	void *arg;
	bool is_busy, is_abandoned;
	uint64_t after;
	struct pool_call call;
	Corbel__Bus__Principal self; /* asks as another daemon */
	struct arena arena;
};

struct stream_read *
stream_read_new(struct streams *streams, const char *tenant, stream_read_done done, void *arg)
{
	struct stream_read *read = mem_alloc(sizeof(*read));

	read->streams = streams;
	read->tenant = tenant;
	read->done = done;
	read->arg = arg;
	corbel__bus__principal__init(&read->self);
	read->self.tenant = (char *)(uintptr_t) "root";
	read->self.has_internal = read->self.internal = true;
	return read;
}

void
stream_read_free(struct stream_read *read)
{
	if (read->is_busy)
		read->is_abandoned = true;
	else
		mem_free(read);
}

bool
stream_read_is_busy(const struct stream_read *read)
{
	return read->is_busy;
}

static Corbel__V1__ListEventsReply *
unpack(struct stream_read *read)
{
	const struct pool_call *call = &read->call;
	struct arena_allocator allocator = arena_allocator(&read->arena);
	ProtobufCAllocator protobuf = {
	    .alloc = allocator.alloc, .free = allocator.free, .allocator_data = allocator.arena};

	if (call->code != STATUS_OK || !call->reply || call->reply->code != 0)
		return NULL;
	return corbel__v1__list_events_reply__unpack(&protobuf, call->reply->payload.len,
	                                             call->reply->payload.data);
}

static void
deliver(struct stream_read *read, const Corbel__V1__ListEventsReply *reply)
{
	struct stream_item **items = ARENA_ARRAY(&read->arena, struct stream_item *, reply->n_events + 1);
	struct stream_page page = {.is_good = true, .first = reply->first_sequence, .last = reply->last_sequence};

	for (size_t i = 0; i < reply->n_events; i++)
		items[i] = stream_item_new(reply->events[i], read->streams->cloud_count > 0, &read->arena);
	page.run = (struct stream_run){items, reply->n_events, read->after, read->after};
	if (reply->n_events > 0)
		page.run.to = items[reply->n_events - 1]->sequence;
	read->done(read->arg, &page);
	for (size_t i = 0; i < reply->n_events; i++)
		stream_item_release(items[i]);
}

static void
answered(struct pool_call *call)
{
	struct stream_read *read = call->user;
	const Corbel__V1__ListEventsReply *reply = read->is_abandoned ? NULL : unpack(read);

	read->is_busy = false;
	if (reply)
		deliver(read, reply);
	else if (!read->is_abandoned)
		read->done(read->arg, &(struct stream_page){.is_good = false});
	/* Between reads it holds nothing: there are as many as tenants. */
	arena_fini(&read->arena);
	if (read->is_abandoned)
		stream_read_free(read);
}

void
stream_read_start(struct stream_read *read, uint64_t after)
{
	Corbel__V1__ListEventsRequest request = CORBEL__V1__LIST_EVENTS_REQUEST__INIT;

	arena_init(&read->arena, ARENA_BLOCK, SIZE_MAX);
	request.has_page_size = request.has_after = true;
	request.page_size = PAGE_EVENTS;
	request.after = read->after = after;
	request.tenant_id = (char *)(uintptr_t)read->tenant;
	size_t size = corbel__v1__list_events_request__get_packed_size(&request);
	uint8_t *bytes = arena_alloc_raw(&read->arena, size + 1);
	corbel__v1__list_events_request__pack(&request, bytes);
	read->is_busy = true;
	read->call = (struct pool_call){.method = EVENTS_LIST->id,
	                                .deadline_mono_ms = streams_now_ms(read->streams) + WAIT_MS,
	                                .principal = &read->self,
	                                .payload = bytes,
	                                .payload_size = size,
	                                .done = answered,
	                                .user = read};
	port_call(read->streams->port, read->streams->log, &read->call);
}
