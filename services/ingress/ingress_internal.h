/*
 * ingress: the service, its shards, and a request on its way.
 *
 * A shard is one thread with its own listening socket, HTTP daemon, port on the bus and caches: nothing of
 * it is touched by another thread but its inbox. A request belongs to its shard for its whole life.
 */
#ifndef CORBEL_INGRESS_INTERNAL_H
#define CORBEL_INGRESS_INTERNAL_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "address.h"
#include "api/json.h"
#include "api/routes.h"
#include "corbel/contract.gen.h"
#include "daemon/service.h"
#include "cloudevents/cloudevent.h"
#include "http_metrics.h"
#include "settings.h"

struct crowd;
struct key_cache;
struct key_entry;
struct lease_cache;
struct lingering;
struct hot_checks;
struct stream_ask;
struct streams;
struct tls;
struct tls_keeper;
struct usage;

struct ingress {
	struct service_env env;
	struct settings settings;
	struct routes *routes;
	struct target *targets; /* every daemon of the contract, dialled at the start */
	size_t target_count;
	struct pool *accounts, *ratelimits;
	struct subscriber *key_changes;
	struct streams *streams;
	struct tls *tls; /* NULL: plain HTTP */
	struct usage *usage;
	struct shard *shards;
	size_t shard_count;
	uint64_t dialled_mono;
	char address[128]; /* as listened on, with the port in use */
	char *docs_page, *problems_page;
	_Atomic bool is_leaving; /* to stop soon: each answer ends its connection */
	_Atomic bool is_draining;
	_Atomic bool is_closing; /* the drain is over: what connections that were kept still bring is refused */
	struct http_metrics *http;
	struct metric_counter *bad_requests, *unauthenticated, *limited, *forward_failures, *turned_away;
	struct metric_gauge *active;
};

/* A daemon that methods are served by. */
struct target {
	const char *daemon;
	struct pool *pool;
	_Atomic bool was_reached;
};

/* What other threads tell a shard. */
struct notice {
	struct notice *next;
	bool is_doubt;           /* publications may have been lost */
	bool has_new_tls_pair;   /* the certificate files changed */
	bool has_changed_limits; /* what is held of the tenant's limits ends; without a tenant: of all */
	struct request *ended;   /* its stream is over, and its connection with it; NULL: none */
	char key_id[64], tenant_id[64];
};

struct connection;

struct shard {
	struct ingress *ingress;
	struct MHD_Daemon *http;
	struct port *port;
	int listen_fd, epoll_fd, wake_fd;
	pthread_t thread;
	bool has_thread;
	_Atomic bool is_stopping, is_quiet;
	_Atomic size_t active; /* requests */
	pthread_mutex_t inbox_lock;
	struct notice *inbox;
	/* the shard's thread only: */
	struct key_cache *keys;
	struct lease_cache *leases;
	struct hot_checks *hot; /* NULL: checks always travel */
	struct address_table *addresses;
	struct request *spare; /* finished requests, to be used again */
	size_t spare_count;
	struct connection *connections;
	struct crowd *crowd; /* their addresses, but for trusted proxies */
	bool has_unsent;     /* libmicrohttpd took answers in its last run, and sends them in its next */
	size_t held;         /* requests that wait without being suspended */
	uint64_t turn_ms;    /* when the loop's turn began: enough where a few ms do not count */
	uint64_t inspected_ms;
	struct tls_keeper *tls; /* NULL: plain HTTP */
	struct lingering *lingering;
};

/* TAKEN: its connection became a stream; libmicrohttpd lets go of it. */
enum request_state { REQUEST_RECEIVING, REQUEST_WAITING, REQUEST_ANSWERED, REQUEST_TAKEN };

