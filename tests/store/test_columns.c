/* tests/store/test_columns.c — the facts of slots: each as the rows of the library say, and a copy
 * kept up to date by what changed equals one made anew, after random operations. Covers column.c
 * and change.c. */
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <stdio.h>
#include <string.h>

#define N_ITEMS 40
#define N_SLOTS 2048

static im_error err = IM_ERROR_INIT;

typedef struct fixture {
    help_fixture *library;
    im_store *store; /* the library's, as is the root */
    uint64_t root, model, other_model;
    uint64_t seed;
    uint64_t items[N_ITEMS]; /* 0: not there */
    uint64_t next_slot;
    uint64_t next_content;
    char *copy[N_SLOTS]; /* rows as text, kept up to date by what changed; NULL: none */
    uint64_t copy_seq;
    size_t rebuilt, patched;
} fixture;

static int set_up(void **state)
{
    fixture *f = im_alloc_zero(1, sizeof(*f));
    f->library = help_fixture_new("/photos");
    f->store = f->library->store;
    f->root = f->library->root;
    f->other_model = help_model(f->store, "two");
    f->model = help_model(f->store, "one");
    f->seed = 77;
    *state = f;
    return 0;
}

static void forget_copy(fixture *f)
{
    for (size_t i = 0; i < N_SLOTS; i++) {
        im_free(f->copy[i]);
        f->copy[i] = NULL;
    }
}

static int tear_down(void **state)
{
    fixture *f = *state;
    help_fixture_free(f->library);
    forget_copy(f);
    im_free(f);
    return 0;
}

/* ---- rows as text ---- */

static void add_facts(im_str *out, const im_item *item, im_view camera, im_view lens, im_view type,
                      im_view source)
{
    im_str_addf(out, "%llu %d:%lld %d:%d gps%d:%.9g,%.9g %lld %ux%u %llu p%d ",
                (unsigned long long)item->id, item->has_taken, (long long)item->taken_s,
                item->has_taken_offset, item->taken_offset_min, item->has_gps, item->latitude,
                item->longitude, (long long)item->added_ns, item->width, item->height,
                (unsigned long long)item->bytes, item->partial);
    im_str_addf(out, "%.*s|%.*s|%.*s|%.*s ", (int)camera.size, camera.data, (int)lens.size,
                lens.data, (int)type.size, type.data, (int)source.size, source.data);
}

static void add_value(im_str *out, const char *name, const im_value *value)
{
    im_str_addf(out, "%s:%s=", name, im_value_type_name(value->type));
    im_value_print(out, value);
    im_str_add_char(out, ';');
}

static char *row_text(const im_column_row *row)
{
    im_str out;
    im_item item = {
        .id = row->item,
        .has_taken = row->has_taken,
        .taken_s = row->taken_s,
        .has_taken_offset = row->has_taken_offset,
        .taken_offset_min = row->taken_offset_min,
        .has_gps = row->has_gps,
        .latitude = row->latitude,
        .longitude = row->longitude,
        .added_ns = row->added_ns,
        .width = row->width,
        .height = row->height,
        .bytes = row->bytes,
        .partial = row->partial,
    };
    assert_true(row->sound);
    im_str_init(&out, 1 << 16);
    add_facts(&out, &item, row->camera, row->lens, row->type, row->source);
    im_str_addf(&out, "m%d t%d c%d ", row->missing, row->tagged, row->captioned);
    for (size_t i = 0; i < row->n_fields; i++) {
        add_value(&out, row->fields[i].name, &row->fields[i].value);
    }
    char *text = im_strdup(im_str_text(&out));
    im_str_clear(&out);
    return text;
}

/* The same from the library's other functions. */
typedef struct asked {
    im_str out;
    size_t files, present, tags, captions;
} asked;

static bool on_file(void *context, const im_file_row *file)
{
    asked *a = context;
    a->files++;
    a->present += !file->missing;
    return true;
}

