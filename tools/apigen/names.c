/*
 * names: from proto names to those of C, and small text work of the writers.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "model.h"

/* protobuf-c's rule for package and message names: each part capitalised, dots as "__". */
const char *
name_c_type(struct arena *arena, const char *full_name)
{
	struct strbuf out;
	bool is_start = true;

	strbuf_init(&out, arena);
	for (const char *p = full_name; *p; p++) {
		if (*p == '.') {
			strbuf_puts(&out, "__");
			is_start = true;
		} else {
			strbuf_putc(&out, is_start ? (char)toupper((unsigned char)*p) : *p);
			is_start = false;
		}
	}
	return out.data;
}

static void
add_snake(struct strbuf *out, const char *text, size_t length)
{
	bool was_upper = true;
	for (size_t i = 0; i < length; i++) {
		bool is_upper = isupper((unsigned char)text[i]) != 0;
		if (is_upper && !was_upper)
			strbuf_putc(out, '_');
		strbuf_putc(out, (char)tolower((unsigned char)text[i]));
		was_upper = is_upper;
	}
}

const char *
name_c_symbol(struct arena *arena, const char *full_name)
{
	struct strbuf out;
	strbuf_init(&out, arena);
	for (;;) {
		size_t part = strcspn(full_name, ".");
		add_snake(&out, full_name, part);
		if (!full_name[part])
			return out.data;
		strbuf_puts(&out, "__");
		full_name += part + 1;
	}
}

const char *
name_snake(struct arena *arena, const char *camel)
{
	struct strbuf out;
	strbuf_init(&out, arena);
	add_snake(&out, camel, strlen(camel));
	return out.data;
}

const char *
name_upper(struct arena *arena, const char *camel)
{
	char *name = arena_strdup(arena, name_snake(arena, camel));
	for (char *p = name; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return name;
}

bool
path_parameter(const char *path, size_t *at, const char **name, size_t *length)
{
	const char *open = strchr(path + *at, '{');
	const char *close = open ? strchr(open, '}') : NULL;

	if (!close)
		return false;
	*name = open + 1;
	*length = (size_t)(close - open - 1);
	*at = (size_t)(close - path) + 1;
	if (*length > 3 && memcmp(*name + *length - 3, "...", 3) == 0)
		*length -= 3;
	return true;
}

bool
is_path_parameter(const struct model_method *method, const char *field)
{
	size_t at = 0, length;
	const char *name;

	while (method && method->options->path && path_parameter(method->options->path, &at, &name, &length))
		if (strlen(field) == length && memcmp(field, name, length) == 0)
			return true;
	return false;
}

bool
has_body(const struct model_method *method)
{
	Corbel__Verb verb = method->options->verb;

	if (verb == CORBEL__VERB__GET || verb == CORBEL__VERB__DELETE)
		return false;
	for (size_t i = 0; i < method->request->field_count; i++)
		if (!is_path_parameter(method, method->request->fields[i].name))
			return true;
	return false;
}

const char *
verb_name(Corbel__Verb verb)
{
	switch (verb) {
	case CORBEL__VERB__GET:
		return "GET";
	case CORBEL__VERB__POST:
		return "POST";
	case CORBEL__VERB__PUT:
		return "PUT";
	case CORBEL__VERB__PATCH:
		return "PATCH";
	case CORBEL__VERB__DELETE:
		return "DELETE";
	default:
		return "NONE";
	}
}

const char *
c_escape(struct arena *arena, const char *text)
{
	struct strbuf out;
	strbuf_init(&out, arena);
	strbuf_add(&out, "", 0);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			strbuf_printf(&out, "\\%c", *p);
		else if (*p == '\n')
			strbuf_puts(&out, "\\n");
		else if (*p < 0x20 || *p == '?' || *p >= 0x7F)
			strbuf_printf(&out, "\\%03o", *p);
		else
			strbuf_putc(&out, (char)*p);
	}
	return out.data;
}

static void
make_directories(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')) != NULL; p++) {
		*p = '\0';
		if (mkdir(path, 0777) != 0 && errno != EEXIST) {
			fprintf(stderr, "apigen: cannot make %s: %s\n", path, strerror(errno));
			exit(1);
		}
		*p = '/';
	}
}

static bool
is_same(const char *path, const char *text, size_t length)
{
	FILE *file = fopen(path, "rb");
	bool same = file != NULL;
	size_t at = 0;
	char buffer[4096];

	while (same) {
		size_t got = fread(buffer, 1, sizeof(buffer), file);
		if (got == 0)
			break;
		same = at + got <= length && memcmp(buffer, text + at, got) == 0;
		at += got;
	}
	if (file)
		(void)fclose(file);
	return same && at == length;
}

void
write_file(const char *directory, const char *name, const char *text, size_t length)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (is_same(path, text, length))
		return;
	make_directories(path);
	FILE *file = fopen(path, "wb");
	if (!file || fwrite(text, 1, length, file) != length || fclose(file) != 0) {
		fprintf(stderr, "apigen: cannot write %s: %s\n", path, strerror(errno));
		exit(1);
	}
}
