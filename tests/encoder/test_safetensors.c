/* tests/encoder/test_safetensors.c — covers encoder/safetensors.c, safetensors_header.c and
 * model_files.c: T28 to T30 and T33 of weights files that lie. */
#include "help.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static im_code open_weights(const char *folder, im_error *err)
{
    weights *w = NULL;
    im_code rc = weights_open(folder, &w, err);
    weights_close(w);
    return rc;
}

/* ---- T28 ---- */

static void a_length_word_that_lies_is_refused_at_once(void **state)
{
    static const struct {
        uint64_t length;
        const char *shown;
    } cases[] = {{0, "header of 0 bytes"},
                 {1, "header of 1 bytes"},
                 {11, "header of 11 bytes"},
                 {(100ull << 20) + 1, "header of 104857601 bytes"},
                 {1ull << 63, "header of 9223372036854775808 bytes"},
                 {UINT64_MAX - 7, "header of 18446744073709551608 bytes"},
                 {UINT64_MAX, "header of 18446744073709551615 bytes"}};
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_error err = IM_ERROR_INIT;
        write_raw_weights(folder, cases[i].length, "{}        ", 10); /* a file of 18 bytes */
        uint64_t start = im_clock_ns();
        memory_start();
        im_code rc = open_weights(folder, &err);
        check_time(cases[i].shown, start, 50);
        assert_true(TEST_SANITIZED || memory_peak() < 1u << 20);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", "model.safetensors",
                       cases[i].shown, "file of 18", NULL);
    }
    remove_folder(folder);
}

static void a_header_above_its_limit_is_refused_though_the_file_is_that_long(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    char path[128];
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    write_raw_weights(folder, (100ull << 20) + 1, "{}", 2);
    (void)snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    assert_int_equal(truncate(path, 200 << 20), 0); /* a hole: no room is taken */
    uint64_t start = im_clock_ns();
    im_code rc = open_weights(folder, &err);
    check_time("a header of 100 MB + 1", start, 50);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", "header of 104857601",
                   "file of 209715200", "104857600", NULL);
    remove_folder(folder);
}

static void a_file_too_short_for_its_length_word_is_refused(void **state)
{
    static const char *const shown[] = {"file of 0 bytes", "file of 7 bytes"};
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    for (size_t i = 0; i < 2; i++) {
        im_error err = IM_ERROR_INIT;
        write_file(folder, "model.safetensors", "\2\0\0\0\0\0\0", i * 7);
        uint64_t start = im_clock_ns();
        im_code rc = open_weights(folder, &err);
        check_time(shown[i], start, 50);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", "model.safetensors", shown[i],
                       "at least 8", NULL);
    }
    remove_folder(folder);
}

/* ---- T29, T30: small headers ---- */

typedef struct header_case {
    const char *header;
    size_t data_bytes;
    const char *reason; /* NULL: accepted */
    const char *named[3];
} header_case;

