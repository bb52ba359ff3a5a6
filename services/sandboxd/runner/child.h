/*
 * child: one process of the zygote and, once it has one, its run: from sandboxd's side.
 *
 * Plain data of the runner, touched under its lock.
 */
#ifndef CORBEL_SANDBOXD_CHILD_H
#define CORBEL_SANDBOXD_CHILD_H

#include "runner/answer.h"
#include "runner/zygote.h"

/*
 *            submit                   answer, or its end
 *  WAITING ─────────▶ RUNNING ──────────────────────────▶ ENDING ──▶ freed when the zygote has reported it
 */
enum child_state {
	CHILD_WAITING, /* for a request */
	CHILD_RUNNING,
	CHILD_ENDING /* its run is over: it has been killed */
};

struct run {
	runner_done done;
	void *arg;
	struct runner_limits limits;
	char *request; /* header, file name, code, context */
	size_t request_size, sent_bytes;
	struct answer answer;
	uint64_t started_ns, deadline_ns, cpu_check_ns;
	bool gives_way;       /* it has taken long, and its process is of a lower priority */
	uint64_t cpu_base_us; /* that the child had used while it waited; 0: it was made for this run */
	/* What the host has decided, whatever the child says; NULL: nothing. */
	const char *verdict;
	enum runner_outcome verdict_outcome;
};

struct child {
	uint64_t id; /* of the child, and of its run */
	enum child_state state;
	struct zygote *zygote; /* NULL: waits for one that is warm */
	bool is_orphan;        /* its zygote has died */
	int channel;           /* -1: closed */
	int far_channel;       /* the child's end, until it is ordered; -1 */
	int pidfd;             /* -1: not forked yet */
	pid_t pid;             /* 0: not forked yet */
	struct run run;        /* meaningful when RUNNING */
	struct child *next;
};

/* NULL: no descriptors left. */
struct child *child_new(uint64_t id);
/* Kills it, closes and frees; its run is over. */
void child_free(struct child *child);
void child_kill(struct child *child);
/* Whether the process has ended; also true when there is none yet. */
bool child_is_dead(const struct child *child);

void child_await_end(const struct child *child, int timeout_ms);

/* After so much processor time a run gives way to those that take less, and to the daemons beside them. */
#define GIVE_WAY_MS 50u

/* Takes a copy of the request; the limits are those that hold. */
void run_begin(struct child *child, const struct runner_request *request, const struct runner_limits *limits);
void run_clear(struct run *run);
/* Sends what the channel takes now. False: the other end is closed. */
bool run_send(struct child *child);
bool run_is_sent(const struct run *run);
/* Reads what is there, some of it when there is much. */
enum answer_state run_read(struct child *child);

/* Reads all that is left after the process has ended. */
void run_drain(struct child *child);

/* What a child has used, from outside; 0: not known. */
struct run_use {
	uint64_t cpu_us, peak_bytes;
	bool is_out_of_memory; /* the kernel has killed one of the runs for that */
};
/* The result from the host's verdict, or the child's answer, or how the process ended: `status` is as of
 * wait(). Its texts live as long as the run. */
void run_judge(struct child *child, int status, const struct run_use *use, struct runner_result *result);

#endif
