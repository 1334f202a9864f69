/* tests/store/test_fields.c — own fields with their types, keys that upsert, tags, captions, names.
 * Covers value.c, field.c, tag.c, caption.c and the names of item.c. */
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static im_error err = IM_ERROR_INIT;

static int set_up(void **state)
{
    help_fixture *f = help_fixture_new("/photos");
    f->model = help_model(f->store, "one");
    help_fixture_fill(f, 4, false);
    *state = f;
    return 0;
}

static uint64_t seq_of(help_fixture *f)
{
    uint64_t seq = 0;
    help_ok(im_store_change_seq(f->store, &seq, &err), &err);
    return seq;
}

static im_value text_value(const char *text)
{
    return (im_value){.type = IM_VALUE_TEXT, .text = im_view_from(text)};
}

static void put_text(help_fixture *f, uint64_t item, const char *name, const char *text)
{
    im_value value = text_value(text);
    help_ok(im_store_put_field(f->store, item, name, &value, &err), &err);
}

/* ---- collecting: "name=value;" of each, in the order told ---- */

typedef struct told {
    char text[512];
    size_t n, stop_after;
} told;

static bool tell(told *t, const char *a, const char *mark, const char *b)
{
    size_t size = strlen(t->text);
    (void)snprintf(t->text + size, sizeof t->text - size, "%s%s%s;", a, mark, b);
    t->n++;
    return t->n != t->stop_after;
}

static bool on_field(void *context, const char *name, const im_value *value)
{
    im_str text;
    im_str_init(&text, 4096);
    im_value_print(&text, value);
    bool more = tell(context, name, "=", im_str_text(&text));
    im_str_clear(&text);
    return more;
}

static bool on_own_field(void *context, const char *name, im_value_type type)
{
    return tell(context, name, ":", im_value_type_name(type));
}

static bool on_tag_of_item(void *context, const char *name, im_text_source source)
{
    return tell(context, name, "/", store_text_source_name(source));
}

static bool on_tag(void *context, const char *name, uint64_t n_items)
{
    char number[24];
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)n_items);
    return tell(context, name, " ", number);
}

static bool on_caption(void *context, const im_caption *caption)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%s/%s %.*s", caption->vlm_model ? caption->vlm_model : "-",
                   caption->prompt_version ? caption->prompt_version : "-", (int)caption->text.size,
                   caption->text.data);
    return tell(context, store_text_source_name(caption->source), " ", text);
}

static void check_fields(help_fixture *f, uint64_t item, const char *wanted)
{
    told t = {0};
    help_ok(im_store_each_field_of_item(f->store, item, on_field, &t, &err), &err);
    assert_string_equal(t.text, wanted);
}

static void check_own_fields(help_fixture *f, const char *wanted)
{
    told t = {0};
    help_ok(im_store_each_own_field(f->store, on_own_field, &t, &err), &err);
    assert_string_equal(t.text, wanted);
}

static void check_tags(help_fixture *f, uint64_t item, const char *wanted)
{
    told t = {0};
    help_ok(im_store_each_tag_of_item(f->store, item, on_tag_of_item, &t, &err), &err);
    assert_string_equal(t.text, wanted);
}

/* ---- values ---- */

