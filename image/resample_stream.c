/* image/resample_stream.c — both passes of a resize while the stored rows come, so that nobody
 * holds the picture. Orientation costs nothing here: an axis that the orientation mirrors gets its
 * weights mirrored, and a picture that it turns gets its passes in the other order (Pillow rounds
 * to bytes between them, first along the rows of the turned picture, which are stored columns). */
#include "image/resample_internal.h"
#include <assert.h>

static uint32_t most_inputs(const resample_axis *axis)
{
    uint32_t most = 1;
    for (uint32_t i = 0; i < axis->n; i++) {
        most = IM_MAX(most, axis->count[i]);
    }
    return most;
}

uint64_t resample_stream_bytes(const im_image *image, uint8_t orientation, const resample_job *job)
{
    uint64_t taps_x = resample_taps(job->width, job->out_width, job->filter);
    uint64_t taps_y = resample_taps(job->height, job->out_height, job->filter);
    uint64_t weights = taps_x * job->n_x + taps_y * job->n_y;
    bool turned = orientation_turns(orientation);
    uint64_t row = turned ? job->n_y : job->n_x;
    if (turned && !job->any_order) {
        row = image->height;
    }
    uint64_t window = 2 * (turned ? taps_x : taps_y);
    return weights * 8 + ((window + 1) * row + job->n_x + job->n_y) * 3;
}

/* The columns of stored rows that `across` reads; it is made to count from the first of them. */
static uint32_t narrow(resample_axis *across, uint32_t *out_first)
{
    uint32_t first = UINT32_MAX;
    uint32_t end = 0;
    for (uint32_t i = 0; i < across->n; i++) {
        first = IM_MIN(first, across->start[i]);
        end = IM_MAX(end, across->start[i] + across->count[i]);
    }
    for (uint32_t i = 0; i < across->n; i++) {
        across->start[i] -= first;
    }
    *out_first = first;
    return end - first;
}

static bool make_axes(resample_stream *stream, const im_image *image, uint8_t orientation,
                      const resample_job *job)
{
    resample_axis *x = stream->turned ? &stream->down : &stream->across;
    resample_axis *y = stream->turned ? &stream->across : &stream->down;
    /* Pillow keeps the box in single precision */
    if (!resample_axis_init(x, image->width, (float)job->x, (float)(job->x + job->width),
                            job->out_width, job->first_x, job->n_x, job->filter) ||
        !resample_axis_init(y, image->height, (float)job->y, (float)(job->y + job->height),
                            job->out_height, job->first_y, job->n_y, job->filter)) {
        return false;
    }
    if (orientation_mirrors_x(orientation)) {
        resample_axis_mirror(x, image->width);
    }
    if (orientation_mirrors_y(orientation)) {
        resample_axis_mirror(y, image->height);
    }
    stream->upwards =
        stream->turned ? orientation_mirrors_x(orientation) : orientation_mirrors_y(orientation);
    if (stream->upwards) {
        resample_axis_reverse(&stream->down);
    }
    return true;
}

bool resample_stream_init(resample_stream *stream, const im_image *image, uint8_t orientation,
                          const resample_job *job, const resample_kernels *kernels)
{
    memset(stream, 0, sizeof *stream);
    stream->kernels = *kernels;
    stream->turned = orientation_turns(orientation);
    stream->across_first = !stream->turned || job->any_order;
    stream->out = job->out;
    stream->out_pitch = job->out_pitch;
    if (!make_axes(stream, image, orientation, job)) {
        resample_stream_clear(stream);
        return false;
    }
    stream->row_bytes = (size_t)stream->across.n * 3;
    if (!stream->across_first) {
        stream->row_bytes = (size_t)narrow(&stream->across, &stream->first_column) * 3;
    }
    stream->capacity = 2 * most_inputs(&stream->down);
    stream->window = im_alloc(stream->capacity, stream->row_bytes);
    stream->wide = im_alloc(1, stream->row_bytes);
    stream->line = im_alloc(stream->across.n, 3);
    if (stream->window == NULL || stream->wide == NULL || stream->line == NULL) {
        resample_stream_clear(stream);
        return false;
    }
    return true;
}

