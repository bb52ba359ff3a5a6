/*
 * runner: runs one untrusted Python program at a time and slot, confined by the kernel.
 *
 *   runner_start    a zygote process is started: a warmed interpreter that forks one child a run
 *   runner_submit   hands a program to a child and returns; `done` tells how it ended
 *   runner_stop     waits for what runs, kills what does not end, frees
 *
 * The runner has one thread of its own: `done` is called there, exactly once for each run that was accepted,
 * and may not wait. Every other call is for any thread. The queue in front, fairness and retries are the
 * caller's: a runner whose slots are taken says so at once.
 */
#ifndef CORBEL_SANDBOXD_RUNNER_H
#define CORBEL_SANDBOXD_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "telemetry/log.h"

#define RUNNER_CODE_MAX       (256u * 1024u)
#define RUNNER_CONTEXT_MAX    (1024u * 1024u)
#define RUNNER_OUTPUT_MAX     (16u * 1024u * 1024u) /* highest output_bytes */
#define RUNNER_LOG_MAX        (1024u * 1024u)       /* highest log_bytes */
#define RUNNER_FILE_NAME_MAX  200u
#define RUNNER_TEXT_MAX       (16u * 1024u) /* of a message or a traceback; longer ones are cut */
#define RUNNER_VIOLATIONS_MAX 50u
#define RUNNER_SLOTS_MAX      256u

/* ---------------------------------------------------------------- layers of isolation */

enum runner_layer {
	RUNNER_RLIMITS,      /* CPU, address space, files, file size, core, processes */
	RUNNER_NO_NEW_PRIVS, /* and not dumpable, dies with the zygote, three descriptors, no capabilities */
	RUNNER_SECCOMP,      /* default kill, with a short list of system calls */
	RUNNER_LANDLOCK,     /* every path is denied, as far as the kernel's version goes */
	RUNNER_NAMESPACES,   /* user, mount with an empty root, PID, network, IPC, UTS */
	RUNNER_CGROUP,       /* memory and processes of all runs together */
	RUNNER_LAYERS
};
#define RUNNER_LAYER(layer) (1u << (layer))
#define RUNNER_ALL_LAYERS   ((1u << RUNNER_LAYERS) - 1)

enum runner_layer_state {
	RUNNER_ACTIVE,
	RUNNER_UNAVAILABLE, /* the host refuses it; `why` says what it said */
	RUNNER_OFF          /* not asked for */
};

/* "rlimits", "no_new_privs", "seccomp", "landlock", "namespaces", "cgroup" */
const char *runner_layer_name(enum runner_layer layer);

/* The least set of layers without which nothing runs: names separated by commas, all of which have to be
 * active; "a|b" is at least one of them. */
#define RUNNER_POLICY_DEFAULT "seccomp,rlimits,no_new_privs,landlock|namespaces"
#define RUNNER_POLICY_NONE    "none" /* nothing has to be active: for trying layers one by one */
/* INVALID_ARGUMENT names the word that is no layer. */
struct status runner_policy_check(const char *policy);

struct runner_isolation {
	struct {
		enum runner_layer_state state;
		char why[120]; /* how far an active layer goes, or why there is none; may be "" */
	} layers[RUNNER_LAYERS];
	bool is_enough;   /* for the policy */
	char missing[80]; /* the first of its terms that does not hold; "" when all do */
};

/* ---------------------------------------------------------------- a run */

/* 0 takes the default. Beyond the bounds: INVALID_ARGUMENT. */
struct runner_limits {
	uint32_t cpu_ms;       /* 10000 */
	uint32_t wall_ms;      /* 30000 */
	uint64_t memory_bytes; /* 256 MiB, beyond what the warmed interpreter takes; at least 16 MiB */
	uint32_t output_bytes; /* 1 MiB, of `result` as JSON */
	uint32_t log_bytes;    /* 64 KiB, of what is printed; the rest is dropped */
};

enum runner_mode {
	RUNNER_RUN,
	RUNNER_VALIDATE /* the static check only: nothing of the program is executed */
};

struct runner_request {
	const char *code; /* UTF-8; at most RUNNER_CODE_MAX */
	size_t code_size;
	const char *file_name; /* in tracebacks; NULL: "plugin.py" */
	const char *context;   /* JSON, at most RUNNER_CONTEXT_MAX; NULL: null */
	size_t context_size;
	struct runner_limits limits;
	enum runner_mode mode;
	/* Neither the static check nor the trimmed builtins: the kernel's layers stand alone. For tests. */
	bool is_unchecked;
};

