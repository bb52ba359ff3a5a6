/*
 * invalidations: see invalidations.h.
 *
 * The lock guards the maps and the patterns; the numbers that decide most questions are atomic and are
 * published after what they stand for, so whoever reads a number finds the rest.
 */
#include "invalidations.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "glob.h"
#include "sequence_map.h"

#define FIRST_TOMBSTONES 8u /* doubled as often as it takes */

struct tombstone {
	struct glob *glob;
	uint64_t sequence;
};

struct invalidations {
	pthread_rwlock_t lock; /* guards the maps and tombstones */
	struct sequence_map tags, prefixes;
	struct tombstone *tombstones; /* a ring, oldest first; NULL: none */
	uint32_t oldest, tombstone_count, tombstone_capacity;
	size_t glob_bytes; /* of their patterns */
	_Atomic uint64_t floor;
	_Atomic uint64_t latest; /* of all but the floor */
	_Atomic uint64_t tag_latest, prefix_latest, glob_latest;
	_Atomic uint64_t horizon; /* what is not covered since an older number cannot be said */
};

struct invalidations *
invalidations_new(size_t names_max, uint64_t seed)
{
	struct invalidations *inv = mem_alloc(sizeof(*inv));

	pthread_rwlock_init(&inv->lock, NULL);
	sequence_map_init(&inv->tags, names_max, seed);
	sequence_map_init(&inv->prefixes, names_max, seed);
	return inv;
}

static struct tombstone *
tombstone_at(const struct invalidations *inv, uint32_t i)
{
	return &inv->tombstones[(inv->oldest + i) % inv->tombstone_capacity];
}

static uint64_t
drop_oldest_tombstone(struct invalidations *inv)
{
	struct tombstone *tombstone = tombstone_at(inv, 0);
	uint64_t sequence = tombstone->sequence;

	inv->glob_bytes -= glob_bytes(tombstone->glob);
	glob_free(tombstone->glob);
	inv->oldest = (inv->oldest + 1) % inv->tombstone_capacity;
	inv->tombstone_count--;
	return sequence;
}

/* Drops those up to a number, and the ring when it is empty. */
static void
drop_tombstones(struct invalidations *inv, uint64_t sequence)
{
	while (inv->tombstone_count > 0 && tombstone_at(inv, 0)->sequence <= sequence)
		drop_oldest_tombstone(inv);
	if (inv->tombstone_count > 0)
		return;
	mem_free(inv->tombstones);
	inv->tombstones = NULL;
	inv->oldest = inv->tombstone_capacity = 0;
}

void
invalidations_free(struct invalidations *inv)
{
	if (!inv)
		return;
	drop_tombstones(inv, UINT64_MAX);
	sequence_map_fini(&inv->tags);
	sequence_map_fini(&inv->prefixes);
	pthread_rwlock_destroy(&inv->lock);
	mem_free(inv);
}

uint64_t
tag_hash(const char *tag, size_t length)
{
	return hash_stable64(tag, length, 0);
}

/* ---- numbers ---- */

static uint64_t
read_number(const _Atomic uint64_t *number)
{
	return atomic_load_explicit(number, memory_order_acquire);
}

static void
raise_number(_Atomic uint64_t *number, uint64_t to)
{
	if (to > atomic_load_explicit(number, memory_order_relaxed))
		atomic_store_explicit(number, to, memory_order_release);
}

uint64_t
invalidations_floor(const struct invalidations *inv)
{
	return read_number(&inv->floor);
}

uint64_t
invalidations_latest(const struct invalidations *inv)
{
	uint64_t latest = read_number(&inv->latest), floor = read_number(&inv->floor);
	return latest > floor ? latest : floor;
}

/* ---- adding ---- */

void
invalidations_add_all(struct invalidations *inv, uint64_t sequence)
{
	raise_number(&inv->floor, sequence);
}

