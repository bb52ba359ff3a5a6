/*
 * receipt: the names of leases.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "webhookd/receipt.h"

static bool
is_receipt(const char *text)
{
	struct receipt receipt;
	return receipt_parse(text, strlen(text), &receipt);
}

START_TEST(a_receipt_is_read_back_as_its_parts)
{
	char text[RECEIPT_MAX];
	struct receipt receipt;

	receipt_format("dlv_0192f0c1a2b37c4d8e9fa0b1c2d3e4f5", UINT32_MAX, text);
	ck_assert(receipt_parse(text, strlen(text), &receipt));
	ck_assert_str_eq(receipt.delivery_id, "dlv_0192f0c1a2b37c4d8e9fa0b1c2d3e4f5");
	ck_assert_uint_eq(receipt.number, UINT32_MAX);
}
END_TEST

START_TEST(what_no_lease_is_named_is_refused)
{
	static const char *const TEXTS[] = {"",
	                                    ".",
	                                    ".1",
	                                    "dlv_1",
	                                    "dlv_1.",
	                                    "dlv_1.0",
	                                    "dlv_1.01",
	                                    "dlv_1.-1",
	                                    "dlv_1.4294967296",
	                                    "dlv_1.1.1",
	                                    "dlv_0192f0c1a2b37c4d8e9fa0b1c2d3e4f50192f0c1a2b3.1"};

	for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++)
		ck_assert_msg(!is_receipt(TEXTS[i]), "%s", TEXTS[i]);
	ck_assert(is_receipt("dlv_1.1"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("receipt");
	TCase *tests = tcase_create("receipts");

	tcase_add_test(tests, a_receipt_is_read_back_as_its_parts);
	tcase_add_test(tests, what_no_lease_is_named_is_refused);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
