/* tests/query/test_request.c — covers query/request*.c: each key and what it refuses, base64,
 * several queries, what cannot be asked for yet, failing allocations (T41, T42). */
#include "base/fault.h"
#include "help_query.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants the above first */
#include <cmocka.h>

static bool is_long;

static im_code read_json(const char *json, im_query_requests *out, im_error *err)
{
    return im_query_requests_read(im_view_from(json), "body", language_fields, N_LANGUAGE_FIELDS,
                                  out, err);
}

static im_query_requests read_good(const char *json)
{
    im_query_requests requests = {0};
    im_error err = IM_ERROR_INIT;
    if (read_json(json, &requests, &err) != IM_OK) {
        fail_msg("%s: %s", json, err.message);
    }
    return requests;
}

static void assert_refused(const char *json, im_code code, const char *reason, const char *says)
{
    im_query_requests requests = {0};
    im_error err = IM_ERROR_INIT;
    size_t before = im_live_allocations();
    assert_int_equal(read_json(json, &requests, &err), code);
    if (strcmp(err.reason, reason) != 0 || strstr(err.message, says) == NULL) {
        fail_msg("%.200s: %s '%s', expected %s '%s'", json, err.reason, err.message, reason, says);
    }
    assert_null(requests.requests);
    assert_int_equal(im_live_allocations(), before);
}

static void assert_wrong(const char *json, const char *says)
{
    assert_refused(json, IM_ERR_INVALID, "query_json", says);
}

static const char *const whole =
    "{\"parts\":[{\"text\":\"- red ^2\",\"weight\":1.5},"
    "{\"image\":{\"id\":17},\"crop\":[1,\"10%\",3.5,\"50%\"],\"weight\":-0.25},"
    "{\"image\":{\"path\":\"a b.jpg\"}},{\"image\":{\"file\":\"f1\"}},"
    "{\"image\":{\"data\":\"data:image/png;base64,AQID/+8=\"}},"
    "{\"text\":\"exit 4\",\"must\":true}],"
    "\"combine\":\"sum\",\"filter\":\"taken:2019 or -tag:x\",\"k\":7,\"offset\":30,"
    "\"sort\":\"Price\",\"order\":\"asc\",\"group\":{\"field\":\"camera\",\"n\":3},"
    "\"exact\":true,\"fast\":false,\"cursor\":null,\"hybrid\":false,\"diverse\":0,"
    "\"fold\":false,\"rerank\":null,\"explain\":false,\"min_relevance\":0}";

static void every_key_is_read(void **state)
{
    (void)state;
    im_query_requests all = read_good(whole);
    assert_int_equal(all.n, 1);
    assert_false(all.several);
    const im_query_request *request = &all.requests[0];
    const im_query_part *parts = request->query.parts;
    assert_int_equal(request->query.n_parts, 6);
    assert_string_equal(parts[0].text.data, "- red ^2");
    assert_true(parts[0].weight == 1.5 && parts[1].weight == -0.25);
    assert_int_equal(parts[1].item, 17);
    assert_true(parts[1].has_box && parts[1].box.x == 1 && parts[1].box.y == 10);
    assert_true(parts[1].box.percent[1] && !parts[1].box.percent[2] && parts[1].box.w == 3.5);
    assert_string_equal(parts[2].path, "a b.jpg");
    assert_string_equal(parts[3].upload, "f1");
    assert_int_equal(parts[4].bytes.size, 5);
    assert_memory_equal(parts[4].bytes.data, "\x01\x02\x03\xff\xef", 5);
    assert_true(parts[5].must && parts[5].weight == 1);
    assert_int_equal(request->query.filter->kind, IM_FILTER_OR);
    assert_int_equal(request->combine, IM_COMBINE_SUM);
    assert_int_equal(request->k, 7);
    assert_int_equal(request->offset, 30);
    assert_string_equal(request->sort_column, "field.price");
    assert_int_equal(request->order, IM_ORDER_ASCENDING);
    assert_string_equal(request->group_column, "camera");
    assert_int_equal(request->group_n, 3);
    assert_true(request->exact && !request->fast && request->cursor == NULL);
    im_query_requests_clear(&all);
}

