/* app/calibration.c — the texts that are shipped with imago, as vectors of a library's model: what
 * audits ask with, and what unrelated texts look like. */
#include "app/app_internal.h"
#include "base/file.h"

#define TEXTS_BYTES_MAX (1u << 20)
#define TEXTS_AT_ONCE 16u
#define BACKGROUND_TEXTS 128u

/* The lines of a file that are not empty, as views into it. */
static im_code split_lines(const im_bytes *bytes, im_view **out_lines, size_t *out_n, im_error *err)
{
    const char *data = (const char *)bytes->data;
    size_t n = 0;
    im_view *lines = im_alloc(bytes->size / 2 + 1, sizeof(*lines));
    if (lines == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a list of texts");
    }
    for (size_t at = 0; at < bytes->size;) {
        const char *end = memchr(data + at, '\n', bytes->size - at);
        size_t size = end != NULL ? (size_t)(end - data) - at : bytes->size - at;
        if (size > 0) {
            lines[n++] = im_view_of(data + at, size);
        }
        at += size + 1;
    }
    *out_lines = lines;
    *out_n = n;
    return IM_OK;
}

/* `count` of the n lines, evenly spread over the file. */
static im_code encode_lines(im_library *library, const im_view *lines, size_t n, size_t count,
                            float **out_vectors, im_error *err)
{
    size_t dim = library->model.dim;
    im_code rc = library_encoder(library, IM_TOWERS_TEXT, NULL, err);
    if (rc != IM_OK) {
        return rc;
    }
    float *vectors = im_alloc(count, dim * sizeof(float));
    if (vectors == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the vectors of %zu texts", count);
    }
    for (size_t done = 0; rc == IM_OK && done < count;) {
        im_view some[TEXTS_AT_ONCE];
        size_t n_some = IM_MIN(count - done, (size_t)TEXTS_AT_ONCE);
        for (size_t i = 0; i < n_some; i++) {
            some[i] = lines[(done + i) * n / count];
        }
        rc = im_encoder_texts(library->encoder, some, n_some, vectors + done * dim, NULL, err);
        done += n_some;
    }
    if (rc != IM_OK) {
        im_free(vectors);
        return rc;
    }
    *out_vectors = vectors;
    return IM_OK;
}

/* Nothing when there is no such file. */
static im_code read_texts(const im_library *library, im_bytes *out, im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    char *folder = im_path_join(library->places.share, "calibration");
    char *path = folder != NULL ? im_path_join(folder, "texts.txt") : NULL;
    im_code rc = path != NULL ? im_file_read(path, TEXTS_BYTES_MAX, out, &cause)
                              : im_fail(&cause, IM_ERR_NOMEM, "no memory for a path");
    im_free(folder);
    im_free(path);
    if (rc != IM_OK && rc != IM_ERR_NOT_FOUND && err != NULL) {
        *err = cause;
    }
    return rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
}

im_code calibration_texts(im_library *library, size_t wanted, float **out_vectors, size_t *out_n,
                          im_error *err)
{
    im_bytes bytes = {0};
    im_view *lines = NULL;
    size_t n = 0;
    *out_n = 0;
    im_code rc = read_texts(library, &bytes, err);
    if (rc == IM_OK) {
        rc = split_lines(&bytes, &lines, &n, err);
    }
    size_t count = IM_MIN(n, wanted);
    if (rc == IM_OK && count > 0) {
        rc = encode_lines(library, lines, n, count, out_vectors, err);
        *out_n = rc == IM_OK ? count : 0;
    }
    im_free(lines);
    im_bytes_clear(&bytes);
    return rc;
}

im_code library_text_background(im_library *library, const float **out_vectors, size_t *out_n,
                                im_error *err)
{
    if (library->text_background_model != library->model.id) {
        im_free(library->text_background);
        library->text_background = NULL;
        library->text_background_model = 0;
        im_code rc = calibration_texts(library, BACKGROUND_TEXTS, &library->text_background,
                                       &library->n_text_background, err);
        if (rc != IM_OK) {
            return rc;
        }
        library->text_background_model = library->model.id;
    }
    *out_vectors = library->text_background;
    *out_n = library->n_text_background;
    return IM_OK;
}
