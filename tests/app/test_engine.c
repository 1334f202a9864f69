/* tests/app/test_engine.c — covers app/engine*.c and app/audit.c over a library of vectors in
 * clusters, written through the store: who answers when, what a file that cannot be used changes
 * (nothing but the engine), and that the interval of an audit holds the recall that brute force
 * finds. IMAGO_TEST_LONG=1 grows the library above the proved range. */
#include "base/fault.h"
#include "base/file.h"
#include "tests/app/help.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIM = HELP_DIM, ROWS = 8000, CLUSTERS = 100, TEXTS = 1500, ASKED = 1500, K = 20 };

static help_home home;
static float *vectors; /* [n_rows, DIM], by slot */
static size_t n_rows;
static uint64_t seed = 42;

/* ---- a library of vectors ---- */

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static float normal(void)
{
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (float)(next() >> 40) / 8388608.0F - 1.0F;
    }
    return sum;
}

static void make_unit(float *vector)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++) {
        sum += (double)vector[i] * (double)vector[i];
    }
    for (size_t i = 0; i < DIM; i++) {
        vector[i] = (float)((double)vector[i] / sqrt(sum));
    }
}

static void draw(const float *centres, float *out)
{
    const float *centre = centres + next() % CLUSTERS * DIM;
    for (size_t i = 0; i < DIM; i++) {
        out[i] = centre[i] + 0.5F * normal();
    }
    make_unit(out);
}

static void put_items(im_library *library, size_t first, size_t n, uint64_t *items)
{
    im_error err = IM_ERROR_INIT;
    im_store *store = im_library_store(library);
    help_ok(im_store_begin(store, &err), &err);
    for (size_t i = 0; i < n; i++) {
        im_item item = {.bytes = 1, .width = 1, .height = 1, .format = "png"};
        uint64_t mark = first + i + 1;
        memcpy(item.sha256, &mark, sizeof(mark));
        help_ok(im_store_put_item(store, &item, &items[i], &err), &err);
        help_ok(im_store_put_embedding(store, items[i], library->model.id, first + i,
                                       vectors + (first + i) * DIM, DIM, &err),
                &err);
    }
}

/* Rows up to n_rows behind those that there are, as `add` writes them. */
static void put_rows(im_library *library, size_t n)
{
    im_error err = IM_ERROR_INIT;
    im_index_record record;
    im_index_state state;
    im_index_writer *writer = NULL;
    uint64_t slot = 0;
    uint64_t *items = malloc(n * sizeof(*items));
    char *folder = library_index_folder(library, library->model.digest);
    assert_non_null(items);
    help_ok(im_store_lock(library->store, 1000, &err), &err);
    help_ok(im_store_get_index(library->store, library->model.id, &record, &err), &err);
    library_index_state(library, &library->model, &record, &state);
    put_items(library, (size_t)record.n_rows, n, items);
    help_ok(im_index_writer_open(folder, &state, &writer, &err), &err);
    help_ok(im_index_writer_append(writer, items, vectors + record.n_rows * DIM, n, &slot, &err),
            &err);
    help_ok(im_index_writer_sync(writer, &err), &err);
    im_index_writer_close(writer);
    record.n_rows += n;
    help_ok(im_store_set_index(library->store, library->model.id, &record, &err), &err);
    help_ok(im_store_commit(library->store, &err), &err);
    im_store_unlock(library->store);
    im_free(folder);
    free(items);
    n_rows = (size_t)record.n_rows;
}

static void put_texts(void)
{
    static const char *const words[] = {"red",  "car",  "dog",   "sea", "old",  "house", "green",
                                        "tree", "boat", "night", "man", "snow", "bird",  "bread"};
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/calibration", home.places.share);
    assert_int_equal(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof(path), "%s/calibration/texts.txt", home.places.share);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < TEXTS; i++) {
        for (size_t w = 0; w < 3 + i % 3; w++) {
            (void)fprintf(file, "%s ", words[next() % IM_COUNT(words)]);
        }
        (void)fprintf(file, "%zu\n\n", i);
    }
    (void)fclose(file);
}

static im_library *open_with(im_engine engine, const char *params, bool writable)
{
    im_library *library = NULL;
    im_error err = IM_ERROR_INIT;
    im_library_options options = {.places = &home.places,
                                  .writable = writable,
                                  .engine = engine,
                                  .index_params = params,
                                  .threads = 2};
    help_ok(im_library_open(&options, &library, &err), &err);
    return library;
}

