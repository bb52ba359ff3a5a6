/*
 * denials: see denials.h. Direct-mapped by the counter's key, one lock a stripe.
 *
 * Redis's time is reckoned from the answer's own. Whether a refusal still holds is reckoned from before Redis
 * was asked, which is never behind it, so that no refusal lasts longer here than there; how long to wait,
 * from when the answer had come, which is never ahead of it, so that who waits so long is admitted.
 */
#include "denials.h"

#include <pthread.h>
#include <string.h>

#define STRIPES 64u
#define PLACES  128u /* of a stripe */

struct denial {
	struct table_key key;
	struct rule rule;
	uint64_t cost;
	struct counter counter;   /* not of a sliding log: that stays in Redis */
	struct decision decision; /* a sliding log's */
	uint64_t now_us;          /* Redis's time … */
	uint64_t sent_ns;         /* … and ours, from before it was asked; 0: free place */
	uint64_t trip_us;         /* until the answer had come */
};

struct stripe {
	pthread_mutex_t lock;
	struct denial places[PLACES];
};

struct denials {
	const struct clock *clock;
	struct stripe stripes[STRIPES];
};

struct denials *
denials_new(const struct clock *clock)
{
	struct denials *denials = mem_alloc(sizeof(*denials));

	denials->clock = clock;
	for (size_t i = 0; i < STRIPES; i++)
		pthread_mutex_init(&denials->stripes[i].lock, NULL);
	return denials;
}

void
denials_free(struct denials *denials)
{
	for (size_t i = 0; denials && i < STRIPES; i++)
		pthread_mutex_destroy(&denials->stripes[i].lock);
	mem_free(denials);
}

static struct stripe *
stripe_of(struct denials *denials, const struct table_key *key)
{
	return &denials->stripes[key->high % STRIPES];
}

static struct denial *
place_of(struct stripe *stripe, const struct table_key *key)
{
	return &stripe->places[key->low % PLACES];
}

static bool
is_same(const struct table_key *a, const struct table_key *b)
{
	return a->low == b->low && a->high == b->high;
}

void
denials_note(struct denials *denials, const struct job *job, uint64_t sent_ns)
{
	const struct table_item *item = &job->inquiry.items[0];
	struct stripe *stripe = stripe_of(denials, &item->key);
	uint64_t trip_us = (clock_mono_ns(denials->clock) - sent_ns) / 1000;

	if (item->decision.is_impossible)
		return;
	pthread_mutex_lock(&stripe->lock);
	*place_of(stripe, &item->key) = (struct denial){.key = item->key,
	                                                .rule = *item->rule,
	                                                .cost = item->cost,
	                                                .counter = job->seen,
	                                                .decision = item->decision,
	                                                .now_us = job->seen_us,
	                                                .sent_ns = sent_ns,
	                                                .trip_us = trip_us};
	pthread_mutex_unlock(&stripe->lock);
}

/* What a sliding log waits for is known for the cost that was refused, as long as no other entry leaves. */
static void
decide_by_log(const struct denial *denial, uint64_t passed_us, uint64_t cost, struct decision *out)
{
	*out = denial->decision;
	out->is_allowed = cost != denial->cost || passed_us >= denial->decision.retry_us;
	out->retry_us -= out->is_allowed ? 0 : passed_us;
	out->reset_us -= passed_us < out->reset_us ? passed_us : out->reset_us;
}

bool
denials_decide(struct denials *denials, struct job *job)
{
	struct table_item *item = &job->inquiry.items[0];
	struct stripe *stripe = stripe_of(denials, &item->key);
	uint64_t now_ns = clock_mono_ns(denials->clock);
	struct decision decision;

	pthread_mutex_lock(&stripe->lock);
	struct denial denial = *place_of(stripe, &item->key);
	pthread_mutex_unlock(&stripe->lock);
	uint64_t passed_us = (now_ns - denial.sent_ns) / 1000;
	if (!denial.sent_ns || !is_same(&denial.key, &item->key) || passed_us >= DENIAL_US ||
	    !rule_is_same(&denial.rule, item->rule))
		return false;
	if (item->rule->strategy == STRATEGY_SLIDING_LOG)
		decide_by_log(&denial, passed_us, item->cost, &decision);
	else
		counter_take(item->rule, &denial.counter, denial.now_us + passed_us, item->cost, &decision);
	if (decision.is_allowed)
		return false;
	decision.retry_us += denial.trip_us;
	decision.reset_us += denial.trip_us;
	item->decision = decision;
	job->is_allowed = false;
	return true;
}

void
denials_forget(struct denials *denials, const struct job *job)
{
	for (size_t i = 0; i < job->inquiry.count; i++) {
		const struct table_key *key = &job->inquiry.items[i].key;
		struct stripe *stripe = stripe_of(denials, key);
		pthread_mutex_lock(&stripe->lock);
		struct denial *denial = place_of(stripe, key);
		if (is_same(&denial->key, key))
			denial->sent_ns = 0;
		pthread_mutex_unlock(&stripe->lock);
	}
}
