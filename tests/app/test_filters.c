/* tests/app/test_filters.c — covers app/search_*.c and app/columns.c: filtered, sorted and grouped
 * answers, page by page, against what a plain look at every item gives, on random libraries and
 * random filters, while items change. */
#include "base/file.h"
#include "tests/app/help_expr.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define N_ROUNDS 40
#else
#define N_ROUNDS 150
#endif

/* ---- expected answers ---- */

typedef struct expected {
    uint64_t item; /* its place in the_shop.facts */
    float score;
} expected;

static expected ranking[SHOP_ITEMS]; /* of every item that there is, by score */
static size_t n_ranking;
static expected wanted[SHOP_ITEMS];
static size_t n_wanted;

static const im_query_part parts[2] = {
    {.kind = IM_PART_TEXT, .text = {"red", 3}, .weight = 1},
    {.kind = IM_PART_TEXT, .text = {"a dog", 5}, .weight = 0.5},
};

static im_answer ask(const im_search_request *request)
{
    im_answer answer;
    im_error err = IM_ERROR_INIT;
    im_code rc = im_app_search(the_shop.library, request, &answer, &err);
    if (rc != IM_OK) {
        fail_msg("%s: %s", request->filter, err.message);
    }
    return answer;
}

/* Every item with its score, by the engine that compares all. */
static void rank_all(im_combine combine)
{
    im_search_request request = {.parts = parts,
                                 .n_parts = 2,
                                 .combine = combine,
                                 .filter = "is:missing or not is:missing",
                                 .mode = IM_MODE_EXACT,
                                 .k = IM_LIMIT_K};
    im_answer answer = ask(&request);
    n_ranking = answer.n_hits;
    for (size_t i = 0; i < answer.n_hits; i++) {
        ranking[i] = (expected){shop_place_of(answer.hits[i].item.id), answer.hits[i].score};
        assert_false(the_shop.facts[ranking[i].item].removed);
    }
    size_t n_there = 0;
    for (size_t i = 0; i < SHOP_ITEMS; i++) {
        n_there += !the_shop.facts[i].removed;
    }
    assert_int_equal(n_ranking, n_there);
    im_answer_clear(&answer);
}

/* @param root of the filter; -1: none */
static void want(int root)
{
    bool all = root >= 0 && expr_names_missing();
    n_wanted = 0;
    for (size_t i = 0; i < n_ranking; i++) {
        const shop_fact *f = &the_shop.facts[ranking[i].item];
        if ((all || !f->missing) && (root < 0 || expr_meets(root, ranking[i].item))) {
            wanted[n_wanted++] = ranking[i];
        }
    }
}

/* The pages of a request, one behind the other, are `wanted`. */
static void expect_pages(im_search_request *request, const char *what)
{
    char *cursor = NULL;
    size_t n = 0;
    for (;;) {
        request->cursor = cursor;
        im_answer page = ask(request);
        if (!page.has_total || page.total != n_wanted) {
            fail_msg("%s %s: total %" PRIu64 ", expected %zu", what, request->filter, page.total,
                     n_wanted);
        }
        size_t rest = n_wanted - n;
        if (page.n_hits != IM_MIN(request->k, rest)) {
            fail_msg("%s %s: %zu hits of %zu", what, request->filter, page.n_hits, rest);
        }
        for (size_t i = 0; i < page.n_hits; i++, n++) {
            const im_search_hit *hit = &page.hits[i];
            if (hit->item.id != the_shop.facts[wanted[n].item].id ||
                (request->n_parts > 0 && hit->score != wanted[n].score)) {
                fail_msg("%s %s: hit %zu is %" PRIu64 " (%.9g), expected %" PRIu64 " (%.9g)", what,
                         request->filter, n, hit->item.id, (double)hit->score,
                         the_shop.facts[wanted[n].item].id, (double)wanted[n].score);
            }
        }
        im_free(cursor);
        cursor = page.cursor != NULL ? im_strdup(page.cursor) : NULL;
        assert_true(cursor == NULL || page.n_hits == request->k);
        im_answer_clear(&page);
        if (cursor == NULL) {
            break;
        }
    }
    assert_int_equal(n, n_wanted);
}

