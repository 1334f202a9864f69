/* daemon/local_vlm.c — the thread that keeps a llama-server beside the daemon: it is started with
 * it, and ends with it. That it fails ends no search: it is told, and the daemon goes on without.
 */
#include "base/clock.h"
#include "daemon/daemon_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SENTENCES 8u /* that wait to be told; what comes beyond them is lost */

struct local_vlm {
    const im_daemon_options *options;
    im_library *library; /* the thread's own */
    pthread_t thread;
    bool started;
    atomic_bool stop;
    pthread_mutex_t lock;
    /* guarded by lock */
    char sentences[SENTENCES][512];
    size_t n_sentences;
};

static void add(local_vlm *l, const char *sentence)
{
    pthread_mutex_lock(&l->lock);
    if (l->n_sentences < SENTENCES) {
        (void)snprintf(l->sentences[l->n_sentences], sizeof(l->sentences[0]), "%s", sentence);
        l->n_sentences++;
    }
    pthread_mutex_unlock(&l->lock);
}

static void on_warning(void *context, const char *sentence)
{
    add(context, sentence);
}

static void on_ready(void *context, const im_vlm_server *found, int pid)
{
    char sentence[512];
    (void)snprintf(sentence, sizeof(sentence),
                   "the vision-language model %.200s is ready (process %d)", found->model, pid);
    add(context, sentence);
}

static void *run(void *context)
{
    local_vlm *l = context;
    im_vlm_keep_request request = *l->options->keep;
    const im_events events = {.context = l, .warning = on_warning};
    im_error error = IM_ERROR_INIT;
    request.ready = on_ready;
    request.context = l;
    im_stop_heed(&l->stop);
    if (im_app_vlm_keep(l->library, &request, &events, &error) != IM_OK) {
        char sentence[512];
        (void)snprintf(sentence, sizeof(sentence), "no vision-language model: %s", error.message);
        add(l, sentence);
    }
    im_stop_heed(NULL);
    return NULL;
}

im_code local_vlm_open(const im_daemon_options *options, local_vlm **out, im_error *err)
{
    im_library_options wanted = options->library;
    *out = NULL;
    if (options->keep == NULL) {
        return IM_OK;
    }
    im_code rc = im_app_vlm_keep_check(options->keep, err); /* what can be said at once */
    if (rc != IM_OK) {
        return rc;
    }
    local_vlm *l = im_alloc_zero(1, sizeof(*l));
    if (l == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the daemon");
    }
    l->options = options;
    (void)pthread_mutex_init(&l->lock, NULL);
    wanted.writable = true;
    rc = im_library_open(&wanted, &l->library, err);
    if (rc == IM_OK) {
        int failed = thread_start(&l->thread, run, l);
        l->started = failed == 0;
        rc = failed == 0
                 ? IM_OK
                 : im_fail(err, IM_ERR_NOMEM, "could not start a thread: %s", strerror(failed));
    }
    if (rc != IM_OK) {
        local_vlm_close(l);
        return rc;
    }
    *out = l;
    return IM_OK;
}

void local_vlm_tell(local_vlm *l)
{
    if (l == NULL) {
        return;
    }
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; l->options->note != NULL && i < l->n_sentences; i++) {
        l->options->note(l->options->context, l->sentences[i]);
    }
    l->n_sentences = 0;
    pthread_mutex_unlock(&l->lock);
}

void local_vlm_close(local_vlm *l)
{
    if (l == NULL) {
        return;
    }
    atomic_store(&l->stop, true);
    if (l->started) {
        (void)pthread_join(l->thread, NULL);
    }
    im_library_close(l->library);
    (void)pthread_mutex_destroy(&l->lock);
    im_free(l);
}
