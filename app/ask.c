/* app/ask.c — a question about the pictures of hits: which of them may be sent, several at once or
 * one after the other, what is known already, and what came of it. */
#include "app/ask_internal.h"
#include "base/clock.h"

#define FLOOR 0.0f /* hits below it are less like the query than unrelated pictures are */

typedef struct asking {
    im_library *library;
    vlm_use use;
    im_view question; /* cleaned */
    im_bytes pictures[IM_ASK_MOST];
    uint64_t items[IM_ASK_MOST]; /* of pictures */
    uint32_t tokens[IM_ASK_MOST];
    im_str notes[IM_ASK_MOST];
    size_t n;
    bool binds;
    ask_reading reading;
    ask_teller teller;
    uint64_t start_ns;
    im_ask_result *out;
} asking;

void im_ask_result_clear(im_ask_result *result)
{
    im_free(result->text);
    result->text = NULL;
}

static void close_asking(asking *a)
{
    for (size_t i = 0; i < IM_ASK_MOST; i++) {
        im_bytes_clear(&a->pictures[i]);
        im_str_clear(&a->notes[i]);
    }
    ask_reading_clear(&a->reading);
    ask_teller_clear(&a->teller);
    vlm_use_close(&a->use);
}

/* ---- what is sent ---- */

static void leave_out(asking *a, const im_search_hit *hit, const char *why)
{
    im_ask_left_out *left = &a->out->left_out[a->out->n_left_out++];
    left->item = hit->item.id;
    (void)snprintf(left->why, sizeof(left->why), "%s", why);
}

/* The best hits that may be sent and can be read; why one is not is told. */
static im_code gather(asking *a, const im_answer *answer, im_error *err)
{
    im_error first = IM_ERROR_INIT;
    bool floor =
        !answer->has_min_score && answer->n_parts > 0 && a->library->model.n_background > 0;
    for (size_t i = 0; i < IM_MIN(answer->n_hits, (size_t)IM_ASK_MOST); i++) {
        const im_search_hit *hit = &answer->hits[i];
        im_error cause = IM_ERROR_INIT;
        bool allowed = true;
        if (floor && hit->score < FLOOR) {
            leave_out(a, hit, "less like the query than unrelated pictures are");
            continue;
        }
        im_code rc = vlm_use_picture(a->library, &a->use, hit->item.id, &a->pictures[a->n],
                                     &a->tokens[a->n], &allowed, &cause);
        if (rc == IM_OK && !allowed) {
            (void)!im_fail(&cause, IM_ERR_DENIED, "its folder is not to be sent");
            im_hint(&cause, "'imago vlm allow FOLDER' lets it");
        }
        if (rc == IM_ERR_NOMEM || rc == IM_ERR_DAMAGED) {
            *err = cause;
            return rc;
        }
        if (cause.code == IM_OK) {
            a->items[a->n] = hit->item.id;
            a->out->items[a->n++] = hit->item.id;
        } else {
            leave_out(a, hit, cause.message);
            first = first.code == IM_OK ? cause : first;
        }
    }
    a->out->n_items = a->n;
    if (a->n == 0 && first.code != IM_OK && err != NULL) {
        *err = first;
    }
    return a->n == 0 ? first.code : IM_OK;
}

/* ---- one request ---- */

static im_code look_up(const asking *a, const uint8_t key[IM_SHA256_BYTES], json_t **out,
                       im_error *err)
{
    int64_t made_ns = 0;
    return vlm_kept(a->use.store, key, out, &made_ns, err);
}

static im_code keep(const asking *a, const uint8_t key[IM_SHA256_BYTES], const char *version,
                    const im_json_writer *w, im_error *err)
{
    return vlm_keep(a->use.store, key, a->use.server.model, version, w, err);
}

