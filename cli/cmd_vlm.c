/* cli/cmd_vlm.c — `imago vlm probe`, `calibrate`, `allow` and `deny`, `imago explain`, and what the
 * options say of the model. */
#include "base/file.h"
#include "cli/commands_internal.h"

#include <stdlib.h>
#include <sys/stat.h>

#define KEY_BYTES 4096u

_Static_assert(IM_VLM_AUTO == 0 && IM_VLM_LLAMA_SERVER == 1 && IM_VLM_VLLM == 2 &&
                   IM_VLM_TRANSFORMERS == 3 && IM_VLM_OLLAMA == 4 && IM_VLM_OPENAI == 5 &&
                   IM_VLM_GEMINI == 6 && IM_VLM_RERANK == 7,
               "--vlm-profile");

/* ---- the key ---- */

/* Without the line end that editors put behind it. */
static void add_key(const char *text, size_t size, im_str *out)
{
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) {
        size--;
    }
    im_str_add(out, text, size);
}

static im_code read_key_file(const char *path, im_str *out, im_error *err)
{
    struct stat info;
    im_bytes bytes = {0};
    im_code rc = im_file_read(path, KEY_BYTES, &bytes, err);
    if (rc == IM_OK && (stat(path, &info) != 0 || (info.st_mode & 077) != 0)) {
        rc = im_fail(err, IM_ERR_DENIED, "key file '%s' may be read by others", path);
        im_hint(err, "make it yours alone: chmod 600 FILE");
    }
    if (rc == IM_OK) {
        add_key((const char *)bytes.data, bytes.size, out);
    }
    im_bytes_clear(&bytes);
    return rc;
}

/* A price or a sum; 0 when it is not given. */
static im_code read_amount(const char *name, const char *text, double *out, im_error *err)
{
    *out = 0;
    if (text != NULL && (!im_parse_double(text, out) || !(*out > 0 && *out <= 1e6))) {
        return im_fail(err, IM_ERR_INVALID,
                       "option '--%s': '%.40s', expected a number above 0, at most 1000000", name,
                       text);
    }
    return IM_OK;
}

static im_code read_amounts(const cli_options *options, im_vlm_request *out, im_error *err)
{
    im_code rc = read_amount("vlm-price-in", options->vlm_price_in, &out->price_in, err);
    if (rc == IM_OK) {
        rc = read_amount("vlm-price-out", options->vlm_price_out, &out->price_out, err);
    }
    return rc == IM_OK
               ? read_amount("vlm-daily-cost", options->vlm_daily_cost, &out->daily_cost, err)
               : rc;
}

im_code cli_vlm_request(const cli_options *options, im_vlm_request *out, im_str *out_key,
                        im_error *err)
{
    const char *key = getenv("IMAGO_VLM_KEY");
    im_code rc = IM_OK;
    im_str_init(out_key, KEY_BYTES);
    if (options->vlm_key_file != NULL) {
        rc = read_key_file(options->vlm_key_file, out_key, err);
    } else if (key != NULL) {
        add_key(key, strlen(key), out_key);
    }
    if (rc == IM_OK && out_key->failed) {
        rc = im_fail(err, IM_ERR_INVALID, "the key is longer than %u bytes", KEY_BYTES);
    }
    *out = (im_vlm_request){.url = options->vlm_url,
                            .model = options->vlm_model,
                            .profile = (im_vlm_profile)options->vlm_profile,
                            .hosts = options->vlm_hosts.texts,
                            .n_hosts = options->vlm_hosts.n,
                            .key = out_key->size > 0 ? im_str_text(out_key) : NULL,
                            .deadline_ms = (uint32_t)options->vlm_seconds * 1000u,
                            .parallel = (size_t)options->vlm_parallel,
                            .daily_tokens = options->vlm_daily_tokens,
                            .listwise = options->rerank_mode == 1};
    return rc == IM_OK ? read_amounts(options, out, err) : rc;
}

/* ---- probe ---- */

