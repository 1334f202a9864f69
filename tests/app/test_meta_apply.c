/* tests/app/test_meta_apply.c — `add --meta` and tags against a library: what a line says is what
 * the library holds, a bad line leaves nothing half done, and columns hear of each change. Covers
 * meta.c, meta_apply.c, named.c, own.c and tag.c. */
#include "app/meta_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "tests/app/help.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_PICTURES 4

static im_error err = IM_ERROR_INIT;
static help_home home;

static int make_home(void **state)
{
    (void)state;
    im_error error = IM_ERROR_INIT;
    help_home_make(&home);
    help_ok(im_app_init(&home.places, &error), &error);
    for (uint32_t i = 0; i < N_PICTURES; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%u.png", i + 1); /* n.png is id:n */
        help_png(help_path(home.pictures, name), i);
    }
    im_library *library = help_open(&home, true);
    assert_int_equal(help_add(library, home.pictures).added, N_PICTURES);
    im_library_close(library);
    return 0;
}

static int drop_home(void **state)
{
    (void)state;
    help_home_remove(&home);
    return 0;
}

static const char *write_meta(const char *name, const char *text)
{
    const char *path = help_path(home.pictures, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    return path;
}

/* "NAME:LINE reason;" of each failure that is told. */
static void note_failed(void *context, const char *path, const im_error *error)
{
    const char *slash = strrchr(path, '/');
    im_str_addf(context, "%s %s;", slash + 1, error->reason);
    assert_non_null(strstr(error->message, slash + 1));
}

static im_code apply(im_library *library, const char *path, im_add_report *report, im_str *told,
                     im_error *error)
{
    im_add_request request = {.meta = path};
    im_events events = {.context = told, .failed = note_failed};
    return im_app_add(library, &request, &events, report, error);
}

/* Applies a file and compares what is told and counted: "set/failed/replaced failures". */
static void expect_applied(im_library *library, const char *path, const char *expected)
{
    im_add_report report;
    im_str told;
    im_str found;
    im_error error = IM_ERROR_INIT;
    im_str_init(&told, 1u << 16);
    im_str_init(&found, 1u << 16);
    im_code rc = apply(library, path, &report, &told, &error);
    im_str_addf(&found, "%llu/%llu/%llu %s", (unsigned long long)report.meta_set,
                (unsigned long long)report.meta_failed, (unsigned long long)report.meta_replaced,
                im_str_text(&told));
    assert_string_equal(im_str_text(&found), expected);
    if (report.meta_failed == 0) {
        help_ok(rc, &error);
    } else {
        assert_true(rc == IM_ERR_PARTIAL || report.meta_set == 0);
    }
    im_str_clear(&told);
    im_str_clear(&found);
}

/* The part of `show` behind "paths". */
static void expect_own(im_library *library, uint64_t item, const char *expected)
{
    im_json_writer w;
    im_json_init(&w, 1u << 20);
    help_ok(im_app_show_json(library, item, &w, &err), &err);
    const char *own = strstr(im_str_text(&w.out), "\"key\":");
    assert_non_null(own);
    if (strncmp(own, expected, strlen(expected)) != 0) {
        print_error("found    %s\nexpected %s\n", own, expected);
    }
    assert_memory_equal(own, expected, strlen(expected));
    im_json_clear(&w);
}

static void lines_become_fields_keys_tags_and_captions(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    const char *csv = "path,key,price:number,since:date,sold:bool,note,tags,caption\n"
                      "1.png,k1,12.5,2024-05-01,yes,\"a \"\"b\"\"\",beach;Sea,one\n"
                      "./2.png,k2,,,,,,\n"
                      "../pictures/3.png,,7,,,,sea,\n";
    expect_applied(library, write_meta("m.csv", csv), "3/0/0 ");
    expect_own(library, 1,
               "\"key\":\"k1\",\"fields\":{\"note\":\"a \\\"b\\\"\",\"price\":12.5,\"since\":"
               "\"2024-05-01\",\"sold\":true},\"tags\":[\"beach\",\"Sea\"],\"captions\":["
               "{\"text\":\"one\",\"source\":\"user\"}],\"visible_text\":[]}");
    expect_own(library, 2,
               "\"key\":\"k2\",\"fields\":{},\"tags\":[],\"captions\":[],\"visible_text\":[]}");
    expect_own(library, 3, "\"key\":null,\"fields\":{\"price\":7},\"tags\":[\"Sea\"]");
    /* untyped cells and texts of JSON follow the registered types */
    expect_applied(library, write_meta("n.csv", "key,price,since,sold\nk2, 3 ,2020,FALSE\n"),
                   "1/0/0 ");
    expect_applied(library,
                   write_meta("n.jsonl", "{\"id\":3,\"since\":\"2021-02\",\"price\":null,\"new\":"
                                         "\"2024\"}\n"
                                         "{\"key\":\"k1\",\"note\":null,\"tags\":null,\"caption\":"
                                         "null,\"absent\":null}\n"),
                   "2/0/0 ");
    expect_own(library, 2,
               "\"key\":\"k2\",\"fields\":{\"price\":3,\"since\":\"2020-01-01\","
               "\"sold\":false}");
    expect_own(library, 3, "\"key\":null,\"fields\":{\"new\":\"2024\",\"since\":\"2021-02-01\"}");
    expect_own(library, 1,
               "\"key\":\"k1\",\"fields\":{\"price\":12.5,\"since\":\"2024-05-01\",\"sold\":true},"
               "\"tags\":[],\"captions\":[],\"visible_text\":[]}");
    help_check(library);
    im_library_close(library);
}

static void a_bad_line_leaves_nothing_half_done(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    const char *lines = "{\"id\":1,\"a\":1,\"key\":\"k\"}\n"
                        "{\"id\":2,\"b\":\"x\",\"key\":\"k\",\"tags\":[\"t\"],\"a\":\"text\"}\n"
                        "{\"id\":2,\"c\":\"x\",\"tags\":[\"t\"],\"taken\":1}\n"
                        "{\"path\":\"none.png\",\"c\":1}\n"
                        "{\"id\":99,\"c\":1}\n"
                        "{\"key\":\"other\",\"c\":1}\n"
                        "{\"id\":2,\n"
                        "{\"id\":3,\"A\":2}\n";
    expect_applied(library, write_meta("m.jsonl", lines),
                   "2/6/0 m.jsonl:2 field_type;m.jsonl:3 field_name;m.jsonl:4 item_not_found;"
                   "m.jsonl:5 item_not_found;m.jsonl:6 item_not_found;m.jsonl:7 format;");
    expect_own(library, 1, "\"key\":\"k\",\"fields\":{\"a\":1}");
    expect_own(library, 2,
               "\"key\":null,\"fields\":{},\"tags\":[],\"captions\":[],\"visible_text\":[]}");
    expect_own(library, 3, "\"key\":null,\"fields\":{\"a\":2}");
    im_json_writer w;
    im_json_init(&w, 1u << 20);
    help_ok(im_app_status_json(library, &w, &err), &err); /* b and c are no names yet */
    assert_non_null(strstr(im_str_text(&w.out), "\"fields\":{\"a\":\"number\"}"));
    im_json_clear(&w);
    im_library_close(library);
}

static void a_type_conflict_names_line_field_found_and_expected(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    im_add_report report;
    im_str told;
    im_error error = IM_ERROR_INIT;
    im_str_init(&told, 4096);
    expect_applied(library, write_meta("a.jsonl", "{\"id\":1,\"Price\":1}\n"), "1/0/0 ");
    const char *path = write_meta("b.jsonl", "{\"id\":1,\"price\":\"cheap\"}\n");
    assert_int_equal(apply(library, path, &report, &told, &error), IM_ERR_INVALID);
    assert_string_equal(error.reason, "field_type");
    assert_non_null(strstr(error.message, "b.jsonl:1: field 'Price': found the text 'cheap', "
                                          "expected values of type number"));
    /* a column is refused before any work */
    path = write_meta("b.csv", "id,price:date,x\n1,2024,y\n");
    assert_int_equal(apply(library, path, &report, &told, &error), IM_ERR_INVALID);
    assert_string_equal(error.reason, "field_type");
    assert_non_null(strstr(error.message, "b.csv:1: column 'price'"));
    assert_int_equal(report.meta_set + report.meta_failed, 0);
    expect_own(library, 1, "\"key\":null,\"fields\":{\"Price\":1}");
    im_str_clear(&told);
    im_library_close(library);
}

static void a_key_on_a_new_picture_replaces_the_old_item(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    expect_applied(library, write_meta("a.csv", "path,key,n:number\n1.png,sku,1\n"), "1/0/0 ");
    expect_applied(library, write_meta("a.csv", "path,key,n:number\n2.png,sku,2\n"), "1/0/1 ");
    assert_int_equal(help_counts(library).items, N_PICTURES - 1);
    expect_own(library, 2, "\"key\":\"sku\",\"fields\":{\"n\":2}");
    /* the file of the old one is still there: a scan leaves it out */
    assert_int_equal(help_add(library, home.pictures).added, 0);
    /* the same again changes nothing, and the old path names nothing any more */
    expect_applied(library, write_meta("a.csv", "path,key\n2.png,sku\n1.png,sku\n"),
                   "1/1/0 a.csv:3 item_not_found;");
    expect_own(library, 2, "\"key\":\"sku\"");
    help_check(library);
    im_library_close(library);
}

static void the_same_file_twice_changes_nothing(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    uint64_t before = 0;
    uint64_t after = 0;
    const char *path = write_meta("a.csv", "id,key,n:number,d:date,t,b:bool,tags,caption\n"
                                           "1,k,1,2024,x,no,p;q,words\n");
    expect_applied(library, path, "1/0/0 ");
    help_ok(im_store_change_seq(im_library_store(library), &before, &err), &err);
    expect_applied(library, path, "1/0/0 ");
    help_ok(im_store_change_seq(im_library_store(library), &after, &err), &err);
    assert_int_equal(before, after);
    im_library_close(library);
}

/* ---- what columns hear ---- */

typedef struct heard {
    uint64_t n;
    double sum;
} heard;

static bool hear(void *context, const im_column_row *row)
{
    heard *h = context;
    assert_true(row->sound);
    h->n++;
    for (size_t i = 0; i < row->n_fields; i++) {
        h->sum += row->fields[i].value.number;
    }
    return true;
}

static void columns_hear_of_each_changed_item(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    im_model_row model = {0};
    uint64_t before = 0;
    bool known = false;
    heard changed = {0};
    heard all = {0};
    help_ok(im_store_active_model(im_library_store(library), &model, &err), &err);
    help_ok(im_store_change_seq(im_library_store(library), &before, &err), &err);
    expect_applied(library, write_meta("a.csv", "id,n:number,m:number\n1,1,\n3,10,100\n"),
                   "2/0/0 ");
    im_library_close(library);
    library = help_open(&home, false); /* another process sees the same */
    help_ok(im_store_each_changed_slot(im_library_store(library), model.id, before, hear, &changed,
                                       &known, &err),
            &err);
    assert_true(known && changed.n == 2 && changed.sum == 111);
    help_ok(im_store_each_column_row(im_library_store(library), model.id, 0, hear, &all, &err),
            &err);
    assert_true(all.n == N_PICTURES && all.sum == 111);
    im_model_row_clear(&model);
    im_library_close(library);
}

/* ---- paths ---- */

static void a_path_is_found_by_each_of_its_names(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    im_str csv;
    char link[256];
    (void)snprintf(link, sizeof(link), "%s/link", home.base);
    assert_int_equal(symlink(home.pictures, link), 0);
    assert_int_equal(symlink("1.png", help_path(home.pictures, "alias.png")), 0);
    im_str_init(&csv, 1u << 16);
    im_str_addf(&csv,
                "path,n:number\n1.png,1\n%s/1.png,2\n%s/1.png,3\nalias.png,4\n"
                "../pictures/./1.png,5\n%s//1.png,6\n../link/1.png,7\n",
                home.pictures, link, home.pictures);
    expect_applied(library, write_meta("a.csv", im_str_text(&csv)), "7/0/0 ");
    expect_own(library, 1, "\"key\":null,\"fields\":{\"n\":7}");
    /* relative to the file's folder, also when it is named through a link or from elsewhere */
    (void)write_meta("b.csv", "path,n:number\n1.png,8\n");
    expect_applied(library, help_path(link, "b.csv"), "1/0/0 ");
    char back[PATH_MAX];
    assert_non_null(getcwd(back, sizeof(back)));
    assert_int_equal(chdir(home.pictures), 0);
    im_add_report report;
    im_add_request request = {.meta = "b.csv"};
    help_ok(im_app_add(library, &request, NULL, &report, &err), &err);
    assert_int_equal(report.meta_set, 1);
    assert_int_equal(chdir(back), 0);
    expect_applied(library,
                   write_meta("a.csv", "path\n.\n..\n/\n2\n2.png/x\n/nowhere/2.png\n\xff.png\n"),
                   "0/7/0 a.csv:2 item_not_found;a.csv:3 item_not_found;a.csv:4 item_not_found;"
                   "a.csv:5 item_not_found;a.csv:6 item_not_found;a.csv:7 item_not_found;"
                   "a.csv:8 item_not_found;");
    im_str_clear(&csv);
    im_library_close(library);
}

/* More than a batch, in order; a stop ends it between batches with what was done kept. */
static void many_lines_go_in_batches_and_a_stop_ends_between_them(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    im_str lines;
    im_add_report report;
    im_error error = IM_ERROR_INIT;
    im_str_init(&lines, 1u << 24);
    for (uint32_t i = 0; i < 3 * META_BATCH_ROWS + 7; i++) {
        im_str_addf(&lines, "{\"id\":%u,\"n\":%u}\n", i % N_PICTURES + 1, i);
    }
    const char *path = write_meta("many.jsonl", im_str_text(&lines));
    expect_applied(library, path, "1543/0/0 ");
    expect_own(library, 3, "\"key\":null,\"fields\":{\"n\":1542}");
    im_stop_ask(SIGINT);
    assert_int_equal(apply(library, path, &report, NULL, &error), IM_ERR_PARTIAL);
    im_stop_reset();
    assert_true(report.interrupted && report.meta_set == 0);
    assert_string_equal(error.reason, "interrupted");
    expect_own(library, 3, "\"key\":null,\"fields\":{\"n\":1542}");
    help_check(library);
    im_str_clear(&lines);
    im_library_close(library);
}

static void pictures_and_their_lines_come_with_one_command(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    im_add_report report;
    const char *folder = home.pictures;
    help_png(help_path(home.pictures, "5.png"), 77);
    const char *path = write_meta("a.csv", "path,key\n5.png,five\n6.png,six\n");
    im_add_request request = {.paths = &folder, .n_paths = 1, .decoders = 1, .meta = path};
    assert_int_equal(im_app_add(library, &request, NULL, &report, &err), IM_ERR_PARTIAL);
    assert_true(report.added == 1 && report.meta_set == 1 && report.meta_failed == 1);
    /* a file that cannot be read fails before any work */
    help_png(help_path(home.pictures, "6.png"), 78);
    request.meta = write_meta("bad.csv", "price\n1\n");
    assert_int_equal(im_app_add(library, &request, NULL, &report, &err), IM_ERR_INVALID);
    assert_int_equal(help_counts(library).items, N_PICTURES + 1);
    assert_int_equal(im_app_meta_check(request.meta, &err), IM_ERR_INVALID);
    help_ok(im_app_meta_check(path, &err), &err);
    im_library_close(library);
}

/* ---- tags ---- */

static void note_warning(void *context, const char *sentence)
{
    im_str_addf(context, "%s;", sentence);
}

static void expect_tags(im_library *library, const im_tag_request *request, const char *expected)
{
    im_json_writer w;
    im_json_init(&w, 1u << 20);
    help_ok(im_app_tags_json(library, request, NULL, &w, &err), &err);
    assert_string_equal(im_str_text(&w.out), expected);
    im_json_clear(&w);
}

static void tags_are_given_and_taken_of_all_that_is_named(void **state)
{
    (void)state;
    im_library *library = help_open(&home, true);
    im_tag_report report;
    im_str said;
    im_str_init(&said, 4096);
    im_events events = {.context = &said, .warning = note_warning, .failed = NULL};
    const uint64_t ids[] = {1, 1, 2};
    const char *folder = home.pictures;
    const char *const sea[] = {"sea", "SEA"};
    const char *const gone[] = {"Sea", "none"};
    im_tag_request all = {.paths = &folder, .n_paths = 1, .add = sea, .n_add = 2};
    im_tag_request two = {.items = ids, .n_items = 3, .remove = gone, .n_remove = 2};
    help_ok(im_app_tag(library, &all, &events, &report, &err), &err);
    assert_int_equal(report.items, N_PICTURES);
    help_ok(im_app_tag(library, &two, &events, &report, &err), &err);
    assert_true(report.items == 2 && report.removed == 2 && report.added == 0);
    assert_non_null(strstr(im_str_text(&said), "'none'"));
    assert_null(strstr(im_str_text(&said), "'Sea'"));
    const im_tag_request nothing = {0};
    expect_tags(library, &nothing, "{\"tags\":[{\"name\":\"sea\",\"items\":2}]}");
    const uint64_t three = 3;
    const im_tag_request one = {.items = &three, .n_items = 1};
    im_str json;
    im_str_init(&json, 4096);
    im_str_addf(&json, "{\"items\":[{\"id\":3,\"path\":\"%s/3.png\",\"tags\":[\"sea\"]}]}",
                home.pictures);
    expect_tags(library, &one, im_str_text(&json));
    /* what cannot be a tag changes nothing; what is not there is said */
    const char *const bad[] = {"good", " bad"};
    im_tag_request refused = {.items = ids, .n_items = 3, .add = bad, .n_add = 2};
    assert_int_equal(im_app_tag(library, &refused, &events, &report, &err), IM_ERR_INVALID);
    assert_string_equal(err.reason, "tag_invalid");
    const uint64_t some[] = {1, 99};
    im_tag_request half = {.items = some, .n_items = 2, .add = bad, .n_add = 1};
    assert_int_equal(im_app_tag(library, &half, &events, &report, &err), IM_ERR_PARTIAL);
    half.items = some + 1;
    half.n_items = 1;
    assert_int_equal(im_app_tag(library, &half, &events, &report, &err), IM_ERR_NOT_FOUND);
    expect_tags(library, &nothing,
                "{\"tags\":[{\"name\":\"good\",\"items\":1},{\"name\":\"sea\",\"items\":2}]}");
    help_check(library);
    im_str_clear(&said);
    im_str_clear(&json);
    im_library_close(library);
}

#define WITH_HOME(test) cmocka_unit_test_setup_teardown(test, make_home, drop_home)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_HOME(lines_become_fields_keys_tags_and_captions),
        WITH_HOME(a_bad_line_leaves_nothing_half_done),
        WITH_HOME(a_type_conflict_names_line_field_found_and_expected),
        WITH_HOME(a_key_on_a_new_picture_replaces_the_old_item),
        WITH_HOME(the_same_file_twice_changes_nothing),
        WITH_HOME(columns_hear_of_each_changed_item),
        WITH_HOME(a_path_is_found_by_each_of_its_names),
        WITH_HOME(many_lines_go_in_batches_and_a_stop_ends_between_them),
        WITH_HOME(pictures_and_their_lines_come_with_one_command),
        WITH_HOME(tags_are_given_and_taken_of_all_that_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
