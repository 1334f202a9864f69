/* tests/image/help_files.c — builders of PNG, JPEG and EXIF bytes, sound and otherwise. */
#include "tests/image/help.h"
#include <jpeglib.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* ---- PNG ---- */

void png_chunk(bytes *b, const char *type, const void *data, size_t size)
{
    bytes_be32(b, (uint32_t)size);
    size_t at = b->size;
    bytes_add(b, type, 4);
    bytes_add(b, data, size);
    bytes_be32(b, (uint32_t)crc32_z(0, b->data + at, size + 4));
}

bytes png_begin(uint32_t width, uint32_t height, unsigned depth, unsigned color_type,
                unsigned interlace)
{
    bytes b = {0};
    bytes head = {0};
    bytes_add(&b, "\x89PNG\r\n\x1a\n", 8);
    bytes_be32(&head, width);
    bytes_be32(&head, height);
    bytes_u8(&head, depth);
    bytes_u8(&head, color_type);
    bytes_be16(&head, 0);
    bytes_u8(&head, interlace);
    png_chunk(&b, "IHDR", head.data, head.size);
    bytes_free(&head);
    return b;
}

bytes deflated(const void *data, size_t size)
{
    bytes b = {0};
    uLongf n = compressBound(size);
    bytes_fill(&b, 0, n);
    assert_int_equal(compress2(b.data, &n, data, size, 6), Z_OK);
    b.size = n;
    return b;
}

void png_pixels(bytes *b, const uint8_t *raw, size_t size, size_t piece)
{
    bytes packed = deflated(raw, size);
    for (size_t at = 0; at < packed.size; at += piece) {
        png_chunk(b, "IDAT", packed.data + at, IM_MIN(piece, packed.size - at));
    }
    bytes_free(&packed);
}

void png_zeros(bytes *b, uint64_t size)
{
    static uint8_t zeros[1 << 16];
    static uint8_t out[1 << 16];
    z_stream z = {0};
    bytes packed = {0};
    assert_int_equal(deflateInit(&z, 6), Z_OK);
    for (uint64_t left = size; left > 0;) {
        uInt n = (uInt)IM_MIN(left, (uint64_t)sizeof zeros);
        left -= n;
        z.next_in = zeros;
        z.avail_in = n;
        do {
            z.next_out = out;
            z.avail_out = sizeof out;
            deflate(&z, left == 0 ? Z_FINISH : Z_NO_FLUSH);
            bytes_add(&packed, out, sizeof out - z.avail_out);
        } while (z.avail_out == 0);
    }
    deflateEnd(&z);
    png_chunk(b, "IDAT", packed.data, packed.size);
    bytes_free(&packed);
}

void png_end(bytes *b)
{
    png_chunk(b, "IEND", NULL, 0);
}

bytes png_of(const uint8_t *rgb, uint32_t width, uint32_t height, size_t piece)
{
    bytes b = png_begin(width, height, 8, 2, 0);
    bytes raw = {0};
    for (uint32_t y = 0; y < height; y++) {
        bytes_u8(&raw, 0);
        bytes_add(&raw, rgb + (size_t)y * width * 3, (size_t)width * 3);
    }
    png_pixels(&b, raw.data, raw.size, piece);
    png_end(&b);
    bytes_free(&raw);
    return b;
}

static uint32_t read_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

size_t png_find(const bytes *b, const char *type, size_t nth)
{
    for (size_t at = 8; at + 12 <= b->size; at += 12 + read_be32(b->data + at)) {
        if (memcmp(b->data + at + 4, type, 4) == 0 && nth-- == 0) {
            return at;
        }
    }
    fail_msg("no chunk %s", type);
    return 0;
}

