/*
 * test_dir: a private temporary directory, removed with everything in it.
 */
#include "support/test_dir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

void
test_dir_make(struct test_dir *dir)
{
	const char *base = getenv("TMPDIR");

	snprintf(dir->path, sizeof(dir->path), "%s/corbel-XXXXXX", base && *base ? base : "/tmp");
	if (!mkdtemp(dir->path)) {
		perror("test_dir: mkdtemp");
		abort();
	}
}

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	remove(path); /* a server that is just ending may still add or remove files */
	return 0;
}

void
test_dir_remove(const struct test_dir *dir)
{
	nftw(dir->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
