/* app/meta_apply.c — a batch of rows in one transaction. Everything that can be wrong with a row is
 * asked before its first write, so that a bad line leaves nothing half done and the rest of the
 * batch goes on. */
#include "app/meta_internal.h"
#include "base/file.h"

/* ---- paths ---- */

void meta_places_clear(meta_places *places)
{
    im_free(places->folder);
    im_free(places->asked);
    im_free(places->real);
    *places = (meta_places){0};
}

static im_code find_file(im_store *store, const root_list *roots, const char *absolute,
                         uint64_t *out_item, im_error *err)
{
    for (size_t i = 0; i < roots->n && *out_item == 0; i++) {
        im_file_row row = {0};
        const char *below = path_below(absolute, roots->roots[i].path);
        if (below == NULL || below[0] == '\0') {
            continue;
        }
        im_code rc = im_store_find_file(store, roots->roots[i].id, im_view_from(below), &row, err);
        if (rc != IM_OK) {
            return rc;
        }
        *out_item = row.id != 0 ? row.item : 0;
    }
    return IM_OK;
}

/* places->real becomes that of the folder of `whole`, which is cut there for the time. */
static im_code find_folder(meta_places *places, char *whole, char *slash, im_error *err)
{
    char real[PATH_MAX];
    *slash = '\0';
    bool same = places->asked != NULL && strcmp(places->asked, whole) == 0;
    if (!same) {
        im_free(places->asked);
        im_free(places->real);
        places->asked = im_strdup(whole);
        places->real = NULL;
        if (places->asked != NULL && realpath(whole[0] != '\0' ? whole : "/", real) != NULL) {
            places->real = im_strdup(real);
            same = places->real != NULL;
        } else {
            same = places->asked != NULL;
        }
    }
    *slash = '/';
    if (!same) {
        im_free(places->asked); /* so that it is looked up again */
        places->asked = NULL;
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    return IM_OK;
}

/* The library writes the real path of a file, but links that a scan went through by their own
 * names: the real folder with the name as it is, the real path of all, the path as written. */
static im_code find_whole(im_store *store, meta_places *places, const root_list *roots, char *whole,
                          uint64_t *out_item, im_error *err)
{
    char absolute[PATH_MAX];
    char *slash = strrchr(whole, '/');
    im_code rc = find_folder(places, whole, slash, err);
    if (rc == IM_OK && places->real != NULL) {
        char *named = im_path_join(places->real, slash + 1);
        rc = named != NULL ? find_file(store, roots, named, out_item, err)
                           : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        im_free(named);
    }
    if (rc == IM_OK && *out_item == 0) {
        rc = path_absolute(whole, absolute, err);
    }
    if (rc == IM_OK && *out_item == 0) {
        rc = find_file(store, roots, absolute, out_item, err);
    }
    if (rc == IM_OK && *out_item == 0) {
        rc = find_file(store, roots, whole, out_item, err);
    }
    return rc;
}

im_code meta_find_path(im_store *store, meta_places *places, const root_list *roots,
                       const char *path, uint64_t *out_item, im_error *err)
{
    *out_item = 0;
    char *whole = path[0] == '/' ? im_strdup(path) : im_path_join(places->folder, path);
    if (whole == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = find_whole(store, places, roots, whole, out_item, err);
    im_free(whole);
    return rc;
}

/* ---- one row ---- */

typedef struct apply_context {
    im_store *store;
    meta_places *places;
    root_list roots;
    own_fields fields;
    meta_counts counts;
} apply_context;

static im_code find_item(apply_context *apply, const meta_row *row, uint64_t *out_item,
                         im_error *err)
{
    im_item item;
    im_code rc = IM_OK;
    *out_item = row->id;
    if (row->id != 0) {
        return im_store_get_item(apply->store, row->id, &item, err);
    }
    if (row->path != NULL) {
        rc = meta_find_path(apply->store, apply->places, &apply->roots, row->path, out_item, err);
        if (rc == IM_OK && *out_item == 0) {
            rc = im_fail_as(err, IM_REASON_ITEM_NOT_FOUND,
                            "no picture of the library has the path '%s'", row->path);
            im_hint(err, "paths are relative to this file's folder; add the picture first");
        }
        return rc;
    }
    rc = im_store_item_of_key(apply->store, row->key, out_item, err);
    if (rc == IM_OK && *out_item == 0) {
        rc = im_fail_as(err, IM_REASON_ITEM_NOT_FOUND,
                        "no picture has the key '%s', and the line names no path", row->key);
        im_hint(err, "a line with path and key gives the picture its key");
    }
    return rc;
}

static im_code wrong_type(const meta_pair *pair, const im_own_field *field, im_error *err)
{
    im_str text;
    im_str_init(&text, IM_LIMIT_FIELD_BYTES);
    im_value_print(&text, &pair->value);
    im_code rc = im_fail_as(err, IM_REASON_FIELD_TYPE,
                            "field '%s': found the %s '%.100s', expected values of type %s",
                            field->name, im_value_type_name(pair->value.type), im_str_text(&text),
                            im_value_type_name(own_value_type(field)));
    im_str_clear(&text);
    return rc;
}

/* Gives each value the type that it is kept with; nothing is written yet. */
static im_code settle_values(const apply_context *apply, meta_row *row, im_error *err)
{
    for (size_t i = 0; i < row->n_pairs; i++) {
        meta_pair *pair = &row->pairs[i];
        const im_own_field *field = own_fields_find(&apply->fields, pair->name);
        im_code rc = IM_OK;
        if (pair->kind == META_DROP || field == NULL) {
            continue; /* a text without a registered type is text */
        }
        if (pair->kind == META_CELL ||
            (pair->kind == META_TEXT && own_value_type(field) == IM_VALUE_DATE)) {
            rc = meta_cell_value(pair->name, own_value_type(field), pair->value.text, &pair->value,
                                 err);
        }
        if (rc == IM_OK && pair->value.type != own_value_type(field)) {
            rc = wrong_type(pair, field, err);
        }
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}

static im_code write_fields(apply_context *apply, uint64_t item, const meta_row *row, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; i < row->n_pairs && rc == IM_OK; i++) {
        const meta_pair *pair = &row->pairs[i];
        if (pair->kind == META_DROP) {
            im_error none = IM_ERROR_INIT;
            rc = im_store_drop_field(apply->store, item, pair->name, &none);
            if (rc != IM_OK && rc != IM_ERR_NOT_FOUND && err != NULL) {
                *err = none;
            }
            rc = rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
            continue;
        }
        rc = im_store_put_field(apply->store, item, pair->name, &pair->value, err);
        if (rc == IM_OK && own_fields_find(&apply->fields, pair->name) == NULL &&
            !own_fields_add(&apply->fields, pair->name, pair->value.type)) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for fields");
        }
    }
    return rc;
}

typedef struct tag_context {
    name_list names;
    bool no_memory;
} tag_context;

static bool note_users_tag(void *context, const char *name, im_text_source source)
{
    tag_context *tags = context;
    tags->no_memory = source == IM_SOURCE_USER && !name_list_add(&tags->names, name);
    return !tags->no_memory;
}

static im_code write_tags(im_store *store, uint64_t item, const meta_row *row, im_error *err)
{
    tag_context tags = {0};
    im_code rc = IM_OK;
    if (row->drops_tags) {
        rc = im_store_each_tag_of_item(store, item, note_users_tag, &tags, err);
        if (rc == IM_OK && tags.no_memory) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for tags");
        }
        for (size_t i = 0; i < tags.names.n && rc == IM_OK; i++) {
            rc = im_store_drop_tag(store, item, tags.names.names[i], err);
        }
        name_list_clear(&tags.names);
    }
    for (size_t i = 0; i < row->n_removes && rc == IM_OK; i++) {
        im_error none = IM_ERROR_INIT;
        rc = im_store_drop_tag(store, item, row->removes[i], &none);
        if (rc != IM_OK && rc != IM_ERR_NOT_FOUND && err != NULL) {
            *err = none;
        }
        rc = rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
    }
    for (size_t i = 0; i < row->n_tags && rc == IM_OK; i++) {
        rc = im_store_put_tag(store, item, row->tags[i], IM_SOURCE_USER, err);
    }
    return rc;
}

