/*
 * stream_feed: a tenant's log, followed for all of its open streams.
 *
 *          kept:  from ..... to        read by `tail`, behind `to`
 *   log  ---------|==========|---------->
 *             ^ a stream that is behind `from` waits in line for a page of the log, which `page` reads
 *
 * What is kept are the newest events, one copy for all streams. A page is read for the stream that waits
 * longest and goes to all that it helps; nothing of it is kept. Both are woken by publications and by a
 * sweep, since publications may be lost. While the log cannot be read streams stay open, and go on where they
 * were.
 */
#include <string.h>

#include "base/hash.h"
#include "stream_kept.h"
#include "stream_read.h"

#define BUCKETS       1024u
#define PAGES_AT_ONCE 16u
#define SWEEP_MS      1000u
/* So that feeds beyond some hundreds are looked after less often. */
#define SWEEP_MS_PER_FEED 5u
#define RETRY_MS          500u

struct feed {
	struct feed *next; /* in its bucket */
	LIST_ENTRY(feed) of_all;
	TAILQ_ENTRY(feed) in_hunger, in_due;
	struct feeds *feeds;
	char *tenant;
	struct stream_list members;
	struct stream_line line;
	struct stream_kept kept;
	uint64_t known; /* last sequence of the log, as last heard */
	struct stream_read *tail, *page;
	uint64_t tail_ms, page_at_ms; /* when it was last read; not before */
	bool is_hungry;               /* streams wait for a page, and none is being read */
	bool is_due;                  /* the log has more, or nobody reads it any more */
};

struct feeds {
	struct streams *streams;
	struct feed *buckets[BUCKETS];
	LIST_HEAD(, feed) all;
	TAILQ_HEAD(, feed) hungry, due;
	size_t count, bytes, pages;
};

struct feeds *
feeds_new(struct streams *streams)
{
	struct feeds *feeds = mem_alloc(sizeof(*feeds));

	feeds->streams = streams;
	LIST_INIT(&feeds->all);
	TAILQ_INIT(&feeds->hungry);
	TAILQ_INIT(&feeds->due);
	return feeds;
}

/* Every stream has left before, and every read has ended. */
void
feeds_free(struct feeds *feeds)
{
	mem_free(feeds);
}

const char *
feed_tenant(const struct feed *feed)
{
	return feed->tenant;
}

static struct feed **
slot_of(struct feeds *feeds, const char *tenant)
{
	struct feed **slot = &feeds->buckets[hash_table64(tenant, strlen(tenant)) % BUCKETS];

	while (*slot && strcmp((*slot)->tenant, tenant) != 0)
		slot = &(*slot)->next;
	return slot;
}

/* ---- members ---- */

static void tail_read_done(void *arg, const struct stream_page *page);
static void page_read_done(void *arg, const struct stream_page *page);

static struct feed *
feed_new(struct feeds *feeds, struct feed **slot, const char *tenant, uint64_t last)
{
	struct feed *feed = *slot = mem_alloc(sizeof(*feed));

	feed->feeds = feeds;
	feed->tenant = mem_strdup(tenant);
	stream_kept_init(&feed->kept, last, &feeds->bytes);
	feed->known = last;
	feed->tail = stream_read_new(feeds->streams, feed->tenant, tail_read_done, feed);
	feed->page = stream_read_new(feeds->streams, feed->tenant, page_read_done, feed);
	LIST_INIT(&feed->members);
	TAILQ_INIT(&feed->line);
	LIST_INSERT_HEAD(&feeds->all, feed, of_all);
	feeds->count++;
	return feed;
}

static void
set_hungry(struct feed *feed, bool is_hungry)
{
	if (feed->is_hungry == is_hungry)
		return;
	feed->is_hungry = is_hungry;
	if (is_hungry)
		TAILQ_INSERT_TAIL(&feed->feeds->hungry, feed, in_hunger);
	else
		TAILQ_REMOVE(&feed->feeds->hungry, feed, in_hunger);
}

static void
set_due(struct feed *feed, bool is_due)
{
	if (feed->is_due == is_due)
		return;
	feed->is_due = is_due;
	if (is_due)
		TAILQ_INSERT_TAIL(&feed->feeds->due, feed, in_due);
	else
		TAILQ_REMOVE(&feed->feeds->due, feed, in_due);
}