static bool on_tag(void *context, const char *name, im_text_source source)
{
    (void)name;
    (void)source;
    ((asked *)context)->tags++;
    return true;
}

static bool on_caption(void *context, const im_caption *caption)
{
    ((asked *)context)->captions += caption->kind == IM_CAPTION;
    return true;
}

static bool on_field(void *context, const char *name, const im_value *value)
{
    add_value(&((asked *)context)->out, name, value);
    return true;
}

static char *asked_text(fixture *f, uint64_t id)
{
    asked a = {0};
    im_item item;
    im_str_init(&a.out, 1 << 16);
    help_ok(im_store_get_item(f->store, id, &item, &err), &err);
    help_ok(im_store_each_file_of_item(f->store, id, on_file, &a, &err), &err);
    help_ok(im_store_each_tag_of_item(f->store, id, on_tag, &a, &err), &err);
    help_ok(im_store_each_caption_of_item(f->store, id, on_caption, &a, &err), &err);
    add_facts(&a.out, &item, im_view_from(item.camera), im_view_from(item.lens),
              im_view_from(item.format), im_view_from(item.source));
    im_str_addf(&a.out, "m%d t%d c%d ", a.files > 0 && a.present == 0, a.tags > 0, a.captions > 0);
    help_ok(im_store_each_field_of_item(f->store, id, on_field, &a, &err), &err);
    char *text = im_strdup(im_str_text(&a.out));
    im_str_clear(&a.out);
    return text;
}

/* ---- operations ---- */

static uint64_t below(fixture *f, uint64_t n)
{
    return help_random(&f->seed) % n;
}

static void op_add(fixture *f)
{
    size_t i = below(f, N_ITEMS);
    uint64_t n = f->next_content;
    if (f->items[i] != 0 || f->next_slot >= N_SLOTS) {
        return;
    }
    f->next_content++;
    f->items[i] = help_put(f->store, f->root, f->model, n, f->next_slot++);
}

/* A random item that is there, 0 when that one is not. */
static uint64_t pick(fixture *f)
{
    return f->items[below(f, N_ITEMS)];
}

static void op_remove(fixture *f)
{
    size_t i = below(f, N_ITEMS);
    if (f->items[i] != 0 && below(f, 3) == 0) {
        help_ok(im_store_remove_item(f->store, f->items[i], &err), &err);
        f->items[i] = 0;
    }
}

static void op_field(fixture *f)
{
    static const struct {
        const char *name;
        im_value_type type;
    } fields[] = {{"price", IM_VALUE_NUMBER},
                  {"shop", IM_VALUE_TEXT},
                  {"sold", IM_VALUE_BOOL},
                  {"Since", IM_VALUE_DATE}};
    static const char *const texts[] = {"a", "bb", "long text of a shop", "\xc3\xa9"};
    uint64_t item = pick(f);
    size_t i = below(f, IM_COUNT(fields));
    im_value value = {.type = fields[i].type,
                      .text = im_view_from(texts[below(f, 4)]),
                      .number = (double)below(f, 5) / 2,
                      .date_s = (int64_t)below(f, 1000000),
                      .truth = below(f, 2) == 1};
    if (item == 0) {
        return;
    }
    if (below(f, 4) == 0) {
        im_code rc = im_store_drop_field(f->store, item, fields[i].name, &err);
        assert_true(rc == IM_OK || rc == IM_ERR_NOT_FOUND);
    } else {
        help_ok(im_store_put_field(f->store, item, fields[i].name, &value, &err), &err);
    }
}

static void op_drop_own_field(fixture *f)
{
    if (below(f, 10) == 0) {
        im_code rc = im_store_drop_own_field(f->store, "PRICE", &err);
        assert_true(rc == IM_OK || rc == IM_ERR_NOT_FOUND);
    }
}

