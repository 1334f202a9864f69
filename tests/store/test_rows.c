/* tests/store/test_rows.c — every function of the door that reads and writes rows: setting.c,
 * root.c, file.c, item.c, failure.c, model.c, embedding.c, facts.c. */
#include "base/memory.h"
#include "tests/store/help.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static int set_up(void **state)
{
    help_fixture *f = help_fixture_new("/photos");
    f->model = help_model(f->store, "one");
    *state = f;
    return 0;
}

static im_error err = IM_ERROR_INIT;

/* ---- collecting ---- */

#define MOST 64

typedef struct list {
    size_t n, stop_after;
    uint64_t ids[MOST];
    char texts[MOST][64];
} list;

static bool keep(list *l, uint64_t id, im_view text)
{
    assert_true(l->n < MOST);
    l->ids[l->n] = id;
    (void)snprintf(l->texts[l->n], sizeof l->texts[0], "%.*s", (int)text.size, text.data);
    l->n++;
    return l->n != l->stop_after;
}

static bool keep_file(void *context, const im_file_row *file)
{
    return keep(context, file->id, file->path);
}

static bool keep_root(void *context, const im_root *root)
{
    return keep(context, root->id, im_view_from(root->path));
}

static bool keep_item(void *context, const im_item *item)
{
    return keep(context, item->id, im_view_from(item->format));
}

static bool keep_id(void *context, uint64_t id)
{
    return keep(context, id, im_view_from(""));
}

static bool keep_model(void *context, const im_model_row *model)
{
    assert_null(model->background);
    return keep(context, model->id, im_view_from(model->name));
}

static bool keep_failure(void *context, const im_failure *failure)
{
    return keep(context, failure->root, failure->path);
}

static uint64_t put_path(help_fixture *f, uint64_t root, const char *path, size_t size,
                         uint64_t item)
{
    uint64_t id = 0;
    im_file_row file = {.root = root,
                        .path = im_view_of(path, size),
                        .stamp = {.size = 7, .mtime_ns = -5, .device = 3, .inode = UINT64_MAX - 1},
                        .hashed_ns = 11,
                        .edges = UINT64_MAX,
                        .item = item};
    help_ok(im_store_put_file(f->store, &file, &id, &err), &err);
    return id;
}

static uint64_t put_item(help_fixture *f, uint64_t n)
{
    uint64_t id = 0;
    im_item item = help_item(n);
    help_ok(im_store_put_item(f->store, &item, &id, &err), &err);
    return id;
}

/* ---- settings ---- */

static void a_setting_is_kept_replaced_and_unset(void **state)
{
    help_fixture *f = *state;
    char *value = (char *)1;
    help_ok(im_store_get_setting(f->store, "vlm_url", &value, &err), &err);
    assert_null(value);
    help_ok(im_store_set_setting(f->store, "vlm_url", "http://a", &err), &err);
    help_ok(im_store_set_setting(f->store, "vlm_url", "", &err), &err);
    help_ok(im_store_get_setting(f->store, "vlm_url", &value, &err), &err);
    assert_string_equal(value, "");
    im_free(value);
    help_ok(im_store_set_setting(f->store, "vlm_url", NULL, &err), &err);
    help_ok(im_store_get_setting(f->store, "vlm_url", &value, &err), &err);
    assert_null(value);
}

/* ---- roots ---- */

static void a_root_is_found_again_by_its_path(void **state)
{
    help_fixture *f = *state;
    list roots = {0};
    assert_int_equal(help_root(f->store, "/photos"), f->root);
    uint64_t odd = help_root(f->store, "/ph\xff\x01 otos");
    assert_int_not_equal(odd, f->root);
    help_ok(im_store_each_root(f->store, keep_root, &roots, &err), &err);
    assert_int_equal(roots.n, 2);
    assert_string_equal(roots.texts[0], "/photos");
    assert_string_equal(roots.texts[1], "/ph\xff\x01 otos");
    list first = {.stop_after = 1};
    help_ok(im_store_each_root(f->store, keep_root, &first, &err), &err);
    assert_int_equal(first.n, 1);
}

static bool see_root(void *context, const im_root *root)
{
    im_root *out = context;
    out->recursive = root->recursive;
    out->online = root->online;
    return false;
}

static void a_root_keeps_its_options(void **state)
{
    help_fixture *f = *state;
    im_root seen = {0};
    uint64_t root = 0;
    help_ok(im_store_each_root(f->store, see_root, &seen, &err), &err);
    assert_true(seen.recursive && seen.online);
    help_ok(im_store_put_root(f->store, "/photos", false, &root, &err), &err);
    help_ok(im_store_set_root_online(f->store, root, false, &err), &err);
    help_ok(im_store_each_root(f->store, see_root, &seen, &err), &err);
    assert_false(seen.recursive || seen.online);
    assert_int_equal(im_store_set_root_online(f->store, 999, true, &err), IM_ERR_NOT_FOUND);
}

