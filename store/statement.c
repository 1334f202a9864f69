/* store/statement.c — prepared statements: made when first needed, kept until the store closes. */
#include "store/store_internal.h"

typedef struct statement_row {
    const char *table;
    const char *text;
} statement_row;

static const statement_row rows[STORE_SQL_COUNT] = {
#define X(NAME, table, text) {#table, text},
#include "store/sql/queries.def"
#undef X
};

const char *store_sql_table(store_sql sql)
{
    return rows[sql].table;
}

im_code statement_open(im_store *store, store_sql sql, statement *out, im_error *err)
{
    im_code rc_snapshot = store_check_snapshot(store, err);
    if (rc_snapshot != IM_OK) {
        return rc_snapshot;
    }
    statement st = {.store = store, .sql = sql, .temporary = store->busy[sql]};
    st.stmt = st.temporary ? NULL : store->cached[sql];
    if (st.stmt == NULL) {
        unsigned flags = st.temporary ? 0 : SQLITE_PREPARE_PERSISTENT;
        int rc = sqlite3_prepare_v3(store->db, rows[sql].text, -1, flags, &st.stmt, NULL);
        if (rc != SQLITE_OK) {
            return store_fail(store, rc, sql, err);
        }
    }
    if (!st.temporary) {
        store->cached[sql] = st.stmt;
        store->busy[sql] = true;
    }
    *out = st;
    return IM_OK;
}

void statement_close(statement *st)
{
    if (st->stmt == NULL) {
        return;
    }
    /* the result of the last step again, which was told when it happened */
    if (st->temporary) {
        (void)sqlite3_finalize(st->stmt);
    } else {
        (void)sqlite3_reset(st->stmt);
        (void)sqlite3_clear_bindings(st->stmt);
        st->store->busy[st->sql] = false;
    }
    st->stmt = NULL;
}

void store_finalize_all(im_store *store)
{
    for (size_t i = 0; i < STORE_SQL_COUNT; i++) {
        (void)sqlite3_finalize(store->cached[i]);
        store->cached[i] = NULL;
    }
}

/* ---- binding ---- */

static void note(statement *st, int rc)
{
    if (st->rc == SQLITE_OK) {
        st->rc = rc;
    }
}

void statement_put_i64(statement *st, int64_t value)
{
    note(st, sqlite3_bind_int64(st->stmt, ++st->n_bound, value));
}

void statement_put_u64(statement *st, uint64_t value)
{
    statement_put_i64(st, (int64_t)value);
}

void statement_put_f64(statement *st, double value)
{
    note(st, sqlite3_bind_double(st->stmt, ++st->n_bound, value));
}

void statement_put_text(statement *st, const char *text)
{
    note(st, sqlite3_bind_text(st->stmt, ++st->n_bound, text, -1, SQLITE_STATIC));
}

void statement_put_text_view(statement *st, im_view text)
{
    const char *data = text.data != NULL ? text.data : "";
    note(st,
         sqlite3_bind_text64(st->stmt, ++st->n_bound, data, text.size, SQLITE_STATIC, SQLITE_UTF8));
}

void statement_put_blob(statement *st, const void *data, size_t size)
{
    /* no bytes are an empty BLOB, not NULL */
    const void *bytes = data != NULL ? data : "";
    note(st, sqlite3_bind_blob64(st->stmt, ++st->n_bound, bytes, size, SQLITE_STATIC));
}

void statement_put_null(statement *st)
{
    note(st, sqlite3_bind_null(st->stmt, ++st->n_bound));
}

/* ---- stepping ---- */

im_code statement_step(statement *st, bool *out_row, im_error *err)
{
    if (st->rc != SQLITE_OK) {
        return store_fail(st->store, st->rc, st->sql, err);
    }
    int rc = sqlite3_step(st->stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        return store_fail(st->store, rc, st->sql, err);
    }
    if (rc == SQLITE_DONE && sqlite3_stmt_readonly(st->stmt) == 0) {
        st->store->changes += (uint64_t)sqlite3_changes64(st->store->db);
    }
    *out_row = rc == SQLITE_ROW;
    return IM_OK;
}

