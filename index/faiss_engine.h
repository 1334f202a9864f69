/* index/faiss_engine.h — the one table that the loadable module imago-faiss.so exports. FAISS, its
 * C++ runtime, BLAS and OpenMP stay out of the program until an engine of theirs is asked for.
 * Every function is safe to call from any thread; no C++ exception leaves the module. */
#ifndef IM_INDEX_FAISS_ENGINE_H
#define IM_INDEX_FAISS_ENGINE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define IM_FAISS_ENGINE_SYMBOL "im_faiss_engine_v2"
#define IM_FAISS_ENGINE_VERSION 2u
#define IM_FAISS_MESSAGE_BYTES 256u

typedef enum im_faiss_result { IM_FAISS_OK, IM_FAISS_NOMEM, IM_FAISS_FAILED } im_faiss_result;

/** What an approximate index is. */
typedef enum im_faiss_kind { IM_FAISS_IVF, IM_FAISS_HNSW } im_faiss_kind;

typedef struct im_faiss_facts {
    im_faiss_kind kind; /* all that is no IVF counts as HNSW */
    size_t dim;
    uint64_t n_rows;
    size_t n_lists; /* IVF */
    int is_inner_product;
} im_faiss_facts;

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

    /* approximate indexes; `index` may also come from read */

    /** An empty index as FAISS's factory describes it ("IVF1024,Flat", "HNSW32"), over inner
     * products. @param ef_construction of an HNSW; 0: FAISS's own */
    im_faiss_result (*make)(size_t dim, const char *description, size_t ef_construction,
                            void **out_index, char *message);
    im_faiss_result (*train)(void *index, const float *rows, size_t n, int n_threads,
                             char *message);
    /** Appends n rows. @param labels [n], NULL: they go on from the last (HNSW knows no others) */
    im_faiss_result (*add_labelled)(void *index, const float *rows, const int64_t *labels, size_t n,
                                    int n_threads, char *message);
    im_faiss_result (*write)(const void *index, FILE *file, char *message);
    im_faiss_result (*read)(FILE *file, void **out_index, char *message);
    void (*describe)(void *index, im_faiss_facts *out_facts);
    /** As search, for an approximate index: labels behind the last found are -1.
     * @param effort nprobe of an IVF, efSearch of an HNSW, >= 1 */
    im_faiss_result (*find)(const void *index, im_faiss_kind kind, const float *query, size_t k,
                            size_t effort, const uint8_t *bits, size_t n_bytes, float *scores,
                            int64_t *labels, char *message);
} im_faiss_engine;

#endif
