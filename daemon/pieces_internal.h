/* daemon/pieces_internal.h — texts and pictures in the JSON of other people's APIs, and what the
 * routes that take them share: bodies as objects, sentences that name their field. */
#ifndef IM_DAEMON_PIECES_INTERNAL_H
#define IM_DAEMON_PIECES_INTERNAL_H

#include "daemon/daemon_internal.h"

/** http_body: "'FIELD': sentence", which also is the error's field. */
IM_NODISCARD im_code body_wrong(im_error *err, const char *field, const char *fmt, ...)
    IM_PRINTF(3, 4);
/** Reads an exchange's body as one object of these keys (the last is NULL). @param out_root
 * json_decref, also after a failure */
IM_NODISCARD im_code body_parse(const exchange *ex, const char *const *keys, json_t **out_root,
                                im_error *err);
/** model_not_found unless "model" is the library's or absent. */
IM_NODISCARD im_code body_check_model(const json_t *root, const im_embed_result *model,
                                      im_error *err);

/** What is to be embedded. Texts are borrowed from the JSON, which must outlive it. */
typedef struct piece_list {
    im_embed_piece *list; /* [n] */
    char **decoded;       /* [n], owned bytes of pictures */
    size_t n;
} piece_list;

/** Room for n pieces of `field`: 1 to most. @param out all zero */
IM_NODISCARD im_code pieces_open(piece_list *out, const char *field, size_t n, size_t most,
                                 im_error *err);
void pieces_clear(piece_list *pieces);
IM_NODISCARD im_code pieces_read_text(piece_list *pieces, size_t i, const char *field,
                                      const json_t *value, im_error *err);
/** "data:image/…;base64,…", or the base64 alone. URLs are refused. */
IM_NODISCARD im_code pieces_read_picture(piece_list *pieces, size_t i, const char *field,
                                         const json_t *value, im_error *err);
/** A string (a picture when it begins with "data:image/", or with `pictures`), {"text": …} or
 * {"image": …}. */
IM_NODISCARD im_code pieces_read(piece_list *pieces, size_t i, const char *field,
                                 const json_t *value, bool pictures, im_error *err);
/** The exchange fails because this piece did. */
void pieces_fail(exchange *ex, const char *field, const im_error *error);

#endif