/* What is known of the log's end. */
static void
learn(struct feed *feed, uint64_t last)
{
	if (last > feed->known)
		feed->known = last;
	set_due(feed, feed->known > feed->kept.to);
}

static void
feed_free(struct feed *feed)
{
	struct feed **slot = slot_of(feed->feeds, feed->tenant);

	*slot = feed->next;
	LIST_REMOVE(feed, of_all);
	feed->feeds->count--;
	set_hungry(feed, false);
	set_due(feed, false);
	stream_kept_fini(&feed->kept);
	if (stream_read_is_busy(feed->page))
		feed->feeds->pages--;
	stream_read_free(feed->tail);
	stream_read_free(feed->page);
	mem_free(feed->tenant);
	mem_free(feed);
}

void
feeds_join(struct feeds *feeds, struct stream *stream, const char *tenant, uint64_t last)
{
	struct feed **slot = slot_of(feeds, tenant);

	stream->feed = *slot ? *slot : feed_new(feeds, slot, tenant, last);
	LIST_INSERT_HEAD(&stream->feed->members, stream, of_feed);
	learn(stream->feed, last);
}

static void
stand_in_line(struct stream *stream, bool waits)
{
	if (stream->waits_in_line == waits)
		return;
	stream->waits_in_line = waits;
	if (waits)
		TAILQ_INSERT_TAIL(&stream->feed->line, stream, in_line);
	else
		TAILQ_REMOVE(&stream->feed->line, stream, in_line);
}

void
feeds_leave(struct stream *stream)
{
	struct feed *feed = stream->feed;

	if (!feed)
		return;
	stand_in_line(stream, false);
	LIST_REMOVE(stream, of_feed);
	stream->feed = NULL;
	if (LIST_EMPTY(&feed->members))
		set_due(feed, true);
}

/* ---- serving ---- */

/* Where what is kept begins, for this stream. */
static uint64_t
kept_from(const struct stream *stream)
{
	const struct feed *feed = stream->feed;
	bool is_cloud = stream->kind == STREAM_CLOUDEVENTS_SOCKET;

	return is_cloud && feed->kept.cloud_from > feed->kept.from ? feed->kept.cloud_from : feed->kept.from;
}

void
feeds_serve(struct stream *stream)
{
	struct feed *feed = stream->feed;
	struct stream_run kept = stream_kept_run(&feed->kept);

	if (!stream_flush(stream))
		return;
	if (stream->at < kept_from(stream)) {
		stand_in_line(stream, true);
		set_hungry(feed, !stream_read_is_busy(feed->page));
		return;
	}
	stand_in_line(stream, false);
	stream_write(stream, &kept);
	if (!stream->is_dead && !stream->item && stream->at >= feed->kept.to) {
		stream->has_caught_up = true;
		stream->waiting_bytes = 0;
	}
}

/* A stream that had caught up and takes no more is allowed to be behind by the buffer, and no further. */
static void
count_waiting(struct stream *stream, const struct stream_run *run)
{
	if (!stream->has_caught_up)
		return;
	for (size_t i = 0; i < run->count; i++)
		if (stream_filter_passes(stream->filter, run->items[i]->type, run->items[i]->subject))
			stream->waiting_bytes += stream_item_wire_size(stream, run->items[i]);
	if (stream->waiting_bytes <= stream->streams->buffer_bytes)
		return;
	counter_add(stream->streams->slow, 1);
	stream_finish(stream, &STREAM_END_SLOW, NULL);
}

static void
tell_gap(struct stream *stream, uint64_t first)
{
	if (stream->at + 1 >= first)
		return;
	stream_say_gap(stream, first);
	stream->at = first - 1;
}

/* Serving one stream can end it, and takes no other from the list. */
static struct stream *
next_member(struct stream *stream)
{
	return LIST_NEXT(stream, of_feed);
}

static void
end_members(struct feed *feed)
{
	while (!LIST_EMPTY(&feed->members))
		stream_finish(LIST_FIRST(&feed->members), &STREAM_END_RESTORED, NULL);
}