static void values_are_read_as_people_write_them(void **state)
{
    (void)state;
    static const struct {
        im_value_type type;
        const char *text, *printed; /* NULL: refused */
    } cases[] = {
        {IM_VALUE_TEXT, "", ""},
        {IM_VALUE_TEXT, "a \"b\" c", "a \"b\" c"},
        {IM_VALUE_NUMBER, "12", "12"},
        {IM_VALUE_NUMBER, "-0.5", "-0.5"},
        {IM_VALUE_NUMBER, "1e3", "1000"},
        {IM_VALUE_NUMBER, "1e999", NULL},
        {IM_VALUE_NUMBER, "nan", NULL},
        {IM_VALUE_NUMBER, "12 ", NULL},
        {IM_VALUE_NUMBER, "", NULL},
        {IM_VALUE_NUMBER, "1,5", NULL},
        {IM_VALUE_DATE, "2021-06-03", "2021-06-03"},
        {IM_VALUE_DATE, "2021", "2021-01-01"},
        {IM_VALUE_DATE, "2021-06", "2021-06-01"},
        {IM_VALUE_DATE, "2021-06-03T10:11:12", "2021-06-03T10:11:12"},
        {IM_VALUE_DATE, "2021-06-03 10:11", "2021-06-03T10:11:00"},
        {IM_VALUE_DATE, "2021-06-03T10:11:12Z", "2021-06-03T10:11:12"},
        {IM_VALUE_DATE, "2021-06-03T10:11:12+02:00", "2021-06-03T10:11:12"},
        {IM_VALUE_DATE, "2021-06-03T10:11-0330", "2021-06-03T10:11:00"},
        {IM_VALUE_DATE, "2020-02-29", "2020-02-29"},
        {IM_VALUE_DATE, "0001-01-01", "0001-01-01"},
        {IM_VALUE_DATE, "9999-12-31T23:59:59", "9999-12-31T23:59:59"},
        {IM_VALUE_DATE, "2021-02-29", NULL},
        {IM_VALUE_DATE, "2021-13-01", NULL},
        {IM_VALUE_DATE, "2021-6-3", NULL},
        {IM_VALUE_DATE, "0000-01-01", NULL},
        {IM_VALUE_DATE, "2021-06-03T24:00", NULL},
        {IM_VALUE_DATE, "2021-06-03T10", NULL},
        {IM_VALUE_DATE, "2021-06-03T10:11:12+2", NULL},
        {IM_VALUE_DATE, "2021-06-03x", NULL},
        {IM_VALUE_DATE, "2021T10:11", NULL},
        {IM_VALUE_DATE, "yesterday", NULL},
        {IM_VALUE_BOOL, "true", "true"},
        {IM_VALUE_BOOL, "yes", "true"},
        {IM_VALUE_BOOL, "1", "true"},
        {IM_VALUE_BOOL, "no", "false"},
        {IM_VALUE_BOOL, "0", "false"},
        {IM_VALUE_BOOL, "maybe", NULL},
        {IM_VALUE_BOOL, "TRUE", NULL},
    };
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_value value = {0};
        im_str text;
        im_code rc = im_value_parse("f", cases[i].type, im_view_from(cases[i].text), &value, &err);
        if (cases[i].printed == NULL) {
            assert_int_equal(rc, IM_ERR_INVALID);
            assert_string_equal(err.reason, "field_value");
            assert_non_null(strstr(err.message, "field 'f'"));
            continue;
        }
        help_ok(rc, &err);
        im_str_init(&text, 100);
        im_value_print(&text, &value);
        assert_string_equal(im_str_text(&text), cases[i].printed);
        im_str_clear(&text);
    }
}

/* Known moments, and each of many days is read back as itself. */
static void dates_are_days_of_the_calendar(void **state)
{
    (void)state;
    im_value value;
    help_ok(im_value_parse("d", IM_VALUE_DATE, im_view_from("1970-01-01"), &value, &err), &err);
    assert_int_equal(value.date_s, 0);
    help_ok(im_value_parse("d", IM_VALUE_DATE, im_view_from("2038-01-19T03:14:07"), &value, &err),
            &err);
    assert_int_equal(value.date_s, INT32_MAX);
    help_ok(im_value_parse("d", IM_VALUE_DATE, im_view_from("0001-01-01"), &value, &err), &err);
    assert_true(value.date_s == STORE_DATE_LEAST);
    help_ok(im_value_parse("d", IM_VALUE_DATE, im_view_from("9999-12-31T23:59:59"), &value, &err),
            &err);
    assert_true(value.date_s == STORE_DATE_MOST);
    for (int64_t s = STORE_DATE_LEAST; s <= STORE_DATE_MOST; s += 86400 * INT64_C(97) + 3723) {
        im_str text;
        im_value again;
        value = (im_value){.type = IM_VALUE_DATE, .date_s = s};
        im_str_init(&text, 100);
        im_value_print(&text, &value);
        help_ok(im_value_parse("d", IM_VALUE_DATE, im_view_of(text.data, text.size), &again, &err),
                &err);
        assert_true(again.date_s == s);
        im_str_clear(&text);
    }
}

