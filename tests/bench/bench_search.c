/* tests/bench/bench_search.c — whole queries over a library with own fields, as JSON lines:
 * bench_search DATA N [ROUNDS [NAME]]. DATA is a source tree's data/ (for the bundled model). The
 * library of N random items is made in $TMPDIR and removed. Times are those of the answer, in ms,
 * medians: search (filter, order, rows), fetch (facts of the hits), encode. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "help_bench.h"

#include <unistd.h>

#define GROUP 2000u /* items a commit */

static uint64_t seed = 42;

static double unit(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed >> 40) / (double)(1u << 24);
}

/* Around one of 256 directions, so that neighbours exist. */
static void draw_vector(float *vector, size_t dim, uint64_t i)
{
    double squares = 0;
    uint64_t kept = seed;
    seed = 1000 + i % 256;
    for (size_t j = 0; j < dim; j++) {
        vector[j] = (float)(unit() - 0.5);
    }
    seed = kept;
    for (size_t j = 0; j < dim; j++) {
        vector[j] += (float)(0.7 * (unit() - 0.5));
        squares += (double)vector[j] * (double)vector[j];
    }
    for (size_t j = 0; j < dim; j++) {
        vector[j] /= (float)sqrt(squares);
    }
}

static void put_item(im_store *store, const im_model_row *model, uint64_t root, uint64_t i,
                     float *vector)
{
    im_error err = IM_ERROR_INIT;
    char text[64];
    uint64_t id = 0;
    im_item item = {.bytes = 1000 + i,
                    .width = 4000,
                    .height = 3000,
                    .format = "jpeg",
                    .has_taken = true,
                    .taken_s = 1400000000 + (int64_t)(unit() * 3e8)};
    memcpy(item.sha256, &i, sizeof(i));
    memcpy(item.sha256 + 8, "bench", 5);
    (void)snprintf(item.camera, sizeof(item.camera), "camera %u", (unsigned)(i % 40));
    stop_on(im_store_put_item(store, &item, &id, &err), &err);
    draw_vector(vector, model->dim, i);
    stop_on(im_store_put_embedding(store, id, model->id, i + 1, vector, model->dim, &err), &err);
    (void)snprintf(text, sizeof(text), "%u/p%07llu.jpg", (unsigned)(i % 100),
                   (unsigned long long)i);
    im_file_row file = {.root = root, .path = im_view_from(text), .item = id};
    file.stamp.inode = i + 1;
    stop_on(im_store_put_file(store, &file, NULL, &err), &err);
    im_value price = {.type = IM_VALUE_NUMBER, .number = floor(unit() * 1000) / 10};
    stop_on(im_store_put_field(store, id, "price", &price, &err), &err);
    if (i % 50 == 0) {
        stop_on(im_store_put_tag(store, id, "beach", IM_SOURCE_USER, &err), &err);
    }
}

static im_library *make_library(const im_places *places, uint64_t n)
{
    const im_library_options options = {.places = places, .writable = true};
    im_library *library = NULL;
    im_error err = IM_ERROR_INIT;
    uint64_t root = 0;
    stop_on(im_app_init(places, &err), &err);
    stop_on(im_library_open(&options, &library, &err), &err);
    stop_on(model_prepare(library, NULL, &err), &err);
    im_store *store = im_library_store(library);
    float *vector = im_alloc(library->model.dim, sizeof(float));
    uint64_t start = im_clock_ns();
    for (uint64_t i = 0; i < n; i++) {
        if (i % GROUP == 0) {
            stop_on(im_store_begin(store, &err), &err);
            stop_on(im_store_put_root(store, "/bench", true, &root, &err), &err);
        }
        put_item(store, &library->model, root, i, vector);
        if (i % GROUP == GROUP - 1 || i == n - 1) {
            stop_on(im_store_commit(store, &err), &err);
        }
    }
    printf("{\"what\":\"put\",\"items\":%llu,\"per_second\":%.0f}\n", (unsigned long long)n,
           (double)n / (im_clock_ms_since(start) / 1e3));
    im_free(vector);
    const im_index_record record = {1, n + 1};
    stop_on(im_store_set_index(store, library->model.id, &record, &err), &err);
    start = im_clock_ns();
    im_rebuild_report rebuilt;
    stop_on(im_app_rebuild(library, NULL, NULL, &rebuilt, &err), &err);
    printf("{\"what\":\"rebuild\",\"rows\":%llu,\"seconds\":%.2f}\n",
           (unsigned long long)rebuilt.vectors, im_clock_ms_since(start) / 1e3);
    return library;
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    return values[n / 2];
}

