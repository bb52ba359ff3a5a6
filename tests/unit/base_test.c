/*
 * base: ids, clocks, randomness, digests and statuses.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/random.h"
#include "base/status.h"
#include "base/text.h"

#define WALL_US INT64_C(1700000000000000)

/* ---------------------------------------------------------------- ids */

START_TEST(ids_made_one_after_the_other_sort_in_that_order)
{
	struct fake_clock fake;
	struct id last = {.text = ""};

	fake_clock_init(&fake, WALL_US);
	for (int i = 0; i < 10000; i++) {
		struct id id = id_make("key", &fake.clock, random_system());
		ck_assert_int_gt(strcmp(id.text, last.text), 0);
		last = id;
		if (i % 1000 == 0)
			fake_clock_advance_ms(&fake, 1);
		if (i == 5000)
			fake_clock_step_wall_ms(&fake, -60000); /* a clock set back breaks no order */
	}
}
END_TEST

START_TEST(an_id_is_a_uuid_of_version_7_with_the_time_it_was_made)
{
	struct fake_clock fake;
	uint8_t uuid[16];
	int64_t ms = 0;

	fake_clock_init(&fake, INT64_C(4000000000000000)); /* later than what other tests made */
	struct id id = id_make("evt", &fake.clock, random_system());
	ck_assert_int_eq(strncmp(id.text, "evt_", 4), 0);
	ck_assert(text_hex_decode(id.text + 4, 32, uuid));
	for (int i = 0; i < 6; i++)
		ms = ms << 8 | uuid[i];
	ck_assert_int_eq(ms, INT64_C(4000000000000));
	ck_assert_uint_eq(uuid[6] >> 4, 7);
	ck_assert_uint_eq(uuid[8] >> 6, 2);
	ck_assert(id_is_valid(id.text, "evt"));
	ck_assert_int_gt(strcmp(id.text, id_before("evt", INT64_C(4000000000000)).text), 0);
	ck_assert_int_lt(strcmp(id.text, id_before("evt", INT64_C(4000000000001)).text), 0);
}
END_TEST

START_TEST(what_has_not_the_form_of_an_id_is_none)
{
	static const char *const WRONG[] = {"",
	                                    "key",
	                                    "_0123456789abcdef0123456789abcdef",
	                                    "k_0123456789abcdef0123456789abcdef",
	                                    "toolongprefix_0123456789abcdef0123456789abcdef",
	                                    "KEY_0123456789abcdef0123456789abcdef",
	                                    "key_0123456789abcdef0123456789abcde",
	                                    "key_0123456789abcdef0123456789abcdef0",
	                                    "key_0123456789ABCDEF0123456789abcdef",
	                                    "key_0123456789abcdeg0123456789abcdef",
	                                    "key-0123456789abcdef0123456789abcdef"};

	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
		ck_assert_msg(!id_is_valid(WRONG[i], NULL), "%s", WRONG[i]);
	ck_assert(id_is_valid("key_0123456789abcdef0123456789abcdef", NULL));
	ck_assert(!id_is_valid("key_0123456789abcdef0123456789abcdef", "ten"));
	ck_assert(!id_is_valid("key_0123456789abcdef0123456789abcdef", "ke"));
}
END_TEST

/* ---------------------------------------------------------------- clocks */

START_TEST(a_fake_clock_moves_only_when_it_is_moved)
{
	struct fake_clock fake;

	fake_clock_init(&fake, WALL_US);
	uint64_t mono = clock_mono_ns(&fake.clock);
	ck_assert_int_eq(clock_wall_us(&fake.clock), WALL_US);
	fake_clock_advance_ms(&fake, 1500);
	ck_assert_uint_eq(clock_mono_ns(&fake.clock) - mono, UINT64_C(1500000000));
	ck_assert_int_eq(clock_wall_ms(&fake.clock), WALL_US / 1000 + 1500);
	fake_clock_step_wall_ms(&fake, -5000);
	ck_assert_uint_eq(clock_mono_ns(&fake.clock) - mono, UINT64_C(1500000000));
	ck_assert_int_eq(clock_wall_ms(&fake.clock), WALL_US / 1000 - 3500);
}
END_TEST

START_TEST(the_systems_monotonic_clock_never_goes_back)
{
	uint64_t last = 0;

	for (int i = 0; i < 100000; i++) {
		uint64_t now = clock_mono_ns(clock_system());
		ck_assert_uint_ge(now, last);
		last = now;
	}
	ck_assert_int_gt(clock_wall_us(clock_system()), WALL_US);
}
END_TEST

