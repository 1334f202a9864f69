/* index/engine_flat.c — the module's side of faiss_engine.h: an exact IndexFlatIP through FAISS's C
 * API. Lives in imago-faiss.so, alone with FAISS: it allocates nothing of its own and uses no other
 * room. FAISS runs on the caller's thread: its own would fight with the one pool. */
#include "index/faiss_engine.h"
#include <faiss/c_api/IndexFlat_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/impl/AuxIndexStructures_c.h>
#ifdef IMAGO_FAISS_C_NEWER
#include "index/faiss_c_newer.h"
#endif
#include <stdio.h>
#include <string.h>

/* Of OpenMP's run-time library; its header is not there for every compiler. */
void omp_set_num_threads(int n_threads);

/* The setting is one of the calling thread's, so each entry makes it. */
static void stay_on_this_thread(void)
{
    omp_set_num_threads(1);
}

/* Turns a code of the C API into ours; the sentence is FAISS's, read right after the call. */
static im_faiss_result result_of(int code, char *message)
{
    if (code == 0) {
        return IM_FAISS_OK;
    }
    const char *text = faiss_get_last_error();
    snprintf(message, IM_FAISS_MESSAGE_BYTES, "%s", text != NULL ? text : "no reason given");
    /* std::bad_alloc, and a std::length_error, which libstdc++ words by the vector's member */
    int is_memory = strstr(message, "bad_alloc") != NULL || strstr(message, "vector::") != NULL;
    return is_memory ? IM_FAISS_NOMEM : IM_FAISS_FAILED;
}

static im_faiss_result flat_open(size_t dim, void **out_index, char *message)
{
    FaissIndexFlatIP *index = NULL;
    stay_on_this_thread();
    im_faiss_result result =
        result_of(faiss_IndexFlatIP_new_with(&index, (faiss_idx_t)dim), message);
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
    stay_on_this_thread();
    return result_of(faiss_Index_add(index, (faiss_idx_t)n, rows), message);
}

static im_faiss_result search_selected(const void *index, const float *query, size_t k,
                                       const uint8_t *bits, size_t n_bytes, float *scores,
                                       int64_t *labels, char *message)
{
    FaissIDSelectorBitmap *selector = NULL;
    FaissSearchParameters *parameters = NULL;
    im_faiss_result result =
        result_of(faiss_IDSelectorBitmap_new(&selector, n_bytes, bits), message);
    if (result != IM_FAISS_OK) {
        return result;
    }
    result =
        result_of(faiss_SearchParameters_new(&parameters, (FaissIDSelector *)selector), message);
    if (result == IM_FAISS_OK) {
        result = result_of(faiss_Index_search_with_params(index, 1, query, (faiss_idx_t)k,
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
    stay_on_this_thread();
    if (bits != NULL) {
        return search_selected(index, query, k, bits, n_bytes, scores, labels, message);
    }
    return result_of(faiss_Index_search(index, 1, query, (faiss_idx_t)k, scores, labels), message);
}

static im_faiss_result flat_range(const void *index, const float *query, float radius,
                                  uint64_t *out_bits, uint64_t n_rows, char *message)
{
    FaissRangeSearchResult *found = NULL;
    stay_on_this_thread();
    im_faiss_result result = result_of(faiss_RangeSearchResult_new(&found, 1), message);
    if (result != IM_FAISS_OK) {
        return result;
    }
    result = result_of(faiss_Index_range_search(index, 1, query, radius, found), message);
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

extern const im_faiss_engine im_faiss_engine_v1;
__attribute__((visibility("default"))) const im_faiss_engine im_faiss_engine_v1 = {
    IM_FAISS_ENGINE_VERSION,
    sizeof(im_faiss_engine),
    flat_open,
    flat_add,
    flat_search,
    flat_range,
    flat_close,
};
