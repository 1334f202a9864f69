/* store/job.c — long work that was asked for: what is waiting, what runs, how it ended. Rows survive
 * whoever works on them. */
#include "base/clock.h"
#include "store/store_internal.h"

#define JOBS_KEPT 1000      /* that have ended … */
#define WATCH_JOBS_KEPT 100 /* … of this lane: they come by themselves */

static const char *const state_names[] = {"waiting", "running", "done", "failed", "stopped"};

const char *im_job_state_name(im_job_state state)
{
    return state_names[state];
}

bool im_job_has_ended(im_job_state state)
{
    return state >= IM_JOB_DONE;
}

void im_job_clear(im_job *job)
{
    im_free(job->arguments);
    im_free(job->progress);
    im_free(job->error);
    *job = (im_job){0};
}

static im_code fail_no_job(uint64_t id, im_error *err)
{
    return im_fail(err, IM_ERR_NOT_FOUND, "there is no job %llu", (unsigned long long)id);
}

static im_code add_job(im_store *store, const char *kind, const char *arguments, uint64_t *out_id,
                       im_error *err)
{
    statement st = {0};
    im_code rc = statement_open(store, STORE_SQL_ADD_JOB, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, kind);
    statement_put_text(&st, arguments);
    statement_put_i64(&st, im_clock_wall_ns());
    rc = statement_run(&st, NULL, err);
    if (rc == IM_OK) {
        *out_id = (uint64_t)sqlite3_last_insert_rowid(store->db);
        bool watch = strcmp(kind, IM_JOB_KIND_WATCH) == 0;
        rc = store_run_u64_i64(store, STORE_SQL_DROP_OLD_JOBS, watch ? WATCH_JOBS_KEPT : JOBS_KEPT,
                               watch, NULL, err);
    }
    return rc;
}

im_code im_store_put_job(im_store *store, const char *kind, const char *arguments, uint64_t *out_id,
                         im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, add_job(store, kind, arguments, out_id, err), err);
}

/* ---- reading ---- */

static char *text_or_null(const statement *st, int column, bool *ok)
{
    if (statement_is_null(st, column)) {
        return NULL;
    }
    char *text = statement_strdup(st, column);
    *ok = *ok && text != NULL;
    return text;
}

static im_code read_job(const statement *st, im_job *out, im_error *err)
{
    im_view state = statement_view(st, 2);
    bool ok = true;
    *out = (im_job){.id = statement_u64(st, 0),
                    .made_ns = statement_i64(st, 6),
                    .started_ns = statement_i64(st, 7),
                    .ended_ns = statement_i64(st, 8)};
    statement_copy(st, 1, out->kind, sizeof(out->kind));
    for (size_t i = 0; i < IM_COUNT(state_names); i++) {
        if (im_view_equal_c(state, state_names[i])) {
            out->state = (im_job_state)i;
        }
    }
    out->arguments = text_or_null(st, 3, &ok);
    out->progress = text_or_null(st, 4, &ok);
    out->error = text_or_null(st, 5, &ok);
    if (!ok) {
        im_job_clear(out);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a job");
    }
    return IM_OK;
}

/* The first row of a statement of one number; out->id 0 when there is none. */
static im_code first_job(im_store *store, store_sql sql, uint64_t number, im_job *out,
                         im_error *err)
{
    statement st = {0};
    bool row = false;
    *out = (im_job){0};
    im_code rc = statement_open(store, sql, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, number);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && row) {
        rc = read_job(&st, out, err);
    }
    statement_close(&st);
    return rc;
}

im_code im_store_get_job(im_store *store, uint64_t id, im_job *out, im_error *err)
{
    im_code rc = first_job(store, STORE_SQL_GET_JOB, id, out, err);
    return rc == IM_OK && out->id == 0 ? fail_no_job(id, err) : rc;
}

im_code im_store_each_job(im_store *store, im_store_job_fn fn, void *context, im_error *err)
{
    statement st = {0};
    bool more = true;
    im_code rc = statement_open(store, STORE_SQL_EACH_JOB, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    while (rc == IM_OK && more) {
        im_job job = {0};
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            rc = read_job(&st, &job, err);
        }
        if (rc == IM_OK && more) {
            more = fn(context, &job);
        }
        im_job_clear(&job);
    }
    statement_close(&st);
    return rc;
}

im_code im_store_count_jobs(im_store *store, uint64_t *out_waiting, uint64_t *out_running,
                            im_error *err)
{
    im_code rc = store_number(store, STORE_SQL_COUNT_WAITING_JOBS, out_waiting, err);
    return rc == IM_OK ? store_number(store, STORE_SQL_COUNT_RUNNING_JOBS, out_running, err) : rc;
}

/* ---- states ---- */

static im_code set_job(im_store *store, uint64_t id, im_job_state state, const char *progress,
                       const char *error, im_error *err)
{
    statement st = {0};
    uint64_t rows = 0;
    im_job now = {0};
    im_code rc = statement_open(store, STORE_SQL_SET_JOB, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, id);
    statement_put_text(&st, state_names[state]);
    statement_put_text(&st, progress);
    statement_put_text(&st, error);
    statement_put_i64(&st, im_clock_wall_ns());
    rc = statement_run(&st, &rows, err);
    if (rc != IM_OK || rows != 0) {
        return rc;
    }
    rc = im_store_get_job(store, id, &now, err);
    if (rc == IM_OK) {
        rc = im_fail(err, IM_ERR_CONFLICT, "job %llu has ended: it is %s", (unsigned long long)id,
                     state_names[now.state]);
    }
    im_job_clear(&now);
    return rc;
}

im_code im_store_set_job(im_store *store, uint64_t id, im_job_state state, const char *progress,
                         const char *error, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, set_job(store, id, state, progress, error, err), err);
}

static im_code claim(im_store *store, im_job_lane lane, im_job *out, im_error *err)
{
    im_code rc = first_job(store, STORE_SQL_NEXT_JOB, lane, out, err);
    if (rc == IM_OK && out->id != 0) {
        rc = set_job(store, out->id, IM_JOB_RUNNING, out->progress, NULL, err);
        out->state = IM_JOB_RUNNING;
    }
    return rc;
}

im_code im_store_claim_job(im_store *store, im_job_lane lane, im_job *out, im_error *err)
{
    store_write write;
    im_code rc = first_job(store, STORE_SQL_NEXT_JOB, lane, out, err);
    if (rc != IM_OK || out->id == 0) {
        return rc; /* nothing waits: nothing is locked */
    }
    im_job_clear(out);
    rc = store_write_begin(store, &write, err);
    if (rc == IM_OK) {
        rc = claim(store, lane, out, err);
        rc = store_write_end(store, &write, rc, err);
    }
    if (rc != IM_OK) {
        im_job_clear(out);
    }
    return rc;
}

im_code im_store_revive_jobs(im_store *store, im_job_lane lane, uint64_t *out_n, im_error *err)
{
    store_write write;
    *out_n = 0;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = store_run_u64(store, STORE_SQL_REVIVE_JOBS, lane, out_n, err);
    return store_write_end(store, &write, rc, err);
}
