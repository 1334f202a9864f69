/* store/restore_internal.h — what restore.c and restore_extract.c share: one restore in progress.
 */
#ifndef IM_STORE_RESTORE_INTERNAL_H
#define IM_STORE_RESTORE_INTERNAL_H

#include "store/store_internal.h"
#include "store/tar.h"
#include <limits.h>

typedef struct store_restore {
    const char *file;
    const char *folder; /* as the caller wrote it */
    char *real, *stage, *aside;
    bool accept_findings;
    im_store_progress_fn progress;
    void *context;
    store_tar_reader tar;
    char id[STORE_ID_HEX]; /* the library's, as the backup's first member says */
    im_backup_facts facts;
    sqlite3 *old; /* keeps others out of the old library.db */
    bool had_old;
    int lock_fd;
} store_restore;

IM_NODISCARD im_code restore_fail_memory(const store_restore *r, im_error *err);
/** backup_damaged: the backup itself is not as it should be. */
IM_NODISCARD im_code restore_fail_backup(const store_restore *r, const char *what, im_error *err);
/** folder/name in a buffer of PATH_MAX; false when that is too long. */
bool restore_join(char out[PATH_MAX], const char *folder, const char *name);
/** Whether a member's name is that of an original: plain parts, nothing that leads elsewhere. */
bool restore_is_original(const char *name);
/** Makes the folders above `path`. */
IM_NODISCARD im_code restore_make_parents(const char *path, im_error *err);
/** Unpacks all of r->tar into r->stage, synced, and compares its digests. */
IM_NODISCARD im_code restore_extract(store_restore *r, im_error *err);

#endif
