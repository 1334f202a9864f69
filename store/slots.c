/* store/slots.c — bitmaps of the slots whose items have a path, tag, key, place or words. What is
 * asked for is bound, also inside the language of the full text: one phrase in quotes, its own
 * quotes doubled. */
#include "store/store_internal.h"

/* ---- bitmaps ---- */

static im_code begin(im_store *store, store_sql sql, uint64_t model, uint64_t n_rows,
                     uint64_t *bits, statement *out, im_error *err)
{
    if (n_rows > INT64_MAX) {
        return im_fail(err, IM_ERR_INVALID, "%llu rows are more than an index can have",
                       (unsigned long long)n_rows);
    }
    memset(bits, 0, (size_t)((n_rows + 63) / 64) * sizeof(uint64_t));
    im_code rc = statement_open(store, sql, out, err);
    if (rc == IM_OK) {
        statement_put_u64(out, model);
    }
    return rc;
}

/* Steps a bound statement to its end, closes it. */
static im_code collect(statement *st, uint64_t n_rows, uint64_t *bits, im_error *err)
{
    bool more = true;
    im_code rc = IM_OK;
    while (rc == IM_OK && more) {
        rc = statement_step(st, &more, err);
        uint64_t slot = rc == IM_OK && more ? statement_u64(st, 0) : UINT64_MAX;
        if (slot < n_rows) {
            bits[slot / 64] |= UINT64_C(1) << (slot % 64);
        }
    }
    statement_close(st);
    return rc;
}

