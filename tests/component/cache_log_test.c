/*
 * What head.lua and restock.lua answer and leave in a real Redis: how a log begins, goes on and is
 * recognised, and which copies are put in.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cached/fleet_internal.h"
#include "redis/redis.h"
#include "support/test_fleet.h"
#include "support/test_process.h"

#define PATIENCE_MS 5000u
#define WORDS_MAX   24u

extern const char cached_head_lua[], cached_restock_lua[];

static const struct redis_script HEAD = {.name = "head", .source = cached_head_lua},
                                 RESTOCK = {.name = "restock", .source = cached_restock_lua};

static struct test_redis *server;
static struct redis *redis;
static struct redis_conn *conn;
static struct arena arena;

static void
set_up(void)
{
	server = test_redis_start(NULL);
	arena_init(&arena, 4096, SIZE_MAX);
	struct status st = redis_new(&(struct redis_options){.url = server->url,
	                                                     .connections = 1,
	                                                     .connect_timeout_ms = PATIENCE_MS,
	                                                     .command_timeout_ms = PATIENCE_MS},
	                             &redis);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	st = redis_take(redis, PATIENCE_MS, &conn);
	ck_assert_msg(status_ok(&st), "%s", st.message);
}

static void
tear_down(void)
{
	redis_put(redis, conn);
	redis_free(redis);
	arena_fini(&arena);
	test_redis_stop(server);
}

/* Words with a blank between them. */
static size_t
split(const char *text, struct redis_arg words[WORDS_MAX])
{
	size_t count = 0;

	for (; *text && count < WORDS_MAX; text += *text == ' ') {
		size_t length = strcspn(text, " ");
		words[count++] = (struct redis_arg){.data = text, .size = length};
		text += length;
	}
	return count;
}

static struct redis_reply
ask(const char *command)
{
	struct redis_arg words[WORDS_MAX];
	struct redis_reply reply;
	struct status st = redis_command(conn, words, split(command, words), &arena, &reply);

	ck_assert_msg(status_ok(&st), "%s: %s", command, st.message);
	ck_assert_int_ne(reply.type, REDIS_ERROR);
	return reply;
}

static struct redis_reply
run(const struct redis_eval_item *item)
{
	struct redis_reply reply;
	struct status st = redis_eval_pipeline(conn, item, 1, &arena, &reply);

	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_msg(reply.type != REDIS_ERROR, "%s", reply.text);
	return reply;
}

/* ---- where the log stands ---- */

struct log_stand {
	uint64_t number, begin;
	const char *name;
	bool has_mark;
};

/* The mark "-" stands for none. */
static struct log_stand
head_of(const char *name, uint64_t followed, const char *mark)
{
	const char *args = arena_printf(&arena, "%s %lu %s 350", name, (unsigned long)followed, mark);
	struct redis_arg words[WORDS_MAX], keys[WORDS_MAX];
	struct redis_eval_item item = {
	    .script = &HEAD, .keys = keys, .key_count = 3, .args = words, .arg_count = 4};

	split("head log life", keys);
	split(args, words);
	words[2].size = mark[0] == '-' ? 0 : words[2].size;
	struct redis_reply reply = run(&item);
	ck_assert_int_eq(reply.type, REDIS_ARRAY);
	ck_assert_uint_eq(reply.count, 4);
	return (struct log_stand){.number = reply_number(&reply.elements[0]),
	                          .name = reply.elements[1].text,
	                          .has_mark = reply_number(&reply.elements[2]) == 1,
	                          .begin = reply_number(&reply.elements[3])};
}

static void
append(uint64_t number, const char *mark)
{
	ask(arena_printf(&arena, "HSET head seq %lu", (unsigned long)number));
	ask(arena_printf(&arena, "XADD log %lu-0 k D s t/s n key m %s", (unsigned long)number, mark));
}

