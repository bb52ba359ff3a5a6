/*
 * redis_eval: Lua scripts by their digest.
 *
 * EVALSHA comes first, always; a server that does not know a script (new, restarted, flushed) answers
 * NOSCRIPT without having done anything, and those runs are repeated after the scripts were loaded.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "redis/redis_internal.h"

static struct redis_arg
arg(const char *text)
{
	return (struct redis_arg){.data = text, .size = strlen(text)};
}

/* SHA-1 is what Redis names scripts by; nothing here is a secret. */
static void
digest(const char *source, char out[REDIS_SHA_MAX])
{
	uint8_t sha[EVP_MAX_MD_SIZE];

	EVP_Digest(source, strlen(source), sha, NULL, EVP_sha1(), NULL);
	text_hex_encode(sha, 20, out);
	out[REDIS_SHA_MAX - 1] = '\0';
}

/* From the table, which a few constant scripts never fill; computed each time beyond it. */
static const char *
sha_of(struct redis *redis, const struct redis_script *script, struct arena *arena)
{
	const char *found = NULL;

	pthread_mutex_lock(&redis->lock);
	for (size_t i = 0; !found && i < redis->sha_count; i++) {
		if (redis->shas[i].script == script)
			found = redis->shas[i].text;
	}
	if (!found && redis->sha_count < REDIS_SCRIPTS_MAX) {
		struct redis_sha *sha = &redis->shas[redis->sha_count++];
		sha->script = script;
		digest(script->source, sha->text);
		found = sha->text;
	}
	pthread_mutex_unlock(&redis->lock);
	if (!found) {
		char *text = arena_alloc(arena, REDIS_SHA_MAX);
		digest(script->source, text);
		found = text;
	}
	return found;
}

static struct redis_pipeline_item
command_of(struct redis *redis, const struct redis_eval_item *item, struct arena *arena)
{
	if (!item->script)
		return (struct redis_pipeline_item){.args = item->args, .count = item->arg_count};
	size_t count = 3 + item->key_count + item->arg_count;
	struct redis_arg *args = ARENA_ARRAY(arena, struct redis_arg, count);

	args[0] = arg("EVALSHA");
	args[1] = arg(sha_of(redis, item->script, arena));
	args[2] = arg(arena_printf(arena, "%zu", item->key_count));
	if (item->key_count)
		memcpy(args + 3, item->keys, item->key_count * sizeof(*args));
	if (item->arg_count)
		memcpy(args + 3 + item->key_count, item->args, item->arg_count * sizeof(*args));
	return (struct redis_pipeline_item){.args = args, .count = count};
}

static bool
is_unknown(const struct redis_reply *reply)
{
	return reply->type == REDIS_ERROR && strncmp(reply->text, "NOSCRIPT", 8) == 0;
}

static struct redis_pipeline_item
script_load(const struct redis_script *script, struct arena *arena)
{
	struct redis_arg *args = ARENA_ARRAY(arena, struct redis_arg, 3);

	args[0] = arg("SCRIPT");
	args[1] = arg("LOAD");
	args[2] = arg(script->source);
	return (struct redis_pipeline_item){.args = args, .count = 3};
}

/* Was the script of `items[at]` missed by an item before it, too? */
static bool
is_loaded_before(const struct redis_eval_item *items, const struct redis_reply *out, size_t at)
{
	for (size_t i = 0; i < at; i++) {
		if (is_unknown(&out[i]) && items[i].script == items[at].script)
			return true;
	}
	return false;
}

/* SCRIPT LOAD for each unknown script, then the runs that it had failed, in one round trip. */
static struct status
load_and_repeat(struct redis_conn *conn, const struct redis_eval_item *items,
                const struct redis_pipeline_item *commands, size_t count, struct arena *arena,
                struct redis_reply *out)
{
	struct redis_pipeline_item *again = ARENA_ARRAY(arena, struct redis_pipeline_item, count * 2);
	size_t loads = 0, total;

	for (size_t i = 0; i < count; i++) {
		if (is_unknown(&out[i]) && !is_loaded_before(items, out, i))
			again[loads++] = script_load(items[i].script, arena);
	}
	total = loads;
	for (size_t i = 0; i < count; i++) {
		if (is_unknown(&out[i]))
			again[total++] = commands[i];
	}
	if (total == 0)
		return status_ok_value();
	struct redis_reply *replies = ARENA_ARRAY(arena, struct redis_reply, total);
	struct status st = redis_pipeline(conn, again, total, arena, replies);
	for (size_t i = 0, next = loads; status_ok(&st) && i < count; i++) {
		if (is_unknown(&out[i]))
			out[i] = replies[next++];
	}
	return st;
}

struct status
redis_eval_pipeline(struct redis_conn *conn, const struct redis_eval_item *items, size_t count,
                    struct arena *arena, struct redis_reply *out)
{
	struct redis_pipeline_item *commands = ARENA_ARRAY(arena, struct redis_pipeline_item, count);

	for (size_t i = 0; i < count; i++)
		commands[i] = command_of(conn->redis, &items[i], arena);
	struct status st = redis_pipeline(conn, commands, count, arena, out);
	return status_ok(&st) ? load_and_repeat(conn, items, commands, count, arena, out) : st;
}

struct status
redis_eval(struct redis_conn *conn, const struct redis_script *script, const struct redis_arg *keys,
           size_t key_count, const struct redis_arg *args, size_t arg_count, struct arena *arena,
           struct redis_reply *out)
{
	struct redis_eval_item item = {
	    .script = script, .keys = keys, .key_count = key_count, .args = args, .arg_count = arg_count};

	return redis_eval_pipeline(conn, &item, 1, arena, out);
}
