/* app/describe_internal.h — what the files of captions and readings share: pictures on their way to
 * the model and back. */
#ifndef IM_APP_DESCRIBE_INTERNAL_H
#define IM_APP_DESCRIBE_INTERNAL_H

#include "app/vlm_internal.h"
#include "base/hash.h"

/** One picture, from the line of vlm_audit to the answer. */
typedef struct describe_task {
    uint64_t item;
    uint8_t key[IM_SHA256_BYTES]; /* of what is remembered when there is no text */
    bool remembered;              /* something is, and is to be replaced */
    im_bytes picture;             /* owned */
    uint64_t send;                /* id of its line */
    uint32_t expected;            /* tokens */
    im_str text;
    im_vlm_judgement cost;
    im_code rc;
    im_error error;
} describe_task;
void describe_task_free(describe_task *task);

/** Threads that ask; everything else, the library above all, belongs to the caller's thread. */
typedef struct describe_crew describe_crew;
IM_NODISCARD im_code describe_crew_open(const vlm_use *use, im_vlm_wish wish, size_t n,
                                        describe_crew **out, im_error *err);
/** Gives a task away; never waits while fewer than n are under way. */
void describe_crew_put(describe_crew *crew, describe_task *task);
/** Waits for one that is done. */
describe_task *describe_crew_take(describe_crew *crew);
void describe_crew_close(describe_crew *crew);

/* ---- describe_known.c ---- */

/** What one model has said by one prompt. */
typedef struct describe_memory {
    im_store *store;
    const char *model, *version; /* of the prompt */
    im_caption_kind kind;
} describe_memory;
/* outcomes that are remembered */
#define DESCRIBE_FAILED "failed"
#define DESCRIBE_NONE "none"
#define DESCRIBE_DONE "described" /* in place of one of the others */

/** Of the picture's content, whatever file it lies in. */
void describe_key(const describe_memory *m, const im_item *item, uint8_t out[IM_SHA256_BYTES]);
IM_NODISCARD im_code describe_has_text(const describe_memory *m, uint64_t item, bool *out,
                                       im_error *err);
/** An outcome, "" when nothing is remembered. */
IM_NODISCARD im_code describe_recall(const describe_memory *m, const uint8_t key[IM_SHA256_BYTES],
                                     char out[16], im_error *err);
IM_NODISCARD im_code describe_remember(const describe_memory *m, const uint8_t key[IM_SHA256_BYTES],
                                       const char *outcome, const im_error *why, im_error *err);

/* ---- describe_select.c ---- */

/** Which items are meant, in the order they are to be asked about. */
IM_NODISCARD im_code describe_select(im_library *library, const im_search_request *search,
                                     id_list *out, im_error *err);

#endif
