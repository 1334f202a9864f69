/* imago/api_embed.c — the public C API over app/: texts and pictures to vectors. */
#include "base/file.h"
#include "imago/api_internal.h"

#include <sys/mman.h>
#include <unistd.h>

/* app/ takes pictures by path: bytes get one that exists in memory only. */
static im_code path_of_bytes(const imago_input *input, int *out_fd, char *out, size_t capacity,
                             im_error *err)
{
    if (input->n_bytes > IM_LIMIT_PICTURE_BYTES) {
        return im_fail_as(err, IM_REASON_FILE_TOO_LARGE, "picture of %zu bytes, the limit is %llu",
                          input->n_bytes, IM_LIMIT_PICTURE_BYTES);
    }
    int fd = memfd_create("picture", MFD_CLOEXEC);
    if (fd < 0) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture of %zu bytes", input->n_bytes);
    }
    *out_fd = fd;
    (void)snprintf(out, capacity, "/proc/self/fd/%d", fd);
    return im_file_pwrite(fd, input->bytes, input->n_bytes, 0, "picture", err);
}

typedef struct embed_call {
    im_embed_input *inputs; /* [n] */
    int *fds;               /* [n], -1: none */
    char (*paths)[32];      /* [n] */
    size_t n;
} embed_call;

static void embed_call_clear(embed_call *call)
{
    for (size_t i = 0; call->fds != NULL && i < call->n; i++) {
        if (call->fds[i] >= 0) {
            (void)close(call->fds[i]);
        }
    }
    im_free(call->inputs);
    im_free(call->fds);
    im_free(call->paths);
}

static im_code read_input(embed_call *call, size_t i, const imago_input *input, im_error *err)
{
    int n_set = (input->text != NULL) + (input->path != NULL) + (input->bytes != NULL);
    if (n_set != 1) {
        return im_fail(err, IM_ERR_INVALID, "input %zu has %d of text, path and bytes, expected 1",
                       i, n_set);
    }
    call->inputs[i].is_text = input->text != NULL;
    call->inputs[i].value = input->text != NULL ? input->text : input->path;
    if (input->bytes == NULL) {
        return IM_OK;
    }
    call->inputs[i].value = call->paths[i];
    return path_of_bytes(input, &call->fds[i], call->paths[i], sizeof(call->paths[i]), err);
}

static im_code read_inputs(embed_call *call, const imago_input *inputs, size_t n, im_error *err)
{
    call->inputs = im_alloc_zero(n, sizeof(*call->inputs));
    call->fds = im_alloc(n, sizeof(*call->fds));
    call->paths = im_alloc_zero(n, sizeof(*call->paths));
    if (call->inputs == NULL || call->fds == NULL || call->paths == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu inputs", n);
    }
    for (size_t i = 0; i < n; i++) {
        call->fds[i] = -1;
    }
    call->n = n;
    for (size_t i = 0; i < n; i++) {
        im_code rc = read_input(call, i, &inputs[i], err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}

/* Moves the vectors over and copies the errors. */
static im_code give_embeddings(im_embed_result *result, imago_embeddings **out, im_error *err)
{
    imago_embeddings *embeddings = im_alloc_zero(1, sizeof(*embeddings));
    imago_error *errors = im_alloc_zero(result->n, sizeof(*errors));
    if (embeddings == NULL || errors == NULL) {
        im_free(embeddings);
        im_free(errors);
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu vectors", result->n);
    }
    for (size_t i = 0; i < result->n; i++) {
        api_copy_error(&errors[i], &result->errors[i]);
    }
    embeddings->n = result->n;
    embeddings->dim = result->dim;
    embeddings->vectors = result->vectors;
    embeddings->errors = errors;
    result->vectors = NULL;
    *out = embeddings;
    return IM_OK;
}

imago_code imago_embed(imago_library *library, const imago_input *inputs, size_t n_inputs,
                       imago_embeddings **out_embeddings, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    embed_call call = {0};
    im_embed_result result = {0};
    if (library == NULL || inputs == NULL || n_inputs == 0 || out_embeddings == NULL) {
        return api_refuse(error, "a library, at least one input and out_embeddings are needed");
    }
    im_code rc = read_inputs(&call, inputs, n_inputs, &err);
    if (rc == IM_OK) {
        im_embed_request request = {
            .model = library->model,
            .inputs = call.inputs,
            .n_inputs = n_inputs,
            .threads = library->threads,
        };
        (void)pthread_mutex_lock(&library->lock);
        rc = im_app_embed(&library->places, &request, &result, &err);
        (void)pthread_mutex_unlock(&library->lock);
    }
    if (rc == IM_OK || rc == IM_ERR_PARTIAL) {
        im_error give_err = IM_ERROR_INIT;
        im_code given = give_embeddings(&result, out_embeddings, &give_err);
        if (given != IM_OK) {
            rc = given;
            err = give_err;
        }
    }
    im_embed_result_clear(&result);
    embed_call_clear(&call);
    return api_hand_over(rc, &err, error);
}

void imago_embeddings_free(imago_embeddings *embeddings)
{
    if (embeddings == NULL) {
        return;
    }
    im_free(embeddings->vectors);
    im_free(embeddings->errors);
    im_free(embeddings);
}