static void text_is_literal(void **state)
{
    (void)state;
    im_query_requests all = read_good("{\"parts\":[{\"text\":\"-tag:x \\\"(@a ^2\\u00e9\\n\"}]}");
    assert_int_equal(all.requests[0].query.n_parts, 1);
    assert_string_equal(all.requests[0].query.parts[0].text.data, "-tag:x \"(@a ^2\xc3\xa9\n");
    assert_null(all.requests[0].query.filter);
    im_query_requests_clear(&all);
}

static void what_is_left_out_has_its_default(void **state)
{
    (void)state;
    im_query_requests all =
        read_good("{\"parts\":[{\"text\":\"a\",\"weight\":-1}],\"sort\":\"score\"}");
    const im_query_request *request = &all.requests[0];
    assert_int_equal(request->k, 20);
    assert_int_equal(request->offset, 0);
    assert_int_equal(request->combine, IM_COMBINE_SUM);
    assert_null(request->sort_column);
    assert_true(request->by_score && request->query.n_parts == 1);
    assert_true(request->query.parts[0].weight == -1);
    im_query_requests_clear(&all);
    all = read_good("{\"filter\":\"type:jpeg\",\"order\":\"asc\",\"group\":{\"field\":\"taken\"}}");
    assert_int_equal(all.requests[0].query.n_parts, 0);
    assert_int_equal(all.requests[0].group_n, 1);
    im_query_requests_clear(&all);
}

static void unknown_keys_are_named_with_the_nearest(void **state)
{
    (void)state;
    assert_wrong("{\"fliter\":\"tag:x\"}", "unknown key 'fliter': the nearest is 'filter'");
    assert_wrong("{\"query\":\"x\"}", "unknown key 'query'");
    assert_wrong("{\"parts\":[{\"text\":\"a\"},{\"txt\":\"a\"}]}",
                 "unknown key 'parts[1].txt': the nearest is 'text'");
    assert_wrong("{\"parts\":[{\"image\":{\"ids\":1}}]}",
                 "unknown key 'parts[0].image.ids': the nearest is 'id'");
    assert_wrong("{\"queries\":[{\"filter\":\"tag:x\"},{\"group\":{\"name\":1}}]}",
                 "unknown key 'queries[1].group.name'");
}

