/* encoder/encoder_internal.h — what the files of encoder/ share.
 *
 * Letters: T tokens of a sequence (patches and class, or text tokens), W width of a tower, F width
 * of its MLP, H heads, D dim of the joint space, R rows of a forward pass (all sequences of a batch
 * one behind the other, without padding). */
#ifndef IM_ENCODER_ENCODER_INTERNAL_H
#define IM_ENCODER_ENCODER_INTERNAL_H

#include "base/base.h"
#include "base/file.h"
#include "base/json.h"
#include "base/pool.h"
#include "encoder/encoder.h"
#include "encoder/kernel_internal.h"
#include "encoder/packed_internal.h"

#include <pthread.h>

/* ---- model_files.c ---- */

/** model_not_found unless the folder is there. */
IM_NODISCARD im_code model_folder_check(const char *folder, im_error *err);
/** "folder/name" (im_free) and whether a file of that name is there. A link must lead into the
 * folder, or into the blobs beside the snapshots of a Hugging Face cache; one that leads nowhere or
 * elsewhere is model_file_missing. */
IM_NODISCARD im_code model_path(const char *folder, const char *name, char **out_path,
                                bool *out_there, im_error *err);
/** Parses a JSON file of the folder; *out is NULL when there is none. What is wrong in it has the
 * reason given. *out_path (im_free) is set, or NULL, whatever is returned. */
IM_NODISCARD im_code model_json(const char *folder, const char *name, uint64_t max_bytes,
                                im_reason reason, json_t **out, char **out_path, im_error *err);
/** True for the name of a weights file of the digest: model.safetensors, model-….safetensors. */
bool model_weights_name(const char *name);

/* ---- config.c ---- */

typedef struct tower_config {
    size_t width, mlp, layers, heads;
    float eps; /* of the layer norms */
    kernel_activation activation;
} tower_config;

typedef struct model_config {
    tower_config image, text;
    size_t image_size, patch;
    size_t vocabulary, context;
    uint32_t eos;
    bool pool_highest; /* eos_token_id 2: transformers pools at the highest id */
    size_t dim;
    im_preprocess preprocess;
    float mean[3], std[3];
} model_config;

IM_NODISCARD im_code config_load(const char *folder, model_config *out, im_error *err);

/* ---- safetensors_header.c ---- */

/** Walks the JSON object at the start of a weights file one member at a time, so that no tree of
 * the whole is ever built. */
typedef struct header_reader {
    const char *text;
    size_t size, at;
    const char *file; /* for sentences */
} header_reader;

/** The next member, NULL and NULL behind the last one. The caller owns both (json_decref), also
 * after a failure. */
IM_NODISCARD im_code header_next(header_reader *r, json_t **out_name, json_t **out_value,
                                 im_error *err);

/* ---- safetensors.c ---- */

typedef enum tensor_type { TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_OTHER } tensor_type;

typedef struct tensor {
    char *name; /* owned by the weights */
    tensor_type type;
    size_t n_dims;
    uint64_t shape[8];
    const uint8_t *data; /* in the mapping; 2- or 4-byte aligned only by luck */
    uint64_t n_values;
    uint64_t from, to; /* data_offsets */
    const char *file;  /* for sentences */
} tensor;

typedef struct weights weights;

IM_NODISCARD im_code weights_open(const char *folder, weights **out_weights, im_error *err);
void weights_close(weights *w);
/** True when a mapped file was cut while in use. */
bool weights_lost(const weights *w);
uint64_t weights_bytes(const weights *w);
const char *weights_dtype(const weights *w);
/** The tensor of that name, its shape checked; model_tensor when it is missing or differs. */
IM_NODISCARD im_code weights_find(const weights *w, const char *name, size_t n_dims,
                                  const uint64_t *shape, const tensor **out, im_error *err);
/** Values [first, first + n) as float32. */
void tensor_read(const tensor *t, uint64_t first, size_t n, float *out);

/* ---- tokenizer.c, tokenizer_load.c ---- */

typedef struct tokenizer tokenizer;

/** @param n_rows rows of the token table: no id reaches beyond */
IM_NODISCARD im_code tokenizer_open(const char *folder, size_t n_rows, tokenizer **out,
                                    im_error *err);
void tokenizer_close(tokenizer *t);
/** Pieces of a file of packed weights, which point into t; and a tokenizer from them. */
IM_NODISCARD im_code tokenizer_pack(tokenizer *t, packed_pieces *made, im_error *err);
IM_NODISCARD im_code tokenizer_unpack(packed_file *f, size_t n_rows, tokenizer **out,
                                      im_error *err);
