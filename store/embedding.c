/* store/embedding.c — vectors by item and by slot, and the record of the vector file. */
#include "base/hash.h"
#include "store/store_internal.h"
#include <math.h>

#define RENUMBER_BATCH 4096

/* ---- putting ---- */

static im_code check_vector(const float *vector, size_t dim, im_error *err)
{
    for (size_t i = 0; i < dim; i++) {
        if (!isfinite(vector[i])) {
            return im_fail_as(err, IM_REASON_VECTOR_INVALID,
                              "value %zu of a vector of %zu is not finite", i, dim);
        }
    }
    return IM_OK;
}

/* Nothing was inserted: says why. */
static im_code fail_not_put(im_store *store, uint64_t model, uint64_t slot, size_t dim,
                            im_error *err)
{
    bool found = false;
    uint64_t expected = 0;
    im_code rc = store_number_of(store, STORE_SQL_MODEL_DIM, model, &found, &expected, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (!found) {
        return im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "the library has no model of the id %llu",
                          (unsigned long long)model);
    }
    if (expected != dim) {
        return im_fail_as(err, IM_REASON_VECTOR_INVALID, "a vector has %zu values, expected %llu",
                          dim, (unsigned long long)expected);
    }
    return im_fail(err, IM_ERR_CONFLICT,
                   "slot %llu of model %llu was used by a picture that is removed",
                   (unsigned long long)slot, (unsigned long long)model);
}

static im_code fail_conflict(im_store *store, uint64_t item, uint64_t model, uint64_t slot,
                             im_error *err)
{
    bool found = false;
    uint64_t ignored = 0;
    im_code rc = store_number_of(store, STORE_SQL_HAS_ITEM, item, &found, &ignored, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (!found) {
        return im_fail_as(err, IM_REASON_ITEM_NOT_FOUND, "no picture has the id %llu",
                          (unsigned long long)item);
    }
    return im_fail(err, IM_ERR_CONFLICT,
                   "picture %llu has a vector of model %llu already, or slot %llu is in use",
                   (unsigned long long)item, (unsigned long long)model, (unsigned long long)slot);
}

static im_code put_embedding(im_store *store, uint64_t item, uint64_t model, uint64_t slot,
                             const float *vector, size_t dim, im_error *err)
{
    statement st;
    uint64_t rows = 0;
    im_code rc = statement_open(store, STORE_SQL_PUT_EMBEDDING, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    statement_put_u64(&st, model);
    statement_put_u64(&st, slot);
    statement_put_i64(&st, im_crc32c(0, vector, dim * sizeof(float)));
    statement_put_blob(&st, vector, dim * sizeof(float));
    statement_put_u64(&st, dim);
    rc = statement_run(&st, &rows, err);
    if (rc == IM_OK && rows == 0) {
        return fail_not_put(store, model, slot, dim, err);
    }
    if (rc == IM_ERR_CONFLICT) {
        return fail_conflict(store, item, model, slot, err);
    }
    return rc == IM_OK ? store_tell_put(store, item, model, slot, err) : rc;
}

im_code im_store_put_embedding(im_store *store, uint64_t item, uint64_t model, uint64_t slot,
                               const float *vector, size_t dim, im_error *err)
{
    store_write write;
    if (slot > INT64_MAX || dim == 0 || dim > IM_LIMIT_MODEL_WIDTH) {
        return im_fail_as(err, IM_REASON_VECTOR_INVALID, "a vector of %zu values at slot %llu", dim,
                          (unsigned long long)slot);
    }
    im_code rc = check_vector(vector, dim, err);
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = put_embedding(store, item, model, slot, vector, dim, err);
    return store_write_end(store, &write, rc, err);
}

/* ---- dropping ---- */

im_code im_store_drop_embedding(im_store *store, uint64_t item, uint64_t model, im_error *err)
{
    static const store_sql steps[] = {STORE_SQL_BURY_SLOT, STORE_SQL_TELL_DROP,
                                      STORE_SQL_DROP_EMBEDDING};
    store_write write;
    uint64_t rows = 0;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; i < IM_COUNT(steps) && rc == IM_OK; i++) {
        rc = store_run_u64_i64(store, steps[i], item, (int64_t)model, &rows, err);
    }
    if (rc == IM_OK && rows == 0) {
        rc = im_fail_as(err, IM_REASON_ITEM_NOT_FOUND, "picture %llu has no vector of model %llu",
                        (unsigned long long)item, (unsigned long long)model);
    }
    return store_write_end(store, &write, rc, err);
}

/* ---- reading ---- */

static bool is_sound(im_view bytes, uint64_t crc)
{
    return im_crc32c(0, bytes.data, bytes.size) == crc;
}

static im_code read_embedding(const statement *st, uint64_t item, float *out_vector, size_t dim,
                              uint64_t *out_slot, im_error *err)
{
    im_view bytes = statement_view(st, 2);
    if (!is_sound(bytes, statement_u64(st, 1))) {
        return store_damaged_row(st->store, "embedding", item,
                                 "its vector does not fit its "
                                 "checksum",
                                 err);
    }
    if (bytes.size != dim * sizeof(float)) {
        return im_fail_as(err, IM_REASON_VECTOR_INVALID,
                          "picture %llu has a vector of %zu bytes, expected %zu values",
                          (unsigned long long)item, bytes.size, dim);
    }
    memcpy(out_vector, bytes.data, bytes.size);
    if (out_slot != NULL) {
        *out_slot = statement_u64(st, 0);
    }
    return IM_OK;
}

im_code im_store_get_embedding(im_store *store, uint64_t item, uint64_t model, float *out_vector,
                               size_t dim, uint64_t *out_slot, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_GET_EMBEDDING, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    statement_put_u64(&st, model);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && row) {
        rc = read_embedding(&st, item, out_vector, dim, out_slot, err);
    } else if (rc == IM_OK) {
        rc = im_fail_as(err, IM_REASON_ITEM_NOT_FOUND, "picture %llu has no vector of model %llu",
                        (unsigned long long)item, (unsigned long long)model);
    }
    statement_close(&st);
    return rc;
}

