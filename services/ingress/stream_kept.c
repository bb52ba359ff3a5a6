/*
 * stream_kept: see stream_kept.h.
 */
#include "stream_kept.h"

#include <string.h>

#define KEPT_EVENTS 1000u
#define KEPT_BYTES  (4u << 20)
#define ALL_BYTES   (64u << 20)

void
stream_kept_init(struct stream_kept *kept, uint64_t at, size_t *all_bytes)
{
	*kept = (struct stream_kept){.from = at, .to = at, .all_bytes = all_bytes};
}

static void
drop_oldest(struct stream_kept *kept)
{
	struct stream_item *item = kept->items[kept->begin++];

	kept->count--;
	kept->bytes -= item->sse_size;
	*kept->all_bytes -= item->sse_size;
	kept->from = item->sequence;
	stream_item_release(item);
}

static void
drop_all(struct stream_kept *kept)
{
	while (kept->count > 0)
		drop_oldest(kept);
}

void
stream_kept_fini(struct stream_kept *kept)
{
	drop_all(kept);
	mem_free(kept->items);
}

static void
make_room(struct stream_kept *kept)
{
	if (kept->begin > kept->count) {
		memcpy(kept->items, kept->items + kept->begin, kept->count * sizeof(struct stream_item *));
		kept->begin = 0;
		return;
	}
	kept->capacity = kept->capacity ? 2 * kept->capacity : 16;
	kept->items = mem_resize(kept->items, kept->capacity, sizeof(struct stream_item *));
}

void
stream_kept_add(struct stream_kept *kept, struct stream_item *item)
{
	if (kept->begin + kept->count == kept->capacity)
		make_room(kept);
	kept->items[kept->begin + kept->count++] = item;
	kept->bytes += item->sse_size;
	*kept->all_bytes += item->sse_size;
	kept->to = item->sequence;
	if (!item->cloud)
		kept->cloud_from = item->sequence;
	stream_item_hold(item);
}

void
stream_kept_trim(struct stream_kept *kept)
{
	while (kept->count > 0 &&
	       (kept->count > KEPT_EVENTS || kept->bytes > KEPT_BYTES || *kept->all_bytes > ALL_BYTES))
		drop_oldest(kept);
}

void
stream_kept_skip(struct stream_kept *kept, uint64_t at)
{
	drop_all(kept);
	kept->from = kept->to = at;
}

struct stream_run
stream_kept_run(const struct stream_kept *kept)
{
	return (struct stream_run){kept->items + kept->begin, kept->count, kept->from, kept->to};
}
