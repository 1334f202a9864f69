/* daemon/watch_root.c — one root that is followed: found, lost, found again; its changes, once they
 * have settled, become jobs of at most FOLLOW_PATHS paths, one at a time, so that what comes while
 * the library is busy waits here. What cannot be known by changes is found by a walk (rescan). */
#include "daemon/watch_internal.h"

#include "base/base.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MS 1000000ull
#define LOOK_MS 1000u   /* between looks whether the root is the one that it was */
#define RETRY_MS 500u   /* of a job that could not be put */
#define BUSY_MS 50u     /* between looks whether the last job has ended */
#define LATER_MS 12000u /* by then files that were young are old enough for a rescan … */
#define LEFT_MS 3000u   /* … also those that had settled */

static void tell(const follow *f, const char *text, const im_error *why)
{
    im_str sentence;
    im_str_init(&sentence, 8 * IM_LIMIT_PATH_BYTES);
    im_str_add_c(&sentence, "followed folder '");
    im_text_escape(&sentence, f->root.path, strlen(f->root.path)); /* for terminals */
    im_str_addf(&sentence, "': %s", text);
    if (why != NULL) {
        im_str_addf(&sentence, " (%s)", why->message);
    }
    f->world->note(f->world->context, im_str_text(&sentence));
    im_str_clear(&sentence);
}

/* ---- what has settled ---- */

/* Whether somebody has the file open for writing: a read lease is given only when nobody has. It is
 * given back at once; the signal of a writer who comes in between is ignored (watch.c). Only the
 * owner of a file, or root, may ask so, and not every file system answers. */
static settle_writer writer_of(const char *path)
{
    settle_writer writer = SETTLE_WRITER_UNKNOWN;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return writer;
    }
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
        writer = SETTLE_WRITER_NONE;
        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    } else if (errno == EAGAIN) {
        writer = SETTLE_WRITER;
    }
    (void)close(fd);
    return writer;
}

static settle_sight look(void *context, const char *path)
{
    const follow *f = context;
    settle_sight sight = {0};
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        const im_file_stamp stamp = im_file_stamp_of(&st);
        sight.is_file = true;
        sight.size = stamp.size;
        sight.mtime_ns = stamp.mtime_ns;
        sight.writer = f->how == FOLLOW_TREE ? writer_of(path) : SETTLE_WRITER_UNKNOWN;
    }
    return sight;
}

static void note(void *context, const char *path, settle_what what)
{
    follow *f = context;
    if (!settle_note(f->settle, path, what, im_clock_ns())) {
        f->full = true;
    }
}

static void forget_held(follow *f)
{
    for (size_t i = 0; i < f->n_held; i++) {
        im_free(f->held[i]);
    }
    f->n_held = 0;
}

/* ---- lost and found ---- */

static bool is_in_place(const follow *f)
{
    struct stat st;
    return stat(f->root.path, &st) == 0 && S_ISDIR(st.st_mode) &&
           (uint64_t)st.st_dev == f->mark.device && (uint64_t)st.st_ino == f->mark.inode;
}

/* Whether all that went away was told, or would have been: not what went with a disk below it. */
static bool is_witnessed(const follow *f)
{
    return f->how == FOLLOW_TREE && is_in_place(f) &&
           mounts_below(f->world->mounts, f->root.path) == f->mounts;
}

static void let_go(follow *f)
{
    f->world->events += f->tree != NULL ? tree_events(f->tree) : 0;
    tree_close(f->tree);
    poll_free(f->list);
    f->tree = NULL;
    f->list = NULL;
    f->how = FOLLOW_LOST;
    f->readable = f->full = false;
    f->later_rescan_ns = 0;
    settle_forget_all(f->settle); /* the rescan finds it, if it is still so */
    forget_held(f);
}

static void lose(follow *f, uint64_t now_ns)
{
    let_go(f);
    f->rescan = false;
    f->next_ns = now_ns; /* it may be there again, as another one */
}

static void tell_lost(follow *f, const im_error *why)
{
    if (!f->lost_told) {
        tell(f, "not there, nothing of it is changed; it is looked for every second", why);
        f->lost_told = true;
    }
}

/* A job is to walk the root. One that waits to be put and is to ask about what is gone still does.
 */
static void want_rescan(follow *f, bool witnessed)
{
    f->witnessed = witnessed && (f->witnessed || !f->rescan);
    f->rescan = true;
}

/* Looked through from now on. */
static im_code begin_poll(follow *f, uint64_t now_ns, im_error *err)
{
    bool left = false; /* nothing can be gone yet */
    f->list = poll_new();
    im_code rc = f->list != NULL ? poll_look(f->list, &f->options, &left, err)
                                 : im_fail(err, IM_ERR_NOMEM, "no memory to follow a folder");
    if (rc != IM_OK) {
        poll_free(f->list);
        f->list = NULL;
        return rc;
    }
    f->how = FOLLOW_POLL;
    f->next_ns = now_ns + f->world->every_ns;
    f->world->polls++;
    return IM_OK;
}

