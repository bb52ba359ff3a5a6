/*
 * address: who a client is, by network address.
 */
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ingress/address.h"

static struct address
parsed(const char *text)
{
	struct address address;
	ck_assert_msg(address_from_text(text, strlen(text), &address), "%s is an address", text);
	return address;
}

static bool
is_same(const struct address *a, const struct address *b)
{
	return a->is_v6 == b->is_v6 && memcmp(a->bytes, b->bytes, a->is_v6 ? 16 : 4) == 0;
}

static bool
is_text(const struct address *address, const char *text)
{
	struct address other = parsed(text);
	return is_same(address, &other);
}

START_TEST(an_ipv4_address_mapped_into_ipv6_is_the_ipv4_address)
{
	struct address mapped = parsed("::ffff:192.0.2.7");
	struct sockaddr_in6 socket = {.sin6_family = AF_INET6};

	ck_assert(is_text(&mapped, "192.0.2.7"));
	ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:192.0.2.7", &socket.sin6_addr), 1);
	ck_assert(address_from_socket((struct sockaddr *)&socket, &mapped));
	ck_assert(is_text(&mapped, "192.0.2.7"));
}
END_TEST

START_TEST(ports_and_brackets_are_no_part_of_an_address)
{
	struct address with_port = parsed("192.0.2.1:80"), bracketed = parsed("[2001:db8::1]:443");
	ck_assert(is_text(&with_port, "192.0.2.1"));
	ck_assert(is_text(&bracketed, "2001:db8::1"));
}
END_TEST

START_TEST(what_is_no_address_is_refused)
{
	static const char *const TEXTS[] = {
	    "", "unknown", "_hidden", "192.0.2", "192.0.2.256", "[2001:db8::1", "1.2.3.4.5", ":::"};
	struct address address;
	for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++)
		ck_assert_msg(!address_from_text(TEXTS[i], strlen(TEXTS[i]), &address), "'%s' is no address",
		              TEXTS[i]);
}
END_TEST

START_TEST(ipv6_addresses_of_one_prefix_are_one_client_and_ipv4_addresses_are_not)
{
	struct address one = parsed("2001:db8:0:1::1"), two = parsed("2001:db8:0:1:ffff::2"),
	               other = parsed("2001:db8:0:2::1");
	struct address v4 = parsed("192.0.2.1");

	address_mask(&one, 64);
	address_mask(&two, 64);
	address_mask(&other, 64);
	address_mask(&v4, 64);
	ck_assert(is_same(&one, &two));
	ck_assert(!is_same(&one, &other));
	ck_assert(is_text(&v4, "192.0.2.1"));
}
END_TEST

static struct networks *
two_networks(void)
{
	static const char *const TEXTS[] = {"10.0.0.0/8", "2001:db8:1::/48", NULL};
	const char *bad = NULL;
	struct networks *networks = networks_new(TEXTS, &bad);
	ck_assert_ptr_nonnull(networks);
	return networks;
}

START_TEST(a_forged_forwarded_header_from_a_stranger_is_not_believed)
{
	struct networks *proxies = two_networks();
	struct address stranger = parsed("192.0.2.9");
	struct address client = address_of_client(proxies, &stranger, "203.0.113.5");
	ck_assert(is_text(&client, "192.0.2.9"));
	networks_free(proxies);
}
END_TEST

START_TEST(behind_proxies_the_client_is_the_last_address_that_is_none_of_them)
{
	struct networks *proxies = two_networks();
	struct address peer = parsed("10.0.0.1");
	struct address client = address_of_client(proxies, &peer, "198.51.100.66, 203.0.113.5 ,10.2.3.4");

	ck_assert(is_text(&client, "203.0.113.5"));
	client = address_of_client(proxies, &peer, "203.0.113.5, garbage");
	ck_assert(is_text(&client, "10.0.0.1"));
	client = address_of_client(proxies, &peer, NULL);
	ck_assert(is_text(&client, "10.0.0.1"));
	networks_free(proxies);
}
END_TEST

START_TEST(a_wrong_network_is_named)
{
	static const char *const TEXTS[] = {"10.0.0.0/8", "10.0.0.0/33", NULL};
	const char *bad = NULL;
	ck_assert_ptr_null(networks_new(TEXTS, &bad));
	ck_assert_str_eq(bad, "10.0.0.0/33");
}
END_TEST

START_TEST(an_address_has_its_minute_s_requests_and_waiting_as_told_gives_another)
{
	struct address_table *table = address_table_new(60);
	struct address address = parsed("192.0.2.1"), other = parsed("192.0.2.2");
	uint64_t retry = 0, now = 1000000;

	for (int i = 0; i < 60; i++)
		ck_assert(address_take(table, &address, now, &retry));
	ck_assert(!address_has(table, &address, now, &retry));
	ck_assert(!address_take(table, &address, now, &retry));
	ck_assert_uint_gt(retry, 0);
	ck_assert(address_take(table, &other, now, &retry));
	ck_assert(!address_take(table, &address, now, &retry));
	ck_assert(!address_has(table, &address, now + retry - 1, &retry));
	ck_assert(address_take(table, &address, now + 1000, &retry));
	address_table_free(table);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("address");
	TCase *tests = tcase_create("address");

	tcase_add_test(tests, an_ipv4_address_mapped_into_ipv6_is_the_ipv4_address);
	tcase_add_test(tests, ports_and_brackets_are_no_part_of_an_address);
	tcase_add_test(tests, what_is_no_address_is_refused);
	tcase_add_test(tests, ipv6_addresses_of_one_prefix_are_one_client_and_ipv4_addresses_are_not);
	tcase_add_test(tests, a_forged_forwarded_header_from_a_stranger_is_not_believed);
	tcase_add_test(tests, behind_proxies_the_client_is_the_last_address_that_is_none_of_them);
	tcase_add_test(tests, a_wrong_network_is_named);
	tcase_add_test(tests, an_address_has_its_minute_s_requests_and_waiting_as_told_gives_another);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
