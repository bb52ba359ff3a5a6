/*
 * fetches: see fetches.h. Answers arrive on the thread of common/outbound, which nothing here makes wait.
 */
#include "fetches.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "origin.h"
#include "outbound/outbound.h"

#define FAILURE_MS     1000u
#define FAILURES       4096u
#define ARENA_BLOCK    4096u
#define ARENA_CEILING  (4u << 20) /* a value, and what it is asked for with */
#define OUTBOUND_DEPTH 1024u

/* Keys that failed of late, by hash; a newer one takes the place of an older. */
struct failure {
	_Atomic uint64_t hash, until_ms;
};

struct fetches {
	pthread_rwlock_t lock;     /* guards the pointer while it is used */
	struct outbound *outbound; /* NULL: it is over */
	struct failure failures[FAILURES];
	struct metric_counter *fetched, *absent, *failed;
};

struct fetch {
	struct outbound_request request;
	struct arena arena;
	struct cached *self;
	struct space *space;
	const char *key;
	uint64_t token;
	bool is_negative;
	struct errand errand;
	struct op op;
};

static uint64_t
hash_of(const struct space *space, const char *key)
{
	return hash_mix64(hash_table64(&space, sizeof(void *)), hash_table64(key, strlen(key)));
}

static void
note_failure(struct cached *self, const struct space *space, const char *key)
{
	uint64_t hash = hash_of(space, key);
	struct failure *failure = &self->fetches->failures[hash % FAILURES];

	atomic_store(&failure->hash, hash);
	atomic_store(&failure->until_ms, clock_mono_ms(self->env.clock) + FAILURE_MS);
}

bool
fetches_has_failed(const struct cached *self, const struct space *space, const char *key)
{
	uint64_t hash = hash_of(space, key);
	const struct failure *failure = &self->fetches->failures[hash % FAILURES];

	return atomic_load(&failure->hash) == hash &&
	       atomic_load(&failure->until_ms) > clock_mono_ms(self->env.clock);
}

bool
fetches_has_origin(const struct cached *self, const struct space *space)
{
	struct definition_rules rules;

	if (!definitions_have_origins(self->definitions))
		return false;
	definitions_find(self->definitions, space_tenant(space), space_name(space), &rules);
	return rules.origin_timeout_ms > 0;
}

/* ---- answers ---- */

static void
fetch_free(struct fetch *fetch)
{
	arena_fini(&fetch->arena);
	mem_free(fetch);
}

static void
released(struct errand *errand)
{
	fetch_free(errand->user);
}

/* What is done last with a fetch: `done` frees it. */
static void
run(struct fetch *fetch, struct op op, void (*done)(struct errand *))
{
	fetch->op = op;
	fetch->errand =
	    (struct errand){.space = fetch->space, .ops = &fetch->op, .count = 1, .done = done, .user = fetch};
	errands_run(fetch->self, &fetch->errand);
}

static void
give_back(struct fetch *fetch)
{
	struct op op = op_on(OP_RELEASE, fetch->key);

	op.token = fetch->token;
	run(fetch, op, released);
}

static void
fail(struct fetch *fetch, const char *what)
{
	struct cached *self = fetch->self;

	counter_add(self->fetches->failed, 1);
	log_warn(self->env.log, "origin failed", LOG_TEXT("tenant", space_tenant(fetch->space)),
	         LOG_TEXT("namespace", space_name(fetch->space)), LOG_TEXT("detail", what));
	/* Before the token is free: who is woken by that sees it. */
	note_failure(self, fetch->space, fetch->key);
	give_back(fetch);
}

static void
filled(struct errand *errand)
{
	struct fetch *fetch = errand->user;
	const struct fetches *fetches = fetch->self->fetches;

	if (fetch->op.set.outcome == SET_TOO_LARGE) {
		fail(fetch, "the value is larger than the namespace takes");
		return;
	}
	counter_add(fetch->is_negative ? fetches->absent : fetches->fetched, 1);
	fetch_free(fetch);
}

static void
fill(struct fetch *fetch, const struct outbound_response *response, bool is_negative)
{
	char *type = origin_header(response->head, response->head_size, "Content-Type", &fetch->arena);
	struct set set = {.key = fetch->key,
	                  .key_length = strlen(fetch->key),
	                  .value =
	                      is_negative ? "" : arena_memdup(&fetch->arena, response->body, response->body_size),
	                  .value_length = is_negative ? 0 : response->body_size,
	                  .content_type = is_negative || (type && strlen(type) > ENGINE_TYPE_MAX) ? NULL : type,
	                  .ttl_ms = ENGINE_DEFAULT_MS,
	                  .grace_ms = ENGINE_DEFAULT_MS,
	                  .error_grace_ms = ENGINE_DEFAULT_MS,
	                  .is_negative = is_negative,
	                  .token = fetch->token};

	/* Only what was checked is called JSON without more ado: see answers.c. */
	if (set.content_type && strcmp(set.content_type, "application/json") == 0)
		set.content_type = "application/json; charset=utf-8";
	fetch->is_negative = is_negative;
	run(fetch, (struct op){.kind = OP_SET, .set = set}, filled);
}

