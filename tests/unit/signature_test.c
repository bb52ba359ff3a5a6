/*
 * signature: the published examples, the form of the header, and keys as text.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/hash.h"
#include "events/signature.h"

/* The example that the libraries of Standard Webhooks test with. */
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID     "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define AT     1614265330
#define BODY   "{\"test\": 2432232314}"
#define V1     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
/* The same message under Svix's documented Ed25519 key: the seed's first half of "whsk_". */
#define SEED   "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
#define PUBLIC "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
#define V1A    "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="

static struct seeded_random seeded;

static struct signing_key
example_key(void)
{
	struct signing_key key;
	size_t length;

	seeded_random_init(&seeded, 1);
	struct status st = signing_key_parse(SECRET, strlen(SECRET), &seeded.random, &key);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	ck_assert(text_base64_decode(SEED, strlen(SEED), key.seed, &length));
	return key;
}

static struct signing_key
other_key(uint64_t seed)
{
	struct signing_key key;
	seeded_random_init(&seeded, seed);
	signing_key_make(&seeded.random, &key);
	return key;
}

static void
header(const struct signing_key *current, const struct signing_key *previous, bool with_ed25519,
       const char *body, struct strbuf *out)
{
	struct signer *signer =
	    signer_new(current, previous, (struct signer_options){.with_ed25519 = with_ed25519});
	struct signed_message message = {ID, AT, body, strlen(body)};

	strbuf_init(out, NULL);
	struct status st = signer_sign(signer, &message, out);
	ck_assert_msg(status_ok(&st), "%s", st.message);
	signer_free(signer);
}

START_TEST(the_published_hmac_example_is_signed_as_published)
{
	struct signing_key key = example_key();
	struct strbuf out;

	header(&key, NULL, false, BODY, &out);
	ck_assert_str_eq(out.data, V1);
	strbuf_fini(&out);
}
END_TEST

START_TEST(the_published_ed25519_example_is_signed_as_published)
{
	struct signing_key key = example_key();
	char text[SIGNING_KEY_TEXT_MAX];
	struct strbuf out;

	header(&key, NULL, true, BODY, &out);
	ck_assert_str_eq(out.data, V1 " " V1A);
	signing_key_public_text(&key, text);
	ck_assert_str_eq(text, PUBLIC);
	strbuf_fini(&out);
}
END_TEST

