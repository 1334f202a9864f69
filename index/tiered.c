/* index/tiered.c — the tiered engine: opens the codes, says which way each query goes, and hands
 * whatever the codes cannot do to the scan. Nothing that is wrong with codes is an error. */
#include "base/base.h"
#include "base/log.h"
#include "index/codes_build_internal.h"
#include "index/tiered_internal.h"
#include <math.h>
#include <string.h>

#define FAST_ROWS 8192u  /* fewer are proved, whatever the query says: it takes no longer */
#define FAST_SPARSE 8u   /* a filter that lets less than an eighth pass: bits would not pay */
#define FAST_PER_HIT 64u /* fast only while k is less than a 64th of the rows */
#define SCAN_PER_HIT 4u  /* k above a quarter of the rows: nothing can be let go */
/* So many fast ones are proved in one pass instead, which is quicker: eight at once 3.7 ms of work
 * each in place of 5.4 for a million rows, 64 at once 2.4 in place of 5.0. But it reads all codes:
 * only among so many times the rows that are proved for one. */
#define FAST_TOGETHER 8u
#define TOGETHER_TIMES 8u

/* ---- opening ---- */

static void note_problem(im_index *index, const im_error *cause)
{
    atomic_store(&index->codes, IM_CODES_DAMAGED);
    if (index->codes_problem[0] == '\0') {
        snprintf(index->codes_problem, sizeof(index->codes_problem), "%s", cause->message);
    }
    im_log(IM_LOG_DEBUG, "codes_unusable", "reason=%s", cause->message);
}

static im_code unusable(const codes_file *file, const char *what, im_error *err)
{
    return im_fail_as(err, IM_REASON_INDEX_DAMAGED, "codes file '%s': %s", file->path, what);
}

static im_code check_file(const im_index *index, const codes_file *file, im_error *err)
{
    double sum = 0;
    const float *mean = codes_file_mean(file);
    if (!index_codes_fit(file, index)) {
        return unusable(file, "it was made from other vectors", err);
    }
    for (size_t i = 0; i < file->layout.dim; i++) {
        sum += (double)mean[i] * (double)mean[i];
    }
    if (!(sum <= 1.003)) { /* a mean of unit vectors */
        return unusable(file, "its mean is none", err);
    }
    return IM_OK;
}

/* IM_OK also when the file is not usable: it is closed then, and the reason noted. */
static im_code open_file(im_index *index, const char *folder, const im_index_state *state,
                         codes_kind kind, codes_file *file, im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    im_code rc = codes_file_open(folder, kind, state, file, &cause);
    if (rc == IM_OK) {
        rc = check_file(index, file, &cause);
    }
    if (rc == IM_OK || rc == IM_ERR_NOT_FOUND) {
        return IM_OK;
    }
    codes_file_close(file);
    if (rc == IM_ERR_NOMEM) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for codes");
    }
    note_problem(index, &cause);
    return IM_OK;
}

/* One file without the other is a state that the next update mends. */
static im_code check_pair(const tiered_engine *engine, im_error *err)
{
    const codes_file *i8 = &engine->i8;
    const codes_file *b1 = &engine->b1;
    if (i8->map == NULL && b1->map == NULL) {
        return IM_OK;
    }
    if (i8->map == NULL || b1->map == NULL) {
        return unusable(i8->map != NULL ? i8 : b1, "the one beside it is not there", err);
    }
    if (b1->header.n_rows < i8->header.n_rows || b1->header.mean_crc != i8->header.mean_crc) {
        return unusable(b1, "it is of another making than the one beside it", err);
    }
    return IM_OK;
}

static void free_engine(tiered_engine *engine)
{
    if (engine != NULL) {
        codes_file_close(&engine->i8);
        codes_file_close(&engine->b1);
        index_rotation_clear(&engine->rotation);
        im_free(engine);
    }
}