static void op_tag(fixture *f)
{
    uint64_t item = pick(f);
    if (item != 0 && below(f, 2) == 0) {
        help_ok(im_store_put_tag(f->store, item, "t", IM_SOURCE_USER, &err), &err);
    } else if (item != 0) {
        im_code rc = im_store_drop_tag(f->store, item, "t", &err);
        assert_true(rc == IM_OK || rc == IM_ERR_NOT_FOUND);
    }
}

static void op_caption(fixture *f)
{
    uint64_t item = pick(f);
    im_caption caption = {.text = im_view_from("words")};
    caption.kind = below(f, 2) == 0 ? IM_CAPTION : IM_VISIBLE_TEXT;
    if (item != 0 && below(f, 2) == 0) {
        help_ok(im_store_put_caption(f->store, item, &caption, &err), &err);
    } else if (item != 0) {
        im_code rc = im_store_drop_caption(f->store, item, caption.kind, IM_SOURCE_USER, &err);
        assert_true(rc == IM_OK || rc == IM_ERR_NOT_FOUND);
    }
}

static void op_file(fixture *f)
{
    uint64_t item = pick(f);
    char name[16];
    im_file_row row;
    (void)snprintf(name, sizeof name, "f%u", (unsigned)below(f, 30));
    help_ok(im_store_find_file(f->store, f->root, im_view_from(name), &row, &err), &err);
    switch (below(f, 4)) {
    case 0:
    case 1:
        if (item != 0) {
            row.item = item;
            help_ok(im_store_put_file(f->store, &row, NULL, &err), &err);
        }
        break;
    case 2:
        if (row.id != 0) {
            help_ok(im_store_drop_file(f->store, row.id, &err), &err);
        }
        break;
    default:
        if (row.id != 0) {
            help_ok(im_store_set_file_missing(f->store, row.id, !row.missing, &err), &err);
        }
        break;
    }
}

/* The file that came with the item. */
static bool set_first_missing(void *context, const im_file_row *file)
{
    fixture *f = context;
    help_ok(im_store_set_file_missing(f->store, file->id, below(f, 2) == 0, &err), &err);
    return below(f, 3) != 0;
}

static void op_missing(fixture *f)
{
    uint64_t item = pick(f);
    if (item != 0) {
        help_ok(im_store_each_file_of_item(f->store, item, set_first_missing, f, &err), &err);
    }
}

static void op_key(fixture *f)
{
    uint64_t item = pick(f);
    uint64_t replaced = 0;
    if (item == 0) {
        return;
    }
    help_ok(im_store_put_key(f->store, item, below(f, 2) == 0 ? "k1" : "k2", &replaced, &err),
            &err);
    for (size_t i = 0; i < N_ITEMS; i++) {
        f->items[i] = f->items[i] == replaced ? 0 : f->items[i];
    }
}

static void op_embedding(fixture *f)
{
    uint64_t item = pick(f);
    float vector[HELP_DIM];
    help_vector(item, vector, HELP_DIM);
    if (item != 0 && f->next_slot < N_SLOTS && below(f, 2) == 0) {
        help_ok(im_store_drop_embedding(f->store, item, f->model, &err), &err);
        help_ok(im_store_put_embedding(f->store, item, f->model, f->next_slot++, vector, HELP_DIM,
                                       &err),
                &err);
    } else if (item != 0) { /* another model's slots are told apart */
        im_code rc = im_store_put_embedding(f->store, item, f->other_model, below(f, 500), vector,
                                            HELP_DIM, &err);
        assert_true(rc == IM_OK || rc == IM_ERR_CONFLICT);
    }
}

static void op_renumber(fixture *f)
{
    if (below(f, 12) == 0) {
        help_ok(im_store_renumber_slots(f->store, f->model, &f->next_slot, &err), &err);
    }
}

/* ---- the copy ---- */

static bool patch_row(void *context, const im_column_row *row)
{
    fixture *f = context;
    assert_true(row->slot < N_SLOTS);
    im_free(f->copy[row->slot]);
    f->copy[row->slot] = row_text(row);
    f->patched++;
    return true;
}