static im_rebuild_report choose(im_engine engine, const char *params)
{
    im_error err = IM_ERROR_INIT;
    im_rebuild_report report;
    im_rebuild_request request = {.has_engine = true, .engine = engine, .index_params = params};
    im_library *library = open_with(IM_ENGINE_AUTO, NULL, true);
    help_ok(im_app_rebuild(library, &request, NULL, &report, &err), &err);
    im_library_close(library);
    return report;
}

static int make_library(void **state)
{
    im_error err = IM_ERROR_INIT;
    (void)state;
    const size_t most = help_long() ? (size_t)IM_INDEX_PROVED_ROWS + 1000 : ROWS;
    float *centres = calloc(CLUSTERS * DIM, sizeof(float));
    assert_int_equal(setenv("IMAGO_MODULES", IMAGO_BINARY_DIR "/index", 1), 0);
    help_home_make(&home);
    help_png(help_path(home.pictures, "a.png"), 1);
    help_ok(im_app_init(&home.places, &err), &err);
    im_library *library = help_open(&home, true);
    assert_int_equal(help_add(library, home.pictures).added, 1);
    vectors = calloc(most, DIM * sizeof(float));
    assert_non_null(vectors);
    assert_non_null(centres);
    help_ok(im_store_get_embedding(library->store, 1, library->model.id, vectors, DIM, NULL, &err),
            &err);
    for (size_t i = 0; i < CLUSTERS; i++) {
        for (size_t d = 0; d < DIM; d++) {
            centres[i * DIM + d] = normal();
        }
        make_unit(centres + i * DIM);
    }
    for (size_t i = 1; i < most; i++) {
        draw(centres, vectors + i * DIM);
    }
    free(centres);
    put_rows(library, ROWS - 1);
    im_library_close(library);
    put_texts();
    return 0;
}

static int end_library(void **state)
{
    (void)state;
    free(vectors);
    help_home_remove(&home);
    return 0;
}

/* ---- asking ---- */

typedef struct asked {
    im_hit hits[K];
    im_index_answer answer;
    size_t n_warnings;
    char warning[512];
} asked;

static void note_warning(void *context, const char *sentence)
{
    asked *out = context;
    out->n_warnings++;
    (void)snprintf(out->warning, sizeof(out->warning), "%s", sentence);
}

/* One query as `search` makes it, in a snapshot of its own. */
static im_code try_ask(im_library *library, const float *vector, im_search_mode mode, uint64_t item,
                       asked *out, im_error *err)
{
    im_index_part part = {vector, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1, .k = K, .leave_out = item, .mode = mode};
    im_events events = {.context = out, .warning = note_warning};
    memset(out, 0, sizeof(*out));
    im_code rc = im_store_begin_read(library->store, err);
    if (rc == IM_OK) {
        rc = library_index(library, &events, err);
    }
    if (rc == IM_OK) {
        rc = engine_search(library, &query, &events, out->hits, &out->answer, err);
    }
    im_store_end_read(library->store);
    return rc;
}

