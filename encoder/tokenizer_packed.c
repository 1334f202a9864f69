/* encoder/tokenizer_packed.c — a tokenizer as two pieces of a file of packed weights: what encoding
 * needs, sorted, so that no vocabulary is parsed when a model is opened again. */
#include "encoder/tokenizer_internal.h"

static const char special_piece[] = "tokenizer.special";
static const char merges_piece[] = "tokenizer.merges";

static int compare_merges(const void *a, const void *b)
{
    uint64_t x = ((const merge_slot *)a)->pair;
    uint64_t y = ((const merge_slot *)b)->pair;
    return (x > y) - (x < y);
}

const merge_slot *tokenizer_sorted_merge(const tokenizer *t, uint64_t pair)
{
    size_t from = 0;
    size_t to = t->n_sorted;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (t->sorted[middle].pair < pair) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from < t->n_sorted && t->sorted[from].pair == pair ? &t->sorted[from] : NULL;
}

im_code tokenizer_pack(tokenizer *t, packed_pieces *made, im_error *err)
{
    size_t n = 0;
    t->sorted = im_alloc(t->n_merges + 1, sizeof(*t->sorted));
    if (t->sorted == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for merges");
    }
    for (size_t i = 0; i < t->n_merges; i++) {
        if (t->merges[i].rank != NO_TOKEN) {
            t->sorted[n++] = t->merges[i];
        }
    }
    t->n_sorted = n;
    qsort(t->sorted, n, sizeof(*t->sorted), compare_merges);
    im_code rc = packed_add(made, special_piece, &t->special, sizeof(t->special), err);
    return rc == IM_OK ? packed_add(made, merges_piece, t->sorted, n * sizeof(*t->sorted), err)
                       : rc;
}

/* No id may read past the token table, whatever the file says. */
static bool ids_fit(const tokenizer *t, size_t n_rows)
{
    bool fit = t->special.begin < n_rows && t->special.end < n_rows;
    for (size_t i = 0; i < 256; i++) {
        fit = fit && t->special.byte_id[i] < n_rows && t->special.byte_end_id[i] < n_rows;
    }
    for (size_t i = 0; i < t->n_sorted; i++) {
        fit = fit && t->sorted[i].id < n_rows;
    }
    return fit;
}

/* Copies: the pages of a mapping may change after they were checked. */
static im_code fill(tokenizer *t, packed_file *f, size_t n_rows, im_error *err)
{
    const void *special = NULL;
    const void *merges = NULL;
    size_t bytes = packed_size(f, merges_piece);
    im_code rc = packed_take(f, special_piece, sizeof(t->special), &special, err);
    if (rc == IM_OK) {
        rc = packed_take(f, merges_piece, bytes, &merges, err);
    }
    if (rc == IM_OK) {
        t->n_sorted = bytes / sizeof(*t->sorted);
        t->sorted = im_alloc(t->n_sorted + 1, sizeof(*t->sorted));
        rc = t->sorted != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for merges");
    }
    if (rc == IM_OK) {
        memcpy(&t->special, special, sizeof(t->special));
        memcpy(t->sorted, merges, t->n_sorted * sizeof(*t->sorted));
        if (!ids_fit(t, n_rows)) {
            rc = im_fail(err, IM_ERR_FORMAT, "packed weights: a token id is beyond the table");
        }
    }
    return rc;
}

im_code tokenizer_unpack(packed_file *f, size_t n_rows, tokenizer **out, im_error *err)
{
    tokenizer *t = im_alloc_zero(1, sizeof(*t));
    im_code rc = t != NULL ? fill(t, f, n_rows, err)
                           : im_fail(err, IM_ERR_NOMEM, "no memory for a tokenizer");
    if (rc == IM_OK) {
        *out = t;
        t = NULL;
    }
    tokenizer_close(t);
    return rc;
}
