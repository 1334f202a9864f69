/* image/pngfile_header.c — a walk over the chunks of a PNG file, before libpng sees it: IHDR, and
 * where eXIf and iCCP lie (W3C PNG, third edition). Texts and other chunks are passed over by their
 * length. */
#include "image/image_internal.h"
#include "image/pngfile_internal.h"
#include <zlib.h>

uint32_t pngfile_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool pngfile_next_chunk(const image_source *source, size_t *at, pngfile_chunk *out)
{
    if (source->size - *at < 8) {
        return false;
    }
    out->at = *at;
    out->type = source->bytes + *at + 4;
    out->data = source->bytes + *at + 8;
    uint32_t length = pngfile_u32(source->bytes + *at);
    size_t left = source->size - *at - 8;
    out->cut = left < 4 || length > left - 4;
    out->size = IM_MIN(length, left);
    *at = out->cut ? source->size : *at + 12 + length;
    return true;
}

bool pngfile_chunk_is(const pngfile_chunk *chunk, const char *type)
{
    return memcmp(chunk->type, type, 4) == 0;
}

bool pngfile_chunk_sound(const pngfile_chunk *chunk)
{
    if (chunk->cut) {
        return false;
    }
    uLong crc = crc32_z(crc32_z(0, NULL, 0), chunk->type, chunk->size + 4);
    return crc == pngfile_u32(chunk->data + chunk->size);
}

static im_code fail_header(const image_source *source, const char *what, im_error *err)
{
    return im_fail_as(err, IM_REASON_PICTURE_CORRUPT, "picture '%s': PNG header %s", source->name,
                      what);
}

/* Depths allowed for each colour type, as a set of bits. */
static bool depth_allowed(uint8_t color_type, uint8_t depth)
{
    static const uint32_t allowed[7] = {
        [0] = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 8 | 1u << 16,
        [2] = 1u << 8 | 1u << 16,
        [3] = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 8,
        [4] = 1u << 8 | 1u << 16,
        [6] = 1u << 8 | 1u << 16,
    };
    return color_type <= 6 && depth <= 16 && (allowed[color_type] >> depth & 1u) != 0;
}

/* IHDR: width(32) height(32) depth(8) colour(8) compression(8) filter(8) interlace(8). */
static im_code take_ihdr(const image_source *source, const pngfile_chunk *chunk,
                         image_header *header, im_error *err)
{
    const uint8_t *p = chunk->data;
    if (!pngfile_chunk_is(chunk, "IHDR") || chunk->size != 13) {
        return fail_header(source, "does not begin with an IHDR chunk of 13 bytes", err);
    }
    header->width = pngfile_u32(p);
    header->height = pngfile_u32(p + 4);
    header->depth = p[8];
    header->color_type = p[9];
    header->interlaced = p[12] == 1;
    header->n_components = (p[9] & 2) != 0 ? 3 : 1;
    im_code rc = image_check_sides(source, header->width, header->height, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (!pngfile_chunk_sound(chunk)) {
        return fail_header(source, "does not match its checksum", err);
    }
    if (!depth_allowed(header->color_type, header->depth) || p[10] != 0 || p[11] != 0 ||
        p[12] > 1) {
        return fail_header(source, "names a colour type, depth or method that does not exist", err);
    }
    return IM_OK;
}

static void take_metadata(const pngfile_chunk *chunk, image_header *header)
{
    if (header->exif == NULL && pngfile_chunk_is(chunk, "eXIf") &&
        chunk->size <= IM_LIMIT_METADATA_BYTES && pngfile_chunk_sound(chunk)) {
        header->exif = chunk->data;
        header->exif_size = chunk->size;
    }
    if (header->n_icc == 0 && header->pixels_at == 0 && pngfile_chunk_is(chunk, "iCCP") &&
        chunk->size <= IM_LIMIT_METADATA_BYTES && pngfile_chunk_sound(chunk)) {
        header->icc[header->n_icc++] = (image_icc_piece){chunk->data, (uint32_t)chunk->size, 1, 1};
    }
}

im_code pngfile_read_header(const image_source *source, image_header *header, im_error *err)
{
    pngfile_chunk chunk;
    size_t at = 8;
    if (!pngfile_next_chunk(source, &at, &chunk) || chunk.cut) {
        return im_fail_as(err, IM_REASON_PICTURE_TRUNCATED, "picture '%s': PNG ends in its header",
                          source->name);
    }
    im_code rc = take_ihdr(source, &chunk, header, err);
    if (rc != IM_OK) {
        return rc;
    }
    while (pngfile_next_chunk(source, &at, &chunk) && !pngfile_chunk_is(&chunk, "IEND")) {
        if (header->pixels_at == 0 && pngfile_chunk_is(&chunk, "IDAT")) {
            header->pixels_at = chunk.at;
        }
        take_metadata(&chunk, header);
    }
    if (header->pixels_at == 0) {
        return im_fail_as(err, IM_REASON_PICTURE_TRUNCATED,
                          "picture '%s': PNG without pixel data (no IDAT chunk)", source->name);
    }
    return IM_OK;
}