static asked ask(im_library *library, const float *vector, im_search_mode mode)
{
    asked out;
    im_error err = IM_ERROR_INIT;
    help_ok(try_ask(library, vector, mode, IM_NO_ITEM, &out, &err), &err);
    return out;
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Share of the K best rows that the library's engine gives, straight from the definition.
 * @param own rows of the library: not counted for themselves */
static double recall_by_hand(im_library *library, const float *queries, size_t n, bool own)
{
    size_t found = 0;
    double *scores = malloc(n_rows * sizeof(*scores));
    assert_non_null(scores);
    for (size_t q = 0; q < n; q++) {
        asked out;
        im_error err = IM_ERROR_INIT;
        size_t slot = own ? q * (n_rows / n) : SIZE_MAX;
        const float *vector = own ? vectors + slot * DIM : queries + q * DIM;
        for (size_t i = 0; i < n_rows; i++) {
            scores[i] = i == slot ? -2 : dot(vector, vectors + i * DIM);
        }
        qsort(scores, n_rows, sizeof(*scores), descending);
        help_ok(try_ask(library, vector, IM_MODE_AUTO, own ? slot + 1 : IM_NO_ITEM, &out, &err),
                &err);
        for (size_t i = 0; i < K; i++) {
            found += (double)out.hits[i].score >= scores[K - 1] - 1e-6;
        }
    }
    free(scores);
    return (double)found / (double)(n * K);
}

/* ---- the tests ---- */

/* An interval that misses the truth by more than half its width is wrong, not unlucky. */
static bool holds(const im_audit_recall *recall, double truth)
{
    double width = recall->high - recall->low;
    assert_true(recall->low - width / 2 <= truth && truth <= recall->high + width / 2);
    assert_true(width < 0.1);
    return recall->low <= truth && truth <= recall->high;
}

/* Nobody is asked by an audit but a sample; here all texts and many pictures are. */
static void intervals_hold_the_recall_of_brute_force(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    static const struct {
        im_engine engine;
        const char *build, *search;
    } bad[] = {{IM_ENGINE_IVF, "nlist=80", "nprobe=1,candidates=1"},
               {IM_ENGINE_HNSW, "m=4,ef_construction=20", "ef_search=1,candidates=1"}};
    int n_missed = 0;
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        im_audit_report report;
        im_audit_request request = {.n_queries = 200, .k = K};
        assert_int_equal(choose(bad[i].engine, bad[i].build).file.n_rows, n_rows);
        im_library *library = open_with(bad[i].engine, bad[i].search, false);
        help_ok(im_app_audit(library, &request, NULL, &report, &err), &err);
        assert_string_equal(report.engine, im_engine_name(bad[i].engine));
        assert_int_equal(report.rows, n_rows);
        const im_audit_recall *texts = &report.audit.texts;
        const im_audit_recall *pictures = &report.audit.pictures;
        assert_int_equal(texts->n_queries, 200);
        assert_int_equal(pictures->n_queries, 200);
        assert_int_equal(pictures->n_wanted, 200 * K);
        /* all the texts */
        request.n_queries = TEXTS;
        im_audit_report whole;
        help_ok(im_app_audit(library, &request, NULL, &whole, &err), &err);
        double truth[2] = {whole.audit.texts.recall, recall_by_hand(library, NULL, ASKED, true)};
        assert_int_equal(whole.audit.texts.n_queries, TEXTS);
        print_message("%s: texts %.4f in %.4f to %.4f, pictures %.4f in %.4f to %.4f\n",
                      report.engine, truth[0], texts->low, texts->high, truth[1], pictures->low,
                      pictures->high);
        n_missed += !holds(texts, truth[0]) + !holds(pictures, truth[1]);
        assert_true(truth[0] < 0.9 && truth[1] < 0.95);
        assert_true(report.times[0].exact_ms > 0 && report.times[1].index_ms > 0);
        im_library_close(library);
    }
    assert_true(n_missed <= 2); /* of four of 95 %: threads build another HNSW each time */
}

/* Encoded texts by brute force too, so that the audit's own counting is not its only witness. */
static void the_recall_of_texts_is_that_of_brute_force(void **state)
{
    (void)state;
    enum { N = 50 };
    im_error err = IM_ERROR_INIT;
    im_audit_report report;
    im_audit_request request = {.n_queries = N, .k = K};
    float *texts = calloc(N, DIM * sizeof(float));
    im_bytes bytes = {0};
    char path[256];
    (void)choose(IM_ENGINE_IVF, "nlist=80,nprobe=1,candidates=1");
    (void)snprintf(path, sizeof(path), "%s/calibration/texts.txt", home.places.share);
    help_ok(im_file_read(path, 1 << 20, &bytes, &err), &err);
    im_library *library = open_with(IM_ENGINE_IVF, NULL, false);
    help_ok(library_encoder(library, IM_TOWERS_TEXT, NULL, &err), &err);
    const char *at = (const char *)bytes.data;
    for (size_t line = 0; line < TEXTS; line++) {
        size_t size = strcspn(at, "\n");
        if (line % (TEXTS / N) == 0) {
            im_view text = im_view_of(at, size);
            help_ok(im_encoder_texts(library->encoder, &text, 1, texts + line / (TEXTS / N) * DIM,
                                     NULL, &err),
                    &err);
        }
        at += size + 2; /* and the empty line behind it */
    }
    help_ok(im_app_audit(library, &request, NULL, &report, &err), &err);
    double truth = recall_by_hand(library, texts, N, false);
    assert_true(fabs(truth - report.audit.texts.recall) < 1e-9);
    im_library_close(library);
    im_bytes_clear(&bytes);
    free(texts);
}

