/*
 * native_zygote: a stand-in for corbel-zygote, whose children are native code without any layer: what a child
 * does that is in full control of its process, and more.
 *
 * A test program is its own zygote: the runner starts it again with the layers as its one argument and the
 * control socket as descriptor 3.
 */
#ifndef CORBEL_TESTS_SUPPORT_NATIVE_ZYGOTE_H
#define CORBEL_TESTS_SUPPORT_NATIVE_ZYGOTE_H

#include <stdbool.h>
#include <stddef.h>

/* Whether this process was started as one. */
bool native_zygote_is_wanted(int argc);
/* Serves until the control socket ends. Each child calls `child` with its channel and does not return. */
void native_zygote_serve(void (*child)(int channel));

/* For a child: all of the request. Ends the process when there is none. */
struct native_request {
	char *code, *context; /* with NUL */
};
struct native_request native_request_read(int channel);

#endif
