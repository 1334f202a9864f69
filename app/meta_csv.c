/* app/meta_csv.c — rows of CSV as RFC 4180 has it, through libcsv: a header, then one line a row,
 * cells in quotes with commas and line ends in them. The file is fed in pieces that end at line
 * ends, so that at most one row ends in a piece and its line is known. After a row that is wrong
 * the next line is taken for a row again. */
#include "app/meta_internal.h"

#include <csv.h>

#define CSV_BLOCK (4u << 10) /* by which libcsv's buffer of a cell grows */

typedef struct csv_cell {
    size_t from, size;
} csv_cell;

struct meta_csv {
    meta_source *source;
    struct csv_parser parser;
    bool open;            /* parser is to be freed */
    bool ended;           /* the file is */
    meta_column *columns; /* owned */
    size_t n_columns;
    im_str text; /* the cells of the row, a NUL behind each */
    csv_cell cells[IM_LIMIT_META_COLUMNS];
    size_t n_cells; /* also of those that have no room */
    bool row_ended;
    uint64_t line; /* where the row began */
    size_t fed;    /* bytes of it */
};

/* ---- libcsv ---- */

static int no_space(unsigned char c)
{
    (void)c;
    return 0; /* blanks belong to the cell */
}

static void *grow(void *block, size_t size)
{
    return im_realloc(block, size, 1);
}

static void on_cell(void *data, size_t size, void *context)
{
    meta_csv *csv = context;
    if (csv->n_cells < IM_COUNT(csv->cells)) {
        csv->cells[csv->n_cells] = (csv_cell){csv->text.size, size};
        im_str_add(&csv->text, data, size);
        im_str_add_char(&csv->text, '\0');
    }
    csv->n_cells++;
}

static void on_row(int end, void *context)
{
    meta_csv *csv = context;
    (void)end;
    csv->row_ended = true;
}

static im_code start_parser(meta_csv *csv, im_error *err)
{
    if (csv->open) {
        csv_free(&csv->parser);
        csv->open = false;
    }
    if (csv_init(&csv->parser, CSV_STRICT | CSV_STRICT_FINI) != 0) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to read CSV");
    }
    csv->open = true;
    csv_set_space_func(&csv->parser, no_space);
    csv_set_realloc_func(&csv->parser, grow);
    csv_set_free_func(&csv->parser, im_free);
    csv_set_blk_size(&csv->parser, CSV_BLOCK);
    return IM_OK;
}

/* ---- records ---- */

static void forget_row(meta_csv *csv)
{
    im_str_reset(&csv->text);
    csv->n_cells = 0;
    csv->row_ended = false;
    csv->fed = 0;
}

/* Why libcsv stopped, as an error of the row. */
static im_code tell_wrong(meta_csv *csv, im_error *error)
{
    if (csv_error(&csv->parser) != CSV_EPARSE) {
        return im_fail(error, IM_ERR_NOMEM, "no memory for a line of CSV");
    }
    const char *what = csv->parser.quoted ? "text behind the closing quote of a cell"
                                          : "a quote inside a cell that does not begin with one";
    uint64_t line = meta_source_line(csv->source);
    im_code rc = line > csv->line + 1 ? im_fail(error, IM_ERR_FORMAT, "%s, before line %llu", what,
                                                (unsigned long long)line)
                                      : im_fail(error, IM_ERR_FORMAT, "%s", what);
    im_hint(error, "a cell with quotes in it is written in quotes, each of its own doubled");
    return rc;
}

/* The parser begins anew with the next line. */
static im_code skip_line(meta_csv *csv, im_view piece, im_error *err)
{
    im_code rc = IM_OK;
    while (rc == IM_OK && piece.size > 0 && piece.data[piece.size - 1] != '\n' &&
           piece.data[piece.size - 1] != '\r') {
        rc = meta_source_next(csv->source, &piece, err);
    }
    return rc == IM_OK ? start_parser(csv, err) : rc;
}

