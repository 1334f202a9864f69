/* encoder/tokenizer.c — CLIP's byte-level BPE, as transformers' CLIPTokenizer does it: special
 * tokens are cut out of the raw text; the rest is brought to NFC, runs of white space become one
 * blank, letters become lower case (each by itself, so no final sigma); then the pattern
 *   's|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
 * cuts words, whose bytes are merged by rank. Merging uses a heap and a linked list: a word of n
 * bytes costs n log n. */
#include "base/text_marks.h"
#include "encoder/tokenizer_internal.h"

#include <utf8proc.h>

typedef struct piece {
    uint32_t id;
    size_t before, after; /* linked list; SIZE_MAX at the ends */
} piece;

typedef struct candidate {
    uint32_t rank, left, right, joined;
    size_t at;
} candidate;

typedef struct merger {
    piece *pieces;
    candidate *heap;
    size_t n_heap;
} merger;

/* ---- merging ---- */

static bool goes_first(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(merger *m, candidate c)
{
    size_t i = m->n_heap++;
    while (i > 0 && goes_first(&c, &m->heap[(i - 1) / 2])) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = c;
}

static candidate pop(merger *m)
{
    candidate top = m->heap[0];
    candidate last = m->heap[--m->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->n_heap) {
            break;
        }
        if (child + 1 < m->n_heap && goes_first(&m->heap[child + 1], &m->heap[child])) {
            child++;
        }
        if (!goes_first(&m->heap[child], &last)) {
            break;
        }
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

static void offer(const tokenizer *t, merger *m, size_t at)
{
    size_t next = m->pieces[at].after;
    if (next == SIZE_MAX) {
        return;
    }
    const merge_slot *merge = tokenizer_merge(t, m->pieces[at].id, m->pieces[next].id);
    if (merge != NULL) {
        push(m, (candidate){merge->rank, m->pieces[at].id, m->pieces[next].id, merge->id, at});
    }
}

/* Merges the bytes of one word; appends its ids. Each merge offers at most two new candidates, so
 * the heap holds fewer than 3 n. */
static void merge_word(const tokenizer *t, merger *m, const unsigned char *word, size_t n,
                       uint32_t *ids, size_t *n_ids)
{
    m->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        m->pieces[i].id =
            i + 1 == n ? t->special.byte_end_id[word[i]] : t->special.byte_id[word[i]];
        m->pieces[i].before = i == 0 ? SIZE_MAX : i - 1;
        m->pieces[i].after = i + 1 == n ? SIZE_MAX : i + 1;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        offer(t, m, i);
    }
    while (m->n_heap > 0) {
        candidate c = pop(m);
        piece *left = &m->pieces[c.at];
        size_t next = left->after;
        if (left->id != c.left || next == SIZE_MAX || m->pieces[next].id != c.right) {
            continue; /* one of the two is part of another piece by now */
        }
        left->id = c.joined;
        left->after = m->pieces[next].after;
        m->pieces[next].id = NO_TOKEN;
        if (left->after != SIZE_MAX) {
            m->pieces[left->after].before = c.at;
        }
        offer(t, m, c.at);
        if (left->before != SIZE_MAX) {
            offer(t, m, left->before);
        }
    }
    for (size_t i = 0; i != SIZE_MAX && n > 0; i = m->pieces[i].after) {
        ids[(*n_ids)++] = m->pieces[i].id;
    }
}

/* ---- words ---- */

typedef enum char_kind { KIND_BLANK, KIND_LETTER, KIND_NUMBER, KIND_OTHER } char_kind;

static bool is_blank(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static char_kind kind_of(uint32_t c)
{
    if (is_blank(c)) {
        return KIND_BLANK;
    }
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return KIND_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return KIND_NUMBER;
    default:
        return KIND_OTHER;
    }
}

static size_t contraction(const char *text, size_t size)
{
    static const char *const endings[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < IM_COUNT(endings); i++) {
        size_t n = strlen(endings[i]);
        if (size >= n && memcmp(text, endings[i], n) == 0) {
            return n;
        }
    }
    return 0;
}

/* Length in bytes of the word at the start of text (which starts with no blank). */
static size_t word_length(const char *text, size_t size)
{
    uint32_t code = 0;
    size_t at = contraction(text, size);
    if (at > 0) {
        return at;
    }
    at = im_utf8_decode(text, size, &code);
    char_kind kind = kind_of(code);
    if (kind == KIND_NUMBER) {
        return at;
    }
    while (at < size) {
        size_t n = im_utf8_decode(text + at, size - at, &code);
        if (kind_of(code) != kind) {
            break;
        }
        at += n;
    }
    return at;
}

static size_t lower(uint32_t code, char *out)
{
    if (code == 0x130) { /* İ: the one letter whose lower case is two */
        memcpy(out, "i\xcc\x87", 3);
        return 3;
    }
    return im_utf8_encode((uint32_t)utf8proc_tolower((utf8proc_int32_t)code), out);
}

/* ---- NFC ---- */

#define MOST_CODES 4u /* of one code point's canonical decomposition */

/* NFC of one stretch of valid UTF-8: *out_n code points in *out_codes (im_free). */
static im_code compose(im_view text, utf8proc_int32_t **out_codes, size_t *out_n, im_error *err)
{
    const utf8proc_option_t options = UTF8PROC_COMPOSE | UTF8PROC_STABLE;
    size_t room = MOST_CODES * text.size;
    utf8proc_int32_t *codes = im_alloc(room, sizeof(*codes));
    uint64_t *keys = im_alloc(room, sizeof(*keys));
    int boundary = 0;
    size_t n = 0;
    im_code rc = codes != NULL && keys != NULL
                     ? IM_OK
                     : im_fail(err, IM_ERR_NOMEM, "no memory for a text of %zu bytes", text.size);
    for (size_t at = 0; rc == IM_OK && at < text.size;) {
        uint32_t code = 0;
        at += im_utf8_decode(text.data + at, text.size - at, &code);
        utf8proc_ssize_t more = utf8proc_decompose_char(
            (utf8proc_int32_t)code, codes + n, (utf8proc_ssize_t)(room - n), options, &boundary);
        if (more < 0 || (size_t)more > room - n) {
            rc = im_fail(err, IM_ERR_INTERNAL, "a text grew beyond its room");
        }
        n += (size_t)more;
    }
    if (rc == IM_OK) {
        im_text_order_marks(codes, n, keys);
        *out_n = (size_t)utf8proc_normalize_utf32(codes, (utf8proc_ssize_t)n, options);
        *out_codes = codes;
        codes = NULL;
    }
    im_free(codes);
    im_free(keys);
    return rc;
}

/* NFC, then lower case, of one stretch of text. */
static im_code normalise(im_view text, im_str *out, im_error *err)
{
    utf8proc_int32_t *codes = NULL;
    size_t n = 0;
    im_code rc = compose(text, &codes, &n, err);
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        char bytes[8];
        im_str_add(out, bytes, lower((uint32_t)codes[i], bytes));
    }
    im_free(codes);
    if (rc == IM_OK && out->failed) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a text");
    }
    return rc;
}