/* Sends one question about pictures from..from + n, noted before and after. */
static im_code send_one(asking *a, im_vlm_question *question, size_t from, uint32_t expected,
                        json_t **out_json, im_str *out_text, im_vlm_judgement *cost, im_error *err)
{
    uint64_t id = 0;
    expected += (uint32_t)(question->text.size / 3);
    for (size_t i = 0; i < question->n_pictures; i++) {
        expected += a->tokens[from + i];
    }
    question->start_ns = a->start_ns;
    im_code rc = vlm_use_begin_one(&a->use, "ask", a->items + from, question->n_pictures, expected,
                                   &id, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_vlm_answer(&a->use.server, &a->use.options, question, out_json, out_text, cost, err);
    im_code noted = vlm_use_end(&a->use, &id, cost, 1, rc == IM_OK ? err : NULL);
    a->out->requests += cost->tries;
    a->out->tokens += cost->tokens;
    a->out->cost_nano += vlm_use_cost(&a->use, cost, expected);
    a->out->bytes_sent += cost->bytes_sent;
    return rc == IM_OK ? noted : rc;
}

/* An answer about all pictures: known, or asked for. */
static im_code answer_once(asking *a, im_view prompt, size_t n_shown, im_vlm_judgement *cost,
                           im_error *err)
{
    uint8_t key[IM_SHA256_BYTES];
    json_t *kept = NULL;
    json_t *object = NULL;
    im_str text;
    im_json_writer w;
    im_vlm_question question = {.text = prompt,
                                .pictures = a->pictures,
                                .n_pictures = n_shown,
                                .schema = ask_schema,
                                .max_tokens = ASK_ANSWER_TOKENS};
    *cost = (im_vlm_judgement){.error = IM_ERROR_INIT};
    im_str_init(&text, 1u << 20);
    im_json_init(&w, 1u << 16);
    im_vlm_question_key(&a->use.server, ASK_VERSION, &question, key);
    im_code rc = look_up(a, key, &kept, err);
    a->out->cached = rc == IM_OK && kept != NULL && ask_read_kept(kept, a->n, &a->reading);
    if (rc == IM_OK && !a->out->cached) {
        ask_reading_clear(&a->reading);
        ask_reading_init(&a->reading);
        question.told = a->teller.told != NULL && a->teller.told->words != NULL ? ask_tell : NULL;
        question.context = &a->teller;
        rc = send_one(a, &question, 0, ASK_ANSWER_TOKENS, &object, &text, cost, err);
        if (rc == IM_OK) {
            rc = object != NULL ? ask_read_object(object, a->n, &a->reading, err)
                                : ask_read_text(im_view_of(im_str_text(&text), text.size), a->n,
                                                &a->reading, err);
        }
        if (rc == IM_OK) {
            ask_write_kept(&w, &a->reading);
            rc = keep(a, key, ASK_VERSION, &w, err);
        }
    }
    json_decref(object);
    json_decref(kept);
    im_str_clear(&text);
    im_json_clear(&w);
    return rc;
}

/* ---- one after the other ---- */

static bool read_note(const json_t *kept, im_str *out)
{
    const char *text = json_string_value(json_object_get(kept, "note"));
    im_str_add_c(out, text != NULL ? text : "");
    return text != NULL;
}

static im_code note_one(asking *a, im_view prompt, size_t i, im_error *err)
{
    uint8_t key[IM_SHA256_BYTES];
    json_t *kept = NULL;
    json_t *object = NULL;
    im_str text;
    im_json_writer w;
    im_vlm_judgement cost = {.error = IM_ERROR_INIT};
    im_vlm_question question = {.text = prompt,
                                .pictures = &a->pictures[i],
                                .n_pictures = 1,
                                .max_tokens = ASK_NOTE_TOKENS};
    im_str_init(&text, 1u << 20);
    im_str_init(&a->notes[i], ASK_NOTE_BYTES + 1);
    im_json_init(&w, 1u << 16);
    im_vlm_question_key(&a->use.server, ASK_NOTE_VERSION, &question, key);
    im_code rc = look_up(a, key, &kept, err);
    if (rc == IM_OK && !read_note(kept, &a->notes[i])) {
        rc = send_one(a, &question, i, ASK_NOTE_TOKENS, &object, &text, &cost, err);
        if (rc == IM_OK) {
            ask_add_bounded(&a->notes[i], im_view_of(im_str_text(&text), text.size),
                            ASK_NOTE_BYTES);
            im_json_begin_object(&w);
            im_json_put_string(&w, "note", im_str_text(&a->notes[i]));
            im_json_end_object(&w);
            rc = keep(a, key, ASK_NOTE_VERSION, &w, err);
        }
    }
    json_decref(object);
    json_decref(kept);
    im_str_clear(&text);
    im_json_clear(&w);
    return rc;
}

/* Whether asking on is of no use, whichever picture it is about. */
static bool ends_all(im_code rc)
{
    return rc == IM_ERR_NOMEM || rc == IM_ERR_BUSY || rc == IM_ERR_DENIED || rc == IM_ERR_TIMEOUT ||
           rc == IM_ERR_NOT_FOUND || rc == IM_ERR_INVALID || rc == IM_ERR_DAMAGED;
}

/* What is seen in each picture, then the answer from that. */
static im_code answer_by_notes(asking *a, im_error *err)
{
    im_str prompt;
    im_vlm_judgement cost;
    size_t n_failed = 0;
    im_code rc = IM_OK;
    im_error first = IM_ERROR_INIT;
    a->out->together = false;
    im_str_init(&prompt, SIZE_MAX / 2);
    ask_write_note_prompt(&prompt, a->question);
    for (size_t i = 0; rc == IM_OK && i < a->n; i++) {
        im_error cause = IM_ERROR_INIT;
        rc = note_one(a, im_view_of(im_str_text(&prompt), prompt.size), i, &cause);
        n_failed += rc != IM_OK;
        if (rc != IM_OK && (first.code == IM_OK || ends_all(rc))) {
            first = cause;
        }
        if (rc != IM_OK && !ends_all(rc) && !im_stop_asked()) {
            rc = IM_OK; /* nothing is known of this one */
        }
    }
    if (rc != IM_OK || n_failed == a->n) {
        rc = first.code;
        if (err != NULL) {
            *err = first;
        }
    } else {
        a->out->n_unseen = n_failed;
        im_str_reset(&prompt);
        ask_write_join_prompt(&prompt, a->question, a->notes, a->n, a->binds);
        rc = prompt.failed
                 ? im_fail(err, IM_ERR_NOMEM, "no memory for a prompt")
                 : answer_once(a, im_view_of(im_str_text(&prompt), prompt.size), 0, &cost, err);
    }
    im_str_clear(&prompt);
    return rc;
}

/* Refused for what was in the request, not for the server's sake. */
static bool is_refused(const im_vlm_judgement *cost)
{
    return cost->status == 400 || cost->status == 413 || cost->status == 422 || cost->status == 500;
}

static im_code answer_all(asking *a, im_error *err)
{
    im_str prompt;
    im_vlm_judgement cost = {.error = IM_ERROR_INIT};
    im_error cause = IM_ERROR_INIT;
    if (a->n > im_vlm_most_pictures(&a->use.server)) {
        return answer_by_notes(a, err);
    }
    a->out->together = true;
    im_str_init(&prompt, SIZE_MAX / 2);
    ask_write_prompt(&prompt, a->question, a->n, a->binds);
    im_code rc = prompt.failed ? im_fail(&cause, IM_ERR_NOMEM, "no memory for a prompt")
                               : answer_once(a, im_view_of(im_str_text(&prompt), prompt.size), a->n,
                                             &cost, &cause);
    im_str_clear(&prompt);
    if (rc == IM_ERR_UPSTREAM && a->n > 1 && is_refused(&cost)) {
        return answer_by_notes(a, err);
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    return rc;
}

/* ---- all ---- */

static im_code take_result(asking *a, im_error *err)
{
    im_ask_result *out = a->out;
    out->status = a->reading.abstains ? IM_ASK_ABSTAINED : IM_ASK_ANSWERED;
    out->n_dropped = a->reading.n_dropped;
    if (a->reading.abstains) {
        return IM_OK;
    }
    out->text = im_strdup(im_str_text(&a->reading.text));
    if (out->text == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for an answer");
    }
    out->n_references = a->reading.n_references;
    memcpy(out->references, a->reading.references, sizeof(out->references));
    ask_tell_rest(&a->teller, im_view_from(out->text));
    return IM_OK;
}

static im_code ask(asking *a, const im_answer *answer, im_error *err)
{
    im_code rc = library_model(a->library, err);
    if (rc == IM_OK) {
        rc = gather(a, answer, err);
    }
    if (rc == IM_OK && a->teller.told != NULL && a->teller.told->sent != NULL) {
        a->teller.told->sent(a->teller.told->context, a->out);
    }
    if (rc == IM_OK && a->n > 0) {
        rc = answer_all(a, err);
        rc = rc == IM_OK ? take_result(a, err) : rc;
    }
    return rc;
}

static im_code check(const asking *a, const im_answer *answer, im_error *err)
{
    if (a->question.size == 0) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "there is no question");
        im_hint(err, "imago ask \"which of these shows a receipt?\"");
        return rc;
    }
    if (a->question.size > IM_LIMIT_QUERY_BYTES) {
        return im_fail_as(err, IM_REASON_LIMIT, "the question has %zu bytes, the limit is %u",
                          a->question.size, (unsigned)IM_LIMIT_QUERY_BYTES);
    }
    return answer->k <= IM_ASK_MOST
               ? IM_OK
               : im_fail(err, IM_ERR_INVALID, "a question about %zu pictures, expected 1 to %u",
                         answer->k, IM_ASK_MOST);
}

