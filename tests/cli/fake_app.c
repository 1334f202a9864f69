/* tests/cli/fake_app.c — the functions of app/app.h that the commands call. */
#include "fake_app.h"

#include "base/base.h"
#include "base/clock.h"
#include "daemon/daemon.h"

#include <signal.h>

fake_app fake;

struct im_library {
    int unused;
};

im_code fake_outcome(im_error *err)
{
    if (fake.code == IM_OK) {
        return IM_OK;
    }
    return im_fail_as(err, fake.reason, "the prepared failure '%s'", im_reason_name(fake.reason));
}

im_code im_places_find(const char *library, im_places *out, im_error *err)
{
    (void)err;
    out->library = im_strdup(library != NULL ? library : "/default");
    out->models = im_strdup("/models");
    out->share = im_strdup("/share");
    if (out->library == NULL || out->models == NULL || out->share == NULL) {
        im_places_clear(out);
        return im_fail(err, IM_ERR_NOMEM, "no memory");
    }
    return IM_OK;
}

void im_places_clear(im_places *places)
{
    im_free(places->library);
    im_free(places->models);
    im_free(places->share);
    memset(places, 0, sizeof(*places));
}

im_code im_app_init(const im_places *places, im_error *err)
{
    (void)places;
    im_code rc = fake_outcome(err);
    fake.made = rc == IM_OK;
    fake.library_missing = false;
    return rc;
}

im_code im_library_open(const im_library_options *options, im_library **out_library, im_error *err)
{
    if (fake.library_missing) {
        return im_fail_as(err, IM_REASON_LIBRARY_NOT_FOUND, "there is no library in '%s'",
                          options->places->library);
    }
    fake.writable = options->writable;
    fake.engine = options->engine;
    fake.threads = options->threads;
    *out_library = im_alloc(1, sizeof(**out_library));
    return *out_library != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory");
}

void im_library_close(im_library *library)
{
    im_free(library);
}

im_code im_app_add(im_library *library, const im_add_request *request, const im_events *events,
                   im_add_report *out_report, im_error *err)
{
    (void)library;
    im_progress progress = {"adding", 1, 2, 0, 1.5, 0.5, 2.0};
    fake.add = *request;
    events->progress(events->context, &progress);
    if (fake.failed_path != NULL) {
        im_error failure = IM_ERROR_INIT;
        (void)!im_fail_as(&failure, IM_REASON_PICTURE_TRUNCATED, "picture '%s': cut short",
                          fake.failed_path);
        events->failed(events->context, fake.failed_path, &failure);
        if (fake.told) {
            *err = failure;
            return failure.code;
        }
    }
    if (fake.raise_signal != 0) {
        (void)raise(fake.raise_signal);
    }
    *out_report = fake.report;
    return fake_outcome(err);
}

im_code im_app_meta_check(const char *path, im_error *err)
{
    if (strstr(path, "bad") != NULL) {
        return im_fail(err, IM_ERR_NOT_FOUND, "could not look at '%s'", path);
    }
    return IM_OK;
}

im_code im_app_key_add(im_library *library, const char *name, im_key_scope scope, im_new_key *out,
                       im_error *err)
{
    (void)library;
    (void)name;
    *out = (im_new_key){.id = 7, .scope = scope, .text = "imago_0123"};
    return fake_outcome(err);
}

