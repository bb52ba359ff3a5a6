/*
 * caps: what bounds runs.
 */
#include <check.h>
#include <stdlib.h>

#include "sandboxd/caps.h"

START_TEST(limits_only_lower_and_never_to_nothing)
{
	struct caps caps;
	caps_init(&caps);
	ck_assert(!caps.limits.has_cpu_ms && caps.at_once == 0 && caps.queued == CAPS_QUEUED);
	caps_lower(&caps, "plugins.cpu_ms", 5000);
	caps_lower(&caps, "plugins.cpu_ms", 7000);
	ck_assert_uint_eq(caps.limits.cpu_ms, 5000);
	caps_lower(&caps, "plugins.wall_ms", 0);
	ck_assert_uint_eq(caps.limits.wall_ms, 1);
	caps_lower(&caps, "plugins.memory_bytes", 1);
	ck_assert_uint_eq(caps.limits.memory_bytes, 16u << 20);
	caps_lower(&caps, "plugins.at_once", 3);
	caps_lower(&caps, "plugins.at_once", 9);
	ck_assert_uint_eq(caps.at_once, 3);
	caps_lower(&caps, "plugins.queued", 0);
	ck_assert_uint_eq(caps.queued, 0);
	caps_lower(&caps, "charts", 1);
	ck_assert(!caps.limits.has_output_bytes && !caps.limits.has_log_bytes);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("caps");
	TCase *tcase = tcase_create("caps");
	tcase_add_test(tcase, limits_only_lower_and_never_to_nothing);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