static void values_of_another_type_are_refused(void **state)
{
    static const struct {
        const char *json, *says;
    } rows[] = {
        {"[]", "the query is an array, expected an object"},
        {"{\"parts\":{}}", "'parts' is an object, expected an array"},
        {"{\"parts\":[3]}", "'parts[0]' is a number, expected an object"},
        {"{\"parts\":[{}]}", "'parts[0]' has no source"},
        {"{\"parts\":[{\"text\":\"a\",\"image\":{\"id\":1}}]}", "'parts[0]' has two sources"},
        {"{\"parts\":[{\"text\":5}]}", "'parts[0].text' is a number"},
        {"{\"parts\":[{\"text\":\"a\",\"must\":1}]}", "'parts[0].must' is a number"},
        {"{\"parts\":[{\"text\":\"a\",\"weight\":\"1\"}]}", "'parts[0].weight' is a string"},
        {"{\"parts\":[{\"text\":\"a\",\"crop\":[1,2,3,4]}]}", "'parts[0].crop' belongs to a text"},
        {"{\"parts\":[{\"image\":\"a.jpg\"}]}", "'parts[0].image' is a string"},
        {"{\"parts\":[{\"image\":{}}]}", "names 0 pictures"},
        {"{\"parts\":[{\"image\":{\"id\":1,\"path\":\"a\"}}]}", "names 2 pictures"},
        {"{\"parts\":[{\"image\":{\"id\":\"17\"}}]}", "'parts[0].image.id' is a string"},
        {"{\"parts\":[{\"image\":{\"id\":-1}}]}", "'parts[0].image.id' is -1"},
        {"{\"parts\":[{\"image\":{\"path\":\"\"}}]}", "'parts[0].image.path' is empty"},
        {"{\"parts\":[{\"image\":{\"path\":\"http://x/y\"}}]}", "URLs are not fetched"},
        {"{\"parts\":[{\"image\":{\"file\":\"\"}}]}", "'parts[0].image.file' is empty"},
        {"{\"parts\":[{\"image\":{\"id\":1},\"crop\":[1,2,3]}]}",
         "'parts[0].crop' is not [x,y,w,h]"},
        {"{\"parts\":[{\"image\":{\"id\":1},\"crop\":[1,2,\"3\",4]}]}", "is not [x,y,w,h]"},
        {"{\"parts\":[{\"image\":{\"id\":1},\"must\":true}]}",
         "'parts[0].must' belongs to an image"},
        {"{\"parts\":[{\"text\":\"a\",\"weight\":-1,\"must\":true}]}", "counts against"},
        {"{\"filter\":5}", "'filter' is a number"},
        {"{\"filter\":\"tag:x\",\"combine\":\"max\"}", "is 'max', expected sum, any or all"},
        {"{\"filter\":\"tag:x\",\"combine\":1}", "'combine' is a number"},
        {"{\"filter\":\"tag:x\",\"k\":2.5}", "'k' is a number, expected a whole number"},
        {"{\"filter\":\"tag:x\",\"k\":0}", "'k' is 0, expected at least 1"},
        {"{\"filter\":\"tag:x\",\"offset\":-1}", "'offset' is -1"},
        {"{\"filter\":\"tag:x\",\"cursor\":1}", "'cursor' is a number"},
        {"{\"filter\":\"tag:x\",\"cursor\":\"c\",\"offset\":1}", "'offset' exclude"},
        {"{\"filter\":\"tag:x\",\"sort\":1}", "'sort' is a number"},
        {"{\"filter\":\"tag:x\",\"sort\":\"score\"}", "no part that gives one"},
        {"{\"filter\":\"tag:x\",\"order\":\"up\"}", "is 'up', expected asc or desc"},
        {"{\"filter\":\"tag:x\",\"order\":true}", "'order' is true or false"},
        {"{\"parts\":[{\"text\":\"a\"}],\"order\":\"asc\"}", "needs a field in 'sort'"},
        {"{\"filter\":\"tag:x\",\"group\":\"camera\"}", "'group' is a string"},
        {"{\"filter\":\"tag:x\",\"group\":{\"n\":2}}", "'group' names no field"},
        {"{\"filter\":\"tag:x\",\"exact\":1}", "'exact' is a number"},
        {"{\"filter\":\"tag:x\",\"exact\":true,\"fast\":true}", "exclude each other"},
        {"{\"queries\":[]}", "'queries' is an array, expected an array of at least one"},
        {"{\"queries\":{}}", "'queries' is an object"},
        {"{\"queries\":[{\"filter\":\"tag:x\"}],\"k\":5}", "stands beside other keys"},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        assert_wrong(rows[i].json, rows[i].says);
    }
}

static void other_reasons_keep_their_place(void **state)
{
    (void)state;
    assert_refused("{\"queries\":[{\"filter\":\"tag:x\"},{\"filter\":\"a tag:x\"}]}",
                   IM_ERR_INVALID, "query_syntax",
                   "body: 'queries[1].filter': filter expected at column 1");
    assert_refused("{\"filter\":\"colour:x\"}", IM_ERR_INVALID, "query_field",
                   "'filter': unknown field \"colour\" at column 1");
    assert_refused("{}", IM_ERR_INVALID, "query_empty", "nothing to search for");
    assert_refused("{\"parts\":[]}", IM_ERR_INVALID, "query_empty", "nothing to search for");
    assert_refused("{\"parts\":[{\"text\":\" \"}]}", IM_ERR_INVALID, "query_empty", "'parts'");
    assert_refused("{\"parts\":[{\"text\":\"a\",\"weight\":-1}],\"combine\":\"any\"}",
                   IM_ERR_INVALID, "invalid", "counts against");
    assert_refused("{\"parts\":[{\"text\":\"a\",\"weight\":0}]}", IM_ERR_INVALID, "query_weight",
                   "'parts[0].weight' is 0");
    assert_refused("{\"parts\":[{\"text\":\"a\",\"weight\":1e308}]}", IM_ERR_INVALID,
                   "query_weight", "at most 100");
    assert_refused("{\"parts\":[{\"image\":{\"id\":1},\"crop\":[0,0,0,1]}]}", IM_ERR_INVALID,
                   "query_box", "'parts[0].crop': box without area");
    assert_refused("{\"parts\":[{\"image\":{\"id\":1},\"crop\":[\"50%\",0,\"90%\",1]}]}",
                   IM_ERR_INVALID, "query_box", "outside the picture");
    assert_refused("{\"filter\":\"tag:x\",\"sort\":\"prize\"}", IM_ERR_INVALID, "query_field",
                   "'sort': 'prize' is no field to sort or group by: the nearest is 'price'");
    assert_refused("{\"filter\":\"tag:x\",\"sort\":\"tag\"}", IM_ERR_INVALID, "query_field",
                   "no field to sort");
    assert_refused("{\"filter\":\"tag:x\",\"k\":10001}", IM_ERR_INVALID, "query_json",
                   "the limit is 10000");
    assert_refused("{\"filter\":\"tag:x\",\"offset\":999999,\"k\":2}", IM_ERR_INVALID, "query_json",
                   "the limit is 1000000");
    assert_refused("{\"parts\"", IM_ERR_INVALID, "query_json", "body");
    assert_refused("{\"k\":1,\"k\":2}", IM_ERR_INVALID, "query_json", "body");
}

