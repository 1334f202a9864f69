/* index/columns_words.c — the texts of a column, each once: a hash table while rows come, then an
 * order. Folding is done once a text, here. */
#include "base/base.h"
#include "index/columns_internal.h"
#include <stdlib.h>
#include <string.h>

#define MOST_WORDS (UINT32_MAX / 4)

/* Ends in a file that was cut under us read as zeros: nothing outside the texts is looked at. */
static im_view part_of(const char *data, uint64_t from, uint64_t to, uint64_t limit)
{
    bool sound = from <= to && to <= limit;
    return im_view_of(data + (sound ? from : 0), sound ? (size_t)(to - from) : 0);
}

im_view words_original(const columns_texts *texts, uint32_t word)
{
    uint64_t from = word > 0 ? texts->ends[word - 1].original : 0;
    return part_of(texts->originals, from, texts->ends[word].original, texts->original_bytes);
}

im_view words_folded(const columns_texts *texts, uint32_t word)
{
    uint64_t from = word > 0 ? texts->ends[word - 1].folded : 0;
    im_view with_nul = part_of(texts->folded, from, texts->ends[word].folded, texts->folded_bytes);
    with_nul.size -= with_nul.size > 0;
    return with_nul;
}

columns_texts words_texts(const columns_words *words)
{
    columns_texts texts = {words->n, words->ends, words->originals, words->folded, 0, 0};
    if (words->n > 0) {
        texts.original_bytes = words->ends[words->n - 1].original;
        texts.folded_bytes = words->ends[words->n - 1].folded;
    }
    return texts;
}

int words_compare(im_view a, im_view b)
{
    size_t common = IM_MIN(a.size, b.size);
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* FNV-1a with a last mix: the texts are a library's own, and few. */
static uint64_t hash_of(im_view text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < text.size; i++) {
        hash = (hash ^ (uint8_t)text.data[i]) * 0x100000001b3u;
    }
    return hash ^ (hash >> 29);
}

/* The block with room for `wanted` elements, perhaps moved; NULL when memory is out, the old block
 * then stays. */
static void *grow(void *block, size_t *capacity, size_t wanted, size_t size)
{
    if (block != NULL && wanted <= *capacity) {
        return block;
    }
    size_t larger = IM_MAX(IM_MAX(wanted, *capacity * 2), (size_t)64);
    void *moved = im_realloc(block, larger, size);
    *capacity = moved != NULL ? larger : *capacity;
    return moved;
}

/* Room for one more text that ends at `end`. */
static bool reserve(columns_words *words, columns_end end)
{
    columns_end *ends = grow(words->ends, &words->ends_capacity, words->n + 1, sizeof(columns_end));
    words->ends = ends != NULL ? ends : words->ends;
    char *originals = grow(words->originals, &words->originals_capacity, (size_t)end.original, 1);
    words->originals = originals != NULL ? originals : words->originals;
    char *folded = grow(words->folded, &words->folded_capacity, (size_t)end.folded, 1);
    words->folded = folded != NULL ? folded : words->folded;
    return ends != NULL && originals != NULL && folded != NULL;
}

static size_t place_of(const columns_words *words, im_view text)
{
    columns_texts texts = words_texts(words);
    size_t at = (size_t)hash_of(text) & (words->n_table - 1);
    while (words->table[at] != 0 &&
           !im_view_equal(words_original(&texts, words->table[at] - 1), text)) {
        at = (at + 1) & (words->n_table - 1);
    }
    return at;
}

static bool grow_table(columns_words *words)
{
    if (words->n_table > words->n * 2) {
        return true;
    }
    uint32_t *old = words->table;
    size_t n_table = IM_MAX(words->n_table * 2, (size_t)64);
    uint32_t *table = im_alloc_zero(n_table, sizeof(*table));
    if (table == NULL) {
        return false;
    }
    columns_texts texts = words_texts(words);
    words->table = table;
    words->n_table = n_table;
    for (uint32_t i = 0; i < words->n; i++) {
        table[place_of(words, words_original(&texts, i))] = i + 1;
    }
    im_free(old);
    return true;
}

static im_code add_word(columns_words *words, im_view text, im_error *err)
{
    im_str folded;
    im_str_init(&folded, SIZE_MAX / 2);
    im_text_fold(&folded, text.data, text.size);
    columns_end from = {0};
    if (words->n > 0) {
        from = words->ends[words->n - 1];
    }
    columns_end to = {from.original + text.size, from.folded + folded.size + 1};
    bool fits = !folded.failed && reserve(words, to);
    if (fits) {
        memcpy(words->originals + from.original, text.data, text.size);
        memcpy(words->folded + from.folded, im_str_text(&folded), folded.size + 1);
        words->ends[words->n++] = to;
    }
    im_str_clear(&folded);
    return fits ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for the texts of a column");
}

im_code words_intern(columns_words *words, im_view text, uint32_t *out, im_error *err)
{
    if (text.size == 0) {
        *out = COLUMNS_NO_WORD;
        return IM_OK;
    }
    if (!grow_table(words)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the texts of a column");
    }
    size_t at = place_of(words, text);
    if (words->table[at] == 0) {
        if (words->n >= MOST_WORDS) {
            return im_fail(err, IM_ERR_LIMIT, "a column has more than %u different texts",
                           MOST_WORDS);
        }
        im_code rc = add_word(words, text, err);
        if (rc != IM_OK) {
            return rc;
        }
        words->table[at] = (uint32_t)words->n;
    }
    *out = words->table[at] - 1;
    return IM_OK;
}

static int by_text(const void *a, const void *b, void *context)
{
    const columns_texts *texts = context;
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    int order = words_compare(words_folded(texts, x), words_folded(texts, y));
    return order != 0 ? order : words_compare(words_original(texts, x), words_original(texts, y));
}

void words_sort(const columns_words *words, uint32_t *out_order)
{
    columns_texts texts = words_texts(words);
    for (uint32_t i = 0; i < words->n; i++) {
        out_order[i] = i;
    }
    if (words->n > 1) {
        qsort_r(out_order, words->n, sizeof(*out_order), by_text, &texts);
    }
}

void words_clear(columns_words *words)
{
    im_free(words->ends);
    im_free(words->originals);
    im_free(words->folded);
    im_free(words->table);
    *words = (columns_words){0};
}