static im_code end_file(meta_csv *csv, im_error *error)
{
    csv->ended = true;
    if (csv_fini(&csv->parser, on_cell, on_row, csv) == 0) {
        return IM_OK;
    }
    csv->row_ended = true;
    if (csv_error(&csv->parser) != CSV_EPARSE) {
        return tell_wrong(csv, error);
    }
    im_code rc = im_fail(error, IM_ERR_FORMAT, "a quote is opened in this row and never closed");
    im_hint(error, "a cell with quotes in it is written in quotes, each of its own doubled");
    return rc;
}

/* Feeds one piece. *error is that of the row, what is returned that of the file. */
static im_code feed(meta_csv *csv, im_error *error, im_error *err)
{
    im_view piece = {0};
    uint64_t line = meta_source_line(csv->source);
    im_code rc = meta_source_next(csv->source, &piece, err);
    if (rc != IM_OK) {
        return rc;
    }
    csv->line = csv->fed == 0 ? line : csv->line;
    if (piece.size == 0) {
        (void)!end_file(csv, error);
        return IM_OK;
    }
    bool blank =
        csv->fed == 0 && piece.size == 1 && (piece.data[0] == '\n' || piece.data[0] == '\r');
    csv->fed += piece.size;
    if (csv->fed > IM_LIMIT_META_LINE_BYTES) {
        (void)!im_fail(error, IM_ERR_LIMIT, "the row has more than %u bytes",
                       IM_LIMIT_META_LINE_BYTES);
        im_hint(error, "is a quote left open?");
        csv->row_ended = true;
        return skip_line(csv, piece, err);
    }
    if (csv_parse(&csv->parser, piece.data, piece.size, on_cell, on_row, csv) != piece.size) {
        csv->row_ended = true;
        return tell_wrong(csv, error) == IM_ERR_NOMEM
                   ? im_fail(err, IM_ERR_NOMEM, "%s", error->message)
                   : skip_line(csv, piece, err);
    }
    csv->fed = blank ? 0 : csv->fed;
    return IM_OK;
}

/* The cells of the next row; *out_more false when there is none. */
static im_code read_record(meta_csv *csv, bool *out_more, im_error *error, im_error *err)
{
    im_code rc = IM_OK;
    forget_row(csv);
    while (rc == IM_OK && !csv->row_ended && !csv->ended) {
        rc = feed(csv, error, err);
    }
    if (rc == IM_OK && csv->text.failed) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a line of CSV");
    }
    *out_more = csv->row_ended;
    return rc;
}

static im_view cell_of(const meta_csv *csv, size_t i)
{
    return im_view_of(csv->text.data + csv->cells[i].from, csv->cells[i].size);
}

/* ---- the header ---- */

/* "price:number": cuts the type off. */
static im_code read_type(meta_column *column, im_error *err)
{
    char *colon = strrchr(column->name, ':');
    if (colon == NULL) {
        return IM_OK;
    }
    if (!im_value_type_of(im_view_from(colon + 1), &column->type)) {
        return im_fail(err, IM_ERR_INVALID,
                       "column '%s': '%s' is no type, expected text, number, date or bool",
                       column->name, colon + 1);
    }
    *colon = '\0';
    column->typed = true;
    return IM_OK;
}

static im_code read_column(meta_csv *csv, im_view cell, im_error *err)
{
    meta_column *column = &csv->columns[csv->n_columns++];
    im_view name = meta_trim(cell);
    if (memchr(name.data, '\0', name.size) != NULL) {
        return im_fail_as(err, IM_REASON_FIELD_NAME, "a column's name holds a NUL byte");
    }
    column->name = im_alloc(name.size + 1, 1);
    if (column->name == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a column");
    }
    memcpy(column->name, name.data, name.size);
    column->name[name.size] = '\0';
    im_code rc = read_type(column, err);
    column->word = meta_word_of(column->name);
    if (rc == IM_OK && column->word == META_WORD_FIELD) {
        rc = im_field_name_check(column->name, err);
    } else if (rc == IM_OK && column->typed) {
        rc = im_fail(err, IM_ERR_INVALID, "column '%s' takes no type", column->name);
    }
    for (size_t i = 0; i + 1 < csv->n_columns && rc == IM_OK; i++) {
        if (im_ascii_same_word(csv->columns[i].name, column->name)) {
            rc = im_fail_as(err, IM_REASON_FIELD_NAME, "column '%s' is there twice", column->name);
        }
    }
    return rc;
}