/* ---- fields ---- */

static void fields_of_each_type_come_back(void **state)
{
    help_fixture *f = *state;
    static const char text[] = "Stra\xc3\x9f"
                               "e \"x\"\n";
    const im_value values[] = {{.type = IM_VALUE_BOOL, .truth = true},
                               {.type = IM_VALUE_DATE, .date_s = -1},
                               {.type = IM_VALUE_NUMBER, .number = -0.0},
                               {.type = IM_VALUE_NUMBER, .number = 1e300}};
    static const char *const names[] = {"sold", "Since", "zero", "big"};
    for (size_t i = 0; i < IM_COUNT(values); i++) {
        help_ok(im_store_put_field(f->store, f->items[1], names[i], &values[i], &err), &err);
    }
    put_text(f, f->items[1], "street", text);
    check_fields(f, f->items[1],
                 "Since=1969-12-31T23:59:59;big=1e+300;sold=true;street=Stra\xc3\x9f"
                 "e \"x\"\n;zero=0;");
    check_own_fields(f, "big:number;Since:date;sold:bool;street:text;zero:number;");
    check_fields(f, f->items[0], "");
    im_store_close(f->store);
    f->store = help_open(f->folder, IM_STORE_WRITE);
    told t = {.stop_after = 2};
    help_ok(im_store_each_field_of_item(f->store, f->items[1], on_field, &t, &err), &err);
    assert_int_equal(t.n, 2);
}

static void a_field_is_the_same_in_any_case(void **state)
{
    help_fixture *f = *state;
    put_text(f, f->items[0], "Colour", "red");
    put_text(f, f->items[0], "COLOUR", "blue");
    put_text(f, f->items[1], "colour", "green");
    check_fields(f, f->items[0], "Colour=blue;");
    check_fields(f, f->items[1], "Colour=green;");
    check_own_fields(f, "Colour:text;");
    help_ok(im_store_drop_field(f->store, f->items[0], "coLour", &err), &err);
    check_fields(f, f->items[0], "");
    assert_int_equal(im_store_drop_field(f->store, f->items[0], "colour", &err), IM_ERR_NOT_FOUND);
    assert_int_equal(im_store_drop_field(f->store, f->items[0], "never", &err), IM_ERR_NOT_FOUND);
}

static void a_value_of_another_type_is_refused(void **state)
{
    help_fixture *f = *state;
    im_value number = {.type = IM_VALUE_NUMBER, .number = 4};
    put_text(f, f->items[0], "stars", "four");
    uint64_t seq = seq_of(f);
    assert_int_equal(im_store_put_field(f->store, f->items[1], "Stars", &number, &err),
                     IM_ERR_INVALID);
    assert_string_equal(err.reason, "field_type");
    assert_non_null(strstr(err.message, "field 'stars' holds values of type text, not number"));
    assert_int_equal(im_store_put_own_field(f->store, "stars", IM_VALUE_DATE, &err),
                     IM_ERR_INVALID);
    help_ok(im_store_put_own_field(f->store, "stars", IM_VALUE_TEXT, &err), &err);
    assert_int_equal(seq_of(f), seq);
    help_ok(im_store_drop_own_field(f->store, "STARS", &err), &err);
    assert_int_equal(seq_of(f), seq + 1); /* one item had it */
    check_own_fields(f, "");
    check_fields(f, f->items[0], "");
    help_ok(im_store_put_field(f->store, f->items[1], "Stars", &number, &err), &err);
    check_own_fields(f, "Stars:number;");
    assert_int_equal(im_store_drop_own_field(f->store, "none", &err), IM_ERR_NOT_FOUND);
}