im_code im_app_keys_json(im_library *library, im_json_writer *w, im_error *err)
{
    (void)library;
    im_json_begin_object(w);
    im_json_key(w, "keys");
    im_json_begin_array(w);
    for (uint64_t i = 1; i <= 2; i++) {
        im_json_begin_object(w);
        im_json_put_uint(w, "id", i);
        im_json_put_string(w, "name", i == 1 ? "web\x1b" : "");
        im_json_put_string(w, "scope", i == 1 ? "read" : "admin");
        im_json_put_string(w, "made", "2026-11-26T20:00:00Z");
        im_json_key(w, "revoked");
        if (i == 1) {
            im_json_null(w);
        } else {
            im_json_string_c(w, "2026-11-27T20:00:00Z");
        }
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
    return fake_outcome(err);
}

im_code im_app_key_revoke(im_library *library, uint64_t id, im_error *err)
{
    (void)library;
    fake.items[fake.n_items++ % IM_COUNT(fake.items)] = id;
    return fake_outcome(err);
}

const char *im_key_scope_name(im_key_scope scope)
{
    static const char *const names[] = {"none", "read", "write", "admin"};
    return names[scope];
}

im_code im_app_socket_path(const im_places *places, char **out_path, im_error *err)
{
    (void)places;
    (void)err;
    *out_path = NULL;
    return IM_OK;
}

im_code im_app_tag(im_library *library, const im_tag_request *request, const im_events *events,
                   im_tag_report *out_report, im_error *err)
{
    (void)library;
    (void)events;
    fake.n_add_tags = request->n_add;
    fake.n_remove_tags = request->n_remove;
    *out_report = (im_tag_report){.items = request->n_items + request->n_paths,
                                  .added = request->n_add,
                                  .removed = request->n_remove};
    return fake_outcome(err);
}

im_code im_app_tags_json(im_library *library, const im_tag_request *request,
                         const im_events *events, im_json_writer *w, im_error *err)
{
    bool items = request->n_items + request->n_paths > 0;
    (void)library;
    (void)events;
    im_json_begin_object(w);
    im_json_key(w, items ? "items" : "tags");
    im_json_begin_array(w);
    im_json_begin_object(w);
    if (items) {
        im_json_put_uint(w, "id", 17);
        im_json_key(w, "tags");
        im_json_begin_array(w);
        im_json_string_c(w, "beach");
        im_json_string_c(w, "a\tb");
        im_json_end_array(w);
    } else {
        im_json_put_string(w, "name", "beach");
        im_json_put_uint(w, "items", 3);
    }
    im_json_end_object(w);
    im_json_end_array(w);
    im_json_end_object(w);
    return fake_outcome(err);
}

size_t im_add_pace(const im_add_report *report, double *out_shares)
{
    size_t pace = 0;
    for (size_t i = 0; i < IM_ADD_STAGES; i++) {
        const im_stage_time *stage = &report->stages[i];
        out_shares[i] =
            stage->name != NULL ? stage->busy_s / report->seconds / (double)stage->threads : 0;
        pace = out_shares[i] > out_shares[pace] ? i : pace;
    }
    return pace;
}

void im_add_report_json(im_json_writer *w, const im_add_report *report)
{
    im_json_begin_object(w);
    im_json_put_string(w, "event", "done");
    im_json_put_uint(w, "added", report->added);
    im_json_end_object(w);
}

static im_code fill_answer(im_answer *answer, im_error *err)
{
    memset(answer, 0, sizeof(*answer));
    answer->engine = "scan";
    answer->n_parts = 1;
    answer->hits = im_alloc_zero(fake.n_paths, sizeof(*answer->hits));
    if (answer->hits == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory");
    }
    for (size_t i = 0; i < fake.n_paths; i++) {
        im_search_hit *hit = &answer->hits[i];
        hit->rank = i + 1;
        hit->item.id = 10 + i;
        hit->online = true;
        hit->score = 2.5f - (float)i;
        answer->n_hits++;
        if (fake.paths[i] != NULL) {
            hit->path = im_strdup(fake.paths[i]);
            if (hit->path == NULL) {
                return im_fail(err, IM_ERR_NOMEM, "no memory");
            }
        }
    }
    return IM_OK;
}

im_code im_app_search(im_library *library, const im_search_request *request, im_answer *out_answer,
                      im_error *err)
{
    (void)library;
    fake.search = *request;
    (void)snprintf(fake.text, sizeof(fake.text), "%s", request->text != NULL ? request->text : "");
    (void)snprintf(fake.filter, sizeof(fake.filter), "%s",
                   request->filter != NULL ? request->filter : "");
    for (size_t i = 0; i < request->n_parts && i < IM_COUNT(fake.parts); i++) {
        fake.parts[i] = request->parts[i];
    }
    im_code rc = fake_outcome(err);
    if (rc == IM_OK) {
        rc = fill_answer(out_answer, err);
        if (rc != IM_OK) {
            im_answer_clear(out_answer);
        }
    }
    return rc;
}

im_code im_app_search_many(im_library *library, const im_search_how *how,
                           im_query_request *requests, size_t n, im_answer *out_answers,
                           im_error *out_errors, im_error *err)
{
    (void)library;
    (void)how;
    im_code rc = IM_OK;
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        out_errors[i] = (im_error)IM_ERROR_INIT;
        if (requests[i].k == 13) { /* the unlucky one */
            out_errors[i].code = im_fail_as(&out_errors[i], IM_REASON_ITEM_NOT_FOUND, "no item");
            memset(&out_answers[i], 0, sizeof(out_answers[i]));
        } else {
            rc = fill_answer(&out_answers[i], err);
        }
    }
    return rc;
}

