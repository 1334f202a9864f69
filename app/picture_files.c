/* app/picture_files.c — pictures given out: the original file of an item, and thumbnails, which are
 * kept under thumbs/ by the picture's digest and their size. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#define RACY_NS 2000000000 /* a stamp this young may hide a later change */
#define SNIFF_BYTES 4096u
#define READ_BYTES (256u << 10)
#define THUMB_BYTES (16u << 20)

im_code im_app_digest(im_library *library, uint64_t item, char out[IM_SHA256_HEX], im_error *err)
{
    im_item row;
    im_code rc = im_store_get_item(library->store, item, &row, err);
    if (rc == IM_OK) {
        im_sha256_hex(row.sha256, out);
    }
    return rc;
}

/* ---- originals ---- */

typedef struct original_search {
    const root_list *roots;
    const im_item *item;
    uint8_t *buffer; /* [READ_BYTES] */
    im_original *out;
    bool found;
    im_code rc; /* of the last try */
    im_error error;
} original_search;

static im_code digest_of(int fd, uint64_t size, uint8_t *buffer, uint8_t out[IM_SHA256_BYTES],
                         im_error *err)
{
    im_sha256 state;
    im_sha256_init(&state);
    for (uint64_t at = 0; at < size;) {
        size_t n = (size_t)IM_MIN(size - at, (uint64_t)READ_BYTES);
        im_code rc = im_file_pread(fd, buffer, n, at, "an original", err);
        if (rc != IM_OK) {
            return rc;
        }
        im_sha256_add(&state, buffer, n);
        at += n;
    }
    im_sha256_end(&state, out);
    return IM_OK;
}

/* A file whose stamp is that of its last hashing holds what was hashed; else it is hashed now. */
static im_code check_content(original_search *search, const im_file_row *row, im_error *err)
{
    uint8_t sha256[IM_SHA256_BYTES];
    const im_file_stamp *now = &search->out->stamp;
    if (now->size == row->stamp.size && now->mtime_ns == row->stamp.mtime_ns &&
        row->hashed_ns - row->stamp.mtime_ns > RACY_NS) {
        return IM_OK;
    }
    im_code rc = now->size == search->item->bytes
                     ? digest_of(search->out->fd, now->size, search->buffer, sha256, err)
                     : IM_ERR_NOT_FOUND;
    if (rc == IM_ERR_NOT_FOUND ||
        (rc == IM_OK && memcmp(sha256, search->item->sha256, sizeof(sha256)) != 0)) {
        rc = im_fail(err, IM_ERR_NOT_FOUND,
                     "the file of picture %llu holds another one now: its content has changed",
                     (unsigned long long)search->item->id);
        im_hint(err, "take the change in: imago add FOLDER");
    }
    return rc;
}