static void names_that_cannot_be_asked_for_are_refused(void **state)
{
    help_fixture *f = *state;
    static const char *const bad[] = {
        "", "1st", "_x", "a-b", "a b", "a:b", "\xc3\xa9t\xc3\xa9", "a\"", "KEY", "And", "CAPTION",
#define X(word, is_field) #word,
#include "base/query_words.def"
#undef X
    };
    char longest[66];
    im_value value = text_value("x");
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_int_equal(im_store_put_field(f->store, f->items[0], bad[i], &value, &err),
                         IM_ERR_INVALID);
        assert_string_equal(err.reason, "field_name");
        assert_int_equal(im_store_put_own_field(f->store, bad[i], IM_VALUE_TEXT, &err),
                         IM_ERR_INVALID);
    }
    memset(longest, 'a', sizeof longest);
    longest[65] = '\0';
    assert_int_equal(im_store_put_own_field(f->store, longest, IM_VALUE_TEXT, &err),
                     IM_ERR_INVALID);
    longest[64] = '\0';
    put_text(f, f->items[0], longest, "x");
    put_text(f, f->items[0], "a1_B", "x");
    put_text(f, f->items[0], "android", "x");
}

static void values_that_cannot_be_kept_are_refused(void **state)
{
    help_fixture *f = *state;
    static char long_text[IM_LIMIT_FIELD_BYTES + 1];
    memset(long_text, 'x', sizeof long_text);
    const im_value bad[] = {
        {.type = IM_VALUE_TEXT, .text = {"", 0}},
        {.type = IM_VALUE_TEXT, .text = {"a\0b", 3}},
        {.type = IM_VALUE_TEXT, .text = {"\xff", 1}},
        {.type = IM_VALUE_TEXT, .text = {long_text, sizeof long_text}},
        {.type = IM_VALUE_NUMBER, .number = (double)NAN},
        {.type = IM_VALUE_NUMBER, .number = (double)INFINITY},
        {.type = IM_VALUE_DATE, .date_s = STORE_DATE_MOST + 1},
        {.type = IM_VALUE_DATE, .date_s = STORE_DATE_LEAST - 1},
    };
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_int_equal(im_store_put_field(f->store, f->items[0], "f", &bad[i], &err),
                         IM_ERR_INVALID);
        assert_string_equal(err.reason, "field_value");
        assert_non_null(strstr(err.message, "field 'f'"));
    }
    check_own_fields(f, "");
    im_value good = text_value("x");
    assert_int_equal(im_store_put_field(f->store, 99, "f", &good, &err), IM_ERR_NOT_FOUND);
    check_own_fields(f, ""); /* the failed call registered nothing */
}

static void only_what_changes_is_told(void **state)
{
    help_fixture *f = *state;
    uint64_t seq = seq_of(f);
    put_text(f, f->items[0], "a", "x");
    assert_int_equal(seq_of(f), seq + 1);
    put_text(f, f->items[0], "a", "x");
    assert_int_equal(seq_of(f), seq + 1);
    put_text(f, f->items[0], "a", "y");
    assert_int_equal(seq_of(f), seq + 2);
    help_ok(im_store_put_tag(f->store, f->items[0], "t", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[0], "T", IM_SOURCE_FILE, &err), &err);
    assert_int_equal(seq_of(f), seq + 3);
    im_file_row file;
    help_ok(im_store_find_file(f->store, f->root, im_view_from("000000.jpg"), &file, &err), &err);
    help_ok(im_store_put_file(f->store, &file, NULL, &err), &err);
    help_ok(im_store_set_file_missing(f->store, file.id, false, &err), &err);
    assert_int_equal(seq_of(f), seq + 3);
    help_ok(im_store_set_file_missing(f->store, file.id, true, &err), &err);
    help_ok(im_store_set_file_missing(f->store, file.id, true, &err), &err);
    assert_int_equal(seq_of(f), seq + 4);
    help_ok(im_store_put_file(f->store, &file, NULL, &err), &err);
    assert_int_equal(seq_of(f), seq + 5);
    help_ok(im_store_move_root(f->store, f->root, "/elsewhere", &err), &err);
    assert_int_equal(seq_of(f), seq + 6);
}

/* ---- keys ---- */

static void check_key(help_fixture *f, const char *key, uint64_t wanted)
{
    uint64_t item = 77;
    help_ok(im_store_item_of_key(f->store, key, &item, &err), &err);
    assert_int_equal(item, wanted);
}

