/* tests/app/test_pages.c — covers the pages of app/search.c and its ways to combine parts, over a
 * library of pictures of which many have the same vector (T62). */
#include "base/file.h"
#include "tests/app/help.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#define N_EQUAL 30
#define N_OTHER 12
#define N_ALL (N_EQUAL + N_OTHER)

static help_home home;
static im_library *library;

/* The same pixels in a file of its own: bytes behind the end of a PNG are no part of the picture.
 */
static void put_equal(const char *name, uint32_t i)
{
    im_error err = IM_ERROR_INIT;
    const char *path = help_path(home.pictures, name);
    int fd = -1;
    help_png(path, 1000);
    help_ok(im_file_open(path, O_WRONLY | O_APPEND, 0, &fd, &err), &err);
    assert_int_equal(write(fd, &i, sizeof(i)), sizeof(i));
    (void)close(fd);
}

static int make_library(void **state)
{
    char name[32];
    im_error err = IM_ERROR_INIT;
    (void)state;
    help_home_make(&home);
    for (uint32_t i = 0; i < N_ALL; i++) {
        (void)snprintf(name, sizeof(name), "%02u.png", i);
        if (i % 10 < 7 && i / 10 * 7 + i % 10 < N_EQUAL) { /* mixed with the others by id */
            put_equal(name, i);
        } else {
            help_png(help_path(home.pictures, name), i);
        }
    }
    help_ok(im_app_init(&home.places, &err), &err);
    library = help_open(&home, true);
    assert_int_equal(help_add(library, home.pictures).added, N_ALL);
    return 0;
}

static int end_library(void **state)
{
    (void)state;
    im_library_close(library);
    help_home_remove(&home);
    return 0;
}

static im_answer ask(const im_search_request *request)
{
    im_answer answer;
    im_error err = IM_ERROR_INIT;
    help_ok(im_app_search(library, request, &answer, &err), &err);
    return answer;
}

static void refused(const im_search_request *request, im_code code)
{
    im_answer answer;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_app_search(library, request, &answer, &err), code);
    assert_true(err.message[0] != '\0');
}

static const im_query_part red = {.kind = IM_PART_TEXT, .text = {"red", 3}, .weight = 1};

static void expect_sorted(const im_answer *answer)
{
    for (size_t i = 1; i < answer->n_hits; i++) {
        const im_search_hit *a = &answer->hits[i - 1];
        const im_search_hit *b = &answer->hits[i];
        assert_true(a->score > b->score || (a->score == b->score && a->item.id < b->item.id));
    }
}

static im_answer whole_answer(const im_query_part *parts, size_t n_parts, im_combine combine)
{
    im_search_request request = {
        .parts = parts, .n_parts = n_parts, .combine = combine, .k = IM_LIMIT_K};
    im_answer answer = ask(&request);
    assert_int_equal(answer.total, answer.n_hits);
    assert_null(answer.cursor);
    expect_sorted(&answer);
    return answer;
}

static void expect_same_hit(const im_search_hit *found, const im_search_hit *wanted)
{
    assert_int_equal(found->item.id, wanted->item.id);
    assert_memory_equal(&found->score, &wanted->score, sizeof(float));
}

static void pages_by_cursor_are_the_whole_answer(void **state)
{
    im_answer whole = whole_answer(&red, 1, IM_COMBINE_SUM);
    (void)state;
    size_t equal = 1;
    for (size_t i = 1, run = 1; i < whole.n_hits; i++) {
        run = whole.hits[i].score == whole.hits[i - 1].score ? run + 1 : 1;
        equal = IM_MAX(equal, run);
    }
    assert_int_equal(equal, N_EQUAL);            /* else this tests nothing */
    for (size_t k = 1; k <= N_ALL + 1; k += 3) { /* 7 is one of them */
        char cursor[64] = "";
        size_t n = 0;
        for (;;) {
            im_search_request request = {
                .parts = &red, .n_parts = 1, .k = k, .cursor = cursor[0] != '\0' ? cursor : NULL};
            im_answer page = ask(&request);
            for (size_t i = 0; i < page.n_hits; i++) {
                assert_true(n < whole.n_hits);
                expect_same_hit(&page.hits[i], &whole.hits[n++]);
            }
            (void)snprintf(cursor, sizeof(cursor), "%s", page.cursor != NULL ? page.cursor : "");
            assert_true(page.n_hits == k || cursor[0] == '\0');
            im_answer_clear(&page);
            if (cursor[0] == '\0') {
                break;
            }
        }
        assert_int_equal(n, whole.n_hits);
    }
    im_answer_clear(&whole);
}