START_TEST(the_systems_coarse_clock_is_the_monotonic_one_of_a_moment_ago)
{
	uint64_t before = clock_coarse_ms(clock_system());

	for (int i = 0; i < 10000; i++)
		ck_assert_uint_le(clock_coarse_ms(clock_system()), clock_mono_ms(clock_system()));
	/* It moves: the loop ends. */
	while (clock_coarse_ms(clock_system()) == before)
		;
	ck_assert_uint_gt(clock_coarse_ms(clock_system()), before);
}
END_TEST

/* ---------------------------------------------------------------- randomness */

START_TEST(a_seed_repeats_its_bytes_and_another_seed_does_not)
{
	struct seeded_random a, b, c;
	uint8_t x[100], y[100], z[100];

	seeded_random_init(&a, 42);
	seeded_random_init(&b, 42);
	seeded_random_init(&c, 43);
	random_fill(&a.random, x, sizeof(x));
	random_fill(&b.random, y, sizeof(y));
	random_fill(&c.random, z, sizeof(z));
	ck_assert_mem_eq(x, y, sizeof(x));
	ck_assert_mem_ne(x, z, sizeof(x));
}
END_TEST

START_TEST(numbers_below_a_bound_are_uniform)
{
	enum { BOUND = 7, DRAWS = 70000 };
	struct seeded_random seeded;
	unsigned counts[BOUND] = {0};

	seeded_random_init(&seeded, 1);
	for (int i = 0; i < DRAWS; i++)
		counts[random_below(&seeded.random, BOUND)]++;
	/* Six standard deviations of a binomial of 10,000 are 556. */
	for (int i = 0; i < BOUND; i++)
		ck_assert_int_lt(abs((int)counts[i] - DRAWS / BOUND), 556);
	ck_assert_uint_eq(random_below(&seeded.random, 1), 0);
	ck_assert_uint_lt(random_below(&seeded.random, UINT64_MAX), UINT64_MAX);
}
END_TEST

START_TEST(the_systems_bytes_differ_every_time)
{
	uint8_t a[32], b[32];

	random_fill(random_system(), a, sizeof(a));
	random_fill(random_system(), b, sizeof(b));
	ck_assert_mem_ne(a, b, sizeof(a));
	ck_assert_uint_ne(random_fast_u64(), random_fast_u64());
}
END_TEST

/* ---------------------------------------------------------------- digests */

static const char *
hex(const uint8_t *bytes, size_t length)
{
	static char text[2 * SHA256_BYTES + 1];
	text_hex_encode(bytes, length, text);
	text[2 * length] = '\0';
	return text;
}

