/*
 * top_terminal: a terminal that shows one screen after the other and gives single keys; it is as it was
 * before once this is over.
 */
#ifndef CORBEL_CLI_TOP_TERMINAL_H
#define CORBEL_CLI_TOP_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "top_view.h"

struct terminal;

/* Takes over the terminal at standard output (and the keys, when standard input is one); also SIGINT,
 * SIGTERM, SIGHUP and SIGWINCH of this thread. Before any other thread is started. */
struct terminal *terminal_open(void);
void terminal_close(struct terminal *terminal);
void terminal_size(struct terminal *terminal, struct top_screen *out);
/* Shows the lines instead of what was there. */
void terminal_show(struct terminal *terminal, const struct strbuf *lines);

enum terminal_event { TERMINAL_TIMEOUT, TERMINAL_QUIT, TERMINAL_RESIZED };
/* Waits for a key that quits (q, Escape, Ctrl-C), a signal to end, a change of size, or the time. */
enum terminal_event terminal_wait(struct terminal *terminal, uint64_t timeout_ms);

#endif
