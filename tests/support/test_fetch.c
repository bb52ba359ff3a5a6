/*
 * test_fetch: see test_fetch.h.
 */
#include "support/test_fetch.h"

#include <check.h>
#include <string.h>
#include <time.h>

#define WAIT_S 20

static void
done(struct outbound_request *request)
{
	struct test_fetch *fetch = request->user;
	struct outbound_response *response = &request->response;

	memcpy(fetch->head, response->head, response->head_size);
	fetch->head[response->head_size] = '\0';
	memcpy(fetch->body, response->body, response->body_size);
	fetch->body[response->body_size] = '\0';
	response->head = fetch->head;
	response->body = fetch->body;
	fetch->calls++;
	sem_post(&fetch->is_done);
}

void
test_fetch_init(struct test_fetch *fetch, const char *url)
{
	memset(fetch, 0, sizeof(*fetch));
	sem_init(&fetch->is_done, 0, 0);
	fetch->request = (struct outbound_request){.url = url,
	                                           .timeout_ms = 5000,
	                                           .keep_bytes = TEST_FETCH_KEEP,
	                                           .max_bytes = 1u << 20,
	                                           .done = done,
	                                           .user = fetch};
}

void
test_fetch_send(struct outbound *outbound, struct test_fetch *fetch)
{
	ck_assert(outbound_send(outbound, &fetch->request));
}

const struct outbound_response *
test_fetch_wait(struct test_fetch *fetch)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	ck_assert_msg(sem_timedwait(&fetch->is_done, &until) == 0, "%s ends", fetch->request.url);
	return &fetch->request.response;
}

const struct outbound_response *
test_fetch(struct outbound *outbound, struct test_fetch *fetch, const char *url)
{
	test_fetch_init(fetch, url);
	test_fetch_send(outbound, fetch);
	return test_fetch_wait(fetch);
}

struct outbound *
test_outbound_with(struct outbound_options options)
{
	struct outbound *outbound;
	struct status st = outbound_new(&options, &outbound);

	ck_assert_msg(status_ok(&st), "%s", st.message);
	return outbound;
}

struct outbound *
test_outbound(const char *allow)
{
	struct policy policy;
	struct status st = policy_parse(allow, &policy);

	ck_assert_msg(status_ok(&st), "%s", st.message);
	return test_outbound_with((struct outbound_options){.policy = &policy});
}
