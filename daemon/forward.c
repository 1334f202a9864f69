/* daemon/forward.c — what Immich asks that is not done here (faces, text in pictures) goes to the
 * one server that was named for it, and its answer back. Threads of their own wait for that server,
 * so that nobody else does; each has one connection to it, which is kept. A request that an imago
 * has passed on is passed on no more (answer_predict.c): "Via" tells, and no circle is gone twice.
 */
#include "base/http_client.h"
#include "daemon/daemon_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct forward {
    char *url;
    im_http_place place;
    uint32_t timeout_ms;
    int wake;
    size_t n_threads;
    pthread_t threads[DAEMON_UPSTREAM_THREADS];
    im_http_client *clients[DAEMON_UPSTREAM_THREADS];
    size_t n_started; /* guarded by lock: clients that have their thread */
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* guarded by lock */
    exchange *first, *last; /* wait */
    size_t waiting;
    exchange *answered;
    atomic_bool ending;
};

void forwarding_free(forwarding *onward)
{
    if (onward != NULL) {
        im_free(onward->entries);
        im_free(onward->clip);
        im_free(onward);
    }
}

/* ---- a request ---- */

typedef struct waiter {
    const forward *forward;
    const exchange *ex;
} waiter;

static bool is_given_up(void *context)
{
    const waiter *w = context;
    return atomic_load(&w->ex->abandoned) || atomic_load(&w->forward->ending);
}

/* The body with the entries that are left, in one piece; `out` owns it when they are others. */
static im_code join_body(exchange *ex, im_str *out, im_view *out_body, im_error *err)
{
    const forwarding *onward = ex->onward;
    im_code rc = body_view(ex, out_body, err);
    if (rc != IM_OK || onward->entries == NULL) {
        return rc;
    }
    size_t behind = onward->at + onward->size;
    im_str_init(out, out_body->size + strlen(onward->entries) + 1);
    im_str_add(out, out_body->data, onward->at);
    im_str_add_c(out, onward->entries);
    im_str_add(out, out_body->data + behind, out_body->size - behind);
    *out_body = im_view_of(im_str_text(out), out->size);
    return out->failed ? im_fail(err, IM_ERR_NOMEM, "no memory for a request") : IM_OK;
}

static im_code send_request(const forward *f, im_http_client *http, exchange *ex,
                            im_http_answer *out, im_error *err)
{
    char type[HTTP_BOUNDARY_BYTES + 40];
    const char *const hosts[] = {f->place.host};
    const char *const headers[] = {"Via: 1.1 " HTTP_VIA_NAME};
    const im_http_rules rules = {.hosts = hosts, .n_hosts = 1};
    waiter w = {f, ex};
    im_str joined;
    im_view body = {0};
    im_str_init(&joined, 0);
    (void)snprintf(type, sizeof(type), "multipart/form-data; boundary=\"%s\"", ex->boundary);
    im_code rc = join_body(ex, &joined, &body, err);
    if (rc == IM_OK) {
        const im_http_request request = {.url = f->url,
                                         .headers = headers,
                                         .n_headers = IM_COUNT(headers),
                                         .body = body,
                                         .type = type,
                                         .timeout_ms = f->timeout_ms,
                                         .max_bytes = DAEMON_UPSTREAM_BYTES,
                                         .stopped = is_given_up,
                                         .context = &w};
        rc = im_http_send(http, &rules, &request, out, err);
    }
    im_str_clear(&joined);
    return rc;
}

/* ---- the answer ---- */

static bool is_header_text(const char *text)
{
    const char *at = text;
    while (*at >= 0x20 && *at < 0x7f) {
        at++;
    }
    return *at == '\0' && at != text;
}

/* The members of its object behind our own. An object of which "clip" was not asked, but given, is
 * none that can be understood. */