static im_code check_columns(const meta_csv *csv, im_error *err)
{
    for (size_t i = 0; i < csv->n_columns; i++) {
        meta_word word = csv->columns[i].word;
        if (word == META_WORD_PATH || word == META_WORD_ID || word == META_WORD_KEY) {
            return IM_OK;
        }
    }
    im_code rc = im_fail(err, IM_ERR_INVALID,
                         "the header has no column 'path', 'id' or 'key', expected one");
    im_hint(err, "the first line names the columns, with commas between");
    return rc;
}

/* One column that holds other marks: the commonest wrong file. */
static im_code check_separator(const meta_csv *csv, im_error *err)
{
    im_view cell = csv->n_cells == 1 ? cell_of(csv, 0) : (im_view){"", 0};
    const char *mark = memchr(cell.data, ';', cell.size) != NULL    ? "semicolons"
                       : memchr(cell.data, '\t', cell.size) != NULL ? "tabs"
                                                                    : NULL;
    if (mark == NULL) {
        return IM_OK;
    }
    return im_fail(err, IM_ERR_FORMAT, "the columns are separated by %s, expected commas", mark);
}

static im_code read_columns(meta_csv *csv, im_error *err)
{
    if (csv->n_cells > IM_LIMIT_META_COLUMNS) {
        return im_fail(err, IM_ERR_LIMIT, "%zu columns, expected at most %u", csv->n_cells,
                       IM_LIMIT_META_COLUMNS);
    }
    csv->columns = im_alloc_zero(IM_MAX(csv->n_cells, 1), sizeof(*csv->columns));
    if (csv->columns == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for columns");
    }
    im_code rc = check_separator(csv, err);
    for (size_t i = 0; i < csv->n_cells && rc == IM_OK; i++) {
        rc = read_column(csv, cell_of(csv, i), err);
    }
    return rc == IM_OK ? check_columns(csv, err) : rc;
}

