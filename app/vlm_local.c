/* app/vlm_local.c — the llama-server of a library: started, watched, started again, and told to
 * those who ask the library's model by a file that only its user can read. */
#include "app/vlm_internal.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "vlm-server"
#define FILE_BYTES 8192u
#define RESTARTS 5u
#define STEADY_MS 60000.0 /* after so long a failure is the first again */
#define PORT_TRIES 3u
#define LOOKS 20        /* 5 ms apart, while somebody else is at the file */
#define MANY_LOOKS 1000 /* while it is only looked at */
#define STEP_MS 200u
#define STOP_MS 15000.0

/* ---- the file ---- */

/* {"pid","by","ready","key","server":{…}}. Whoever keeps the server holds the flock of it, which
 * the kernel takes back when that process dies: what no one holds says nothing. It is never
 * replaced by another file, so it is written in place, in one piece. */
typedef struct local_file {
    int fd;
} local_file;

static char *file_path(const char *folder)
{
    return im_path_join(folder, FILE_NAME);
}

static im_code file_open(const char *folder, int flags, int *out_fd, im_error *err)
{
    char *path = file_path(folder);
    im_code rc = path != NULL ? im_file_open(path, flags, 0600, out_fd, err)
                              : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    im_free(path);
    return rc;
}

static void pause_ms(long ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* What the file says now; NULL when it says nothing. Whoever writes may be at it: looked at again.
 */
static json_t *file_read(int fd)
{
    char text[FILE_BYTES];
    json_t *root = NULL;
    for (int i = 0; i < LOOKS && root == NULL; i++) {
        ssize_t n = pread(fd, text, sizeof(text), 0);
        if (n <= 0) {
            return NULL;
        }
        if (im_json_parse(text, (size_t)n, FILE_NAME, &root, NULL) != IM_OK) {
            pause_ms(5);
        }
    }
    return root;
}

static im_code file_write(const local_file *file, const im_vlm_server *server, const char *key,
                          const char *by, im_error *err)
{
    im_json_writer w;
    im_json_init(&w, FILE_BYTES);
    im_json_begin_object(&w);
    im_json_put_int(&w, "pid", getpid());
    im_json_put_string(&w, "by", by);
    im_json_put_bool(&w, "ready", server != NULL);
    if (server != NULL) {
        im_json_put_string(&w, "key", key);
        im_json_key(&w, "server");
        im_vlm_server_json(&w, server);
    }
    im_json_end_object(&w);
    im_code rc = im_json_ok(&w)
                     ? im_file_pwrite(file->fd, im_str_text(&w.out), w.out.size, 0, FILE_NAME, err)
                     : im_fail(err, IM_ERR_NOMEM, "no memory for the file of a server");
    if (rc == IM_OK && ftruncate(file->fd, (off_t)w.out.size) != 0) {
        rc = im_fail_errno(err, errno, "could not write '%s'", FILE_NAME);
    }
    im_json_clear(&w);
    return rc;
}

static im_code fail_kept(int fd, im_error *err)
{
    json_t *root = file_read(fd);
    const char *by = json_string_value(json_object_get(root, "by"));
    im_code rc = im_fail(err, IM_ERR_CONFLICT,
                         "process %lld ('imago %s') keeps a llama-server for this library already",
                         (long long)json_integer_value(json_object_get(root, "pid")),
                         by != NULL ? by : "vlm start");
    im_hint(err, "'imago vlm status' tells of it, 'imago vlm stop' ends it");
    json_decref(root);
    return rc;
}

/* Who only looks (file_look) shares the lock for a moment; who keeps a server lets nobody share. */
static bool is_kept(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK;
    }
    (void)flock(fd, LOCK_UN);
    return false;
}

/* Those who only look are waited for, five seconds at most. */
static bool lock_alone(int fd)
{
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    int looks = 0;
    for (int i = 0; !locked && errno == EWOULDBLOCK && looks < LOOKS && i < MANY_LOOKS; i++) {
        looks += is_kept(fd) ? 1 : 0;
        pause_ms(5);
        locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    }
    return locked;
}