static void a_root_moves_unless_the_place_is_taken(void **state)
{
    help_fixture *f = *state;
    uint64_t other = help_root(f->store, "/other");
    assert_int_equal(im_store_move_root(f->store, other, "/photos", &err), IM_ERR_CONFLICT);
    assert_int_equal(im_store_move_root(f->store, 999, "/new", &err), IM_ERR_NOT_FOUND);
    assert_int_equal(im_store_move_root(f->store, other, "new", &err), IM_ERR_INVALID);
    help_ok(im_store_move_root(f->store, other, "/new", &err), &err);
    assert_int_equal(help_root(f->store, "/new"), other);
    uint64_t none = 0;
    assert_int_equal(im_store_put_root(f->store, "relative", true, &none, &err), IM_ERR_INVALID);
}

/* ---- items ---- */

static void every_value_of_an_item_comes_back(void **state)
{
    help_fixture *f = *state;
    for (uint64_t n = 0; n < 12; n++) {
        im_item wanted = help_item(n);
        im_item got;
        wanted.id = put_item(f, n);
        help_ok(im_store_get_item(f->store, wanted.id, &got, &err), &err);
        assert_memory_equal(got.sha256, wanted.sha256, 32);
        assert_int_equal(got.id, wanted.id);
        assert_int_equal(got.bytes, wanted.bytes);
        assert_string_equal(got.format, wanted.format);
        assert_int_equal(got.width, wanted.width);
        assert_int_equal(got.height, wanted.height);
        assert_true(got.phash == wanted.phash);
        assert_int_equal(got.partial, wanted.partial);
        assert_int_equal(got.has_taken, wanted.has_taken);
        assert_true(got.taken_s == wanted.taken_s);
        assert_int_equal(got.has_taken_offset, wanted.has_taken_offset);
        assert_int_equal(got.taken_offset_min, wanted.taken_offset_min);
        assert_int_equal(got.has_gps, wanted.has_gps);
        assert_true(got.latitude == wanted.latitude && got.longitude == wanted.longitude);
        assert_string_equal(got.camera, wanted.camera);
        assert_string_equal(got.lens, wanted.lens);
        assert_true(got.added_ns == wanted.added_ns);
    }
}

static void extreme_values_of_an_item_come_back(void **state)
{
    help_fixture *f = *state;
    im_item wanted = {.bytes = UINT64_MAX,
                      .width = UINT32_MAX,
                      .height = UINT32_MAX,
                      .phash = UINT64_MAX,
                      .has_taken = true,
                      .taken_s = INT64_MIN,
                      .has_taken_offset = true,
                      .taken_offset_min = INT16_MIN,
                      .has_gps = true,
                      .latitude = -0.0,
                      .longitude = 180.0,
                      .camera = "\xff\xfe bad utf-8",
                      .added_ns = INT64_MAX};
    im_item got;
    uint64_t id = 0;
    memset(wanted.lens, 'L', sizeof wanted.lens - 1);
    help_ok(im_store_put_item(f->store, &wanted, &id, &err), &err);
    help_ok(im_store_get_item(f->store, id, &got, &err), &err);
    assert_true(got.bytes == UINT64_MAX && got.width == UINT32_MAX && got.phash == UINT64_MAX);
    assert_true(got.taken_s == INT64_MIN && got.taken_offset_min == INT16_MIN);
    assert_true(got.latitude == 0.0 && got.longitude == 180.0 && got.added_ns == INT64_MAX);
    assert_string_equal(got.camera, wanted.camera);
    assert_string_equal(got.lens, wanted.lens);
    im_item nowhere = {.has_gps = true, .latitude = (double)NAN, .longitude = 5, .sha256 = {1}};
    help_ok(im_store_put_item(f->store, &nowhere, &id, &err), &err);
    help_ok(im_store_get_item(f->store, id, &got, &err), &err);
    assert_false(got.has_gps);
}

static void equal_content_is_one_item(void **state)
{
    help_fixture *f = *state;
    uint64_t id = put_item(f, 1);
    uint64_t found = 0;
    uint8_t sha256[32];
    im_item again = help_item(1);
    help_sha256(1, sha256);
    help_ok(im_store_find_item(f->store, sha256, &found, &err), &err);
    assert_int_equal(found, id);
    assert_int_equal(im_store_put_item(f->store, &again, &found, &err), IM_ERR_CONFLICT);
    help_sha256(2, sha256);
    help_ok(im_store_find_item(f->store, sha256, &found, &err), &err);
    assert_int_equal(found, 0);
}