static im_code read_header(meta_csv *csv, im_error *err)
{
    bool more = false;
    im_error error = IM_ERROR_INIT;
    im_code rc = read_record(csv, &more, &error, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = error.code;
    if (!more) {
        rc = im_fail(&error, IM_ERR_FORMAT, "empty, expected a line that names the columns");
    } else if (rc == IM_OK) {
        rc = read_columns(csv, &error);
    }
    if (rc != IM_OK) {
        meta_error_place(&error, meta_source_name(csv->source), csv->line);
        if (err != NULL) {
            *err = error;
        }
    }
    return rc;
}

im_code meta_csv_open(meta_source *source, meta_csv **out, im_error *err)
{
    meta_csv *csv = im_alloc_zero(1, sizeof(*csv));
    if (csv == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to read CSV");
    }
    csv->source = source;
    im_str_init(&csv->text, IM_LIMIT_META_LINE_BYTES + IM_LIMIT_META_COLUMNS);
    im_code rc = start_parser(csv, err);
    if (rc == IM_OK) {
        rc = read_header(csv, err);
    }
    if (rc != IM_OK) {
        meta_csv_close(csv);
        return rc;
    }
    *out = csv;
    return IM_OK;
}

void meta_csv_close(meta_csv *csv)
{
    if (csv == NULL) {
        return;
    }
    if (csv->open) {
        csv_free(&csv->parser);
    }
    for (size_t i = 0; i < csv->n_columns; i++) {
        im_free(csv->columns[i].name);
    }
    im_free(csv->columns);
    im_str_clear(&csv->text);
    im_free(csv);
}

const meta_column *meta_csv_columns(const meta_csv *csv, size_t *out_n)
{
    *out_n = csv->n_columns;
    return csv->columns;
}

/* ---- rows ---- */

/* "beach; summer": ends are written into the row's own text. */
static im_code read_tags(meta_row *row, char *text)
{
    size_t n = 1;
    for (const char *c = text; *c != '\0'; c++) {
        n += *c == ';';
    }
    row->tags = im_alloc(n, sizeof(*row->tags));
    if (row->tags == NULL) {
        return im_fail(&row->error, IM_ERR_NOMEM, "no memory for a line");
    }
    for (char *at = text; at != NULL;) {
        char *end = strchr(at, ';');
        im_view tag = meta_trim(im_view_of(at, end != NULL ? (size_t)(end - at) : strlen(at)));
        if (tag.size > 0) {
            row->tags[row->n_tags++] = tag.data;
        }
        at = end != NULL ? end + 1 : NULL;
        text[(size_t)(tag.data - text) + tag.size] = '\0';
    }
    return IM_OK;
}

static im_code read_cell(meta_row *row, const meta_column *column, char *text, size_t size)
{
    im_view cell = im_view_of(text, size);
    if (memchr(text, '\0', size) != NULL) {
        return im_fail_as(&row->error, IM_REASON_FIELD_VALUE, "column '%s' holds a NUL byte",
                          column->name);
    }
    switch (column->word) {
    case META_WORD_PATH:
        row->path = text;
        return IM_OK;
    case META_WORD_ID:
        return meta_row_id(row, text) ? IM_OK : row->error.code;
    case META_WORD_KEY:
        row->key = text;
        return IM_OK;
    case META_WORD_TAGS:
        return read_tags(row, text);
    case META_WORD_CAPTION:
        row->caption = cell;
        return IM_OK;
    case META_WORD_FIELD:
        break;
    }
    meta_pair *pair = &row->pairs[row->n_pairs++];
    *pair = (meta_pair){.name = column->name,
                        .kind = column->typed ? META_VALUE : META_CELL,
                        .value = {.type = IM_VALUE_TEXT, .text = cell}};
    return column->typed
               ? meta_cell_value(column->name, column->type, cell, &pair->value, &row->error)
               : IM_OK;
}

static im_code fill_row(const meta_csv *csv, meta_row *row)
{
    if (csv->n_cells != csv->n_columns) {
        return im_fail(&row->error, IM_ERR_FORMAT, "%zu cell%s, expected %zu as in the header",
                       csv->n_cells, csv->n_cells == 1 ? "" : "s", csv->n_columns);
    }
    row->pairs = im_alloc(csv->n_columns, sizeof(*row->pairs));
    row->text = im_alloc(csv->text.size, 1);
    if (row->pairs == NULL || row->text == NULL) {
        return im_fail(&row->error, IM_ERR_NOMEM, "no memory for a line");
    }
    memcpy(row->text, csv->text.data, csv->text.size);
    for (size_t i = 0; i < csv->n_columns; i++) {
        const csv_cell *cell = &csv->cells[i];
        if (cell->size == 0) {
            continue; /* says nothing of the field */
        }
        im_code rc = read_cell(row, &csv->columns[i], row->text + cell->from, cell->size);
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}

im_code meta_csv_next(meta_csv *csv, meta_row *row, bool *out_more, im_error *err)
{
    im_code rc = read_record(csv, out_more, &row->error, err);
    if (rc == IM_OK && *out_more) {
        row->line = csv->line;
        row->bytes = csv->text.size;
        if (row->error.code == IM_OK) {
            (void)!fill_row(csv, row);
        }
    }
    return rc;
}