static void a_proposal_reaches_what_was_wanted_and_can_be_applied(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    im_engine engine = IM_ENGINE_AUTO;
    im_engine_params params;
    im_audit_report report;
    im_audit_request request = {.n_queries = 100, .k = K, .want = 0.95};
    (void)choose(IM_ENGINE_IVF, "nlist=80,nprobe=1");
    im_library *library = open_with(IM_ENGINE_IVF, NULL, true);
    help_ok(im_app_audit(library, &request, NULL, &report, &err), &err);
    assert_true(report.has_proposal && report.proposal.reached && !report.applied);
    assert_true(report.audit.pictures.recall < 0.95);
    assert_true(report.proposal.audit.texts.recall >= 0.95);
    assert_true(report.proposal.audit.pictures.recall >= 0.95);
    help_ok(engine_setting(library->store, &engine, &params, &err), &err);
    assert_int_equal(params.effort.n_probe, 1); /* nothing has changed yet */
    request.apply = true;
    help_ok(im_app_audit(library, &request, NULL, &report, &err), &err);
    assert_true(report.applied);
    help_ok(engine_setting(library->store, &engine, &params, &err), &err);
    assert_int_equal(engine, IM_ENGINE_IVF);
    assert_int_equal(params.n_lists, 80);
    assert_int_equal(params.effort.n_probe, report.proposal.effort.n_probe);
    request.want = 0;
    request.apply = false;
    help_ok(im_app_audit(library, &request, NULL, &report, &err), &err); /* with the new setting */
    assert_true(report.audit.texts.recall >= 0.95 && report.audit.pictures.recall >= 0.95);
    request.want = 1.5;
    assert_int_equal(im_app_audit(library, &request, NULL, &report, &err), IM_ERR_INVALID);
    im_library_close(library);
    /* imago's own scans have nothing to choose */
    request.want = 0.9;
    library = open_with(IM_ENGINE_SCAN, NULL, false);
    help_ok(im_app_audit(library, &request, NULL, &report, &err), &err);
    assert_false(report.has_proposal);
    assert_true(report.audit.pictures.recall == 1);
    im_library_close(library);
}

static void damage(bool cut)
{
    char path[PATH_MAX];
    im_error err = IM_ERROR_INIT;
    im_faiss_record record;
    im_library *library = open_with(IM_ENGINE_AUTO, NULL, false);
    help_ok(library_model(library, &err), &err);
    help_ok(engine_record(library->store, library->model.id, IM_ENGINE_IVF, &record, &err), &err);
    char *folder = library_index_folder(library, library->model.digest);
    (void)snprintf(path, sizeof(path), "%s/%s", folder, record.name);
    if (cut) {
        assert_int_equal(unlink(path), 0);
    } else {
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, "damage", 6, (off_t)record.bytes / 2), 6);
        assert_int_equal(close(fd), 0);
    }
    im_free(folder);
    im_library_close(library);
}

static void expect_exact(const asked *out, const float *vector)
{
    im_library *scan = open_with(IM_ENGINE_SCAN, NULL, false);
    asked truth = ask(scan, vector, IM_MODE_AUTO);
    assert_true(out->answer.exact);
    assert_int_equal(out->n_warnings, 1);
    assert_non_null(strstr(out->warning, "imago rebuild --engine ivf"));
    for (size_t i = 0; i < K; i++) {
        assert_int_equal(out->hits[i].item, truth.hits[i].item);
        assert_true(out->hits[i].score == truth.hits[i].score);
    }
    im_library_close(scan);
}

