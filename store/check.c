/* store/check.c — everything that can be checked without the pictures: SQLite's own structure,
 * references, and the checksums of rows, which SQLite does not know of. */
#include "base/hash.h"
#include "store/store_internal.h"

typedef struct checker {
    im_store *store;
    im_store_report report;
    void *context;
    uint64_t findings;
} checker;

static void find(checker *check, const char *table, uint64_t row, const char *what)
{
    check->findings++;
    if (check->report != NULL) {
        check->report(check->context, table, row, what);
    }
}

/* A table that cannot be read to its end is a finding, and the next check goes on. */
static im_code tolerate(checker *check, store_sql sql, im_code rc, const im_error *cause,
                        im_error *err)
{
    if (rc == IM_ERR_DAMAGED) {
        find(check, store_sql_table(sql), 0, cause->message);
        return IM_OK;
    }
    if (rc != IM_OK && err != NULL) {
        *err = *cause;
    }
    return rc;
}

typedef void (*check_row)(checker *check, const statement *st);

static im_code each_row(checker *check, store_sql sql, check_row row_fn, im_error *err)
{
    statement st;
    im_error cause = IM_ERROR_INIT;
    bool more = true;
    im_code rc = statement_open(check->store, sql, &st, &cause);
    if (rc != IM_OK) {
        return tolerate(check, sql, rc, &cause, err);
    }
    while (rc == IM_OK && more) {
        rc = statement_step(&st, &more, &cause);
        if (rc == IM_OK && more) {
            row_fn(check, &st);
        }
    }
    statement_close(&st);
    return tolerate(check, sql, rc, &cause, err);
}

/* ---- SQLite's own ---- */

/* "Tree 5 page 7: …" or "… in index x": the table whose tree it is, when it can be told. */
static void name_tree(checker *check, const char *text, char *out, size_t capacity)
{
    static const char mark[] = "ree ";
    statement st;
    bool row = false;
    const char *at = strstr(text, mark);
    (void)snprintf(out, capacity, "%s", "library");
    if (at == NULL || statement_open(check->store, STORE_SQL_TABLE_OF_TREE, &st, NULL) != IM_OK) {
        return;
    }
    statement_put_i64(&st, strtol(at + sizeof mark - 1, NULL, 10));
    if (statement_step(&st, &row, NULL) == IM_OK && row) {
        statement_copy(&st, 0, out, capacity);
    }
    statement_close(&st);
}

static void check_integrity(checker *check, const statement *st)
{
    char text[512];
    char table[64];
    statement_copy(st, 0, text, sizeof text);
    if (strcmp(text, "ok") != 0) {
        name_tree(check, text, table, sizeof table);
        find(check, table, 0, text);
    }
}

static void check_reference(checker *check, const statement *st)
{
    char table[64];
    char parent[64];
    char text[160];
    statement_copy(st, 0, table, sizeof table);
    statement_copy(st, 2, parent, sizeof parent);
    (void)snprintf(text, sizeof text, "refers to a row of '%s' that is not there", parent);
    find(check, table, statement_u64(st, 1), text);
}

/* ---- ours ---- */

static void check_item(checker *check, const statement *st)
{
    if (statement_i64(st, 1) != 1) {
        find(check, "item", statement_u64(st, 0), "its values do not fit its checksum");
    }
}

static void check_file(checker *check, const statement *st)
{
    if (statement_i64(st, 1) != 1) {
        find(check, "file", statement_u64(st, 0), "its values do not fit its checksum");
    }
}

static void check_embedding(checker *check, const statement *st)
{
    uint64_t row = statement_u64(st, 0);
    im_view vector = statement_view(st, 2);
    if (im_crc32c(0, vector.data, vector.size) != statement_u64(st, 1)) {
        find(check, "embedding", row, "its vector does not fit its checksum");
    } else if (vector.size != statement_u64(st, 3) * sizeof(float)) {
        find(check, "embedding", row, "its vector is not as long as its model's");
    }
}

static void check_model(checker *check, const statement *st)
{
    im_view background = statement_view(st, 4);
    uint64_t expected = 0;
    bool fits = im_u64_mul(statement_u64(st, 1), statement_u64(st, 2), &expected) &&
                im_u64_mul(expected, sizeof(float), &expected) && expected == background.size;
    if (!fits || im_crc32c(0, background.data, background.size) != statement_u64(st, 3)) {
        find(check, "model", statement_u64(st, 0), "its background does not fit its checksum");
    }
}

static void check_field(checker *check, const statement *st)
{
    if (statement_i64(st, 1) != 1) {
        find(check, "item_field", statement_u64(st, 0), "a value does not fit its checksum");
    } else if (statement_i64(st, 2) != 1) {
        find(check, "item_field", statement_u64(st, 0), "a value is not of its field's type");
    }
}

static void check_tag(checker *check, const statement *st)
{
    if (statement_i64(st, 1) != 1) {
        find(check, "tag", statement_u64(st, 0), "its name does not fit its checksum");
    }
}

static void check_caption(checker *check, const statement *st)
{
    if (statement_i64(st, 1) != 1) {
        find(check, "caption", statement_u64(st, 0), "its values do not fit its checksum");
    }
}

static void check_text(checker *check, const statement *st)
{
    if (statement_i64(st, 1) != 1) {
        find(check, "item_text", statement_u64(st, 0), "its words are not those of the picture");
    }
}

static void check_dead_slot(checker *check, const statement *st)
{
    find(check, "dead_slot", statement_u64(st, 0), "a slot is both in use and given up");
}

static void check_index(checker *check, const statement *st)
{
    find(check, "index_file", statement_u64(st, 0), "counts fewer rows than there are slots");
}

im_code im_store_check(im_store *store, im_store_report report, void *context,
                       uint64_t *out_findings, im_error *err)
{
    static const struct {
        store_sql sql;
        check_row row_fn;
    } checks[] = {
        {STORE_SQL_INTEGRITY_CHECK, check_integrity},
        {STORE_SQL_FOREIGN_KEY_CHECK, check_reference},
        {STORE_SQL_CHECK_ITEMS, check_item},
        {STORE_SQL_CHECK_FILES, check_file},
        {STORE_SQL_CHECK_EMBEDDINGS, check_embedding},
        {STORE_SQL_CHECK_MODELS, check_model},
        {STORE_SQL_CHECK_FIELDS, check_field},
        {STORE_SQL_CHECK_TAGS, check_tag},
        {STORE_SQL_CHECK_CAPTIONS, check_caption},
        {STORE_SQL_CHECK_TEXTS, check_text},
        {STORE_SQL_CHECK_LOOSE_TEXTS, check_text},
        {STORE_SQL_CHECK_DEAD_SLOTS, check_dead_slot},
        {STORE_SQL_CHECK_INDEX, check_index},
    };
    checker check = {.store = store, .report = report, .context = context};
    im_code rc = store_texts_make(store, err);
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(checks); i++) {
        rc = each_row(&check, checks[i].sql, checks[i].row_fn, err);
    }
    if (rc == IM_OK) {
        *out_findings = check.findings;
    }
    return rc;
}
