/* tests/bench/bench_columns.c — how fast columns are built, opened, filtered, sorted. Prints one
 * JSON object a line. usage: bench_columns [N] [ROUNDS]  (in $TMPDIR) */
#include "base/clock.h"
#include "help_bench.h"
#include "index/index.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WARMUP = 2 };

static const im_column_spec specs[] = {
#define X(name, kind) {name, kind},
    IM_COLUMNS_BUILT_IN(X)
#undef X
        {"field.note", IM_COLUMN_TEXT},
};
enum { N_SPECS = sizeof(specs) / sizeof(specs[0]) };

static uint64_t seed = 12345;
static size_t n_rows = 1000000, rounds = 30;
static double *times;

static uint64_t next(uint64_t limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % limit;
}

/* 1,000 values of most numbers, 300 cameras, a note for each row that none repeats. */
static im_code rows(void *context, im_columns_sink take, void *sink, im_error *err)
{
    (void)context;
    im_code rc = IM_OK;
    for (size_t slot = 0; rc == IM_OK && slot < n_rows; slot++) {
        char camera[40], note[40];
        im_column_value values[N_SPECS];
        for (size_t i = 0; i < N_SPECS; i++) {
            values[i].integer = (int64_t)next(1000);
        }
        snprintf(camera, sizeof(camera), "Maker %d Model %d", (int)next(10), (int)next(30));
        snprintf(note, sizeof(note), "Note %zu of %d", slot, (int)next(100));
        values[2].text = im_view_from(camera);
        values[3].text = im_view_from("50mm F1.8");
        values[4].number = (double)next(18000) / 100 - 90;
        values[5].number = (double)next(36000) / 100 - 180;
        values[6].text = im_view_from(next(2) != 0 ? "jpeg" : "png");
        values[7].text = im_view_from("file");
        values[N_SPECS - 1].text = im_view_from(note);
        im_columns_row row = {slot, slot + 1, values};
        rc = take(sink, &row, err);
    }
    return rc;
}

static void report(const char *what, uint64_t count, double first)
{
    qsort(times, rounds, sizeof(double), by_value);
    printf("{\"bench\":\"%s\",\"n\":%zu,\"hits\":%llu,\"first_ms\":%.3f,\"p50_ms\":%.3f,"
           "\"p95_ms\":%.3f}\n",
           what, n_rows, (unsigned long long)count, first, times[rounds / 2],
           times[rounds * 95 / 100]);
}

static void bench_filter(im_columns *columns, const char *what, const im_condition *condition)
{
    im_error err = IM_ERROR_INIT;
    uint64_t *bits = malloc(n_rows / 8 + 8);
    uint64_t count = 0;
    double first = 0;
    for (size_t round = 0; round < rounds + WARMUP; round++) {
        uint64_t start = im_clock_ns();
        stop_on(im_columns_filter(columns, condition, NULL, bits, &count, &err), &err);
        double ms = im_clock_ms_since(start);
        first = round == 0 ? ms : first;
        times[round >= WARMUP ? round - WARMUP : 0] = ms;
    }
    report(what, count, first);
    free(bits);
}

static void bench_sort(im_columns *columns, const char *what, const char *column, size_t k)
{
    im_error err = IM_ERROR_INIT;
    im_columns_hit *hits = malloc(k * sizeof(*hits));
    size_t got = 0;
    double first = 0;
    for (size_t round = 0; round < rounds; round++) {
        uint64_t start = im_clock_ns();
        stop_on(im_columns_sort(columns, column, true, NULL, NULL, k, hits, &got, NULL, &err),
                &err);
        times[round] = im_clock_ms_since(start);
        first = round == 0 ? times[0] : first;
    }
    report(what, got, first);
    free(hits);
}

static void bench_all(im_columns *columns)
{
    char width[] = "width", height[] = "height", camera[] = "camera", note[] = "field.note";
    char part[] = "model 7", note_part[] = "99 of 5";
    im_condition percent[3];
    static const int64_t most[] = {9, 99, 499};
    static const char *const names[] = {"range 1 %", "range 10 %", "range 50 %"};
    for (size_t i = 0; i < 3; i++) {
        percent[i] =
            (im_condition){.kind = IM_CONDITION_INTEGERS, .column = width, .max_i = most[i]};
        bench_filter(columns, names[i], &percent[i]);
    }
    im_condition text = {.kind = IM_CONDITION_TEXT_PART, .column = camera, .text = part};
    im_condition notes = {.kind = IM_CONDITION_TEXT_PART, .column = note, .text = note_part};
    im_condition near = {.kind = IM_CONDITION_NEAR, .place = {48.86, 2.35, 500000}};
    im_condition tall = {.kind = IM_CONDITION_INTEGERS, .column = height, .max_i = 499};
    im_condition *children[] = {&percent[1], &text, &tall};
    im_condition all = {.kind = IM_CONDITION_AND, .children = children, .n_children = 3};
    bench_filter(columns, "text part, 300 texts", &text);
    bench_filter(columns, "text part, a text a row", &notes);
    bench_filter(columns, "near", &near);
    bench_filter(columns, "and of three", &all);
    bench_sort(columns, "sort by a number, k 20", "taken", 20);
    bench_sort(columns, "sort by a text, k 1000", "field.note", 1000);
}

int main(int argc, char **argv)
{
    im_error err = IM_ERROR_INIT;
    char folder[HELP_FOLDER_BYTES], path[HELP_FOLDER_BYTES + 32];
    n_rows = argc > 1 ? strtoull(argv[1], NULL, 10) : n_rows;
    rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : rounds;
    times = malloc((rounds + 1) * sizeof(double));
    if (times == NULL || rounds < 1 || n_rows < 1 || help_temporary(folder) == NULL) {
        return 1;
    }
    im_index_state state = {.dim = 1, .generation = 1, .n_rows = n_rows, .model_digest = "bench"};
    im_columns *columns = NULL;
    uint64_t start = im_clock_ns();
    stop_on(im_columns_build(folder, &state, specs, N_SPECS, 1, rows, NULL, &err), &err);
    printf("{\"bench\":\"build\",\"n\":%zu,\"columns\":%d,\"ms\":%.1f}\n", n_rows, N_SPECS,
           im_clock_ms_since(start));
    start = im_clock_ns();
    stop_on(im_columns_open(folder, &state, 1, specs, N_SPECS, &columns, &err), &err);
    printf("{\"bench\":\"open\",\"ms\":%.3f}\n", im_clock_ms_since(start));
    bench_all(columns);
    im_columns_close(columns);
    snprintf(path, sizeof(path), "%s/columns.1", folder);
    unlink(path);
    rmdir(folder);
    free(times);
    return 0;
}