static void a_file_that_cannot_be_used_is_told_and_the_answer_is_exact(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    asked out;
    const float *vector = vectors + 77 * DIM;
    for (int cut = 0; cut < 2; cut++) {
        (void)choose(IM_ENGINE_IVF, "nlist=80,nprobe=1");
        damage(cut == 1);
        im_library *library = open_with(IM_ENGINE_IVF, NULL, false);
        for (int again = 0; again < 2; again++) {
            out = ask(library, vector, IM_MODE_AUTO);
            expect_exact(&out, vector);
        }
        im_check_report report;
        im_check_request check = {0};
        assert_int_equal(im_app_check(library, &check, NULL, &report, &err), IM_ERR_FORMAT);
        assert_int_equal(report.index_findings, 1);
        im_library_close(library);
    }
    /* no file at all: what was asked for by name is not there */
    (void)choose(IM_ENGINE_AUTO, NULL);
    im_library *library = open_with(IM_ENGINE_IVF, NULL, false);
    assert_int_equal(try_ask(library, vector, IM_MODE_AUTO, IM_NO_ITEM, &out, &err),
                     IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "engine_file_missing");
    assert_int_equal(try_ask(library, vector, IM_MODE_EXACT, IM_NO_ITEM, &out, &err),
                     IM_ERR_INVALID);
    im_library_close(library);
    (void)choose(IM_ENGINE_IVF, "");
    library = open_with(IM_ENGINE_AUTO, NULL, false);
    help_check(library);
    im_library_close(library);
}

/* Chosen or not, a library in the proved range is answered by proof; its file is not even read. */
static void small_libraries_are_proved_whatever_was_chosen(void **state)
{
    (void)state;
    (void)choose(IM_ENGINE_IVF, "nlist=80,nprobe=1");
    damage(false);
    im_library *library = open_with(IM_ENGINE_AUTO, NULL, false);
    asked out = ask(library, vectors + 5 * DIM, IM_MODE_AUTO);
    assert_true(out.answer.exact);
    assert_int_equal(out.n_warnings, 0);
    assert_null(library->ann);
    im_library_close(library);
}

static void additions_and_removals_need_no_new_file(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    uint64_t removed = 0;
    const uint64_t first = 8;
    (void)choose(IM_ENGINE_IVF, "nlist=80,nprobe=80");
    im_library *library = open_with(IM_ENGINE_IVF, NULL, true);
    asked out = ask(library, vectors + 7 * DIM, IM_MODE_AUTO);
    assert_string_equal(out.answer.engine, "ivf");
    assert_int_equal(out.hits[0].item, first);
    const im_index *read = library->ann;
    const im_remove_request request = {.items = &first, .n_items = 1};
    help_ok(im_app_remove(library, &request, NULL, &removed, &err), &err);
    out = ask(library, vectors + 7 * DIM, IM_MODE_AUTO);
    assert_string_equal(out.answer.engine, "ivf");
    assert_int_equal(out.answer.filtered, n_rows - 1);
    for (size_t i = 0; i < K; i++) {
        assert_int_not_equal(out.hits[i].item, first);
    }
    assert_ptr_not_equal(library->ann, read); /* opened again, */
    damage(true);                             /* without the file: what was read of it serves on */
    out = ask(library, vectors + 9 * DIM, IM_MODE_AUTO);
    assert_int_equal(out.n_warnings, 0);
    const uint64_t second = 10;
    const im_remove_request more = {.items = &second, .n_items = 1};
    help_ok(im_app_remove(library, &more, NULL, &removed, &err), &err);
    out = ask(library, vectors + 9 * DIM, IM_MODE_AUTO);
    assert_string_equal(out.answer.engine, "ivf");
    assert_int_equal(out.n_warnings, 0);
    assert_int_equal(out.answer.filtered, n_rows - 2);
    im_library_close(library);
}

static void large_libraries_are_answered_by_the_engine_chosen(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    if (!help_long()) {
        skip();
    }
    im_library *library = open_with(IM_ENGINE_AUTO, NULL, true);
    help_ok(library_model(library, &err), &err);
    put_rows(library, (size_t)IM_INDEX_PROVED_ROWS + 1000 - n_rows);
    im_library_close(library);
    (void)choose(IM_ENGINE_IVF, "nlist=80");
    library = open_with(IM_ENGINE_AUTO, NULL, false);
    const float *vector = vectors + 1234 * DIM;
    asked out = ask(library, vector, IM_MODE_AUTO);
    assert_string_equal(out.answer.engine, "ivf");
    assert_false(out.answer.exact);
    assert_true(ask(library, vector, IM_MODE_EXACT).answer.exact);
    assert_string_not_equal(ask(library, vector, IM_MODE_FAST).answer.engine, "ivf");
    im_library_close(library);
    damage(false);
    library = open_with(IM_ENGINE_AUTO, NULL, false);
    out = ask(library, vector, IM_MODE_AUTO);
    expect_exact(&out, vector);
    im_library_close(library);
}

