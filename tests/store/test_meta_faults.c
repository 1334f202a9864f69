/* tests/store/test_meta_faults.c — fields, keys, tags, captions, columns, bitmaps while the nth
 * allocation, read, write, sync fails, n = 0, 1, 2 … until all pass: what was refused changed
 * nothing, nothing leaks, and the full text agrees with the rows. */
#include "base/fault.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static im_error err = IM_ERROR_INIT;

static const struct {
    im_fault_kind kind;
    int errnum;
    im_code wanted;
    const char *name;
} cases[] = {
    {IM_FAULT_ALLOC, 0, IM_ERR_NOMEM, "alloc"},
    {IM_FAULT_READ, 0, IM_ERR_IO, "read"},
    {IM_FAULT_WRITE, 0, IM_ERR_IO, "write"},
    {IM_FAULT_WRITE, ENOSPC, IM_ERR_FULL, "write (full)"},
    {IM_FAULT_SYNC, 0, IM_ERR_IO, "sync"},
};

#define N_ITEMS 6

/* ---- writing ---- */

static im_value text_value(const char *text)
{
    return (im_value){.type = IM_VALUE_TEXT, .text = im_view_from(text)};
}

static im_code write_caption(im_store *store)
{
    im_caption caption = {.source = IM_SOURCE_VLM,
                          .vlm_model = "q",
                          .prompt_version = "1",
                          .text = im_view_from("a dog")};
    return im_store_put_caption(store, 3, &caption, &err);
}

static im_code write_file(im_store *store)
{
    im_file_row file = {.root = 1, .path = im_view_from("000000.jpg"), .item = 2};
    return im_store_put_file(store, &file, NULL, &err);
}

static im_code write_step(im_store *store, size_t step)
{
    im_value text = text_value("corner");
    im_value number = {.type = IM_VALUE_NUMBER, .number = 2};
    switch (step) {
    case 0:
        return im_store_put_field(store, 1, "shop", &text, &err);
    case 1:
        return im_store_put_field(store, 1, "price", &number, &err);
    case 2:
        return im_store_put_own_field(store, "size", IM_VALUE_NUMBER, &err);
    case 3:
        return im_store_drop_field(store, 1, "price", &err);
    case 4:
        return im_store_put_key(store, 5, "k", NULL, &err);
    case 5:
        return im_store_put_key(store, 4, "k", NULL, &err); /* item 5 goes */
    case 6:
        return im_store_put_tag(store, 2, "red", IM_SOURCE_USER, &err);
    case 7:
        return im_store_put_tag(store, 3, "blue", IM_SOURCE_FILE, &err);
    case 8:
        return im_store_drop_tag(store, 2, "red", &err);
    case 9:
        return write_caption(store);
    case 10:
        return im_store_set_item_name(store, 6, "six", &err);
    case 11:
        return write_file(store);
    case 12:
        return im_store_set_file_missing(store, 3, true, &err);
    case 13:
        return im_store_drop_file(store, 6, &err);
    case 14:
        return im_store_drop_own_field(store, "shop", &err);
    case 15:
        return im_store_drop_caption(store, 3, IM_CAPTION, IM_SOURCE_VLM, &err);
    default:
        return im_store_move_root(store, 1, "/elsewhere", &err);
    }
}

#define N_STEPS 17

/* All that the steps change, as one text. */
typedef struct picture {
    char text[4096];
    size_t size;
} picture;

static bool see_row(void *context, const im_column_row *row)
{
    picture *p = context;
    p->size +=
        (size_t)snprintf(p->text + p->size, sizeof p->text - p->size, "%llu:%llu m%d t%d c%d f%zu|",
                         (unsigned long long)row->slot, (unsigned long long)row->item, row->missing,
                         row->tagged, row->captioned, row->n_fields);
    return true;
}

static bool see_own_field(void *context, const char *name, im_value_type type)
{
    picture *p = context;
    p->size += (size_t)snprintf(p->text + p->size, sizeof p->text - p->size, "%s:%s|", name,
                                im_value_type_name(type));
    return true;
}

static bool see_file(void *context, const im_file_row *file)
{
    picture *p = context;
    p->size +=
        (size_t)snprintf(p->text + p->size, sizeof p->text - p->size, "%.*s=%llu|",
                         (int)file->path.size, file->path.data, (unsigned long long)file->item);
    return true;
}

