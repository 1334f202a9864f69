/* app/scan_internal.h — walks a root folder and tells of each entry worth a look. */
#ifndef IM_APP_SCAN_INTERNAL_H
#define IM_APP_SCAN_INTERNAL_H

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum scan_what {
    SCAN_FOLDER,  /* one whose entries are read next; the root too, as "" */
    SCAN_FILE,    /* a regular file */
    SCAN_LINK,    /* a symbolic link that is not followed */
    SCAN_SPECIAL, /* pipe, socket, device */
    SCAN_FAILED,  /* a folder or entry that could not be read: error is set */
    SCAN_LOOP     /* a link to a folder that is being walked, or above the root */
} scan_what;

typedef struct scan_entry {
    scan_what what;
    const char *path;      /* relative to the root, raw bytes; borrowed for the call */
    im_file_stamp stamp;   /* SCAN_FILE */
    const im_error *error; /* SCAN_FAILED */
} scan_entry;

/** false stops the walk. */
typedef bool (*scan_fn)(void *context, const scan_entry *entry);

typedef struct scan_options {
    bool recursive;
    bool follow_links;
    const char *leave_out; /* a folder that is not walked wherever it is met below the root: the
                              library itself; or NULL */
    bool folders;          /* SCAN_FOLDER is told */
} scan_options;

/** Walks ROOT/BELOW ("" = all) in byte order of names, folder by folder, with two descriptors and
 * no recursion, so that depth costs neither. IM_OK also when parts failed (SCAN_FAILED told them);
 * an error when the folder itself cannot be read. *out_complete: no part failed and none stopped.
 */
IM_NODISCARD im_code scan_walk(const char *root, const char *below, const scan_options *options,
                               scan_fn fn, void *context, bool *out_complete, im_error *err);

#endif
