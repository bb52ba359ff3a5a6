/*
 * The outbound client over TLS, against nginx (HTTP/2, HTTP/1.1) and openssl (old versions).
 */
#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/test_certificate.h"
#include "support/test_fetch.h"
#include "support/test_process.h"

#define LOOPBACK "127.0.0.1/32"

static struct test_dir dir;
static struct test_certificate own;
static char log_path[128];
static pid_t server;
static uint16_t port;

static void
prepare(void)
{
	test_dir_make(&dir);
	test_certificate_make(&dir, "server", &own);
	snprintf(log_path, sizeof(log_path), "%s/server.log", dir.path);
	port = test_free_port();
}

static bool
is_listening(void)
{
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_it = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	close(fd);
	return is_it;
}

static void
start_server(const char *const *argv)
{
	server = test_process_start(
	    &(struct test_process_options){.argv = argv, .log_path = log_path, .death_signal = 15});
	for (uint64_t end = test_now_ms() + 10000; !is_listening() && test_now_ms() < end; test_pause())
		ck_assert(test_process_is_alive(server));
	ck_assert(is_listening());
}

static void
stop_server(void)
{
	test_process_end(server, 15);
	test_dir_remove(&dir);
}

/* Answers with the number of the connection. The front passes requests on only when it has read their bodies:
 * an answer that comes before ends the HTTP/2 stream with the body under way, which curl 7.88 takes for an
 * error. */
static void
start_nginx(void)
{
	char path[128], prefix[128];

	prepare();
	snprintf(prefix, sizeof(prefix), "%s/", dir.path);
	snprintf(path, sizeof(path), "%s/nginx.conf", dir.path);
	FILE *file = fopen(path, "w");
	ck_assert(file != NULL);
	fprintf(file,
	        "daemon off; master_process off; pid %s/nginx.pid; error_log stderr;\n"
	        "events { worker_connections 512; }\n"
	        "http { access_log off; client_body_temp_path %s; keepalive_requests 100000;\n"
	        " server { listen 127.0.0.1:%u ssl http2; ssl_certificate %s; ssl_certificate_key %s;\n"
	        "  location / { proxy_set_header X-Connection $connection; proxy_pass http://unix:%s/back; } }\n"
	        " server { listen unix:%s/back; location / { return 200 $http_x_connection; } } }\n",
	        dir.path, dir.path, (unsigned)port, own.certificate, own.key, dir.path, dir.path);
	fclose(file);
	start_server((const char *const[]){"/usr/sbin/nginx", "-p", prefix, "-c", path, NULL});
}

static void
start_openssl(const char *version)
{
	char listen[32];

	prepare();
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", (unsigned)port);
	start_server((const char *const[]){"/usr/bin/openssl", "s_server", "-accept", listen, "-cert",
	                                   own.certificate, "-key", own.key, "-www", "-quiet", version, "-cipher",
	                                   "ALL:@SECLEVEL=0", NULL});
}

static struct outbound *
client(const char *ca_file)
{
	struct policy policy;

	policy_parse(LOOPBACK, &policy);
	return test_outbound_with((struct outbound_options){.policy = &policy, .ca_file = ca_file});
}

static const struct outbound_response *
fetch(struct outbound *outbound, const char *host)
{
	static struct test_fetch it;
	char url[64];

	snprintf(url, sizeof(url), "https://%s:%u/", host, (unsigned)port);
	return test_fetch(outbound, &it, url);
}

START_TEST(a_certificate_of_an_unknown_authority_or_another_name_is_refused)
{
	start_nginx();
	struct outbound *careful = client(NULL), *trusting = client(own.certificate);

	test_expect(fetch(careful, "localhost"), OUTBOUND_TLS);
	test_expect(fetch(trusting, "127.0.0.1"), OUTBOUND_TLS);
	test_expect(fetch(trusting, "localhost"), OUTBOUND_OK);
	outbound_free(careful, 0);
	outbound_free(trusting, 0);
	stop_server();
}
END_TEST

START_TEST(many_requests_at_once_share_one_http_2_connection)
{
	static struct test_fetch fetches[90];
	char url[64];

	start_nginx();
	struct outbound *outbound = client(own.certificate);
	snprintf(url, sizeof(url), "https://localhost:%u/", (unsigned)port);
	for (size_t i = 0; i < 90; i++) {
		test_fetch_init(&fetches[i], url);
		fetches[i].request.method = "POST";
		fetches[i].request.body = "{}";
		fetches[i].request.body_size = 2;
		test_fetch_send(outbound, &fetches[i]);
	}
	for (size_t i = 0; i < 90; i++) {
		const struct outbound_response *response = test_fetch_wait(&fetches[i]);
		test_expect(response, OUTBOUND_OK);
		ck_assert_uint_eq(response->http_version, 20);
		ck_assert_str_eq(response->body, fetches[0].body);
	}
	outbound_free(outbound, 0);
	stop_server();
}
END_TEST

START_TEST(tls_before_1_2_is_refused)
{
	start_openssl("-tls1_1");
	struct outbound *outbound = client(own.certificate);

	test_expect(fetch(outbound, "localhost"), OUTBOUND_TLS);
	outbound_free(outbound, 0);
	stop_server();

	start_openssl("-tls1_2");
	outbound = client(own.certificate);
	test_expect(fetch(outbound, "localhost"), OUTBOUND_OK);
	outbound_free(outbound, 0);
	stop_server();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outbound over TLS");
	TCase *tests = tcase_create("tls");

	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_certificate_of_an_unknown_authority_or_another_name_is_refused);
	tcase_add_test(tests, many_requests_at_once_share_one_http_2_connection);
	tcase_add_test(tests, tls_before_1_2_is_refused);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
