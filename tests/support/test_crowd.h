/*
 * test_crowd: readings of a replica that are handed to its fleet together, so that they wait for Redis at the
 * same moment. All of them share one arena.
 */
#ifndef CORBEL_TESTS_SUPPORT_TEST_CROWD_H
#define CORBEL_TESTS_SUPPORT_TEST_CROWD_H

#include <pthread.h>

#include "support/test_fleet.h"

#define CROWD_KEY_BYTES 32u

struct test_crowd {
	struct test_replica *replica;
	struct reading *readings;
	struct get *gets; /* of all readings */
	char (*keys)[CROWD_KEY_BYTES];
	size_t count, each; /* readings, and gets of one */
	struct arena arena;
	struct value_room room;
	size_t left;
	pthread_mutex_t lock; /* guards `left` */
	pthread_cond_t wake;
};

/* Of the replica's space, with keys that are numbered on. */
void test_crowd_init(struct test_crowd *crowd, struct test_replica *replica, size_t readings, size_t each,
                     bool may_fill);
void test_crowd_fini(struct test_crowd *crowd);
/* All want this key. */
void test_crowd_name_all(struct test_crowd *crowd, const char *key);
/* Looks in memory, asks for the rest and waits for all answers. */
void test_crowd_ask(struct test_crowd *crowd);
/* The same without memory. */
void test_crowd_ask_redis(struct test_crowd *crowd);

#endif
