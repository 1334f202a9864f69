/* tests/daemon/test_http.c — covers daemon/http_head.c and http_body.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"
#include "daemon/http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST "Host: localhost\r\n"

static http_head head;
static http_fault fault;

static http_state read_bytes(const char *data, size_t size)
{
    memset(&head, 0, sizeof(head));
    memset(&fault, 0, sizeof(fault));
    return http_head_read(im_view_of(data, size), &head, &fault);
}

static void expect_status(const char *text, int status)
{
    http_state state = read_bytes(text, strlen(text));
    int got = state == HTTP_REFUSED ? fault.status : state == HTTP_READY ? 200 : 0;
    if (got != status) {
        print_error("'%s' gives %d '%s', expected %d\n", text, got, fault.error.message, status);
    }
    assert_int_equal(got, status);
    assert_true(state != HTTP_REFUSED || fault.error.message[0] != '\0');
}

static void a_head_is_taken_apart(void **state)
{
    (void)state;
    const char *text = "POST /v1/search?q=a%20b HTTP/1.1\r\nhOsT:  localhost:7070 \r\n"
                       "Content-Type:\tapplication/json; charset=utf-8\r\ncontent-length: 007\r\n"
                       "Expect: 100-Continue\r\nConnection: foo, Close\r\nX: \xc3\xa4\r\n\r\nrest";
    assert_int_equal(read_bytes(text, strlen(text)), HTTP_READY);
    assert_int_equal(head.method, HTTP_POST);
    assert_true(im_view_equal_c(head.path, "/v1/search"));
    assert_true(im_view_equal_c(head.query, "q=a%20b"));
    assert_true(im_view_equal_c(head.host, "localhost"));
    assert_true(im_view_equal_c(head.content_type, "application/json; charset=utf-8"));
    assert_true(head.has_length && head.length == 7 && !head.chunked);
    assert_true(head.expects_continue && head.close);
    assert_int_equal(head.size, strlen(text) - 4);
}

static void events_are_wanted_when_they_are_named(void **state)
{
    static const struct {
        const char *headers;
        bool wanted;
    } rows[] = {{"", false},
                {"Accept: */*\r\n", false},
                {"Accept: text/event-stream\r\n", true},
                {"Accept:application/json , Text/Event-Stream;q=0.5,text/html\r\n", true},
                {"Accept: application/json\r\nACCEPT: text/event-stream\r\n", true},
                {"Accept: text/event-streams, xtext/event-stream, text\r\n", false},
                {"Accept: text/html;a=text/event-stream\r\n", false},
                {"Accept: ,,;,\r\n", false},
                {"Accept:\r\n", false}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        char text[200];
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "%s\r\n", rows[i].headers);
        assert_int_equal(read_bytes(text, strlen(text)), HTTP_READY);
        if (head.wants_events != rows[i].wanted) {
            fail_msg("'%s'", rows[i].headers);
        }
    }
}

static void imago_is_known_among_those_who_passed_it_on(void **state)
{
    static const struct {
        const char *headers;
        bool forwarded;
    } rows[] = {{"", false},
                {"Via: 1.1 imago\r\n", true},
                {"via: 1.0 fred, HTTP/1.1  Imago (a comment), 1.1 p.example.net\r\n", true},
                {"Via: 1.1 fred\r\nVia: 1.1 imago\r\nVia: 2 nginx\r\n", true},
                {"Via: 1.1 imago2, 1.1 animago, imago, imago 1.1\r\n", false},
                {"Via: 1.1 fred (1.1 imago)\r\n", false},
                {"Via: , ,imago\r\n", false},
                {"Via:\r\n", false}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        char text[200];
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "%s\r\n", rows[i].headers);
        assert_int_equal(read_bytes(text, strlen(text)), HTTP_READY);
        if (head.forwarded != rows[i].forwarded) {
            fail_msg("'%s'", rows[i].headers);
        }
    }
}

/* Cut anywhere a good head asks for more, and is the same whatever comes behind it. */
static void each_prefix_of_a_head_asks_for_more(void **state)
{
    (void)state;
    const char *text = "GET /v1/items/17 HTTP/1.1\r\n" HOST "A: b\r\n\r\n";
    for (size_t n = 0; n < strlen(text); n++) {
        assert_int_equal(read_bytes(text, n), HTTP_MORE);
    }
    assert_int_equal(read_bytes(text, strlen(text)), HTTP_READY);
    assert_false(head.close || head.chunked || head.has_length);
}

