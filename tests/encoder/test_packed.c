/* tests/encoder/test_packed.c — packed weights in a file: the same vectors as from memory, whatever
 * is done to the file, its folder, or the calls that make it. */
#include "base/fault.h"
#include "base/hash.h"
#include "help.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct room {
    char model[1024], cache[HELP_FOLDER_BYTES], digest[65], file[256];
    float expected[3][2 * DIM]; /* of fp32, bf16 and int8, packed in memory */
} room;

/* A picture and a text through whatever is open. */
static im_code encode(im_encoder *encoder, float out[2 * DIM], im_error *err)
{
    uint8_t rgb[SIDE * SIDE * 3];
    im_view text = im_view_from("the red flower");
    for (size_t i = 0; i < sizeof(rgb); i++) {
        rgb[i] = (uint8_t)(i * 7 % 251);
    }
    im_code rc = im_encoder_pictures(encoder, rgb, 1, out, NULL, err);
    return rc == IM_OK ? im_encoder_texts(encoder, &text, 1, out + DIM, NULL, err) : rc;
}

static im_code open_packed(const room *r, im_precision precision, bool make, im_encoder **out,
                           im_error *err)
{
    im_packing packing = {.folder = r->cache, .digest = r->digest, .make = make};
    im_encoder_options options = {.precision = precision, .batch = 1, .packing = &packing};
    return im_encoder_open(r->model, &options, out, err);
}

/* Opens, asserts the right vectors, and tells whether the file was used. */
static bool is_mapped(const room *r, im_precision precision, bool make, const char *why)
{
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    float out[2 * DIM];
    if (open_packed(r, precision, make, &encoder, &err) != IM_OK ||
        encode(encoder, out, &err) != IM_OK) {
        fail_msg("%s", err.message);
    }
    assert_memory_equal(out, r->expected[precision - IM_PRECISION_FP32], sizeof(out));
    const im_encoder_info *info = im_encoder_describe(encoder);
    bool mapped = info->packed != NULL;
    if (why != NULL && strstr(info->packed_why, why) == NULL) {
        fail_msg("'%s' does not say '%s'", info->packed_why, why);
    }
    assert_true(mapped == (info->packed_bytes > 0));
    im_encoder_close(encoder);
    return mapped;
}

static void room_open(room *r)
{
    im_encoder_options options = {.batch = 1};
    golden_path(r->model, sizeof(r->model), F32_MODEL, "");
    temporary_folder(r->cache);
    assert_int_equal(im_encoder_digest(r->model, r->digest, NULL), IM_OK);
    for (int p = 0; p < 3; p++) {
        im_encoder *encoder = NULL;
        options.precision = (im_precision)(IM_PRECISION_FP32 + p);
        assert_int_equal(im_encoder_open(r->model, &options, &encoder, NULL), IM_OK);
        assert_int_equal(encode(encoder, r->expected[p], NULL), IM_OK);
        (void)snprintf(r->file, sizeof(r->file), "%s-%s-fp32", r->digest,
                       im_encoder_describe(encoder)->kernel);
        assert_null(im_encoder_describe(encoder)->packed);
        im_encoder_close(encoder);
    }
}

static size_t n_files(const char *folder, const char *tail)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        size_t size = strlen(e->d_name);
        n += size > strlen(tail) && strcmp(e->d_name + size - strlen(tail), tail) == 0;
    }
    (void)closedir(dir);
    return n;
}

static void it_is_made_once_and_mapped_afterwards(void **state)
{
    room r;
    (void)state;
    room_open(&r);
    assert_false(is_mapped(&r, IM_PRECISION_FP32, false, ""));
    for (int p = IM_PRECISION_FP32; p <= IM_PRECISION_INT8; p++) {
        im_encoder *encoder = NULL;
        assert_int_equal(open_packed(&r, (im_precision)p, true, &encoder, NULL), IM_OK);
        assert_true(im_encoder_describe(encoder)->packed_made);
        im_encoder_close(encoder);
        assert_int_equal(open_packed(&r, (im_precision)p, true, &encoder, NULL), IM_OK);
        assert_false(im_encoder_describe(encoder)->packed_made);
        im_encoder_close(encoder);
        assert_true(is_mapped(&r, (im_precision)p, false, ""));
    }
    assert_int_equal(n_files(r.cache, ".tmp"), 0);
    remove_folder(r.cache);
}

