/* image/preview.c — the small JPEG that cameras put into EXIF, in place of a decode of the picture
 * when a thumbnail of its size is wanted. It may show something else than the picture (it is not
 * always kept up to date), so nothing but thumbnails is made of it. */
#include "image/image_internal.h"

#define SHAPE_PERCENT 2u /* sides are whole pixels: 107 for 106.67 */

/* Sides as the picture's orientation turns them. */
static bool serves(const image_header *preview, const im_image_info *picture,
                   const uint32_t thumbnail[2])
{
    bool turned = orientation_turns(picture->orientation);
    uint64_t width = turned ? preview->height : preview->width;
    uint64_t height = turned ? preview->width : preview->height;
    uint64_t a = width * picture->height;
    uint64_t b = height * picture->width;
    uint64_t apart = a > b ? a - b : b - a;
    return width >= thumbnail[0] && height >= thumbnail[1] && width <= picture->width &&
           height <= picture->height && apart * 100 <= b * SHAPE_PERCENT;
}

static bool read_preview(const image_source *source, const im_image_options *options,
                         const im_image_info *picture, uint32_t max_px, im_bytes *out)
{
    image_header header;
    im_image_info info;
    uint32_t sides[2];
    im_image_wish wish = {.thumbnail_px = max_px};
    thumbnail_sides(picture->width, picture->height, max_px, sides);
    if (im_image_sniff(source->bytes, source->size) != IM_FORMAT_JPEG ||
        image_read_header(source, &header, NULL) != IM_OK || !serves(&header, picture, sides) ||
        image_describe(source, &header, &info, NULL) != IM_OK) {
        return false;
    }
    info.orientation = picture->orientation; /* the picture's EXIF speaks for both */
    bool turned = orientation_turns(info.orientation);
    info.width = turned ? header.height : header.width;
    info.height = turned ? header.width : header.height;
    if (image_read_described(source, &header, options, sides, &wish, &info, NULL) != IM_OK) {
        return false;
    }
    if (info.partial) {
        im_bytes_clear(&wish.thumbnail);
        return false;
    }
    *out = wish.thumbnail; /* the caller's from here */
    return true;
}

bool preview_thumbnail(const image_source *source, const image_header *header,
                       const im_image_options *options, const im_image_info *info, uint32_t max_px,
                       im_bytes *out)
{
    im_bytes preview = {NULL, 0};
    if (header->exif == NULL || header->n_icc > 0 || header->icc_dropped ||
        !exif_preview(header->exif, header->exif_size, &preview)) {
        return false;
    }
    image_source inner = *source;
    inner.bytes = preview.data;
    inner.size = preview.size;
    bool made = read_preview(&inner, options, info, max_px, out);
    im_bytes_clear(&preview);
    return made;
}
