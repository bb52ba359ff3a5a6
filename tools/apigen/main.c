/*
 * apigen: from the contract's descriptor set to everything that follows from it.
 *
 *   apigen --descriptor=FILE --out=DIR
 *
 * Writes corbel/contract.gen.[ch], corbel/DAEMON.handlers.gen.h, openapi.json and docs/api/DAEMON.md
 * below DIR. Exits with 1, and one line for every breach, when the contract is not sound.
 */
#include <stdio.h>
#include <string.h>

#include "model.h"

static const char *
flag(int argc, char **argv, const char *name)
{
	size_t length = strlen(name);
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
			return argv[i] + length + 1;
	return NULL;
}

int
main(int argc, char **argv)
{
	const char *descriptor = flag(argc, argv, "--descriptor");
	const char *out = flag(argc, argv, "--out");
	struct arena arena;

	if (!descriptor || !out) {
		fputs("usage: apigen --descriptor=FILE --out=DIR\n", stderr);
		return 2;
	}
	arena_init(&arena, 1u << 20, SIZE_MAX);
	struct model *model = model_load(descriptor, &arena);
	if (model_check(model) > 0) {
		arena_fini(&arena);
		return 1;
	}
	char *openapi = emit_openapi(model);
	write_file(out, "openapi.json", openapi, strlen(openapi));
	emit_c(model, out, openapi);
	emit_handlers(model, out);
	emit_docs(model, out);
	arena_fini(&arena);
	return 0;
}
