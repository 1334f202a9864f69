/* tests/query/test_filter.c — covers query/filter.c and filter_value.c: what each field becomes,
 * and the sentence of each value that it cannot have (T39, T40). */
#include "help_filter.h"
#include <math.h>
#include <stdio.h>

static void assert_text(const char *text, im_condition_kind kind, const char *column,
                        const char *value)
{
    im_condition *condition = compiled(text);
    assert_int_equal(condition->kind, kind);
    assert_string_equal(condition->column, column);
    assert_string_equal(condition->text, value);
    im_condition_free(condition);
}

static void assert_numbers(const char *text, const char *column, double min, double max,
                           bool open_min, bool open_max)
{
    im_condition *condition = compiled(text);
    assert_int_equal(condition->kind, IM_CONDITION_NUMBERS);
    assert_string_equal(condition->column, column);
    assert_true(condition->min == min && condition->max == max);
    assert_int_equal(condition->open_min, open_min);
    assert_int_equal(condition->open_max, open_max);
    im_condition_free(condition);
}

static void numbers_take_ranges_operators_and_sizes(void **state)
{
    (void)state;
    assert_integers("width:1000", "width", 1000, 1000);
    assert_integers("width:1000..", "width", 1000, INT64_MAX);
    assert_integers("height:..1000", "height", never, 1000);
    assert_integers("height:10..20", "height", 10, 20);
    assert_integers("width>1000", "width", 1001, INT64_MAX);
    assert_integers("width>=1000", "width", 1000, INT64_MAX);
    assert_integers("width<1000", "width", never, 999);
    assert_integers("width<=1000", "width", never, 1000);
    assert_integers("width=1000", "width", 1000, 1000);
    assert_integers("width>10.5", "width", 11, INT64_MAX);
    assert_integers("width<10.5", "width", never, 10);
    assert_integers("width<=10.5", "width", never, 10);
    assert_integers("width>=10.5", "width", 11, INT64_MAX);
    assert_integers("bytes:..2M", "bytes", never, 2000000);
    assert_integers("bytes>1.5k", "bytes", 1501, INT64_MAX);
    assert_integers("bytes:1KiB..1 GiB", "bytes", 1024, 1073741824);
    assert_integers("bytes:2mb..3GB", "bytes", 2000000, 3000000000);
    assert_integers("bytes<1T", "bytes", never, 999999999999);
    assert_integers("bytes=512B", "bytes", 512, 512);
    assert_integers("bytes<1e30", "bytes", never, INT64_MAX);
    assert_integers("bytes>1e30", "bytes", INT64_MAX, INT64_MAX);
    assert_numbers("price<50", "field.price", -HUGE_VAL, 50, false, true);
    assert_numbers("price>=-2.5", "field.price", -2.5, HUGE_VAL, false, false);
    assert_numbers("price>1e3", "field.price", 1000, HUGE_VAL, true, false);
    assert_numbers("price:-5..-1", "field.price", -5, -1, false, false);
    assert_numbers("price:1.5...5e1", "field.price", 1.5, 5, false, false);
    assert_numbers("price=7", "field.price", 7, 7, false, false);
    assert_numbers("price<=7", "field.price", -HUGE_VAL, 7, false, false);
}

