/*
 * fleet: its life. See fleet.h.
 */
#include "fleet.h"

#include <inttypes.h>
#include <stdio.h>

#include "fleet_internal.h"

#define JOURNAL_MAX (8u << 20)

struct trust *
fleet_trust_of(void *arg, const char *tenant, const char *name)
{
	struct fleet *fleet = arg;
	return &fleet->shards[fleet_shard_of(tenant, name)].trust;
}

void
fleet_be_alone(struct fleet *fleet, bool is_alone)
{
	for (unsigned i = 0; i < FLEET_SHARDS; i++)
		atomic_store(&fleet->shards[i].trust.is_alone, is_alone);
}

bool
fleet_is_ready(const struct fleet *fleet)
{
	if (atomic_load(&fleet->is_restoring))
		return false;
	for (unsigned i = 0; i < FLEET_SHARDS; i++)
		if (!atomic_load(&fleet->shards[i].is_known) && !atomic_load(&fleet->shards[i].trust.is_alone))
			return false;
	return true;
}

bool
fleet_is_alone(const struct fleet *fleet)
{
	bool is_alone = false;

	for (unsigned i = 0; i < FLEET_SHARDS; i++)
		is_alone = is_alone || atomic_load(&fleet->shards[i].trust.is_alone);
	return is_alone;
}

static void
make_metrics(struct fleet *fleet, struct metrics *metrics)
{
	static const struct metric_spec GAPS = {
	    .name = "corbel_cache_log_gaps",
	    .help = "Times that changes of a shard were missed and its entries forgotten."};
	static const struct metric_spec RENEWALS = {
	    .name = "corbel_cache_log_renewals",
	    .help = "Times that Redis came back without a shard's log or the end of it."};
	static const struct metric_spec TOLD = {
	    .name = "corbel_cache_pending_told",
	    .help = "Changes that other replicas were told of when Redis was back."};
	static const struct metric_spec RESTOCKED = {
	    .name = "corbel_cache_restocked",
	    .help = "Entries of memory that were put into Redis when it was back without them."};
	static const struct metric_spec LAG = {.name = "corbel_cache_log_lag_seconds",
	                                       .help = "How long ago the shard furthest behind was in step.",
	                                       .unit = "seconds"};
	static const struct metric_spec TRUSTED = {.name = "corbel_cache_trusted_shards",
	                                           .help = "Shards whose entries in memory may be given, of 16."};
	static const struct metric_spec WAITING = {
	    .name = "corbel_cache_pending", .help = "Changes that other replicas are still to be told of."};

	fleet->gaps = metrics_counter(metrics, &GAPS, NULL);
	fleet->renewals = metrics_counter(metrics, &RENEWALS, NULL);
	fleet->told = metrics_counter(metrics, &TOLD, NULL);
	fleet->restocked = metrics_counter(metrics, &RESTOCKED, NULL);
	fleet->lag = metrics_gauge(metrics, &LAG, NULL);
	fleet->trusted = metrics_gauge(metrics, &TRUSTED, NULL);
	fleet->waiting = metrics_gauge(metrics, &WAITING, NULL);
}

struct fleet *
fleet_new(const struct fleet_options *options)
{
	struct fleet *fleet = mem_alloc(sizeof(*fleet));

	fleet->options = *options;
	if (options->holder_ms == 0)
		fleet->options.holder_ms = FLEET_HOLDER_MS;
	snprintf(fleet->holder, sizeof(fleet->holder), "%016" PRIx64, random_u64(options->random));
	fleet->last_errand = &fleet->errands;
	fleet->last_reading = &fleet->readings;
	pthread_mutex_init(&fleet->lock, NULL);
	pthread_cond_init(&fleet->wake, NULL);
	if (options->metrics)
		make_metrics(fleet, options->metrics);
	fleet->pending = pending_new(fleet);
	return fleet;
}

struct status
fleet_start(struct fleet *fleet, struct engine *engine)
{
	struct status st = status_ok_value();

	fleet->engine = engine;
	if (fleet->options.journal)
		st = pending_restore(fleet->pending, fleet->options.journal, JOURNAL_MAX, engine);
	if (!status_ok(&st))
		return st;
	/* Nothing is read in Redis before what is in the journal was done there. */
	if (!pending_join(fleet->pending)) {
		atomic_store(&fleet->is_restoring, true);
		fleet_be_alone(fleet, true);
	}
	fleet->is_asking = pthread_create(&fleet->asking, NULL, fleet_ask_main, fleet) == 0;
	fleet->is_following = pthread_create(&fleet->following, NULL, fleet_follow_main, fleet) == 0;
	return fleet->is_asking && fleet->is_following
	           ? status_ok_value()
	           : status_make(STATUS_UNAVAILABLE, "the kernel gives no thread");
}

void
fleet_free(struct fleet *fleet)
{
	if (!fleet)
		return;
	atomic_store(&fleet->is_ending, true);
	if (fleet->is_following)
		(void)pthread_join(fleet->following, NULL);
	pthread_mutex_lock(&fleet->lock);
	fleet->is_stopping = true;
	pthread_cond_signal(&fleet->wake);
	pthread_mutex_unlock(&fleet->lock);
	if (fleet->is_asking)
		(void)pthread_join(fleet->asking, NULL);
	pending_free(fleet->pending);
	pthread_cond_destroy(&fleet->wake);
	pthread_mutex_destroy(&fleet->lock);
	mem_free(fleet);
}