static void catch_up(fixture *f)
{
    bool known = false;
    uint64_t seq = 0;
    help_ok(im_store_change_seq(f->store, &seq, &err), &err);
    help_ok(im_store_each_changed_slot(f->store, f->model, f->copy_seq, patch_row, f, &known, &err),
            &err);
    if (!known) {
        forget_copy(f);
        help_ok(im_store_each_column_row(f->store, f->model, 0, patch_row, f, &err), &err);
        f->rebuilt++;
    }
    f->copy_seq = seq;
}

typedef struct walk {
    fixture *f;
    size_t n;
    uint64_t last;
} walk;

static bool see_row(void *context, const im_column_row *row)
{
    walk *w = context;
    char *text = row_text(row);
    char *wanted = asked_text(w->f, row->item);
    assert_true(w->n == 0 || row->slot > w->last);
    w->last = row->slot;
    w->n++;
    assert_string_equal(text, wanted);
    assert_non_null(w->f->copy[row->slot]);
    assert_string_equal(w->f->copy[row->slot], text);
    im_free(text);
    im_free(wanted);
    return true;
}

static void compare(fixture *f)
{
    walk w = {.f = f};
    uint64_t alive = 0;
    uint64_t bits[N_SLOTS / 64];
    catch_up(f);
    help_ok(im_store_each_column_row(f->store, f->model, 0, see_row, &w, &err), &err);
    help_ok(im_store_alive_slots(f->store, f->model, N_SLOTS, bits, &alive, &err), &err);
    assert_int_equal(w.n, alive);
}

static void a_copy_kept_by_changes_equals_a_new_one(void **state)
{
    fixture *f = *state;
    static void (*const operations[])(fixture *) = {
        op_add,     op_add, op_add,       op_remove,   op_field, op_field,          op_field,
        op_tag,     op_tag, op_caption,   op_file,     op_file,  op_drop_own_field, op_missing,
        op_missing, op_key, op_embedding, op_renumber,
    };
    for (size_t step = 0; step < 4000; step++) {
        operations[below(f, IM_COUNT(operations))](f);
        if (below(f, 8) == 0) {
            compare(f);
        }
    }
    compare(f);
    print_message("%zu rows patched, %zu times made anew\n", f->patched, f->rebuilt);
    assert_true(f->rebuilt > 3 && f->patched > 500);
}

/* ---- by hand ---- */

typedef struct seen {
    uint64_t slots[16];
    size_t n, stop_after;
} seen;

static bool keep_slot(void *context, const im_column_row *row)
{
    seen *s = context;
    s->slots[s->n++] = row->slot;
    return s->n != s->stop_after;
}

static seen changed_since(fixture *f, uint64_t model, uint64_t seq, bool *out_known)
{
    seen s = {0};
    help_ok(im_store_each_changed_slot(f->store, model, seq, keep_slot, &s, out_known, &err), &err);
    return s;
}

static uint64_t seq_of(fixture *f)
{
    uint64_t seq = 0;
    help_ok(im_store_change_seq(f->store, &seq, &err), &err);
    return seq;
}

static void rows_begin_at_a_slot_and_end_when_told(void **state)
{
    fixture *f = *state;
    for (uint64_t n = 0; n < 9; n++) {
        (void)help_put(f->store, f->root, f->model, n, 10 + 2 * n);
    }
    seen s = {.stop_after = 3};
    help_ok(im_store_each_column_row(f->store, f->model, 13, keep_slot, &s, &err), &err);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.slots[0], 14);
    assert_int_equal(s.slots[2], 18);
    s = (seen){0};
    help_ok(im_store_each_column_row(f->store, f->model, 27, keep_slot, &s, &err), &err);
    help_ok(im_store_each_column_row(f->store, f->model, UINT64_MAX, keep_slot, &s, &err), &err);
    help_ok(im_store_each_column_row(f->store, f->other_model, 0, keep_slot, &s, &err), &err);
    assert_int_equal(s.n, 0);
}

