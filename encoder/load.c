/* encoder/load.c — weights as the towers use them: packed from the model's tensors into memory, or
 * found ready in a file of packed weights. A piece has the same name either way. */
#include "encoder/encoder_internal.h"

/* ---- pieces ---- */

/* The piece from the file, or a new block of memory to be filled (*out_new). */
static im_code piece_get(weight_source *s, const char *name, size_t bytes, void **out,
                         bool *out_new, im_error *err)
{
    *out_new = s->packed == NULL;
    if (s->packed != NULL) {
        const void *found = NULL;
        im_code rc = packed_take(s->packed, name, bytes, &found, err);
        *out = (void *)(uintptr_t)found; /* only read: the owner's flag says that it is mapped */
        return rc;
    }
    *out = im_alloc_aligned(bytes, 1);
    return *out != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for weights '%s'", name);
}

/* A filled block goes to the list of those that want to write it down. */
static im_code piece_made(weight_source *s, const char *name, const void *data, size_t bytes,
                          im_error *err)
{
    return s->made != NULL ? packed_add(s->made, name, data, bytes, err) : IM_OK;
}

static void piece_free(bool mapped, void *data)
{
    if (!mapped) {
        im_free(data);
    }
}

/* ---- values ---- */

im_code values_load(float **out, weight_source *s, const char *name, size_t n_dims,
                    const uint64_t *shape, im_error *err)
{
    const tensor *t = NULL;
    void *values = NULL;
    bool fresh = false;
    im_code rc = weights_find(s->weights, name, n_dims, shape, &t, err);
    if (rc == IM_OK) {
        rc = piece_get(s, name, (size_t)t->n_values * sizeof(float), &values, &fresh, err);
    }
    *out = values;
    if (rc != IM_OK || !fresh) {
        return rc;
    }
    tensor_read(t, 0, (size_t)t->n_values, values);
    return piece_made(s, name, values, (size_t)t->n_values * sizeof(float), err);
}

im_code norm_load(norm *n, weight_source *s, const char *name, size_t width, im_error *err)
{
    char tensor_name[160];
    uint64_t shape[1] = {width};
    n->mapped = s->packed != NULL;
    (void)snprintf(tensor_name, sizeof(tensor_name), "%s.weight", name);
    im_code rc = values_load(&n->weight, s, tensor_name, 1, shape, err);
    if (rc == IM_OK) {
        (void)snprintf(tensor_name, sizeof(tensor_name), "%s.bias", name);
        rc = values_load(&n->bias, s, tensor_name, 1, shape, err);
    }
    return rc;
}

void norm_clear(norm *n)
{
    piece_free(n->mapped, n->weight);
    piece_free(n->mapped, n->bias);
    memset(n, 0, sizeof(*n));
}

/* ---- matrices ---- */

static void pack_row16(packed_matrix *m, size_t column, const float *row)
{
    size_t pairs = (m->k + 1) / 2;
    uint16_t *panel = m->panels16 + (column / PANEL * PANEL * pairs + column % PANEL) * 2;
    for (size_t k = 0; k < 2 * pairs; k++) {
        panel[k / 2 * PANEL * 2 + k % 2] = k < m->k ? bf16_of(row[k]) : 0;
    }
}

/* Rows [first, first + n) of a packed matrix from a tensor [n, k]. */
static im_code pack_rows(packed_matrix *m, const kernel *set, size_t first, const tensor *t,
                         size_t n, im_error *err)
{
    float *row = im_alloc(m->k, sizeof(float));
    if (row == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to pack weights");
    }
    for (size_t i = 0; i < n; i++) {
        size_t column = first + i;
        tensor_read(t, (uint64_t)i * m->k, m->k, row);
        if (m->panels16 != NULL) {
            pack_row16(m, column, row);
            continue;
        }
        if (m->panels8 != NULL) {
            kernel_pack_row8(set, m->panels8 + column / PANEL * kernel_panel8_bytes(set, m->k),
                             column % PANEL, row, m->k);
            continue;
        }
        float *panel = m->panels + column / PANEL * PANEL * m->k + column % PANEL;
        for (size_t k = 0; k < m->k; k++) {
            panel[k * PANEL] = row[k];
        }
    }
    im_free(row);
    return IM_OK;
}

/* One tensor of a matrix: outputs [first, first + n). */
typedef struct matrix_part {
    const tensor *weight, *bias; /* bias: NULL for none */
    size_t n;
} matrix_part;

