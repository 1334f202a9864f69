/* tests/image/help.h — bytes that grow, golden files, and what a decode costs in a process of its
 * own. Builders of PNG, JPEG and EXIF bytes are in help_files.c. */
#ifndef IMAGE_TEST_HELP_H
#define IMAGE_TEST_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"
#include "image/image.h"

/** Growing bytes; memory of the C library, so that the fault hooks do not see it. */
typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
} bytes;

void bytes_add(bytes *b, const void *data, size_t size);
void bytes_text(bytes *b, const char *text);
void bytes_fill(bytes *b, uint8_t value, size_t n);
void bytes_u8(bytes *b, unsigned value);
void bytes_be16(bytes *b, unsigned value);
void bytes_be32(bytes *b, uint32_t value);
/** Puts data in at `at`, moving the rest. */
void bytes_insert(bytes *b, size_t at, const void *data, size_t size);
bytes bytes_copy(const bytes *b);
void bytes_free(bytes *b);

/** tests/golden/image/<name>, failing the test when it is not there. */
bytes golden(const char *name);
bytes golden_picture(const char *name); /* tests/golden/image/pictures/<name> */
bytes file_bytes(const char *path);

/** Pseudo random numbers: same seed, same numbers. */
uint32_t next_random(uint64_t *state);
/** Smooth colours with an edge: [height, width, 3]. Free with free. */
uint8_t *scene(uint32_t width, uint32_t height);
double mean_difference(const uint8_t *a, const uint8_t *b, size_t n);
int max_difference(const uint8_t *a, const uint8_t *b, size_t n);

/** Decodes and expects success. */
im_image decode_ok(const bytes *file, const im_image_options *options, im_image_info *out_info);
/** Decodes and expects `reason`; gives the message (valid until the next call). */
const char *decode_fails(const bytes *file, const im_image_options *options, const char *reason);

/** What one decode costs, measured in a child process. */
typedef struct cost {
    bool died; /* by a signal */
    im_code code;
    char reason[48];
    char message[384];
    im_image_info info;
    uint32_t width, height; /* of the result */
    double ms;
    size_t peak_bytes; /* resident, above the start */
} cost;

cost cost_of(const bytes *file, const im_image_options *options);
/** The same of im_image_read; what it gives out stays in the child. */
cost cost_of_read(const bytes *file, const im_image_options *options, im_image_wish *wish);
/** Asserts time and memory, but not under sanitizers, whose figures mean nothing. */
void assert_cheap(const cost *c, double max_ms, size_t max_bytes);
/** True when built with a sanitizer. */
bool sanitized(void);

/* ---- PNG ---- */
bytes png_begin(uint32_t width, uint32_t height, unsigned depth, unsigned color_type,
                unsigned interlace);
void png_chunk(bytes *b, const char *type, const void *data, size_t size);
/** Deflates raw (filter bytes included) into IDAT chunks of at most `piece` bytes. */
void png_pixels(bytes *b, const uint8_t *raw, size_t size, size_t piece);
/** As png_pixels with `size` zero bytes. */
void png_zeros(bytes *b, uint64_t size);
void png_end(bytes *b);
/** An 8-bit RGB picture, filter 0, not interlaced. */
bytes png_of(const uint8_t *rgb, uint32_t width, uint32_t height, size_t piece);
bytes deflated(const void *data, size_t size);
/** Offset of the nth chunk of a type (its length field); fails the test when there is none. */
size_t png_find(const bytes *b, const char *type, size_t nth);
void png_mend_crc(bytes *b, size_t chunk_at);

/* ---- JPEG ---- */
typedef struct jpeg_kind {
    bool progressive, several_scans;
    unsigned restart_rows;
    int quality;
    bool full_chroma; /* 4:4:4 instead of 4:2:0 */
    int channels;     /* 3 (0), 1 or 4 */
} jpeg_kind;

bytes jpeg_of(const uint8_t *pixels, uint32_t width, uint32_t height, jpeg_kind kind);
/** Marker FF xx with parameters. */
void jpeg_segment(bytes *b, unsigned marker, const void *data, size_t size);
/** SOI, DQT, SOFn, DHT: everything before the first scan. Each component samples 1x1 unless
 * sampling (n bytes, h << 4 | v) says otherwise. */
bytes jpeg_begin(unsigned sof, unsigned precision, unsigned width, unsigned height, unsigned n,
                 const uint8_t *sampling);
void jpeg_scan(bytes *b, unsigned first, unsigned n, unsigned ss, unsigned se, unsigned ah_al);
/** Offset of the nth marker FF xx (a plain search). */
size_t jpeg_find(const bytes *b, unsigned marker, size_t nth);
/** Puts an APP1 with a TIFF block right behind SOI. */
void jpeg_add_exif(bytes *b, const bytes *tiff);

/* ---- EXIF ---- */
typedef struct tag {
    uint16_t tag, type; /* 2 ASCII, 3 SHORT, 4 LONG, 5 RATIONAL */
    uint32_t count;
    const void *data; /* little-endian */
    size_t size;
} tag;

/** A little-endian TIFF block with three IFDs, each may be empty. */
bytes tiff_of(const tag *ifd0, size_t n0, const tag *exif, size_t n_exif, const tag *gps,
              size_t n_gps);
bytes tiff_orientation(unsigned orientation);

#endif
