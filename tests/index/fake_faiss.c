/* tests/index/fake_faiss.c — a module with imago-faiss.so's table whose calls fail as the variable
 * IMAGO_FAKE_FAISS says: "open", "add", "search", "range" (out of memory), "short" (too few rows),
 * "wild" (a label beyond the last row). Without it every row is returned, in no order. For the flat
 * engine alone: spy_faiss.c stands before the others. */
#include "index/faiss_engine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t n_rows_held;

static int is_asked(const char *what)
{
    const char *wanted = getenv("IMAGO_FAKE_FAISS");
    return wanted != NULL && strcmp(wanted, what) == 0;
}

static im_faiss_result fail_when(const char *what, char *message)
{
    if (!is_asked(what)) {
        return IM_FAISS_OK;
    }
    snprintf(message, IM_FAISS_MESSAGE_BYTES, "std::bad_alloc");
    return IM_FAISS_NOMEM;
}

static im_faiss_result fake_open(size_t dim, void **out_index, char *message)
{
    static int object;
    (void)dim;
    n_rows_held = 0;
    *out_index = &object;
    return fail_when("open", message);
}

static im_faiss_result fake_add(void *index, const float *rows, size_t n, char *message)
{
    (void)index;
    (void)rows;
    n_rows_held += n;
    return fail_when("add", message);
}

static im_faiss_result fake_search(const void *index, const float *query, size_t k,
                                   const uint8_t *bits, size_t n_bytes, float *scores,
                                   int64_t *labels, char *message)
{
    (void)index;
    (void)query;
    size_t n = 0;
    for (size_t i = 0; i < 8 * n_bytes && i < n_rows_held && n < k; i++) {
        if ((bits[i / 8] >> (i % 8)) & 1) {
            labels[n] = (int64_t)i;
            scores[n++] = 1.0F; /* a bound that settles nothing: the rest must be asked for */
        }
    }
    if (is_asked("short")) {
        labels[0] = -1;
    }
    if (is_asked("wild")) {
        labels[0] = (int64_t)n_rows_held;
    }
    return fail_when("search", message);
}

static im_faiss_result fake_range(const void *index, const float *query, float radius,
                                  uint64_t *out_bits, uint64_t n_rows, char *message)
{
    (void)index;
    (void)query;
    (void)radius;
    for (uint64_t i = 0; i < n_rows; i++) {
        out_bits[i / 64] |= UINT64_C(1) << (i % 64);
    }
    return fail_when("range", message);
}

static void fake_close(void *index)
{
    (void)index;
}

extern const im_faiss_engine im_faiss_engine_v2;
__attribute__((visibility("default"))) const im_faiss_engine im_faiss_engine_v2 = {
    .version = IM_FAISS_ENGINE_VERSION,
    .struct_bytes = sizeof(im_faiss_engine),
    .open = fake_open,
    .add = fake_add,
    .search = fake_search,
    .range = fake_range,
    .close = fake_close,
};
