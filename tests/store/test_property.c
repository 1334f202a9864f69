/* tests/store/test_property.c — random operations, also failing ones and transactions that are
 * rolled back, against a model in plain C; the library is compared with it again and again, also
 * after it was closed and opened. */
#include "base/memory.h"
#include "base/size.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <stdio.h>
#include <string.h>

#define N_CONTENTS 60
#define N_PATHS 80
#define N_SLOTS 4096
#define N_ROUNDS 6
#define N_STEPS 700

static im_error err = IM_ERROR_INIT;

/* The library as it should be; a plain value, so that a rollback is a copy. */
typedef struct world {
    uint64_t item_of[N_CONTENTS]; /* id, 0: not there */
    bool removed[N_CONTENTS];
    bool embedded[N_CONTENTS];
    uint64_t slot_of[N_CONTENTS];
    bool dead[N_SLOTS];
    int content_of_path[N_PATHS]; /* -1: no row */
    bool missing[N_PATHS];
    bool failed[N_PATHS];
    uint64_t seq, last_id;
    im_index_record record;
    char note[16];
} world;

typedef struct subject {
    char *folder;
    im_store *store;
    uint64_t root, model, seed;
    world now, saved;
    bool in_transaction;
} subject;

static uint64_t below(subject *s, uint64_t n)
{
    return help_random(&s->seed) % n;
}

static im_view path_of(size_t p, char buffer[32])
{
    int size = snprintf(buffer, 32, "d%zu/%c%zu", p % 3, (char)('a' + p % 5), p);
    return im_view_of(buffer, (size_t)size);
}

static bool has_slot(const world *w, uint64_t slot)
{
    for (size_t c = 0; c < N_CONTENTS; c++) {
        if (w->embedded[c] && w->slot_of[c] == slot) {
            return true;
        }
    }
    return false;
}

/* ---- operations ---- */

static void op_put_item(subject *s)
{
    size_t c = below(s, N_CONTENTS);
    uint64_t id = 0;
    im_item item = help_item(c);
    im_code rc = im_store_put_item(s->store, &item, &id, &err);
    if (s->now.item_of[c] != 0) {
        assert_int_equal(rc, IM_ERR_CONFLICT);
        return;
    }
    help_ok(rc, &err);
    assert_true(id > s->now.last_id); /* never used again */
    s->now.last_id = id;
    s->now.item_of[c] = id;
}

static void op_remove_item(subject *s)
{
    size_t c = below(s, N_CONTENTS);
    uint64_t id = s->now.item_of[c];
    im_code rc = im_store_remove_item(s->store, id != 0 ? id : 1000000, &err);
    if (id == 0) {
        assert_int_equal(rc, IM_ERR_NOT_FOUND);
        return;
    }
    help_ok(rc, &err);
    for (size_t p = 0; p < N_PATHS; p++) {
        if (s->now.content_of_path[p] == (int)c) {
            s->now.content_of_path[p] = -1;
            s->now.missing[p] = false;
        }
    }
    if (s->now.embedded[c]) {
        s->now.dead[s->now.slot_of[c]] = true;
        s->now.seq++;
    }
    s->now.embedded[c] = false;
    s->now.item_of[c] = 0;
    s->now.removed[c] = true;
}

static void op_forget_removed(subject *s)
{
    size_t c = below(s, N_CONTENTS);
    uint8_t sha256[32];
    help_sha256(c, sha256);
    help_ok(im_store_forget_removed(s->store, sha256, &err), &err);
    s->now.removed[c] = false;
}

/* What is told of an item of this content: a change when it has a slot. */
static void expect_meta(subject *s, int content)
{
    if (content >= 0 && s->now.embedded[content]) {
        s->now.seq++;
    }
}