im_code im_app_read_requests(im_library *library, im_view json, const char *name,
                             im_query_requests *out, im_error *err)
{
    (void)library;
    return im_query_requests_read(json, name, NULL, 0, out, err);
}

void im_answer_clear(im_answer *answer)
{
    for (size_t i = 0; i < answer->n_hits; i++) {
        im_free(answer->hits[i].path);
    }
    im_free(answer->hits);
    memset(answer, 0, sizeof(*answer));
}

void im_answer_json(im_json_writer *w, const im_answer *answer)
{
    im_json_begin_object(w);
    im_json_put_uint(w, "k", answer->n_hits);
    im_json_end_object(w);
}

im_code im_app_embed_model(im_library *library, char **out_folder, im_precision *out_precision,
                           im_error *err)
{
    (void)library;
    (void)out_folder;
    (void)out_precision;
    return im_fail_as(err, IM_REASON_LIBRARY_EMPTY, "no model yet");
}

im_code im_app_embed(const im_places *places, const im_embed_request *request,
                     im_embed_result *out_result, im_error *err)
{
    (void)places;
    fake.n_embedded = request->n_inputs;
    out_result->n = request->n_inputs;
    out_result->dim = 2;
    out_result->vectors = im_alloc_zero(2 * request->n_inputs, sizeof(float));
    out_result->errors = im_alloc_zero(request->n_inputs, sizeof(im_error));
    out_result->cut = im_alloc_zero(request->n_inputs, sizeof(bool));
    if (out_result->vectors == NULL || out_result->errors == NULL || out_result->cut == NULL) {
        im_embed_result_clear(out_result);
        return im_fail(err, IM_ERR_NOMEM, "no memory");
    }
    for (size_t i = 0; i < request->n_inputs && i < IM_COUNT(fake.inputs); i++) {
        fake.inputs[i] = request->inputs[i];
        out_result->vectors[2 * i] = (float)(i + 1);
        if (strcmp(request->inputs[i].value, "bad") == 0) {
            out_result->vectors[2 * i] = 0;
            (void)!im_fail_as(&out_result->errors[i], IM_REASON_PICTURE_EMPTY, "picture 'bad'");
        }
    }
    return fake_outcome(err);
}

void im_embed_result_clear(im_embed_result *result)
{
    im_free(result->vectors);
    im_free(result->errors);
    im_free(result->cut);
    memset(result, 0, sizeof(*result));
}

void im_embed_json(im_json_writer *w, const im_embed_request *request,
                   const im_embed_result *result)
{
    (void)request;
    im_json_begin_object(w);
    im_json_put_uint(w, "dimensions", result->dim);
    im_json_end_object(w);
}

bool im_item_id_parse(const char *text, uint64_t *out_id)
{
    text += strncmp(text, "id:", 3) == 0 ? 3 : text[0] == '#' ? 1 : 0;
    return im_parse_u64(text, 1, INT64_MAX, out_id);
}

im_code im_app_show_json(im_library *library, uint64_t item, im_json_writer *w, im_error *err)
{
    (void)library;
    im_json_begin_object(w);
    im_json_put_uint(w, "id", item);
    im_json_end_object(w);
    return fake_outcome(err);
}

