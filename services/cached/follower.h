/*
 * follower: how far a replica has followed the log of one shard, and until when that is good for something.
 *
 * Changes have numbers without gaps. Twice a second and more the head of the log is asked for; what is held
 * in memory is in step as of the moment of asking once all changes up to that head were followed. Whoever
 * answers from memory does so for FOLLOWER_TRUST_MS after that, and so never gives what was invalidated a
 * second ago, whatever became of the messages in between.
 *
 * A leaf: no clock, no I/O; one thread.
 */
#ifndef CORBEL_CACHED_FOLLOWER_H
#define CORBEL_CACHED_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#define FOLLOWER_TRUST_MS   900u
#define FOLLOWER_NAME_BYTES 40u
#define FOLLOWER_MARK_BYTES 24u

struct follower {
	uint64_t followed;               /* number of the latest change that was followed */
	char name[FOLLOWER_NAME_BYTES];  /* of the log */
	char mark[FOLLOWER_MARK_BYTES];  /* of that change; "": not known */
	bool is_known;                   /* it is known where the log stands */
	bool was_cut;                    /* the connection was lost since the last head */
	uint64_t target, target_sent_ms; /* the head, and when it was asked for */
	uint64_t synced_ms;              /* in step as of then; 0: never was */
};

enum follower_news {
	FOLLOWER_SAME,
	FOLLOWER_LOST,    /* changes were missed: nothing in memory is known to be good */
	FOLLOWER_RENEWED, /* the store was away, and came back without its data: a log began that is followed */
};

struct follower_head {
	uint64_t number;
	const char *name;
	uint64_t begin; /* the log began after this number; 0: it goes on from another one */
	bool has_mark;  /* it has the latest change that was followed */
	uint64_t sent_ms;
};
enum follower_news follower_head(struct follower *follower, const struct follower_head *head);

enum follower_step {
	FOLLOWER_OLD,  /* was followed before */
	FOLLOWER_NEXT, /* to be followed now */
	FOLLOWER_GAP,  /* something before it is missing in the log: the next head is FOLLOWER_LOST */
};
enum follower_step follower_entry(struct follower *follower, uint64_t number, const char *mark);

/* The connection was lost. */
void follower_cut(struct follower *follower);

/* Until when what is in memory may be given; 0: not at all. */
uint64_t follower_trusted_until(const struct follower *follower);

#endif