static void items_are_walked_in_id_order_after_an_id(void **state)
{
    help_fixture *f = *state;
    uint64_t ids[5];
    for (uint64_t n = 0; n < 5; n++) {
        ids[n] = put_item(f, n);
    }
    list all = {0};
    list rest = {0};
    list some = {.stop_after = 2};
    help_ok(im_store_each_item(f->store, 0, keep_item, &all, &err), &err);
    help_ok(im_store_each_item(f->store, ids[2], keep_item, &rest, &err), &err);
    help_ok(im_store_each_item(f->store, 0, keep_item, &some, &err), &err);
    assert_int_equal(all.n, 5);
    assert_memory_equal(all.ids, ids, sizeof ids);
    assert_int_equal(rest.n, 2);
    assert_int_equal(rest.ids[0], ids[3]);
    assert_int_equal(some.n, 2);
}

static void a_removed_item_leaves_nothing_and_its_id_is_never_used_again(void **state)
{
    help_fixture *f = *state;
    uint8_t sha256[32];
    im_item item;
    bool removed = false;
    im_store_counts counts;
    uint64_t a = help_put(f->store, f->root, f->model, 1, 0);
    uint64_t b = help_put(f->store, f->root, f->model, 2, 1);
    help_ok(im_store_remove_item(f->store, b, &err), &err);
    assert_int_equal(im_store_get_item(f->store, b, &item, &err), IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "item_not_found");
    assert_int_equal(im_store_remove_item(f->store, b, &err), IM_ERR_NOT_FOUND);
    help_ok(im_store_count(f->store, 0, &counts, &err), &err);
    assert_int_equal(counts.items, 1);
    assert_int_equal(counts.files, 1);
    assert_int_equal(counts.embeddings, 1);
    assert_int_equal(counts.removed, 1);
    assert_int_equal(counts.change_seq, 3);
    help_sha256(2, sha256);
    help_ok(im_store_was_removed(f->store, sha256, &removed, &err), &err);
    assert_true(removed);
    help_ok(im_store_forget_removed(f->store, sha256, &err), &err);
    help_ok(im_store_was_removed(f->store, sha256, &removed, &err), &err);
    assert_false(removed);
    assert_true(put_item(f, 2) > b);
    assert_true(a < b);
}

/* ---- files ---- */

static void every_value_of_a_file_comes_back(void **state)
{
    help_fixture *f = *state;
    static const char path[] = "a/\xff\n'\"; DROP TABLE file;--.jpg";
    im_view view = im_view_of(path, sizeof path - 1);
    im_file_row got;
    uint64_t item = put_item(f, 1);
    uint64_t id = put_path(f, f->root, path, sizeof path - 1, item);
    help_ok(im_store_find_file(f->store, f->root, view, &got, &err), &err);
    assert_int_equal(got.id, id);
    assert_int_equal(got.root, f->root);
    assert_ptr_equal(got.path.data, path);
    assert_int_equal(got.stamp.size, 7);
    assert_true(got.stamp.mtime_ns == -5 && got.stamp.inode == UINT64_MAX - 1);
    assert_int_equal(got.stamp.device, 3);
    assert_int_equal(got.hashed_ns, 11);
    assert_true(got.edges == UINT64_MAX);
    assert_int_equal(got.item, item);
    assert_false(got.missing);
    help_ok(im_store_find_file(f->store, f->root, im_view_from("a/b"), &got, &err), &err);
    assert_int_equal(got.id, 0);
    assert_string_equal(got.path.data, "a/b");
    help_ok(im_store_find_file(f->store, f->root + 1, view, &got, &err), &err);
    assert_int_equal(got.id, 0);
}

static void putting_a_path_again_updates_its_row(void **state)
{
    help_fixture *f = *state;
    im_file_row got;
    uint64_t one = put_item(f, 1);
    uint64_t two = put_item(f, 2);
    uint64_t id = put_path(f, f->root, "x", 1, one);
    help_ok(im_store_set_file_missing(f->store, id, true, &err), &err);
    assert_int_equal(put_path(f, f->root, "x", 1, two), id);
    help_ok(im_store_find_file(f->store, f->root, im_view_from("x"), &got, &err), &err);
    assert_int_equal(got.item, two);
    assert_false(got.missing);
}

static void a_missing_file_keeps_its_first_date(void **state)
{
    help_fixture *f = *state;
    im_file_row first;
    im_file_row second;
    im_store_counts counts;
    uint64_t id = put_path(f, f->root, "x", 1, put_item(f, 1));
    help_ok(im_store_set_file_missing(f->store, id, true, &err), &err);
    help_ok(im_store_find_file(f->store, f->root, im_view_from("x"), &first, &err), &err);
    help_ok(im_store_set_file_missing(f->store, id, true, &err), &err);
    help_ok(im_store_find_file(f->store, f->root, im_view_from("x"), &second, &err), &err);
    assert_true(first.missing && first.missing_since_ns > 0);
    assert_true(first.missing_since_ns == second.missing_since_ns);
    help_ok(im_store_count(f->store, 0, &counts, &err), &err);
    assert_int_equal(counts.missing_files, 1);
    help_ok(im_store_set_file_missing(f->store, id, false, &err), &err);
    help_ok(im_store_find_file(f->store, f->root, im_view_from("x"), &second, &err), &err);
    assert_false(second.missing);
    assert_int_equal(im_store_set_file_missing(f->store, 999, true, &err), IM_ERR_NOT_FOUND);
}

