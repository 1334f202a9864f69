/* app/columns.c — the columns of the index as of a snapshot: opened when a filter, an order or a
 * group first needs them, patched with what has changed since, made anew when that is the quicker
 * way. They are a cache: whatever is wrong with the file, the answer comes from the database. */
#include "app/app_internal.h"
#include "base/file.h"

#include <stdlib.h>
#include <unistd.h>

/* Changes that are patched in memory rather than written: a patched row costs about as much as
 * a written one, but again in every process. */
#define PATCH_MOST(n_rows) (4096 + (n_rows) / 20)

/* ---- columns and rows ---- */

static const im_column_spec built_in[] = {
#define X(name, kind) {name, kind},
    IM_COLUMNS_BUILT_IN(X)
#undef X
};

typedef struct column_specs {
    im_column_spec *specs; /* [n], the own ones behind the built-in; their names owned */
    size_t n;
} column_specs;

static void clear_specs(column_specs *specs)
{
    for (size_t i = IM_COUNT(built_in); specs->specs != NULL && i < specs->n; i++) {
        im_free((void *)(uintptr_t)specs->specs[i].name);
    }
    im_free(specs->specs);
    *specs = (column_specs){0};
}

static im_code make_specs(const own_fields *fields, column_specs *out, im_error *err)
{
    static const im_column_kind kinds[] = {[IM_FIELD_TEXT] = IM_COLUMN_TEXT,
                                           [IM_FIELD_NUMBER] = IM_COLUMN_NUMBER,
                                           [IM_FIELD_DATE] = IM_COLUMN_INTEGER,
                                           [IM_FIELD_BOOL] = IM_COLUMN_INTEGER};
    bool ok = true;
    out->specs = im_alloc_zero(IM_COUNT(built_in) + fields->n, sizeof(*out->specs));
    ok = out->specs != NULL;
    if (ok) {
        memcpy(out->specs, built_in, sizeof(built_in));
        out->n = IM_COUNT(built_in);
    }
    for (size_t i = 0; ok && i < fields->n; i++) {
        im_str name;
        im_str_init(&name, 2 * IM_LIMIT_FIELD_NAME_BYTES);
        im_str_addf(&name, IM_COLUMN_OWN "%s", fields->fields[i].name);
        char *copy = name.failed ? NULL : im_strdup(im_str_text(&name));
        im_str_clear(&name);
        ok = copy != NULL;
        out->specs[out->n] = (im_column_spec){copy, kinds[fields->fields[i].type]};
        out->n += ok;
    }
    if (!ok) {
        clear_specs(out);
        return im_fail(err, IM_ERR_NOMEM, "no memory for the names of columns");
    }
    return IM_OK;
}

/* Where rows come from, and where they go while they are streamed. */
typedef struct row_source {
    im_store *store;
    uint64_t model;
    const own_fields *fields;
    const column_specs *specs;
    bool only_changed; /* since `since` */
    uint64_t since;
    bool known;              /* what has changed is known */
    im_column_value *values; /* [specs->n] */
    im_columns_sink take;
    void *sink;
    im_code rc;
    im_error *err;
} row_source;

static int64_t integer_or_none(bool has, int64_t value)
{
    return has ? value : IM_COLUMN_NO_INTEGER;
}

static void set_built_in(const im_column_row *row, im_column_value *v)
{
    size_t n = 0; /* the order of IM_COLUMNS_BUILT_IN */
    v[n++].integer = integer_or_none(row->has_taken, row->taken_s);
    v[n++].integer = row->added_ns / 1000000000;
    v[n++].text = row->camera;
    v[n++].text = row->lens;
    v[n++].number = row->has_gps ? row->latitude : (double)NAN;
    v[n++].number = row->has_gps ? row->longitude : (double)NAN;
    v[n++].text = row->type;
    v[n++].text = row->source;
    v[n++].integer = row->width;
    v[n++].integer = row->height;
    v[n++].integer = (int64_t)row->bytes;
    v[n++].integer = row->partial;
    v[n++].integer = row->missing;
    v[n++].integer = row->tagged;
    v[n++].integer = row->captioned;
    _Static_assert(IM_COUNT(built_in) == 15, "each built-in column has its line above");
}

static void set_none(row_source *source)
{
    for (size_t i = 0; i < source->specs->n; i++) {
        im_column_kind kind = source->specs->specs[i].kind;
        if (kind == IM_COLUMN_TEXT) {
            source->values[i].text = im_view_of("", 0);
        } else if (kind == IM_COLUMN_NUMBER) {
            source->values[i].number = (double)NAN;
        } else {
            source->values[i].integer = IM_COLUMN_NO_INTEGER;
        }
    }
}

static void set_own(row_source *source, const im_slot_field *field)
{
    for (size_t i = 0; i < source->fields->n; i++) {
        if (strcmp(source->fields->fields[i].name, field->name) != 0) {
            continue;
        }
        im_column_value *out = &source->values[IM_COUNT(built_in) + i];
        switch (field->value.type) {
        case IM_VALUE_TEXT:
            out->text = field->value.text;
            break;
        case IM_VALUE_NUMBER:
            out->number = field->value.number;
            break;
        case IM_VALUE_DATE:
            out->integer = field->value.date_s;
            break;
        case IM_VALUE_BOOL:
            out->integer = field->value.truth;
            break;
        }
        return;
    }
}

