/*
 * queue_pairs: statements over several leases at once, each named by its delivery and number. Parameters $3
 * to $34 hold QUEUE_WIDTH pairs; those left over repeat the last one, which changes nothing more.
 */
#ifndef CORBEL_WEBHOOKD_QUEUE_PAIRS_H
#define CORBEL_WEBHOOKD_QUEUE_PAIRS_H

#include "store/store.h"

#define QUEUE_WIDTH  16
#define QUEUE_PARAMS (2 + 2 * QUEUE_WIDTH)

#define QUEUE_PAIR(id, number) "(CAST($" #id " AS TEXT), CAST($" #number " AS BIGINT))"
/* To stand behind FROM: columns pair.column1, the delivery, and pair.column2, its number. */
#define QUEUE_PAIRS                                                                                                                                                                                                                                         \
	"(VALUES " QUEUE_PAIR(3, 4) ", " QUEUE_PAIR(5, 6) ", " QUEUE_PAIR(7, 8) ", " QUEUE_PAIR(                                                                                                                                                                \
	    9,                                                                                                                                                                                                                                                  \
	    10) ", " QUEUE_PAIR(11,                                                                                                                                                                                                                             \
	                        12) ", " QUEUE_PAIR(13,                                                                                                                                                                                                         \
	                                            14) ", " QUEUE_PAIR(15,                                                                                                                                                                                     \
	                                                                16) ", " QUEUE_PAIR(17,                                                                                                                                                                 \
	                                                                                    18) ", " QUEUE_PAIR(19,                                                                                                                                             \
	                                                                                                        20) ", " QUEUE_PAIR(21,                                                                                                                         \
	                                                                                                                            22) ", " QUEUE_PAIR(23,                                                                                                     \
	                                                                                                                                                24) ", " QUEUE_PAIR(25,                                                                                 \
	                                                                                                                                                                    26) ", " QUEUE_PAIR(27,                                                             \
	                                                                                                                                                                                        28) ", " QUEUE_PAIR(29,                                         \
	                                                                                                                                                                                                            30) ", " QUEUE_PAIR(31,                     \
	                                                                                                                                                                                                                                32) ", " QUEUE_PAIR(33, \
	                                                                                                                                                                                                                                                    34) ") AS pair"

#endif
