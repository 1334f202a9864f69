/* tests/app/test_filters.c — covers app/search_*.c and app/columns.c: filtered, sorted and grouped
 * answers, page by page, against what a plain look at every item gives, on random libraries and
 * random filters, while items change. */
#include "base/clock.h"
#include "base/file.h"
#include "tests/app/help.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define N_ITEMS 4300u /* above 4,096 there are codes */
#define N_ROUNDS 40
#else
#define N_ITEMS 6000u
#define N_ROUNDS 150
#endif

#define NONE INT64_MIN

/* What the test knows of an item, to be held against what the library says. */
typedef struct fact {
    uint64_t id;
    bool removed, missing, has_file;
    int64_t taken; /* NONE */
    int camera;    /* -1: none */
    uint32_t width;
    uint64_t bytes;
    bool png, gps;
    unsigned tags; /* bit i: "ti" */
    double price;  /* NaN */
    int category;  /* -1 */
    int stock;     /* -1 */
    bool keyed;
} fact;

static help_home home;
static im_library *library;
static uint64_t model_id;
static fact facts[N_ITEMS]; /* in id order */
static uint64_t file_of[N_ITEMS];
static uint64_t seed = 0x5eedf117e25;

static const char *const cameras[] = {"Canon EOS R5", "NIKON Z 6", "Pixel 7", "canon ixus"};
static const char *const categories[] = {"shoes", "Shirts", "hats", "bags", "SHOES"};

static uint32_t draw(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 32) % n);
}

static double unit(void)
{
    return draw(1u << 24) / (double)(1u << 24);
}

/* ---- the library ---- */

static void put_facts(im_store *store, fact *f)
{
    im_error err = IM_ERROR_INIT;
    if (!isnan(f->price)) {
        im_value value = {.type = IM_VALUE_NUMBER, .number = f->price};
        help_ok(im_store_put_field(store, f->id, "price", &value, &err), &err);
    }
    if (f->category >= 0) {
        im_value value = {.type = IM_VALUE_TEXT, .text = im_view_from(categories[f->category])};
        help_ok(im_store_put_field(store, f->id, "category", &value, &err), &err);
    }
    if (f->stock >= 0) {
        im_value value = {.type = IM_VALUE_BOOL, .truth = f->stock == 1};
        help_ok(im_store_put_field(store, f->id, "stock", &value, &err), &err);
    }
    for (unsigned i = 0; i < 3; i++) {
        char tag[8];
        (void)snprintf(tag, sizeof(tag), "t%u", i);
        if ((f->tags >> i & 1) != 0) {
            help_ok(im_store_put_tag(store, f->id, tag, IM_SOURCE_USER, &err), &err);
        }
    }
    if (f->keyed) {
        char key[24];
        (void)snprintf(key, sizeof(key), "k%" PRIu64, f->id);
        help_ok(im_store_put_key(store, f->id, key, NULL, &err), &err);
    }
}

static void draw_fact(fact *f)
{
    *f = (fact){.taken = draw(5) == 0 ? NONE : 1420070400 + (int64_t)draw(220000000),
                .camera = (int)draw(5) - 1,
                .width = 100 * (1 + draw(40)),
                .bytes = 1000ull * (1 + draw(3000)),
                .png = draw(3) == 0,
                .gps = draw(2) == 0,
                .tags = draw(8),
                .price = draw(4) == 0 ? (double)NAN : (double)draw(100),
                .category = (int)draw(6) - 1,
                .stock = (int)draw(3) - 1,
                .keyed = draw(10) == 0,
                .has_file = draw(10) != 0};
}

