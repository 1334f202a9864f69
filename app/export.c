/* app/export.c — `export`: vectors.npy, items.jsonl and model.json of one moment of the library,
 * streamed into a folder beside the wanted one, which is renamed when all is synced: a killed
 * export leaves a hidden folder that nobody takes for a whole one. */
#include "app/exchange_internal.h"
#include "base/clock.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define STREAM_BYTES (256u << 10) /* of one write */

/* A file that grows; names are for sentences. */
typedef struct stream {
    char *path; /* owned */
    int fd;     /* -1: not open */
    uint64_t written;
    im_str buffer;
} stream;

static im_code stream_open(const char *folder, const char *name, stream *out, im_error *err)
{
    out->fd = -1;
    im_str_init(&out->buffer, SIZE_MAX / 2);
    out->path = im_path_join(folder, name);
    if (out->path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    return im_file_open(out->path, O_WRONLY | O_CREAT | O_EXCL, 0666, &out->fd, err);
}

static im_code stream_flush(stream *s, im_error *err)
{
    im_code rc =
        im_file_pwrite(s->fd, im_str_text(&s->buffer), s->buffer.size, s->written, s->path, err);
    s->written += s->buffer.size;
    im_str_reset(&s->buffer);
    return rc;
}

static im_code stream_put(stream *s, const void *data, size_t size, im_error *err)
{
    im_str_add(&s->buffer, data, size);
    if (s->buffer.failed) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for '%s'", s->path);
    }
    return s->buffer.size >= STREAM_BYTES ? stream_flush(s, err) : IM_OK;
}

static im_code stream_end(stream *s, im_error *err)
{
    im_code rc = stream_flush(s, err);
    return rc == IM_OK ? im_file_sync(s->fd, s->path, err) : rc;
}

static void stream_close(stream *s)
{
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    s->fd = -1;
    im_free(s->path);
    s->path = NULL;
    im_str_clear(&s->buffer);
}

/* ---- folders ---- */

typedef struct export_folders {
    char target[PATH_MAX];
    char *parent; /* owned */
    char *part;   /* owned: the folder that is written into; NULL: not made */
} export_folders;

/* IM_OK for a folder that is not there, or empty. */
static im_code check_target(const char *target, im_error *err)
{
    struct dirent *entry = NULL;
    size_t n = 0;
    DIR *dir = opendir(target);
    if (dir == NULL && errno == ENOENT) {
        return IM_OK;
    }
    if (dir == NULL && errno != ENOTDIR) {
        return im_fail_errno(err, errno, "could not read '%s'", target);
    }
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (dir != NULL) {
        (void)closedir(dir);
        if (n == 0) {
            return IM_OK;
        }
    }
    im_code rc =
        im_fail(err, IM_ERR_CONFLICT,
                n > 0 ? "folder '%s' is not empty" : "'%s' is a file, not a folder", target);
    im_hint(err, "name a folder that is not there yet: nothing is ever overwritten by an export");
    return rc;
}

/* A new folder ".NAME.export-PID-N" beside the target. */
static im_code make_part(export_folders *f, im_error *err)
{
    im_str path;
    const char *name = strrchr(f->target, '/') + 1;
    im_code rc = im_folder_make(f->parent, err);
    for (unsigned i = 0; rc == IM_OK && f->part == NULL; i++) {
        im_str_init(&path, PATH_MAX);
        im_str_addf(&path, "%s/.%s.export-%ld-%u", f->parent, name, (long)getpid(), i);
        if (path.failed) {
            rc = im_fail_as(err, IM_REASON_PATH_TOO_LONG,
                            "'%s': no room for a longer name beside it", f->target);
        } else if (mkdir(im_str_text(&path), 0777) == 0) {
            f->part = path.data; /* taken over */
            return IM_OK;
        } else if (errno != EEXIST || i > 1000) {
            rc = im_fail_errno(err, errno, "could not make the folder '%s'", im_str_text(&path));
        }
        im_str_clear(&path);
    }
    return rc;
}