START_TEST(digests_match_their_published_vectors)
{
	uint8_t digest[SHA256_BYTES], key[20];

	hash_sha256("abc", 3, digest); /* FIPS 180-4, example B.1 */
	ck_assert_str_eq(hex(digest, sizeof(digest)),
	                 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	hash_sha256("", 0, digest);
	ck_assert_str_eq(hex(digest, sizeof(digest)),
	                 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	memset(key, 0x0b, sizeof(key));
	hash_hmac_sha256(key, sizeof(key), "Hi There", 8, digest); /* RFC 4231, case 1 */
	ck_assert_str_eq(hex(digest, sizeof(digest)),
	                 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	hash_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, digest); /* case 2 */
	ck_assert_str_eq(hex(digest, sizeof(digest)),
	                 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	ck_assert_uint_eq(hash_crc32("123456789", 9), 0xCBF43926u); /* the check value of CRC-32/ISO-HDLC */
}
END_TEST

START_TEST(one_hasher_digests_text_after_text)
{
	static const char *const TEXTS[] = {
	    "abc", "", "a text that takes more than one block of SHA-256, which has 64 bytes"};
	struct hasher *hasher = hasher_new();
	uint8_t digest[SHA256_BYTES], expected[SHA256_BYTES];

	for (int i = 0; i < 6; i++) {
		const char *text = TEXTS[i % 3];
		hasher_sha256(hasher, text, strlen(text), digest);
		hash_sha256(text, strlen(text), expected);
		ck_assert_mem_eq(digest, expected, sizeof(digest));
	}
	hasher_free(hasher);
	hasher_free(NULL);
}
END_TEST

START_TEST(comparison_sees_every_byte)
{
	uint8_t a[64], b[64];

	memset(a, 5, sizeof(a));
	memcpy(b, a, sizeof(b));
	ck_assert(hash_equal(a, b, sizeof(a)));
	ck_assert(hash_equal(a, b, 0));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] ^= 0x80;
		ck_assert(!hash_equal(a, b, sizeof(a)));
		b[i] ^= 0x80;
	}
}
END_TEST

START_TEST(rendezvous_weights_are_the_same_in_every_process)
{
	/* Replicas of different versions choose alike only while these numbers stay. */
	ck_assert_uint_eq(hash_stable64("", 0, 0), UINT64_C(0x2D06800538D394C2)); /* XXH3-64 of nothing */
	ck_assert_uint_eq(hash_stable64("corbel", 6, 0), hash_stable64("corbel", 6, 0));
	ck_assert_uint_ne(hash_stable64("corbel", 6, 0), hash_stable64("corbel", 6, 1));
	ck_assert_uint_ne(hash_mix64(1, 2), hash_mix64(2, 1));
}
END_TEST

START_TEST(rendezvous_weights_spread_keys_evenly_over_nodes)
{
	enum { NODES = 4, KEYS = 40000 };
	unsigned owned[NODES] = {0};
	uint64_t nodes[NODES];

	for (uint64_t n = 0; n < NODES; n++)
		nodes[n] = hash_stable64(&n, sizeof(n), 0);
	for (uint64_t key = 0; key < KEYS; key++) {
		uint64_t route = hash_stable64(&key, sizeof(key), 0);
		size_t best = 0;
		for (size_t n = 1; n < NODES; n++)
			if (hash_mix64(nodes[n], route) > hash_mix64(nodes[best], route))
				best = n;
		owned[best]++;
	}
	for (size_t n = 0; n < NODES; n++)
		ck_assert_int_lt(abs((int)owned[n] - KEYS / NODES), KEYS / NODES / 10);
}
END_TEST

/* ---------------------------------------------------------------- statuses */

START_TEST(a_status_carries_code_and_message_and_takes_context)
{
	struct status st = status_make(STATUS_NOT_FOUND, "key '%s' does not exist", "k1");

	ck_assert(!status_ok(&st));
	st = status_wrap(st, "rotate %d", 7);
	ck_assert_int_eq(st.code, STATUS_NOT_FOUND);
	ck_assert_str_eq(st.message, "rotate 7: key 'k1' does not exist");
	st = status_wrap(status_ok_value(), "nothing");
	ck_assert(status_ok(&st));
	ck_assert_str_eq(st.message, "");
}
END_TEST

START_TEST(a_long_message_is_cut_between_characters)
{
	char text[3 * STATUS_MESSAGE_MAX];

	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xC3\xA9", 2);
	text[sizeof(text) - 2] = '\0';
	for (int lead = 0; lead < 4; lead++) {
		struct status st = status_make(STATUS_INTERNAL, "%.*s%s", lead, "abc", text);
		ck_assert_uint_lt(strlen(st.message), STATUS_MESSAGE_MAX);
		ck_assert_uint_gt(strlen(st.message), STATUS_MESSAGE_MAX - 8);
		ck_assert(text_is_utf8(st.message, strlen(st.message)));
		st = status_wrap(st, "context");
		ck_assert(text_is_utf8(st.message, strlen(st.message)));
	}
}
END_TEST

START_TEST(codes_have_names_and_numbers_from_the_wire_are_checked)
{
	ck_assert_str_eq(status_code_name(STATUS_OK), "OK");
	ck_assert_str_eq(status_code_name(STATUS_UNAUTHENTICATED), "UNAUTHENTICATED");
	ck_assert_str_eq(status_code_name((enum status_code)99), "UNKNOWN");
	for (unsigned code = 0; code < STATUS_CODES; code++)
		ck_assert_uint_eq(status_code_from_wire(code), code);
	ck_assert_int_eq(status_code_from_wire(STATUS_CODES), STATUS_UNKNOWN);
	ck_assert_int_eq(status_code_from_wire(UINT32_MAX), STATUS_UNKNOWN);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("base");
	TCase *tc = tcase_create("base");

	tcase_add_test(tc, ids_made_one_after_the_other_sort_in_that_order);
	tcase_add_test(tc, an_id_is_a_uuid_of_version_7_with_the_time_it_was_made);
	tcase_add_test(tc, what_has_not_the_form_of_an_id_is_none);
	tcase_add_test(tc, a_fake_clock_moves_only_when_it_is_moved);
	tcase_add_test(tc, the_systems_monotonic_clock_never_goes_back);
	tcase_add_test(tc, the_systems_coarse_clock_is_the_monotonic_one_of_a_moment_ago);
	tcase_add_test(tc, a_seed_repeats_its_bytes_and_another_seed_does_not);
	tcase_add_test(tc, numbers_below_a_bound_are_uniform);
	tcase_add_test(tc, the_systems_bytes_differ_every_time);
	tcase_add_test(tc, digests_match_their_published_vectors);
	tcase_add_test(tc, one_hasher_digests_text_after_text);
	tcase_add_test(tc, comparison_sees_every_byte);
	tcase_add_test(tc, rendezvous_weights_are_the_same_in_every_process);
	tcase_add_test(tc, rendezvous_weights_spread_keys_evenly_over_nodes);
	tcase_add_test(tc, a_status_carries_code_and_message_and_takes_context);
	tcase_add_test(tc, a_long_message_is_cut_between_characters);
	tcase_add_test(tc, codes_have_names_and_numbers_from_the_wire_are_checked);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
