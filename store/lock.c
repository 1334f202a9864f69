/* store/lock.c — the writer's lock: flock on `lock`, which the kernel gives back when its holder
 * dies. The pid in the file is only for the sentence. */
#include "base/clock.h"
#include "base/file.h"
#include "store/store_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define POLL_FIRST_MS 1
#define POLL_MOST_MS 50

/* The file that was locked is still the one of that name: someone may have taken it away. */
static bool is_current(int fd, const char *path)
{
    struct stat ours;
    struct stat named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

static void write_pid(int fd)
{
    char text[24];
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* a full disk does not keep anybody from removing pictures: the pid may be missing */
    if (ftruncate(fd, 0) == 0 && size > 0) {
        ssize_t ignored = pwrite(fd, text, (size_t)size, 0);
        (void)ignored;
    }
}

static uint64_t read_pid(int fd)
{
    char text[24] = "";
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    uint64_t pid = 0;
    if (size > 1 && text[size - 1] == '\n') {
        text[size - 1] = '\0';
        if (!im_parse_u64(text, 1, INT32_MAX, &pid)) {
            pid = 0;
        }
    }
    return pid;
}

static im_code fail_busy(int fd, const char *folder, uint32_t wait_ms, im_error *err)
{
    uint64_t pid = read_pid(fd);
    im_code rc;
    if (pid != 0) {
        rc = im_fail_as(err, IM_REASON_LIBRARY_BUSY,
                        "library '%s' is being written by process %" PRIu64 ", waited %" PRIu32
                        " ms",
                        folder, pid, wait_ms);
    } else {
        rc = im_fail_as(err, IM_REASON_LIBRARY_BUSY,
                        "library '%s' is being written by another process, waited %" PRIu32 " ms",
                        folder, wait_ms);
    }
    im_hint(err, "try again when it has finished");
    return rc;
}

static void sleep_ms(long ms)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = ms * 1000000};
    (void)nanosleep(&pause, NULL); /* a signal ends it early: the loop looks again */
}

/* One try; *out_held false when another holds it or the file was exchanged meanwhile. */
static im_code try_lock(int fd, const char *path, bool *out_held, bool *out_stale, im_error *err)
{
    *out_held = false;
    *out_stale = false;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *out_held = is_current(fd, path);
        *out_stale = !*out_held;
        return IM_OK;
    }
    if (errno == EWOULDBLOCK || errno == EINTR) {
        *out_stale = !is_current(fd, path);
        return IM_OK;
    }
    return im_fail_errno(err, errno, "could not lock '%s'", path);
}

im_code store_lock_take(const char *path, const char *folder, uint32_t wait_ms, int *out_fd,
                        im_error *err)
{
    uint64_t start = im_clock_ns();
    long pause = POLL_FIRST_MS;
    int fd = -1;
    for (;;) {
        bool held = false;
        bool stale = false;
        im_code rc = IM_OK;
        if (fd < 0) {
            rc = im_file_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0666, &fd, err);
        }
        if (rc == IM_OK) {
            rc = try_lock(fd, path, &held, &stale, err);
        }
        if (rc == IM_OK && held) {
            write_pid(fd);
            *out_fd = fd;
            return IM_OK;
        }
        if (rc == IM_OK && im_stop_asked()) {
            rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while waiting for library '%s'",
                            folder);
        } else if (rc == IM_OK && im_clock_ms_since(start) >= (double)wait_ms) {
            rc = fail_busy(fd, folder, wait_ms, err);
        }
        if (rc != IM_OK || stale) {
            store_lock_release(fd);
            fd = -1;
        }
        if (rc != IM_OK) {
            return rc;
        }
        sleep_ms(pause);
        pause = IM_MIN(pause * 2, POLL_MOST_MS);
    }
}

void store_lock_release(int fd)
{
    if (fd >= 0) {
        (void)close(fd); /* gives the lock back */
    }
}

im_code im_store_lock(im_store *store, uint32_t wait_ms, im_error *err)
{
    if (store->mode != IM_STORE_WRITE) {
        return im_fail(err, IM_ERR_DENIED, "library '%s' is open for reading only", store->folder);
    }
    if (store->lock_depth == 0) {
        char *path = im_path_join(store->real, STORE_LOCK_NAME);
        if (path == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a path in library '%s'",
                           store->folder);
        }
        im_code rc = store_lock_take(path, store->folder, wait_ms, &store->lock_fd, err);
        im_free(path);
        if (rc == IM_OK) {
            rc = store_check_same_file(store, err);
        }
        if (rc != IM_OK) {
            store_lock_release(store->lock_fd);
            store->lock_fd = -1;
            return rc;
        }
    }
    store->lock_depth++;
    return IM_OK;
}

void im_store_unlock(im_store *store)
{
    if (store->lock_depth > 0 && --store->lock_depth == 0) {
        store_lock_release(store->lock_fd);
        store->lock_fd = -1;
    }
}