static im_code encode_stretch(const tokenizer *t, im_view text, uint32_t *ids, size_t *n_ids,
                              im_error *err)
{
    im_str low;
    merger m = {0};
    im_str_init(&low, 8 * IM_LIMIT_QUERY_BYTES + 64);
    im_code rc = text.size > 0 ? normalise(text, &low, err) : IM_OK;
    if (rc == IM_OK && low.size > 0) {
        m.pieces = im_alloc(low.size, sizeof(*m.pieces));
        m.heap = im_alloc(3 * low.size, sizeof(*m.heap));
        if (m.pieces == NULL || m.heap == NULL) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for a text");
        }
    }
    for (size_t at = 0; rc == IM_OK && at < low.size;) {
        uint32_t code = 0;
        size_t n = im_utf8_decode(low.data + at, low.size - at, &code);
        if (is_blank(code)) {
            at += n;
            continue;
        }
        n = word_length(low.data + at, low.size - at);
        merge_word(t, &m, (const unsigned char *)low.data + at, n, ids, n_ids);
        at += n;
    }
    im_free(m.pieces);
    im_free(m.heap);
    im_str_clear(&low);
    return rc;
}

/* Length of a special token at the start of text, 0 when there is none. */
static size_t special_at(const tokenizer *t, const char *text, size_t size, uint32_t *out_id)
{
    if (size >= 15 && memcmp(text, "<|startoftext|>", 15) == 0) {
        *out_id = t->special.begin;
        return 15;
    }
    if (size >= 13 && memcmp(text, "<|endoftext|>", 13) == 0) {
        *out_id = t->special.end;
        return 13;
    }
    return 0;
}

im_code tokenizer_encode(const tokenizer *t, im_view text, size_t context, uint32_t *ids,
                         size_t *out_n, bool *out_cut, im_error *err)
{
    /* no text has more tokens than bytes after normalising, which grows them sixfold at most */
    uint32_t *all = im_alloc(6 * text.size + 16, sizeof(*all));
    size_t n = 0;
    size_t from = 0;
    im_code rc = all != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a text");
    for (size_t at = 0; rc == IM_OK && at <= text.size;) {
        uint32_t special = 0;
        size_t length = special_at(t, text.data + at, text.size - at, &special);
        if (length == 0 && at < text.size) {
            at++;
            continue;
        }
        rc = encode_stretch(t, im_view_of(text.data + from, at - from), all, &n, err);
        if (length == 0) {
            break;
        }
        all[n++] = special;
        at += length;
        from = at;
    }
    if (rc == IM_OK) {
        size_t kept = IM_MIN(n, context - 2);
        ids[0] = t->special.begin;
        memcpy(ids + 1, all, kept * sizeof(*ids));
        ids[kept + 1] = t->special.end;
        *out_n = kept + 2;
        if (out_cut != NULL) {
            *out_cut = kept < n;
        }
    }
    im_free(all);
    return rc;
}
