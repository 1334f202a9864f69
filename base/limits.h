/* base/limits.h — every limit in one place: default, reason, the option that moves it. */
#ifndef IM_BASE_LIMITS_H
#define IM_BASE_LIMITS_H

/* pictures */
#define IM_LIMIT_PICTURE_BYTES (256ull << 20) /* file size; --max-picture-bytes */
#define IM_LIMIT_PICTURE_SIDE 65535u          /* JPEG's own; --max-side */
#define IM_LIMIT_PICTURE_PIXELS (128ull << 20) /* a 128-Mpixel RGB is 400 MB; --max-pixels */
#define IM_LIMIT_DECODER_BYTES (512ull << 20) /* what a decoder may hold; --max-decoder-bytes */
#define IM_LIMIT_JPEG_SCANS 200u              /* each scan walks the whole picture; --max-scans */
#define IM_LIMIT_METADATA_BYTES (4u << 20)    /* EXIF, ICC, text pieces together */
#define IM_LIMIT_METADATA_PIECES 64u
#define IM_LIMIT_DECODE_MS 30000u /* --max-decode-seconds */

/* queries */
#define IM_LIMIT_QUERY_BYTES (8u << 10)
#define IM_LIMIT_QUERY_LANGUAGE_BYTES (1u << 20) /* a whole query: texts, paths and filters */
#define IM_LIMIT_QUERY_PARTS 64u
#define IM_LIMIT_QUERY_TESTS 256u  /* comparisons of a filter */
#define IM_LIMIT_QUERY_DEPTH 32u   /* parentheses in parentheses: 3 levels of a tree each */
#define IM_LIMIT_QUERIES 1024u     /* of one request */
#define IM_LIMIT_K 10000u
#define IM_LIMIT_OFFSET_PLUS_K 1000000u
#define IM_LIMIT_JSON_DEPTH 64u

/* models */
#define IM_LIMIT_MODEL_HEADER_BYTES (100ull << 20) /* as the reference reader's */
#define IM_LIMIT_MODEL_JSON_BYTES (64ull << 20)    /* tokenizer.json and other JSON of a model */
#define IM_LIMIT_MODEL_LAYERS 256u
#define IM_LIMIT_MODEL_WIDTH 16384u
#define IM_LIMIT_MODEL_TENSORS 100000u

/* paths and scanning */
#define IM_LIMIT_PATH_BYTES (64u << 10) /* built piece by piece with openat */
#define IM_LIMIT_SCAN_DEPTH 128u        /* nested folders; --max-depth */

/* store */
#define IM_LIMIT_LOCK_WAIT_MS 60000u
#define IM_LIMIT_FIELD_NAME_BYTES 64u    /* of a user's own field */
#define IM_LIMIT_FIELD_BYTES (64u << 10) /* its text */
#define IM_LIMIT_KEY_BYTES 1024u
#define IM_LIMIT_TAG_BYTES 200u
#define IM_LIMIT_NAME_BYTES 4096u
#define IM_LIMIT_KEY_NAME_BYTES 100u /* what an API key is called */
#define IM_LIMIT_KEYS 1000u          /* API keys of a library, revoked ones too */
#define IM_LIMIT_CAPTION_BYTES (256u << 10)
#define IM_LIMIT_META_LINE_BYTES (4u << 20) /* of a file of `add --meta`: a caption as JSON escapes */
#define IM_LIMIT_META_COLUMNS 1024u         /* fields of such a line */
#define IM_LIMIT_IMPORT_LINE_BYTES (16u << 20) /* of items.jsonl: captions of one picture */
#define IM_RESERVE_BYTES (4u << 20)

#endif
