/*
 * metric_push: see metric_push.h.
 */
#include "telemetry/metric_push.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/arena.h"
#include "base/monotonic.h"
#include "telemetry/otlp.h"
#include "telemetry/otlp_client.h"

struct metric_push {
	struct metric_push_options options;
	char *service, *node;
	struct otlp_client *client; /* the thread's, but for otlp_client_hurry() */
	struct metric_counter *rejected;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool is_stopping; /* `lock` */
};

static void
push_once(struct metric_push *push)
{
	struct otlp_resource resource = {push->service, push->node};
	struct strbuf body;
	uint64_t rejected;

	if (push->options.collect)
		push->options.collect(push->options.arg);
	strbuf_init(&body, NULL);
	otlp_encode_metrics(&resource, push->options.metrics, clock_wall_us(push->options.clock),
	                    push->options.encoding, &body);
	(void)otlp_client_send(push->client, &body, &rejected); /* counts its outcome itself */
	counter_add(push->rejected, rejected);
	strbuf_fini(&body);
}

/* True when the interval is over, false when the end has come. */
static bool
wait_for_turn(struct metric_push *push)
{
	struct timespec until = monotonic_in_ms(push->options.interval_ms);
	int waited = 0;

	pthread_mutex_lock(&push->lock);
	while (!push->is_stopping && waited != ETIMEDOUT)
		waited = pthread_cond_timedwait(&push->wake, &push->lock, &until);
	bool is_stopping = push->is_stopping;
	pthread_mutex_unlock(&push->lock);
	return !is_stopping;
}

static void *
push_main(void *arg)
{
	struct metric_push *push = arg;

	while (wait_for_turn(push))
		push_once(push);
	push_once(push);
	return NULL;
}

static void
destroy(struct metric_push *push)
{
	otlp_client_free(push->client);
	pthread_cond_destroy(&push->wake);
	pthread_mutex_destroy(&push->lock);
	mem_free(push->service);
	mem_free(push->node);
	mem_free(push);
}

static void
init_sync(struct metric_push *push)
{

	pthread_mutex_init(&push->lock, NULL);
	monotonic_cond_init(&push->wake);
}

struct metric_push *
metric_push_new(const struct metric_push_options *options)
{
	static const struct metric_spec REJECTED = {
	    .name = "corbel_metrics_rejected_points",
	    .help = "Data points that the OTLP collector took and threw away."};
	struct metric_push *push = mem_alloc(sizeof(*push));
	struct otlp_client_options client = {.endpoint = options->endpoint,
	                                     .signal = "metrics",
	                                     .encoding = options->encoding,
	                                     .headers = options->headers,
	                                     .log = options->log,
	                                     .metrics = options->metrics};

	push->options = *options;
	if (!push->options.clock)
		push->options.clock = clock_system();
	push->service = mem_strdup(options->service ? options->service : "corbel");
	push->node = mem_strdup(options->node ? options->node : "");
	push->client = otlp_client_new(&client);
	push->rejected = metrics_counter(options->metrics, &REJECTED, NULL);
	init_sync(push);
	if (pthread_create(&push->thread, NULL, push_main, push) == 0)
		return push;
	destroy(push);
	return NULL;
}

void
metric_push_free(struct metric_push *push, uint32_t grace_ms)
{
	if (!push)
		return;
	otlp_client_hurry(push->client, grace_ms);
	pthread_mutex_lock(&push->lock);
	push->is_stopping = true;
	pthread_cond_signal(&push->wake);
	pthread_mutex_unlock(&push->lock);
	pthread_join(push->thread, NULL);
	destroy(push);
}
