/* store/model.c — the models whose embeddings the library holds; at most one is active. */
#include "base/hash.h"
#include "store/store_internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "vectors are stored as f32 little-endian by copying them");

static const char *const state_names[] = {
    [IM_MODEL_BUILDING] = "building", [IM_MODEL_ACTIVE] = "active", [IM_MODEL_RETIRED] = "retired"};

void im_model_row_clear(im_model_row *model)
{
    im_free(model->name);
    im_free(model->folder);
    im_free(model->files);
    im_free(model->background);
    *model = (im_model_row){0};
}

static im_code background_size(const im_model_row *model, size_t *out_bytes, im_error *err)
{
    size_t bytes = 0;
    if (!im_size_mul(model->n_background, model->dim, &bytes) ||
        !im_size_mul(bytes, sizeof(float), &bytes) || bytes > INT32_MAX) {
        return im_fail(err, IM_ERR_LIMIT, "model '%s' has too many background vectors",
                       model->name);
    }
    *out_bytes = bytes;
    return IM_OK;
}

/* Values 1 to 11 of PUT_MODEL and UPDATE_MODEL. */
static im_code bind_model(statement *st, const im_model_row *model, im_error *err)
{
    size_t bytes = 0;
    im_code rc = background_size(model, &bytes, err);
    if (rc != IM_OK) {
        return rc;
    }
    const char *folder = model->folder != NULL ? model->folder : "";
    statement_put_text(st, model->name != NULL ? model->name : "");
    statement_put_blob(st, folder, strlen(folder));
    statement_put_text(st, model->digest);
    statement_put_text(st, model->files != NULL ? model->files : "[]");
    statement_put_text(st, model->family);
    statement_put_u64(st, model->dim);
    statement_put_text(st, model->precision);
    statement_put_text(st, state_names[model->state]);
    statement_put_u64(st, model->n_background);
    statement_put_i64(st, im_crc32c(0, bytes > 0 ? (const void *)model->background : "", bytes));
    statement_put_blob(st, model->background, bytes);
    return IM_OK;
}

static im_code put_model(im_store *store, const im_model_row *model, uint64_t *out_model,
                         im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_PUT_MODEL, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = bind_model(&st, model, err);
    if (rc != IM_OK) {
        statement_close(&st);
        return rc;
    }
    rc = statement_run(&st, NULL, err);
    if (rc == IM_OK) {
        *out_model = (uint64_t)sqlite3_last_insert_rowid(store->db);
    }
    return rc;
}

im_code im_store_put_model(im_store *store, const im_model_row *model, uint64_t *out_model,
                           im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_model(store, model, out_model, err), err);
}

static im_code fail_no_model(uint64_t id, im_error *err)
{
    return im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "the library has no model of the id %llu",
                      (unsigned long long)id);
}

static im_code update_model(im_store *store, const im_model_row *model, im_error *err)
{
    statement st;
    uint64_t rows = 0;
    im_code rc = statement_open(store, STORE_SQL_UPDATE_MODEL, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = bind_model(&st, model, err);
    if (rc != IM_OK) {
        statement_close(&st);
        return rc;
    }
    statement_put_u64(&st, model->id);
    rc = statement_run(&st, &rows, err);
    return rc == IM_OK && rows == 0 ? fail_no_model(model->id, err) : rc;
}

im_code im_store_update_model(im_store *store, const im_model_row *model, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, update_model(store, model, err), err);
}

/* ---- reading ---- */

static bool state_of(im_view name, im_model_state *out)
{
    for (size_t i = 0; i < IM_COUNT(state_names); i++) {
        if (im_view_equal_c(name, state_names[i])) {
            *out = (im_model_state)i;
            return true;
        }
    }
    return false;
}

/* All but the background; `out` is to be cleared also after a failure. */
static im_code read_row(const statement *st, im_model_row *out, im_error *err)
{
    uint64_t id = statement_u64(st, 0);
    int64_t dim = statement_i64(st, 6);
    *out = (im_model_row){
        .id = id,
        .name = statement_strdup(st, 1),
        .folder = statement_strdup(st, 2),
        .files = statement_strdup(st, 4),
        .dim = (size_t)dim,
    };
    if (out->name == NULL || out->folder == NULL || out->files == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a model's row");
    }
    if (statement_view(st, 3).size != sizeof out->digest - 1 || dim < 1 || dim > INT32_MAX ||
        !state_of(statement_view(st, 8), &out->state)) {
        return store_damaged_row(st->store, "model", id, "values that cannot be", err);
    }
    statement_copy(st, 3, out->digest, sizeof out->digest);
    statement_copy(st, 5, out->family, sizeof out->family);
    statement_copy(st, 7, out->precision, sizeof out->precision);
    return IM_OK;
}

static im_code read_background(const statement *st, im_model_row *out, im_error *err)
{
    im_view bytes = statement_view(st, 11);
    uint64_t rows = statement_u64(st, 9);
    uint64_t expected = 0;
    if (!im_u64_mul(rows, out->dim * sizeof(float), &expected) || expected != bytes.size ||
        im_crc32c(0, bytes.data, bytes.size) != statement_u64(st, 10)) {
        return store_damaged_row(st->store, "model", out->id, "its background vectors are damaged",
                                 err);
    }
    if (rows == 0) {
        return IM_OK;
    }
    out->background = im_alloc(bytes.size, 1);
    if (out->background == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a model's background");
    }
    memcpy(out->background, bytes.data, bytes.size);
    out->n_background = (size_t)rows;
    return IM_OK;
}

/* Takes a bound statement, closes it. */
static im_code read_one(statement *st, im_model_row *out, im_error *err)
{
    bool row = false;
    im_model_row model = {0};
    im_code rc = statement_step(st, &row, err);
    if (rc == IM_OK && row) {
        rc = read_row(st, &model, err);
    }
    if (rc == IM_OK && row) {
        rc = read_background(st, &model, err);
    }
    statement_close(st);
    if (rc != IM_OK) {
        im_model_row_clear(&model);
        return rc;
    }
    *out = model; /* the caller owns it from here */
    return IM_OK;
}

im_code im_store_active_model(im_store *store, im_model_row *out, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_ACTIVE_MODEL, &st, err);
    return rc == IM_OK ? read_one(&st, out, err) : rc;
}

im_code im_store_model_of_digest(im_store *store, const char *digest, im_model_row *out,
                                 im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_MODEL_OF_DIGEST, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, digest);
    return read_one(&st, out, err);
}

im_code im_store_each_model(im_store *store, im_store_model_fn fn, void *context, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_MODEL, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool more = true;
    while (rc == IM_OK && more) {
        im_model_row model = {0};
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            rc = read_row(&st, &model, err);
        }
        if (rc == IM_OK && more) {
            more = fn(context, &model);
        }
        im_model_row_clear(&model);
    }
    statement_close(&st);
    return rc;
}

/* ---- which one is used ---- */

static im_code activate(im_store *store, uint64_t model, im_error *err)
{
    uint64_t rows = 0;
    im_code rc = store_run_u64(store, STORE_SQL_RETIRE_OTHERS, model, NULL, err);
    if (rc == IM_OK) {
        rc = store_run_u64(store, STORE_SQL_ACTIVATE_MODEL, model, &rows, err);
    }
    return rc == IM_OK && rows == 0 ? fail_no_model(model, err) : rc;
}

im_code im_store_activate_model(im_store *store, uint64_t model, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, activate(store, model, err), err);
}
