/* app/engine_params.c — parameters of the FAISS engines as text: "nlist=4096,nprobe=64". */
#include "app/app_internal.h"

#define PARAM_MAX 1000000000ull

typedef enum param_use { USE_IVF = 1, USE_HNSW = 2, USE_BOTH = 3 } param_use;

typedef struct param {
    const char *name;
    param_use use;
    bool builds; /* else it says how hard a search tries */
    uint64_t min, max;
    size_t field; /* of im_engine_params, a size_t */
} param;

#define FIELD(member) offsetof(im_engine_params, member)

static const param params_table[] = {
    {"nlist", USE_IVF, true, 1, 1u << 24, FIELD(n_lists)},
    {"sample", USE_IVF, true, 1, PARAM_MAX, FIELD(sample)},
    {"m", USE_HNSW, true, 4, 64, FIELD(n_links)},
    {"ef_construction", USE_HNSW, true, 4, 4096, FIELD(ef_construction)},
    {"small", USE_BOTH, true, 0, 1, FIELD(small)},
    {"nprobe", USE_IVF, false, 1, 1u << 24, FIELD(effort.n_probe)},
    {"ef_search", USE_HNSW, false, 1, 65536, FIELD(effort.ef_search)},
    {"candidates", USE_BOTH, false, 1, 10000, FIELD(effort.candidates)},
};

static size_t *field_of(im_engine_params *params, const param *row)
{
    return (size_t *)(void *)((char *)params + row->field);
}

static bool is_of(const param *row, im_engine engine)
{
    return (row->use & (engine == IM_ENGINE_IVF ? USE_IVF : USE_HNSW)) != 0;
}

/* Names those that there are. */
static im_code unknown(im_engine engine, bool only_search, const char *name, size_t size,
                       im_error *err)
{
    im_str known;
    im_str_init(&known, 120);
    for (size_t i = 0; i < IM_COUNT(params_table); i++) {
        const param *row = &params_table[i];
        if (is_of(row, engine) && !(only_search && row->builds)) {
            im_str_addf(&known, "%s%s", known.size > 0 ? ", " : "", row->name);
        }
    }
    im_code rc = im_fail(err, IM_ERR_INVALID, "'%.*s' is no parameter of %s with engine '%s'",
                         (int)IM_MIN(size, (size_t)60), name, only_search ? "a search" : "an index",
                         im_engine_name(engine));
    im_hint(err, "there is: %s", im_str_text(&known));
    im_str_clear(&known);
    return rc;
}

/* Digits alone, no sign, no blank. */
static bool read_number(const char *text, size_t size, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || value > PARAM_MAX) {
            return false;
        }
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return size > 0;
}

/* One "name=number". */
static im_code read_one(im_engine engine, const char *text, size_t size, bool only_search,
                        im_engine_params *out, im_error *err)
{
    const char *equal = memchr(text, '=', size);
    size_t length = equal != NULL ? (size_t)(equal - text) : size;
    for (size_t i = 0; i < IM_COUNT(params_table); i++) {
        const param *row = &params_table[i];
        uint64_t value = 0;
        if (strlen(row->name) != length || memcmp(row->name, text, length) != 0 ||
            !is_of(row, engine) || (only_search && row->builds)) {
            continue;
        }
        if (equal == NULL || !read_number(equal + 1, size - length - 1, &value) ||
            value < row->min || value > row->max) {
            return im_fail(err, IM_ERR_INVALID,
                           "parameter '%.*s' of engine '%s', expected %s=N with N from %llu to "
                           "%llu",
                           (int)IM_MIN(size, (size_t)60), text, im_engine_name(engine), row->name,
                           (unsigned long long)row->min, (unsigned long long)row->max);
        }
        *field_of(out, row) = (size_t)value;
        return IM_OK;
    }
    return unknown(engine, only_search, text, length, err);
}

im_code engine_params_read(im_engine engine, const char *text, bool only_search,
                           im_engine_params *out, im_error *err)
{
    im_engine_params params = *out;
    im_code rc = IM_OK;
    if (!engine_is_faiss(engine)) {
        return im_fail(err, IM_ERR_INVALID, "engine '%s' has no parameters",
                       im_engine_name(engine));
    }
    while (rc == IM_OK && *text != '\0') {
        size_t size = strcspn(text, ",");
        rc = read_one(engine, text, size, only_search, &params, err);
        text += size;
        if (rc == IM_OK && *text == ',' && *++text == '\0') {
            rc = unknown(engine, only_search, "", 0, err);
        }
    }
    if (rc == IM_OK) {
        *out = params;
    }
    return rc;
}

void engine_params_write(const im_engine_params *params, im_engine engine, im_str *out)
{
    im_engine_params copy = *params;
    for (size_t i = 0; i < IM_COUNT(params_table); i++) {
        const param *row = &params_table[i];
        size_t value = *field_of(&copy, row);
        if (value != 0 && is_of(row, engine)) {
            im_str_addf(out, "%s%s=%zu", out->size > 0 ? "," : "", row->name, value);
        }
    }
}
