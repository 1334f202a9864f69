/* encoder/encoder.h — RGB or text to unit vectors of one space; the door of encoder/.
 *
 * A model is a Hugging Face folder as published. config.json chooses a row of the family table.
 * An opened im_encoder is immutable; encode calls on one encoder take turns (they share one scratch
 * arena and the thread pool): callers that want texts beside pictures open nothing twice, they wait
 * a few milliseconds.
 *
 * Letters: N items, D dim of the joint space, S side of the model's picture in pixels. */
#ifndef IM_ENCODER_ENCODER_H
#define IM_ENCODER_ENCODER_H

#include "base/error.h"
#include "base/pool.h"
#include "base/text.h"
#include "image/image.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct im_encoder im_encoder;

typedef enum im_precision {
    IM_PRECISION_AUTO,
    IM_PRECISION_FP32,
    IM_PRECISION_BF16,
    IM_PRECISION_INT8
} im_precision;

/** "auto", "fp32", "bf16", "int8"; static. */
const char *im_precision_name(im_precision precision);

typedef enum im_towers { IM_TOWERS_BOTH, IM_TOWERS_TEXT, IM_TOWERS_IMAGE } im_towers;

/** Packed weights in a file: made once, then mapped and shared by all who open the model. Whatever
 * goes wrong with the file, the weights are packed in memory and info.packed_why says so. */
typedef struct im_packing {
    const char *folder; /* where such files lie */
    const char *digest; /* of the model (64 hex digits), known to be that of its files */
    bool make;          /* make the file when it is missing, damaged or of another version */
    void (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes); /* or NULL */
    void *context;
} im_packing;

typedef struct im_encoder_options {
    im_precision precision; /* auto is fp32: only a caller knows what was measured; all run on any
                               processor, bf16 slowly without the instruction */
    im_towers towers;       /* what is not asked for is neither packed nor touched */
    im_pool *pool;          /* borrowed until close; NULL: the caller's thread alone */
    size_t batch;           /* most pictures of one forward pass; 0 = 8 */
    uint64_t memory_bytes;  /* private memory it may take; 0: no limit, 1: none */
    const im_packing *packing; /* borrowed for the call; NULL: weights are packed in memory */
} im_encoder_options;

/** Facts of an opened model; text is static or owned by the encoder. */
typedef struct im_encoder_info {
    const char *folder;
    const char *name;   /* last part of the folder's path */
    const char *family; /* "clip" */
    char digest[65];    /* SHA-256 over the names and contents of the files that are used */
    size_t dim;
    im_preprocess preprocess;
    float mean[3], std[3]; /* of the pixel values in [0, 1] */
    size_t context;        /* most tokens of a text, with begin and end */
    size_t vocabulary;
    uint64_t n_parameters;
    uint64_t weights_bytes;
    const char *weights_dtype; /* "F32", "F16", "BF16" or "mixed" */
    const char *precision;     /* what is used: "fp32", "bf16" or "int8" */
    const char *precision_why; /* one sentence */
    const char *kernel;        /* "avx512_bf16", "avx512_vnni", "avx512", "avx2", "portable" */
    bool has_bf16;             /* that kernel has bf16 products as an instruction */
    const char *packed;        /* file of the packed weights, NULL: in memory */
    const char *packed_why;    /* a sentence when a file was asked for and is not used, or "" */
    bool packed_made;          /* the file was made by this call */
    uint64_t packed_bytes;     /* of that file */
    const char *pooling;       /* "highest id" or "eos_token_id 49407" */
    const char *activation;    /* "quick_gelu", "gelu" */
    size_t image_layers, image_width, text_layers, text_width, patch_px;
} im_encoder_info;

