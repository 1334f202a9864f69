/* app/import_source.c — the folder of an import, read row by row: vectors.npy, and items.jsonl
 * where there is one. Nothing is believed that was not checked here; memory holds IMPORT_ROWS rows.
 */
#include "app/exchange_internal.h"
#include "base/file.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#define LINE_CHUNK (256u << 10)
#define UNIT_TOLERANCE 1e-3 /* as the index wants it */

void import_at_row(const char *file, uint64_t row, im_error *error)
{
    im_error inner = *error;
    im_code rc = im_fail(error, inner.code, "'%s', row %llu: %s", file, (unsigned long long)row,
                         inner.message);
    (void)rc;
    error->reason = inner.reason;
    memcpy(error->hint, inner.hint, sizeof(error->hint));
}

/* ---- opening ---- */

static im_code read_npy_head(import_source *source, im_error *err)
{
    im_file_stamp stamp;
    uint8_t prefix[NPY_PREFIX_BYTES];
    size_t size = 0;
    im_code rc = im_file_stat(source->npy_name, &stamp, err);
    if (rc == IM_OK) {
        rc = im_file_open(source->npy_name, O_RDONLY, 0, &source->npy, err);
    }
    size_t n = rc == IM_OK ? (size_t)IM_MIN(stamp.size, (uint64_t)sizeof(prefix)) : 0;
    if (rc == IM_OK) {
        rc = im_file_pread(source->npy, prefix, n, 0, source->npy_name, err);
    }
    if (rc == IM_OK) {
        rc = npy_head_size(prefix, n, source->npy_name, &size, err);
    }
    if (rc == IM_OK && size > stamp.size) {
        rc = im_fail(err, IM_ERR_FORMAT, "'%s': the NumPy header is cut short", source->npy_name);
    }
    uint8_t *head = rc == IM_OK ? im_alloc(size, 1) : NULL;
    if (rc == IM_OK && head == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a header");
    }
    if (rc == IM_OK) {
        rc = im_file_pread(source->npy, head, size, 0, source->npy_name, err);
    }
    if (rc == IM_OK) {
        rc = npy_read_head(head, size, stamp.size, source->npy_name, &source->head, err);
    }
    im_free(head);
    return rc;
}

/* items.jsonl may be missing. */
static im_code open_items(import_source *source, im_error *err)
{
    im_file_stamp stamp;
    if (!im_file_exists(source->items_name)) {
        im_free(source->items_name);
        source->items_name = NULL;
        return IM_OK;
    }
    im_code rc = im_file_stat(source->items_name, &stamp, err);
    if (rc == IM_OK) {
        source->items_bytes = stamp.size;
        rc = im_file_open(source->items_name, O_RDONLY, 0, &source->items, err);
    }
    return rc;
}

