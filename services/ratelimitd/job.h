/*
 * job: one decision on its way: resolved, decided in a store, answered.
 *
 * Made on a bus thread by check.c in the call's arena. With the memory store it is decided and answered
 * there; with Redis it goes to the engine's thread, which from then on alone touches the call.
 */
#ifndef CORBEL_RATELIMITD_JOB_H
#define CORBEL_RATELIMITD_JOB_H

#include "ratelimitd_internal.h"

enum job_kind { JOB_TAKE, JOB_LOOK, JOB_GIVE_BACK, JOB_RESET, JOB_REPORT, JOB_LEASE };

/* What one job asks about, resolved. */
struct inquiry {
	const char *tenant;
	size_t count;
	const char *keys[TABLE_ITEMS_MAX];
	const struct definition *definitions[TABLE_ITEMS_MAX];
	struct table_item items[TABLE_ITEMS_MAX];
	bool was_refused[TABLE_ITEMS_MAX]; /* by a shadow limit */
};

/* A call of several jobs ends with the last of them. */
struct many {
	struct call *call;
	size_t open;
};

struct job {
	struct job *next;
	enum job_kind kind;
	struct call *call;
	struct many *many;                       /* NULL: the call is this job's alone */
	Corbel__V1__BatchCheckReply__Item *item; /* of `many` */
	struct snapshot *snapshot;               /* held: definitions live in it */
	struct inquiry inquiry;
	bool is_throttled; /* report */
	uint32_t latency_ms;
	struct job *twin, **last_twin; /* the codec's own: jobs decided with this one, and how many */
	size_t twin_count;
	bool is_counted;     /* the codec's own: not another's twin */
	struct counter seen; /* what Redis answered, if the job is simple and its limit no sliding log … */
	uint64_t seen_us;    /* … and when, by its clock */
	uint64_t granted;    /* lease: out */
	bool is_allowed, is_degraded; /* out */
};

/* ---- check.c ---- */
/* The jobs of one bus message that are to be decided. */
struct gathering {
	struct ratelimitd *self;
	struct snapshot *snapshot; /* each job holds it, too */
	struct job *first, **last;
};
void gathering_begin(struct gathering *gathering, struct ratelimitd *self);
/* Adds one of a call's checks; one that cannot be resolved ends here. */
void gathering_check(struct gathering *gathering, struct many *many, const Corbel__V1__CheckRequest *request,
                     const char *tenant_id, Corbel__V1__BatchCheckReply__Item *item);
/* Decides them, or hands them to the engine. */
void gathering_end(struct gathering *gathering);

/* Decides in the memory store. RESOURCE_EXHAUSTED when its table is full. */
struct status job_decide_in_table(struct ratelimitd *self, struct job *job);
/* Decides without the shared store, by each limit's failure mode. */
struct status job_decide_degraded(struct ratelimitd *self, struct job *job);
/* Answers and ends the call (or the job's part of it). The job is gone afterwards. */
void job_answer(struct ratelimitd *self, struct job *job, struct status st);
/* Headers for the HTTP caller, from the states. */
void job_headers(struct call *call, const Corbel__V1__CheckReply *reply);
/* A check of one limit that enforces. */
bool job_is_simple(const struct job *job);
/* Whether units of the job's limit can be kept and spent later; of others, only what is spent at once. */
bool job_is_leasable(const struct job *job);

struct shared_engine;
/* Starts the thread that decides in Redis. */
struct status shared_engine_new(struct ratelimitd *self, struct shared_engine **out);
/* Finishes what is queued, then ends. */
void shared_engine_free(struct shared_engine *engine);
/* Takes a list of jobs; any thread. */
void shared_engine_push(struct shared_engine *engine, struct job *jobs);

/* ---- redis_codec.c: jobs to the script's argument and back ---- */
#define CODEC_JOBS_MAX 128u
struct codec;
struct codec *codec_new(struct arena *arena);
/* All jobs of a list, once; at most CODEC_JOBS_MAX. */
void codec_add(struct codec *codec, struct job *jobs);
const struct redis_arg *codec_keys(const struct codec *codec, size_t *count);
/* The script's only argument beside the keys, in the codec's arena. */
struct redis_arg codec_arg(struct codec *codec);
/* Fills the jobs' decisions; false when the reply is not what the script gives. */
bool codec_read(struct codec *codec, const struct redis_reply *reply);

#endif