START_TEST(a_log_begins_once_and_beyond_all_that_anybody_can_have_seen)
{
	struct log_stand first = head_of("one", 0, "-"), next = head_of("two", 0, "-");

	ck_assert_uint_gt(first.number, UINT64_C(1600000000) * 1024);
	ck_assert_str_eq(first.name, "one");
	ck_assert_uint_eq(first.begin, first.number);
	ck_assert_str_eq(next.name, "one");
	ck_assert_uint_eq(next.number, first.number);
	ck_assert_uint_eq(next.begin, first.number);
	/* It is lost, and somebody has followed numbers of the future. */
	ask("DEL head log");
	struct log_stand after = head_of("three", first.number * 2, "-");
	ck_assert_str_eq(after.name, "three");
	ck_assert_uint_gt(after.number, first.number * 2);
	ck_assert_uint_eq(after.begin, after.number);
}
END_TEST

START_TEST(a_log_that_lost_its_end_goes_on_beyond_it_under_another_name)
{
	struct log_stand first = head_of("one", 0, "-"), after;

	append(first.number + 1, "aaaa");
	append(first.number + 2, "bbbb");
	/* A failover to a replica of Redis that had not heard of the last. */
	ask(arena_printf(&arena, "HSET head seq %lu", (unsigned long)first.number + 1));
	ask(arena_printf(&arena, "XDEL log %lu-0", (unsigned long)first.number + 2));
	after = head_of("two", first.number + 1, "-");
	ck_assert_str_eq(after.name, "one");
	ck_assert_uint_eq(after.number, first.number + 1);
	after = head_of("two", first.number + 2, "-");
	ck_assert_str_eq(after.name, "two");
	ck_assert_uint_gt(after.number, first.number + 2);
	ck_assert_uint_eq(after.begin, 0);
}
END_TEST

START_TEST(a_change_is_recognised_by_its_mark_while_the_log_has_it)
{
	uint64_t number = head_of("one", 0, "-").number + 1;

	append(number, "aaaa");
	ck_assert(head_of("two", number, "aaaa").has_mark);
	ck_assert(head_of("two", number, "-").has_mark);
	ask(arena_printf(&arena, "XDEL log %lu-0", (unsigned long)number));
	struct log_stand after = head_of("two", number, "aaaa");
	ck_assert(!after.has_mark);
	ck_assert_str_eq(after.name, "one"); /* it is longer than what is kept of it */
}
END_TEST

START_TEST(a_log_that_has_another_change_in_the_place_of_one_goes_on_beyond_it_under_another_name)
{
	uint64_t number = head_of("one", 0, "-").number + 1;

	append(number, "aaaa");
	struct log_stand after = head_of("two", number, "bbbb");
	ck_assert(!after.has_mark);
	ck_assert_str_eq(after.name, "two");
	ck_assert_uint_gt(after.number, number);
	ck_assert_uint_eq(after.begin, 0);
	after = head_of("three", number, "aaaa");
	ck_assert_str_eq(after.name, "two");
}
END_TEST

START_TEST(who_asks_where_the_log_stands_is_alive_for_a_while)
{
	(void)head_of("one", 0, "-");
	struct redis_reply left = ask("PTTL life");
	ck_assert_int_le(left.integer, 350);
	ask("DEL life");
	(void)head_of("one", 0, "-");
	ck_assert_int_ne(ask("PTTL life").integer, -1); /* it ends by itself, if it has not yet */
}
END_TEST

/* ---- copies ---- */

/* A copy that is fresh for a minute, with two minutes of grace. */
static int64_t
put_copy(uint64_t number, const char *name, const char *value)
{
	const char *args = arena_printf(&arena, "%lu %s t/s mark 5000 60000 120000 30000 7 %s%s",
	                                (unsigned long)number, name, "????", value);
	struct redis_arg words[WORDS_MAX], keys[WORDS_MAX];
	struct redis_eval_item item = {.script = &RESTOCK, .keys = keys, .key_count = 3, .args = words};
	char rest[32];

	split("head log entry", keys);
	item.arg_count = split(args, words);
	memcpy(rest, (const char[]){0, 0, 0, ENTRY_LAYOUT}, 4);
	snprintf(rest + 4, sizeof(rest) - 4, "%s", value);
	words[item.arg_count - 1] = (struct redis_arg){.data = rest, .size = 4 + strlen(value)};
	struct redis_reply reply = run(&item);
	ck_assert_int_eq(reply.type, REDIS_INTEGER);
	return reply.integer;
}

