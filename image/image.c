/* image/image.c — the door: sniff, header, limits, decode. */
#include "image/image_internal.h"

static im_code fail_not_handled(const image_source *source, im_format format, im_error *err)
{
    im_code rc = IM_OK;
    if (source->size == 0) {
        rc = im_fail_as(err, IM_REASON_PICTURE_EMPTY, "picture '%s' is empty (0 bytes)",
                        source->name);
    } else if (format == IM_FORMAT_UNKNOWN) {
        rc = im_fail_as(err, IM_REASON_PICTURE_NOT_A_PICTURE,
                        "'%s' is no picture: its first bytes fit no known format", source->name);
    } else {
        rc = im_fail_as(err, IM_REASON_PICTURE_UNSUPPORTED,
                        "picture '%s' is %s, which this build does not decode", source->name,
                        sniff_title(format));
        im_hint(err, "convert it to JPEG or PNG");
    }
    return rc;
}

im_code image_read_header(const image_source *source, image_header *header, im_error *err)
{
    memset(header, 0, sizeof *header);
    header->format = im_image_sniff(source->bytes, source->size);
    if (header->format == IM_FORMAT_JPEG) {
        return jpegfile_read_header(source, header, err);
    }
    if (header->format == IM_FORMAT_PNG) {
        return pngfile_read_header(source, header, err);
    }
    return fail_not_handled(source, header->format, err);
}

im_code image_describe(const image_source *source, const image_header *header, im_image_info *info,
                       im_error *err)
{
    memset(info, 0, sizeof *info);
    info->format = header->format;
    info->orientation = 1;
    if (header->exif != NULL && !exif_read(header->exif, header->exif_size, info)) {
        return image_fail_memory(source, err);
    }
    bool turned = orientation_turns(info->orientation);
    info->width = turned ? header->height : header->width;
    info->height = turned ? header->width : header->height;
    info->sound_rows = header->height;
    return IM_OK;
}

im_code image_warn_profile(const image_source *source, const image_header *header,
                           im_image_info *info, im_error *err)
{
    im_bytes profile = {NULL, 0};
    const char *why = NULL;
    im_code rc = icc_gather(source, header, &profile, &why, err);
    if (rc == IM_OK && why != NULL && info->warning[0] == '\0') {
        snprintf(info->warning, sizeof info->warning, "its colour profile %s and is ignored", why);
    }
    im_bytes_clear(&profile);
    return rc;
}

im_code im_image_probe(const uint8_t *bytes, size_t size, const char *name,
                       const im_image_options *options, im_image_info *out_info, im_error *err)
{
    image_source source = image_source_of(bytes, size, name, options);
    image_header header;
    im_image_info info;
    im_code rc = image_read_header(&source, &header, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = image_describe(&source, &header, &info, err);
    if (rc == IM_OK) {
        rc = image_warn_profile(&source, &header, &info, err);
    }
    if (rc == IM_OK) {
        *out_info = info;
    }
    return rc;
}

im_code im_image_decode(const uint8_t *bytes, size_t size, const char *name,
                        const im_image_options *options, im_image *out_image,
                        im_image_info *out_info, im_error *err)
{
    image_source source = image_source_of(bytes, size, name, options);
    image_header header;
    im_image_info info;
    im_image image = {0};
    im_code rc = image_read_header(&source, &header, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = image_describe(&source, &header, &info, err);
    if (rc == IM_OK) {
        rc = image_decode_whole(&source, &header, &info, &image, err);
    }
    if (rc == IM_OK && out_info != NULL) {
        rc = image_warn_profile(&source, &header, &info, err);
    }
    if (rc != IM_OK) {
        goto out;
    }
    if (out_info != NULL) {
        *out_info = info;
    }
    *out_image = image; /* the caller owns it from here */
    image.rgb = NULL;
out:
    im_image_clear(&image);
    return rc;
}

void im_image_clear(im_image *image)
{
    if (image != NULL) {
        im_free(image->rgb);
        memset(image, 0, sizeof *image);
    }
}

im_code im_image_crop(const im_image *image, uint32_t x, uint32_t y, uint32_t w, uint32_t h,
                      im_image *out, im_error *err)
{
    if (w == 0 || h == 0 || x > image->width || w > image->width - x || y > image->height ||
        h > image->height - y) {
        return im_fail_as(err, IM_REASON_QUERY_BOX,
                          "box %ux%u at (%u, %u) does not lie inside the picture of %ux%u", w, h, x,
                          y, image->width, image->height);
    }
    im_image part = {.width = w, .height = h};
    size_t row_bytes = (size_t)w * 3;
    part.rgb = im_alloc(h, row_bytes);
    if (part.rgb == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "could not get memory for a box of %ux%u", w, h);
    }
    for (uint32_t i = 0; i < h; i++) {
        memcpy(part.rgb + i * row_bytes, image->rgb + ((size_t)(y + i) * image->width + x) * 3,
               row_bytes);
    }
    *out = part;
    return IM_OK;
}