struct request {
	struct request *next; /* spare, or waiting for a key or a lease */
	struct shard *shard;
	struct MHD_Connection *connection;
	struct connection *link;
	struct arena arena;
	enum request_state state;
	uint64_t started_ns;
	const char *verb_text, *url; /* live as long as the request */
	enum api_verb verb;
	size_t path_length;
	const char *query; /* behind '?', or NULL */
	char *body;
	size_t body_size, body_capacity;
	bool is_http_1_0, is_too_large;
	bool is_held;      /* waits without being suspended */
	bool is_accounted; /* metrics and its span have been told of it */
	bool is_lent;      /* its connection serves a stream, and is all that the stream needs of it */
	bool is_orphan;    /* its connection is gone; ends with the answer that nobody waits for */
	char request_id[64];
	char traceparent[TRACEPARENT_LENGTH + 1]; /* of `span`: what calls and the answer carry */
	struct span span;
	struct address peer; /* of the client, through trusted proxies */
	struct route_match match;
	const struct api_method *method;                /* NULL: a page or forward-auth */
	enum http_place place;                          /* what metrics call it */
	void (*authenticated)(struct request *request); /* what follows when the key is good */
	/* what follows when accountd cannot be asked; NULL: that is the answer */
	void (*unverified)(struct request *request, const struct status *st);
	void (*granted)(struct request *request); /* what follows when a limit admits */
	struct key_entry *key;                    /* held */
	ProtobufCMessage *message;
	enum cloudevent_mode said_as, answered_as; /* NONE: in JSON */
	struct pool_call call;
	struct stream_ask *stream;       /* a stream that is asked for */
	struct strbuf policy, ratelimit; /* headers of limits, empty when there are none */
	const char *if_none_match;       /* of a method with a raw answer; NULL: none */
	const Corbel__Bus__Reply *reply; /* whose headers the response gets; NULL: none */
	/* the response, once there is one */
	struct MHD_Response *response;
	unsigned status;
};

/* ---- shard.c ---- */
struct status shard_start(struct shard *shard, struct ingress *ingress, const char *address, bool is_first);
void shard_tell(struct shard *shard, const struct notice *notice);
void shard_quiet(struct shard *shard);
/* Ends its thread; what it holds stays. */
void shard_halt(struct shard *shard);
void shard_stop(struct shard *shard);
uint64_t shard_now_ms(const struct shard *shard);

/* ---- request.c ---- */
enum MHD_Result request_handle(void *shard, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *data, size_t *size,
                               void **closure);
void request_ended(void *shard, struct MHD_Connection *connection, void **closure,
                   enum MHD_RequestTerminationCode code);
void *request_url(void *shard, const char *uri, struct MHD_Connection *connection);
/* Hangs the request up until it is answered. */
void request_wait(struct request *request);
/* The same for a short wait, after which nothing but the answer follows: no header may be read any more. */
void request_hold(struct request *request);
/* Its connection is, or was, a stream's: it ends without an answer. */
void request_end_stream(struct request *request);
/* It has become a stream on its own connection. */
void request_lend(struct request *request);
/* Gives back what a request that is lent has no more use for; not while it is being worked on. */
void request_lighten(struct request *request);
/* An orphan is over. */
void request_end_orphan(struct request *request);
const char *request_header(const struct request *request, const char *name);
void request_free_spare(struct shard *shard);

/* ---- caller.c ---- */
/* The client's address, through trusted proxies. */
void caller_take_address(struct request *request);
/* Looks after the caller's key, then calls request->authenticated. */
void caller_authenticate(struct request *request);

/* ---- request_span.c ---- */
void request_span_begin(struct request *request);
/* When the request ends; it is still whole. */
void request_span_end(struct request *request);

/* ---- head.c ---- */
/* False when the request's head is refused; it is answered then, and the connection ends with it. */
bool head_check(struct request *request, const char *version);

/* ---- call.c ---- */
void call_begin(struct request *request);
/* Sends the request's message over the bus; the answer follows. */
void call_send(struct request *request);
/* The pool of the daemon that serves a method; NULL: none does. */
struct pool *call_pool(const struct ingress *ingress, const char *daemon);

/* ---- hung_up.c ---- */
/* Of a request that waits for a service: tells the service when the client has hung up and that matters to
 * it. To be asked again while it waits, as what is told before the service has the call is lost. */