static void numbers_that_are_none_are_refused(void **state)
{
    (void)state;
    static const wrong_case wrong[] = {
        {"bytes>1e999", "bytes \"1e999\"", NULL},
        {"bytes>1e308T", "number", NULL},
        {"bytes:2X", "1.5M", NULL},
        {"width:nan", "number", NULL},
        {"width>inf", "number", NULL},
        {"width:0x10", "number", NULL},
        {"width:", "a value", NULL},
        {"width:k", "number", NULL},
        {"width:-5", "not negative", NULL},
        {"width:20..10", "ends after", NULL},
        {"width:..", "one end", NULL},
        {"width=1..2", "not a range", NULL},
        {"price<cheap", "price \"cheap\"", NULL},
        {"price:5k", "number", NULL},
        {"price:nan", "number", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
    char long_number[9000] = "width:";
    memset(long_number + 6, '1', sizeof(long_number) - 7);
    assert_wrong(long_number, "query_value", "expected a number", NULL);
}

static void texts_are_parts_wholes_or_patterns(void **state)
{
    (void)state;
    assert_text("camera:Canon EOS", IM_CONDITION_TEXT_PART, "camera", "Canon EOS");
    assert_text("camera=Canon EOS R5", IM_CONDITION_TEXT_EQUAL, "camera", "Canon EOS R5");
    assert_text("lens:50mm*", IM_CONDITION_TEXT_PART, "lens", "50mm*");
    assert_text("category:shoes", IM_CONDITION_TEXT_EQUAL, "field.Category", "shoes");
    assert_text("Category:sho*s", IM_CONDITION_TEXT_GLOB, "field.Category", "sho*s");
    assert_text("Category=sho*s", IM_CONDITION_TEXT_EQUAL, "field.Category", "sho*s");
    assert_text("type:JPG", IM_CONDITION_TEXT_EQUAL, "type", "jpeg");
    assert_text("type=png", IM_CONDITION_TEXT_EQUAL, "type", "png");
    assert_text("source:upload", IM_CONDITION_TEXT_EQUAL, "source", "upload");
    /* T40: taken literally */
    assert_text("camera:' OR 1=1 --", IM_CONDITION_TEXT_PART, "camera", "' OR 1=1 --");
    assert_text("Category:%_%", IM_CONDITION_TEXT_EQUAL, "field.Category", "%_%");
    static const wrong_case wrong[] = {
        {"camera<x", "':' or '='", NULL},
        {"Category>=x", "no order", NULL},
        {"camera:", "a value", NULL},
        {"type:jpgg", "one of jpeg", "type:jp"},
        {"type:x", "one of jpeg", NULL},
        {"source:uplaod", "file, upload, import", "source:upload"},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
}

static void what_an_item_has_and_is(void **state)
{
    (void)state;
    static const char *const present[][2] = {{"has:gps", "lat"},
                                             {"has:GPS", "lat"},
                                             {"has:taken", "taken"},
                                             {"has:camera", "camera"},
                                             {"has:lens", "lens"},
                                             {"has:price", "field.price"},
                                             {"has:category", "field.Category"}};
    for (size_t i = 0; i < sizeof(present) / sizeof(*present); i++) {
        im_condition *condition = compiled(present[i][0]);
        assert_int_equal(condition->kind, IM_CONDITION_PRESENT);
        assert_string_equal(condition->column, present[i][1]);
        im_condition_free(condition);
    }
    assert_integers("has:caption", "captioned", 1, 1);
    assert_integers("has:tag", "tagged", 1, 1);
    assert_integers("is:partial", "partial", 1, 1);
    assert_integers("is:missing", "missing", 1, 1);
    assert_integers("stock:yes", "field.stock", 1, 1);
    assert_integers("stock:False", "field.stock", 0, 0);
    assert_integers("stock=0", "field.stock", 0, 0);
    static const wrong_case wrong[] = {
        {"has:gsp", "gps, caption, tag, taken", "has:gps"},
        {"has:pricee", "one of", "has:price"},
        {"is:missin", "partial, missing", "is:missing"},
        {"is:good", "partial, missing", NULL},
        {"stock:maybe", "true, false", NULL},
        {"stock<1", "':' or '='", NULL},
        {"is>partial", "':' or '='", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
}

static void assert_place(const char *text, im_condition_kind kind, const double place[4])
{
    im_condition *condition = compiled(text);
    assert_int_equal(condition->kind, kind);
    assert_memory_equal(condition->place, place, 4 * sizeof(double));
    im_condition_free(condition);
}

static void places_have_units_and_edges(void **state)
{
    (void)state;
    assert_place("near:48.86,2.35,5km", IM_CONDITION_NEAR, (double[4]){48.86, 2.35, 5000, 0});
    assert_place("near:48.86, 2.35, 5 km", IM_CONDITION_NEAR, (double[4]){48.86, 2.35, 5000, 0});
    assert_place("near:-90,180,800m", IM_CONDITION_NEAR, (double[4]){-90, 180, 800, 0});
    assert_place("near:0,0,1MI", IM_CONDITION_NEAR, (double[4]){0, 0, 1609.344, 0});
    assert_place("near:0,0,2.5", IM_CONDITION_NEAR, (double[4]){0, 0, 2500, 0});
    assert_place("box:-10,170,10,-170", IM_CONDITION_BOX, (double[4]){-10, 170, 10, -170});
    assert_place("box:1,2,1,2", IM_CONDITION_BOX, (double[4]){1, 2, 1, 2});
    static const wrong_case wrong[] = {
        {"near:91,181,-1", "latitude \"91\"", NULL},
        {"near:90,181,-1", "longitude \"181\"", NULL},
        {"near:90,180,-1", "a distance above 0", NULL},
        {"near:90,180,0km", "a distance above 0", NULL},
        {"near:90,180,", "a distance above 0", NULL},
        {"near:90,180,1e308km", "a distance above 0", NULL},
        {"near:1,2", "latitude,longitude,distance", "near:48.86"},
        {"near:1,2,3,4", "latitude,longitude,distance", NULL},
        {"near:nan,2,3km", "latitude \"nan\"", NULL},
        {"near<1,2,3", "':'", NULL},
        {"box:1,2,3", "south,west,north,east", "180"},
        {"box:2,2,1,3", "south", NULL},
        {"box:-91,2,1,3", "south \"-91\"", NULL},
        {"box:0,2,1,300", "east \"300\"", NULL},
        {"box=1,2,3,4", "':'", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
}

static void what_is_no_column_is_asked_for(void **state)
{
    (void)state;
    static const char *const names[] = {"path", "tag", "in", "key", "caption"};
    for (size_t i = 0; i < 5; i++) {
        char text[60];
        snprintf(text, sizeof(text), "%s:[[[*", names[i]); /* T40 */
        im_condition *condition = compiled(text);
        assert_int_equal(condition->kind, IM_CONDITION_SLOTS);
        assert_int_equal(condition->n_slots, 100);
        assert_int_equal(condition->slots[0], 5);
        assert_int_equal(condition->slots[1], 0);
        assert_string_equal(last_asked.field, names[i]);
        assert_string_equal(last_asked.value, "[[[*");
        assert_int_equal(last_asked.op, IM_FILTER_IS);
        im_condition_free(condition);
    }
    im_condition_free(compiled("tag=x"));
    assert_int_equal(last_asked.op, IM_FILTER_EQUAL);
    assert_wrong("tag<x", "query_value", "':' or '='", NULL);
    assert_wrong("path:", "query_value", "a value", NULL);
    im_filter_options options = options_of(true);
    im_condition *condition = NULL;
    im_error err = IM_ERROR_INIT;
    im_filter *filter = test_of("tag:x");
    last_asked.fail = true;
    assert_int_equal(im_filter_compile(filter, &options, &condition, &err), IM_ERR_DAMAGED);
    assert_string_equal(err.message, "the store says no");
    last_asked.fail = false;
    options.resolve.slots = NULL;
    assert_int_equal(im_filter_compile(filter, &options, &condition, &err), IM_ERR_UNSUPPORTED);
    assert_null(condition);
    drop(filter);
}

static void unknown_fields_name_the_nearest(void **state)
{
    (void)state;
    static const wrong_case wrong[] = {
        {"colour:red", "unknown field \"colour\" at column 5", "quote it"},
        {"widht:5", "the nearest is \"width\"", NULL},
        {"prise:5", "the nearest is \"price\"", NULL},
        {"categry:5", "the nearest is \"Category\"", NULL},
        {"zzzzzzzz:5", "column 5", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_field");
}

/* ---- missing files ---- */

static void missing_items_are_left_out_unless_asked_for(void **state)
{
    (void)state;
    im_filter_options options = options_of(false);
    im_condition *condition = NULL;
    assert_int_equal(im_filter_compile(NULL, &options, &condition, NULL), IM_OK);
    assert_int_equal(condition->kind, IM_CONDITION_NOT);
    assert_string_equal(condition->children[0]->column, "missing");
    im_condition_free(condition);
    im_filter *filter = test_of("width:5");
    assert_int_equal(im_filter_compile(filter, &options, &condition, NULL), IM_OK);
    assert_int_equal(condition->kind, IM_CONDITION_AND);
    assert_int_equal(condition->n_children, 2);
    assert_string_equal(condition->children[0]->column, "width");
    assert_int_equal(condition->children[1]->kind, IM_CONDITION_NOT);
    im_condition_free(condition);
    /* deep in the tree, and under a not */
    filter = node_of(IM_FILTER_OR, filter, node_of(IM_FILTER_NOT, test_of("is:Missing"), NULL));
    assert_int_equal(im_filter_compile(filter, &options, &condition, NULL), IM_OK);
    assert_int_equal(condition->kind, IM_CONDITION_OR);
    im_condition_free(condition);
    drop(filter);
    condition = NULL;
    options.keep_missing = true;
    assert_int_equal(im_filter_compile(NULL, &options, &condition, NULL), IM_OK);
    assert_null(condition);
}

static void a_tree_keeps_its_form_and_depth_is_bounded(void **state)
{
    (void)state;
    im_filter_options options = options_of(true);
    im_condition *condition = NULL;
    im_error err = IM_ERROR_INIT;
    im_filter *filter = node_of(IM_FILTER_AND, test_of("width:1"),
                                node_of(IM_FILTER_OR, test_of("height:2"),
                                        node_of(IM_FILTER_NOT, test_of("has:gps"), NULL)));
    assert_int_equal(im_filter_compile(filter, &options, &condition, &err), IM_OK);
    assert_int_equal(condition->kind, IM_CONDITION_AND);
    assert_int_equal(condition->children[1]->kind, IM_CONDITION_OR);
    assert_int_equal(condition->children[1]->children[1]->kind, IM_CONDITION_NOT);
    assert_string_equal(condition->children[1]->children[1]->children[0]->column, "lat");
    im_condition_free(condition);
    condition = NULL;
    for (int i = 0; i < 300; i++) {
        filter = node_of(IM_FILTER_NOT, filter, NULL);
    }
    assert_int_equal(im_filter_compile(filter, &options, &condition, &err), IM_ERR_LIMIT);
    assert_null(condition);
    drop(filter);
}

static void compiling_survives_each_failed_allocation(void **state)
{
    (void)state;
    static const char *const tests[] = {"taken:2019", "camera:x", "Category:a*", "price<5",
                                        "stock:1",    "type:jpg", "has:gps",     "has:price",
                                        "near:1,2,3", "tag:x",    "width:5",     "is:partial"};
    im_filter_options options = options_of(false);
    im_filter *filter = test_of("has:tag");
    for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
        filter = node_of(i % 2 == 0 ? IM_FILTER_AND : IM_FILTER_OR, filter, test_of(tests[i]));
    }
    im_code rc = IM_ERR_NOMEM;
    size_t before = im_live_allocations();
    for (size_t nth = 0; rc != IM_OK; nth++) {
        im_condition *condition = NULL;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_filter_compile(filter, &options, &condition, NULL);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        im_condition_free(condition);
        assert_int_equal(im_live_allocations(), before);
    }
    drop(filter);
}

/* base/query_words.def and the compiler's table are of one mind. */
static void every_word_for_a_field_is_one(void **state)
{
    static const char *const words[] = {
#define X(word, is_field) is_field ? #word : NULL,
#include "base/query_words.def"
#undef X
    };
    (void)state;
    im_filter_options options = options_of(true);
    for (size_t i = 0; i < IM_COUNT(words); i++) {
        char text[64];
        im_error error = IM_ERROR_INIT;
        im_condition *condition = NULL;
        if (words[i] == NULL) {
            continue;
        }
        (void)snprintf(text, sizeof(text), "%s:zzz", words[i]);
        im_filter *filter = test_of(text);
        im_code rc = im_filter_compile(filter, &options, &condition, &error);
        assert_true(rc == IM_OK || strcmp(error.reason, "query_value") == 0);
        im_condition_free(condition);
        drop(filter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_word_for_a_field_is_one),
        cmocka_unit_test(numbers_take_ranges_operators_and_sizes),
        cmocka_unit_test(numbers_that_are_none_are_refused),
        cmocka_unit_test(texts_are_parts_wholes_or_patterns),
        cmocka_unit_test(what_an_item_has_and_is),
        cmocka_unit_test(places_have_units_and_edges),
        cmocka_unit_test(what_is_no_column_is_asked_for),
        cmocka_unit_test(unknown_fields_name_the_nearest),
        cmocka_unit_test(missing_items_are_left_out_unless_asked_for),
        cmocka_unit_test(a_tree_keeps_its_form_and_depth_is_bounded),
        cmocka_unit_test(compiling_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