static void a_key_is_found_changed_and_taken_away(void **state)
{
    help_fixture *f = *state;
    uint64_t replaced = 77;
    char *key = NULL;
    help_ok(im_store_put_key(f->store, f->items[0], "sku-1", &replaced, &err), &err);
    assert_int_equal(replaced, 0);
    check_key(f, "sku-1", f->items[0]);
    check_key(f, "SKU-1", 0);
    help_ok(im_store_put_key(f->store, f->items[0], "sku-1", &replaced, &err), &err);
    assert_int_equal(replaced, 0);
    help_ok(im_store_put_key(f->store, f->items[0], "sku-2", NULL, &err), &err);
    check_key(f, "sku-1", 0);
    check_key(f, "sku-2", f->items[0]);
    check_fields(f, f->items[0], ""); /* it is no field */
    check_own_fields(f, "");
    help_ok(im_store_key_of_item(f->store, f->items[0], &key, &err), &err);
    assert_string_equal(key, "sku-2");
    im_free(key);
    help_ok(im_store_put_key(f->store, f->items[0], NULL, NULL, &err), &err);
    help_ok(im_store_put_key(f->store, f->items[0], NULL, NULL, &err), &err);
    help_ok(im_store_key_of_item(f->store, f->items[0], &key, &err), &err);
    assert_null(key);
}

static bool was_removed(help_fixture *f, uint64_t n)
{
    uint8_t sha256[32];
    bool removed = false;
    help_sha256(n, sha256);
    help_ok(im_store_was_removed(f->store, sha256, &removed, &err), &err);
    return removed;
}

static void a_second_item_with_the_key_replaces_the_first(void **state)
{
    help_fixture *f = *state;
    uint64_t replaced = 0;
    im_item item;
    help_ok(im_store_put_key(f->store, f->items[0], "k", NULL, &err), &err);
    help_ok(im_store_put_key(f->store, f->items[1], "k", &replaced, &err), &err);
    assert_int_equal(replaced, f->items[0]);
    check_key(f, "k", f->items[1]);
    assert_int_equal(im_store_get_item(f->store, f->items[0], &item, &err), IM_ERR_NOT_FOUND);
    assert_true(was_removed(f, 0)); /* its file is still there: a scan must not bring it back */
    /* item 1's file now holds item 2's content, as after a changed picture: nothing to remember */
    im_file_row file;
    help_ok(im_store_find_file(f->store, f->root, im_view_from("000001.jpg"), &file, &err), &err);
    file.item = f->items[2];
    help_ok(im_store_put_file(f->store, &file, NULL, &err), &err);
    help_ok(im_store_put_key(f->store, f->items[2], "k", &replaced, &err), &err);
    assert_int_equal(replaced, f->items[1]);
    assert_false(was_removed(f, 1));
    check_key(f, "k", f->items[2]);
}

static void keys_that_cannot_be_are_refused(void **state)
{
    help_fixture *f = *state;
    static char long_key[IM_LIMIT_KEY_BYTES + 2];
    memset(long_key, 'k', IM_LIMIT_KEY_BYTES + 1);
    const char *const bad[] = {"", "a\nb", "\xff", long_key};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_int_equal(im_store_put_key(f->store, f->items[0], bad[i], NULL, &err),
                         IM_ERR_INVALID);
        assert_string_equal(err.reason, "field_value");
    }
    assert_int_equal(im_store_put_key(f->store, 99, "k", NULL, &err), IM_ERR_NOT_FOUND);
    assert_int_equal(im_store_put_key(f->store, 99, NULL, NULL, &err), IM_ERR_NOT_FOUND);
    check_key(f, "k", 0);
    check_key(f, "' OR 1=1 --", 0);
}

/* ---- tags ---- */

