/* daemon/watch_settle.c — paths that have changed, until they are to be handed over. A search tree
 * finds a path, a list keeps the order in which they came; a few thousand at most. */
#include "daemon/watch_settle_internal.h"

#include "base/base.h"

#include <search.h>
#include <string.h>

#define MS 1000000ull

typedef struct waiting {
    char *path; /* the first field: what the tree compares */
    struct waiting *before, *next;
    uint64_t first_ns, due_ns;
    bool complete; /* somebody closed it, or it came whole */
    bool gone;     /* by what was told last */
    settle_sight seen;
    uint64_t seen_ns; /* since when it looks like that; 0: not looked at */
} waiting;

struct settle {
    void *tree;
    waiting *first, *last;
    size_t n;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const waiting *)a)->path, ((const waiting *)b)->path);
}

settle *settle_new(void)
{
    return im_alloc_zero(1, sizeof(settle));
}

/* Out of tree and list; its path is the caller's. */
static char *drop(settle *s, waiting *w)
{
    char *path = w->path;
    (void)tdelete(w, &s->tree, compare);
    *(w->before != NULL ? &w->before->next : &s->first) = w->next;
    *(w->next != NULL ? &w->next->before : &s->last) = w->before;
    s->n--;
    im_free(w);
    return path;
}

void settle_forget_all(settle *s)
{
    while (s->first != NULL) {
        im_free(drop(s, s->first));
    }
}

void settle_free(settle *s)
{
    if (s != NULL) {
        settle_forget_all(s);
        im_free(s);
    }
}

static waiting *find(const settle *s, const char *path)
{
    const waiting key = {.path = (char *)(uintptr_t)path};
    waiting *const *found = tfind(&key, &s->tree, compare);
    return found != NULL ? *found : NULL;
}

static waiting *append(settle *s, const char *path, uint64_t now_ns)
{
    waiting *w = s->n < SETTLE_PATHS_MOST ? im_alloc_zero(1, sizeof(*w)) : NULL;
    if (w == NULL) {
        return NULL;
    }
    w->path = im_strdup(path);
    w->first_ns = now_ns;
    if (w->path == NULL || tsearch(w, &s->tree, compare) == NULL) {
        im_free(w->path);
        im_free(w);
        return NULL;
    }
    w->before = s->last;
    *(s->last != NULL ? &s->last->next : &s->first) = w;
    s->last = w;
    s->n++;
    return w;
}

bool settle_note(settle *s, const char *path, settle_what what, uint64_t now_ns)
{
    waiting *w = find(s, path);
    w = w != NULL ? w : append(s, path, now_ns);
    if (w == NULL) {
        return false;
    }
    if (what == SETTLE_GONE || w->gone) { /* another file from here on */
        w->seen_ns = 0;
        w->complete = false;
    }
    w->gone = what == SETTLE_GONE;
    w->complete = w->complete || what == SETTLE_CLOSED;
    w->due_ns =
        IM_MIN(now_ns + SETTLE_QUIET_MS * MS, IM_MAX(w->first_ns + SETTLE_MOST_MS * MS, now_ns));
    return true;
}

/* Whether the file may be read now; else when to look again. */
static bool is_whole(waiting *w, const settle_sight *sight, uint64_t now_ns)
{
    if (!sight->is_file || sight->writer == SETTLE_WRITER_NONE ||
        (sight->writer == SETTLE_WRITER_UNKNOWN && w->complete)) {
        return true;
    }
    if (w->seen_ns == 0 || w->seen.size != sight->size || w->seen.mtime_ns != sight->mtime_ns) {
        w->seen = *sight;
        w->seen_ns = now_ns;
    }
    uint64_t wanted_ms = sight->writer == SETTLE_WRITER ? SETTLE_HELD_MS : SETTLE_STILL_MS;
    w->due_ns = now_ns + SETTLE_LOOK_MS * MS;
    return now_ns - w->seen_ns >= wanted_ms * MS;
}

static size_t take_those(settle *s, bool gone, uint64_t now_ns, settle_look_fn look, void *context,
                         char **out, size_t most)
{
    size_t n = 0;
    for (waiting *w = s->first, *next = NULL; w != NULL && n < most; w = next) {
        next = w->next;
        if (w->gone != gone || w->due_ns > now_ns) {
            continue;
        }
        settle_sight sight = look(context, w->path);
        if (is_whole(w, &sight, now_ns)) {
            out[n++] = drop(s, w);
        }
    }
    return n;
}

size_t settle_take(settle *s, uint64_t now_ns, settle_look_fn look, void *context, char **out,
                   size_t most)
{
    size_t n = take_those(s, false, now_ns, look, context, out, most);
    return n + take_those(s, true, now_ns, look, context, out + n, most - n);
}

uint64_t settle_due_ns(const settle *s)
{
    uint64_t due_ns = UINT64_MAX;
    for (const waiting *w = s->first; w != NULL; w = w->next) {
        due_ns = IM_MIN(due_ns, w->due_ns);
    }
    return due_ns;
}

size_t settle_count(const settle *s)
{
    return s->n;
}
