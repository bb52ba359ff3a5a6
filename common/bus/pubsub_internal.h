/*
 * pubsub: what publishers and subscribers agree on.
 */
#ifndef CORBEL_BUS_PUBSUB_INTERNAL_H
#define CORBEL_BUS_PUBSUB_INTERNAL_H

/* Messages a pipe holds: nng's maximum. Smaller buffers lose at 2,000 messages a second. */
#define PUBSUB_BUFFER 8192

#endif
