/* tests/index/help_columns.h — tables of random values beside their column files, and the plain,
 * row by row evaluation that conditions and orders are held against. */
#ifndef IM_TESTS_INDEX_HELP_COLUMNS_H
#define IM_TESTS_INDEX_HELP_COLUMNS_H

#include "help.h"

enum { TAKEN, WIDTH, LAT, LON, CAMERA, PRICE, CATEGORY, MISSING, N_COLUMNS };

extern const im_column_spec table_specs[N_COLUMNS];

typedef struct table_row {
    uint64_t item; /* IM_NO_ITEM: the source leaves this slot out */
    im_column_value values[N_COLUMNS];
} table_row;

typedef struct test_table {
    char folder[HELP_FOLDER_BYTES];
    im_index_state state;
    size_t n;
    table_row *rows;
    bool shuffled;     /* for patches: slots come in another order, some twice */
    const bool *only;  /* [n] which slots the source gives; NULL = all */
    size_t fail_after; /* rows until the source fails; SIZE_MAX: never */
    random_state random;
    char *texts[4096]; /* owned */
    size_t n_texts;
} test_table;

void table_make(test_table *table, uint64_t seed, size_t n);
void table_free(test_table *table);
/** Gives a slot new random values; `item` stays. */
void table_change(test_table *table, size_t slot);
/** Changes about `per_cent` of the slots and marks them. @param changed [table->n] */
void table_change_some(test_table *table, bool *changed, unsigned per_cent);
im_code table_source(void *context, im_columns_sink take, void *sink, im_error *err);
void table_build(test_table *table, uint64_t change_seq);
im_columns *table_open(const test_table *table, uint64_t change_seq);
void table_path(const test_table *table, char out[160]);

/** A random tree of conditions. */
im_condition *random_condition(test_table *table, unsigned depth);
/** What the condition is on a row, straight from its meaning. */
bool slow_passes(const test_table *table, const im_condition *condition, size_t slot);
bool has_value(const test_table *table, size_t column, size_t slot);
/** Order of two slots by a column, as im_columns_sort's; < 0: a first. */
int slow_order(const test_table *table, size_t column, bool descending, size_t a, size_t b);
/** The filter's answer is that of slow_passes for each row. */
void assert_filter(im_columns *columns, const test_table *table, const im_condition *condition,
                   const uint64_t *alive);

#endif