static im_code file_take(const char *folder, const char *by, local_file *out, im_error *err)
{
    out->fd = -1;
    im_code rc = file_open(folder, O_RDWR | O_CREAT, &out->fd, err);
    if (rc == IM_OK && !lock_alone(out->fd)) {
        rc = errno == EWOULDBLOCK ? fail_kept(out->fd, err)
                                  : im_fail_errno(err, errno, "could not lock '%s'", FILE_NAME);
    }
    if (rc == IM_OK && fchmod(out->fd, 0600) != 0) {
        rc = im_fail_errno(err, errno, "could not keep '%s' from others", FILE_NAME);
    }
    if (rc == IM_OK) {
        rc = file_write(out, NULL, NULL, by, err);
    }
    if (rc != IM_OK && out->fd >= 0) {
        (void)close(out->fd);
        out->fd = -1;
    }
    return rc;
}

static void file_give_up(local_file *file)
{
    if (file->fd >= 0) {
        (void)!ftruncate(file->fd, 0);
        (void)close(file->fd);
        file->fd = -1;
    }
}

/* A file that another user put there, or could write to, would name a server of theirs. */
static bool is_ours(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && info.st_uid == geteuid() && (info.st_mode & 077) == 0;
}

/* What it says while somebody keeps a server; NULL: nobody does. */
static json_t *file_look(const char *folder)
{
    json_t *root = NULL;
    int fd = -1;
    if (file_open(folder, O_RDONLY, &fd, NULL) != IM_OK) {
        return NULL;
    }
    if (is_ours(fd) && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        root = file_read(fd);
    }
    (void)close(fd);
    return root;
}

im_code vlm_local_find(const char *folder, im_vlm_server *out, char **out_key, bool *out_found,
                       im_error *err)
{
    json_t *root = file_look(folder);
    const json_t *server = json_object_get(root, "server");
    const char *key = json_string_value(json_object_get(root, "key"));
    char *text = NULL;
    im_code rc = IM_OK;
    *out_found = false;
    if (root != NULL && !json_is_true(json_object_get(root, "ready"))) {
        rc = im_fail(err, IM_ERR_BUSY, "the llama-server of this library is not ready yet");
        im_hint(err, "'imago vlm status' tells when it is");
    } else if (key != NULL) {
        text = json_dumps(server, JSON_COMPACT);
        *out_key = im_strdup(key);
        rc = text != NULL && *out_key != NULL
                 ? im_vlm_server_read(im_view_from(text), out, err)
                 : im_fail(err, IM_ERR_NOMEM, "no memory for a server");
        *out_found = rc == IM_OK;
    }
    im_free(text); /* jansson allocates through base/memory.h */
    json_decref(root);
    return rc;
}

/* ---- one run of the server ---- */

typedef struct keeping {
    im_library *library;
    const im_vlm_keep_request *request;
    const im_events *events;
    im_vlm_local_plan plan;
    local_file file;
    im_vlm_local_listener listener;
    const char *stage;
} keeping;

static void on_waiting(void *context, double seconds)
{
    const keeping *k = context;
    const im_progress progress = {
        .stage = k->stage, .done = (uint64_t)seconds, .seconds = seconds, .eta_s = -1};
    event_progress(k->events, &progress);
}

static void on_line(void *context, const char *line)
{
    const keeping *k = context;
    if (k->request->line != NULL) {
        k->request->line(k->request->context, line);
    }
}

/* Whether it can judge pictures, and how: as of `imago vlm probe`, with its line of vlm_audit. */
static im_code probe(const keeping *k, const im_vlm_local *local, im_vlm_server *out, im_error *err)
{
    const im_vlm_server *server = im_vlm_local_server(local);
    const im_vlm_request request = {.url = server->url,
                                    .model = server->model,
                                    .profile = server->profile,
                                    .key = im_vlm_local_key(local),
                                    .deadline_ms = 300000, /* the first picture warms it up */
                                    .item_ms = 300000};
    vlm_use use;
    im_code rc = vlm_use_open(k->library, &request, true, &use, err);
    if (rc == IM_OK) {
        rc = vlm_use_probe(&use, err);
    }
    *out = use.server;
    memcpy(out->id, server->id, sizeof(out->id));
    vlm_use_close(&use);
    return rc;
}