START_TEST(githubs_example_is_signed_as_published)
{
	const char *secret = "It's a Secret to Everybody";
	char out[SIGNATURE_HUB_MAX];

	signature_hub(secret, strlen(secret), "Hello, World!", 13, out);
	ck_assert_str_eq(out, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}
END_TEST

START_TEST(the_hub_signature_is_keyed_with_the_text_that_the_receiver_holds)
{
	struct signing_key key = example_key(), old = other_key(2);
	struct signer *plain = signer_new(&key, NULL, (struct signer_options){.with_hub = false});
	struct signer *hub = signer_new(&key, &old, (struct signer_options){.with_hub = true});
	char out[SIGNATURE_HUB_MAX], expected[SIGNATURE_HUB_MAX];

	ck_assert(!signer_hub(plain, BODY, strlen(BODY), out));
	ck_assert(signer_hub(hub, BODY, strlen(BODY), out));
	signature_hub(SECRET, strlen(SECRET), BODY, strlen(BODY), expected);
	ck_assert_str_eq(out, expected);
	signer_free(plain);
	signer_free(hub);
}
END_TEST

/* During a rotation a receiver that knows either key finds its own signature. */
START_TEST(both_keys_sign_during_a_rotation_the_current_one_first)
{
	struct signing_key now = example_key(), old = other_key(2);
	struct strbuf both, alone, old_alone;

	for (int with_ed25519 = 0; with_ed25519 < 2; with_ed25519++) {
		header(&now, &old, with_ed25519, BODY, &both);
		header(&now, NULL, with_ed25519, BODY, &alone);
		header(&old, NULL, with_ed25519, BODY, &old_alone);
		ck_assert_uint_eq(both.length, alone.length + 1 + old_alone.length);
		ck_assert_mem_eq(both.data, alone.data, alone.length);
		ck_assert_str_eq(both.data + alone.length + 1, old_alone.data);
		strbuf_fini(&both);
		strbuf_fini(&alone);
		strbuf_fini(&old_alone);
	}
}
END_TEST

/* A verifier of a published library fails on a token that has other than one comma. */
START_TEST(the_header_has_single_spaces_and_one_comma_a_token)
{
	struct strbuf out;

	for (uint64_t seed = 0; seed < 50; seed++) {
		struct signing_key now = other_key(2 * seed), old = other_key(2 * seed + 1);
		header(&now, &old, true, BODY, &out);
		size_t tokens = 0;
		char *rest = out.data;
		for (char *token; (token = strsep(&rest, " ")) != NULL; tokens++) {
			ck_assert_ptr_nonnull(strchr(token, ','));
			ck_assert_ptr_eq(strchr(token, ','), strrchr(token, ','));
			ck_assert(strncmp(token, tokens % 2 ? "v1a," : "v1,", tokens % 2 ? 4 : 3) == 0);
		}
		ck_assert_uint_eq(tokens, 4);
		strbuf_fini(&out);
	}
}
END_TEST

/* The obvious way: one buffer of all that is signed, one call. */
static void
obvious_v1(const struct signing_key *key, const char *body, size_t length, struct strbuf *out)
{
	uint8_t digest[SHA256_BYTES];
	struct strbuf all;
	char text[64];

	strbuf_init(&all, NULL);
	strbuf_printf(&all, "%s.%d.", ID, AT);
	strbuf_add(&all, body, length);
	hash_hmac_sha256(key->secret, key->secret_length, all.data, all.length, digest);
	strbuf_init(out, NULL);
	strbuf_puts(out, "v1,");
	strbuf_add(out, text, text_base64_encode(digest, sizeof(digest), text));
	strbuf_fini(&all);
}

START_TEST(bodies_of_any_size_are_signed_as_one_piece)
{
	static const size_t SIZES[] = {0, 1, 63, 64, 65, 4096, 300000};
	struct signing_key key = example_key();
	struct signer *signer = signer_new(&key, NULL, (struct signer_options){.with_hub = false});
	char *body = mem_alloc(300000);

	memset(body, 'x', 300000);
	for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
		struct signed_message message = {ID, AT, SIZES[i] ? body : NULL, SIZES[i]};
		struct strbuf out, expected;
		strbuf_init(&out, NULL);
		struct status st = signer_sign(signer, &message, &out);
		ck_assert(status_ok(&st));
		obvious_v1(&key, body, SIZES[i], &expected);
		ck_assert_str_eq(out.data, expected.data);
		strbuf_fini(&out);
		strbuf_fini(&expected);
	}
	signer_free(signer);
	mem_free(body);
}
END_TEST

/* "a.1" at 2 and "a" at 1 would sign the same bytes for suitable bodies. */
START_TEST(an_id_that_could_be_read_in_two_ways_is_not_signed)
{
	static const char *const WRONG[] = {"", "a.1", ".", "a b", "a\n", "caf\xC3\xA9", "a\x7F"};
	struct signing_key key = example_key();
	struct signer *signer = signer_new(&key, NULL, (struct signer_options){.with_hub = false});
	struct strbuf out;

	strbuf_init(&out, NULL);
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
		struct signed_message message = {WRONG[i], AT, "{}", 2};
		struct status st = signer_sign(signer, &message, &out);
		ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	}
	struct signed_message early = {ID, -1, "{}", 2};
	struct status st = signer_sign(signer, &early, &out);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_uint_eq(out.length, 0);
	signer_free(signer);
}
END_TEST

