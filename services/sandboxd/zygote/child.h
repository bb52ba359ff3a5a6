/*
 * child: one process for one run.
 */
#ifndef CORBEL_ZYGOTE_CHILD_H
#define CORBEL_ZYGOTE_CHILD_H

#include <sys/types.h>

#include "layers.h"

/* What the child is made for. */
enum child_purpose {
	CHILD_RUN,  /* waits for a request on its channel */
	CHILD_TRIAL /* puts all layers on and ends with 0 if they held */
};

struct child_start {
	const struct layers *layers;
	enum child_purpose purpose;
	int channel; /* CHILD_RUN: becomes descriptors 0 and 1 */
	int null;    /* /dev/null, opened while that was possible */
};

/* Forks. Returns the child's process id, and a descriptor of it that the caller closes; -1: errno. */
pid_t child_start(const struct child_start *start, int *pidfd);

#endif