/* One byte of each part of the file: the verdict of the reader is never to believe it. */
static void a_damaged_file_is_not_believed_and_made_anew(void **state)
{
    room r;
    (void)state;
    room_open(&r);
    assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    im_bytes whole = read_file(r.cache, r.file);
    const packed_head *head = (const packed_head *)whole.data;
    const packed_entry *entries = (const packed_entry *)(whole.data + head->entries_offset);
    size_t n_places = 0;
    size_t places[512];
    for (size_t i = 0; i < sizeof(packed_head); i += 9) {
        places[n_places++] = i;
    }
    for (size_t i = 0; i < head->n_entries && n_places + 2 < IM_COUNT(places); i++) {
        places[n_places++] = (size_t)(entries[i].offset + i * 37 % entries[i].bytes);
        places[n_places++] = (size_t)head->entries_offset + i * sizeof(packed_entry) + i % 120;
    }
    assert_true(n_places > 80);
    for (size_t i = 0; i < n_places; i++) {
        whole.data[places[i]] ^= 0x10;
        write_file(r.cache, r.file, whole.data, whole.size);
        whole.data[places[i]] ^= 0x10;
        if (is_mapped(&r, IM_PRECISION_FP32, false, "packed weights")) {
            fail_msg("byte %zu was changed and believed", places[i]);
        }
        if (i % 16 == 0) {
            assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
            assert_true(is_mapped(&r, IM_PRECISION_FP32, false, ""));
        }
    }
    im_bytes_clear(&whole);
    remove_folder(r.cache);
}

static void a_cut_or_foreign_file_is_made_anew(void **state)
{
    room r;
    char bf16[256];
    (void)state;
    room_open(&r);
    assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    im_bytes whole = read_file(r.cache, r.file);
    const size_t sizes[] = {0, 1, 64, 255, 4095, 4096, 5000, whole.size / 2, whole.size - 1};
    for (size_t i = 0; i < IM_COUNT(sizes); i++) {
        write_file(r.cache, r.file, whole.data, sizes[i]);
        assert_false(is_mapped(&r, IM_PRECISION_FP32, false, "packed weights"));
        assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    }
    /* an older version, with a head that is right in itself */
    packed_head old;
    memcpy(&old, whole.data, sizeof(old));
    old.version = PACKED_VERSION - 1;
    old.crc = im_crc32c(0, &old, offsetof(packed_head, crc));
    memcpy(whole.data, &old, sizeof(old));
    write_file(r.cache, r.file, whole.data, whole.size);
    assert_false(is_mapped(&r, IM_PRECISION_FP32, false, "another version"));
    assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    im_bytes_clear(&whole);
    /* the file of another precision under this name */
    assert_true(is_mapped(&r, IM_PRECISION_BF16, true, ""));
    (void)snprintf(bf16, sizeof(bf16), "%.*s-bf16", (int)strlen(r.file) - 5, r.file);
    whole = read_file(r.cache, bf16);
    write_file(r.cache, r.file, whole.data, whole.size);
    assert_false(is_mapped(&r, IM_PRECISION_FP32, false, "precision"));
    im_bytes_clear(&whole);
    /* a folder in its place cannot be replaced */
    remove_file(r.cache, r.file);
    char *path = path_in(r.cache, r.file);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_false(is_mapped(&r, IM_PRECISION_FP32, true, r.file));
    assert_int_equal(rmdir(path), 0);
    im_free(path);
    assert_int_equal(n_files(r.cache, ".tmp"), 0);
    remove_folder(r.cache);
}

