/* app/scan.c — the walk over a root. Folders wait on a stack as relative paths and are opened one
 * at a time: depth costs neither descriptors nor stack. A path longer than the system can open is
 * one path_too_long failure and the walk goes on. Links: not followed unless asked; then a link to
 * a folder leads to its real place, each folder is walked once (device and inode), and a link to
 * the root or above is a loop. */
#include "app/app_internal.h"
#include "app/scan_internal.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct folder_id {
    dev_t device;
    ino_t inode;
} folder_id;

typedef struct walk {
    const char *root;
    char real_root[PATH_MAX];
    const scan_options *options;
    scan_fn fn;
    void *context;
    char **stack; /* relative paths of folders still to be walked */
    size_t n_stack, stack_capacity;
    folder_id leave_out; /* inode 0: none */
    folder_id *visited;  /* only when links are followed */
    size_t n_visited, visited_capacity;
    bool complete;
    bool stopped;
    bool no_memory;
} walk;

static bool grow(void **array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity) {
        return true;
    }
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = im_realloc(*array, wanted, size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *capacity = wanted;
    return true;
}

static void tell(walk *w, const scan_entry *entry)
{
    if (!w->fn(w->context, entry)) {
        w->stopped = true;
    }
}

static void tell_failed(walk *w, const char *path, const im_error *error)
{
    scan_entry entry = {.what = SCAN_FAILED, .path = path, .error = error};
    w->complete = false;
    tell(w, &entry);
}

static void push(walk *w, char *relative) /* takes relative */
{
    if (relative == NULL ||
        !grow((void **)&w->stack, w->n_stack, &w->stack_capacity, sizeof(*w->stack))) {
        im_free(relative);
        w->no_memory = true;
        return;
    }
    w->stack[w->n_stack++] = relative;
}

static char *join(const char *folder, const char *name)
{
    return folder[0] == '\0' ? im_strdup(name) : im_path_join(folder, name);
}

/* True when the folder was walked before; else remembers it. */
static bool visit(walk *w, const struct stat *st)
{
    for (size_t i = 0; i < w->n_visited; i++) {
        if (w->visited[i].device == st->st_dev && w->visited[i].inode == st->st_ino) {
            return true;
        }
    }
    if (!grow((void **)&w->visited, w->n_visited, &w->visited_capacity, sizeof(*w->visited))) {
        w->no_memory = true;
        return true;
    }
    w->visited[w->n_visited++] = (folder_id){st->st_dev, st->st_ino};
    return false;
}

static bool is_left_out(const walk *w, const char *relative, const struct stat *st)
{
    return w->leave_out.inode != 0 && relative[0] != '\0' && w->leave_out.device == st->st_dev &&
           w->leave_out.inode == st->st_ino;
}

/* A link that may be followed: to a file, or to a folder that is neither above the root nor holds
 * it. */
static bool leads_above(const walk *w, const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL) {
        return true;
    }
    size_t n = strlen(real);
    return strncmp(w->real_root, real, n) == 0 &&
           (w->real_root[n] == '/' || w->real_root[n] == '\0' || n == 1);
}

static void take_link(walk *w, int dir, const char *name, const char *relative, const char *full)
{
    struct stat st;
    scan_entry entry = {.what = SCAN_LINK, .path = relative};
    if (w->options->follow_links && fstatat(dir, name, &st, 0) == 0) {
        if (S_ISREG(st.st_mode)) {
            entry.what = SCAN_FILE;
            entry.stamp = im_file_stamp_of(&st);
        } else if (S_ISDIR(st.st_mode) && leads_above(w, full)) {
            entry.what = SCAN_LOOP;
        } else if (S_ISDIR(st.st_mode)) {
            push(w, im_strdup(relative));
            return;
        }
    }
    tell(w, &entry);
}

static void take_entry(walk *w, int dir, const char *folder, const char *name)
{
    struct stat st;
    char full[PATH_MAX];
    char *relative = join(folder, name);
    if (relative == NULL) {
        w->no_memory = true;
        return;
    }
    int n = snprintf(full, sizeof(full), "%s/%s", w->root, relative);
    if (n < 0 || (size_t)n >= sizeof(full)) {
        im_error error = IM_ERROR_INIT;
        im_code rc = im_fail_as(&error, IM_REASON_PATH_TOO_LONG,
                                "path of %zu bytes, the system opens at most %d: '%.100s…'",
                                strlen(w->root) + 1 + strlen(relative), PATH_MAX - 1, relative);
        (void)rc;
        tell_failed(w, relative, &error);
    } else if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) { /* gone since the folder was read: nothing to tell */
            im_error error = IM_ERROR_INIT;
            im_code rc = im_fail_errno(&error, errno, "could not look at '%s'", full);
            (void)rc;
            tell_failed(w, relative, &error);
        }
    } else if (S_ISLNK(st.st_mode)) {
        take_link(w, dir, name, relative, full);
    } else if (S_ISDIR(st.st_mode)) {
        if (w->options->recursive) {
            push(w, relative);
            return;
        }
    } else {
        scan_entry entry = {.what = S_ISREG(st.st_mode) ? SCAN_FILE : SCAN_SPECIAL,
                            .path = relative,
                            .stamp = im_file_stamp_of(&st)};
        tell(w, &entry);
    }
    im_free(relative);
}

