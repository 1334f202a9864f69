/* tests/index/spy_faiss.c — a module that hands each call on to the real imago-faiss.so, counts
 * them, and fails on request: IMAGO_SPY_REAL names the real one, IMAGO_SPY="call:how" (find, read,
 * …; how is nomem, throw, short, wild or worse) what fails. The test reads the counts through
 * dlsym. */
#include "index/faiss_engine.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((visibility("default"))) size_t spy_reads, spy_finds, spy_open_indexes;

static const im_faiss_engine *real(void)
{
    static const im_faiss_engine *engine;
    if (engine == NULL) {
        void *module = dlopen(getenv("IMAGO_SPY_REAL"), RTLD_NOW | RTLD_LOCAL);
        engine = module != NULL ? dlsym(module, IM_FAISS_ENGINE_SYMBOL) : NULL;
        if (engine == NULL) {
            abort();
        }
    }
    return engine;
}

static int is_asked(const char *call, const char *how)
{
    char wanted[64];
    const char *asked = getenv("IMAGO_SPY");
    snprintf(wanted, sizeof(wanted), "%s:%s", call, how);
    return asked != NULL && strcmp(asked, wanted) == 0;
}

/* IM_FAISS_OK when the call is to go on. */
static im_faiss_result fail_when(const char *call, char *message)
{
    if (is_asked(call, "nomem")) {
        snprintf(message, IM_FAISS_MESSAGE_BYTES, "std::bad_alloc");
        return IM_FAISS_NOMEM;
    }
    if (is_asked(call, "throw")) {
        snprintf(message, IM_FAISS_MESSAGE_BYTES, "Error: 'false' failed");
        return IM_FAISS_FAILED;
    }
    return IM_FAISS_OK;
}

static im_faiss_result spy_make(size_t dim, const char *description, size_t ef_construction,
                                void **out_index, char *message)
{
    im_faiss_result result = fail_when("make", message);
    result = result == IM_FAISS_OK
                 ? real()->make(dim, description, ef_construction, out_index, message)
                 : result;
    spy_open_indexes += result == IM_FAISS_OK;
    return result;
}

static im_faiss_result spy_train(void *index, const float *rows, size_t n, int n_threads,
                                 char *message)
{
    im_faiss_result result = fail_when("train", message);
    return result == IM_FAISS_OK ? real()->train(index, rows, n, n_threads, message) : result;
}

static im_faiss_result spy_add_labelled(void *index, const float *rows, const int64_t *labels,
                                        size_t n, int n_threads, char *message)
{
    im_faiss_result result = fail_when("add", message);
    return result == IM_FAISS_OK ? real()->add_labelled(index, rows, labels, n, n_threads, message)
                                 : result;
}

static im_faiss_result spy_write(const void *index, FILE *file, char *message)
{
    im_faiss_result result = fail_when("write", message);
    return result == IM_FAISS_OK ? real()->write(index, file, message) : result;
}

static im_faiss_result spy_read(FILE *file, void **out_index, char *message)
{
    spy_reads++;
    im_faiss_result result = fail_when("read", message);
    result = result == IM_FAISS_OK ? real()->read(file, out_index, message) : result;
    spy_open_indexes += result == IM_FAISS_OK;
    return result;
}

static void spy_describe(void *index, im_faiss_facts *out_facts)
{
    real()->describe(index, out_facts);
}

static im_faiss_result spy_find(const void *index, im_faiss_kind kind, const float *query, size_t k,
                                size_t effort, const uint8_t *bits, size_t n_bytes, float *scores,
                                int64_t *labels, char *message)
{
    spy_finds++;
    im_faiss_result result = fail_when("find", message);
    if (result == IM_FAISS_OK) {
        result =
            real()->find(index, kind, query, k, effort, bits, n_bytes, scores, labels, message);
    }
    if (is_asked("find", "short")) {
        labels[0] = -1;
    } else if (is_asked("find", "wild")) {
        labels[0] = INT64_MAX;
    } else if (is_asked("find", "worse")) { /* scores that say nothing */
        for (size_t i = 0; i < k; i++) {
            scores[i] = 6.8e37F;
        }
    }
    return result;
}

static void spy_close(void *index)
{
    spy_open_indexes--;
    real()->close(index);
}

extern const im_faiss_engine im_faiss_engine_v2;
__attribute__((visibility("default"))) const im_faiss_engine im_faiss_engine_v2 = {
    .version = IM_FAISS_ENGINE_VERSION,
    .struct_bytes = sizeof(im_faiss_engine),
    .close = spy_close,
    .make = spy_make,
    .train = spy_train,
    .add_labelled = spy_add_labelled,
    .write = spy_write,
    .read = spy_read,
    .describe = spy_describe,
    .find = spy_find,
};
