/* imago/api.c — the public C API over app/: handles with a lock, values copied across, nothing
 * decided here. Enumerators of imago.h and of the house have the same numbers (asserted). */
#include "app/app.h"
#include "base/base.h"
#include "base/file.h"
#include "imago/imago.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define X(name, exit_code, http, meaning) \
    _Static_assert((int)IMAGO_##name == (int)IM_##name, "codes of the two tables are the same");
#include "base/error.def"
#undef X
_Static_assert((int)IMAGO_COMBINE_SUM == (int)IM_COMBINE_SUM &&
                   (int)IMAGO_COMBINE_ANY == (int)IM_COMBINE_ANY &&
                   (int)IMAGO_COMBINE_ALL == (int)IM_COMBINE_ALL,
               "ways of combining are the same");

struct imago_library {
    pthread_mutex_t lock; /* held by each call for its whole length */
    im_places places;
    im_library *library; /* guarded by lock */
    char *model;         /* NULL: the library's */
    size_t threads;
    bool writable;
};

struct imago_query {
    im_query_part parts[IM_LIMIT_QUERY_PARTS];
    char *owned[IM_LIMIT_QUERY_PARTS]; /* what the parts point to */
    size_t n_parts;
    im_combine combine;
    size_t k;
    uint64_t offset;
};

struct imago_answer {
    im_answer answer;
    im_json_writer json;
    imago_hit *hits; /* [answer.n_hits] */
};

/* ---- version and errors ---- */

const char *imago_version(void)
{
    return IM_VERSION;
}

unsigned long imago_version_number(void)
{
    return IMAGO_VERSION_NUMBER;
}

const char *imago_code_name(imago_code code)
{
    static const char *const names[IM_CODE_COUNT] = {
#define X(name, exit_code, http, meaning) "IMAGO_" #name,
#include "base/error.def"
#undef X
    };
    bool known = (unsigned)code < (unsigned)IM_CODE_COUNT;
    return names[known ? (unsigned)code : (unsigned)IM_ERR_INTERNAL];
}

void imago_free(void *block)
{
    im_free(block);
}

static void copy_text(char *out, size_t capacity, const char *text)
{
    size_t size = strnlen(text, capacity - 1);
    memcpy(out, text, size);
    out[size] = '\0';
}

static void copy_error(imago_error *out, const im_error *from)
{
    out->code = (imago_code)from->code;
    copy_text(out->reason, sizeof(out->reason), from->reason != NULL ? from->reason : "");
    copy_text(out->message, sizeof(out->message), from->message);
    copy_text(out->hint, sizeof(out->hint), from->hint);
}

/* Last step of each call: the code, and on failure the value. */
static imago_code hand_over(im_code rc, const im_error *err, imago_error *out)
{
    if (rc != IM_OK && out != NULL) {
        copy_error(out, err);
    }
    return (imago_code)rc;
}

static imago_code refuse(imago_error *error, const char *sentence)
{
    im_error err = IM_ERROR_INIT;
    im_code rc = im_fail(&err, IM_ERR_INVALID, "%s", sentence);
    return hand_over(rc, &err, error);
}

/* ---- libraries ---- */

static const char places_anchor = 0; /* an address inside this library */

/* The models that were installed with this library: PREFIX/lib[/TRIPLET]/libimago.so has them in
 * PREFIX/share/imago. What IMAGO_DATA names comes first, as in app/. */
static im_code look_beside_library(im_places *places, im_error *err)
{
    Dl_info own;
    char path[PATH_MAX];
    const char *named = getenv("IMAGO_DATA");
    if ((named != NULL && named[0] != '\0') || dladdr(&places_anchor, &own) == 0 ||
        realpath(own.dli_fname, path) == NULL) {
        return IM_OK;
    }
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return IM_OK;
        }
        *slash = '\0';
        char *share = im_path_join(path, "share/imago");
        char *models = share != NULL ? im_path_join(share, "models") : NULL;
        if (models == NULL) {
            im_free(share);
            return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        }
        bool found = im_file_exists(models);
        im_free(models);
        if (found) {
            im_free(places->share);
            places->share = share;
            return IM_OK;
        }
        im_free(share);
    }
    return IM_OK;
}