/* Names that were forgotten raise the floor before the lock is given up: no look falls between. */
static void
add_name(struct invalidations *inv, struct sequence_map *map, _Atomic uint64_t *map_latest, uint64_t hash,
         uint64_t sequence)
{
	pthread_rwlock_wrlock(&inv->lock);
	raise_number(&inv->floor, sequence_map_put(map, hash, sequence));
	raise_number(map_latest, sequence);
	raise_number(&inv->latest, sequence);
	pthread_rwlock_unlock(&inv->lock);
}

void
invalidations_add_tag(struct invalidations *inv, uint64_t tag, uint64_t sequence)
{
	add_name(inv, &inv->tags, &inv->tag_latest, tag, sequence);
}

/* The end of the first INVALIDATIONS_DEPTH_MAX segments. */
static size_t
shorten(const char *prefix, size_t length)
{
	unsigned depth = 0;

	for (size_t i = 1; i < length; i++)
		if (prefix[i] == '/' && ++depth == INVALIDATIONS_DEPTH_MAX)
			return i;
	return length;
}

size_t
invalidations_prefix_length(const char *prefix, size_t length)
{
	length = shorten(prefix, length);
	while (length > 0 && prefix[length - 1] == '/')
		length--;
	return length;
}

uint64_t
prefix_hash(const char *prefix, size_t length)
{
	length = invalidations_prefix_length(prefix, length);
	return length > 0 ? hash_stable64(prefix, length, 0) : 0;
}

void
invalidations_add_prefix(struct invalidations *inv, const char *prefix, size_t length, uint64_t sequence)
{
	uint64_t hash = prefix_hash(prefix, length);

	if (hash == 0)
		invalidations_add_all(inv, sequence);
	else
		add_name(inv, &inv->prefixes, &inv->prefix_latest, hash, sequence);
}

/* A ring grows when it is full, and never beyond INVALIDATIONS_GLOBS_MAX. */
static void
grow_ring(struct invalidations *inv)
{
	uint32_t capacity = inv->tombstone_capacity ? 2 * inv->tombstone_capacity : FIRST_TOMBSTONES;
	struct tombstone *grown = mem_array(capacity, sizeof(grown[0]));

	for (uint32_t i = 0; i < inv->tombstone_count; i++)
		grown[i] = *tombstone_at(inv, i);
	mem_free(inv->tombstones);
	inv->tombstones = grown;
	inv->oldest = 0;
	inv->tombstone_capacity = capacity;
}

/* Where it belongs, by its number. */
static uint32_t
place_of(const struct invalidations *inv, uint64_t sequence)
{
	uint32_t at = inv->tombstone_count;

	while (at > 0 && tombstone_at(inv, at - 1)->sequence >= sequence)
		at--;
	return at;
}

/* One that is there already is the same pattern; the floor stands for those up to it. */
static bool
is_known(const struct invalidations *inv, uint64_t sequence)
{
	uint32_t at = place_of(inv, sequence);

	return sequence <= read_number(&inv->floor) ||
	       (at < inv->tombstone_count && tombstone_at(inv, at)->sequence == sequence);
}

static void
put_tombstone(struct invalidations *inv, struct tombstone tombstone)
{
	if (inv->tombstone_count == INVALIDATIONS_GLOBS_MAX)
		raise_number(&inv->floor, drop_oldest_tombstone(inv));
	if (inv->tombstone_count == inv->tombstone_capacity)
		grow_ring(inv);
	uint32_t at = place_of(inv, tombstone.sequence);
	inv->glob_bytes += glob_bytes(tombstone.glob);
	for (uint32_t i = inv->tombstone_count++; i > at; i--)
		*tombstone_at(inv, i) = *tombstone_at(inv, i - 1);
	*tombstone_at(inv, at) = tombstone;
}

struct status
invalidations_add_glob(struct invalidations *inv, const char *pattern, size_t length, uint64_t sequence)
{
	struct glob *glob;
	struct status st = glob_new(pattern, length, &glob);

	if (!status_ok(&st))
		return st;
	pthread_rwlock_wrlock(&inv->lock);
	if (is_known(inv, sequence))
		glob_free(glob);
	else
		put_tombstone(inv, (struct tombstone){glob, sequence});
	raise_number(&inv->glob_latest, sequence);
	raise_number(&inv->latest, sequence);
	pthread_rwlock_unlock(&inv->lock);
	return st;
}