static void tell_found(follow *f, const im_error *full)
{
    char text[160];
    unsigned long long every_s = f->world->every_ns / 1000000000u;
    if (f->how == FOLLOW_TREE) {
        (void)snprintf(text, sizeof(text), "followed, %zu folder%s", tree_folders(f->tree),
                       tree_folders(f->tree) == 1 ? "" : "s");
        tell(f, text, NULL);
    } else if (full != NULL) {
        (void)snprintf(text, sizeof(text),
                       "looked through every %llu s, because there are no more watches (raise "
                       "fs.inotify.max_user_watches, then SIGHUP)",
                       every_s);
        tell(f, text, full);
    } else {
        (void)snprintf(
            text, sizeof(text), "looked through every %llu s%s", every_s,
            f->world->poll_all ? "" : ", as a file system of it does not tell of all changes");
        tell(f, text, NULL);
    }
}

/* @param again it was followed until now, and the log knows
 * @param witnessed … as this very folder: what the rescan does not meet is gone */
static void find(follow *f, bool again, bool witnessed, uint64_t now_ns)
{
    struct stat st;
    im_error why = IM_ERROR_INIT;
    im_error full = IM_ERROR_INIT;
    im_code rc = IM_OK;
    f->next_ns = now_ns + LOOK_MS * MS;
    if (stat(f->root.path, &st) != 0) {
        rc = im_fail_errno(&why, errno, "could not look at it");
    } else if (!S_ISDIR(st.st_mode)) {
        rc = im_fail(&why, IM_ERR_INVALID, "no folder any more");
    }
    if (rc == IM_OK) {
        f->mark.device = (uint64_t)st.st_dev;
        f->mark.inode = (uint64_t)st.st_ino;
        f->full = false;
        f->mounts = mounts_below(f->world->mounts, f->root.path);
        rc = f->world->poll_all ? IM_ERR_UNSUPPORTED : tree_open(&f->options, &f->tree, &full);
    }
    if (rc == IM_OK) {
        f->how = FOLLOW_TREE;
        f->readable = true;
    } else if (rc == IM_ERR_UNSUPPORTED || rc == IM_ERR_LIMIT) {
        settle_forget_all(f->settle);
        rc = begin_poll(f, now_ns, &why);
    } else if (why.code == IM_OK) {
        why = full;
    }
    if (rc == IM_OK && !is_in_place(f)) {
        rc = im_fail(&why, IM_ERR_NOT_FOUND, "it went while it was looked through");
        let_go(f);
    }
    if (rc != IM_OK) {
        tell_lost(f, &why);
        return;
    }
    f->later_rescan_ns = f->full ? now_ns + LATER_MS * MS : 0;
    f->full = false;
    want_rescan(f, witnessed && f->how == FOLLOW_TREE);
    f->lost_told = false;
    if (!again) {
        tell_found(f, full.code == IM_ERR_LIMIT ? &full : NULL);
    }
}

/* Some changes are not known: the folder is walked by us for its watches and by a job for its
 * files. */
static void begin_again(follow *f, uint64_t now_ns)
{
    bool witnessed = is_witnessed(f);
    f->world->overflows++;
    tell(f, "more has changed than could be kept: it is walked again", NULL);
    let_go(f);
    find(f, true, witnessed, now_ns);
}

/* ---- handed over ---- */

static void put_rescan(follow *f, uint64_t now_ns)
{
    im_watch_mark mark = f->mark;
    im_error error = IM_ERROR_INIT;
    uint64_t job = 0;
    mark.witnessed = f->witnessed;
    if (im_app_watch_rescan(f->world->library, &mark, &job, &error) == IM_OK) {
        f->rescan = false;
        f->world->rescans++;
        f->world->put(f->world->context, f->root.id, 0, job);
    } else {
        f->retry_ns = now_ns + RETRY_MS * MS;
    }
}

/* Puts what is held. It stays so until it could be put. */
static void put_held(follow *f, uint64_t now_ns)
{
    im_error error = IM_ERROR_INIT;
    f->mark.witnessed = f->how == FOLLOW_TREE;
    if (im_app_watch_put(f->world->library, &f->mark, (const char *const *)f->held, f->n_held,
                         &f->job, &error) == IM_OK) {
        f->world->put(f->world->context, f->root.id, f->n_held, f->job);
        forget_held(f);
    } else {
        f->retry_ns = now_ns + RETRY_MS * MS;
    }
}

