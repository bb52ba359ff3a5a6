/*
 * policy: both sides of every boundary of every refused network, and the spellings that attackers use, as the
 * resolver hands them on.
 */
#include <arpa/inet.h>
#include <check.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outbound/policy.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct vector {
	const char *address; /* anything that getaddrinfo() takes as a number */
	bool is_allowed;
};

static const struct vector V4[] = {
    {"0.0.0.0", false},         {"0.0.0.1", false},         {"0.255.255.255", false},
    {"1.0.0.0", true},          {"1.1.1.1", true},          {"8.8.8.8", true},
    {"9.255.255.255", true},    {"10.0.0.0", false},        {"10.0.0.1", false},
    {"10.255.255.255", false},  {"11.0.0.0", true},         {"100.63.255.255", true},
    {"100.64.0.0", false},      {"100.100.100.200", false}, {"100.127.255.255", false},
    {"100.128.0.0", true},      {"126.255.255.255", true},  {"127.0.0.0", false},
    {"127.0.0.1", false},       {"127.0.0.2", false},       {"127.0.1.1", false},
    {"127.127.127.127", false}, {"127.255.255.255", false}, {"128.0.0.0", true},
    {"169.253.255.255", true},  {"169.254.0.0", false},     {"169.254.0.1", false},
    {"169.254.169.253", false}, {"169.254.169.254", false}, {"169.254.170.2", false},
    {"169.254.255.255", false}, {"169.255.0.0", true},      {"172.15.255.255", true},
    {"172.16.0.0", false},      {"172.17.0.1", false},      {"172.24.0.1", false},
    {"172.31.255.255", false},  {"172.32.0.0", true},       {"191.255.255.255", true},
    {"192.0.0.0", false},       {"192.0.0.8", false},       {"192.0.0.170", false},
    {"192.0.0.192", false},     {"192.0.0.255", false},     {"192.0.1.0", true},
    {"192.0.1.255", true},      {"192.0.2.0", false},       {"192.0.2.1", false},
    {"192.0.2.255", false},     {"192.0.3.0", true},        {"192.88.98.255", true},
    {"192.88.99.0", false},     {"192.88.99.1", false},     {"192.88.99.255", false},
    {"192.88.100.0", true},     {"192.167.255.255", true},  {"192.168.0.0", false},
    {"192.168.0.1", false},     {"192.168.1.254", false},   {"192.168.255.255", false},
    {"192.169.0.0", true},      {"198.17.255.255", true},   {"198.18.0.0", false},
    {"198.18.0.1", false},      {"198.19.255.255", false},  {"198.20.0.0", true},
    {"198.51.99.255", true},    {"198.51.100.0", false},    {"198.51.100.77", false},
    {"198.51.100.255", false},  {"198.51.101.0", true},     {"203.0.112.255", true},
    {"203.0.113.0", false},     {"203.0.113.9", false},     {"203.0.113.255", false},
    {"203.0.114.0", true},      {"223.255.255.255", true},  {"224.0.0.0", false},
    {"224.0.0.1", false},       {"224.0.0.251", false},     {"233.252.0.1", false},
    {"239.255.255.250", false}, {"239.255.255.255", false}, {"240.0.0.0", false},
    {"240.0.0.1", false},       {"254.255.255.255", false}, {"255.255.255.254", false},
    {"255.255.255.255", false},
};

/* Other spellings of IPv4 addresses, which resolvers read as inet_aton() does. */
static const struct vector SPELLINGS[] = {
    {"0", false},
    {"1", false},
    {"127.1", false},
    {"127.0.1", false},
    {"127.65535", false},
    {"2130706433", false},
    {"0x7f000001", false},
    {"0x7f.1", false},
    {"0x7F.0x0.0x0.0x1", false},
    {"0177.0.0.1", false},
    {"0177.1", false},
    {"017700000001", false},
    {"00000177.0.0.1", false},
    {"2852039166", false},
    {"0xA9FEA9FE", false},
    {"0xa9.0xfe.0xa9.0xfe", false},
    {"0251.0376.0251.0376", false},
    {"0251.254.169.254", false},
    {"169.254.43518", false},
    {"169.16689662", false},
    {"10.1", false},
    {"012.1", false},
    {"0xa.1.2.3", false},
    {"167772161", false},
    {"3232235521", false},
    {"0xc0a80001", false},
    {"192.168.257", false},
    {"172.1048577", false},
    {"4294967295", false},
    {"134744072", true},
    {"0x08080808", true},
    {"010.8.8.8", true},
    {"8.526344", true},
};

