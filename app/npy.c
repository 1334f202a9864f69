/* app/npy.c — NumPy's file header, read strictly and written, and its numbers as float32. The
 * header is a Python literal: a dict of three keys in any order. */
#include "app/npy_internal.h"
#include "base/base.h"

#include <float.h>
#include <math.h>

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

/* ---- reading ---- */

static im_code fail_head(const char *name, const char *what, im_error *err)
{
    im_code rc = im_fail(err, IM_ERR_FORMAT, "'%s': the NumPy header %s", name, what);
    im_hint(err, "write it again: numpy.save('vectors.npy', array)");
    return rc;
}

im_code npy_head_size(const uint8_t *data, size_t size, const char *name, size_t *out_size,
                      im_error *err)
{
    if (size < sizeof(magic) || memcmp(data, magic, sizeof(magic)) != 0) {
        im_code rc = im_fail(err, IM_ERR_FORMAT,
                             "'%s' is no NumPy file: its first bytes are not "
                             "\\x93NUMPY",
                             name);
        im_hint(err, "write it with numpy.save('vectors.npy', array)");
        return rc;
    }
    if (size < NPY_PREFIX_BYTES) {
        return fail_head(name, "is cut short", err);
    }
    unsigned major = data[6];
    if (major < 1 || major > 3 || data[7] != 0) {
        return im_fail(err, IM_ERR_UNSUPPORTED,
                       "'%s' has version %u.%u of the NumPy format, expected 1.0 to 3.0", name,
                       major, (unsigned)data[7]);
    }
    size_t prefix = major == 1 ? 10 : 12;
    size_t length = data[8] | (size_t)data[9] << 8;
    if (major > 1) {
        length |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    }
    if (length > NPY_HEAD_MOST_BYTES - prefix) {
        return im_fail(err, IM_ERR_LIMIT, "'%s': the NumPy header has %zu bytes, the limit is %u",
                       name, length, NPY_HEAD_MOST_BYTES);
    }
    *out_size = prefix + length;
    return IM_OK;
}

/* What is left of the literal. */
typedef struct literal {
    const char *at, *end;
} literal;

static void skip_blanks(literal *text)
{
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\n' || *text->at == '\t')) {
        text->at++;
    }
}

static bool take_char(literal *text, char c)
{
    skip_blanks(text);
    bool there = text->at < text->end && *text->at == c;
    text->at += there;
    return there;
}

static bool take_word(literal *text, const char *word)
{
    size_t size = strlen(word);
    skip_blanks(text);
    bool there = (size_t)(text->end - text->at) >= size && memcmp(text->at, word, size) == 0;
    text->at += there ? size : 0;
    return there;
}

/* A string without escapes, in either kind of quotes. */
static bool take_string(literal *text, im_view *out)
{
    skip_blanks(text);
    if (text->at == text->end || (*text->at != '\'' && *text->at != '"')) {
        return false;
    }
    const char *start = text->at + 1;
    const char *close = memchr(start, *text->at, (size_t)(text->end - start));
    if (close == NULL || memchr(start, '\\', (size_t)(close - start)) != NULL) {
        return false;
    }
    *out = im_view_of(start, (size_t)(close - start));
    text->at = close + 1;
    return true;
}

/* Decimal digits; false for none and for more than 64 bits. */
static bool take_number(literal *text, uint64_t *out)
{
    uint64_t value = 0;
    skip_blanks(text);
    const char *start = text->at;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') {
        if (!im_u64_mul(value, 10, &value) ||
            !im_u64_add(value, (uint64_t)(*text->at - '0'), &value)) {
            return false;
        }
        text->at++;
    }
    *out = value;
    return text->at > start;
}

#define SHAPE_MOST 32u /* dimensions of an array of NumPy's */

typedef struct npy_facts {
    im_view descr;
    bool has_descr, has_order, has_shape, fortran, descr_is_list;
    uint64_t shape[SHAPE_MOST];
    size_t n_shape;
} npy_facts;

