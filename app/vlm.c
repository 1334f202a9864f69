/* app/vlm.c — the vision-language model of a library: which server, which settings, and what of the
 * library may be sent. */
#include "app/vlm_internal.h"

#define HOSTS_SETTING "vlm_hosts"
#define TOKENS_SETTING "vlm_daily_tokens"
#define COST_SETTING "vlm_daily_cost"
#define PRICE_IN_SETTING "vlm_price_in"
#define PRICE_OUT_SETTING "vlm_price_out"
#define WEIGHTS_SETTING "vlm_weights"

/* ---- hosts ---- */

/* Names on lines of their own, from the setting and the request. */
static im_code set_hosts(vlm_use *use, const char *kept, const im_vlm_request *request,
                         im_error *err)
{
    size_t size = kept != NULL ? strlen(kept) : 0;
    size_t lines = 1;
    for (size_t i = 0; i < size; i++) {
        lines += kept[i] == '\n';
    }
    use->host_text = im_alloc(size + 1, 1);
    use->hosts = im_alloc_zero(lines + request->n_hosts, sizeof(*use->hosts));
    if (use->host_text == NULL || use->hosts == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for names of hosts");
    }
    memcpy(use->host_text, size > 0 ? kept : "", size + 1);
    size_t n = 0;
    char *name = use->host_text;
    while (name != NULL && *name != '\0') {
        char *end = strchr(name, '\n');
        use->hosts[n++] = name;
        if (end != NULL) {
            *end++ = '\0';
        }
        name = end;
    }
    for (size_t i = 0; i < request->n_hosts; i++) {
        use->hosts[n++] = request->hosts[i];
    }
    use->options.rules = (im_http_rules){use->hosts, n};
    return IM_OK;
}

/* ---- settings ---- */