static void a_dropped_file_is_gone_its_item_stays(void **state)
{
    help_fixture *f = *state;
    im_file_row got;
    im_item item;
    uint64_t owner = put_item(f, 1);
    uint64_t id = put_path(f, f->root, "x", 1, owner);
    help_ok(im_store_drop_file(f->store, id, &err), &err);
    help_ok(im_store_find_file(f->store, f->root, im_view_from("x"), &got, &err), &err);
    assert_int_equal(got.id, 0);
    help_ok(im_store_get_item(f->store, owner, &item, &err), &err);
    assert_int_equal(im_store_drop_file(f->store, id, &err), IM_ERR_NOT_FOUND);
}

static void a_file_of_nothing_is_refused(void **state)
{
    help_fixture *f = *state;
    im_file_row row = {.root = f->root, .path = im_view_from("x"), .item = 77};
    assert_int_equal(im_store_put_file(f->store, &row, NULL, &err), IM_ERR_CONFLICT);
    row.item = put_item(f, 1);
    row.root = 77;
    assert_int_equal(im_store_put_file(f->store, &row, NULL, &err), IM_ERR_CONFLICT);
}

static void files_below_a_folder_come_in_byte_order(void **state)
{
    help_fixture *f = *state;
    static const char *const paths[] = {"a",    "a!",     "a/", "a/b", "a/b/c",
                                        "a/b0", "a/\xff", "a0", "ab",  "b"};
    uint64_t item = put_item(f, 1);
    uint64_t other = help_root(f->store, "/other");
    for (size_t i = sizeof paths / sizeof paths[0]; i-- > 0;) {
        (void)put_path(f, f->root, paths[i], strlen(paths[i]), item);
    }
    (void)put_path(f, other, "a/b", 3, item);
    list all = {0};
    list in_a = {0};
    list in_ab = {0};
    list none = {0};
    help_ok(im_store_each_file_of_root(f->store, f->root, im_view_from(""), keep_file, &all, &err),
            &err);
    help_ok(
        im_store_each_file_of_root(f->store, f->root, im_view_from("a"), keep_file, &in_a, &err),
        &err);
    help_ok(im_store_each_file_of_root(f->store, f->root, im_view_from("a/b/"), keep_file, &in_ab,
                                       &err),
            &err);
    help_ok(
        im_store_each_file_of_root(f->store, f->root, im_view_from("c"), keep_file, &none, &err),
        &err);
    assert_int_equal(all.n, 10);
    for (size_t i = 0; i < all.n; i++) {
        assert_string_equal(all.texts[i], paths[i]);
    }
    assert_int_equal(in_a.n, 4); /* not "a/" itself */
    assert_string_equal(in_a.texts[0], "a/b");
    assert_string_equal(in_a.texts[3], "a/\xff");
    assert_int_equal(in_ab.n, 1);
    assert_string_equal(in_ab.texts[0], "a/b/c");
    assert_int_equal(none.n, 0);
}

static void files_are_found_by_stamp_unless_missing(void **state)
{
    help_fixture *f = *state;
    im_file_stamp stamp = {.size = 7, .mtime_ns = -5, .device = 3, .inode = UINT64_MAX - 1};
    uint64_t item = put_item(f, 1);
    uint64_t a = put_path(f, f->root, "a", 1, item);
    uint64_t b = put_path(f, f->root, "b", 1, item);
    list both = {0};
    list one = {0};
    list none = {0};
    help_ok(im_store_each_file_of_stamp(f->store, &stamp, keep_file, &both, &err), &err);
    assert_int_equal(both.n, 2);
    help_ok(im_store_set_file_missing(f->store, a, true, &err), &err);
    help_ok(im_store_each_file_of_stamp(f->store, &stamp, keep_file, &one, &err), &err);
    assert_int_equal(one.n, 1);
    assert_int_equal(one.ids[0], b);
    stamp.mtime_ns++;
    help_ok(im_store_each_file_of_stamp(f->store, &stamp, keep_file, &none, &err), &err);
    assert_int_equal(none.n, 0);
    list of_item = {0};
    help_ok(im_store_each_file_of_item(f->store, item, keep_file, &of_item, &err), &err);
    assert_int_equal(of_item.n, 2);
}

static void check_path(help_fixture *f, uint64_t item, const char *wanted, bool wanted_online)
{
    char *path = NULL;
    bool online = !wanted_online;
    help_ok(im_store_item_path(f->store, item, &path, &online, &err), &err);
    if (wanted == NULL) {
        assert_null(path);
    } else {
        assert_non_null(path);
        assert_string_equal(path, wanted);
    }
    assert_int_equal(online, wanted_online);
    im_free(path);
}