typedef struct caption_context {
    im_view wanted;
    bool any, same;
} caption_context;

static bool look_at_caption(void *context, const im_caption *caption)
{
    caption_context *look = context;
    if (caption->kind == IM_CAPTION && caption->source == IM_SOURCE_USER) {
        look->any = true;
        look->same = im_view_equal(caption->text, look->wanted);
    }
    return !look->any;
}

/* The same text again changes nothing: the full text is made anew by each change. */
static im_code write_caption(im_store *store, uint64_t item, const meta_row *row, im_error *err)
{
    caption_context look = {.wanted = row->drops_caption ? im_view_of("", 0) : row->caption};
    im_caption caption = {.kind = IM_CAPTION, .source = IM_SOURCE_USER, .text = row->caption};
    if (row->caption.data == NULL && !row->drops_caption) {
        return IM_OK;
    }
    im_code rc = im_store_each_caption_of_item(store, item, look_at_caption, &look, err);
    if (rc != IM_OK || look.same || (row->drops_caption && !look.any)) {
        return rc;
    }
    return row->drops_caption ? im_store_drop_caption(store, item, IM_CAPTION, IM_SOURCE_USER, err)
                              : im_store_put_caption(store, item, &caption, err);
}

static im_code write_row(apply_context *apply, uint64_t item, const meta_row *row, im_error *err)
{
    uint64_t replaced = 0;
    im_code rc = IM_OK;
    if (row->drops_key || row->key != NULL) {
        rc = im_store_put_key(apply->store, item, row->key, &replaced, err);
        apply->counts.replaced += rc == IM_OK && replaced != 0;
    }
    if (rc == IM_OK) {
        rc = write_fields(apply, item, row, err);
    }
    if (rc == IM_OK) {
        rc = write_tags(apply->store, item, row, err);
    }
    return rc == IM_OK ? write_caption(apply->store, item, row, err) : rc;
}

