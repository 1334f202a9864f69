/* daemon/watch_tree.c — inotify watches of a root and every folder below it. Each folder is a node
 * under its parent, so that a path is made when it is needed and a folder that moves takes all
 * below it along. A folder is watched before its entries are read: what comes in between is told
 * twice, never missed. */
#include "daemon/watch_internal.h"

#include "base/base.h"
#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define MASK                                                                            \
    (IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)
#define READS_MOST 64 /* buffers of one call, so that what has settled gets its turn */

typedef struct node {
    int wd;
    struct node *parent; /* NULL: the root */
    char *name;          /* owned; of the root "" */
    struct node *child, *before, *next;
} node;

struct tree {
    const tree_options *options;
    int fd;
    void *by_wd, *by_name; /* search trees of the same nodes */
    node *root;
    size_t n;
    uint64_t events;
    bool full, far, no_memory;
    bool all; /* the walk tells of every file, not of young ones alone */
};

/* ---- nodes ---- */

static int compare_wd(const void *a, const void *b)
{
    int x = ((const node *)a)->wd;
    int y = ((const node *)b)->wd;
    return (x > y) - (x < y);
}

static int compare_name(const void *a, const void *b)
{
    const node *x = a;
    const node *y = b;
    if (x->parent != y->parent) {
        return (uintptr_t)x->parent < (uintptr_t)y->parent ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static node *find_wd(const tree *t, int wd)
{
    const node key = {.wd = wd};
    node *const *found = tfind(&key, &t->by_wd, compare_wd);
    return found != NULL ? *found : NULL;
}

static node *find_child(const tree *t, node *parent, const char *name)
{
    const node key = {.parent = parent, .name = (char *)(uintptr_t)name};
    node *const *found = tfind(&key, &t->by_name, compare_name);
    return found != NULL ? *found : NULL;
}

/* The node of a path below the root. */
static node *find_path(const tree *t, const char *below)
{
    char name[NAME_MAX + 1];
    node *at = t->root;
    while (at != NULL && below[0] != '\0') {
        size_t n = strcspn(below, "/");
        if (n > NAME_MAX) {
            return NULL;
        }
        memcpy(name, below, n);
        name[n] = '\0';
        at = find_child(t, at, name);
        below += n + (below[n] == '/');
    }
    return at;
}

static void unlink_node(tree *t, node *n)
{
    (void)tdelete(n, &t->by_name, compare_name);
    if (n->parent != NULL) {
        *(n->before != NULL ? &n->before->next : &n->parent->child) = n->next;
        if (n->next != NULL) {
            n->next->before = n->before;
        }
    }
    n->parent = n->before = n->next = NULL;
}

/* Takes the name. False when memory is out: the node is then nowhere. */
static bool link_node(tree *t, node *n, node *parent, char *name)
{
    im_free(n->name);
    n->name = name;
    n->parent = parent;
    if (name == NULL || tsearch(n, &t->by_name, compare_name) == NULL) {
        return false;
    }
    if (parent != NULL) {
        n->next = parent->child;
        if (n->next != NULL) {
            n->next->before = n;
        }
        parent->child = n;
    }
    return true;
}

static void free_node(tree *t, node *n, bool watched)
{
    if (watched) {
        (void)inotify_rm_watch(t->fd, n->wd);
    }
    (void)tdelete(n, &t->by_wd, compare_wd);
    unlink_node(t, n);
    t->root = t->root == n ? NULL : t->root;
    t->n--;
    im_free(n->name);
    im_free(n);
}

/* A folder with all below it, the deepest first. @param watched the system still watches the top
 * one */
static void drop_nodes(tree *t, node *top, bool watched)
{
    node *at = top;
    while (at->child != NULL || at != top) {
        if (at->child != NULL) {
            at = at->child;
        } else {
            node *parent = at->parent;
            free_node(t, at, true);
            at = parent;
        }
    }
    free_node(t, top, watched);
}

static void put_path(im_str *out, const tree *t, const node *n)
{
    const node *chain[PATH_MAX / 2];
    size_t depth = 0;
    for (; n->parent != NULL && depth < IM_COUNT(chain); n = n->parent) {
        chain[depth++] = n;
    }
    im_str_add_c(out, t->options->root);
    while (depth > 0) {
        if (out->size == 0 || out->data[out->size - 1] != '/') {
            im_str_add_char(out, '/');
        }
        im_str_add_c(out, chain[--depth]->name);
    }
}

/* ---- watches ---- */

/* The path below the root: "a/b" gives the node of "a", and "b". */
static node *parent_of(const tree *t, const char *below, const char **out_name)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(below, '/');
    size_t n = slash != NULL ? (size_t)(slash - below) : 0;
    *out_name = slash != NULL ? slash + 1 : below;
    if (n >= sizeof(folder)) {
        return NULL;
    }
    memcpy(folder, below, n);
    folder[n] = '\0';
    return find_path(t, folder);
}

/* The same folder under another name, or a new one. */
static void put_node(tree *t, int wd, const char *below)
{
    const char *name = "";
    bool is_root = below[0] == '\0';
    node *parent = is_root ? NULL : parent_of(t, below, &name);
    node *n = find_wd(t, wd);
    if (!is_root && parent == NULL) { /* it went while we looked: what comes in its place is told */
        if (n == NULL) {
            (void)inotify_rm_watch(t->fd, wd);
        }
        return;
    }
    for (const node *above = parent; above != NULL; above = above->parent) {
        if (above == n) {
            return; /* a mount of the folder below itself */
        }
    }
    node *there = is_root ? NULL : find_child(t, parent, name);
    if (there != NULL && there != n) {
        drop_nodes(t, there, true);
    }
    if (n != NULL && n == there) {
        return;
    }
    if (n != NULL) {
        unlink_node(t, n);
    } else {
        n = im_alloc_zero(1, sizeof(*n));
        if (n == NULL) {
            t->no_memory = true;
            return;
        }
        n->wd = wd;
        t->n++;
        if (tsearch(n, &t->by_wd, compare_wd) == NULL) {
            t->no_memory = true;
        }
    }
    t->root = is_root ? n : t->root;
    t->no_memory = !link_node(t, n, parent, im_strdup(name)) || t->no_memory;
}

static char *full_path(const tree *t, const char *below)
{
    return below[0] == '\0' ? im_strdup(t->options->root) : im_path_join(t->options->root, below);
}

static void watch_folder(tree *t, const char *below)
{
    char *path = full_path(t, below);
    if (path == NULL) {
        t->no_memory = true;
        return;
    }
    uint32_t mask = MASK | (below[0] != '\0' ? IN_DONT_FOLLOW : 0);
    int wd = inotify_add_watch(t->fd, path, mask);
    if (wd >= 0 && mounts_is_far(path)) {
        t->far = true;
    } else if (wd >= 0) {
        put_node(t, wd, below);
    } else if (errno == ENOSPC || errno == ENOMEM) {
        t->full = true;
    }
    im_free(path);
}

static bool take_met(void *context, im_walk_what what, const char *below,
                     const im_file_stamp *stamp)
{
    tree *t = context;
    if (what == IM_WALK_FOLDER) {
        watch_folder(t, below);
    } else if (what == IM_WALK_FILE && (t->all || watch_age(stamp) == SETTLE_OPENED)) {
        char *path = full_path(t, below);
        t->no_memory = t->no_memory || path == NULL;
        if (path != NULL) {
            t->options->note(t->options->context, path, watch_age(stamp));
        }
        im_free(path);
    }
    return !t->full && !t->far && !t->no_memory;
}

static im_code watch_below(tree *t, const char *below, bool all, im_error *err)
{
    bool complete = false;
    t->all = all;
    im_code rc = im_app_walk(t->options->library, t->options->root, below, t->options->recursive,
                             take_met, t, &complete, err);
    if (t->full) {
        return im_fail(err, IM_ERR_LIMIT, "the system watches no more folders than %zu of it",
                       t->n);
    }
    if (t->far) {
        return im_fail(err, IM_ERR_UNSUPPORTED, "a file system below does not tell of all changes");
    }
    return t->no_memory ? im_fail(err, IM_ERR_NOMEM, "no memory to follow a folder") : rc;
}

im_code tree_open(const tree_options *options, tree **out_tree, im_error *err)
{
    tree *t = im_alloc_zero(1, sizeof(*t));
    if (t == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to follow a folder");
    }
    t->options = options;
    t->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    im_code rc = t->fd >= 0 ? watch_below(t, "", false, err)
                            : im_fail(err, errno == ENFILE ? IM_ERR_IO : IM_ERR_LIMIT,
                                      "the system follows no more folders: %s", strerror(errno));
    if (rc == IM_OK && t->root == NULL) {
        rc = im_fail(err, IM_ERR_DENIED, "folder '%.200s' cannot be watched", options->root);
    }
    if (rc != IM_OK) {
        tree_close(t);
        t = NULL;
    }
    *out_tree = t;
    return rc;
}

void tree_close(tree *t)
{
    if (t == NULL) {
        return;
    }
    if (t->fd >= 0) {
        (void)close(t->fd); /* and with it all its watches */
        t->fd = -1;
    }
    if (t->root != NULL) {
        drop_nodes(t, t->root, false);
    }
    im_free(t);
}

/* ---- events ---- */

static void take_folder(tree *t, node *parent, const struct inotify_event *event, const char *path)
{
    const size_t n_root = strlen(t->options->root);
    const char *below = path + n_root + (path[n_root] == '/');
    node *known = find_child(t, parent, event->name);
    im_error ignored = IM_ERROR_INIT;
    if ((event->mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
        if (known != NULL) {
            drop_nodes(t, known, true);
        }
        t->options->note(t->options->context, path, SETTLE_GONE);
    } else if (t->options->recursive &&
               ((event->mask & (IN_CREATE | IN_MOVED_TO)) != 0 || known == NULL)) {
        (void)!watch_below(t, below, true, &ignored); /* what cannot be read is not followed */
    }
}

static void take_file(const tree *t, const struct inotify_event *event, const char *path)
{
    settle_what what = (event->mask & (IN_DELETE | IN_MOVED_FROM)) != 0 ? SETTLE_GONE
                       : (event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0
                           ? SETTLE_CLOSED
                           : SETTLE_OPENED; /* made, linked, or only its rights or dates changed */
    t->options->note(t->options->context, path, what);
}

static tree_state take_event(tree *t, const struct inotify_event *event)
{
    im_str path;
    t->events++;
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        return TREE_OVERFLOW;
    }
    node *n = find_wd(t, event->wd);
    if (n == NULL) {
        return TREE_GOOD; /* of a folder that was let go */
    }
    if ((event->mask & IN_UNMOUNT) != 0 ||
        (n == t->root && (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0)) {
        return TREE_LOST;
    }
    if ((event->mask & IN_IGNORED) != 0) {
        drop_nodes(t, n, false);
        return TREE_GOOD;
    }
    if (event->len == 0) {
        return TREE_GOOD; /* of the folder itself: its parent tells */
    }
    im_str_init(&path, IM_LIMIT_PATH_BYTES);
    put_path(&path, t, n);
    if (path.size > 0 && path.data[path.size - 1] != '/') {
        im_str_add_char(&path, '/');
    }
    im_str_add_c(&path, event->name);
    t->no_memory = t->no_memory || path.failed;
    if (!path.failed && (event->mask & IN_ISDIR) != 0) {
        take_folder(t, n, event, im_str_text(&path));
    } else if (!path.failed) {
        take_file(t, event, im_str_text(&path));
    }
    im_str_clear(&path);
    return t->full ? TREE_FULL : t->far ? TREE_LOST : t->no_memory ? TREE_OVERFLOW : TREE_GOOD;
}

tree_state tree_read(tree *t)
{
    _Alignas(struct inotify_event) char buffer[64u << 10];
    tree_state state = TREE_GOOD;
    for (int i = 0; i < READS_MOST && state == TREE_GOOD; i++) {
        ssize_t n = read(t->fd, buffer, sizeof(buffer));
        if (n <= 0) {
            break;
        }
        const struct inotify_event *event = NULL;
        for (ssize_t at = 0; at < n && state == TREE_GOOD;
             at += (ssize_t)(sizeof(*event) + event->len)) {
            event = (const struct inotify_event *)(const void *)(buffer + at);
            state = take_event(t, event);
        }
    }
    return state;
}

int tree_fd(const tree *t)
{
    return t->fd;
}

size_t tree_folders(const tree *t)
{
    return t->n;
}

uint64_t tree_events(const tree *t)
{
    return t->events;
}

settle_what watch_age(const im_file_stamp *stamp)
{
    int64_t age_ns = im_clock_wall_ns() - stamp->mtime_ns;
    return age_ns >= 0 && age_ns < WATCH_YOUNG_NS ? SETTLE_OPENED : SETTLE_CLOSED;
}
