/*
 * text_file: what a file or standard input holds, as text.
 *
 * All of it or nothing: half of a file is worse than none, and what is no text cannot stand in JSON.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "cli.h"

static const char *
complain(const char *name, const char *why)
{
	fprintf(stderr, "corbel: %s: %s\n", name, why);
	return NULL;
}

static const char *
read_text(FILE *file, const char *name, size_t max_bytes, struct arena *arena)
{
	char buffer[4096];
	struct strbuf out;

	strbuf_init(&out, arena);
	out.ceiling = max_bytes;
	strbuf_add(&out, "", 0);
	for (size_t got; !out.is_cut && (got = fread(buffer, 1, sizeof(buffer), file)) > 0;)
		strbuf_add(&out, buffer, got);
	if (ferror(file))
		return complain(name, strerror(errno));
	if (out.is_cut)
		return complain(name, arena_printf(arena, "is larger than %zu KiB", max_bytes >> 10));
	if (!text_is_utf8(out.data, out.length) || memchr(out.data, '\0', out.length))
		return complain(name, "is no text in UTF-8");
	return out.data;
}

const char *
text_file_read(const char *path, size_t max_bytes, struct arena *arena)
{
	if (strcmp(path, "-") == 0)
		return read_text(stdin, "standard input", max_bytes, arena);
	FILE *file = fopen(path, "re");
	if (!file)
		return complain(path, strerror(errno));
	const char *text = read_text(file, path, max_bytes, arena);
	(void)fclose(file);
	return text;
}
