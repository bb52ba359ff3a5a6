/*
 * cloudevents: methods that also speak CloudEvents, between HTTP and their messages.
 *
 * Which methods do is an option of the contract; which form a request has is said by its Content-Type, or by
 * the header ce-specversion; which form its answer has, by Accept. The shard's thread only.
 */
#ifndef CORBEL_INGRESS_CLOUDEVENTS_H
#define CORBEL_INGRESS_CLOUDEVENTS_H

#include "ingress_internal.h"

/* Reads from the request's head how it speaks, while its headers may still be read. */
void cloudevents_look(struct request *request);
/* The body of a request that is in CloudEvents, as its message; NULL when it was not read to its end. */
ProtobufCMessage *cloudevents_read(struct request *request, struct violations *violations);
/* Writes the answer and its Content-Type. */
const char *cloudevents_write(struct request *request, const ProtobufCMessage *reply, struct strbuf *body);
/* The value of Link for the page that follows; NULL: there is none. */
const char *cloudevents_link(struct request *request, const ProtobufCMessage *reply);

#endif
