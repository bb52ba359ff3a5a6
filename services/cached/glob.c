/*
 * glob: see glob.h. A pattern is its runs between '*'. The first is matched where the key begins, the last
 * where it ends, each of the others at the first place after the one before: if there is a match at all,
 * there is one with those.
 */
#include "glob.h"

#include <stdint.h>
#include <string.h>

#include "base/arena.h"

#define ANY_BYTE   UINT16_C(256)
#define SHORT_RUN  8u
#define SHORT_TEXT 64u
#define RUNS_MAX   (GLOB_MAX + 1)

struct run {
	uint16_t begin, length; /* of the symbols */
};

struct glob {
	uint16_t run_count;
	struct run *runs;   /* behind the symbols */
	uint16_t symbols[]; /* bytes and ANY_BYTE */
};

/* What a pattern is read into, before its size is known. */
struct draft {
	uint16_t symbols[GLOB_MAX];
	struct run runs[RUNS_MAX];
	uint16_t symbol_count, run_count;
};

static struct glob *
glob_of(const struct draft *draft)
{
	size_t symbols = draft->symbol_count * sizeof(uint16_t), runs = draft->run_count * sizeof(struct run);
	struct glob *glob = mem_alloc(sizeof(*glob) + symbols + runs);

	_Static_assert(_Alignof(struct run) == _Alignof(uint16_t), "runs lie behind symbols");
	glob->run_count = draft->run_count;
	glob->runs = (struct run *)(void *)&glob->symbols[draft->symbol_count];
	memcpy(glob->symbols, draft->symbols, symbols);
	memcpy(glob->runs, draft->runs, runs);
	return glob;
}

/* Two '*' beside each other are one. */
static void
begin_run(struct draft *draft)
{
	const struct run *last = draft->run_count ? &draft->runs[draft->run_count - 1] : NULL;

	if (draft->run_count > 1 && last->length == 0)
		return;
	draft->runs[draft->run_count++] = (struct run){.begin = draft->symbol_count};
}

static void
add_symbol(struct draft *draft, uint16_t symbol)
{
	draft->symbols[draft->symbol_count++] = symbol;
	draft->runs[draft->run_count - 1].length++;
}

static bool
is_run_too_long(const struct draft *draft)
{
	for (unsigned i = 1; i + 1 < draft->run_count; i++)
		if (draft->runs[i].length > GLOB_RUN_MAX)
			return true;
	return false;
}

struct status
glob_new(const char *pattern, size_t length, struct glob **out)
{
	struct draft draft = {.run_count = 1};

	if (length == 0 || length > GLOB_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "a pattern is 1 to %u bytes long, this one %zu", GLOB_MAX,
		                   length);
	for (size_t i = 0; i < length; i++) {
		bool is_literal = pattern[i] == '\\';
		if (is_literal && ++i == length)
			return status_make(STATUS_INVALID_ARGUMENT,
			                   "the pattern ends in '\\', which needs a byte after it");
		if (pattern[i] == '*' && !is_literal)
			begin_run(&draft);
		else
			add_symbol(&draft, pattern[i] == '?' && !is_literal ? ANY_BYTE : (unsigned char)pattern[i]);
	}
	if (is_run_too_long(&draft))
		return status_make(STATUS_INVALID_ARGUMENT, "the pattern has more than %u bytes between two '*'",
		                   GLOB_RUN_MAX);
	*out = glob_of(&draft);
	return status_ok_value();
}

void
glob_free(struct glob *glob)
{
	mem_free(glob);
}

/* The runs are what lies last. */
size_t
glob_bytes(const struct glob *glob)
{
	return (size_t)((const char *)&glob->runs[glob->run_count] - (const char *)glob);
}

static bool
run_matches(const struct glob *glob, const struct run *run, const char *text)
{
	for (unsigned i = 0; i < run->length; i++) {
		uint16_t symbol = glob->symbols[run->begin + i];
		if (symbol != ANY_BYTE && symbol != (unsigned char)text[i])
			return false;
	}
	return true;
}

/* Tries one place after the other. */
static bool
find_by_trying(const struct glob *glob, const struct run *run, const char *text, size_t *at, size_t end)
{
	size_t from = *at;

	while (from + run->length <= end && !run_matches(glob, run, text + from))
		from++;
	*at = from + run->length;
	return *at <= end;
}

/* All places at once, a bit for each byte of the run that was met so far (shift-and: Baeza-Yates and Gonnet,
 * CACM 1992). */
static bool
find_by_bits(const struct glob *glob, const struct run *run, const char *text, size_t *at, size_t end)
{
	const uint16_t *symbols = &glob->symbols[run->begin];
	uint64_t any = 0, state = 0, last = UINT64_C(1) << (run->length - 1), masks[256];

	for (unsigned i = 0; i < run->length; i++)
		any |= (uint64_t)(symbols[i] == ANY_BYTE) << i;
	for (unsigned i = 0; i < 256; i++)
		masks[i] = any;
	for (unsigned i = 0; i < run->length; i++)
		if (symbols[i] != ANY_BYTE)
			masks[symbols[i]] |= UINT64_C(1) << i;
	for (; *at < end && !(state & last); ++*at)
		state = (state << 1 | 1) & masks[(unsigned char)text[*at]];
	return state & last;
}

/* The first place of a run between two '*', which has 64 bytes at most; `*at` is behind it then. What is
 * short is tried in no time. */
static bool
run_is_found(const struct glob *glob, const struct run *run, const char *text, size_t *at, size_t end)
{
	if (run->length <= SHORT_RUN || end - *at <= SHORT_TEXT)
		return find_by_trying(glob, run, text, at, end);
	return find_by_bits(glob, run, text, at, end);
}

bool
glob_matches(const struct glob *glob, const char *text, size_t length)
{
	const struct run *first = &glob->runs[0], *last = &glob->runs[glob->run_count - 1];

	if (glob->run_count == 1)
		return length == first->length && run_matches(glob, first, text);
	if (length < (size_t)first->length + last->length || !run_matches(glob, first, text) ||
	    !run_matches(glob, last, text + length - last->length))
		return false;
	size_t at = first->length, end = length - last->length;
	bool is_there = true;
	for (const struct run *run = first + 1; run < last && is_there; run++)
		is_there = run_is_found(glob, run, text, &at, end);
	return is_there;
}
