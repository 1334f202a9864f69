/* image/pngfile_decode.c — PNG to RGB through libpng, one row at a time, keeping account of which
 * rows come from sound data.
 *
 * A row is sound when it comes from bytes that nothing contradicts. So:
 * - libpng sees the file only up to the first IDAT chunk that fails its checksum (it would give out
 *   rows of that chunk before it compares). A chunk that the end of the file cuts has no checksum
 *   left: its bytes count, and its length is corrected in what libpng reads, so that it uses all of
 *   them.
 * - Where data merely end, the rows finished before are sound.
 * - Where data contradict themselves (deflate error, filter that does not exist, Adler-32 of the
 *   whole) although every chunk's checksum holds, no row can be vouched for: refused.
 * - In an interlaced picture a row is sound when its last pass has come.
 * Bytes behind the IDAT chunks are not read: a missing IEND or a tail changes nothing. */
#include "image/image_internal.h"
#include "image/pngfile_internal.h"
#include <png.h>
#include <setjmp.h>

#define CHUNK_CACHE_MAX 64u

typedef struct png_reader {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    const image_source *source;
    const image_header *header;
    image_canvas *canvas;
    size_t at, end;   /* what libpng may read */
    size_t cut_chunk; /* offset of a chunk cut by the end of the file, 0 when none */
    uint8_t *row;     /* as libpng gives it */
    uint8_t *rgb;
    bool ended; /* libpng asked for bytes behind `end` */
    bool out_of_memory;
    bool bad_chunk; /* `end` lies before a chunk that fails its checksum */
    bool adler_wrong;
    uint32_t done_rows;
    char message[96];
} png_reader;

static png_voidp on_alloc(png_structp png, png_alloc_size_t size)
{
    png_reader *reader = png_get_mem_ptr(png);
    void *block = im_alloc(size, 1);
    if (block == NULL) {
        reader->out_of_memory = true;
    }
    return block;
}

static void on_free(png_structp png, png_voidp block)
{
    (void)png;
    im_free(block);
}

static void on_error(png_structp png, png_const_charp message)
{
    png_reader *reader = png_get_error_ptr(png);
    snprintf(reader->message, sizeof reader->message, "%s", message);
    longjmp(reader->escape, 1);
}

/* Only one warning matters: the Adler-32 of the pixel data, which libpng 1.6 takes lightly when it
 * comes after the last row. */
static void on_warning(png_structp png, png_const_charp message)
{
    png_reader *reader = png_get_error_ptr(png);
    if (strstr(message, "incorrect data check") != NULL) {
        reader->adler_wrong = true;
        snprintf(reader->message, sizeof reader->message, "%s", message);
    }
}

static void on_read(png_structp png, png_bytep out, size_t size)
{
    png_reader *reader = png_get_io_ptr(png);
    if (size > reader->end - reader->at) {
        reader->ended = true;
        png_error(png, "the bytes end");
    }
    memcpy(out, reader->source->bytes + reader->at, size);
    if (reader->cut_chunk != 0 && reader->at == reader->cut_chunk && size >= 4) {
        size_t left = reader->end - reader->cut_chunk - 8;
        png_save_uint_32(out, (png_uint_32)left);
    }
    reader->at += size;
}

/* Finds where the sound bytes end: behind the last IDAT of the first run, or before the first that
 * fails its checksum. */
static void find_end(png_reader *reader)
{
    size_t at = reader->header->pixels_at;
    pngfile_chunk chunk;
    reader->end = at;
    while (pngfile_next_chunk(reader->source, &at, &chunk) && pngfile_chunk_is(&chunk, "IDAT")) {
        if (chunk.cut) {
            reader->cut_chunk = chunk.at;
            reader->end = reader->source->size;
            return;
        }
        if (!pngfile_chunk_sound(&chunk)) {
            reader->bad_chunk = true;
            return;
        }
        reader->end = at;
    }
}

static void set_up(png_reader *reader)
{
    /* of the known chunks only IHDR, PLTE, tRNS and IDAT are looked at: gamma and the like do not
     * change the numbers, and no text is unpacked (999 zTXt took 7.5 GB with libpng's defaults) */
    static const png_byte skipped[] = "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0"
                                      "sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt";
    png_structp png = reader->png;
    png_set_read_fn(png, reader, on_read);
    png_set_user_limits(png, reader->header->width, reader->header->height);
    png_set_chunk_cache_max(png, CHUNK_CACHE_MAX);
    png_set_chunk_malloc_max(png, IM_LIMIT_METADATA_BYTES);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, skipped, (int)(sizeof skipped / 5));
    png_read_info(png, reader->info);
    png_set_expand(png); /* palette, fewer than 8 bits, tRNS */
    if (reader->header->depth == 16) {
        if (reader->header->color_type == PNG_COLOR_TYPE_GRAY) {
            png_set_scale_16(png); /* v / 257, rounded */
        } else {
            png_set_strip_16(png); /* the high byte, as Pillow */
        }
    }
    png_read_update_info(png, reader->info);
}

static uint8_t over_white(unsigned value, unsigned alpha)
{
    return (uint8_t)((value * alpha + 255 * (255 - alpha) + 127) / 255);
}

