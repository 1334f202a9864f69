/* daemon/talk.c — what takes the vision-language model's time: a few threads of their own, each
 * with a handle on the library, so that no search waits for it. A talk is one request's part there;
 * it belongs to the thread that answers it and to the connection that listens, and whoever leaves
 * last frees it. A listener who has gone ends the asking. */
#include "base/clock.h"
#include "daemon/talk_internal.h"

#include <pthread.h>
#include <unistd.h>

#define TALKERS 4u
#define MOST_WAITING 64u

typedef struct talker {
    talks *all;
    pthread_t thread;
    im_library *library; /* the thread's own; NULL: not opened yet */
    unsigned epoch;      /* of it */
} talker;

struct talks {
    server *server;
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* guarded by lock */
    talk *first, *last; /* wait */
    size_t n_waiting, n_idle, n_threads;
    talk *running[TALKERS];
    unsigned epoch; /* goes up when the library is to be opened again */
    bool ending;
    talker list[TALKERS];
};

/* ---- one talk ---- */

talk *talk_new(talk_kind kind, const exchange *ex)
{
    talk *t = im_alloc_zero(1, sizeof(*t));
    if (t == NULL) {
        return NULL;
    }
    t->kind = kind;
    t->streams = ex->wants_events;
    t->item = ex->item;
    memcpy(t->request_id, ex->request_id, sizeof(t->request_id));
    atomic_init(&t->holders, 1);
    (void)pthread_mutex_init(&t->lock, NULL);
    im_str_init(&t->out, DAEMON_ANSWER_BYTES);
    t->error = (im_error)IM_ERROR_INIT;
    return t;
}

static void drop(talk *t)
{
    if (atomic_fetch_sub(&t->holders, 1) == 1) {
        im_answer_clear(&t->answer);
        im_free(t->question);
        im_str_clear(&t->out);
        (void)pthread_mutex_destroy(&t->lock);
        im_free(t);
    }
}

void talk_leave(talk *t)
{
    if (t != NULL) {
        atomic_store(&t->gone, true);
        drop(t);
    }
}

bool talk_take(talk *t, im_str *out)
{
    pthread_mutex_lock(&t->lock);
    im_str_add(out, im_str_text(&t->out), t->out.size);
    out->failed = out->failed || t->out.failed;
    im_str_reset(&t->out);
    bool ended = t->ended;
    pthread_mutex_unlock(&t->lock);
    return ended;
}

bool talk_finish(talk *t, exchange *ex)
{
    pthread_mutex_lock(&t->lock);
    bool ended = t->ended;
    pthread_mutex_unlock(&t->lock);
    if (!ended) {
        return false;
    }
    if (t->error.code == IM_OK) {
        im_str_add(&ex->answer.out, im_str_text(&t->out), t->out.size);
        ex->answer.out.failed = ex->answer.out.failed || t->out.failed;
    }
    exchange_end(ex, t->error.code, 200, &t->error);
    return true;
}

void talk_event(im_str *out, const char *name, const im_json_writer *w)
{
    im_str_addf(out, "event: %s\ndata: ", name);
    im_str_add(out, im_str_text(&w->out), w->out.size);
    im_str_add_c(out, "\n\n");
    out->failed = out->failed || !im_json_ok(w);
}

static void wake(const talks *all)
{
    uint64_t one = 1;
    (void)!write(all->server->wake, &one, sizeof(one));
}

/* ---- what a talk tells ---- */

typedef struct telling {
    talks *all;
    talk *t;
} telling;

static void tell(const telling *to, const char *name, const im_json_writer *w)
{
    pthread_mutex_lock(&to->t->lock);
    talk_event(&to->t->out, name, w);
    pthread_mutex_unlock(&to->t->lock);
    wake(to->all);
}

