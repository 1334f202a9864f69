/* daemon/watch_internal.h — the pieces of following folders: what the system tells of them (a tree
 * of inotify watches), or what is seen by looking every so often. */
#ifndef IM_DAEMON_WATCH_INTERNAL_H
#define IM_DAEMON_WATCH_INTERNAL_H

#include "app/app.h"
#include "daemon/watch_settle_internal.h"

#define WATCH_YOUNG_NS 10000000000 /* a file that changed since may still be written */

/** Told of each change. @param path absolute */
typedef void (*watch_note_fn)(void *context, const char *path, settle_what what);

/** A file that was met: whether it can be taken for whole by its age. */
settle_what watch_age(const im_file_stamp *stamp);

/* ---- watch_tree.c ---- */

typedef struct tree tree;

typedef struct tree_options {
    im_library *library;
    const char *root;
    bool recursive;
    watch_note_fn note;
    void *context;
} tree_options;

/** Watches a root and all folders below it, then tells of each file that changed within
 * WATCH_YOUNG_NS: who closed it before the watch is not known. options are borrowed until the end.
 * @return IM_ERR_LIMIT when the system allows no more watches; IM_ERR_UNSUPPORTED when a file
 * system of it does not tell of all changes; IM_ERR_NOT_FOUND, IM_ERR_IO … */
IM_NODISCARD im_code tree_open(const tree_options *options, tree **out_tree, im_error *err);
void tree_close(tree *t);

typedef enum tree_state {
    TREE_GOOD,
    TREE_OVERFLOW, /* changes came faster than they were read: some are not known */
    TREE_LOST,     /* the root was moved, deleted or unmounted, or a folder below was unmounted */
    TREE_FULL      /* a new folder cannot be watched any more */
} tree_state;
/** Reads what the system told so far. */
tree_state tree_read(tree *t);
/** To be waited for. */
int tree_fd(const tree *t);
size_t tree_folders(const tree *t);
uint64_t tree_events(const tree *t);

/* ---- watch_poll.c ---- */

typedef struct poll_list poll_list;

/** What is below a root now. NULL when memory is out. */
poll_list *poll_new(void);
void poll_free(poll_list *list);
/** Looks, and tells what is another than at the last look; at the first, of young files alone.
 * @param out_left much was gone, or all: nothing was told of that, a walk of the whole has to
 * judge whether it is to be believed
 * @return as im_app_walk */
IM_NODISCARD im_code poll_look(poll_list *list, const tree_options *options, bool *out_left,
                               im_error *err);

/* ---- watch_mounts.c ---- */

/** Whether others than this machine may change what lies there. */
bool mounts_is_far(const char *path);
/** Of the table of mounts; poll(2) tells POLLERR | POLLPRI when it has changed. -1: there is none.
 */
int mounts_open(void);
/** Another number when what is mounted below a root (not on it) has changed. */
uint32_t mounts_below(int fd, const char *root);

/* ---- watch_root.c: one root that is followed ---- */

typedef enum follow_how {
    FOLLOW_LOST, /* not there: looked for every second */
    FOLLOW_TREE, /* the system tells */
    FOLLOW_POLL  /* looked through every so often */
} follow_how;

/** What all roots share. */
typedef struct follow_world {
    im_library *library; /* of the follower's thread, writable */
    bool poll_all;
    uint64_t every_ns; /* between looks at a FOLLOW_POLL */
    int mounts;        /* of mounts_open */
    void (*note)(void *context, const char *sentence);
    /* a batch was put as a job */
    void (*put)(void *context, uint64_t root, size_t n_paths, uint64_t job);
    void *context;
    uint64_t events, overflows, rescans, polls; /* counters; of closed trees too */
} follow_world;

typedef struct follow {
    follow_world *world;
    im_root root; /* own copy */
    follow_how how;
    im_watch_mark mark; /* unless lost */
    tree_options options;
    tree *tree;
    poll_list *list;
    settle *settle;
    bool readable;            /* the tree has something to tell */
    bool mounts_changed;      /* somewhere */
    uint32_t mounts;          /* as mounts_below told when it was found */
    bool lost_told;           /* once for each loss */
    bool full;                /* too much has changed to be kept path by path */
    bool rescan, witnessed;   /* a job that walks the root is to be put */
    uint64_t next_ns;         /* when to try again, look for the root, or look through it */
    uint64_t later_rescan_ns; /* for young files that are not known any more; 0: none */
    uint64_t job;             /* the last batch's; 0: it was taken */
    uint64_t job_look_ns;     /* when to look again what became of it */
    char **held;              /* [n_held], owned: taken, not yet put */
    size_t n_held;
    uint64_t retry_ns; /* of what could not be put */
} follow;

#define FOLLOW_PATHS 1000u /* of one job */

/** NULL when memory is out. */
follow *follow_new(follow_world *world, const im_root *root);
void follow_free(follow *f);
/** Whether it is this very root. */
bool follow_is(const follow *f, const im_root *root);
/** Does what is due. @return when there is something to do again, unless the tree tells first */
uint64_t follow_step(follow *f, uint64_t now_ns);

#endif
