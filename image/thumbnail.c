/* image/thumbnail.c — a small sRGB JPEG of a picture, for pages and terminals. */
#include "base/log.h"
#include "image/image_internal.h"
#include <jpeglib.h>
#include <setjmp.h>

#define QUALITY 82 /* of thumbnails */
#define FIRST_BYTES 16384u

/* libjpeg's destination: a growing block. */
typedef struct jpeg_writer {
    struct jpeg_compress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_destination_mgr to;
    jmp_buf escape;
    im_bytes out; /* size: of the block until finished */
    int quality;
} jpeg_writer;

static void on_error(j_common_ptr cinfo)
{
    jpeg_writer *writer = cinfo->client_data;
    longjmp(writer->escape, 1);
}

static void on_output(j_common_ptr cinfo)
{
    (void)cinfo; /* nothing is ever printed */
}

static void grow(jpeg_writer *writer, size_t used)
{
    size_t size = writer->out.size == 0 ? FIRST_BYTES : writer->out.size * 2;
    uint8_t *data = im_realloc(writer->out.data, size, 1);
    if (data == NULL) {
        longjmp(writer->escape, 1);
    }
    writer->out.data = data;
    writer->out.size = size;
    writer->to.next_output_byte = data + used;
    writer->to.free_in_buffer = size - used;
}

static void on_start(j_compress_ptr cinfo)
{
    grow(cinfo->client_data, 0);
}

static boolean on_full(j_compress_ptr cinfo)
{
    jpeg_writer *writer = cinfo->client_data;
    grow(writer, writer->out.size); /* the whole block is in use, as libjpeg defines it */
    return TRUE;
}

static void on_end(j_compress_ptr cinfo)
{
    jpeg_writer *writer = cinfo->client_data;
    writer->out.size -= writer->to.free_in_buffer;
}

/* All calls into libjpeg that can throw. What must survive the jump lives in *writer. */
static bool compress(jpeg_writer *writer, const im_image *image)
{
    struct jpeg_compress_struct *cinfo = &writer->cinfo;
    if (setjmp(writer->escape) != 0) {
        return false;
    }
    jpeg_create_compress(cinfo);
    cinfo->dest = &writer->to;
    cinfo->image_width = image->width;
    cinfo->image_height = image->height;
    cinfo->input_components = 3;
    cinfo->in_color_space = JCS_RGB;
    jpeg_set_defaults(cinfo);
    jpeg_set_quality(cinfo, writer->quality, TRUE);
    jpeg_start_compress(cinfo, TRUE);
    while (cinfo->next_scanline < cinfo->image_height) {
        JSAMPROW row = image->rgb + (size_t)cinfo->next_scanline * image->width * 3;
        jpeg_write_scanlines(cinfo, &row, 1);
    }
    jpeg_finish_compress(cinfo);
    return true;
}

im_code im_image_jpeg(const im_image *image, int quality, const char *name, im_bytes *out,
                      im_error *err)
{
    jpeg_writer *writer = im_alloc_zero(1, sizeof *writer);
    bool done = false;
    if (writer != NULL) {
        writer->cinfo.err = jpeg_std_error(&writer->errors);
        writer->cinfo.client_data = writer;
        writer->quality = quality;
        writer->errors.error_exit = on_error;
        writer->errors.output_message = on_output;
        writer->to.init_destination = on_start;
        writer->to.empty_output_buffer = on_full;
        writer->to.term_destination = on_end;
        done = compress(writer, image);
        jpeg_destroy_compress(&writer->cinfo);
    }
    if (!done) {
        if (writer != NULL) {
            im_bytes_clear(&writer->out);
        }
        im_free(writer);
        return im_fail(err, IM_ERR_NOMEM, "could not get memory to write '%s' as JPEG",
                       name != NULL ? name : "");
    }
    *out = writer->out; /* the caller owns it from here */
    im_free(writer);
    return IM_OK;
}

static uint32_t scaled(uint32_t side, uint32_t longer, uint32_t max_px)
{
    if (longer <= max_px) {
        return side;
    }
    uint32_t value = (uint32_t)(((uint64_t)side * max_px + longer / 2) / longer);
    return value > 0 ? value : 1;
}

void thumbnail_sides(uint32_t width, uint32_t height, uint32_t max_px, uint32_t out[2])
{
    out[0] = scaled(width, IM_MAX(width, height), max_px);
    out[1] = scaled(height, IM_MAX(width, height), max_px);
}

static im_code use_profile(const image_source *source, const image_header *header, im_image *image,
                           im_error *err)
{
    im_bytes profile = {NULL, 0};
    const char *why = NULL;
    bool out_of_memory = false;
    im_code rc = icc_gather(source, header, &profile, &why, err);
    if (rc == IM_OK && profile.size > 0 && header->n_components != 4 &&
        !icc_to_srgb(&profile, image->rgb, (size_t)image->width * image->height, &out_of_memory)) {
        why = "is not sound";
    }
    if (out_of_memory) {
        rc = image_fail_memory(source, err);
    }
    if (rc == IM_OK && why != NULL) {
        im_log(IM_LOG_DEBUG, "profile_ignored", "picture=%s why=\"it %s\"", source->name, why);
    }
    im_bytes_clear(&profile);
    return rc;
}

im_code thumbnail_finish(const image_source *source, const image_header *header, im_image *image,
                         im_bytes *out, im_error *err)
{
    im_code rc = use_profile(source, header, image, err);
    return rc == IM_OK ? im_image_jpeg(image, QUALITY, source->name, out, err) : rc;
}

im_code im_image_thumbnail(const uint8_t *bytes, size_t size, const char *name,
                           const im_image_options *options, uint32_t max_px, im_bytes *out,
                           im_error *err)
{
    image_source source = image_source_of(bytes, size, name, options);
    im_image_wish wish = {.thumbnail_px = max_px};
    image_header header;
    im_image_info info;
    if (max_px == 0 || max_px > IM_LIMIT_PICTURE_SIDE) {
        return im_fail(err, IM_ERR_INVALID, "thumbnail side %u, expected 1 to %u", max_px,
                       IM_LIMIT_PICTURE_SIDE);
    }
    im_code rc = image_read_header(&source, &header, err);
    if (rc == IM_OK) {
        rc = image_describe(&source, &header, &info, err);
    }
    if (rc != IM_OK || preview_thumbnail(&source, &header, options, &info, max_px, out)) {
        return rc;
    }
    rc = image_read_described(&source, &header, options, NULL, &wish, &info, err);
    if (rc == IM_OK) {
        *out = wish.thumbnail; /* the caller's from here */
    }
    return rc;
}
