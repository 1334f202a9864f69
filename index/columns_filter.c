/* index/columns_filter.c — which rows meet a condition: chunk by chunk, so that what is between the
 * leaves of a tree stays in the nearest cache, and a chunk that one of several conditions leaves
 * empty is not looked at by the others. Over the file's values go those of the patch, row by row.
 */
#include "base/base.h"
#include "index/columns_kernels_internal.h"
#include "index/conditions_internal.h"
#include <string.h>

typedef struct filter_run {
    im_columns *columns;
    const columns_kernels *kernels;
    uint64_t *scratch; /* [n_levels, COLUMNS_CHUNK_WORDS] */
    uint64_t first;    /* slot of the chunk */
    size_t n, n_words; /* slots and words of the chunk */
    size_t n_in_file;  /* slots that the file has */
} filter_run;

/* ---- values of the file ---- */

static im_code touch(const filter_run *filter, const columns_column *column, im_error *err)
{
    size_t size = columns_value_bytes(column->kind);
    return columns_touch(filter->columns, &column->entry->values, filter->first * size,
                         filter->n_in_file * size, err);
}

static const uint8_t *values_of(const filter_run *filter, const columns_column *column)
{
    return column->entry->values.data + filter->first * columns_value_bytes(column->kind);
}

static void longitudes(const filter_run *filter, const condition_plan *plan, const double *values,
                       uint64_t *bits, uint64_t *scratch)
{
    size_t n = filter->n_in_file;
    if (plan->west <= plan->east) {
        filter->kernels->numbers(values, n, plan->west, plan->east, bits);
        return;
    }
    filter->kernels->numbers(values, n, plan->west, 180, bits);
    filter->kernels->numbers(values, n, -180, plan->east, scratch);
    for (size_t i = 0; i < columns_words_of(n); i++) {
        bits[i] |= scratch[i];
    }
}

static bool is_near(const condition_plan *plan, double latitude, double longitude)
{
    return conditions_metres(plan->near[0], plan->near[1], latitude, longitude) <= plan->near[2];
}

static im_code places(const filter_run *filter, const condition_plan *plan, uint64_t *bits,
                      im_error *err)
{
    uint64_t along[COLUMNS_CHUNK_WORDS], scratch[COLUMNS_CHUNK_WORDS];
    im_code rc = touch(filter, plan->longitude, err);
    if (rc != IM_OK) {
        return rc;
    }
    const void *lat_bytes = values_of(filter, plan->column);
    const void *lon_bytes = values_of(filter, plan->longitude);
    const double *latitude = lat_bytes;
    const double *longitude = lon_bytes;
    filter->kernels->numbers(latitude, filter->n_in_file, plan->min, plan->max, bits);
    longitudes(filter, plan, longitude, along, scratch);
    for (size_t i = 0; i < columns_words_of(filter->n_in_file); i++) {
        bits[i] &= along[i];
        for (uint64_t left = bits[i]; plan->kind == IM_CONDITION_NEAR && left != 0;
             left &= left - 1) {
            size_t at = i * 64 + (size_t)__builtin_ctzll(left);
            if (!is_near(plan, latitude[at], longitude[at])) {
                bits[i] &= ~(left & -left);
            }
        }
    }
    return IM_OK;
}

static im_code leaf_of_file(const filter_run *filter, const condition_plan *plan, uint64_t *bits,
                            im_error *err)
{
    size_t n = filter->n_in_file;
    memset(bits, 0, filter->n_words * sizeof(*bits));
    if (n == 0 || plan->column->entry == NULL) {
        return IM_OK;
    }
    im_code rc = touch(filter, plan->column, err);
    if (rc != IM_OK) {
        return rc;
    }
    const void *values = values_of(filter, plan->column);
    switch (plan->kind) {
    case IM_CONDITION_INTEGERS:
        filter->kernels->integers(values, n, plan->min_i, plan->max_i, bits);
        break;
    case IM_CONDITION_NUMBERS:
        filter->kernels->numbers(values, n, plan->min, plan->max, bits);
        break;
    case IM_CONDITION_TEXT_EQUAL: /* "no value" is larger than every word */
        filter->kernels->words(values, n, plan->set, plan->n_set, bits);
        break;
    default:
        rc = plan->longitude->entry != NULL ? places(filter, plan, bits, err) : IM_OK;
    }
    return rc;
}