static bool take_row(void *context, const im_column_row *row)
{
    row_source *source = context;
    const im_columns_row out = {.slot = row->slot, .item = row->item, .values = source->values};
    set_none(source);
    if (row->sound) {
        set_built_in(row, source->values);
        for (size_t i = 0; i < row->n_fields; i++) {
            set_own(source, &row->fields[i]);
        }
    }
    source->rc = source->take(source->sink, &out, source->err);
    return source->rc == IM_OK;
}

/* im_columns_source */
static im_code stream_rows(void *context, im_columns_sink take, void *sink, im_error *err)
{
    row_source *source = context;
    source->take = take;
    source->sink = sink;
    source->rc = IM_OK;
    source->err = err;
    source->known = true;
    im_code rc =
        source->only_changed
            ? im_store_each_changed_slot(source->store, source->model, source->since, take_row,
                                         source, &source->known, err)
            : im_store_each_column_row(source->store, source->model, 0, take_row, source, err);
    return source->rc != IM_OK ? source->rc : rc;
}

static im_code open_source(im_store *store, uint64_t model, const own_fields *fields,
                           const column_specs *specs, row_source *out, im_error *err)
{
    *out = (row_source){.store = store, .model = model, .fields = fields, .specs = specs};
    out->values = im_alloc_zero(specs->n, sizeof(*out->values));
    return out->values != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a row");
}

/* Reads every row of the store's snapshot into the file of a folder. */
static im_code write_columns(im_store *store, uint64_t model, const own_fields *fields,
                             const column_specs *specs, const char *folder,
                             const im_index_state *state, uint64_t change_seq, im_error *err)
{
    row_source source;
    im_code rc = open_source(store, model, fields, specs, &source, err);
    if (rc == IM_OK) {
        rc = im_columns_build(folder, state, specs->specs, specs->n, change_seq, stream_rows,
                              &source, err);
    }
    im_free(source.values);
    return rc;
}

/* ---- a library's columns ---- */

void library_close_columns(im_library *library)
{
    im_columns_close(library->columns);
    library->columns = NULL;
}

/* In the library's folder, when that is ours to write at this moment: readers never wait. */
static im_code write_shared(im_library *library, const column_specs *specs, const char *folder,
                            const im_index_state *state, im_error *err)
{
    im_store *writer = NULL;
    im_code rc = im_store_open(library->folder, IM_STORE_WRITE, &writer, err);
    if (rc == IM_OK) {
        rc = im_store_lock(writer, 0, err);
    }
    if (rc == IM_OK) {
        rc = write_columns(library->store, library->model.id, &library->fields, specs, folder,
                           state, library->index_seq, err);
        im_store_unlock(writer);
    }
    im_store_close(writer);
    return rc;
}

static im_code open_file(im_library *library, const column_specs *specs, const char *folder,
                         const im_index_state *state, im_error *err)
{
    library_close_columns(library);
    return im_columns_open(folder, state, library->index_seq, specs->specs, specs->n,
                           &library->columns, err);
}

/* A file of our own that nobody else sees, gone when it is closed: the library is read-only, full
 * or being written. */
static im_code open_private(im_library *library, const column_specs *specs,
                            const im_index_state *state, im_error *err)
{
    const char *base = getenv("TMPDIR");
    char *folder = im_path_join(base != NULL && base[0] == '/' ? base : "/tmp", "imago-XXXXXX");
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = IM_OK;
    if (mkdtemp(folder) == NULL) {
        rc = im_fail_errno(err, errno, "could not make a folder '%s'", folder);
        im_hint(err, "name another place for temporary files with TMPDIR");
        im_free(folder);
        return rc;
    }
    rc = write_columns(library->store, library->model.id, &library->fields, specs, folder, state,
                       library->index_seq, err);
    if (rc == IM_OK) {
        rc = open_file(library, specs, folder, state, err);
    }
    im_index_sweep(folder, 0);
    (void)rmdir(folder);
    im_free(folder);
    return rc;
}

static im_code make_columns(im_library *library, const column_specs *specs, const char *folder,
                            const im_index_state *state, im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    im_code rc = write_shared(library, specs, folder, state, &cause);
    if (rc == IM_OK) {
        return open_file(library, specs, folder, state, err);
    }
    if (rc == IM_ERR_NOMEM || rc == IM_ERR_INTERNAL) {
        if (err != NULL) {
            *err = cause;
        }
        return rc;
    }
    return open_private(library, specs, state, err);
}