static bool take_shape(literal *text, npy_facts *facts)
{
    if (!take_char(text, '(')) {
        return false;
    }
    while (!take_char(text, ')')) {
        if (facts->n_shape == SHAPE_MOST || !take_number(text, &facts->shape[facts->n_shape++])) {
            return false;
        }
        if (!take_char(text, ',')) {
            return facts->n_shape > 1 && take_char(text, ')');
        }
    }
    return true;
}

/* One "key: value"; a key twice or one that NumPy does not write is refused. */
static bool take_entry(literal *text, npy_facts *facts)
{
    im_view key;
    if (!take_string(text, &key) || !take_char(text, ':')) {
        return false;
    }
    if (im_view_equal_c(key, "descr") && !facts->has_descr) {
        facts->has_descr = true;
        facts->descr_is_list = take_char(text, '[');
        return facts->descr_is_list || take_string(text, &facts->descr);
    }
    if (im_view_equal_c(key, "fortran_order") && !facts->has_order) {
        facts->has_order = true;
        facts->fortran = take_word(text, "True");
        return facts->fortran || take_word(text, "False");
    }
    if (im_view_equal_c(key, "shape") && !facts->has_shape) {
        facts->has_shape = true;
        return take_shape(text, facts);
    }
    return false;
}

static bool take_dict(literal *text, npy_facts *facts)
{
    if (!take_char(text, '{')) {
        return false;
    }
    while (!take_char(text, '}')) {
        if (!take_entry(text, facts)) {
            return false;
        }
        if (facts->descr_is_list) {
            return true; /* a record: refused for its type whatever follows */
        }
        if (!take_char(text, ',')) {
            if (!take_char(text, '}')) {
                return false;
            }
            break;
        }
    }
    skip_blanks(text);
    return text->at == text->end && facts->has_descr && facts->has_order && facts->has_shape;
}

static im_code read_type(const npy_facts *facts, const char *name, npy_head *out, im_error *err)
{
    static const char *const names[] = {[NPY_F2] = "<f2", [NPY_F4] = "<f4", [NPY_F8] = "<f8"};
    for (size_t i = 0; i < IM_COUNT(names) && !facts->descr_is_list; i++) {
        if (im_view_equal_c(facts->descr, names[i])) {
            out->type = (npy_type)i;
            return IM_OK;
        }
    }
    im_code rc =
        facts->descr_is_list
            ? im_fail(err, IM_ERR_UNSUPPORTED, "'%s' has a structured dtype, expected '<f4'", name)
            : im_fail(err, IM_ERR_UNSUPPORTED,
                      "'%s' has dtype '%.*s', expected '<f4' ('<f2' and '<f8' do too)", name,
                      (int)IM_MIN(facts->descr.size, (size_t)64), facts->descr.data);
    im_hint(err, "convert it: numpy.save('vectors.npy', array.astype('<f4'))");
    return rc;
}

static im_code read_shape(const npy_facts *facts, const char *name, npy_head *out, im_error *err)
{
    static const size_t widths[] = {[NPY_F2] = 2, [NPY_F4] = 4, [NPY_F8] = 8};
    im_code rc = IM_OK;
    if (facts->fortran) {
        rc = im_fail(err, IM_ERR_UNSUPPORTED, "'%s' is in Fortran order, expected C order", name);
        im_hint(err, "convert it: numpy.save('vectors.npy', numpy.ascontiguousarray(array))");
        return rc;
    }
    if (facts->n_shape != 2) {
        rc = im_fail_as(err, IM_REASON_VECTOR_INVALID,
                        "'%s' has %zu dimensions, expected 2: one row a vector", name,
                        facts->n_shape);
        im_hint(err, "reshape it: array.reshape(n, d)");
        return rc;
    }
    if (facts->shape[1] == 0 || facts->shape[1] > IM_LIMIT_MODEL_WIDTH) {
        return im_fail_as(err, IM_REASON_VECTOR_INVALID,
                          "'%s' has vectors of %llu numbers, expected 1 to %u", name,
                          (unsigned long long)facts->shape[1], IM_LIMIT_MODEL_WIDTH);
    }
    out->rows = facts->shape[0];
    out->dim = (size_t)facts->shape[1];
    out->row_bytes = out->dim * widths[out->type];
    return IM_OK;
}