im_code index_tiered_open(im_index *index, const char *folder, const im_index_state *state,
                          im_error *err)
{
    tiered_engine *engine = im_alloc_zero(1, sizeof(*engine));
    if (engine == NULL || !index_rotation_init(&engine->rotation, index->layout.dim)) {
        free_engine(engine);
        return im_fail(err, IM_ERR_NOMEM, "no memory for the tiered engine");
    }
    engine->proved_rows = IM_INDEX_PROVED_ROWS;
    engine->fast_rows = FAST_ROWS;
    atomic_store(&index->codes, IM_CODES_ABSENT);
    im_code rc = open_file(index, folder, state, CODES_I8, &engine->i8, err);
    if (rc == IM_OK) {
        rc = open_file(index, folder, state, CODES_B1, &engine->b1, err);
    }
    if (rc != IM_OK) {
        free_engine(engine);
        return rc;
    }
    im_error cause = IM_ERROR_INIT;
    if (check_pair(engine, &cause) != IM_OK) {
        note_problem(index, &cause);
        codes_file_close(&engine->b1);
    }
    if (engine->i8.map != NULL) {
        index->n_coded = IM_MIN(engine->i8.header.n_rows, index->n_rows);
        engine->space = (codes_space){index_codes_kernels_choose(), &engine->rotation,
                                      codes_file_mean(&engine->i8)};
        if (atomic_load(&index->codes) == IM_CODES_ABSENT) {
            atomic_store(&index->codes, IM_CODES_SOUND);
        }
    }
    index->engine_data = engine;
    return IM_OK;
}

static void tiered_close(im_index *index)
{
    free_engine(index->engine_data);
    index->engine_data = NULL;
}

static uint64_t tiered_private_bytes(const im_index *index)
{
    const tiered_engine *engine = index->engine_data;
    return sizeof(*engine) + engine->rotation.rounds * engine->rotation.size * sizeof(float) +
           (engine->i8.n_blocks + engine->b1.n_blocks) / 8;
}

/* ---- which way ---- */

static bool may_use_codes(const im_index *index, const index_request *request)
{
    const tiered_engine *engine = index->engine_data;
    return index->n_coded > 0 && !atomic_load(&engine->i8_damaged) &&
           (request->query->has_floor || /* whatever k: the pass finds how many reach it */
            request->query->k <= request->filtered / SCAN_PER_HIT) &&
           codes_query_possible(request->scoring);
}

static bool wants_fast(const im_index *index, const index_request *request)
{
    const tiered_engine *engine = index->engine_data;
    const im_index_query *query = request->query;
    uint64_t filtered = request->filtered;
    bool asked = query->mode == IM_MODE_FAST ||
                 (query->mode == IM_MODE_AUTO && filtered > engine->proved_rows);
    return asked && engine->b1.map != NULL && engine->b1.layout.lanes == CODES_LANES &&
           !atomic_load(&engine->b1_damaged) && !query->has_after &&
           filtered >= engine->fast_rows && filtered >= index->n_coded / FAST_SPARSE &&
           query->k <= filtered / FAST_PER_HIT;
}

/* ---- one group ---- */

static im_code job_error(tiered_job *job, im_error *err)
{
    int failure = atomic_load(&job->failure);
    if (failure == TIERED_ROW) {
        return index_damaged_row(job->index, atomic_load(&job->slot), err);
    }
    return im_fail(err, IM_ERR_NOMEM, "no memory for a search by codes");
}

static void take_answer(tiered_search *search, im_hit *hits, im_index_answer *answer)
{
    index_top_sort(&search->top);
    if (search->top.n > 0) {
        memcpy(hits, search->top.entries, search->top.n * sizeof(*hits));
    }
    answer->n_hits = search->top.n;
    answer->scanned = search->request->filtered;
    answer->exact = !search->fast;
    answer->engine = index_engine_tiered.name;
}

/* Damaged codes are never used again by this index. */
static void note_damage(tiered_job *job)
{
    tiered_engine *engine = job->engine;
    bool i8 = atomic_load(&job->failure) == TIERED_CODES || im_map_lost(engine->i8.map);
    bool b1 =
        atomic_load(&engine->b1_damaged) || (engine->b1.map != NULL && im_map_lost(engine->b1.map));
    if (i8) {
        atomic_store(&engine->i8_damaged, true);
        if (!tiered_failed(job)) {
            tiered_fail(job, TIERED_CODES, 0);
        }
    }
    if (b1) {
        atomic_store(&engine->b1_damaged, true);
    }
    if (i8 || b1) {
        atomic_store(&job->index->codes, IM_CODES_DAMAGED);
        im_log(IM_LOG_DEBUG, "codes_damaged", "file=%s", i8 ? engine->i8.path : engine->b1.path);
    }
}