/* Whether the last batch is still to be taken. What was left of it (somebody stopped its job, or
 * the folder went for a moment) a walk finds. */
static bool is_busy(follow *f, uint64_t now_ns)
{
    if (f->job == 0 || now_ns < f->job_look_ns) {
        return f->job != 0;
    }
    im_watch_batch batch = im_app_watch_look(f->world->library, f->job);
    if (batch == IM_WATCH_BATCH_LEFT) {
        f->later_rescan_ns = IM_MAX(f->later_rescan_ns, now_ns + LEFT_MS * MS);
    }
    f->job_look_ns = now_ns + BUSY_MS * MS;
    f->job = batch == IM_WATCH_BATCH_OPEN ? f->job : 0;
    return f->job != 0;
}

/* @return when to go on */
static uint64_t hand_over(follow *f, uint64_t now_ns)
{
    if (f->retry_ns > now_ns) {
        return f->retry_ns;
    }
    bool busy = is_busy(f, now_ns);
    if (f->rescan) {
        put_rescan(f, now_ns);
    }
    if (f->n_held == 0 && settle_due_ns(f->settle) <= now_ns) {
        if (busy) {
            return f->job_look_ns;
        }
        f->n_held = settle_take(f->settle, now_ns, look, f, f->held, FOLLOW_PATHS);
    }
    if (f->n_held > 0) {
        put_held(f, now_ns);
    }
    return f->rescan || f->n_held > 0 ? f->retry_ns : settle_due_ns(f->settle);
}

/* ---- steps ---- */

static void step_tree(follow *f, uint64_t now_ns)
{
    tree_state state = f->readable ? tree_read(f->tree) : TREE_GOOD;
    bool mounted = f->mounts_changed && mounts_below(f->world->mounts, f->root.path) != f->mounts;
    f->readable = f->mounts_changed = false;
    if (state == TREE_LOST || state == TREE_FULL || mounted ||
        (now_ns >= f->next_ns && !is_in_place(f))) {
        lose(f, now_ns);
    } else if (state == TREE_OVERFLOW || f->full) {
        begin_again(f, now_ns);
    } else if (now_ns >= f->next_ns) {
        f->next_ns = now_ns + LOOK_MS * MS;
    }
}

static void step_poll(follow *f, uint64_t now_ns)
{
    bool left = false;
    im_error error = IM_ERROR_INIT;
    if (now_ns < f->next_ns) {
        return;
    }
    if (!is_in_place(f) || poll_look(f->list, &f->options, &left, &error) != IM_OK) {
        lose(f, now_ns);
        return;
    }
    if (left) {
        want_rescan(f, false);
    }
    f->world->polls++;
    f->next_ns = im_clock_ns() + f->world->every_ns;
    if (f->full) {
        begin_again(f, now_ns);
    }
}

uint64_t follow_step(follow *f, uint64_t now_ns)
{
    if (f->how == FOLLOW_TREE) {
        step_tree(f, now_ns);
    } else if (f->how == FOLLOW_POLL) {
        step_poll(f, now_ns);
    }
    if (f->how == FOLLOW_LOST && now_ns >= f->next_ns) {
        find(f, false, false, now_ns);
    }
    if (f->later_rescan_ns != 0 && now_ns >= f->later_rescan_ns) {
        f->later_rescan_ns = 0;
        want_rescan(f, false);
    }
    uint64_t due_ns = f->how != FOLLOW_LOST ? hand_over(f, now_ns) : UINT64_MAX;
    return IM_MIN(due_ns, f->next_ns);
}

/* ---- made and freed ---- */

follow *follow_new(follow_world *world, const im_root *root)
{
    follow *f = im_alloc_zero(1, sizeof(*f));
    if (f == NULL) {
        return NULL;
    }
    f->world = world;
    f->root = *root;
    f->root.path = im_strdup(root->path);
    f->settle = settle_new();
    f->held = im_alloc_zero(FOLLOW_PATHS, sizeof(*f->held));
    if (f->root.path == NULL || f->settle == NULL || f->held == NULL) {
        follow_free(f);
        return NULL;
    }
    f->mark.root = root->id;
    f->options = (tree_options){.library = world->library,
                                .root = f->root.path,
                                .recursive = root->recursive,
                                .note = note,
                                .context = f};
    return f;
}

void follow_free(follow *f)
{
    if (f == NULL) {
        return;
    }
    if (f->settle != NULL && f->held != NULL) {
        let_go(f);
    }
    settle_free(f->settle);
    im_free(f->held);
    im_root_clear(&f->root);
    im_free(f);
}

bool follow_is(const follow *f, const im_root *root)
{
    return f->root.id == root->id && f->root.recursive == root->recursive &&
           strcmp(f->root.path, root->path) == 0;
}
