/* index/engine_ann.c — the module's side of faiss_engine.h for approximate indexes (IVF, HNSW): one
 * made by FAISS's factory, trained, filled, written, read, searched. Searches run on the caller's
 * thread; training and adding may take more, because nothing else of imago runs then. */
#include "index/engine_ann_internal.h"
#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/IndexIVF_c.h>
#include <faiss/c_api/Index_c.h>
#include <faiss/c_api/error_c.h>
#include <faiss/c_api/impl/AuxIndexStructures_c.h>
#include <faiss/c_api/index_factory_c.h>
#include <faiss/c_api/index_io_c.h>
#ifdef IMAGO_FAISS_C_NEWER
#include "index/faiss_c_newer.h"
#else
#include <faiss/c_api/IndexHNSW_c.h>
#endif
#include <limits.h>
#include <string.h>

/* Of OpenMP's run-time library; its header is not there for every compiler. */
void omp_set_num_threads(int n_threads);

void engine_threads(int n)
{
    omp_set_num_threads(n);
}

im_faiss_result engine_result(int code, char *message)
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

static im_faiss_result set_parameter(FaissIndex *index, const char *name, double value,
                                     char *message)
{
    FaissParameterSpace *space = NULL;
    im_faiss_result result = engine_result(faiss_ParameterSpace_new(&space), message);
    if (result == IM_FAISS_OK) {
        result = engine_result(faiss_ParameterSpace_set_index_parameter(space, index, name, value),
                               message);
        faiss_ParameterSpace_free(space);
    }
    return result;
}

im_faiss_result engine_make(size_t dim, const char *description, size_t ef_construction,
                            void **out_index, char *message)
{
    FaissIndex *index = NULL;
    engine_threads(1);
    im_faiss_result result = engine_result(
        faiss_index_factory(&index, (int)dim, description, METRIC_INNER_PRODUCT), message);
    if (result == IM_FAISS_OK && ef_construction != 0) {
        result = set_parameter(index, "efConstruction", (double)ef_construction, message);
        if (result != IM_FAISS_OK) {
            faiss_Index_free(index);
        }
    }
    if (result == IM_FAISS_OK) {
        *out_index = index;
    }
    return result;
}

im_faiss_result engine_train(void *index, const float *rows, size_t n, int n_threads, char *message)
{
    engine_threads(n_threads);
    im_faiss_result result = engine_result(faiss_Index_train(index, (faiss_idx_t)n, rows), message);
    engine_threads(1);
    return result;
}

im_faiss_result engine_add_labelled(void *index, const float *rows, const int64_t *labels, size_t n,
                                    int n_threads, char *message)
{
    engine_threads(n_threads);
    int code = labels != NULL ? faiss_Index_add_with_ids(index, (faiss_idx_t)n, rows, labels)
                              : faiss_Index_add(index, (faiss_idx_t)n, rows);
    im_faiss_result result = engine_result(code, message);
    engine_threads(1);
    return result;
}

im_faiss_result engine_write(const void *index, FILE *file, char *message)
{
    return engine_result(faiss_write_index(index, file), message);
}

im_faiss_result engine_read(FILE *file, void **out_index, char *message)
{
    FaissIndex *index = NULL;
    engine_threads(1);
    im_faiss_result result = engine_result(faiss_read_index(file, 0, &index), message);
    if (result == IM_FAISS_OK) {
        *out_index = index;
    }
    return result;
}

void engine_describe(void *index, im_faiss_facts *out_facts)
{
    FaissIndexIVF *ivf = faiss_IndexIVF_cast(index); /* the C API has no such cast for HNSW */
    memset(out_facts, 0, sizeof(*out_facts));
    out_facts->kind = ivf != NULL ? IM_FAISS_IVF : IM_FAISS_HNSW;
    out_facts->dim = (size_t)faiss_Index_d(index);
    out_facts->n_rows = (uint64_t)faiss_Index_ntotal(index);
    out_facts->n_lists = ivf != NULL ? faiss_IndexIVF_nlist(ivf) : 0;
    out_facts->is_inner_product = faiss_Index_metric_type(index) == METRIC_INNER_PRODUCT;
}

/* The kind's parameters of one search; freed as what they inherit from. */
static im_faiss_result make_parameters(im_faiss_kind kind, FaissIDSelector *selector, size_t effort,
                                       FaissSearchParameters **out, char *message)
{
    if (kind == IM_FAISS_IVF) {
        FaissSearchParametersIVF *ivf = NULL;
        im_faiss_result result =
            engine_result(faiss_SearchParametersIVF_new_with(&ivf, selector, effort, 0), message);
        *out = ivf;
        return result;
    }
    FaissSearchParametersHNSW *hnsw = NULL;
    int ef = effort < (size_t)INT_MAX ? (int)effort : INT_MAX;
    im_faiss_result result =
        engine_result(faiss_SearchParametersHNSW_new_with(&hnsw, selector, ef), message);
    *out = hnsw;
    return result;
}

im_faiss_result engine_find(const void *index, im_faiss_kind kind, const float *query, size_t k,
                            size_t effort, const uint8_t *bits, size_t n_bytes, float *scores,
                            int64_t *labels, char *message)
{
    FaissIDSelectorBitmap *selector = NULL;
    FaissSearchParameters *parameters = NULL;
    im_faiss_result result = IM_FAISS_OK;
    if (k == 0 || effort == 0) { /* FAISS throws, or finds nothing */
        snprintf(message, IM_FAISS_MESSAGE_BYTES, "k or the effort is 0");
        return IM_FAISS_FAILED;
    }
    engine_threads(1);
    if (bits != NULL) {
        result = engine_result(faiss_IDSelectorBitmap_new(&selector, n_bytes, bits), message);
    }
    if (result == IM_FAISS_OK) {
        result = make_parameters(kind, (FaissIDSelector *)selector, effort, &parameters, message);
    }
    if (result == IM_FAISS_OK) {
        result = engine_result(faiss_Index_search_with_params(index, 1, query, (faiss_idx_t)k,
                                                              parameters, scores, labels),
                               message);
    }
    if (parameters != NULL) {
        faiss_SearchParameters_free(parameters);
    }
    if (selector != NULL) {
        faiss_IDSelectorBitmap_free(selector);
    }
    return result;
}