im_code im_store_each_embedding(im_store *store, uint64_t model, size_t dim,
                                im_store_embedding_fn fn, void *context, im_error *err)
{
    statement st;
    size_t bytes_each = 0;
    if (!im_size_mul(dim, sizeof(float), &bytes_each)) {
        return im_fail_as(err, IM_REASON_VECTOR_INVALID, "vectors of %zu values", dim);
    }
    /* SQLite's memory is not aligned for floats, and a row may be too short to be read as one */
    float *vector = im_alloc_zero(dim, sizeof(float));
    if (vector == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a vector of %zu values", dim);
    }
    bool more = true;
    im_code rc = statement_open(store, STORE_SQL_EACH_EMBEDDING, &st, err);
    if (rc != IM_OK) {
        goto out;
    }
    statement_put_u64(&st, model);
    while (rc == IM_OK && more) {
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            im_view bytes = statement_view(&st, 3);
            bool sound = bytes.size == bytes_each && is_sound(bytes, statement_u64(&st, 2));
            memcpy(vector, bytes.data, IM_MIN(bytes.size, bytes_each));
            more = fn(context, statement_u64(&st, 0), statement_u64(&st, 1), vector, sound);
        }
    }
    statement_close(&st);
out:
    im_free(vector);
    return rc;
}

im_code im_store_each_slot(im_store *store, uint64_t model, im_store_slot_fn fn, void *context,
                           im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_SLOT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    bool more = true;
    while (rc == IM_OK && more) {
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            more = fn(context, statement_u64(&st, 0), statement_u64(&st, 1));
        }
    }
    statement_close(&st);
    return rc;
}

im_code im_store_count_slots(im_store *store, uint64_t model, uint64_t *out_n, im_error *err)
{
    bool found = false;
    return store_number_of(store, STORE_SQL_COUNT_SLOTS, model, &found, out_n, err);
}

