/*
 * Whatever a journal's file holds, reading it stays inside of it, hands out only changes within the engine's
 * bounds, and says of a part of it what it says of the whole.
 */
#include <assert.h>
#include <string.h>

#include "cached/change_journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
take(void *arg, const struct journal_change *change)
{
	size_t *count = arg;

	assert(strlen(change->tenant) > 0 && strlen(change->tenant) <= ENGINE_NAME_MAX);
	assert(strlen(change->space) > 0 && strlen(change->space) <= ENGINE_NAME_MAX);
	assert(change->length <= ENGINE_KEY_MAX && change->name[change->length] == '\0');
	assert(change->kind >= OP_DELETE && change->kind <= OP_ALL && change->kind != OP_INCR);
	++*count;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t count = 0, again = 0, whole = change_journal_read(data, size, take, &count);

	assert(whole <= size);
	if (whole > 0)
		assert(change_journal_read(data, whole, take, &again) == whole && again == count);
	return 0;
}