static double number_of(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* What it is known by: the URL, or what stays the same when that does not. */
static const char *server_name(const im_vlm_server *server)
{
    return server->id[0] != '\0' ? server->id : server->url;
}

/* Weights that were fitted to this server and model; the default ones for any other. */
static im_code read_weights(vlm_use *use, im_error *err)
{
    char *text = NULL;
    json_t *root = NULL;
    use->weights = im_vlm_weights_default();
    im_code rc = im_store_get_setting(use->store, WEIGHTS_SETTING, &text, err);
    if (rc == IM_OK && text != NULL &&
        im_json_parse(text, strlen(text), "weights", &root, NULL) == IM_OK) {
        const char *url = json_string_value(json_object_get(root, "url"));
        const char *model = json_string_value(json_object_get(root, "model"));
        if (url != NULL && model != NULL && strcmp(url, server_name(&use->server)) == 0 &&
            strcmp(model, use->server.model) == 0) {
            use->weights =
                im_vlm_weights_bound((im_vlm_weights){.offset = number_of(root, "offset"),
                                                      .scale = number_of(root, "scale"),
                                                      .weight = number_of(root, "weight"),
                                                      .calibrated = true});
        }
    }
    json_decref(root);
    im_free(text);
    return rc;
}

im_code vlm_use_keep_weights(const vlm_use *use, const im_vlm_weights *weights, im_error *err)
{
    im_json_writer w;
    im_json_init(&w, 4096);
    im_json_begin_object(&w);
    im_json_put_string(&w, "url", server_name(&use->server));
    im_json_put_string(&w, "model", use->server.model);
    im_json_put_double(&w, "offset", weights->offset);
    im_json_put_double(&w, "scale", weights->scale);
    im_json_put_double(&w, "weight", weights->weight);
    im_json_end_object(&w);
    im_code rc = im_json_ok(&w)
                     ? im_store_set_setting(use->store, WEIGHTS_SETTING, im_str_text(&w.out), err)
                     : im_fail(err, IM_ERR_NOMEM, "no memory for weights");
    im_json_clear(&w);
    return rc;
}

static im_code no_server(im_error *err)
{
    im_code rc = im_fail(err, IM_ERR_INVALID, "no vision-language model is known");
    im_hint(err, "'imago vlm start' runs one; or name its server: imago vlm probe --vlm-url URL");
    return rc;
}

/* The server of the setting; what the request names goes before. */
static im_code read_setting(vlm_use *use, const im_vlm_request *request, bool asked_only,
                            im_error *err)
{
    char *text = NULL;
    im_vlm_server kept = {0};
    bool has_kept = false;
    im_code rc = IM_OK;
    if (!asked_only) {
        rc = im_store_get_setting(use->store, VLM_SERVER_SETTING, &text, err);
    }
    if (rc == IM_OK && text != NULL) {
        rc = im_vlm_server_read(im_view_from(text), &kept, err);
        has_kept = rc == IM_OK;
    }
    im_free(text);
    if (rc != IM_OK) {
        return rc;
    }
    if (request->url == NULL && !has_kept) {
        return no_server(err);
    }
    const char *url = request->url != NULL ? request->url : kept.url;
    const char *model = request->model != NULL ? request->model : "";
    rc = im_vlm_server_of(url, model, request->profile, &use->server, err);
    bool same = rc == IM_OK && has_kept && strcmp(kept.url, use->server.url) == 0 &&
                (request->model == NULL || strcmp(kept.model, request->model) == 0) &&
                (request->profile == IM_VLM_AUTO || request->profile == kept.profile);
    if (same) {
        use->server = kept; /* with what the probe found out */
    } else if (rc == IM_OK && has_kept && request->url == NULL) {
        rc = im_vlm_server_of(kept.url, request->model != NULL ? model : kept.model,
                              request->profile != IM_VLM_AUTO ? request->profile : kept.profile,
                              &use->server, err);
    }
    return rc;
}

/* A setting that is a number, unless the request has it. */
static im_code read_number(const vlm_use *use, const char *name, bool asked_only, double *in_out,
                           im_error *err)
{
    char *text = NULL;
    im_code rc =
        *in_out > 0 || asked_only ? IM_OK : im_store_get_setting(use->store, name, &text, err);
    if (rc == IM_OK && text != NULL && (!im_parse_double(text, in_out) || !(*in_out >= 0))) {
        rc = im_fail(err, IM_ERR_FORMAT, "setting '%s' is '%.20s', expected a number", name, text);
    }
    im_free(text);
    return rc;
}

static im_code read_prices(vlm_use *use, const im_vlm_request *request, bool asked_only,
                           im_error *err)
{
    use->price_in = request->price_in;
    use->price_out = request->price_out;
    use->daily_cost = request->daily_cost;
    im_code rc = read_number(use, PRICE_IN_SETTING, asked_only, &use->price_in, err);
    if (rc == IM_OK) {
        rc = read_number(use, PRICE_OUT_SETTING, asked_only, &use->price_out, err);
    }
    if (rc == IM_OK) {
        rc = read_number(use, COST_SETTING, asked_only, &use->daily_cost, err);
    }
    if (rc == IM_OK && use->daily_cost > 0 && !vlm_use_priced(use)) {
        rc = im_fail(err, IM_ERR_INVALID, "a ceiling of cost, and no price that it is counted by");
        im_hint(err, "say what a million tokens cost: --vlm-price-in, --vlm-price-out");
    }
    return rc;
}

/* A llama-server that is kept for the library goes before the setting, and behind the request. */
static im_code read_server(im_library *library, vlm_use *use, const im_vlm_request *request,
                           bool asked_only, im_error *err)
{
    bool found = false;
    im_code rc = IM_OK;
    if (!asked_only && request->url == NULL) {
        rc = vlm_local_find(library->folder, &use->server, &use->own_key, &found, err);
    }
    if (found) {
        use->options.key = use->own_key; /* any other key is another server's */
    }
    return rc == IM_OK && !found ? read_setting(use, request, asked_only, err) : rc;
}

static im_code read_limits(vlm_use *use, const im_vlm_request *request, bool asked_only,
                           im_error *err)
{
    char *hosts = NULL;
    char *tokens = NULL;
    im_code rc = IM_OK;
    if (!asked_only) {
        rc = im_store_get_setting(use->store, HOSTS_SETTING, &hosts, err);
    }
    if (rc == IM_OK) {
        rc = set_hosts(use, hosts, request, err);
    }
    use->daily_tokens = request->daily_tokens;
    if (rc == IM_OK && use->daily_tokens == 0 && !asked_only) {
        rc = im_store_get_setting(use->store, TOKENS_SETTING, &tokens, err);
        if (rc == IM_OK && tokens != NULL &&
            !im_parse_u64(tokens, 0, INT64_MAX, &use->daily_tokens)) {
            rc = im_fail(err, IM_ERR_FORMAT, "setting '%s' is '%.20s', expected a number",
                         TOKENS_SETTING, tokens);
        }
    }
    if (rc == IM_OK) {
        rc = read_prices(use, request, asked_only, err);
    }
    im_free(hosts);
    im_free(tokens);
    return rc;
}

/* ---- a server in use ---- */

im_code vlm_use_open(im_library *library, const im_vlm_request *request, bool asked_only,
                     vlm_use *out, im_error *err)
{
    im_http_place place;
    im_code rc = IM_OK;
    memset(out, 0, sizeof(*out));
    out->store = library->store;
    if (!library->writable) {
        rc = im_store_open(library->folder, IM_STORE_WRITE, &out->own_store, err);
        out->store = out->own_store;
    }
    out->options = (im_vlm_options){.key = request->key,
                                    .deadline_ms = request->deadline_ms,
                                    .item_ms = request->item_ms,
                                    .parallel = request->parallel};
    out->max_px = request->max_px != 0 ? request->max_px : IM_VLM_MAX_PX;
    if (rc == IM_OK) {
        rc = read_server(library, out, request, asked_only, err);
    }
    if (rc == IM_OK) {
        rc = read_limits(out, request, asked_only, err);
    }
    if (rc == IM_OK) {
        rc = im_http_allowed(&out->options.rules, out->server.url, err);
    }
    if (rc == IM_OK) {
        rc = im_http_place_of(out->server.url, &place, err);
    }
    if (rc == IM_OK) {
        memcpy(out->host, place.host, sizeof(out->host));
        rc = read_weights(out, err);
    }
    return rc;
}

im_code im_app_vlm_known(im_library *library, const im_vlm_request *request,
                         im_vlm_server *out_server, bool *out_known, im_error *err)
{
    vlm_use use = {.store = library->store};
    char *kept = NULL;
    bool found = false;
    im_code rc = IM_OK;
    if (request->url == NULL) {
        rc = vlm_local_find(library->folder, &use.server, &use.own_key, &found, err);
        rc = rc == IM_ERR_BUSY ? IM_OK : rc; /* one that starts is not known yet */
    }
    if (rc == IM_OK && request->url == NULL && !found) {
        rc = im_store_get_setting(library->store, VLM_SERVER_SETTING, &kept, err);
    }
    if (rc == IM_OK && (request->url != NULL || kept != NULL)) {
        rc = read_setting(&use, request, false, err);
        found = rc == IM_OK;
    }
    *out_known = rc == IM_OK && found;
    *out_server = use.server;
    im_free(use.own_key);
    im_free(kept);
    return rc;
}

void vlm_use_close(vlm_use *use)
{
    im_store_close(use->own_store);
    im_free(use->host_text);
    im_free(use->hosts);
    im_free(use->own_key);
}

/* ---- what may be sent ---- */

im_code vlm_use_picture(im_library *library, const vlm_use *use, uint64_t item, im_bytes *out,
                        uint32_t *out_tokens, bool *out_allowed, im_error *err)
{
    im_bytes bytes = {0};
    char *path = NULL;
    *out_allowed = false;
    im_code rc = im_store_vlm_allowed(use->store, item, out_allowed, err);
    if (rc != IM_OK || !*out_allowed) {
        return rc;
    }
    rc = picture_read_item(library->store, item, NULL, &bytes, &path, err);
    if (rc == IM_OK) {
        rc = im_vlm_picture(bytes.data, bytes.size, path != NULL ? path : "picture", NULL,
                            use->max_px, out, out_tokens, err);
    }
    im_bytes_clear(&bytes);
    im_free(path);
    return rc;
}

static void add_texts(const im_query_part *parts, size_t n, bool against, im_str *out)
{
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].kind == IM_PART_TEXT && (parts[i].weight < 0) == against) {
            im_str_add_c(out, first && against ? "; without: " : first ? "" : ", ");
            im_vlm_clean(out, parts[i].text);
            first = false;
        }
    }
}