static void on_sent(void *context, const im_ask_result *result)
{
    const telling *to = context;
    im_json_writer w;
    im_json_init(&w, 1u << 20);
    im_json_begin_object(&w);
    im_ask_pictures_json(&w, &to->t->answer, result);
    im_json_end_object(&w);
    tell(to, "pictures", &w);
    im_json_clear(&w);
}

static void on_words(void *context, im_view more)
{
    const telling *to = context;
    im_json_writer w;
    im_json_init(&w, 1u << 20);
    im_json_begin_object(&w);
    im_json_key(&w, "text");
    im_json_string(&w, more.data, more.size);
    im_json_end_object(&w);
    tell(to, "words", &w);
    im_json_clear(&w);
}

/* ---- the kinds ---- */

static im_code run_rerank(im_library *library, const telling *to, im_json_writer *w, im_error *err)
{
    talk *t = to->t;
    size_t n_hits = t->answer.n_hits;
    im_code rc = im_app_vlm_rerank(library, &to->all->server->options->vlm, t->n, &t->answer, err);
    if (rc == IM_OK) {
        /* a listener has the others, which stand where they stood */
        t->answer.n_hits = t->streams ? IM_MIN(n_hits, t->n) : n_hits;
        im_answer_json(w, &t->answer);
        t->answer.n_hits = n_hits;
    }
    return rc;
}

static im_code run_ask(im_library *library, const telling *to, im_json_writer *w, im_error *err)
{
    talk *t = to->t;
    im_view question = im_view_from(t->question);
    im_ask_result result = {0};
    const im_ask_told told = {.sent = on_sent, .words = on_words, .context = (void *)(uintptr_t)to};
    im_code rc = im_app_ask(library, &to->all->server->options->vlm, question, &t->answer,
                            t->streams ? &told : NULL, &result, err);
    if (rc == IM_OK) {
        im_ask_json(w, question, &t->answer, &result);
    }
    im_ask_result_clear(&result);
    return rc;
}

static im_code run_explain(im_library *library, const telling *to, im_json_writer *w, im_error *err)
{
    return im_app_explain_hit(library, to->t->item, &to->t->answer, &to->all->server->options->vlm,
                              w, err);
}

static const struct {
    const char *event; /* that a listener gets at the end */
    im_code (*run)(im_library *library, const telling *to, im_json_writer *w, im_error *err);
} kinds[] = {
    [TALK_RERANK] = {"rerank", run_rerank},
    [TALK_ASK] = {"answer", run_ask},
    [TALK_EXPLAIN] = {"explanation", run_explain},
};

/* ---- the threads ---- */

static im_code open_library(talker *who, unsigned epoch, im_error *err)
{
    im_library_options wanted = who->all->server->options->library;
    wanted.writable = false;
    if (who->library != NULL && who->epoch == epoch) {
        return IM_OK;
    }
    im_library_close(who->library);
    who->library = NULL;
    who->epoch = epoch;
    return im_library_open(&wanted, &who->library, err);
}

static void end_talk(talks *all, talk *t, im_code rc, im_json_writer *w, const im_error *error)
{
    if (rc != IM_OK && t->streams) {
        im_json_clear(w);
        im_json_init(w, 1u << 20);
        exchange_problem(w, t->request_id, exchange_status(error), error);
    }
    pthread_mutex_lock(&t->lock);
    if (t->streams) {
        talk_event(&t->out, rc == IM_OK ? kinds[t->kind].event : "problem", w);
    } else if (rc == IM_OK) {
        im_str_add(&t->out, im_str_text(&w->out), w->out.size);
        t->out.failed = t->out.failed || !im_json_ok(w);
    } else {
        t->error = *error;
    }
    t->ended = true;
    pthread_mutex_unlock(&t->lock);
    wake(all);
}