static im_code matrix_bytes(const kernel *set, size_t n, size_t k, im_precision precision,
                            size_t *out_bytes, im_error *err)
{
    size_t panels = (n + PANEL - 1) / PANEL;
    size_t bytes = precision == IM_PRECISION_INT8   ? kernel_panel8_bytes(set, k)
                   : precision == IM_PRECISION_BF16 ? (k + k % 2) * PANEL * sizeof(uint16_t)
                                                    : k * PANEL * sizeof(float);
    if (precision == IM_PRECISION_INT8 && k > INT8_MOST_K) {
        im_code rc =
            im_fail(err, IM_ERR_UNSUPPORTED,
                    "int8 products of %zu inputs are not there, at most of %u", k, INT8_MOST_K);
        im_hint(err, "use --precision bf16 or fp32");
        return rc;
    }
    if (!im_size_mul(panels, bytes, out_bytes)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for weights of %zu x %zu", n, k);
    }
    return IM_OK;
}

static void *matrix_data(const packed_matrix *m)
{
    return m->panels != NULL     ? (void *)m->panels
           : m->panels16 != NULL ? (void *)m->panels16
                                 : (void *)m->panels8;
}

static im_code fill_matrix(linear *l, const kernel *set, const matrix_part *parts, size_t n_parts,
                           size_t bytes, im_error *err)
{
    packed_matrix *m = &l->matrix;
    size_t first = 0;
    im_code rc = IM_OK;
    if (m->n % PANEL != 0) { /* the columns that do not exist must be finite */
        size_t last = bytes / ((m->n + PANEL - 1) / PANEL);
        memset((char *)matrix_data(m) + bytes - last, 0, last);
    }
    for (size_t i = 0; i < n_parts && rc == IM_OK; i++) {
        rc = pack_rows(m, set, first, parts[i].weight, parts[i].n, err);
        if (rc == IM_OK && l->bias != NULL) {
            tensor_read(parts[i].bias, 0, parts[i].n, l->bias + first);
        }
        first += parts[i].n;
    }
    return rc;
}

static im_code load_bias(linear *l, weight_source *s, const char *name, size_t bytes, im_error *err)
{
    char piece[160];
    void *bias = NULL;
    bool fresh = false;
    (void)snprintf(piece, sizeof(piece), "%s.bias", name);
    im_code rc = piece_get(s, piece, bytes, &bias, &fresh, err);
    l->bias = bias;
    return rc;
}

/* The matrix `name` of its parts, which lie one behind the other. */
static im_code matrix_load(linear *l, weight_source *s, const char *name, const matrix_part *parts,
                           size_t n_parts, size_t k, im_precision precision, im_error *err)
{
    char piece[160];
    size_t n = 0;
    size_t bytes = 0;
    void *data = NULL;
    bool fresh = false;
    for (size_t i = 0; i < n_parts; i++) {
        n += parts[i].n;
    }
    l->mapped = s->packed != NULL;
    l->matrix.n = n;
    l->matrix.k = k;
    (void)snprintf(piece, sizeof(piece), "%s.panels", name);
    im_code rc = matrix_bytes(s->kernel, n, k, precision, &bytes, err);
    if (rc == IM_OK) {
        rc = piece_get(s, piece, bytes, &data, &fresh, err);
        l->matrix.panels = precision == IM_PRECISION_FP32 ? data : NULL;
        l->matrix.panels16 = precision == IM_PRECISION_BF16 ? data : NULL;
        l->matrix.panels8 = precision == IM_PRECISION_INT8 ? data : NULL;
    }
    if (rc == IM_OK && parts[0].bias != NULL) {
        rc = load_bias(l, s, name, n * sizeof(float), err);
    }
    if (rc != IM_OK || !fresh) {
        return rc;
    }
    rc = fill_matrix(l, s->kernel, parts, n_parts, bytes, err);
    if (rc == IM_OK) {
        rc = piece_made(s, piece, data, bytes, err);
    }
    if (rc == IM_OK && l->bias != NULL) {
        (void)snprintf(piece, sizeof(piece), "%s.bias", name);
        rc = piece_made(s, piece, l->bias, n * sizeof(float), err);
    }
    return rc;
}

/* Finds "name.weight" [n, k] and, when wanted, "name.bias" [n]: before anything is sized by them.
 */
static im_code find_part(const weight_source *s, const char *name, size_t n, size_t k, bool bias,
                         matrix_part *out, im_error *err)
{
    char tensor_name[160];
    uint64_t shape[2] = {n, k};
    *out = (matrix_part){.n = n};
    (void)snprintf(tensor_name, sizeof(tensor_name), "%s.weight", name);
    im_code rc = weights_find(s->weights, tensor_name, 2, shape, &out->weight, err);
    if (rc == IM_OK && bias) {
        (void)snprintf(tensor_name, sizeof(tensor_name), "%s.bias", name);
        rc = weights_find(s->weights, tensor_name, 1, shape, &out->bias, err);
    }
    return rc;
}

