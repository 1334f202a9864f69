/* image/image.h — bytes to oriented RGB, resize, crop, thumbnail; the door of image/.
 * All functions are reentrant: any number of threads may call them at once.
 *
 * Colours are RGB as Pillow's convert("RGB") gives it: embedded profiles are ignored (they matter
 * for thumbnails only), with two stated exceptions: alpha is composed over white first, and 16-bit
 * grey is scaled to 8 bits, where Pillow clips it. */
#ifndef IM_IMAGE_IMAGE_H
#define IM_IMAGE_IMAGE_H

#include "base/error.h"
#include "base/file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum im_format {
    IM_FORMAT_UNKNOWN,
    IM_FORMAT_JPEG,
    IM_FORMAT_PNG,
    /* known by signature, not decoded by this build: named in the sentence */
    IM_FORMAT_GIF,
    IM_FORMAT_WEBP,
    IM_FORMAT_HEIC,
    IM_FORMAT_AVIF,
    IM_FORMAT_TIFF,
    IM_FORMAT_BMP,
    IM_FORMAT_JXL,
    IM_FORMAT_JP2,
    IM_FORMAT_SVG,
    IM_FORMAT_PDF,
    IM_FORMAT_ZIP,
    IM_FORMAT_HTML,
    IM_FORMAT_ICO,
    IM_FORMAT_PSD,
    IM_FORMAT_RAW,
    IM_FORMAT_VIDEO,
    IM_FORMAT_COUNT
} im_format;

/** Limits of one decode; 0 takes the default of base/limits.h. */
typedef struct im_image_limits {
    uint64_t max_bytes; /* of the file: checked by whoever reads it */
    uint32_t max_side_px;
    uint64_t max_pixels;
    uint64_t max_decoder_bytes;
    uint32_t max_scans;
    uint32_t max_decode_ms;
} im_image_limits;

typedef struct im_image_options {
    im_image_limits limits;
    /* The shorter side the caller will scale to, 0 when unknown. A JPEG may then be decoded at 1/2,
     * 1/4 or 1/8 as long as its shorter side stays >= 2 x this. */
    uint32_t target_px;
    bool exact_decode; /* never decode at a reduced scale */
} im_image_options;

/** An oriented picture. */
typedef struct im_image {
    uint8_t *rgb;   /* [height, width, 3], owned, rows not padded */
    uint32_t width; /* of rgb: after orientation, perhaps scaled down */
    uint32_t height;
    /* Set when a JPEG was decoded at 1/2, 1/4 or 1/8, else 0: the sides it has at full scale, and
     * the box of rgb that it covers (the last column or row may be covered only in part). Read by
     * im_image_prepare; a box of the caller's own is in pixels of rgb. */
    uint32_t whole_width, whole_height;
    double frame_x, frame_y, frame_width, frame_height;
} im_image;

/** What a file says of itself. Sides are those of the whole picture after orientation. */
typedef struct im_image_info {
    im_format format;
    uint32_t width, height;
    uint8_t orientation; /* 1 … 8; 1 when absent or not valid */
    bool partial;        /* decoded, but rows at the end are missing or damaged */
    uint32_t sound_rows; /* rows (of the stored frame) that were decoded from sound data */
    bool has_taken;
    int64_t taken_s;          /* seconds since 1970, as if the camera's clock were UTC */
    bool has_taken_offset;    /* EXIF OffsetTimeOriginal */
    int16_t taken_offset_min; /* local time minus UTC */
    bool has_gps;
    double latitude, longitude; /* degrees, north and east positive */
    char camera[96];            /* "Canon EOS R5", UTF-8, "" when absent */
    char lens[96];
    char warning[160]; /* one sentence when something was mended or ignored, else "" */
} im_image_info;

/** Judges by content; never fails. */
im_format im_image_sniff(const uint8_t *bytes, size_t size);
/** "jpeg", "png", "webp" …; "unknown". */
const char *im_format_name(im_format format);
/** True for formats that this build decodes. */
bool im_format_decodes(im_format format);
/** True when a name's ending is that of some picture format (for counting what a scan skips). */
bool im_image_name_is_picture(const char *name);

/** Reads header and metadata only: format, size, orientation, EXIF. Checks the limits.
 * @param name  for sentences only */
IM_NODISCARD im_code im_image_probe(const uint8_t *bytes, size_t size, const char *name,
                                    const im_image_options *options, im_image_info *out_info,
                                    im_error *err);

/** Decodes to oriented RGB.
 * @param options  may be NULL: defaults, exact
 * @param out_info may be NULL
 * @return IM_OK; IM_ERR_FORMAT (picture_empty, picture_truncated, picture_corrupt, not_a_picture),
 *         IM_ERR_LIMIT (picture_too_large, picture_too_many_scans, picture_memory, picture_time),
 *         IM_ERR_UNSUPPORTED (picture_unsupported), IM_ERR_NOMEM. out_image is then untouched.
 * A picture cut short with at least half of its rows sound is IM_OK with info.partial; rows that
 * are not sound are left out of `rgb` when they are at the end in the stored frame (the picture
 * is cut to the sound ones): never invented rows in an embedding. */