static void answer_talk(talker *who, talk *t, unsigned epoch)
{
    const telling to = {who->all, t};
    im_error error = IM_ERROR_INIT;
    im_json_writer w;
    if (atomic_load(&t->gone)) {
        return; /* nobody is there any more: nobody is asked */
    }
    im_json_init(&w, DAEMON_ANSWER_BYTES);
    im_code rc = open_library(who, epoch, &error);
    if (rc == IM_OK) {
        im_stop_heed(&t->gone);
        rc = kinds[t->kind].run(who->library, &to, &w, &error);
        im_stop_heed(NULL);
    }
    end_talk(who->all, t, rc, &w, &error);
    im_json_clear(&w);
}

/* The next talk, which is the thread's; NULL at the end. */
static talk *take(talker *who, unsigned *out_epoch)
{
    talks *all = who->all;
    pthread_mutex_lock(&all->lock);
    all->running[who - all->list] = NULL;
    all->n_idle++;
    while (all->first == NULL && !all->ending) {
        (void)pthread_cond_wait(&all->more, &all->lock);
    }
    all->n_idle--;
    talk *t = all->ending ? NULL : all->first;
    if (t != NULL) {
        all->first = t->next;
        all->last = all->first != NULL ? all->last : NULL;
        all->n_waiting--;
        all->running[who - all->list] = t;
    }
    *out_epoch = all->epoch;
    pthread_mutex_unlock(&all->lock);
    return t;
}

static void *run(void *context)
{
    talker *who = context;
    unsigned epoch = 0;
    for (talk *t = take(who, &epoch), *next = NULL; t != NULL; t = next) {
        answer_talk(who, t, epoch);
        next = take(who, &epoch); /* it is not running any more before it is let go */
        drop(t);
    }
    im_library_close(who->library);
    return NULL;
}

/* ---- the others' side ---- */

im_code talks_open(server *s, talks **out, im_error *err)
{
    talks *all = im_alloc_zero(1, sizeof(*all));
    if (all == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the daemon");
    }
    all->server = s;
    (void)pthread_mutex_init(&all->lock, NULL);
    (void)pthread_cond_init(&all->more, NULL);
    *out = all;
    return IM_OK;
}

/* One thread more while all are at work. Lock held. */
static bool start_talker(talks *all)
{
    if (all->n_idle > all->n_waiting || all->n_threads == TALKERS) {
        return all->n_threads > 0;
    }
    talker *who = &all->list[all->n_threads];
    *who = (talker){.all = all};
    all->n_threads += thread_start(&who->thread, run, who) == 0;
    return all->n_threads > 0;
}

bool talks_put(talks *all, talk *t)
{
    pthread_mutex_lock(&all->lock);
    bool room = !all->ending && all->n_waiting < MOST_WAITING && start_talker(all);
    if (room) {
        atomic_fetch_add(&t->holders, 1);
        t->next = NULL;
        if (all->first == NULL) {
            all->first = t;
        } else {
            all->last->next = t;
        }
        all->last = t;
        all->n_waiting++;
        pthread_cond_signal(&all->more);
    }
    pthread_mutex_unlock(&all->lock);
    return room;
}

void talks_reopen(talks *all)
{
    pthread_mutex_lock(&all->lock);
    all->epoch++;
    pthread_mutex_unlock(&all->lock);
}

void talks_close(talks *all)
{
    if (all == NULL) {
        return;
    }
    pthread_mutex_lock(&all->lock);
    all->ending = true;
    for (size_t i = 0; i < TALKERS; i++) {
        if (all->running[i] != NULL) {
            atomic_store(&all->running[i]->gone, true);
        }
    }
    pthread_cond_broadcast(&all->more);
    pthread_mutex_unlock(&all->lock);
    for (size_t i = 0; i < all->n_threads; i++) {
        (void)pthread_join(all->list[i].thread, NULL);
    }
    for (talk *t = all->first, *next = NULL; t != NULL; t = next) {
        next = t->next;
        drop(t);
    }
    (void)pthread_cond_destroy(&all->more);
    (void)pthread_mutex_destroy(&all->lock);
    im_free(all);
}