static void the_path_of_an_item_is_its_first_present_file(void **state)
{
    help_fixture *f = *state;
    uint64_t item = put_item(f, 1);
    uint64_t top = help_root(f->store, "/");
    check_path(f, item, NULL, false);
    uint64_t last = put_path(f, top, "t.jpg", 5, item);
    check_path(f, item, "/t.jpg", true);
    uint64_t b = put_path(f, f->root, "b\xff", 2, item);
    uint64_t a = put_path(f, f->root, "a", 1, item);
    check_path(f, item, "/photos/a", true);
    help_ok(im_store_set_file_missing(f->store, a, true, &err), &err);
    check_path(f, item, "/photos/b\xff", true);
    help_ok(im_store_set_root_online(f->store, f->root, false, &err), &err);
    check_path(f, item, "/photos/b\xff", false);
    help_ok(im_store_set_file_missing(f->store, b, true, &err), &err);
    check_path(f, item, "/t.jpg", true);
    help_ok(im_store_set_file_missing(f->store, last, true, &err), &err);
    check_path(f, item, "/photos/a", false);
}

/* ---- failures ---- */

static void a_failure_is_known_until_its_file_changes(void **state)
{
    help_fixture *f = *state;
    im_view path = im_view_from("bad.jpg");
    im_failure failure = {.root = f->root,
                          .path = path,
                          .reason = "picture_truncated",
                          .message = "picture 'bad.jpg': 3 of 9 rows",
                          .stamp = {.size = 1, .mtime_ns = 2, .device = 3, .inode = 4},
                          .when_ns = 9};
    im_error told = IM_ERROR_INIT;
    bool known = false;
    help_ok(im_store_put_failure(f->store, &failure, &err), &err);
    help_ok(im_store_put_failure(f->store, &failure, &err), &err);
    help_ok(im_store_find_failure(f->store, f->root, path, &failure.stamp, &known, &told, &err),
            &err);
    assert_true(known);
    assert_int_equal(told.code, IM_ERR_FORMAT);
    assert_string_equal(told.reason, "picture_truncated");
    assert_string_equal(told.message, failure.message);
    for (int i = 0; i < 4; i++) {
        im_file_stamp other = failure.stamp;
        other.size += i == 0;
        other.mtime_ns += i == 1;
        other.device += i == 2;
        other.inode += i == 3;
        help_ok(im_store_find_failure(f->store, f->root, path, &other, &known, NULL, &err), &err);
        assert_false(known);
    }
    list all = {0};
    help_ok(im_store_each_failure(f->store, keep_failure, &all, &err), &err);
    assert_int_equal(all.n, 1);
    assert_string_equal(all.texts[0], "bad.jpg");
    help_ok(im_store_clear_failure(f->store, f->root, path, &err), &err);
    help_ok(im_store_find_failure(f->store, f->root, path, &failure.stamp, &known, NULL, &err),
            &err);
    assert_false(known);
}

static void putting_a_file_clears_its_failure(void **state)
{
    help_fixture *f = *state;
    im_store_counts counts;
    im_failure failure = {
        .root = f->root, .path = im_view_from("x"), .reason = "a_newer_reason", .message = "no"};
    im_error told = IM_ERROR_INIT;
    bool known = false;
    help_ok(im_store_put_failure(f->store, &failure, &err), &err);
    help_ok(
        im_store_find_failure(f->store, f->root, failure.path, &failure.stamp, &known, &told, &err),
        &err);
    assert_int_equal(told.code, IM_ERR_FORMAT); /* a reason of a newer program is a general one */
    help_ok(im_store_count(f->store, 0, &counts, &err), &err);
    assert_int_equal(counts.failures, 1);
    (void)put_path(f, f->root, "x", 1, put_item(f, 1));
    help_ok(im_store_count(f->store, 0, &counts, &err), &err);
    assert_int_equal(counts.failures, 0);
}

/* ---- models ---- */

static void a_model_comes_back_with_its_background(void **state)
{
    help_fixture *f = *state;
    im_model_row model = {0};
    float wanted[2 * HELP_DIM];
    help_vector(7, wanted, 2 * HELP_DIM);
    help_ok(im_store_active_model(f->store, &model, &err), &err);
    assert_int_equal(model.id, f->model);
    assert_string_equal(model.name, "one");
    assert_string_equal(model.folder, "/models/small");
    assert_string_equal(model.files, "[]");
    assert_string_equal(model.family, "clip");
    assert_string_equal(model.precision, "fp32");
    assert_int_equal(model.dim, HELP_DIM);
    assert_int_equal(model.state, IM_MODEL_ACTIVE);
    assert_int_equal(model.n_background, 2);
    assert_memory_equal(model.background, wanted, sizeof wanted);
    char digest[65];
    memcpy(digest, model.digest, sizeof digest);
    im_model_row_clear(&model);
    help_ok(im_store_model_of_digest(f->store, digest, &model, &err), &err);
    assert_int_equal(model.id, f->model);
    im_model_row_clear(&model);
    digest[0] = digest[0] == '0' ? '1' : '0';
    help_ok(im_store_model_of_digest(f->store, digest, &model, &err), &err);
    assert_int_equal(model.id, 0);
    im_model_row_clear(&model);
}