static bool see_root(void *context, const im_root *root)
{
    picture *p = context;
    p->size += (size_t)snprintf(p->text + p->size, sizeof p->text - p->size, "%s|", root->path);
    return true;
}

static void take_picture(im_store *store, uint64_t model, picture *out)
{
    uint64_t key = 0;
    uint64_t seq = 0;
    char *name = NULL;
    *out = (picture){0};
    help_ok(im_store_each_column_row(store, model, 0, see_row, out, &err), &err);
    help_ok(im_store_each_own_field(store, see_own_field, out, &err), &err);
    help_ok(im_store_each_file_of_root(store, 1, im_view_from(""), see_file, out, &err), &err);
    help_ok(im_store_each_root(store, see_root, out, &err), &err);
    help_ok(im_store_item_of_key(store, "k", &key, &err), &err);
    help_ok(im_store_item_name(store, 6, &name, &err), &err);
    help_ok(im_store_change_seq(store, &seq, &err), &err);
    (void)snprintf(out->text + out->size, sizeof out->text - out->size, "key %llu name %s seq %llu",
                   (unsigned long long)key, name, (unsigned long long)seq);
    im_free(name);
}

static void each_step_is_whole_or_absent(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        uint64_t root = 0;
        uint64_t model = 0;
        size_t reached = 0;
        char *folder = help_filled(N_ITEMS, &root, &model);
        for (size_t step = 0; step < N_STEPS; step++) {
            bool done = false;
            /* every place of the first 60; of the allocations of the full text every 17th */
            for (size_t nth = 0; !done; nth += nth < 60 ? 1 : 17) {
                picture before;
                picture after;
                size_t live = im_live_allocations();
                im_store *store = help_open(folder, IM_STORE_WRITE);
                take_picture(store, model, &before);
                im_fault_set(cases[i].kind, nth, cases[i].errnum);
                im_code rc = write_step(store, step);
                bool fired = im_fault_fired(cases[i].kind);
                im_fault_clear();
                if (rc != IM_OK && rc != cases[i].wanted) {
                    fail_msg("%s, step %zu, %zu: %s", cases[i].name, step, nth, err.message);
                }
                assert_true(rc == IM_OK || fired);
                help_check_idle(store);
                im_store_close(store);
                assert_int_equal(im_live_allocations(), live);
                store = help_open(folder, IM_STORE_WRITE);
                take_picture(store, model, &after);
                if (rc == IM_OK) {
                    assert_string_not_equal(before.text, after.text);
                } else if (cases[i].kind != IM_FAULT_SYNC) {
                    assert_string_equal(before.text, after.text);
                }
                help_check_clean(store);
                /* a commit of which only the sync failed may be there after all */
                done = rc == IM_OK || strcmp(before.text, after.text) != 0;
                im_store_close(store);
                reached += fired;
            }
        }
        print_message("%-14s %zu places\n", cases[i].name, reached);
        assert_true(reached > 0 || cases[i].kind == IM_FAULT_READ);
        help_folder_remove(folder);
    }
}

/* ---- reading ---- */

typedef struct counted {
    size_t n;
} counted;

static bool count_row(void *context, const im_column_row *row)
{
    ((counted *)context)->n += 1 + row->n_fields;
    return true;
}

static bool count_field(void *context, const char *name, const im_value *value)
{
    (void)name;
    (void)value;
    ((counted *)context)->n++;
    return true;
}

static bool count_own_field(void *context, const char *name, im_value_type type)
{
    (void)name;
    (void)type;
    ((counted *)context)->n++;
    return true;
}

static bool count_tag_of_item(void *context, const char *name, im_text_source source)
{
    (void)name;
    (void)source;
    ((counted *)context)->n++;
    return true;
}

static bool count_tag(void *context, const char *name, uint64_t n_items)
{
    (void)name;
    ((counted *)context)->n += n_items;
    return true;
}

static bool count_caption(void *context, const im_caption *caption)
{
    ((counted *)context)->n += caption->vlm_model != NULL;
    return true;
}

