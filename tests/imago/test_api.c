/* The public C API: arguments, errors as values, a library from making it to searching it, threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "imago/imago.h"
#include "tests/help_folder.h"
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#define SAMPLE(name) IMAGO_SOURCE_DIR "/data/sample/" name

static const char *const pictures[] = {
    SAMPLE("animals/bee-on-aster.jpg"),
    SAMPLE("animals/butterfly.jpg"),
    SAMPLE("animals/cheetah.jpg"),
};
#define N_PICTURES (sizeof(pictures) / sizeof(pictures[0]))

typedef struct fixture {
    char folder[HELP_FOLDER_BYTES];
    char library[HELP_FOLDER_BYTES + 16];
} fixture;

static int make_library(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    imago_library *library = NULL;
    imago_error error;
    assert_non_null(f);
    assert_non_null(help_temporary(f->folder));
    (void)snprintf(f->library, sizeof(f->library), "%s/library", f->folder);
    assert_int_equal(setenv("IMAGO_DATA", IMAGO_SOURCE_DIR "/data", 1), 0);
    assert_int_equal(setenv("XDG_DATA_HOME", f->folder, 1), 0);
    assert_int_equal(setenv("XDG_CACHE_HOME", f->folder, 1), 0);
    imago_code code = imago_library_open(f->library, IMAGO_CREATE, NULL, &library, &error);
    if (code != IMAGO_OK) {
        print_error("%s\n", error.message);
    }
    assert_int_equal(code, IMAGO_OK);
    imago_add_report report = IMAGO_ADD_REPORT_INIT;
    code = imago_library_add(library, pictures, N_PICTURES, NULL, NULL, &report, &error);
    if (code != IMAGO_OK) {
        print_error("%s\n", error.message);
    }
    assert_int_equal(code, IMAGO_OK);
    assert_int_equal(report.added, N_PICTURES);
    imago_library_close(library);
    *state = f;
    return 0;
}

static int drop_library(void **state)
{
    fixture *f = *state;
    int status = help_remove_folder(f->folder);
    free(f);
    return status;
}

static imago_library *open_library(const fixture *f, unsigned flags)
{
    imago_library *library = NULL;
    imago_error error;
    assert_int_equal(imago_library_open(f->library, flags, NULL, &library, &error), IMAGO_OK);
    return library;
}

static void version_is_that_of_the_header(void **state)
{
    (void)state;
    assert_string_equal(imago_version(), IMAGO_VERSION);
    assert_int_equal(imago_version_number(), IMAGO_VERSION_NUMBER);
    assert_string_equal(imago_code_name(IMAGO_ERR_FORMAT), "IMAGO_ERR_FORMAT");
    assert_string_equal(imago_code_name(IMAGO_OK), "IMAGO_OK");
    assert_string_equal(imago_code_name((imago_code)99), "IMAGO_ERR_INTERNAL");
}

static void wrong_arguments_are_refused_with_a_sentence(void **state)
{
    imago_library *library = NULL;
    imago_query *query = NULL;
    imago_answer *answer = NULL;
    imago_error error;
    double bad[] = {0, (double)NAN, (double)INFINITY, -(double)INFINITY, 100.5, -101};
    (void)state;
    assert_int_equal(imago_library_open("/x", 99, NULL, &library, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_library_open("/x", IMAGO_CREATE | IMAGO_READ_ONLY, NULL, &library, NULL),
                     IMAGO_ERR_INVALID);
    imago_open_options sizeless = {0};
    assert_int_equal(imago_library_open("/x", 0, &sizeless, &library, &error), IMAGO_ERR_INVALID);
    assert_non_null(strstr(error.message, "IMAGO_OPEN_OPTIONS_INIT"));
    assert_null(library);
    assert_int_equal(imago_query_new(&query, &error), IMAGO_OK);
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_int_equal(imago_query_add_text(query, "a", 1, bad[i], &error), IMAGO_ERR_INVALID);
        assert_non_null(strstr(error.message, "weight"));
    }
    assert_int_equal(imago_query_add_text(query, NULL, 0, 1, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_query_add_item(query, 0, 1, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_query_add_picture_bytes(query, "", 0, 1, &error), IMAGO_ERR_FORMAT);
    assert_string_equal(error.reason, "picture_empty");
    assert_int_equal(imago_query_set_page(query, 0, 0, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_query_set_page(query, 10001, 0, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_query_set_page(query, 1, 1000000, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_query_set_page(query, 1, UINT64_MAX, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_query_set_page(query, 1, 999999, &error), IMAGO_OK);
    assert_int_equal(imago_query_set_combine(query, (imago_combine)7, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_search(NULL, query, &answer, &error), IMAGO_ERR_INVALID);
    imago_query_free(query);
    imago_query_free(NULL);
    imago_answer_free(NULL);
    imago_library_close(NULL);
    imago_embeddings_free(NULL);
    imago_free(NULL);
}

static void a_query_holds_64_parts_of_8_KiB_each(void **state)
{
    static char text[8193];
    imago_query *query = NULL;
    imago_error error;
    (void)state;
    memset(text, 'a', sizeof(text));
    assert_int_equal(imago_query_new(&query, &error), IMAGO_OK);
    assert_int_equal(imago_query_add_text(query, text, 8193, 1, &error), IMAGO_ERR_LIMIT);
    assert_string_equal(error.reason, "query_too_long");
    for (int i = 0; i < 64; i++) {
        assert_int_equal(imago_query_add_text(query, text, 8192, 1, &error), IMAGO_OK);
    }
    assert_int_equal(imago_query_add_text(query, "b", IMAGO_WHOLE, 1, &error), IMAGO_ERR_LIMIT);
    imago_query_free(query);
    assert_int_equal(im_live_allocations(), 0);
}

static void a_missing_library_is_said_to_be_missing(void **state)
{
    fixture *f = *state;
    char folder[128];
    imago_library *library = NULL;
    imago_error error;
    (void)snprintf(folder, sizeof(folder), "%s/none", f->folder);
    assert_int_equal(imago_library_open(folder, 0, NULL, &library, &error), IMAGO_ERR_NOT_FOUND);
    assert_string_equal(error.reason, "library_not_found");
    assert_int_equal(error.code, IMAGO_ERR_NOT_FOUND);
    assert_null(library);
    assert_int_equal(access(folder, F_OK), -1);
}

static void a_read_only_library_takes_no_pictures(void **state)
{
    imago_library *library = open_library(*state, IMAGO_READ_ONLY);
    imago_error error;
    assert_int_equal(imago_library_add(library, pictures, 1, NULL, NULL, NULL, &error),
                     IMAGO_ERR_INVALID);
    assert_non_null(strstr(error.message, "IMAGO_READ_ONLY"));
    imago_library_close(library);
}

static void a_picture_finds_itself_first_by_file_bytes_and_item(void **state)
{
    imago_library *library = open_library(*state, IMAGO_READ_ONLY);
    imago_error error;
    for (size_t i = 0; i < N_PICTURES; i++) {
        im_bytes bytes = {0};
        uint64_t item = 0;
        assert_int_equal(im_file_read(pictures[i], 1u << 24, &bytes, NULL), IM_OK);
        for (int kind = 0; kind < 3; kind++) {
            imago_query *query = NULL;
            imago_answer *answer = NULL;
            assert_int_equal(imago_query_new(&query, &error), IMAGO_OK);
            imago_code code =
                kind == 0 ? imago_query_add_picture_file(query, pictures[i], 1, &error)
                : kind == 1
                    ? imago_query_add_picture_bytes(query, bytes.data, bytes.size, 1, &error)
                    : imago_query_add_item(query, item, 1, &error);
            assert_int_equal(code, IMAGO_OK);
            assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_OK);
            assert_int_equal(imago_answer_n_hits(answer), N_PICTURES);
            const imago_hit *hit = imago_answer_hit(answer, 0);
            assert_string_equal(hit->path, pictures[i]);
            assert_int_equal(hit->rank, 1);
            assert_true(hit->has_cosine && hit->cosine > 0.9999 && hit->online);
            assert_true(hit->width > 0 && hit->height > 0);
            assert_true(hit->score >= imago_answer_hit(answer, 1)->score);
            assert_null(imago_answer_hit(answer, N_PICTURES));
            item = hit->item;
            imago_answer_free(answer);
            imago_query_free(query);
        }
        im_bytes_clear(&bytes);
    }
    imago_library_close(library);
}

static void an_answer_is_json_too(void **state)
{
    imago_library *library = open_library(*state, IMAGO_READ_ONLY);
    imago_query *query = NULL;
    imago_answer *answer = NULL;
    imago_error error;
    json_t *root = NULL;
    char *status = NULL;
    assert_int_equal(imago_query_new(&query, &error), IMAGO_OK);
    assert_int_equal(imago_query_add_text(query, "a butterfly", IMAGO_WHOLE, 1, &error), IMAGO_OK);
    assert_int_equal(imago_query_add_text(query, "a cat", IMAGO_WHOLE, -0.5, &error), IMAGO_OK);
    assert_int_equal(imago_query_set_page(query, 2, 0, &error), IMAGO_OK);
    assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_OK);
    assert_false(imago_answer_hit(answer, 0)->has_cosine);
    const char *json = imago_answer_json(answer);
    assert_int_equal(im_json_parse(json, strlen(json), "answer", &root, NULL), IM_OK);
    assert_int_equal(json_array_size(json_object_get(root, "hits")), 2);
    json_decref(root);
    assert_int_equal(imago_library_status(library, &status, &error), IMAGO_OK);
    assert_int_equal(im_json_parse(status, strlen(status), "status", &root, NULL), IM_OK);
    json_decref(root);
    imago_free(status);
    imago_answer_free(answer);
    imago_query_free(query);
    imago_library_close(library);
}

static void an_empty_query_is_refused(void **state)
{
    imago_library *library = open_library(*state, IMAGO_READ_ONLY);
    imago_query *query = NULL;
    imago_answer *answer = NULL;
    imago_error error;
    assert_int_equal(imago_query_new(&query, &error), IMAGO_OK);
    assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_ERR_INVALID);
    assert_string_equal(error.reason, "query_empty");
    assert_int_equal(imago_query_add_text(query, " \t ", IMAGO_WHOLE, 1, &error), IMAGO_OK);
    assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_ERR_INVALID);
    assert_string_equal(error.reason, "query_empty");
    assert_null(answer);
    imago_query_free(query);
    imago_library_close(library);
}

/* Words in the query language, filters, orders and pages: checked by the search, not before. */
static void words_filters_and_orders_are_asked_together(void **state)
{
    imago_library *library = open_library(*state, IMAGO_READ_ONLY);
    imago_query *query = NULL;
    imago_answer *answer = NULL;
    imago_error error;
    assert_int_equal(imago_query_new(&query, &error), IMAGO_OK);
    assert_int_equal(imago_query_set_words(query, "butterfly ^2 -night width>0", &error), IMAGO_OK);
    assert_int_equal(imago_query_set_filter(query, "bytes:1..", &error), IMAGO_OK);
    assert_int_equal(imago_query_set_page(query, 1, 0, &error), IMAGO_OK);
    assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_OK);
    assert_int_equal(imago_answer_n_hits(answer), 1);
    uint64_t first = imago_answer_hit(answer, 0)->item;
    assert_non_null(imago_answer_cursor(answer));
    assert_int_equal(imago_query_set_cursor(query, imago_answer_cursor(answer), &error), IMAGO_OK);
    imago_answer_free(answer);
    assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_OK);
    assert_true(imago_answer_hit(answer, 0)->item != first);
    imago_answer_free(answer);
    answer = NULL;
    assert_int_equal(imago_query_set_sort(query, "bytes", IMAGO_ORDER_ASCENDING, &error), IMAGO_OK);
    assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_query_set_cursor(query, NULL, &error), IMAGO_OK);
    assert_int_equal(imago_query_set_words(query, NULL, &error), IMAGO_OK);
    assert_int_equal(imago_query_set_group(query, "type", &error), IMAGO_OK);
    assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_OK);
    assert_int_equal(imago_answer_n_hits(answer), 1);
    imago_answer_free(answer);
    answer = NULL;
    assert_int_equal(imago_query_set_filter(query, "colour:red", &error), IMAGO_OK);
    assert_int_equal(imago_search(library, query, &answer, &error), IMAGO_ERR_INVALID);
    assert_string_equal(error.reason, "query_field");
    assert_int_equal(imago_query_set_sort(query, "x", (imago_order)9, &error), IMAGO_ERR_INVALID);
    imago_query_free(query);
    imago_library_close(library);
}