/* ---- orders and groups ---- */

static int sort_field; /* 0 taken, 1 price, 2 category, 3 bytes */
static int sort_sign;
static const char *const sort_names[] = {"taken", "PRICE", "category", "bytes"};

/* -1, 0, 1 by value; without one last, whatever the direction. */
static int compare_values(const shop_fact *a, const shop_fact *b)
{
    double x = 0;
    double y = 0;
    bool has_x = true;
    bool has_y = true;
    static const int folded[] = {4, 2, 1, 0, 3}; /* of names in any case, then as written */
    switch (sort_field) {
    case 0:
        has_x = a->taken != SHOP_NONE;
        has_y = b->taken != SHOP_NONE;
        x = (double)a->taken;
        y = (double)b->taken;
        break;
    case 1:
        has_x = !isnan(a->price);
        has_y = !isnan(b->price);
        x = a->price;
        y = b->price;
        break;
    case 2:
        has_x = a->category >= 0;
        has_y = b->category >= 0;
        x = has_x ? folded[a->category] : 0;
        y = has_y ? folded[b->category] : 0;
        break;
    default:
        x = (double)a->bytes;
        y = (double)b->bytes;
    }
    if (has_x != has_y) {
        return has_x ? -1 : 1;
    }
    return !has_x || x == y ? 0 : (x < y ? -1 : 1) * sort_sign;
}

static int compare_sorted(const void *a, const void *b)
{
    const expected *x = a;
    const expected *y = b;
    int order = compare_values(&the_shop.facts[x->item], &the_shop.facts[y->item]);
    return order != 0 ? order : (x->item > y->item) - (x->item < y->item);
}

/* Keeps the first n of each category, upper and lower case alike. */
static void keep_groups(size_t n)
{
    size_t seen[6] = {0};
    size_t kept = 0;
    for (size_t i = 0; i < n_wanted; i++) {
        int category = the_shop.facts[wanted[i].item].category;
        category = category == 4 ? 0 : category;
        if (seen[category + 1]++ < n) {
            wanted[kept++] = wanted[i];
        }
    }
    n_wanted = kept;
}

static size_t page_size(void)
{
    return shop_draw(3) == 0 ? IM_LIMIT_K : 1 + n_wanted / (1 + shop_draw(5));
}

static void check_filter(int root, const char *filter, im_combine combine)
{
    char group[32];
    im_search_request request = {
        .parts = parts, .n_parts = 2, .combine = combine, .filter = filter};
    want(root);
    request.k = page_size();
    expect_pages(&request, "ranked");

    sort_field = (int)shop_draw(4);
    sort_sign = shop_draw(2) == 0 ? 1 : -1;
    request.sort = sort_names[sort_field];
    request.order = sort_sign > 0 ? IM_ORDER_ASCENDING : IM_ORDER_DESCENDING;
    request.k = page_size();
    qsort(wanted, n_wanted, sizeof(*wanted), compare_sorted);
    expect_pages(&request, "sorted");
    if (shop_draw(2) == 0 && filter != NULL) {
        request.n_parts = 0;
        expect_pages(&request, "listed");
        request.n_parts = 2;
    }

    size_t n_group = 1 + shop_draw(40);
    (void)snprintf(group, sizeof(group), "category:%zu", n_group);
    request.group = group;
    keep_groups(n_group);
    request.k = page_size();
    expect_pages(&request, "sorted in groups");

    want(root);
    keep_groups(n_group);
    request.sort = NULL;
    request.order = IM_ORDER_DEFAULT;
    request.k = page_size();
    expect_pages(&request, "ranked in groups");
}

