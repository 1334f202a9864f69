/* app/pictures.c — a picture's way to the encoder: bytes, decode, box, the model's frame. */
#include "app/app_internal.h"
#include "base/file.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

size_t picture_pixels_bytes(const im_encoder *encoder)
{
    const im_preprocess *how = &im_encoder_describe(encoder)->preprocess;
    return (size_t)how->crop_w * how->crop_h * 3;
}

im_code picture_read(const char *path, const im_image_limits *limits, im_bytes *out, im_error *err)
{
    uint64_t most =
        limits != NULL && limits->max_bytes != 0 ? limits->max_bytes : IM_LIMIT_PICTURE_BYTES;
    return im_file_read(path, most, out, err);
}

/* ---- inside the library's folders ---- */

static im_code refuse_path(const char *path, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_PATH_REFUSED,
                            "picture '%s' is in no folder that the library holds", path);
    im_hint(err, "send the picture itself as \"data\", or add its folder: imago add FOLDER");
    return rc;
}

/* A path as roots are written: absolute, without empty parts, "." and "..". */
static bool is_plain_path(const char *path)
{
    bool plain = path[0] == '/';
    for (const char *part = path; plain && part != NULL; part = strchr(part + 1, '/')) {
        size_t size = strcspn(part + 1, "/");
        plain = size > 0 && !(size == 1 && part[1] == '.') &&
                !(size == 2 && part[1] == '.' && part[2] == '.');
    }
    return plain;
}

im_code path_open_beneath(const char *folder, const char *below, int flags, int *out_fd,
                          im_error *err)
{
    struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int root = -1;
    im_code rc = im_file_open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, &root, err);
    if (rc != IM_OK) {
        return rc;
    }
    int file = (int)syscall(SYS_openat2, root, below, &how, sizeof(how));
    int why = errno;
    (void)close(root);
    if (file >= 0) {
        *out_fd = file;
        return IM_OK;
    }
    char *path = im_path_join(folder, below);
    rc = why == EXDEV ? refuse_path(path != NULL ? path : below, err)
                      : im_fail_errno(err, why, "could not open '%s'", path != NULL ? path : below);
    im_free(path);
    return rc;
}

static im_code read_beneath(const char *folder, const char *below, const char *path,
                            const im_image_limits *limits, im_bytes *out, im_error *err)
{
    char name[32];
    int file = -1;
    im_error cause = IM_ERROR_INIT;
    im_code rc = path_open_beneath(folder, below, O_PATH, &file, err);
    if (rc != IM_OK) {
        return rc;
    }
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
    rc = picture_read(name, limits, out, &cause);
    if (rc != IM_OK) {
        rc = im_fail(err, rc, "picture '%s': %s", path, cause.message);
    }
    (void)close(file);
    return rc;
}

im_code picture_read_inside(im_store *store, const char *path, const im_image_limits *limits,
                            im_bytes *out, im_error *err)
{
    root_list roots;
    im_code rc = roots_load(store, &roots, err);
    if (rc != IM_OK) {
        return rc;
    }
    const im_root *root = is_plain_path(path) ? roots_of_file(&roots, path) : NULL;
    rc = root != NULL
             ? read_beneath(root->path, path_below(path, root->path), path, limits, out, err)
             : refuse_path(path, err);
    roots_clear(&roots);
    return rc;
}

/* ---- items ---- */

typedef struct item_search {
    const root_list *roots;
    const im_image_limits *limits;
    const im_item *item;
    im_bytes bytes;
    char *path; /* of the bytes, or of the last try */
    bool found;
    im_code rc; /* of the last try */
    im_error error;
} item_search;

