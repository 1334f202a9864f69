/* tests/bench/bench_compact.c — compaction beside a rebuild from the database and beside copying as
 * many bytes, as JSON: bench_compact N_ROWS. 512 values a row, every other row dead. Works in
 * $TMPDIR and removes what it made. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "tests/bench/help_bench.h"
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#define DIM 512
#define BATCH 1024

static im_error err = IM_ERROR_INIT;

static void make_model(im_store *store, im_model_row *out)
{
    *out = (im_model_row){.name = (char *)"bench",
                          .folder = (char *)"/models/bench",
                          .files = (char *)"[]",
                          .family = "clip",
                          .dim = DIM,
                          .precision = "fp32"};
    memset(out->digest, 'a', sizeof out->digest - 1);
    stop_on(im_store_put_model(store, out, &out->id, &err), &err);
    stop_on(im_store_activate_model(store, out->id, &err), &err);
}

static void vector_of(uint64_t n, float *out)
{
    double squares = 0;
    for (size_t i = 0; i < DIM; i++) {
        out[i] = sinf((float)(n % 8191) + (float)i * 0.7f);
        squares += (double)out[i] * (double)out[i];
    }
    for (size_t i = 0; i < DIM; i++) {
        out[i] = (float)((double)out[i] / sqrt(squares));
    }
}

static void put_batch(im_store *store, const im_model_row *model, im_index_writer *writer,
                      uint64_t from, uint64_t n)
{
    stop_on(im_store_begin(store, &err), &err);
    for (uint64_t i = from; i < from + n; i++) {
        float vector[DIM];
        uint64_t id = 0;
        uint64_t slot = 0;
        im_item item = {.bytes = 1, .format = "jpeg", .width = 4000, .height = 3000, .added_ns = 1};
        memcpy(item.sha256, &i, sizeof(i));
        vector_of(i, vector);
        stop_on(im_store_put_item(store, &item, &id, &err), &err);
        stop_on(im_index_writer_append(writer, &id, vector, 1, &slot, &err), &err);
        stop_on(im_store_put_embedding(store, id, model->id, slot, vector, DIM, &err), &err);
    }
    stop_on(im_store_commit(store, &err), &err);
}

static void fill(im_store *store, const im_model_row *model, const char *folder, uint64_t n_rows)
{
    im_index_writer *writer = NULL;
    im_index_record record = {1, 0};
    im_index_state state = {.dim = DIM, .generation = 1};
    im_store_id(store, state.library_id);
    memcpy(state.model_digest, model->digest, sizeof(state.model_digest));
    stop_on(im_index_create(folder, &state, &err), &err);
    stop_on(im_index_writer_open(folder, &state, &writer, &err), &err);
    for (uint64_t n = 0; n < n_rows; n += BATCH) {
        put_batch(store, model, writer, n, IM_MIN((uint64_t)BATCH, n_rows - n));
    }
    stop_on(im_index_writer_sync(writer, &err), &err);
    im_index_writer_close(writer);
    record.n_rows = n_rows;
    stop_on(im_store_set_index(store, model->id, &record, &err), &err);
    codes_update(store, folder, model, NULL, NULL);
    stop_on(im_store_begin(store, &err), &err);
    for (uint64_t id = 2; id <= n_rows; id += 2) {
        stop_on(im_store_remove_item(store, id, &err), &err);
    }
    stop_on(im_store_commit(store, &err), &err);
}

/* The least that a new file can cost. */
static double copy_ms(const char *folder, uint64_t bytes)
{
    static uint8_t block[1u << 20];
    int fd = -1;
    char *path = im_path_join(folder, "copy");
    uint64_t start = im_clock_ns();
    stop_on(im_file_open(path, O_WRONLY | O_CREAT, 0666, &fd, &err), &err);
    for (uint64_t at = 0; at < bytes; at += sizeof(block)) {
        stop_on(im_file_pwrite(fd, block, sizeof(block), at, path, &err), &err);
    }
    stop_on(im_file_sync(fd, path, &err), &err);
    close(fd);
    double ms = im_clock_ms_since(start);
    (void)unlink(path);
    im_free(path);
    return ms;
}

int main(int argc, char **argv)
{
    char base[HELP_FOLDER_BYTES];
    char library[160];
    uint64_t n_rows = 0;
    uint64_t rows = 0;
    im_store *store = NULL;
    im_pool *pool = NULL;
    im_model_row model;
    im_compact_report report;
    if (argc != 2 || !im_parse_u64(argv[1], BATCH, 100000000, &n_rows) ||
        help_temporary(base) == NULL) {
        fprintf(stderr, "usage: bench_compact N_ROWS\n");
        return 2;
    }
    snprintf(library, sizeof(library), "%s/library", base);
    stop_on(im_store_create(library, &err), &err);
    stop_on(im_store_open(library, IM_STORE_WRITE, &store, &err), &err);
    stop_on(im_pool_open(0, &pool, &err), &err);
    make_model(store, &model);
    char *index = im_path_join(library, "index");
    char *folder = im_path_join(index, model.digest);
    fill(store, &model, folder, n_rows);
    double copy = copy_ms(folder, im_index_bytes(DIM, n_rows / 2));
    uint64_t start = im_clock_ns();
    stop_on(compact_index(store, folder, &model, false, pool, NULL, &report, &err), &err);
    double compact = im_clock_ms_since(start);
    start = im_clock_ns(); /* nothing moves now: the reading and writing of rows alone */
    stop_on(rebuild_index(store, folder, &model, 0, NULL, &rows, &err), &err);
    double rebuild = im_clock_ms_since(start);
    printf("{\"rows\": %llu, \"kept\": %llu, \"compact_ms\": %.0f, \"rebuild_ms\": %.0f, "
           "\"copy_ms\": %.0f, \"freed_bytes\": %llu}\n",
           (unsigned long long)n_rows, (unsigned long long)report.rows, compact, rebuild, copy,
           (unsigned long long)report.freed_bytes);
    im_pool_close(pool);
    im_store_close(store);
    im_free(folder);
    im_free(index);
    return help_remove_folder(base) != 0;
}