static void filtered_answers_are_those_of_a_look_at_every_item(void **state)
{
    im_error err = IM_ERROR_INIT;
    im_store *store = im_library_store(the_shop.library);
    size_t n_none = 0;
    size_t n_few = 0;
    (void)state;
    for (int round = 0; round < N_ROUNDS; round++) {
        im_str text;
        im_combine combine = (im_combine)shop_draw(3);
        rank_all(combine);
        n_expr_pool = 0;
        int root = round % 20 == 0 ? -1 : expr_draw(4);
        im_str_init(&text, 8192);
        if (root >= 0) {
            expr_put(&text, root);
        }
        check_filter(root, root >= 0 ? im_str_text(&text) : NULL, combine);
        want(root);
        n_none += n_wanted == 0;
        n_few += n_wanted > 0 && n_wanted < 100;
        im_str_clear(&text);
        help_ok(im_store_begin(store, &err), &err);
        for (uint32_t i = shop_draw(round % 10 == 0 ? 2000 : 20); i > 0; i--) {
            shop_change_one();
        }
        help_ok(im_store_commit(store, &err), &err);
    }
    print_message("%zu filters let nothing through, %zu fewer than 100\n", n_none, n_few);
    assert_true(n_none > 0 && n_few > 2); /* else the rounds say little */
}

static uint64_t generation_of(im_library *of)
{
    im_error err = IM_ERROR_INIT;
    im_index_record record;
    help_ok(im_store_get_index(im_library_store(of), the_shop.model, &record, &err), &err);
    return record.generation;
}

/* Damaged, missing, or of a time before: columns never change an answer. */
static void columns_are_a_cache(void **state)
{
    char *folder = library_index_folder(the_shop.library, the_shop.library->model.digest);
    char name[64];
    (void)state;
    rank_all(IM_COMBINE_SUM);
    n_expr_pool = 1;
    expr_pool[0] = (expr){.kind = EXPR_LEAF, .test = EXPR_PRICE, .value = 50};
    want(0);
    for (int how = 0; how < 4; how++) {
        im_search_request request = {
            .parts = parts, .n_parts = 2, .filter = "price<50", .k = IM_LIMIT_K};
        (void)snprintf(name, sizeof(name), "columns.%" PRIu64,
                       the_shop.library->index_record.generation);
        const char *path = help_path(folder, name);
        if (how == 0) {
            assert_int_equal(unlink(path), 0);
        } else if (how == 1) {
            assert_int_equal(truncate(path, 4096), 0);
        } else {
            FILE *file = fopen(path, "r+b");
            assert_non_null(file);
            for (long at = 8192; fseek(file, at, SEEK_SET) == 0 && at < 400000; at += 4096) {
                (void)fputc(0x5a, file);
            }
            (void)fclose(file);
        }
        im_library_close(the_shop.library);
        the_shop.library = help_open(&the_shop.home, true);
        uint64_t generation = generation_of(the_shop.library);
        if (how == 3) { /* met by an order first: it is mended there, and no row is made anew */
            request.filter = NULL;
            request.sort = "price";
            sort_field = 1;
            sort_sign = -1;
            want(-1);
            qsort(wanted, n_wanted, sizeof(*wanted), compare_sorted);
        }
        expect_pages(&request, "after damage");
        assert_int_equal(generation_of(the_shop.library), generation);
    }
    im_free(folder);
}

static void a_filter_that_cannot_be_is_the_querys_fault(void **state)
{
    static const char *const bad[] = {"taken:2019-13",  "taken:2019-02-30", "colour:red",
                                      "price:cheap",    "stock:maybe",      "near:91,181,-1",
                                      "bytes>1e999",    "(tag:x",           "tag:x) y",
                                      "box:50,0,40,10", "is:here",          "taken:9999999999"};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        im_answer answer;
        im_error err = IM_ERROR_INIT;
        im_search_request request = {.parts = parts, .n_parts = 1, .filter = bad[i], .k = 5};
        im_code rc = im_app_search(the_shop.library, &request, &answer, &err);
        if (rc != IM_ERR_INVALID || strstr(err.message, "column") == NULL) {
            fail_msg("'%s': %d %s", bad[i], rc, err.message);
        }
    }
}

