/*
 * answer: frames, and the payload of an outcome.
 *
 * A frame's head says how long it is, and that is checked against the run's limits before anything of it is
 * kept. The bytes of the log go straight to the log; the payload of an outcome is taken apart when it is
 * whole.
 */
#include <string.h>

#include "api/lexer.h"
#include "runner/answer.h"

#define ARENA_BLOCK   4096
#define LOG_FRAME_MAX (64u * 1024u)
#define REST_MAX      (1024u * 1024u) /* of an outcome beside its result: texts, violations */
#define LOG_FLOOD_MAX (64u * 1024u)
#define OUTCOME_FIXED (6 * sizeof(uint32_t))

void
answer_init(struct answer *answer, uint32_t log_bytes, uint32_t output_bytes)
{
	*answer = (struct answer){.log_bytes = log_bytes, .output_bytes = output_bytes, .system_call = -1};
	strbuf_init(&answer->log, NULL);
	strbuf_init(&answer->payload, NULL);
	arena_init(&answer->arena, ARENA_BLOCK, SIZE_MAX);
}

void
answer_fini(struct answer *answer)
{
	strbuf_fini(&answer->log);
	strbuf_fini(&answer->payload);
	arena_fini(&answer->arena);
}

static void
answer_break(struct answer *answer, const char *problem)
{
	answer->state = ANSWER_BROKEN;
	answer->problem = problem;
}

/* ---------------------------------------------------------------- texts */

/* The bytes of the character that begins here; 0: none does. */
static size_t
character(const char *text, size_t size)
{
	if ((unsigned char)text[0] < 0x80)
		return text[0] != '\0';
	for (size_t length = 2; length <= 4 && length <= size; length++)
		if (text_is_utf8(text, length))
			return length;
	return 0;
}

/* A copy with NUL at its end, and '?' for each byte that is no part of a character. */
static char *
clean_text(struct arena *arena, const char *text, size_t size)
{
	char *clean = arena_alloc_raw(arena, size + 1);

	for (size_t at = 0, length; at < size; at += length) {
		length = character(text + at, size - at);
		if (length == 0) {
			clean[at] = '?';
			length = 1;
		} else {
			memcpy(clean + at, text + at, length);
		}
	}
	clean[size] = '\0';
	return clean;
}

const char *
answer_log(struct answer *answer, size_t *size)
{
	*size = answer->log.length;
	return clean_text(&answer->arena, answer->log.data, *size);
}

/* ---------------------------------------------------------------- the payload of an outcome */

struct payload {
	const char *at, *end;
	bool is_short;
};

static uint32_t
take_u32(struct payload *payload)
{
	uint32_t value = 0;

	if ((size_t)(payload->end - payload->at) < sizeof(value)) {
		payload->is_short = true;
		return 0;
	}
	memcpy(&value, payload->at, sizeof(value));
	payload->at += sizeof(value);
	return value;
}

static const char *
take_bytes(struct payload *payload, size_t max, size_t *size)
{
	*size = take_u32(payload);
	if (payload->is_short || *size > max || *size > (size_t)(payload->end - payload->at)) {
		payload->is_short = true;
		*size = 0;
		return "";
	}
	payload->at += *size;
	return payload->at - *size;
}

static const char *
take_text(struct answer *answer, struct payload *payload)
{
	size_t size;
	const char *text = take_bytes(payload, RUNNER_TEXT_MAX, &size);

	return clean_text(&answer->arena, text, size);
}

static void
take_violations(struct answer *answer, struct payload *payload)
{
	uint32_t count = take_u32(payload);

	if (count > RUNNER_VIOLATIONS_MAX) {
		payload->is_short = true;
		return;
	}
	struct runner_violation *violations = ARENA_ARRAY(&answer->arena, struct runner_violation, count + 1);
	for (uint32_t i = 0; i < count; i++) {
		violations[i].line = take_u32(payload);
		violations[i].column = take_u32(payload);
		violations[i].reason = take_text(answer, payload);
		violations[i].hint = take_text(answer, payload);
	}
	answer->result.violations = violations;
	answer->result.violation_count = count;
}

/* Why these bytes are not JSON as Corbel reads it; NULL: they are. */
static const char *
not_json(const char *text, size_t size)
{
	struct lexer lexer;
	struct token value;

	lexer_init(&lexer, text, size);
	if (!lexer_skip(&lexer, JSON_DEPTH_MAX, &value) || !lexer_end(&lexer))
		return lexer.error;
	return value.fault;
}

static void
judge_result(struct answer *answer, const char *text, size_t size)
{
	const char *problem = not_json(text, size);

	if (problem) {
		answer->result.outcome = RUNNER_RESULT_NOT_JSON;
		answer->result.message = arena_printf(&answer->arena, "the result is not JSON: %s", problem);
		return;
	}
	answer->result.result = clean_text(&answer->arena, text, size);
	answer->result.result_size = size;
}