#define TENSOR(dtype, shape, from, to) \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static const header_case headers[] = {
    {"{}", 0, NULL, {0}},
    {"  { }  \n", 0, NULL, {0}},
    {"{\"a\":" TENSOR("F32", "[2]", "0", "8") "}", 8, NULL, {0}},
    {"{\"a\":" TENSOR("F32", "[]", "0", "4") "}   ", 4, NULL, {0}},
    {"{\"a\":" TENSOR("F32", "[3,0]", "0", "0") ",\"b\":" TENSOR("F16", "[2]", "0", "4") "}",
     4,
     NULL,
     {0}},
    {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":" TENSOR("I64", "[1]", "0", "8") "}",
     8,
     NULL,
     {0}},
    {"{\"\\u0061\\\"]}\":" TENSOR("BF16", "[1]", "0", "2") "}", 2, NULL, {0}},
    /* offsets */
    {"{\"a\":" TENSOR("F32", "[2]", "8", "0") "}",
     8,
     "model_weights",
     {"'a'", "[8, 0]", "8 bytes"}},
    {"{\"a\":" TENSOR("F32", "[2]", "-8", "0") "}", 8, "model_weights", {"'a'", "[-8, 0]"}},
    {"{\"a\":" TENSOR("F32", "[3]", "0", "12") "}",
     8,
     "model_weights",
     {"'a'", "[0, 12]", "8 bytes"}},
    {"{\"a\":" TENSOR("F32", "[2]", "9223372036854775800", "9223372036854775807") "}",
     8,
     "model_weights",
     {"'a'", "9223372036854775807"}},
    {"{\"a\":" TENSOR("F32", "[2]", "0", "9223372036854775808") "}",
     8,
     "model_weights",
     {"too big", "header byte"}},
    {"{\"a\":" TENSOR("F32", "[2]", "0", "8.0") "}", 8, "model_weights", {"'a'", "data_offsets"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}",
     8,
     "model_weights",
     {"'a'", "data_offsets"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "model_weights", {"'a'", "data_offsets"}},
    {"{\"a\":" TENSOR("F32", "[2]", "0", "8") ",\"b\":" TENSOR("F32", "[2]", "4", "12") "}",
     12,
     "model_weights",
     {"'b'", "byte 4", "overlaps"}},
    {"{\"a\":" TENSOR("F32", "[1]", "0", "4") ",\"b\":" TENSOR("F32", "[1]", "8", "12") "}",
     12,
     "model_weights",
     {"'b'", "byte 8", "gap"}},
    {"{\"a\":" TENSOR("F32", "[1]", "4", "8") "}", 8, "model_weights", {"'a'", "gap"}},
    {"{\"a\":" TENSOR("F32", "[1]", "0", "4") "}", 9, "model_weights", {"5 bytes behind", "'a'"}},
    {"{}", 1, "model_weights", {"1 bytes behind"}},
    /* shapes */
    {"{\"a\":" TENSOR("F32", "[3]", "0", "8") "}",
     8,
     "model_weights",
     {"'a'", "8 bytes", "need 12"}},
    {"{\"a\":" TENSOR("F16", "[2]", "0", "8") "}", 8, "model_weights", {"'a'", "F16", "need 4"}},
    {"{\"a\":" TENSOR("F32", "[4294967296,4294967296]", "0", "0") "}",
     0,
     "model_weights",
     {"'a'", "overflows"}},
    {"{\"a\":" TENSOR("F32", "[2147483648,2147483648]", "0", "0") "}",
     0,
     "model_weights",
     {"'a'", "overflow"}},
    {"{\"a\":" TENSOR("F32", "[-1]", "0", "4") "}", 4, "model_weights", {"'a'", "side"}},
    {"{\"a\":" TENSOR("F32", "[\"1\"]", "0", "4") "}", 4, "model_weights", {"'a'", "side"}},
    {"{\"a\":" TENSOR("F32", "1", "0", "4") "}", 4, "model_weights", {"'a'", "shape"}},
    {"{\"a\":" TENSOR("F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}",
     4,
     "model_weights",
     {"'a'", "9 dimensions", "at most 8"}},
    /* types and names */
    {"{\"a\":" TENSOR("F4X", "[2]", "0", "8") "}", 8, "model_tensor", {"'a'", "F4X", "BF16"}},
    {"{\"a\":" TENSOR("f32", "[2]", "0", "8") "}", 8, "model_tensor", {"'a'", "f32"}},
    {"{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "model_tensor", {"'a'"}},
    {"{\"a\":7}", 0, "model_tensor", {"'a'"}},
    {"{\"a\":" TENSOR("F32", "[1]", "0", "4") ",\"a\":" TENSOR("F32", "[1]", "4", "8") "}",
     8,
     "model_weights",
     {"'a'", "twice"}},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]}}",
     8,
     "model_weights",
     {"duplicate", "dtype"}},
    {"{\"__metadata__\":{\"n\":7}}", 0, "model_weights", {"__metadata__"}},
    {"{\"__metadata__\":[]}", 0, "model_weights", {"__metadata__"}},
    /* what is no JSON */
    {"[]", 0, "model_weights", {"header byte 0", "object"}},
    {"12", 0, "model_weights", {"header byte 0", "object"}},
    {"{\"a\":NaN}", 0, "model_weights", {"header byte 5", "NaN"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e999],\"data_offsets\":[0,4]}}",
     4,
     "model_weights",
     {"1e999"}},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]],\"data_offsets\":[0,4]}}",
     4,
     "model_weights",
     {"header byte 5"}},
    {"{\"a\" " TENSOR("F32", "[1]", "0", "4") "}", 4, "model_weights", {"header byte 5", "':'"}},
    {"{\"a\":" TENSOR("F32", "[1]", "0", "4"), 4, "model_weights", {"expected ',' or '}'"}},
    {"{\"a\":" TENSOR("F32", "[1]", "0", "4") ",}", 4, "model_weights", {"name"}},
    {"{\"a\":" TENSOR("F32", "[1]", "0", "4") "} x", 4, "model_weights", {"behind"}},
    {"{\"a\":" TENSOR("F32", "[1]", "0", "4") "}{}", 4, "model_weights", {"behind"}},
    {"{a:1}", 0, "model_weights", {"header byte 1", "name"}},
    {"{\"a", 0, "model_weights", {"header byte 1", "does not end"}},
    {"{\"a\\", 0, "model_weights", {"header byte 1", "does not end"}},
    {"{\"\\u0000\":1}", 0, "model_weights", {"header byte 1"}},
    {"{\"\xff\":1}", 0, "model_weights", {"0xff", "UTF-8"}},
    {"\xff\xff\xff\xff", 0, "model_weights", {"header byte 0"}},
    {"{\"a\":\xff}", 0, "model_weights", {"0xff"}},
};