static im_code prepare_folders(const char *folder, export_folders *f, im_error *err)
{
    im_code rc = path_absolute(folder, f->target, err);
    if (rc != IM_OK) {
        return rc;
    }
    char *slash = strrchr(f->target, '/');
    if (slash == NULL || slash[1] == '\0') {
        return im_fail(err, IM_ERR_INVALID, "cannot export to '%s'", folder);
    }
    rc = check_target(f->target, err);
    if (rc != IM_OK) {
        return rc;
    }
    f->parent = im_strdup(f->target);
    if (f->parent == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    f->parent[slash == f->target ? 1 : slash - f->target] = '\0';
    return make_part(f, err);
}

/* After a failure: nothing stays. */
static void drop_part(export_folders *f)
{
    static const char *const names[] = {EXCHANGE_VECTORS, EXCHANGE_ITEMS, EXCHANGE_MODEL};
    char path[PATH_MAX + 32];
    for (size_t i = 0; f->part != NULL && i < IM_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", f->part, names[i]);
        (void)unlink(path);
    }
    if (f->part != NULL) {
        (void)rmdir(f->part);
    }
}

/* rename(2) puts a folder over an empty one, and over nothing else. */
static im_code place_part(export_folders *f, im_error *err)
{
    im_error error = IM_ERROR_INIT;
    im_code rc = im_folder_sync(f->part, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_file_rename(f->part, f->target, &error);
    if (rc != IM_OK) {
        im_code filled = check_target(f->target, err); /* somebody was quicker */
        if (filled == IM_OK && err != NULL) {
            *err = error;
        }
        return filled != IM_OK ? filled : rc;
    }
    im_free(f->part);
    f->part = NULL;
    return im_folder_sync(f->parent, err);
}

/* ---- rows ---- */

typedef struct export_run {
    im_library *library;
    const im_events *events;
    im_export_report *report;
    root_list roots;
    stream vectors, items;
    float *vector; /* [dim] */
    im_json_writer line;
    progress_meter meter;
    im_code rc;
    im_error error;
} export_run;

static im_code write_item(export_run *run, const im_item *item, im_error *err)
{
    const im_model_row *model = &run->library->model;
    uint64_t slot = 0;
    im_error missing = IM_ERROR_INIT;
    im_code rc = im_store_get_embedding(run->library->store, item->id, model->id, run->vector,
                                        model->dim, &slot, &missing);
    if (rc == IM_ERR_NOT_FOUND) {
        run->report->without_vector++;
        return IM_OK;
    }
    if (rc != IM_OK) {
        *err = missing;
        return rc;
    }
    im_str_reset(&run->line.out);
    rc = export_row(run->library->store, &run->roots, item, model->name, &run->line, err);
    if (rc == IM_OK) {
        rc = stream_put(&run->items, run->line.out.data, run->line.out.size, err);
    }
    if (rc == IM_OK) {
        rc = stream_put(&run->vectors, run->vector, model->dim * sizeof(float), err);
    }
    run->report->rows += rc == IM_OK;
    return rc;
}

static bool on_item(void *context, const im_item *item)
{
    export_run *run = context;
    if (im_stop_asked()) {
        run->rc = im_fail_as(&run->error, IM_REASON_INTERRUPTED, "stopped: nothing was exported");
    } else {
        run->rc = write_item(run, item, &run->error);
    }
    meter_tick(&run->meter, run->report->rows + run->report->without_vector, 0, run->events);
    return run->rc == IM_OK;
}

static im_code write_model(export_run *run, const char *folder, im_error *err)
{
    const im_model_row *model = &run->library->model;
    im_json_writer w;
    char digest[65];
    stream file = {.fd = -1};
    model_files_digest(model, digest);
    im_json_init(&w, 1u << 20);
    im_json_begin_object(&w);
    im_json_put_string(&w, "name", model->name);
    im_json_put_string(&w, "digest", digest);
    im_json_put_string(&w, "family", model->family);
    im_json_put_uint(&w, "dimension", model->dim);
    im_json_put_string(&w, "precision", model->precision);
    im_json_put_bool(&w, "normalised", true);
    im_json_put_string(&w, "imago", IM_VERSION);
    im_json_put_uint(&w, "n", run->report->rows);
    im_json_end_object(&w);
    im_str_add_char(&w.out, '\n');
    im_code rc = stream_open(folder, EXCHANGE_MODEL, &file, err);
    if (rc == IM_OK && !im_json_ok(&w)) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for '%s'", EXCHANGE_MODEL);
    }
    if (rc == IM_OK) {
        rc = stream_put(&file, im_str_text(&w.out), w.out.size, err);
    }
    if (rc == IM_OK) {
        rc = stream_end(&file, err);
    }
    run->report->bytes += file.written;
    stream_close(&file);
    im_json_clear(&w);
    return rc;
}

/* The number of rows is known behind the last one: the head's place is kept free until then. */
static im_code write_head(export_run *run, im_error *err)
{
    uint8_t head[NPY_HEAD_BYTES];
    npy_write_head(run->report->rows, run->library->model.dim, head);
    im_code rc = stream_flush(&run->vectors, err); /* its first bytes would fall upon the head */
    return rc == IM_OK
               ? im_file_pwrite(run->vectors.fd, head, sizeof(head), 0, run->vectors.path, err)
               : rc;
}

/* Inside the snapshot. */
static im_code write_rows(export_run *run, const char *folder, im_error *err)
{
    static const uint8_t no_head[NPY_HEAD_BYTES];
    im_store *store = run->library->store;
    im_store_counts counts;
    im_code rc = im_store_count(store, 0, &counts, err);
    if (rc == IM_OK) {
        rc = roots_load(store, &run->roots, err);
    }
    if (rc == IM_OK) {
        rc = stream_open(folder, EXCHANGE_VECTORS, &run->vectors, err);
    }
    if (rc == IM_OK) {
        rc = stream_open(folder, EXCHANGE_ITEMS, &run->items, err);
    }
    if (rc == IM_OK) {
        rc = stream_put(&run->vectors, no_head, sizeof(no_head), err);
    }
    if (rc == IM_OK) {
        meter_start(&run->meter, "exporting", counts.items);
        rc = im_store_each_item(store, 0, on_item, run, err);
        meter_end(&run->meter, run->events);
    }
    if (rc == IM_OK && run->rc != IM_OK) {
        rc = run->rc;
        if (err != NULL) {
            *err = run->error;
        }
    }
    return rc;
}

static im_code end_files(export_run *run, const char *folder, im_error *err)
{
    im_code rc = write_head(run, err);
    if (rc == IM_OK) {
        rc = stream_end(&run->vectors, err);
    }
    if (rc == IM_OK) {
        rc = stream_end(&run->items, err);
    }
    run->report->bytes = run->vectors.written + run->items.written;
    return rc == IM_OK ? write_model(run, folder, err) : rc;
}

static im_code run_snapshot(export_run *run, const char *folder, im_error *err)
{
    im_code rc = im_store_begin_read(run->library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    run->report->dim = run->library->model.dim;
    run->vector = im_alloc(run->library->model.dim, sizeof(float));
    rc = run->vector != NULL ? write_rows(run, folder, err)
                             : im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
    im_store_end_read(run->library->store);
    return rc == IM_OK ? end_files(run, folder, err) : rc;
}

im_code im_app_export(im_library *library, const char *folder, const im_events *events,
                      im_export_report *out_report, im_error *err)
{
    uint64_t start = im_clock_ns();
    export_folders folders = {.parent = NULL};
    export_run run = {.library = library,
                      .events = events,
                      .report = out_report,
                      .vectors = {.fd = -1},
                      .items = {.fd = -1},
                      .error = IM_ERROR_INIT};
    memset(out_report, 0, sizeof(*out_report));
    im_json_init(&run.line, SIZE_MAX / 2);
    im_code rc = library_model(library, err); /* an empty library leaves no folder behind */
    if (rc == IM_OK) {
        rc = prepare_folders(folder, &folders, err);
    }
    if (rc == IM_OK) {
        rc = run_snapshot(&run, folders.part, err);
    }
    if (rc == IM_OK) {
        rc = place_part(&folders, err);
    }
    out_report->seconds = im_clock_ms_since(start) / 1e3;
    if (rc == IM_OK && out_report->without_vector > 0) {
        char sentence[160];
        (void)snprintf(
            sentence, sizeof(sentence),
            "%llu items have no vector and were left out: imago rebuild embeds those that "
            "have a file",
            (unsigned long long)out_report->without_vector);
        event_warning(events, sentence);
    }
    stream_close(&run.vectors);
    stream_close(&run.items);
    drop_part(&folders);
    roots_clear(&run.roots);
    im_json_clear(&run.line);
    im_free(run.vector);
    im_free(folders.part);
    im_free(folders.parent);
    return rc;
}

void im_export_report_json(im_json_writer *w, const im_export_report *report)
{
    im_json_begin_object(w);
    im_json_put_uint(w, "rows", report->rows);
    im_json_put_uint(w, "dimensions", report->dim);
    im_json_put_uint(w, "without_vector", report->without_vector);
    im_json_put_uint(w, "bytes", report->bytes);
    im_json_put_double(w, "seconds", report->seconds);
    im_json_end_object(w);
}
