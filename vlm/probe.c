/* vlm/probe.c — finds out once what a server is and can: its list of models, then a judgement of a
 * built-in picture in each mode until one works. */
#include "vlm/vlm_internal.h"

#define PROBE_MS 30000u

typedef struct probing {
    im_http_client *client;
    const im_vlm_options *options;
    im_vlm_server *server;
    im_bytes blank;
} probing;

static im_code fetch(probing *p, const char *route, im_view body, json_t **out, im_error *err)
{
    im_str url;
    im_str secret;
    im_http_answer answer = {0};
    double wait_s = 0;
    im_str_init(&url, 4096);
    im_str_init(&secret, 8192);
    im_str_addf(&url, "%s%s", p->server->url, route);
    im_code rc = vlm_secret(p->server, p->options->key, &secret, err);
    im_http_request request = {.url = im_str_text(&url),
                               .secret = p->options->key != NULL ? im_str_text(&secret) : NULL,
                               .body = body,
                               .timeout_ms =
                                   p->options->item_ms != 0 ? p->options->item_ms : PROBE_MS};
    if (rc == IM_OK && url.failed) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a URL");
    }
    if (rc == IM_OK) {
        rc = im_http_send(p->client, &p->options->rules, &request, &answer, err);
    }
    if (rc == IM_OK) {
        rc = vlm_status(p->server, &answer, &wait_s, err);
    }
    if (rc == IM_OK) {
        rc = vlm_parse(im_view_of(im_str_text(&answer.body), answer.body.size), out, err);
    }
    im_http_answer_clear(&answer);
    im_str_clear(&url);
    im_str_clear(&secret);
    return rc;
}

/* ---- what it is ---- */

static im_vlm_profile profile_of(const json_t *model)
{
    static const struct {
        const char *owner;
        im_vlm_profile profile;
    } rows[] = {{"llamacpp", IM_VLM_LLAMA_SERVER}, {"vllm", IM_VLM_VLLM},
                {"library", IM_VLM_OLLAMA},        {"system", IM_VLM_OPENAI},
                {"openai", IM_VLM_OPENAI},         {"openai-internal", IM_VLM_OPENAI}};
    const char *owner = json_string_value(json_object_get(model, "owned_by"));
    for (size_t i = 0; owner != NULL && i < IM_COUNT(rows); i++) {
        if (strcmp(rows[i].owner, owner) == 0) {
            return rows[i].profile;
        }
    }
    return IM_VLM_AUTO;
}

static void take_models(im_vlm_server *server, const json_t *root)
{
    const json_t *models = json_object_get(root, "data");
    const json_t *first = json_array_get(models, 0);
    const char *id = json_string_value(json_object_get(first, "id"));
    im_vlm_profile profile = profile_of(first);
    im_vlm_server named;
    if (server->profile == IM_VLM_AUTO && profile != IM_VLM_AUTO) {
        server->profile = profile;
    }
    if (server->model[0] == '\0' && json_array_size(models) == 1 && id != NULL &&
        im_vlm_server_of(server->url, id, server->profile, &named, NULL) == IM_OK) {
        memcpy(server->model, named.model, sizeof(server->model));
    }
}

/* A server that lists no models may still answer (transformers serve fails at it). Only what no
 * other request would mend ends the probe: no connection, no right. */
static im_code look_at_models(probing *p, im_error *err)
{
    json_t *root = NULL;
    im_error cause = IM_ERROR_INIT;
    if (p->server->profile == IM_VLM_GEMINI || p->server->profile == IM_VLM_RERANK) {
        return IM_OK;
    }
    im_code rc = fetch(p, "/v1/models", im_view_of(NULL, 0), &root, &cause);
    bool answered = strstr(cause.message, "the server") != NULL;
    if (rc == IM_OK) {
        take_models(p->server, root);
    } else if (rc == IM_ERR_DENIED || rc == IM_ERR_NOMEM || !answered) {
        if (err != NULL) {
            *err = cause;
        }
        return rc;
    } else if (p->server->profile == IM_VLM_AUTO) {
        p->server->profile = IM_VLM_TRANSFORMERS;
    }
    json_decref(root);
    return IM_OK;
}

/* ---- ids of yes and no ---- */

/* The one token that a spelling is, < 0 when it is none. */
static int64_t id_of(probing *p, const char *spelling)
{
    im_json_writer w;
    json_t *root = NULL;
    int64_t id = -1;
    im_json_init(&w, 4096);
    im_json_begin_object(&w);
    im_json_put_string(&w, "model", p->server->model);
    im_json_put_string(&w, "prompt", spelling);
    im_json_put_bool(&w, "add_special_tokens", false);
    im_json_end_object(&w);
    if (im_json_ok(&w) &&
        fetch(p, "/tokenize", im_view_of(im_str_text(&w.out), w.out.size), &root, NULL) == IM_OK) {
        const json_t *tokens = json_object_get(root, "tokens");
        id = json_array_size(tokens) == 1 ? json_integer_value(json_array_get(tokens, 0)) : -1;
    }
    json_decref(root);
    im_json_clear(&w);
    return id;
}