static im_code open_inside(imago_library *handle, im_error *err)
{
    im_library_options options = {
        .places = &handle->places,
        .writable = handle->writable,
        .model = handle->model,
        .threads = handle->threads,
    };
    return im_library_open(&options, &handle->library, err);
}

static im_code open_or_make(imago_library *handle, bool create, im_error *err)
{
    im_code rc = open_inside(handle, err);
    if (rc != IM_OK && create &&
        strcmp(err->reason, im_reason_name(IM_REASON_LIBRARY_NOT_FOUND)) == 0) {
        rc = im_app_init(&handle->places, err);
        if (rc == IM_OK || rc == IM_ERR_CONFLICT) { /* another process was quicker */
            rc = open_inside(handle, err);
        }
    }
    return rc;
}

/* A caller compiled against an older header has a shorter struct: fields beyond are NULL. */
static im_code read_options(imago_library *handle, const imago_open_options *given, im_error *err)
{
    imago_open_options options = IMAGO_OPEN_OPTIONS_INIT;
    if (given != NULL) {
        if (given->size < sizeof(size_t)) {
            return im_fail(err, IM_ERR_INVALID,
                           "options have size %zu: begin with IMAGO_OPEN_OPTIONS_INIT",
                           given->size);
        }
        memcpy(&options, given, IM_MIN(given->size, sizeof(options)));
    }
    handle->threads = options.threads;
    if (options.model != NULL) {
        handle->model = im_strdup(options.model);
        if (handle->model == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a library");
        }
    }
    return IM_OK;
}

imago_code imago_library_open(const char *folder, unsigned flags, const imago_open_options *options,
                              imago_library **out_library, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    const unsigned known = IMAGO_CREATE | IMAGO_READ_ONLY;
    if (out_library == NULL || (flags & ~known) != 0 || flags == known) {
        return refuse(error, "flags are IMAGO_CREATE, IMAGO_READ_ONLY or 0");
    }
    imago_library *handle = im_alloc_zero(1, sizeof(*handle));
    if (handle == NULL || pthread_mutex_init(&handle->lock, NULL) != 0) {
        im_free(handle);
        im_code nomem = im_fail(&err, IM_ERR_NOMEM, "no memory for a library");
        return hand_over(nomem, &err, error);
    }
    handle->writable = (flags & IMAGO_READ_ONLY) == 0;
    im_code rc = read_options(handle, options, &err);
    if (rc == IM_OK) {
        rc = im_places_find(folder, &handle->places, &err);
    }
    if (rc == IM_OK) {
        rc = look_beside_library(&handle->places, &err);
    }
    if (rc == IM_OK) {
        rc = open_or_make(handle, (flags & IMAGO_CREATE) != 0, &err);
    }
    if (rc != IM_OK) {
        imago_library_close(handle);
        return hand_over(rc, &err, error);
    }
    *out_library = handle;
    return IMAGO_OK;
}

void imago_library_close(imago_library *library)
{
    if (library == NULL) {
        return;
    }
    im_library_close(library->library);
    im_places_clear(&library->places);
    im_free(library->model);
    (void)pthread_mutex_destroy(&library->lock);
    im_free(library);
}

/* The text of a writer as a new string. */
static im_code take_json(im_json_writer *w, char **out, im_error *err)
{
    *out = im_json_ok(w) ? im_strdup(im_str_text(&w->out)) : NULL;
    return *out != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for the JSON text");
}

