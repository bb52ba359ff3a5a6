/*
 * Any message on the control socket is a report of a known kind, with texts that end, or refused.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "runner.h"
#include "runner/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct report report;

	if (!report_parse(data, size, &report))
		return 0;
	assert(report.kind >= WIRE_HELLO && report.kind <= WIRE_ENDED);
	if (report.kind == WIRE_FORKED)
		assert(report.about.pid > 0);
	for (unsigned i = 0; report.kind == WIRE_HELLO && i < WIRE_LAYERS; i++) {
		assert(report.hello.layers[i].state <= RUNNER_OFF);
		assert(memchr(report.hello.layers[i].why, '\0', WIRE_WHY_MAX) != NULL);
	}
	return 0;
}
