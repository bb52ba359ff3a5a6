/*
 * layers: the order in which they are put on.
 *
 * The order is forced: a namespace's maps are written while the process is dumpable, mounts are made before
 * Landlock forbids them, and the filter is last, as it forbids the rest.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layers.h"

#define NOBODY     65534 /* "nobody" of every Linux */
#define OPEN_FILES 3

void
layers_note(struct layers *layers, enum runner_layer layer, enum runner_layer_state state, const char *why,
            ...)
{
	va_list args;

	layers->layer[layer].state = state;
	va_start(args, why);
	vsnprintf(layers->layer[layer].why, sizeof(layers->layer[layer].why), why, args);
	va_end(args);
}

/* ---------------------------------------------------------------- once, in the zygote */

/* Root has no business here: what follows works for any user, or is not permitted. */
static bool
stop_being_root(void)
{
	if (geteuid() != 0)
		return true;
	return setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
	       setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

/* A filter is accepted or refused only when it is loaded; that actions are known can be asked. */
static bool
knows_filter(void)
{
	uint32_t kill = SECCOMP_RET_KILL_PROCESS, trap = SECCOMP_RET_TRAP;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill) == 0 &&
	       syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &trap) == 0;
}

static void
note_seccomp(struct layers *layers)
{
	if (knows_filter())
		layers_note(layers, RUNNER_SECCOMP, RUNNER_ACTIVE, "everything else kills");
	else
		layers_note(layers, RUNNER_SECCOMP, RUNNER_UNAVAILABLE, "the kernel has none: %s", strerror(errno));
}

/* Those that are the same for every run. The zygote opens no file either, and still makes processes. */
static void
limit_all(struct layers *layers)
{
	static const struct rlimit NONE = {0, 0};
	static const int RESOURCES[] = {RLIMIT_FSIZE, RLIMIT_CORE, RLIMIT_MSGQUEUE, RLIMIT_MEMLOCK};

	for (size_t i = 0; i < sizeof(RESOURCES) / sizeof(RESOURCES[0]); i++) {
		if (setrlimit((__rlimit_resource_t)RESOURCES[i], &NONE) != 0) {
			layers_note(layers, RUNNER_RLIMITS, RUNNER_UNAVAILABLE, "not permitted: %s", strerror(errno));
			return;
		}
	}
	layers_note(layers, RUNNER_RLIMITS, RUNNER_ACTIVE, "CPU, memory, files, file size, core, processes");
}

static bool
is_wanted(const struct layers *layers, enum runner_layer layer)
{
	return (layers->wanted & RUNNER_LAYER(layer)) != 0;
}

/* From /proc/self/statm, while there is a /proc: the pages of the address space come first. */
static uint64_t
own_address_space(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file) {
		if (fscanf(file, "%lu", &pages) != 1)
			pages = 0;
		fclose(file);
	}
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void
layers_lock_zygote(struct layers *layers, uint32_t wanted)
{
	*layers = (struct layers){.wanted = wanted, .address_space_bytes = own_address_space()};
	for (unsigned i = 0; i < RUNNER_LAYERS; i++)
		layers_note(layers, i, RUNNER_OFF, "%s", "");
	if (!stop_being_root())
		_exit(1);
	if (is_wanted(layers, RUNNER_SECCOMP))
		note_seccomp(layers);
	if (is_wanted(layers, RUNNER_NAMESPACES))
		namespaces_enter(layers);
	if (is_wanted(layers, RUNNER_NO_NEW_PRIVS) || layers_has(layers, RUNNER_SECCOMP) ||
	    is_wanted(layers, RUNNER_LANDLOCK)) {
		/* Seccomp and Landlock ask for it, too. */
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
			layers_note(layers, RUNNER_NO_NEW_PRIVS, RUNNER_ACTIVE,
			            "no capabilities, not dumpable, three descriptors, dies with its parent");
		else
			layers_note(layers, RUNNER_NO_NEW_PRIVS, RUNNER_UNAVAILABLE, "%s", strerror(errno));
	}
	if (is_wanted(layers, RUNNER_LANDLOCK))
		landlock_deny_all(layers);
	if (is_wanted(layers, RUNNER_RLIMITS))
		limit_all(layers);
	prctl(PR_SET_DUMPABLE, 0);
}

/* ---------------------------------------------------------------- in each child */

/* Born in a user namespace it has every capability there. */
static bool
drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};

	return syscall(SYS_capset, &header, none) == 0;
}

static bool
limit(__rlimit_resource_t resource, uint64_t soft, uint64_t hard)
{
	return setrlimit(resource, &(struct rlimit){.rlim_cur = soft, .rlim_max = hard}) == 0;
}

bool
layers_prepare_child(const struct layers *layers)
{
	if (layers_has(layers, RUNNER_NO_NEW_PRIVS) &&
	    (!drop_capabilities() || prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0))
		return false;
	if (layers_has(layers, RUNNER_RLIMITS) &&
	    (!limit(RLIMIT_NPROC, 0, 0) || !limit(RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)))
		return false;
	return true;
}

/* Whole seconds are too coarse to be the limit: sandboxd watches the child's clock. This one is for the day
 * that it cannot. */
static bool
limit_run(const struct layers *layers, const struct wire_run *run)
{
	uint64_t seconds = run->cpu_ms / 1000 + 2;
	uint64_t bytes = layers->address_space_bytes + run->memory_bytes;

	return limit(RLIMIT_CPU, seconds, seconds + 1) && limit(RLIMIT_AS, bytes, bytes);
}

bool
layers_close(const struct layers *layers, const struct wire_run *run)
{
	if (layers_has(layers, RUNNER_RLIMITS) && !limit_run(layers, run))
		return false;
	return !layers_has(layers, RUNNER_SECCOMP) || seccomp_filter_load();
}