static im_code read_walks(im_store *store, uint64_t model, counted *c)
{
    bool known = false;
    im_code rc = im_store_each_column_row(store, model, 0, count_row, c, &err);
    if (rc == IM_OK) {
        rc = im_store_each_changed_slot(store, model, 1, count_row, c, &known, &err);
        c->n += rc == IM_OK && known;
    }
    if (rc == IM_OK) {
        rc = im_store_each_field_of_item(store, 1, count_field, c, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_own_field(store, count_own_field, c, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_tag_of_item(store, 2, count_tag_of_item, c, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_tag(store, count_tag, c, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_caption_of_item(store, 3, count_caption, c, &err);
    }
    return rc;
}

static im_code read_bitmaps(im_store *store, uint64_t model, counted *c)
{
    static im_code (*const fns[])(im_store *, uint64_t, im_view, uint64_t, uint64_t *,
                                  im_error *) = {im_store_slots_of_path_glob, im_store_slots_of_tag,
                                                 im_store_slots_in, im_store_slots_of_text,
                                                 im_store_slots_of_key};
    static const char *const asked[] = {"*.jpg", "red", "/photos", "dog", "k"};
    im_code rc = IM_OK;
    uint64_t bits[1];
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(fns); i++) {
        rc = fns[i](store, model, im_view_from(asked[i]), N_ITEMS, bits, &err);
        c->n += rc == IM_OK ? (size_t)__builtin_popcountll(bits[0]) : 0;
    }
    if (rc == IM_OK) {
        rc = im_store_slots_tagged(store, model, N_ITEMS, bits, &err);
    }
    if (rc == IM_OK) {
        c->n += (size_t)__builtin_popcountll(bits[0]);
        rc = im_store_slots_missing(store, model, N_ITEMS, bits, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_slots_captioned(store, model, IM_CAPTION, N_ITEMS, bits, &err);
        c->n += rc == IM_OK ? (size_t)__builtin_popcountll(bits[0]) : 0;
    }
    return rc;
}

static im_code read_all(im_store *store, uint64_t model, counted *c)
{
    char *key = NULL;
    char *name = NULL;
    uint64_t item = 0;
    im_code rc = read_walks(store, model, c);
    if (rc == IM_OK) {
        rc = read_bitmaps(store, model, c);
    }
    if (rc == IM_OK) {
        rc = im_store_key_of_item(store, 4, &key, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_item_of_key(store, "k", &item, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_item_name(store, 1, &name, &err);
    }
    c->n += rc == IM_OK ? item + strlen(key) : 0;
    im_free(key);
    im_free(name);
    return rc;
}

static void reading_tells_the_truth_or_fails(void **state)
{
    (void)state;
    uint64_t root = 0;
    uint64_t model = 0;
    counted wanted = {0};
    char *folder = help_filled(N_ITEMS, &root, &model);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    for (size_t step = 0; step < 10; step++) {
        if (step != 3 && step != 8) { /* nothing is dropped again */
            help_ok(write_step(store, step), &err);
        }
    }
    help_ok(read_all(store, model, &wanted), &err);
    im_store_close(store);
    assert_true(wanted.n > 30);
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        size_t reached = 0;
        bool fired = true;
        for (size_t nth = 0; fired; nth++) {
            size_t live = im_live_allocations();
            store = help_open(folder, IM_STORE_READ);
            counted c = {0};
            im_fault_set(cases[i].kind, nth, cases[i].errnum);
            im_code rc = read_all(store, model, &c);
            fired = im_fault_fired(cases[i].kind);
            im_fault_clear();
            if (rc != IM_OK && rc != cases[i].wanted) {
                fail_msg("%s %zu: %s", cases[i].name, nth, err.message);
            }
            assert_true(rc == IM_OK ? c.n == wanted.n : fired);
            help_check_idle(store);
            c = (counted){0};
            help_ok(read_all(store, model, &c), &err); /* and again, on the same store */
            assert_int_equal(c.n, wanted.n);
            im_store_close(store);
            assert_int_equal(im_live_allocations(), live);
            reached += fired;
        }
        print_message("read: %-14s %zu places\n", cases[i].name, reached);
        assert_true(reached > 0 || cases[i].kind != IM_FAULT_ALLOC);
    }
    help_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_is_whole_or_absent),
        cmocka_unit_test(reading_tells_the_truth_or_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