void resample_stream_clear(resample_stream *stream)
{
    resample_axis_clear(&stream->across);
    resample_axis_clear(&stream->down);
    im_free(stream->window);
    im_free(stream->wide);
    im_free(stream->line);
    memset(stream, 0, sizeof *stream);
}

/* Output i of `down` is ready in stream->line: a row of the result, or a column. */
static void put_line(const resample_stream *stream, uint32_t i)
{
    uint32_t n = stream->across.n;
    uint32_t at = stream->upwards ? stream->down.n - 1 - i : i;
    if (!stream->turned) {
        memcpy(stream->out + at * stream->out_pitch, stream->line, (size_t)n * 3);
        return;
    }
    uint8_t *to = stream->out + (size_t)at * 3;
    for (uint32_t k = 0; k < n; k++) {
        memcpy(to + k * stream->out_pitch, stream->line + (size_t)k * 3, 3);
    }
}

static void finish_line(const resample_stream *stream, uint32_t i)
{
    const uint8_t *rows =
        stream->window + (stream->down.start[i] - stream->window_first) * stream->row_bytes;
    if (stream->across_first) {
        stream->kernels.down(rows, stream->row_bytes, &stream->down, i, stream->line);
    } else {
        stream->kernels.down(rows, stream->row_bytes, &stream->down, i, stream->wide);
        stream->kernels.across(stream->wide, stream->wide + stream->row_bytes, &stream->across,
                               stream->line);
    }
    put_line(stream, i);
}

/* The place of row y in the window; rows that no output will need make room. */
static uint8_t *next_row(resample_stream *stream, uint32_t y)
{
    if (stream->held == stream->capacity) {
        uint32_t gone = stream->down.start[stream->next] - stream->window_first;
        stream->held -= gone;
        stream->window_first += gone;
        memmove(stream->window, stream->window + gone * stream->row_bytes,
                stream->held * stream->row_bytes);
    }
    if (stream->held == 0) {
        stream->window_first = y;
    }
    assert(y == stream->window_first + stream->held && stream->held < stream->capacity);
    return stream->window + stream->held++ * stream->row_bytes;
}

void resample_stream_row(resample_stream *stream, const uint8_t *row, const uint8_t *end,
                         uint32_t y)
{
    const resample_axis *down = &stream->down;
    if (stream->next == down->n || y < down->start[stream->next]) {
        return; /* cropped away */
    }
    uint8_t *to = next_row(stream, y);
    if (stream->across_first) {
        stream->kernels.across(row, end, &stream->across, to);
    } else {
        memcpy(to, row + (size_t)stream->first_column * 3, stream->row_bytes);
    }
    while (stream->next < down->n &&
           down->start[stream->next] + down->count[stream->next] <= y + 1) {
        finish_line(stream, stream->next);
        stream->next++;
    }
}

bool resample_stream_done(const resample_stream *stream)
{
    return stream->next == stream->down.n;
}

im_code resample_run(const im_image *image, const resample_job *job,
                     const resample_kernels *kernels, im_error *err)
{
    resample_stream stream;
    im_code rc = resample_check(image, job, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (!resample_stream_init(&stream, image, 1, job, kernels)) {
        return im_fail(err, IM_ERR_NOMEM, "could not get memory to resize a picture");
    }
    size_t row_bytes = (size_t)image->width * 3;
    const uint8_t *end = image->rgb + row_bytes * image->height;
    for (uint32_t y = 0; y < image->height && !resample_stream_done(&stream); y++) {
        resample_stream_row(&stream, image->rgb + y * row_bytes, end, y);
    }
    assert(resample_stream_done(&stream));
    resample_stream_clear(&stream);
    return IM_OK;
}