static void embeddings_are_unit_rows_and_failures_have_their_own_error(void **state)
{
    imago_library *library = open_library(*state, IMAGO_READ_ONLY);
    imago_embeddings *rows = NULL;
    imago_error error;
    im_bytes bytes = {0};
    assert_int_equal(im_file_read(pictures[1], 1u << 24, &bytes, NULL), IM_OK);
    imago_input inputs[] = {{.text = "a butterfly"},
                            {.path = pictures[1]},
                            {.bytes = bytes.data, .n_bytes = bytes.size},
                            {.path = "/nowhere.jpg"}};
    assert_int_equal(imago_embed(library, inputs, 3, &rows, &error), IMAGO_OK);
    assert_int_equal(rows->n, 3);
    for (size_t i = 0; i < 3; i++) {
        double square = 0;
        for (size_t j = 0; j < rows->dim; j++) {
            square += pow((double)rows->vectors[i * rows->dim + j], 2);
        }
        assert_true(fabs(square - 1) < 1e-4);
        assert_int_equal(rows->errors[i].code, IMAGO_OK);
    }
    assert_memory_equal(rows->vectors + rows->dim, rows->vectors + 2 * rows->dim,
                        rows->dim * sizeof(float)); /* a file and its bytes are the same */
    imago_embeddings_free(rows);
    rows = NULL;
    assert_int_equal(imago_embed(library, inputs, 4, &rows, &error), IMAGO_ERR_PARTIAL);
    assert_int_equal(rows->errors[3].code, IMAGO_ERR_NOT_FOUND);
    assert_true(rows->vectors[3 * rows->dim] == 0.0f);
    imago_embeddings_free(rows);
    rows = NULL;
    assert_int_equal(imago_embed(library, inputs + 3, 1, &rows, &error), IMAGO_ERR_NOT_FOUND);
    assert_null(rows);
    imago_input both = {.text = "a", .path = "b"};
    assert_int_equal(imago_embed(library, &both, 1, &rows, &error), IMAGO_ERR_INVALID);
    im_bytes_clear(&bytes);
    imago_library_close(library);
}

