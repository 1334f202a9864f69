/* imago/api_internal.h — what the files of imago/ share. */
#ifndef IM_IMAGO_API_INTERNAL_H
#define IM_IMAGO_API_INTERNAL_H

#include "app/app.h"
#include "base/base.h"
#include "imago/imago.h"

#include <pthread.h>

struct imago_library {
    pthread_mutex_t lock; /* held by each call for its whole length */
    im_places places;
    im_library *library; /* guarded by lock */
    char *model;         /* NULL: the library's */
    size_t threads;
    bool writable;
};

void api_copy_error(imago_error *out, const im_error *from);
/** Last step of each call: the code, and on failure the value (out may be NULL). */
imago_code api_hand_over(im_code rc, const im_error *err, imago_error *out);
/** IMAGO_ERR_INVALID with a sentence. */
imago_code api_refuse(imago_error *error, const char *sentence);
/** A whole call that answers with what `tell` writes, as a new string. */
imago_code api_tell(imago_library *library, uint64_t item,
                    im_code (*tell)(im_library *library, uint64_t item, im_json_writer *w,
                                    im_error *err),
                    char **out_json, imago_error *error);

#endif
