/*
 * threads: see threads.h.
 *
 * nng runs callbacks on twice as many threads as sysconf() reports processors, two at least, and its
 * version 1.5 has no parameter for it. A message is handed from thread to thread several times on its way,
 * and threads beyond the processors only wake and wait for each other: with as many threads as processors a
 * call costs a tenth less. So our sysconf(), which stands before the C library's, reports half of the
 * processors that the process gets (its cgroup may have a quota) to the thread that starts nng, while it
 * does.
 */
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <unistd.h>

#include "base/cpus.h"
#include "bus/threads.h"

static _Thread_local long told; /* to nng while it starts; 0 at other times */

extern long __sysconf(int name);

/* The sanitizers ask before they are ready to watch anybody. */
__attribute__((no_sanitize("thread", "address", "undefined"))) long
sysconf(int name)
{
	return told > 0 && name == _SC_NPROCESSORS_ONLN ? told : __sysconf(name);
}

static size_t
processors_told(void)
{
	return (cpus_available(NULL) + 1) / 2;
}

size_t
threads_count(void)
{
	return 2 * processors_told();
}

void
threads_start(void)
{
	nng_socket first;

	told = (long)processors_told();
	if (nng_pair0_open(&first) == 0)
		(void)nng_close(first);
	told = 0;
}
