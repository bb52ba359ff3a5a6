/*
 * The outbound client against servers that answer well, badly, endlessly or not at all.
 */
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "support/test_endpoint.h"
#include "support/test_fetch.h"
#include "support/test_process.h"

#define LOOPBACK     "127.0.0.1/32"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A client and an endpoint for it. */
struct rig {
	struct outbound *outbound;
	struct test_endpoint *endpoint;
	struct test_fetch fetch;
};

static void
start(struct rig *rig, test_endpoint_serve serve, const void *arg)
{
	rig->outbound = test_outbound(LOOPBACK);
	rig->endpoint = test_endpoint_start(serve, arg);
}

static void
stop(struct rig *rig)
{
	outbound_free(rig->outbound, 0);
	test_endpoint_stop(rig->endpoint);
}

static const struct outbound_response *
fetch(struct rig *rig)
{
	return test_fetch(rig->outbound, &rig->fetch, test_endpoint_url(rig->endpoint));
}

/* Starts, fetches once within the time, expects, stops. */
static void
expect_once(test_endpoint_serve serve, uint32_t timeout_ms, enum outbound_result expected, unsigned status)
{
	struct rig rig;

	start(&rig, serve, NULL);
	test_fetch_init(&rig.fetch, test_endpoint_url(rig.endpoint));
	rig.fetch.request.timeout_ms = timeout_ms;
	uint64_t begin_ms = test_now_ms(), calm_ms = test_calm_ms();
	test_fetch_send(rig.outbound, &rig.fetch);
	const struct outbound_response *response = test_fetch_wait(&rig.fetch);
	test_expect(response, expected);
	ck_assert_uint_eq(response->status, status);
	ck_assert(response->detail[0]);
	if (expected == OUTBOUND_TIMEOUT) {
		ck_assert_uint_ge(test_now_ms() - begin_ms, timeout_ms);
		ck_assert_uint_lt(test_calm_ms() - calm_ms, timeout_ms + 2000);
	}
	stop(&rig);
}

/* ---------------------------------------------------------------- endpoints */

/* Answers each request with the text that is the endpoint's argument. */
static void
say(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];

	while (test_endpoint_read(fd, request) && test_endpoint_puts(fd, test_endpoint_arg(endpoint)))
		;
}

static void
say_nothing(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	test_endpoint_drain(fd);
}

/* Answers with the request itself. */
static void
echo(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX], head[80];

	(void)endpoint;
	while (test_endpoint_read(fd, request)) {
		snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(request));
		if (!test_endpoint_puts(fd, head) || !test_endpoint_puts(fd, request))
			return;
	}
}

static void
repeat(int fd, const char *first, const char *again)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];

	if (!test_endpoint_read(fd, request) || !test_endpoint_puts(fd, first))
		return;
	while (test_endpoint_puts(fd, again))
		;
}

static void
never_end_the_body(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	repeat(fd, "HTTP/1.1 200 OK\r\n\r\n", "and so on ");
}

static void
never_end_the_head(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	repeat(fd, "HTTP/1.1 200 OK\r\n", "X-More: of the same\r\n");
}

static void
never_end_a_header(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	repeat(fd, "HTTP/1.1 200 OK\r\nX-Long: ", "and so on ");
}

static void
continue_forever(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	repeat(fd, "", "HTTP/1.1 100 Continue\r\n\r\n");
}

/* The next byte each second, until the peer has had enough. */
static void
trickle(int fd, const char *first)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];
	struct pollfd hangup = {.fd = fd, .events = POLLIN | POLLRDHUP};

	if (!test_endpoint_read(fd, request) || !test_endpoint_puts(fd, first))
		return;
	while (poll(&hangup, 1, 1000) == 0 && test_endpoint_puts(fd, "x"))
		;
}

static void
trickle_the_body(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	trickle(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst");
}

static void
trickle_the_head(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	trickle(fd, "HTTP/1.1 200 OK\r\nX-Slow: ");
}

static void
speak_http_0_9(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];

	(void)endpoint;
	if (test_endpoint_read(fd, request))
		test_endpoint_puts(fd, "<html>no status line</html>");
}

static void
reset(int fd, const char *first)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];
	struct linger at_once = {.l_onoff = 1};

	if (test_endpoint_read(fd, request) && test_endpoint_puts(fd, first))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