im_code im_store_slots_of_path_glob(im_store *store, uint64_t model, im_view glob, uint64_t n_rows,
                                    uint64_t *bits, im_error *err)
{
    statement st;
    im_code rc = begin(store, STORE_SQL_SLOTS_OF_GLOB, model, n_rows, bits, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_blob(&st, glob.data, glob.size);
    return collect(&st, n_rows, bits, err);
}

static im_code slots_of_name(im_store *store, store_sql sql, uint64_t model, im_view name,
                             uint64_t n_rows, uint64_t *bits, im_error *err)
{
    statement st;
    im_code rc = begin(store, sql, model, n_rows, bits, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text_view(&st, name);
    return collect(&st, n_rows, bits, err);
}

im_code im_store_slots_of_tag(im_store *store, uint64_t model, im_view tag, uint64_t n_rows,
                              uint64_t *bits, im_error *err)
{
    return slots_of_name(store, STORE_SQL_SLOTS_OF_TAG, model, tag, n_rows, bits, err);
}

im_code im_store_slots_of_key(im_store *store, uint64_t model, im_view key, uint64_t n_rows,
                              uint64_t *bits, im_error *err)
{
    return slots_of_name(store, STORE_SQL_SLOTS_OF_KEY, model, key, n_rows, bits, err);
}

im_code im_store_slots_tagged(im_store *store, uint64_t model, uint64_t n_rows, uint64_t *bits,
                              im_error *err)
{
    statement st;
    im_code rc = begin(store, STORE_SQL_SLOTS_TAGGED, model, n_rows, bits, &st, err);
    return rc == IM_OK ? collect(&st, n_rows, bits, err) : rc;
}

im_code im_store_slots_missing(im_store *store, uint64_t model, uint64_t n_rows, uint64_t *bits,
                               im_error *err)
{
    statement st;
    im_code rc = begin(store, STORE_SQL_SLOTS_MISSING, model, n_rows, bits, &st, err);
    return rc == IM_OK ? collect(&st, n_rows, bits, err) : rc;
}

im_code im_store_slots_captioned(im_store *store, uint64_t model, im_caption_kind kind,
                                 uint64_t n_rows, uint64_t *bits, im_error *err)
{
    return slots_of_name(store, STORE_SQL_SLOTS_CAPTIONED, model,
                         im_view_from(store_caption_kind_name(kind)), n_rows, bits, err);
}

/* ---- full text ---- */

/* One phrase of FTS5's language. It is read up to a NUL, and as UTF-8. */
static void add_phrase(im_str *out, im_view phrase)
{
    im_str plain;
    im_str_init(&plain, SIZE_MAX / 2);
    (void)im_text_lossy(&plain, phrase.data, phrase.size);
    im_str_add_char(out, '"');
    for (size_t i = 0; i < plain.size; i++) {
        char c = plain.data[i];
        im_str_add_char(out, c == '\0' ? ' ' : c);
        if (c == '"') {
            im_str_add_char(out, '"');
        }
    }
    im_str_add_char(out, '"');
    out->failed = out->failed || plain.failed;
    im_str_clear(&plain);
}

im_code im_store_slots_of_text(im_store *store, uint64_t model, im_view phrase, uint64_t n_rows,
                               uint64_t *bits, im_error *err)
{
    im_str quoted;
    im_str_init(&quoted, SIZE_MAX / 2);
    add_phrase(&quoted, phrase);
    im_code rc = quoted.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for a phrase")
                               : store_texts_make(store, err);
    if (rc == IM_OK) {
        rc = slots_of_name(store, STORE_SQL_SLOTS_OF_TEXT, model,
                           im_view_of(quoted.data, quoted.size), n_rows, bits, err);
    }
    im_str_clear(&quoted);
    return rc;
}

/* ---- places ---- */

typedef struct place_search {
    im_store *store;
    uint64_t model, n_rows;
    uint64_t *bits;
    im_view place; /* without '/' at its end, but for "/" */
    im_code rc;
    im_error *err;
} place_search;

static bool begins_with(im_view text, im_view start)
{
    return text.size >= start.size && memcmp(text.data, start.data, start.size) == 0;
}

/* `path` is `folder` or lies below it. */
static bool is_in(im_view path, im_view folder)
{
    bool whole = folder.size > 0 && folder.data[folder.size - 1] == '/';
    return begins_with(path, folder) &&
           (path.size == folder.size || whole || path.data[folder.size] == '/');
}

static bool ends_with_parts(im_view path, im_view parts)
{
    return path.size > parts.size && path.data[path.size - parts.size - 1] == '/' &&
           memcmp(path.data + path.size - parts.size, parts.data, parts.size) == 0;
}

static im_code add_root_slots(place_search *search, uint64_t root)
{
    statement st;
    im_code rc = statement_open(search->store, STORE_SQL_SLOTS_OF_ROOT, &st, search->err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, search->model);
    statement_put_u64(&st, root);
    return collect(&st, search->n_rows, search->bits, search->err);
}

/* Files of a root below the folder `path`. */
static im_code add_folder_slots(place_search *search, uint64_t root, im_view path)
{
    statement st;
    im_str bounds;
    im_code rc = store_bounds_below(path, &bounds, search->err);
    if (rc == IM_OK) {
        rc = statement_open(search->store, STORE_SQL_SLOTS_BELOW, &st, search->err);
    }
    if (rc == IM_OK) {
        statement_put_u64(&st, search->model);
        statement_put_u64(&st, root);
        statement_put_bounds(&st, &bounds);
        rc = collect(&st, search->n_rows, search->bits, search->err);
    }
    im_str_clear(&bounds);
    return rc;
}

static bool on_root(void *context, const im_root *row)
{
    place_search *search = context;
    im_view root = im_view_from(row->path);
    while (root.size > 1 && root.data[root.size - 1] == '/') {
        root.size--;
    }
    bool absolute = search->place.size > 0 && search->place.data[0] == '/';
    if (absolute ? is_in(root, search->place) : ends_with_parts(root, search->place)) {
        search->rc = add_root_slots(search, row->id);
    } else if (absolute && is_in(search->place, root)) {
        size_t from = root.size + (root.data[root.size - 1] == '/' ? 0 : 1);
        im_view below = im_view_of(search->place.data + from, search->place.size - from);
        search->rc = add_folder_slots(search, row->id, below);
    }
    return search->rc == IM_OK;
}

im_code im_store_slots_in(im_store *store, uint64_t model, im_view place, uint64_t n_rows,
                          uint64_t *bits, im_error *err)
{
    while (place.size > 1 && place.data[place.size - 1] == '/') {
        place.size--;
    }
    if (n_rows > INT64_MAX) {
        return im_fail(err, IM_ERR_INVALID, "%llu rows are more than an index can have",
                       (unsigned long long)n_rows);
    }
    memset(bits, 0, (size_t)((n_rows + 63) / 64) * sizeof(uint64_t));
    place_search search = {
        .store = store, .model = model, .n_rows = n_rows, .bits = bits, .place = place, .err = err};
    if (place.size == 0) {
        return IM_OK;
    }
    im_code rc = im_store_each_root(store, on_root, &search, err);
    return rc == IM_OK ? search.rc : rc;
}
