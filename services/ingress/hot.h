/*
 * hot: one busy key of hot_checks: what is held of its limit, how it is asked for, and how it answers.
 *
 * The shard's thread only.
 */
#ifndef CORBEL_INGRESS_HOT_H
#define CORBEL_INGRESS_HOT_H

#include "ingress_internal.h"

struct hot {
	struct hot *next;
	struct shard *shard;
	struct metric_counter *answered; /* answers from what is held */
	uint64_t hash;
	uint8_t *name; /* tenant, plan, route, limit, key */
	size_t name_size;
	char tenant[72];
	uint64_t units, until_ms; /* to spend */
	uint64_t want;            /* units to ask for next */
	uint64_t travels_until_ms, refused_until_ms, retry_at_ms, used_ms;
	uint64_t quota, window_ms, remaining, reset_at_ms; /* as last told; remaining without our units */
	bool is_impossible, is_asking, is_ended;           /* ended: what is asked for now is not to be held */
	uint64_t spent, refused, waited_ms;                /* not yet told */
	uint64_t asked_ms;
	struct request *asker; /* waits for the lease, or NULL */
	struct pool_call call;
	struct arena arena; /* of the call */
	Corbel__Bus__Principal principal;
	Corbel__V1__LimitCheck check; /* a copy, for calls without a request */
	struct arena check_arena;
};

/* The units that a lease may have, given what was last told; fewer than two are not worth one. */
uint64_t hot_lease_bound(const struct hot *hot);
/* Asks ratelimitd for `units` and tells it what was spent and refused; 0 only tells. Nothing may be asked for
   already. `asker` waits for the answer and gets the first unit, or the refusal; NULL: nobody waits. */
void hot_ask(struct hot *hot, struct request *asker, uint64_t units, uint64_t now_ms);

/* Answers a check from what is held, as ratelimitd would; the unit is already taken from it. */
void hot_answer(const struct hot *hot, struct request *request, bool is_allowed, uint64_t now_ms);
/* Answers a check with this state of its limit. */
void hot_answer_state(struct request *request, Corbel__V1__LimitState *state);

#endif
