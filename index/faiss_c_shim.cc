/* index/faiss_c_shim.cc — the functions of FAISS's C API that the module uses, for installations
 * whose libfaiss carries the C headers but none of their symbols (Debian's 1.7.3). Names and
 * signatures are exactly the C API's, checked by the compiler against its headers: where a full
 * libfaiss_c is found, this file is left out and nothing else changes. Every exception ends here,
 * as a code and a sentence kept per thread. */
#include <faiss/AutoTune.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVF.h>
#include <faiss/c_api/AutoTune_c.h>
#include <faiss/c_api/IndexFlat_c.h>
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
#include <cstring>
#include <exception>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

namespace {

/* A plain buffer: keeping the exception object would need memory just when there is none. */
thread_local char last_error[256];

int keep(FaissErrorCode code, const char *what)
{
    std::strncpy(last_error, what, sizeof(last_error) - 1);
    last_error[sizeof(last_error) - 1] = '\0';
    return code;
}

/* Runs body; turns whatever it throws into a code. */
template <typename Body> int guarded(Body body) noexcept
{
    try {
        body();
        return OK;
    } catch (const faiss::FaissException &e) {
        return keep(FAISS_EXCEPT, e.what());
    } catch (const std::exception &e) {
        return keep(STD_EXCEPT, e.what());
    } catch (...) {
        return keep(UNKNOWN_EXCEPT, "an exception of no known type");
    }
}

const faiss::Index *of(const FaissIndex *index)
{
    return reinterpret_cast<const faiss::Index *>(index);
}

faiss::Index *of(FaissIndex *index)
{
    return reinterpret_cast<faiss::Index *>(index);
}

faiss::RangeSearchResult *of(FaissRangeSearchResult *result)
{
    return reinterpret_cast<faiss::RangeSearchResult *>(result);
}

} // namespace