static void what_cannot_be_asked_for_yet_is_refused(void **state)
{
    static const char *const asks[] = {"\"hybrid\":true",       "\"diverse\":0.3",
                                       "\"fold\":true",         "\"explain\":true",
                                       "\"min_relevance\":0.5", "\"explain\":\"yes\""};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(asks); i++) {
        char json[120];
        snprintf(json, sizeof(json), "{\"filter\":\"tag:x\",%s}", asks[i]);
        assert_refused(json, IM_ERR_UNSUPPORTED, "unsupported", "cannot do yet");
    }
}

static void rerank_is_for_the_best_hits(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t n;
    } good[] = {{"{}", 20}, {"{\"n\":7}", 7}, {"{\"n\":100}", 100}, {"false", 0}, {"null", 0}};
    char json[160];
    for (size_t i = 0; i < IM_COUNT(good); i++) {
        snprintf(json, sizeof(json), "{\"parts\":[{\"text\":\"a\"}],\"rerank\":%s}", good[i].json);
        im_query_requests all = read_good(json);
        assert_int_equal(all.requests[0].rerank, good[i].n);
        im_query_requests_clear(&all);
    }
    assert_wrong("{\"parts\":[{\"text\":\"a\"}],\"rerank\":true}", "an object with n");
    assert_wrong("{\"parts\":[{\"text\":\"a\"}],\"rerank\":{\"top\":5}}", "'rerank.top'");
    assert_wrong("{\"parts\":[{\"text\":\"a\"}],\"rerank\":{\"n\":0}}", "'rerank.n'");
    assert_wrong("{\"parts\":[{\"text\":\"a\"}],\"rerank\":{\"n\":101}}", "'rerank.n'");
    static const char *const against[] = {"\"sort\":\"taken\"", "\"offset\":3",
                                          "\"group\":{\"field\":\"camera\"}", "\"cursor\":\"x\""};
    for (size_t i = 0; i < IM_COUNT(against); i++) {
        snprintf(json, sizeof(json), "{\"parts\":[{\"text\":\"a\"}],\"rerank\":{},%s}", against[i]);
        assert_wrong(json, "by score");
    }
    assert_wrong("{\"filter\":\"tag:x\",\"rerank\":{}}", "listing");
}

/* A picture of these letters; NULL when they are refused. */
static char *data_of(const char *letters, size_t *out_size, im_error *err)
{
    char json[400];
    im_query_requests requests = {0};
    char *copy = NULL;
    snprintf(json, sizeof(json), "{\"parts\":[{\"image\":{\"data\":\"%s\"}}]}", letters);
    if (read_json(json, &requests, err) == IM_OK) {
        *out_size = requests.requests[0].query.parts[0].bytes.size;
        copy = malloc(*out_size + 1);
        memcpy(copy, requests.requests[0].query.parts[0].bytes.data, *out_size);
    }
    im_query_requests_clear(&requests);
    return copy;
}

