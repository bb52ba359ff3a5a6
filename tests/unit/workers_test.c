/*
 * workers: order, bounds, repeated tasks and drain, with a store that is only counted.
 */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "daemon/workers.h"

/* The store: hands out a fixed connection, or fails. These take the place of common/store's. */
static atomic_bool store_fails;
static atomic_int connections_out;
static char connection;

struct status
store_take(struct store *store, uint32_t wait_ms, struct store_conn **out)
{
	(void)store;
	(void)wait_ms;
	if (atomic_load(&store_fails))
		return status_make(STATUS_UNAVAILABLE, "away");
	atomic_fetch_add(&connections_out, 1);
	*out = (struct store_conn *)(void *)&connection;
	return status_ok_value();
}

void
store_put(struct store *store, struct store_conn *conn)
{
	(void)store;
	ck_assert_ptr_eq((void *)conn, &connection);
	atomic_fetch_sub(&connections_out, 1);
}

static struct workers *
workers_with(uint32_t threads, uint32_t queue_max)
{
	struct workers_options options = {.name = "test",
	                                  .threads = threads,
	                                  .queue_max = queue_max,
	                                  .store = (struct store *)(void *)&connection};
	return workers_new(&options);
}

static bool
comes_true(bool (*is_true)(void *arg), void *arg)
{
	for (int i = 0; i < 10000; i++) {
		if (is_true(arg))
			return true;
		usleep(500);
	}
	return false;
}

/* ---------------------------------------------------------------- pieces of work */

/* Work that waits at a gate and writes down its number. */
struct piece {
	struct work work;
	int number;
	struct board *board;
};

struct board {
	atomic_bool is_open;
	atomic_int running, done;
	int order[256];
	atomic_int failed;
};

static void
run_piece(struct work *work, struct store_conn *conn, const struct status *store)
{
	struct piece *piece = (struct piece *)work;
	struct board *board = piece->board;

	atomic_fetch_add(&board->running, 1);
	while (!atomic_load(&board->is_open))
		usleep(200);
	if (!conn && !status_ok(store))
		atomic_fetch_add(&board->failed, 1);
	int place = atomic_fetch_add(&board->done, 1);
	board->order[place] = piece->number;
}

static struct piece
piece(struct board *board, int number)
{
	return (struct piece){.work.run = run_piece, .number = number, .board = board};
}

static bool
one_runs(void *arg)
{
	struct board *board = arg;
	return atomic_load(&board->running) >= 1;
}

START_TEST(work_runs_in_the_order_it_came)
{
	struct workers *workers = workers_with(1, 256);
	struct board board = {.done = 0};
	struct piece pieces[200];
	for (int i = 0; i < 200; i++) {
		pieces[i] = piece(&board, i);
		ck_assert(workers_submit(workers, &pieces[i].work));
	}
	atomic_store(&board.is_open, true);
	ck_assert(workers_drain(workers, 10000));
	for (int i = 0; i < 200; i++)
		ck_assert_int_eq(board.order[i], i);
	ck_assert_int_eq(atomic_load(&connections_out), 0);
	workers_free(workers);
}
END_TEST

START_TEST(a_full_queue_refuses_and_takes_again_when_there_is_room)
{
	struct workers *workers = workers_with(1, 2);
	struct board board = {.done = 0};
	struct piece pieces[5];
	for (int i = 0; i < 5; i++)
		pieces[i] = piece(&board, i);
	ck_assert(workers_submit(workers, &pieces[0].work));
	ck_assert(comes_true(one_runs, &board));
	ck_assert(workers_submit(workers, &pieces[1].work));
	ck_assert(workers_submit(workers, &pieces[2].work));
	ck_assert(!workers_submit(workers, &pieces[3].work));
	workers_resubmit(workers, &pieces[4].work); /* a second half is never refused */
	atomic_store(&board.is_open, true);
	ck_assert(workers_drain(workers, 10000));
	ck_assert_int_eq(atomic_load(&board.done), 4);
	ck_assert(workers_submit(workers, &pieces[3].work));
	workers_free(workers);
	ck_assert_int_eq(atomic_load(&board.done), 5);
}
END_TEST

START_TEST(work_learns_why_the_store_is_away)
{
	struct workers *workers = workers_with(2, 8);
	struct board board = {.is_open = true};
	struct piece one = piece(&board, 1);
	atomic_store(&store_fails, true);
	ck_assert(workers_submit(workers, &one.work));
	ck_assert(workers_drain(workers, 10000));
	ck_assert_int_eq(atomic_load(&board.failed), 1);
	workers_free(workers);
}
END_TEST

START_TEST(a_drain_that_is_too_short_says_so)
{
	struct workers *workers = workers_with(1, 8);
	struct board board = {.done = 0};
	struct piece one = piece(&board, 1);
	ck_assert(workers_submit(workers, &one.work));
	ck_assert(comes_true(one_runs, &board));
	ck_assert(!workers_drain(workers, 20));
	atomic_store(&board.is_open, true);
	ck_assert(workers_drain(workers, 10000));
	workers_free(workers);
}
END_TEST

/* ---------------------------------------------------------------- jobs and repeated tasks */

struct tally {
	atomic_int runs, at_once;
	atomic_bool overlapped;
};

static void
tally_up(void *arg, struct store_conn *conn)
{
	struct tally *tally = arg;

	ck_assert_ptr_nonnull(conn);
	if (atomic_fetch_add(&tally->at_once, 1) > 0)
		atomic_store(&tally->overlapped, true);
	usleep(2000);
	atomic_fetch_sub(&tally->at_once, 1);
	atomic_fetch_add(&tally->runs, 1);
}