static im_code put_server(cli_session *s, const im_vlm_server *server, im_error *err)
{
    im_json_writer w;
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_string(&w, "url", server->url);
    im_json_put_string(&w, "model", server->model);
    im_json_put_string(&w, "profile", im_vlm_profile_name(server->profile));
    im_json_put_string(&w, "mode", im_vlm_mode_name(server->mode));
    im_json_put_bool(&w, "schema", server->schema);
    im_json_put_uint(&w, "token_ids", server->n_yes + server->n_no);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

im_code cmd_vlm_probe(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_vlm_request request;
    im_vlm_server server;
    im_str key;
    im_code rc = cli_vlm_request(&s->args->options, &request, &key, err);
    if (rc == IM_OK && request.url == NULL) {
        rc = im_fail(err, IM_ERR_INVALID, "'imago vlm probe' wants a server");
        im_hint(err, "name it: --vlm-url http://127.0.0.1:8080");
    }
    if (rc == IM_OK) {
        rc = cli_open_library(s, true, &library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_vlm_probe(library, &request, &server, err);
    }
    if (rc == IM_OK) {
        rc = put_server(s, &server, err);
    }
    im_library_close(library);
    im_str_clear(&key);
    return rc;
}

/* ---- folders ---- */

static im_code set_allowed(cli_session *s, bool allowed, im_error *err)
{
    im_library *library = NULL;
    const char *folder = s->args->operands[0];
    im_json_writer w;
    im_code rc = cli_open_library(s, true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_vlm_allow(library, folder, allowed, err);
    }
    im_library_close(library);
    if (rc != IM_OK) {
        return rc;
    }
    if (!s->args->options.json) {
        if (!s->args->options.quiet) {
            cli_put_path(&s->out, folder);
            cli_puts(&s->out,
                     allowed ? ": its pictures may be sent\n" : ": nothing of it is sent\n");
        }
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_string(&w, "folder", folder);
    im_json_put_bool(&w, "vlm_allowed", allowed);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

im_code cmd_vlm_allow(cli_session *s, im_error *err)
{
    return set_allowed(s, true, err);
}

im_code cmd_vlm_deny(cli_session *s, im_error *err)
{
    return set_allowed(s, false, err);
}

/* ---- calibrate ---- */

static im_code put_calibration(cli_session *s, const im_vlm_calibration *done, im_error *err)
{
    const im_vlm_fit *fit = &done->fit;
    im_json_writer w;
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_uint(&w, "queries", done->n_queries);
    im_json_put_uint(&w, "judged", done->n_judged);
    im_json_put_double(&w, "ndcg_first", fit->ndcg_first);
    im_json_put_double(&w, "ndcg_blended", fit->ndcg_blended);
    im_json_put_double(&w, "gain", fit->gain);
    im_json_put_double(&w, "gain_error", fit->gain_error);
    im_json_put_double(&w, "weight", fit->weights.weight);
    im_json_put_double(&w, "scale", fit->weights.scale);
    im_json_put_double(&w, "offset", fit->weights.offset);
    im_json_put_uint(&w, "tokens", done->tokens);
    im_json_end_object(&w);
    im_code rc = cli_put_result(s, &w, err);
    if (rc == IM_OK && fit->weights.weight <= 0) {
        cli_note(s, "the model does not better the order of the hits: --rerank moves none of them");
    }
    return rc;
}

im_code cmd_vlm_calibrate(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    im_library *library = NULL;
    im_vlm_request request;
    im_vlm_calibration done = {0};
    im_events events = cli_events(s);
    im_str key;
    im_code rc = cli_vlm_request(options, &request, &key, err);
    if (rc == IM_OK && options->judged == NULL) {
        rc = im_fail(err, IM_ERR_INVALID, "'imago vlm calibrate' wants queries with known answers");
        im_hint(err, "name their file: --judged FILE");
    }
    if (rc == IM_OK && options->k > 100) {
        rc = im_fail(err, IM_ERR_INVALID, "option '--k': %llu hits of each query, at most 100",
                     (unsigned long long)options->k);
    }
    if (rc == IM_OK) {
        rc = cli_open_library(s, true, &library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_vlm_calibrate(library, &request, options->judged, (size_t)options->k, &events,
                                  &done, err);
    }
    if (rc == IM_OK) {
        rc = put_calibration(s, &done, err);
    }
    im_library_close(library);
    im_str_clear(&key);
    return rc;
}

/* ---- explain ---- */

/* All operands but the last are the query. */
static im_code read_explain(const cli_args *args, im_str *query, uint64_t *out_id, im_error *err)
{
    const char *last = args->operands[args->n_operands - 1];
    for (size_t i = 0; i + 1 < args->n_operands; i++) {
        im_str_addf(query, "%s%s", i > 0 ? " " : "", args->operands[i]);
    }
    if (query->failed) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the query");
    }
    if (!im_item_id_parse(last, out_id)) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'%s' is no id of an item", last);
        im_hint(err, "the picture comes last: imago explain red car id:17");
        return rc;
    }
    return IM_OK;
}

im_code cmd_explain(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    im_library *library = NULL;
    im_vlm_request vlm;
    im_str key;
    im_str query;
    im_json_writer w;
    uint64_t id = 0;
    cli_json_start(&w);
    im_str_init(&query, IM_LIMIT_QUERY_LANGUAGE_BYTES);
    im_code rc = cli_vlm_request(options, &vlm, &key, err);
    if (rc == IM_OK) {
        rc = read_explain(s->args, &query, &id, err);
    }
    if (rc == IM_OK) {
        rc = cli_open_library(s, options->vlm, &library, err);
    }
    if (rc == IM_OK) {
        const im_search_request request = {.text = im_str_text(&query)};
        rc = im_app_explain(library, &request, id, options->vlm ? &vlm : NULL, &w, err);
    }
    if (rc == IM_OK) {
        rc = cli_put_result(s, &w, err); /* clears it */
    } else {
        im_json_clear(&w);
    }
    im_library_close(library);
    im_str_clear(&query);
    im_str_clear(&key);
    return rc;
}