extern "C" {

const char *faiss_get_last_error()
{
    return last_error;
}

int faiss_IndexFlatIP_new_with(FaissIndexFlatIP **p_index, idx_t d)
{
    return guarded([&] {
        *p_index = reinterpret_cast<FaissIndexFlatIP *>(
            static_cast<faiss::Index *>(new faiss::IndexFlatIP(d)));
    });
}

void faiss_Index_free(FaissIndex *index)
{
    delete of(index);
}

idx_t faiss_Index_ntotal(const FaissIndex *index)
{
    return of(index)->ntotal;
}

int faiss_Index_add(FaissIndex *index, idx_t n, const float *x)
{
    return guarded([&] { of(index)->add(n, x); });
}

int faiss_Index_search(const FaissIndex *index, idx_t n, const float *x, idx_t k, float *distances,
                       idx_t *labels)
{
    return guarded([&] { of(index)->search(n, x, k, distances, labels); });
}

int faiss_Index_search_with_params(const FaissIndex *index, idx_t n, const float *x, idx_t k,
                                   const FaissSearchParameters *params, float *distances,
                                   idx_t *labels)
{
    return guarded([&] {
        of(index)->search(n, x, k, distances, labels,
                          reinterpret_cast<const faiss::SearchParameters *>(params));
    });
}

int faiss_SearchParameters_new(FaissSearchParameters **p_sp, FaissIDSelector *sel)
{
    return guarded([&] {
        auto *params = new faiss::SearchParameters;
        params->sel = reinterpret_cast<faiss::IDSelector *>(sel);
        *p_sp = reinterpret_cast<FaissSearchParameters *>(params);
    });
}

void faiss_SearchParameters_free(FaissSearchParameters *obj)
{
    delete reinterpret_cast<faiss::SearchParameters *>(obj);
}

int faiss_IDSelectorBitmap_new(FaissIDSelectorBitmap **p_sel, size_t n, const uint8_t *bitmap)
{
    return guarded([&] {
        *p_sel = reinterpret_cast<FaissIDSelectorBitmap *>(
            static_cast<faiss::IDSelector *>(new faiss::IDSelectorBitmap(n, bitmap)));
    });
}

void faiss_IDSelectorBitmap_free(FaissIDSelectorBitmap *obj)
{
    delete reinterpret_cast<faiss::IDSelector *>(obj);
}

int faiss_Index_range_search(const FaissIndex *index, idx_t n, const float *x, float radius,
                             FaissRangeSearchResult *result)
{
    return guarded([&] { of(index)->range_search(n, x, radius, of(result)); });
}

int faiss_RangeSearchResult_new(FaissRangeSearchResult **p_rsr, idx_t nq)
{
    return guarded([&] {
        *p_rsr = reinterpret_cast<FaissRangeSearchResult *>(
            new faiss::RangeSearchResult(static_cast<size_t>(nq)));
    });
}

void faiss_RangeSearchResult_free(FaissRangeSearchResult *obj)
{
    delete of(obj);
}

void faiss_RangeSearchResult_lims(FaissRangeSearchResult *rsr, size_t **lims)
{
    *lims = of(rsr)->lims;
}

void faiss_RangeSearchResult_labels(FaissRangeSearchResult *rsr, idx_t **labels, float **distances)
{
    *labels = of(rsr)->labels;
    *distances = of(rsr)->distances;
}

/* ---- approximate indexes and their files ---- */

int faiss_Index_d(const FaissIndex *index)
{
    return of(index)->d;
}

FaissMetricType faiss_Index_metric_type(const FaissIndex *index)
{
    return static_cast<FaissMetricType>(of(index)->metric_type);
}

int faiss_Index_train(FaissIndex *index, idx_t n, const float *x)
{
    return guarded([&] { of(index)->train(n, x); });
}

int faiss_Index_add_with_ids(FaissIndex *index, idx_t n, const float *x, const idx_t *xids)
{
    return guarded([&] { of(index)->add_with_ids(n, x, xids); });
}

int faiss_index_factory(FaissIndex **p_index, int d, const char *description,
                        FaissMetricType metric)
{
    return guarded([&] {
        *p_index = reinterpret_cast<FaissIndex *>(
            faiss::index_factory(d, description, static_cast<faiss::MetricType>(metric)));
    });
}

int faiss_ParameterSpace_new(FaissParameterSpace **space)
{
    return guarded(
        [&] { *space = reinterpret_cast<FaissParameterSpace *>(new faiss::ParameterSpace()); });
}

void faiss_ParameterSpace_free(FaissParameterSpace *obj)
{
    delete reinterpret_cast<faiss::ParameterSpace *>(obj);
}

int faiss_ParameterSpace_set_index_parameter(const FaissParameterSpace *space, FaissIndex *index,
                                             const char *name, double value)
{
    return guarded([&] {
        reinterpret_cast<const faiss::ParameterSpace *>(space)->set_index_parameter(of(index), name,
                                                                                    value);
    });
}

int faiss_write_index(const FaissIndex *idx, FILE *f)
{
    return guarded([&] { faiss::write_index(of(idx), f); });
}

int faiss_read_index(FILE *f, int io_flags, FaissIndex **p_out)
{
    return guarded(
        [&] { *p_out = reinterpret_cast<FaissIndex *>(faiss::read_index(f, io_flags)); });
}

FaissIndexIVF *faiss_IndexIVF_cast(FaissIndex *index)
{
    return reinterpret_cast<FaissIndexIVF *>(dynamic_cast<faiss::IndexIVF *>(of(index)));
}

size_t faiss_IndexIVF_nlist(const FaissIndexIVF *index)
{
    return reinterpret_cast<const faiss::IndexIVF *>(index)->nlist;
}

int faiss_SearchParametersIVF_new_with(FaissSearchParametersIVF **p_sp, FaissIDSelector *sel,
                                       size_t nprobe, size_t max_codes)
{
    return guarded([&] {
        auto *params = new faiss::SearchParametersIVF;
        params->sel = reinterpret_cast<faiss::IDSelector *>(sel);
        params->nprobe = nprobe;
        params->max_codes = max_codes;
        *p_sp = reinterpret_cast<FaissSearchParametersIVF *>(
            static_cast<faiss::SearchParameters *>(params));
    });
}

int faiss_SearchParametersHNSW_new_with(FaissSearchParametersHNSW **p_sp, FaissIDSelector *sel,
                                        int efSearch)
{
    return guarded([&] {
        auto *params = new faiss::SearchParametersHNSW;
        params->sel = reinterpret_cast<faiss::IDSelector *>(sel);
        params->efSearch = efSearch;
        *p_sp = reinterpret_cast<FaissSearchParametersHNSW *>(
            static_cast<faiss::SearchParameters *>(params));
    });
}
}