static im_code join_answer(exchange *ex, const im_http_answer *answer, im_error *err)
{
    const char *text = im_str_text(&answer->body);
    const char *clip = ex->onward->clip;
    im_str *out = &ex->answer.out;
    json_t *root = NULL;
    im_error cause = IM_ERROR_INIT;
    im_code rc = im_json_parse(text, answer->body.size, "answer", &root, &cause);
    bool sound = json_is_object(root) && (clip == NULL || json_object_get(root, "clip") == NULL);
    bool empty = json_object_size(root) == 0;
    json_decref(root);
    if (rc == IM_ERR_NOMEM) {
        return im_fail(err, rc, "%s", cause.message);
    }
    if (!sound) {
        return im_fail(err, IM_ERR_UPSTREAM,
                       "Immich's upstream answered 200 with what is no answer of its protocol%s%s",
                       rc != IM_OK ? ": " : "", rc != IM_OK ? cause.message : "");
    }
    const char *open = memchr(text, '{', answer->body.size);
    size_t head = (size_t)(open - text) + 1;
    im_str_add(out, text, head);
    if (clip != NULL) {
        im_str_addf(out, "\"clip\":%s%s", clip, empty ? "" : ",");
    }
    im_str_add(out, text + head, answer->body.size - head);
    return IM_OK;
}

static void take_answer(exchange *ex, const im_http_answer *answer)
{
    im_error error = IM_ERROR_INIT;
    im_code rc = IM_OK;
    if (answer->status == 200) {
        rc = join_answer(ex, answer, &error);
    } else if (answer->status >= 400 && answer->status <= 599) {
        im_str_add(&ex->answer.out, im_str_text(&answer->body), answer->body.size);
    } else {
        rc = im_fail(&error, IM_ERR_UPSTREAM, "Immich's upstream answered with status %d%s",
                     answer->status,
                     answer->status / 100 == 3 ? ": redirects are not followed" : "");
        im_hint(&error, "--immich-upstream names the server itself, as http://HOST:3003");
    }
    if (rc != IM_OK) {
        exchange_fail(ex, 0, &error);
        return;
    }
    (void)snprintf(ex->onward->type, sizeof(ex->onward->type), "%s",
                   is_header_text(answer->type) ? answer->type : "application/octet-stream");
    exchange_done(ex, ex->onward->type);
    if (ex->status == 200) {
        ex->status = answer->status;
        ex->retry_s = answer->has_retry_after ? answer->retry_after_s : 0;
    }
}

static void ask(const forward *f, im_http_client *http, exchange *ex)
{
    im_http_answer answer = {0};
    im_error error = IM_ERROR_INIT;
    if (atomic_load(&ex->abandoned)) {
        return;
    }
    im_code rc = send_request(f, http, ex, &answer, &error);
    if (rc == IM_OK) {
        take_answer(ex, &answer);
    } else {
        im_hint(&error, "it is asked for the tasks that imago does not do (--immich-upstream)");
        exchange_fail(ex, rc == IM_ERR_DENIED ? 502 : 0, &error);
    }
    im_http_answer_clear(&answer);
}

/* ---- threads ---- */

/* NULL at the end. */
static exchange *take(forward *f)
{
    pthread_mutex_lock(&f->lock);
    while (f->first == NULL && !atomic_load(&f->ending)) {
        pthread_cond_wait(&f->more, &f->lock);
    }
    exchange *ex = atomic_load(&f->ending) ? NULL : f->first;
    if (ex != NULL) {
        f->first = ex->next;
        f->last = f->first != NULL ? f->last : NULL;
        f->waiting--;
        ex->next = NULL;
    }
    pthread_mutex_unlock(&f->lock);
    return ex;
}

static void *run(void *context)
{
    forward *f = context;
    const uint64_t one = 1;
    pthread_mutex_lock(&f->lock);
    im_http_client *http = f->clients[f->n_started++];
    pthread_mutex_unlock(&f->lock);
    for (exchange *ex = take(f); ex != NULL; ex = take(f)) {
        ask(f, http, ex);
        pthread_mutex_lock(&f->lock);
        ex->next = f->answered;
        f->answered = ex;
        pthread_mutex_unlock(&f->lock);
        (void)!write(f->wake, &one, sizeof(one));
    }
    return NULL;
}