static void each_changed_slot_is_told_once(void **state)
{
    fixture *f = *state;
    bool known = false;
    uint64_t items[4];
    for (uint64_t n = 0; n < 4; n++) {
        items[n] = help_put(f->store, f->root, f->model, n, 3 - n);
    }
    uint64_t seq = seq_of(f);
    seen s = changed_since(f, f->model, 0, &known);
    assert_true(known);
    assert_int_equal(s.n, 4);
    s = changed_since(f, f->model, seq, &known);
    assert_true(known);
    assert_int_equal(s.n, 0);
    help_ok(im_store_put_tag(f->store, items[0], "a", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_tag(f->store, items[0], "b", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_key(f->store, items[1], "k", NULL, &err), &err);
    help_ok(im_store_put_tag(f->store, items[2], "a", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_remove_item(f->store, items[2], &err), &err);
    help_ok(im_store_move_root(f->store, f->root, "/b", &err), &err); /* a change of no slot */
    s = changed_since(f, f->model, seq, &known);
    assert_true(known);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.slots[0], 2);
    assert_int_equal(s.slots[1], 3);
    s = changed_since(f, f->other_model, 0, &known);
    assert_true(known);
    assert_int_equal(s.n, 0);
    uint64_t n = 0;
    help_ok(im_store_renumber_slots(f->store, f->model, &n, &err), &err);
    s = changed_since(f, f->model, seq, &known);
    assert_false(known);
    assert_int_equal(s.n, 0);
    s = changed_since(f, f->model, seq_of(f), &known);
    assert_true(known);
    s = changed_since(f, f->model, UINT64_MAX, &known);
    assert_false(known);
}

static void changes_that_were_forgotten_are_not_known(void **state)
{
    fixture *f = *state;
    bool known = true;
    (void)help_put(f->store, f->root, f->model, 0, 0);
    help_ok(store_exec(f->store->db,
                       "INSERT INTO change (seq, model, slot, item, op)"
                       " VALUES (1114111, 1, NULL, NULL, 'meta')",
                       "test", "change", &err),
            &err);
    (void)changed_since(f, f->model, 0, &known);
    assert_true(known);
    (void)help_put(f->store, f->root, f->model, 1, 1); /* 1114112 = 17 * 65536 */
    assert_int_equal(seq_of(f), 1114112);
    seen s = changed_since(f, f->model, 0, &known);
    assert_false(known);
    assert_int_equal(s.n, 0);
    s = changed_since(f, f->model, 1114111, &known);
    assert_true(known);
    assert_int_equal(s.n, 1);
}

static bool see_damage(void *context, const im_column_row *row)
{
    *(size_t *)context += row->sound ? 1 : 100;
    return true;
}

static void a_damaged_row_is_said_to_be(void **state)
{
    fixture *f = *state;
    size_t told = 0;
    for (uint64_t n = 0; n < 3; n++) {
        (void)help_put(f->store, f->root, f->model, n, n);
    }
    help_ok(store_exec(f->store->db, "UPDATE item SET width = width + 1 WHERE id = 2", "test",
                       "damage", &err),
            &err);
    help_ok(im_store_each_column_row(f->store, f->model, 0, see_damage, &told, &err), &err);
    assert_int_equal(told, 102);
    assert_int_equal(help_findings(f->store), 1);
    help_ok(store_exec(f->store->db, "UPDATE item SET width = width - 1 WHERE id = 2", "test",
                       "mend", &err),
            &err);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_copy_kept_by_changes_equals_a_new_one),
        T(rows_begin_at_a_slot_and_end_when_told),
        T(each_changed_slot_is_told_once),
        T(changes_that_were_forgotten_are_not_known),
        T(a_damaged_row_is_said_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
