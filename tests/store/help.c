/* tests/store/help.c — see help.h. */
#include "tests/store/help.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/help_folder.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *help_folder(void)
{
    char path[HELP_FOLDER_BYTES];
    assert_non_null(help_temporary(path));
    return strdup(path);
}

char *help_memory_folder(void)
{
    char path[HELP_FOLDER_BYTES];
    assert_non_null(help_temporary_in_memory(path));
    return strdup(path);
}

void help_folder_remove(char *folder)
{
    (void)help_remove_folder(folder);
    free(folder);
}

const char *help_path(const char *folder, const char *name)
{
    static char buffers[2][PATH_MAX];
    static int turn;
    turn = 1 - turn;
    (void)snprintf(buffers[turn], PATH_MAX, "%s/%s", folder, name);
    return buffers[turn];
}

void help_ok(im_code rc, const im_error *err)
{
    if (rc != IM_OK) {
        fail_msg("%s: %s", im_code_name(rc), err->message);
    }
}

void help_create(const char *folder)
{
    im_error err = IM_ERROR_INIT;
    help_ok(im_store_create(folder, &err), &err);
}

im_store *help_open(const char *folder, im_store_mode mode)
{
    im_store *store = NULL;
    im_error err = IM_ERROR_INIT;
    help_ok(im_store_open(folder, mode, &store, &err), &err);
    return store;
}

void help_sha256(uint64_t n, uint8_t out[32])
{
    im_sha256_of(&n, sizeof n, out);
}

im_item help_item(uint64_t n)
{
    im_item item = {
        .bytes = 1000 + n,
        .format = "jpeg",
        .width = (uint32_t)(10 + n % 5000),
        .height = (uint32_t)(20 + n % 3000),
        .phash = n * UINT64_C(0x9e3779b97f4a7c15),
        .partial = n % 7 == 0,
        .has_taken = n % 2 == 0,
        .taken_s = n % 2 == 0 ? 1000000000 + (int64_t)n : 0,
        .has_taken_offset = n % 4 == 0,
        .taken_offset_min = n % 4 == 0 ? (int16_t)(-60) : 0,
        .has_gps = n % 3 == 0,
        .latitude = n % 3 == 0 ? 48.5 + (double)(n % 10) : 0,
        .longitude = n % 3 == 0 ? -2.25 : 0,
        .camera = "Cam\xc3\xa9ra X",
        .lens = "50mm",
        .added_ns = 1700000000000000000 + (int64_t)n,
    };
    help_sha256(n, item.sha256);
    return item;
}

void help_vector(uint64_t n, float *out, size_t dim)
{
    uint64_t state = n + 1;
    for (size_t i = 0; i < dim; i++) {
        out[i] = (float)(help_random(&state) % 2000) / 1000.0f - 1.0f;
    }
}

uint64_t help_model(im_store *store, const char *digest_of)
{
    im_error err = IM_ERROR_INIT;
    float background[2 * HELP_DIM];
    uint8_t digest[32];
    uint64_t id = 0;
    im_model_row model = {
        .name = (char *)digest_of,
        .folder = (char *)"/models/small",
        .files = (char *)"[]",
        .family = "clip",
        .dim = HELP_DIM,
        .precision = "fp32",
        .state = IM_MODEL_BUILDING,
        .background = background,
        .n_background = 2,
    };
    help_vector(7, background, 2 * HELP_DIM);
    im_sha256_of(digest_of, strlen(digest_of), digest);
    im_sha256_hex(digest, model.digest);
    help_ok(im_store_put_model(store, &model, &id, &err), &err);
    help_ok(im_store_activate_model(store, id, &err), &err);
    return id;
}

uint64_t help_root(im_store *store, const char *path)
{
    im_error err = IM_ERROR_INIT;
    uint64_t root = 0;
    help_ok(im_store_put_root(store, path, true, &root, &err), &err);
    return root;
}