/* A port that another program took meanwhile is no fault of the model: once more with another. */
static im_code start(keeping *k, im_vlm_local **out, im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    im_code rc = IM_ERR_CONFLICT;
    for (unsigned i = 0; rc == IM_ERR_CONFLICT && i < PORT_TRIES && !im_stop_asked(); i++) {
        cause = (im_error)IM_ERROR_INIT;
        rc = im_vlm_local_open(&k->plan, k->request->wait_ms, &k->listener, out, &cause);
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    return rc;
}

/* From its start to its end; *out_ready_ms is how long it could be asked. IM_OK: we were to stop.
 */
static im_code run_once(keeping *k, double *out_ready_ms, im_error *err)
{
    im_vlm_local *local = NULL;
    im_vlm_server server;
    *out_ready_ms = 0;
    im_code rc = start(k, &local, err);
    if (rc == IM_OK) {
        rc = probe(k, local, &server, err);
    }
    if (rc == IM_OK) {
        rc = file_write(&k->file, &server, im_vlm_local_key(local), k->request->by, err);
    }
    if (rc == IM_OK) {
        uint64_t since = im_clock_ns();
        if (k->request->ready != NULL) {
            k->request->ready(k->request->context, &server, im_vlm_local_pid(local));
        }
        while (!im_stop_asked() && im_vlm_local_wait(local, STEP_MS)) {
        }
        *out_ready_ms = im_clock_ms_since(since);
        im_code withdrawn = file_write(&k->file, NULL, NULL, k->request->by, err);
        rc = im_stop_asked() ? IM_OK : im_vlm_local_why(local, err);
        rc = rc == IM_OK ? withdrawn : rc;
    }
    im_vlm_local_close(local);
    return rc;
}

/* ---- again and again ---- */

static bool pause_before_restart(const keeping *k, unsigned failures, const im_error *why)
{
    char sentence[sizeof(why->message) + 64];
    unsigned seconds = 1u << IM_MIN(failures - 1, 5u);
    uint64_t start_ns = im_clock_ns();
    (void)snprintf(sentence, sizeof(sentence), "%s; started again in %u s", why->message, seconds);
    event_warning(k->events, sentence);
    while (!im_stop_asked() && im_clock_ms_since(start_ns) < seconds * 1000.0) {
        pause_ms(50);
    }
    return !im_stop_asked();
}

static im_code give_up(unsigned failures, const im_error *why, im_error *err)
{
    return im_fail(err, why->code, "given up after %u failures in a row: %s", failures,
                   why->message);
}

/* A server that never was ready has something wrong with it that another start would not mend. */
static im_code keep(keeping *k, im_error *err)
{
    unsigned most = k->request->restarts_set ? k->request->restarts : RESTARTS;
    unsigned failures = 0;
    bool was_ready = false;
    im_code rc = IM_OK;
    for (bool again = true; again;) {
        im_error cause = IM_ERROR_INIT;
        double ready_ms = 0;
        k->stage = was_ready ? "starting llama-server again" : "starting llama-server";
        rc = run_once(k, &ready_ms, &cause);
        was_ready = was_ready || ready_ms > 0;
        failures = ready_ms >= STEADY_MS ? 1 : failures + 1;
        again = false;
        if (rc == IM_OK || im_stop_asked()) {
            rc = IM_OK;
        } else if (!was_ready) {
            rc = cause.code;
            if (err != NULL) {
                *err = cause;
            }
        } else if (failures > most) {
            rc = give_up(failures, &cause, err);
        } else {
            again = pause_before_restart(k, failures, &cause);
            rc = IM_OK;
        }
    }
    return rc;
}

im_code im_app_vlm_keep_check(const im_vlm_keep_request *request, im_error *err)
{
    im_vlm_local_plan *plan = im_alloc(1, sizeof(*plan));
    im_code rc = plan != NULL ? im_vlm_local_plan_of(&request->server, plan, err)
                              : im_fail(err, IM_ERR_NOMEM, "no memory for a server");
    im_free(plan);
    return rc;
}

im_code im_app_vlm_keep(im_library *library, const im_vlm_keep_request *request,
                        const im_events *events, im_error *err)
{
    keeping *k = im_alloc_zero(1, sizeof(*k));
    if (k == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a server");
    }
    *k = (keeping){.library = library,
                   .request = request,
                   .events = events,
                   .file = {-1},
                   .listener = {k, on_waiting, on_line}};
    im_code rc = im_vlm_local_plan_of(&request->server, &k->plan, err);
    if (rc == IM_OK) {
        rc = file_take(library->folder, request->by, &k->file, err);
    }
    if (rc == IM_OK) {
        rc = keep(k, err);
    }
    file_give_up(&k->file);
    im_free(k);
    return rc;
}

/* ---- told, ended ---- */

im_code im_app_vlm_status_json(im_library *library, im_json_writer *w, im_error *err)
{
    json_t *root = file_look(library->folder);
    const json_t *server = json_object_get(root, "server");
    const char *state = root == NULL                                   ? "none"
                        : json_is_true(json_object_get(root, "ready")) ? "ready"
                                                                       : "starting";
    char *kept = NULL;
    im_vlm_server probed = {0};
    im_code rc = im_store_get_setting(library->store, VLM_SERVER_SETTING, &kept, err);
    im_json_begin_object(w);
    im_json_put_string(w, "local", state);
    if (root != NULL) {
        im_json_put_int(w, "pid", json_integer_value(json_object_get(root, "pid")));
        im_json_put_string(w, "by", json_string_value(json_object_get(root, "by")));
    }
    if (server != NULL) {
        im_json_put_string(w, "url", json_string_value(json_object_get(server, "url")));
        im_json_put_string(w, "model", json_string_value(json_object_get(server, "model")));
        im_json_put_string(w, "mode", json_string_value(json_object_get(server, "mode")));
    }
    if (rc == IM_OK && kept != NULL) {
        rc = im_vlm_server_read(im_view_from(kept), &probed, err);
    }
    im_json_key(w, "probed");
    if (rc == IM_OK && kept != NULL) {
        im_json_begin_object(w);
        im_json_put_string(w, "url", probed.url);
        im_json_put_string(w, "model", probed.model);
        im_json_put_string(w, "profile", im_vlm_profile_name(probed.profile));
        im_json_put_string(w, "mode", im_vlm_mode_name(probed.mode));
        im_json_end_object(w);
    } else {
        im_json_null(w);
    }
    im_json_end_object(w);
    im_free(kept);
    json_decref(root);
    return rc;
}

im_code im_app_vlm_stop(im_library *library, im_error *err)
{
    json_t *root = file_look(library->folder);
    const char *by = json_string_value(json_object_get(root, "by"));
    pid_t pid = (pid_t)json_integer_value(json_object_get(root, "pid"));
    bool ours = by != NULL && strcmp(by, IM_VLM_KEPT_BY_START) == 0;
    im_code rc = IM_OK;
    if (root == NULL || pid <= 1) {
        rc = im_fail(err, IM_ERR_NOT_FOUND, "no llama-server is kept for this library");
    } else if (!ours) {
        rc = im_fail(err, IM_ERR_CONFLICT, "the llama-server ends with 'imago %s', process %d",
                     by != NULL ? by : "serve", (int)pid);
        im_hint(err, "end that: kill %d", (int)pid);
    } else if (kill(pid, SIGTERM) != 0) {
        rc = im_fail_errno(err, errno, "could not end process %d", (int)pid);
    }
    json_decref(root);
    uint64_t start_ns = im_clock_ns();
    while (rc == IM_OK && (root = file_look(library->folder)) != NULL) {
        json_decref(root);
        if (im_clock_ms_since(start_ns) > STOP_MS) {
            rc = im_fail(err, IM_ERR_TIMEOUT, "process %d has not ended in %d s", (int)pid,
                         (int)(STOP_MS / 1000));
        }
        pause_ms(50);
    }
    return rc;
}
