/*
 * pool_watch: keeping an eye on the replicas of a pool, by the bus's timer.
 *
 * It ends what is out for too long, pings, sets aside who does not answer, dials who is not connected, and
 * closes who is gone.
 */
#include "pool_internal.h"

#define REMOVED_GRACE_MS 10000u
#define OVERDUE_MS       200u

static bool
is_overdue(const struct lane *lane, uint64_t now_ms)
{
	return atomic_load(&lane->started_ms) != 0 && now_ms > atomic_load(&lane->deadline_ms) + OVERDUE_MS;
}

static bool
is_stuck(const struct lane *lane, uint64_t now_ms)
{
	uint64_t started = atomic_load(&lane->started_ms);
	return started != 0 && now_ms > started + STUCK_MS;
}

struct overdue {
	nng_aio *aios[256];
	size_t count;
};

/* nng keeps a message that was to leave when its connection broke until there is another one: for ever,
 * when the replica is gone. */
static bool
is_stranded(const struct lane *lane, uint64_t now_ms)
{
	uint64_t started = atomic_load(&lane->started_ms);
	return lane->replica->pipes == 0 && atomic_load(&lane->state) == LANE_SENDING && started != 0 &&
	       now_ms > started + UNSENT_MS;
}

static void
collect_overdue(struct overdue *overdue, const struct lane *lane, uint64_t now_ms)
{
	if (lane->aio && (is_overdue(lane, now_ms) || is_stranded(lane, now_ms)) && overdue->count < 256)
		overdue->aios[overdue->count++] = lane->aio;
}

static bool
is_suspect(const struct replica *replica, uint64_t now_ms)
{
	bool has_stuck = false;
	for (size_t i = 0; i < FAST_LANES; i++)
		has_stuck = has_stuck || is_stuck(&replica->fast_lanes[i], now_ms);
	return has_stuck && now_ms > replica->answered_ms + STUCK_MS;
}

static bool
is_alone(const struct replica *replica)
{
	for (const struct replica *other = replica->pool->replicas; other; other = other->next)
		if (other != replica && replica_is_usable(other))
			return false;
	return true;
}

/* A message that is out for long may be one that takes long. Who answers a ping is alive. */
static void
suspect(struct replica *replica, uint64_t now_ms)
{
	if (!is_suspect(replica, now_ms)) {
		replica->suspected_ms = 0;
		return;
	}
	if (replica->suspected_ms == 0) {
		replica->suspected_ms = now_ms;
		replica->pinged_ms = 0; /* at once */
		return;
	}
	if (now_ms - replica->suspected_ms >= (is_alone(replica) ? SUSPECT_ALONE_MS : SUSPECT_MS))
		replica_set_aside(replica, "it does not answer");
}

/* Looks at one replica; true when it should be pinged now. */
static bool
inspect(struct replica *replica, uint64_t now_ms, struct overdue *overdue)
{
	for (size_t i = 0; i < FAST_LANES; i++)
		collect_overdue(overdue, &replica->fast_lanes[i], now_ms);
	suspect(replica, now_ms);
	for (size_t k = 0; k < LANE_KINDS; k++)
		for (size_t i = 0; i < replica->lanes[k].count; i++)
			collect_overdue(overdue, replica->lanes[k].items[i], now_ms);
	collect_overdue(overdue, &replica->ping, now_ms);
	if (replica->is_pinging || replica->pipes == 0 || replica->is_removed)
		return false;
	if (replica->pinged_ms != 0 && now_ms - replica->pinged_ms < replica->pool->ping_ms)
		return false;
	replica->is_pinging = true;
	replica->pinged_ms = now_ms;
	return true;
}

/* Takes one removed and idle replica out of the list. */
static struct replica *
take_removed(struct pool *pool, uint64_t now_ms)
{
	for (struct replica **slot = &pool->replicas; *slot; slot = &(*slot)->next) {
		struct replica *replica = *slot;
		if (!replica->is_removed ||
		    (replica->in_flight > 0 && now_ms < replica->removed_ms + REMOVED_GRACE_MS))
			continue;
		*slot = replica->next;
		return replica;
	}
	return NULL;
}

/* Only the timer takes replicas out of the list, and others put them in at its head. */
static void
tend_dialers(struct pool *pool, uint64_t now_ms)
{
	pthread_mutex_lock(&pool->lock);
	struct replica *replica = pool->replicas;
	while (replica) {
		bool is_connected = replica->pipes > 0 || replica->is_removed;
		pthread_mutex_unlock(&pool->lock);
		dial_tend(pool->bus, replica->socket, replica->url, &replica->dial, is_connected, now_ms);
		pthread_mutex_lock(&pool->lock);
		replica = replica->next;
	}
	pthread_mutex_unlock(&pool->lock);
}

void
pool_tick(void *arg, uint64_t now_ms)
{
	struct pool *pool = arg;
	struct overdue overdue = {.count = 0};
	struct lane *pings[BUS_ADDRESSES_MAX];
	size_t ping_count = 0;
	int64_t healthy = 0;
	struct replica *removed;

	pthread_mutex_lock(&pool->lock);
	for (struct replica *replica = pool->replicas; replica; replica = replica->next) {
		if (inspect(replica, now_ms, &overdue) && ping_count < BUS_ADDRESSES_MAX)
			pings[ping_count++] = &replica->ping;
		healthy += replica_is_usable(replica);
	}
	pthread_mutex_unlock(&pool->lock);
	tend_dialers(pool, now_ms);
	gauge_set(pool->healthy, healthy);
	gauge_set(pool->in_flight, atomic_load(&pool->queued));
	for (size_t i = 0; i < overdue.count; i++)
		nng_aio_cancel(overdue.aios[i]);
	for (size_t i = 0; i < ping_count; i++)
		lane_send(pings[i]);
	for (;;) {
		pthread_mutex_lock(&pool->lock);
		removed = take_removed(pool, now_ms);
		pthread_mutex_unlock(&pool->lock);
		if (!removed)
			break;
		replica_close(removed);
		replica_release(removed);
	}
	pool_pump(pool);
}