static void each_header_gets_its_verdict_and_a_sentence_that_names_the_place(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    for (size_t i = 0; i < IM_COUNT(headers); i++) {
        const header_case *c = &headers[i];
        im_error err = IM_ERROR_INIT;
        write_weights(folder, c->header, c->data_bytes);
        uint64_t start = im_clock_ns();
        im_code rc = open_weights(folder, &err);
        check_time(c->header, start, 50);
        if (c->reason == NULL && rc != IM_OK) {
            fail_msg("%s: %s", c->header, err.message);
        }
        if (c->reason != NULL) {
            assert_refused(rc, &err, IM_ERR_FORMAT, c->reason, "model.safetensors", c->named[0],
                           c->named[1], c->named[2], NULL);
            assert_int_equal(open_weights(folder, NULL), rc);
        }
    }
    remove_folder(folder);
}

static void sixty_five_dimensions_are_counted_and_refused(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    char header[512] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1";
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    for (size_t i = 1; i < 65; i++) {
        (void)snprintf(header + strlen(header), 3, ",1");
    }
    (void)snprintf(header + strlen(header), 40, "],\"data_offsets\":[0,4]}}");
    write_weights(folder, header, 4);
    im_code rc = open_weights(folder, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", "'a'", "65 dimensions", NULL);
    remove_folder(folder);
}

/* ---- T30: large headers, each within 2 s and 256 MiB ---- */

static void check_large(const char *folder, const im_str *header, size_t data_bytes,
                        const char *named)
{
    im_error err = IM_ERROR_INIT;
    assert_false(header->failed);
    write_weights(folder, header->data, data_bytes);
    memory_start();
    uint64_t start = im_clock_ns();
    im_code rc = open_weights(folder, &err);
    check_time(named != NULL ? named : "a large sound header", start, 2000);
    assert_true(TEST_SANITIZED || memory_peak() < 256u << 20);
    if (named == NULL) {
        assert_string_equal(err.message, "");
        assert_int_equal(rc, IM_OK);
    } else {
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", "model.safetensors", named, NULL);
    }
}

static void add_tensors(im_str *header, size_t n)
{
    im_str_reset(header);
    im_str_add_char(header, '{');
    for (size_t i = 0; i < n; i++) {
        im_str_addf(header,
                    "%s\"t%07zu\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                    i > 0 ? "," : "", i, 4 * i, 4 * i + 4);
    }
    im_str_add_char(header, '}');
}

static void fill_header(im_str *header, const char *head, const char *each, size_t n,
                        const char *tail)
{
    im_str_reset(header);
    im_str_add_c(header, head);
    for (size_t i = 0; i < n; i++) {
        im_str_add_c(header, each);
    }
    im_str_add_c(header, tail);
}

static void large_headers_cost_neither_time_nor_memory(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    im_str header;
    (void)state;
    temporary_folder(folder);
    im_str_init(&header, 110u << 20);
    fill_header(&header, "", "[", 100000, "");
    check_large(folder, &header, 0, "64 levels");
    fill_header(&header, "{\"a\":", "[", 100000, "}");
    check_large(folder, &header, 0, "64 levels");
    fill_header(&header, "{\"a\":", "{\"a\":", 100000, "}");
    check_large(folder, &header, 0, "64 levels");
    fill_header(&header, "{\"", "0123456789abcdef", 1u << 16, "\":1}"); /* a name of 1 MB */
    check_large(folder, &header, 0, "1048578 bytes of one name");
    fill_header(&header, "{\"a\":[", "[],", 30u << 20, "0]}"); /* 90 MB of lists */
    check_large(folder, &header, 0, "of one name or entry");
    fill_header(&header, "{\"__metadata__\":{\"", "a\":\"\",\"a", 300000, "\":\"\"}}");
    check_large(folder, &header, 0, "of one name or entry");
    fill_header(&header, "{\"__metadata__\":{\"a\":[", "[],", 500000, "0]}}");
    check_large(folder, &header, 0, "__metadata__");
    fill_header(&header, "", "          ", 10u << 20, "");
    check_large(folder, &header, 0, "expected a JSON object");
    fill_header(&header, "{\"a\":\"", "\\\"", 40u << 20, "");
    check_large(folder, &header, 0, "does not end");
    add_tensors(&header, 1000000);
    check_large(folder, &header, 4000000, "100000 tensors");
    add_tensors(&header, 100000); /* the limit itself is sound */
    check_large(folder, &header, 400000, NULL);
    im_str_clear(&header);
    remove_folder(folder);
}

/* ---- T33: shards and links ---- */

#define INDEX "model.safetensors.index.json"
#define SHARD "model-00001-of-00002.safetensors"

static void shard_names_that_are_no_plain_weights_names_are_refused(void **state)
{
    static const char *const names[] = {
        "../../etc/passwd",      "/etc/passwd", "model-../../x.safetensors",
        "model-a/b.safetensors", "..",          "",
        "config.json",           "model-.txt",  "weights.safetensors"};
    char folder[HELP_FOLDER_BYTES];
    char text[300];
    (void)state;
    temporary_folder(folder);
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        im_error err = IM_ERROR_INIT;
        (void)snprintf(text, sizeof(text), "{\"weight_map\":{\"a.b\":\"%s\"}}", names[i]);
        write_text(folder, INDEX, text);
        im_code rc = open_weights(folder, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", INDEX, names[i], "'a.b'", NULL);
    }
    remove_folder(folder);
}

static void an_index_that_is_wrong_is_refused(void **state)
{
    static const struct {
        const char *text, *named;
    } cases[] = {{"{}", "weight_map"},
                 {"[]", "weight_map"},
                 {"{\"weight_map\":{}}", "weight_map"},
                 {"{\"weight_map\":[\"a\"]}", "weight_map"},
                 {"{\"weight_map\":{\"a\":7}}", "'a'"},
                 {"{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}", "duplicate"},
                 {"{\"weight_map\":", "line 1"},
                 {"", "empty"}};
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_error err = IM_ERROR_INIT;
        write_text(folder, INDEX, cases[i].text);
        im_code rc = open_weights(folder, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", INDEX, cases[i].named, NULL);
    }
    remove_folder(folder);
}

static void a_shard_that_is_missing_is_named(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    write_text(folder, INDEX, "{\"weight_map\":{\"a\":\"" SHARD "\"}}");
    im_code rc = open_weights(folder, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", folder, SHARD, "'a'", NULL);
    remove_file(folder, INDEX);
    rc = open_weights(folder, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", folder, INDEX, NULL);
    assert_non_null(strstr(err.hint, "pickled"));
    remove_folder(folder);
}

static void a_tensor_in_two_shards_is_refused(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    copy_model(folder, "bf16-sharded");
    assert_int_equal(open_weights(folder, &err), IM_OK);
    im_bytes first = read_file(folder, SHARD);
    write_file(folder, "model-00002-of-00002.safetensors", first.data, first.size);
    im_bytes_clear(&first);
    im_code rc = open_weights(folder, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", "of-00002.safetensors", "twice", NULL);
    remove_folder(folder);
}

static void too_many_shards_are_refused(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    char name[64];
    im_error err = IM_ERROR_INIT;
    im_str index;
    (void)state;
    temporary_folder(folder);
    im_str_init(&index, 1u << 20);
    im_str_add_c(&index, "{\"weight_map\":{");
    for (size_t i = 0; i < 600; i++) {
        (void)snprintf(name, sizeof(name), "model-%zu.safetensors", i);
        write_file(folder, name, "\2\0\0\0\0\0\0\0{}", 10);
        im_str_addf(&index, "%s\"t%zu\":\"%s\"", i > 0 ? "," : "", i, name);
    }
    im_str_add_c(&index, "}}");
    write_text(folder, INDEX, index.data);
    im_code rc = open_weights(folder, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", INDEX, "512 shards", NULL);
    im_str_clear(&index);
    remove_folder(folder);
}

/* models--x/snapshots/REVISION/name -> ../../blobs/DIGEST, as huggingface_hub lays it. */
static void links_of_a_hugging_face_cache_work(void **state)
{
    static const char *const folders[] = {"blobs", "blobs2", "snapshots", "snapshots/0123abc"};
    char base[HELP_FOLDER_BYTES];
    char *paths[4];
    im_encoder *encoder = NULL;
    im_model_file *files = NULL;
    char digest[65];
    size_t n = 0;
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(base);
    for (size_t i = 0; i < 4; i++) {
        paths[i] = path_in(base, folders[i]);
        assert_int_equal(mkdir(paths[i], 0777), 0);
    }
    const char *folder = paths[3];
    copy_model(paths[0], F32_MODEL);
    copy_model(paths[1], F32_MODEL);
    assert_int_equal(im_encoder_files(paths[0], &files, &n, NULL), IM_OK);
    for (size_t i = 0; i < n; i++) {
        char *target = path_in("../../blobs", files[i].name);
        link_to(target, folder, files[i].name);
        im_free(target);
    }
    im_free(files);
    im_code rc = im_encoder_open(folder, NULL, &encoder, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(rc, IM_OK);
    im_encoder_close(encoder);
    assert_int_equal(im_encoder_digest(folder, digest, NULL), IM_OK);
    link_to("../../blobs2/model.safetensors", folder, "model.safetensors"); /* beside the blobs */
    rc = im_encoder_open(folder, NULL, &encoder, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", "'model.safetensors'",
                   "/blobs2/model.safetensors", "outside", NULL);
    rc = im_encoder_digest(folder, digest, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", "outside", NULL);
    for (size_t i = 0; i < 4; i++) {
        im_free(paths[i]);
    }
    remove_folder(base);
}

static void links_within_the_folder_work_and_others_do_not(void **state)
{
    static const char *const names[] = {"config.json", "preprocessor_config.json", "merges.txt",
                                        "vocab.json", "model.safetensors"};
    char folder[HELP_FOLDER_BYTES];
    char inner[128];
    char target[1024];
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    (void)snprintf(inner, sizeof(inner), "%s/inner", folder);
    assert_int_equal(mkdir(inner, 0777), 0);
    copy_model(inner, F32_MODEL);
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        (void)snprintf(target, sizeof(target), "inner/%s", names[i]);
        link_to(target, folder, names[i]);
    }
    assert_int_equal(im_encoder_open(folder, NULL, &encoder, NULL), IM_OK);
    im_encoder_close(encoder);
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        static const char *const outside[] = {"/etc/passwd", "../../../../../../../../etc/passwd",
                                              "/dev/zero", "../not-there", "inner"};
        for (size_t j = 0; j < IM_COUNT(outside); j++) {
            link_to(outside[j], folder, names[i]);
            im_code rc = im_encoder_open(folder, NULL, &encoder, &err);
            if (j == 4) { /* inside, but a folder */
                assert_refused(rc, &err, IM_ERR_FORMAT, "not_a_regular_file", names[i], NULL);
                continue;
            }
            assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", names[i],
                           j == 3 ? "not there" : "outside", NULL);
        }
        (void)snprintf(target, sizeof(target), "inner/%s", names[i]);
        link_to(target, folder, names[i]);
    }
    link_to("model.safetensors", folder, "model.safetensors"); /* onto itself */
    im_code rc = im_encoder_open(folder, NULL, &encoder, &err);
    assert_int_equal(rc, IM_ERR_IO);
    assert_non_null(strstr(err.message, "model.safetensors"));
    remove_folder(folder);
}

/* ---- values ---- */

static void halves_become_the_floats_they_are(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    weights *w = NULL;
    const tensor *t = NULL;
    static float values[65536];
    static const uint64_t shape[1] = {65536};
    static const char f16[] = "{\"a\":" TENSOR("F16", "[65536]", "0", "131072") "}";
    static const char bf16[] = "{\"a\":" TENSOR("BF16", "[65536]", "0", "131072") "}";
    static char rest[sizeof(bf16) + 131072];
    (void)state;
    temporary_folder(folder);
    for (size_t kind = 0; kind < 2; kind++) {
        const char *header = kind == 0 ? f16 : bf16;
        size_t n = strlen(header);
        memcpy(rest, header, n);
        for (size_t i = 0; i < 65536; i++) {
            rest[n + 2 * i] = (char)(i & 255);
            rest[n + 2 * i + 1] = (char)(i >> 8);
        }
        write_raw_weights(folder, n, rest, n + 131072);
        assert_int_equal(weights_open(folder, &w, NULL), IM_OK);
        assert_string_equal(weights_dtype(w), kind == 0 ? "F16" : "BF16");
        assert_int_equal(weights_find(w, "a", 1, shape, &t, NULL), IM_OK);
        tensor_read(t, 0, 65536, values);
        for (uint32_t i = 0; i < 65536; i++) {
            uint32_t bits = 0;
            double exponent = kind == 0 ? (double)(i >> 10 & 31) : 0;
            double expected =
                exponent == 0 ? ldexp(i & 1023, -24) : ldexp(1024 + (i & 1023), (int)exponent - 25);
            memcpy(&bits, &values[i], 4);
            if (kind == 1) {
                assert_int_equal(bits, i << 16);
            } else if (exponent == 31) {
                assert_true((i & 1023) == 0 ? isinf(values[i]) : isnan(values[i]));
            } else {
                assert_true((double)fabsf(values[i]) == expected);
                assert_int_equal(bits >> 31, i >> 15);
            }
        }
        weights_close(w);
    }
    remove_folder(folder);
}

static void a_tensor_of_another_shape_or_type_is_named_with_both(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    weights *w = NULL;
    const tensor *t = NULL;
    im_error err = IM_ERROR_INIT;
    uint64_t shape[2] = {2, 3};
    (void)state;
    temporary_folder(folder);
    write_weights(folder,
                  "{\"a\":" TENSOR("F32", "[3,2]", "0", "24") ",\"b\":" TENSOR("I32", "[2,3]", "24",
                                                                               "48") "}",
                  48);
    assert_int_equal(weights_open(folder, &w, NULL), IM_OK);
    im_code rc = weights_find(w, "a", 2, shape, &t, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_tensor", "model.safetensors", "'a'", "[3, 2]",
                   "[2, 3]", NULL);
    rc = weights_find(w, "a", 1, shape, &t, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_tensor", "'a'", "[3, 2]", "[2]", NULL);
    rc = weights_find(w, "b", 2, shape, &t, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_tensor", "'b'", "F32", NULL);
    rc = weights_find(w, "c", 2, shape, &t, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_tensor", "model.safetensors", "'c'", "missing",
                   NULL);
    weights_close(w);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_word_that_lies_is_refused_at_once),
        cmocka_unit_test(a_header_above_its_limit_is_refused_though_the_file_is_that_long),
        cmocka_unit_test(a_file_too_short_for_its_length_word_is_refused),
        cmocka_unit_test(each_header_gets_its_verdict_and_a_sentence_that_names_the_place),
        cmocka_unit_test(sixty_five_dimensions_are_counted_and_refused),
        cmocka_unit_test(large_headers_cost_neither_time_nor_memory),
        cmocka_unit_test(shard_names_that_are_no_plain_weights_names_are_refused),
        cmocka_unit_test(an_index_that_is_wrong_is_refused),
        cmocka_unit_test(a_shard_that_is_missing_is_named),
        cmocka_unit_test(a_tensor_in_two_shards_is_refused),
        cmocka_unit_test(too_many_shards_are_refused),
        cmocka_unit_test(links_of_a_hugging_face_cache_work),
        cmocka_unit_test(links_within_the_folder_work_and_others_do_not),
        cmocka_unit_test(halves_become_the_floats_they_are),
        cmocka_unit_test(a_tensor_of_another_shape_or_type_is_named_with_both),
    };
    return cmocka_run_group_tests_name("encoder safetensors", tests, NULL, NULL);
}