static void
reset_at_once(struct test_endpoint *endpoint, int fd)
{
	(void)endpoint;
	reset(fd, "");
}

static void
close_within_the_body(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];

	(void)endpoint;
	if (test_endpoint_read(fd, request))
		test_endpoint_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
}

static void
close_without_a_word(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];

	(void)endpoint;
	test_endpoint_read(fd, request);
}

/* ---------------------------------------------------------------- answers */

START_TEST(a_response_comes_with_status_head_body_and_address)
{
	struct rig rig;
	char address[40];

	start(&rig, say, "HTTP/1.1 201 Created\r\nX-Id: 7\r\nContent-Length: 5\r\n\r\nhello");
	snprintf(address, sizeof(address), "127.0.0.1:%u", test_endpoint_port(rig.endpoint));
	const struct outbound_response *response = fetch(&rig);
	test_expect(response, OUTBOUND_OK);
	ck_assert_uint_eq(response->status, 201);
	ck_assert_str_eq(response->head, "HTTP/1.1 201 Created\r\nX-Id: 7\r\nContent-Length: 5\r\n\r\n");
	ck_assert_str_eq(response->body, "hello");
	ck_assert_uint_eq(response->received_bytes, 5);
	ck_assert_uint_eq(response->http_version, 11);
	ck_assert_str_eq(response->address, address);
	ck_assert_str_eq(response->detail, "");
	ck_assert(!response->is_cut);
	ck_assert_uint_eq(response->retry_after_ms, 0);
	stop(&rig);
}
END_TEST

