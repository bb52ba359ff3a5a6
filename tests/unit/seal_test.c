/*
 * seal: what was closed opens under its key, and nothing else does.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/seal.h"

static struct arena arena;
static const uint8_t key[SEAL_KEY_BYTES] = "0123456789abcdef0123456789abcde";

static void
setup(void)
{
	arena_init(&arena, 4096, SIZE_MAX);
}

static void
teardown(void)
{
	arena_fini(&arena);
}

static uint8_t *
closed(const char *text, size_t *size)
{
	return seal_close(key, random_system(), text, strlen(text), &arena, size);
}

START_TEST(sealed_bytes_open_to_what_they_were)
{
	static const char *const texts[] = {"", "x", "a secret that is shown once"};
	for (size_t i = 0; i < 3; i++) {
		size_t sealed_size, size;
		uint8_t *sealed = closed(texts[i], &sealed_size);
		uint8_t *opened = seal_open(key, sealed, sealed_size, &arena, &size);
		ck_assert_ptr_nonnull(opened);
		ck_assert_uint_eq(size, strlen(texts[i]));
		ck_assert_mem_eq(opened, texts[i], size);
	}
}
END_TEST

START_TEST(sealed_bytes_hide_their_content_and_differ_each_time)
{
	size_t a_size, b_size;
	uint8_t *a = closed("secret", &a_size), *b = closed("secret", &b_size);
	ck_assert_uint_eq(a_size, b_size);
	ck_assert_mem_ne(a, b, a_size);
	ck_assert_ptr_null(memmem(a, a_size, "secret", 6));
}
END_TEST

START_TEST(another_key_or_any_changed_byte_does_not_open)
{
	size_t sealed_size, size;
	uint8_t *sealed = closed("secret", &sealed_size);
	uint8_t other[SEAL_KEY_BYTES];
	memcpy(other, key, sizeof(other));
	other[31] ^= 1;
	ck_assert_ptr_null(seal_open(other, sealed, sealed_size, &arena, &size));
	for (size_t i = 0; i < sealed_size; i++) {
		sealed[i] ^= 1;
		ck_assert_ptr_null(seal_open(key, sealed, sealed_size, &arena, &size));
		sealed[i] ^= 1;
	}
}
END_TEST

START_TEST(a_cut_seal_does_not_open)
{
	size_t sealed_size, size;
	uint8_t *sealed = closed("secret", &sealed_size);
	for (size_t i = 0; i < sealed_size; i++)
		ck_assert_ptr_null(seal_open(key, sealed, i, &arena, &size));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("seal");
	TCase *tcase = tcase_create("seal");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, sealed_bytes_open_to_what_they_were);
	tcase_add_test(tcase, sealed_bytes_hide_their_content_and_differ_each_time);
	tcase_add_test(tcase, another_key_or_any_changed_byte_does_not_open);
	tcase_add_test(tcase, a_cut_seal_does_not_open);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
