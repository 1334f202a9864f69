/* tests/query/test_language_property.c — what must hold of any text: no crash, an error that points
 * into it, or a query that is the same when written and read again. A million texts made of the
 * grammar's own tokens and of bytes. */
#include "help_query.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants the above first */
#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
static size_t n_texts = 20000;
#else
static size_t n_texts = 1000000;
#endif
static uint64_t seed = 0x1ee7c0de;

static uint32_t draw(uint64_t *random, uint32_t n)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (uint32_t)(*random >> 32) % n;
}

static const char *const tokens[] = {
    " ",
    " ",
    " ",
    "\t",
    "\xe3\x80\x80",
    "red",
    "car",
    "night",
    "-",
    "+",
    "@",
    "(",
    ")",
    "\"",
    "\"",
    "\\",
    "^",
    "^0.5",
    "^2",
    "[",
    "]",
    "taken:",
    "2019",
    "tag:",
    "x",
    "width>",
    "width>=10",
    "price<",
    "camera=",
    "has:gps",
    "is:partial",
    "and",
    " and ",
    " or ",
    " not ",
    "not",
    "Shot_1:",
    "category:",
    "shoes",
    "colour:",
    "Wars:",
    "12:30",
    "http:",
    "@a.jpg",
    "@#17",
    "@-",
    "#",
    "10%",
    "[1,2,3,4]",
    "[10%,0,",
    "50%,50%]",
    "\"a b\"",
    "\"my \\\" ",
    "\xc3\xa9",
    "\xf0\x9f\x98\x80",
    "\xef\xbb\xbf",
    "-(",
    "(tag:x or ",
    "tag:y)",
    "-tag:",
    "near:1,2,3km",
    "..",
    "*",
    ",",
    ":",
    "=",
    "<",
    "@\"p q\"",
    "1e999",
    "nan",
    "-0.5",
};

static size_t make(uint64_t *random, char *out, size_t room)
{
    size_t size = 0;
    uint32_t pieces = 1 + draw(random, 12);
    uint32_t wild = draw(random, 8); /* one text in eight holds any bytes */
    for (uint32_t i = 0; i < pieces && size + 24 < room; i++) {
        if (draw(random, 5) == 0) {
            uint32_t n = 1 + draw(random, 4);
            for (uint32_t j = 0; j < n; j++) {
                out[size++] = (char)(wild == 0 ? draw(random, 256) : 33 + draw(random, 94));
            }
        } else {
            const char *token = tokens[draw(random, IM_COUNT(tokens))];
            memcpy(out + size, token, strlen(token));
            size += strlen(token);
        }
    }
    return size;
}

static void any_text_parses_or_is_pointed_at(void **state)
{
    (void)state;
    uint64_t random = seed;
    size_t n_parsed = 0;
    for (size_t i = 0; i < n_texts; i++) {
        char text[512];
        uint64_t before = random;
        size_t size = make(&random, text, sizeof(text));
        char *exact = malloc(size > 0 ? size : 1); /* the sanitizer sees overreads */
        assert_non_null(exact);
        memcpy(exact, text, size);
        im_query query = {0};
        const char *broken = broken_promise(im_view_of(exact, size));
        if (broken != NULL) {
            fail_msg("%s: '%.*s' (state %" PRIx64 ")", broken, (int)size, text, before);
        }
        if (im_query_parse(im_view_of(exact, size), NULL, 0, &query, NULL) == IM_OK) {
            n_parsed++;
        }
        im_query_clear(&query);
        free(exact);
    }
    print_message("%zu of %zu texts are queries\n", n_parsed, n_texts);
    assert_in_range(n_parsed, n_texts / 20, n_texts); /* else the property says little */
}

/* ---- trees and parts made at random, not from text ---- */

static im_filter *random_filter(uint64_t *random, unsigned levels)
{
    static const char *const fields[] = {"taken", "width", "tag", "price", "Shot_1", "path"};
    static const char *const values[] = {"2019", "",     "a b", "x)y",  "\"q\"", "a\\b",     "=5",
                                         "\\",   "..2M", "or",  "-tag", "(",     "\xc3\xa9", "*"};
    im_filter *filter = im_alloc_zero(1, sizeof(*filter));
    filter->kind = levels == 0 ? IM_FILTER_TEST : (im_filter_kind)draw(random, 4);
    if (filter->kind == IM_FILTER_TEST) {
        filter->field = im_strdup(fields[draw(random, IM_COUNT(fields))]);
        filter->value = im_strdup(values[draw(random, IM_COUNT(values))]);
        filter->op = (im_filter_op)draw(random, 6);
        filter->column = 1;
        return filter;
    }
    filter->n_children = filter->kind == IM_FILTER_NOT ? 1 : 2 + draw(random, 3);
    filter->children = im_alloc_zero(filter->n_children, sizeof(im_filter *));
    for (size_t i = 0; i < filter->n_children; i++) {
        filter->children[i] = random_filter(random, levels - 1);
    }
    return filter;
}

static void random_part(uint64_t *random, im_query_part *part)
{
    static const char *const texts[] = {"red car", "\"", "\\", "-a", "a\\\"b", "@x", "(", " x "};
    static const char *const paths[] = {"a.jpg", "-", "#17", "a b", "a[1,2,3,4]", "\"", "x^2"};
    static const double weights[] = {1, -0.5, 0.5, -1, 1e-7, 100, 1.0 / 3, -2.5};
    part->kind = draw(random, 2) == 0 ? IM_PART_TEXT : IM_PART_PICTURE;
    part->weight = weights[draw(random, IM_COUNT(weights))];
    if (part->kind == IM_PART_TEXT) {
        const char *text = texts[draw(random, IM_COUNT(texts))];
        part->text = im_view_of(im_strdup(text), strlen(text));
        part->must = part->weight > 0 && draw(random, 3) == 0;
        return;
    }
    switch (draw(random, 3)) {
    case 0:
        part->item = 1 + draw(random, 99);
        break;
    case 1:
        part->standard_input = true;
        break;
    default:
        part->path = im_strdup(paths[draw(random, IM_COUNT(paths))]);
    }
    if (draw(random, 2) == 0) {
        part->has_box = true;
        part->box = (im_box){0.1, 1e-9, 1.0 / 3, 99.5, {true, false, draw(random, 2) == 0, true}};
    }
}

static void a_query_is_the_same_when_written_and_read_again(void **state)
{
    (void)state;
    uint64_t random = seed;
    for (size_t i = 0; i < n_texts / 10; i++) {
        im_query query = {0}, again = {0};
        im_error err = IM_ERROR_INIT;
        im_str text;
        query.n_parts = draw(&random, 5);
        query.parts = im_alloc_zero(query.n_parts, sizeof(*query.parts));
        for (size_t j = 0; j < query.n_parts; j++) {
            random_part(&random, &query.parts[j]);
        }
        if (query.n_parts == 0 || draw(&random, 2) == 0) {
            query.filter = random_filter(&random, draw(&random, 5));
        }
        im_str_init(&text, 1u << 20);
        im_query_write(&query, &text);
        if (parse(im_str_text(&text), &again, &err) != IM_OK || !same_query(&query, &again)) {
            fail_msg("'%s': %s", im_str_text(&text), err.message);
        }
        im_str_clear(&text);
        im_query_clear(&query);
        im_query_clear(&again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_text_parses_or_is_pointed_at),
        cmocka_unit_test(a_query_is_the_same_when_written_and_read_again),
    };
    print_message("seed %" PRIx64 ", %zu texts\n", seed, n_texts);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