void png_mend_crc(bytes *b, size_t chunk_at)
{
    uint32_t size = read_be32(b->data + chunk_at);
    uint32_t crc = (uint32_t)crc32_z(0, b->data + chunk_at + 4, size + 4);
    for (size_t i = 0; i < 4; i++) {
        b->data[chunk_at + 8 + size + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

/* ---- JPEG ---- */

bytes jpeg_of(const uint8_t *pixels, uint32_t width, uint32_t height, jpeg_kind kind)
{
    struct jpeg_compress_struct cinfo;
    struct jpeg_error_mgr errors;
    unsigned char *out = NULL;
    unsigned long size = 0;
    bytes b = {0};
    int channels = kind.channels > 0 ? kind.channels : 3;
    cinfo.err = jpeg_std_error(&errors);
    jpeg_create_compress(&cinfo);
    jpeg_mem_dest(&cinfo, &out, &size);
    cinfo.image_width = width;
    cinfo.image_height = height;
    cinfo.input_components = channels;
    cinfo.in_color_space = channels == 3 ? JCS_RGB : channels == 1 ? JCS_GRAYSCALE : JCS_CMYK;
    jpeg_set_defaults(&cinfo);
    jpeg_set_quality(&cinfo, kind.quality > 0 ? kind.quality : 90, TRUE);
    if (kind.full_chroma) {
        cinfo.comp_info[0].h_samp_factor = 1;
        cinfo.comp_info[0].v_samp_factor = 1;
    }
    static const jpeg_scan_info one_each[] = {
        {1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    if (kind.progressive) {
        jpeg_simple_progression(&cinfo);
    } else if (kind.several_scans) {
        cinfo.scan_info = one_each;
        cinfo.num_scans = channels;
    }
    cinfo.restart_in_rows = (int)kind.restart_rows;
    jpeg_start_compress(&cinfo, TRUE);
    while (cinfo.next_scanline < height) {
        JSAMPROW row =
            (JSAMPROW)(uintptr_t)(pixels + (size_t)cinfo.next_scanline * width * (size_t)channels);
        jpeg_write_scanlines(&cinfo, &row, 1);
    }
    jpeg_finish_compress(&cinfo);
    jpeg_destroy_compress(&cinfo);
    bytes_add(&b, out, size);
    free(out);
    return b;
}

void jpeg_segment(bytes *b, unsigned marker, const void *data, size_t size)
{
    bytes_u8(b, 0xFF);
    bytes_u8(b, marker);
    bytes_be16(b, (unsigned)size + 2);
    bytes_add(b, data, size);
}

bytes jpeg_begin(unsigned sof, unsigned precision, unsigned width, unsigned height, unsigned n,
                 const uint8_t *sampling)
{
    bytes b = {0};
    bytes s = {0};
    bytes_add(&b, "\xff\xd8", 2);
    bytes_u8(&s, 0);
    bytes_fill(&s, 1, 64);
    jpeg_segment(&b, 0xDB, s.data, s.size);
    s.size = 0;
    bytes_u8(&s, precision);
    bytes_be16(&s, height);
    bytes_be16(&s, width);
    bytes_u8(&s, n);
    for (unsigned i = 0; i < n; i++) {
        bytes_u8(&s, i + 1);
        bytes_u8(&s, sampling != NULL ? sampling[i] : 0x11);
        bytes_u8(&s, 0);
    }
    jpeg_segment(&b, sof, s.data, s.size);
    /* one code, '0', in each table: DC difference 0; AC in progressive files a run of 2^14 and
     * more blocks (EOB14), else end of block */
    for (unsigned table = 0; table < 2; table++) {
        s.size = 0;
        bytes_u8(&s, table << 4);
        bytes_u8(&s, 1);
        bytes_fill(&s, 0, 15);
        bytes_u8(&s, table == 1 && sof == 0xC2 ? 0xE0 : 0);
        jpeg_segment(&b, 0xC4, s.data, s.size);
    }
    bytes_free(&s);
    return b;
}

void jpeg_scan(bytes *b, unsigned first, unsigned n, unsigned ss, unsigned se, unsigned ah_al)
{
    bytes s = {0};
    bytes_u8(&s, n);
    for (unsigned i = 0; i < n; i++) {
        bytes_u8(&s, first + i);
        bytes_u8(&s, 0);
    }
    bytes_u8(&s, ss);
    bytes_u8(&s, se);
    bytes_u8(&s, ah_al);
    jpeg_segment(b, 0xDA, s.data, s.size);
    bytes_free(&s);
}

size_t jpeg_find(const bytes *b, unsigned marker, size_t nth)
{
    for (size_t at = 0; at + 1 < b->size; at++) {
        if (b->data[at] == 0xFF && b->data[at + 1] == marker && nth-- == 0) {
            return at;
        }
    }
    fail_msg("no marker %02x", marker);
    return 0;
}

void jpeg_add_exif(bytes *b, const bytes *tiff)
{
    bytes body = {0};
    bytes segment = {0};
    bytes_add(&body, "Exif\0\0", 6);
    bytes_add(&body, tiff->data, tiff->size);
    jpeg_segment(&segment, 0xE1, body.data, body.size);
    bytes_insert(b, 2, segment.data, segment.size);
    bytes_free(&body);
    bytes_free(&segment);
}

/* ---- EXIF ---- */

static void le(bytes *b, uint32_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bytes_u8(b, value >> (8 * i) & 255);
    }
}

/* IFD at the current end of b, which must be at an even place; values of more than 4 bytes follow.
 */
static void add_ifd(bytes *b, const tag *tags, size_t n)
{
    size_t values = b->size + 2 + n * 12 + 4;
    bytes behind = {0};
    le(b, (uint32_t)n, 2);
    for (size_t i = 0; i < n; i++) {
        le(b, tags[i].tag, 2);
        le(b, tags[i].type, 2);
        le(b, tags[i].count, 4);
        if (tags[i].size <= 4) {
            bytes_add(b, tags[i].data, tags[i].size);
            bytes_fill(b, 0, 4 - tags[i].size);
        } else {
            le(b, (uint32_t)(values + behind.size), 4);
            bytes_add(&behind, tags[i].data, tags[i].size);
            bytes_fill(&behind, 0, behind.size & 1);
        }
    }
    le(b, 0, 4);
    bytes_add(b, behind.data, behind.size);
    bytes_free(&behind);
}

bytes tiff_of(const tag *ifd0, size_t n0, const tag *exif, size_t n_exif, const tag *gps,
              size_t n_gps)
{
    bytes b = {0};
    bytes first = {0};
    tag all[40];
    uint8_t exif_at[4] = {0};
    uint8_t gps_at[4] = {0};
    size_t n = 0;
    assert_true(n0 + 2 <= IM_COUNT(all));
    for (size_t i = 0; i < n0; i++) {
        all[n++] = ifd0[i];
    }
    if (n_exif > 0) {
        all[n++] = (tag){0x8769, 4, 1, exif_at, 4};
    }
    if (n_gps > 0) {
        all[n++] = (tag){0x8825, 4, 1, gps_at, 4};
    }
    bytes_add(&b, "II*\0\x08\0\0\0", 8);
    /* once to learn the length of IFD 0, once more with the places of the other two */
    bytes_add(&first, b.data, b.size);
    add_ifd(&first, all, n);
    size_t at = first.size;
    memcpy(exif_at, (uint8_t[]){(uint8_t)at, (uint8_t)(at >> 8), 0, 0}, 4);
    if (n_exif > 0) {
        add_ifd(&first, exif, n_exif);
        at = first.size;
    }
    memcpy(gps_at, (uint8_t[]){(uint8_t)at, (uint8_t)(at >> 8), 0, 0}, 4);
    add_ifd(&b, all, n);
    if (n_exif > 0) {
        add_ifd(&b, exif, n_exif);
    }
    if (n_gps > 0) {
        add_ifd(&b, gps, n_gps);
    }
    bytes_free(&first);
    return b;
}

bytes tiff_orientation(unsigned orientation)
{
    uint8_t value[2] = {(uint8_t)orientation, (uint8_t)(orientation >> 8)};
    tag ifd0 = {0x0112, 3, 1, value, 2};
    return tiff_of(&ifd0, 1, NULL, 0, NULL, 0);
}
