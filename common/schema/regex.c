/*
 * regex: see regex.h.
 *
 * PCRE2's own match limit is counted anew for each position where a match may start. The bound here is on
 * the whole search: automatic callouts run before every item of the expression, and count. One item may run
 * over much of the text ("a*"), so the way since the last callout counts, too. Where an item fails on its way
 * there is no callout: that way is bounded by refusing long minimums and looks far behind.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "schema/regex.h"

#include <pcre2.h>

#include "base/arena.h"

#define STEPS_ALWAYS   UINT64_C(100000)
#define STEPS_PER_BYTE UINT64_C(8)
#define HEAP_MAX_KIB   4096u
#define DEPTH_MAX      20000u
#define PARENS_MAX     50u
#define BYTES_PER_STEP 128u
#define MINIMUM_MAX    1000u /* n of {n,m} */
#define BEHIND_MAX     1000u /* characters */

struct regex {
	pcre2_code *code;
	pcre2_match_context *limits;
};

static pcre2_compile_context *
compile_context(void)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_set_max_pattern_length(context, REGEX_PATTERN_MAX);
	pcre2_set_parens_nest_limit(context, PARENS_MAX);
	return context;
}

static struct status
compile_error(int error, size_t offset)
{
	PCRE2_UCHAR text[160];
	if (pcre2_get_error_message(error, text, sizeof(text)) < 0)
		return status_make(STATUS_INVALID_ARGUMENT, "is no regular expression, at byte %zu", offset);
	return status_make(STATUS_INVALID_ARGUMENT, "is no regular expression: %s, at byte %zu",
	                   (const char *)text, offset);
}

static struct status
check_features(const pcre2_code *code)
{
	uint32_t highest = 0, behind = 0;
	pcre2_pattern_info(code, PCRE2_INFO_BACKREFMAX, &highest);
	pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &behind);
	if (highest > 0)
		return status_make(STATUS_INVALID_ARGUMENT, "must not use back-references");
	if (behind > BEHIND_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "must not look behind more than %u characters",
		                   BEHIND_MAX);
	return status_ok_value();
}

/* Behind the item that the backslash at `i` begins, and the brace that opens a character's number: \x{2014}.
 */
static size_t
behind_escape(const char *pattern, size_t length, size_t i)
{
	bool has_number =
	    i + 2 < length && (pattern[i + 1] == 'x' || pattern[i + 1] == 'o') && pattern[i + 2] == '{';
	return has_number ? i + 3 : i + 2;
}

/* The number behind the brace at `i`, or one beyond the bound. Releases from 10.43 on take blanks before it.
 */
static unsigned
minimum_at(const char *pattern, size_t length, size_t i)
{
	unsigned count = 0;

	for (i++; i < length && (pattern[i] == ' ' || pattern[i] == '\t'); i++)
		continue;
	for (; i < length && pattern[i] >= '0' && pattern[i] <= '9'; i++)
		count = count > MINIMUM_MAX ? count : 10 * count + (unsigned)(pattern[i] - '0');
	return count;
}

/* Whether something has to come more often than the bound. Other braces that are no quantifier, such as those
 * of a class, are taken for one: nobody misses "[{2000}]". */
static bool
repeats_too_often(const char *pattern, size_t length)
{
	for (size_t i = 0; i < length;) {
		if (pattern[i] == '{' && minimum_at(pattern, length, i) > MINIMUM_MAX)
			return true;
		i = pattern[i] == '\\' ? behind_escape(pattern, length, i) : i + 1;
	}
	return false;
}

struct status
regex_compile(const char *pattern, size_t length, struct regex **out)
{
	int error;
	size_t offset;

	if (length > REGEX_PATTERN_MAX)
		return status_make(STATUS_INVALID_ARGUMENT, "must be at most %u bytes long", REGEX_PATTERN_MAX);
	if (repeats_too_often(pattern, length))
		return status_make(STATUS_INVALID_ARGUMENT, "must not ask for more than %u of something",
		                   MINIMUM_MAX);
	pcre2_compile_context *context = compile_context();
	pcre2_code *code =
	    pcre2_compile((PCRE2_SPTR)pattern, length, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT,
	                  &error, &offset, context);
	pcre2_compile_context_free(context);
	if (!code)
		return compile_error(error, offset);
	struct status st = check_features(code);
	if (!status_ok(&st)) {
		pcre2_code_free(code);
		return st;
	}
	*out = mem_alloc(sizeof(**out));
	(*out)->code = code;
	(*out)->limits = pcre2_match_context_create(NULL);
	pcre2_set_heap_limit((*out)->limits, HEAP_MAX_KIB);
	pcre2_set_depth_limit((*out)->limits, DEPTH_MAX);
	return st;
}

void
regex_free(struct regex *regex)
{
	if (!regex)
		return;
	pcre2_match_context_free(regex->limits);
	pcre2_code_free(regex->code);
	mem_free(regex);
}

struct search {
	uint64_t *steps; /* that are left */
	size_t at;       /* of the last callout */
};

/* Called before each item that is tried. */
static int
count_step(pcre2_callout_block *block, void *data)
{
	struct search *search = data;
	size_t at = block->current_position, way = at > search->at ? at - search->at : search->at - at;
	uint64_t cost = 1 + way / BYTES_PER_STEP;

	search->at = at;
	if (cost > *search->steps) {
		*search->steps = 0;
		return PCRE2_ERROR_CALLOUT;
	}
	*search->steps -= cost;
	return 0;
}

uint64_t
regex_steps(size_t bytes)
{
	return STEPS_ALWAYS + STEPS_PER_BYTE * (bytes < REGEX_TEXT_MAX ? bytes : REGEX_TEXT_MAX);
}

enum regex_result
regex_search(const struct regex *regex, const char *text, size_t length, uint64_t *steps)
{
	if (length > REGEX_TEXT_MAX)
		return REGEX_LIMIT;
	struct search search = {.steps = steps};
	pcre2_match_context *context = pcre2_match_context_copy(regex->limits);
	pcre2_match_data *match = pcre2_match_data_create(1, NULL);
	pcre2_set_callout(context, count_step, &search);
	/* The text is known to be UTF-8: it was read from JSON. */
	int result = pcre2_match(regex->code, (PCRE2_SPTR)text, length, 0, PCRE2_NO_UTF_CHECK, match, context);
	pcre2_match_data_free(match);
	pcre2_match_context_free(context);
	if (result >= 0)
		return REGEX_FOUND;
	return result == PCRE2_ERROR_NOMATCH ? REGEX_NONE : REGEX_LIMIT;
}
