/*
 * interpreter: CPython within the zygote: started without the host's settings, warmed, and asked for one run.
 */
#ifndef CORBEL_ZYGOTE_INTERPRETER_H
#define CORBEL_ZYGOTE_INTERPRETER_H

#include <stdbool.h>

#include "runner/wire.h"

/* Ends the process with a message when Python does not start. */
void interpreter_warm(void);
/* In a child: randomness of its own. False: not to be had. */
bool interpreter_begin_child(void);

/* The texts of a request, of the sizes that its header says. */
struct program {
	const char *file_name, *code, *context;
};
/* Runs it and writes what came of it to the channel. */
void interpreter_run(const struct wire_run *run, const struct program *program);

#endif