bool forward_put(forward *f, exchange *ex)
{
    pthread_mutex_lock(&f->lock);
    bool room = f->waiting < DAEMON_MOST_WAITING;
    if (room) {
        ex->next = NULL;
        if (f->first == NULL) {
            f->first = ex;
        } else {
            f->last->next = ex;
        }
        f->last = ex;
        f->waiting++;
        pthread_cond_signal(&f->more);
    }
    pthread_mutex_unlock(&f->lock);
    return room;
}

exchange *forward_take_answered(forward *f)
{
    if (f == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&f->lock);
    exchange *list = f->answered;
    f->answered = NULL;
    pthread_mutex_unlock(&f->lock);
    return list;
}

/* ---- beginning and end ---- */

/* "http://HOST:3003" → "http://HOST:3003/predict" */
static im_code read_url(forward *f, const char *text, im_error *err)
{
    im_str url;
    size_t size = strlen(text);
    im_code rc = im_http_place_of(text, &f->place, err);
    if (rc == IM_OK && strpbrk(text, "?#") != NULL) {
        rc = im_fail(err, IM_ERR_INVALID, "'%.200s' has more than scheme, host, port and path",
                     text);
    }
    if (rc != IM_OK) {
        im_at_field(err, "--immich-upstream");
        im_hint(err, "option --immich-upstream takes http://HOST:3003");
        return rc;
    }
    while (size > 0 && text[size - 1] == '/') {
        size--;
    }
    im_str_init(&url, size + 16);
    im_str_add(&url, text, size);
    im_str_add_c(&url, "/predict");
    f->url = url.failed ? NULL : im_strdup(im_str_text(&url));
    im_str_clear(&url);
    return f->url != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a URL");
}

/* One that does not start is done without, the first one excepted. */
static im_code start_threads(forward *f, im_error *err)
{
    int failed = 0;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && failed == 0 && i < DAEMON_UPSTREAM_THREADS; i++) {
        rc = im_http_open(&f->clients[i], err);
        failed = rc == IM_OK ? thread_start(&f->threads[i], run, f) : 0;
        f->n_threads += rc == IM_OK && failed == 0;
    }
    if (rc == IM_OK && f->n_threads == 0) {
        rc = im_fail(err, IM_ERR_NOMEM, "could not start a thread: %s", strerror(failed));
    }
    return rc;
}

im_code forward_open(const im_daemon_options *options, int wake, forward **out_forward,
                     im_error *err)
{
    if (options->immich_upstream == NULL) {
        return IM_OK;
    }
    if (options->immich_listen == NULL) {
        return im_fail(err, IM_ERR_INVALID,
                       "option '--immich-upstream' needs '--immich-listen ADDRESS:PORT'");
    }
    forward *f = im_alloc_zero(1, sizeof(*f));
    if (f == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the daemon");
    }
    f->wake = wake;
    f->timeout_ms = options->immich_ms != 0 ? options->immich_ms : DAEMON_UPSTREAM_MS;
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->more, NULL);
    im_code rc = read_url(f, options->immich_upstream, err);
    if (rc == IM_OK) {
        rc = start_threads(f, err);
    }
    if (rc != IM_OK) {
        forward_close(f);
        return rc;
    }
    *out_forward = f;
    return IM_OK;
}

static void free_list(exchange *list)
{
    while (list != NULL) {
        exchange *next = list->next;
        exchange_free(list);
        list = next;
    }
}

void forward_close(forward *f)
{
    if (f == NULL) {
        return;
    }
    pthread_mutex_lock(&f->lock);
    atomic_store(&f->ending, true);
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < f->n_threads; i++) {
        (void)pthread_join(f->threads[i], NULL);
    }
    for (size_t i = 0; i < DAEMON_UPSTREAM_THREADS; i++) {
        im_http_close(f->clients[i]);
    }
    free_list(f->first);
    free_list(f->answered);
    (void)pthread_cond_destroy(&f->more);
    (void)pthread_mutex_destroy(&f->lock);
    im_free(f->url);
    im_free(f);
}
