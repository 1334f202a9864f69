/* daemon/watch_poll.c — a root whose changes nobody tells: a walk every so often, held against the
 * one before. Of a part that could not be read nothing is said to be gone; and where much is gone,
 * which may be a share that answers badly, it is left to a job that looks at the whole. */
#include "daemon/watch_internal.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

typedef struct seen_file {
    char *path; /* below the root, owned */
    im_file_stamp stamp;
} seen_file;

typedef struct seen_files {
    seen_file *files; /* [n], owned, by path once sorted */
    size_t n, capacity;
} seen_files;

struct poll_list {
    seen_files seen;
    bool looked;
};

static void clear_files(seen_files *list)
{
    for (size_t i = 0; i < list->n; i++) {
        im_free(list->files[i].path);
    }
    im_free(list->files);
    *list = (seen_files){0};
}

poll_list *poll_new(void)
{
    return im_alloc_zero(1, sizeof(poll_list));
}

void poll_free(poll_list *list)
{
    if (list != NULL) {
        clear_files(&list->seen);
        im_free(list);
    }
}

/* Takes path. */
static bool add_file(seen_files *list, char *path, const im_file_stamp *stamp)
{
    if (path != NULL && list->n == list->capacity) {
        size_t wanted = list->capacity == 0 ? 256 : list->capacity * 2;
        seen_file *grown = im_realloc(list->files, wanted, sizeof(*grown));
        if (grown == NULL) {
            im_free(path);
            return false;
        }
        list->files = grown;
        list->capacity = wanted;
    }
    if (path != NULL) {
        list->files[list->n++] = (seen_file){path, *stamp};
    }
    return path != NULL;
}

typedef struct look_context {
    seen_files now;
    bool complete; /* all was read */
    bool left;     /* of what is gone nothing is told */
    bool no_memory;
} look_context;

static bool take_met(void *context, im_walk_what what, const char *below,
                     const im_file_stamp *stamp)
{
    look_context *look = context;
    if (what == IM_WALK_FILE && !add_file(&look->now, im_strdup(below), stamp)) {
        look->no_memory = true;
    }
    return !look->no_memory;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const seen_file *)a)->path, ((const seen_file *)b)->path);
}

static void sort_files(seen_files *list)
{
    if (list->n > 0) {
        qsort(list->files, list->n, sizeof(*list->files), compare);
    }
}

static bool tell(const tree_options *options, const char *below, settle_what what)
{
    char *path = im_path_join(options->root, below);
    if (path != NULL) {
        options->note(options->context, path, what);
    }
    im_free(path);
    return path != NULL;
}

static bool is_same(const seen_file *a, const seen_file *b)
{
    return a->stamp.size == b->stamp.size && a->stamp.mtime_ns == b->stamp.mtime_ns &&
           a->stamp.inode == b->stamp.inode;
}

static size_t count_gone(const seen_files *was, const seen_files *is)
{
    size_t n = 0;
    for (size_t i = 0; i < was->n; i++) {
        n += is->n == 0 ||
             bsearch(&was->files[i], is->files, is->n, sizeof(*is->files), compare) == NULL;
    }
    return n;
}

/* Both lists from their beginnings. What is gone stays in the list when the walk was not whole.
 * @return false when memory is out */
static bool compare_lists(poll_list *list, look_context *look, const tree_options *options)
{
    size_t n_now = look->now.n;
    bool good = true;
    for (size_t i = 0, j = 0; good && (i < list->seen.n || j < n_now);) {
        seen_file *was = i < list->seen.n ? &list->seen.files[i] : NULL;
        const seen_file *is = j < n_now ? &look->now.files[j] : NULL;
        int order = was == NULL ? 1 : is == NULL ? -1 : strcmp(was->path, is->path);
        if (order < 0 && look->complete) {
            good = look->left || tell(options, was->path, SETTLE_GONE);
        } else if (order < 0) {
            good = add_file(&look->now, im_strdup(was->path), &was->stamp);
        } else if (order > 0 ? list->looked || watch_age(&is->stamp) == SETTLE_OPENED
                             : !is_same(was, is)) {
            good = tell(options, is->path, watch_age(&is->stamp));
        }
        i += order <= 0;
        j += order >= 0;
    }
    return good;
}

im_code poll_look(poll_list *list, const tree_options *options, bool *out_left, im_error *err)
{
    look_context look = {0};
    im_code rc = im_app_walk(options->library, options->root, "", options->recursive, take_met,
                             &look, &look.complete, err);
    if (rc == IM_OK && !look.no_memory) {
        sort_files(&look.now);
        size_t n_gone = look.complete ? count_gone(&list->seen, &look.now) : 0;
        look.left = n_gone > IM_GONE_UNASKED || (n_gone > 0 && look.now.n == 0);
        look.no_memory = !compare_lists(list, &look, options);
    }
    if (rc == IM_OK && look.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory to follow a folder");
    }
    if (rc == IM_OK) {
        *out_left = look.left;
        clear_files(&list->seen);
        list->seen = look.now;
        list->looked = true;
        sort_files(&list->seen);
    } else {
        clear_files(&look.now);
    }
    return rc;
}