static void count_failures(void *context, const imago_progress *progress)
{
    size_t *failures = context;
    if (progress->path != NULL) {
        assert_non_null(progress->failure);
        assert_true(progress->failure->message[0] != '\0');
        (*failures)++;
    }
}

static void files_that_fail_are_named_through_the_callback(void **state)
{
    fixture *f = *state;
    imago_library *library = open_library(f, 0);
    imago_error error;
    imago_add_report report = IMAGO_ADD_REPORT_INIT;
    size_t failures = 0;
    char bad[128];
    (void)snprintf(bad, sizeof(bad), "%s/bad.jpg", f->folder);
    FILE *file = fopen(bad, "w");
    assert_non_null(file);
    (void)fputs("no picture", file);
    assert_int_equal(fclose(file), 0);
    const char *paths[] = {pictures[0], bad};
    assert_int_equal(
        imago_library_add(library, paths, 2, count_failures, &failures, &report, &error),
        IMAGO_ERR_PARTIAL);
    assert_int_equal(failures, 1);
    assert_int_equal(report.failed, 1);
    assert_int_equal(report.unchanged, 1);
    imago_library_close(library);
}

#define N_THREADS 4

static void *search_often(void *context)
{
    imago_library *library = context;
    size_t bad = 0;
    for (int i = 0; i < 8; i++) {
        imago_query *query = NULL;
        imago_answer *answer = NULL;
        const char *picture = pictures[(size_t)i % N_PICTURES];
        bool ok = imago_query_new(&query, NULL) == IMAGO_OK &&
                  imago_query_add_picture_file(query, picture, 1, NULL) == IMAGO_OK &&
                  imago_search(library, query, &answer, NULL) == IMAGO_OK &&
                  strcmp(imago_answer_hit(answer, 0)->path, picture) == 0;
        bad += ok ? 0 : 1;
        imago_answer_free(answer);
        imago_query_free(query);
    }
    return (void *)(uintptr_t)bad; /* cmocka's asserts belong to the main thread */
}