uint64_t help_put(im_store *store, uint64_t root, uint64_t model, uint64_t n, uint64_t slot)
{
    im_error err = IM_ERROR_INIT;
    im_item item = help_item(n);
    uint64_t id = 0;
    char name[32];
    float vector[HELP_DIM];
    help_ok(im_store_put_item(store, &item, &id, &err), &err);
    int size = snprintf(name, sizeof name, "%06llu.jpg", (unsigned long long)n);
    im_file_row file = {
        .root = root,
        .path = im_view_of(name, (size_t)size),
        .stamp = {.size = item.bytes, .mtime_ns = (int64_t)n, .device = 1, .inode = n + 1},
        .hashed_ns = 5,
        .edges = n,
        .item = id,
    };
    help_ok(im_store_put_file(store, &file, NULL, &err), &err);
    help_vector(n, vector, HELP_DIM);
    help_ok(im_store_put_embedding(store, id, model, slot, vector, HELP_DIM, &err), &err);
    return id;
}

help_fixture *help_fixture_new(const char *root)
{
    help_fixture *f = im_alloc_zero(1, sizeof(*f));
    f->folder = help_memory_folder();
    help_create(f->folder);
    f->store = help_open(f->folder, IM_STORE_WRITE);
    f->root = help_root(f->store, root);
    return f;
}

void help_fixture_fill(help_fixture *f, uint64_t n_items, bool backwards)
{
    f->items = im_alloc_zero(n_items, sizeof(*f->items));
    for (uint64_t n = 0; n < n_items; n++) {
        uint64_t slot = backwards ? n_items - 1 - n : n;
        f->items[n] = help_put(f->store, f->root, f->model, n, slot);
    }
}

void help_fixture_free(help_fixture *f)
{
    help_check_idle(f->store);
    help_check_clean(f->store);
    help_check_idle(f->store); /* the check, too, leaves nothing */
    im_store_close(f->store);
    help_folder_remove(f->folder);
    im_free(f->items);
    im_free(f);
}

int help_fixture_tear_down(void **state)
{
    help_fixture_free(*state);
    return 0;
}

size_t help_reopen(help_fixture *f)
{
    im_store_close(f->store);
    size_t live = im_live_allocations();
    f->store = help_open(f->folder, IM_STORE_WRITE);
    return live;
}

char *help_filled(uint64_t n_items, uint64_t *out_root, uint64_t *out_model)
{
    char *folder = help_memory_folder();
    help_create(folder);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    *out_root = help_root(store, "/photos");
    *out_model = help_model(store, "m");
    for (uint64_t n = 0; n < n_items; n++) {
        (void)help_put(store, *out_root, *out_model, n, n);
    }
    im_store_close(store);
    return folder;
}

static void print_finding(void *context, const char *table, uint64_t row, const char *what)
{
    (void)context;
    print_message("finding: %s %llu: %s\n", table, (unsigned long long)row, what);
}

void help_check_clean(im_store *store)
{
    im_error err = IM_ERROR_INIT;
    uint64_t findings = 0;
    help_ok(im_store_check(store, print_finding, NULL, &findings, &err), &err);
    assert_int_equal(findings, 0);
}

void help_check_idle(im_store *store)
{
    for (sqlite3_stmt *st = sqlite3_next_stmt(store->db, NULL); st != NULL;
         st = sqlite3_next_stmt(store->db, st)) {
        if (sqlite3_stmt_busy(st)) {
            fail_msg("left half read: %s", sqlite3_sql(st));
        }
    }
    for (size_t i = 0; i < STORE_SQL_COUNT; i++) {
        assert_false(store->busy[i]);
    }
}

uint64_t help_findings(im_store *store)
{
    im_error err = IM_ERROR_INIT;
    uint64_t findings = 0;
    help_ok(im_store_check(store, NULL, NULL, &findings, &err), &err);
    return findings;
}

uint8_t *help_read(const char *path, size_t *out_size)
{
    im_bytes bytes = {0};
    im_error err = IM_ERROR_INIT;
    help_ok(im_file_read(path, UINT64_C(1) << 30, &bytes, &err), &err);
    *out_size = bytes.size;
    return bytes.data;
}

void help_write(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const uint8_t *)data + done, size - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_int_equal(close(fd), 0);
}

uint64_t help_random(uint64_t *state)
{
    /* splitmix64 */
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void help_say_skipped(const char *why)
{
    print_message("skipped: %s\n", why);
}