static void put_item(im_store *store, uint64_t root, uint64_t i)
{
    im_error err = IM_ERROR_INIT;
    fact *f = &facts[i];
    float vector[HELP_DIM];
    double squares = 0;
    draw_fact(f);
    im_item item = {.bytes = f->bytes,
                    .width = f->width,
                    .height = 100,
                    .has_taken = f->taken != NONE,
                    .taken_s = f->taken != NONE ? f->taken : 0,
                    .has_gps = f->gps,
                    .latitude = 48,
                    .longitude = 2};
    memcpy(item.sha256, &i, sizeof(i));
    (void)snprintf(item.format, sizeof(item.format), "%s", f->png ? "png" : "jpeg");
    if (f->camera >= 0) {
        (void)snprintf(item.camera, sizeof(item.camera), "%s", cameras[f->camera]);
    }
    help_ok(im_store_put_item(store, &item, &f->id, &err), &err);
    for (size_t j = 0; j < HELP_DIM; j++) {
        vector[j] = (float)(unit() + unit() + unit() - 1.5);
        squares += (double)vector[j] * (double)vector[j];
    }
    for (size_t j = 0; j < HELP_DIM; j++) {
        vector[j] /= (float)sqrt(squares);
    }
    help_ok(im_store_put_embedding(store, f->id, model_id, i + 1, vector, HELP_DIM, &err), &err);
    if (f->has_file) {
        char path[32];
        (void)snprintf(path, sizeof(path), "d%u/%" PRIu64 ".x", (unsigned)(i % 7), i);
        im_file_row row = {.root = root, .path = im_view_from(path), .item = f->id};
        row.stamp.inode = i + 1;
        help_ok(im_store_put_file(store, &row, &file_of[i], &err), &err);
    }
    put_facts(store, f);
}

static int make_library(void **state)
{
    im_error err = IM_ERROR_INIT;
    uint64_t root = 0;
    im_rebuild_report rebuilt;
    (void)state;
    help_home_make(&home);
    help_ok(im_app_init(&home.places, &err), &err);
    library = help_open(&home, true);
    help_png(help_path(home.pictures, "a.png"), 1);
    assert_int_equal(help_add(library, home.pictures).added, 1); /* gives it its model */
    im_store *store = im_library_store(library);
    model_id = library->model.id;
    help_ok(im_store_remove_item(store, 1, &err), &err);
    help_ok(im_store_begin(store, &err), &err);
    help_ok(im_store_put_root(store, "/r", true, &root, &err), &err);
    help_ok(im_store_set_index(store, model_id, &(im_index_record){1, N_ITEMS + 1}, &err), &err);
    for (uint64_t i = 0; i < N_ITEMS; i++) {
        put_item(store, root, i);
    }
    help_ok(im_store_commit(store, &err), &err);
    help_ok(im_app_rebuild(library, NULL, NULL, &rebuilt, &err), &err);
    assert_int_equal(rebuilt.vectors, N_ITEMS);
    return 0;
}

static int end_library(void **state)
{
    (void)state;
    im_library_close(library);
    help_home_remove(&home);
    return 0;
}

/* Something about an item becomes different. */
static void change_one(im_store *store)
{
    im_error err = IM_ERROR_INIT;
    uint64_t i = draw(N_ITEMS);
    fact *f = &facts[i];
    if (f->removed) {
        return;
    }
    switch (draw(5)) {
    case 0:
        f->price = draw(100);
        f->category = (int)draw(5);
        break;
    case 1:
        f->tags |= 1u << draw(3);
        break;
    case 2:
        if (f->has_file) {
            f->missing = !f->missing;
            help_ok(im_store_set_file_missing(store, file_of[i], f->missing, &err), &err);
        }
        break;
    case 3:
        if (draw(4) == 0) {
            f->removed = true;
            help_ok(im_store_remove_item(store, f->id, &err), &err);
            return;
        }
        break;
    default:
        if (f->stock >= 0) {
            help_ok(im_store_drop_field(store, f->id, "stock", &err), &err);
            f->stock = -1;
        }
    }
    put_facts(store, f);
}

/* ---- filters: as text, and as what they mean ---- */

typedef enum test_kind {
    TAKEN_YEAR,
    TAKEN_FROM,
    WIDTH,
    BYTES,
    CAMERA,
    TYPE,
    TAG,
    PRICE,
    CATEGORY,
    STOCK,
    HAS_GPS,
    HAS_TAG,
    HAS_PRICE,
    PATH,
    KEY,
    IS_MISSING,
    N_TESTS
} test_kind;

typedef struct expr {
    enum { TEST, AND, OR, NOT } kind;
    test_kind test;
    uint32_t value;
    int a, b; /* indexes of children */
} expr;