static bool
ran_five_times(void *arg)
{
	struct tally *tally = arg;
	return atomic_load(&tally->runs) >= 5;
}

START_TEST(a_repeated_task_never_overlaps_itself_and_ends_with_the_drain)
{
	struct workers *workers = workers_with(4, 8);
	struct tally tally = {.runs = 0};
	struct status st = workers_every(workers, 1, tally_up, &tally);
	ck_assert(status_ok(&st));
	ck_assert(comes_true(ran_five_times, &tally));
	ck_assert(workers_drain(workers, 10000));
	int runs = atomic_load(&tally.runs);
	ck_assert(!workers_run(workers, tally_up, &tally));
	workers_free(workers);
	ck_assert_int_eq(atomic_load(&tally.runs), runs);
	ck_assert(!atomic_load(&tally.overlapped));
}
END_TEST

START_TEST(repeated_tasks_run_while_the_queue_is_never_empty)
{
	struct workers *workers = workers_with(1, 256);
	struct tally tally = {.runs = 0}, job = {.runs = 0};
	struct status st = workers_every(workers, 1, tally_up, &tally);
	ck_assert(status_ok(&st));
	while (atomic_load(&tally.runs) < 5 && atomic_load(&job.runs) < 2000)
		workers_run(workers, tally_up, &job);
	ck_assert_int_ge(atomic_load(&tally.runs), 5);
	workers_free(workers);
}
END_TEST

static bool
ran_twice_more(void *arg)
{
	struct tally *tally = arg;
	return atomic_load(&tally->runs) >= 2;
}

/* Whoever slept until the task was due is busy now, whichever it was. */
START_TEST(repeated_tasks_run_on_while_all_but_one_worker_are_busy)
{
	struct workers *workers = workers_with(4, 8);
	struct tally tally = {.runs = 0}, seldom = {.runs = 0};
	struct board board = {.done = 0};
	struct piece pieces[3];
	struct status st = workers_every(workers, 600000, tally_up, &seldom);
	ck_assert(status_ok(&st));
	st = workers_every(workers, 5, tally_up, &tally);
	ck_assert(status_ok(&st));
	for (int i = 0; i < 3; i++) {
		pieces[i] = piece(&board, i);
		ck_assert(workers_submit(workers, &pieces[i].work));
		atomic_store(&tally.runs, 0);
		ck_assert(comes_true(ran_twice_more, &tally));
	}
	atomic_store(&board.is_open, true);
	ck_assert(workers_drain(workers, 10000));
	workers_free(workers);
	ck_assert_int_eq(atomic_load(&seldom.runs), 0);
}
END_TEST

struct relay {
	struct work work;
	struct workers *workers;
	struct piece *next;
	struct board *board;
	atomic_bool has_ended;
};

static void
submit_and_wait(struct work *work, struct store_conn *conn, const struct status *store)
{
	struct relay *relay = (struct relay *)work;

	(void)conn;
	(void)store;
	ck_assert(workers_submit(relay->workers, &relay->next->work));
	while (atomic_load(&relay->board->done) == 0)
		usleep(200);
	atomic_store(&relay->has_ended, true);
}

static bool
has_ended(void *arg)
{
	struct relay *relay = arg;
	return atomic_load(&relay->has_ended);
}

/* The only other worker sleeps until a task is due, or waits for work. */
START_TEST(work_that_waits_for_later_work_finds_a_worker_for_it)
{
	struct workers *workers = workers_with(2, 8);
	struct tally tally = {.runs = 0};
	struct status st = workers_every(workers, 600000, tally_up, &tally);
	ck_assert(status_ok(&st));
	for (int i = 0; i < 500; i++) {
		struct board board = {.is_open = true};
		struct piece second = piece(&board, 1);
		struct relay first = {
		    .work.run = submit_and_wait, .workers = workers, .next = &second, .board = &board};
		ck_assert(workers_submit(workers, &first.work));
		ck_assert(comes_true(has_ended, &first));
	}
	workers_free(workers);
}
END_TEST

START_TEST(repeated_tasks_wait_for_a_store_that_is_away_and_are_bounded)
{
	struct workers *workers = workers_with(2, 8);
	struct tally tally = {.runs = 0};
	atomic_store(&store_fails, true);
	struct status st = workers_every(workers, 1, tally_up, &tally);
	ck_assert(status_ok(&st));
	for (int i = 1; i < 64 && status_ok(&st); i++)
		st = workers_every(workers, 600000, tally_up, &tally);
	ck_assert(status_ok(&st));
	st = workers_every(workers, 1, tally_up, &tally);
	ck_assert_int_eq(st.code, STATUS_RESOURCE_EXHAUSTED);
	ck_assert_int_eq(atomic_load(&tally.runs), 0);
	atomic_store(&store_fails, false);
	ck_assert(comes_true(ran_five_times, &tally));
	workers_free(workers);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("workers");
	TCase *tcase = tcase_create("workers");

	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, work_runs_in_the_order_it_came);
	tcase_add_test(tcase, a_full_queue_refuses_and_takes_again_when_there_is_room);
	tcase_add_test(tcase, work_learns_why_the_store_is_away);
	tcase_add_test(tcase, a_drain_that_is_too_short_says_so);
	tcase_add_test(tcase, a_repeated_task_never_overlaps_itself_and_ends_with_the_drain);
	tcase_add_test(tcase, repeated_tasks_run_while_the_queue_is_never_empty);
	tcase_add_test(tcase, repeated_tasks_run_on_while_all_but_one_worker_are_busy);
	tcase_add_test(tcase, work_that_waits_for_later_work_finds_a_worker_for_it);
	tcase_add_test(tcase, repeated_tasks_wait_for_a_store_that_is_away_and_are_bounded);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
