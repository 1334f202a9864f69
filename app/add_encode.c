/* app/add_encode.c — the encode stage, on the caller's thread: forward passes over what the
 * decoders hand over, rows gathered for the writer, progress told. */
#include "app/add_internal.h"
#include "base/clock.h"

#define WRITE_ROWS 256u              /* rows of one transaction … */
#define WRITE_EVERY_NS 2000000000ull /* … or what came in two seconds */

static void count_skip(im_add_report *report, const char *what)
{
    size_t i = 0;
    report->skipped++;
    while (i < report->n_skips && strcmp(report->skips[i].what, what) != 0) {
        i++;
    }
    if (i == IM_COUNT(report->skips)) {
        return;
    }
    if (i == report->n_skips) {
        (void)snprintf(report->skips[i].what, sizeof(report->skips[i].what), "%s", what);
        report->n_skips++;
    }
    report->skips[i].n++;
}

static void tell_outcome(add_encode *stage, const add_job *job)
{
    if (job->outcome == JOB_SKIPPED) {
        count_skip(stage->report, job->skip);
    } else if (job->outcome == JOB_FAILED) {
        char *full = add_job_full_path(job);
        event_failed(stage->events, full != NULL ? full : job->path, &job->error);
        im_free(full);
        add_note_failure(&stage->run->first, &job->error);
    }
}

static void tick(add_encode *stage)
{
    const im_add_report *r = stage->report;
    uint64_t unchanged = atomic_load(&stage->run->n_unchanged);
    stage->meter.state.total = atomic_load(&stage->run->n_found);
    meter_tick(&stage->meter,
               r->added + r->linked + r->moved + r->updated + r->skipped + r->failed + unchanged +
                   stage->rows.n,
               r->failed, stage->events);
}

static im_code write_rows(add_encode *stage, im_error *err)
{
    uint64_t start = im_clock_ns();
    im_code rc = add_write_batch(stage->run, &stage->rows, stage->report, err);
    add_note_memory(stage->run);
    stage->last_write_ns = im_clock_ns();
    stage->write_ns += stage->last_write_ns - start;
    return rc;
}

static im_code add_row(add_encode *stage, add_job *job, im_error *err) /* takes job */
{
    add_batch *rows = &stage->rows;
    tell_outcome(stage, job);
    if (job->outcome == JOB_SKIPPED) {
        add_job_free(job);
        return IM_OK;
    }
    if (rows->n == rows->capacity) {
        size_t wanted = rows->capacity == 0 ? WRITE_ROWS : rows->capacity * 2;
        add_job **grown = im_realloc(rows->jobs, wanted, sizeof(*grown));
        if (grown == NULL) {
            add_job_free(job);
            return im_fail(err, IM_ERR_NOMEM, "no memory for a batch of rows");
        }
        rows->jobs = grown;
        rows->capacity = wanted;
    }
    rows->jobs[rows->n++] = job;
    if (rows->n >= WRITE_ROWS || im_clock_ns() - stage->last_write_ns > WRITE_EVERY_NS) {
        return write_rows(stage, err);
    }
    return IM_OK;
}

/* Gives each pending job its vector; a row that the model cannot encode fails alone. */
static im_code encode_pending(add_encode *stage, im_error *err)
{
    size_t one = picture_pixels_bytes(stage->run->encoder);
    size_t dim = im_encoder_describe(stage->run->encoder)->dim;
    size_t n = stage->n_pending;
    size_t from = 0;
    im_code rc = IM_OK;
    uint64_t start = im_clock_ns();
    for (size_t i = 0; i < n; i++) {
        memcpy(stage->pixels + i * one, stage->pending[i]->pixels, one);
        im_free(stage->pending[i]->pixels);
        stage->pending[i]->pixels = NULL;
    }
    while (from < n && rc == IM_OK) {
        size_t bad = n;
        im_error error = IM_ERROR_INIT;
        rc = im_encoder_pictures(stage->run->encoder, stage->pixels + from * one, n - from,
                                 stage->vectors + from * dim, &bad, &error);
        if (rc == IM_ERR_FORMAT && bad < n - from) {
            stage->pending[from + bad]->outcome = JOB_FAILED;
            stage->pending[from + bad]->error = error;
            from += bad + 1;
            rc = IM_OK;
        } else if (rc == IM_OK) {
            from = n;
        } else if (err != NULL) {
            *err = error;
        }
    }
    stage->encode_ns += im_clock_ns() - start;
    stage->n_pending = 0;
    for (size_t i = 0; i < n; i++) {
        add_job *job = stage->pending[i];
        if (rc == IM_OK && job->outcome == JOB_NEW) {
            job->vector = im_alloc(dim, sizeof(float));
            if (job->vector == NULL) {
                rc = im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
            } else {
                memcpy(job->vector, stage->vectors + i * dim, dim * sizeof(float));
            }
        }
        if (rc == IM_OK) {
            rc = add_row(stage, job, err);
        } else {
            add_job_free(job);
        }
    }
    return rc;
}

/* Takes what the decoders hand over until all is done: full batches while there is enough, what
 * there is when the queue runs dry. */
im_code add_encode_loop(add_encode *stage, im_error *err)
{
    void *entry = NULL;
    im_code rc = IM_OK;
    for (;;) {
        bool got = stage->n_pending > 0 ? im_queue_try_take(stage->run->ready, &entry)
                                        : im_queue_take(stage->run->ready, &entry);
        if (!got && stage->n_pending == 0) {
            break;
        }
        if (got) {
            add_job *job = entry;
            if (job->outcome == JOB_NEW) {
                stage->pending[stage->n_pending++] = job;
            } else {
                rc = add_row(stage, job, err);
            }
        }
        if (rc == IM_OK && stage->n_pending > 0 &&
            (!got || stage->n_pending == stage->run->batch)) {
            rc = encode_pending(stage, err);
        }
        tick(stage);
        if (rc != IM_OK || im_stop_asked()) {
            break;
        }
    }
    if (rc == IM_OK && stage->n_pending > 0) {
        rc = encode_pending(stage, err); /* decoded before the signal: not thrown away */
    }
    return rc == IM_OK ? write_rows(stage, err) : rc;
}

im_code add_encode_open(add_encode *stage, im_error *err)
{
    stage->pending = im_alloc_zero(stage->run->batch, sizeof(*stage->pending));
    stage->pixels = im_alloc(stage->run->batch, picture_pixels_bytes(stage->run->encoder));
    stage->vectors =
        im_alloc(stage->run->batch, im_encoder_describe(stage->run->encoder)->dim * sizeof(float));
    stage->last_write_ns = im_clock_ns();
    if (stage->pending == NULL || stage->pixels == NULL || stage->vectors == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a batch of %zu pictures",
                       stage->run->batch);
    }
    return IM_OK;
}

void add_encode_close(add_encode *stage)
{
    for (size_t i = 0; i < stage->n_pending; i++) {
        add_job_free(stage->pending[i]);
    }
    for (size_t i = 0; i < stage->rows.n; i++) {
        add_job_free(stage->rows.jobs[i]);
    }
    im_free(stage->rows.jobs);
    im_free(stage->pending);
    im_free(stage->pixels);
    im_free(stage->vectors);
}
