/* imago/api.c — the public C API over app/: errors, libraries, adding. Handles with a lock, values
 * copied across, nothing decided here. Codes of imago.h and of the house have the same numbers. */
#include "base/file.h"
#include "imago/api_internal.h"

#include <dlfcn.h>
#include <limits.h>

#define X(name, exit_code, http, meaning) \
    _Static_assert((int)IMAGO_##name == (int)IM_##name, "codes of the two tables are the same");
#include "base/error.def"
#undef X

/* ---- version and errors ---- */

const char *imago_version(void)
{
    return IM_VERSION;
}

unsigned long imago_version_number(void)
{
    return IMAGO_VERSION_NUMBER;
}

const char *imago_code_name(imago_code code)
{
    static const char *const names[IM_CODE_COUNT] = {
#define X(name, exit_code, http, meaning) "IMAGO_" #name,
#include "base/error.def"
#undef X
    };
    bool known = (unsigned)code < (unsigned)IM_CODE_COUNT;
    return names[known ? (unsigned)code : (unsigned)IM_ERR_INTERNAL];
}

void imago_free(void *block)
{
    im_free(block);
}

static void copy_text(char *out, size_t capacity, const char *text)
{
    size_t size = strnlen(text, capacity - 1);
    memcpy(out, text, size);
    out[size] = '\0';
}

void api_copy_error(imago_error *out, const im_error *from)
{
    out->code = (imago_code)from->code;
    copy_text(out->reason, sizeof(out->reason), from->reason != NULL ? from->reason : "");
    copy_text(out->message, sizeof(out->message), from->message);
    copy_text(out->hint, sizeof(out->hint), from->hint);
}

imago_code api_hand_over(im_code rc, const im_error *err, imago_error *out)
{
    if (rc != IM_OK && out != NULL) {
        api_copy_error(out, err);
    }
    return (imago_code)rc;
}

imago_code api_refuse(imago_error *error, const char *sentence)
{
    im_error err = IM_ERROR_INIT;
    im_code rc = im_fail(&err, IM_ERR_INVALID, "%s", sentence);
    return api_hand_over(rc, &err, error);
}

/* ---- libraries ---- */

static const char places_anchor = 0; /* an address inside this library */

/* The models that were installed with this library: PREFIX/lib[/TRIPLET]/libimago.so has them in
 * PREFIX/share/imago. What IMAGO_DATA names comes first, as in app/. */
static im_code look_beside_library(im_places *places, im_error *err)
{
    Dl_info own;
    char path[PATH_MAX];
    const char *named = getenv("IMAGO_DATA");
    if ((named != NULL && named[0] != '\0') || dladdr(&places_anchor, &own) == 0 ||
        realpath(own.dli_fname, path) == NULL) {
        return IM_OK;
    }
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return IM_OK;
        }
        *slash = '\0';
        char *share = im_path_join(path, "share/imago");
        char *models = share != NULL ? im_path_join(share, "models") : NULL;
        if (models == NULL) {
            im_free(share);
            return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        }
        bool found = im_file_exists(models);
        im_free(models);
        if (found) {
            im_free(places->share);
            places->share = share;
            return IM_OK;
        }
        im_free(share);
    }
    return IM_OK;
}

static im_code open_inside(imago_library *handle, im_error *err)
{
    im_library_options options = {
        .places = &handle->places,
        .writable = handle->writable,
        .model = handle->model,
        .threads = handle->threads,
    };
    return im_library_open(&options, &handle->library, err);
}

static im_code open_or_make(imago_library *handle, bool create, im_error *err)
{
    im_code rc = open_inside(handle, err);
    if (rc != IM_OK && create &&
        strcmp(err->reason, im_reason_name(IM_REASON_LIBRARY_NOT_FOUND)) == 0) {
        rc = im_app_init(&handle->places, err);
        if (rc == IM_OK || rc == IM_ERR_CONFLICT) { /* another process was quicker */
            rc = open_inside(handle, err);
        }
    }
    return rc;
}

/* A caller compiled against an older header has a shorter struct: fields beyond are NULL. */
static im_code read_options(imago_library *handle, const imago_open_options *given, im_error *err)
{
    imago_open_options options = IMAGO_OPEN_OPTIONS_INIT;
    if (given != NULL) {
        if (given->size < sizeof(size_t)) {
            return im_fail(err, IM_ERR_INVALID,
                           "options have size %zu: begin with IMAGO_OPEN_OPTIONS_INIT",
                           given->size);
        }
        memcpy(&options, given, IM_MIN(given->size, sizeof(options)));
    }
    handle->threads = options.threads;
    if (options.model != NULL) {
        handle->model = im_strdup(options.model);
        if (handle->model == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a library");
        }
    }
    return IM_OK;
}