static bool try_file(void *context, const im_file_row *file)
{
    item_search *search = context;
    uint8_t sha256[IM_SHA256_BYTES];
    im_free(search->path);
    search->path = roots_file_path(search->roots, file);
    if (search->path == NULL) {
        search->rc = im_fail(&search->error, IM_ERR_NOMEM, "no memory for a path");
        return false;
    }
    search->rc = picture_read(search->path, search->limits, &search->bytes, &search->error);
    if (search->rc != IM_OK) {
        return true;
    }
    im_sha256_of(search->bytes.data, search->bytes.size, sha256);
    search->found = memcmp(sha256, search->item->sha256, sizeof(sha256)) == 0;
    if (!search->found) {
        im_bytes_clear(&search->bytes);
        search->rc = im_fail(&search->error, IM_ERR_NOT_FOUND,
                             "'%s' no longer holds picture %llu: its content has changed",
                             search->path, (unsigned long long)search->item->id);
        im_hint(&search->error, "take the change in: imago add FOLDER");
    }
    return !search->found;
}

im_code picture_read_item(im_store *store, uint64_t item, const im_image_limits *limits,
                          im_bytes *out, char **out_path, im_error *err)
{
    root_list roots;
    im_item row;
    item_search search = {.roots = &roots, .limits = limits, .item = &row};
    *out_path = NULL;
    im_code rc = im_store_get_item(store, item, &row, err);
    if (rc == IM_OK) {
        rc = roots_load(store, &roots, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_each_file_of_item(store, item, try_file, &search, err);
    roots_clear(&roots);
    if (rc == IM_OK && search.found) {
        *out = search.bytes; /* the caller owns it from here */
    } else if (rc == IM_OK && search.rc != IM_OK) {
        rc = search.rc;
        if (err != NULL) {
            *err = search.error;
        }
    } else if (rc == IM_OK) {
        rc = im_fail(err, IM_ERR_NOT_FOUND, "picture %llu has no file", (unsigned long long)item);
    } else {
        im_bytes_clear(&search.bytes);
    }
    *out_path = search.path;
    return rc;
}

/* A box is cut from the full frame: its pixels count from there. */
static im_code box_pixels(const im_encoder *encoder, im_view bytes, const char *name,
                          im_image_options how, const im_box *box, uint8_t *out_pixels,
                          im_error *err)
{
    im_image whole = {0};
    im_image part = {0};
    uint32_t xywh[4];
    how.exact_decode = true;
    im_code rc =
        im_image_decode((const uint8_t *)bytes.data, bytes.size, name, &how, &whole, NULL, err);
    if (rc == IM_OK) {
        rc = im_box_resolve(box, whole.width, whole.height, xywh, err);
    }
    if (rc == IM_OK) {
        rc = im_image_crop(&whole, xywh[0], xywh[1], xywh[2], xywh[3], &part, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_prepare(encoder, &part, out_pixels, err);
    }
    im_image_clear(&whole);
    im_image_clear(&part);
    return rc;
}

im_code picture_pixels(const im_encoder *encoder, im_view bytes, const char *name,
                       const im_image_options *options, const im_box *box, uint8_t *out_pixels,
                       im_error *err)
{
    im_image_options how = options != NULL ? *options : (im_image_options){0};
    const im_preprocess *preprocess = &im_encoder_describe(encoder)->preprocess;
    im_image_wish wish = {.prepare = preprocess, .pixels = out_pixels};
    how.target_px = preprocess->resize_shortest != 0
                        ? preprocess->resize_shortest
                        : IM_MAX(preprocess->crop_w, preprocess->crop_h);
    return box != NULL ? box_pixels(encoder, bytes, name, how, box, out_pixels, err)
                       : im_image_read((const uint8_t *)bytes.data, bytes.size, name, &how, &wish,
                                       NULL, err);
}

im_code im_app_picture_size(im_view bytes, const im_image_limits *limits, uint32_t out_sides[2],
                            im_error *err)
{
    im_image_info info = {0};
    const im_image_options options = {.limits = *limits};
    im_code rc = im_image_probe((const uint8_t *)bytes.data, bytes.size, "the picture sent",
                                &options, &info, err);
    out_sides[0] = info.width;
    out_sides[1] = info.height;
    return rc;
}