START_TEST(requests_to_one_endpoint_share_a_connection)
{
	struct rig rig;

	start(&rig, say, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	for (int i = 0; i < 50; i++) {
		test_expect(fetch(&rig), OUTBOUND_OK);
		ck_assert_str_eq(rig.fetch.body, "ok");
	}
	ck_assert_uint_eq(test_endpoint_connections(rig.endpoint), 1);
	stop(&rig);
}
END_TEST

START_TEST(every_status_is_an_answer)
{
	static const struct {
		unsigned status;
		const char *text;
	} ANSWERS[] = {{200, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	               {204, "HTTP/1.1 204 No Content\r\n\r\n"},
	               {404, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"},
	               {410, "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"},
	               {500, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"},
	               {202, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	                     "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"}};

	for (size_t i = 0; i < COUNT(ANSWERS); i++) {
		struct rig rig;
		start(&rig, say, ANSWERS[i].text);
		const struct outbound_response *response = fetch(&rig);
		test_expect(response, OUTBOUND_OK);
		ck_assert_uint_eq(response->status, ANSWERS[i].status);
		ck_assert_uint_eq(response->body_size, 0);
		ck_assert(strstr(response->head, "Early Hints") == NULL);
		stop(&rig);
	}
}
END_TEST

START_TEST(retry_after_is_read_as_seconds_and_as_a_date)
{
	static const struct {
		const char *value;
		uint64_t ms;
	} VALUES[] = {{"120", 120000},
	              {"  7 ", 7000},
	              {"0", 0},
	              {"Sun, 06 Nov 1994 08:50:37 GMT", 60000},
	              {"Sunday, 06-Nov-94 08:50:37 GMT", 60000},
	              {"Sun Nov  6 08:50:37 1994", 60000},
	              {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
	              {"Sat, 05 Nov 1994 08:49:37 GMT", 0},
	              {"-5", 0},
	              {"Nov  7 999992199", 0},
	              {"Fri, 31 Dec 2100 00:00:00 GMT", UINT64_C(3660) * 86400000},
	              {"soon", 0},
	              {"", 0},
	              {"99999999999999999999", UINT64_C(3660) * 86400000}};
	struct policy policy;
	struct fake_clock clock;
	struct rig rig;
	char text[160];

	fake_clock_init(&clock, INT64_C(784111777) * 1000000); /* 06 Nov 1994 08:49:37 */
	policy_parse(LOOPBACK, &policy);
	for (size_t i = 0; i < COUNT(VALUES); i++) {
		snprintf(text, sizeof(text), "HTTP/1.1 503 Busy\r\nretry-After:%s\r\nContent-Length: 0\r\n\r\n",
		         VALUES[i].value);
		rig.outbound =
		    test_outbound_with((struct outbound_options){.policy = &policy, .clock = &clock.clock});
		rig.endpoint = test_endpoint_start(say, text);
		const struct outbound_response *response = fetch(&rig);
		test_expect(response, OUTBOUND_OK);
		ck_assert_msg(response->retry_after_ms == VALUES[i].ms, "'%s' is %llu ms", VALUES[i].value,
		              (unsigned long long)response->retry_after_ms);
		stop(&rig);
	}
}
END_TEST

START_TEST(a_redirect_is_an_answer_and_is_not_followed)
{
	struct test_endpoint *target = test_endpoint_start(say, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	struct rig rig;
	char text[160];

	snprintf(text, sizeof(text), "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
	         test_endpoint_url(target));
	start(&rig, say, text);
	test_expect(fetch(&rig), OUTBOUND_OK);
	ck_assert_uint_eq(rig.fetch.request.response.status, 302);
	ck_assert_uint_eq(test_endpoint_connections(target), 0);
	stop(&rig);
	test_endpoint_stop(target);
}
END_TEST

START_TEST(no_more_of_a_body_is_read_than_asked_and_no_more_kept)
{
	struct rig rig;

	start(&rig, never_end_the_body, NULL);
	test_fetch_init(&rig.fetch, test_endpoint_url(rig.endpoint));
	rig.fetch.request.keep_bytes = 12;
	rig.fetch.request.max_bytes = 100000;
	test_fetch_send(rig.outbound, &rig.fetch);
	const struct outbound_response *response = test_fetch_wait(&rig.fetch);
	test_expect(response, OUTBOUND_OK);
	ck_assert_uint_eq(response->status, 200);
	ck_assert(response->is_cut);
	ck_assert_str_eq(response->body, "and so on an");
	ck_assert_uint_gt(response->received_bytes, 100000);
	ck_assert_uint_le(response->received_bytes, 100000 + 16384);
	stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- hostile endpoints */

START_TEST(one_byte_a_second_ends_at_the_deadline)
{
	expect_once(trickle_the_body, 300, OUTBOUND_TIMEOUT, 200);
	expect_once(trickle_the_head, 300, OUTBOUND_TIMEOUT, 200);
	expect_once(say_nothing, 300, OUTBOUND_TIMEOUT, 0);
}
END_TEST

START_TEST(a_body_that_never_ends_ends_at_the_deadline)
{
	struct rig rig;

	start(&rig, never_end_the_body, NULL);
	test_fetch_init(&rig.fetch, test_endpoint_url(rig.endpoint));
	rig.fetch.request.max_bytes = SIZE_MAX;
	rig.fetch.request.timeout_ms = 300;
	uint64_t calm_ms = test_calm_ms();
	test_fetch_send(rig.outbound, &rig.fetch);
	const struct outbound_response *response = test_fetch_wait(&rig.fetch);
	test_expect(response, OUTBOUND_TIMEOUT);
	ck_assert_uint_eq(response->status, 200);
	ck_assert_uint_eq(response->body_size, TEST_FETCH_KEEP);
	ck_assert_uint_lt(test_calm_ms() - calm_ms, 2000);
	stop(&rig);
}
END_TEST

START_TEST(a_head_beyond_the_bound_is_too_large)
{
	expect_once(never_end_the_head, 5000, OUTBOUND_TOO_LARGE, 200);
	expect_once(never_end_a_header, 5000, OUTBOUND_TOO_LARGE, 200);
	expect_once(continue_forever, 5000, OUTBOUND_TOO_LARGE, 0);
}
END_TEST

START_TEST(what_is_no_http_is_a_protocol_error)
{
	expect_once(speak_http_0_9, 5000, OUTBOUND_PROTOCOL, 0);
}
END_TEST

START_TEST(a_connection_that_breaks_is_no_answer)
{
	expect_once(reset_at_once, 5000, OUTBOUND_CONNECT, 0);
	expect_once(close_without_a_word, 5000, OUTBOUND_CONNECT, 0);
	expect_once(close_within_the_body, 5000, OUTBOUND_CONNECT, 200);
}
END_TEST

START_TEST(a_port_that_nobody_listens_on_is_no_connection)
{
	struct outbound *outbound = test_outbound(LOOPBACK);
	struct test_fetch fetch;
	char url[40];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", (unsigned)test_free_port());
	test_expect(test_fetch(outbound, &fetch, url), OUTBOUND_CONNECT);
	outbound_free(outbound, 0);
}
END_TEST

START_TEST(a_kept_connection_that_the_endpoint_closed_is_replaced)
{
	struct rig rig;

	start(&rig, say, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	test_expect(fetch(&rig), OUTBOUND_OK);
	test_endpoint_hang_up(rig.endpoint);
	test_expect(fetch(&rig), OUTBOUND_OK);
	ck_assert_uint_eq(test_endpoint_connections(rig.endpoint), 2);
	stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- addresses and names */

START_TEST(an_address_that_is_not_allowed_is_never_connected_to)
{
	static const char *const HOSTS[] = {"127.0.0.1",
	                                    "127.1",
	                                    "2130706433",
	                                    "0x7f.1",
	                                    "0177.0.0.1",
	                                    "localhost",
	                                    "LOCALHOST.",
	                                    "0.0.0.0",
	                                    "0",
	                                    "[::1]",
	                                    "[::]",
	                                    "127.0.0.1.",
	                                    "127。0。0。1",
	                                    "①②⑦.0.0.1",
	                                    "user@127.0.0.1",
	                                    "[::127.0.0.1]",
	                                    "[::ffff:127.0.0.1]",
	                                    "[::ffff:7f00:1]",
	                                    "[64:ff9b::127.0.0.1]",
	                                    "[fe80::1%25lo]",
	                                    "169.254.169.254"};
	struct test_endpoint *endpoint = test_endpoint_start(say, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	struct outbound *outbound = test_outbound("");
	struct test_fetch fetch;
	char url[80];

	for (size_t i = 0; i < COUNT(HOSTS); i++) {
		snprintf(url, sizeof(url), "http://%s:%u/", HOSTS[i], test_endpoint_port(endpoint));
		const struct outbound_response *response = test_fetch(outbound, &fetch, url);
		ck_assert_msg(response->result == OUTBOUND_REFUSED_ADDRESS || response->result == OUTBOUND_PROTOCOL ||
		                  response->result == OUTBOUND_DNS,
		              "%s: %s", HOSTS[i], outbound_result_name(response->result));
		ck_assert_str_eq(response->address, "");
	}
	ck_assert_uint_eq(test_endpoint_connections(endpoint), 0);
	outbound_free(outbound, 0);
	test_endpoint_stop(endpoint);
}
END_TEST

START_TEST(a_refused_address_is_told_as_such)
{
	static const char *const URLS[] = {"http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://localhost/",
	                                   "https://169.254.169.254/latest/meta-data/"};
	struct outbound *outbound = test_outbound("127.0.0.2/32");
	struct test_fetch fetch;

	for (size_t i = 0; i < COUNT(URLS); i++)
		test_expect(test_fetch(outbound, &fetch, URLS[i]), OUTBOUND_REFUSED_ADDRESS);
	outbound_free(outbound, 0);
}
END_TEST

START_TEST(a_name_that_does_not_resolve_is_told_as_such)
{
	struct outbound *outbound = test_outbound("");
	struct test_fetch fetch;

	test_expect(test_fetch(outbound, &fetch, "http://nothing.invalid/"), OUTBOUND_DNS);
	outbound_free(outbound, 0);
}
END_TEST

/* ---------------------------------------------------------------- requests */

START_TEST(method_headers_and_body_arrive_as_they_were_sent)
{
	static const char *const HEADERS[] = {"Content-Type: application/json", "webhook-id: msg_1",
	                                      "X-Empty;: no"};
	static const char *const METHODS[] = {"POST", "PUT", "PATCH", "DELETE", "GET", "REPORT", "POST"};
	struct rig rig;

	start(&rig, echo, NULL);
	for (size_t i = 0; i < COUNT(METHODS); i++) {
		test_fetch_init(&rig.fetch, test_endpoint_url(rig.endpoint));
		rig.fetch.request.method = METHODS[i];
		rig.fetch.request.headers = HEADERS;
		rig.fetch.request.header_count = 2;
		rig.fetch.request.body = "{\"a\":1}";
		rig.fetch.request.body_size = 7;
		test_fetch_send(rig.outbound, &rig.fetch);
		test_expect(test_fetch_wait(&rig.fetch), OUTBOUND_OK);
		ck_assert_int_eq(strncmp(rig.fetch.body, METHODS[i], strlen(METHODS[i])), 0);
		ck_assert(strstr(rig.fetch.body, "\r\nContent-Type: application/json\r\n"));
		ck_assert(strstr(rig.fetch.body, "\r\nwebhook-id: msg_1\r\n"));
		ck_assert(strstr(rig.fetch.body, "\r\nUser-Agent: corbel/"));
		ck_assert(strstr(rig.fetch.body, "\r\n\r\n{\"a\":1}"));
		ck_assert(!strstr(rig.fetch.body, "Expect"));
		ck_assert(!strstr(rig.fetch.body, "form-urlencoded"));
	}
	ck_assert_uint_eq(test_endpoint_connections(rig.endpoint), 1);
	stop(&rig);
}
END_TEST

START_TEST(a_request_without_a_body_says_so_only_where_one_is_expected)
{
	static const struct {
		const char *method, *first;
		bool has_length;
	} REQUESTS[] = {{"POST", "POST / HTTP/1.1", true},
	                {"GET", "GET / HTTP/1.1", false},
	                {NULL, "GET / HTTP/1.1", false},
	                {"DELETE", "DELETE / HTTP/1.1", false}};
	struct rig rig;

	start(&rig, echo, NULL);
	for (size_t i = 0; i < COUNT(REQUESTS); i++) {
		test_fetch_init(&rig.fetch, test_endpoint_url(rig.endpoint));
		rig.fetch.request.method = REQUESTS[i].method;
		test_fetch_send(rig.outbound, &rig.fetch);
		test_expect(test_fetch_wait(&rig.fetch), OUTBOUND_OK);
		ck_assert_int_eq(strncmp(rig.fetch.body, REQUESTS[i].first, strlen(REQUESTS[i].first)), 0);
		ck_assert(REQUESTS[i].has_length == (strstr(rig.fetch.body, "Content-Length: 0") != NULL));
		ck_assert(!strstr(rig.fetch.body, "Content-Type"));
	}
	stop(&rig);
}
END_TEST

START_TEST(a_response_to_head_has_no_body)
{
	struct rig rig;

	start(&rig, say, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
	for (int i = 0; i < 2; i++) {
		test_fetch_init(&rig.fetch, test_endpoint_url(rig.endpoint));
		rig.fetch.request.method = "HEAD";
		test_fetch_send(rig.outbound, &rig.fetch);
		test_expect(test_fetch_wait(&rig.fetch), OUTBOUND_OK);
	}
	ck_assert_uint_eq(test_endpoint_connections(rig.endpoint), 1);
	stop(&rig);
}
END_TEST

START_TEST(what_cannot_be_sent_safely_is_not_sent)
{
	static const char *const URLS[] = {
	    "ftp://127.0.0.1/", "file:///etc/passwd",      "127.0.0.1", "", "gopher://127.0.0.1/", "http://",
	    "http://a b/",      "http://127.0.0.1:99999/", "unix:///x"};
	static const char *const HEADERS[] = {
	    "X-A: b\r\nX-C: d", "X-A: b\n",    "no colon",          ": nameless",
	    "X A: b",           "Host: other", "content-length: 3", "Transfer-Encoding: chunked",
	    "X-Empty;",         "X\r\nY: z"};
	static const char *const METHODS[] = {"", "GET /x HTTP/1.1\r\nX:", "GE T", "ABCDEFGHIJKLMNOPQ"};
	struct rig rig;

	start(&rig, echo, NULL);
	for (size_t i = 0; i < COUNT(URLS); i++)
		test_expect(test_fetch(rig.outbound, &rig.fetch, URLS[i]), OUTBOUND_PROTOCOL);
	for (size_t i = 0; i < COUNT(HEADERS); i++) {
		test_fetch_init(&rig.fetch, test_endpoint_url(rig.endpoint));
		rig.fetch.request.headers = &HEADERS[i];
		rig.fetch.request.header_count = 1;
		test_fetch_send(rig.outbound, &rig.fetch);
		test_expect(test_fetch_wait(&rig.fetch), OUTBOUND_PROTOCOL);
	}
	for (size_t i = 0; i < COUNT(METHODS); i++) {
		test_fetch_init(&rig.fetch, test_endpoint_url(rig.endpoint));
		rig.fetch.request.method = METHODS[i];
		test_fetch_send(rig.outbound, &rig.fetch);
		test_expect(test_fetch_wait(&rig.fetch), OUTBOUND_PROTOCOL);
	}
	ck_assert_uint_eq(test_endpoint_connections(rig.endpoint), 0);
	stop(&rig);
}
END_TEST

/* ---------------------------------------------------------------- proxies */

START_TEST(proxies_of_the_environment_are_ignored)
{
	struct rig rig;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	start(&rig, say, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	test_expect(fetch(&rig), OUTBOUND_OK);
	stop(&rig);
}
END_TEST

START_TEST(an_egress_proxy_gets_every_request_whatever_the_environment_says)
{
	struct test_endpoint *proxy = test_endpoint_start(echo, NULL);
	struct outbound *outbound =
	    test_outbound_with((struct outbound_options){.proxy = test_endpoint_url(proxy)});
	struct test_fetch fetch;

	setenv("no_proxy", "*", 1);
	test_expect(test_fetch(outbound, &fetch, "http://shop.example/hook"), OUTBOUND_OK);
	ck_assert_int_eq(strncmp(fetch.body, "GET http://shop.example/hook HTTP/1.1\r\n", 39), 0);
	outbound_free(outbound, 0);
	test_endpoint_stop(proxy);
}
END_TEST

START_TEST(options_that_cannot_work_are_refused)
{
	struct outbound *outbound;
	struct status st = outbound_new(&(struct outbound_options){.ca_file = "/nowhere/ca.pem"}, &outbound);

	ck_assert_int_eq(st.code, STATUS_FAILED_PRECONDITION);
	ck_assert(strstr(st.message, "/nowhere/ca.pem"));
	st = outbound_new(&(struct outbound_options){.proxy = "http://a b:1"}, &outbound);
	ck_assert_int_eq(st.code, STATUS_FAILED_PRECONDITION);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outbound");
	TCase *tests = tcase_create("outbound");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_response_comes_with_status_head_body_and_address);
	tcase_add_test(tests, requests_to_one_endpoint_share_a_connection);
	tcase_add_test(tests, every_status_is_an_answer);
	tcase_add_test(tests, retry_after_is_read_as_seconds_and_as_a_date);
	tcase_add_test(tests, a_redirect_is_an_answer_and_is_not_followed);
	tcase_add_test(tests, no_more_of_a_body_is_read_than_asked_and_no_more_kept);
	tcase_add_test(tests, one_byte_a_second_ends_at_the_deadline);
	tcase_add_test(tests, a_body_that_never_ends_ends_at_the_deadline);
	tcase_add_test(tests, a_head_beyond_the_bound_is_too_large);
	tcase_add_test(tests, what_is_no_http_is_a_protocol_error);
	tcase_add_test(tests, a_connection_that_breaks_is_no_answer);
	tcase_add_test(tests, a_port_that_nobody_listens_on_is_no_connection);
	tcase_add_test(tests, a_kept_connection_that_the_endpoint_closed_is_replaced);
	tcase_add_test(tests, an_address_that_is_not_allowed_is_never_connected_to);
	tcase_add_test(tests, a_refused_address_is_told_as_such);
	tcase_add_test(tests, a_name_that_does_not_resolve_is_told_as_such);
	tcase_add_test(tests, method_headers_and_body_arrive_as_they_were_sent);
	tcase_add_test(tests, a_request_without_a_body_says_so_only_where_one_is_expected);
	tcase_add_test(tests, a_response_to_head_has_no_body);
	tcase_add_test(tests, what_cannot_be_sent_safely_is_not_sent);
	tcase_add_test(tests, proxies_of_the_environment_are_ignored);
	tcase_add_test(tests, an_egress_proxy_gets_every_request_whatever_the_environment_says);
	tcase_add_test(tests, options_that_cannot_work_are_refused);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