typedef struct head_row {
    const char *text;
    int status;
} head_row;

static void expect_rows(const head_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        expect_status(rows[i].text, rows[i].status);
    }
}

static const head_row length_rows[] = {
    /* two ways to tell a length */
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nContent-Length: 40\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nContent-Length: 4\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
    /* lengths that are none */
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: +4\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 4, 4\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x4\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
};

static const head_row line_rows[] = {
    /* lines and names */
    {"GET / HTTP/1.1\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "A: b\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "A: b\x1b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Ab\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "A b: c\r\n\r\n", 400},
    {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
    {" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
    /* the first line */
    {"G\x01T / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\t HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET http://evil/ HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\r\n", 400},
    {"GET / HTTP/1.1 \r\n", 400},
    {"GET / http/1.1\r\n", 400},
    {"GET / HTTP/1.9\r\n", 505},
    {"GET / HTTP/2.0\r\n", 505},
    {"GET / HTTP/0.9\r\n", 505},
    {"\x16\x03\x01", 400},
};

static const head_row header_rows[] = {
    /* Host */
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.0\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "Expect: foo\r\n\r\n", 417},
    {"GET / HTTP/1.1\r\n" HOST "Content-Encoding: gzip\r\n\r\n", 415},
    /* what stays */
    {"GET / HTTP/1.0\r\n" HOST "\r\n", 200},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 200},
    {"CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", 200},
    {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200},
};

static void what_is_ambiguous_is_refused(void **state)
{
    (void)state;
    expect_rows(length_rows, IM_COUNT(length_rows));
}

static void lines_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char nul[] = "GET /a\0b HTTP/1.1\r\n" HOST "\r\n";
    expect_rows(line_rows, IM_COUNT(line_rows));
    assert_int_equal(read_bytes(nul, sizeof(nul) - 1), HTTP_REFUSED);
    assert_int_equal(fault.status, 400);
}

static void headers_that_are_none_are_refused(void **state)
{
    (void)state;
    expect_rows(header_rows, IM_COUNT(header_rows));
}

/* A length that no counter holds is too large, not small. */
static void lengths_saturate(void **state)
{
    (void)state;
    static const char *const lengths[] = {"18446744073709551615", "18446744073709551616",
                                          "99999999999999999999999999999"};
    char text[256];
    for (size_t i = 0; i < IM_COUNT(lengths); i++) {
        (void)snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n" HOST "Content-Length: %s\r\n\r\n",
                       lengths[i]);
        expect_status(text, 200);
        assert_true(head.length == UINT64_MAX);
    }
}

static void sizes_have_limits(void **state)
{
    (void)state;
    static char text[64u << 10];
    size_t at = (size_t)snprintf(text, sizeof(text), "GET /");
    memset(text + at, 'a', 60000);
    assert_int_equal(read_bytes(text, 8u << 10), HTTP_MORE);
    assert_int_equal(read_bytes(text, 9u << 10), HTTP_REFUSED);
    assert_int_equal(fault.status, 414);

    at = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "A: ");
    memset(text + at, 'a', 60000);
    assert_int_equal(read_bytes(text, HTTP_HEAD_BYTES - 1), HTTP_MORE);
    assert_int_equal(read_bytes(text, HTTP_HEAD_BYTES), HTTP_REFUSED);
    assert_int_equal(fault.status, 431);

    at = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST);
    for (size_t i = 0; i < 400; i++) {
        at += (size_t)snprintf(text + at, sizeof(text) - at, "A: b\r\n");
    }
    assert_int_equal(read_bytes(text, at), HTTP_REFUSED);
    assert_int_equal(fault.status, 431);
}

/* ---- chunks ---- */

static int read_chunks(const char *data, size_t size, size_t piece, size_t limit, im_str *body)
{
    http_chunks chunks = {0};
    http_state state = HTTP_MORE;
    size_t at = 0;
    im_str_init(body, limit);
    while (state == HTTP_MORE && at < size) {
        size_t used = 0;
        state = http_chunks_read(&chunks, im_view_of(data + at, IM_MIN(piece, size - at)), &used,
                                 body, limit, &fault);
        at += used;
    }
    return state == HTTP_REFUSED ? fault.status : state == HTTP_READY ? (int)at : 0;
}

