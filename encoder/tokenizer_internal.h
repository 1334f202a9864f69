/* encoder/tokenizer_internal.h — tables of a tokenizer, shared by its loader and its encoder. */
#ifndef IM_ENCODER_TOKENIZER_INTERNAL_H
#define IM_ENCODER_TOKENIZER_INTERNAL_H

#include "encoder/encoder_internal.h"

#define NO_TOKEN UINT32_MAX

typedef struct word_slot {
    char *text; /* owned; NULL = free */
    uint32_t size, id;
} word_slot;

typedef struct merge_slot {
    uint64_t pair; /* left << 32 | right */
    uint32_t rank; /* NO_TOKEN = free */
    uint32_t id;   /* of the two joined */
} merge_slot;

typedef struct tokenizer_specials {
    uint32_t byte_id[256];     /* a byte inside a word */
    uint32_t byte_end_id[256]; /* a byte that ends one: with "</w>" */
    uint32_t begin, end;
} tokenizer_specials;

struct tokenizer {
    uint64_t seed;    /* of the hashes: a file cannot be made so that all its words collide */
    word_slot *words; /* open addressing, n_words a power of two */
    size_t n_words;
    merge_slot *merges;
    size_t n_merges;
    merge_slot
        *sorted; /* [n_sorted] by pair, in place of `merges` or beside it; NULL: not sorted */
    size_t n_sorted;
    tokenizer_specials special;
};

/** Id of a vocabulary entry, NO_TOKEN when there is none. */
uint32_t tokenizer_word(const tokenizer *t, const char *text, size_t size);
/** tokenizer_packed.c: the merge of a pair in t->sorted, NULL when there is none. */
const merge_slot *tokenizer_sorted_merge(const tokenizer *t, uint64_t pair);
const merge_slot *tokenizer_merge(const tokenizer *t, uint32_t left, uint32_t right);

#endif
