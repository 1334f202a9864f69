/* tests/encoder/help_onednn.h — oneDNN as an oracle for test_onednn.c and test_onednn_rows.c. */
#ifndef IM_TESTS_ENCODER_HELP_ONEDNN_H
#define IM_TESTS_ENCODER_HELP_ONEDNN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "encoder/encoder_internal.h"

#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>

/** The plain twin, and all that are chosen for work. */
extern const kernel *const onednn_sets[6];

/** Fails unless oneDNN did what was asked. */
void ok(dnnl_status_t status, const char *what);
/** Set-up and tear-down of a group. */
int start_onednn(void **state);
int stop_onednn(void **state);

/** In [-scale, scale], aligned; im_free. */
float *random_floats(size_t n, float scale);
/** [rows, width] float32, row after row. */
dnnl_memory_desc_t plane(size_t rows, size_t width);
/** Runs a primitive over [rows, width] in place; `beside` is [beside_rows, width], or NULL. */
void run(const_dnnl_op_desc_t op, size_t rows, size_t width, float *values, int beside_arg,
         size_t beside_rows, float *beside);
/** out [m, n] = a [m, k] . b [n, k]^T ('T') or a . b [k, n] ('N') */
void multiply(char b_turned, size_t m, size_t n, size_t k, const float *a, size_t a_pitch,
              const float *b, size_t b_pitch, float *out, size_t out_pitch);

#endif