static void only_one_model_is_active(void **state)
{
    help_fixture *f = *state;
    im_model_row model = {0};
    uint64_t two = help_model(f->store, "two");
    help_ok(im_store_active_model(f->store, &model, &err), &err);
    assert_int_equal(model.id, two);
    model.state = IM_MODEL_RETIRED;
    model.n_background = 0;
    model.dim = 3;
    help_ok(im_store_update_model(f->store, &model, &err), &err);
    im_model_row_clear(&model);
    help_ok(im_store_active_model(f->store, &model, &err), &err);
    assert_int_equal(model.id, 0);
    im_model_row_clear(&model);
    help_ok(im_store_activate_model(f->store, f->model, &err), &err);
    help_ok(im_store_activate_model(f->store, f->model, &err), &err);
    assert_int_equal(im_store_activate_model(f->store, 99, &err), IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "model_not_found");
    help_ok(im_store_active_model(f->store, &model, &err), &err);
    assert_int_equal(model.id, f->model); /* the failed call changed nothing */
    model.id = 99;
    assert_int_equal(im_store_update_model(f->store, &model, &err), IM_ERR_NOT_FOUND);
    im_model_row_clear(&model);
    list all = {0};
    help_ok(im_store_each_model(f->store, keep_model, &all, &err), &err);
    assert_int_equal(all.n, 2);
    assert_string_equal(all.texts[1], "two");
}

/* ---- embeddings ---- */

static void a_vector_that_cannot_be_is_refused(void **state)
{
    help_fixture *f = *state;
    float vector[HELP_DIM];
    uint64_t item = put_item(f, 1);
    help_vector(1, vector, HELP_DIM);
    vector[3] = NAN;
    assert_int_equal(im_store_put_embedding(f->store, item, f->model, 0, vector, HELP_DIM, &err),
                     IM_ERR_INVALID);
    assert_string_equal(err.reason, "vector_invalid");
    vector[3] = INFINITY;
    assert_int_equal(im_store_put_embedding(f->store, item, f->model, 0, vector, HELP_DIM, &err),
                     IM_ERR_INVALID);
    vector[3] = 0;
    assert_int_equal(
        im_store_put_embedding(f->store, item, f->model, 0, vector, HELP_DIM - 1, &err),
        IM_ERR_INVALID);
    assert_int_equal(im_store_put_embedding(f->store, item, 99, 0, vector, HELP_DIM, &err),
                     IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "model_not_found");
    assert_int_equal(im_store_put_embedding(f->store, 99, f->model, 0, vector, HELP_DIM, &err),
                     IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "item_not_found");
    assert_int_equal(
        im_store_put_embedding(f->store, item, f->model, UINT64_MAX, vector, HELP_DIM, &err),
        IM_ERR_INVALID);
    uint64_t seq = 99;
    help_ok(im_store_change_seq(f->store, &seq, &err), &err);
    assert_int_equal(seq, 0);
}

static void a_slot_is_used_once(void **state)
{
    help_fixture *f = *state;
    float vector[HELP_DIM] = {1};
    float got[HELP_DIM];
    uint64_t a = help_put(f->store, f->root, f->model, 1, 5);
    uint64_t b = put_item(f, 2);
    assert_int_equal(im_store_put_embedding(f->store, b, f->model, 5, vector, HELP_DIM, &err),
                     IM_ERR_CONFLICT);
    assert_int_equal(im_store_put_embedding(f->store, a, f->model, 6, vector, HELP_DIM, &err),
                     IM_ERR_CONFLICT);
    help_ok(im_store_remove_item(f->store, a, &err), &err);
    assert_int_equal(im_store_put_embedding(f->store, b, f->model, 5, vector, HELP_DIM, &err),
                     IM_ERR_CONFLICT); /* its slot is dead, not free */
    uint64_t two = help_model(f->store, "two");
    help_ok(im_store_put_embedding(f->store, b, two, 5, vector, HELP_DIM, &err), &err);
    assert_int_equal(im_store_get_embedding(f->store, b, f->model, got, HELP_DIM, NULL, &err),
                     IM_ERR_NOT_FOUND);
    assert_int_equal(im_store_get_embedding(f->store, b, two, got, HELP_DIM - 1, NULL, &err),
                     IM_ERR_INVALID);
}

typedef struct walk {
    size_t n;
    uint64_t items[MOST], slots[MOST];
} walk;