/** Ids with begin and end, at most `context`. The text is valid UTF-8. */
IM_NODISCARD im_code tokenizer_encode(const tokenizer *t, im_view text, size_t context,
                                      uint32_t *ids, size_t *out_n, bool *out_cut, im_error *err);

/* ---- load.c ---- */

/** Where a tower's weights come from. */
typedef struct weight_source {
    const kernel *kernel;   /* that they are packed for */
    const weights *weights; /* names and shapes are checked against it in any case */
    packed_file *packed;    /* pieces come from here; NULL: they are packed into memory */
    packed_pieces *made;    /* and listed here; NULL: nobody wants to know */
} weight_source;

typedef struct linear {
    packed_matrix matrix;      /* [out, in] packed */
    float *bias;               /* [out], NULL for none */
    bool mapped;               /* in a file of packed weights: not ours to free */
    const struct linear *next; /* whose weights are asked for at the end of this product, or NULL */
} linear;

typedef struct norm {
    float *weight, *bias; /* [W] */
    bool mapped;          /* as above */
} norm;

typedef struct block {
    norm norm1, norm2;
    linear qkv, out, fc1, fc2; /* qkv: q, k and v one behind the other, [3W, W] */
} block;

/** Room for rows as the kernel of a product reads them (kernel_internal.h). */
typedef struct laid_rows {
    void *units;       /* [rows, K or K + 1] of 4 bytes: no precision takes more */
    row_scale *scales; /* [rows]; int8 only */
} laid_rows;

/** The rows of a product. */
typedef struct linear_rows {
    const float *rows; /* [n, pitch], K used; NULL: they are laid already */
    size_t pitch, n;
    const norm *norm; /* in front of the product, or NULL */
    float eps;
    float *normed; /* with a norm: room for what it gives, [n, pitch] */
} linear_rows;

/** Where its results go, and what becomes of them on the way. */
typedef struct linear_out {
    float *rows; /* [n, pitch] */
    size_t pitch;
    kernel_activation activation;
    const float *residual; /* [n, pitch], may be `rows`; or NULL */
    void *laid; /* in place of rows and residual, not for int8: laid for the next product */
} linear_out;

/** Sees each stage of a pass: "pixels", "patches", "embeddings", "pre-norm", "block" (of `layer`),
 * "pooled", "projection", "vector". rows [n_rows, pitch], width used. */
typedef struct stage_tap {
    void (*see)(void *context, const char *stage, size_t layer, const float *rows, size_t pitch,
                size_t n_rows, size_t width);
    void *context;
} stage_tap;

typedef struct tower {
    const stage_tap *tap; /* borrowed; tests only, NULL otherwise */
    tower_config config;
    block *blocks; /* [layers] */
    size_t max_rows, max_sequences;
    /* scratch of a forward pass, all from one arena */
    im_arena arena;
    size_t pitch, mlp_pitch, qkv_pitch; /* floats between rows */
    float *x, *y, *att;                 /* [R, pitch] */
    float *qkv;                         /* [R, qkv_pitch] */
    float *hidden;                      /* [R, mlp_pitch] */
    float *pooled;                      /* [sequences, pitch] */
    laid_rows laid;                     /* the rows of the product at hand */
    float *head;                        /* per worker: keys turned and scores of one head */
    size_t head_floats, n_workers;
    size_t bf16_length; /* sequences of this length or more attend in bf16; SIZE_MAX: none */
} tower;

/** One sequence of the concatenated rows. */
typedef struct sequence {
    size_t start, length, pooled; /* pooled: place of the row that is wanted, from start */
} sequence;

IM_NODISCARD im_code tower_load(tower *t, const tower_config *config, const char *prefix,
                                weight_source *s, size_t max_rows, size_t max_sequences,
                                size_t max_length, size_t n_workers, im_precision precision,
                                im_error *err);
/** Scratch of a forward pass; sizes and config are set. */
IM_NODISCARD im_code tower_plan(tower *t, size_t max_length, im_precision precision, im_error *err);
void tower_clear(tower *t);
/** Runs the blocks over t->x (all sequences) and leaves each sequence's pooled row in t->pooled.
 * @param whole_last also computes the last block for every row (tests compare both ways) */
void tower_run(tower *t, const kernel *k, im_pool *pool, const sequence *sequences, size_t n,
               bool causal, bool whole_last);

/** Shows a stage to the tap when there is one. */
static inline void tower_show(const tower *t, const char *stage, size_t layer, const float *rows,
                              size_t pitch, size_t n_rows, size_t width)
{
    if (t->tap != NULL) {
        t->tap->see(t->tap->context, stage, layer, rows, pitch, n_rows, width);
    }
}