/* What is asked for under a digest that is not the folder's is never written. */
static void the_digest_must_be_that_of_the_folder(void **state)
{
    room r;
    (void)state;
    room_open(&r);
    r.digest[0] = r.digest[0] == '0' ? '1' : '0';
    assert_false(is_mapped(&r, IM_PRECISION_FP32, true, "changed while it was packed"));
    assert_int_equal(n_files(r.cache, "-fp32"), 0);
    remove_folder(r.cache);
}

static void a_folder_that_cannot_be_written_means_memory(void **state)
{
    room r;
    char cache[HELP_FOLDER_BYTES];
    (void)state;
    room_open(&r);
    memcpy(cache, r.cache, sizeof(cache));
    write_text(r.cache, "file", "");
    (void)snprintf(r.cache, sizeof(r.cache), "%.50s/file/x", cache);
    assert_false(is_mapped(&r, IM_PRECISION_FP32, true, "file"));
    memcpy(r.cache, "/proc/no", sizeof("/proc/no"));
    assert_false(is_mapped(&r, IM_PRECISION_FP32, true, "/proc/no"));
    (void)snprintf(r.cache, sizeof(r.cache), "%.50s/new/er", cache); /* made with its parents */
    assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    remove_folder(cache);
}

/* The nth call of each kind fails: the right vectors or a verdict, nothing left behind. */
static void each_failed_call_means_memory_or_a_verdict(void **state)
{
    static const struct {
        im_fault_kind kind;
        int errnum;
    } faults[] = {{IM_FAULT_WRITE, ENOSPC}, {IM_FAULT_SYNC, EIO},    {IM_FAULT_RENAME, EROFS},
                  {IM_FAULT_MAP, ENODEV},   {IM_FAULT_OPEN, EACCES}, {IM_FAULT_READ, EIO},
                  {IM_FAULT_ALLOC, ENOMEM}};
    room r;
    (void)state;
    room_open(&r);
    for (size_t f = 0; f < IM_COUNT(faults); f++) {
        size_t step = faults[f].kind == IM_FAULT_ALLOC ? (TEST_SANITIZED ? 101 : 23) : 1;
        size_t in_memory = 0;
        bool fired = true;
        for (size_t n = 0; fired; n++) {
            im_encoder *encoder = NULL;
            im_error err = IM_ERROR_INIT;
            float out[2 * DIM];
            size_t before = im_live_allocations();
            char *path = path_in(r.cache, r.file);
            (void)unlink(path);
            im_free(path);
            im_fault_set(faults[f].kind, n * step, faults[f].errnum);
            im_code rc = open_packed(&r, IM_PRECISION_FP32, true, &encoder, &err);
            fired = im_fault_fired(faults[f].kind);
            im_fault_clear();
            if (rc == IM_OK) {
                in_memory += im_encoder_describe(encoder)->packed == NULL;
                assert_int_equal(encode(encoder, out, NULL), IM_OK);
                assert_memory_equal(out, r.expected[0], sizeof(out));
            } else {
                assert_true(fired && err.message[0] != '\0');
            }
            im_encoder_close(encoder);
            assert_int_equal(im_live_allocations(), before);
            assert_int_equal(n_files(r.cache, ".tmp"), 0);
        }
        if (in_memory == 0 && faults[f].kind != IM_FAULT_READ &&
            faults[f].kind != IM_FAULT_ALLOC) { /* the model is read before */
            fail_msg("kind %d: no failure led to memory", (int)faults[f].kind);
        }
        assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    }
    remove_folder(r.cache);
}

/* Eight processes at once, and each finds the file in the end. */
static void processes_that_make_it_at_once_agree(void **state)
{
    room r;
    pid_t children[8];
    (void)state;
    room_open(&r);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < IM_COUNT(children); i++) {
            children[i] = fork();
            if (children[i] == 0) {
                im_encoder *encoder = NULL;
                float out[2 * DIM];
                bool ok = open_packed(&r, IM_PRECISION_FP32, true, &encoder, NULL) == IM_OK &&
                          im_encoder_describe(encoder)->packed != NULL &&
                          encode(encoder, out, NULL) == IM_OK &&
                          memcmp(out, r.expected[0], sizeof(out)) == 0;
                _exit(ok ? 0 : 1);
            }
            assert_true(children[i] > 0);
        }
        for (size_t i = 0; i < IM_COUNT(children); i++) {
            int status = 0;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_int_equal(status, 0);
        }
        assert_int_equal(n_files(r.cache, ".tmp"), 0);
        write_text(r.cache, r.file, "damaged: the next round makes it anew");
    }
    remove_folder(r.cache);
}

