/* index/engine_flat.c — the module's side of faiss_engine.h: its table, and an exact IndexFlatIP
 * through FAISS's C API (engine_ann.c has the approximate indexes). Lives in imago-faiss.so, alone
 * with FAISS: it allocates nothing of its own and uses no other room. FAISS runs on the caller's
 * thread: its own would fight with the one pool. */
#include "index/engine_ann_internal.h"
#include "index/faiss_engine.h"
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/impl/AuxIndexStructures_c.h>
#ifdef IMAGO_FAISS_C_NEWER
#include "index/faiss_c_newer.h"
#endif
#include <stdio.h>

static im_faiss_result flat_open(size_t dim, void **out_index, char *message)
{
    FaissIndexFlatIP *index = NULL;
    engine_threads(1);
    im_faiss_result result =
        engine_result(faiss_IndexFlatIP_new_with(&index, (faiss_idx_t)dim), message);
    if (result == IM_FAISS_OK) {
        *out_index = index;
    }
    return result;
}

static void flat_close(void *index)
{
    faiss_Index_free(index);
}

static im_faiss_result flat_add(void *index, const float *rows, size_t n, char *message)
{
    engine_threads(1);
    return engine_result(faiss_Index_add(index, (faiss_idx_t)n, rows), message);
}

static im_faiss_result search_selected(const void *index, const float *query, size_t k,
                                       const uint8_t *bits, size_t n_bytes, float *scores,
                                       int64_t *labels, char *message)
{
    FaissIDSelectorBitmap *selector = NULL;
    FaissSearchParameters *parameters = NULL;
    im_faiss_result result =
        engine_result(faiss_IDSelectorBitmap_new(&selector, n_bytes, bits), message);
    if (result != IM_FAISS_OK) {
        return result;
    }
    result = engine_result(faiss_SearchParameters_new(&parameters, (FaissIDSelector *)selector),
                           message);
    if (result == IM_FAISS_OK) {
        result = engine_result(faiss_Index_search_with_params(index, 1, query, (faiss_idx_t)k,
                                                              parameters, scores, labels),
                               message);
        faiss_SearchParameters_free(parameters);
    }
    faiss_IDSelectorBitmap_free(selector);
    return result;
}

static im_faiss_result flat_search(const void *index, const float *query, size_t k,
                                   const uint8_t *bits, size_t n_bytes, float *scores,
                                   int64_t *labels, char *message)
{
    if (k == 0) { /* FAISS throws */
        snprintf(message, IM_FAISS_MESSAGE_BYTES, "k is 0");
        return IM_FAISS_FAILED;
    }
    engine_threads(1);
    if (bits != NULL) {
        return search_selected(index, query, k, bits, n_bytes, scores, labels, message);
    }
    return engine_result(faiss_Index_search(index, 1, query, (faiss_idx_t)k, scores, labels),
                         message);
}

static im_faiss_result flat_range(const void *index, const float *query, float radius,
                                  uint64_t *out_bits, uint64_t n_rows, char *message)
{
    FaissRangeSearchResult *found = NULL;
    engine_threads(1);
    im_faiss_result result = engine_result(faiss_RangeSearchResult_new(&found, 1), message);
    if (result != IM_FAISS_OK) {
        return result;
    }
    result = engine_result(faiss_Index_range_search(index, 1, query, radius, found), message);
    if (result == IM_FAISS_OK) {
        size_t *lims = NULL;
        faiss_idx_t *labels = NULL;
        float *scores = NULL;
        faiss_RangeSearchResult_lims(found, &lims);
        faiss_RangeSearchResult_labels(found, &labels, &scores);
        for (size_t i = lims[0]; i < lims[1]; i++) {
            if (labels[i] >= 0 && (uint64_t)labels[i] < n_rows) {
                out_bits[labels[i] / 64] |= UINT64_C(1) << (labels[i] % 64);
            }
        }
    }
    faiss_RangeSearchResult_free(found);
    return result;
}

extern const im_faiss_engine im_faiss_engine_v2;
__attribute__((visibility("default"))) const im_faiss_engine im_faiss_engine_v2 = {
    IM_FAISS_ENGINE_VERSION,
    sizeof(im_faiss_engine),
    flat_open,
    flat_add,
    flat_search,
    flat_range,
    flat_close,
    engine_make,
    engine_train,
    engine_add_labelled,
    engine_write,
    engine_read,
    engine_describe,
    engine_find,
};