static im_code open_file(original_search *search, const im_file_row *row, im_error *err)
{
    struct stat info;
    char below[PATH_MAX];
    const im_root *root = roots_by_id(search->roots, row->root);
    im_original *out = search->out;
    int n = snprintf(below, sizeof(below), "%.*s", (int)row->path.size, row->path.data);
    if (root == NULL || n < 0 || (size_t)n >= sizeof(below)) {
        return im_fail(err, IM_ERR_NOT_FOUND, "a file of picture %llu is in no folder",
                       (unsigned long long)search->item->id);
    }
    im_code rc =
        path_open_beneath(root->path, below, O_RDONLY | O_NONBLOCK | O_NOCTTY, &out->fd, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (fstat(out->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        rc = im_fail(err, IM_ERR_NOT_FOUND, "a file of picture %llu is no regular file any more",
                     (unsigned long long)search->item->id);
    } else {
        out->stamp = im_file_stamp_of(&info);
        rc = check_content(search, row, err);
    }
    if (rc == IM_OK) {
        size_t size = (size_t)IM_MIN(out->stamp.size, (uint64_t)SNIFF_BYTES);
        rc = im_file_pread(out->fd, search->buffer, size, 0, "an original", err);
        out->format = im_image_sniff(search->buffer, size);
    }
    if (rc != IM_OK) {
        (void)close(out->fd);
        out->fd = -1;
    }
    return rc;
}

static bool try_file(void *context, const im_file_row *row)
{
    original_search *search = context;
    search->rc = open_file(search, row, &search->error);
    search->found = search->rc == IM_OK;
    return !search->found;
}

static im_code find_file(im_library *library, uint64_t item, original_search *search, im_error *err)
{
    im_code rc = im_store_each_file_of_item(library->store, item, try_file, search, err);
    if (rc != IM_OK || search->found) {
        return rc;
    }
    if (search->rc == IM_OK) {
        return im_fail(err, IM_ERR_NOT_FOUND, "picture %llu has no file", (unsigned long long)item);
    }
    if (search->rc ==
        IM_ERR_DENIED) { /* whether it is outside or not readable is nobody's matter */
        return im_fail(err, IM_ERR_NOT_FOUND, "picture %llu has no file that may be given out",
                       (unsigned long long)item);
    }
    if (err != NULL) {
        *err = search->error;
    }
    return search->rc;
}

im_code im_app_open_original(im_library *library, uint64_t item, im_original *out, im_error *err)
{
    im_item row;
    root_list roots;
    *out = (im_original){.fd = -1};
    original_search search = {.roots = &roots, .item = &row, .out = out, .error = IM_ERROR_INIT};
    im_code rc = im_store_get_item(library->store, item, &row, err);
    if (rc == IM_OK) {
        rc = roots_load(library->store, &roots, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    search.buffer = im_alloc(READ_BYTES, 1);
    rc = search.buffer != NULL ? find_file(library, item, &search, err)
                               : im_fail(err, IM_ERR_NOMEM, "no memory for an original");
    im_free(search.buffer);
    roots_clear(&roots);
    im_sha256_hex(row.sha256, out->sha256);
    if (rc != IM_OK && out->fd >= 0) {
        (void)close(out->fd);
        out->fd = -1;
    }
    return rc;
}

/* ---- thumbnails ---- */

uint32_t im_thumbnail_px(uint32_t wanted)
{
    uint32_t px = (wanted + IM_THUMBNAIL_STEP_PX - 1) / IM_THUMBNAIL_STEP_PX * IM_THUMBNAIL_STEP_PX;
    return IM_MIN(IM_MAX(px, IM_THUMBNAIL_STEP_PX), IM_THUMBNAIL_MOST_PX);
}

static bool is_whole_jpeg(const im_bytes *bytes)
{
    return bytes->size > 4 && bytes->data[0] == 0xff && bytes->data[1] == 0xd8 &&
           bytes->data[bytes->size - 2] == 0xff && bytes->data[bytes->size - 1] == 0xd9;
}

static bool read_kept(const char *path, im_bytes *out)
{
    if (im_file_read(path, THUMB_BYTES, out, NULL) != IM_OK) {
        return false;
    }
    if (!is_whole_jpeg(out)) {
        im_bytes_clear(out);
        return false;
    }
    return true;
}

/* A thumbnail that cannot be kept is made again: no reason to fail. */
static void keep(const char *path, const im_bytes *bytes)
{
    char folder[PATH_MAX];
    im_error error = IM_ERROR_INIT;
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
    im_code rc = im_folder_make(folder, &error);
    if (rc == IM_OK) {
        rc = im_file_write_atomic(path, bytes->data, bytes->size, &error);
    }
    if (rc != IM_OK) {
        im_log(IM_LOG_DEBUG, "thumbnail_not_kept", "why=\"%s\"", error.message);
    }
}

static im_code make(im_library *library, uint64_t item, uint32_t px, const im_image_limits *limits,
                    im_bytes *out, im_error *err)
{
    const im_image_options options = {.limits = *limits};
    im_bytes bytes = {0};
    char *path = NULL;
    im_code rc = picture_read_item(library->store, item, limits, &bytes, &path, err);
    if (rc == IM_OK) {
        rc = im_image_thumbnail(bytes.data, bytes.size, path, &options, px, out, err);
    }
    im_bytes_clear(&bytes);
    im_free(path);
    return rc;
}

im_code im_app_thumbnail(im_library *library, uint64_t item, uint32_t px,
                         const im_image_limits *limits, im_bytes *out, im_error *err)
{
    char hex[IM_SHA256_HEX];
    char path[PATH_MAX];
    px = im_thumbnail_px(px);
    im_code rc = im_app_digest(library, item, hex, err);
    if (rc != IM_OK) {
        return rc;
    }
    int n = snprintf(path, sizeof(path), "%s/thumbs/%.2s/%s-%u.jpg", library->folder, hex, hex, px);
    bool fits = n > 0 && (size_t)n < sizeof(path);
    if (fits && read_kept(path, out)) {
        return IM_OK;
    }
    rc = make(library, item, px, limits, out, err);
    if (rc == IM_OK && fits) {
        keep(path, out);
    }
    return rc;
}
