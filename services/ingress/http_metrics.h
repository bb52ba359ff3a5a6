/*
 * http_metrics: requests by route, verb and status, and how long they took.
 *
 * A route is a path's template, so that the number of series is bounded by the contract; what matches no
 * method counts under one of a few names ("page", "none").
 */
#ifndef CORBEL_INGRESS_HTTP_METRICS_H
#define CORBEL_INGRESS_HTTP_METRICS_H

#include "api/api.h"
#include "telemetry/metric.h"

struct http_metrics;

enum http_place {
	HTTP_NONE,    /* nothing was found, or the request could not be read */
	HTTP_FORWARD, /* forward-auth */
	HTTP_STREAM,  /* a stream, until it is one */
	HTTP_PAGE,    /* one of the ingress's own */
	HTTP_METHOD   /* of the contract */
};

struct http_metrics *http_metrics_new(struct metrics *metrics);
void http_metrics_free(struct http_metrics *self);
/* `method` is NULL unless the place is HTTP_METHOD; `status` 0 says that the client left before an answer. */
void http_metrics_count(struct http_metrics *self, enum http_place place, const struct api_method *method,
                        unsigned status, double seconds);

#endif
