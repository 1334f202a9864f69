/* image/image_internal.h — what the files of image/ share: one picture being read, and the canvas
 * it is decoded onto. "Stored" means the frame as it lies in the file, before orientation. */
#ifndef IM_IMAGE_IMAGE_INTERNAL_H
#define IM_IMAGE_IMAGE_INTERNAL_H

#include "base/base.h"
#include "image/image.h"

/** Orientations 5 to 8 make columns of stored rows; 2, 3, 6, 7 put the last stored column (or row)
 * first in a row of the result; 3, 4, 7, 8 put the last stored row (or column) on top. */
static inline bool orientation_turns(uint8_t orientation)
{
    return orientation >= 5;
}

static inline bool orientation_mirrors_x(uint8_t orientation)
{
    return (0x66u >> (orientation - 1) & 1u) != 0;
}

static inline bool orientation_mirrors_y(uint8_t orientation)
{
    return (0xCCu >> (orientation - 1) & 1u) != 0;
}

static inline uint32_t image_divide_up(uint32_t value, uint32_t by)
{
    return (uint32_t)(((uint64_t)value + by - 1) / by);
}

/** One picture being read: borrowed bytes and what is allowed. */
typedef struct image_source {
    const uint8_t *bytes;
    size_t size;
    const char *name;
    im_image_limits limits; /* no zeros left */
    uint32_t target_px;     /* 0: decode at full scale */
    uint64_t started_ns;
} image_source;

/** Resolves options (may be NULL) and starts the clock. */
image_source image_source_of(const uint8_t *bytes, size_t size, const char *name,
                             const im_image_options *options);

/** Checks the sides from a header, in 64 bit, before anything is allocated for them. */
IM_NODISCARD im_code image_check_sides(const image_source *source, uint32_t width, uint32_t height,
                                       im_error *err);
/** Checks what the decoder will hold: the RGB result and `more_bytes` beside it. */
IM_NODISCARD im_code image_check_memory(const image_source *source, uint64_t rgb_bytes,
                                        uint64_t more_bytes, im_error *err);
bool image_out_of_time(const image_source *source);
IM_NODISCARD im_code image_fail_time(const image_source *source, im_error *err);
IM_NODISCARD im_code image_fail_memory(const image_source *source, im_error *err);

/** One APP2 piece of a JPEG's ICC profile, or the packed iCCP chunk of a PNG. */
typedef struct image_icc_piece {
    const uint8_t *data;
    uint32_t size;
    uint8_t number, total; /* JPEG: 1 … total */
} image_icc_piece;

/** What the walk over a file's markers or chunks found; pointers into the source. */
typedef struct image_header {
    im_format format;
    uint32_t width, height; /* stored */
    const uint8_t *exif;    /* TIFF block, NULL when absent */
    size_t exif_size;
    size_t n_icc;
    image_icc_piece icc[IM_LIMIT_METADATA_PIECES];
    bool icc_dropped; /* pieces above the metadata limits were left out */

    /* JPEG */
    uint8_t sof;          /* 0xC0 baseline, 0xC1 extended, 0xC2 progressive */
    uint8_t n_components; /* PNG: channels without alpha */
    uint8_t h_factor[4], v_factor[4];
    bool several_scans;
    uint32_t n_scans; /* counted when there are several */

    /* PNG */
    uint8_t color_type, depth;
    bool interlaced;
    size_t pixels_at; /* first IDAT chunk */
} image_header;

/** Takes the rows of a picture while it is decoded, in place of the picture: see read.c. */
typedef struct image_flow image_flow;

/** Where the rows of a decode go: to their place in the oriented picture, or to a flow. */
typedef struct image_canvas {
    uint8_t *rgb;                         /* owned; NULL with a flow */
    image_flow *flow;                     /* NULL: the picture is held */
    uint32_t width, height;               /* oriented */
    uint32_t stored_width, stored_height; /* perhaps reduced */
    uint8_t orientation;                  /* 1 … 8 */
    uint8_t reduced;                      /* 1, 2, 4 or 8 */
    uint64_t bytes;                       /* that it, or the flow, holds */
} image_canvas;

/** Sides for a stored frame of which every reduced-th row and column is decoded. */
void canvas_shape(image_canvas *canvas, uint32_t stored_width, uint32_t stored_height,
                  uint8_t orientation, uint8_t reduced);
/** Takes memory for the picture; false when there is none. */
bool canvas_open(image_canvas *canvas);
void canvas_clear(image_canvas *canvas);
/** Where stored row y may be written in place, NULL when the orientation moves pixels or rows go to
 * a flow. */
uint8_t *canvas_row(const image_canvas *canvas, uint32_t y);
/** Places n_rows packed RGB rows, the first being stored row `first`; with a flow each once, from
 * the top down. */
void canvas_place(image_canvas *canvas, const uint8_t *rows, uint32_t first, uint32_t n_rows);
/** Places n pixels of stored row y at x0, x0 + dx, … Not with a flow. */
void canvas_place_spread(image_canvas *canvas, const uint8_t *pixels, uint32_t n, uint32_t x0,
                         uint32_t dx, uint32_t y);
/** Keeps only the first `kept_rows` stored rows. */
void canvas_cut(image_canvas *canvas, uint32_t kept_rows);