static void learn_ids(probing *p)
{
    static const char *const spellings[] = {"yes", " yes", "Yes", " Yes", "YES", " YES",
                                            "no",  " no",  "No",  " No",  "NO",  " NO"};
    im_vlm_server *server = p->server;
    size_t n = 0;
    for (size_t i = 0; i < IM_COUNT(spellings); i++) {
        int64_t id = id_of(p, spellings[i]);
        if (i == 0 && id < 0) {
            return;
        }
        if (id >= 0) {
            server->ids[n++] = id;
            server->n_yes += i < 6;
            server->n_no += i >= 6;
        }
    }
    if (server->n_no == 0) {
        server->n_yes = 0;
    }
}

/* ---- what it can ---- */

static im_code try_mode(probing *p, im_vlm_mode mode, im_error *err)
{
    im_vlm_server tried = *p->server;
    im_vlm_judgement judgement;
    im_vlm_options options = *p->options;
    options.deadline_ms = options.deadline_ms != 0 ? options.deadline_ms : PROBE_MS;
    options.item_ms =
        options.item_ms != 0 ? options.item_ms : IM_MAX(PROBE_MS, options.deadline_ms);
    tried.mode = mode;
    im_code rc =
        im_vlm_judge(&tried, &options, im_view_from("a grey area"), &p->blank, 1, &judgement, err);
    if (rc == IM_OK && judgement.outcome == IM_VLM_FAILED) {
        if (err != NULL) {
            *err = judgement.error;
        }
        return judgement.error.code;
    }
    if (rc == IM_OK && judgement.outcome != IM_VLM_JUDGED) {
        return im_fail(err, IM_ERR_UNSUPPORTED, "mode %s: %s", im_vlm_mode_name(mode),
                       im_vlm_outcome_name(judgement.outcome));
    }
    return rc;
}

/* What will fail in every mode. */
static bool is_final(im_code rc)
{
    return rc == IM_ERR_DENIED || rc == IM_ERR_TIMEOUT || rc == IM_ERR_NOMEM || rc == IM_ERR_BUSY ||
           rc == IM_ERR_PARTIAL;
}

static im_code find_mode(probing *p, im_error *err)
{
    static const im_vlm_mode chat[] = {IM_VLM_MODE_LOGPROBS, IM_VLM_MODE_SYSTEMONE,
                                       IM_VLM_MODE_SCORE, IM_VLM_MODE_WORD};
    static const im_vlm_mode rerank[] = {IM_VLM_MODE_RERANK};
    bool is_rerank = p->server->profile == IM_VLM_RERANK;
    const im_vlm_mode *modes = is_rerank ? rerank : chat;
    size_t n = is_rerank ? IM_COUNT(rerank) : IM_COUNT(chat);
    im_error cause = IM_ERROR_INIT;
    im_error first = IM_ERROR_INIT;
    im_code rc = IM_ERR_UNSUPPORTED;
    for (size_t i = 0; rc != IM_OK && !is_final(rc) && i < n; i++) {
        im_vlm_profile profile = p->server->profile;
        bool unknown = profile == IM_VLM_AUTO; /* lists its models, but says not what it is */
        if (modes[i] == IM_VLM_MODE_SYSTEMONE && profile != IM_VLM_TRANSFORMERS && !unknown) {
            continue;
        }
        rc = try_mode(p, modes[i], &cause);
        p->server->mode = rc == IM_OK ? modes[i] : IM_VLM_MODE_NONE;
        if (rc == IM_OK && unknown && modes[i] == IM_VLM_MODE_SYSTEMONE) {
            p->server->profile = IM_VLM_TRANSFORMERS; /* nobody else has that route */
            p->server->schema = false;
        }
        first = first.code == IM_OK ? cause : first;
    }
    if (rc != IM_OK && is_rerank && !is_final(rc)) {
        p->server->jina = !p->server->jina;
        rc = try_mode(p, IM_VLM_MODE_RERANK, &cause);
        p->server->mode = rc == IM_OK ? IM_VLM_MODE_RERANK : IM_VLM_MODE_NONE;
    }
    if (rc != IM_OK && err != NULL) {
        *err = is_final(rc) ? cause : first;
    }
    return rc == IM_OK || is_final(rc) || err == NULL ? rc : err->code;
}

im_code im_vlm_probe(im_vlm_server *server, const im_vlm_options *options, im_error *err)
{
    probing p = {.options = options, .server = server};
    im_code rc = im_http_allowed(&options->rules, server->url, err);
    if (rc == IM_OK) {
        rc = im_http_open(&p.client, err);
    }
    if (rc == IM_OK) {
        rc = im_vlm_blank(&p.blank, err);
    }
    if (rc == IM_OK) {
        rc = look_at_models(&p, err);
    }
    if (rc == IM_OK && server->profile == IM_VLM_VLLM) {
        server->n_yes = server->n_no = 0;
        learn_ids(&p);
    }
    if (rc == IM_OK) {
        rc = find_mode(&p, err);
    }
    server->probed = rc == IM_OK;
    im_bytes_clear(&p.blank);
    im_http_close(p.client);
    return rc;
}