im_code im_store_alive_slots(im_store *store, uint64_t model, uint64_t n_rows, uint64_t *bits,
                             uint64_t *out_alive, im_error *err)
{
    statement st;
    if (n_rows > INT64_MAX) {
        return im_fail(err, IM_ERR_INVALID, "%llu rows are more than an index can have",
                       (unsigned long long)n_rows);
    }
    memset(bits, 0, (size_t)((n_rows + 63) / 64) * sizeof(uint64_t));
    im_code rc = statement_open(store, STORE_SQL_ALIVE_SLOTS, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    statement_put_u64(&st, n_rows);
    uint64_t alive = 0;
    bool more = true;
    while (rc == IM_OK && more) {
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            uint64_t slot = statement_u64(&st, 0);
            if (slot >= n_rows) { /* also a negative one: the rows are damaged */
                rc = store_damaged_row(store, "embedding", 0, "a slot that cannot be", err);
                break;
            }
            bits[slot / 64] |= UINT64_C(1) << (slot % 64);
            alive++;
        }
    }
    statement_close(&st);
    if (rc == IM_OK && out_alive != NULL) {
        *out_alive = alive;
    }
    return rc;
}

im_code im_store_each_unembedded(im_store *store, uint64_t model, im_store_id_fn fn, void *context,
                                 im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_UNEMBEDDED, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    bool more = true;
    while (rc == IM_OK && more) {
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            more = fn(context, statement_u64(&st, 0));
        }
    }
    statement_close(&st);
    return rc;
}

/* ---- renumbering ---- */

typedef struct slot_row {
    int64_t rowid;
    int64_t slot;
} slot_row;

/* The next rows above `after` in slot order. */
static im_code some_slots(im_store *store, uint64_t model, int64_t after, slot_row *rows,
                          size_t *out_n, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_SOME_SLOTS, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    statement_put_i64(&st, after);
    statement_put_i64(&st, RENUMBER_BATCH);
    size_t n = 0;
    bool more = true;
    while (rc == IM_OK && more && n < RENUMBER_BATCH) {
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            rows[n++] = (slot_row){statement_i64(&st, 0), statement_i64(&st, 1)};
        }
    }
    statement_close(&st);
    *out_n = n;
    return rc;
}

/* In slot order each row moves down or stays, so that no new slot is in use when it is given. */
static im_code move_slots(im_store *store, uint64_t model, uint64_t *out_n, im_error *err)
{
    slot_row *rows = im_alloc(RENUMBER_BATCH, sizeof(slot_row));
    if (rows == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to renumber vectors");
    }
    int64_t next = 0;
    int64_t after = -1;
    size_t n = 1;
    im_code rc = IM_OK;
    while (rc == IM_OK && n > 0) {
        rc = some_slots(store, model, after, rows, &n, err);
        for (size_t i = 0; rc == IM_OK && i < n; i++, next++) {
            after = rows[i].slot;
            if (rows[i].slot != next) {
                rc = store_run_u64_i64(store, STORE_SQL_MOVE_SLOT, (uint64_t)rows[i].rowid, next,
                                       NULL, err);
            }
        }
    }
    im_free(rows);
    *out_n = (uint64_t)next;
    return rc;
}

static im_code renumber(im_store *store, uint64_t model, uint64_t *out_n, im_error *err)
{
    static const store_sql steps[] = {STORE_SQL_UNBURY_SLOTS, STORE_SQL_FORGET_MODEL_CHANGES,
                                      STORE_SQL_TELL_RENUMBER};
    uint64_t n = 0;
    im_code rc = move_slots(store, model, &n, err);
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(steps); i++) {
        rc = store_run_u64(store, steps[i], model, NULL, err);
    }
    if (rc == IM_OK) {
        *out_n = n;
    }
    return rc;
}

im_code im_store_renumber_slots(im_store *store, uint64_t model, uint64_t *out_n, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, renumber(store, model, out_n, err), err);
}

/* ---- the vector file's record ---- */

im_code im_store_get_index(im_store *store, uint64_t model, im_index_record *out, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_GET_INDEX, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out = (im_index_record){0};
        if (row) {
            out->generation = statement_u64(&st, 0);
            out->n_rows = statement_u64(&st, 1);
        }
    }
    statement_close(&st);
    return rc;
}

static im_code set_index(im_store *store, uint64_t model, const im_index_record *record,
                         im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_SET_INDEX, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    statement_put_u64(&st, record->generation);
    statement_put_u64(&st, record->n_rows);
    rc = statement_run(&st, NULL, err);
    if (rc == IM_ERR_CONFLICT) {
        rc = im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "the library has no model of the id %llu",
                        (unsigned long long)model);
    }
    return rc;
}

im_code im_store_set_index(im_store *store, uint64_t model, const im_index_record *record,
                           im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, set_index(store, model, record, err), err);
}
