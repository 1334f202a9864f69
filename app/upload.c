/* app/upload.c — pictures that come as bytes: kept under originals/, then added as the user's files
 * are. What is wrong with one is found before anything of it is kept, and stops no other. */
#include "app/app_internal.h"
#include "base/file.h"
#include "base/hash.h"

#include <unistd.h>

#define CHECK_PX 224u /* the check decodes a JPEG at the scale that a model's frame allows */

typedef struct upload_job {
    const im_upload *upload;
    im_upload_result *result;
    uint8_t sha256[IM_SHA256_BYTES];
    im_format format;
    char *path;   /* owned; NULL: nothing is to be kept */
    bool written; /* by us */
} upload_job;

/* Decodes it as `add` would, so that what cannot be a picture leaves no trace. */
static im_code check_picture(upload_job *job, const im_image_limits *limits, im_error *err)
{
    const im_image_options options = {.limits = *limits, .target_px = CHECK_PX};
    const uint8_t *bytes = (const uint8_t *)job->upload->bytes.data;
    size_t size = job->upload->bytes.size;
    uint64_t most = limits->max_bytes != 0 ? limits->max_bytes : IM_LIMIT_PICTURE_BYTES;
    im_image_wish none = {0};
    if (size > most) {
        return im_fail_as(err, IM_REASON_PICTURE_TOO_LARGE,
                          "picture '%s': %zu bytes, the limit is %llu", job->upload->name, size,
                          (unsigned long long)most);
    }
    job->format = im_image_sniff(bytes, size);
    return im_image_read(bytes, size, job->upload->name, &options, &none, NULL, err);
}

/* Whether the library has the picture and a file of it: then there is nothing to do. */
static im_code look_up(im_library *library, upload_job *job, bool *out_kept, im_error *err)
{
    char *path = NULL;
    bool online = false;
    *out_kept = false;
    im_sha256_of(job->upload->bytes.data, job->upload->bytes.size, job->sha256);
    im_code rc = im_store_find_item(library->store, job->sha256, &job->result->item, err);
    if (rc == IM_OK && job->result->item != 0) {
        rc = im_store_item_path(library->store, job->result->item, &path, &online, err);
        *out_kept = rc == IM_OK && path != NULL && im_file_exists(path);
    }
    im_free(path);
    return rc;
}

static im_code prepare(im_library *library, const im_upload_request *request, const char *folder,
                       upload_job *job, im_error *err)
{
    char path[PATH_MAX];
    bool kept = false;
    im_code rc = check_picture(job, &request->limits, &job->result->error);
    if (rc == IM_ERR_NOMEM) {
        *err = job->result->error;
    }
    if (rc != IM_OK) {
        return rc == IM_ERR_NOMEM ? rc : IM_OK;
    }
    rc = look_up(library, job, &kept, err);
    if (rc != IM_OK || kept) {
        return rc;
    }
    rc = originals_path(folder, job->sha256, job->format, path, err);
    if (rc == IM_OK) {
        job->path = im_strdup(path);
        rc = job->path != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    if (rc == IM_OK) {
        job->written = !im_file_exists(path);
        rc = originals_keep(folder, path, job->upload->bytes, err);
    }
    return rc;
}

/* ---- adding ---- */

typedef struct upload_batch {
    upload_job *jobs; /* [n], owned */
    size_t n;
    bool
        unsure; /* the disk failed: what was written may come to light when the library is opened */
} upload_batch;

static void note_failed(void *context, const char *path, const im_error *error)
{
    upload_batch *batch = context;
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->jobs[i].path != NULL && strcmp(batch->jobs[i].path, path) == 0) {
            batch->jobs[i].result->error = *error;
        }
    }
}

static im_code add_kept(im_library *library, const im_upload_request *request, upload_batch *batch,
                        im_error *err)
{
    const im_events events = {.context = batch, .failed = note_failed};
    im_add_request add = {.limits = request->limits, .uploads = true, .decoders = 1};
    im_add_report report;
    const char **paths = im_alloc(IM_MAX(batch->n, (size_t)1), sizeof(*paths));
    if (paths == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for paths");
    }
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->jobs[i].path != NULL) {
            paths[add.n_paths++] = batch->jobs[i].path;
        }
    }
    add.paths = paths;
    im_error error = IM_ERROR_INIT;
    im_code rc = add.n_paths > 0 ? im_app_add(library, &add, &events, &report, &error) : IM_OK;
    im_free(paths);
    batch->unsure = rc == IM_ERR_IO || rc == IM_ERR_FULL;
    for (size_t i = 0; i < batch->n && rc != IM_OK; i++) {
        if (batch->jobs[i].result->error.code != IM_OK) {
            rc = IM_OK; /* told where it belongs */
        }
    }
    if (rc != IM_OK && err != NULL) {
        *err = error;
    }
    return rc;
}