static void a_cursor_belongs_to_its_order(void **state)
{
    im_error err = IM_ERROR_INIT;
    im_search_request request = {.parts = parts, .n_parts = 1, .k = 5};
    im_answer other;
    (void)state;
    im_answer page = ask(&request);
    char *cursor = im_strdup(page.cursor);
    im_answer_clear(&page);
    request.cursor = cursor;
    request.sort = "bytes";
    assert_int_equal(im_app_search(the_shop.library, &request, &other, &err), IM_ERR_INVALID);
    request.cursor = NULL;
    page = ask(&request);
    im_free(cursor);
    cursor = im_strdup(page.cursor);
    im_answer_clear(&page);
    request.cursor = cursor;
    page = ask(&request);
    im_answer_clear(&page);
    request.order = IM_ORDER_ASCENDING;
    assert_int_equal(im_app_search(the_shop.library, &request, &other, &err), IM_ERR_INVALID);
    im_free(cursor);
}

/* Many at once are the same as one by one, and a bad one stops no other. */
static void queries_together_are_the_same_as_alone(void **state)
{
    static const char body[] =
        "{\"queries\":["
        "{\"parts\":[{\"text\":\"red\"}],\"k\":7},"
        "{\"parts\":[{\"text\":\"a dog\"},{\"text\":\"red\",\"weight\":-0.5}],"
        "\"filter\":\"price<50 has:gps\",\"k\":9},"
        "{\"parts\":[{\"image\":{\"id\":999999999}}]},"
        "{\"filter\":\"type:png\",\"sort\":\"price\",\"order\":\"asc\",\"k\":4},"
        "{\"parts\":[{\"text\":\"red\"}],\"group\":{\"field\":\"category\",\"n\":2},\"k\":12}]}";
    im_error err = IM_ERROR_INIT;
    im_query_requests asked = {0};
    im_answer answers[5];
    im_error errors[5];
    const im_search_how how = {0};
    (void)state;
    help_ok(im_app_read_requests(the_shop.library, im_view_from(body), "body", &asked, &err), &err);
    assert_int_equal(asked.n, 5);
    help_ok(im_app_search_many(the_shop.library, &how, asked.requests, 5, answers, errors, &err),
            &err);
    assert_int_equal(errors[2].code, IM_ERR_NOT_FOUND);
    const im_search_request alone[5] = {
        {.text = "red", .k = 7},
        {.text = "\"a dog\" -\"red\" price<50 has:gps", .k = 9},
        {0},
        {.text = "type:png", .sort = "price", .order = IM_ORDER_ASCENDING, .k = 4},
        {.text = "red", .group = "category:2", .k = 12}};
    for (size_t i = 0; i < 5; i++) {
        if (i == 2) {
            continue;
        }
        assert_int_equal(errors[i].code, IM_OK);
        im_answer one = ask(&alone[i]);
        assert_true(one.n_hits > 0);
        assert_int_equal(one.n_hits, answers[i].n_hits);
        for (size_t j = 0; j < one.n_hits; j++) {
            assert_int_equal(one.hits[j].item.id, answers[i].hits[j].item.id);
            assert_memory_equal(&one.hits[j].score, &answers[i].hits[j].score, sizeof(float));
        }
        im_answer_clear(&one);
        im_answer_clear(&answers[i]);
    }
    im_query_requests_clear(&asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filtered_answers_are_those_of_a_look_at_every_item),
        cmocka_unit_test(columns_are_a_cache),
        cmocka_unit_test(a_filter_that_cannot_be_is_the_querys_fault),
        cmocka_unit_test(a_cursor_belongs_to_its_order),
        cmocka_unit_test(queries_together_are_the_same_as_alone),
    };
    return cmocka_run_group_tests(tests, shop_open, shop_close);
}
