/*
 * URLs by which somebody tries to reach this host's loopback interface, the cloud's metadata, or a private
 * network: none of them connects anywhere. This program's getaddrinfo() stands before the real one, so that
 * names end here: numbers are read as the system reads them, names of an attacker's own domain are 127.0.0.1,
 * all others unknown.
 */
#include <arpa/inet.h>
#include <check.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "support/test_endpoint.h"
#include "support/test_fetch.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define VECTORS_MIN  75 /* with those of outbound_policy_test: 300 */

typedef int (*resolve)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* "@" stands for the port of an endpoint that listens on 127.0.0.1. */
static const char *const URLS[] = {
    /* spellings of 127.0.0.1 */
    "http://127.0.0.1:@/",
    "http://127.0.0.1.:@/",
    "http://127.1:@/",
    "http://127.0.1:@/",
    "http://0177.0.0.1:@/",
    "http://0177.0000.0000.0001:@/",
    "http://00000000177.1:@/",
    "http://0x7f.0x0.0x0.0x1:@/",
    "http://0x7f000001:@/",
    "http://0X7F000001:@/",
    "http://0x0000007f.1:@/",
    "http://017700000001:@/",
    "http://2130706433:@/",
    "http://6425673729:@/",
    "http://0x17f000001:@/",
    "http://127.0.0.1%00.test:@/",
    "http://127.0.0.0x1:@/",
    "http://127.00.000.01:@/",
    "http://0:@/",
    "http://0.0.0.0:@/",
    "http://0.0:@/",
    "http://00:@/",
    "http://0x0:@/",
    "http://127.127.127.127:@/",
    "http://127.0.0.1:@",
    /* IPv6 */
    "http://[::1]:@/",
    "http://[0:0:0:0:0:0:0:1]:@/",
    "http://[::0001]:@/",
    "http://[::]:@/",
    "http://[::%25lo]:@/",
    "http://[::1%25lo]:@/",
    "http://[::1%lo]:@/",
    "http://[::ffff:127.0.0.1]:@/",
    "http://[::ffff:7f00:1]:@/",
    "http://[::FFFF:7F00:0001]:@/",
    "http://[0:0:0:0:0:ffff:7f00:1]:@/",
    "http://[::127.0.0.1]:@/",
    "http://[::ffff:0:127.0.0.1]:@/",
    "http://[64:ff9b::127.0.0.1]:@/",
    "http://[64:ff9b:1::127.0.0.1]:@/",
    "http://[2002:7f00:1::]:@/",
    "http://[2001::80ff:fffe]:@/",
    "http://[fe80::1%25lo]:@/",
    "http://[fec0::1]:@/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1%25lo]:@/",
    /* names */
    "http://localhost:@/",
    "http://LocalHost:@/",
    "http://localhost.:@/",
    "http://a.localhost:@/",
    "http://localhost.localdomain:@/",
    "http://evil.test:@/",
    "http://evil.test.:@/",
    "http://127.0.0.1.evil.test:@/",
    "http://xn--e1afmkfd.evil.test:@/",
    "http://ev%69l.test:@/",
    "http://%31%32%37.0.0.1:@/",
    "http://%6c%6f%63%61%6c%68%6f%73%74:@/",
    "http://1%32%37%2e0.0.1:@/",
    /* other digits and dots, which IDNA maps to ours */
    "http://①②⑦.⓪.⓪.①:@/",
    "http://１２７.０.０.１:@/",
    "http://127。0。0。1:@/",
    "http://127．0．0．1:@/",
    "http://127｡0｡0｡1:@/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:@/",
    ("http://loc\xc2\xad"
     "alhost:@/"),
    /* who is the host? */
    "http://example.com@127.0.0.1:@/",
    "http://example.com:80@127.0.0.1:@/",
    "http://example.com%40127.0.0.1:@/",
    "http://a:b@c:d@127.0.0.1:@/",
    "http://@127.0.0.1:@/",
    "http://:@127.0.0.1:@/",
    "http://127.0.0.1:@\\@example.invalid/",
    "http://127.0.0.1:@\\example.invalid/",
    "http://127.0.0.1:@#@example.invalid/",
    "http://127.0.0.1:@?@example.invalid/",
    "http://127.0.0.1:@/@example.invalid/",
    "http://127.0.0.1:@;@example.invalid/",
    "http:127.0.0.1:@/",
    "http:/127.0.0.1:@/",
    "http:///127.0.0.1:@/",
    "http:////127.0.0.1:@/",
    "http:\\\\127.0.0.1:@\\",
    "http://\t127.0.0.1:@/",
    "http:// 127.0.0.1:@/",
    "http://127.0.0.1 :@/",
    "http://127.0.0.1\n:@/",
    "http://127.0.0.1\r\nHost: a\r\n:@/",
    " http://127.0.0.1:@/",
    "HTTP://127.0.0.1:@/",
    "hTTps://127.0.0.1:@/",
    "//127.0.0.1:@/",
    "127.0.0.1:@",
    /* other schemes */
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:@/_GET%20/",
    "dict://127.0.0.1:@/info",
    "ftp://127.0.0.1:@/",
    "ldap://127.0.0.1:@/",
    "smb://127.0.0.1:@/a",
    "telnet://127.0.0.1:@/",
    "tftp://127.0.0.1:@/a",
    "ws://127.0.0.1:@/",
    "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/",
    "view-source:http://127.0.0.1:@/",
    "url:http://127.0.0.1:@/",
    "jar:http://127.0.0.1:@!/",
    /* metadata and private networks */
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.43518/",
    "http://2852039166/",
    "http://0xA9FEA9FE/",
    "http://0251.0376.0251.0376/",
    "http://100.100.100.200/latest/",
    "http://192.168.0.1/",
    "http://10.1/",
    "http://172.1048577/",
};

