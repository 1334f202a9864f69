/* encoder/tokenizer_load.c — vocab.json with merges.txt, or tokenizer.json, into hash tables. Each
 * id is checked against the token table of the weights before it is kept: no id ever reads past it.
 */
#include "base/clock.h"
#include "encoder/tokenizer_internal.h"

#define MAX_MERGES 2000000u /* CLIP has 48,894; a table of this many takes 64 MiB */

static uint64_t hash_text(uint64_t seed, const char *text, size_t size)
{
    uint64_t hash = 1469598103934665603ull ^ seed; /* FNV-1a */
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211ull;
    }
    return hash ^ hash >> 29;
}

static uint64_t hash_pair(uint64_t seed, uint64_t pair)
{
    pair = (pair ^ seed) * 0x9e3779b97f4a7c15ull;
    pair = (pair ^ pair >> 29) * (seed | 1);
    return pair ^ pair >> 32;
}

uint32_t tokenizer_word(const tokenizer *t, const char *text, size_t size)
{
    for (size_t at = (size_t)hash_text(t->seed, text, size);; at++) {
        const word_slot *slot = &t->words[at & (t->n_words - 1)];
        if (slot->text == NULL) {
            return NO_TOKEN;
        }
        if (slot->size == size && memcmp(slot->text, text, size) == 0) {
            return slot->id;
        }
    }
}

const merge_slot *tokenizer_merge(const tokenizer *t, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    if (t->merges == NULL) {
        return tokenizer_sorted_merge(t, pair);
    }
    for (size_t at = (size_t)hash_pair(t->seed, pair);; at++) {
        const merge_slot *slot = &t->merges[at & (t->n_merges - 1)];
        if (slot->rank == NO_TOKEN) {
            return NULL;
        }
        if (slot->pair == pair) {
            return slot;
        }
    }
}

static size_t table_size(size_t n)
{
    size_t size = 16;
    while (size < 2 * n + 2) {
        size *= 2;
    }
    return size;
}

static im_code wrong(im_error *err, const char *file, const char *what, const char *entry)
{
    return im_fail_as(err, IM_REASON_MODEL_TOKENIZER, "tokenizer '%s': %s '%.80s'", file, what,
                      entry);
}

/* ---- vocabulary ---- */

static im_code put_word(tokenizer *t, const char *text, uint32_t id, im_error *err)
{
    size_t size = strlen(text);
    size_t at = (size_t)hash_text(t->seed, text, size);
    while (t->words[at & (t->n_words - 1)].text != NULL) {
        at++;
    }
    word_slot *slot = &t->words[at & (t->n_words - 1)];
    slot->text = im_strdup(text);
    slot->size = (uint32_t)size;
    slot->id = id;
    return slot->text != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a vocabulary");
}

static im_code load_words(tokenizer *t, const json_t *vocabulary, size_t n_rows, const char *file,
                          im_error *err)
{
    const char *text = NULL;
    json_t *value = NULL;
    if (!json_is_object(vocabulary) || json_object_size(vocabulary) == 0 ||
        json_object_size(vocabulary) > 10000000) {
        return wrong(err, file, "has no vocabulary in", "vocab");
    }
    bool *used = im_alloc_zero(n_rows, 1);
    t->n_words = table_size(json_object_size(vocabulary));
    t->words = im_alloc_zero(t->n_words, sizeof(*t->words));
    im_code rc = used != NULL && t->words != NULL
                     ? IM_OK
                     : im_fail(err, IM_ERR_NOMEM, "no memory for a vocabulary");
    /* the macro wants it without const; nothing is changed */
    json_object_foreach((json_t *)(uintptr_t)vocabulary, text, value)
    {
        json_int_t id = json_integer_value(value);
        if (rc != IM_OK) {
            break;
        }
        if (!json_is_integer(value)) {
            rc = wrong(err, file, "expected a whole number as id of", text);
        } else if (id < 0 || (uint64_t)id >= n_rows) {
            rc = im_fail_as(err, IM_REASON_MODEL_TOKENIZER,
                            "tokenizer '%s': '%.80s' has id %lld, the token table has %zu rows",
                            file, text, (long long)id, n_rows);
        } else if (used[id]) {
            rc = wrong(err, file, "an id stands twice, the second time for", text);
        } else {
            used[id] = true;
            rc = put_word(t, text, (uint32_t)id, err);
        }
    }
    im_free(used);
    return rc;
}

/* GPT-2's bytes_to_unicode: printable bytes are themselves, the others follow from 256. */
static void byte_codes(uint32_t codes[256])
{
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; b++) {
        bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174);
        codes[b] = printable ? b : next++;
    }
}

