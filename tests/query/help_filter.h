/* tests/query/help_filter.h — filters built by hand, as the parser makes them. */
#ifndef IM_TESTS_QUERY_HELP_FILTER_H
#define IM_TESTS_QUERY_HELP_FILTER_H

#include "base/fault.h"
#include "base/memory.h"
#include "query/query.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

/** "taken:2019", "width>=10", … as a test; the longest operator. Borrows nothing. */
static inline im_filter *test_of(const char *text)
{
    static const struct {
        const char *sign;
        im_filter_op op;
    } ops[] = {{"<=", IM_FILTER_AT_MOST}, {">=", IM_FILTER_AT_LEAST}, {"<", IM_FILTER_LESS},
               {">", IM_FILTER_MORE},     {"=", IM_FILTER_EQUAL},     {":", IM_FILTER_IS}};
    im_filter *filter = calloc(1, sizeof(*filter));
    size_t length = strcspn(text, ":<>=");
    filter->field = strndup(text, length);
    filter->column = 5;
    for (size_t i = 0; i < 6; i++) {
        if (strncmp(text + length, ops[i].sign, strlen(ops[i].sign)) == 0) {
            filter->op = ops[i].op;
            filter->value = strdup(text + length + strlen(ops[i].sign));
            return filter;
        }
    }
    fail_msg("no operator in '%s'", text);
    return filter;
}

static inline im_filter *node_of(im_filter_kind kind, im_filter *a, im_filter *b)
{
    im_filter *filter = calloc(1, sizeof(*filter));
    filter->kind = kind;
    filter->children = calloc(2, sizeof(*filter->children));
    filter->children[0] = a;
    filter->children[1] = b;
    filter->n_children = b != NULL ? 2 : 1;
    return filter;
}

static inline void drop(im_filter *filter)
{
    if (filter != NULL) {
        for (size_t i = 0; i < filter->n_children; i++) {
            drop(filter->children[i]);
        }
        free(filter->children);
        free(filter->field);
        free(filter->value);
        free(filter);
    }
}

static const im_own_field own_fields[] = {{"Category", IM_FIELD_TEXT},
                                          {"price", IM_FIELD_NUMBER},
                                          {"sold", IM_FIELD_DATE},
                                          {"stock", IM_FIELD_BOOL}};

#endif
