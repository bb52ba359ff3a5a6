/*
 * fleet_keys: names in Redis, and arguments of scripts.
 *
 * All keys of a shard have its number in braces, so that they are in one slot of a Redis Cluster.
 */
#include <string.h>

#include "base/hash.h"
#include "base/text.h"
#include "fleet_internal.h"

#define PREFIX     "corbel:cache:{%02u}:"
#define DIGITS_MAX 20u /* of a number of 64 bits */

static struct redis_arg
text_arg(const char *text)
{
	return (struct redis_arg){.data = text, .size = strlen(text)};
}

unsigned
fleet_shard_of(const char *tenant, const char *name)
{
	uint64_t hash =
	    hash_mix64(hash_stable64(tenant, strlen(tenant), 0), hash_stable64(name, strlen(name), 0));
	return (unsigned)(hash % FLEET_SHARDS);
}

struct redis_arg
fleet_head_key(unsigned shard, struct arena *arena)
{
	return text_arg(arena_printf(arena, PREFIX "head", shard));
}

struct redis_arg
fleet_log_key(unsigned shard, struct arena *arena)
{
	return text_arg(arena_printf(arena, PREFIX "log", shard));
}

struct redis_arg
fleet_life_prefix(unsigned shard, struct arena *arena)
{
	return text_arg(arena_printf(arena, PREFIX "life:", shard));
}

void
fleet_keys(const struct space *space, struct arena *arena, struct space_keys *out)
{
	unsigned shard = fleet_shard_of(space_tenant(space), space_name(space));
	const char *name = arena_printf(arena, "%s/%s", space_tenant(space), space_name(space));

	*out = (struct space_keys){
	    .shard = shard,
	    .space = name,
	    .head = fleet_head_key(shard, arena),
	    .log = fleet_log_key(shard, arena),
	    .names = text_arg(arena_printf(arena, PREFIX "names:%s", shard, name)),
	    .meta = text_arg(arena_printf(arena, PREFIX "meta:%s", shard, name)),
	    .globs = text_arg(arena_printf(arena, PREFIX "globs:%s", shard, name)),
	    .scratch = text_arg(arena_printf(arena, PREFIX "scratch", shard)),
	    .entry = text_arg(arena_printf(arena, PREFIX "entry:%s/", shard, name)),
	    .lease = text_arg(arena_printf(arena, PREFIX "lease:%s/", shard, name)),
	};
}

const struct space_keys *
turn_keys(struct turn *turn, const struct space *space)
{
	if (turn->named != space)
		fleet_keys(space, turn->arena, &turn->keys);
	turn->named = space;
	return &turn->keys;
}

/* Keys may have any byte. */
static struct redis_arg
key_of(struct redis_arg head, const char *key, size_t length, struct arena *arena)
{
	char *text = arena_alloc_raw(arena, head.size + length);

	memcpy(text, head.data, head.size);
	memcpy(text + head.size, key, length);
	return (struct redis_arg){.data = text, .size = head.size + length};
}

struct redis_arg
fleet_entry_key(const struct space_keys *keys, const char *key, size_t length, struct arena *arena)
{
	return key_of(keys->entry, key, length, arena);
}

struct redis_arg
fleet_lease_key(const struct space_keys *keys, const char *key, size_t length, struct arena *arena)
{
	return key_of(keys->lease, key, length, arena);
}

/* ---- arguments ---- */

static void
add(struct args *args, struct redis_arg arg)
{
	if (args->count == args->capacity) {
		size_t capacity = args->capacity ? args->capacity * 2 : 32;
		struct redis_arg *list = ARENA_ARRAY(args->arena, struct redis_arg, capacity);
		if (args->count > 0)
			memcpy(list, args->list, args->count * sizeof(list[0]));
		args->list = list;
		args->capacity = capacity;
	}
	args->list[args->count++] = arg;
}

struct redis_eval_item
args_command(const struct args *args)
{
	return (struct redis_eval_item){.args = args->list, .arg_count = args->count};
}

void
args_text(struct args *args, const char *text)
{
	add(args, text_arg(text));
}

void
args_bytes(struct args *args, const void *bytes, size_t size)
{
	add(args, (struct redis_arg){.data = bytes, .size = size});
}

void
args_number(struct args *args, uint64_t number)
{
	char *end = (char *)arena_alloc_raw(args->arena, DIGITS_MAX) + DIGITS_MAX, *at = end;

	do {
		*--at = (char)('0' + number % 10);
	} while ((number /= 10) > 0);
	args_bytes(args, at, (size_t)(end - at));
}

void
args_hex(struct args *args, uint64_t number)
{
	uint8_t bytes[8];
	char *text = arena_alloc_raw(args->arena, 2 * sizeof(bytes));

	put_big_endian(bytes, number, sizeof(bytes));
	text_hex_encode(bytes, sizeof(bytes), text);
	args_bytes(args, text, 2 * sizeof(bytes));
}

uint64_t
big_endian(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint64_t number = 0;

	for (size_t i = 0; i < size; i++)
		number = number << 8 | at[i];
	return number;
}

void
put_big_endian(void *bytes, uint64_t number, size_t size)
{
	uint8_t *at = bytes;

	for (size_t i = size; i-- > 0; number >>= 8)
		at[i] = (uint8_t)number;
}

void
args_hash(struct args *args, uint64_t hash)
{
	char *bytes = arena_alloc_raw(args->arena, 8);

	put_big_endian(bytes, hash, 8);
	args_bytes(args, bytes, 8);
}

void
args_prefixes(struct args *args, const char *key, size_t length)
{
	uint64_t hashes[INVALIDATIONS_DEPTH_MAX + 1];
	size_t count = prefix_hashes_of(key, length, hashes);

	args_number(args, count);
	for (size_t i = 0; i < count; i++)
		args_hash(args, hashes[i]);
}

uint64_t
reply_number(const struct redis_reply *reply)
{
	uint64_t number = 0;

	if (reply->type == REDIS_INTEGER && reply->integer >= 0)
		return (uint64_t)reply->integer;
	return reply->type == REDIS_TEXT && text_to_u64(reply->text, reply->size, &number) ? number : 0;
}