static void finish_task(void *context, size_t task, size_t worker)
{
    tiered_job *job = context;
    tiered_search *search = &job->searches[task];
    (void)worker;
    if (!search->done && !tiered_failed(job)) {
        search->done = tiered_finish(job, search);
    }
}

/* Fast ones first: those that turn out not to be join the proved pass. */
static void run_searches(tiered_job *job)
{
    size_t n_fast = 0;
    bool any_proved = false;
    bool together = job->index->n_coded <= TOGETHER_TIMES * job->engine->proved_rows;
    for (size_t i = 0; i < job->n; i++) {
        n_fast += job->searches[i].fast;
    }
    for (size_t i = 0; i < job->n && together && n_fast >= FAST_TOGETHER; i++) {
        job->searches[i].fast = false;
    }
    tiered_fast(job);
    for (size_t i = 0; i < job->n; i++) {
        job->searches[i].done = job->searches[i].fast && !tiered_failed(job);
        any_proved = any_proved || !job->searches[i].done;
    }
    if (any_proved && !tiered_failed(job)) {
        tiered_pass(job);
        im_pool_run(job->index->pool, job->n, finish_task, job);
    }
}

static void init_task(void *context, size_t task, size_t worker)
{
    tiered_job *job = context;
    (void)worker;
    if (!tiered_search_init(&job->searches[task], job, job->requests[task])) {
        tiered_fail(job, TIERED_NOMEM, 0);
    }
}

/* At most TIERED_GROUP requests that the codes can answer. */
static im_code run_group(im_index *index, const index_request *const *requests, size_t n,
                         im_hit *const *hits, im_index_answer *const *answers, im_error *err)
{
    tiered_search searches[TIERED_GROUP];
    tiered_job job = {.index = index,
                      .engine = index->engine_data,
                      .requests = requests,
                      .searches = searches,
                      .n = n};
    im_code rc = IM_OK;
    job.n_workers = index->pool != NULL ? im_pool_threads(index->pool) : 1;
    im_pool_run(index->pool, n, init_task, &job);
    for (size_t i = 0; i < n; i++) {
        searches[i].fast = wants_fast(index, requests[i]);
    }
    if (!tiered_failed(&job)) {
        run_searches(&job);
        note_damage(&job);
    }
    int failure = atomic_load(&job.failure);
    if (failure == TIERED_NOMEM || failure == TIERED_ROW) {
        rc = job_error(&job, err);
    }
    for (size_t i = 0; i < n; i++) {
        if (rc == IM_OK && failure == TIERED_OK && searches[i].done) {
            take_answer(&searches[i], hits[i], answers[i]);
        } else if (rc == IM_OK) {
            rc = index_engine_scan.search(index, requests[i], hits[i], answers[i], err);
        }
        tiered_search_clear(&searches[i], job.n_workers);
    }
    return rc;
}

/* ---- searching ---- */

im_code index_tiered_many(im_index *index, const index_request *requests, size_t n,
                          im_hit *const *hits, im_index_answer *answers, im_error *err)
{
    const index_request *group[TIERED_GROUP];
    im_hit *group_hits[TIERED_GROUP];
    im_index_answer *group_answers[TIERED_GROUP];
    size_t waiting = 0;
    im_code rc = IM_OK;
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        if (requests[i].filtered == 0) {
            continue;
        }
        if (!may_use_codes(index, &requests[i])) {
            rc = index_engine_scan.search(index, &requests[i], hits[i], &answers[i], err);
            continue;
        }
        group[waiting] = &requests[i];
        group_hits[waiting] = hits[i];
        group_answers[waiting++] = &answers[i];
        if (waiting == TIERED_GROUP) {
            rc = run_group(index, group, waiting, group_hits, group_answers, err);
            waiting = 0;
        }
    }
    if (rc == IM_OK && waiting > 0) {
        rc = run_group(index, group, waiting, group_hits, group_answers, err);
    }
    return rc;
}

static im_code tiered_search_one(im_index *index, const index_request *request, im_hit *hits,
                                 im_index_answer *answer, im_error *err)
{
    return index_tiered_many(index, request, 1, &hits, answer, err);
}

const index_engine index_engine_tiered = {
    "tiered", NULL, tiered_close, tiered_search_one, tiered_search_one, tiered_private_bytes};
