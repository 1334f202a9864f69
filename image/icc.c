/* image/icc.c — colour profiles (ICC.1): put together from a file's pieces, judged, and applied to
 * thumbnails through lcms2. Embeddings never use them: the reference preprocessing reads the stored
 * numbers. */
#include "image/image_internal.h"
#include <lcms2_plugin.h>
#include <zlib.h>

#define ICC_HEADER_BYTES 128u
#define LCMS_MAX_BYTES (24u << 20) /* what lcms may hold at once for one profile */

static uint32_t u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Piece number i of a JPEG's profile, NULL when it is missing or there twice. */
static const image_icc_piece *piece_of(const image_header *header, size_t number)
{
    const image_icc_piece *found = NULL;
    for (size_t i = 0; i < header->n_icc; i++) {
        if (header->icc[i].number == number) {
            if (found != NULL) {
                return NULL;
            }
            found = &header->icc[i];
        }
    }
    return found;
}

static const char *join_pieces(const image_header *header, im_bytes *out, bool *out_of_memory)
{
    size_t total = 0;
    for (size_t i = 0; i < header->n_icc; i++) {
        if (header->icc[i].total != header->n_icc || piece_of(header, i + 1) == NULL) {
            return "lacks a piece";
        }
        total += header->icc[i].size;
    }
    if (header->icc_dropped || total > IM_LIMIT_METADATA_BYTES) {
        return "is too large";
    }
    out->data = im_alloc(total, 1);
    if (out->data == NULL) {
        *out_of_memory = true;
        return NULL;
    }
    for (size_t i = 0; i < header->n_icc; i++) {
        const image_icc_piece *piece = piece_of(header, i + 1);
        memcpy(out->data + out->size, piece->data, piece->size);
        out->size += piece->size;
    }
    return NULL;
}

static voidpf zlib_alloc(voidpf opaque, uInt n, uInt size)
{
    (void)opaque;
    return im_alloc(n, size);
}

static void zlib_free(voidpf opaque, voidpf block)
{
    (void)opaque;
    im_free(block);
}

/* Unpacks a zlib stream that must give exactly out->size bytes into out->data. */
static int unpack(const uint8_t *packed, size_t packed_size, uint8_t *out, size_t size)
{
    z_stream stream = {.zalloc = zlib_alloc, .zfree = zlib_free};
    int status = inflateInit(&stream);
    if (status != Z_OK) {
        return status;
    }
    stream.next_in = (Bytef *)(uintptr_t)packed; /* zlib does not write through it */
    stream.avail_in = (uInt)packed_size;
    stream.next_out = out;
    stream.avail_out = (uInt)size;
    status = inflate(&stream, Z_SYNC_FLUSH);
    bool full = stream.avail_out == 0;
    inflateEnd(&stream);
    return status == Z_MEM_ERROR ? status : full ? Z_OK : Z_DATA_ERROR;
}

/* iCCP: name, NUL, method 0, zlib stream. The profile's own length field, the first thing unpacked,
 * says how much to unpack, so that 8 kB cannot swell to 8 MB unasked. */
static const char *unpack_iccp(const image_icc_piece *piece, im_bytes *out, bool *out_of_memory)
{
    uint8_t head[4] = {0};
    const uint8_t *end = memchr(piece->data, 0, IM_MIN(piece->size, 80u));
    if (end == NULL || (size_t)(end - piece->data) + 2 > piece->size || end[1] != 0) {
        return "is not packed as PNG says";
    }
    const uint8_t *packed = end + 2;
    size_t packed_size = piece->size - (size_t)(packed - piece->data);
    int status = unpack(packed, packed_size, head, sizeof head);
    uint32_t size = u32(head);
    if (status == Z_OK && (size < ICC_HEADER_BYTES || size > IM_LIMIT_METADATA_BYTES)) {
        return size < ICC_HEADER_BYTES ? "is too short" : "is too large";
    }
    if (status == Z_OK) {
        out->data = im_alloc(size, 1);
        out->size = out->data != NULL ? size : 0;
        status = out->data != NULL ? unpack(packed, packed_size, out->data, size) : Z_MEM_ERROR;
    }
    *out_of_memory = status == Z_MEM_ERROR;
    return status == Z_OK || status == Z_MEM_ERROR ? NULL : "cannot be unpacked";
}

/* What can be judged without lcms: length, signature, and that the profile is for this picture's
 * kind of colour. */
static const char *judge_profile(const im_bytes *profile, const image_header *header)
{
    if (profile->size < ICC_HEADER_BYTES + 4 || u32(profile->data) > profile->size ||
        u32(profile->data) < ICC_HEADER_BYTES + 4) {
        return "lies about its length";
    }
    if (memcmp(profile->data + 36, "acsp", 4) != 0) {
        return "has no ICC signature";
    }
    const char *space = header->n_components == 1   ? "GRAY"
                        : header->n_components == 3 ? "RGB "
                                                    : "CMYK";
    if (memcmp(profile->data + 16, space, 4) != 0) {
        return "is for another kind of colour";
    }
    uint32_t n_tags = u32(profile->data + ICC_HEADER_BYTES);
    if (n_tags > 100 || ICC_HEADER_BYTES + 4 + 12 * (size_t)n_tags > profile->size) {
        return "has a broken tag table";
    }
    return NULL;
}