im_code statement_run(statement *st, uint64_t *out_rows, im_error *err)
{
    bool row = true;
    im_code rc = IM_OK;
    while (rc == IM_OK && row) {
        rc = statement_step(st, &row, err);
    }
    if (rc == IM_OK && out_rows != NULL) {
        *out_rows = (uint64_t)sqlite3_changes64(st->store->db);
    }
    statement_close(st);
    return rc;
}

/* ---- reading ---- */

bool statement_is_null(const statement *st, int column)
{
    return sqlite3_column_type(st->stmt, column) == SQLITE_NULL;
}

int64_t statement_i64(const statement *st, int column)
{
    return sqlite3_column_int64(st->stmt, column);
}

uint64_t statement_u64(const statement *st, int column)
{
    return (uint64_t)sqlite3_column_int64(st->stmt, column);
}

double statement_f64(const statement *st, int column)
{
    return sqlite3_column_double(st->stmt, column);
}

im_view statement_view(const statement *st, int column)
{
    /* as a BLOB also for text: reading text may need memory for its NUL, and so may fail */
    const char *data = sqlite3_column_blob(st->stmt, column);
    int size = sqlite3_column_bytes(st->stmt, column);
    return data != NULL ? im_view_of(data, (size_t)size) : im_view_of("", 0);
}

void statement_copy(const statement *st, int column, char *out, size_t capacity)
{
    im_view view = statement_view(st, column);
    size_t size = IM_MIN(view.size, capacity - 1);
    memcpy(out, view.data, size);
    out[size] = '\0';
}

char *statement_strdup(const statement *st, int column)
{
    im_view view = statement_view(st, column);
    char *copy = im_alloc(view.size + 1, 1);
    if (copy != NULL) {
        memcpy(copy, view.data, view.size);
        copy[view.size] = '\0';
    }
    return copy;
}

/* ---- the common shapes ---- */

im_code store_run(im_store *store, store_sql sql, uint64_t *out_rows, im_error *err)
{
    statement st = {0};
    im_code rc = statement_open(store, sql, &st, err);
    return rc == IM_OK ? statement_run(&st, out_rows, err) : rc;
}

im_code store_run_u64(im_store *store, store_sql sql, uint64_t a, uint64_t *out_rows, im_error *err)
{
    statement st = {0};
    im_code rc = statement_open(store, sql, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, a);
    return statement_run(&st, out_rows, err);
}

im_code store_run_u64_i64(im_store *store, store_sql sql, uint64_t a, int64_t b, uint64_t *out_rows,
                          im_error *err)
{
    statement st = {0};
    im_code rc = statement_open(store, sql, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, a);
    statement_put_i64(&st, b);
    return statement_run(&st, out_rows, err);
}

im_code store_run_u64_text(im_store *store, store_sql sql, uint64_t a, const char *b,
                           uint64_t *out_rows, im_error *err)
{
    statement st = {0};
    im_code rc = statement_open(store, sql, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, a);
    statement_put_text(&st, b);
    return statement_run(&st, out_rows, err);
}

static im_code read_number(statement *st, bool *out_found, uint64_t *out, im_error *err)
{
    bool row = false;
    im_code rc = statement_step(st, &row, err);
    if (rc == IM_OK) {
        *out_found = row;
        *out = row ? statement_u64(st, 0) : 0;
    }
    statement_close(st);
    return rc;
}

im_code store_number(im_store *store, store_sql sql, uint64_t *out, im_error *err)
{
    statement st = {0};
    bool found = false;
    im_code rc = statement_open(store, sql, &st, err);
    return rc == IM_OK ? read_number(&st, &found, out, err) : rc;
}

im_code store_number_of(im_store *store, store_sql sql, uint64_t a, bool *out_found, uint64_t *out,
                        im_error *err)
{
    statement st = {0};
    im_code rc = statement_open(store, sql, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, a);
    return read_number(&st, out_found, out, err);
}
