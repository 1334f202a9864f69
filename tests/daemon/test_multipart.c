/* tests/daemon/test_multipart.c — covers daemon/http_multipart.c and http_range.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "daemon/http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"

static http_parts parts;
static im_error error;

static im_code read_bytes(const char *data, size_t size)
{
    error = (im_error)IM_ERROR_INIT;
    return http_multipart_read(im_view_of(data, size), "b", &parts, &error);
}

/* A copy that ends where the bytes end, so that a read behind them is seen. */
static im_code read_text(const char *text)
{
    size_t size = strlen(text);
    char *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    im_code rc = read_bytes(copy, size);
    free(copy);
    return rc;
}

static void refused(const char *text)
{
    im_code rc = read_text(text);
    if (rc != IM_ERR_INVALID) {
        print_error("'%s' gives %d\n", text, (int)rc);
    }
    assert_int_equal(rc, IM_ERR_INVALID);
    assert_string_equal(error.reason, "http_multipart");
    assert_true(error.message[0] != '\0');
}

static void a_body_is_taken_apart(void **state)
{
    (void)state;
    const char *text =
        "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n"
        "Content-Type: application/json\r\n\r\n{}\r\n"
        "--b\r\ncontent-disposition:form-data ;filename=\"../../etc/x\"; name=pic\r\n"
        "Content-Transfer-Encoding: binary\r\nX-Any: thing\r\n\r\n\r\n--\r\n\r\n--c\r\n"
        "--b\r\n" NAMED("empty") "\r\n--b--\r\n";
    assert_int_equal(read_bytes(text, strlen(text)), IM_OK);
    assert_int_equal(parts.n, 3);
    assert_true(im_view_equal_c(parts.list[0].name, "query"));
    assert_true(im_view_equal_c(parts.list[0].content_type, "application/json"));
    assert_true(im_view_equal_c(parts.list[0].data, "{}"));
    assert_null(parts.list[0].file_name.data);
    assert_true(im_view_equal_c(parts.list[1].name, "pic"));
    assert_true(im_view_equal_c(parts.list[1].file_name, "../../etc/x"));
    assert_true(im_view_equal_c(parts.list[1].data, "\r\n--\r\n\r\n--c"));
    assert_int_equal(parts.list[2].data.size, 0);
    assert_ptr_equal(http_part_of(&parts, im_view_from("pic")), &parts.list[1]);
    assert_null(http_part_of(&parts, im_view_from("pi")));
}

/* Every prefix is a body that was cut: nothing of it may be taken. */
static void each_prefix_is_refused(void **state)
{
    (void)state;
    const char *text = "--b\r\n" NAMED("a") "one\r\n--b\r\n" NAMED("c") "two\r\n--b--";
    assert_int_equal(read_text(text), IM_OK);
    for (size_t n = 0; n < strlen(text); n++) {
        char *copy = malloc(n > 0 ? n : 1);
        assert_non_null(copy);
        memcpy(copy, text, n);
        assert_int_equal(read_bytes(copy, n), IM_ERR_INVALID);
        free(copy);
    }
}

static void what_is_not_plain_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "--b--\r\n",
        "--b\r\n--b--\r\n",
        "preamble\r\n--b\r\n" NAMED("a") "x\r\n--b--\r\n",
        "--b\r\n" NAMED("a") "x\r\n--b--\r\nmore",
        "--b\r\n" NAMED("a") "x\r\n--b--\r\n\r\n",
        "--b\n" NAMED("a") "x\r\n--b--\r\n",
        "--b \r\n" NAMED("a") "x\r\n--b--\r\n",
        "--b\r\n" NAMED("a") "x\r\n--bb\r\n" NAMED("c") "x\r\n--b--\r\n",
        "--b\r\n" NAMED("a") "x\n--b--\r\n",
        "--b\r\n" NAMED("a") "x\r\n--b\r\n" NAMED("a") "y\r\n--b--\r\n",
        "--b\r\n" NAMED("") "x\r\n--b--\r\n",
        "--b\r\n" NAMED("a\\\"b") "x\r\n--b--\r\n",
        "--b\r\n" NAMED("\xff") "x\r\n--b--\r\n",
        "--b\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"a\" x\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"a\";\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"a\"; "
        "filename=\"a\rb\"\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Disposition : form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n",
        "--b\r\n: form-data; name=\"a\"\r\n\r\nx\r\n--b--\r\n",
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n" NAMED("a") "x\r\n--b--\r\n",
        "--b\r\nContent-Transfer-Encoding: base64\r\n" NAMED("a") "x\r\n--b--\r\n",
        "--b\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n" NAMED("a") "x\r\n--b--\r\n",
    };
    for (size_t i = 0; i < IM_COUNT(texts); i++) {
        refused(texts[i]);
    }
    static const char nul[] =
        "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x\0.png\"\r\n\r\nx\r\n--b--";
    assert_int_equal(read_bytes(nul, sizeof(nul) - 1), IM_ERR_INVALID);
}

