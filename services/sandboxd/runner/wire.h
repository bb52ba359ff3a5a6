/*
 * wire: what sandboxd, its zygote and the zygote's children say to each other.
 *
 *   sandboxd ── control (SEQPACKET) ── zygote          orders, reports; descriptors travel beside them
 *       └────── channel (STREAM) ───── child           one run: a request in, frames out
 *
 * All are processes of one build on one machine, so the structures travel as they are. Children have no part
 * of the control socket, and nothing that a child says passes through the zygote: it is not believed, and it
 * harms its own run only.
 */
#ifndef CORBEL_SANDBOXD_WIRE_H
#define CORBEL_SANDBOXD_WIRE_H

#include <stdint.h>

#define WIRE_VERSION    1u
#define WIRE_LAYERS     6u /* enum runner_layer */
#define WIRE_WHY_MAX    120u
#define WIRE_CONTROL_FD 3 /* of the zygote */

/* ---------------------------------------------------------------- control */

/* Make a child whose channel is the descriptor that comes with it. The socket's end is the order to go. */
struct wire_order {
	uint64_t child; /* its name in what is reported */
};

enum wire_report_kind {
	WIRE_HELLO = 1, /* warm and locked: struct wire_hello, once, first */
	WIRE_FORKED,    /* with a pidfd */
	WIRE_UNFORKED,  /* there is no such child: `status` is an errno */
	WIRE_ENDED
};

struct wire_report {
	uint32_t kind;
	int32_t pid;
	uint64_t child;
	int32_t status; /* WIRE_ENDED: as of wait() */
	uint32_t unused;
	uint64_t cpu_us;    /* WIRE_ENDED */
	uint64_t rss_bytes; /* WIRE_ENDED: highest resident size */
};

struct wire_hello {
	uint32_t kind;
	uint32_t version;
	struct {
		uint32_t state; /* enum runner_layer_state */
		char why[WIRE_WHY_MAX];
	} layers[WIRE_LAYERS];
	uint64_t rss_bytes; /* of a child that does nothing */
};

/* ---------------------------------------------------------------- a child's channel */

#define WIRE_MAGIC 0x6c62726fu

/* In: this, then the file name, the code and the context, as long as said. */
struct wire_run {
	uint32_t magic;
	uint32_t is_validation;
	uint32_t is_unchecked;
	uint32_t cpu_ms;
	uint64_t memory_bytes;
	uint32_t output_bytes;
	uint32_t log_bytes;
	uint32_t name_size;
	uint32_t code_size;
	uint32_t context_size;
	uint32_t unused;
};

/* Out: any number of WIRE_LOG, then one WIRE_OUTCOME; or WIRE_SYSCALL from the handler of SIGSYS, after which
 * the kernel ends the child. */
enum wire_frame_kind { WIRE_LOG = 1, WIRE_OUTCOME, WIRE_SYSCALL };

struct wire_frame {
	uint32_t kind;
	uint32_t size; /* of what follows */
};

/*
 * The payload of WIRE_OUTCOME, each number 32 bits, each text a length and its bytes:
 *   outcome (enum runner_outcome), is the log cut, message, traceback, result,
 *   count of violations, and of each: line, column, reason, hint
 */

/* How a child ends that could not put on its layers. */
#define WIRE_UNPREPARED 101

/* A system call that no kernel has: the filter ends the process for good. */
#define WIRE_KILLING_CALL 0x3fff

#endif
