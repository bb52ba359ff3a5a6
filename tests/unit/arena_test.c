/*
 * arena: memory is zeroed, aligned, bounded where input decides, and kept for the next use.
 */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#define BLOCK 1024u

static struct arena arena;

static void
setup(void)
{
	arena_init(&arena, BLOCK, SIZE_MAX);
}

static void
teardown(void)
{
	arena_fini(&arena);
}

START_TEST(memory_is_zeroed_and_aligned_for_any_type)
{
	for (size_t size = 0; size < 3 * BLOCK; size += 7) {
		unsigned char *bytes = arena_alloc(&arena, size);
		ck_assert_uint_eq((uintptr_t)bytes % 16, 0);
		size_t zeros = 0;
		while (zeros < size && bytes[zeros] == 0)
			zeros++;
		ck_assert_uint_eq(zeros, size);
		memset(bytes, 0xAA, size); /* what is handed out later must not be this */
	}
}
END_TEST

START_TEST(pieces_do_not_overlap)
{
	enum { PIECES = 200 };
	unsigned char *pieces[PIECES];
	size_t size = 0;

	for (size_t i = 0; i < PIECES; i++) {
		size = (i * 37) % (2 * BLOCK);
		pieces[i] = arena_alloc(&arena, size);
		memset(pieces[i], (int)i, size);
	}
	for (size_t i = 0; i < PIECES; i++) {
		size = (i * 37) % (2 * BLOCK);
		for (size_t at = 0; at < size; at++)
			ck_assert_uint_eq(pieces[i][at], i);
	}
}
END_TEST

START_TEST(a_large_piece_leaves_the_rest_of_the_block_usable)
{
	char *before = arena_alloc_raw(&arena, 16);
	arena_alloc_raw(&arena, 10 * BLOCK);
	char *after = arena_alloc_raw(&arena, 16);
	ck_assert_ptr_eq(after, before + 16);
}
END_TEST

START_TEST(a_reset_arena_hands_out_the_same_memory_again)
{
	char *first = arena_alloc_raw(&arena, 100);
	for (int i = 0; i < 100; i++)
		arena_alloc_raw(&arena, 500);
	arena_reset(&arena);
	ck_assert_uint_eq(arena.used_bytes, 0);
	char *kept = arena_alloc_raw(&arena, 100);
	for (int i = 0; i < 50; i++) {
		arena_reset(&arena);
		ck_assert_ptr_eq(arena_alloc_raw(&arena, 100), kept);
	}
	(void)first;
}
END_TEST

START_TEST(sizes_that_input_decides_stop_at_the_ceiling)
{
	struct arena bounded;

	arena_init(&bounded, BLOCK, 4096);
	ck_assert_ptr_nonnull(arena_try(&bounded, 1, 4000));
	ck_assert_ptr_null(arena_try(&bounded, 1, 4000));
	ck_assert_ptr_null(arena_try(&bounded, SIZE_MAX / 2, 4));
	ck_assert_ptr_null(arena_try(&bounded, 1, SIZE_MAX));
	ck_assert_ptr_nonnull(arena_try(&bounded, 4, 4));
	arena_reset(&bounded);
	ck_assert_ptr_nonnull(arena_try(&bounded, 4, 1000));
	arena_fini(&bounded);
}
END_TEST

START_TEST(protobufs_allocator_fails_at_the_ceiling_and_frees_nothing)
{
	struct arena bounded;
	size_t taken = 0;

	arena_init(&bounded, BLOCK, 8192);
	struct arena_allocator allocator = arena_allocator(&bounded);
	for (void *piece; (piece = allocator.alloc(allocator.arena, 100)) != NULL; taken += 100)
		allocator.free(allocator.arena, piece);
	ck_assert_uint_le(taken, 8192);
	ck_assert_uint_ge(taken, 7000);
	arena_fini(&bounded);
}
END_TEST

START_TEST(texts_are_copied_and_composed)
{
	char text[] = "corbel";
	char *copy = arena_strdup(&arena, text), *part = arena_strndup(&arena, text, 3);
	char *bytes = arena_memdup(&arena, "a\0b", 3);
	text[0] = 'X';
	ck_assert_str_eq(copy, "corbel");
	ck_assert_str_eq(part, "cor");
	ck_assert_mem_eq(bytes, "a\0b", 3);
	ck_assert_str_eq(arena_printf(&arena, "%s-%d", copy, 7), "corbel-7");
	char *longer = arena_printf(&arena, "%*d", 5000, 1);
	ck_assert_uint_eq(strlen(longer), 5000);
	ck_assert_str_eq(arena_strdup(&arena, ""), "");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("arena");
	TCase *tc = tcase_create("arena");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, memory_is_zeroed_and_aligned_for_any_type);
	tcase_add_test(tc, pieces_do_not_overlap);
	tcase_add_test(tc, a_large_piece_leaves_the_rest_of_the_block_usable);
	tcase_add_test(tc, a_reset_arena_hands_out_the_same_memory_again);
	tcase_add_test(tc, sizes_that_input_decides_stop_at_the_ceiling);
	tcase_add_test(tc, protobufs_allocator_fails_at_the_ceiling_and_frees_nothing);
	tcase_add_test(tc, texts_are_copied_and_composed);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