static void
assert_entry_ends_in(const char *value)
{
	struct redis_reply entry = ask("GET entry");

	ck_assert_uint_eq(entry.size, 40 + strlen(value));
	ck_assert_mem_eq(entry.text + 40, value, strlen(value));
}

START_TEST(a_copy_is_put_in_where_nothing_fresh_is_and_told_in_one_line)
{
	uint64_t number = head_of("one", 0, "-").number;

	ck_assert_int_eq(put_copy(number, "one", "mine"), 1);
	assert_entry_ends_in("mine");
	ck_assert_uint_eq(head_of("two", 0, "-").number, number + 1);
	ck_assert_int_eq(ask("XLEN log").integer, 1);
	ck_assert_int_gt(ask("PTTL entry").integer, 120000);
	ck_assert_int_le(ask("PTTL entry").integer, 180000);
	/* Another's comes second. */
	ck_assert_int_eq(put_copy(number + 1, "one", "theirs"), 0);
	assert_entry_ends_in("mine");
	ck_assert_uint_eq(head_of("two", 0, "-").number, number + 1);
	ck_assert_int_eq(ask("XLEN log").integer, 1);
}
END_TEST

START_TEST(a_copy_takes_the_place_of_what_is_stale_or_of_another_layout)
{
	uint64_t number = head_of("one", 0, "-").number;

	ck_assert_int_eq(put_copy(number, "one", "first"), 1);
	ask("SETRANGE entry 39 x");
	ck_assert_int_eq(put_copy(number + 1, "one", "second"), 1);
	assert_entry_ends_in("second");
	/* When its freshness ended: at the beginning of time. */
	static const struct redis_script END = {
	    .name = "end", .source = "return redis.call('SETRANGE', KEYS[1], 16, string.rep('\\0', 8))"};
	run(&(struct redis_eval_item){.script = &END, .keys = &(struct redis_arg){"entry", 5}, .key_count = 1});
	ck_assert_int_eq(put_copy(number + 2, "one", "third"), 1);
	assert_entry_ends_in("third");
}
END_TEST

START_TEST(nothing_is_put_in_by_who_does_not_know_every_change_of_this_log)
{
	uint64_t number = head_of("one", 0, "-").number;

	ck_assert_int_eq(put_copy(number, "other", "old"), -1);
	append(number + 1, "aaaa");
	ck_assert_int_eq(put_copy(number, "one", "old"), -1);
	ck_assert_int_eq(ask("EXISTS entry").integer, 0);
	ck_assert_int_eq(put_copy(number + 1, "one", "new"), 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cache log");
	TCase *tests = tcase_create("log");

	tcase_add_checked_fixture(tests, set_up, tear_down);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, a_log_begins_once_and_beyond_all_that_anybody_can_have_seen);
	tcase_add_test(tests, a_log_that_lost_its_end_goes_on_beyond_it_under_another_name);
	tcase_add_test(tests, a_change_is_recognised_by_its_mark_while_the_log_has_it);
	tcase_add_test(tests,
	               a_log_that_has_another_change_in_the_place_of_one_goes_on_beyond_it_under_another_name);
	tcase_add_test(tests, who_asks_where_the_log_stands_is_alive_for_a_while);
	tcase_add_test(tests, a_copy_is_put_in_where_nothing_fresh_is_and_told_in_one_line);
	tcase_add_test(tests, a_copy_takes_the_place_of_what_is_stale_or_of_another_layout);
	tcase_add_test(tests, nothing_is_put_in_by_who_does_not_know_every_change_of_this_log);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
