/* base/file_map.c — mappings that survive when their file is cut.
 *
 * A read beyond the end of a mapped file raises SIGBUS in the reading thread. One handler looks the
 * address up in a fixed table of our ranges; inside one it puts zeros over the rest of that range
 * and marks it lost, outside it gives the signal to whoever had it before. The handler takes no
 * lock: each slot carries a sequence number (odd while it is being changed), as in a seqlock. */
#include "base/fault.h"
#include "base/file.h"
#include "base/file_internal.h"
#include "base/memory.h"
#include "base/size.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_MAPS 1024

typedef struct map_slot {
    atomic_uint sequence;
    _Atomic uintptr_t start; /* 0 = free */
    _Atomic uintptr_t end;   /* rounded up to a page */
    atomic_bool lost;
} map_slot;

struct im_map {
    const uint8_t *data;
    size_t size;
    map_slot *slot; /* NULL for an empty file, which has no pages */
    int fd;         /* ours; asked for the file's size by im_map_lost */
};

_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2 && ATOMIC_BOOL_LOCK_FREE == 2 &&
                   ATOMIC_INT_LOCK_FREE == 2,
               "the SIGBUS handler needs lock-free atomics");

static map_slot slots[MAX_MAPS];
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER; /* for writers */
static pthread_once_t page_once = PTHREAD_ONCE_INIT;
static size_t page_bytes; /* written once, before any slot is taken */

/* Who had the signal before us. A new owner goes to the entry that is not in use, because our
 * handler may be running; written under slots_lock. */
static struct sigaction previous[2];
static atomic_uint previous_used;

/* Reads a slot whole; false when it is free, or changes right now and so cannot be the one of a
 * thread that is reading its mapping. */
static bool slot_read(map_slot *slot, uintptr_t *start, uintptr_t *end)
{
    unsigned before = atomic_load(&slot->sequence);
    *start = atomic_load(&slot->start);
    *end = atomic_load(&slot->end);
    return (before & 1u) == 0 && before == atomic_load(&slot->sequence) && *start != 0;
}

static void slot_write(map_slot *slot, uintptr_t start, uintptr_t end)
{
    atomic_fetch_add(&slot->sequence, 1);
    atomic_store(&slot->start, start);
    atomic_store(&slot->end, end);
    atomic_store(&slot->lost, false);
    atomic_fetch_add(&slot->sequence, 1);
}

/* Replaces [address, end) by zeros. All of the rest and not one page: it is lost anyway, and a scan
 * of a large file would otherwise raise one signal for every 4 KiB. */
static bool replace_rest(uintptr_t address, uintptr_t end)
{
    uintptr_t page = address / page_bytes * page_bytes;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
#if defined(SYS_mmap) && defined(__LP64__)
    /* past any wrapper of mmap (sanitizers, allocation tracers): this is a signal handler */
    return syscall(SYS_mmap, page, end - page, PROT_READ, flags, -1, 0) != -1;
#else
    return mmap((void *)page, end - page, PROT_READ, flags, -1, 0) != MAP_FAILED;
#endif
}

static bool rescue(uintptr_t address)
{
    for (size_t i = 0; i < MAX_MAPS; i++) {
        uintptr_t start;
        uintptr_t end;
        if (slot_read(&slots[i], &start, &end) && address >= start && address < end) {
            atomic_store(&slots[i].lost, true);
            return replace_rest(address, end);
        }
    }
    return false;
}

static void die_by_default(int signal_number, const siginfo_t *info)
{
    struct sigaction action = {0};
    action.sa_handler = SIG_DFL;
    (void)sigaction(signal_number, &action, NULL);
    /* the fault comes again by itself; a signal that kill(2) sent does not */
    if (info->si_code <= 0) {
        (void)raise(signal_number);
    }
}

/* Not ours: a handler that was there before is called, else the process dies as it would have
 * without us. That handler may believe that we stand behind it and call us again: then it is the
 * end too (as it is at the second fault after a handler that left by longjmp). */
static void pass_on(int signal_number, siginfo_t *info, void *context)
{
    static _Thread_local volatile sig_atomic_t passing __attribute__((tls_model("initial-exec")));
    const struct sigaction *owner = &previous[atomic_load(&previous_used)];
    bool has_info = (owner->sa_flags & SA_SIGINFO) != 0;
    if (passing != 0 ||
        (!has_info && (owner->sa_handler == SIG_DFL || owner->sa_handler == SIG_IGN))) {
        die_by_default(signal_number, info);
        return;
    }
    passing = 1;
    if (has_info) {
        owner->sa_sigaction(signal_number, info, context);
    } else {
        owner->sa_handler(signal_number);
    }
    passing = 0;
}

static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
    int saved = errno;
    /* si_code > 0: raised by the kernel for an address, not sent by a process */
    if (info->si_code <= 0 || !rescue((uintptr_t)info->si_addr)) {
        pass_on(signal_number, info, context);
    }
    errno = saved;
}

