/* image/decode.c — from a header that was read to the rows of the picture: how much memory that
 * takes, where the rows go, and the verdict on a damaged picture. */
#include "image/image_internal.h"

/* Refuses a picture of which fewer than half of the rows are sound; else says what is missing. */
static im_code judge(const image_source *source, const image_header *header,
                     const image_verdict *verdict, im_image_info *info, im_error *err)
{
    uint32_t sound = verdict->sound_rows;
    info->sound_rows = sound;
    info->partial = sound < header->height || verdict->detail_missing;
    if (verdict->kept_rows == 0 || (uint64_t)sound * 2 < header->height) {
        im_code rc = im_fail_as(
            err, verdict->damaged ? IM_REASON_PICTURE_CORRUPT : IM_REASON_PICTURE_TRUNCATED,
            "picture '%s' is %s: %u of %u rows are sound, at least half are needed", source->name,
            verdict->damaged ? "damaged" : "cut short", sound, header->height);
        im_hint(err, "fetch the file again from where it came");
        return rc;
    }
    if (sound < header->height) {
        snprintf(info->warning, sizeof info->warning,
                 "%s at row %u of %u; the rows from there on are left out",
                 verdict->damaged ? "damaged" : "cut short", sound, header->height);
    } else if (verdict->detail_missing) {
        snprintf(info->warning, sizeof info->warning,
                 "cut short: the scans that hold the fine detail are missing");
    }
    return IM_OK;
}

/* The picture that a canvas, or its first kept_rows stored rows, will hold. In a reduced one the
 * last column or row may be covered only in part (4001 / 4 = 1000.25 of 1001 columns), and
 * orientation may have made it the first. */
static im_image shape_of(const image_header *header, const image_canvas *canvas, uint32_t kept_rows)
{
    uint32_t reduced = canvas->reduced;
    bool turned = orientation_turns(canvas->orientation);
    uint32_t width = canvas->stored_width;
    im_image shape = {.width = turned ? kept_rows : width, .height = turned ? width : kept_rows};
    if (reduced == 1) {
        return shape;
    }
    uint32_t whole_width = header->width;
    uint32_t whole_height =
        kept_rows == canvas->stored_height ? header->height : kept_rows * reduced;
    shape.whole_width = turned ? whole_height : whole_width;
    shape.whole_height = turned ? whole_width : whole_height;
    shape.frame_width = shape.whole_width / (double)reduced;
    shape.frame_height = shape.whole_height / (double)reduced;
    bool from_right = orientation_mirrors_x(canvas->orientation);
    bool from_bottom = orientation_mirrors_y(canvas->orientation);
    shape.frame_x = from_right ? shape.width - shape.frame_width : 0.0;
    shape.frame_y = from_bottom ? shape.height - shape.frame_height : 0.0;
    return shape;
}

static uint64_t decoder_bytes(const image_header *header)
{
    return header->format == IM_FORMAT_JPEG ? jpegfile_decoder_bytes(header)
                                            : pngfile_decoder_bytes(header);
}

static void lay_out(const image_source *source, const image_header *header, uint8_t orientation,
                    image_canvas *canvas)
{
    uint8_t reduced = header->format == IM_FORMAT_JPEG ? jpegfile_reduction(source, header) : 1;
    canvas_shape(canvas, image_divide_up(header->width, reduced),
                 image_divide_up(header->height, reduced), orientation, reduced);
}

static im_code run_decoder(const image_source *source, const image_header *header,
                           image_canvas *canvas, image_verdict *verdict, im_error *err)
{
    return header->format == IM_FORMAT_JPEG ? jpegfile_decode(source, header, canvas, verdict, err)
                                            : pngfile_decode(source, header, canvas, verdict, err);
}

im_code image_decode_whole(const image_source *source, const image_header *header,
                           im_image_info *info, im_image *out, im_error *err)
{
    image_canvas canvas = {0};
    image_verdict verdict = {0};
    lay_out(source, header, info->orientation, &canvas);
    canvas.bytes = (uint64_t)canvas.stored_width * canvas.stored_height * 3;
    im_code rc = image_check_memory(source, canvas.bytes, decoder_bytes(header), err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = canvas_open(&canvas) ? run_decoder(source, header, &canvas, &verdict, err)
                              : image_fail_memory(source, err);
    if (rc == IM_OK) {
        rc = judge(source, header, &verdict, info, err);
    }
    if (rc == IM_OK) {
        im_image image = shape_of(header, &canvas, verdict.kept_rows);
        if (verdict.kept_rows < canvas.stored_height) {
            canvas_cut(&canvas, verdict.kept_rows);
        }
        image.rgb = canvas.rgb;
        *out = image; /* the caller owns it from here */
        canvas.rgb = NULL;
    }
    canvas_clear(&canvas);
    return rc;
}

/* The passes of an interlaced picture go all over it: it is held, and flows when it is there. */
static im_code flow_interlaced(const image_source *source, const image_header *header,
                               im_image_info *info, image_flow *flow, im_error *err)
{
    im_image image = {0};
    uint64_t bytes = 0;
    im_code rc = image_decode_whole(source, header, info, &image, err);
    if (rc == IM_OK) {
        size_t row_bytes = (size_t)image.width * 3;
        rc = flow_begin(flow, source, &image, 1, row_bytes * image.height, &bytes, err);
        if (rc == IM_OK) {
            flow_rows(flow, image.rgb, row_bytes, 0, image.height);
        }
    }
    im_image_clear(&image);
    return rc;
}

im_code image_decode_flow(const image_source *source, const image_header *header,
                          im_image_info *info, image_flow *flow, im_error *err)
{
    image_canvas canvas = {.flow = flow};
    im_code rc = IM_OK;
    if (header->interlaced) {
        return flow_interlaced(source, header, info, flow, err);
    }
    lay_out(source, header, info->orientation, &canvas);
    uint32_t rows = canvas.stored_height;
    for (;;) {
        image_verdict verdict = {0};
        im_image shape = shape_of(header, &canvas, rows);
        rc = flow_begin(flow, source, &shape, info->orientation, decoder_bytes(header),
                        &canvas.bytes, err);
        if (rc == IM_OK) {
            rc = run_decoder(source, header, &canvas, &verdict, err);
        }
        if (rc == IM_OK) {
            rc = judge(source, header, &verdict, info, err);
        }
        if (rc != IM_OK || verdict.kept_rows >= rows) {
            return rc;
        }
        rows = verdict.kept_rows; /* fewer than before: this ends */
    }
}