static void pages_by_offset_are_the_whole_answer(void **state)
{
    im_answer whole = whole_answer(&red, 1, IM_COMBINE_SUM);
    size_t n = 0;
    (void)state;
    for (uint64_t offset = 0; offset < N_ALL + 14; offset += 7) {
        im_search_request request = {.parts = &red, .n_parts = 1, .k = 7, .offset = offset};
        im_answer page = ask(&request);
        assert_int_equal(page.total, N_ALL);
        for (size_t i = 0; i < page.n_hits; i++) {
            assert_int_equal(page.hits[i].rank, n + 1);
            expect_same_hit(&page.hits[i], &whole.hits[n++]);
        }
        im_answer_clear(&page);
    }
    assert_int_equal(n, N_ALL);
    im_answer_clear(&whole);
}

static void numbers_and_cursors_that_cannot_be_are_refused(void **state)
{
    const im_search_request good = {.parts = &red, .n_parts = 1, .k = 7};
    im_search_request bad = good;
    (void)state;
    bad.k = 0;
    refused(&bad, IM_ERR_INVALID);
    bad.k = IM_LIMIT_K + 1;
    refused(&bad, IM_ERR_INVALID);
    bad = good;
    bad.offset = IM_LIMIT_OFFSET_PLUS_K - 6;
    refused(&bad, IM_ERR_INVALID);
    bad.offset = UINT64_MAX - 3;
    refused(&bad, IM_ERR_INVALID);
    bad = good;
    bad.cursor = "not one of ours";
    refused(&bad, IM_ERR_INVALID);
    bad.cursor = "";
    refused(&bad, IM_ERR_INVALID);
    bad = good;
    bad.n_parts = 0;
    refused(&bad, IM_ERR_INVALID);
}

static float combined(im_combine combine, const im_search_hit *hit, size_t n_parts)
{
    float value = hit->contributions[0];
    for (size_t i = 1; i < n_parts; i++) {
        float one = hit->contributions[i];
        value = combine == IM_COMBINE_SUM   ? value + one
                : combine == IM_COMBINE_ANY ? fmaxf(value, one)
                                            : fminf(value, one);
    }
    return value;
}

/* Each way's score follows from the parts, whose cosines are those of the parts asked alone; the
 * hits are all items in the order of that score; pages of 7 fit together. */
static void any_all_and_sum_score_as_they_say(void **state)
{
    const im_query_part parts[3] = {
        {.kind = IM_PART_TEXT, .text = {"red car", 7}, .weight = 1},
        {.kind = IM_PART_TEXT, .text = {"beach", 5}, .weight = 2},
        {.kind = IM_PART_PICTURE, .item = 3, .weight = 0.5},
    };
    im_answer alone[3];
    (void)state;
    for (size_t p = 0; p < 3; p++) {
        alone[p] = whole_answer(&parts[p], 1, IM_COMBINE_SUM);
    }
    for (int combine = IM_COMBINE_SUM; combine <= IM_COMBINE_ALL; combine++) {
        im_answer whole = whole_answer(parts, 3, (im_combine)combine);
        assert_int_equal(whole.n_hits, N_ALL);
        for (size_t i = 0; i < whole.n_hits; i++) {
            const im_search_hit *hit = &whole.hits[i];
            assert_float_equal(hit->score, combined((im_combine)combine, hit, 3), 1e-5);
            for (size_t p = 0; p < 3; p++) {
                size_t j = 0;
                while (alone[p].hits[j].item.id != hit->item.id) {
                    j++;
                }
                assert_float_equal(hit->cosines[p], alone[p].hits[j].cosines[0], 1e-6);
                assert_float_equal(hit->contributions[p], parts[p].weight * hit->cosines[p], 1e-6);
            }
        }
        char cursor[64] = "";
        size_t n = 0;
        do {
            im_search_request request = {.parts = parts,
                                         .n_parts = 3,
                                         .k = 7,
                                         .combine = (im_combine)combine,
                                         .cursor = n > 0 ? cursor : NULL};
            im_answer page = ask(&request);
            for (size_t i = 0; i < page.n_hits; i++) {
                expect_same_hit(&page.hits[i], &whole.hits[n++]);
            }
            (void)snprintf(cursor, sizeof(cursor), "%s", page.cursor != NULL ? page.cursor : "");
            im_answer_clear(&page);
        } while (cursor[0] != '\0');
        assert_int_equal(n, N_ALL);
        im_answer_clear(&whole);
    }
    for (size_t p = 0; p < 3; p++) {
        im_answer_clear(&alone[p]);
    }
}

