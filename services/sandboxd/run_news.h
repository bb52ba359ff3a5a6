/*
 * run_news: what sandboxd tells the event log of runs, in the transaction that records their end.
 *
 * Runs of the queue are told of one by one. Of runs that were waited for, failures are told by samples, one a
 * plugin in NEWS_EVERY_MS: who waited knows. Runs for events of sandboxd's own tell nothing, so that a plugin
 * that fails on its own failure does not go on for ever. Code without a plugin is told of to nobody.
 */
#ifndef CORBEL_SANDBOXD_RUN_NEWS_H
#define CORBEL_SANDBOXD_RUN_NEWS_H

#include "corbel/contract.gen.h"
#include "store/store.h"

#define NEWS_EVERY_MS 10000u

struct sandboxd;

/* Which plugins were told of lately. One thread at a time. */
struct news_filter;
struct news_filter *news_filter_new(const struct clock *clock);
void news_filter_free(struct news_filter *filter);
/* Whether a sample of it is due; then it counts as told of. */
bool news_filter_takes(struct news_filter *filter, const char *plugin_id);

struct run_news {
	const Corbel__V1__PluginRun *run;
	const char *version;    /* for people; NULL: unknown */
	const char *event_type; /* that it was for; NULL: none */
	bool is_queued;
};
struct status tell_run(struct sandboxd *self, struct news_filter *filter, struct store_tx *tx,
                       struct arena *arena, const struct run_news *news);

#endif