static void parameters_are_read_and_written(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    im_str text;
    static const char *const good[] = {"", "nlist=1", "nlist=7,nprobe=3", "sample=9,candidates=2",
                                       "small=1,nprobe=16777216"};
    static const char *const wrong[] = {
        "nlist", "nlist=",    "nlist=0", "nlist=-1", "m=8",       "nprobe=1x",
        ",",     "nprobe=1,", "small=2", "x=1",      "nprobe =1", "nprobe=99999999999999999999"};
    for (size_t i = 0; i < IM_COUNT(good); i++) {
        im_engine_params params = {0};
        im_engine_params again = {0};
        im_str_init(&text, 256);
        help_ok(engine_params_read(IM_ENGINE_IVF, good[i], false, &params, &err), &err);
        engine_params_write(&params, IM_ENGINE_IVF, &text);
        help_ok(engine_params_read(IM_ENGINE_IVF, im_str_text(&text), false, &again, &err), &err);
        assert_memory_equal(&params, &again, sizeof(params));
        im_str_clear(&text);
    }
    for (size_t i = 0; i < IM_COUNT(wrong); i++) {
        im_engine_params params = {.n_lists = 5};
        const im_engine_params before = params;
        assert_int_equal(engine_params_read(IM_ENGINE_IVF, wrong[i], false, &params, &err),
                         IM_ERR_INVALID);
        assert_memory_equal(&params, &before, sizeof(params));
    }
    im_engine_params params = {0};
    assert_int_equal(engine_params_read(IM_ENGINE_IVF, "nlist=8", true, &params, &err),
                     IM_ERR_INVALID); /* a search does not build */
    assert_int_equal(engine_params_read(IM_ENGINE_AUTO, "nprobe=8", false, &params, &err),
                     IM_ERR_INVALID);
    help_ok(engine_params_read(IM_ENGINE_HNSW, "m=8,ef_search=9,ef_construction=10", false, &params,
                               &err),
            &err);
    assert_int_equal(params.effort.ef_search, 9);
}

/* Each allocation and each file call of a build fails in turn: what was chosen before stays. */
static void builds_that_fail_change_nothing(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    static const im_fault_kind kinds[] = {IM_FAULT_ALLOC, IM_FAULT_WRITE, IM_FAULT_SYNC,
                                          IM_FAULT_RENAME};
    (void)choose(IM_ENGINE_IVF, "nlist=20");
    const float *vector = vectors + 3 * DIM;
    for (size_t i = 0; i < IM_COUNT(kinds); i++) {
        im_code rc = IM_ERR_INTERNAL;
        for (size_t nth = 0; rc != IM_OK; nth += 1 + nth / 3) {
            im_rebuild_report report;
            im_rebuild_request request = {
                .has_engine = true, .engine = IM_ENGINE_IVF, .index_params = "nlist=20"};
            im_library *library = open_with(IM_ENGINE_AUTO, NULL, true);
            im_fault_set(kinds[i], nth, 0);
            rc = im_app_rebuild(library, &request, NULL, &report, &err);
            bool reached = im_fault_fired(kinds[i]);
            im_fault_clear();
            assert_true(rc == IM_OK || reached);
            assert_true(rc == IM_OK || rc == IM_ERR_NOMEM || rc == IM_ERR_IO);
            im_library_close(library);
            library = open_with(IM_ENGINE_IVF, NULL, false);
            asked out = ask(library, vector, IM_MODE_AUTO);
            assert_true(strcmp(out.answer.engine, "ivf") == 0 || out.answer.exact);
            im_library_close(library);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_read_and_written),
        cmocka_unit_test(intervals_hold_the_recall_of_brute_force),
        cmocka_unit_test(the_recall_of_texts_is_that_of_brute_force),
        cmocka_unit_test(a_proposal_reaches_what_was_wanted_and_can_be_applied),
        cmocka_unit_test(a_file_that_cannot_be_used_is_told_and_the_answer_is_exact),
        cmocka_unit_test(small_libraries_are_proved_whatever_was_chosen),
        cmocka_unit_test(builds_that_fail_change_nothing),
        cmocka_unit_test(additions_and_removals_need_no_new_file),
        cmocka_unit_test(large_libraries_are_answered_by_the_engine_chosen),
    };
    return cmocka_run_group_tests(tests, make_library, end_library);
}
