/* cli/cmd_key.c — `imago key add`, `list` and `revoke`. */
#include "cli/commands_internal.h"

/* The key alone on standard output, so that a script takes it as it is. */
static im_code put_new_key(cli_session *s, const im_new_key *key, im_error *err)
{
    im_json_writer w;
    const char *scope = im_key_scope_name(key->scope);
    const char *name = s->args->options.name;
    if (!s->args->options.json) {
        cli_printf(&s->out, "%s\n", key->text);
        cli_note(s, "key %llu (%s): this is the only time it is shown", (unsigned long long)key->id,
                 scope);
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_uint(&w, "id", key->id);
    im_json_put_string(&w, "name", name != NULL ? name : "");
    im_json_put_string(&w, "scope", scope);
    im_json_put_string(&w, "key", key->text);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

im_code cmd_key_add(cli_session *s, im_error *err)
{
    static const im_key_scope scopes[] = {IM_KEY_READ, IM_KEY_WRITE, IM_KEY_ADMIN};
    im_library *library = NULL;
    im_new_key key;
    if (!s->args->given[IM_OPT_SCOPE]) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'imago key add' wants --scope");
        im_hint(err, "--scope read to search, write to change items, admin for all");
        return rc;
    }
    im_code rc = cli_open_library(s, true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_key_add(library, s->args->options.name, scopes[s->args->options.scope], &key,
                            err);
    }
    im_library_close(library);
    return rc == IM_OK ? put_new_key(s, &key, err) : rc;
}

/* "2<tab>read<tab>2026-11-26T20:00:00Z<tab>website<tab>revoked …" a line. */
static im_code put_lines(cli_session *s, const im_json_writer *w, im_error *err)
{
    json_t *root = NULL;
    im_code rc = im_json_parse(im_str_text(&w->out), w->out.size, "keys", &root, err);
    const json_t *keys = rc == IM_OK ? json_object_get(root, "keys") : NULL;
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        const char *revoked = json_string_value(json_object_get(key, "revoked"));
        cli_printf(&s->out, "%lld\t%s\t%s\t",
                   (long long)json_integer_value(json_object_get(key, "id")),
                   json_string_value(json_object_get(key, "scope")),
                   json_string_value(json_object_get(key, "made")));
        cli_put_escaped(&s->out, json_string_value(json_object_get(key, "name")));
        if (revoked != NULL) {
            cli_printf(&s->out, "\trevoked %s", revoked);
        }
        cli_puts(&s->out, "\n");
    }
    json_decref(root);
    return rc;
}

im_code cmd_key_list(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    cli_json_start(&w);
    im_code rc = cli_open_library(s, false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_keys_json(library, &w, err);
    }
    im_library_close(library);
    if (rc == IM_OK) {
        rc = s->args->options.json || !im_json_ok(&w) ? cli_put_json(&s->out, &w, err)
                                                      : put_lines(s, &w, err);
    }
    im_json_clear(&w);
    return rc;
}

static im_code put_revoked(cli_session *s, size_t n, im_error *err)
{
    im_json_writer w;
    if (!s->args->options.json) {
        if (!s->args->options.quiet) {
            cli_printf(&s->out, "revoked %zu key%s\n", n, n == 1 ? "" : "s");
        }
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_uint(&w, "revoked", n);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

im_code cmd_key_revoke(cli_session *s, im_error *err)
{
    const cli_args *args = s->args;
    im_library *library = NULL;
    uint64_t id = 0;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < args->n_operands; i++) { /* all, before the first is */
        if (!im_parse_u64(args->operands[i], 1, INT64_MAX, &id)) {
            rc = im_fail(err, IM_ERR_INVALID, "'%s' is no number of an API key", args->operands[i]);
            im_hint(err, "'imago key list' shows them; the key itself need not be known");
        }
    }
    if (rc == IM_OK) {
        rc = cli_open_library(s, true, &library, err);
    }
    for (size_t i = 0; rc == IM_OK && i < args->n_operands; i++) {
        (void)im_parse_u64(args->operands[i], 1, INT64_MAX, &id);
        rc = im_app_key_revoke(library, id, err);
    }
    im_library_close(library);
    return rc == IM_OK ? put_revoked(s, args->n_operands, err) : rc;
}