static void chunks_come_in_pieces_of_any_size(void **state)
{
    (void)state;
    const char *text = "5\r\nhello\r\n1;x=\"y\"\r\n,\r\n0006\r\n world\r\n0\r\n\r\nGET /smug";
    for (size_t piece = 1; piece < 60; piece++) {
        im_str body;
        assert_int_equal(read_chunks(text, strlen(text), piece, 100, &body), (int)strlen(text) - 9);
        assert_string_equal(im_str_text(&body), "hello, world");
        im_str_clear(&body);
    }
}

static void chunks_that_are_none_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"0x4\r\nabcd\r\n0\r\n\r\n", 400},
        {"-1\r\n", 400},
        {"+1\r\n", 400},
        {" 1\r\n", 400},
        {"\r\n", 400},
        {";x\r\n", 400},
        {"00000000000000004\r\n", 400},
        {"ffffffffffffffff\r\n", 413},
        {"7fffffffffffffff\r\n", 413},
        {"65\r\n", 413},
        {"4\nabcd\r\n", 400},
        {"4\r\nabcd\n", 400},
        {"4\r\nabcde\r\n", 400},
        {"4\r\nabcd0\r\n", 400},
        {"4;\x01\r\n", 400},
        {"4\rx\r\n", 400},
        {"0\r\nContent-Length: 4\r\n\r\n", 400},
        {"0\r\nA: b\r\n\r\n", 400},
    };
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_str body;
        int status = read_chunks(rows[i].text, strlen(rows[i].text), 7, 100, &body);
        if (status != rows[i].status) {
            print_error("'%s' gives %d, expected %d\n", rows[i].text, status, rows[i].status);
        }
        assert_int_equal(status, rows[i].status);
        im_str_clear(&body);
    }
    static char extension[70000];
    im_str body;
    memset(extension, 'x', sizeof(extension));
    memcpy(extension, "4;", 2);
    assert_int_equal(read_chunks(extension, sizeof(extension), 999, 100, &body), 400);
    im_str_clear(&body);
}

static void chunks_share_one_limit(void **state)
{
    (void)state;
    im_str body;
    const char *text = "32\r\n01234567890123456789012345678901234567890123456789\r\n"
                       "32\r\n01234567890123456789012345678901234567890123456789\r\n";
    assert_int_equal(read_chunks(text, strlen(text), 10, 100, &body), 0); /* asks for more */
    im_str_clear(&body);
    assert_int_equal(read_chunks(text, strlen(text), 10, 99, &body), 413);
    im_str_clear(&body);
}

/* ---- parameters ---- */

static void parameters_are_decoded(void **state)
{
    (void)state;
    http_parameters p;
    const char *text = "q=%C3%BCber+a%2Bb&&k=5&empty=&bare&x=1=2";
    assert_int_equal(http_parameters_read(im_view_from(text), &p, NULL), IM_OK);
    assert_int_equal(p.n, 5);
    assert_string_equal(http_parameter_of(&p, "q"), "\xc3\xbc"
                                                    "ber a+b");
    assert_string_equal(http_parameter_of(&p, "k"), "5");
    assert_string_equal(http_parameter_of(&p, "empty"), "");
    assert_string_equal(http_parameter_of(&p, "bare"), "");
    assert_string_equal(http_parameter_of(&p, "x"), "1=2");
    assert_null(http_parameter_of(&p, "none"));
    http_parameters_clear(&p);
}

static void parameters_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"q=%",   "q=%4",  "q=%zz", "q=%4z",    "q=a%00",
                                       "q=%ff", "a=1&a", "%=1",   "a=1&a=%31"};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        http_parameters p;
        im_error err = IM_ERROR_INIT;
        assert_int_equal(http_parameters_read(im_view_from(rows[i]), &p, &err), IM_ERR_INVALID);
        assert_string_equal(err.reason, "http_parameter");
        assert_null(p.text);
    }
    char many[512] = "";
    size_t at = 0;
    for (int i = 0; i < 40; i++) {
        at += (size_t)snprintf(many + at, sizeof(many) - at, "p%d&", i);
    }
    http_parameters p;
    assert_int_equal(http_parameters_read(im_view_of(many, at), &p, NULL), IM_ERR_INVALID);
}