static void tags_are_put_listed_and_dropped(void **state)
{
    help_fixture *f = *state;
    help_ok(im_store_put_tag(f->store, f->items[0], "Beach", IM_SOURCE_VLM, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[0], "beach", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[0], "a b", IM_SOURCE_FILE, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[1], "BEACH", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[0], "beach", IM_SOURCE_FILE, &err), &err);
    check_tags(f, f->items[0], "a b/file;Beach/user;");
    told t = {0};
    help_ok(im_store_each_tag(f->store, on_tag, &t, &err), &err);
    assert_string_equal(t.text, "a b 1;Beach 2;");
    help_ok(im_store_drop_tag(f->store, f->items[0], "bEach", &err), &err);
    assert_int_equal(im_store_drop_tag(f->store, f->items[0], "beach", &err), IM_ERR_NOT_FOUND);
    help_ok(im_store_remove_item(f->store, f->items[1], &err), &err);
    t = (told){0};
    help_ok(im_store_each_tag(f->store, on_tag, &t, &err), &err);
    assert_string_equal(t.text, "a b 1;");
    help_ok(im_store_drop_tag(f->store, f->items[0], "A B", &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[0], "A B", IM_SOURCE_USER, &err), &err);
    check_tags(f, f->items[0], "A B/user;"); /* forgotten, so the new spelling is kept */
}

static void texts_that_cannot_be_tags_are_refused(void **state)
{
    help_fixture *f = *state;
    static char long_tag[IM_LIMIT_TAG_BYTES + 2];
    memset(long_tag, 't', IM_LIMIT_TAG_BYTES + 1);
    const char *const bad[] = {"", " ", " a", "a ", "a\tb", "\xc3", long_tag};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_int_equal(im_store_put_tag(f->store, f->items[0], bad[i], IM_SOURCE_USER, &err),
                         IM_ERR_INVALID);
        assert_string_equal(err.reason, "tag_invalid");
    }
    assert_int_equal(im_store_put_tag(f->store, 99, "t", IM_SOURCE_USER, &err), IM_ERR_NOT_FOUND);
    told t = {0};
    help_ok(im_store_each_tag(f->store, on_tag, &t, &err), &err);
    assert_int_equal(t.n, 0);
}

/* ---- captions, names ---- */

static void put_caption(help_fixture *f, im_caption_kind kind, im_text_source source,
                        const char *model, const char *text)
{
    im_caption caption = {.kind = kind,
                          .source = source,
                          .vlm_model = model,
                          .prompt_version = model != NULL ? "p1" : NULL,
                          .text = im_view_from(text)};
    help_ok(im_store_put_caption(f->store, f->items[0], &caption, &err), &err);
}

static void captions_are_put_replaced_and_dropped(void **state)
{
    help_fixture *f = *state;
    put_caption(f, IM_CAPTION, IM_SOURCE_USER, NULL, "mine");
    put_caption(f, IM_CAPTION, IM_SOURCE_VLM, "q", "a dog");
    put_caption(f, IM_CAPTION, IM_SOURCE_VLM, "q", "a cat");
    put_caption(f, IM_CAPTION, IM_SOURCE_VLM, "r", "an animal");
    put_caption(f, IM_VISIBLE_TEXT, IM_SOURCE_VLM, "q", "EXIT 4");
    told t = {0};
    help_ok(im_store_each_caption_of_item(f->store, f->items[0], on_caption, &t, &err), &err);
    assert_string_equal(t.text, "user -/- mine;vlm q/p1 EXIT 4;vlm r/p1 an animal;vlm q/p1 a cat;");
    help_ok(im_store_drop_caption(f->store, f->items[0], IM_CAPTION, IM_SOURCE_VLM, &err), &err);
    assert_int_equal(im_store_drop_caption(f->store, f->items[0], IM_CAPTION, IM_SOURCE_VLM, &err),
                     IM_ERR_NOT_FOUND);
    t = (told){.stop_after = 1};
    help_ok(im_store_each_caption_of_item(f->store, f->items[0], on_caption, &t, &err), &err);
    assert_string_equal(t.text, "user -/- mine;");
    im_caption bad = {.text = {"", 0}};
    assert_int_equal(im_store_put_caption(f->store, f->items[0], &bad, &err), IM_ERR_INVALID);
    bad.text = im_view_from("x");
    assert_int_equal(im_store_put_caption(f->store, 99, &bad, &err), IM_ERR_NOT_FOUND);
}

