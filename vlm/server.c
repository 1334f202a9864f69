/* vlm/server.c — kinds of servers, their routes, and a server as it is kept in settings. */
#include "vlm/vlm_internal.h"

typedef struct profile_row {
    const char *name;
    const char *route;
    im_vlm_mode mode;
    bool schema;
    size_t pictures;
} profile_row;

static const profile_row profiles[] = {
#define X(NAME, name, route, mode, schema, pictures) \
    {name, route, IM_VLM_MODE_##mode, schema, pictures},
#include "vlm/profiles.def"
#undef X
};

static const char *const mode_names[] = {
    [IM_VLM_MODE_NONE] = "none",           [IM_VLM_MODE_LOGPROBS] = "logprobs",
    [IM_VLM_MODE_SYSTEMONE] = "systemone", [IM_VLM_MODE_RERANK] = "rerank",
    [IM_VLM_MODE_SCORE] = "score",         [IM_VLM_MODE_WORD] = "word",
};

bool im_vlm_profile_of(const char *name, im_vlm_profile *out)
{
    for (size_t i = 0; i < IM_VLM_PROFILE_COUNT; i++) {
        if (strcmp(profiles[i].name, name) == 0) {
            *out = (im_vlm_profile)i;
            return true;
        }
    }
    return false;
}

const char *im_vlm_profile_name(im_vlm_profile profile)
{
    return profiles[profile].name;
}

size_t im_vlm_most_pictures(const im_vlm_server *server)
{
    return profiles[server->profile].pictures;
}

/* Of the others each model that thinks has its own switch; those of Gemini do as they come. */
uint32_t im_vlm_thought_tokens(const im_vlm_server *server)
{
    return server->profile == IM_VLM_GEMINI ? 512 : 0;
}

im_code im_vlm_answers(const im_vlm_server *server, im_error *err)
{
    im_code rc = IM_OK;
    if (im_vlm_most_pictures(server) == 0) {
        rc = im_fail(err, IM_ERR_UNSUPPORTED,
                     "a server of profile %s judges pictures, it writes no words",
                     im_vlm_profile_name(server->profile));
        im_hint(err, "name another one: --vlm-url");
    }
    return rc;
}

const char *im_vlm_mode_name(im_vlm_mode mode)
{
    return mode_names[mode];
}

/* ---- made from words ---- */

static bool ends_with(const char *text, size_t size, const char *end)
{
    size_t n = strlen(end);
    return size >= n && memcmp(text + size - n, end, n) == 0;
}

/* Length of a URL without what a route brings itself. */
static size_t base_of(const char *url)
{
    static const char *const ends[] = {"/",      "/chat/completions", "/rerank", "/models", "/v1",
                                       "/v1beta"};
    size_t size = strlen(url);
    bool again = true;
    while (again) {
        again = false;
        for (size_t i = 0; i < IM_COUNT(ends); i++) {
            if (ends_with(url, size, ends[i])) {
                size -= strlen(ends[i]);
                again = true;
            }
        }
    }
    return size;
}

im_code im_vlm_server_of(const char *url, const char *model, im_vlm_profile profile,
                         im_vlm_server *out, im_error *err)
{
    im_http_place place;
    im_vlm_server server = {
        .profile = profile, .mode = profiles[profile].mode, .schema = profiles[profile].schema};
    size_t size = base_of(url);
    im_code rc = im_http_place_of(url, &place, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (strpbrk(url, "?#") != NULL) {
        return im_fail(err, IM_ERR_INVALID, "'%.200s': a server's URL has no '?' and no '#'", url);
    }
    if (size >= sizeof(server.url) || (model != NULL && strlen(model) >= sizeof(server.model))) {
        return im_fail(err, IM_ERR_INVALID, "URL or name of the model is longer than %zu bytes",
                       sizeof(server.model) - 1);
    }
    memcpy(server.url, url, size);
    if (model != NULL) {
        if (!im_utf8_valid(model, strlen(model), NULL)) {
            return im_fail(err, IM_ERR_INVALID, "the name of the model is not UTF-8");
        }
        memcpy(server.model, model, strlen(model));
    }
    *out = server;
    return IM_OK;
}

/* ---- routes ---- */

/* A model's name as one part of a path; "models/NAME" and "NAME" are the same. */
static void add_model(im_str *out, const char *model)
{
    static const char plain[] = "-._~/"; /* tunedModels/x keeps its slash */
    const char *from = strncmp(model, "models/", 7) == 0 ? model + 7 : model;
    for (; *from != '\0'; from++) {
        if (im_ascii_is_alnum(*from) || strchr(plain, *from) != NULL) {
            im_str_add_char(out, *from);
        } else {
            im_str_addf(out, "%%%02X", (unsigned)(unsigned char)*from);
        }
    }
}

im_code vlm_url(const im_vlm_server *server, im_vlm_mode mode, bool stream, im_str *out,
                im_error *err)
{
    im_str_add_c(out, server->url);
    if (mode == IM_VLM_MODE_SYSTEMONE) {
        im_str_add_c(out, "/v1/systemone");
    } else if (mode == IM_VLM_MODE_RERANK) {
        im_str_add_c(out, "/v1/rerank");
    } else {
        im_str_add_c(out, profiles[server->profile].route);
    }
    if (server->profile == IM_VLM_GEMINI) {
        if (server->model[0] == '\0' || strstr(server->model, "..") != NULL) {
            im_code rc = im_fail(err, IM_ERR_INVALID, "profile gemini needs the name of a model");
            im_hint(err, "say which: --vlm-model gemini-3.5-flash");
            return rc;
        }
        im_str_add_char(out, '/');
        add_model(out, server->model);
        im_str_add_c(out, stream ? ":streamGenerateContent?alt=sse" : ":generateContent");
    }
    return out->failed ? im_fail(err, IM_ERR_NOMEM, "no memory for a URL") : IM_OK;
}

im_code vlm_secret(const im_vlm_server *server, const char *key, im_str *out, im_error *err)
{
    for (const char *p = key; p != NULL && *p != '\0'; p++) {
        if ((unsigned char)*p <= 32 || (unsigned char)*p >= 127) {
            return im_fail(err, IM_ERR_INVALID,
                           "the key holds a blank or a byte that is no letter");
        }
    }
    if (key != NULL) {
        im_str_addf(
            out, "%s%s",
            server->profile == IM_VLM_GEMINI ? "x-goog-api-key: " : "Authorization: Bearer ", key);
    }
    return out->failed ? im_fail(err, IM_ERR_NOMEM, "no memory for a request") : IM_OK;
}

/* ---- kept ---- */

void im_vlm_server_json(im_json_writer *w, const im_vlm_server *server)
{
    im_json_begin_object(w);
    im_json_put_string(w, "url", server->url);
    if (server->id[0] != '\0') {
        im_json_put_string(w, "id", server->id);
    }
    im_json_put_string(w, "model", server->model);
    im_json_put_string(w, "profile", im_vlm_profile_name(server->profile));
    im_json_put_string(w, "mode", im_vlm_mode_name(server->mode));
    im_json_put_bool(w, "schema", server->schema);
    im_json_put_bool(w, "jina", server->jina);
    im_json_put_bool(w, "probed", server->probed);
    im_json_put_uint(w, "n_yes", server->n_yes);
    im_json_key(w, "ids");
    im_json_begin_array(w);
    for (size_t i = 0; i < server->n_yes + server->n_no; i++) {
        im_json_int(w, server->ids[i]);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static bool read_facts(const json_t *root, im_vlm_server *out)
{
    const json_t *ids = json_object_get(root, "ids");
    size_t n = json_array_size(ids);
    int64_t n_yes = json_integer_value(json_object_get(root, "n_yes"));
    size_t mode = 0;
    while (mode < IM_VLM_MODE_COUNT && strcmp(mode_names[mode], text_of(root, "mode")) != 0) {
        mode++;
    }
    if (mode == IM_VLM_MODE_COUNT || n > IM_VLM_IDS || n_yes < 0 || (size_t)n_yes > n) {
        return false;
    }
    out->mode = (im_vlm_mode)mode;
    out->schema = json_is_true(json_object_get(root, "schema"));
    out->jina = json_is_true(json_object_get(root, "jina"));
    out->probed = json_is_true(json_object_get(root, "probed"));
    (void)snprintf(out->id, sizeof(out->id), "%s", text_of(root, "id"));
    out->n_yes = (size_t)n_yes;
    out->n_no = n - (size_t)n_yes;
    for (size_t i = 0; i < n; i++) {
        out->ids[i] = json_integer_value(json_array_get(ids, i));
    }
    return true;
}

im_code im_vlm_server_read(im_view json, im_vlm_server *out, im_error *err)
{
    json_t *root = NULL;
    im_vlm_profile profile = IM_VLM_AUTO;
    im_vlm_server server;
    im_code rc = im_json_parse(json.data, json.size, "the settings of the VLM", &root, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool good = im_vlm_profile_of(text_of(root, "profile"), &profile);
    if (good) {
        rc = im_vlm_server_of(text_of(root, "url"), text_of(root, "model"), profile, &server, err);
        good = rc == IM_OK && read_facts(root, &server);
    }
    json_decref(root);
    if (!good) {
        rc = im_fail(err, IM_ERR_FORMAT, "the settings of the VLM are not sound");
        im_hint(err, "make them anew: imago vlm probe --vlm-url URL");
        return rc;
    }
    *out = server;
    return IM_OK;
}