static expr pool[64];
static int n_pool;

static int64_t year_start(int year)
{
    struct tm parts = {.tm_year = year - 1900, .tm_mday = 1};
    return (int64_t)timegm(&parts);
}

static int draw_expr(int depth)
{
    int self = n_pool++;
    expr *e = &pool[self];
    *e = (expr){.kind = depth == 0 || draw(3) == 0 ? TEST : 1 + draw(3)};
    if (e->kind == TEST) {
        e->test = draw(12) == 0 ? IS_MISSING : draw(IS_MISSING);
        e->value = draw(1000);
        return self;
    }
    int a = draw_expr(depth - 1);
    int b = pool[self].kind != NOT ? draw_expr(depth - 1) : -1;
    pool[self].a = a;
    pool[self].b = b;
    return self;
}

static void put_test(im_str *out, const expr *e)
{
    uint32_t v = e->value;
    switch (e->test) {
    case TAKEN_YEAR:
        im_str_addf(out, "taken:%u", 2015 + v % 7);
        break;
    case TAKEN_FROM:
        im_str_addf(out, "taken:%u..", 2015 + v % 7);
        break;
    case WIDTH:
        im_str_addf(out, "width>=%u", v * 4);
        break;
    case BYTES:
        im_str_addf(out, "bytes:..%uk", v * 3);
        break;
    case CAMERA:
        im_str_add_c(out, v % 2 == 0 ? "camera:CANON" : "camera=\"pixel 7\"");
        break;
    case TYPE:
        im_str_add_c(out, v % 2 == 0 ? "type:jpg" : "type:png");
        break;
    case TAG:
        im_str_addf(out, "tag:T%u", v % 3);
        break;
    case PRICE:
        im_str_addf(out, "price<%u", v % 100);
        break;
    case CATEGORY:
        im_str_addf(out, "category:%s", categories[v % 5]);
        break;
    case STOCK:
        im_str_add_c(out, v % 2 == 0 ? "stock:no" : "stock:true");
        break;
    case HAS_GPS:
        im_str_add_c(out, "has:gps");
        break;
    case HAS_TAG:
        im_str_add_c(out, "has:tag");
        break;
    case HAS_PRICE:
        im_str_add_c(out, "has:price");
        break;
    case PATH:
        im_str_addf(out, "path:d%u/*%u.x", v % 7, v % 10);
        break;
    case KEY:
        im_str_addf(out, "key:k%" PRIu64, facts[v % N_ITEMS].id);
        break;
    default:
        im_str_add_c(out, "is:missing");
    }
}

static void put_expr(im_str *out, int i)
{
    const expr *e = &pool[i];
    if (e->kind == TEST) {
        put_test(out, e);
        return;
    }
    im_str_add_c(out, e->kind == NOT ? "not (" : "(");
    put_expr(out, e->a);
    if (e->kind != NOT) {
        im_str_add_c(out, e->kind == AND ? (e->value % 2 == 0 ? " and " : " ") : " or ");
        put_expr(out, e->b);
    }
    im_str_add_c(out, ")");
}

static bool meets_test(const expr *e, uint64_t i)
{
    const fact *f = &facts[i];
    uint32_t v = e->value;
    int year = 2015 + (int)(v % 7);
    switch (e->test) {
    case TAKEN_YEAR:
        return f->taken != NONE && f->taken >= year_start(year) && f->taken < year_start(year + 1);
    case TAKEN_FROM:
        return f->taken != NONE && f->taken >= year_start(year);
    case WIDTH:
        return f->width >= v * 4;
    case BYTES:
        return f->bytes <= 3000ull * v;
    case CAMERA:
        return v % 2 == 0 ? f->camera == 0 || f->camera == 3 : f->camera == 2;
    case TYPE:
        return f->png == (v % 2 != 0);
    case TAG:
        return (f->tags >> v % 3 & 1) != 0;
    case PRICE:
        return !isnan(f->price) && f->price < v % 100;
    case CATEGORY:
        return f->category == (int)(v % 5) || (v % 5 == 0 && f->category == 4) ||
               (v % 5 == 4 && f->category == 0);
    case STOCK:
        return f->stock == (v % 2 == 0 ? 0 : 1);
    case HAS_GPS:
        return f->gps;
    case HAS_TAG:
        return f->tags != 0;
    case HAS_PRICE:
        return !isnan(f->price);
    case PATH:
        return f->has_file && i % 7 == v % 7 && i % 10 == v % 10;
    case KEY:
        return f->keyed && i == v % N_ITEMS;
    default:
        return f->missing;
    }
}