/* ---- the result ---- */

static bool came_before(const upload_batch *batch, size_t at)
{
    bool found = false;
    for (size_t i = 0; i < at; i++) {
        found = found || (batch->jobs[i].result->error.code == IM_OK &&
                          memcmp(batch->jobs[i].sha256, batch->jobs[at].sha256,
                                 sizeof(batch->jobs[at].sha256)) == 0);
    }
    return found;
}

static im_code finish(im_library *library, const im_upload_request *request, upload_batch *batch,
                      size_t at, im_error *err)
{
    upload_job *job = &batch->jobs[at];
    bool known = job->result->item != 0;
    if (job->result->error.code != IM_OK) {
        return IM_OK;
    }
    im_code rc = im_store_find_item(library->store, job->sha256, &job->result->item, err);
    if (rc == IM_OK && job->result->item == 0) {
        (void)!im_fail_as(&job->result->error, IM_REASON_CONFLICT,
                          "picture '%s' was taken out again while it was added", job->upload->name);
        return IM_OK;
    }
    job->result->created = rc == IM_OK && !known && !came_before(batch, at);
    if (rc == IM_OK && request->change != NULL) {
        im_code changed =
            im_app_change_item(library, job->result->item, request->change, &job->result->error);
        rc = changed == IM_ERR_NOMEM || changed == IM_ERR_IO ? changed : IM_OK;
        if (rc != IM_OK && err != NULL) {
            *err = job->result->error;
        }
    }
    return rc;
}

/* Where that cannot be told, the file is kept: the next upload of the picture uses it. */
static bool is_no_item(im_library *library, const upload_batch *batch, const upload_job *job)
{
    uint64_t item = job->result->item;
    return item == 0 && !batch->unsure &&
           im_store_find_item(library->store, job->sha256, &item, NULL) == IM_OK && item == 0;
}

/* What was kept of a picture that did not become an item. */
static void drop_failed(im_library *library, upload_batch *batch, im_code rc)
{
    for (size_t i = 0; i < batch->n; i++) {
        upload_job *job = &batch->jobs[i];
        bool failed = rc != IM_OK || job->result->error.code != IM_OK;
        if (job->written && failed && is_no_item(library, batch, job)) {
            (void)unlink(job->path);
        }
        im_free(job->path);
    }
    im_free(batch->jobs);
}

static im_code check_request(im_library *library, const im_upload_request *request, im_error *err)
{
    bool has_key = false;
    if (request->change == NULL) {
        return IM_OK;
    }
    im_code rc = item_change_check(library, request->change, &has_key, err);
    if (rc == IM_OK && has_key && request->n > 1) {
        rc = im_fail_as(err, IM_REASON_FIELD_VALUE,
                        "%s: a key is that of one picture, but %zu were sent",
                        request->change->name, request->n);
    }
    return rc;
}

im_code im_app_upload(im_library *library, const im_upload_request *request,
                      im_upload_result *out_results, im_error *err)
{
    char folder[PATH_MAX];
    upload_batch batch = {.n = request->n};
    for (size_t i = 0; i < request->n; i++) {
        out_results[i] = (im_upload_result){.error = IM_ERROR_INIT};
    }
    im_code rc = check_request(library, request, err);
    if (rc == IM_OK) {
        rc = originals_settle(library, true, folder, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    batch.jobs = im_alloc_zero(IM_MAX(request->n, (size_t)1), sizeof(*batch.jobs));
    if (batch.jobs == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for uploads");
    }
    for (size_t i = 0; i < request->n && rc == IM_OK; i++) {
        batch.jobs[i].upload = &request->uploads[i];
        batch.jobs[i].result = &out_results[i];
    }
    for (size_t i = 0; i < request->n && rc == IM_OK; i++) {
        rc = prepare(library, request, folder, &batch.jobs[i], err);
    }
    if (rc == IM_OK) {
        rc = add_kept(library, request, &batch, err);
    }
    for (size_t i = 0; i < request->n && rc == IM_OK; i++) {
        rc = finish(library, request, &batch, i, err);
    }
    drop_failed(library, &batch, rc);
    return rc;
}