IM_NODISCARD im_code im_image_decode(const uint8_t *bytes, size_t size, const char *name,
                                     const im_image_options *options, im_image *out_image,
                                     im_image_info *out_info, im_error *err);
void im_image_clear(im_image *image);

/** Antialiased bicubic (a = -0.5) resize of a box of the picture, equal to Pillow's
 * Image.resize((out_w, out_h), BICUBIC, box=(x, y, x + w, y + h)) within 1 of 255.
 * @param out [out_h, out_w, 3], caller owns */
IM_NODISCARD im_code im_image_resize(const im_image *image, double x, double y, double w, double h,
                                     uint32_t out_w, uint32_t out_h, uint8_t *out, im_error *err);
/** The plain twin: same result, written to be read. Oracle of the tests. */
IM_NODISCARD im_code im_image_resize_plain(const im_image *image, double x, double y, double w,
                                           double h, uint32_t out_w, uint32_t out_h, uint8_t *out,
                                           im_error *err);

typedef enum im_resample {
    IM_RESAMPLE_NEAREST = 0,
    IM_RESAMPLE_BILINEAR = 2,
    IM_RESAMPLE_BICUBIC = 3,
    IM_RESAMPLE_LANCZOS = 1
} im_resample; /* Pillow's numbers, as preprocessor_config.json writes them */

/** What a model wants to see: the reference preprocessing without its arithmetic on values. */
typedef struct im_preprocess {
    uint32_t resize_shortest; /* 0: stretch both sides to crop_w x crop_h */
    uint32_t crop_w, crop_h;
    im_resample resample; /* bicubic, bilinear and lanczos are handled */
} im_preprocess;

/** Resize so that the shorter side is resize_shortest (the longer is int(short*long/short),
 * truncated as transformers does), then centre crop; a side smaller than the crop is padded with
 * zeros as transformers' center_crop does. Only the pixels that the crop keeps are computed.
 * @param out [crop_h, crop_w, 3], caller owns */
IM_NODISCARD im_code im_image_prepare(const im_image *image, const im_preprocess *how, uint8_t *out,
                                      im_error *err);

/** A new picture: the box, in pixels after orientation. IM_ERR_INVALID (query_box) when it has no
 * area or reaches outside. */
IM_NODISCARD im_code im_image_crop(const im_image *image, uint32_t x, uint32_t y, uint32_t w,
                                   uint32_t h, im_image *out, im_error *err);

/** What one decode is to give; all of it comes from the same rows. */
typedef struct im_image_wish {
    const im_preprocess *prepare; /* NULL: no pixels … */
    uint8_t *pixels; /* … else [crop_h, crop_w, 3], caller owns; as im_image_prepare */
    bool hash;
    uint64_t phash;        /* out, as im_image_phash within a few bits */
    uint32_t thumbnail_px; /* 0: none; as im_image_thumbnail */
    im_bytes thumbnail;    /* out, the caller's */
    /* NULL, or called with the last row, when most memory is held: for whoever measures it */
    void (*at_last_row)(void *context);
    void *context;
} im_image_wish;

/** Decodes straight into what is wished: rows flow into the resizes and are forgotten, so that
 * memory is a few rows and the results, whatever the picture's size. (An interlaced PNG is held
 * whole, and libjpeg holds the coefficients of a JPEG with several scans.) A wish for nothing
 * checks that the picture can be decoded. Pixels, info, limits and reasons are those of
 * im_image_decode and im_image_prepare; wish->pixels is unspecified after a failure.
 * The scale of the decode follows options->target_px, for a thumbnail alone its own size; a
 * thumbnail that wants more pixels than that leaves is decoded apart. */
IM_NODISCARD im_code im_image_read(const uint8_t *bytes, size_t size, const char *name,
                                   const im_image_options *options, im_image_wish *wish,
                                   im_image_info *out_info, im_error *err);

/** A thumbnail as JPEG of quality 82 whose longer side is at most max_px (never enlarged, each side
 * at least 1), converted to sRGB when `bytes` carries a sound ICC profile for its grey or RGB
 * numbers (CMYK is converted as for embeddings). The preview in a camera's EXIF serves where it is
 * large enough and of the picture's shape; embeddings never come from it. *out is the caller's. */
IM_NODISCARD im_code im_image_thumbnail(const uint8_t *bytes, size_t size, const char *name,
                                        const im_image_options *options, uint32_t max_px,
                                        im_bytes *out, im_error *err);

/** The pixels of `rgb` as a JPEG with nothing else in it. @param quality 1 … 100 @param name for
 * sentences, may be NULL. *out is the caller's. IM_ERR_NOMEM. */
IM_NODISCARD im_code im_image_jpeg(const im_image *image, int quality, const char *name,
                                   im_bytes *out, im_error *err);

/** 64-bit gradient hash of the oriented picture (9 x 8 grey, each pixel brighter than its right
 * neighbour): near duplicates differ in few bits. */
IM_NODISCARD im_code im_image_phash(const im_image *image, uint64_t *out_hash, im_error *err);

#endif