static bool meets(int i, uint64_t item)
{
    const expr *e = &pool[i];
    switch (e->kind) {
    case TEST:
        return meets_test(e, item);
    case AND:
        return meets(e->a, item) && meets(e->b, item);
    case OR:
        return meets(e->a, item) || meets(e->b, item);
    default:
        return !meets(e->a, item);
    }
}

static bool names_missing(void)
{
    for (int i = 0; i < n_pool; i++) {
        if (pool[i].kind == TEST && pool[i].test == IS_MISSING) {
            return true;
        }
    }
    return false;
}

/* ---- expected answers ---- */

typedef struct expected {
    uint64_t item; /* its place in facts */
    float score;
} expected;

static expected ranking[N_ITEMS]; /* of every item that there is, by score */
static size_t n_ranking;
static expected wanted[N_ITEMS];
static size_t n_wanted;

static const im_query_part parts[2] = {
    {.kind = IM_PART_TEXT, .text = {"red", 3}, .weight = 1},
    {.kind = IM_PART_TEXT, .text = {"a dog", 5}, .weight = 0.5},
};

static uint64_t place_of(uint64_t id)
{
    uint64_t place = id - facts[0].id;
    assert_true(place < N_ITEMS && facts[place].id == id);
    return place;
}

static im_answer ask(const im_search_request *request)
{
    im_answer answer;
    im_error err = IM_ERROR_INIT;
    im_code rc = im_app_search(library, request, &answer, &err);
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
        ranking[i] = (expected){place_of(answer.hits[i].item.id), answer.hits[i].score};
        assert_false(facts[ranking[i].item].removed);
    }
    size_t n_there = 0;
    for (size_t i = 0; i < N_ITEMS; i++) {
        n_there += !facts[i].removed;
    }
    assert_int_equal(n_ranking, n_there);
    im_answer_clear(&answer);
}