void vlm_query_text(const im_query_part *parts, size_t n, im_str *out)
{
    add_texts(parts, n, false, out);
    if (out->size > 0) {
        add_texts(parts, n, true, out);
    }
}

im_code im_app_vlm_allow(im_library *library, const char *folder, bool allowed, im_error *err)
{
    char path[PATH_MAX];
    root_list roots = {0};
    uint64_t id = 0;
    im_code rc = path_absolute(folder, path, err);
    if (rc == IM_OK) {
        rc = roots_load(library->store, &roots, err);
    }
    for (size_t i = 0; rc == IM_OK && i < roots.n; i++) {
        id = strcmp(roots.roots[i].path, path) == 0 ? roots.roots[i].id : id;
    }
    roots_clear(&roots);
    if (rc == IM_OK && id == 0) {
        rc = im_fail(err, IM_ERR_NOT_FOUND, "'%s' is no folder that was added", path);
        im_hint(err, "'imago status' lists the folders of the library");
    }
    return rc == IM_OK ? im_store_set_root_vlm(library->store, id, allowed, err) : rc;
}

/* ---- probing ---- */

static im_code keep_server(const vlm_use *use, const im_vlm_request *request, im_error *err)
{
    im_json_writer w;
    im_str hosts;
    const struct {
        const char *name;
        double value;
    } numbers[] = {{TOKENS_SETTING, (double)request->daily_tokens},
                   {COST_SETTING, request->daily_cost},
                   {PRICE_IN_SETTING, request->price_in},
                   {PRICE_OUT_SETTING, request->price_out}};
    im_json_init(&w, 8192);
    im_str_init(&hosts, 8192);
    im_vlm_server_json(&w, &use->server);
    for (size_t i = 0; i < request->n_hosts; i++) {
        im_str_addf(&hosts, "%s%s", i > 0 ? "\n" : "", request->hosts[i]);
    }
    im_code rc = im_json_ok(&w) && !hosts.failed
                     ? im_store_begin(use->store, err)
                     : im_fail(err, IM_ERR_NOMEM, "no memory for the settings of the VLM");
    if (rc == IM_OK) {
        rc = im_store_set_setting(use->store, VLM_SERVER_SETTING, im_str_text(&w.out), err);
        if (rc == IM_OK) {
            rc = im_store_set_setting(use->store, HOSTS_SETTING,
                                      hosts.size > 0 ? im_str_text(&hosts) : NULL, err);
        }
        for (size_t i = 0; rc == IM_OK && i < IM_COUNT(numbers); i++) {
            char text[32]; /* what is not said stays as it was */
            (void)snprintf(text, sizeof(text), "%.17g", numbers[i].value);
            rc = numbers[i].value > 0 ? im_store_set_setting(use->store, numbers[i].name, text, err)
                                      : IM_OK;
        }
        if (rc != IM_OK) {
            im_store_rollback(use->store);
        } else {
            rc = im_store_commit(use->store, err);
        }
    }
    im_json_clear(&w);
    im_str_clear(&hosts);
    return rc;
}

