/* store/vfs.c — a thin layer over SQLite's own unix VFS: every open, read, write, sync and mapping
 * of SQLite asks base/fault.h first, so that tests reach SQLite's own input and output. All real
 * work is done by the layer below.
 *
 * A second VFS of the same code takes no file locks. With it a library on a read-only mount can be
 * read together with its hot WAL, whose index SQLite then keeps in memory: see open.c. */
#include "base/fault.h"
#include "store/store_internal.h"
#include <errno.h>

const char store_vfs_name[] = "imago";
const char store_vfs_alone_name[] = "imago-alone";

typedef struct shim_file {
    sqlite3_file base;
    sqlite3_file *below; /* in the bytes behind this struct */
} shim_file;

static sqlite3_vfs *below_of(sqlite3_vfs *vfs)
{
    return vfs->pAppData;
}

static sqlite3_file *file_below(sqlite3_file *file)
{
    return ((shim_file *)file)->below;
}

/* What SQLite's own layer answers to this errno from `otherwise`'s call. */
static int code_of_errno(int otherwise)
{
    return errno == ENOSPC ? SQLITE_FULL : otherwise;
}

static int shim_close(sqlite3_file *file)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xClose(below);
}

static int shim_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
    sqlite3_file *below = file_below(file);
    if (im_fault_hit(IM_FAULT_READ)) {
        return SQLITE_IOERR_READ;
    }
    return below->pMethods->xRead(below, data, size, offset);
}

static int shim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    sqlite3_file *below = file_below(file);
    if (im_fault_hit(IM_FAULT_WRITE)) {
        return code_of_errno(SQLITE_IOERR_WRITE);
    }
    return below->pMethods->xWrite(below, data, size, offset);
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    sqlite3_file *below = file_below(file);
    if (im_fault_hit(IM_FAULT_WRITE)) {
        return SQLITE_IOERR_TRUNCATE;
    }
    return below->pMethods->xTruncate(below, size);
}

static int shim_sync(sqlite3_file *file, int flags)
{
    sqlite3_file *below = file_below(file);
    if (im_fault_hit(IM_FAULT_SYNC)) {
        return SQLITE_IOERR_FSYNC;
    }
    return below->pMethods->xSync(below, flags);
}

static int shim_file_size(sqlite3_file *file, sqlite3_int64 *out_size)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xFileSize(below, out_size);
}

static int shim_lock(sqlite3_file *file, int level)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xLock(below, level);
}

static int shim_unlock(sqlite3_file *file, int level)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xUnlock(below, level);
}

static int shim_check_reserved(sqlite3_file *file, int *out_reserved)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xCheckReservedLock(below, out_reserved);
}

static int alone_lock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int alone_check_reserved(sqlite3_file *file, int *out_reserved)
{
    (void)file;
    *out_reserved = 0;
    return SQLITE_OK;
}

static int shim_control(sqlite3_file *file, int op, void *argument)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xFileControl(below, op, argument);
}

static int shim_sector_size(sqlite3_file *file)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xSectorSize(below);
}

static int shim_device(sqlite3_file *file)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xDeviceCharacteristics(below);
}

static int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    sqlite3_file *below = file_below(file);
    if (im_fault_hit(IM_FAULT_MAP)) {
        return SQLITE_IOERR_SHMMAP;
    }
    return below->pMethods->xShmMap(below, page, size, extend, out);
}

static int shim_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xShmLock(below, offset, n, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
    sqlite3_file *below = file_below(file);
    below->pMethods->xShmBarrier(below);
}

static int shim_shm_unmap(sqlite3_file *file, int remove)
{
    sqlite3_file *below = file_below(file);
    return below->pMethods->xShmUnmap(below, remove);
}

/* Version 2: shared memory, but no mapped database (a file cut while mapped kills the process). */
static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_file_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_device,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static const sqlite3_io_methods alone_methods = {
    .iVersion = 1, /* no shared memory either: SQLite must not try */
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_file_size,
    .xLock = alone_lock,
    .xUnlock = alone_lock,
    .xCheckReservedLock = alone_check_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_device,
};

static int open_with(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                     int *out_flags, const sqlite3_io_methods *methods)
{
    shim_file *shim = (shim_file *)file;
    sqlite3_vfs *below = below_of(vfs);
    shim->base.pMethods = NULL; /* SQLite does not close what has none */
    shim->below = (sqlite3_file *)(shim + 1);
    shim->below->pMethods = NULL;
    if (im_fault_hit(IM_FAULT_OPEN)) {
        return SQLITE_CANTOPEN;
    }
    int rc = below->xOpen(below, path, shim->below, flags, out_flags);
    if (shim->below->pMethods != NULL) {
        shim->base.pMethods = methods;
    }
    return rc;
}

static int shim_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                     int *out_flags)
{
    return open_with(vfs, path, file, flags, out_flags, &shim_methods);
}

static int alone_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                      int *out_flags)
{
    return open_with(vfs, path, file, flags, out_flags, &alone_methods);
}

static int shim_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    sqlite3_vfs *below = below_of(vfs);
    return below->xDelete(below, path, sync_folder);
}

static int shim_access(sqlite3_vfs *vfs, const char *path, int flags, int *out_result)
{
    sqlite3_vfs *below = below_of(vfs);
    return below->xAccess(below, path, flags, out_result);
}

static int shim_full_path(sqlite3_vfs *vfs, const char *path, int size, char *out)
{
    sqlite3_vfs *below = below_of(vfs);
    return below->xFullPathname(below, path, size, out);
}

static int shim_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    sqlite3_vfs *below = below_of(vfs);
    return below->xRandomness(below, size, out);
}

static int shim_sleep(sqlite3_vfs *vfs, int microseconds)
{
    sqlite3_vfs *below = below_of(vfs);
    return below->xSleep(below, microseconds);
}

static int shim_current_time(sqlite3_vfs *vfs, double *out)
{
    sqlite3_vfs *below = below_of(vfs);
    return below->xCurrentTime(below, out);
}

static int shim_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    sqlite3_vfs *below = below_of(vfs);
    return below->xGetLastError(below, size, out);
}

static int shim_current_time64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    sqlite3_vfs *below = below_of(vfs);
    return below->xCurrentTimeInt64(below, out);
}

/* Version 2 and no xDlOpen: there is nothing to load. */
static void describe(sqlite3_vfs *vfs, const char *name, sqlite3_vfs *below,
                     int (*open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *))
{
    *vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(shim_file) + below->szOsFile,
        .mxPathname = below->mxPathname,
        .zName = name,
        .pAppData = below,
        .xOpen = open,
        .xDelete = shim_delete,
        .xAccess = shim_access,
        .xFullPathname = shim_full_path,
        .xRandomness = shim_randomness,
        .xSleep = shim_sleep,
        .xCurrentTime = shim_current_time,
        .xGetLastError = shim_last_error,
        .xCurrentTimeInt64 = shim_current_time64,
    };
}

int store_vfs_register(void)
{
    static sqlite3_vfs live;  /* written once, under pthread_once */
    static sqlite3_vfs alone; /* the same */
    sqlite3_vfs *below = sqlite3_vfs_find("unix");
    if (below == NULL || below->iVersion < 2) {
        return SQLITE_MISUSE;
    }
    describe(&live, store_vfs_name, below, shim_open);
    describe(&alone, store_vfs_alone_name, below, alone_open);
    int rc = sqlite3_vfs_register(&live, 0);
    return rc == SQLITE_OK ? sqlite3_vfs_register(&alone, 0) : rc;
}