/* ---- looking ---- */

static bool
tags_cover(const struct invalidations *inv, const struct subject *subject, uint64_t version)
{
	for (size_t i = 0; i < subject->tag_count; i++)
		if (sequence_map_get(&inv->tags, subject->tags[i]) > version)
			return true;
	return false;
}

size_t
prefix_hashes_of(const char *key, size_t length, uint64_t hashes[INVALIDATIONS_DEPTH_MAX + 1])
{
	size_t count = 0;

	for (size_t i = 1; i < length && count < INVALIDATIONS_DEPTH_MAX; i++)
		if (key[i] == '/')
			hashes[count++] = hash_stable64(key, i, 0);
	if (count < INVALIDATIONS_DEPTH_MAX)
		hashes[count++] = hash_stable64(key, length, 0);
	return count;
}

static bool
prefixes_cover(const struct invalidations *inv, const struct subject *subject, uint64_t version)
{
	uint64_t hashes[INVALIDATIONS_DEPTH_MAX + 1];
	size_t count = prefix_hashes_of(subject->key, subject->key_length, hashes);

	for (size_t i = 0; i < count; i++)
		if (sequence_map_get(&inv->prefixes, hashes[i]) > version)
			return true;
	return false;
}

/* The newest first: those that are older than the entry end it. */
static bool
globs_cover(const struct invalidations *inv, const struct subject *subject, uint64_t version)
{
	for (uint32_t i = inv->tombstone_count; i-- > 0;) {
		const struct tombstone *tombstone = tombstone_at(inv, i);
		if (tombstone->sequence <= version)
			return false;
		if (glob_matches(tombstone->glob, subject->key, subject->key_length))
			return true;
	}
	return false;
}

static bool
names_cover(const struct invalidations *inv, const struct subject *subject, uint64_t version)
{
	pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&inv->lock;

	pthread_rwlock_rdlock(lock);
	bool is_covered = version < read_number(&inv->floor) ||
	                  (version < read_number(&inv->tag_latest) && tags_cover(inv, subject, version)) ||
	                  (version < read_number(&inv->prefix_latest) && prefixes_cover(inv, subject, version)) ||
	                  (version < read_number(&inv->glob_latest) && globs_cover(inv, subject, version));
	pthread_rwlock_unlock(lock);
	return is_covered;
}

bool
invalidations_cover(const struct invalidations *inv, const struct subject *subject, uint64_t version)
{
	if (version < read_number(&inv->floor))
		return true;
	if (version >= read_number(&inv->latest))
		return false;
	return names_cover(inv, subject, version);
}

bool
invalidations_allow(const struct invalidations *inv, const struct subject *subject, uint64_t since)
{
	return since >= read_number(&inv->horizon) && !invalidations_cover(inv, subject, since);
}

void
invalidations_forget(struct invalidations *inv, uint64_t sequence)
{
	raise_number(&inv->horizon, sequence);
	pthread_rwlock_wrlock(&inv->lock);
	sequence_map_forget(&inv->tags, sequence);
	sequence_map_forget(&inv->prefixes, sequence);
	drop_tombstones(inv, sequence);
	pthread_rwlock_unlock(&inv->lock);
}

/* The floor rises before anything is forgotten: no look falls between. */
void
invalidations_widen(struct invalidations *inv)
{
	uint64_t latest = invalidations_latest(inv);

	pthread_rwlock_wrlock(&inv->lock);
	raise_number(&inv->floor, latest);
	sequence_map_forget(&inv->tags, latest);
	sequence_map_forget(&inv->prefixes, latest);
	drop_tombstones(inv, latest);
	pthread_rwlock_unlock(&inv->lock);
}

size_t
invalidations_globs(const struct invalidations *inv)
{
	return inv->tombstone_count;
}

size_t
invalidations_bytes(const struct invalidations *inv)
{
	return sizeof(*inv) + sequence_map_bytes(&inv->tags) + sequence_map_bytes(&inv->prefixes) +
	       inv->tombstone_capacity * sizeof(struct tombstone) + inv->glob_bytes;
}
