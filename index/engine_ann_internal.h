/* index/engine_ann_internal.h — what the two files of the FAISS module share. */
#ifndef IM_INDEX_ENGINE_ANN_INTERNAL_H
#define IM_INDEX_ENGINE_ANN_INTERNAL_H

#include "index/faiss_engine.h"

/** How many threads of OpenMP the calling thread may use; each entry of the module says so. */
void engine_threads(int n);
/** Turns a code of the C API into ours; the sentence is FAISS's, read right after the call. */
im_faiss_result engine_result(int code, char *message);

/* The rows of im_faiss_engine for approximate indexes. */
im_faiss_result engine_make(size_t dim, const char *description, size_t ef_construction,
                            void **out_index, char *message);
im_faiss_result engine_train(void *index, const float *rows, size_t n, int n_threads,
                             char *message);
im_faiss_result engine_add_labelled(void *index, const float *rows, const int64_t *labels, size_t n,
                                    int n_threads, char *message);
im_faiss_result engine_write(const void *index, FILE *file, char *message);
im_faiss_result engine_read(FILE *file, void **out_index, char *message);
void engine_describe(void *index, im_faiss_facts *out_facts);
im_faiss_result engine_find(const void *index, im_faiss_kind kind, const float *query, size_t k,
                            size_t effort, const uint8_t *bits, size_t n_bytes, float *scores,
                            int64_t *labels, char *message);

#endif