im_code im_app_watch_path(im_library *library, const char *path, bool watch, im_error *err)
{
    (void)library;
    (void)snprintf(fake.folder, sizeof(fake.folder), "%s", path);
    fake.followed = watch;
    fake.n_folders++;
    return fake_outcome(err);
}

im_code im_app_each_root(im_library *library, im_root_fn fn, void *context, im_error *err)
{
    static const struct {
        const char *path;
        bool watch;
    } rows[] = {{"/photos", true}, {"/old", false}, {"/a\033b", true}};
    (void)library;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        const im_root root = {
            .id = i + 1, .path = (char *)(uintptr_t)rows[i].path, .watch = rows[i].watch};
        if (!fake.no_folders && !fn(context, &root)) {
            break;
        }
    }
    return fake_outcome(err);
}

im_code im_app_roots_json(im_library *library, im_json_writer *w, im_error *err)
{
    (void)library;
    im_json_begin_object(w);
    im_json_key(w, "roots");
    im_json_begin_array(w);
    im_json_end_array(w);
    im_json_end_object(w);
    return fake_outcome(err);
}

im_code im_app_relocate(im_library *library, const char *old_path, const char *new_path,
                        im_relocate_report *out_report, im_error *err)
{
    (void)library;
    (void)old_path;
    (void)new_path;
    *out_report = (im_relocate_report){1, 10, 9};
    return fake_outcome(err);
}

im_code im_app_remove(im_library *library, const im_remove_request *request,
                      const im_events *events, uint64_t *out_removed, im_error *err)
{
    (void)library;
    fake.n_items = request->n_items;
    fake.n_remove_paths = request->n_paths;
    for (size_t i = 0; i < request->n_items && i < IM_COUNT(fake.items); i++) {
        fake.items[i] = request->items[i];
    }
    fake.confirmed = fake.question != NULL && events->confirm(events->context, fake.question);
    *out_removed = request->n_items;
    return fake_outcome(err);
}

im_code im_app_status_json(im_library *library, im_json_writer *w, im_error *err)
{
    (void)library;
    im_json_begin_object(w);
    im_json_put_uint(w, "items", 3);
    im_json_end_object(w);
    return fake_outcome(err);
}

im_code im_app_check(im_library *library, const im_check_request *request, const im_events *events,
                     im_check_report *out_report, im_error *err)
{
    (void)library;
    (void)request;
    if (fake.warning != NULL) {
        out_report->findings = 1;
        events->warning(events->context, fake.warning);
    }
    out_report->items = 3;
    out_report->vectors = 3;
    return fake_outcome(err);
}

im_code im_app_rebuild(im_library *library, const im_rebuild_request *request,
                       const im_events *events, im_rebuild_report *out_report, im_error *err)
{
    (void)library;
    (void)events;
    fake.rebuild = *request;
    *out_report = (im_rebuild_report){.vectors = 3, .engine = request->engine};
    if (request->engine == IM_ENGINE_IVF) {
        out_report->file = (im_faiss_record){"ivf.1.faiss", 1, 3, 77, ""};
    }
    return fake_outcome(err);
}

im_code im_app_compact(im_library *library, const im_events *events, im_compact_report *out_report,
                       im_error *err)
{
    (void)library;
    (void)events;
    *out_report = (im_compact_report){.rows = 3, .dropped = 2, .freed_bytes = 2000000};
    return fake_outcome(err);
}

const char *im_engine_name(im_engine engine)
{
    return engine == IM_ENGINE_IVF ? "ivf" : "auto";
}

im_code im_app_audit(im_library *library, const im_audit_request *request, const im_events *events,
                     im_audit_report *out_report, im_error *err)
{
    (void)library;
    (void)events;
    fake.audit = *request;
    *out_report = (im_audit_report){
        .engine = "ivf",
        .rows = 3,
        .k = request->k,
        .audit = {.pictures = {2, 20, 19, 0.95, 0.7, 0.99}},
        .times = {{0, 0}, {2, 0.5}},
        .want = request->want,
        .has_proposal = request->want > 0,
        .proposal = {.reached = true, .audit = {.pictures = {2, 20, 20, 1, 0.8, 1}}},
        .params = "nprobe=8",
        .applied = request->apply,
    };
    return fake_outcome(err);
}

