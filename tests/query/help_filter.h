/* tests/query/help_filter.h — filters built by hand, as the parser makes them; what they are
 * compiled to, over a store that answers always the same. */
#ifndef IM_TESTS_QUERY_HELP_FILTER_H
#define IM_TESTS_QUERY_HELP_FILTER_H

#include "base/base.h"
#include "base/fault.h"
#include "base/memory.h"
#include "query/query.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

/** "taken:2019", "width>=10", … as a test; the longest operator. Borrows nothing. */
im_filter *test_of(const char *text);
/** A node of one (b is NULL) or two children, which are its own now. */
im_filter *node_of(im_filter_kind kind, im_filter *a, im_filter *b);
void drop(im_filter *filter);

extern const im_own_field own_fields[4];

/** What the store was asked last; it fails when told so, else bits 0 and 2 are its answer. */
typedef struct asked {
    char field[32], value[64];
    im_filter_op op;
    bool fail;
} asked;

extern asked last_asked;

/** Of 100 slots, with own_fields and that store. */
im_filter_options options_of(bool keep_missing);
/** Fails unless the text compiles with options_of(true). */
im_condition *compiled(const char *text);

/** The least integer that a column can have: INT64_MIN stands for none. */
static const int64_t never = INT64_MIN + 1;

void assert_integers(const char *text, const char *column, int64_t min, int64_t max);
/** The value is refused with that reason; the sentence holds `part`, the column, and, unless NULL,
 * the hint holds `hint`. */
void assert_wrong(const char *text, const char *reason, const char *part, const char *hint);

typedef struct wrong_case {
    const char *text, *part, *hint; /* as assert_wrong's */
} wrong_case;

void assert_all_wrong(const wrong_case *cases, size_t n, const char *reason);

#endif