/* ---- values of the patch ---- */

static double number_of(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

static bool place_passes(const condition_plan *plan, double latitude, double longitude)
{
    bool along = plan->west <= plan->east ? longitude >= plan->west && longitude <= plan->east
                                          : (longitude >= plan->west && longitude <= 180) ||
                                                (longitude >= -180 && longitude <= plan->east);
    return latitude >= plan->min && latitude <= plan->max && along &&
           (plan->kind == IM_CONDITION_BOX || is_near(plan, latitude, longitude));
}

static bool row_passes(const im_columns *columns, const condition_plan *plan, size_t row)
{
    uint64_t bits = columns_bits(columns, plan->column, 0, row);
    switch (plan->kind) {
    case IM_CONDITION_INTEGERS:
        return (int64_t)bits >= plan->min_i && (int64_t)bits <= plan->max_i;
    case IM_CONDITION_NUMBERS:
        return number_of(bits) >= plan->min && number_of(bits) <= plan->max;
    case IM_CONDITION_TEXT_EQUAL:
        bits -= bits != COLUMNS_NO_WORD ? plan->n_set : 0;
        return bits < plan->n_patched_set && (plan->patched_set[bits / 32] >> (bits % 32) & 1) != 0;
    default:
        return place_passes(plan, number_of(bits),
                            number_of(columns_bits(columns, plan->longitude, 0, row)));
    }
}

static void lay_patch_over(const filter_run *filter, const condition_plan *plan, uint64_t *bits)
{
    const columns_patch *patch = &filter->columns->patch;
    if (patch->n == 0) {
        return;
    }
    for (size_t row = columns_patch_from(filter->columns, filter->first);
         row < patch->n && patch->slots[row] - filter->first < filter->n; row++) {
        uint64_t at = patch->slots[row] - filter->first;
        uint64_t bit = UINT64_C(1) << (at % 64);
        bits[at / 64] &= ~bit;
        bits[at / 64] |= row_passes(filter->columns, plan, row) ? bit : 0;
    }
}

/* ---- the tree ---- */

static void slots_of(const filter_run *filter, const condition_plan *plan, uint64_t *bits)
{
    for (size_t i = 0; i < filter->n_words; i++) {
        uint64_t from = filter->first + i * 64;
        uint64_t left = plan->n_slots > from ? plan->n_slots - from : 0;
        bits[i] = left == 0    ? 0
                  : left >= 64 ? plan->slots[from / 64]
                               : plan->slots[from / 64] & ((UINT64_C(1) << left) - 1);
    }
}

static bool none(const uint64_t *bits, size_t n_words)
{
    uint64_t any = 0;
    for (size_t i = 0; i < n_words; i++) {
        any |= bits[i];
    }
    return any == 0;
}

/* Bits behind the last slot of the chunk may be anything: the whole is cut at the end. */
static im_code evaluate(const filter_run *filter, const condition_plan *plan, unsigned level,
                        uint64_t *bits, im_error *err)
{
    uint64_t *other = filter->scratch + (size_t)level * COLUMNS_CHUNK_WORDS;
    bool all = plan->kind == IM_CONDITION_AND;
    if (plan->kind == IM_CONDITION_SLOTS) {
        slots_of(filter, plan, bits);
        return IM_OK;
    }
    if (plan->kind > IM_CONDITION_NOT) {
        im_code rc = leaf_of_file(filter, plan, bits, err);
        lay_patch_over(filter, plan, bits);
        return rc;
    }
    if (plan->kind == IM_CONDITION_NOT) {
        im_code rc = evaluate(filter, &plan->children[0], level, bits, err);
        for (size_t i = 0; i < filter->n_words; i++) {
            bits[i] = ~bits[i];
        }
        return rc;
    }
    memset(bits, all ? 0xff : 0, filter->n_words * sizeof(*bits));
    for (size_t i = 0; i < plan->n_children; i++) {
        im_code rc = evaluate(filter, &plan->children[i], level + 1, other, err);
        if (rc != IM_OK) {
            return rc;
        }
        for (size_t j = 0; j < filter->n_words; j++) {
            bits[j] = all ? bits[j] & other[j] : bits[j] | other[j];
        }
        if (all && none(bits, filter->n_words)) {
            break;
        }
    }
    return IM_OK;
}

static unsigned levels_of(const condition_plan *plan)
{
    unsigned most = 0;
    for (size_t i = 0; i < plan->n_children; i++) {
        unsigned levels = levels_of(&plan->children[i]);
        most = IM_MAX(most, levels);
    }
    return most + 1;
}

static im_code filter_chunk(filter_run *filter, const condition_plan *plan, const uint64_t *alive,
                            uint64_t *bits, im_error *err)
{
    if (alive != NULL && none(alive, filter->n_words)) {
        memset(bits, 0, filter->n_words * sizeof(*bits));
        return IM_OK;
    }
    im_code rc = evaluate(filter, plan, 0, bits, err);
    for (size_t i = 0; alive != NULL && i < filter->n_words; i++) {
        bits[i] &= alive[i];
    }
    size_t rest = filter->n % 64;
    if (rest != 0) {
        bits[filter->n_words - 1] &= (UINT64_C(1) << rest) - 1;
    }
    return rc;
}

static im_code filter_all(filter_run *filter, const condition_plan *plan, const uint64_t *alive,
                          uint64_t *out_bits, uint64_t *out_count, im_error *err)
{
    const im_columns *columns = filter->columns;
    uint64_t in_file = IM_MIN(columns->layout.n_rows, columns->n_rows);
    uint64_t count = 0;
    for (uint64_t first = 0; first < columns->n_rows; first += COLUMNS_CHUNK) {
        size_t word = (size_t)(first / 64);
        filter->first = first;
        filter->n = (size_t)IM_MIN(columns->n_rows - first, (uint64_t)COLUMNS_CHUNK);
        filter->n_words = columns_words_of(filter->n);
        filter->n_in_file = 0;
        if (in_file > first) {
            filter->n_in_file = (size_t)IM_MIN(in_file - first, (uint64_t)filter->n);
        }
        im_code rc =
            filter_chunk(filter, plan, alive != NULL ? alive + word : NULL, out_bits + word, err);
        if (rc != IM_OK) {
            return rc;
        }
        for (size_t i = 0; i < filter->n_words; i++) {
            count += (uint64_t)__builtin_popcountll(out_bits[word + i]);
        }
    }
    im_code rc = columns_check_map(columns, err);
    if (rc == IM_OK && out_count != NULL) {
        *out_count = count;
    }
    return rc;
}

im_code im_columns_filter(im_columns *columns, const im_condition *condition, const uint64_t *alive,
                          uint64_t *out_bits, uint64_t *out_count, im_error *err)
{
    filter_run filter = {.columns = columns, .kernels = columns_kernels_choose()};
    condition_plan plan;
    const im_condition everything = {.kind = IM_CONDITION_AND};
    im_code rc =
        conditions_plan(columns, condition != NULL ? condition : &everything, 0, &plan, err);
    if (rc != IM_OK) {
        goto out;
    }
    filter.scratch = im_alloc(levels_of(&plan), COLUMNS_CHUNK_WORDS * sizeof(*filter.scratch));
    if (filter.scratch == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a condition");
        goto out;
    }
    rc = filter_all(&filter, &plan, alive, out_bits, out_count, err);
out:
    im_free(filter.scratch);
    conditions_clear(&plan);
    return rc;
}
