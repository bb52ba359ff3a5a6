/*
 * test_fleet: see test_fleet.h.
 */
#include "support/test_fleet.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "support/test_process.h"

#define START_MS  60000u
#define HOLDER_MS 2000u /* the machine may be busy */

void
test_replica_configure(struct test_replica *replica, uint64_t ttl_ms, uint64_t grace_ms, uint64_t outage_ms)
{
	struct space_options options = space_options_default();

	options.ttl_ms = ttl_ms;
	options.grace_ms = grace_ms;
	options.outage_ms = outage_ms;
	options.early = 0;
	space_configure(replica->space, &options);
}

void
test_replica_start(struct test_replica *replica, const char *url, uint32_t patience_ms)
{
	char journal[TEST_DIR_MAX + 16];

	memset(replica, 0, sizeof(*replica));
	test_dir_make(&replica->dir);
	snprintf(journal, sizeof(journal), "%s/pending", replica->dir.path);
	struct status st = redis_new(&(struct redis_options){.url = url,
	                                                     .connections = 8,
	                                                     .connect_timeout_ms = patience_ms,
	                                                     .command_timeout_ms = patience_ms},
	                             &replica->redis);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	replica->fleet = fleet_new(&(struct fleet_options){.redis = replica->redis,
	                                                   .patience_ms = patience_ms,
	                                                   .holder_ms = HOLDER_MS,
	                                                   .journal = journal,
	                                                   .clock = clock_system(),
	                                                   .random = random_system()});
	replica->engine = engine_new(&(struct engine_options){
	    .bytes_max = 64 << 20, .trust_of = fleet_trust_of, .trust_arg = replica->fleet});
	ck_assert_int_eq(engine_space(replica->engine, "tenant", "space", &replica->space).code, STATUS_OK);
	arena_init(&replica->arena, 4096, 8 << 20);
	st = fleet_start(replica->fleet, replica->engine);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	for (uint64_t end = test_now_ms() + START_MS;
	     fleet_is_alone(replica->fleet) || !fleet_is_ready(replica->fleet); test_pause())
		ck_assert_uint_lt(test_now_ms(), end);
}

void
test_replica_stop(struct test_replica *replica)
{
	fleet_free(replica->fleet);
	engine_free(replica->engine);
	redis_free(replica->redis);
	arena_fini(&replica->arena);
	test_dir_remove(&replica->dir);
}

/* ---- waiting for an answer ---- */

struct answer {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool is_there;
};

static void
answer_init(struct answer *answer)
{
	pthread_mutex_init(&answer->lock, NULL);
	pthread_cond_init(&answer->wake, NULL);
	answer->is_there = false;
}

static void
answer_give(struct answer *answer)
{
	pthread_mutex_lock(&answer->lock);
	answer->is_there = true;
	pthread_cond_signal(&answer->wake);
	pthread_mutex_unlock(&answer->lock);
}

static void
answer_wait(struct answer *answer)
{
	pthread_mutex_lock(&answer->lock);
	while (!answer->is_there)
		pthread_cond_wait(&answer->wake, &answer->lock);
	pthread_mutex_unlock(&answer->lock);
	pthread_cond_destroy(&answer->wake);
	pthread_mutex_destroy(&answer->lock);
}

static void
reading_done(struct reading *reading)
{
	answer_give(reading->user);
}

static void
errand_done(struct errand *errand)
{
	answer_give(errand->user);
}

/* ---- calls ---- */

struct get
test_replica_get(struct test_replica *replica, const char *key, bool may_fill)
{
	struct get get = {.key = key, .key_length = strlen(key), .may_fill = may_fill};
	struct answer answer;
	struct reading reading = {.space = replica->space,
	                          .gets = &get,
	                          .count = 1,
	                          .arena = &replica->arena,
	                          .has_room = true,
	                          .done = reading_done,
	                          .user = &answer};

	arena_reset(&replica->arena);
	engine_get(replica->space, &get, 1, &replica->arena, NULL);
	if (!get.is_shared)
		return get;
	answer_init(&answer);
	fleet_read(replica->fleet, &reading);
	answer_wait(&answer);
	return get;
}

bool
test_replica_has(struct test_replica *replica, const char *key, const char *value)
{
	struct get get = test_replica_get(replica, key, false);

	return get.outcome == GET_HIT && get.value_length == strlen(value) &&
	       memcmp(get.value, value, get.value_length) == 0;
}

struct op
test_replica_do(struct test_replica *replica, struct op op, struct status *status)
{
	struct answer answer;
	struct errand errand = {
	    .space = replica->space, .ops = &op, .count = 1, .done = errand_done, .user = &answer};

	answer_init(&answer);
	fleet_change(replica->fleet, &errand);
	answer_wait(&answer);
	if (status)
		*status = errand.status;
	else
		ck_assert_msg(status_ok(&errand.status), "%s", errand.status.message);
	return op;
}

enum set_outcome
test_replica_set_tagged(struct test_replica *replica, const char *key, const char *value, uint64_t token,
                        const char *tag)
{
	struct op op = {.kind = OP_SET,
	                .set = {.key = key,
	                        .key_length = strlen(key),
	                        .value = value,
	                        .value_length = strlen(value),
	                        .tags = &tag,
	                        .tag_count = tag != NULL,
	                        .ttl_ms = ENGINE_DEFAULT_MS,
	                        .grace_ms = ENGINE_DEFAULT_MS,
	                        .error_grace_ms = ENGINE_DEFAULT_MS,
	                        .token = token}};

	return test_replica_do(replica, op, NULL).set.outcome;
}

enum set_outcome
test_replica_set(struct test_replica *replica, const char *key, const char *value, uint64_t token)
{
	return test_replica_set_tagged(replica, key, value, token, NULL);
}

/* ---- outages ---- */

void
test_replica_until_alone(struct test_replica *replica)
{
	uint64_t end = test_now_ms() + START_MS;

	while (!test_replica_do(replica, op_on(OP_DELETE, "nothing"), NULL).is_pending)
		ck_assert_uint_lt(test_now_ms(), end);
}

void
test_replica_until_together(struct test_replica *replica)
{
	for (uint64_t end = test_now_ms() + START_MS; fleet_is_alone(replica->fleet); test_pause())
		ck_assert_uint_lt(test_now_ms(), end);
}
