/* app/describe.c — captions and readings of many pictures by a vision-language model: what is known
 * is not asked again, each answer is durable before the next step, and a stop, a ceiling or a kill
 * leaves a library that the same command goes on with. */
#include "app/describe_internal.h"
#include "base/clock.h"

#define ITEM_MS 120000u /* a caption on a processor takes its time */

typedef struct describing {
    im_library *library;
    const im_describe_request *request;
    const im_events *events;
    im_describe_report *report;
    vlm_use use;
    describe_memory memory;
    id_list items;
    size_t next;
    describe_task *ready; /* it is begun as soon as the ceilings let it; or NULL */
    describe_crew *crew;
    size_t n_crew, under_way;
    uint64_t expected; /* tokens of what is under way */
    uint64_t start_ns;
    progress_meter meter;
    /* failures in a row, until it is known whose fault they are */
    describe_task *held[IM_VLM_BREAK_AFTER];
    size_t n_held;
    unsigned in_a_row;
    bool answered; /* at all: the server works */
    im_code stop;  /* why nothing more is begun, when that is an error */
    im_error why;
    im_error first; /* failure of a picture */
} describing;

/* ---- told ---- */

static char *path_of(const describing *d, uint64_t item)
{
    char *path = NULL;
    bool online = false;
    return im_store_item_path(d->use.store, item, &path, &online, NULL) == IM_OK ? path : NULL;
}

static void tell_failed(describing *d, uint64_t item, const im_error *error)
{
    char name[32];
    char *path = path_of(d, item);
    (void)snprintf(name, sizeof(name), "id:%llu", (unsigned long long)item);
    d->report->failed++;
    d->first = d->first.code == IM_OK ? *error : d->first;
    event_failed(d->events, path != NULL ? path : name, error);
    im_free(path);
}

static void tell_text(const describing *d, const describe_task *task)
{
    if (d->request->told != NULL) {
        char *path = path_of(d, task->item);
        d->request->told(d->request->context, task->item, path,
                         task->text.size > 0 ? im_str_text(&task->text) : NULL);
        im_free(path);
    }
}

static void tick(describing *d)
{
    const im_describe_report *r = d->report;
    uint64_t done = r->described + r->none + r->known + r->known_failures + r->denied + r->failed;
    meter_tick(&d->meter, done, r->failed, d->events);
}

static void stop_with(describing *d, im_code rc, const im_error *why, const char *word)
{
    if (d->stop == IM_OK && d->report->stopped == NULL) {
        d->stop = rc;
        d->report->stopped = word;
        if (why != NULL) {
            d->why = *why;
        }
    }
}

/* ---- one picture gets ready ---- */

/* A picture that cannot be read: its own fault is remembered, the disk's is not. */
static im_code fail_picture(describing *d, uint64_t item, const uint8_t key[IM_SHA256_BYTES],
                            const im_error *why, im_error *err)
{
    if (why->code == IM_ERR_NOMEM || why->code == IM_ERR_DAMAGED) {
        *err = *why;
        return why->code;
    }
    tell_failed(d, item, why);
    bool its_own =
        why->code == IM_ERR_FORMAT || why->code == IM_ERR_LIMIT || why->code == IM_ERR_UNSUPPORTED;
    return its_own ? describe_remember(&d->memory, key, DESCRIBE_FAILED, why, err) : IM_OK;
}

