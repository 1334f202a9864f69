/* tests/bench/bench_store.c — speed of the store, as JSON: bench_store FOLDER N_ITEMS. Not a test;
 * FOLDER is made, filled and left. Rows: item, file, embedding of 512 floats, 256 items a commit.
 */
#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"
#include "store/store.h"
#include <stdio.h>
#include <string.h>

#define DIM 512
#define BATCH 256

static im_error err = IM_ERROR_INIT;

static void must(im_code rc)
{
    if (rc != IM_OK) {
        fprintf(stderr, "%s: %s\n", im_code_name(rc), err.message);
        exit(1);
    }
}

static uint64_t model_of(im_store *store)
{
    static float background[512 * DIM];
    uint64_t model = 0;
    im_model_row row = {.name = (char *)"bench",
                        .folder = (char *)"/models/bench",
                        .files = (char *)"[]",
                        .family = "clip",
                        .dim = DIM,
                        .precision = "fp32",
                        .background = background,
                        .n_background = 512};
    memset(row.digest, 'a', sizeof row.digest - 1);
    must(im_store_put_model(store, &row, &model, &err));
    must(im_store_activate_model(store, model, &err));
    return model;
}

static void put(im_store *store, uint64_t root, uint64_t model, uint64_t n)
{
    char name[64];
    float vector[DIM];
    uint64_t id = 0;
    im_item item = {.bytes = 3000000 + n,
                    .format = "jpeg",
                    .width = 4000,
                    .height = 3000,
                    .phash = n * 77,
                    .camera = "Canon EOS 5D",
                    .lens = "EF50mm f/1.8",
                    .added_ns = (int64_t)n};
    im_sha256_of(&n, sizeof n, item.sha256);
    for (size_t i = 0; i < DIM; i++) {
        vector[i] = (float)(i + n % 97) * 0.001f;
    }
    int size = snprintf(name, sizeof name, "2019/%04llu/IMG_%06llu.JPG",
                        (unsigned long long)(n / 500), (unsigned long long)n);
    must(im_store_put_item(store, &item, &id, &err));
    im_file_row file = {.root = root,
                        .path = im_view_of(name, (size_t)size),
                        .stamp = {.size = item.bytes, .mtime_ns = 1, .device = 2049, .inode = n},
                        .item = id};
    must(im_store_put_file(store, &file, NULL, &err));
    must(im_store_put_embedding(store, id, model, n, vector, DIM, &err));
}

static bool touch(void *context, uint64_t item, uint64_t slot, const float *vector, bool sound)
{
    (void)item;
    (void)slot;
    *(double *)context += sound ? (double)vector[0] : 1e9;
    return true;
}

static bool touch_row(void *context, const im_column_row *row)
{
    *(double *)context += (double)row->width + (double)row->n_fields + (double)row->camera.size;
    return true;
}

/* Every tenth item has two fields of its own, every fifth a tag. */
static void describe(im_store *store, uint64_t n_items)
{
    must(im_store_begin(store, &err));
    for (uint64_t id = 1; id <= n_items; id++) {
        im_value price = {.type = IM_VALUE_NUMBER, .number = (double)(id % 100)};
        im_value shop = {.type = IM_VALUE_TEXT, .text = im_view_from("corner shop")};
        if (id % 10 == 0) {
            must(im_store_put_field(store, id, "price", &price, &err));
            must(im_store_put_field(store, id, "shop", &shop, &err));
        }
        if (id % 5 == 0) {
            must(im_store_put_tag(store, id, "beach", IM_SOURCE_USER, &err));
        }
    }
    must(im_store_commit(store, &err));
}

typedef im_code (*slots_fn)(im_store *store, uint64_t model, im_view what, uint64_t n_rows,
                            uint64_t *bits, im_error *error);

static double ms_of(im_store *store, slots_fn fn, uint64_t model, const char *what,
                    uint64_t n_items, uint64_t *bits)
{
    uint64_t start = im_clock_ns();
    must(fn(store, model, im_view_from(what), n_items, bits, &err));
    return im_clock_ms_since(start);
}

static void print_filters(im_store *store, uint64_t model, uint64_t n_items)
{
    double sum = 0;
    bool known = false;
    uint64_t *bits = im_alloc_zero((size_t)(n_items + 63) / 64, sizeof(uint64_t));
    uint64_t start = im_clock_ns();
    must(im_store_each_column_row(store, model, 0, touch_row, &sum, &err));
    double rows_ms = im_clock_ms_since(start);
    start = im_clock_ns();
    must(im_store_each_changed_slot(store, model, n_items, touch_row, &sum, &known, &err));
    double changed_ms = im_clock_ms_since(start);
    printf("{\"column_rows_ms\": %.0f, \"changed_rows_ms\": %.0f, \"glob_all_ms\": %.0f, "
           "\"glob_few_ms\": %.0f, \"tag_ms\": %.0f, \"root_ms\": %.0f, \"word_all_ms\": %.0f, "
           "\"word_one_ms\": %.1f}\n",
           rows_ms, changed_ms,
           ms_of(store, im_store_slots_of_path_glob, model, "*.JPG", n_items, bits),
           ms_of(store, im_store_slots_of_path_glob, model, "*/IMG_0000*7.JPG", n_items, bits),
           ms_of(store, im_store_slots_of_tag, model, "beach", n_items, bits),
           ms_of(store, im_store_slots_in, model, "/photos", n_items, bits),
           ms_of(store, im_store_slots_of_text, model, "jpg", n_items, bits),
           ms_of(store, im_store_slots_of_text, model, "img 000077", n_items, bits));
    im_free(bits);
}