imago_code imago_library_open(const char *folder, unsigned flags, const imago_open_options *options,
                              imago_library **out_library, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    const unsigned known = IMAGO_CREATE | IMAGO_READ_ONLY;
    if (out_library == NULL || (flags & ~known) != 0 || flags == known) {
        return api_refuse(error, "flags are IMAGO_CREATE, IMAGO_READ_ONLY or 0");
    }
    imago_library *handle = im_alloc_zero(1, sizeof(*handle));
    if (handle == NULL || pthread_mutex_init(&handle->lock, NULL) != 0) {
        im_free(handle);
        im_code nomem = im_fail(&err, IM_ERR_NOMEM, "no memory for a library");
        return api_hand_over(nomem, &err, error);
    }
    handle->writable = (flags & IMAGO_READ_ONLY) == 0;
    im_code rc = read_options(handle, options, &err);
    if (rc == IM_OK) {
        rc = im_places_find(folder, &handle->places, &err);
    }
    if (rc == IM_OK) {
        rc = look_beside_library(&handle->places, &err);
    }
    if (rc == IM_OK) {
        rc = open_or_make(handle, (flags & IMAGO_CREATE) != 0, &err);
    }
    if (rc != IM_OK) {
        imago_library_close(handle);
        return api_hand_over(rc, &err, error);
    }
    *out_library = handle;
    return IMAGO_OK;
}

void imago_library_close(imago_library *library)
{
    if (library == NULL) {
        return;
    }
    im_library_close(library->library);
    im_places_clear(&library->places);
    im_free(library->model);
    (void)pthread_mutex_destroy(&library->lock);
    im_free(library);
}

imago_code api_tell(imago_library *library, uint64_t item,
                    im_code (*tell)(im_library *library, uint64_t item, im_json_writer *w,
                                    im_error *err),
                    char **out_json, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_json_writer w;
    if (library == NULL || out_json == NULL) {
        return api_refuse(error, "library and out_json are needed");
    }
    im_json_init(&w, SIZE_MAX / 2);
    (void)pthread_mutex_lock(&library->lock);
    im_code rc = tell(library->library, item, &w, &err);
    (void)pthread_mutex_unlock(&library->lock);
    char *json = rc == IM_OK && im_json_ok(&w) ? im_strdup(im_str_text(&w.out)) : NULL;
    im_json_clear(&w);
    if (rc == IM_OK && json == NULL) {
        rc = im_fail(&err, IM_ERR_NOMEM, "no memory for the JSON text");
    }
    if (rc == IM_OK) {
        *out_json = json;
    }
    return api_hand_over(rc, &err, error);
}

static im_code tell_status(im_library *library, uint64_t item, im_json_writer *w, im_error *err)
{
    (void)item;
    return im_app_status_json(library, w, err);
}

imago_code imago_library_status(imago_library *library, char **out_json, imago_error *error)
{
    return api_tell(library, 0, tell_status, out_json, error);
}

/* ---- adding ---- */

typedef struct add_call {
    imago_progress_fn progress;
    void *context;
    imago_progress state;
} add_call;

static void on_progress(void *context, const im_progress *progress)
{
    add_call *call = context;
    call->state.stage = progress->stage;
    call->state.done = progress->done;
    call->state.total = progress->total;
    call->state.failed = progress->failed;
    call->state.per_second = progress->rate;
    call->state.eta_seconds = progress->eta_s;
    call->progress(call->context, &call->state);
}

static void on_failed(void *context, const char *path, const im_error *failure)
{
    add_call *call = context;
    imago_error error;
    api_copy_error(&error, failure);
    call->state.path = path;
    call->state.failure = &error;
    call->progress(call->context, &call->state);
    call->state.path = NULL;
    call->state.failure = NULL;
}

static void copy_report(imago_add_report *out, const im_add_report *from)
{
    imago_add_report report = {
        .size = out->size,
        .added = from->added,
        .linked = from->linked,
        .unchanged = from->unchanged,
        .failed = from->failed,
        .skipped = from->skipped,
        .seconds = from->seconds,
    };
    memcpy(out, &report, IM_MIN(out->size, sizeof(report)));
}

imago_code imago_library_add(imago_library *library, const char *const *paths, size_t n_paths,
                             imago_progress_fn progress, void *context, imago_add_report *report,
                             imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_add_report inside = {0};
    im_add_request request = {.paths = paths, .n_paths = n_paths};
    add_call call = {progress, context, {.size = sizeof(imago_progress), .stage = ""}};
    im_events events = {.context = &call, .progress = on_progress, .failed = on_failed};
    if (library == NULL || paths == NULL || n_paths == 0) {
        return api_refuse(error, "a library and at least one path are needed");
    }
    if (report != NULL && report->size < sizeof(size_t)) {
        return api_refuse(error, "the report's size is not set: begin with IMAGO_ADD_REPORT_INIT");
    }
    if (!library->writable) {
        return api_refuse(error, "the library was opened with IMAGO_READ_ONLY");
    }
    (void)pthread_mutex_lock(&library->lock);
    im_code rc =
        im_app_add(library->library, &request, progress != NULL ? &events : NULL, &inside, &err);
    (void)pthread_mutex_unlock(&library->lock);
    if (report != NULL) {
        copy_report(report, &inside);
    }
    return api_hand_over(rc, &err, error);
}