static void op_put_file(subject *s)
{
    size_t p = below(s, N_PATHS);
    size_t c = below(s, N_CONTENTS);
    char buffer[32];
    im_file_row row = {.root = s->root,
                       .path = path_of(p, buffer),
                       .stamp = {.size = c, .mtime_ns = (int64_t)p, .device = 1, .inode = c * 7},
                       .item = s->now.item_of[c] != 0 ? s->now.item_of[c] : 999999};
    im_code rc = im_store_put_file(s->store, &row, NULL, &err);
    if (s->now.item_of[c] == 0) {
        assert_int_equal(rc, IM_ERR_CONFLICT);
        return;
    }
    help_ok(rc, &err);
    if (s->now.content_of_path[p] != (int)c) {
        expect_meta(s, (int)c);
        expect_meta(s, s->now.content_of_path[p]);
    } else if (s->now.missing[p]) {
        expect_meta(s, (int)c);
    }
    s->now.content_of_path[p] = (int)c;
    s->now.missing[p] = false;
    s->now.failed[p] = false;
}

static im_file_row find_path(subject *s, size_t p)
{
    char buffer[32];
    im_file_row row;
    help_ok(im_store_find_file(s->store, s->root, path_of(p, buffer), &row, &err), &err);
    row.path = im_view_of(NULL, 0);
    return row;
}

static void op_set_missing(subject *s)
{
    size_t p = below(s, N_PATHS);
    bool missing = below(s, 2) == 1;
    im_file_row row = find_path(s, p);
    im_code rc = im_store_set_file_missing(s->store, row.id, missing, &err);
    if (s->now.content_of_path[p] < 0) {
        assert_int_equal(rc, IM_ERR_NOT_FOUND);
        return;
    }
    help_ok(rc, &err);
    if (s->now.missing[p] != missing) {
        expect_meta(s, s->now.content_of_path[p]);
    }
    s->now.missing[p] = missing;
}

static void op_drop_file(subject *s)
{
    size_t p = below(s, N_PATHS);
    im_file_row row = find_path(s, p);
    im_code rc = im_store_drop_file(s->store, row.id, &err);
    if (s->now.content_of_path[p] < 0) {
        assert_int_equal(rc, IM_ERR_NOT_FOUND);
        return;
    }
    help_ok(rc, &err);
    expect_meta(s, s->now.content_of_path[p]);
    s->now.content_of_path[p] = -1;
    s->now.missing[p] = false;
}

static void op_failure(subject *s)
{
    size_t p = below(s, N_PATHS);
    char buffer[32];
    im_view path = path_of(p, buffer);
    if (below(s, 3) == 0) {
        help_ok(im_store_clear_failure(s->store, s->root, path, &err), &err);
        s->now.failed[p] = false;
        return;
    }
    im_failure failure = {.root = s->root, .path = path, .reason = "io", .message = "m"};
    help_ok(im_store_put_failure(s->store, &failure, &err), &err);
    s->now.failed[p] = true;
}

static void op_put_embedding(subject *s)
{
    size_t c = below(s, N_CONTENTS);
    uint64_t slot = below(s, 8) == 0 ? below(s, N_SLOTS) : s->now.record.n_rows;
    float vector[HELP_DIM];
    help_vector(c, vector, HELP_DIM);
    uint64_t id = s->now.item_of[c];
    im_code rc = im_store_put_embedding(s->store, id != 0 ? id : 1000000, s->model, slot, vector,
                                        HELP_DIM, &err);
    bool taken = s->now.dead[slot] || has_slot(&s->now, slot) || s->now.embedded[c];
    if (id == 0 || taken) {
        assert_true(rc == IM_ERR_CONFLICT || (id == 0 && rc == IM_ERR_NOT_FOUND));
        return;
    }
    help_ok(rc, &err);
    s->now.embedded[c] = true;
    s->now.slot_of[c] = slot;
    s->now.seq++;
    if (slot >= s->now.record.n_rows) {
        s->now.record.n_rows = slot + 1;
        help_ok(im_store_set_index(s->store, s->model, &s->now.record, &err), &err);
    }
}