/* A row of 1 to 4 channels (grey, grey + alpha, RGB, RGBA) to RGB, alpha composed over white. */
static void to_rgb(const uint8_t *in, unsigned channels, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++, in += channels, out += 3) {
        unsigned alpha = (channels & 1u) == 0 ? in[channels - 1] : 255;
        for (unsigned c = 0; c < 3; c++) {
            out[c] = over_white(in[channels >= 3 ? c : 0], alpha);
        }
    }
}

static im_code read_plain(png_reader *reader, im_error *err)
{
    unsigned channels = png_get_channels(reader->png, reader->info);
    uint32_t width = reader->header->width;
    for (uint32_t y = 0; y < reader->header->height; y++) {
        png_read_row(reader->png, reader->row, NULL);
        if (channels == 3) {
            canvas_place(reader->canvas, reader->row, y, 1);
        } else {
            uint8_t *direct = canvas_row(reader->canvas, y);
            to_rgb(reader->row, channels, direct != NULL ? direct : reader->rgb, width);
            if (direct == NULL) {
                canvas_place(reader->canvas, reader->rgb, y, 1);
            }
        }
        reader->done_rows = y + 1;
        if (image_out_of_time(reader->source)) {
            return image_fail_time(reader->source, err);
        }
    }
    return IM_OK;
}

/* First column and row of each pass of Adam7, and the steps from there. */
static const struct {
    uint8_t x0, y0, dx, dy;
} passes[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
              {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

/* Pixels go from their pass straight to their place, so that the picture is held once. libpng
 * leaves passes without pixels out. */
static im_code read_interlaced(png_reader *reader, im_error *err)
{
    unsigned channels = png_get_channels(reader->png, reader->info);
    uint32_t width = reader->header->width;
    uint32_t height = reader->header->height;
    for (size_t pass = 0; pass < IM_COUNT(passes); pass++) {
        uint32_t dx = passes[pass].dx;
        if (width <= passes[pass].x0) {
            continue;
        }
        uint32_t columns = (width - passes[pass].x0 + dx - 1) / dx;
        for (uint32_t y = passes[pass].y0; y < height; y += passes[pass].dy) {
            png_read_row(reader->png, reader->row, NULL);
            to_rgb(reader->row, channels, reader->rgb, columns);
            canvas_place_spread(reader->canvas, reader->rgb, columns, passes[pass].x0, dx, y);
            if (pass == IM_COUNT(passes) - 1) {
                reader->done_rows = y + 1; /* the even rows came before */
            }
            if (image_out_of_time(reader->source)) {
                return image_fail_time(reader->source, err);
            }
        }
    }
    reader->done_rows = height;
    return IM_OK;
}

/* What stopped libpng, as ours. Running out of data is no failure here: the verdict on the rows
 * decides. */
static im_code judge_error(png_reader *reader, im_error *err)
{
    if (reader->out_of_memory) {
        return image_fail_memory(reader->source, err);
    }
    if (!reader->adler_wrong &&
        (reader->ended || strstr(reader->message, "Not enough image data") != NULL)) {
        return IM_OK;
    }
    return im_fail_as(err, IM_REASON_PICTURE_CORRUPT,
                      "picture '%s': PNG data contradict themselves after row %u of %u: %s",
                      reader->source->name, reader->done_rows, reader->header->height,
                      reader->message);
}

/* All calls into libpng that can throw, after png_create: the only function that on_error jumps
 * into. What must survive the jump lives in *reader, which is not a local of this function. */
static im_code run(png_reader *reader, im_error *err)
{
    if (setjmp(reader->escape) != 0) {
        return judge_error(reader, err);
    }
    reader->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, reader, on_error, on_warning,
                                           reader, on_alloc, on_free);
    reader->info = reader->png != NULL ? png_create_info_struct(reader->png) : NULL;
    if (reader->info == NULL) {
        return image_fail_memory(reader->source, err);
    }
    set_up(reader);
    im_code rc =
        reader->header->interlaced ? read_interlaced(reader, err) : read_plain(reader, err);
    if (rc == IM_OK) {
        png_read_end(reader->png, NULL); /* compares Adler-32, then runs into our end and jumps */
    }
    return rc;
}

uint64_t pngfile_decoder_bytes(const image_header *header)
{
    return (uint64_t)header->width * 32; /* a row of ours in both forms, two of libpng's */
}

im_code pngfile_decode(const image_source *source, const image_header *header, image_canvas *canvas,
                       image_verdict *verdict, im_error *err)
{
    png_reader *reader = im_alloc_zero(1, sizeof *reader);
    if (reader == NULL) {
        return image_fail_memory(source, err);
    }
    reader->source = source;
    reader->header = header;
    reader->canvas = canvas;
    find_end(reader);
    reader->row = im_alloc(header->width, 8);
    reader->rgb = im_alloc(header->width, 3);
    im_code rc = reader->row != NULL && reader->rgb != NULL ? run(reader, err)
                                                            : image_fail_memory(source, err);
    if (rc == IM_OK) {
        verdict->sound_rows = reader->done_rows;
        verdict->kept_rows = reader->done_rows;
        verdict->damaged = reader->bad_chunk && reader->done_rows < header->height;
        verdict->cut_short = !verdict->damaged && reader->done_rows < header->height;
    }
    png_destroy_read_struct(&reader->png, &reader->info, NULL);
    im_free(reader->row);
    im_free(reader->rgb);
    im_free(reader);
    return rc;
}