/* Cut while in use: an error, then memory or a new file, never other numbers. */
static void a_file_cut_in_use_is_told(void **state)
{
    room r;
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    float out[2 * DIM];
    (void)state;
    room_open(&r);
    assert_int_equal(open_packed(&r, IM_PRECISION_FP32, true, &encoder, NULL), IM_OK);
    char *path = path_in(r.cache, r.file);
    assert_int_equal(truncate(path, 8192), 0);
    im_free(path);
    im_code rc = encode(encoder, out, &err);
    assert_refused(rc, &err, IM_ERR_IO, "model_lost", r.file, NULL);
    im_encoder_close(encoder);
    assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    remove_folder(r.cache);
}

/* Rows of the token table are read from the model's own file: a changed one is found when a text
 * touches its block; from then on the model must be opened again. */
static void a_changed_token_table_is_found(void **state)
{
    room r;
    char model[HELP_FOLDER_BYTES];
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    float out[2 * DIM];
    size_t n = 0;
    (void)state;
    room_open(&r);
    temporary_folder(model);
    copy_model(model, F32_MODEL);
    memcpy(r.model, model, sizeof(model));
    assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    im_bytes file = read_file(model, "model.safetensors");
    float *table = find_values(&file, "text_model.embeddings.token_embedding.weight", &n);
    table[n - 1] += 1; /* the end token: every text has it */
    write_file(model, "model.safetensors", file.data, file.size);
    im_bytes_clear(&file);
    assert_int_equal(open_packed(&r, IM_PRECISION_FP32, false, &encoder, NULL), IM_OK);
    assert_false(im_encoder_lost(encoder));
    im_code rc = encode(encoder, out, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", "token table", NULL);
    assert_true(im_encoder_lost(encoder));
    im_encoder_close(encoder);
    remove_folder(model);
    remove_folder(r.cache);
}

/* The same file cut: rows that are gone are not called changed. */
static void a_token_table_that_is_cut_is_lost(void **state)
{
    room r;
    char model[HELP_FOLDER_BYTES];
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    float out[2 * DIM];
    (void)state;
    room_open(&r);
    temporary_folder(model);
    copy_model(model, F32_MODEL);
    memcpy(r.model, model, sizeof(model));
    assert_int_equal(open_packed(&r, IM_PRECISION_FP32, true, &encoder, NULL), IM_OK);
    char *path = path_in(model, "model.safetensors");
    assert_int_equal(truncate(path, 4096), 0);
    im_free(path);
    im_code rc = encode(encoder, out, &err);
    assert_refused(rc, &err, IM_ERR_IO, "model_lost", "cut", NULL);
    im_view text = im_view_from("0123456789 the red flower");
    rc = im_encoder_texts(encoder, &text, 1, out, NULL, &err);
    assert_refused(rc, &err, IM_ERR_IO, "model_lost", "cut", NULL);
    assert_true(im_encoder_lost(encoder));
    im_encoder_close(encoder);
    remove_folder(model);
    remove_folder(r.cache);
}

static void put_old(const char *folder, const char *name, int days)
{
    struct timespec times[2] = {{.tv_sec = time(NULL) - (time_t)days * 24 * 3600}, {0}};
    times[1] = times[0];
    write_text(folder, name, "x");
    char *path = path_in(folder, name);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    im_free(path);
}

static bool is_there(const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    bool there = im_file_exists(path);
    im_free(path);
    return there;
}

/* A new file clears up what nobody used for long, and nothing that is not imago's. */
static void what_nobody_uses_goes(void **state)
{
    room r;
    char old[160];
    char young[160];
    char left[160];
    (void)state;
    room_open(&r);
    (void)snprintf(old, sizeof(old), "%064d-avx2-fp32", 1);
    (void)snprintf(young, sizeof(young), "%064d-avx2-fp32", 2);
    (void)snprintf(left, sizeof(left), "%064d-avx2-fp32.tmp", 3);
    put_old(r.cache, old, PACKED_KEEP_DAYS + 1);
    put_old(r.cache, young, PACKED_KEEP_DAYS - 1);
    put_old(r.cache, left, 0);
    put_old(r.cache, "notes.txt", 1000);
    assert_true(is_mapped(&r, IM_PRECISION_FP32, true, ""));
    assert_false(is_there(r.cache, old));
    assert_true(is_there(r.cache, young));
    assert_false(is_there(r.cache, left));
    assert_true(is_there(r.cache, "notes.txt"));
    /* being used makes it young again */
    im_bytes whole = read_file(r.cache, r.file);
    put_old(r.cache, r.file, PACKED_KEEP_DAYS + 1);
    char *path = path_in(r.cache, r.file);
    struct timespec times[2] = {{.tv_sec = time(NULL) - 90 * 24 * 3600}, {0}};
    struct stat info;
    times[1] = times[0];
    write_file(r.cache, r.file, whole.data, whole.size);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_true(is_mapped(&r, IM_PRECISION_FP32, false, ""));
    assert_int_equal(stat(path, &info), 0);
    assert_true(time(NULL) - info.st_mtime < 3600);
    im_free(path);
    im_bytes_clear(&whole);
    remove_folder(r.cache);
}

/* A budget that no tower fits in makes no file; one that holds just scratch maps what is there. */
static void a_budget_counts_no_mapped_weights(void **state)
{
    room r;
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    (void)state;
    room_open(&r);
    im_packing packing = {.folder = r.cache, .digest = r.digest, .make = true};
    im_encoder_options options = {.batch = 1, .memory_bytes = 1, .packing = &packing};
    im_code rc = im_encoder_open(r.model, &options, &encoder, &err);
    assert_refused(rc, &err, IM_ERR_NOMEM, "memory_budget", r.model, NULL);
    assert_int_equal(n_files(r.cache, "-fp32"), 0);
    options.memory_bytes = 0;
    assert_int_equal(im_encoder_open(r.model, &options, &encoder, NULL), IM_OK);
    model_config config = encoder->config;
    im_encoder_close(encoder);
    encoder = NULL;
    weights_kind mapped = {.mapped = true};
    weights_kind memory = {0};
    uint64_t scratch =
        encoder_image_bytes(&config, 1, mapped) + encoder_text_bytes(&config, mapped);
    uint64_t all = encoder_image_bytes(&config, 1, memory) + encoder_text_bytes(&config, memory);
    assert_true(scratch < all);
    options.memory_bytes = scratch;
    assert_int_equal(im_encoder_open(r.model, &options, &encoder, NULL), IM_OK);
    assert_non_null(im_encoder_describe(encoder)->packed);
    im_encoder_close(encoder);
    remove_folder(r.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_once_and_mapped_afterwards),
        cmocka_unit_test(a_damaged_file_is_not_believed_and_made_anew),
        cmocka_unit_test(a_cut_or_foreign_file_is_made_anew),
        cmocka_unit_test(the_digest_must_be_that_of_the_folder),
        cmocka_unit_test(a_folder_that_cannot_be_written_means_memory),
        cmocka_unit_test(each_failed_call_means_memory_or_a_verdict),
        cmocka_unit_test(processes_that_make_it_at_once_agree),
        cmocka_unit_test(a_file_cut_in_use_is_told),
        cmocka_unit_test(a_changed_token_table_is_found),
        cmocka_unit_test(a_token_table_that_is_cut_is_lost),
        cmocka_unit_test(what_nobody_uses_goes),
        cmocka_unit_test(a_budget_counts_no_mapped_weights),
    };
    return cmocka_run_group_tests_name("encoder packed", tests, NULL, NULL);
}