enum runner_outcome {
	RUNNER_OK,
	RUNNER_INVALID_CODE,  /* `violations` say where and why */
	RUNNER_RUNTIME_ERROR, /* an exception left the program, or the interpreter crashed */
	RUNNER_CPU_LIMIT,
	RUNNER_MEMORY_LIMIT,
	RUNNER_TIMEOUT,
	RUNNER_OUTPUT_LIMIT,
	RUNNER_SECURITY_VIOLATION, /* a system call that is not allowed, or nonsense on the child's channel */
	RUNNER_RESULT_NOT_JSON,
	RUNNER_CANCELLED,
	RUNNER_HOST_ERROR, /* not the program's fault: the zygote died, no process could be made */
	RUNNER_OUTCOMES
};
/* "ok", "invalid_code" … */
const char *runner_outcome_name(enum runner_outcome outcome);

struct runner_violation {
	uint32_t line, column; /* from 1; 0: unknown */
	const char *reason;    /* "import of 'os' is not allowed" */
	const char *hint;      /* what to do instead; may be "" */
};

/* Lives until `done` returns. Texts are UTF-8 and NUL-terminated, also for programs that mean ill. */
struct runner_result {
	enum runner_outcome outcome;
	const char *result; /* one JSON value; NULL unless ok */
	size_t result_size;
	const char *log; /* what was printed, also by a run that was killed */
	size_t log_size;
	bool is_log_cut;
	const char *message;   /* of a failure, for people; "" when ok */
	const char *traceback; /* the program's own frames; "" when there is none */
	/* A system call that was refused. Its number is what the killed child said: a hint. */
	const char *system_call; /* "openat"; "" when unknown or of no concern */
	int system_call_number;  /* -1: unknown */
	const struct runner_violation *violations;
	size_t violation_count;
	/* Of a child that had not been waiting, with the millisecond of its preparation. */
	uint64_t cpu_us, wall_us;
	uint64_t memory_peak_bytes; /* beyond the warmed interpreter */
};

typedef void (*runner_done)(void *arg, const struct runner_result *result);

/* ---------------------------------------------------------------- the runner */

struct runner;

struct runner_options {
	const char *zygote;    /* path of the program corbel-zygote; NULL: beside the program that runs */
	const char *policy;    /* NULL: RUNNER_POLICY_DEFAULT */
	uint32_t layers;       /* bits RUNNER_LAYER(…) to apply where possible; 0: all */
	uint32_t slots;        /* runs at a time, at most RUNNER_SLOTS_MAX; 0: one a processor */
	uint32_t ready;        /* children that wait in advance, at most `slots`; 0: as many as slots */
	uint32_t generation;   /* children that a zygote makes, all with its hash seed; 0: 500 */
	uint64_t memory_bytes; /* the cgroup's limit for all runs together; 0: 256 MiB, and 512 MiB a slot */
	struct log *log;       /* NULL: silent */
};

/* Starts the zygote and waits until it is warm: about 100 ms. Any time, also in a process with threads. A
 * host that does not allow enough isolation is no failure: submissions are refused then. Fails with
 * INVALID_ARGUMENT (policy, bounds) or UNAVAILABLE (the program is not there, does not start). */
struct status runner_start(const struct runner_options *options, struct runner **out);

/* Copies everything of the request. RESOURCE_EXHAUSTED: all slots are taken. FAILED_PRECONDITION: the policy
 * does not hold. UNAVAILABLE: it stops, or no zygote comes up. `*id` is never 0, and unique in this runner.
 */
struct status runner_submit(struct runner *runner, const struct runner_request *request, runner_done done,
                            void *arg, uint64_t *id);
/* Kills the run at once; it ends as cancelled, unless it had just ended. False: no such run. */
bool runner_cancel(struct runner *runner, uint64_t id);

void runner_isolation(struct runner *runner, struct runner_isolation *out);

struct runner_figures {
	uint32_t slots, running, ready;
	uint64_t started; /* runs accepted */
	uint64_t ended[RUNNER_OUTCOMES];
	uint64_t zygotes;         /* started in all */
	uint64_t zygote_deaths;   /* that were not wanted */
	int zygote_pid;           /* of the newest; 0: none just now */
	uint64_t child_own_bytes; /* memory that a waiting child shares with nobody, when last measured */
};
void runner_figures(struct runner *runner, struct runner_figures *out);

/* No new runs; waits at most `grace_ms` for those under way, cancels the rest, then frees everything. Not
 * from `done`. */
void runner_stop(struct runner *runner, uint32_t grace_ms);

#endif