/** How much of a decoded picture can be vouched for. */
typedef struct image_verdict {
    uint32_t sound_rows; /* of the stored frame at full scale */
    uint32_t kept_rows;  /* the same in rows of the canvas */
    bool cut_short;      /* bytes ended too early */
    bool damaged;        /* bytes contradict themselves */
    bool detail_missing; /* progressive: all rows there, later scans are not */
} image_verdict;

/** The decoders. header is filled by the matching …_read_header; canvas is open. */
IM_NODISCARD im_code jpegfile_read_header(const image_source *source, image_header *header,
                                          im_error *err);
/** 1, 2, 4 or 8: what source->target_px allows. */
uint8_t jpegfile_reduction(const image_source *source, const image_header *header);
/** Bytes that the decoder holds beside the canvas. */
uint64_t jpegfile_decoder_bytes(const image_header *header);
IM_NODISCARD im_code jpegfile_decode(const image_source *source, const image_header *header,
                                     image_canvas *canvas, image_verdict *verdict, im_error *err);
IM_NODISCARD im_code pngfile_read_header(const image_source *source, image_header *header,
                                         im_error *err);
uint64_t pngfile_decoder_bytes(const image_header *header);
IM_NODISCARD im_code pngfile_decode(const image_source *source, const image_header *header,
                                    image_canvas *canvas, image_verdict *verdict, im_error *err);

/* ---- decode.c: from a header to pixels, or to a flow ---- */

/** The whole oriented picture; damage is judged and noted in info. */
IM_NODISCARD im_code image_decode_whole(const image_source *source, const image_header *header,
                                        im_image_info *info, im_image *out, im_error *err);
/** The rows to `flow`, which holds what it makes of them. A picture that turns out to be damaged is
 * decoded a second time, when it is known how many rows are sound. */
IM_NODISCARD im_code image_decode_flow(const image_source *source, const image_header *header,
                                       im_image_info *info, image_flow *flow, im_error *err);

/* ---- read.c: flows ---- */

/** im_image_read once the header was read and described; info is completed.
 * @param sides of the thumbnail, NULL: what the picture's own shape gives */
IM_NODISCARD im_code image_read_described(const image_source *source, const image_header *header,
                                          const im_image_options *options, const uint32_t *sides,
                                          im_image_wish *wish, im_image_info *info, im_error *err);

/** Starts afresh for a picture of this shape (rgb is not read); checks the memory first.
 * @param more_bytes what the decoder takes beside  @param out_bytes what the flow holds */
IM_NODISCARD im_code flow_begin(image_flow *flow, const image_source *source, const im_image *shape,
                                uint8_t orientation, uint64_t more_bytes, uint64_t *out_bytes,
                                im_error *err);
/** n_rows stored rows of row_bytes each, the first being `first`; rows behind those of the shape
 * are passed over. */
void flow_rows(image_flow *flow, const uint8_t *rows, size_t row_bytes, uint32_t first,
               uint32_t n_rows);

/** "WebP" for IM_FORMAT_WEBP: the name in sentences. */
const char *sniff_title(im_format format);

/** Sniffs, walks the header and refuses what cannot be decoded. */
IM_NODISCARD im_code image_read_header(const image_source *source, image_header *header,
                                       im_error *err);

/** Turns a picture to sRGB by the profile of its file, if that has a sound one, and makes a JPEG of
 * it. */
IM_NODISCARD im_code thumbnail_finish(const image_source *source, const image_header *header,
                                      im_image *image, im_bytes *out, im_error *err);
/** Sides of the thumbnail of a picture: the longer one at most max_px, never enlarged. */
void thumbnail_sides(uint32_t width, uint32_t height, uint32_t max_px, uint32_t out[2]);

/** A thumbnail from the preview in the picture's EXIF. False when there is none that serves: it
 * must be sound, at least as large as the thumbnail, no larger than the picture, and of its shape;
 * and the picture without a colour profile, since nothing tells whether that holds for the preview.
 */
bool preview_thumbnail(const image_source *source, const image_header *header,
                       const im_image_options *options, const im_image_info *info, uint32_t max_px,
                       im_bytes *out);

/** Fills info from a header that was read: format, sides, EXIF. */
IM_NODISCARD im_code image_describe(const image_source *source, const image_header *header,
                                    im_image_info *info, im_error *err);
/** One sentence in info about a profile that will not be used. */
IM_NODISCARD im_code image_warn_profile(const image_source *source, const image_header *header,
                                        im_image_info *info, im_error *err);

/** Fills the EXIF fields of info from a TIFF block; what is not valid stays absent. False when
 * memory is out: an orientation that got lost would turn the picture. */
bool exif_read(const uint8_t *tiff, size_t size, im_image_info *info);

/** The small JPEG that a camera puts beside its picture; false when there is none, or no memory. */
bool exif_preview(const uint8_t *tiff, size_t size, im_bytes *out);

/** Puts the pieces of a profile together. *out stays empty when there is none or it is not sound;
 * *out_why (may be NULL) then says why, NULL when there is none. IM_ERR_NOMEM only. */
IM_NODISCARD im_code icc_gather(const image_source *source, const image_header *header,
                                im_bytes *out, const char **out_why, im_error *err);
/** Turns rgb (n pixels) from the profile to sRGB in place. False when lcms refuses the profile, or
 * when memory is out, which *out_of_memory tells apart. */
bool icc_to_srgb(const im_bytes *profile, uint8_t *rgb, size_t n_pixels, bool *out_of_memory);

#endif