static void parts_and_their_heads_have_limits(void **state)
{
    (void)state;
    im_str text;
    im_str_init(&text, 64u << 20);
    for (unsigned n = 0; n < HTTP_MOST_PARTS; n++) {
        im_str_addf(&text, "--b\r\nContent-Disposition: form-data; name=\"p%u\"\r\n\r\nx\r\n", n);
    }
    size_t size = text.size;
    im_str_add_c(&text, "--b--\r\n");
    assert_int_equal(read_bytes(text.data, text.size), IM_OK);
    assert_int_equal(parts.n, HTTP_MOST_PARTS);
    text.size = size;
    im_str_add_c(&text, "--b\r\n" NAMED("more") "x\r\n--b--\r\n");
    assert_int_equal(read_bytes(text.data, text.size), IM_ERR_INVALID);
    assert_non_null(strstr(error.message, "64 parts"));
    im_str_reset(&text);
    im_str_add_c(&text, "--b\r\nX: ");
    for (unsigned n = 0; n < (10u << 20); n++) {
        im_str_add_char(&text, 'x');
    }
    im_str_add_c(&text, "\r\n" NAMED("a") "x\r\n--b--\r\n");
    assert_int_equal(read_bytes(text.data, text.size), IM_ERR_INVALID);
    assert_non_null(strstr(error.message, "4096"));
    im_str_clear(&text);
}

static void boundaries_are_read_strictly(void **state)
{
    (void)state;
    char out[HTTP_BOUNDARY_BYTES + 1];
    char text[6000];
    static const struct {
        const char *type, *boundary; /* NULL: refused */
    } rows[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"multipart/form-data;boundary=\"a b:c\"; charset=utf-8", "a b:c"},
        {"multipart/form-data ; charset=utf-8; BOUNDARY=----WebKit'()+_,-./:=?",
         "----WebKit'()+_,-./:=?"},
        {"multipart/form-data", NULL},
        {"multipart/form-data;", NULL},
        {"multipart/form-data; boundary", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"", NULL},
        {"multipart/form-data; boundary=\"\"", NULL},
        {"multipart/form-data; boundary=\"a\\\"", NULL},
        {"multipart/form-data; boundary=\"a\"b", NULL},
        {"multipart/form-data; boundary=\"a \"", NULL},
        {"multipart/form-data; boundary=a@b", NULL},
        {"multipart/form-data; boundary=a; boundary=a", NULL},
        {"multipart/form-data, boundary=a", NULL},
    };
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_code rc = http_boundary_read(im_view_from(rows[i].type), out, NULL);
        assert_int_equal(rc, rows[i].boundary != NULL ? IM_OK : IM_ERR_INVALID);
        if (rc == IM_OK) {
            assert_string_equal(out, rows[i].boundary);
        }
    }
    static const size_t sizes[] = {69, 70, 71, 5000};
    static const char head[] = "multipart/form-data; boundary=";
    for (size_t i = 0; i < IM_COUNT(sizes); i++) {
        memcpy(text, head, sizeof(head) - 1);
        memset(text + sizeof(head) - 1, 'x', sizes[i]);
        text[sizeof(head) - 1 + sizes[i]] = '\0';
        assert_int_equal(http_boundary_read(im_view_from(text), out, NULL),
                         sizes[i] <= HTTP_BOUNDARY_BYTES ? IM_OK : IM_ERR_INVALID);
    }
}

/* ---- ranges ---- */

static void ranges_are_those_of_rfc_9110(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
        http_range found;
        uint64_t at, n;
    } rows[] = {
        {"bytes=0-0", 10, HTTP_RANGE_PART, 0, 1},
        {"BYTES=2-5", 10, HTTP_RANGE_PART, 2, 4},
        {"bytes=2-", 10, HTTP_RANGE_PART, 2, 8},
        {"bytes=2-99", 10, HTTP_RANGE_PART, 2, 8},
        {"bytes=9-99999999999999999999", 10, HTTP_RANGE_PART, 9, 1},
        {"bytes=-3", 10, HTTP_RANGE_PART, 7, 3},
        {"bytes=-99999999999999999999", 10, HTTP_RANGE_PART, 0, 10},
        {"bytes=-0", 10, HTTP_RANGE_OUTSIDE, 0, 0},
        {"bytes=10-", 10, HTTP_RANGE_OUTSIDE, 0, 0},
        {"bytes=99999999999999999999-", 10, HTTP_RANGE_OUTSIDE, 0, 0},
        {"bytes=0-", 0, HTTP_RANGE_OUTSIDE, 0, 0},
        {"bytes=-1", 0, HTTP_RANGE_OUTSIDE, 0, 0},
        {"bytes=5-2", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=0-0,1-1", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=-", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=a-b", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=1-2x", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"items=0-1", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"", 10, HTTP_RANGE_WHOLE, 0, 0},
    };
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        uint64_t at = 0;
        uint64_t n = 0;
        assert_int_equal(http_range_read(im_view_from(rows[i].text), rows[i].size, &at, &n),
                         rows[i].found);
        assert_int_equal(at, rows[i].at);
        assert_int_equal(n, rows[i].n);
        assert_true(at + n <= rows[i].size);
    }
}

static void tags_are_found_in_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool found;
    } rows[] = {
        {"\"abc\"", true},
        {"W/\"abc\"", true},
        {"\"x\", \"abc\"", true},
        {"*", true},
        {"\"x\",W/\"abc\"", true},
        {"\"abcd\"", false},
        {"abc", false},
        {"\"abc", false},
        {"", false},
        {"\"x\" junk \"abc\"", false},
        {"W/", false},
        {"W", false},
        {"\"", false},
        {"\"\"", false},
    };
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        assert_int_equal(http_etag_listed(im_view_from(rows[i].text), "\"abc\""), rows[i].found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_is_taken_apart),
        cmocka_unit_test(each_prefix_is_refused),
        cmocka_unit_test(what_is_not_plain_is_refused),
        cmocka_unit_test(parts_and_their_heads_have_limits),
        cmocka_unit_test(boundaries_are_read_strictly),
        cmocka_unit_test(ranges_are_those_of_rfc_9110),
        cmocka_unit_test(tags_are_found_in_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
