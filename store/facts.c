/* store/facts.c — how much there is of what. */
#include "store/store_internal.h"

im_code im_store_count(im_store *store, uint64_t model, im_store_counts *out, im_error *err)
{
    im_store_counts counts = {0};
    uint64_t page_bytes = 0;
    uint64_t pages = 0;
    bool found = false;
    const struct {
        store_sql sql;
        uint64_t *out;
    } numbers[] = {
        {STORE_SQL_COUNT_ITEMS, &counts.items},
        {STORE_SQL_COUNT_FILES, &counts.files},
        {STORE_SQL_COUNT_MISSING, &counts.missing_files},
        {STORE_SQL_COUNT_FAILURES, &counts.failures},
        {STORE_SQL_COUNT_ROOTS, &counts.roots},
        {STORE_SQL_COUNT_REMOVED, &counts.removed},
        {STORE_SQL_CHANGE_SEQ, &counts.change_seq},
        {STORE_SQL_PAGE_SIZE, &page_bytes},
        {STORE_SQL_PAGE_COUNT, &pages},
    };
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(numbers); i++) {
        rc = store_number(store, numbers[i].sql, numbers[i].out, err);
    }
    if (rc == IM_OK && model != 0) {
        rc = store_number_of(store, STORE_SQL_COUNT_EMBEDDINGS, model, &found, &counts.embeddings,
                             err);
    } else if (rc == IM_OK) {
        rc = store_number(store, STORE_SQL_COUNT_ACTIVE_EMBEDDINGS, &counts.embeddings, err);
    }
    if (rc == IM_OK) {
        counts.db_bytes = page_bytes * pages;
        counts.wal_bytes = store_path_bytes(store->db_path, "-wal");
        *out = counts;
    }
    return rc;
}
