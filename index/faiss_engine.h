/* index/faiss_engine.h — the one table that the loadable module imago-faiss.so exports. FAISS, its
 * C++ runtime, BLAS and OpenMP stay out of the program until an engine of theirs is asked for.
 * Every function is safe to call from any thread; no C++ exception leaves the module. */
#ifndef IM_INDEX_FAISS_ENGINE_H
#define IM_INDEX_FAISS_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#define IM_FAISS_ENGINE_SYMBOL "im_faiss_engine_v1"
#define IM_FAISS_ENGINE_VERSION 1u
#define IM_FAISS_MESSAGE_BYTES 256u

typedef enum im_faiss_result { IM_FAISS_OK, IM_FAISS_NOMEM, IM_FAISS_FAILED } im_faiss_result;

/** message is [IM_FAISS_MESSAGE_BYTES], written when the result is not IM_FAISS_OK. */
typedef struct im_faiss_engine {
    uint32_t version;      /* IM_FAISS_ENGINE_VERSION */
    uint32_t struct_bytes; /* sizeof(im_faiss_engine) */
    im_faiss_result (*open)(size_t dim, void **out_index, char *message);
    /** Appends n rows [n, dim]; their labels go on from the last. */
    im_faiss_result (*add)(void *index, const float *rows, size_t n, char *message);
    /** The k (>= 1) rows with the largest inner product among those whose bit is set (bits NULL:
     * all), best first; labels [k] are -1 behind the last.
     * @param bits [n_bytes] bit per row */
    im_faiss_result (*search)(const void *index, const float *query, size_t k, const uint8_t *bits,
                              size_t n_bytes, float *scores, int64_t *labels, char *message);
    /** Sets in out_bits [ceil(n / 64)] the bit of each row whose inner product is above radius. */
    im_faiss_result (*range)(const void *index, const float *query, float radius,
                             uint64_t *out_bits, uint64_t n_rows, char *message);
    void (*close)(void *index);
} im_faiss_engine;

#endif
