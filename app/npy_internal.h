/* app/npy_internal.h — matrices as NumPy writes them (numpy/lib/format.py): the header read from
 * foreign bytes and written, rows turned into float32. No files are opened here. */
#ifndef IM_APP_NPY_INTERNAL_H
#define IM_APP_NPY_INTERNAL_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define NPY_HEAD_BYTES 128u             /* of the headers that npy_write_head makes */
#define NPY_HEAD_MOST_BYTES (16u << 10) /* of the headers that are read */
#define NPY_PREFIX_BYTES 12u            /* magic, version and the longer form of the length */

typedef enum npy_type { NPY_F2, NPY_F4, NPY_F8 } npy_type;

typedef struct npy_head {
    npy_type type;
    uint64_t rows;
    size_t dim;       /* >= 1 */
    size_t row_bytes; /* of the file */
    uint64_t data_at; /* where row 0 begins */
} npy_head;

/** Length of the whole header from the first NPY_PREFIX_BYTES bytes (fewer when the file is
 * shorter). IM_ERR_FORMAT: no NumPy file, or cut; IM_ERR_UNSUPPORTED: another version;
 * IM_ERR_LIMIT. `name` goes into the sentences. */
IM_NODISCARD im_code npy_head_size(const uint8_t *data, size_t size, const char *name,
                                   size_t *out_size, im_error *err);
/** Reads a whole header of that length and holds it against the length of the file. Versions 1.0 to
 * 3.0, little-endian float16, float32 and float64, C order, two dimensions (IM_ERR_UNSUPPORTED for
 * other types and for Fortran order, naming them); vector_invalid for a shape that holds no
 * vectors; IM_ERR_FORMAT for what NumPy would not read either, and for a file that is longer or
 * shorter than its header says. */
IM_NODISCARD im_code npy_read_head(const uint8_t *data, size_t size, uint64_t file_bytes,
                                   const char *name, npy_head *out, im_error *err);
/** Turns the bytes of n rows (not aligned) into n rows of float32; what float32 cannot hold becomes
 * infinite. */
void npy_to_f32(const npy_head *head, const uint8_t *bytes, size_t n, float *out);
/** A header of version 1.0 of a float32 matrix; its length does not depend on the shape. */
void npy_write_head(uint64_t rows, size_t dim, uint8_t out[NPY_HEAD_BYTES]);

#endif
