/* base/error.h — result codes and the one error value that travels up the house. */
#ifndef IM_BASE_ERROR_H
#define IM_BASE_ERROR_H

#if defined(__GNUC__)
#define IM_NODISCARD __attribute__((warn_unused_result))
#define IM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define IM_NODISCARD
#define IM_PRINTF(fmt, args)
#endif

typedef enum im_code {
#define X(name, exit_code, http, meaning) IM_##name,
#include "base/error.def"
#undef X
    IM_CODE_COUNT
} im_code;

typedef enum im_reason {
#define X(NAME, name, code, meaning) IM_REASON_##NAME,
#include "base/reasons.def"
#undef X
    IM_REASON_COUNT
} im_reason;

/** A failure: filled once, at the deepest place that knows; callers pass it up unchanged.
 * A plain value; copying is fine. `reason` points to static text. */
typedef struct im_error {
    im_code code;
    const char *reason; /* row of base/reasons.def, e.g. "picture_truncated" */
    char message[384];  /* one sentence, control bytes escaped */
    char hint[128];     /* what to do next, may be empty */
    char field[96];     /* of a request, as the sentence names it: "parts[0].weight"; or empty */
    char file[256];     /* that the sentence is about; empty: none, or a longer name */
} im_error;

#define IM_ERROR_INIT               \
    {                               \
        IM_OK, "ok", "", "", "", "" \
    }

/** Fills err (may be NULL) with the general reason of the class `code`; returns `code`.
 * In all of these control bytes and bad UTF-8 are escaped, and a sentence that is too long loses
 * its middle ("…"), never a part of a character. The arguments may point into *err's texts. */
IM_NODISCARD im_code im_fail(im_error *err, im_code code, const char *fmt, ...) IM_PRINTF(3, 4);

/** Fills err (may be NULL) with a row of base/reasons.def; returns that row's class. */
IM_NODISCARD im_code im_fail_as(im_error *err, im_reason reason, const char *fmt, ...)
    IM_PRINTF(3, 4);

/** As im_fail_as, from an errno value: ENOSPC/EDQUOT become IM_ERR_FULL, EACCES/EPERM/EROFS
 * IM_ERR_DENIED, ENOENT/ENOTDIR IM_ERR_NOT_FOUND, ENOMEM/EMFILE/ENFILE IM_ERR_NOMEM, ENAMETOOLONG
 * path_too_long, the rest IM_ERR_IO; the errno text is appended to the sentence. */
IM_NODISCARD im_code im_fail_errno(im_error *err, int errnum, const char *fmt, ...) IM_PRINTF(3, 4);

/** Sets the hint of an error that was just filled; err may be NULL. */
void im_hint(im_error *err, const char *fmt, ...) IM_PRINTF(2, 3);
/** Names the field of a request that an error which was just filled is about; err may be NULL. */
void im_at_field(im_error *err, const char *fmt, ...) IM_PRINTF(2, 3);
/** Names the file that such an error is about, unless its name is too long; err may be NULL. */
void im_at_file(im_error *err, const char *path);

/** "IM_ERR_FORMAT" for IM_ERR_FORMAT; never NULL. */
const char *im_code_name(im_code code);
int im_code_exit(im_code code);
int im_code_http(im_code code);
const char *im_code_meaning(im_code code);
const char *im_reason_name(im_reason reason);

#endif
