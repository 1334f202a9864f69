/* app/audit.c — `audit`: what the index finds of the exact answer, by texts and by pictures apart
 * (texts lie elsewhere in the space and are harder), and parameters for a wanted recall. */
#include "app/app_internal.h"

#define AUDIT_QUERIES 200u
#define AUDIT_K 10u

typedef struct audit_work {
    im_library *library;
    const im_events *events;
    size_t wanted; /* queries of each kind */
    size_t dim;
    float *texts;
    size_t n_texts;
    float *pictures;
    uint64_t *items; /* [n_pictures] */
    size_t n_pictures;
} audit_work;

static void work_clear(audit_work *work)
{
    im_free(work->texts);
    im_free(work->pictures);
    im_free(work->items);
}

/* ---- texts ---- */

static im_code make_texts(audit_work *work, im_error *err)
{
    im_code rc = calibration_texts(work->library, work->wanted, &work->texts, &work->n_texts, err);
    if (rc == IM_OK && work->n_texts == 0) {
        event_warning(work->events, "no texts to ask with were found: pictures alone are audited "
                                    "(set IMAGO_DATA to the shipped data)");
    }
    return rc;
}

/* ---- pictures ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Rows that are alive, each set of them equally likely (Knuth, algorithm S), the same in each run.
 */
static im_code sample_rows(audit_work *work, uint64_t n_alive, im_error *err)
{
    im_library *library = work->library;
    uint64_t seed = 1;
    uint64_t left = n_alive;
    size_t count = (size_t)IM_MIN(n_alive, (uint64_t)work->wanted);
    work->pictures = im_alloc(count, work->dim * sizeof(float));
    work->items = im_alloc(count, sizeof(*work->items));
    if (work->pictures == NULL || work->items == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu vectors", count);
    }
    for (uint64_t slot = 0; work->n_pictures < count && slot < library->index_record.n_rows;
         slot++) {
        const float *row = NULL;
        double chance = (double)(next_random(&seed) >> 11) * 0x1p-53;
        if (((library->alive[slot / 64] >> (slot % 64)) & 1) == 0 ||
            chance * (double)left-- >= (double)(count - work->n_pictures)) {
            continue;
        }
        im_code rc = im_index_row(library->index, slot, &row, &work->items[work->n_pictures], err);
        if (rc != IM_OK) {
            return rc;
        }
        memcpy(work->pictures + work->n_pictures++ * work->dim, row, work->dim * sizeof(float));
    }
    return IM_OK;
}

/* ---- the audit ---- */

static bool can_propose(im_index *index, const im_events *events)
{
    im_index_stats stats;
    char sentence[192];
    im_index_describe(index, &stats);
    if (strcmp(stats.engine, "ivf") == 0 || strcmp(stats.engine, "hnsw") == 0) {
        return true;
    }
    (void)snprintf(sentence, sizeof(sentence),
                   "engine '%s' has nothing to choose for a wanted recall; 'ivf' and 'hnsw' have "
                   "(imago rebuild --engine ivf)",
                   stats.engine);
    event_warning(events, sentence);
    return false;
}

