/* tests/app/help_expr.h — random filters over the items of help_shop.h: as text, and as what they
 * mean. */
#ifndef IM_TESTS_APP_HELP_EXPR_H
#define IM_TESTS_APP_HELP_EXPR_H

#include "tests/app/help_shop.h"

typedef enum expr_test {
    EXPR_TAKEN_YEAR,
    EXPR_TAKEN_FROM,
    EXPR_WIDTH,
    EXPR_BYTES,
    EXPR_CAMERA,
    EXPR_TYPE,
    EXPR_TAG,
    EXPR_PRICE,
    EXPR_CATEGORY,
    EXPR_STOCK,
    EXPR_HAS_GPS,
    EXPR_HAS_TAG,
    EXPR_HAS_PRICE,
    EXPR_PATH,
    EXPR_KEY,
    EXPR_IS_MISSING,
    EXPR_TESTS
} expr_test;

typedef struct expr {
    enum { EXPR_LEAF, EXPR_AND, EXPR_OR, EXPR_NOT } kind;
    expr_test test;
    uint32_t value;
    int a, b; /* indexes of children */
} expr;

/** A filter is a tree of places in the pool; setting n_expr_pool to 0 frees them all. */
extern expr expr_pool[64];
extern int n_expr_pool;

/** A random tree of at most `depth` levels of operators; its place. */
int expr_draw(int depth);
/** Appends the filter as the query language writes it. */
void expr_put(im_str *out, int place);
/** What it says of the item at a place in facts. */
bool expr_meets(int place, uint64_t item);
/** "is:missing" stands in one of the pool: then items whose files are missing are not left out. */
bool expr_names_missing(void);

#endif