static im_code find_specials(tokenizer *t, const char *file, im_error *err)
{
    uint32_t codes[256];
    byte_codes(codes);
    for (size_t b = 0; b < 256; b++) {
        char text[16];
        size_t n = im_utf8_encode(codes[b], text);
        t->special.byte_id[b] = tokenizer_word(t, text, n);
        memcpy(text + n, "</w>", 5);
        t->special.byte_end_id[b] = tokenizer_word(t, text, n + 4);
        if (t->special.byte_id[b] == NO_TOKEN || t->special.byte_end_id[b] == NO_TOKEN) {
            text[t->special.byte_id[b] == NO_TOKEN ? n : n + 4] =
                '\0'; /* the one that is missing */
            return wrong(err, file, "the vocabulary lacks the byte token", text);
        }
    }
    t->special.begin = tokenizer_word(t, "<|startoftext|>", 15);
    t->special.end = tokenizer_word(t, "<|endoftext|>", 13);
    if (t->special.begin == NO_TOKEN || t->special.end == NO_TOKEN) {
        return wrong(err, file, "the vocabulary lacks", "<|startoftext|> or <|endoftext|>");
    }
    return IM_OK;
}

/* ---- merges ---- */

static im_code put_merge(tokenizer *t, im_view left, im_view right, uint32_t rank, const char *file,
                         im_error *err)
{
    char joined[512];
    char shown[64];
    uint32_t a = tokenizer_word(t, left.data, left.size);
    uint32_t b = tokenizer_word(t, right.data, right.size);
    uint32_t both = NO_TOKEN;
    if (left.size + right.size < sizeof(joined)) {
        memcpy(joined, left.data, left.size);
        memcpy(joined + left.size, right.data, right.size);
        both = tokenizer_word(t, joined, left.size + right.size);
    }
    if (a == NO_TOKEN || b == NO_TOKEN || both == NO_TOKEN) {
        (void)snprintf(shown, sizeof(shown), "%.*s %.*s", (int)IM_MIN(left.size, (size_t)24),
                       left.data, (int)IM_MIN(right.size, (size_t)24), right.data);
        return wrong(err, file, "a merge of tokens that the vocabulary lacks:", shown);
    }
    uint64_t pair = (uint64_t)a << 32 | b;
    size_t at = (size_t)hash_pair(t->seed, pair);
    while (t->merges[at & (t->n_merges - 1)].rank != NO_TOKEN) {
        if (t->merges[at & (t->n_merges - 1)].pair == pair) {
            return IM_OK; /* the first one has the better rank */
        }
        at++;
    }
    t->merges[at & (t->n_merges - 1)] = (merge_slot){pair, rank, both};
    return IM_OK;
}

static im_code new_merges(tokenizer *t, size_t n, const char *file, im_error *err)
{
    if (n > MAX_MERGES) {
        return im_fail_as(err, IM_REASON_MODEL_TOKENIZER,
                          "tokenizer '%s': %zu merges, the limit is %u", file, n, MAX_MERGES);
    }
    t->n_merges = table_size(n);
    t->merges = im_alloc(t->n_merges, sizeof(*t->merges));
    if (t->merges == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for merges");
    }
    for (size_t i = 0; i < t->n_merges; i++) {
        t->merges[i].rank = NO_TOKEN;
    }
    return IM_OK;
}

/* One line: "left right". */
static im_code line_merge(tokenizer *t, const char *line, size_t size, uint32_t rank,
                          const char *file, im_error *err)
{
    const char *blank = memchr(line, ' ', size);
    if (blank == NULL || memchr(blank + 1, ' ', size - (size_t)(blank + 1 - line)) != NULL) {
        char shown[64];
        (void)snprintf(shown, sizeof(shown), "%.*s", (int)IM_MIN(size, (size_t)60), line);
        return wrong(err, file, "a merge is not two tokens:", shown);
    }
    return put_merge(t, im_view_of(line, (size_t)(blank - line)),
                     im_view_of(blank + 1, size - (size_t)(blank + 1 - line)), rank, file, err);
}

static im_code load_merge_lines(tokenizer *t, const im_bytes *bytes, const char *file,
                                im_error *err)
{
    const char *text = (const char *)bytes->data;
    size_t n_lines = 0;
    uint32_t rank = 0;
    for (size_t i = 0; i < bytes->size; i++) {
        n_lines += text[i] != '\n' && (i == 0 || text[i - 1] == '\n');
    }
    im_code rc = new_merges(t, n_lines, file, err);
    for (size_t at = 0; at < bytes->size && rc == IM_OK;) {
        const char *end = memchr(text + at, '\n', bytes->size - at);
        size_t size = end != NULL ? (size_t)(end - text) - at : bytes->size - at;
        size_t next = at + size + 1;
        if (size > 0 && text[at + size - 1] == '\r') {
            size--;
        }
        if (size > 0 && !(at == 0 && text[0] == '#')) {
            rc = line_merge(t, text + at, size, rank++, file, err);
        }
        at = next;
    }
    return rc;
}

