/* app/meta.c — `add --meta`: the lines of a file, batch by batch. Memory is that of one batch. */
#include "app/meta_internal.h"
#include "base/clock.h"

struct meta_run {
    im_library *library;
    char *name; /* owned: of the file, as it was called */
    meta_reader *reader;
    meta_places places;
    meta_batch batch;
};

/* A column whose type is not that of the field concerns every line. */
static im_code check_types(const meta_run *run, im_error *err)
{
    meta_fields fields = {0};
    size_t n = 0;
    const meta_column *columns = meta_reader_columns(run->reader, &n);
    im_code rc = n > 0 ? meta_fields_load(run->library->store, &fields, err) : IM_OK;
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        const meta_field *field =
            columns[i].typed ? meta_fields_find(&fields, columns[i].name) : NULL;
        if (field != NULL && field->type != columns[i].type) {
            im_error error = IM_ERROR_INIT;
            rc = im_fail_as(&error, IM_REASON_FIELD_TYPE,
                            "column '%s' is of type %s, but the field holds values of type %s",
                            columns[i].name, im_value_type_name(columns[i].type),
                            im_value_type_name(field->type));
            im_hint(&error, "give the column the field's type, or none");
            meta_error_place(&error, run->name, 1);
            if (err != NULL) {
                *err = error;
            }
        }
    }
    meta_fields_clear(&fields);
    return rc;
}

/* The folder that the file lies in, absolute. */
static im_code find_home(meta_run *run, im_error *err)
{
    char absolute[PATH_MAX];
    const char *slash = strrchr(run->name, '/');
    char *folder = im_strdup(slash != NULL ? run->name : ".");
    if (folder != NULL && slash != NULL) {
        folder[slash == run->name ? 1 : slash - run->name] = '\0';
    }
    im_code rc = folder != NULL ? path_absolute(folder, absolute, err)
                                : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    if (rc == IM_OK) {
        run->places.folder = im_strdup(absolute);
        rc =
            run->places.folder != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_free(folder);
    return rc;
}

im_code meta_open(im_library *library, const char *path, meta_run **out, im_error *err)
{
    meta_run *run = im_alloc_zero(1, sizeof(*run));
    if (run == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to read '%s'", path);
    }
    run->library = library;
    run->name = im_strdup(path);
    if (run->name == NULL) {
        meta_close(run);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = meta_reader_open(path, &run->reader, err);
    if (rc == IM_OK) {
        rc = check_types(run, err);
    }
    if (rc == IM_OK) {
        rc = find_home(run, err);
    }
    if (rc != IM_OK) {
        meta_close(run);
        return rc;
    }
    *out = run;
    return IM_OK;
}

im_code im_app_meta_check(const char *path, im_error *err)
{
    meta_reader *reader = NULL;
    im_code rc = meta_reader_open(path, &reader, err);
    meta_reader_close(reader);
    return rc;
}

static void clear_batch(meta_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        meta_row_clear(&batch->rows[i]);
    }
    batch->n = 0;
    batch->bytes = 0;
}

void meta_close(meta_run *run)
{
    if (run == NULL) {
        return;
    }
    clear_batch(&run->batch);
    meta_places_clear(&run->places);
    meta_reader_close(run->reader);
    im_free(run->name);
    im_free(run);
}

static im_code fill_batch(meta_run *run, bool *out_more, im_error *err)
{
    meta_batch *batch = &run->batch;
    im_code rc = IM_OK;
    *out_more = true;
    while (rc == IM_OK && *out_more && batch->n < META_BATCH_ROWS &&
           batch->bytes < META_BATCH_BYTES) {
        meta_row *row = &batch->rows[batch->n++];
        rc = meta_reader_next(run->reader, row, out_more, err);
        batch->bytes += row->bytes;
        if (rc == IM_OK && !*out_more) {
            batch->n--;
            meta_row_clear(row);
        }
    }
    return rc;
}

static im_code tell_failures(meta_run *run, const im_events *events, im_error *first, im_error *err)
{
    im_str place;
    im_code rc = IM_OK;
    im_str_init(&place, SIZE_MAX / 2);
    for (size_t i = 0; i < run->batch.n && rc == IM_OK; i++) {
        meta_row *row = &run->batch.rows[i];
        if (row->error.code == IM_OK) {
            continue;
        }
        meta_error_place(&row->error, run->name, row->line);
        if (first->code == IM_OK) {
            *first = row->error;
        }
        im_str_reset(&place);
        im_str_addf(&place, "%s:%llu", run->name, (unsigned long long)row->line);
        if (place.failed) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        } else {
            event_failed(events, im_str_text(&place), &row->error);
        }
    }
    im_str_clear(&place);
    return rc;
}

im_code meta_apply(meta_run *run, const im_events *events, im_add_report *report, im_error *first,
                   im_error *err)
{
    progress_meter meter;
    meta_counts counts = {0};
    bool more = true;
    im_code rc = IM_OK;
    *first = (im_error)IM_ERROR_INIT;
    meter_start(&meter, "setting fields", 0);
    while (rc == IM_OK && more && !im_stop_asked()) {
        clear_batch(&run->batch);
        rc = fill_batch(run, &more, err);
        if (rc == IM_OK && run->batch.n > 0) {
            rc = meta_apply_batch(run->library, &run->places, &run->batch, &counts, err);
        }
        if (rc == IM_OK) {
            rc = tell_failures(run, events, first, err);
            meter_tick(&meter, counts.set + counts.failed, counts.failed, events);
        }
    }
    meter_end(&meter, events);
    report->meta_set = counts.set;
    report->meta_failed = counts.failed;
    report->meta_replaced = counts.replaced;
    report->interrupted = report->interrupted || im_stop_asked();
    return rc;
}