static bool walk_on(void *context, uint64_t item, uint64_t slot, const float *vector, bool sound)
{
    walk *w = context;
    float wanted[HELP_DIM];
    assert_true(sound);
    help_vector(item - 1, wanted, HELP_DIM); /* items were put in order from 0 */
    assert_memory_equal(vector, wanted, sizeof wanted);
    w->items[w->n] = item;
    w->slots[w->n++] = slot;
    return true;
}

static void embeddings_come_in_slot_order(void **state)
{
    help_fixture *f = *state;
    static const uint64_t slots[] = {9, 2, 70, 0};
    walk w = {0};
    uint64_t bits[2] = {~UINT64_C(0), ~UINT64_C(0)};
    uint64_t alive = 0;
    for (uint64_t n = 0; n < 4; n++) {
        (void)help_put(f->store, f->root, f->model, n, slots[n]);
    }
    help_ok(im_store_each_embedding(f->store, f->model, HELP_DIM, walk_on, &w, &err), &err);
    assert_int_equal(w.n, 4);
    assert_true(w.slots[0] == 0 && w.slots[1] == 2 && w.slots[2] == 9 && w.slots[3] == 70);
    assert_int_equal(w.items[0], 4);
    help_ok(im_store_alive_slots(f->store, f->model, 70, bits, &alive, &err), &err);
    assert_int_equal(alive, 3);
    assert_true(bits[0] == (1u | 1u << 2 | 1u << 9) && bits[1] == 0);
    help_ok(im_store_remove_item(f->store, 2, &err), &err);
    help_ok(im_store_alive_slots(f->store, f->model, 71, bits, &alive, &err), &err);
    assert_int_equal(alive, 3);
    assert_true(bits[0] == (1u | 1u << 9) && bits[1] == 1u << 6);
}

static void items_without_a_vector_are_listed(void **state)
{
    help_fixture *f = *state;
    list without = {0};
    (void)help_put(f->store, f->root, f->model, 0, 0);
    uint64_t a = put_item(f, 1);
    (void)help_put(f->store, f->root, f->model, 2, 1);
    uint64_t b = put_item(f, 3);
    help_ok(im_store_each_unembedded(f->store, f->model, keep_id, &without, &err), &err);
    assert_int_equal(without.n, 2);
    assert_true(without.ids[0] == a && without.ids[1] == b);
}

static void renumbering_closes_the_gaps_and_keeps_the_order(void **state)
{
    help_fixture *f = *state;
    enum { N = 20 };
    walk w = {0};
    uint64_t n = 0;
    uint64_t before = 0;
    uint64_t after = 0;
    for (uint64_t i = 0; i < N; i++) {
        (void)help_put(f->store, f->root, f->model, i, N - 1 - i);
    }
    uint64_t other = help_model(f->store, "other");
    float vector[HELP_DIM] = {0};
    help_ok(im_store_put_embedding(f->store, 1, other, 17, vector, HELP_DIM, &err), &err);
    for (uint64_t id = 1; id <= N; id += 3) {
        help_ok(im_store_remove_item(f->store, id, &err), &err);
    }
    help_ok(im_store_change_seq(f->store, &before, &err), &err);
    help_ok(im_store_renumber_slots(f->store, f->model, &n, &err), &err);
    help_ok(im_store_change_seq(f->store, &after, &err), &err);
    assert_true(after > before);
    assert_int_equal(n, 13);
    help_ok(im_store_each_embedding(f->store, f->model, HELP_DIM, walk_on, &w, &err), &err);
    assert_int_equal(w.n, 13);
    for (size_t i = 0; i < w.n; i++) {
        assert_int_equal(w.slots[i], i);
        assert_true(i == 0 || w.items[i] < w.items[i - 1]); /* they were put in reverse */
    }
    /* slots of the dead are free again */
    uint64_t fresh = put_item(f, 100);
    help_ok(im_store_put_embedding(f->store, fresh, f->model, 13, vector, HELP_DIM, &err), &err);
}

static void many_slots_are_renumbered_in_batches(void **state)
{
    help_fixture *f = *state;
    enum { N = 9000 };
    uint64_t n = 0;
    uint64_t alive = 0;
    static uint64_t bits[(2 * N + 63) / 64];
    help_ok(im_store_begin(f->store, &err), &err);
    for (uint64_t i = 0; i < N; i++) {
        (void)help_put(f->store, f->root, f->model, i, 2 * i + 1);
    }
    help_ok(im_store_renumber_slots(f->store, f->model, &n, &err), &err);
    help_ok(im_store_commit(f->store, &err), &err);
    assert_int_equal(n, N);
    help_ok(im_store_alive_slots(f->store, f->model, N, bits, &alive, &err), &err);
    assert_int_equal(alive, N);
}

