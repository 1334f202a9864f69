/* store/column.c — the facts of every slot, for the columns of index/: one walk over slots, items
 * and own fields, in slot order. A million rows take seconds, so that no row of it looks at the
 * vectors and nothing is allocated per row. */
#include "store/store_internal.h"

enum {
    AT_SLOT,
    AT_ITEM,
    AT_SOUND,
    AT_TAKEN,
    AT_OFFSET,
    AT_ADDED,
    AT_LATITUDE,
    AT_LONGITUDE,
    AT_CAMERA,
    AT_LENS,
    AT_TYPE,
    AT_SOURCE,
    AT_WIDTH,
    AT_HEIGHT,
    AT_BYTES,
    AT_PARTIAL,
    AT_MISSING,
    AT_TAGGED,
    AT_CAPTIONED,
    AT_FIELD_NAME,
    AT_FIELD_TYPE,
    AT_FIELD_VALUE
};

/* A row and what its views point at: the next row of SQLite's answer, which only tells that this
 * one has no more fields, takes its memory away. */
typedef struct gathering {
    im_column_row row;
    bool filled;
    char camera[96], lens[96], type[16], source[16];
    im_str texts; /* names, each with its NUL, and text values of the fields */
    im_slot_field *fields;
    size_t *name_at, *text_at; /* [capacity] places in texts: it may move */
    size_t capacity;
} gathering;

static im_view copy_text(const statement *st, int column, char *out, size_t capacity)
{
    statement_copy(st, column, out, capacity);
    return im_view_of(out, strlen(out));
}

static void begin_row(gathering *g, const statement *st)
{
    g->row = (im_column_row){
        .slot = statement_u64(st, AT_SLOT),
        .item = statement_u64(st, AT_ITEM),
        .sound = statement_i64(st, AT_SOUND) == 1,
        .has_taken = !statement_is_null(st, AT_TAKEN),
        .has_taken_offset = !statement_is_null(st, AT_OFFSET),
        .has_gps = !statement_is_null(st, AT_LATITUDE) && !statement_is_null(st, AT_LONGITUDE),
        .taken_offset_min = (int16_t)statement_i64(st, AT_OFFSET),
        .taken_s = statement_i64(st, AT_TAKEN),
        .added_ns = statement_i64(st, AT_ADDED),
        .latitude = statement_f64(st, AT_LATITUDE),
        .longitude = statement_f64(st, AT_LONGITUDE),
        .camera = copy_text(st, AT_CAMERA, g->camera, sizeof g->camera),
        .lens = copy_text(st, AT_LENS, g->lens, sizeof g->lens),
        .type = copy_text(st, AT_TYPE, g->type, sizeof g->type),
        .source = copy_text(st, AT_SOURCE, g->source, sizeof g->source),
        .width = (uint32_t)statement_i64(st, AT_WIDTH),
        .height = (uint32_t)statement_i64(st, AT_HEIGHT),
        .bytes = statement_u64(st, AT_BYTES),
        .partial = statement_i64(st, AT_PARTIAL) != 0,
        .missing = statement_i64(st, AT_MISSING) != 0,
        .tagged = statement_i64(st, AT_TAGGED) != 0,
        .captioned = statement_i64(st, AT_CAPTIONED) != 0,
    };
    im_str_reset(&g->texts);
    g->filled = true;
}

static bool grow(gathering *g)
{
    size_t capacity = g->capacity == 0 ? 8 : 2 * g->capacity;
    im_slot_field *fields = im_realloc(g->fields, capacity, sizeof(*fields));
    g->fields = fields != NULL ? fields : g->fields;
    size_t *names = im_realloc(g->name_at, capacity, sizeof(*names));
    g->name_at = names != NULL ? names : g->name_at;
    size_t *texts = im_realloc(g->text_at, capacity, sizeof(*texts));
    g->text_at = texts != NULL ? texts : g->text_at;
    if (fields == NULL || names == NULL || texts == NULL) {
        return false;
    }
    g->capacity = capacity;
    return true;
}

static im_code add_field(gathering *g, const statement *st, im_error *err)
{
    im_slot_field field = {0};
    im_column_row *row = &g->row;
    if (!store_read_value(st, AT_FIELD_TYPE, AT_FIELD_VALUE, &field.value)) {
        row->sound = false;
        return IM_OK;
    }
    im_view name = statement_view(st, AT_FIELD_NAME);
    if (row->n_fields == g->capacity && !grow(g)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the fields of a picture");
    }
    g->name_at[row->n_fields] = g->texts.size;
    im_str_add(&g->texts, name.data, name.size);
    im_str_add_char(&g->texts, '\0');
    g->text_at[row->n_fields] = g->texts.size;
    im_str_add(&g->texts, field.value.text.data, field.value.text.size);
    if (g->texts.failed) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the fields of a picture");
    }
    g->fields[row->n_fields++] = field;
    return IM_OK;
}

/* Hands the row over; the result is the callback's. */
static bool end_row(gathering *g, im_store_column_row_fn fn, void *context)
{
    if (!g->filled) {
        return true;
    }
    for (size_t i = 0; i < g->row.n_fields; i++) {
        g->fields[i].name = g->texts.data + g->name_at[i];
        if (g->fields[i].value.type == IM_VALUE_TEXT) {
            g->fields[i].value.text.data = g->texts.data + g->text_at[i];
        }
    }
    g->row.fields = g->fields;
    g->filled = false;
    return fn(context, &g->row);
}

im_code store_walk_column_rows(statement *st, im_store_column_row_fn fn, void *context,
                               im_error *err)
{
    gathering g = {0};
    bool row = true;
    bool more = true;
    im_code rc = IM_OK;
    im_str_init(&g.texts, SIZE_MAX / 2);
    while (rc == IM_OK && more && row) {
        rc = statement_step(st, &row, err);
        if (rc != IM_OK) {
            break;
        }
        if (!row || !g.filled || statement_u64(st, AT_SLOT) != g.row.slot) {
            more = end_row(&g, fn, context);
            if (row && more) {
                begin_row(&g, st);
            }
        }
        if (row && more && !statement_is_null(st, AT_FIELD_NAME)) {
            rc = add_field(&g, st, err);
        }
    }
    statement_close(st);
    im_str_clear(&g.texts);
    im_free(g.fields);
    im_free(g.name_at);
    im_free(g.text_at);
    return rc;
}

im_code im_store_each_column_row(im_store *store, uint64_t model, uint64_t from_slot,
                                 im_store_column_row_fn fn, void *context, im_error *err)
{
    statement st;
    if (from_slot > INT64_MAX) {
        return IM_OK; /* no slot is as high */
    }
    im_code rc = statement_open(store, STORE_SQL_EACH_COLUMN_ROW, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    statement_put_u64(&st, from_slot);
    return store_walk_column_rows(&st, fn, context, err);
}
