/* app/space.c — which vectors may stand side by side: those of one model (its files' digest) and of
 * one precision class. fp32 and bf16 are one class, int8 is another, with a model row, background
 * and index of its own. */
#include "app/app_internal.h"

bool precision_is_int8(const char *name)
{
    return strcmp(name, im_precision_name(IM_PRECISION_INT8)) == 0;
}

/* Rows are found by digest, and an index names its own: that of int8 vectors is the digest of the
 * files with each digit n as 15 - n. Done twice it is the digest again. */
static void invert(const char *digest, char out[65])
{
    static const char digits[] = "0123456789abcdef";
    memset(out, 0, 65);
    for (size_t i = 0; i < 64 && digest[i] != '\0'; i++) {
        const char *at = strchr(digits, digest[i]);
        out[i] = at != NULL ? digits[15 - (at - digits)] : digest[i];
    }
}

void space_of(const char *files_digest, bool int8, char out[65])
{
    if (int8) {
        invert(files_digest, out);
    } else {
        (void)snprintf(out, 65, "%s", files_digest);
    }
}

void model_files_digest(const im_model_row *row, char out[65])
{
    space_of(row->digest, precision_is_int8(row->precision), out);
}

bool space_differs(const im_model_row *row, im_precision wanted)
{
    return wanted != IM_PRECISION_AUTO &&
           precision_is_int8(row->precision) != (wanted == IM_PRECISION_INT8);
}

im_code space_check(const im_library *library, im_error *err)
{
    const im_model_row *row = &library->model;
    if (!space_differs(row, library->precision)) {
        return IM_OK;
    }
    const char *wanted = im_precision_name(library->precision);
    im_code rc = im_fail_as(
        err, IM_REASON_MODEL_MISMATCH,
        "library '%s' holds %s vectors, those of %s do not compare with them", library->folder,
        precision_is_int8(row->precision) ? row->precision : "fp32 or bf16", wanted);
    im_hint(err, "leave --precision out, or make all vectors anew: imago rebuild --precision %s",
            wanted);
    return rc;
}
