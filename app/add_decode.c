/* app/add_decode.c — the decode stage: a file's bytes are read once, judged, hashed, looked up and,
 * only when their content is new, decoded and brought into the model's frame. */
#include "app/add_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define EDGE_BYTES (64u << 10)

void add_job_free(add_job *job)
{
    if (job == NULL) {
        return;
    }
    im_free(job->root_path);
    im_free(job->path);
    im_free(job->pixels);
    im_free(job->vector);
    im_free(job);
}

char *add_job_full_path(const add_job *job)
{
    return im_path_join(job->root_path, job->path);
}

/* First 8 bytes of SHA-256 over the first and last 64 KiB; never 0, which means "not known". */
static uint64_t hash_edges(const uint8_t *data, size_t size)
{
    uint8_t digest[IM_SHA256_BYTES];
    uint64_t edges = 0;
    im_sha256 state;
    size_t head = IM_MIN(size, EDGE_BYTES);
    size_t tail = IM_MIN(size, EDGE_BYTES);
    im_sha256_init(&state);
    im_sha256_add(&state, data, head);
    im_sha256_add(&state, data + size - tail, tail);
    im_sha256_end(&state, digest);
    memcpy(&edges, digest, sizeof(edges));
    return edges != 0 ? edges : 1;
}

/* ---- moved files ---- */

typedef struct move_search {
    const add_run *run;
    const im_file_stamp *stamp;
    uint64_t edges;
    uint64_t row;
    im_code rc;
    im_error *err;
} move_search;

typedef struct root_search {
    uint64_t id;
    char *path;
} root_search;

static bool match_root(void *context, const im_root *root)
{
    root_search *search = context;
    if (root->id == search->id) {
        search->path = im_strdup(root->path);
        return false;
    }
    return true;
}

static bool same_stamp(const im_file_stamp *a, const im_file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->mtime_ns == b->mtime_ns;
}

/* A row of the same content and stamp counts only when its own path is gone: a hard link is no
 * move. It may have been marked missing by an earlier scan. */
static bool match_moved(void *context, const im_file_row *file)
{
    move_search *search = context;
    root_search root = {.id = file->root};
    im_str path;
    struct stat st;
    if (!same_stamp(&file->stamp, search->stamp) || file->edges != search->edges) {
        return true;
    }
    search->rc = im_store_each_root(search->run->lookup, match_root, &root, search->err);
    if (search->rc != IM_OK) {
        return false;
    }
    if (root.path == NULL) {
        search->rc = im_fail(search->err, IM_ERR_NOMEM, "no memory for a path");
        return false;
    }
    im_str_init(&path, IM_LIMIT_PATH_BYTES);
    im_str_addf(&path, "%s/", root.path);
    im_str_add(&path, file->path.data, file->path.size);
    bool gone = !path.failed && lstat(im_str_text(&path), &st) != 0 && errno == ENOENT;
    im_str_clear(&path);
    im_free(root.path);
    if (gone) {
        search->row = file->id;
    }
    return !gone;
}

/* ---- content ---- */

static void job_fail(add_job *job, const im_error *error)
{
    job->outcome = JOB_FAILED;
    job->error = *error;
}

static void job_skip(add_job *job, const char *what)
{
    job->outcome = JOB_SKIPPED;
    (void)snprintf(job->skip, sizeof(job->skip), "%s", what);
}

/* Whether the bytes are worth decoding. A named file, or one whose name says picture, must be one;
 * others may be anything. */
static bool judge(add_job *job, const im_bytes *bytes)
{
    im_format format = im_image_sniff(bytes->data, bytes->size);
    bool claims = job->named || im_image_name_is_picture(job->path);
    if (im_format_decodes(format)) {
        return true;
    }
    if (format == IM_FORMAT_UNKNOWN || format == IM_FORMAT_ZIP || format == IM_FORMAT_HTML ||
        format == IM_FORMAT_PDF || format == IM_FORMAT_VIDEO) {
        if (!claims) {
            job_skip(job, "not a picture");
            return false;
        }
        return true; /* the decoder's sentence says what it is */
    }
    if (job->named) {
        return true;
    }
    job_skip(job, im_format_name(format));
    return false;
}

