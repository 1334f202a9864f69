/* app/vlm_kept.c — answers of a vision-language model that are kept, as JSON under a digest of all
 * that they depend on. */
#include "app/vlm_internal.h"

im_code vlm_kept(im_store *store, const uint8_t key[IM_SHA256_BYTES], json_t **out,
                 int64_t *out_made_ns, im_error *err)
{
    char *text = NULL;
    *out = NULL;
    im_code rc = im_store_get_vlm_answer(store, key, &text, out_made_ns, err);
    if (rc == IM_OK && text != NULL &&
        im_json_parse(text, strlen(text), "a kept answer", out, NULL) != IM_OK) {
        *out = NULL; /* what cannot be read is asked for again */
    }
    im_free(text);
    return rc;
}

im_code vlm_keep(im_store *store, const uint8_t key[IM_SHA256_BYTES], const char *model,
                 const char *version, const im_json_writer *w, im_error *err)
{
    return im_json_ok(w)
               ? im_store_put_vlm_answer(store, key, model, version, im_str_text(&w->out), err)
               : im_fail(err, IM_ERR_NOMEM, "no memory for an answer");
}
