/*
 * names: what layers and outcomes are called, and the words of a policy.
 */
#include <string.h>

#include "runner.h"

const char *
runner_layer_name(enum runner_layer layer)
{
	static const char *const NAMES[RUNNER_LAYERS] = {
	    [RUNNER_RLIMITS] = "rlimits",   [RUNNER_NO_NEW_PRIVS] = "no_new_privs", [RUNNER_SECCOMP] = "seccomp",
	    [RUNNER_LANDLOCK] = "landlock", [RUNNER_NAMESPACES] = "namespaces",     [RUNNER_CGROUP] = "cgroup",
	};

	return NAMES[layer];
}

const char *
runner_outcome_name(enum runner_outcome outcome)
{
	static const char *const NAMES[RUNNER_OUTCOMES] = {
	    [RUNNER_OK] = "ok",
	    [RUNNER_INVALID_CODE] = "invalid_code",
	    [RUNNER_RUNTIME_ERROR] = "runtime_error",
	    [RUNNER_CPU_LIMIT] = "cpu_limit",
	    [RUNNER_MEMORY_LIMIT] = "memory_limit",
	    [RUNNER_TIMEOUT] = "timeout",
	    [RUNNER_OUTPUT_LIMIT] = "output_limit",
	    [RUNNER_SECURITY_VIOLATION] = "security_violation",
	    [RUNNER_RESULT_NOT_JSON] = "result_not_json",
	    [RUNNER_CANCELLED] = "cancelled",
	    [RUNNER_HOST_ERROR] = "host_error",
	};

	return NAMES[outcome];
}