static void one_handle_serves_several_threads(void **state)
{
    imago_library *library = open_library(*state, IMAGO_READ_ONLY);
    pthread_t threads[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, search_often, library), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        void *bad = NULL;
        assert_int_equal(pthread_join(threads[i], &bad), 0);
        assert_null(bad);
    }
    imago_library_close(library);
}

static void searching_survives_each_failed_allocation(void **state)
{
    fixture *f = *state;
    imago_code code = IMAGO_ERR_NOMEM;
    size_t nth = 0;
    for (; code != IMAGO_OK; nth += 1 + nth / 16) {
        imago_library *library = NULL;
        imago_query *query = NULL;
        imago_answer *answer = NULL;
        imago_error error = {0};
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        code = imago_library_open(f->library, IMAGO_READ_ONLY, NULL, &library, &error);
        if (code == IMAGO_OK) {
            code = imago_query_new(&query, &error);
        }
        if (code == IMAGO_OK) {
            code = imago_query_add_text(query, "a", 1, 1, &error);
        }
        if (code == IMAGO_OK) {
            code = imago_search(library, query, &answer, &error);
        }
        bool fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        if (code != IMAGO_OK && code != IMAGO_ERR_NOMEM) {
            print_error("allocation %zu: %s\n", nth, error.message);
        }
        assert_true(code == IMAGO_OK || (fired && code == IMAGO_ERR_NOMEM));
        imago_answer_free(answer);
        imago_query_free(query);
        imago_library_close(library);
        assert_int_equal(im_live_allocations(), 0);
    }
    assert_true(nth > 10);
}

