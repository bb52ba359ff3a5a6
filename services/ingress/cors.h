/*
 * cors: pages of other origins that may call the API from a browser (the Fetch standard's CORS protocol).
 *
 * Keys travel in headers that a page sets itself, so credentials in the browser's sense are never allowed.
 */
#ifndef CORBEL_INGRESS_CORS_H
#define CORBEL_INGRESS_CORS_H

#include <stdbool.h>

struct MHD_Response;
struct request;

/* NULL when all are origins ("https://app.example", "http://localhost:3000") or "*"; else the one that is
 * not. */
const char *cors_check(const char *const *origins);
/* Whether a page of the request's Origin may open a WebSocket, for which there is no preflight: an allowed
 * one, or one of this very host. Clients that are no browsers send no Origin. */
bool cors_admits(const struct request *request);
/* True when the request is a preflight from an allowed origin: it is answered. `allowed` lists the path's
 * methods. */
bool cors_preflight(struct request *request, const char *allowed);
/* What a page may read of any answer. */
void cors_add(const struct request *request, struct MHD_Response *response);

#endif
