/* base/text_marks.c — combining marks in canonical order (Unicode 3.11, D109). */
#include "base/text_marks.h"
#include <stdlib.h>
#include <utf8proc.h>

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void im_text_order_marks(int32_t *codes, size_t n, uint64_t *keys)
{
    for (size_t at = 0; at < n;) {
        size_t run = 0;
        for (; at + run < n; run++) {
            uint64_t class = (uint64_t)utf8proc_get_property(codes[at + run])->combining_class;
            if (class == 0) {
                break;
            }
            keys[run] = class << 56 | (uint64_t)run << 24 | (uint64_t)codes[at + run];
        }
        if (run > 1) {
            qsort(keys, run, sizeof(*keys), by_key);
            for (size_t i = 0; i < run; i++) {
                codes[at + i] = (int32_t)(keys[i] & 0xffffffu);
            }
        }
        at += run + 1; /* what ends a run is no mark */
    }
}
