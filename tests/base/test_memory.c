/* tests/base/test_memory.c — base/memory.c */
#include "support.h"
#include <errno.h>

static bool is_aligned(const void *block, size_t alignment)
{
    return (uintptr_t)block % alignment == 0;
}

static void products_that_overflow_are_refused(void **state)
{
    (void)state;
    size_t half = (size_t)1 << 32;
    assert_null(im_alloc(half, half));
    assert_null(im_alloc(SIZE_MAX, 2));
    assert_null(im_alloc_zero(SIZE_MAX / 2, 3));
    assert_null(im_alloc_aligned(SIZE_MAX, 1));
    assert_null(im_alloc_aligned((size_t)PTRDIFF_MAX + 1, 1));
    void *block = im_alloc(4, 4);
    assert_non_null(block);
    assert_null(im_realloc(block, SIZE_MAX, 2)); /* the old one stays ours */
    im_free(block);
    assert_int_equal(im_live_allocations(), 0);
}

static void empty_blocks_are_blocks(void **state)
{
    (void)state;
    void *a = im_alloc(0, 8);
    void *b = im_alloc_zero(8, 0);
    void *c = im_alloc_aligned(0, 0);
    void *d = im_realloc(NULL, 0, 0);
    assert_true(a != NULL && b != NULL && c != NULL && d != NULL);
    assert_int_equal(im_live_allocations(), 4);
    d = im_realloc(d, 0, 5); /* must not free, as realloc(p, 0) does */
    assert_non_null(d);
    im_free(a);
    im_free(b);
    im_free(c);
    im_free(d);
    im_free(NULL);
    assert_int_equal(im_live_allocations(), 0);
}

static void cleared_blocks_are_clear_and_grown_blocks_keep_their_bytes(void **state)
{
    (void)state;
    unsigned char *block = im_alloc_zero(1000, 3);
    assert_non_null(block);
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(block[i], 0);
        block[i] = (unsigned char)(i * 7);
    }
    block = im_realloc(block, 100000, 1);
    assert_non_null(block);
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(block[i], (unsigned char)(i * 7));
    }
    assert_int_equal(im_live_allocations(), 1);
    im_free(block);
}

static void aligned_blocks_are_aligned_and_writable_to_their_end(void **state)
{
    (void)state;
    for (size_t size = 1; size < 300; size += 7) {
        unsigned char *block = im_alloc_aligned(size, 1);
        assert_true(block != NULL && is_aligned(block, 64));
        memset(block, 0xab, size);
        im_free(block);
    }
}

static void each_function_can_be_told_to_fail(void **state)
{
    (void)state;
    void *block = im_alloc(1, 1);
    for (int i = 0; i < 5; i++) {
        im_fault_set(IM_FAULT_ALLOC, 0, 0);
        errno = 0;
        void *got = i == 0   ? im_alloc(1, 1)
                    : i == 1 ? im_alloc_zero(1, 1)
                    : i == 2 ? im_alloc_aligned(1, 1)
                    : i == 3 ? im_realloc(block, 2, 1)
                             : (void *)im_strdup("x");
        assert_null(got);
        assert_int_equal(errno, ENOMEM);
        assert_true(im_fault_fired(IM_FAULT_ALLOC));
    }
    im_fault_clear();
    im_free(block);
    assert_int_equal(im_live_allocations(), 0);
}

static void strings_are_copied(void **state)
{
    (void)state;
    char text[] = "some words";
    char *copy = im_strdup(text);
    text[0] = 'S';
    assert_string_equal(copy, "some words");
    im_free(copy);
}

static void an_arena_hands_out_aligned_pieces_until_it_is_full(void **state)
{
    (void)state;
    im_arena arena;
    assert_true(im_arena_init(&arena, 1000));
    assert_true(is_aligned(arena.base, 64));
    char *a = im_arena_take(&arena, 10, 1);
    char *b = im_arena_take(&arena, 100, 4);
    assert_true(a != NULL && b == a + 64);
    assert_int_equal(arena.used, 64 + 448);
    assert_null(im_arena_take(&arena, 489, 1));
    char *c = im_arena_take(&arena, 488, 1); /* exactly the rest */
    assert_true(c != NULL && is_aligned(c, 64));
    memset(c, 1, 488);
    assert_int_equal(arena.used, 1000);
    assert_null(im_arena_take(&arena, 1, 1));
    assert_null(im_arena_take(&arena, SIZE_MAX, 2));
    assert_null(im_arena_take(&arena, SIZE_MAX, 1));
    im_arena_reset(&arena);
    assert_ptr_equal(im_arena_take(&arena, 10, 1), a);
    im_arena_clear(&arena);
    im_arena_clear(&arena);
    assert_int_equal(im_live_allocations(), 0);
}

static void an_arena_without_memory_is_empty(void **state)
{
    (void)state;
    im_arena arena;
    im_fault_set(IM_FAULT_ALLOC, 0, 0);
    assert_false(im_arena_init(&arena, 64));
    im_fault_clear();
    assert_null(im_arena_take(&arena, 1, 1));
    im_arena_clear(&arena);
}

static void checked_arithmetic_says_when_it_overflows(void **state)
{
    (void)state;
    size_t s = 7;
    uint64_t u = 7;
    assert_true(im_size_mul(SIZE_MAX, 1, &s) && s == SIZE_MAX);
    assert_false(im_size_mul(SIZE_MAX / 2 + 1, 2, &s));
    assert_true(im_size_add(SIZE_MAX - 1, 1, &s) && s == SIZE_MAX);
    assert_false(im_size_add(SIZE_MAX, 1, &s));
    assert_true(im_u64_mul(UINT64_MAX / 3, 3, &u) && u == UINT64_MAX);
    assert_false(im_u64_mul(UINT64_MAX / 3 + 1, 3, &u));
    assert_false(im_u64_add(UINT64_MAX, 1, &u));
    assert_true(im_u64_add(UINT64_MAX, 0, &u) && u == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_that_overflow_are_refused),
        cmocka_unit_test(empty_blocks_are_blocks),
        cmocka_unit_test(cleared_blocks_are_clear_and_grown_blocks_keep_their_bytes),
        cmocka_unit_test(aligned_blocks_are_aligned_and_writable_to_their_end),
        cmocka_unit_test(each_function_can_be_told_to_fail),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(an_arena_hands_out_aligned_pieces_until_it_is_full),
        cmocka_unit_test(an_arena_without_memory_is_empty),
        cmocka_unit_test(checked_arithmetic_says_when_it_overflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
