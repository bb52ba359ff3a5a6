/*
 * Any bytes on a child's channel are an answer, broken or not over yet, the same whichever pieces they come
 * in, and what is kept of them is text within the run's limits.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "runner/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LOG_BYTES    300
#define OUTPUT_BYTES 500

static void
feed(struct answer *answer, const char *bytes, size_t size, size_t piece)
{
	answer_init(answer, LOG_BYTES, OUTPUT_BYTES);
	for (size_t at = 0; at < size; at += piece)
		answer_feed(answer, bytes + at, size - at < piece ? size - at : piece);
}

static void
check_text(const char *text)
{
	assert(text_is_utf8(text, strlen(text)));
}

static void
check_result(const struct runner_result *result)
{
	assert(result->outcome < RUNNER_OUTCOMES && result->outcome != RUNNER_SECURITY_VIOLATION);
	assert((result->result != NULL) == (result->outcome == RUNNER_OK));
	assert(!result->result ||
	       (result->result_size <= OUTPUT_BYTES && strlen(result->result) == result->result_size));
	check_text(result->message);
	check_text(result->traceback);
	for (size_t i = 0; i < result->violation_count; i++) {
		check_text(result->violations[i].reason);
		check_text(result->violations[i].hint);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct answer whole, pieces;
	size_t log_size;

	if (size == 0)
		return 0;
	feed(&whole, (const char *)data + 1, size - 1, size);
	feed(&pieces, (const char *)data + 1, size - 1, data[0] % 16 + 1u);
	assert(whole.state == pieces.state && whole.system_call == pieces.system_call);
	assert(whole.is_log_cut == pieces.is_log_cut && whole.log.length == pieces.log.length);
	assert((whole.state == ANSWER_BROKEN) == (whole.problem != NULL));
	const char *log = answer_log(&whole, &log_size);
	assert(log_size <= LOG_BYTES && strlen(log) == log_size);
	check_text(log);
	if (whole.state == ANSWER_COMPLETE)
		check_result(&whole.result);
	answer_fini(&whole);
	answer_fini(&pieces);
	return 0;
}
