/* tests/index/help_faiss.c — see help_faiss.h. */
#include "help_faiss.h"

const im_engine both_engines[2] = {IM_ENGINE_IVF, IM_ENGINE_HNSW};
const char *const engine_names[2] = {"ivf", "hnsw"};
const im_faiss_effort as_default = {0};
const im_faiss_effort all_of_it = {.n_probe = 1000, .ef_search = 4000, .candidates = 4};

test_library library;
clusters groups;

void open_clusters(uint64_t seed, size_t n_groups, size_t dim, size_t n)
{
    random_state random = {seed};
    clusters_make(&groups, &random, n_groups, dim);
    clusters_library(&library, &groups, &random, n);
}

int close_clusters(void **state)
{
    (void)state;
    library_free(&library);
    clusters_free(&groups);
    return 0;
}

im_faiss_record build_file(const test_library *of, const uint64_t *alive, im_engine engine,
                           size_t n_lists)
{
    im_faiss_record record;
    im_faiss_build build = {.engine = engine, .n_lists = n_lists, .ef_construction = 60};
    memset(&record, 0, sizeof(record));
    assert_ok(im_index_faiss_build(of->folder, &of->state, alive, &build, &record, err));
    return record;
}

void faiss_path(const test_library *of, const im_faiss_record *record, char out[160])
{
    snprintf(out, 160, "%.95s/%.40s", of->folder, record->name);
}

im_code try_open(const test_library *of, const uint64_t *alive, im_engine engine,
                 const im_faiss_record *record, im_faiss_effort effort, im_index **out_index,
                 im_error *err)
{
    im_index_options options = {.engine = engine, .faiss = record, .effort = effort};
    return im_index_open(of->folder, &of->state, alive, &options, out_index, err);
}

im_index *open_file(const test_library *of, const uint64_t *alive, im_engine engine,
                    const im_faiss_record *record, im_faiss_effort effort)
{
    im_index *index = NULL;
    assert_ok(try_open(of, alive, engine, record, effort, &index, err));
    return index;
}
