/* app/slot_bitmaps.c — bitmaps of slots that only the database can give (paths, tags, full text),
 * kept for those who ask the same again at the same moment of the library. */
#include "app/app_internal.h"

static size_t bytes_of(const im_library *library)
{
    return (size_t)((library->index_record.n_rows + 63) / 64) * sizeof(uint64_t);
}

void library_forget_bitmaps(im_library *library)
{
    for (size_t i = 0; i < APP_SLOT_BITMAPS; i++) {
        im_free(library->bitmaps[i].question);
        im_free(library->bitmaps[i].bits);
        library->bitmaps[i] = (slot_bitmap){0};
    }
}

/* Copies what is kept of the same question about the same moment. */
static bool recall(im_library *library, const char *question, uint64_t *out_bits)
{
    for (size_t i = 0; i < APP_SLOT_BITMAPS; i++) {
        slot_bitmap *kept = &library->bitmaps[i];
        if (kept->question != NULL && kept->seq == library->index_seq &&
            kept->generation == library->index_record.generation &&
            kept->n_rows == library->index_record.n_rows && strcmp(kept->question, question) == 0) {
            memcpy(out_bits, kept->bits, bytes_of(library));
            kept->used = ++library->n_asked;
            return true;
        }
    }
    return false;
}

/* Keeps an answer in the place of the one that was not used for longest; without memory it does
 * not.
 */
static void keep(im_library *library, const char *question, const uint64_t *bits)
{
    slot_bitmap *oldest = &library->bitmaps[0];
    size_t bytes = bytes_of(library);
    for (size_t i = 1; i < APP_SLOT_BITMAPS; i++) {
        oldest = library->bitmaps[i].used < oldest->used ? &library->bitmaps[i] : oldest;
    }
    im_free(oldest->question);
    im_free(oldest->bits);
    *oldest = (slot_bitmap){.question = im_strdup(question),
                            .bits = im_alloc(bytes, 1),
                            .seq = library->index_seq,
                            .generation = library->index_record.generation,
                            .n_rows = library->index_record.n_rows,
                            .used = ++library->n_asked};
    if (oldest->question == NULL || oldest->bits == NULL) {
        im_free(oldest->question);
        im_free(oldest->bits);
        *oldest = (slot_bitmap){0};
        return;
    }
    memcpy(oldest->bits, bits, bytes);
}

im_code library_slots(im_library *library, library_slots_fn find, const char *name, im_view value,
                      uint64_t *out_bits, im_error *err)
{
    im_str question;
    im_code rc = IM_OK;
    im_str_init(&question, 2u * IM_LIMIT_QUERY_BYTES);
    im_str_addf(&question, "%s:%.*s", name, (int)value.size, value.data);
    bool known = !question.failed && recall(library, im_str_text(&question), out_bits);
    if (!known) {
        rc = find(library->store, library->model.id, value, library->index_record.n_rows, out_bits,
                  err);
    }
    if (!known && rc == IM_OK && !question.failed) {
        keep(library, im_str_text(&question), out_bits);
    }
    im_str_clear(&question);
    return rc;
}