void hung_up_look(struct request *request, int fd);

/* ---- respond.c ---- */
void respond_status(struct request *request, const struct status *st);
/* `slug` is one of problem.c; `detail` may be NULL. */
void respond_problem(struct request *request, const char *slug, const char *detail);
void respond_violations(struct request *request, const struct violations *violations);
void respond_reply(struct request *request, const Corbel__Bus__Reply *reply);
/* ---- raw.c ---- */
/* Answers with one field of the message as it is, or that there is none. */
void raw_respond(struct request *request, const ProtobufCMessage *message);
/* ---- respond.c ---- */
/* 405, or 204 to OPTIONS; `allowed` lists the path's methods, and may be empty. */
void respond_wrong_verb(struct request *request, const char *allowed);
void respond_text(struct request *request, unsigned http, const char *type, const char *text, size_t size);
void respond_limited(struct request *request, const char *limit, uint64_t retry_ms, bool is_for_good);
/* Gives the response to the connection; wakes it if it waits. */
void respond_with(struct request *request, unsigned http, struct MHD_Response *response);

/* The headers that every answer has. */
void respond_add_headers(struct request *request, struct MHD_Response *response);

/* ---- stream_open.c ---- */
#define STREAM_PATH "/v1/stream"
void stream_begin(struct request *request);
/* libmicrohttpd has let go of the request's connection: the stream may begin. */
void stream_let_go(struct request *request);

/* ---- pages.c ---- */
/* True when the path is one of the ingress's own and was answered or taken on. */
bool pages_serve(struct request *request);
char *pages_make_docs(void);

/* ---- forward.c ---- */
#define FORWARD_PATH "/v1/auth/forward"
void forward_begin(struct request *request);

/* ---- key_cache.c ---- */
struct key_entry {
	struct key_entry *next;          /* in its bucket */
	struct key_entry *newer, *older; /* by last use */
	uint8_t digest[16];
	unsigned holders;
	bool is_valid, is_linked;
	uint64_t until_ms;
	uint64_t generation; /* of the cache, when accountd was asked */
	uint64_t ask_at_ms;  /* when a doubted entry is asked after again */
	bool has_end;
	int64_t ends_at_ms; /* of the key, wall time */
	Corbel__Bus__Principal principal;
	ProtobufCBinaryData packed; /* the principal, as calls carry it */
	const char **limit_names;   /* names of the principal's own limits, in their order */
	struct arena arena;         /* what the principal points at */
	uint64_t calls, limited;    /* not yet reported */
	uint64_t last_used_ms;
};
/* From accountd's answer, held by the caller and not cached. */
struct key_entry *key_entry_new(struct shard *shard, const Corbel__V1__VerifyKeyReply *reply);
/* Answers as for every bad key, and counts it against the address. */
void key_refuse(struct request *request);
struct key_cache *key_cache_new(struct shard *shard);
void key_cache_free(struct key_cache *cache);
/* Calls request->authenticated now or later with request->key set, or answers the request itself. */
void key_cache_authenticate(struct key_cache *cache, struct request *request, const char *text,
                            size_t length);
void key_cache_notice(struct key_cache *cache, const struct notice *notice);
void key_entry_release(struct key_entry *entry);

/* ---- lease_cache.c ---- */
struct lease_cache *lease_cache_new(struct shard *shard);
void lease_cache_free(struct lease_cache *cache);
/* Takes one unit of `limit` for the request's tenant, then calls `next`; or answers 429. */
void lease_take(struct lease_cache *cache, struct request *request, const char *limit,
                void (*next)(struct request *request));

/* ---- usage.c ---- */
struct usage *usage_new(struct ingress *ingress);
void usage_free(struct usage *usage);
/* Any thread; bounded. */
void usage_add(struct usage *usage, const struct key_entry *entry, bool is_limited);
/* Sends what was counted and waits for the answer; a worker's task. */
void usage_task(void *ingress, struct store_conn *conn);

#endif