/** Opens a model folder: every tensor is checked by name, dtype and shape before use; a self-check
 * encodes one grey picture and one text (of the towers asked for) and refuses values that are not
 * finite. The digest is NOT computed here (see im_encoder_digest): info.digest is "".
 * @return IM_OK; IM_ERR_NOT_FOUND (model_not_found, model_file_missing), IM_ERR_FORMAT
 *   (model_config, model_weights, model_tensor, model_tokenizer, model_bad_output),
 *   IM_ERR_UNSUPPORTED (model_family), IM_ERR_NOMEM (memory_budget before any weight is packed) */
IM_NODISCARD im_code im_encoder_open(const char *folder, const im_encoder_options *options,
                                     im_encoder **out_encoder, im_error *err);
#define IM_MACHINE_TEXT 96u
/** Kernel set and processor as text, "avx2 AMD EPYC 9R14": what a measured speed holds for. */
void im_encoder_machine(char out[IM_MACHINE_TEXT]);
/** True where bf16 should be faster than fp32: the processor has the instruction at full rate, and
 * IMAGO_KERNEL names no set without it. */
bool im_encoder_bf16_pays(void);
void im_encoder_close(im_encoder *encoder);
/** True when a file of it was cut or changed while in use (model_lost, model_weights): only opening
 * it again helps. */
bool im_encoder_lost(im_encoder *encoder);
const im_encoder_info *im_encoder_describe(const im_encoder *encoder);

/** One file that a model uses. */
typedef struct im_model_file {
    char name[256]; /* relative to the folder */
    im_file_stamp stamp;
} im_model_file;

/** The files that make up the model of `folder` (config, weights or shards, tokenizer,
 * preprocessor), in byte order of their names, with their stamps; cheap. The caller frees
 * *out_files with im_free. */
IM_NODISCARD im_code im_encoder_files(const char *folder, im_model_file **out_files,
                                      size_t *out_n_files, im_error *err);
/** SHA-256 over (name, size, content) of those files: reads them whole. */
IM_NODISCARD im_code im_encoder_digest(const char *folder, char out_digest[65], im_error *err);

/** Brings an oriented picture into the model's frame.
 * @param out [S, S, 3] with S = preprocess.crop_w = crop_h, caller owns */
IM_NODISCARD im_code im_encoder_prepare(const im_encoder *encoder, const im_image *image,
                                        uint8_t *out, im_error *err);

/** Pictures to unit vectors. A row does not depend on its batch.
 * @param rgb  [N, S, S, 3] uint8 from im_encoder_prepare
 * @param out  [N, D], caller owns
 * @return IM_OK; IM_ERR_FORMAT (model_bad_output) when a row is not finite: *out_bad (may be NULL)
 *         is its place, rows before it are written; IM_ERR_IO (model_lost) when the weights were
 * cut */
IM_NODISCARD im_code im_encoder_pictures(im_encoder *encoder, const uint8_t *rgb, size_t n,
                                         float *out, size_t *out_bad, im_error *err);

/** As im_encoder_pictures from values already standardised: [N, 3, S, S] float32 as the reference
 * model takes them. For parity tests. */
IM_NODISCARD im_code im_encoder_pixel_values(im_encoder *encoder, const float *values, size_t n,
                                             float *out, im_error *err);

/** Texts to unit vectors.
 * @param texts     [N] UTF-8 (checked: query_encoding; NUL refused), each <= IM_LIMIT_QUERY_BYTES
 * @param out       [N, D], caller owns
 * @param out_cut   [N], may be NULL: true where words at the end do not count, because the text is
 *                  longer than the context or they stand behind an end token */
IM_NODISCARD im_code im_encoder_texts(im_encoder *encoder, const im_view *texts, size_t n,
                                      float *out, bool *out_cut, im_error *err);

/** Token ids of a text with begin and end, cut to the context as the reference does.
 * @param ids [context], caller owns */
IM_NODISCARD im_code im_encoder_tokenize(const im_encoder *encoder, im_view text, uint32_t *ids,
                                         size_t *out_n, bool *out_cut, im_error *err);

#endif