static void op_renumber(subject *s)
{
    uint64_t n = 0;
    uint64_t expected = 0;
    if (s->in_transaction || below(s, 4) != 0) {
        return; /* rare */
    }
    help_ok(im_store_begin(s->store, &err), &err);
    help_ok(im_store_renumber_slots(s->store, s->model, &n, &err), &err);
    for (uint64_t slot = 0; slot < N_SLOTS; slot++) {
        for (size_t c = 0; c < N_CONTENTS; c++) {
            if (s->now.embedded[c] && s->now.slot_of[c] == slot) {
                s->now.slot_of[c] = expected++;
                break;
            }
        }
        s->now.dead[slot] = false;
    }
    assert_int_equal(n, expected);
    s->now.record.generation++;
    s->now.record.n_rows = n;
    s->now.seq++;
    help_ok(im_store_set_index(s->store, s->model, &s->now.record, &err), &err);
    help_ok(im_store_commit(s->store, &err), &err);
}

static void op_setting(subject *s)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)below(s, 1000));
    help_ok(im_store_set_setting(s->store, "note", text, &err), &err);
    memcpy(s->now.note, text, sizeof text);
}

static void op_transaction(subject *s)
{
    if (!s->in_transaction) {
        help_ok(im_store_begin(s->store, &err), &err);
        s->saved = s->now;
        s->in_transaction = true;
        return;
    }
    s->in_transaction = false;
    if (below(s, 3) == 0) {
        im_store_rollback(s->store);
        s->now = s->saved;
    } else {
        help_ok(im_store_commit(s->store, &err), &err);
    }
}

/* ---- comparing ---- */

typedef struct seen {
    subject *s;
    size_t n;
    uint64_t last;
} seen;

static bool see_vector(void *context, uint64_t item, uint64_t slot, const float *vector, bool sound)
{
    seen *v = context;
    float wanted[HELP_DIM];
    assert_true(sound);
    assert_true(v->n == 0 || slot > v->last);
    v->last = slot;
    v->n++;
    for (size_t c = 0; c < N_CONTENTS; c++) {
        if (v->s->now.item_of[c] == item) {
            assert_true(v->s->now.embedded[c] && v->s->now.slot_of[c] == slot);
            help_vector(c, wanted, HELP_DIM);
            assert_memory_equal(vector, wanted, sizeof wanted);
            return true;
        }
    }
    fail_msg("a vector of no item");
    return false;
}

static bool see_unembedded(void *context, uint64_t id)
{
    seen *v = context;
    v->n++;
    for (size_t c = 0; c < N_CONTENTS; c++) {
        if (v->s->now.item_of[c] == id) {
            assert_false(v->s->now.embedded[c]);
            return true;
        }
    }
    fail_msg("no such item");
    return false;
}

static bool see_item(void *context, const im_item *item)
{
    seen *v = context;
    assert_true(item->id > v->last);
    v->last = item->id;
    v->n++;
    return true;
}

static void compare_items(subject *s, size_t *out_items, size_t *out_embedded)
{
    for (size_t c = 0; c < N_CONTENTS; c++) {
        uint8_t sha256[32];
        uint64_t id = 0;
        bool removed = false;
        help_sha256(c, sha256);
        help_ok(im_store_find_item(s->store, sha256, &id, &err), &err);
        assert_int_equal(id, s->now.item_of[c]);
        help_ok(im_store_was_removed(s->store, sha256, &removed, &err), &err);
        assert_int_equal(removed, s->now.removed[c]);
        *out_items += id != 0;
        *out_embedded += s->now.embedded[c];
    }
}

static void compare_files(subject *s, im_store_counts *wanted)
{
    for (size_t p = 0; p < N_PATHS; p++) {
        im_file_row row = find_path(s, p);
        int c = s->now.content_of_path[p];
        assert_int_equal(row.id != 0, c >= 0);
        if (c >= 0) {
            assert_int_equal(row.item, s->now.item_of[c]);
            assert_int_equal(row.missing, s->now.missing[p]);
            assert_int_equal(row.stamp.size, (uint64_t)c);
        }
        wanted->files += c >= 0;
        wanted->missing_files += s->now.missing[p];
        wanted->failures += s->now.failed[p];
    }
}