void im_audit_report_json(im_json_writer *w, const im_audit_report *report)
{
    im_json_begin_object(w);
    im_json_put_string(w, "engine", report->engine);
    im_json_end_object(w);
}

static const im_backup_facts backup_facts = {.bytes = 2000000, .originals = 2, .items = 3};

im_code im_app_backup(im_library *library, const char *file, const im_events *events,
                      im_backup_facts *out, im_error *err)
{
    (void)library;
    (void)file;
    if (fake.warning != NULL) {
        events->warning(events->context, fake.warning);
    }
    *out = backup_facts;
    return fake_outcome(err);
}

im_code im_app_restore(const im_places *places, const char *file, bool accept_damage,
                       const im_events *events, im_backup_facts *out, im_error *err)
{
    (void)places;
    (void)file;
    (void)accept_damage;
    if (fake.question != NULL) {
        fake.confirmed = events->confirm(events->context, fake.question);
    }
    *out = backup_facts;
    return fake_outcome(err);
}

im_code im_app_export(im_library *library, const char *folder, const im_events *events,
                      im_export_report *out_report, im_error *err)
{
    (void)library;
    (void)folder;
    (void)events;
    *out_report = (im_export_report){.rows = 3, .dim = 8, .bytes = 2000000, .seconds = 1};
    return fake_outcome(err);
}

void im_export_report_json(im_json_writer *w, const im_export_report *report)
{
    im_json_begin_object(w);
    im_json_put_uint(w, "rows", report->rows);
    im_json_end_object(w);
}

im_code im_app_import(im_library *library, const im_import_request *request,
                      const im_events *events, im_import_report *out_report, im_error *err)
{
    (void)library;
    (void)events;
    fake.import = *request;
    *out_report = fake.imported;
    return fake_outcome(err);
}

void im_import_report_json(im_json_writer *w, const im_import_report *report)
{
    im_json_begin_object(w);
    im_json_put_string(w, "event", "done");
    im_json_put_uint(w, "added", report->added);
    im_json_end_object(w);
}

im_code im_app_model_list_json(const im_places *places, im_library *library_or_null,
                               im_json_writer *w, im_error *err)
{
    (void)places;
    im_json_begin_object(w);
    im_json_key(w, "models");
    im_json_begin_array(w);
    im_json_begin_object(w);
    im_json_put_string(w, "name", "small");
    im_json_put_string(w, "folder", "/models/a b");
    im_json_put_string(w, "source", "bundled");
    im_json_put_bool(w, "active", library_or_null != NULL);
    im_json_end_object(w);
    im_json_end_array(w);
    im_json_end_object(w);
    return fake_outcome(err);
}

im_code im_app_model_info_json(const im_places *places, im_library *library_or_null,
                               const char *model, im_json_writer *w, im_error *err)
{
    (void)library_or_null;
    (void)places;
    im_json_begin_object(w);
    im_json_put_string(w, "name", model);
    im_json_end_object(w);
    return fake_outcome(err);
}

im_code im_daemon_run(const im_daemon_options *options, im_error *err)
{
    options->listening(options->context, "http://127.0.0.1:7070", false);
    fake.listen = options->n_listen > 0 ? options->listen[options->n_listen - 1] : NULL;
    fake.n_hosts = options->n_hosts;
    fake.local = options->local;
    fake.no_watch = options->no_watch;
    fake.watch_poll = options->watch_poll;
    fake.watch_every_s = options->watch_every_s;
    im_stop_ask(15); /* as SIGTERM would end it */
    return fake_outcome(err);
}

im_code im_app_model_warm(const im_places *places, im_library *library_or_null, const char *model,
                          im_precision wanted, const im_events *events, im_json_writer *w,
                          im_error *err)
{
    (void)events;
    (void)model;
    (void)wanted;
    return im_app_model_info_json(places, library_or_null, "warm", w, err);
}

im_code im_app_model_use(im_library *library, const char *model, const im_events *events,
                         im_error *err)
{
    (void)library;
    (void)model;
    (void)events;
    return fake_outcome(err);
}
