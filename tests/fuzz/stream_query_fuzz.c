/*
 * Any lines: patterns of a stream, a type, and headers of a handshake. Whatever is taken for patterns makes a
 * filter, which passes the type exactly if one of them does.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "events/pattern.h"
#include "ingress/stream_filter.h"
#include "ingress/stream_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
filter(const char *text, const char *type, struct arena *arena)
{
	const char **types;
	size_t count;
	bool is_any = false;
	struct status st = stream_patterns_parse(text, arena, &types, &count),
	              type_st = event_type_check(type, strlen(type));

	if (!status_ok(&st) || !status_ok(&type_st))
		return;
	for (size_t i = 0; i < count; i++)
		is_any = is_any || pattern_matches(types[i], type);
	struct stream_filter *made =
	    stream_filter_new(&(struct stream_filter_options){.types = types, .type_count = count});
	assert(stream_filter_passes(made, type, "s") == is_any);
	mem_free(made);
}

static void
handshake(const char *const lines[5])
{
	struct stream_handshake said = {lines[0], lines[1], lines[2], lines[3], lines[4]};
	char accept[STREAM_ACCEPT_SIZE];

	(void)stream_list_has(lines[4], STREAM_CLOUDEVENTS);
	if (stream_handshake_check(&said) != HANDSHAKE_GOOD)
		return;
	stream_handshake_accept(said.key, accept);
	assert(strlen(accept) == STREAM_ACCEPT_SIZE - 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *lines[7] = {"", "", "", "", "", "", ""};
	struct arena arena;

	arena_init(&arena, 4096, SIZE_MAX);
	char *text = arena_alloc(&arena, size + 1);
	if (size)
		memcpy(text, data, size);
	for (size_t i = 0; i < 7 && text; i++) {
		lines[i] = text;
		text = strchr(text, '\n');
		if (text)
			*text++ = '\0';
	}
	filter(lines[0], lines[1], &arena);
	handshake(lines + 2);
	arena_fini(&arena);
	return 0;
}