/* Only what a program can bring about by itself: the others are the host's to find. */
static bool
may_say(uint32_t outcome)
{
	return outcome == RUNNER_OK || outcome == RUNNER_INVALID_CODE || outcome == RUNNER_RUNTIME_ERROR ||
	       outcome == RUNNER_MEMORY_LIMIT || outcome == RUNNER_OUTPUT_LIMIT ||
	       outcome == RUNNER_RESULT_NOT_JSON;
}

static void
take_outcome(struct answer *answer)
{
	struct payload payload = {answer->payload.data, answer->payload.data + answer->payload.length, false};
	struct runner_result *result = &answer->result;
	uint32_t outcome = take_u32(&payload);
	size_t size;

	*result = (struct runner_result){.system_call = "", .system_call_number = -1};
	if (!may_say(outcome)) {
		answer_break(answer, "an outcome that is not a program's to say");
		return;
	}
	result->outcome = outcome;
	answer->is_log_cut |= take_u32(&payload) != 0;
	result->message = take_text(answer, &payload);
	result->traceback = take_text(answer, &payload);
	const char *text = take_bytes(&payload, answer->output_bytes, &size);
	take_violations(answer, &payload);
	if (payload.is_short || payload.at != payload.end) {
		answer_break(answer, "an outcome that is not as long as it says");
		return;
	}
	answer->state = ANSWER_COMPLETE;
	if (outcome == RUNNER_OK)
		judge_result(answer, text, size);
}

/* ---------------------------------------------------------------- frames */

static void
begin_frame(struct answer *answer)
{
	uint32_t size = answer->frame.size;

	strbuf_clear(&answer->payload);
	if (answer->has_named_call)
		answer_break(answer, "more after a refused system call, which is a child's last word");
	else if (answer->frame.kind == WIRE_LOG ? size == 0 || size > LOG_FRAME_MAX
	         : answer->frame.kind == WIRE_OUTCOME
	             ? size < OUTCOME_FIXED || size > (uint64_t)answer->output_bytes + REST_MAX
	             : answer->frame.kind != WIRE_SYSCALL || size != sizeof(int32_t))
		answer_break(answer, "a frame of no known kind or size");
}

static void
add_log(struct answer *answer, const char *bytes, size_t size)
{
	size_t room = answer->log_bytes - answer->log.length, kept = size < room ? size : room;

	strbuf_add(&answer->log, bytes, kept);
	if (kept == size)
		return;
	answer->is_log_cut = true;
	answer->flood_bytes += size - kept;
	if (answer->flood_bytes > LOG_FLOOD_MAX)
		answer_break(answer, "more log than was agreed");
}

static void
end_frame(struct answer *answer)
{
	answer->head_bytes = 0;
	if (answer->frame.kind == WIRE_SYSCALL) {
		memcpy(&answer->system_call, answer->payload.data, sizeof(int32_t));
		answer->has_named_call = true;
	}
	if (answer->frame.kind == WIRE_OUTCOME)
		take_outcome(answer);
}

/* Takes bytes of the head; returns how many. */
static size_t
feed_head(struct answer *answer, const char *bytes, size_t size)
{
	size_t missing = sizeof(answer->frame) - answer->head_bytes, part = size < missing ? size : missing;

	memcpy((char *)&answer->frame + answer->head_bytes, bytes, part);
	answer->head_bytes += part;
	if (answer->head_bytes == sizeof(answer->frame))
		begin_frame(answer);
	return part;
}

/* `frame.size` counts down while a log passes, as nothing of it is gathered. */
static size_t
feed_body(struct answer *answer, const char *bytes, size_t size)
{
	bool is_log = answer->frame.kind == WIRE_LOG;
	size_t missing = answer->frame.size - (is_log ? 0 : answer->payload.length);
	size_t part = size < missing ? size : missing;

	if (is_log) {
		answer->frame.size -= (uint32_t)part;
		add_log(answer, bytes, part);
	} else {
		strbuf_add(&answer->payload, bytes, part);
	}
	if (part == missing && answer->state == ANSWER_OPEN)
		end_frame(answer);
	return part;
}

enum answer_state
answer_feed(struct answer *answer, const char *bytes, size_t size)
{
	while (size > 0 && answer->state == ANSWER_OPEN) {
		bool has_head = answer->head_bytes == sizeof(answer->frame);
		size_t part = has_head ? feed_body(answer, bytes, size) : feed_head(answer, bytes, size);
		bytes += part;
		size -= part;
	}
	return answer->state;
}