/* A value goes out with its media type alone, so it has to come without a coding. */
static void
take_value(struct fetch *fetch, const struct outbound_response *response)
{
	const char *coding =
	    origin_header(response->head, response->head_size, "Content-Encoding", &fetch->arena);

	if (coding && coding[0] && strcasecmp(coding, "identity") != 0)
		fail(fetch, arena_printf(&fetch->arena, "it answered with Content-Encoding: %s", coding));
	else
		fill(fetch, response, false);
}

static void
done(struct outbound_request *request)
{
	struct fetch *fetch = request->user;
	const struct outbound_response *response = &request->response;

	if (response->result != OUTBOUND_OK)
		fail(fetch, response->detail[0] ? response->detail : outbound_result_name(response->result));
	else if (response->is_cut)
		fail(fetch, "the value is larger than 1 MiB");
	else if (response->status == 200)
		take_value(fetch, response);
	else if (response->status == 404 || response->status == 410)
		fill(fetch, response, true);
	else
		fail(fetch, arena_printf(&fetch->arena, "it answered %u", response->status));
}

/* ---- questions ---- */

static bool
send_request(struct fetches *fetches, struct outbound_request *request)
{
	pthread_rwlock_rdlock(&fetches->lock);
	bool is_sent = fetches->outbound && outbound_send(fetches->outbound, request);
	pthread_rwlock_unlock(&fetches->lock);
	return is_sent;
}

static bool
fetch_send(struct fetch *fetch, const char *key)
{
	struct cached *self = fetch->self;
	struct definition_origin origin;

	if (!definitions_origin(self->definitions, space_tenant(fetch->space), space_name(fetch->space),
	                        &fetch->arena, &origin))
		return false;
	fetch->key = arena_strdup(&fetch->arena, key);
	fetch->request = (struct outbound_request){.url = origin_url(origin.url, key, &fetch->arena),
	                                           .headers = origin.headers,
	                                           .header_count = origin.header_count,
	                                           .timeout_ms = origin.timeout_ms,
	                                           .keep_bytes = DEFINITIONS_VALUE_MAX,
	                                           .max_bytes = DEFINITIONS_VALUE_MAX,
	                                           .done = done,
	                                           .user = fetch};
	return fetch->request.url && send_request(self->fetches, &fetch->request);
}

bool
fetches_start(struct cached *self, struct space *space, const char *key, uint64_t token)
{
	struct fetch *fetch = mem_alloc(sizeof(*fetch));

	arena_init(&fetch->arena, ARENA_BLOCK, ARENA_CEILING);
	fetch->self = self;
	fetch->space = space;
	fetch->token = token;
	if (fetch_send(fetch, key))
		return true;
	counter_add(self->fetches->failed, 1);
	note_failure(self, space, key);
	fetch->key = arena_strdup(&fetch->arena, key);
	give_back(fetch);
	return false;
}

/* ---- life ---- */

static struct metric_counter *
counter(const struct cached *self, const char *outcome)
{
	static const char *const LABELS[] = {"outcome", NULL};
	static const struct metric_spec SPEC = {.name = "corbel_cache_fetches",
	                                        .help = "Values asked of origins, by what came of it.",
	                                        .labels = LABELS};
	return metrics_counter(self->env.metrics, &SPEC, &outcome);
}

struct status
fetches_new(struct cached *self, struct fetches **out)
{
	struct policy policy;
	struct status st = policy_parse(config_text(self->env.config, "cached.allow"), &policy);
	const struct outbound_options options = {.max_in_flight = OUTBOUND_DEPTH,
	                                         .policy = &policy,
	                                         .refuses_own = true,
	                                         .proxy = config_text(self->env.config, "cached.proxy"),
	                                         .ca_file = config_text(self->env.config, "cached.ca_file"),
	                                         .log = self->env.log,
	                                         .metrics = self->env.metrics,
	                                         .clock = self->env.clock};
	struct fetches *fetches = mem_alloc(sizeof(*fetches));

	pthread_rwlock_init(&fetches->lock, NULL);
	fetches->fetched = counter(self, "fetched");
	fetches->absent = counter(self, "absent");
	fetches->failed = counter(self, "failed");
	*out = fetches;
	st = status_wrap(st, "cached.allow");
	return status_ok(&st) ? outbound_new(&options, &fetches->outbound) : st;
}

/* What is cancelled is told while nobody holds the lock: who is woken by it may want to fetch. */
void
fetches_stop(struct fetches *fetches)
{
	if (!fetches)
		return;
	pthread_rwlock_wrlock(&fetches->lock);
	struct outbound *outbound = fetches->outbound;
	fetches->outbound = NULL;
	pthread_rwlock_unlock(&fetches->lock);
	if (outbound)
		outbound_free(outbound, 0);
}

void
fetches_free(struct fetches *fetches)
{
	if (!fetches)
		return;
	fetches_stop(fetches);
	pthread_rwlock_destroy(&fetches->lock);
	mem_free(fetches);
}
