/* cli/cmd_embed.c — `imago embed`: vectors as JSON, as a NumPy file, as bare floats. */
#include "base/file.h"
#include "cli/commands_internal.h"

#include <endian.h>

static im_code read_inputs(const cli_args *args, im_embed_input *inputs, im_error *err)
{
    if (args->n_parts == 0) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "there is nothing to embed");
        im_hint(err, "name pictures, or give a text: imago embed --text \"a cat\"");
        return rc;
    }
    for (size_t i = 0; i < args->n_parts; i++) {
        const cli_part *part = &args->parts[i];
        inputs[i].is_text = part->kind == IM_CLI_TEXT;
        inputs[i].value = part->text;
    }
    return IM_OK;
}

static im_code write_rows(const im_embed_result *result, bool npy, im_str *out, im_error *err)
{
    if (npy) {
        cli_npy_header(out, result->n, result->dim);
    }
    for (size_t i = 0; i < result->n * result->dim; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &result->vectors[i], sizeof(bits));
        bits = htole32(bits);
        im_str_add(out, (const char *)&bits, sizeof(bits));
    }
    return out->failed ? im_fail(err, IM_ERR_NOMEM, "no memory for %zu vectors", result->n) : IM_OK;
}

static im_code write_json(const im_embed_request *request, const im_embed_result *result,
                          im_str *out, im_error *err)
{
    im_json_writer w;
    cli_json_start(&w);
    im_embed_json(&w, request, result);
    bool ok = im_json_ok(&w);
    im_str_add(out, im_str_text(&w.out), w.out.size);
    im_str_add_char(out, '\n');
    im_json_clear(&w);
    return ok && !out->failed ? IM_OK
                              : im_fail(err, IM_ERR_NOMEM, "no memory for %zu vectors", result->n);
}

/* In JSON each failure stands at its place; the other forms have no room for sentences. */
static void tell_failures(cli_session *s, const im_embed_request *request,
                          const im_embed_result *result)
{
    for (size_t i = 0; i < result->n; i++) {
        if (result->errors[i].code != IM_OK) {
            cli_put_error(&s->words, &result->errors[i], s->args->options.json);
        }
        if (result->cut[i]) {
            cli_note(s, "text was cut to the model's context: '%.60s'", request->inputs[i].value);
        }
    }
}

static im_code print_vectors(cli_session *s, const im_embed_request *request,
                             const im_embed_result *result, im_error *err)
{
    const cli_options *options = &s->args->options;
    im_str text;
    im_str_init(&text, SIZE_MAX / 2);
    im_code rc = options->format == IM_EMBED_JSON
                     ? write_json(request, result, &text, err)
                     : write_rows(result, options->format == IM_EMBED_NPY, &text, err);
    if (rc == IM_OK && options->output != NULL) {
        rc = im_file_write_atomic(options->output, im_str_text(&text), text.size, err);
    } else if (rc == IM_OK) {
        cli_put(&s->out, im_str_text(&text), text.size);
    }
    im_str_clear(&text);
    return rc;
}

static im_code check_options(const cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    bool binary = options->format != IM_EMBED_JSON;
    if (binary && options->json) {
        return im_fail(err, IM_ERR_INVALID,
                       "options '--json' and '--format' of another form exclude each other");
    }
    if (binary && options->output == NULL && s->out.terminal) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "bytes are not for a terminal");
        im_hint(err, "send them to a file: --output vectors.npy");
        return rc;
    }
    return IM_OK;
}

/* Without --model: the library's, if there is a library that has one; else the bundled one. Vectors
 * that are printed need not be of the library's precision, when another is asked for.
 * @param out_folder the caller's to free */
static im_code choose_model(cli_session *s, im_embed_request *request, char **out_folder,
                            im_error *err)
{
    im_library *library = NULL;
    im_precision precision = IM_PRECISION_AUTO;
    im_error cause = IM_ERROR_INIT;
    im_library_options wanted = cli_library_options(s, false);
    wanted.precision = IM_PRECISION_AUTO;
    if (request->model != NULL) {
        return IM_OK;
    }
    im_code rc = im_library_open(&wanted, &library, &cause);
    bool none = rc == IM_ERR_NOT_FOUND;
    if (rc == IM_OK) {
        rc = im_app_embed_model(library, out_folder, &precision, &cause);
        none = rc != IM_OK && strcmp(cause.reason, im_reason_name(IM_REASON_LIBRARY_EMPTY)) == 0;
    }
    im_library_close(library);
    if (rc == IM_OK) {
        request->model = *out_folder;
        if (request->precision == IM_PRECISION_AUTO) {
            request->precision = precision;
        }
    } else if (!none && err != NULL) {
        *err = cause;
    }
    return none ? IM_OK : rc;
}

static im_code embed(cli_session *s, im_embed_request *request, im_embed_result *out, im_error *err)
{
    char *folder = NULL;
    if (cli_ask_embed(s, request, out)) {
        return IM_OK;
    }
    im_code rc = choose_model(s, request, &folder, err);
    if (rc == IM_OK) {
        rc = im_app_embed(&s->places, request, out, err);
    }
    request->model = folder != NULL ? NULL : request->model; /* it goes */
    im_free(folder);
    return rc;
}

im_code cmd_embed(cli_session *s, im_error *err)
{
    const cli_args *args = s->args;
    im_embed_result result = {0};
    im_embed_input *inputs = im_alloc_zero(args->n_parts, sizeof(*inputs));
    im_embed_request request = {
        .model = args->options.model,
        .precision = (im_precision)args->options.precision,
        .inputs = inputs,
        .n_inputs = args->n_parts,
        .threads = (size_t)args->options.threads,
        .batch = (size_t)args->options.batch,
        .exact_decode = args->options.exact_decode,
        .limits = cli_limits(&args->options),
    };
    im_code rc = inputs != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for the arguments");
    if (rc == IM_OK) {
        rc = check_options(s, err);
    }
    if (rc == IM_OK) {
        rc = read_inputs(args, inputs, err);
    }
    if (rc == IM_OK) {
        rc = embed(s, &request, &result, err);
    }
    if (result.n > 0 && result.n == args->n_parts) { /* filled also when some or all failed */
        im_error print_err = IM_ERROR_INIT;
        im_code printed = print_vectors(s, &request, &result, &print_err);
        if (args->options.format != IM_EMBED_JSON) {
            tell_failures(s, &request, &result);
        }
        if (printed != IM_OK) {
            rc = printed;
            *err = print_err;
        }
    }
    im_embed_result_clear(&result);
    im_free(inputs);
    return rc;
}
