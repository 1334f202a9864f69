/* store/caption.c — captions and visible text of items, with who wrote them. */
#include "base/clock.h"
#include "store/store_internal.h"

static const char *const kind_names[] = {
    [IM_CAPTION] = "caption",
    [IM_VISIBLE_TEXT] = "visible_text",
};

const char *store_caption_kind_name(im_caption_kind kind)
{
    return kind_names[kind];
}

static im_code check_caption(const im_caption *caption, im_error *err)
{
    const char *what = caption->kind == IM_CAPTION ? "a caption" : "a picture's text";
    return store_check_text(IM_REASON_FIELD_VALUE, what, caption->text, IM_LIMIT_CAPTION_BYTES,
                            false, err);
}

im_code im_caption_check(im_view text, im_error *err)
{
    im_caption caption = {.kind = IM_CAPTION, .text = text};
    return check_caption(&caption, err);
}

static im_code clear_same(im_store *store, uint64_t item, const im_caption *caption,
                          uint64_t *out_rows, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_REPLACE_CAPTION, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    statement_put_text(&st, kind_names[caption->kind]);
    statement_put_text(&st, store_text_source_name(caption->source));
    statement_put_text(&st, caption->vlm_model); /* NULL stays NULL */
    return statement_run(&st, out_rows, err);
}

static im_code put_caption(im_store *store, uint64_t item, const im_caption *caption, im_error *err)
{
    statement st;
    im_code rc = store_need_item(store, item, err);
    if (rc == IM_OK) {
        rc = clear_same(store, item, caption, NULL, err);
    }
    if (rc == IM_OK) {
        rc = statement_open(store, STORE_SQL_PUT_CAPTION, &st, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    statement_put_text(&st, kind_names[caption->kind]);
    statement_put_text(&st, store_text_source_name(caption->source));
    statement_put_text(&st, caption->vlm_model);
    statement_put_text(&st, caption->prompt_version);
    statement_put_text_view(&st, caption->text);
    statement_put_i64(&st, caption->made_ns != 0 ? caption->made_ns : im_clock_wall_ns());
    rc = statement_run(&st, NULL, err);
    return rc == IM_OK ? store_text_changed(store, item, err) : rc;
}

im_code im_store_put_caption(im_store *store, uint64_t item, const im_caption *caption,
                             im_error *err)
{
    store_write write;
    im_code rc = check_caption(caption, err);
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_caption(store, item, caption, err), err);
}

static im_code drop_caption(im_store *store, uint64_t item, im_caption_kind kind,
                            im_text_source source, im_error *err)
{
    statement st;
    uint64_t rows = 0;
    im_code rc = statement_open(store, STORE_SQL_DROP_CAPTION, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    statement_put_text(&st, kind_names[kind]);
    statement_put_text(&st, store_text_source_name(source));
    rc = statement_run(&st, &rows, err);
    if (rc == IM_OK && rows == 0) {
        return im_fail(err, IM_ERR_NOT_FOUND, "picture %llu has no such text",
                       (unsigned long long)item);
    }
    return rc == IM_OK ? store_text_changed(store, item, err) : rc;
}

im_code im_store_drop_caption(im_store *store, uint64_t item, im_caption_kind kind,
                              im_text_source source, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, drop_caption(store, item, kind, source, err), err);
}

im_code im_store_drop_vlm_text(im_store *store, uint64_t item, im_caption_kind kind,
                               const char *vlm_model, im_error *err)
{
    const im_caption same = {.kind = kind, .source = IM_SOURCE_VLM, .vlm_model = vlm_model};
    store_write write;
    uint64_t rows = 0;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = clear_same(store, item, &same, &rows, err);
    if (rc == IM_OK && rows > 0) {
        rc = store_text_changed(store, item, err);
    }
    return store_write_end(store, &write, rc, err);
}

/* One row, handed to fn with copies of its two short texts; *out_more is fn's answer. */
static im_code tell_caption(const statement *st, im_store_caption_fn fn, void *context,
                            bool *out_more, im_error *err)
{
    char *model = statement_is_null(st, 2) ? NULL : statement_strdup(st, 2);
    char *version = statement_is_null(st, 3) ? NULL : statement_strdup(st, 3);
    bool failed = (model == NULL && !statement_is_null(st, 2)) ||
                  (version == NULL && !statement_is_null(st, 3));
    im_code rc = IM_OK;
    if (failed) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a caption");
    } else {
        im_caption caption = {
            .kind = im_view_equal_c(statement_view(st, 0), kind_names[IM_CAPTION])
                        ? IM_CAPTION
                        : IM_VISIBLE_TEXT,
            .source = store_text_source_of(statement_view(st, 1)),
            .vlm_model = model,
            .prompt_version = version,
            .text = statement_view(st, 4),
            .made_ns = statement_i64(st, 5),
        };
        *out_more = fn(context, &caption);
    }
    im_free(model);
    im_free(version);
    return rc;
}

im_code im_store_each_caption_of_item(im_store *store, uint64_t item, im_store_caption_fn fn,
                                      void *context, im_error *err)
{
    statement st;
    bool more = true;
    im_code rc = statement_open(store, STORE_SQL_EACH_CAPTION_OF_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    while (rc == IM_OK && more) {
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            rc = tell_caption(&st, fn, context, &more, err);
        }
    }
    statement_close(&st);
    return rc;
}