static void
tail_read_done(void *arg, const struct stream_page *page)
{
	struct feed *feed = arg;

	feed->tail_ms = streams_now_ms(feed->feeds->streams);
	if (!page->is_good)
		return;
	/* A log that ends before what was read of it is another one: it was restored from a copy. Its streams
	 * end, and who would resume one is told that there is no such position. */
	if (page->last < page->run.from) {
		end_members(feed);
		return;
	}
	/* All that was kept is gone from the log, and more. */
	if (page->first > feed->kept.to + 1) {
		stream_kept_skip(&feed->kept, page->first - 1);
	}
	for (size_t i = 0; i < page->run.count; i++)
		stream_kept_add(&feed->kept, page->run.items[i]);
	if (page->run.count == 0)
		feed->known = feed->kept.to; /* whatever was said: the sweep looks again */
	for (struct stream *stream = LIST_FIRST(&feed->members), *next; stream; stream = next) {
		next = next_member(stream);
		if (!stream->waits_in_line && page->first > 0)
			tell_gap(stream, page->first);
		if (stream->is_blocked)
			count_waiting(stream, &page->run);
		else if (!stream->waits_in_line)
			feeds_serve(stream);
	}
	stream_kept_trim(&feed->kept);
	if (page->run.count > 0)
		learn(feed, page->last);
}

static void
take_page(struct stream *stream, const struct stream_page *page)
{
	tell_gap(stream, page->first);
	stand_in_line(stream, false);
	if (stream->at >= page->run.from && stream->at < page->run.to)
		stream_write(stream, &page->run);
	if (!stream->is_dead && !stream->is_blocked)
		feeds_serve(stream);
}

static void
page_read_done(void *arg, const struct stream_page *page)
{
	struct feed *feed = arg;
	struct stream *last = TAILQ_LAST(&feed->line, stream_line);

	feed->feeds->pages--;
	if (!page->is_good || (page->run.count == 0 && page->first <= page->run.from + 1))
		feed->page_at_ms = streams_now_ms(feed->feeds->streams) + RETRY_MS;
	/* Those that are still behind afterwards stand at the end of the line. */
	for (struct stream *stream = TAILQ_FIRST(&feed->line), *next; stream && page->is_good; stream = next) {
		next = stream == last ? NULL : TAILQ_NEXT(stream, in_line);
		take_page(stream, page);
	}
	set_hungry(feed, !TAILQ_EMPTY(&feed->line));
}

/* ---- reading ---- */

void
feeds_grew(struct feeds *feeds, const char *tenant, uint64_t last)
{
	struct feed *feed = *slot_of(feeds, tenant);

	if (feed)
		learn(feed, last);
}

static void
read_page(struct feed *feed)
{
	const struct stream *first = TAILQ_FIRST(&feed->line);

	set_hungry(feed, false);
	if (!first)
		return;
	feed->feeds->pages++;
	counter_add(feed->feeds->streams->pages, 1);
	stream_read_start(feed->page, first->at);
}

void
feeds_turn(struct feeds *feeds)
{
	uint64_t now = streams_now_ms(feeds->streams);

	for (struct feed *feed = TAILQ_FIRST(&feeds->hungry), *next; feed; feed = next) {
		next = TAILQ_NEXT(feed, in_hunger);
		if (feeds->pages < PAGES_AT_ONCE && feed->page_at_ms <= now)
			read_page(feed);
	}
	while (!TAILQ_EMPTY(&feeds->due)) {
		struct feed *feed = TAILQ_FIRST(&feeds->due);
		set_due(feed, false);
		if (LIST_EMPTY(&feed->members))
			feed_free(feed);
		else if (feed->known > feed->kept.to && !stream_read_is_busy(feed->tail))
			stream_read_start(feed->tail, feed->kept.to);
	}
}

void
feeds_sweep(struct feeds *feeds, uint64_t now_ms)
{
	uint64_t each_ms = feeds->count * SWEEP_MS_PER_FEED;
	struct feed *feed;

	if (each_ms < SWEEP_MS)
		each_ms = SWEEP_MS;
	LIST_FOREACH(feed, &feeds->all, of_all)
	if (!stream_read_is_busy(feed->tail) && now_ms - feed->tail_ms >= each_ms)
		stream_read_start(feed->tail, feed->kept.to);
}