im_code im_app_ask(im_library *library, const im_vlm_request *request, im_view question,
                   const im_answer *answer, const im_ask_told *told, im_ask_result *out,
                   im_error *err)
{
    asking a = {.library = library, .start_ns = im_clock_ns(), .out = out};
    im_str clean;
    *out = (im_ask_result){.status = IM_ASK_NOTHING};
    ask_reading_init(&a.reading);
    ask_teller_init(&a.teller, told, false);
    im_str_init(&clean, SIZE_MAX / 2);
    ask_add_bounded(&clean, question, SIZE_MAX / 4);
    a.question = im_view_of(im_str_text(&clean), clean.size);
    im_code rc = clean.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for the question")
                              : check(&a, answer, err);
    if (rc == IM_OK) {
        rc = vlm_use_open(library, request, false, &a.use, err);
    }
    if (rc == IM_OK) {
        a.teller.binds = a.binds = a.use.server.schema;
        out->priced = vlm_use_priced(&a.use);
        (void)snprintf(out->model, sizeof(out->model), "%s", a.use.server.model);
        rc = im_vlm_answers(&a.use.server, err);
        rc = rc == IM_OK ? ask(&a, answer, err) : rc;
    }
    out->ms = im_clock_ms_since(a.start_ns);
    im_str_clear(&clean);
    close_asking(&a);
    if (rc != IM_OK) {
        im_ask_result_clear(out);
    }
    return rc;
}