im_code icc_gather(const image_source *source, const image_header *header, im_bytes *out,
                   const char **out_why, im_error *err)
{
    im_bytes profile = {NULL, 0};
    bool out_of_memory = false;
    const char *why = NULL;
    if (header->n_icc > 0) {
        why = header->format == IM_FORMAT_JPEG
                  ? join_pieces(header, &profile, &out_of_memory)
                  : unpack_iccp(&header->icc[0], &profile, &out_of_memory);
        if (why == NULL && !out_of_memory) {
            why = judge_profile(&profile, header);
        }
    }
    if (why != NULL || out_of_memory) {
        im_bytes_clear(&profile);
    }
    if (out_of_memory) {
        return image_fail_memory(source, err);
    }
    *out = profile;
    if (out_why != NULL) {
        *out_why = why;
    }
    return IM_OK;
}

/* lcms gets its memory from im_alloc and not more than LCMS_MAX_BYTES: the size of each block lies
 * in front of it. */
typedef struct lcms_budget {
    size_t used;
    bool out_of_memory;
} lcms_budget;

typedef struct lcms_block {
    size_t size;
    max_align_t start[];
} lcms_block;

static void *lcms_realloc(cmsContext context, void *old, cmsUInt32Number size)
{
    lcms_budget *budget = cmsGetContextUserData(context);
    lcms_block *block = old != NULL ? (lcms_block *)((char *)old - sizeof(lcms_block)) : NULL;
    size_t before = block != NULL ? block->size : 0;
    if (budget != NULL && budget->used - before + size > LCMS_MAX_BYTES) {
        return NULL;
    }
    lcms_block *after = im_realloc(block, sizeof(lcms_block) + (size_t)size, 1);
    if (after == NULL) {
        if (budget != NULL) {
            budget->out_of_memory = true;
        }
        return NULL;
    }
    after->size = size;
    if (budget != NULL) {
        budget->used = budget->used - before + size;
    }
    return after->start;
}

static void *lcms_malloc(cmsContext context, cmsUInt32Number size)
{
    return lcms_realloc(context, NULL, size);
}

static void lcms_free(cmsContext context, void *start)
{
    lcms_budget *budget = cmsGetContextUserData(context);
    if (start == NULL) {
        return;
    }
    lcms_block *block = (lcms_block *)((char *)start - sizeof(lcms_block));
    if (budget != NULL) {
        budget->used -= IM_MIN(budget->used, block->size);
    }
    im_free(block);
}

static void lcms_quiet(cmsContext context, cmsUInt32Number code, const char *text)
{
    (void)context;
    (void)code;
    (void)text; /* the profile is ignored, the caller says so */
}

static cmsContext open_context(lcms_budget *budget)
{
    cmsPluginMemHandler memory = {
        .base = {cmsPluginMagicNumber, 2000, cmsPluginMemHandlerSig, NULL},
        .MallocPtr = lcms_malloc,
        .FreePtr = lcms_free,
        .ReallocPtr = lcms_realloc,
    };
    return cmsCreateContext(&memory, budget);
}

/* Grey pictures lie in rgb with three equal channels: lcms reads the first. */
static void apply(cmsHTRANSFORM transform, bool grey, uint8_t *rgb, size_t n_pixels)
{
    uint8_t line[256 * 3];
    for (size_t done = 0; done < n_pixels;) {
        size_t n = IM_MIN(n_pixels - done, (size_t)256);
        uint8_t *at = rgb + done * 3;
        for (size_t i = 0; i < n * 3; i++) {
            line[i] = grey ? at[i < n ? i * 3 : 0] : at[i];
        }
        cmsDoTransform(transform, line, at, (cmsUInt32Number)n);
        done += n;
    }
}

bool icc_to_srgb(const im_bytes *profile, uint8_t *rgb, size_t n_pixels, bool *out_of_memory)
{
    lcms_budget budget = {0};
    cmsHPROFILE from = NULL;
    cmsHPROFILE to = NULL;
    cmsHTRANSFORM transform = NULL;
    cmsContext context = open_context(&budget);
    if (context == NULL) {
        *out_of_memory = true;
        return false;
    }
    cmsSetLogErrorHandlerTHR(context, lcms_quiet);
    from = cmsOpenProfileFromMemTHR(context, profile->data, (cmsUInt32Number)profile->size);
    to = cmsCreate_sRGBProfileTHR(context);
    bool grey = from != NULL && cmsGetColorSpace(from) == cmsSigGrayData;
    if (from != NULL && to != NULL && (grey || cmsGetColorSpace(from) == cmsSigRgbData)) {
        transform = cmsCreateTransformTHR(context, from, grey ? TYPE_GRAY_8 : TYPE_RGB_8, to,
                                          TYPE_RGB_8, INTENT_PERCEPTUAL, 0);
    }
    if (transform != NULL) {
        apply(transform, grey, rgb, n_pixels);
        cmsDeleteTransform(transform);
    }
    if (from != NULL) {
        cmsCloseProfile(from);
    }
    if (to != NULL) {
        cmsCloseProfile(to);
    }
    cmsDeleteContext(context);
    *out_of_memory = budget.out_of_memory;
    return transform != NULL;
}
