/*
 * report: sizes, kinds and ends of texts.
 */
#include <string.h>

#include "runner.h"
#include "runner/report.h"

_Static_assert(WIRE_LAYERS == RUNNER_LAYERS, "the hello names every layer");

static bool
is_hello(struct wire_hello *hello)
{
	for (unsigned i = 0; i < WIRE_LAYERS; i++) {
		if (hello->layers[i].state > RUNNER_OFF)
			return false;
		hello->layers[i].why[WIRE_WHY_MAX - 1] = '\0';
	}
	return hello->version == WIRE_VERSION;
}

bool
report_parse(const void *bytes, size_t size, struct report *out)
{
	if (size < sizeof(out->kind))
		return false;
	memcpy(&out->kind, bytes, sizeof(out->kind));
	if (out->kind == WIRE_HELLO) {
		if (size != sizeof(out->hello))
			return false;
		memcpy(&out->hello, bytes, size);
		return is_hello(&out->hello);
	}
	if (size != sizeof(out->about) || out->kind > WIRE_ENDED || out->kind < WIRE_FORKED)
		return false;
	memcpy(&out->about, bytes, size);
	return out->kind != WIRE_FORKED || out->about.pid > 0;
}
