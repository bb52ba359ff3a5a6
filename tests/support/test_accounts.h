/*
 * test_accounts: accountd on its two kinds of stores, called over the bus as daemons call it.
 *
 * Requests and replies are written as JSON, by the contract's own rules. What these calls return lies in the
 * arena of the thread that makes them, and stays until the end of the test.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_ACCOUNTS_H
#define CORBEL_TESTS_SUPPORT_TEST_ACCOUNTS_H

#include <check.h>
#include <pthread.h>
#include <stdio.h>

#include "corbel/contract.gen.h"
#include "support/test_host.h"

#define PEPPER_1 "1:1111111111111111111111111111111111111111111111111111111111111111"
#define PEPPER_2 "2:2222222222222222222222222222222222222222222222222222222222222222"
#define DAY_MS   INT64_C(86400000)

/* What is started: accountd alone. Defined by the test's program. */
extern const struct service *const accounts_services[];
/* Of the thread's requests and answers. */
extern _Thread_local struct arena *accounts_arena;

/* A checked fixture: a directory, and an arena for the test's own thread. */
void accounts_setup(void);
void accounts_teardown(void);
/* SQLite in the directory for 0, PostgreSQL for 1: most tests are loops of two. */
void accounts_choose_store(int turn);
const char *accounts_dir(void);

/* ---- a host in this process ---- */

struct accounts {
	struct test_host self;
	struct pool *pool;
	char *said; /* what the process announces on its standard output */
	size_t said_size;
	FILE *out;
};

/* The flags of accountd here. `extra` is NULL, or flags with a space between them; no peppers: NULL. */
char **accounts_flags(const char *peppers, const char *extra, int *argc);
/* What host_start() says. */
struct status accounts_try(struct accounts *rig, const char *peppers, const char *extra);
/* The same, and it has to start. */
void accounts_start_with(struct accounts *rig, const char *peppers, const char *extra);
/* With PEPPER_1 and nothing else. */
void accounts_start(struct accounts *rig);
void accounts_stop(struct accounts *rig);

/* ---- calls ---- */

struct accounts_caller {
	const char *tenant, *scope;
	bool is_internal;
};
static const struct accounts_caller OPERATOR = {"root", "*", false}, INGRESS = {NULL, NULL, true};

struct answer {
	enum status_code code;
	const char *text; /* the reply as JSON, or the message of the failure */
	const Corbel__Bus__Reply *reply;
};

struct answer accounts_ask(struct pool *pool, const struct accounts_caller *caller,
                           const struct api_method *method, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What a path such as "keys.0.id" leads to, as text; NULL when there is nothing. */
const char *answer_at(const struct answer *answer, const char *path);
/* The same of a call that has to succeed, where there has to be something. */
const char *answer_good(struct answer answer, const char *path);
/* The pointer of the first violation; "" when there is none. */
const char *answer_pointer(const struct answer *answer);

#define ck_assert_code(got, expected)                                                                        \
	do {                                                                                                     \
		struct answer answer_ = (got);                                                                       \
		ck_assert_msg(answer_.code == (expected), "%s", answer_.text);                                       \
	} while (0)

/* ---- tenants and keys ---- */

struct accounts_made {
	const char *id, *secret;
};

const char *accounts_tenant(struct pool *pool, const char *name); /* its id */
/* A key that may read keys; `more` is "" or further members, with a comma in front. */
struct accounts_made accounts_key(struct pool *pool, const char *tenant, const char *more);
/* "ok", or why the key is refused. */
const char *accounts_verdict(struct pool *pool, const char *secret);
struct answer accounts_patch(struct pool *pool, const char *id, const char *fields);
const char *accounts_state(struct pool *pool, const char *id);
/* RFC 3339, so many milliseconds from now. */
const char *accounts_time(int64_t from_now_ms);

/* ---- calls at once ---- */

struct racer {
	pthread_t thread;
	struct pool *pool;
	const struct accounts_caller *caller; /* NULL: the operator */
	const struct api_method *method;
	const char *request;
	int times;
	int ok; /* how many calls succeeded */
};

/* Each makes its calls in a thread of its own. */
void accounts_race(struct racer *racers, size_t count);

#endif
