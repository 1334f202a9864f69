/* store/text.c — the full text of items: one row an item, made anew whenever a name, tag, caption or
 * visible text of it has changed. In a transaction the items are noted and their rows made when it
 * commits (or is asked for words), in ascending order and by statements of one row each: FTS5 then
 * keeps all of them in memory and writes one segment. A statement that may write several rows, or a
 * row of a smaller id, makes it write what it has: 10,100 items a second were put in commits of 256,
 * and are 15,100 this way (bench_store in memory, 40,000 items, one run). */
#include "store/store_internal.h"
#include <stdlib.h>

enum { TEXT_COLUMNS = 4 }; /* name, tag, caption, visible */

im_code store_text_noted(im_store *store, uint64_t item, im_error *err)
{
    store_texts *texts = &store->texts;
    if (texts->n > 0 && texts->items[texts->n - 1] == item) {
        return IM_OK;
    }
    if (texts->n == texts->capacity) {
        size_t wanted = IM_MAX(texts->capacity * 2, (size_t)256);
        uint64_t *grown = im_realloc(texts->items, wanted, sizeof(*grown));
        if (grown == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a list of items");
        }
        texts->items = grown;
        texts->capacity = wanted;
    }
    texts->items[texts->n++] = item;
    return IM_OK;
}

im_code store_text_changed(im_store *store, uint64_t item, im_error *err)
{
    im_code rc = store_text_noted(store, item, err);
    return rc == IM_OK ? store_tell_meta(store, item, err) : rc;
}

void store_texts_forget(im_store *store)
{
    store->texts.n = 0;
}

void store_texts_clear(im_store *store)
{
    im_free(store->texts.items);
    store->texts = (store_texts){0};
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* `texts` is on a row of ITEM_TEXT: its columns are borrowed by the insertion. */
static im_code put_text(im_store *store, uint64_t item, const statement *texts, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_PUT_TEXT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    for (int i = 0; i < TEXT_COLUMNS; i++) {
        statement_put_text_view(&st, statement_view(texts, i));
    }
    return statement_run(&st, NULL, err);
}

/* An item that is gone, or that nothing is told of, has no row. */
static im_code make_text(im_store *store, uint64_t item, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = store_run_u64(store, STORE_SQL_REMOVE_TEXT, item, NULL, err);
    if (rc == IM_OK) {
        rc = statement_open(store, STORE_SQL_ITEM_TEXT, &st, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && row) {
        rc = put_text(store, item, &st, err);
    }
    statement_close(&st);
    return rc;
}

im_code store_texts_make(im_store *store, im_error *err)
{
    store_texts *texts = &store->texts;
    im_code rc = IM_OK;
    if (texts->n > 1) {
        qsort(texts->items, texts->n, sizeof(*texts->items), by_id);
    }
    for (size_t i = 0; i < texts->n && rc == IM_OK; i++) {
        if (i == 0 || texts->items[i] != texts->items[i - 1]) {
            rc = make_text(store, texts->items[i], err);
        }
    }
    if (rc == IM_OK) {
        store_texts_forget(store);
    }
    return rc;
}
