/* tests/store/help_backup.c — see help_backup.h. */
#include "tests/store/help_backup.h"
#include "base/fault.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;

const help_backup_fault help_backup_faults[HELP_BACKUP_FAULTS] = {
    {IM_FAULT_ALLOC, 0, IM_ERR_NOMEM, IM_ERR_NOMEM, 11, "alloc"},
    {IM_FAULT_OPEN, EIO, IM_ERR_IO, IM_ERR_IO, 1, "open"},
    {IM_FAULT_READ, 0, IM_ERR_IO, IM_ERR_IO, 3, "read"},
    {IM_FAULT_WRITE, 0, IM_ERR_IO, IM_ERR_IO, 3, "write"},
    {IM_FAULT_WRITE, ENOSPC, IM_ERR_FULL, IM_ERR_FULL, 3, "write (full)"},
    {IM_FAULT_SYNC, 0, IM_ERR_IO, IM_ERR_IO, 1, "sync"},
    {IM_FAULT_RENAME, 0, IM_ERR_IO, IM_ERR_IO, 1, "rename"},
};

void help_backup_original(const char *library, const char *name, const char *text)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/originals/%s", library, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    help_ok(im_folder_make(path, &err), &err);
    *slash = '/';
    help_write(path, text, strlen(text));
}

void help_backup_library(const char *folder, uint64_t first)
{
    help_create(folder);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    uint64_t root = help_root(store, "/photos");
    uint64_t model = help_model(store, "m");
    im_value value = {.type = IM_VALUE_NUMBER, .number = 2.5};
    help_ok(im_store_begin(store, &err), &err);
    for (uint64_t n = 0; n < HELP_BACKUP_ITEMS; n++) {
        uint64_t item = help_put(store, root, model, first + n, n);
        help_ok(im_store_put_field(store, item, "price", &value, &err), &err);
        help_ok(im_store_put_tag(store, item, "red", IM_SOURCE_USER, &err), &err);
    }
    help_ok(im_store_commit(store, &err), &err);
    im_store_close(store);
    help_backup_original(folder, "ab/abc123", "an original");
    help_backup_original(folder, "ab/abc124", "");
}

int help_backup_set_up(void **state)
{
    help_backup *f = im_alloc_zero(1, sizeof(*f));
    f->folder = help_memory_folder();
    (void)snprintf(f->library, sizeof f->library, "%s/library", f->folder);
    (void)snprintf(f->backup, sizeof f->backup, "%s/my backup.tar", f->folder);
    (void)snprintf(f->other, sizeof f->other, "%s/other", f->folder);
    help_backup_library(f->library, 0);
    *state = f;
    return 0;
}

int help_backup_tear_down(void **state)
{
    help_backup *f = *state;
    im_fault_clear();
    help_folder_remove(f->folder);
    im_free(f);
    return 0;
}

void help_back_up(const char *library, const char *file)
{
    im_store *store = help_open(library, IM_STORE_READ);
    im_backup_facts facts = {0};
    help_ok(im_store_backup(store, file, NULL, NULL, &facts, &err), &err);
    assert_int_equal(facts.findings, 0);
    assert_int_equal(facts.items, HELP_BACKUP_ITEMS);
    assert_int_equal(facts.originals, 2);
    struct stat info;
    assert_int_equal(stat(file, &info), 0);
    assert_int_equal((uint64_t)info.st_size, facts.bytes);
    im_store_close(store);
}

im_code help_restore(const char *file, const char *folder, im_error *out_err)
{
    return im_store_restore(file, folder, false, NULL, NULL, NULL, out_err);
}

uint64_t help_first_of(const char *folder)
{
    im_store *store = NULL;
    im_error ignored = IM_ERROR_INIT;
    im_store_counts counts;
    uint64_t found = UINT64_MAX;
    if (im_store_open(folder, IM_STORE_WRITE, &store, &ignored) != IM_OK) {
        return UINT64_MAX;
    }
    help_check_clean(store);
    help_ok(im_store_count(store, 0, &counts, &err), &err);
    assert_int_equal(counts.items, HELP_BACKUP_ITEMS);
    for (uint64_t n = 0; n < 300 && found == UINT64_MAX; n += 100) {
        uint8_t sha256[32];
        uint64_t item = 0;
        help_sha256(n, sha256);
        help_ok(im_store_find_item(store, sha256, &item, &err), &err);
        found = item != 0 ? n : found;
    }
    im_store_close(store);
    return found;
}

void help_check_no_leftovers(const char *folder)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (strstr(e->d_name, ".part") != NULL || strncmp(e->d_name, "restore.", 8) == 0) {
            fail_msg("left over: %s", e->d_name);
        }
    }
    (void)closedir(dir);
}

bool help_stop_after(void *context, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return (*(int *)context)-- > 0;
}

void help_die_at(const help_backup *f, const char *point, void (*work)(const help_backup *f))
{
    pid_t child = fork();
    if (child == 0) {
        (void)setenv("IMAGO_FAULT_KILL", point, 1);
        im_fault_from_environment();
        work(f);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}