IM_NODISCARD im_code linear_load(linear *l, weight_source *s, const char *name, size_t n_out,
                                 size_t n_in, bool bias, im_precision precision, im_error *err);
/** Packs a tensor [N, K] without bias. */
IM_NODISCARD im_code linear_of_tensor(linear *l, weight_source *s, const char *name,
                                      const tensor *t, im_precision precision, im_error *err);
void linear_clear(linear *l);
IM_NODISCARD im_code norm_load(norm *n, weight_source *s, const char *name, size_t width,
                               im_error *err);
void norm_clear(norm *n);
/** A tensor as float32: a new block, or in the mapping when s->packed is there. */
IM_NODISCARD im_code values_load(float **out, weight_source *s, const char *name, size_t n_dims,
                                 const uint64_t *shape, im_error *err);
/** rows x matrix + bias with an epilogue, split over the pool. */
void linear_run(const linear *l, const kernel *k, im_pool *pool, const linear_rows *in,
                const laid_rows *laid, const linear_out *out);

/* ---- open.c ---- */

/** A grey picture and a text through the towers that are there: weights that give values which are
 * not finite are refused. */
IM_NODISCARD im_code encoder_self_check(im_encoder *e, im_error *err);

/* ---- packing.c ---- */

/** Makes the file of packed weights at `path`, unless another process just did (`replace`: in any
 * case, what is there is of no use). The towers of `e` must be empty; they are again afterwards. */
IM_NODISCARD im_code packing_make(im_encoder *e, const im_encoder_options *options,
                                  const char *path, const packed_key *key, bool replace,
                                  im_error *err);

/* ---- the encoder ---- */

typedef struct image_tower {
    tower tower;
    linear patch; /* [W, 3 P P] */
    float *class_token, *positions;
    bool mapped; /* these two */
    norm pre, post;
    linear projection;
    float *columns; /* [batch, patches, 3 P P padded]: the patches as rows */
    laid_rows laid; /* of one picture */
    size_t columns_pitch, tokens, batch;
} image_tower;

typedef struct text_tower {
    tower tower;
    const tensor *table; /* [V, W] in the mapping: rows are converted as they are asked for */
    const uint32_t *table_crcs; /* of its blocks of TABLE_BLOCK bytes; NULL: not known */
    bool *table_seen;           /* [blocks] those that were checked */
    bool table_bad;             /* one was another than when the weights were packed */
    float *positions;
    bool mapped; /* positions and table_crcs */
    norm final;
    linear projection;
    uint32_t *ids; /* [max_rows] */
} text_tower;

#define TABLE_BLOCK ((size_t)64 << 10)

struct im_encoder {
    char *folder;
    char *name;
    model_config config;
    weights *weights;
    packed_file *packed; /* NULL: weights are packed in memory */
    tokenizer *tokenizer;
    im_pool *pool;
    const kernel *kernel;
    bool has_image, has_text;
    im_precision precision; /* of blocks and patches; the projections stay float32 */
    image_tower image;
    text_tower text;
    im_encoder_info info;
    char pooling[48];
    char *packed_path; /* of the file that was asked for, owned; NULL: none */
    char packed_why[384];
    bool packed_made;
    pthread_mutex_t lock; /* one forward pass at a time: they share the arenas */
};

IM_NODISCARD im_code image_tower_load(im_encoder *e, weight_source *s, size_t batch, im_error *err);
void image_tower_clear(image_tower *t);
/** At most t->batch pictures; exactly one of rgb and values is given. out [n, D], unit length. */
void image_tower_run(im_encoder *e, const uint8_t *rgb, const float *values, size_t n, float *out,
                     bool whole_last);
IM_NODISCARD im_code text_tower_load(im_encoder *e, weight_source *s, im_error *err);

/* ---- need.c ---- */
/** Private memory that towers take. */
typedef struct weights_kind {
    im_precision precision;
    bool mapped; /* weights in a file take none */
} weights_kind;
/** Of a tower once it is loaded, from the config alone. */
uint64_t encoder_image_bytes(const model_config *c, size_t batch, weights_kind kind);
uint64_t encoder_text_bytes(const model_config *c, weights_kind kind);
/** memory_budget when the towers asked for take more than options->memory_bytes. */
IM_NODISCARD im_code encoder_check_need(const im_encoder *e, const im_encoder_options *options,
                                        bool mapped, im_error *err);
void text_tower_clear(text_tower *t);
/** Texts whose ids lie one behind the other in e->text.ids. */
void text_tower_run(im_encoder *e, const sequence *sequences, size_t n, float *out,
                    bool whole_last);
/** Divides each row by its length. */
void normalise_rows(float *rows, size_t n, size_t dim);

#endif
