/*
 * figures: what the runner knows of itself, as metrics.
 */
#include "sandboxd_internal.h"

struct figures {
	struct metric_counter *zygotes, *deaths;
	struct metric_gauge *ready, *child_bytes;
	uint64_t zygotes_told, deaths_told;
};

struct figures *
figures_new(struct metrics *metrics)
{
	struct figures *figures = mem_alloc(sizeof(*figures));

	figures->zygotes = metrics_counter(
	    metrics, &(struct metric_spec){.name = "corbel_sandbox_zygotes", .help = "Zygotes that were started"},
	    NULL);
	figures->deaths =
	    metrics_counter(metrics,
	                    &(struct metric_spec){.name = "corbel_sandbox_zygote_deaths",
	                                          .help = "Zygotes that ended though nobody wanted that"},
	                    NULL);
	figures->ready = metrics_gauge(
	    metrics,
	    &(struct metric_spec){.name = "corbel_sandbox_ready", .help = "Children that wait for a program"},
	    NULL);
	figures->child_bytes =
	    metrics_gauge(metrics,
	                  &(struct metric_spec){.name = "corbel_sandbox_child_bytes",
	                                        .help = "Memory that a waiting child shares with nobody",
	                                        .unit = "bytes"},
	                  NULL);
	return figures;
}

void
figures_free(struct figures *figures)
{
	mem_free(figures);
}

void
figures_task(void *arg, struct store_conn *conn)
{
	struct sandboxd *self = arg;
	struct figures *figures = self->figures;
	struct runner_figures now;

	(void)conn;
	sandboxd_start_runner(self);
	struct runner *runner = atomic_load(&self->runner);
	if (!runner)
		return;
	runner_figures(runner, &now);
	counter_add(figures->zygotes, now.zygotes - figures->zygotes_told);
	counter_add(figures->deaths, now.zygote_deaths - figures->deaths_told);
	gauge_set(figures->ready, (int64_t)now.ready);
	gauge_set(figures->child_bytes, (int64_t)now.child_own_bytes);
	figures->zygotes_told = now.zygotes;
	figures->deaths_told = now.zygote_deaths;
}