static void a_part_against_is_for_sums_only(void **state)
{
    const im_query_part parts[2] = {
        {.kind = IM_PART_TEXT, .text = {"red", 3}, .weight = 1},
        {.kind = IM_PART_TEXT, .text = {"car", 3}, .weight = IM_WEIGHT_NEGATIVE},
    };
    im_search_request request = {.parts = parts, .n_parts = 2, .k = 7};
    (void)state;
    im_answer answer = ask(&request);
    assert_float_equal(answer.hits[0].score, combined(IM_COMBINE_SUM, &answer.hits[0], 2), 1e-5);
    im_answer_clear(&answer);
    request.combine = IM_COMBINE_ANY;
    refused(&request, IM_ERR_INVALID);
    request.combine = IM_COMBINE_ALL;
    refused(&request, IM_ERR_INVALID);
}

static void a_picture_leaves_itself_out_when_asked(void **state)
{
    const im_query_part part = {.kind = IM_PART_PICTURE, .item = 1, .weight = 1};
    im_search_request request = {
        .parts = &part, .n_parts = 1, .k = IM_LIMIT_K, .how = {.leave_out = 1}};
    (void)state;
    im_answer answer = ask(&request);
    assert_int_equal(answer.n_hits, N_ALL - 1);
    assert_int_equal(answer.total, N_ALL - 1);
    for (size_t i = 0; i < answer.n_hits; i++) {
        assert_int_not_equal(answer.hits[i].item.id, 1);
    }
    assert_float_equal(answer.hits[0].score, 1, 1e-5); /* its equals are there */
    im_answer_clear(&answer);
}

/* Old items neither repeat nor fall out while others come (T62). */
static void pages_hold_while_pictures_are_added(void **state)
{
    im_answer whole = whole_answer(&red, 1, IM_COMBINE_SUM);
    char cursor[64] = "";
    char name[32];
    size_t n_old = 0;
    uint32_t n_new = 0;
    (void)state;
    do {
        im_search_request request = {
            .parts = &red, .n_parts = 1, .k = 7, .cursor = n_old > 0 ? cursor : NULL};
        im_answer page = ask(&request);
        for (size_t i = 0; i < page.n_hits; i++) {
            if (page.hits[i].item.id <= N_ALL) {
                assert_true(n_old < whole.n_hits);
                expect_same_hit(&page.hits[i], &whole.hits[n_old++]);
            }
        }
        (void)snprintf(cursor, sizeof(cursor), "%s", page.cursor != NULL ? page.cursor : "");
        im_answer_clear(&page);
        (void)snprintf(name, sizeof(name), "new%u.png", n_new);
        if (n_new % 2 == 0) {
            put_equal(name, 5000 + n_new);
        } else {
            help_png(help_path(home.pictures, name), 5000 + n_new);
        }
        n_new++;
        assert_int_equal(help_add(library, home.pictures).added, 1);
        assert_true(n_new < 20);
    } while (cursor[0] != '\0');
    assert_int_equal(n_old, N_ALL);
    im_answer_clear(&whole);
    help_check(library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_by_cursor_are_the_whole_answer),
        cmocka_unit_test(pages_by_offset_are_the_whole_answer),
        cmocka_unit_test(numbers_and_cursors_that_cannot_be_are_refused),
        cmocka_unit_test(any_all_and_sum_score_as_they_say),
        cmocka_unit_test(a_part_against_is_for_sums_only),
        cmocka_unit_test(a_picture_leaves_itself_out_when_asked),
        cmocka_unit_test(pages_hold_while_pictures_are_added), /* last: it adds */
    };
    return cmocka_run_group_tests(tests, make_library, end_library);
}