static resolve
real_resolve(void)
{
	resolve found;
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");

	memcpy(&found, &symbol, sizeof(found));
	return found;
}

static bool
ends_with(const char *name, const char *end)
{
	size_t length = strlen(name), wanted = strlen(end);

	if (length > 0 && name[length - 1] == '.')
		length--;
	return length >= wanted && strncasecmp(name + length - wanted, end, wanted) == 0;
}

int
getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
	struct addrinfo numeric = hints ? *hints : (struct addrinfo){.ai_socktype = SOCK_STREAM};

	numeric.ai_flags |= AI_NUMERICHOST;
	if (!name || real_resolve()(name, port, &numeric, out) == 0)
		return name ? 0 : real_resolve()(name, port, hints, out);
	if (ends_with(name, ".test") || ends_with(name, "localhost") || ends_with(name, "localhost.localdomain"))
		return real_resolve()("127.0.0.1", port, &numeric, out);
	return EAI_NONAME;
}

static void
say_ok(struct test_endpoint *endpoint, int fd)
{
	static _Thread_local char request[TEST_ENDPOINT_REQUEST_MAX];

	(void)endpoint;
	if (test_endpoint_read(fd, request))
		test_endpoint_puts(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

/* The last ":@" is the port's place; those before it are of users without a password. */
static void
with_port(const char *pattern, unsigned port, char *out, size_t size)
{
	const char *place = strstr(pattern, ":@");
	const char *next = place;

	while (next && (next = strstr(next + 1, ":@")) != NULL)
		place = next;
	if (place)
		snprintf(out, size, "%.*s:%u%s", (int)(place - pattern), pattern, port, place + 2);
	else
		snprintf(out, size, "%s", pattern);
}

START_TEST(no_url_leads_to_an_address_that_is_not_allowed)
{
	struct test_endpoint *endpoint = test_endpoint_start(say_ok, NULL);
	struct outbound *outbound = test_outbound("");
	static struct test_fetch fetch;
	char url[200];

	ck_assert_uint_ge(COUNT(URLS), VECTORS_MIN);
	for (size_t i = 0; i < COUNT(URLS); i++) {
		with_port(URLS[i], test_endpoint_port(endpoint), url, sizeof(url));
		const struct outbound_response *response = test_fetch(outbound, &fetch, url);
		ck_assert_msg(response->result == OUTBOUND_REFUSED_ADDRESS || response->result == OUTBOUND_PROTOCOL ||
		                  response->result == OUTBOUND_DNS,
		              "%s: %s", url, outbound_result_name(response->result));
		ck_assert_msg(response->address[0] == '\0', "%s: %s", url, response->address);
	}
	ck_assert_uint_eq(test_endpoint_connections(endpoint), 0);
	outbound_free(outbound, 0);
	test_endpoint_stop(endpoint);
}
END_TEST

/* The same client, allowed to: so it was the address that kept the others from connecting. */
START_TEST(the_same_urls_connect_where_that_is_allowed)
{
	static const char *const SOME[] = {"http://0177.1:@/", "http://2130706433:@/", "http://evil.test:@/",
	                                   "http://example.com@127.0.0.1:@/",
	                                   "http://127.0.0.1:@#@example.invalid/"};
	struct test_endpoint *endpoint = test_endpoint_start(say_ok, NULL);
	struct outbound *outbound = test_outbound("127.0.0.1/32");
	static struct test_fetch fetch;
	char url[200];

	for (size_t i = 0; i < COUNT(SOME); i++) {
		with_port(SOME[i], test_endpoint_port(endpoint), url, sizeof(url));
		test_expect(test_fetch(outbound, &fetch, url), OUTBOUND_OK);
	}
	outbound_free(outbound, 0);
	test_endpoint_stop(endpoint);
}
END_TEST

/* ---------------------------------------------------------------- our own listeners */

static int
listen_on(const char *address, uint16_t *port)
{
	struct sockaddr_in name = {.sin_family = AF_INET};
	socklen_t size = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &name.sin_addr);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	getsockname(fd, (struct sockaddr *)&name, &size);
	*port = ntohs(name.sin_port);
	return fd;
}

static enum outbound_result
ask_port(struct outbound *outbound, const char *host, uint16_t port)
{
	static struct test_fetch fetch;
	char url[80];

	snprintf(url, sizeof(url), "http://%s:%u/", host, port);
	test_fetch_init(&fetch, url);
	fetch.request.timeout_ms = 300; /* nobody accepts */
	test_fetch_send(outbound, &fetch);
	return test_fetch_wait(&fetch)->result;
}

START_TEST(what_this_process_listens_on_is_refused_even_where_its_address_is_allowed)
{
	struct policy policy;
	uint16_t any, one, other;
	int fds[] = {listen_on("0.0.0.0", &any), listen_on("127.0.0.1", &one), listen_on("127.0.0.2", &other)};

	struct status st = policy_parse("0.0.0.0/0,::/0", &policy);
	ck_assert(status_ok(&st));
	struct outbound *outbound =
	    test_outbound_with((struct outbound_options){.policy = &policy, .refuses_own = true});
	ck_assert_int_eq(ask_port(outbound, "127.0.0.1", any), OUTBOUND_REFUSED_ADDRESS);
	ck_assert_int_eq(ask_port(outbound, "127.9.9.9", any), OUTBOUND_REFUSED_ADDRESS);
	ck_assert_int_eq(ask_port(outbound, "0.0.0.0", any), OUTBOUND_REFUSED_ADDRESS);
	ck_assert_int_eq(ask_port(outbound, "[::ffff:127.0.0.1]", any), OUTBOUND_REFUSED_ADDRESS);
	ck_assert_int_eq(ask_port(outbound, "127.0.0.1", one), OUTBOUND_REFUSED_ADDRESS);
	ck_assert_int_eq(ask_port(outbound, "0", one), OUTBOUND_REFUSED_ADDRESS);
	ck_assert_int_eq(ask_port(outbound, "127.0.0.2", one), OUTBOUND_CONNECT);
	ck_assert_int_eq(ask_port(outbound, "127.0.0.2", other), OUTBOUND_REFUSED_ADDRESS);
	outbound_free(outbound, 0);
	outbound = test_outbound_with((struct outbound_options){.policy = &policy});
	ck_assert_int_eq(ask_port(outbound, "127.0.0.1", one), OUTBOUND_TIMEOUT);
	outbound_free(outbound, 0);
	for (size_t i = 0; i < COUNT(fds); i++)
		shutdown(fds[i], SHUT_RDWR);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outbound and URLs");
	TCase *tests = tcase_create("urls");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, no_url_leads_to_an_address_that_is_not_allowed);
	tcase_add_test(tests, the_same_urls_connect_where_that_is_allowed);
	tcase_add_test(tests, what_this_process_listens_on_is_refused_even_where_its_address_is_allowed);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
