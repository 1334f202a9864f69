/* app/describe_known.c — what a model has said of pictures before: texts of items, and, where there
 * is none, that it failed or found nothing. */
#include "app/describe_internal.h"

/* Of the picture's content, the model and the prompt: whatever file it lies in. */
void describe_key(const describe_memory *m, const im_item *item, uint8_t out[IM_SHA256_BYTES])
{
    im_sha256 hash;
    const char *texts[] = {"describe", m->version, m->model};
    im_sha256_init(&hash);
    for (size_t i = 0; i < IM_COUNT(texts); i++) {
        im_sha256_add(&hash, texts[i], strlen(texts[i]) + 1);
    }
    im_sha256_add(&hash, item->sha256, sizeof(item->sha256));
    im_sha256_end(&hash, out);
}

typedef struct text_search {
    const describe_memory *m;
    bool found;
} text_search;

static bool match_text(void *context, const im_caption *caption)
{
    text_search *search = context;
    const describe_memory *m = search->m;
    search->found = caption->kind == m->kind && caption->source == IM_SOURCE_VLM &&
                    caption->vlm_model != NULL && caption->prompt_version != NULL &&
                    strcmp(caption->vlm_model, m->model) == 0 &&
                    strcmp(caption->prompt_version, m->version) == 0;
    return !search->found;
}

im_code describe_has_text(const describe_memory *m, uint64_t item, bool *out, im_error *err)
{
    text_search search = {m, false};
    im_code rc = im_store_each_caption_of_item(m->store, item, match_text, &search, err);
    *out = search.found;
    return rc;
}

im_code describe_recall(const describe_memory *m, const uint8_t key[IM_SHA256_BYTES], char out[16],
                        im_error *err)
{
    json_t *root = NULL;
    int64_t made_ns = 0;
    im_code rc = vlm_kept(m->store, key, &root, &made_ns, err);
    const char *outcome = json_string_value(json_object_get(root, "outcome"));
    (void)snprintf(out, 16, "%s", outcome != NULL ? outcome : "");
    json_decref(root);
    return rc;
}

im_code describe_remember(const describe_memory *m, const uint8_t key[IM_SHA256_BYTES],
                          const char *outcome, const im_error *why, im_error *err)
{
    im_json_writer w;
    im_json_init(&w, 4096);
    im_json_begin_object(&w);
    im_json_put_string(&w, "outcome", outcome);
    if (why != NULL) {
        im_json_put_string(&w, "reason", why->message);
    }
    im_json_end_object(&w);
    im_code rc = vlm_keep(m->store, key, m->model, m->version, &w, err);
    im_json_clear(&w);
    return rc;
}