/* ---- as JSON ---- */

static const char *const status_names[] = {
    [IM_ASK_NOTHING] = "nothing", [IM_ASK_ANSWERED] = "answered", [IM_ASK_ABSTAINED] = "abstained"};

const char *im_ask_status_name(im_ask_status status)
{
    return status_names[status];
}

static const im_search_hit *hit_of(const im_answer *answer, uint64_t item)
{
    size_t i = 0;
    while (i < answer->n_hits && answer->hits[i].item.id != item) {
        i++;
    }
    return i < answer->n_hits ? &answer->hits[i] : NULL;
}

static void put_picture(im_json_writer *w, const im_answer *answer, uint64_t item, size_t number)
{
    const im_search_hit *hit = hit_of(answer, item);
    im_json_begin_object(w);
    im_json_put_uint(w, "n", number);
    im_json_put_uint(w, "id", item);
    answer_put_path(w, hit != NULL ? hit->path : NULL);
    if (hit != NULL && answer->n_parts > 0) {
        im_json_put_float(w, "score", hit->score);
    } else {
        im_json_put_null(w, "score");
    }
    im_json_end_object(w);
}

void im_ask_pictures_json(im_json_writer *w, const im_answer *answer, const im_ask_result *result)
{
    im_json_key(w, "pictures");
    im_json_begin_array(w);
    for (size_t i = 0; i < result->n_items; i++) {
        put_picture(w, answer, result->items[i], i + 1);
    }
    im_json_end_array(w);
    im_json_key(w, "left_out");
    im_json_begin_array(w);
    for (size_t i = 0; i < result->n_left_out; i++) {
        im_json_begin_object(w);
        im_json_put_uint(w, "id", result->left_out[i].item);
        im_json_put_string(w, "reason", result->left_out[i].why);
        im_json_end_object(w);
    }
    im_json_end_array(w);
}

void im_ask_json(im_json_writer *w, im_view question, const im_answer *answer,
                 const im_ask_result *result)
{
    im_json_begin_object(w);
    im_json_key(w, "question");
    im_json_string(w, question.data, question.size);
    im_json_put_string(w, "query", answer->query);
    im_json_put_string(w, "model", result->model);
    im_json_put_string(w, "encoder", answer->model);
    im_json_put_uint(w, "k", answer->k);
    im_json_put_string(w, "status", status_names[result->status]);
    im_json_put_string(w, "answer", result->text);
    im_json_key(w, "references");
    im_json_begin_array(w);
    for (size_t i = 0; i < result->n_references; i++) {
        size_t number = result->references[i];
        put_picture(w, answer, result->items[number - 1], number);
    }
    im_json_end_array(w);
    im_ask_pictures_json(w, answer, result);
    im_json_put_uint(w, "dropped_references", result->n_dropped);
    im_json_put_uint(w, "unseen", result->n_unseen);
    im_json_put_bool(w, "together", result->together);
    im_json_put_bool(w, "cached", result->cached);
    im_json_put_uint(w, "requests", result->requests);
    im_json_put_uint(w, "tokens", result->tokens);
    vlm_put_cost(w, result->priced, result->cost_nano);
    im_json_put_uint(w, "bytes_sent", result->bytes_sent);
    im_json_put_double(w, "ms", result->ms);
    im_json_key(w, "warnings");
    im_json_begin_array(w);
    for (size_t i = 0; i < answer->n_warnings; i++) {
        im_json_string_c(w, answer->warnings[i]);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}