static void base64_is_what_the_writer_gives(void **state)
{
    (void)state;
    for (size_t n = 1; n < 100; n++) {
        char bytes[100];
        im_str letters;
        im_error err = IM_ERROR_INIT;
        size_t size = 0;
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (char)(i * 151 + n * 7);
        }
        im_str_init(&letters, 1000);
        im_text_base64(&letters, bytes, n);
        char *found = data_of(im_str_text(&letters), &size, &err);
        assert_non_null(found);
        assert_int_equal(size, n);
        assert_memory_equal(found, bytes, n);
        free(found);
        /* each letter in turn is bad */
        for (size_t i = 0; i < letters.size; i++) {
            char says[64];
            char kept = letters.data[i];
            letters.data[i] = i + 2 < letters.size && i % 2 == 0 ? '=' : '-';
            assert_null(data_of(letters.data, &size, &err));
            snprintf(says, sizeof(says), "is not base64 at offset %zu", i);
            bool padding = kept == '='; /* then it may be the letter before that is the first */
            if (!padding && strstr(err.message, says) == NULL) {
                fail_msg("%s: '%s', expected '%s'", letters.data, err.message, says);
            }
            letters.data[i] = kept;
        }
        im_str_clear(&letters);
    }
}

static void base64_is_strict(void **state)
{
    static const struct {
        const char *letters, *says;
    } rows[] = {
        {"", "cut short"},
        {"AQI", "cut short: 3 letters"},
        {"AQ ID", "at offset 2"},
        {"AQID\\n", "at offset 4"},
        {"AQ_D", "at offset 2"},
        {"AR==", "at offset 1"},
        {"AQJ=", "at offset 2"},
        {"====", "at offset 0"},
        {"A===", "at offset 1"},
        {"AQ==AQ==", "at offset 2"},
        {"data:image/png,AQID", "data URI without base64"},
        {"data:image/png;base64", "data URI without base64"},
        {"data:image/png;base64,AQ!D", "at offset 24"},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_error err = IM_ERROR_INIT;
        size_t size = 0;
        assert_null(data_of(rows[i].letters, &size, &err));
        assert_int_equal(err.code, IM_ERR_INVALID);
        if (strstr(err.message, rows[i].says) == NULL) {
            fail_msg("'%s': %s, expected '%s'", rows[i].letters, err.message, rows[i].says);
        }
    }
}

/* "before" + n letters A + "after"; the caller's. */
static char *stretched(const char *before, size_t n, const char *after, size_t *out_size)
{
    *out_size = strlen(before) + n + strlen(after);
    char *json = malloc(*out_size + 1);
    if (json != NULL) {
        memcpy(json, before, strlen(before));
        memset(json + strlen(before), 'A', n);
        memcpy(json + strlen(before) + n, after, strlen(after) + 1);
    }
    return json;
}

static void data_and_lists_beyond_a_limit_are_refused(void **state)
{
    im_query_requests requests = {0};
    im_error err = IM_ERROR_INIT;
    size_t size = 0;
    (void)state;
    char *json = stretched("{\"parts\":[{\"text\":\"", IM_LIMIT_QUERY_BYTES + 1, "\"}]}", &size);
    assert_refused(json, IM_ERR_LIMIT, "query_too_long", "'parts': text of part 1");
    free(json);
    json =
        stretched("{\"parts\":[{\"image\":{\"path\":\"", IM_LIMIT_PATH_BYTES + 1, "\"}}]}", &size);
    assert_refused(json, IM_ERR_LIMIT, "path_too_long", "'parts[0].image.path'");
    free(json);
    im_str list;
    im_str_init(&list, 1u << 20);
    im_str_add_c(&list, "{\"queries\":[");
    for (size_t i = 0; i <= IM_LIMIT_QUERIES; i++) {
        im_str_add_c(&list, i > 0 ? ",{\"filter\":\"tag:x\"}" : "{\"filter\":\"tag:x\"}");
    }
    im_str_add_c(&list, "]}");
    im_query_requests_clear(&requests);
    assert_int_equal(read_json(im_str_text(&list), &requests, &err), IM_ERR_LIMIT);
    assert_non_null(strstr(err.message, "'queries' has 1025 elements, the limit is 1024"));
    im_str_reset(&list);
    im_str_add_c(&list, "{\"parts\":[");
    for (size_t i = 0; i <= IM_LIMIT_QUERY_PARTS; i++) {
        im_str_add_c(&list, i > 0 ? ",{\"text\":\"a\"}" : "{\"text\":\"a\"}");
    }
    im_str_add_c(&list, "]}");
    assert_int_equal(read_json(im_str_text(&list), &requests, &err), IM_ERR_LIMIT);
    assert_non_null(strstr(err.message, "'parts' has 65 elements, the limit is 64"));
    im_str_clear(&list);
}

