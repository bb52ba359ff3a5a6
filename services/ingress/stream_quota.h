/*
 * stream_quota: how many streams there are, of each tenant and together.
 *
 * Any thread: shards ask before they answer, the thread of streams gives back.
 */
#ifndef CORBEL_INGRESS_STREAM_QUOTA_H
#define CORBEL_INGRESS_STREAM_QUOTA_H

#include <stddef.h>

struct stream_quota;

enum stream_refusal { STREAM_ADMITTED, STREAM_TENANT_FULL, STREAM_ALL_FULL };

struct stream_quota *stream_quota_new(size_t all, size_t per_tenant);
void stream_quota_free(struct stream_quota *quota);
/* ADMITTED counts the stream; stream_quota_leave() follows. */
enum stream_refusal stream_quota_enter(struct stream_quota *quota, const char *tenant);
void stream_quota_leave(struct stream_quota *quota, const char *tenant);
size_t stream_quota_count(struct stream_quota *quota);

#endif