static void parameters_survive_a_failed_allocation(void **state)
{
    (void)state;
    http_parameters p;
    im_fault_set(IM_FAULT_ALLOC, 0, 0);
    assert_int_equal(http_parameters_read(im_view_from("a=1"), &p, NULL), IM_ERR_NOMEM);
    assert_true(im_fault_fired(IM_FAULT_ALLOC));
    im_fault_clear();
    im_str body;
    im_fault_set(IM_FAULT_ALLOC, 0, 0);
    assert_int_equal(read_chunks("1\r\na\r\n0\r\n\r\n", 11, 11, 100, &body), 503);
    im_fault_clear();
    im_str_clear(&body);
    assert_int_equal(im_live_allocations(), 0);
}

static void credentials_are_one_line_or_worth_nothing(void **state)
{
    (void)state;
    expect_status(
        "GET / HTTP/1.1\r\n" HOST "Authorization: Bearer k \r\nOrigin: http://a:1\r\n\r\n", 200);
    assert_true(im_view_equal_c(head.authorization, "Bearer k"));
    assert_true(im_view_equal_c(head.origin, "http://a:1"));
    assert_true(im_view_equal_c(head.authority, "localhost"));
    assert_false(head.odd_credentials || head.close);
    expect_status("GET / HTTP/1.1\r\n" HOST "authorization: a\r\nAUTHORIZATION: a\r\n\r\n", 200);
    assert_true(head.odd_credentials && head.authorization.size == 0 && head.close);
    static const char nul[] = "GET / HTTP/1.1\r\n" HOST "Authorization: a\0b\r\n\r\n";
    assert_int_equal(read_bytes(nul, sizeof(nul) - 1), HTTP_READY);
    assert_true(head.odd_credentials && head.authorization.size == 0 && head.close);
    static const char other[] = "GET / HTTP/1.1\r\n" HOST "Authorizations: a\0b\r\n\r\n";
    assert_int_equal(read_bytes(other, sizeof(other) - 1), HTTP_REFUSED);
    expect_status("GET / HTTP/1.1\r\n" HOST "Authorization: a\rX: b\r\n\r\n", 400);
    expect_status("GET / HTTP/1.1\r\n" HOST "Origin: a\r\nOrigin: a\r\n\r\n", 400);
    expect_status("GET / HTTP/1.1\r\n" HOST "\r\n", 200);
    assert_true(head.authorization.data == NULL && head.origin.data == NULL &&
                !head.odd_credentials);
}

static void only_this_machine_is_answered_for(void **state)
{
    (void)state;
    static const char *const good[] = {"localhost", "LocalHost", "127.0.0.1", "[::1]"};
    static const char *const bad[] = {"evil.example", "127.0.0.1.nip.io", "[::1%25lo]", "localhos",
                                      "localhost.",   "127.0.0.2",        "",           "0.0.0.0"};
    for (size_t i = 0; i < IM_COUNT(good); i++) {
        assert_true(http_host_is_loopback(im_view_from(good[i])));
    }
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_false(http_host_is_loopback(im_view_from(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_taken_apart),
        cmocka_unit_test(events_are_wanted_when_they_are_named),
        cmocka_unit_test(imago_is_known_among_those_who_passed_it_on),
        cmocka_unit_test(each_prefix_of_a_head_asks_for_more),
        cmocka_unit_test(what_is_ambiguous_is_refused),
        cmocka_unit_test(lines_that_are_none_are_refused),
        cmocka_unit_test(headers_that_are_none_are_refused),
        cmocka_unit_test(lengths_saturate),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(chunks_come_in_pieces_of_any_size),
        cmocka_unit_test(chunks_that_are_none_are_refused),
        cmocka_unit_test(chunks_share_one_limit),
        cmocka_unit_test(parameters_are_decoded),
        cmocka_unit_test(parameters_that_are_none_are_refused),
        cmocka_unit_test(parameters_survive_a_failed_allocation),
        cmocka_unit_test(credentials_are_one_line_or_worth_nothing),
        cmocka_unit_test(only_this_machine_is_answered_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