static im_code propose(im_index *index, const im_audit_queries *queries, im_audit_report *report,
                       im_error *err)
{
    im_str text;
    im_index_stats stats;
    im_engine_params params = {0};
    im_audit_queries own = *queries;
    own.times = NULL;
    im_code rc = im_index_audit_propose(index, &own, report->want, &report->proposal, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_index_describe(index, &stats);
    params.effort = report->proposal.effort;
    im_str_init(&text, sizeof(report->params));
    engine_params_write(&params, strcmp(stats.engine, "ivf") == 0 ? IM_ENGINE_IVF : IM_ENGINE_HNSW,
                        &text);
    (void)snprintf(report->params, sizeof(report->params), "%s", im_str_text(&text));
    im_str_clear(&text);
    report->has_proposal = true;
    return IM_OK;
}

/* Everything that must see one moment of the library. */
static im_code audit_snapshot(audit_work *work, const im_audit_request *request,
                              im_audit_report *report, im_error *err)
{
    im_library *library = work->library;
    im_index *index = NULL;
    im_index_stats stats;
    im_search_mode mode = request->fast ? IM_MODE_FAST : IM_MODE_AUTO;
    im_code rc = library_index(library, work->events, err);
    if (rc != IM_OK) {
        return rc;
    }
    work->dim = library->model.dim;
    im_index_describe(library->index, &stats);
    rc = engine_index(library, NULL, work->events, &mode, &index, err);
    if (rc == IM_OK) {
        rc = sample_rows(work, stats.n_alive, err);
    }
    if (rc == IM_OK) {
        rc = make_texts(work, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    const im_audit_queries queries = {.texts = work->texts,
                                      .n_texts = work->n_texts,
                                      .pictures = work->pictures,
                                      .n_pictures = work->n_pictures,
                                      .k = report->k,
                                      .items = work->items,
                                      .mode = mode,
                                      .times = report->times};
    rc = im_index_audit(index, &queries, &report->audit, err);
    im_index_describe(index, &stats);
    report->engine = stats.engine;
    report->rows = stats.n_alive;
    if (rc == IM_OK && report->want > 0 && can_propose(index, work->events)) {
        rc = propose(index, &queries, report, err);
    }
    return rc;
}

/* The proposal becomes the library's setting; how its file was built stays as it is. */
static im_code apply(im_library *library, im_audit_report *report, im_error *err)
{
    im_engine engine = IM_ENGINE_AUTO;
    im_engine_params params;
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = engine_setting(library->store, &engine, &params, err);
    if (rc == IM_OK && strcmp(im_engine_name(engine), report->engine) != 0) {
        rc = im_fail(err, IM_ERR_CONFLICT, "engine '%s' is not the library's own any more",
                     report->engine);
    }
    if (rc == IM_OK) {
        params.effort = report->proposal.effort;
        rc = engine_put_setting(library->store, engine, &params, err);
    }
    im_store_unlock(library->store);
    report->applied = rc == IM_OK;
    return rc;
}

im_code im_app_audit(im_library *library, const im_audit_request *request, const im_events *events,
                     im_audit_report *out_report, im_error *err)
{
    audit_work work = {.library = library, .events = events};
    im_audit_report report = {.engine = "", .k = request->k, .want = request->want};
    work.wanted = request->n_queries != 0 ? request->n_queries : AUDIT_QUERIES;
    report.k = request->k != 0 ? request->k : AUDIT_K;
    if (request->want < 0 || request->want > 1) {
        return im_fail(err, IM_ERR_INVALID, "the wanted recall is %g, expected above 0, at most 1",
                       request->want);
    }
    im_code rc = im_store_begin_read(library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = audit_snapshot(&work, request, &report, err);
    im_store_end_read(library->store);
    if (rc == IM_OK && request->apply && report.has_proposal && report.proposal.reached) {
        rc = apply(library, &report, err);
    }
    if (rc == IM_OK && library->writable) {
        audit_record_put(library, &report, events);
    }
    if (rc == IM_OK) {
        *out_report = report;
    }
    work_clear(&work);
    return rc;
}

/* ---- telling ---- */

static void put_recall(im_json_writer *w, const char *key, const im_audit_recall *recall,
                       const im_audit_times *times)
{
    im_json_key(w, key);
    im_json_begin_object(w);
    im_json_put_uint(w, "queries", recall->n_queries);
    im_json_put_uint(w, "wanted", recall->n_wanted);
    im_json_put_uint(w, "found", recall->n_found);
    if (recall->n_wanted > 0) {
        im_json_put_double(w, "recall", recall->recall);
        im_json_put_double(w, "low", recall->low);
        im_json_put_double(w, "high", recall->high);
    } else {
        im_json_put_null(w, "recall");
        im_json_put_null(w, "low");
        im_json_put_null(w, "high");
    }
    if (times != NULL) {
        im_json_put_double(w, "exact_ms", times->exact_ms);
        im_json_put_double(w, "index_ms", times->index_ms);
    }
    im_json_end_object(w);
}

void im_audit_report_json(im_json_writer *w, const im_audit_report *report)
{
    im_json_begin_object(w);
    im_json_put_string(w, "engine", report->engine);
    im_json_put_uint(w, "rows", report->rows);
    im_json_put_uint(w, "k", report->k);
    put_recall(w, "texts", &report->audit.texts, &report->times[0]);
    put_recall(w, "pictures", &report->audit.pictures, &report->times[1]);
    if (report->has_proposal) {
        im_json_key(w, "proposal");
        im_json_begin_object(w);
        im_json_put_double(w, "wanted", report->want);
        im_json_put_bool(w, "reached", report->proposal.reached);
        im_json_put_string(w, "params", report->params);
        put_recall(w, "texts", &report->proposal.audit.texts, NULL);
        put_recall(w, "pictures", &report->proposal.audit.pictures, NULL);
        im_json_put_bool(w, "applied", report->applied);
        im_json_end_object(w);
    } else {
        im_json_put_null(w, "proposal");
    }
    im_json_end_object(w);
}