static imago_library *second_library(const fixture *f)
{
    char folder[128];
    imago_library *library = NULL;
    imago_error error;
    (void)snprintf(folder, sizeof(folder), "%s/second", f->folder);
    assert_int_equal(imago_library_open(folder, IMAGO_CREATE, NULL, &library, &error), IMAGO_OK);
    assert_int_equal(imago_library_add(library, pictures, N_PICTURES, NULL, NULL, NULL, &error),
                     IMAGO_OK);
    return library;
}

static void expect_in_json(imago_library *library, uint64_t item, const char *part)
{
    char *json = NULL;
    assert_int_equal(imago_item_json(library, item, &json, NULL), IMAGO_OK);
    if (strstr(json, part) == NULL) {
        print_error("%s\nis not in %s\n", part, json);
    }
    assert_non_null(strstr(json, part));
    imago_free(json);
}

static void fields_keys_and_tags_are_set_found_and_taken_away(void **state)
{
    imago_library *library = second_library(*state);
    imago_error error;
    uint64_t item = 0;
    const imago_value price = {.type = IMAGO_VALUE_NUMBER, .number = 12.5};
    const imago_value day = {.type = IMAGO_VALUE_DATE, .text = "2024-05"};
    const imago_value note = {.type = IMAGO_VALUE_TEXT, .text = "caf\xc3\xa9"};
    const imago_value no = {.type = IMAGO_VALUE_BOOL};
    assert_int_equal(imago_item_set_field(library, 1, "price", &price, &error), IMAGO_OK);
    assert_int_equal(imago_item_set_field(library, 1, "since", &day, &error), IMAGO_OK);
    assert_int_equal(imago_item_set_field(library, 1, "note", &note, &error), IMAGO_OK);
    assert_int_equal(imago_item_set_field(library, 1, "sold", &no, &error), IMAGO_OK);
    expect_in_json(library, 1,
                   "\"fields\":{\"note\":\"caf\xc3\xa9\",\"price\":12.5,\"since\":\"2024-05-01\","
                   "\"sold\":false}");
    assert_int_equal(imago_item_set_field(library, 2, "Price", &note, &error), IMAGO_ERR_INVALID);
    assert_string_equal(error.reason, "field_type");
    assert_int_equal(imago_item_set_field(library, 1, "taken", &note, &error), IMAGO_ERR_INVALID);
    assert_string_equal(error.reason, "field_name");
    const imago_value bad[] = {{.type = IMAGO_VALUE_NUMBER, .number = (double)NAN},
                               {.type = IMAGO_VALUE_DATE, .text = "yesterday"},
                               {.type = IMAGO_VALUE_TEXT},
                               {.type = (imago_value_type)9}};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_int_equal(imago_item_set_field(library, 1, "x", &bad[i], &error), IMAGO_ERR_INVALID);
        assert_string_equal(error.reason, "field_value");
    }
    assert_int_equal(imago_item_drop_field(library, 1, "SINCE", &error), IMAGO_OK);
    assert_int_equal(imago_item_drop_field(library, 1, "since", &error), IMAGO_ERR_NOT_FOUND);
    assert_int_equal(imago_item_set_field(library, 99, "price", &price, &error),
                     IMAGO_ERR_NOT_FOUND);
    assert_string_equal(error.reason, "item_not_found");

    uint64_t replaced = 7;
    assert_int_equal(imago_item_set_key(library, 1, "sku-1", &replaced, &error), IMAGO_OK);
    assert_int_equal(replaced, 0);
    assert_int_equal(imago_library_find_key(library, "sku-1", &item, &error), IMAGO_OK);
    assert_int_equal(item, 1);
    assert_int_equal(imago_item_set_key(library, 2, "sku-1", &replaced, &error), IMAGO_OK);
    assert_int_equal(replaced, 1);
    assert_int_equal(imago_item_set_key(library, 2, NULL, NULL, &error), IMAGO_OK);
    assert_int_equal(imago_library_find_key(library, "sku-1", &item, &error), IMAGO_OK);
    assert_int_equal(item, 0);
    assert_int_equal(imago_item_set_key(library, 2, "", NULL, &error), IMAGO_ERR_INVALID);

    assert_int_equal(imago_item_add_tag(library, 2, "Beach", &error), IMAGO_OK);
    assert_int_equal(imago_item_add_tag(library, 2, "beach", &error), IMAGO_OK);
    expect_in_json(library, 2, "\"tags\":[\"Beach\"]");
    assert_int_equal(imago_item_add_tag(library, 2, " x", &error), IMAGO_ERR_INVALID);
    assert_string_equal(error.reason, "tag_invalid");
    assert_int_equal(imago_item_remove_tag(library, 2, "BEACH", &error), IMAGO_OK);
    assert_int_equal(imago_item_remove_tag(library, 2, "beach", &error), IMAGO_ERR_NOT_FOUND);
    assert_int_equal(imago_item_set_field(library, 2, NULL, &price, &error), IMAGO_ERR_INVALID);
    assert_int_equal(imago_item_set_field(NULL, 2, "a", &price, &error), IMAGO_ERR_INVALID);
    imago_library_close(library);

    library = open_library(*state, IMAGO_READ_ONLY);
    assert_int_equal(imago_item_add_tag(library, 2, "a", &error), IMAGO_ERR_INVALID);
    assert_non_null(strstr(error.message, "IMAGO_READ_ONLY"));
    assert_int_equal(imago_library_find_key(library, "none", &item, &error), IMAGO_OK);
    imago_library_close(library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_is_that_of_the_header),
        cmocka_unit_test(wrong_arguments_are_refused_with_a_sentence),
        cmocka_unit_test(a_query_holds_64_parts_of_8_KiB_each),
        cmocka_unit_test(a_missing_library_is_said_to_be_missing),
        cmocka_unit_test(a_read_only_library_takes_no_pictures),
        cmocka_unit_test(a_picture_finds_itself_first_by_file_bytes_and_item),
        cmocka_unit_test(an_answer_is_json_too),
        cmocka_unit_test(an_empty_query_is_refused),
        cmocka_unit_test(words_filters_and_orders_are_asked_together),
        cmocka_unit_test(embeddings_are_unit_rows_and_failures_have_their_own_error),
        cmocka_unit_test(files_that_fail_are_named_through_the_callback),
        cmocka_unit_test(fields_keys_and_tags_are_set_found_and_taken_away),
        cmocka_unit_test(one_handle_serves_several_threads),
        cmocka_unit_test(searching_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_library, drop_library);
}