im_code npy_read_head(const uint8_t *data, size_t size, uint64_t file_bytes, const char *name,
                      npy_head *out, im_error *err)
{
    npy_facts facts = {0};
    npy_head head = {.data_at = size};
    uint64_t wanted = 0;
    size_t prefix = data[6] == 1 ? 10 : 12;
    literal text = {(const char *)data + prefix, (const char *)data + size};
    if (!take_dict(&text, &facts)) {
        return fail_head(name, "is not {'descr': …, 'fortran_order': …, 'shape': (…)}", err);
    }
    im_code rc = read_type(&facts, name, &head, err);
    if (rc == IM_OK) {
        rc = read_shape(&facts, name, &head, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (!im_u64_mul(head.rows, head.row_bytes, &wanted) || !im_u64_add(wanted, size, &wanted)) {
        return im_fail(err, IM_ERR_FORMAT, "'%s': the shape (%llu, %zu) is larger than any file",
                       name, (unsigned long long)head.rows, head.dim);
    }
    if (wanted != file_bytes) {
        rc = im_fail(err, IM_ERR_FORMAT,
                     "'%s' has %llu bytes, expected %llu for its shape (%llu, %zu)", name,
                     (unsigned long long)file_bytes, (unsigned long long)wanted,
                     (unsigned long long)head.rows, head.dim);
        im_hint(err, "the copy may be cut short: compare its size with the original's");
        return rc;
    }
    *out = head;
    return IM_OK;
}

/* ---- numbers ---- */

/* IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction. */
static float half_to_float(uint16_t half)
{
    int exponent = half >> 10 & 31;
    float fraction = (float)(half & 1023);
    float value = exponent == 0    ? ldexpf(fraction, -24)
                  : exponent == 31 ? (fraction == 0.0f ? INFINITY : NAN)
                                   : ldexpf(1024.0f + fraction, exponent - 25);
    return (half & 0x8000) != 0 ? -value : value;
}

void npy_to_f32(const npy_head *head, const uint8_t *bytes, size_t n, float *out)
{
    size_t count = n * head->dim;
    switch (head->type) {
    case NPY_F4:
        memcpy(out, bytes, count * sizeof(float));
        break;
    case NPY_F2:
        for (size_t i = 0; i < count; i++) {
            out[i] = half_to_float((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
        }
        break;
    case NPY_F8:
        for (size_t i = 0; i < count; i++) {
            double value = 0;
            memcpy(&value, bytes + 8 * i, sizeof(value));
            out[i] =
                fabs(value) <= (double)FLT_MAX ? (float)value : (float)(value * (double)INFINITY);
        }
        break;
    }
}

/* ---- writing ---- */

void npy_write_head(uint64_t rows, size_t dim, uint8_t out[NPY_HEAD_BYTES])
{
    char text[NPY_HEAD_BYTES];
    int n = snprintf(text, sizeof(text),
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %zu), }",
                     (unsigned long long)rows, dim);
    memcpy(out, magic, sizeof(magic));
    out[6] = 1;
    out[7] = 0;
    out[8] = NPY_HEAD_BYTES - 10;
    out[9] = 0;
    memset(out + 10, ' ', NPY_HEAD_BYTES - 10);
    memcpy(out + 10, text, (size_t)n); /* at most 97 bytes: both numbers have up to 20 digits */
    out[NPY_HEAD_BYTES - 1] = '\n';
}