START_TEST(a_secret_reads_back_as_it_was_written)
{
	char text[SIGNING_KEY_TEXT_MAX], again[SIGNING_KEY_TEXT_MAX];
	uint8_t packed[SIGNING_KEY_PACKED_MAX];
	struct signing_key key, back;

	for (size_t length = SIGNING_SECRET_MIN; length <= SIGNING_SECRET_MAX; length++) {
		seeded_random_init(&seeded, length);
		memset(&key, 0, sizeof(key));
		key.secret_length = length;
		random_fill(&seeded.random, key.secret, length);
		signing_key_secret_text(&key, text);
		struct status st = signing_key_parse(text, strlen(text), &seeded.random, &back);
		ck_assert_msg(status_ok(&st), "%s", st.message);
		signing_key_secret_text(&back, again);
		ck_assert_str_eq(text, again);
		size_t size = signing_key_pack(&back, packed);
		ck_assert_uint_le(size, SIGNING_KEY_PACKED_MAX);
		ck_assert(signing_key_unpack(packed, size, &key));
		ck_assert_mem_eq(&key, &back, sizeof(key));
		for (size_t cut = 0; cut < size; cut++)
			ck_assert(!signing_key_unpack(packed, cut, &key));
	}
}
END_TEST

START_TEST(a_made_key_has_32_bytes_and_an_ed25519_key_of_its_own)
{
	struct signing_key one = other_key(1), two = other_key(2);
	char first[SIGNING_KEY_TEXT_MAX], second[SIGNING_KEY_TEXT_MAX];

	ck_assert_uint_eq(one.secret_length, 32);
	ck_assert_mem_ne(one.secret, one.seed, 32);
	ck_assert_mem_ne(one.secret, two.secret, 32);
	signing_key_secret_text(&one, first);
	ck_assert_uint_eq(strlen(first), 6 + 44);
	signing_key_public_text(&one, first);
	signing_key_public_text(&two, second);
	ck_assert_str_ne(first, second);
	ck_assert_uint_eq(strlen(first), 5 + 44);
}
END_TEST

static void
assert_refused(const char *text, const char *why)
{
	struct signing_key key;
	struct status st = signing_key_parse(text, strlen(text), random_system(), &key);
	ck_assert_int_eq(st.code, STATUS_INVALID_ARGUMENT);
	ck_assert_msg(strstr(st.message, why) != NULL, "'%s': %s", text, st.message);
}

START_TEST(a_wrong_secret_is_refused_with_the_reason_and_never_repeated)
{
	char longest[6 + 120];

	assert_refused("", "must begin with \"whsec_\"");
	assert_refused("whsec", "must begin with");
	assert_refused("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must begin with");
	assert_refused("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must begin with");
	assert_refused("whsec_", "0 bytes; it must have 24 to 64");
	assert_refused("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La", "21 bytes; it must have 24 to 64");
	assert_refused("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", "must be base64");
	assert_refused("whsec_MfKQ9r8G KYqrTwjUPD8ILPZIo2LaLaSw", "must be base64");
	snprintf(longest, sizeof(longest), "whsec_%0*d", 88, 0);
	assert_refused(longest, "66 bytes; it must have 24 to 64");
	snprintf(longest, sizeof(longest), "whsec_%0*d", 100, 0);
	assert_refused(longest, "at most 64 bytes");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("signature");
	TCase *tcase = tcase_create("signature");

	tcase_add_test(tcase, the_published_hmac_example_is_signed_as_published);
	tcase_add_test(tcase, the_published_ed25519_example_is_signed_as_published);
	tcase_add_test(tcase, githubs_example_is_signed_as_published);
	tcase_add_test(tcase, the_hub_signature_is_keyed_with_the_text_that_the_receiver_holds);
	tcase_add_test(tcase, both_keys_sign_during_a_rotation_the_current_one_first);
	tcase_add_test(tcase, the_header_has_single_spaces_and_one_comma_a_token);
	tcase_add_test(tcase, bodies_of_any_size_are_signed_as_one_piece);
	tcase_add_test(tcase, an_id_that_could_be_read_in_two_ways_is_not_signed);
	tcase_add_test(tcase, a_secret_reads_back_as_it_was_written);
	tcase_add_test(tcase, a_made_key_has_32_bytes_and_an_ed25519_key_of_its_own);
	tcase_add_test(tcase, a_wrong_secret_is_refused_with_the_reason_and_never_repeated);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
