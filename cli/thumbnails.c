/* cli/thumbnails.c — small pictures beside hits, drawn by libchafa where the terminal shows
 * pictures (kitty, iTerm2, sixel). The library brings glib with it, which would cost every search
 * its start: it is loaded when the first picture is drawn, and its absence means no pictures,
 * nothing else. */
#include "base/file.h"
#include "cli/commands_internal.h"

#ifdef IMAGO_CHAFA

#include <chafa.h>
#include <dlfcn.h>
#include <unistd.h>

#define THUMB_COLUMNS 24
#define THUMB_ROWS 8
#define CELL_WIDTH_PX 10 /* terminals seldom say; these are usual */
#define CELL_HEIGHT_PX 20
#define THUMB_PX 160u

/* The functions used, with the types of chafa's own header. */
#define CHAFA_FUNCTIONS(X)                   \
    X(chafa_calc_canvas_geometry)            \
    X(chafa_canvas_config_new)               \
    X(chafa_canvas_config_set_cell_geometry) \
    X(chafa_canvas_config_set_geometry)      \
    X(chafa_canvas_config_set_pixel_mode)    \
    X(chafa_canvas_config_unref)             \
    X(chafa_canvas_draw_all_pixels)          \
    X(chafa_canvas_new)                      \
    X(chafa_canvas_print)                    \
    X(chafa_canvas_unref)                    \
    X(chafa_term_db_detect)                  \
    X(chafa_term_db_get_default)             \
    X(chafa_term_info_have_seq)              \
    X(chafa_term_info_unref)                 \
    X(g_string_free)

struct cli_painter {
    void *library;
    ChafaTermInfo *terminal;
    ChafaPixelMode mode;
#define X(name) __typeof__(name) *name;
    CHAFA_FUNCTIONS(X)
#undef X
};

static bool find_function(void *library, const char *name, void *slot)
{
    void *function = dlsym(library, name);
    memcpy(slot, &function, sizeof(function)); /* POSIX: a data pointer that is a function's */
    return function != NULL;
}

#undef g_string_free /* newer glib: a macro around the function */

static bool load(cli_painter *painter)
{
    bool ok = true;
    painter->library = dlopen("libchafa.so.0", RTLD_NOW | RTLD_LOCAL);
    if (painter->library == NULL) {
        return false;
    }
#define X(name) ok = ok && find_function(painter->library, #name, (void *)&painter->name);
    CHAFA_FUNCTIONS(X)
#undef X
    return ok;
}

/* True when the terminal shows pictures, or letters will do. */
static bool choose_mode(cli_painter *painter, cli_thumbnails wish)
{
    static const struct {
        ChafaTermSeq sequence;
        ChafaPixelMode mode;
    } modes[] = {
        {CHAFA_TERM_SEQ_BEGIN_KITTY_IMMEDIATE_IMAGE_V1, CHAFA_PIXEL_MODE_KITTY},
        {CHAFA_TERM_SEQ_BEGIN_ITERM2_IMAGE, CHAFA_PIXEL_MODE_ITERM2},
        {CHAFA_TERM_SEQ_BEGIN_SIXELS, CHAFA_PIXEL_MODE_SIXELS},
    };
    painter->terminal =
        painter->chafa_term_db_detect(painter->chafa_term_db_get_default(), environ);
    for (size_t i = 0; painter->terminal != NULL && i < IM_COUNT(modes); i++) {
        if (painter->chafa_term_info_have_seq(painter->terminal, modes[i].sequence)) {
            painter->mode = modes[i].mode;
            return true;
        }
    }
    painter->mode = CHAFA_PIXEL_MODE_SYMBOLS;
    return painter->terminal != NULL && wish == IM_THUMBS_ALWAYS;
}

cli_painter *cli_painter_open(const cli_output *out, cli_thumbnails wish)
{
    if (wish == IM_THUMBS_NEVER || (wish == IM_THUMBS_AUTO && !out->colour)) {
        return NULL;
    }
    cli_painter *painter = im_alloc_zero(1, sizeof(*painter));
    if (painter != NULL && (!load(painter) || !choose_mode(painter, wish))) {
        cli_painter_close(painter);
        painter = NULL;
    }
    return painter;
}

static void draw(cli_painter *painter, cli_output *out, const im_image *image)
{
    gint columns = THUMB_COLUMNS;
    gint rows = THUMB_ROWS;
    gint width = (gint)image->width;
    gint height = (gint)image->height;
    painter->chafa_calc_canvas_geometry(width, height, &columns, &rows,
                                        (gfloat)CELL_WIDTH_PX / CELL_HEIGHT_PX, TRUE, FALSE);
    ChafaCanvasConfig *config = painter->chafa_canvas_config_new();
    painter->chafa_canvas_config_set_geometry(config, columns, rows);
    painter->chafa_canvas_config_set_cell_geometry(config, CELL_WIDTH_PX, CELL_HEIGHT_PX);
    painter->chafa_canvas_config_set_pixel_mode(config, painter->mode);
    ChafaCanvas *canvas = painter->chafa_canvas_new(config);
    painter->chafa_canvas_draw_all_pixels(canvas, CHAFA_PIXEL_RGB8, image->rgb, width, height,
                                          3 * width);
    GString *text = painter->chafa_canvas_print(canvas, painter->terminal);
    cli_put(out, text->str, text->len);
    cli_puts(out, "\n");
    (void)painter->g_string_free(text, TRUE);
    painter->chafa_canvas_unref(canvas);
    painter->chafa_canvas_config_unref(config);
}

void cli_painter_draw(cli_painter *painter, cli_output *out, const char *path)
{
    im_bytes bytes = {0};
    im_image image = {0};
    im_image_options options = {.target_px = THUMB_PX / 2};
    if (painter == NULL) {
        return;
    }
    if (im_file_read(path, IM_LIMIT_PICTURE_BYTES, &bytes, NULL) == IM_OK &&
        im_image_decode(bytes.data, bytes.size, path, &options, &image, NULL, NULL) == IM_OK) {
        draw(painter, out, &image);
    }
    im_image_clear(&image);
    im_bytes_clear(&bytes);
}

void cli_painter_close(cli_painter *painter)
{
    if (painter == NULL) {
        return;
    }
    if (painter->terminal != NULL) {
        painter->chafa_term_info_unref(painter->terminal);
    }
    /* the library stays: glib cannot be unloaded */
    im_free(painter);
}

#else /* built without libchafa's header */

cli_painter *cli_painter_open(const cli_output *out, cli_thumbnails wish)
{
    (void)out;
    (void)wish;
    return NULL;
}

void cli_painter_draw(cli_painter *painter, cli_output *out, const char *path)
{
    (void)painter;
    (void)out;
    (void)path;
}

void cli_painter_close(cli_painter *painter)
{
    (void)painter;
}

#endif