/* 400 MB of letters, several times in memory: --long only. */
static void a_picture_beyond_the_limit_is_refused(void **state)
{
    im_query_requests requests = {0};
    im_error err = IM_ERROR_INIT;
    size_t size = 0;
    (void)state;
    if (!is_long) {
        skip();
    }
    char *json = stretched("{\"parts\":[{\"image\":{\"data\":\"", 400u << 20, "\"}}]}", &size);
    assert_non_null(json);
    assert_int_equal(
        im_query_requests_read(im_view_of(json, size), "body", NULL, 0, &requests, &err),
        IM_ERR_LIMIT);
    assert_string_equal(err.reason, "file_too_large");
    free(json);
}

static void several_queries_keep_their_order(void **state)
{
    (void)state;
    im_query_requests all =
        read_good("{\"queries\":[{\"parts\":[{\"text\":\"a\"}],\"k\":1},"
                  "{\"filter\":\"tag:x\",\"k\":2},"
                  "{\"parts\":[{\"text\":\"b\"}],\"combine\":\"all\",\"k\":3}]}");
    assert_true(all.several);
    assert_int_equal(all.n, 3);
    for (size_t i = 0; i < all.n; i++) {
        assert_int_equal(all.requests[i].k, i + 1);
    }
    assert_int_equal(all.requests[2].combine, IM_COMBINE_ALL);
    im_query_requests_clear(&all);
    all = read_good("{\"queries\":[{\"filter\":\"tag:x\"}]}");
    assert_true(all.several && all.n == 1);
    im_query_requests_clear(&all);
}

static void columns_to_sort_by_are_found_in_any_case(void **state)
{
    static const struct {
        const char *name, *column;
    } rows[] = {{"Taken", "taken"},
                {"bytes", "bytes"},
                {"PRICE", "field.price"},
                {"shot_1", "field.Shot_1"},
                {"category", "field.category"},
                {"near", NULL},
                {"path", NULL},
                {"", NULL},
                {"score", NULL}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        char *column = NULL;
        im_code rc =
            im_query_column(rows[i].name, language_fields, N_LANGUAGE_FIELDS, &column, NULL);
        assert_int_equal(rc, rows[i].column != NULL ? IM_OK : IM_ERR_INVALID);
        assert_true(same_text(column, rows[i].column));
        im_free(column);
    }
}

static void reading_survives_each_failed_allocation(void **state)
{
    static const char *const several =
        "{\"queries\":[{\"parts\":[{\"text\":\"a\"}]},{\"filter\":\"tag:x\",\"cursor\":\"c\"},"
        "{\"fliter\":1}]}";
    (void)state;
    for (int i = 0; i < 2; i++) {
        size_t before = im_live_allocations();
        im_code rc = IM_ERR_NOMEM;
        for (size_t nth = 0; rc == IM_ERR_NOMEM; nth++) {
            im_query_requests requests = {0};
            im_error err = IM_ERROR_INIT;
            im_fault_set(IM_FAULT_ALLOC, nth, 0);
            rc = read_json(i == 0 ? whole : several, &requests, &err);
            assert_int_equal(rc == IM_ERR_NOMEM, im_fault_fired(IM_FAULT_ALLOC));
            im_fault_clear();
            assert_true(rc == IM_OK || requests.requests == NULL);
            im_query_requests_clear(&requests);
            assert_int_equal(im_live_allocations(), before);
        }
        assert_int_equal(rc, i == 0 ? IM_OK : IM_ERR_INVALID);
    }
}

int main(int argc, char **argv)
{
    is_long = argc > 1 && strcmp(argv[1], "--long") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(text_is_literal),
        cmocka_unit_test(what_is_left_out_has_its_default),
        cmocka_unit_test(unknown_keys_are_named_with_the_nearest),
        cmocka_unit_test(values_of_another_type_are_refused),
        cmocka_unit_test(other_reasons_keep_their_place),
        cmocka_unit_test(what_cannot_be_asked_for_yet_is_refused),
        cmocka_unit_test(rerank_is_for_the_best_hits),
        cmocka_unit_test(base64_is_what_the_writer_gives),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(data_and_lists_beyond_a_limit_are_refused),
        cmocka_unit_test(a_picture_beyond_the_limit_is_refused),
        cmocka_unit_test(several_queries_keep_their_order),
        cmocka_unit_test(columns_to_sort_by_are_found_in_any_case),
        cmocka_unit_test(reading_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
