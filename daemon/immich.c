/* daemon/immich.c — the names by which Immich asks for models, and the models they mean. The table
 * is made before the library's thread begins; from there it is that thread's alone. */
#include "daemon/daemon_internal.h"

#include <string.h>

static const struct {
    const char *name, *folder;
} known[] = {
#define X(name, folder) {name, folder},
#include "daemon/immich_models.def"
#undef X
};

static immich_model *find(const immich_table *table, const char *name)
{
    for (size_t i = 0; i < table->n; i++) {
        if (strcmp(table->models[i].name, name) == 0) {
            return &table->models[i];
        }
    }
    return NULL;
}

static im_code add(immich_table *table, im_view name, const char *model, im_error *err)
{
    immich_model *row = &table->models[table->n];
    row->name = im_alloc(name.size + 1, 1);
    row->model = im_strdup(model);
    table->n++;
    if (row->name == NULL || row->model == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the name of a model");
    }
    memcpy(row->name, name.data, name.size);
    row->name[name.size] = '\0';
    return IM_OK;
}

/* "NAME=MODEL" */
static im_code add_option(server *s, const char *text, im_error *err)
{
    char *folder = NULL;
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0') {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'--immich-model %.120s' is no NAME=MODEL", text);
        im_hint(err, "for example --immich-model ViT-B-32__openai=clip-vit-base-patch32");
        return rc;
    }
    im_code rc = im_app_model_folder(s->options->library.places, equals + 1, &folder, err);
    im_free(folder);
    return rc == IM_OK ? add(&s->immich, im_view_of(text, (size_t)(equals - text)), equals + 1, err)
                       : rc;
}

/* A name of Immich's, when its model is there and nobody gave the name another meaning. */
static im_code add_known(server *s, const char *name, const char *model, im_error *err)
{
    char *folder = NULL;
    if (find(&s->immich, name) != NULL) {
        return IM_OK;
    }
    im_code rc = im_app_model_folder(s->options->library.places, model, &folder, NULL);
    im_free(folder);
    if (rc != IM_OK) {
        return rc == IM_ERR_NOT_FOUND ? IM_OK : im_fail(err, rc, "no memory for a model's folder");
    }
    return add(&s->immich, im_view_from(name), model, err);
}

im_code immich_open(server *s, im_error *err)
{
    const im_daemon_options *options = s->options;
    im_code rc = IM_OK;
    if (options->immich_listen == NULL) {
        return options->n_immich_models == 0
                   ? IM_OK
                   : im_fail(err, IM_ERR_INVALID,
                             "option '--immich-model' needs '--immich-listen ADDRESS:PORT'");
    }
    s->immich.models =
        im_alloc_zero(options->n_immich_models + IM_COUNT(known), sizeof(*s->immich.models));
    if (s->immich.models == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a table of models");
    }
    for (size_t i = 0; rc == IM_OK && i < options->n_immich_models; i++) {
        rc = add_option(s, options->immich_models[i], err);
    }
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(known); i++) {
        rc = add_known(s, known[i].name, known[i].folder, err);
    }
    return rc;
}

void immich_close(server *s)
{
    for (size_t i = 0; i < s->immich.n; i++) {
        im_embedder_close(s->immich.models[i].embedder);
        im_free(s->immich.models[i].name);
        im_free(s->immich.models[i].model);
    }
    im_free(s->immich.models);
    s->immich = (immich_table){0};
}

static im_code not_mapped(const server *s, const char *name, const char *own, im_error *err)
{
    im_str names;
    im_str_init(&names, 240);
    im_str_addf(&names, "'%s'", own);
    for (size_t i = 0; i < s->immich.n; i++) {
        im_str_addf(&names, ", '%s'", s->immich.models[i].name);
    }
    im_code rc = im_fail_as(err, IM_REASON_MODEL_NOT_FOUND,
                            "model '%.80s' is not served; there is %s", name, im_str_text(&names));
    im_str_clear(&names);
    im_at_field(err, "modelName");
    im_hint(err, "imago serve --immich-model %.60s=FOLDER", name);
    return rc;
}

im_code immich_embed(server *s, const char *name, const im_embed_piece *piece,
                     im_embed_result *out_result, im_error *err)
{
    const im_image_limits *limits = &s->options->limits;
    im_library *library = work_library(s->work);
    immich_model *row = find(&s->immich, name);
    im_embed_result own = {0};
    size_t tokens = 0;
    bool is_own = false;
    im_code rc = im_app_embed_many(library, NULL, 0, limits, &own, NULL, err);
    if (rc == IM_OK && row == NULL) {
        is_own = strcmp(own.model, name) == 0;
        rc = is_own ? IM_OK : not_mapped(s, name, own.model, err);
    } else if (row != NULL && row->embedder == NULL) {
        bool none = rc == IM_ERR_NOT_FOUND; /* a library without a model yet: any other will do */
        rc = none ? IM_OK : rc;
        if (rc == IM_OK && !none) {
            rc = im_app_model_is_active(library, row->model, &is_own, err);
        }
        if (rc == IM_OK && !is_own) {
            rc = im_embedder_open(&s->options->library, row->model, &row->embedder, err);
        }
    } else if (row != NULL) {
        rc = IM_OK;
    }
    if (rc == IM_OK) {
        rc = is_own ? im_app_embed_many(library, piece, 1, limits, out_result, &tokens, err)
                    : im_embedder_run(row->embedder, piece, 1, limits, out_result, &tokens, err);
    }
    im_embed_result_clear(&own);
    return rc;
}