static void a_models_text_goes_alone(void **state)
{
    help_fixture *f = *state;
    put_caption(f, IM_CAPTION, IM_SOURCE_USER, NULL, "mine");
    put_caption(f, IM_CAPTION, IM_SOURCE_VLM, "q", "a dog");
    put_caption(f, IM_CAPTION, IM_SOURCE_VLM, "r", "an animal");
    put_caption(f, IM_VISIBLE_TEXT, IM_SOURCE_VLM, "q", "EXIT 4");
    for (int i = 0; i < 2; i++) { /* what is gone may be dropped again */
        help_ok(im_store_drop_vlm_text(f->store, f->items[0], IM_CAPTION, "q", &err), &err);
        told t = {0};
        help_ok(im_store_each_caption_of_item(f->store, f->items[0], on_caption, &t, &err), &err);
        assert_string_equal(t.text, "user -/- mine;vlm q/p1 EXIT 4;vlm r/p1 an animal;");
    }
}

static void an_item_without_a_file_has_a_name(void **state)
{
    help_fixture *f = *state;
    im_item item = help_item(50);
    im_item back;
    uint64_t id = 0;
    char *name = NULL;
    memcpy(item.source, "import", sizeof "import");
    help_ok(im_store_put_item(f->store, &item, &id, &err), &err);
    help_ok(im_store_get_item(f->store, id, &back, &err), &err);
    assert_string_equal(back.source, "import");
    help_ok(im_store_item_name(f->store, id, &name, &err), &err);
    assert_string_equal(name, "");
    im_free(name);
    help_ok(im_store_set_item_name(f->store, id, "old/place/a.jpg", &err), &err);
    help_ok(im_store_item_name(f->store, id, &name, &err), &err);
    assert_string_equal(name, "old/place/a.jpg");
    im_free(name);
    assert_int_equal(im_store_set_item_name(f->store, id, "a\nb", &err), IM_ERR_INVALID);
    assert_int_equal(im_store_set_item_name(f->store, 99, "a", &err), IM_ERR_NOT_FOUND);
    assert_int_equal(im_store_item_name(f->store, 99, &name, &err), IM_ERR_NOT_FOUND);
    memcpy(item.source, "moon", sizeof "moon");
    help_sha256(51, item.sha256);
    assert_int_equal(im_store_put_item(f->store, &item, &id, &err), IM_ERR_INVALID);
}

/* A failed call in a transaction leaves the rest to be committed. */
static void a_refused_call_does_not_spoil_a_transaction(void **state)
{
    help_fixture *f = *state;
    im_value value = text_value("x");
    help_ok(im_store_begin(f->store, &err), &err);
    put_text(f, f->items[0], "a", "x");
    help_ok(im_store_put_tag(f->store, f->items[0], "t", IM_SOURCE_USER, &err), &err);
    assert_int_equal(im_store_put_field(f->store, 99, "new", &value, &err), IM_ERR_NOT_FOUND);
    assert_int_equal(im_store_put_tag(f->store, 99, "new", IM_SOURCE_USER, &err), IM_ERR_NOT_FOUND);
    assert_int_equal(im_store_put_key(f->store, 99, "k", NULL, &err), IM_ERR_NOT_FOUND);
    assert_int_equal(im_store_drop_tag(f->store, f->items[0], "u", &err), IM_ERR_NOT_FOUND);
    help_ok(im_store_commit(f->store, &err), &err);
    check_own_fields(f, "a:text;");
    check_tags(f, f->items[0], "t/user;");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, help_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_read_as_people_write_them),
        cmocka_unit_test(dates_are_days_of_the_calendar),
        T(fields_of_each_type_come_back),
        T(a_field_is_the_same_in_any_case),
        T(a_value_of_another_type_is_refused),
        T(names_that_cannot_be_asked_for_are_refused),
        T(values_that_cannot_be_kept_are_refused),
        T(only_what_changes_is_told),
        T(a_key_is_found_changed_and_taken_away),
        T(a_second_item_with_the_key_replaces_the_first),
        T(keys_that_cannot_be_are_refused),
        T(tags_are_put_listed_and_dropped),
        T(texts_that_cannot_be_tags_are_refused),
        T(captions_are_put_replaced_and_dropped),
        T(a_models_text_goes_alone),
        T(an_item_without_a_file_has_a_name),
        T(a_refused_call_does_not_spoil_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