im_code import_source_open(const char *folder, bool normalise, import_source *out, im_error *err)
{
    memset(out, 0, sizeof(*out));
    out->npy = -1;
    out->items = -1;
    out->normalise = normalise;
    im_str_init(&out->line, IM_LIMIT_IMPORT_LINE_BYTES + 2 * LINE_CHUNK);
    out->npy_name = im_path_join(folder, EXCHANGE_VECTORS);
    out->items_name = im_path_join(folder, EXCHANGE_ITEMS);
    out->model_name = im_path_join(folder, EXCHANGE_MODEL);
    if (out->npy_name == NULL || out->items_name == NULL || out->model_name == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = read_npy_head(out, err);
    if (rc == IM_ERR_NOT_FOUND) {
        im_hint(err, "name a folder with a %s in it: see 'imago import --help'", EXCHANGE_VECTORS);
    }
    if (rc == IM_OK) {
        rc = open_items(out, err);
    }
    if (rc == IM_OK) {
        out->raw = im_alloc(IMPORT_ROWS, out->head.row_bytes);
        rc = out->raw != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for vectors");
    }
    return rc;
}

void import_source_close(import_source *source)
{
    if (source->npy >= 0) {
        (void)close(source->npy);
    }
    if (source->items >= 0) {
        (void)close(source->items);
    }
    im_free(source->npy_name);
    im_free(source->items_name);
    im_free(source->model_name);
    im_free(source->raw);
    im_str_clear(&source->line);
    memset(source, 0, sizeof(*source));
    source->npy = -1;
    source->items = -1;
}

void import_source_rewind(import_source *source)
{
    source->next_row = 0;
    source->items_at = 0;
    source->n_lines = 0;
    source->n_normalised = 0;
    source->line_used = 0;
    im_str_reset(&source->line);
}

/* ---- lines ---- */

/* Reads on behind what is there; what was used goes. */
static im_code fill_line(import_source *source, im_error *err)
{
    im_str *line = &source->line;
    size_t left = line->size - source->line_used;
    size_t n = (size_t)IM_MIN((uint64_t)LINE_CHUNK, source->items_bytes - source->items_at);
    if (source->line_used > 0) {
        memmove(line->data, line->data + source->line_used, left);
        line->size = left;
        source->line_used = 0;
    }
    char *chunk = im_alloc(n, 1);
    if (chunk == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for lines of '%s'", source->items_name);
    }
    im_code rc = im_file_pread(source->items, chunk, n, source->items_at, source->items_name, err);
    if (rc == IM_OK) {
        im_str_add(line, chunk, n);
        source->items_at += n;
        rc = line->failed
                 ? im_fail(err, IM_ERR_NOMEM, "no memory for lines of '%s'", source->items_name)
                 : IM_OK;
    }
    im_free(chunk);
    return rc;
}

static bool is_blank(im_view line)
{
    for (size_t i = 0; i < line.size; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* The next line, blank or not, without its end; *out_there false at the end of the file. */
static im_code next_line(import_source *source, im_view *out, bool *out_there, im_error *err)
{
    size_t searched = 0;
    for (;;) {
        const im_str *line = &source->line;
        size_t left = line->size - source->line_used;
        const char *from = left > 0 ? line->data + source->line_used : NULL;
        const char *end = left > searched ? memchr(from + searched, '\n', left - searched) : NULL;
        size_t size = end != NULL ? (size_t)(end - from) : left;
        if (size > IM_LIMIT_IMPORT_LINE_BYTES) {
            im_error error = IM_ERROR_INIT;
            im_code rc = im_fail(&error, IM_ERR_LIMIT, "the line is longer than %u bytes",
                                 IM_LIMIT_IMPORT_LINE_BYTES);
            import_at_row(source->items_name, source->n_lines, &error);
            if (err != NULL) {
                *err = error;
            }
            return rc;
        }
        if (end != NULL || source->items_at == source->items_bytes) {
            *out_there = left > 0;
            *out = im_view_of(from, size);
            source->line_used += size + (end != NULL);
            return IM_OK;
        }
        searched = left;
        im_code rc = fill_line(source, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
}

static im_code next_row_line(import_source *source, im_view *out, bool *out_there, im_error *err)
{
    im_code rc = IM_OK;
    do {
        rc = next_line(source, out, out_there, err);
    } while (rc == IM_OK && *out_there && is_blank(*out));
    source->n_lines += rc == IM_OK && *out_there;
    return rc;
}

/* All lines are counted for the sentence: which of the files is the wrong one shows by the number.
 */
static im_code check_counts(import_source *source, im_error *err)
{
    im_view line = im_view_of(NULL, 0);
    bool there = source->items_name != NULL;
    im_code rc = IM_OK;
    while (rc == IM_OK && there) {
        rc = next_row_line(source, &line, &there, err);
    }
    if (rc == IM_OK && source->items_name != NULL && source->n_lines != source->head.rows) {
        rc = im_fail(err, IM_ERR_INVALID, "'%s' has %llu lines, but '%s' has %llu rows",
                     source->items_name, (unsigned long long)source->n_lines, EXCHANGE_VECTORS,
                     (unsigned long long)source->head.rows);
        im_hint(err, "line i describes row i: one line a vector, in the same order");
    }
    return rc;
}

/* ---- vectors ---- */

static im_code check_vector(import_source *source, float *vector, im_error *err)
{
    size_t dim = source->head.dim;
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        if (!isfinite(vector[i])) {
            return im_fail_as(err, IM_REASON_VECTOR_INVALID, "value %zu is not finite (%g)", i,
                              (double)vector[i]);
        }
        sum += (double)vector[i] * (double)vector[i];
    }
    double length = sqrt(sum);
    if (length == 0) {
        return im_fail_as(err, IM_REASON_VECTOR_INVALID, "the vector is zero");
    }
    if (fabs(length - 1) <= UNIT_TOLERANCE) {
        return IM_OK;
    }
    if (!source->normalise) {
        im_code rc =
            im_fail_as(err, IM_REASON_VECTOR_INVALID,
                       "the vector has length %g, expected 1 within %g", length, UNIT_TOLERANCE);
        im_hint(err, "have vectors made unit length: --normalise");
        return rc;
    }
    for (size_t i = 0; i < dim; i++) {
        vector[i] = (float)((double)vector[i] / length);
    }
    source->n_normalised++;
    return IM_OK;
}

static im_code read_vectors(import_source *source, size_t n, float *vectors, im_error *err)
{
    const npy_head *head = &source->head;
    im_error error = IM_ERROR_INIT;
    im_code rc =
        im_file_pread(source->npy, source->raw, n * head->row_bytes,
                      head->data_at + source->next_row * head->row_bytes, source->npy_name, err);
    if (rc != IM_OK) {
        return rc;
    }
    npy_to_f32(head, source->raw, n, vectors);
    for (size_t i = 0; i < n; i++) {
        rc = check_vector(source, vectors + i * head->dim, &error);
        if (rc != IM_OK) {
            import_at_row(source->npy_name, source->next_row + i, &error);
            if (err != NULL) {
                *err = error;
            }
            return rc;
        }
    }
    return IM_OK;
}

/* ---- rows ---- */

static im_code read_row(import_source *source, uint64_t number, import_row *row, im_error *err)
{
    im_view line = im_view_of(NULL, 0);
    bool there = true;
    im_error error = IM_ERROR_INIT;
    im_code rc = IM_OK;
    if (source->items_name != NULL) {
        rc = next_row_line(source, &line, &there, err);
        if (rc == IM_OK && !there) {
            return check_counts(source, err);
        }
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = import_row_read(line.data, line.size, number, row, &error);
    if (rc != IM_OK) {
        import_at_row(source->items_name != NULL ? source->items_name : source->npy_name, number,
                      &error);
        if (err != NULL) {
            *err = error;
        }
    }
    return rc;
}

im_code import_source_read(import_source *source, import_row *rows, float *vectors, size_t *out_n,
                           im_error *err)
{
    uint64_t left = source->head.rows - source->next_row;
    size_t n = (size_t)IM_MIN(left, (uint64_t)IMPORT_ROWS);
    *out_n = 0;
    if (n == 0) {
        return check_counts(source, err);
    }
    im_code rc = read_vectors(source, n, vectors, err);
    while (rc == IM_OK && *out_n < n) {
        rc = read_row(source, source->next_row + *out_n, &rows[*out_n], err);
        (*out_n)++;
    }
    source->next_row += n;
    return rc;
}