/* Whether there is something to ask about an item; its key when there is. */
static im_code look_at(describing *d, uint64_t item, uint8_t key[IM_SHA256_BYTES],
                       bool *out_remembered, bool *out_ask, im_error *err)
{
    im_item row;
    char outcome[16];
    bool known = false;
    im_error cause = IM_ERROR_INIT;
    *out_ask = false;
    im_code rc = im_store_get_item(d->use.store, item, &row, &cause);
    if (rc == IM_ERR_NOT_FOUND) {
        return IM_OK; /* taken out meanwhile */
    }
    if (rc != IM_OK) {
        *err = cause;
        return rc;
    }
    describe_key(&d->memory, &row, key);
    rc = describe_has_text(&d->memory, item, &known, err);
    if (rc == IM_OK) {
        rc = describe_recall(&d->memory, key, outcome, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    bool failed = strcmp(outcome, DESCRIBE_FAILED) == 0;
    bool none = strcmp(outcome, DESCRIBE_NONE) == 0;
    *out_remembered = outcome[0] != '\0';
    if (!d->request->redo && (known || none)) {
        d->report->known++;
    } else if (!d->request->redo && failed && !d->request->retry) {
        d->report->known_failures++;
    } else {
        *out_ask = true;
    }
    return IM_OK;
}

static im_code make_task(describing *d, uint64_t item, describe_task **out, im_error *err)
{
    uint8_t key[IM_SHA256_BYTES];
    im_error cause = IM_ERROR_INIT;
    im_bytes picture = {0};
    uint32_t tokens = 0;
    bool remembered = false;
    bool allowed = true;
    bool ask = false;
    *out = NULL;
    im_code rc = look_at(d, item, key, &remembered, &ask, err);
    if (rc != IM_OK || !ask) {
        return rc;
    }
    rc = vlm_use_picture(d->library, &d->use, item, &picture, &tokens, &allowed, &cause);
    if (rc != IM_OK) {
        im_bytes_clear(&picture);
        return fail_picture(d, item, key, &cause, err);
    }
    if (!allowed) {
        d->report->denied++;
        return IM_OK;
    }
    describe_task *task = im_alloc_zero(1, sizeof(*task));
    if (task == NULL) {
        im_bytes_clear(&picture);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    task->item = item;
    task->remembered = remembered;
    task->picture = picture; /* the task's from here */
    task->expected = tokens + im_vlm_wish_tokens(d->request->wish);
    memcpy(task->key, key, sizeof(key));
    *out = task;
    return IM_OK;
}

/* The line of vlm_audit for the picture that is ready, as far as the ceilings allow. What is under
 * way may cost less than expected: then it is waited for, and asked once more. */
static bool may_begin(describing *d)
{
    const im_describe_request *r = d->request;
    describe_task *task = d->ready;
    im_error why = IM_ERROR_INIT;
    if (r->limit != 0 && d->report->sent + d->under_way >= r->limit) {
        stop_with(d, IM_OK, NULL, "limit");
        return false;
    }
    if (r->tokens != 0 &&
        d->report->tokens + d->expected + vlm_use_expected(&d->use, task->expected) > r->tokens) {
        if (d->under_way == 0) {
            stop_with(d, IM_OK, NULL, "tokens");
        }
        return false;
    }
    im_code rc = vlm_use_begin(&d->use, im_vlm_wish_name(r->wish), &task->item, &task->expected, 1,
                               &task->send, &why);
    bool spent = strcmp(why.reason, im_reason_name(IM_REASON_VLM_BUDGET_SPENT)) == 0;
    if (rc != IM_OK && !(spent && d->under_way > 0)) {
        stop_with(d, rc, &why, spent ? "daily ceiling" : "error");
    }
    return rc == IM_OK;
}

/* ---- one answer is kept ---- */

/* Inside a transaction. An item that was taken out meanwhile, or that another process has
 * described, keeps what it has. */
static im_code put_text(describing *d, const describe_task *task, bool *out_put, im_error *err)
{
    im_item row;
    bool known = false;
    im_error cause = IM_ERROR_INIT;
    const im_caption caption = {.kind = d->memory.kind,
                                .source = IM_SOURCE_VLM,
                                .vlm_model = d->use.server.model,
                                .prompt_version = d->memory.version,
                                .text = im_view_of(im_str_text(&task->text), task->text.size)};
    *out_put = false;
    im_code rc = im_store_get_item(d->use.store, task->item, &row, &cause);
    if (rc == IM_ERR_NOT_FOUND) {
        return IM_OK;
    }
    if (rc != IM_OK) {
        *err = cause;
        return rc;
    }
    rc = describe_has_text(&d->memory, task->item, &known, err);
    if (rc != IM_OK || (known && !d->request->redo)) {
        return rc;
    }
    *out_put = true;
    if (task->text.size > 0) {
        rc = im_store_put_caption(d->use.store, task->item, &caption, err);
    } else {
        rc = im_store_drop_vlm_text(d->use.store, task->item, d->memory.kind, d->use.server.model,
                                    err);
    }
    if (rc == IM_OK && (task->text.size == 0 || task->remembered)) {
        rc = describe_remember(&d->memory, task->key,
                               task->text.size > 0 ? DESCRIBE_DONE : DESCRIBE_NONE, NULL, err);
    }
    return rc;
}

/* A failure that is the picture's, once that is known. */
static im_code put_failure(describing *d, const describe_task *task, im_error *err)
{
    return describe_remember(&d->memory, task->key, DESCRIBE_FAILED, &task->error, err);
}

static bool is_fate(const describe_task *task)
{
    return task->cost.outcome == IM_VLM_REFUSED || task->cost.outcome == IM_VLM_UNREADABLE;
}

/* Answer, and those that failed before it: the server answers, so they were at fault themselves. */
static im_code write_all(describing *d, const describe_task *task, bool *out_put, im_error *err)
{
    im_code rc = IM_OK;
    *out_put = false;
    if (task->rc == IM_OK) {
        rc = put_text(d, task, out_put, err);
    } else if (is_fate(task)) {
        rc = put_failure(d, task, err);
    }
    bool answered = task->rc == IM_OK || is_fate(task);
    for (size_t i = 0; rc == IM_OK && answered && i < d->n_held; i++) {
        rc = put_failure(d, d->held[i], err);
    }
    return rc == IM_OK ? vlm_use_end(&d->use, &task->send, &task->cost, 1, err) : rc;
}

static void let_go(describing *d)
{
    for (size_t i = 0; i < d->n_held; i++) {
        describe_task_free(d->held[i]);
    }
    d->n_held = 0;
}

/* What became of a task that has no text. Takes it. */
static void judge_failure(describing *d, describe_task *task)
{
    bool interrupted = task->rc == IM_ERR_PARTIAL || im_stop_asked();
    bool passing = task->rc == IM_ERR_TIMEOUT || task->rc == IM_ERR_UPSTREAM;
    if (interrupted) { /* it was not the picture, nor the server */
        describe_task_free(task);
        return;
    }
    tell_failed(d, task->item, &task->error);
    if (is_fate(task)) {
        d->in_a_row = 0;
        describe_task_free(task);
        return;
    }
    d->in_a_row++;
    if (!passing && task->rc != IM_ERR_BUSY) { /* a key, a model: the next one fares no better */
        stop_with(d, task->rc, &task->error, "error");
    } else if (d->in_a_row >= IM_VLM_BREAK_AFTER) {
        stop_with(d, task->rc, &task->error, "failures");
    }
    if (passing && d->n_held < IM_VLM_BREAK_AFTER) {
        d->held[d->n_held++] = task;
    } else {
        describe_task_free(task);
    }
}

/* Takes the task. */
static im_code end_task(describing *d, describe_task *task, im_error *err)
{
    im_describe_report *r = d->report;
    bool put = false;
    bool answered = task->rc == IM_OK || is_fate(task);
    d->under_way--;
    d->expected -= vlm_use_expected(&d->use, task->expected);
    im_code rc = im_store_begin(d->use.store, err);
    if (rc == IM_OK) {
        rc = write_all(d, task, &put, err);
        if (rc == IM_OK) {
            rc = im_store_commit(d->use.store, err);
        } else {
            im_store_rollback(d->use.store);
        }
    }
    r->sent += task->cost.tries > 0;
    r->bytes_sent += task->cost.bytes_sent;
    r->tokens += task->cost.tokens > 0 || task->cost.bytes_sent == 0
                     ? task->cost.tokens
                     : vlm_use_expected(&d->use, task->expected);
    r->cost_nano += vlm_use_cost(&d->use, &task->cost, task->expected);
    if (rc != IM_OK) {
        describe_task_free(task);
        return rc;
    }
    if (answered) {
        let_go(d);
        d->in_a_row = 0;
        d->answered = true;
    }
    if (task->rc != IM_OK) {
        judge_failure(d, task);
        return IM_OK;
    }
    r->described += put && task->text.size > 0;
    r->none += put && task->text.size == 0;
    r->known += !put;
    if (put) {
        tell_text(d, task);
    }
    describe_task_free(task);
    return IM_OK;
}

/* ---- all ---- */

static bool goes_on(describing *d)
{
    if (im_stop_asked()) {
        stop_with(d, IM_OK, NULL, "interrupted");
    } else if (d->request->seconds != 0 &&
               im_clock_ms_since(d->start_ns) >= d->request->seconds * 1000.0) {
        stop_with(d, IM_OK, NULL, "seconds");
    }
    return d->report->stopped == NULL;
}

/* Gives away as many pictures as may be under way. */
static im_code fill(describing *d, im_error *err)
{
    im_code rc = IM_OK;
    while (rc == IM_OK && d->under_way < d->n_crew && goes_on(d) &&
           (d->ready != NULL || d->next < d->items.n)) {
        if (d->ready == NULL) {
            rc = make_task(d, d->items.ids[d->next++], &d->ready, err);
            tick(d);
            continue;
        }
        if (!may_begin(d)) {
            break;
        }
        d->under_way++;
        d->expected += vlm_use_expected(&d->use, d->ready->expected);
        describe_crew_put(d->crew, d->ready);
        d->ready = NULL;
    }
    return rc;
}

/* Failures that no answer came behind: the pictures', when a server that works said so. */
static im_code settle(describing *d, im_error *err)
{
    im_code rc = im_store_begin(d->use.store, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; rc == IM_OK && i < d->n_held; i++) {
        rc = d->held[i]->cost.status != 0 ? put_failure(d, d->held[i], err) : IM_OK;
    }
    if (rc != IM_OK) {
        im_store_rollback(d->use.store);
        return rc;
    }
    return im_store_commit(d->use.store, err);
}

static im_code run(describing *d, im_error *err)
{
    im_code rc = fill(d, err);
    while (rc == IM_OK && d->under_way > 0) {
        rc = end_task(d, describe_crew_take(d->crew), err);
        tick(d);
        if (rc == IM_OK) {
            rc = fill(d, err);
        }
    }
    /* when the library fails, answers that are under way are waited for, and their lines stay */
    while (d->under_way > 0) {
        describe_task_free(describe_crew_take(d->crew));
        d->under_way--;
    }
    describe_task_free(d->ready);
    return rc == IM_OK && d->n_held > 0 && d->answered && d->stop == IM_OK ? settle(d, err) : rc;
}

static im_code verdict(const describing *d, im_error *err)
{
    const im_describe_report *r = d->report;
    if (d->stop != IM_OK) {
        if (err != NULL) {
            *err = d->why;
        }
        return d->stop;
    }
    if (r->stopped != NULL && strcmp(r->stopped, "interrupted") == 0) {
        return im_fail_as(err, IM_REASON_INTERRUPTED, "stopped: %llu of %llu pictures described",
                          (unsigned long long)(r->described + r->none),
                          (unsigned long long)r->items);
    }
    if (r->failed > 0 && r->described + r->none + r->known == 0) {
        if (err != NULL) {
            *err = d->first;
        }
        return d->first.code;
    }
    return r->failed == 0 ? IM_OK
                          : im_fail_as(err, IM_REASON_PARTIAL, "%llu of %llu pictures failed",
                                       (unsigned long long)r->failed, (unsigned long long)r->items);
}

static im_code open_all(describing *d, im_vlm_request *vlm, im_error *err)
{
    const im_search_request all = {.all = true, .k = 1};
    const im_search_request *search = d->request->search;
    vlm->max_px = vlm->max_px != 0 ? vlm->max_px : im_vlm_wish_px(d->request->wish);
    vlm->deadline_ms = vlm->deadline_ms != 0 ? vlm->deadline_ms : ITEM_MS;
    if (vlm->max_px < IM_VLM_LEAST_PX || vlm->max_px > IM_VLM_MOST_PX) {
        return im_fail(err, IM_ERR_INVALID, "pictures of %u pixels a side, expected %u to %u",
                       vlm->max_px, IM_VLM_LEAST_PX, IM_VLM_MOST_PX);
    }
    im_code rc = vlm_use_open(d->library, vlm, false, &d->use, err);
    if (rc == IM_OK) {
        rc = im_vlm_answers(&d->use.server, err);
    }
    d->memory.store = d->use.store;
    d->memory.model = d->use.server.model;
    if (rc == IM_OK) {
        rc = describe_select(d->library, search != NULL ? search : &all, &d->items, err);
    }
    d->report->items = d->items.n;
    (void)snprintf(d->report->model, sizeof(d->report->model), "%s", d->use.server.model);
    d->report->priced = vlm_use_priced(&d->use);
    if (rc == IM_OK) {
        d->n_crew = IM_MIN(vlm->parallel != 0 ? vlm->parallel : (size_t)IM_VLM_PARALLEL,
                           (size_t)IM_VLM_MOST_PARALLEL);
        rc = describe_crew_open(&d->use, d->request->wish, d->n_crew, &d->crew, err);
    }
    return rc;
}

im_code im_app_describe(im_library *library, const im_describe_request *request,
                        const im_events *events, im_describe_report *out_report, im_error *err)
{
    im_vlm_request vlm = request->vlm;
    im_error own = IM_ERROR_INIT;
    describing *d = im_alloc_zero(1, sizeof(*d));
    memset(out_report, 0, sizeof(*out_report));
    if (d == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for captions");
    }
    bool caption = request->wish == IM_VLM_CAPTION;
    *d = (describing){.library = library,
                      .request = request,
                      .events = events,
                      .report = out_report,
                      .memory = {.kind = caption ? IM_CAPTION : IM_VISIBLE_TEXT,
                                 .version = im_vlm_wish_version(request->wish)},
                      .start_ns = im_clock_ns(),
                      .why = IM_ERROR_INIT,
                      .first = IM_ERROR_INIT};
    im_code rc = open_all(d, &vlm, &own);
    if (rc == IM_OK) {
        meter_start(&d->meter, caption ? "captioning" : "reading", d->items.n);
        rc = run(d, &own);
        meter_end(&d->meter, events);
    }
    if (rc == IM_OK) {
        rc = verdict(d, &own);
    }
    out_report->seconds = im_clock_ms_since(d->start_ns) / 1000;
    describe_crew_close(d->crew);
    let_go(d);
    id_list_clear(&d->items);
    vlm_use_close(&d->use);
    im_free(d);
    if (rc != IM_OK && err != NULL) {
        *err = own;
    }
    return rc;
}

void im_describe_report_json(im_json_writer *w, const im_describe_report *r)
{
    im_json_begin_object(w);
    im_json_put_string(w, "event", "done");
    im_json_put_string(w, "model", r->model);
    im_json_put_uint(w, "items", r->items);
    im_json_put_uint(w, "described", r->described);
    im_json_put_uint(w, "none", r->none);
    im_json_put_uint(w, "known", r->known);
    im_json_put_uint(w, "known_failures", r->known_failures);
    im_json_put_uint(w, "denied", r->denied);
    im_json_put_uint(w, "failed", r->failed);
    im_json_put_uint(w, "sent", r->sent);
    im_json_put_uint(w, "tokens", r->tokens);
    vlm_put_cost(w, r->priced, r->cost_nano);
    im_json_put_uint(w, "bytes_sent", r->bytes_sent);
    im_json_put_string(w, "stopped", r->stopped);
    im_json_put_double(w, "seconds", r->seconds);
    im_json_end_object(w);
}