im_code vlm_use_probe(vlm_use *use, im_error *err)
{
    const uint64_t item = 0;
    const uint32_t tokens = 64;
    uint64_t id = 0;
    im_code rc = vlm_use_begin(use, "probe", &item, &tokens, 1, &id, err);
    if (rc == IM_OK) {
        im_vlm_judgement cost = {.outcome = IM_VLM_JUDGED, .tokens = tokens};
        rc = im_vlm_probe(&use->server, &use->options, err);
        cost.outcome = rc == IM_OK ? IM_VLM_JUDGED : IM_VLM_FAILED;
        im_code noted = vlm_use_end(use, &id, &cost, 1, rc == IM_OK ? err : NULL);
        rc = rc == IM_OK ? noted : rc;
    }
    return rc;
}

im_code im_app_vlm_probe(im_library *library, const im_vlm_request *request,
                         im_vlm_server *out_server, im_error *err)
{
    vlm_use use;
    if (request->url == NULL) {
        return no_server(err);
    }
    im_code rc = vlm_use_open(library, request, true, &use, err);
    if (rc == IM_OK) {
        rc = vlm_use_probe(&use, err);
    }
    if (rc == IM_OK) {
        rc = keep_server(&use, request, err);
    }
    *out_server = use.server;
    vlm_use_close(&use);
    return rc;
}