/* Brings the open columns up to the snapshot. *out_done false: they have to be made anew. */
static im_code patch_columns(im_library *library, const column_specs *specs, bool *out_done,
                             im_error *err)
{
    row_source source;
    uint64_t since = im_columns_seq(library->columns);
    *out_done = since == library->index_seq;
    if (*out_done || since > library->index_seq ||
        library->index_seq - since > PATCH_MOST(library->index_record.n_rows)) {
        return IM_OK;
    }
    im_code rc =
        open_source(library->store, library->model.id, &library->fields, specs, &source, err);
    if (rc == IM_OK) {
        source.only_changed = true;
        source.since = since;
        rc = im_columns_patch(library->columns, library->index_seq, stream_rows, &source, err);
    }
    *out_done = rc == IM_OK && source.known;
    im_free(source.values);
    return rc;
}

/* The open columns are of this index and have these columns. */
static bool still_fit(const im_library *library, const column_specs *specs)
{
    im_column_kind kind = IM_COLUMN_TEXT;
    bool fit = library->columns != NULL &&
               library->columns_generation == library->index_record.generation &&
               im_columns_n_rows(library->columns) == library->index_record.n_rows;
    for (size_t i = IM_COUNT(built_in); fit && i < specs->n; i++) {
        fit = im_columns_kind(library->columns, specs->specs[i].name, &kind) &&
              kind == specs->specs[i].kind;
    }
    return fit && library->n_columns == specs->n;
}

static im_code open_columns(im_library *library, const column_specs *specs, bool anew,
                            im_error *err)
{
    im_index_state state;
    im_error cause = IM_ERROR_INIT;
    bool done = false;
    char *folder = library_index_folder(library, library->model.digest);
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = IM_OK;
    library_index_state(library, &library->model, &library->index_record, &state);
    if (!anew && !still_fit(library, specs)) {
        rc = open_file(library, specs, folder, &state, &cause);
    }
    if (!anew && rc == IM_OK) {
        rc = patch_columns(library, specs, &done, &cause);
    }
    if (rc != IM_OK && rc != IM_ERR_FORMAT && rc != IM_ERR_NOT_FOUND) {
        if (err != NULL) {
            *err = cause;
        }
    } else {
        rc = done ? IM_OK : make_columns(library, specs, folder, &state, err);
    }
    if (rc == IM_OK) {
        library->columns_generation = library->index_record.generation;
        library->n_columns = specs->n;
    } else {
        library_close_columns(library);
    }
    im_free(folder);
    return rc;
}

static im_code get_columns(im_library *library, bool anew, im_error *err)
{
    column_specs specs = {0};
    im_code rc = make_specs(&library->fields, &specs, err);
    if (rc == IM_OK) {
        rc = open_columns(library, &specs, anew, err);
    }
    clear_specs(&specs);
    return rc;
}

im_code library_columns(im_library *library, im_error *err)
{
    return get_columns(library, false, err);
}

im_code library_columns_anew(im_library *library, im_error *err)
{
    return get_columns(library, true, err);
}

/* ---- keeping the file near the database ---- */

/* The file is there, is sound as far as its header tells, and little has changed since. */
static bool is_near(const char *folder, const im_index_state *state, uint64_t change_seq,
                    const column_specs *specs)
{
    im_columns *columns = NULL;
    im_error ignored = IM_ERROR_INIT;
    if (im_columns_open(folder, state, change_seq, specs->specs, specs->n, &columns, &ignored) !=
        IM_OK) {
        return false;
    }
    bool near = change_seq - im_columns_seq(columns) <= PATCH_MOST(state->n_rows) / 2;
    im_columns_close(columns);
    return near;
}

static im_code update_locked(im_store *store, const char *folder, const im_model_row *model,
                             im_error *err)
{
    own_fields fields = {0};
    column_specs specs = {0};
    im_index_record record = {0};
    im_index_state state = {.dim = model->dim};
    uint64_t change_seq = 0;
    im_code rc = own_fields_load(store, &fields, err);
    if (rc == IM_OK) {
        rc = make_specs(&fields, &specs, err);
    }
    if (rc == IM_OK) {
        rc = im_store_get_index(store, model->id, &record, err);
    }
    if (rc == IM_OK) {
        rc = im_store_change_seq(store, &change_seq, err);
    }
    im_store_id(store, state.library_id);
    memcpy(state.model_digest, model->digest, sizeof(state.model_digest));
    state.generation = record.generation;
    state.n_rows = record.n_rows;
    if (rc == IM_OK && record.n_rows > 0 && !is_near(folder, &state, change_seq, &specs)) {
        rc = write_columns(store, model->id, &fields, &specs, folder, &state, change_seq, err);
    }
    clear_specs(&specs);
    own_fields_clear(&fields);
    return rc;
}

void columns_update(im_store *store, const char *folder, const im_model_row *model,
                    const im_events *events)
{
    im_error error = IM_ERROR_INIT;
    im_str sentence;
    im_code rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, &error);
    if (rc == IM_OK) { /* nobody else writes: what is read is one moment */
        rc = update_locked(store, folder, model, &error);
        im_store_unlock(store);
    }
    if (rc == IM_OK) {
        return;
    }
    im_str_init(&sentence, 1024);
    im_str_addf(&sentence, "the index has no columns, the first filter will make them: %s",
                error.message);
    event_warning(events, im_str_text(&sentence));
    im_str_clear(&sentence);
}