static void time_request(im_library *library, const char *what, const im_search_request *request,
                         size_t rounds)
{
    static double search[1024];
    static double fetch[1024];
    static double encode[1024];
    double first = 0;
    uint64_t total = 0;
    bool exact = false;
    rounds = IM_MIN(rounds, IM_COUNT(search));
    for (size_t i = 0; i <= rounds; i++) {
        im_answer answer;
        im_error err = IM_ERROR_INIT;
        stop_on(im_app_search(library, request, &answer, &err), &err);
        if (i == 0) { /* opens what it needs */
            first = answer.search_ms;
        } else {
            search[i - 1] = answer.search_ms;
            fetch[i - 1] = answer.fetch_ms;
            encode[i - 1] = answer.encode_ms;
        }
        total = answer.filtered;
        exact = answer.exact;
        im_answer_clear(&answer);
    }
    printf("{\"what\":\"%s\",\"filtered\":%llu,\"exact\":%s,\"first_ms\":%.3f,\"search_ms\":%.3f,"
           "\"fetch_ms\":%.3f,\"encode_ms\":%.3f}\n",
           what, (unsigned long long)total, exact ? "true" : "false", first, median(search, rounds),
           median(fetch, rounds), median(encode, rounds));
    (void)fflush(stdout);
}

/* 256 texts at once, without and with a filter. */
static void time_batch(im_library *library, const char *what, const char *filter)
{
    enum { N = 256 };
    static im_answer answers[N];
    static im_error errors[N];
    const im_search_how how = {0};
    im_error err = IM_ERROR_INIT;
    im_query_requests asked = {0};
    im_str body;
    im_str_init(&body, 1u << 20);
    im_str_add_c(&body, "{\"queries\":[");
    for (int i = 0; i < N; i++) {
        im_str_addf(&body, "%s{\"parts\":[{\"text\":\"a picture of thing %d\"}],\"k\":10%s%s%s}",
                    i > 0 ? "," : "", i, filter[0] != '\0' ? ",\"filter\":\"" : "", filter,
                    filter[0] != '\0' ? "\"" : "");
    }
    im_str_add_c(&body, "]}");
    stop_on(im_app_read_requests(library, im_view_of(im_str_text(&body), body.size), "bench",
                                 &asked, &err),
            &err);
    stop_on(im_app_search_many(library, &how, asked.requests, N, answers, errors, &err), &err);
    printf("{\"what\":\"%s\",\"queries\":%d,\"search_ms_each\":%.3f,\"encode_ms_each\":%.3f}\n",
           what, N, answers[0].search_ms, answers[0].encode_ms);
    for (int i = 0; i < N; i++) {
        im_answer_clear(&answers[i]);
    }
    im_query_requests_clear(&asked);
    im_str_clear(&body);
}

int main(int argc, char **argv)
{
    char base[HELP_FOLDER_BYTES];
    char library_folder[160];
    char models[160];
    uint64_t n = 0;
    uint64_t rounds = 21;
    if (argc < 3 || !im_parse_u64(argv[2], 1, 100000000, &n) ||
        (argc > 3 && !im_parse_u64(argv[3], 1, 1024, &rounds)) || help_temporary(base) == NULL) {
        fprintf(stderr, "bench_search DATA N [ROUNDS [NAME]]\n");
        return 2;
    }
    (void)snprintf(library_folder, sizeof(library_folder), "%s/library", base);
    (void)snprintf(models, sizeof(models), "%s/models", base);
    const im_places places = {.library = library_folder, .models = models, .share = argv[1]};
    im_library *library = make_library(&places, n);
    const struct {
        const char *what;
        im_search_request request;
    } rows[] = {
        {"ranked", {.text = "a red car", .k = 10}},
        {"ranked, fast", {.text = "a red car", .k = 10, .mode = IM_MODE_FAST}},
        {"price<1 (1 %)", {.text = "a red car price<1", .k = 10}},
        {"price<10 (10 %)", {.text = "a red car price<10", .k = 10}},
        {"price<50 (50 %)", {.text = "a red car price<50", .k = 10}},
        {"tag:beach (2 %)", {.text = "a red car tag:beach", .k = 10}},
        {"path:7/* (1 %)", {.text = "a red car path:7/*", .k = 10}},
        {"camera:39 (2.5 %)", {.text = "a red car camera:\"camera 39\"", .k = 10}},
        {"sorted by taken", {.text = "a red car", .sort = "taken", .k = 10}},
        {"listing, taken:2016", {.text = "taken:2016", .k = 10}},
        {"group camera", {.text = "a red car", .group = "camera", .k = 10}},
    };
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        if (argc <= 4 || strstr(rows[i].what, argv[4]) != NULL) {
            time_request(library, rows[i].what, &rows[i].request, (size_t)rounds);
        }
    }
    if (argc <= 4) {
        time_batch(library, "256 at once", "");
        time_batch(library, "256 at once, price<10", "price<10");
    }
    im_library_close(library);
    return help_remove_folder(base) == 0 ? 0 : 1;
}