imago_code imago_library_status(imago_library *library, char **out_json, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_json_writer w;
    char *json = NULL;
    if (library == NULL || out_json == NULL) {
        return refuse(error, "library and out_json are needed");
    }
    im_json_init(&w, SIZE_MAX / 2);
    (void)pthread_mutex_lock(&library->lock);
    im_code rc = im_app_status_json(library->library, &w, &err);
    (void)pthread_mutex_unlock(&library->lock);
    if (rc == IM_OK) {
        rc = take_json(&w, &json, &err);
    }
    im_json_clear(&w);
    if (rc == IM_OK) {
        *out_json = json;
    }
    return hand_over(rc, &err, error);
}

/* ---- adding ---- */

typedef struct add_call {
    imago_progress_fn progress;
    void *context;
    imago_progress state;
} add_call;

static void on_progress(void *context, const im_progress *progress)
{
    add_call *call = context;
    call->state.stage = progress->stage;
    call->state.done = progress->done;
    call->state.total = progress->total;
    call->state.failed = progress->failed;
    call->state.per_second = progress->rate;
    call->state.eta_seconds = progress->eta_s;
    call->progress(call->context, &call->state);
}

static void on_failed(void *context, const char *path, const im_error *failure)
{
    add_call *call = context;
    imago_error error;
    copy_error(&error, failure);
    call->state.path = path;
    call->state.failure = &error;
    call->progress(call->context, &call->state);
    call->state.path = NULL;
    call->state.failure = NULL;
}

static void copy_report(imago_add_report *out, const im_add_report *from)
{
    imago_add_report report = {
        .size = out->size,
        .added = from->added,
        .linked = from->linked,
        .unchanged = from->unchanged,
        .failed = from->failed,
        .skipped = from->skipped,
        .seconds = from->seconds,
    };
    memcpy(out, &report, IM_MIN(out->size, sizeof(report)));
}

imago_code imago_library_add(imago_library *library, const char *const *paths, size_t n_paths,
                             imago_progress_fn progress, void *context, imago_add_report *report,
                             imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_add_report inside = {0};
    im_add_request request = {.paths = paths, .n_paths = n_paths};
    add_call call = {progress, context, {.size = sizeof(imago_progress), .stage = ""}};
    im_events events = {.context = &call, .progress = on_progress, .failed = on_failed};
    if (library == NULL || paths == NULL || n_paths == 0) {
        return refuse(error, "a library and at least one path are needed");
    }
    if (report != NULL && report->size < sizeof(size_t)) {
        return refuse(error, "the report's size is not set: begin with IMAGO_ADD_REPORT_INIT");
    }
    if (!library->writable) {
        return refuse(error, "the library was opened with IMAGO_READ_ONLY");
    }
    (void)pthread_mutex_lock(&library->lock);
    im_code rc =
        im_app_add(library->library, &request, progress != NULL ? &events : NULL, &inside, &err);
    (void)pthread_mutex_unlock(&library->lock);
    if (report != NULL) {
        copy_report(report, &inside);
    }
    return hand_over(rc, &err, error);
}

/* ---- queries ---- */

imago_code imago_query_new(imago_query **out_query, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    if (out_query == NULL) {
        return refuse(error, "out_query is needed");
    }
    imago_query *query = im_alloc_zero(1, sizeof(*query));
    if (query == NULL) {
        im_code rc = im_fail(&err, IM_ERR_NOMEM, "no memory for a query");
        return hand_over(rc, &err, error);
    }
    query->k = 20;
    *out_query = query;
    return IMAGO_OK;
}

void imago_query_free(imago_query *query)
{
    for (size_t i = 0; query != NULL && i < query->n_parts; i++) {
        im_free(query->owned[i]);
    }
    im_free(query);
}

