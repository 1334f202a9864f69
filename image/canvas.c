/* image/canvas.c — rows of the stored frame go straight to their oriented place, so that a picture
 * is held once, whatever its orientation (a 128-Mpixel picture is 400 MB). */
#include "image/image_internal.h"
#include <assert.h>

#define PIXEL 3u

/* Place of stored (x, y) in the oriented picture: origin + x * step_x + y * step_y, in pixels. */
typedef struct canvas_map {
    ptrdiff_t origin, step_x, step_y;
} canvas_map;

static canvas_map map_of(const image_canvas *canvas)
{
    ptrdiff_t w = canvas->stored_width;
    ptrdiff_t h = canvas->stored_height;
    switch (canvas->orientation) {
    case 2: /* mirrored left to right */
        return (canvas_map){w - 1, -1, w};
    case 3: /* turned by 180 degrees */
        return (canvas_map){w * h - 1, -1, -w};
    case 4: /* mirrored top to bottom */
        return (canvas_map){w * (h - 1), 1, -w};
    case 5: /* transposed */
        return (canvas_map){0, h, 1};
    case 6: /* turned by 90 degrees clockwise */
        return (canvas_map){h - 1, h, -1};
    case 7: /* transposed along the other diagonal */
        return (canvas_map){(w - 1) * h + h - 1, -h, -1};
    case 8: /* turned by 90 degrees counterclockwise */
        return (canvas_map){(w - 1) * h, -h, 1};
    default:
        return (canvas_map){0, 1, w};
    }
}

void canvas_shape(image_canvas *canvas, uint32_t stored_width, uint32_t stored_height,
                  uint8_t orientation, uint8_t reduced)
{
    canvas->stored_width = stored_width;
    canvas->stored_height = stored_height;
    canvas->orientation = orientation;
    canvas->reduced = reduced;
    canvas->width = orientation_turns(orientation) ? stored_height : stored_width;
    canvas->height = orientation_turns(orientation) ? stored_width : stored_height;
}

bool canvas_open(image_canvas *canvas)
{
    size_t pixels = 0;
    if (!im_size_mul(canvas->stored_width, canvas->stored_height, &pixels)) {
        return false;
    }
    canvas->rgb = im_alloc(pixels, PIXEL);
    return canvas->rgb != NULL;
}

void canvas_clear(image_canvas *canvas)
{
    im_free(canvas->rgb);
    canvas->rgb = NULL;
}

uint8_t *canvas_row(const image_canvas *canvas, uint32_t y)
{
    bool in_place = canvas->flow == NULL && canvas->orientation == 1;
    return in_place ? canvas->rgb + (size_t)y * canvas->width * PIXEL : NULL;
}

static void put_pixel(uint8_t *to, const uint8_t *from)
{
    to[0] = from[0];
    to[1] = from[1];
    to[2] = from[2];
}

void canvas_place_spread(image_canvas *canvas, const uint8_t *pixels, uint32_t n, uint32_t x0,
                         uint32_t dx, uint32_t y)
{
    canvas_map map = map_of(canvas);
    ptrdiff_t at = map.origin + (ptrdiff_t)x0 * map.step_x + (ptrdiff_t)y * map.step_y;
    for (uint32_t i = 0; i < n; i++) {
        put_pixel(canvas->rgb + at * (ptrdiff_t)PIXEL, pixels + (size_t)i * PIXEL);
        at += (ptrdiff_t)dx * map.step_x;
    }
}

/* Columns become rows: walking the strip by columns writes n_rows neighbours at a time. */
static void place_turned(image_canvas *canvas, const uint8_t *rows, uint32_t first, uint32_t n_rows)
{
    canvas_map map = map_of(canvas);
    size_t row_bytes = (size_t)canvas->stored_width * PIXEL;
    for (uint32_t x = 0; x < canvas->stored_width; x++) {
        ptrdiff_t at = map.origin + (ptrdiff_t)x * map.step_x + (ptrdiff_t)first * map.step_y;
        const uint8_t *from = rows + (size_t)x * PIXEL;
        for (uint32_t y = 0; y < n_rows; y++) {
            put_pixel(canvas->rgb + at * (ptrdiff_t)PIXEL, from);
            from += row_bytes;
            at += map.step_y;
        }
    }
}

void canvas_place(image_canvas *canvas, const uint8_t *rows, uint32_t first, uint32_t n_rows)
{
    assert(first + n_rows <= canvas->stored_height);
    size_t row_bytes = (size_t)canvas->stored_width * PIXEL;
    if (canvas->flow != NULL) {
        flow_rows(canvas->flow, rows, row_bytes, first, n_rows);
    } else if (canvas->orientation == 1) {
        memcpy(canvas_row(canvas, first), rows, row_bytes * n_rows);
    } else if (orientation_turns(canvas->orientation)) {
        place_turned(canvas, rows, first, n_rows);
    } else {
        for (uint32_t y = 0; y < n_rows; y++) {
            canvas_place_spread(canvas, rows + y * row_bytes, canvas->stored_width, 0, 1,
                                first + y);
        }
    }
}

/* Keeps `width` columns from column x on, packing the rows; each row moves down or stays. */
static void keep_columns(image_canvas *canvas, uint32_t x, uint32_t width)
{
    for (uint32_t y = 0; y < canvas->height; y++) {
        memmove(canvas->rgb + (size_t)y * width * PIXEL,
                canvas->rgb + ((size_t)y * canvas->width + x) * PIXEL, (size_t)width * PIXEL);
    }
    canvas->width = width;
}

static void keep_rows(image_canvas *canvas, uint32_t y, uint32_t height)
{
    size_t row_bytes = (size_t)canvas->width * PIXEL;
    memmove(canvas->rgb, canvas->rgb + y * row_bytes, height * row_bytes);
    canvas->height = height;
}

void canvas_cut(image_canvas *canvas, uint32_t kept_rows)
{
    uint32_t gone = canvas->stored_height - kept_rows;
    assert(kept_rows > 0 && kept_rows <= canvas->stored_height);
    switch (canvas->orientation) {
    case 3:
    case 4:
        keep_rows(canvas, gone, kept_rows);
        break;
    case 5:
    case 8:
        keep_columns(canvas, 0, kept_rows);
        break;
    case 6:
    case 7:
        keep_columns(canvas, gone, kept_rows);
        break;
    default:
        keep_rows(canvas, 0, kept_rows);
        break;
    }
    canvas->stored_height = kept_rows;
    uint8_t *smaller = im_realloc(canvas->rgb, (size_t)canvas->width * canvas->height, PIXEL);
    if (smaller != NULL) {
        canvas->rgb = smaller;
    }
}
