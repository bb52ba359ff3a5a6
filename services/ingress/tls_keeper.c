/*
 * tls_keeper: see tls_keeper.h.
 */
#include "tls_keeper.h"

#include "base/arena.h"

struct kept {
	struct kept *older;
	struct tls_pair *pair;
	uint64_t number;
};

struct tls_keeper {
	struct tls *tls;
	struct kept *newest;
};

static void
keep_newest(struct tls_keeper *keeper)
{
	struct kept *kept = mem_alloc(sizeof(*kept));
	kept->pair = tls_pair_newest(keeper->tls);
	kept->number = keeper->newest ? keeper->newest->number + 1 : 1;
	kept->older = keeper->newest;
	keeper->newest = kept;
}

static void
free_from(struct kept **slot)
{
	while (*slot) {
		struct kept *kept = *slot;
		*slot = kept->older;
		tls_pair_release(kept->pair);
		mem_free(kept);
	}
}

struct tls_keeper *
tls_keeper_new(struct tls *tls)
{
	struct tls_keeper *keeper = mem_alloc(sizeof(*keeper));
	keeper->tls = tls;
	keep_newest(keeper);
	return keeper;
}

void
tls_keeper_free(struct tls_keeper *keeper)
{
	if (!keeper)
		return;
	free_from(&keeper->newest);
	mem_free(keeper);
}

void
tls_keeper_begin(struct tls_keeper *keeper)
{
	if (keeper)
		tls_use(keeper->newest->pair);
}

void
tls_keeper_renew(struct tls_keeper *keeper)
{
	keep_newest(keeper);
	tls_use(keeper->newest->pair);
}

uint64_t
tls_keeper_number(const struct tls_keeper *keeper)
{
	return keeper ? keeper->newest->number : 0;
}

void
tls_keeper_tidy(struct tls_keeper *keeper, uint64_t oldest)
{
	if (!keeper)
		return;
	struct kept **slot = &keeper->newest->older;
	while (*slot && (*slot)->number >= oldest)
		slot = &(*slot)->older;
	free_from(slot);
}
