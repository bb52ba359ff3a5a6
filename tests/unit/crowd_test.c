/*
 * crowd: connections by address.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "ingress/crowd.h"

static struct address
address_numbered(unsigned number)
{
	struct address address = {.is_v6 = number % 2 == 0};
	memcpy(address.bytes, &number, sizeof(number));
	return address;
}

START_TEST(addresses_are_counted_apart)
{
	struct crowd *crowd = crowd_new();
	struct address one = address_numbered(1), two = address_numbered(3);

	crowd_enter(crowd, &one);
	crowd_enter(crowd, &one);
	crowd_enter(crowd, &two);
	ck_assert_uint_eq(crowd_count(crowd, &one), 2);
	ck_assert_uint_eq(crowd_count(crowd, &two), 1);
	crowd_leave(crowd, &one);
	crowd_leave(crowd, &one);
	ck_assert_uint_eq(crowd_count(crowd, &one), 0);
	ck_assert_uint_eq(crowd_count(crowd, &two), 1);
	crowd_free(crowd);
}
END_TEST

START_TEST(the_same_bytes_in_ipv4_and_ipv6_are_two_addresses)
{
	struct crowd *crowd = crowd_new();
	struct address v4 = {.bytes = {10, 0, 0, 1}}, v6 = {.is_v6 = true, .bytes = {10, 0, 0, 1}};

	crowd_enter(crowd, &v4);
	ck_assert_uint_eq(crowd_count(crowd, &v6), 0);
	crowd_free(crowd);
}
END_TEST

START_TEST(counts_match_a_plain_table_through_random_comings_and_goings)
{
	static unsigned model[5000];
	struct crowd *crowd = crowd_new();

	srand(1);
	for (unsigned i = 0; i < 200000; i++) {
		unsigned number = (unsigned)rand() % 5000;
		struct address address = address_numbered(number);
		if (model[number] > 0 && rand() % 2) {
			crowd_leave(crowd, &address);
			model[number]--;
		} else {
			crowd_enter(crowd, &address);
			model[number]++;
		}
		ck_assert_uint_eq(crowd_count(crowd, &address), model[number]);
	}
	crowd_free(crowd);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("crowd");
	TCase *tcase = tcase_create("counts");

	tcase_add_test(tcase, addresses_are_counted_apart);
	tcase_add_test(tcase, the_same_bytes_in_ipv4_and_ipv6_are_two_addresses);
	tcase_add_test(tcase, counts_match_a_plain_table_through_random_comings_and_goings);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