/* All names of an open folder, sorted; returns errno, 0 when all were read. */
static int read_names(walk *w, DIR *dir, name_list *list)
{
    for (;;) {
        errno = im_fault_hit(IM_FAULT_READ) ? errno : 0;
        struct dirent *entry = errno != 0 ? NULL : readdir(dir);
        if (entry == NULL) {
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (!name_list_add(list, entry->d_name)) {
            w->no_memory = true;
            return ENOMEM;
        }
    }
    int failed = errno;
    name_list_sort(list);
    return failed;
}

/* Folders found are pushed in order and taken from the top, so turn this folder's share around. */
static void turn_around(walk *w, size_t from)
{
    size_t to = w->n_stack;
    while (from + 1 < to) {
        char *kept = w->stack[from];
        w->stack[from++] = w->stack[--to];
        w->stack[to] = kept;
    }
}

static im_code walk_folder(walk *w, const char *relative, im_error *err)
{
    char full[PATH_MAX];
    struct stat st;
    name_list list = {0};
    DIR *dir = NULL;
    im_code rc = IM_OK;
    size_t mark = w->n_stack;
    int n = relative[0] == '\0' ? snprintf(full, sizeof(full), "%s", w->root)
                                : snprintf(full, sizeof(full), "%s/%s", w->root, relative);
    if (n < 0 || (size_t)n >= sizeof(full)) {
        return im_fail_as(err, IM_REASON_PATH_TOO_LONG, "folder path above %d bytes: '%.100s…'",
                          PATH_MAX - 1, relative);
    }
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK;
    int fd = -1;
    rc = im_file_open(full, flags, 0, &fd, err);
    if (rc != IM_OK) {
        return rc;
    }
    dir = fdopendir(fd);
    if (dir == NULL || fstat(fd, &st) != 0) {
        rc = im_fail_errno(err, errno, "could not read folder '%s'", full);
        if (dir == NULL) {
            close(fd);
        }
        goto out;
    }
    if (is_left_out(w, relative, &st) || (w->options->follow_links && visit(w, &st))) {
        goto out;
    }
    if (w->options->folders) { /* before its entries: who follows it misses none of them */
        tell(w, &(scan_entry){.what = SCAN_FOLDER, .path = relative});
    }
    int failed = read_names(w, dir, &list);
    if (failed != 0) {
        rc = im_fail_errno(err, failed, "could not read folder '%s'", full);
    }
    for (size_t i = 0; i < list.n && !w->stopped && !w->no_memory; i++) {
        take_entry(w, fd, relative, list.names[i]);
    }
    turn_around(w, mark);
out:
    if (dir != NULL) {
        closedir(dir);
    }
    name_list_clear(&list);
    return rc;
}

im_code scan_walk(const char *root, const char *below, const scan_options *options, scan_fn fn,
                  void *context, bool *out_complete, im_error *err)
{
    walk w = {.root = root, .options = options, .fn = fn, .context = context, .complete = true};
    im_code rc = IM_OK;
    struct stat st;
    if (options->leave_out != NULL && stat(options->leave_out, &st) == 0) {
        w.leave_out = (folder_id){st.st_dev, st.st_ino};
    }
    if (realpath(root, w.real_root) == NULL) {
        return im_fail_errno(err, errno, "could not look at folder '%s'", root);
    }
    rc = walk_folder(&w, below, err);
    while (rc == IM_OK && w.n_stack > 0 && !w.stopped && !w.no_memory && !im_stop_asked()) {
        char *folder = w.stack[--w.n_stack];
        im_error error = IM_ERROR_INIT;
        im_code failed = walk_folder(&w, folder, &error);
        if (failed == IM_ERR_NOT_FOUND) {
            failed = IM_OK; /* removed while we walked */
        }
        if (failed != IM_OK) {
            tell_failed(&w, folder, &error);
        }
        im_free(folder);
    }
    if (rc == IM_OK && w.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory to walk folder '%s'", root);
    }
    *out_complete = w.complete && w.n_stack == 0 && !w.stopped && rc == IM_OK;
    while (w.n_stack > 0) {
        im_free(w.stack[--w.n_stack]);
    }
    im_free(w.stack);
    im_free(w.visited);
    return rc;
}
