/*
 * threads: see threads.h.
 *
 * nng runs callbacks on twice as many threads as sysconf() reports processors, two at least, and its
 * version 1.5 has no parameter for it. A message is handed from thread to thread several times on its way,
 * and threads beyond the processors only wake and wait for each other: with as many threads as processors a
 * call costs a tenth less. So our sysconf(), which stands before the C library's, reports half of the
 * processors to the thread that starts nng, while it does.
 */
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <stdbool.h>
#include <unistd.h>

#include "bus/threads.h"

static _Thread_local bool is_starting;

extern long __sysconf(int name);

/* The sanitizers ask before they are ready to watch anybody. */
__attribute__((no_sanitize("thread", "address", "undefined"))) long
sysconf(int name)
{
	long value = __sysconf(name);
	return is_starting && name == _SC_NPROCESSORS_ONLN ? (value + 1) / 2 : value;
}

void
threads_start(void)
{
	nng_socket first;

	is_starting = true;
	if (nng_pair0_open(&first) == 0)
		(void)nng_close(first);
	is_starting = false;
}