static void compare(subject *s)
{
    size_t n_items = 0;
    size_t n_embedded = 0;
    im_store_counts wanted = {0};
    im_store_counts counts;
    im_index_record record;
    char *note = NULL;
    compare_items(s, &n_items, &n_embedded);
    compare_files(s, &wanted);
    help_ok(im_store_count(s->store, s->model, &counts, &err), &err);
    assert_int_equal(counts.items, n_items);
    assert_int_equal(counts.embeddings, n_embedded);
    assert_int_equal(counts.files, wanted.files);
    assert_int_equal(counts.missing_files, wanted.missing_files);
    assert_int_equal(counts.failures, wanted.failures);
    assert_int_equal(counts.change_seq, s->now.seq);
    help_ok(im_store_get_index(s->store, s->model, &record, &err), &err);
    assert_int_equal(record.n_rows, s->now.record.n_rows);
    assert_int_equal(record.generation, s->now.record.generation);
    help_ok(im_store_get_setting(s->store, "note", &note, &err), &err);
    assert_string_equal(note != NULL ? note : "", s->now.note);
    im_free(note);
    seen vectors = {.s = s};
    seen items = {.s = s};
    seen without = {.s = s};
    help_ok(im_store_each_embedding(s->store, s->model, HELP_DIM, see_vector, &vectors, &err),
            &err);
    help_ok(im_store_each_item(s->store, 0, see_item, &items, &err), &err);
    help_ok(im_store_each_unembedded(s->store, s->model, see_unembedded, &without, &err), &err);
    assert_int_equal(vectors.n, n_embedded);
    assert_int_equal(items.n, n_items);
    assert_int_equal(without.n, n_items - n_embedded);
    uint64_t alive = 0;
    uint64_t bits[N_SLOTS / 64];
    help_ok(im_store_alive_slots(s->store, s->model, N_SLOTS, bits, &alive, &err), &err);
    assert_int_equal(alive, n_embedded);
    for (uint64_t slot = 0; slot < N_SLOTS; slot++) {
        assert_int_equal(bits[slot / 64] >> (slot % 64) & 1, has_slot(&s->now, slot));
    }
}

static void reopen(subject *s)
{
    help_check_idle(s->store);
    im_store_close(s->store); /* also with a transaction open: it is rolled back */
    if (s->in_transaction) {
        s->now = s->saved;
        s->in_transaction = false;
    }
    s->store = help_open(s->folder, IM_STORE_WRITE);
}

static void random_operations_agree_with_the_model(void **state)
{
    (void)state;
    static void (*const operations[])(subject *) = {
        op_put_item, op_put_item,       op_put_embedding, op_put_embedding, op_put_file,
        op_put_file, op_remove_item,    op_set_missing,   op_drop_file,     op_failure,
        op_setting,  op_forget_removed, op_renumber,      op_transaction,   op_transaction};
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        static subject s;
        s = (subject){.folder = help_memory_folder(), .seed = 1000 + round};
        print_message("seed %llu\n", (unsigned long long)s.seed);
        help_create(s.folder);
        s.store = help_open(s.folder, IM_STORE_WRITE);
        s.root = help_root(s.store, "/photos");
        s.model = help_model(s.store, "m");
        for (size_t p = 0; p < N_PATHS; p++) {
            s.now.content_of_path[p] = -1;
        }
        for (size_t step = 0; step < N_STEPS; step++) {
            operations[below(&s, IM_COUNT(operations))](&s);
            if (step % 20 == 0) {
                compare(&s);
            }
            if (step % 90 == 0) {
                reopen(&s);
                compare(&s);
            }
        }
        if (s.in_transaction) {
            op_transaction(&s);
        }
        if (s.in_transaction) {
            im_store_rollback(s.store);
        }
        compare(&s);
        help_check_clean(s.store);
        im_store_close(s.store);
        help_folder_remove(s.folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
