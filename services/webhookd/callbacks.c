/*
 * callbacks: see callbacks.h.
 */
#include "callbacks.h"

#include <string.h>

#include "daemon/remote.h"

/* Before the first '=', a name as the contract has them; else NULL: it is the rest of an address. */
static char *
name_in(const char *item, struct arena *arena)
{
	size_t length = strcspn(item, "=");
	bool is_name = item[length] == '=' && length > 0 && length <= 64 &&
	               strspn(item, "abcdefghijklmnopqrstuvwxyz0123456789._-") >= length;
	return is_name ? arena_strndup(arena, item, length) : NULL;
}

struct status
callbacks_read(const struct config *config, struct arena *arena, struct callback out[CALLBACKS_MAX],
               size_t *count)
{
	const char *const *items = config_list(config, "webhookd.callbacks");
	struct status st = status_ok_value();

	*count = 0;
	for (; items && *items; items++) {
		char *name = name_in(*items, arena);
		if (name && *count == CALLBACKS_MAX)
			return status_make(STATUS_INVALID_ARGUMENT, "must be at most %d callbacks", CALLBACKS_MAX);
		if (name)
			out[(*count)++] = (struct callback){.name = name, .address = *items + strlen(name) + 1};
		else if (*count == 0)
			return status_make(STATUS_INVALID_ARGUMENT, "'%s' must be name=address", *items);
		else
			out[*count - 1].address = arena_printf(arena, "%s,%s", out[*count - 1].address, *items);
	}
	for (size_t i = 0; i < *count && status_ok(&st); i++) {
		st = status_wrap(remote_check_address(out[i].address), "%s", out[i].name);
		for (size_t j = 0; j < i && status_ok(&st); j++)
			if (strcmp(out[i].name, out[j].name) == 0)
				st = status_make(STATUS_INVALID_ARGUMENT, "'%s' is there twice", out[i].name);
	}
	return st;
}

bool
callbacks_have(const struct config *config, const char *name)
{
	struct callback callbacks[CALLBACKS_MAX];
	struct arena arena;
	bool has = false;
	size_t count;

	arena_init(&arena, 1024, 64u << 10);
	struct status st = callbacks_read(config, &arena, callbacks, &count);
	for (size_t i = 0; status_ok(&st) && i < count; i++)
		has = has || strcmp(callbacks[i].name, name) == 0;
	arena_fini(&arena);
	return has;
}

void
callbacks_check(const struct config *config, service_complain complain, void *arg)
{
	struct callback callbacks[CALLBACKS_MAX];
	struct arena arena;
	size_t count;

	arena_init(&arena, 1024, 64u << 10);
	struct status st = callbacks_read(config, &arena, callbacks, &count);
	if (!status_ok(&st))
		complain(arg, "webhookd.callbacks", st.message);
	arena_fini(&arena);
}
