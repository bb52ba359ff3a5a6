/*
 * consent: which answers agree, and to how much.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "webhookd/consent.h"

static struct consent
read_head(const char *head)
{
	struct consent consent;
	consent_read(head, strlen(head), "eventemitter.example.com", &consent);
	return consent;
}

START_TEST(naming_the_origin_or_every_one_agrees)
{
	ck_assert(
	    read_head("HTTP/1.1 200 OK\r\nWebHook-Allowed-Origin: eventemitter.example.com\r\n\r\n").is_given);
	ck_assert(read_head("HTTP/2 500\r\nwebhook-allowed-origin:*\r\n").is_given);
	ck_assert(read_head("WEBHOOK-ALLOWED-ORIGIN: \t EventEmitter.Example.com  ").is_given);
	ck_assert_uint_eq(read_head("WebHook-Allowed-Origin: *\r\n").per_minute, 0);
}
END_TEST

START_TEST(anything_else_does_not)
{
	ck_assert(!read_head("").is_given);
	ck_assert(!read_head("HTTP/1.1 200 OK\r\nAllow: POST, OPTIONS\r\n\r\n").is_given);
	ck_assert(!read_head("WebHook-Allowed-Origin: example.com\r\n").is_given);
	ck_assert(!read_head("WebHook-Allowed-Origin:\r\n").is_given);
	ck_assert(!read_head("WebHook-Allowed-Origin\r\n").is_given);
	ck_assert(!read_head("WebHook-Allowed-Origin: eventemitter.example.com.evil\r\n").is_given);
	ck_assert(!read_head("X-WebHook-Allowed-Origin: *\r\n").is_given);
	ck_assert(!read_head("WebHook-Allowed-Origin: *\r\nWebHook-Allowed-Origin: other\r\n").is_given);
}
END_TEST

START_TEST(a_rate_binds_where_it_is_a_number)
{
	ck_assert_uint_eq(read_head("WebHook-Allowed-Rate: 120\r\nWebHook-Allowed-Origin: *\r\n").per_minute,
	                  120);
	ck_assert_uint_eq(read_head("WebHook-Allowed-Origin: *\nWebHook-Allowed-Rate: *\n").per_minute, 0);
	ck_assert_uint_eq(read_head("WebHook-Allowed-Origin: *\nWebHook-Allowed-Rate: many\n").per_minute, 0);
	ck_assert_uint_eq(read_head("WebHook-Allowed-Origin: *\nWebHook-Allowed-Rate: 99999999999\n").per_minute,
	                  UINT32_MAX);
	ck_assert_uint_eq(read_head("WebHook-Allowed-Rate: 120\r\n").per_minute, 0);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("consent");
	TCase *t = tcase_create("consent");

	tcase_add_test(t, naming_the_origin_or_every_one_agrees);
	tcase_add_test(t, anything_else_does_not);
	tcase_add_test(t, a_rate_binds_where_it_is_a_number);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