/* @param root of the filter; -1: none */
static void want(int root)
{
    bool all = root >= 0 && names_missing();
    n_wanted = 0;
    for (size_t i = 0; i < n_ranking; i++) {
        const fact *f = &facts[ranking[i].item];
        if ((all || !f->missing) && (root < 0 || meets(root, ranking[i].item))) {
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
            if (hit->item.id != facts[wanted[n].item].id ||
                (request->n_parts > 0 && hit->score != wanted[n].score)) {
                fail_msg("%s %s: hit %zu is %" PRIu64 " (%.9g), expected %" PRIu64 " (%.9g)", what,
                         request->filter, n, hit->item.id, (double)hit->score,
                         facts[wanted[n].item].id, (double)wanted[n].score);
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
static int compare_values(const fact *a, const fact *b)
{
    double x = 0;
    double y = 0;
    bool has_x = true;
    bool has_y = true;
    static const int folded[] = {4, 2, 1, 0, 3}; /* of names in any case, then as written */
    switch (sort_field) {
    case 0:
        has_x = a->taken != NONE;
        has_y = b->taken != NONE;
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
    int order = compare_values(&facts[x->item], &facts[y->item]);
    return order != 0 ? order : (x->item > y->item) - (x->item < y->item);
}

/* Keeps the first n of each category, upper and lower case alike. */
static void keep_groups(size_t n)
{
    size_t seen[6] = {0};
    size_t kept = 0;
    for (size_t i = 0; i < n_wanted; i++) {
        int category = facts[wanted[i].item].category;
        category = category == 4 ? 0 : category;
        if (seen[category + 1]++ < n) {
            wanted[kept++] = wanted[i];
        }
    }
    n_wanted = kept;
}

static size_t page_size(void)
{
    return draw(3) == 0 ? IM_LIMIT_K : 1 + n_wanted / (1 + draw(5));
}

static void check_filter(int root, const char *filter, im_combine combine)
{
    char group[32];
    im_search_request request = {
        .parts = parts, .n_parts = 2, .combine = combine, .filter = filter};
    want(root);
    request.k = page_size();
    expect_pages(&request, "ranked");

    sort_field = (int)draw(4);
    sort_sign = draw(2) == 0 ? 1 : -1;
    request.sort = sort_names[sort_field];
    request.order = sort_sign > 0 ? IM_ORDER_ASCENDING : IM_ORDER_DESCENDING;
    request.k = page_size();
    qsort(wanted, n_wanted, sizeof(*wanted), compare_sorted);
    expect_pages(&request, "sorted");
    if (draw(2) == 0 && filter != NULL) {
        request.n_parts = 0;
        expect_pages(&request, "listed");
        request.n_parts = 2;
    }

    size_t n_group = 1 + draw(40);
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
    im_store *store = im_library_store(library);
    size_t n_none = 0;
    size_t n_few = 0;
    (void)state;
    for (int round = 0; round < N_ROUNDS; round++) {
        im_str text;
        im_combine combine = (im_combine)draw(3);
        rank_all(combine);
        n_pool = 0;
        int root = round % 20 == 0 ? -1 : draw_expr(4);
        im_str_init(&text, 8192);
        if (root >= 0) {
            put_expr(&text, root);
        }
        check_filter(root, root >= 0 ? im_str_text(&text) : NULL, combine);
        want(root);
        n_none += n_wanted == 0;
        n_few += n_wanted > 0 && n_wanted < 100;
        im_str_clear(&text);
        help_ok(im_store_begin(store, &err), &err);
        for (uint32_t i = draw(round % 10 == 0 ? 2000 : 20); i > 0; i--) {
            change_one(store);
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
    help_ok(im_store_get_index(im_library_store(of), model_id, &record, &err), &err);
    return record.generation;
}

/* Damaged, missing, or of a time before: columns never change an answer. */
static void columns_are_a_cache(void **state)
{
    char *folder = library_index_folder(library, library->model.digest);
    char name[64];
    (void)state;
    rank_all(IM_COMBINE_SUM);
    n_pool = 1;
    pool[0] = (expr){.kind = TEST, .test = PRICE, .value = 50};
    want(0);
    for (int how = 0; how < 4; how++) {
        im_search_request request = {
            .parts = parts, .n_parts = 2, .filter = "price<50", .k = IM_LIMIT_K};
        (void)snprintf(name, sizeof(name), "columns.%" PRIu64, library->index_record.generation);
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
        im_library_close(library);
        library = help_open(&home, true);
        uint64_t generation = generation_of(library);
        if (how == 3) { /* met by an order first: it is mended there, and no row is made anew */
            request.filter = NULL;
            request.sort = "price";
            sort_field = 1;
            sort_sign = -1;
            want(-1);
            qsort(wanted, n_wanted, sizeof(*wanted), compare_sorted);
        }
        expect_pages(&request, "after damage");
        assert_int_equal(generation_of(library), generation);
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
        im_code rc = im_app_search(library, &request, &answer, &err);
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
    assert_int_equal(im_app_search(library, &request, &other, &err), IM_ERR_INVALID);
    request.cursor = NULL;
    page = ask(&request);
    im_free(cursor);
    cursor = im_strdup(page.cursor);
    im_answer_clear(&page);
    request.cursor = cursor;
    page = ask(&request);
    im_answer_clear(&page);
    request.order = IM_ORDER_ASCENDING;
    assert_int_equal(im_app_search(library, &request, &other, &err), IM_ERR_INVALID);
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
    help_ok(im_app_read_requests(library, im_view_from(body), "body", &asked, &err), &err);
    assert_int_equal(asked.n, 5);
    help_ok(im_app_search_many(library, &how, asked.requests, 5, answers, errors, &err), &err);
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
    print_message("seed %" PRIx64 "\n", seed);
    return cmocka_run_group_tests(tests, make_library, end_library);
}