typedef struct figures {
    double put_ms, worst_commit_ms, describe_ms;
    double open_ms, model_ms, alive_ms, seq_ms, count_ms, each_ms, fetch_ms;
} figures;

static void fill(im_store *store, uint64_t root, uint64_t model, uint64_t n_items, figures *out)
{
    uint64_t start = im_clock_ns();
    for (uint64_t n = 0; n < n_items;) {
        uint64_t commit = im_clock_ns();
        must(im_store_begin(store, &err));
        for (uint64_t i = 0; i < BATCH && n < n_items; i++) {
            put(store, root, model, n++);
        }
        must(im_store_commit(store, &err));
        double ms = im_clock_ms_since(commit);
        out->worst_commit_ms = IM_MAX(ms, out->worst_commit_ms);
    }
    out->put_ms = im_clock_ms_since(start);
    start = im_clock_ns();
    describe(store, n_items);
    out->describe_ms = im_clock_ms_since(start);
}

static im_store *open_to_read(const char *folder, figures *out)
{
    im_store *store = NULL;
    im_model_row row = {0};
    uint64_t start = im_clock_ns();
    must(im_store_open(folder, IM_STORE_READ, &store, &err));
    out->open_ms = im_clock_ms_since(start);
    start = im_clock_ns();
    must(im_store_active_model(store, &row, &err));
    im_model_row_clear(&row);
    out->model_ms = im_clock_ms_since(start);
    return store;
}

static void count(im_store *store, uint64_t model, uint64_t n_items, im_store_counts *counts,
                  figures *out)
{
    uint64_t alive = 0;
    uint64_t seq = 0;
    uint64_t *bits = im_alloc_zero((size_t)(n_items + 63) / 64, sizeof(uint64_t));
    uint64_t start = im_clock_ns();
    must(im_store_alive_slots(store, model, n_items, bits, &alive, &err));
    out->alive_ms = im_clock_ms_since(start);
    im_free(bits);
    start = im_clock_ns();
    must(im_store_change_seq(store, &seq, &err));
    out->seq_ms = im_clock_ms_since(start);
    start = im_clock_ns();
    must(im_store_count(store, 0, counts, &err));
    out->count_ms = im_clock_ms_since(start);
}

/* All embeddings in turn, then 1,000 items and their paths from all over. */
static void fetch(im_store *store, uint64_t model, uint64_t n_items, figures *out)
{
    double sum = 0;
    uint64_t start = im_clock_ns();
    must(im_store_each_embedding(store, model, DIM, touch, &sum, &err));
    out->each_ms = im_clock_ms_since(start);
    start = im_clock_ns();
    for (uint64_t i = 0; i < 1000; i++) {
        im_item item;
        char *path = NULL;
        bool online = false;
        uint64_t id = 1 + i * 7919 % n_items;
        must(im_store_get_item(store, id, &item, &err));
        must(im_store_item_path(store, id, &path, &online, &err));
        im_free(path);
    }
    out->fetch_ms = im_clock_ms_since(start);
}

static void print_figures(const figures *f, uint64_t n_items, uint64_t db_bytes)
{
    printf("{\"items\": %llu, \"put_per_s\": %.0f, \"worst_commit_ms\": %.1f, \"bytes_per_item\": "
           "%.0f, \"open_ms\": %.2f, \"active_model_ms\": %.2f, \"alive_slots_ms\": %.1f, "
           "\"change_seq_ms\": %.3f, \"count_ms\": %.1f, \"each_embedding_ms\": %.0f, "
           "\"get_item_and_path_us\": %.1f, \"describe_us\": %.1f}\n",
           (unsigned long long)n_items, (double)n_items / f->put_ms * 1000, f->worst_commit_ms,
           (double)db_bytes / (double)n_items, f->open_ms, f->model_ms, f->alive_ms, f->seq_ms,
           f->count_ms, f->each_ms, f->fetch_ms, /* of 1,000, so in us of one */
           f->describe_ms * 1000 / ((double)n_items * 0.4));
}

int main(int argc, char **argv)
{
    uint64_t n_items = 0;
    uint64_t root = 0;
    im_store *store = NULL;
    im_store_counts counts;
    figures f = {0};
    if (argc != 3 || !im_parse_u64(argv[2], BATCH, 100000000, &n_items)) {
        fprintf(stderr, "usage: bench_store FOLDER N_ITEMS\n");
        return 2;
    }
    must(im_store_create(argv[1], &err));
    must(im_store_open(argv[1], IM_STORE_WRITE, &store, &err));
    must(im_store_put_root(store, "/photos", true, &root, &err));
    uint64_t model = model_of(store);
    fill(store, root, model, n_items, &f);
    im_store_close(store);
    store = open_to_read(argv[1], &f);
    count(store, model, n_items, &counts, &f);
    fetch(store, model, n_items, &f);
    print_figures(&f, n_items, counts.db_bytes);
    print_filters(store, model, n_items);
    im_store_close(store);
    return 0;
}