/* What the library knows of this content. Under lookup_lock. */
static im_code look_up(add_run *run, add_job *job, im_error *err)
{
    uint64_t slot = 0;
    bool removed = false;
    size_t dim = run->library->model.dim;
    im_code rc = im_store_find_item(run->lookup, job->meta.sha256, &job->item, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (job->item == 0) {
        rc = im_store_was_removed(run->lookup, job->meta.sha256, &removed, err);
        if (rc == IM_OK && removed && !job->named) {
            job_skip(job, "removed before");
        }
        job->forget_removed = removed && job->named;
        return rc;
    }
    float *vector = im_alloc(dim, sizeof(float));
    if (vector == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
    }
    rc = im_store_get_embedding(run->lookup, job->item, run->library->model.id, vector, dim, &slot,
                                err);
    im_free(vector);
    if (rc == IM_OK) {
        job->outcome = JOB_KNOWN;
    } else if (rc == IM_ERR_NOT_FOUND) {
        rc = IM_OK; /* known, but without a vector: it is encoded */
    }
    return rc;
}

static void copy_meta(im_item *item, const im_image_info *info)
{
    (void)snprintf(item->format, sizeof(item->format), "%s", im_format_name(info->format));
    item->width = info->width;
    item->height = info->height;
    item->partial = info->partial;
    item->has_taken = info->has_taken;
    item->taken_s = info->taken_s;
    item->has_taken_offset = info->has_taken_offset;
    item->taken_offset_min = info->taken_offset_min;
    item->has_gps = info->has_gps;
    item->latitude = info->latitude;
    item->longitude = info->longitude;
    memcpy(item->camera, info->camera, sizeof(item->camera));
    memcpy(item->lens, info->lens, sizeof(item->lens));
}

static void note_memory(void *run)
{
    add_note_memory(run);
}

static im_code decode(add_run *run, add_job *job, const im_image_limits *limits,
                      const im_bytes *bytes, const char *full, im_error *err)
{
    im_image_info info;
    const im_preprocess *how = &im_encoder_describe(run->encoder)->preprocess;
    im_image_options options = {.limits = *limits,
                                .exact_decode = run->request->exact_decode,
                                .target_px = how->resize_shortest != 0
                                                 ? how->resize_shortest
                                                 : IM_MAX(how->crop_w, how->crop_h)};
    im_image_wish wish = {.prepare = how, .hash = true, .at_last_row = note_memory, .context = run};
    job->pixels = im_alloc(1, picture_pixels_bytes(run->encoder));
    if (job->pixels == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the pixels of '%s'", full);
    }
    wish.pixels = job->pixels;
    im_code rc = im_image_read(bytes->data, bytes->size, full, &options, &wish, &info, err);
    if (rc != IM_OK) {
        im_free(job->pixels);
        job->pixels = NULL;
        return rc;
    }
    copy_meta(&job->meta, &info);
    job->meta.bytes = bytes->size;
    job->meta.added_ns = im_clock_wall_ns();
    job->meta.phash = wish.phash;
    (void)snprintf(job->meta.source, sizeof(job->meta.source), "%s",
                   run->request->uploads ? "upload" : "file");
    return IM_OK;
}

/* The whole way of a file's bytes; the first error ends it. */
static im_code take_bytes(add_run *run, add_job *job, const im_image_limits *limits,
                          const im_bytes *bytes, const char *full, im_error *err)
{
    move_search moved = {.run = run, .stamp = &job->stamp, .err = err};
    if (!judge(job, bytes)) {
        return IM_OK;
    }
    uint64_t start = im_clock_ns();
    im_sha256_of(bytes->data, bytes->size, job->meta.sha256);
    job->edges = hash_edges(bytes->data, bytes->size);
    moved.edges = job->edges;
    job->outcome = JOB_NEW;
    pthread_mutex_lock(&run->lookup_lock);
    im_code rc = look_up(run, job, err);
    if (rc == IM_OK && job->file_row == 0 && job->outcome == JOB_KNOWN) {
        rc = im_store_each_file_of_item(run->lookup, job->item, match_moved, &moved, err);
        rc = rc == IM_OK ? moved.rc : rc;
        job->moved_from = moved.row;
    }
    pthread_mutex_unlock(&run->lookup_lock);
    atomic_fetch_add(&run->busy_hash_ns, im_clock_ns() - start);
    if (rc == IM_OK && job->outcome == JOB_NEW) {
        start = im_clock_ns();
        rc = decode(run, job, limits, bytes, full, err);
        atomic_fetch_add(&run->busy_decode_ns, im_clock_ns() - start);
    }
    return rc;
}

/* With what `limits` allow. */
static void decode_within(add_run *run, add_job *job, const im_image_limits *limits)
{
    im_bytes bytes = {0};
    im_error error = IM_ERROR_INIT;
    char *full = add_job_full_path(job);
    im_code rc = full != NULL ? IM_OK : im_fail(&error, IM_ERR_NOMEM, "no memory for a path");
    uint64_t start = im_clock_ns();
    uint64_t most = limits->max_bytes != 0 ? limits->max_bytes : IM_LIMIT_PICTURE_BYTES;
    if (rc == IM_OK && !job->named && job->stamp.size == 0 &&
        !im_image_name_is_picture(job->path)) {
        job_skip(job, "not a picture"); /* an empty file of another kind is not opened */
        im_free(full);
        return;
    }
    for (int attempt = 0; rc == IM_OK && attempt < 3; attempt++) {
        job->hashed_ns = im_clock_wall_ns();
        rc = im_file_read_at(AT_FDCWD, full, most, &bytes, &job->stamp, &error);
        if (rc == IM_OK ||
            strcmp(error.reason, im_reason_name(IM_REASON_CHANGED_WHILE_READING)) != 0) {
            break;
        }
        rc = attempt < 2 ? IM_OK : rc;
    }
    atomic_fetch_add(&run->busy_read_ns, im_clock_ns() - start);
    if (rc == IM_OK) {
        rc = take_bytes(run, job, limits, &bytes, full, &error);
    } else if (!job->named && !im_image_name_is_picture(job->path) && rc == IM_ERR_LIMIT) {
        job_skip(job, "not a picture"); /* a film of many GB is no failure */
        rc = IM_OK;
    }
    if (rc != IM_OK) {
        job_fail(job, &error);
    }
    im_bytes_clear(&bytes);
    im_free(full);
}

static bool wants_more(const add_job *job)
{
    return job->outcome == JOB_FAILED &&
           (strcmp(job->error.reason, im_reason_name(IM_REASON_PICTURE_MEMORY)) == 0 ||
            strcmp(job->error.reason, im_reason_name(IM_REASON_FILE_TOO_LARGE)) == 0);
}

/* Alone it may take what all others together may. */
static void decode_alone(add_run *run, add_job *job)
{
    im_image_limits limits = memory_limits(&run->request->limits, run->whole);
    job->outcome = JOB_NEW;
    job->error = (im_error)IM_ERROR_INIT;
    im_free(job->pixels);
    job->pixels = NULL;
    pthread_rwlock_wrlock(&run->alone);
    decode_within(run, job, &limits);
    pthread_rwlock_unlock(&run->alone);
    if (wants_more(job) && (limits.max_decoder_bytes != run->request->limits.max_decoder_bytes ||
                            limits.max_bytes != run->request->limits.max_bytes)) {
        im_hint(&job->error, "allow more with --memory if you trust the file");
    }
}

/* Under a budget each picture has its share; one that needs more is decoded when no other is. */
void add_decode_job(add_run *run, add_job *job)
{
    im_image_limits limits = memory_limits(&run->request->limits, run->share);
    bool large = run->share != UINT64_MAX && job->stamp.size > limits.max_bytes;
    if (!large) {
        pthread_rwlock_rdlock(&run->alone);
        decode_within(run, job, &limits);
        pthread_rwlock_unlock(&run->alone);
        large = run->share != UINT64_MAX && wants_more(job);
    }
    if (large) {
        decode_alone(run, job);
    }
}
