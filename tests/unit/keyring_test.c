/*
 * pepper: what is read, what is made, and what two first starts at once agree on.
 */
#include <daemon/keyring.h>
#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/test_dir.h"

#define HEX32 "000102030405060708090a0b0c0d0e0f"

static struct test_dir dir;
static char path[TEST_DIR_MAX + 32];

static void
setup(void)
{
	test_dir_make(&dir);
	snprintf(path, sizeof(path), "%s/accountd.pepper", dir.path);
}

static void
teardown(void)
{
	test_dir_remove(&dir);
}

static bool
parses(const char *text)
{
	struct keyring *peppers = NULL;
	struct status st = keyring_parse((const char *const[]){text, NULL}, &peppers);
	if (status_ok(&st))
		keyring_free(peppers);
	return status_ok(&st);
}

START_TEST(a_pepper_is_a_name_and_16_to_64_bytes_in_hexadecimal)
{
	ck_assert(parses("1:" HEX32));
	ck_assert(parses("2026-a:" HEX32 HEX32 HEX32 HEX32));
	static const char *const wrong[] = {"",
	                                    ":",
	                                    "1:",
	                                    HEX32,
	                                    ":" HEX32,
	                                    "1:" HEX32 "0",
	                                    "1:0011",
	                                    "1:" HEX32 "zz",
	                                    "1:" HEX32 HEX32 HEX32 HEX32 "00",
	                                    "a b:" HEX32,
	                                    NULL};
	for (size_t i = 0; wrong[i]; i++)
		ck_assert_msg(!parses(wrong[i]), "%s", wrong[i]);
}
END_TEST

START_TEST(no_pepper_and_seventeen_keyring_are_refused)
{
	const char *list[18] = {NULL};
	struct keyring *peppers;
	ck_assert_int_eq(keyring_parse(list, &peppers).code, STATUS_INVALID_ARGUMENT);
	for (size_t i = 0; i < 17; i++)
		list[i] = "1:" HEX32;
	ck_assert_int_eq(keyring_parse(list, &peppers).code, STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(the_last_pepper_is_current_and_older_ones_still_count)
{
	struct keyring *peppers;
	uint8_t old[SHA256_BYTES], new[SHA256_BYTES], nobody[SHA256_BYTES];
	const char *const list[] = {"a:" HEX32, "b:" HEX32 "ff", NULL};
	struct status st = keyring_parse(list, &peppers);

	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert_str_eq(keyring_current(peppers), "b");
	ck_assert(keyring_mac(peppers, "a", "key", old));
	ck_assert(keyring_mac(peppers, "b", "key", new));
	ck_assert(!keyring_mac(peppers, "c", "key", nobody));
	ck_assert_mem_ne(old, new, SHA256_BYTES);
	ck_assert_mem_ne(old, nobody, SHA256_BYTES);
	keyring_free(peppers);
}
END_TEST

/* RFC 4231, test case 1. */
START_TEST(a_digest_is_hmac_sha_256)
{
	static const uint8_t expected[SHA256_BYTES] = {
	    0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b, 0xf1, 0x2b,
	    0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c, 0x2e, 0x32, 0xcf, 0xf7};
	const char *const list[] = {"1:0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", NULL};
	struct keyring *peppers;
	uint8_t digest[SHA256_BYTES];
	struct status st = keyring_parse(list, &peppers);

	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert(keyring_mac(peppers, "1", "Hi There", digest));
	ck_assert_mem_eq(digest, expected, SHA256_BYTES);
	keyring_free(peppers);
}
END_TEST

static size_t
files_in(const char *directory)
{
	size_t count = 0;
	DIR *listing = opendir(directory);
	for (const struct dirent *entry; (entry = readdir(listing)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(listing);
	return count;
}

START_TEST(a_made_file_is_for_its_owner_only_and_read_again)
{
	struct keyring *first, *second;
	uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
	struct stat info;

	ck_assert_int_eq(keyring_from_file(path, random_system(), &first).code, STATUS_OK);
	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_int_eq(info.st_mode & 0777, 0600);
	ck_assert_uint_eq(files_in(dir.path), 1);
	ck_assert_int_eq(keyring_from_file(path, random_system(), &second).code, STATUS_OK);
	ck_assert(keyring_mac(first, keyring_current(first), "key", a));
	ck_assert(keyring_mac(second, keyring_current(second), "key", b));
	ck_assert_mem_eq(a, b, SHA256_BYTES);
	keyring_free(first);
	keyring_free(second);
}
END_TEST

START_TEST(a_damaged_file_or_a_missing_directory_is_an_error_that_names_it)
{
	char missing[sizeof(path) + 16];
	struct keyring *peppers;
	FILE *file = fopen(path, "w");

	fputs("1:00", file);
	fclose(file);
	struct status st = keyring_from_file(path, random_system(), &peppers);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(st.message, path));
	snprintf(missing, sizeof(missing), "%s/no/pepper", dir.path);
	st = keyring_from_file(missing, random_system(), &peppers);
	ck_assert_int_eq(st.code, STATUS_INTERNAL);
	ck_assert_ptr_nonnull(strstr(st.message, missing));
}
END_TEST

enum { STARTERS = 8 };

struct starter {
	pthread_t thread;
	pthread_barrier_t *together;
	struct status st;
	uint8_t digest[SHA256_BYTES];
};

static void *
start_first(void *arg)
{
	struct starter *self = arg;
	struct keyring *peppers;

	pthread_barrier_wait(self->together);
	self->st = keyring_from_file(path, random_system(), &peppers);
	if (status_ok(&self->st)) {
		(void)keyring_mac(peppers, keyring_current(peppers), "key", self->digest);
		keyring_free(peppers);
	}
	return NULL;
}

START_TEST(first_starts_at_once_agree_on_one_pepper)
{
	for (int round = 0; round < 50; round++) {
		struct starter starters[STARTERS];
		pthread_barrier_t together;
		pthread_barrier_init(&together, NULL, STARTERS);
		for (int i = 0; i < STARTERS; i++) {
			starters[i].together = &together;
			ck_assert_int_eq(pthread_create(&starters[i].thread, NULL, start_first, &starters[i]), 0);
		}
		for (int i = 0; i < STARTERS; i++)
			pthread_join(starters[i].thread, NULL);
		for (int i = 0; i < STARTERS; i++) {
			ck_assert_msg(status_ok(&starters[i].st), "%s", starters[i].st.message);
			ck_assert_mem_eq(starters[i].digest, starters[0].digest, SHA256_BYTES);
		}
		ck_assert_uint_eq(files_in(dir.path), 1);
		pthread_barrier_destroy(&together);
		ck_assert_int_eq(remove(path), 0);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pepper");
	TCase *tcase = tcase_create("pepper");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, a_pepper_is_a_name_and_16_to_64_bytes_in_hexadecimal);
	tcase_add_test(tcase, no_pepper_and_seventeen_keyring_are_refused);
	tcase_add_test(tcase, the_last_pepper_is_current_and_older_ones_still_count);
	tcase_add_test(tcase, a_digest_is_hmac_sha_256);
	tcase_add_test(tcase, a_made_file_is_for_its_owner_only_and_read_again);
	tcase_add_test(tcase, a_damaged_file_or_a_missing_directory_is_an_error_that_names_it);
	tcase_add_test(tcase, first_starts_at_once_agree_on_one_pepper);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
