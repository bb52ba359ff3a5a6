/*
 * denials: refusals by Redis that need not be asked for again.
 *
 * A counter that refuses a cost now refuses it until the time that follows from its state, whatever others
 * take from it meanwhile; only units that are given back and a reset end that early. So the state with which
 * Redis refused is kept, and answers for itself, exactly, until then.
 *
 * Give-backs and resets that pass through this replica end a memory at once. For those that pass through
 * another one (calls for one key go to one replica as long as the set of replicas stands), nothing is
 * remembered for longer than DENIAL_US. A fixed number of places; a newer refusal takes an older one's. Any
 * thread.
 */
#ifndef CORBEL_RATELIMITD_DENIALS_H
#define CORBEL_RATELIMITD_DENIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "job.h"

#define DENIAL_US UINT64_C(1000000)

struct denials;

struct denials *denials_new(const struct clock *clock);
void denials_free(struct denials *denials);
/* Remembers what Redis refused; `sent_ns` is monotonic, from before Redis was asked. */
void denials_note(struct denials *denials, const struct job *job, uint64_t sent_ns);
/* Decides the job if it is known to be refused. */
bool denials_decide(struct denials *denials, struct job *job);
/* The counter may admit again. */
void denials_forget(struct denials *denials, const struct job *job);

#endif