static void find_page_bytes(void)
{
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
}

/* Looked at whenever a file is mapped: other code (a test runner, a host program) may have taken
 * the signal since. slots_lock is held. */
static void install_handler(void)
{
    struct sigaction now;
    if (sigaction(SIGBUS, NULL, &now) != 0 ||
        ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_bus_error)) {
        return;
    }
    unsigned unused = 1u - atomic_load(&previous_used);
    previous[unused] = now;
    atomic_store(&previous_used, unused);
    struct sigaction action = {0};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, NULL);
}

static map_slot *slot_take(const void *data, size_t size)
{
    map_slot *found = NULL;
    uintptr_t start = (uintptr_t)data;
    uintptr_t end = start + (size + page_bytes - 1) / page_bytes * page_bytes;
    pthread_mutex_lock(&slots_lock);
    install_handler();
    for (size_t i = 0; found == NULL && i < MAX_MAPS; i++) {
        if (atomic_load(&slots[i].start) == 0) {
            found = &slots[i];
            slot_write(found, start, end);
        }
    }
    pthread_mutex_unlock(&slots_lock);
    return found;
}

static void slot_give_back(map_slot *slot)
{
    pthread_mutex_lock(&slots_lock);
    slot_write(slot, 0, 0);
    pthread_mutex_unlock(&slots_lock);
}

/* Maps and registers; map->fd is set. */
static im_code map_pages(im_map *map, size_t size, const char *name, im_error *err)
{
    void *data = MAP_FAILED;
    if (!im_fault_hit(IM_FAULT_MAP)) {
        data = mmap(NULL, size, PROT_READ, MAP_SHARED, map->fd, 0);
    }
    if (data == MAP_FAILED) {
        return im_fail_errno(err, errno, "could not map '%s' (%zu bytes)", name, size);
    }
    map->slot = slot_take(data, size);
    if (map->slot == NULL) {
        (void)munmap(data, size);
        return im_fail(err, IM_ERR_NOMEM, "could not map '%s': %d files are mapped already", name,
                       MAX_MAPS);
    }
    map->data = data;
    map->size = size;
    return IM_OK;
}

/* Takes fd, also on failure. */
static im_code map_taken_fd(int fd, size_t size, const char *name, im_map **out_map, im_error *err)
{
    static const uint8_t nothing[1];
    (void)pthread_once(&page_once, find_page_bytes);
    im_map *map = im_alloc_zero(1, sizeof *map);
    if (map == NULL) {
        (void)close(fd);
        return im_fail(err, IM_ERR_NOMEM, "no memory to map '%s'", name);
    }
    map->fd = fd;
    map->data = nothing;
    im_code rc = size > 0 ? map_pages(map, size, name, err) : IM_OK;
    if (rc != IM_OK) {
        im_map_close(map);
        return rc;
    }
    *out_map = map;
    return IM_OK;
}

im_code im_map_fd(int fd, size_t size, const char *name, im_map **out_map, im_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return im_fail_errno(err, errno, "could not look up '%s'", name);
    }
    im_file_stamp stamp = im_file_stamp_of(&info);
    if (stamp.size < size) {
        return im_fail(err, IM_ERR_FORMAT, "'%s' has %llu bytes, expected at least %zu", name,
                       (unsigned long long)stamp.size, size);
    }
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        return im_fail_errno(err, errno, "could not keep '%s' open", name);
    }
    return map_taken_fd(own, size, name, out_map, err);
}

im_code im_map_open(const char *path, im_map **out_map, im_error *err)
{
    int fd = -1;
    struct stat info;
    im_code rc = file_open_regular(AT_FDCWD, path, &fd, &info, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_file_stamp stamp = im_file_stamp_of(&info);
    if (stamp.size > PTRDIFF_MAX) {
        (void)close(fd);
        return im_fail_as(err, IM_REASON_FILE_TOO_LARGE, "'%s' is too large to be mapped", path);
    }
    return map_taken_fd(fd, (size_t)stamp.size, path, out_map, err);
}

const uint8_t *im_map_data(const im_map *map)
{
    return map->data;
}

size_t im_map_size(const im_map *map)
{
    return map->size;
}

bool im_map_lost(const im_map *map)
{
    if (map->slot == NULL) {
        return false;
    }
    /* A cut inside the last page raises no signal: the kernel shows zeros there. The size tells. */
    struct stat info;
    if (!atomic_load(&map->slot->lost) &&
        (fstat(map->fd, &info) != 0 || im_file_stamp_of(&info).size < map->size)) {
        atomic_store(&map->slot->lost, true);
    }
    return atomic_load(&map->slot->lost);
}

void im_map_close(im_map *map)
{
    if (map == NULL) {
        return;
    }
    if (map->slot != NULL) {
        /* forgotten first: another mapping may get these addresses right after munmap */
        slot_give_back(map->slot);
        (void)munmap((void *)(uintptr_t)map->data, map->size);
    }
    (void)close(map->fd);
    im_free(map);
}