static const struct vector V6[] = {
    {"::", false},
    {"::1", false},
    {"0:0:0:0:0:0:0:1", false},
    {"0000:0000:0000:0000:0000:0000:0000:0001", false},
    {"::2", false},
    {"::7f00:1", false},
    {"::127.0.0.1", false},
    {"::8.8.8.8", false},
    {"::ffff:127.0.0.1", false},
    {"::ffff:7f00:1", false},
    {"::FFFF:7F00:0001", false},
    {"0:0:0:0:0:ffff:127.0.0.1", false},
    {"::ffff:169.254.169.254", false},
    {"::ffff:a9fe:a9fe", false},
    {"::ffff:10.0.0.1", false},
    {"::ffff:0.0.0.0", false},
    {"::ffff:8.8.8.8", false},
    {"::ffff:0:127.0.0.1", false},
    {"::ffff:0:8.8.8.8", false},
    {"::fffe:8.8.8.8", false},
    {"::1:0:0", false},
    {"64:ff9a::808:808", false},
    {"64:ff9b::", false},
    {"64:ff9b::127.0.0.1", false},
    {"64:ff9b::7f00:1", false},
    {"64:ff9b::10.0.0.1", false},
    {"64:ff9b::a9fe:a9fe", false},
    {"64:ff9b::192.168.0.1", false},
    {"64:ff9b::224.0.0.1", false},
    {"64:ff9b::ffff:ffff", false},
    {"64:ff9b::8.8.8.8", true},
    {"64:ff9b::101:101", true},
    {"64:ff9b::1:0:0", false},
    {"64:ff9b::1:808:808", false},
    {"64:ff9b:0:0:0:1:808:808", false},
    {"64:ff9b:1::", false},
    {"64:ff9b:1::8.8.8.8", false},
    {"64:ff9b:1:fffe::808:808", false},
    {"ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"100::", false},
    {"100::1", false},
    {"100::ffff:ffff:ffff:ffff", false},
    {"100:0:0:1::", true},
    {"1fff:ffff::1", true},
    {"2000::1", true},
    {"2001::", false},
    {"2001::1", false},
    {"2001:0:4136:e378:8000:63bf:3fff:fdd2", false},
    {"2001::a9fe:a9fe", false},
    {"2001:0:ffff:ffff:ffff:ffff:8000:fffe", false},
    {"2001:1::1", false},
    {"2001:2::1", false},
    {"2001:3::1", false},
    {"2001:10::1", false},
    {"2001:20::1", false},
    {"2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"2001:200::1", true},
    {"2001:4860:4860::8888", true},
    {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", true},
    {"2001:db8::", false},
    {"2001:db8::1", false},
    {"2001:0DB8:85A3::8A2E:370:7334", false},
    {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"2001:db9::", true},
    {"2001:ffff:ffff::1", true},
    {"2002::", false},
    {"2002:7f00:1::", false},
    {"2002:a9fe:a9fe::1", false},
    {"2002:808:808::1", false},
    {"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"2003::", true},
    {"2606:4700:4700::1111", true},
    {"2a00:1450:4001:80b::200e", true},
    {"3ffe:ffff::1", true},
    {"3fff::", false},
    {"3fff::1", false},
    {"3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"3fff:1000::", true},
    {"5eff:ffff::1", true},
    {"5f00::", false},
    {"5f00::1", false},
    {"5f00:ffff:ffff::1", false},
    {"5f01::", true},
    {"fbff:ffff::1", true},
    {"fc00::", false},
    {"fc00::1", false},
    {"fd00::1", false},
    {"fd00:ec2::254", false},
    {"fd20:ce::254", false},
    {"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"fe00::1", true},
    {"fe7f:ffff::1", true},
    {"fe80::", false},
    {"fe80::1", false},
    {"fe80::a9fe:a9fe", false},
    {"fe80::1%1", false},
    {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"fec0::", false},
    {"fec0::1", false},
    {"fec0:0:0:ffff::1", false},
    {"fed0::a00:1", false},
    {"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"ff00::", false},
    {"ff01::1", false},
    {"ff02::1", false},
    {"ff02::fb", false},
    {"ff05::2", false},
    {"ff0e::1", false},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
};

static bool
allows(const struct policy *policy, const char *text)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found;

	ck_assert_msg(getaddrinfo(text, NULL, &hints, &found) == 0, "'%s' is an address", text);
	bool is_allowed = policy_allows(policy, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return is_allowed;
}

static void
check_vectors(const struct vector *vectors, size_t count)
{
	static const struct policy NONE;

	for (size_t i = 0; i < count; i++)
		ck_assert_msg(allows(&NONE, vectors[i].address) == vectors[i].is_allowed, "%s is %s",
		              vectors[i].address, vectors[i].is_allowed ? "allowed" : "refused");
}

static struct policy
parsed(const char *text)
{
	struct policy policy;
	struct status st = policy_parse(text, &policy);

	ck_assert_msg(status_ok(&st), "'%s': %s", text, st.message);
	return policy;
}

START_TEST(ipv4_is_refused_exactly_where_it_is_not_global)
{
	check_vectors(V4, COUNT(V4));
}
END_TEST

START_TEST(odd_spellings_of_an_address_are_judged_as_the_address)
{
	check_vectors(SPELLINGS, COUNT(SPELLINGS));
}
END_TEST

START_TEST(ipv6_is_refused_exactly_where_it_is_not_global_or_hides_ipv4)
{
	check_vectors(V6, COUNT(V6));
	ck_assert_uint_ge(COUNT(V4) + COUNT(SPELLINGS) + COUNT(V6), 225);
}
END_TEST

START_TEST(what_is_no_ip_address_is_refused)
{
	static const struct policy NONE;
	struct sockaddr_storage other = {.ss_family = AF_UNIX};
	struct sockaddr_in cut = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x08080808)};

	ck_assert(!policy_allows(&NONE, (struct sockaddr *)&other, sizeof(other)));
	ck_assert(policy_allows(&NONE, (struct sockaddr *)&cut, sizeof(cut)));
	ck_assert(!policy_allows(&NONE, (struct sockaddr *)&cut, sizeof(cut) - 1));
	cut.sin_family = AF_INET6;
	ck_assert(!policy_allows(&NONE, (struct sockaddr *)&cut, sizeof(cut)));
}
END_TEST

START_TEST(the_allow_list_opens_its_networks_and_nothing_beside_them)
{
	struct policy policy =
	    parsed("10.0.0.0/8, 127.0.0.1/32 ,[::1]/128,fd00::/9,192.168.7.128/25,[fe80::]/10");

	ck_assert(allows(&policy, "10.255.0.1"));
	ck_assert(allows(&policy, "127.0.0.1"));
	ck_assert(!allows(&policy, "127.0.0.2"));
	ck_assert(allows(&policy, "::1"));
	ck_assert(!allows(&policy, "::"));
	ck_assert(allows(&policy, "fd7f::1"));
	ck_assert(!allows(&policy, "fd80::1"));
	ck_assert(allows(&policy, "192.168.7.128"));
	ck_assert(!allows(&policy, "192.168.7.127"));
	ck_assert(allows(&policy, "fe80::1%1"));
	ck_assert(!allows(&policy, "169.254.169.254"));
	ck_assert(allows(&policy, "8.8.8.8"));
}
END_TEST

START_TEST(an_allowed_ipv4_network_opens_its_nat64_form_and_no_other)
{
	struct policy policy = parsed("127.0.0.1,10.0.0.0/8"), mapped = parsed("[::ffff:127.0.0.1]/128");

	ck_assert(allows(&policy, "64:ff9b::10.1.2.3"));
	ck_assert(!allows(&policy, "64:ff9b::127.0.0.2"));
	ck_assert(!allows(&policy, "::ffff:127.0.0.1"));
	ck_assert(!allows(&policy, "::127.0.0.1"));
	ck_assert(!allows(&policy, "2002:7f00:1::"));
	ck_assert(allows(&mapped, "::ffff:127.0.0.1"));
	ck_assert(!allows(&mapped, "127.0.0.1"));
}
END_TEST

START_TEST(a_network_of_length_zero_opens_its_family)
{
	struct policy v4 = parsed("0.0.0.0/0"), v6 = parsed("::/0");

	ck_assert(allows(&v4, "127.0.0.1"));
	ck_assert(!allows(&v4, "::1"));
	ck_assert(allows(&v6, "::1"));
	ck_assert(!allows(&v6, "127.0.0.1"));
}
END_TEST

START_TEST(an_empty_list_allows_nothing_more)
{
	ck_assert_uint_eq(parsed("").allowed_count, 0);
	ck_assert_uint_eq(parsed(" \t").allowed_count, 0);
	ck_assert_uint_eq(parsed(NULL).allowed_count, 0);
}
END_TEST

START_TEST(a_list_with_a_mistake_is_refused_whole_and_the_mistake_named)
{
	static const struct {
		const char *text, *says;
	} WRONG[] = {
	    {"10.0.0.0/33", "0 to 32"},
	    {"::1/129", "0 to 128"},
	    {"10.0.0.0/", "0 to 32"},
	    {"10.0.0.0/08", "0 to 32"},
	    {"10.0.0.0/-1", "0 to 32"},
	    {"10.0.0.0/8/8", "0 to 32"},
	    {"10.0.0.0/99999999999999999999", "0 to 32"},
	    {"10.0.0.1/8", "bits beyond"},
	    {"fd00::1/8", "bits beyond"},
	    {"127.1", "'127.1'"},
	    {"0177.0.0.1", "'0177.0.0.1'"},
	    {"localhost", "'localhost'"},
	    {"[127.0.0.1]/32", "expected an address"},
	    {"[::1/128", "expected an address"},
	    {"::1]/128", "expected an address"},
	    {"[]", "expected an address"},
	    {"/8", "expected an address"},
	    {"fe80::1%eth0", "expected an address"},
	    {"1:2:3:4:5:6:7:8:1:2:3:4:5:6:7:8:1:2:3:4:5:6:7:8:1:2:3:4:5:6:7:8", "expected an address"},
	    {",", "missing"},
	    {"10.0.0.0/8,", "missing"},
	    {"10.0.0.0/8,,127.0.0.1", "missing"},
	    {"10.0.0.0/8;127.0.0.1", "0 to 32"},
	};
	struct policy policy;

	for (size_t i = 0; i < COUNT(WRONG); i++) {
		struct status st = policy_parse(WRONG[i].text, &policy);
		ck_assert_msg(st.code == STATUS_INVALID_ARGUMENT, "'%s' is refused", WRONG[i].text);
		ck_assert_msg(strstr(st.message, WRONG[i].says) != NULL, "'%s': %s", WRONG[i].text, st.message);
		ck_assert_uint_eq(policy.allowed_count, 0);
	}
}
END_TEST

START_TEST(as_many_networks_as_the_bound_says_fit)
{
	char text[(POLICY_ALLOWED_MAX + 1) * 16] = "";
	struct policy policy;
	size_t length = 0;

	for (int i = 0; i < POLICY_ALLOWED_MAX; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s10.0.0.%d", i ? "," : "", i);
	ck_assert_uint_eq(parsed(text).allowed_count, POLICY_ALLOWED_MAX);
	snprintf(text + length, sizeof(text) - length, ",10.1.1.1");
	struct status st = policy_parse(text, &policy);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outbound policy");
	TCase *tests = tcase_create("policy");

	tcase_add_test(tests, ipv4_is_refused_exactly_where_it_is_not_global);
	tcase_add_test(tests, odd_spellings_of_an_address_are_judged_as_the_address);
	tcase_add_test(tests, ipv6_is_refused_exactly_where_it_is_not_global_or_hides_ipv4);
	tcase_add_test(tests, what_is_no_ip_address_is_refused);
	tcase_add_test(tests, the_allow_list_opens_its_networks_and_nothing_beside_them);
	tcase_add_test(tests, an_allowed_ipv4_network_opens_its_nat64_form_and_no_other);
	tcase_add_test(tests, a_network_of_length_zero_opens_its_family);
	tcase_add_test(tests, an_empty_list_allows_nothing_more);
	tcase_add_test(tests, a_list_with_a_mistake_is_refused_whole_and_the_mistake_named);
	tcase_add_test(tests, as_many_networks_as_the_bound_says_fit);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