static void the_record_of_the_vector_file_is_kept(void **state)
{
    help_fixture *f = *state;
    im_index_record record = {9, 9};
    help_ok(im_store_get_index(f->store, f->model, &record, &err), &err);
    assert_true(record.generation == 0 && record.n_rows == 0);
    record = (im_index_record){.generation = 3, .n_rows = 1000};
    help_ok(im_store_set_index(f->store, f->model, &record, &err), &err);
    record.n_rows = 1001;
    help_ok(im_store_set_index(f->store, f->model, &record, &err), &err);
    record = (im_index_record){0};
    help_ok(im_store_get_index(f->store, f->model, &record, &err), &err);
    assert_true(record.generation == 3 && record.n_rows == 1001);
    assert_int_equal(im_store_set_index(f->store, 99, &record, &err), IM_ERR_NOT_FOUND);
}

/* ---- facts ---- */

static void the_counts_are_those_of_the_rows(void **state)
{
    help_fixture *f = *state;
    im_store_counts counts;
    for (uint64_t n = 0; n < 7; n++) {
        (void)help_put(f->store, f->root, f->model, n, n);
    }
    (void)put_item(f, 50);
    help_ok(im_store_remove_item(f->store, 1, &err), &err);
    uint64_t two = help_model(f->store, "two");
    help_ok(im_store_count(f->store, f->model, &counts, &err), &err);
    assert_int_equal(counts.items, 7);
    assert_int_equal(counts.files, 6);
    assert_int_equal(counts.missing_files, 0);
    assert_int_equal(counts.failures, 0);
    assert_int_equal(counts.roots, 1);
    assert_int_equal(counts.removed, 1);
    assert_int_equal(counts.embeddings, 6);
    assert_int_equal(counts.change_seq, 8);
    assert_true(counts.db_bytes >= 16384 && counts.db_bytes % 16384 == 0);
    assert_true(counts.wal_bytes > 0);
    help_ok(im_store_count(f->store, two, &counts, &err), &err);
    assert_int_equal(counts.embeddings, 0);
}

/* ---- walking ---- */

typedef struct nested {
    help_fixture *f;
    unsigned calls;
} nested;

static bool ask_inside(void *context, const im_file_row *file)
{
    nested *n = context;
    list inner = {0};
    char path[16];
    size_t size = file->path.size;
    memcpy(path, file->path.data, size);
    help_ok(im_store_each_file_of_item(n->f->store, file->item, keep_file, &inner, &err), &err);
    assert_int_equal(inner.n, 3);
    help_ok(im_store_set_file_missing(n->f->store, file->id, true, &err), &err);
    assert_int_equal(file->path.size, size); /* the borrowed row is still there */
    assert_memory_equal(file->path.data, path, size);
    n->calls++;
    return true;
}

static void a_callback_may_ask_the_same_and_write(void **state)
{
    help_fixture *f = *state;
    nested n = {.f = f};
    uint64_t item = put_item(f, 1);
    (void)put_path(f, f->root, "a", 1, item);
    (void)put_path(f, f->root, "b", 1, item);
    (void)put_path(f, f->root, "c", 1, item);
    help_ok(im_store_each_file_of_item(f->store, item, ask_inside, &n, &err), &err);
    assert_int_equal(n.calls, 3);
    im_store_counts counts;
    help_ok(im_store_count(f->store, 0, &counts, &err), &err);
    assert_int_equal(counts.missing_files, 3);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, help_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_setting_is_kept_replaced_and_unset),
        T(a_root_is_found_again_by_its_path),
        T(a_root_keeps_its_options),
        T(a_root_moves_unless_the_place_is_taken),
        T(every_value_of_an_item_comes_back),
        T(extreme_values_of_an_item_come_back),
        T(equal_content_is_one_item),
        T(items_are_walked_in_id_order_after_an_id),
        T(a_removed_item_leaves_nothing_and_its_id_is_never_used_again),
        T(every_value_of_a_file_comes_back),
        T(putting_a_path_again_updates_its_row),
        T(a_missing_file_keeps_its_first_date),
        T(a_dropped_file_is_gone_its_item_stays),
        T(a_file_of_nothing_is_refused),
        T(files_below_a_folder_come_in_byte_order),
        T(files_are_found_by_stamp_unless_missing),
        T(the_path_of_an_item_is_its_first_present_file),
        T(a_failure_is_known_until_its_file_changes),
        T(putting_a_file_clears_its_failure),
        T(a_model_comes_back_with_its_background),
        T(only_one_model_is_active),
        T(a_vector_that_cannot_be_is_refused),
        T(a_slot_is_used_once),
        T(embeddings_come_in_slot_order),
        T(items_without_a_vector_are_listed),
        T(renumbering_closes_the_gaps_and_keeps_the_order),
        T(many_slots_are_renumbered_in_batches),
        T(the_record_of_the_vector_file_is_kept),
        T(the_counts_are_those_of_the_rows),
        T(a_callback_may_ask_the_same_and_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