/* ---- a batch ---- */

/* What concerns the line alone; all else ends the run. */
static bool is_of_the_line(im_code code)
{
    return code == IM_ERR_INVALID || code == IM_ERR_NOT_FOUND || code == IM_ERR_FORMAT ||
           code == IM_ERR_LIMIT || code == IM_ERR_CONFLICT;
}

static im_code apply_row(apply_context *apply, meta_row *row, im_error *err)
{
    uint64_t item = 0;
    im_error error = IM_ERROR_INIT;
    im_code rc = row->error.code;
    if (rc == IM_OK) {
        rc = find_item(apply, row, &item, &error);
        if (rc == IM_OK) {
            rc = settle_values(apply, row, &error);
        }
        if (rc != IM_OK && !is_of_the_line(rc)) {
            if (err != NULL) {
                *err = error;
            }
            return rc;
        }
        row->error = error;
    }
    if (rc != IM_OK) {
        apply->counts.failed++;
        return IM_OK;
    }
    apply->counts.set++;
    return write_row(apply, item, row, err);
}

static im_code apply_rows(apply_context *apply, meta_batch *batch, im_error *err)
{
    im_code rc = im_store_begin(apply->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = roots_load(apply->store, &apply->roots, err);
    if (rc == IM_OK) {
        rc = own_fields_load(apply->store, &apply->fields, err);
    }
    for (size_t i = 0; i < batch->n && rc == IM_OK; i++) {
        rc = apply_row(apply, &batch->rows[i], err);
    }
    if (rc == IM_OK) {
        rc = im_store_commit(apply->store, err);
    } else {
        im_store_rollback(apply->store);
    }
    return rc;
}

im_code meta_apply_batch(im_library *library, meta_places *places, meta_batch *batch,
                         meta_counts *counts, im_error *err)
{
    apply_context apply = {.store = library->store, .places = places, .counts = *counts};
    im_code rc = apply_rows(&apply, batch, err); /* begin takes the lock, the end gives it back */
    if (rc == IM_OK) {
        *counts = apply.counts;
    }
    roots_clear(&apply.roots);
    own_fields_clear(&apply.fields);
    return rc;
}

/* ---- one row by itself ---- */

static im_code check_key(im_store *store, const meta_row *row, im_error *err)
{
    uint64_t owner = 0;
    im_code rc = row->key != NULL ? im_store_item_of_key(store, row->key, &owner, err) : IM_OK;
    if (rc == IM_OK && owner != 0 && owner != row->id) {
        rc = im_fail_as(err, IM_REASON_KEY_TAKEN, "item %llu has the key '%.100s'",
                        (unsigned long long)owner, row->key);
        im_hint(err, "take it from that one first, with \"key\": null");
    }
    return rc;
}

static im_code check_one(apply_context *apply, meta_row *row, bool may_take_key, im_error *err)
{
    im_item item;
    im_code rc = own_fields_load(apply->store, &apply->fields, err);
    if (rc == IM_OK && row->id != 0) {
        rc = im_store_get_item(apply->store, row->id, &item, err);
    }
    if (rc == IM_OK && !may_take_key) {
        rc = check_key(apply->store, row, err);
    }
    return rc == IM_OK ? settle_values(apply, row, err) : rc;
}

im_code meta_apply_one(im_store *store, meta_row *row, bool only_check, bool may_take_key,
                       im_error *err)
{
    apply_context apply = {.store = store};
    im_code rc = only_check ? IM_OK : im_store_begin(store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = check_one(&apply, row, may_take_key, err);
    if (rc == IM_OK && !only_check) {
        rc = write_row(&apply, row->id, row, err);
    }
    if (rc == IM_OK && !only_check) {
        rc = im_store_commit(store, err);
    } else if (!only_check) {
        im_store_rollback(store);
    }
    own_fields_clear(&apply.fields);
    return rc;
}