im_code linear_load(linear *l, weight_source *s, const char *name, size_t n_out, size_t n_in,
                    bool bias, im_precision precision, im_error *err)
{
    matrix_part part;
    im_code rc = find_part(s, name, n_out, n_in, bias, &part, err);
    return rc == IM_OK ? matrix_load(l, s, name, &part, 1, n_in, precision, err) : rc;
}

im_code linear_of_tensor(linear *l, weight_source *s, const char *name, const tensor *t,
                         im_precision precision, im_error *err)
{
    matrix_part part = {.weight = t, .n = (size_t)t->shape[0]};
    return matrix_load(l, s, name, &part, 1, (size_t)t->shape[1], precision, err);
}

void linear_clear(linear *l)
{
    piece_free(l->mapped, matrix_data(&l->matrix));
    piece_free(l->mapped, l->bias);
    memset(l, 0, sizeof(*l));
}

/* ---- towers ---- */

/* q, k and v as one matrix. */
static im_code qkv_load(block *b, const tower_config *c, weight_source *s, const char *prefix,
                        size_t layer, im_precision precision, im_error *err)
{
    static const char *const names[] = {"q_proj", "k_proj", "v_proj"};
    char name[128];
    matrix_part parts[IM_COUNT(names)];
    im_code rc = IM_OK;
    for (size_t i = 0; i < IM_COUNT(names) && rc == IM_OK; i++) {
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.self_attn.%s", prefix, layer,
                       names[i]);
        rc = find_part(s, name, c->width, c->width, true, &parts[i], err);
    }
    (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.self_attn.qkv", prefix, layer);
    return rc == IM_OK
               ? matrix_load(&b->qkv, s, name, parts, IM_COUNT(names), c->width, precision, err)
               : rc;
}

static im_code block_load(block *b, const tower_config *c, weight_source *s, const char *prefix,
                          size_t layer, im_precision precision, im_error *err)
{
    char name[128];
    im_code rc = qkv_load(b, c, s, prefix, layer, precision, err);
    const struct {
        const char *tail;
        linear *to;
        size_t n_out, n_in;
    } linears[] = {{"self_attn.out_proj", &b->out, c->width, c->width},
                   {"mlp.fc1", &b->fc1, c->mlp, c->width},
                   {"mlp.fc2", &b->fc2, c->width, c->mlp}};
    for (size_t i = 0; i < IM_COUNT(linears) && rc == IM_OK; i++) {
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.%s", prefix, layer,
                       linears[i].tail);
        rc = linear_load(linears[i].to, s, name, linears[i].n_out, linears[i].n_in, true, precision,
                         err);
    }
    if (rc == IM_OK) {
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.layer_norm1", prefix, layer);
        rc = norm_load(&b->norm1, s, name, c->width, err);
    }
    if (rc == IM_OK) {
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.layer_norm2", prefix, layer);
        rc = norm_load(&b->norm2, s, name, c->width, err);
    }
    return rc;
}

im_code tower_load(tower *t, const tower_config *config, const char *prefix, weight_source *s,
                   size_t max_rows, size_t max_sequences, size_t max_length, size_t n_workers,
                   im_precision precision, im_error *err)
{
    im_code rc = IM_OK;
    t->config = *config;
    t->max_rows = max_rows;
    t->max_sequences = max_sequences;
    t->n_workers = n_workers;
    t->blocks = im_alloc_zero(config->layers, sizeof(*t->blocks));
    if (t->blocks == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu layers", config->layers);
    }
    for (size_t i = 0; i < config->layers && rc == IM_OK; i++) {
        rc = block_load(&t->blocks[i], config, s, prefix, i, precision, err);
    }
    for (size_t i = 0; i < config->layers; i++) {
        block *b = &t->blocks[i];
        b->qkv.next = &b->out;
        b->out.next = &b->fc1;
        b->fc1.next = &b->fc2;
        b->fc2.next = i + 1 < config->layers ? &t->blocks[i + 1].qkv : NULL;
    }
    return rc == IM_OK ? tower_plan(t, max_length, precision, err) : rc;
}

void tower_clear(tower *t)
{
    for (size_t i = 0; t->blocks != NULL && i < t->config.layers; i++) {
        block *b = &t->blocks[i];
        norm_clear(&b->norm1);
        norm_clear(&b->norm2);
        linear_clear(&b->qkv);
        linear_clear(&b->out);
        linear_clear(&b->fc1);
        linear_clear(&b->fc2);
    }
    im_free(t->blocks);
    im_arena_clear(&t->arena);
    memset(t, 0, sizeof(*t));
}