static im_code load_merge_array(tokenizer *t, const json_t *array, const char *file, im_error *err)
{
    if (!json_is_array(array)) {
        return wrong(err, file, "has no list of merges in", "model");
    }
    im_code rc = new_merges(t, json_array_size(array), file, err);
    for (size_t i = 0; i < json_array_size(array) && rc == IM_OK; i++) {
        const json_t *entry = json_array_get(array, i);
        const char *left = json_string_value(json_array_get(entry, 0));
        const char *right = json_string_value(json_array_get(entry, 1));
        if (json_is_string(entry)) {
            rc = line_merge(t, json_string_value(entry), json_string_length(entry), (uint32_t)i,
                            file, err);
        } else if (left != NULL && right != NULL) {
            rc = put_merge(t, im_view_from(left), im_view_from(right), (uint32_t)i, file, err);
        } else {
            rc = wrong(err, file, "a merge is not two tokens", "");
        }
    }
    return rc;
}

/* ---- files ---- */

static im_code load_pair(tokenizer *t, const json_t *vocabulary, const char *vocab,
                         const char *merges, size_t n_rows, im_error *err)
{
    im_bytes bytes = {0};
    im_code rc = load_words(t, vocabulary, n_rows, vocab, err);
    if (rc == IM_OK) {
        rc = find_specials(t, vocab, err);
    }
    if (rc == IM_OK) {
        rc = im_file_read(merges, IM_LIMIT_MODEL_JSON_BYTES, &bytes, err);
    }
    if (rc == IM_OK) {
        rc = load_merge_lines(t, &bytes, merges, err);
    }
    im_bytes_clear(&bytes);
    return rc;
}

/* A tokenizer.json of another kind would cut words in another way without a word of warning. */
static im_code check_kind(const json_t *model, const char *file, im_error *err)
{
    const json_t *type = json_object_get(model, "type");
    const json_t *suffix = json_object_get(model, "end_of_word_suffix");
    if (type != NULL && !(json_is_string(type) && strcmp(json_string_value(type), "BPE") == 0)) {
        return wrong(err, file, "expected a model of type BPE, found",
                     json_is_string(type) ? json_string_value(type) : "no text");
    }
    if (suffix != NULL &&
        !(json_is_string(suffix) && strcmp(json_string_value(suffix), "</w>") == 0)) {
        return wrong(err, file, "expected </w> as end_of_word_suffix, found",
                     json_is_string(suffix) ? json_string_value(suffix) : "no text");
    }
    return IM_OK;
}

static im_code load_whole(tokenizer *t, const json_t *root, const char *path, size_t n_rows,
                          im_error *err)
{
    const json_t *model = json_object_get(root, "model");
    im_code rc = check_kind(model, path, err);
    if (rc == IM_OK) {
        rc = load_words(t, json_object_get(model, "vocab"), n_rows, path, err);
    }
    if (rc == IM_OK) {
        rc = find_specials(t, path, err);
    }
    if (rc == IM_OK) {
        rc = load_merge_array(t, json_object_get(model, "merges"), path, err);
    }
    return rc;
}

/* vocab.json with merges.txt when both are there, else tokenizer.json. */
static im_code load_files(tokenizer *t, const char *folder, size_t n_rows, im_error *err)
{
    json_t *root = NULL;
    char *path = NULL;
    char *merges = NULL;
    bool there = false;
    im_code rc = model_path(folder, "merges.txt", &merges, &there, err);
    if (rc == IM_OK && there) {
        rc = model_json(folder, "vocab.json", IM_LIMIT_MODEL_JSON_BYTES, IM_REASON_MODEL_TOKENIZER,
                        &root, &path, err);
    }
    if (rc == IM_OK && root != NULL) {
        rc = load_pair(t, root, path, merges, n_rows, err);
    } else if (rc == IM_OK) {
        im_free(path);
        rc = model_json(folder, "tokenizer.json", IM_LIMIT_MODEL_JSON_BYTES,
                        IM_REASON_MODEL_TOKENIZER, &root, &path, err);
        if (rc == IM_OK && root != NULL) {
            rc = load_whole(t, root, path, n_rows, err);
        } else if (rc == IM_OK) {
            rc = im_fail_as(err, IM_REASON_MODEL_FILE_MISSING,
                            "model '%s': no vocab.json with merges.txt and no tokenizer.json",
                            folder);
        }
    }
    json_decref(root);
    im_free(path);
    im_free(merges);
    return rc;
}

im_code tokenizer_open(const char *folder, size_t n_rows, tokenizer **out, im_error *err)
{
    tokenizer *t = im_alloc_zero(1, sizeof(*t));
    if (t != NULL) {
        t->seed = im_clock_ns() * 0x9e3779b97f4a7c15ull ^ (uint64_t)(uintptr_t)t;
    }
    im_code rc = t != NULL ? load_files(t, folder, n_rows, err)
                           : im_fail(err, IM_ERR_NOMEM, "no memory for a tokenizer");
    if (rc == IM_OK) {
        *out = t;
        t = NULL;
    }
    tokenizer_close(t);
    return rc;
}

void tokenizer_close(tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; t->words != NULL && i < t->n_words; i++) {
        im_free(t->words[i].text);
    }
    im_free(t->words);
    im_free(t->merges);
    im_free(t->sorted);
    im_free(t);
}
