/* app/add_ahead.c — the fetch-ahead stage: asks the system for the bytes of the files that the
 * decoders will want next, so that a disk reads while they decode. A hint only: whatever goes wrong
 * here, the decoder that reads the file says it. */
#include "app/add_internal.h"
#include "base/clock.h"

#include <fcntl.h>
#include <unistd.h>

/* Never waits at a pipe or a device that took a file's place. */
static void ask_for(const add_job *job, uint64_t most)
{
    char *full = add_job_full_path(job);
    int fd = full != NULL ? open(full, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)posix_fadvise(fd, 0, (off_t)IM_MIN(job->stamp.size, most), POSIX_FADV_WILLNEED);
        (void)close(fd);
    }
    im_free(full);
}

void *add_ahead_main(void *context)
{
    add_run *run = context;
    uint64_t asked = run->request->limits.max_bytes;
    uint64_t most = asked != 0 ? asked : IM_LIMIT_PICTURE_BYTES;
    void *entry = NULL;
    im_stop_heed(run->heeded);
    while (im_queue_take(run->found, &entry)) {
        add_job *job = entry;
        if (!im_stop_asked() && !atomic_load(&run->stop) && job->stamp.size > 0) {
            ask_for(job, most);
        }
        if (!im_queue_put(run->near, job)) {
            add_job_free(job);
        }
    }
    im_queue_close(run->near);
    return NULL;
}