/* Appends `part`, whose text, path or bytes are copied from data [size]. */
static im_code add_part(imago_query *query, im_query_part part, const void *data, size_t size,
                        im_error *err)
{
    if (query->n_parts == IM_LIMIT_QUERY_PARTS) {
        return im_fail(err, IM_ERR_LIMIT, "a query has at most %u parts", IM_LIMIT_QUERY_PARTS);
    }
    double magnitude = part.weight < 0 ? -part.weight : part.weight;
    if (!(magnitude > 0) || magnitude > IM_WEIGHT_MAX) {
        return im_fail(err, IM_ERR_INVALID, "weight %g: expected 0 < |weight| <= %g", part.weight,
                       IM_WEIGHT_MAX);
    }
    char *copy = im_alloc(size + 1, 1);
    if (copy == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    copy[size] = '\0';
    if (part.kind == IM_PART_TEXT) {
        part.text = im_view_of(copy, size);
    } else if (part.path != NULL) {
        part.path = copy;
    } else if (part.item == 0) {
        part.bytes = im_view_of(copy, size);
    }
    query->owned[query->n_parts] = copy;
    query->parts[query->n_parts++] = part;
    return IM_OK;
}

imago_code imago_query_add_text(imago_query *query, const char *text, size_t size, double weight,
                                imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_query_part part = {.kind = IM_PART_TEXT, .weight = weight};
    if (query == NULL || text == NULL) {
        return refuse(error, "a query and a text are needed");
    }
    size = size == IMAGO_WHOLE ? strlen(text) : size;
    im_code rc = IM_OK;
    if (size > IM_LIMIT_QUERY_BYTES) { /* before it is copied */
        rc = im_fail_as(&err, IM_REASON_QUERY_TOO_LONG, "text of %zu bytes, the limit is %u", size,
                        IM_LIMIT_QUERY_BYTES);
    } else {
        rc = add_part(query, part, text, size, &err);
    }
    return hand_over(rc, &err, error);
}

imago_code imago_query_add_picture_file(imago_query *query, const char *path, double weight,
                                        imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_query_part part = {.kind = IM_PART_PICTURE, .path = path, .weight = weight};
    if (query == NULL || path == NULL) {
        return refuse(error, "a query and a path are needed");
    }
    im_code rc = add_part(query, part, path, strlen(path), &err);
    return hand_over(rc, &err, error);
}

imago_code imago_query_add_picture_bytes(imago_query *query, const void *bytes, size_t size,
                                         double weight, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_query_part part = {.kind = IM_PART_PICTURE, .weight = weight};
    im_code rc = IM_OK;
    if (query == NULL || (bytes == NULL && size > 0)) {
        return refuse(error, "a query and bytes are needed");
    }
    if (size == 0) {
        rc = im_fail_as(&err, IM_REASON_PICTURE_EMPTY, "picture of 0 bytes");
    } else if (size > IM_LIMIT_PICTURE_BYTES) {
        rc = im_fail_as(&err, IM_REASON_FILE_TOO_LARGE, "picture of %zu bytes, the limit is %llu",
                        size, IM_LIMIT_PICTURE_BYTES);
    } else {
        rc = add_part(query, part, bytes, size, &err);
    }
    return hand_over(rc, &err, error);
}

imago_code imago_query_add_item(imago_query *query, uint64_t item, double weight,
                                imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_query_part part = {.kind = IM_PART_PICTURE, .item = item, .weight = weight};
    if (query == NULL || item == 0) {
        return refuse(error, "a query and an item's id, which is above 0, are needed");
    }
    im_code rc = add_part(query, part, NULL, 0, &err);
    return hand_over(rc, &err, error);
}

imago_code imago_query_set_page(imago_query *query, size_t k, uint64_t offset, imago_error *error)
{
    if (query == NULL || k < 1 || k > IM_LIMIT_K || offset > IM_LIMIT_OFFSET_PLUS_K - k) {
        return refuse(error, "k is 1 to 10000, and k with offset at most 1000000");
    }
    query->k = k;
    query->offset = offset;
    return IMAGO_OK;
}

imago_code imago_query_set_combine(imago_query *query, imago_combine combine, imago_error *error)
{
    if (query == NULL || (unsigned)combine > (unsigned)IMAGO_COMBINE_ALL) {
        return refuse(error, "combine is IMAGO_COMBINE_SUM, _ANY or _ALL");
    }
    query->combine = (im_combine)combine;
    return IMAGO_OK;
}

/* ---- searching ---- */

static imago_hit hit_of(const im_answer *answer, const im_search_hit *hit)
{
    bool one = answer->n_parts == 1 && hit->cosines != NULL;
    imago_hit out = {
        .rank = hit->rank,
        .item = hit->item.id,
        .path = hit->path,
        .online = hit->online ? 1 : 0,
        .score = (double)hit->score,
        .cosine = one ? (double)hit->cosines[0] : 0,
        .has_cosine = one ? 1 : 0,
        .width = hit->item.width,
        .height = hit->item.height,
    };
    return out;
}

/* What callers see of an answer: hits as structs, and all as JSON. */
static im_code finish_answer(imago_answer *answer, im_error *err)
{
    const im_answer *inside = &answer->answer;
    im_answer_json(&answer->json, inside);
    answer->hits = im_alloc(inside->n_hits, sizeof(*answer->hits));
    if (answer->hits == NULL || !im_json_ok(&answer->json)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the answer");
    }
    for (size_t i = 0; i < inside->n_hits; i++) {
        answer->hits[i] = hit_of(inside, &inside->hits[i]);
    }
    return IM_OK;
}

imago_code imago_search(imago_library *library, const imago_query *query, imago_answer **out_answer,
                        imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_code rc = IM_OK;
    if (library == NULL || query == NULL || out_answer == NULL) {
        return refuse(error, "a library, a query and out_answer are needed");
    }
    imago_answer *answer = im_alloc_zero(1, sizeof(*answer));
    if (answer == NULL) {
        rc = im_fail(&err, IM_ERR_NOMEM, "no memory for an answer");
        return hand_over(rc, &err, error);
    }
    im_json_init(&answer->json, SIZE_MAX / 2);
    im_search_request request = {
        .parts = query->parts,
        .n_parts = query->n_parts,
        .combine = query->combine,
        .k = query->k,
        .offset = query->offset,
    };
    rc = query->n_parts > 0 ? im_query_check(query->parts, query->n_parts, query->combine, &err)
                            : im_fail_as(&err, IM_REASON_QUERY_EMPTY, "the query has no parts");
    if (rc == IM_OK) {
        (void)pthread_mutex_lock(&library->lock);
        rc = im_app_search(library->library, &request, &answer->answer, &err);
        (void)pthread_mutex_unlock(&library->lock);
    }
    if (rc == IM_OK) {
        rc = finish_answer(answer, &err);
    }
    if (rc != IM_OK) {
        imago_answer_free(answer);
        return hand_over(rc, &err, error);
    }
    *out_answer = answer;
    return IMAGO_OK;
}

void imago_answer_free(imago_answer *answer)
{
    if (answer == NULL) {
        return;
    }
    im_answer_clear(&answer->answer);
    im_json_clear(&answer->json);
    im_free(answer->hits);
    im_free(answer);
}

size_t imago_answer_n_hits(const imago_answer *answer)
{
    return answer != NULL ? answer->answer.n_hits : 0;
}

const imago_hit *imago_answer_hit(const imago_answer *answer, size_t i)
{
    return answer != NULL && i < answer->answer.n_hits ? &answer->hits[i] : NULL;
}

const char *imago_answer_json(const imago_answer *answer)
{
    return answer != NULL ? im_str_text(&answer->json.out) : "null";
}

/* ---- embeddings ---- */

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
        copy_error(&errors[i], &result->errors[i]);
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
        return refuse(error, "a library, at least one input and out_embeddings are needed");
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
    return hand_over(rc, &err, error);
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
