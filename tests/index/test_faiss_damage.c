/* tests/index/test_faiss_damage.c — covers index/faiss_file.c: FAISS files that are damaged, of
 * another library, or gone are refused by length and digest before FAISS sees a byte; a record that
 * lies is refused too (T54). */
#include "base/hash.h"
#include "help_faiss.h"
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 1200, DIM = 16, CORRUPTIONS = 2000 };

static int set_up(void **state)
{
    open_clusters(101, 20, DIM, ROWS);
    return use_the_built_module(state);
}

/* ---- files ---- */

typedef struct file_bytes {
    uint8_t *data;
    size_t size;
} file_bytes;

static file_bytes read_whole(const char *path, size_t size)
{
    file_bytes bytes = {malloc(size + 64), size};
    FILE *file = fopen(path, "rb");
    assert_non_null(bytes.data);
    assert_non_null(file);
    assert_int_equal(fread(bytes.data, 1, size, file), size);
    fclose(file);
    return bytes;
}

static void write_at(const char *path, size_t at, const void *data, size_t size)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* Refused as damaged, in the words of the check of ours named by `what`: not by FAISS's reader. */
static void assert_damaged(im_engine engine, const im_faiss_record *record, const char *what)
{
    im_index *index = NULL;
    im_error error = IM_ERROR_INIT;
    assert_int_equal(try_open(&library, NULL, engine, record, as_default, &index, &error),
                     IM_ERR_FORMAT);
    assert_string_equal(error.reason, "index_damaged");
    if (strstr(error.message, what) == NULL) {
        fail_msg("'%s' does not say '%s'", error.message, what);
    }
}

/* The check without FAISS says the same of the file. */
static void assert_damaged_file(im_engine engine, const im_faiss_record *record, const char *what)
{
    im_error error = IM_ERROR_INIT;
    assert_damaged(engine, record, what);
    assert_int_equal(im_index_faiss_check(library.folder, record, &error), IM_ERR_FORMAT);
    assert_non_null(strstr(error.message, what));
}

/* ---- T54 ---- */

static void each_corruption_is_refused_by_the_digest(void **state)
{
    (void)state;
    random_state random = {102};
    for (size_t e = 0; e < 2; e++) {
        char path[160];
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        faiss_path(&library, &record, path);
        file_bytes bytes = read_whole(path, (size_t)record.bytes);
        for (size_t i = 0; i < CORRUPTIONS; i++) {
            /* the first bytes, where the counts are, more often than others */
            size_t limit = i % 4 == 0 ? 200 : bytes.size - 8;
            size_t at = (size_t)random_below(&random, limit);
            uint64_t value = random_next(&random);
            size_t size = (size_t)1 << random_below(&random, 4);
            if (i % 2 == 0) { /* one bit */
                memcpy(&value, bytes.data + at, 8);
                value ^= UINT64_C(1) << random_below(&random, 8 * size);
            }
            if (memcmp(bytes.data + at, &value, size) == 0) {
                value ^= 1;
            }
            write_at(path, at, &value, size);
            assert_damaged(both_engines[e], &record, "SHA-256");
            write_at(path, at, bytes.data + at, size);
        }
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        im_index_close(index); /* all were put back */
        free(bytes.data);
    }
}

/* Places in an HNSW file, found by walking through it as FAISS does. */
typedef struct hnsw_places {
    size_t offsets, n_offsets, neighbours, n_neighbours, entry_point, ef_search, storage;
} hnsw_places;

static size_t skip_vector(const uint8_t *data, size_t at, size_t width, size_t *out_n)
{
    uint64_t n = 0;
    memcpy(&n, data + at, 8);
    *out_n = (size_t)n;
    return at + 8 + (size_t)n * width;
}

static hnsw_places walk_hnsw(const uint8_t *data)
{
    hnsw_places places = {0};
    size_t n = 0;
    size_t at = 4 + 4 + 8 + 8 + 8 + 1 + 4; /* kind, d, ntotal, two unused, trained, metric */
    at = skip_vector(data, at, 8, &n);     /* chances of the levels */
    at = skip_vector(data, at, 4, &n);     /* links up to each level */
    at = skip_vector(data, at, 4, &n);     /* levels */
    assert_int_equal(n, ROWS);
    places.offsets = at + 8;
    at = skip_vector(data, at, 8, &places.n_offsets);
    assert_int_equal(places.n_offsets, ROWS + 1);
    places.neighbours = at + 8;
    at = skip_vector(data, at, 4, &places.n_neighbours);
    places.entry_point = at;
    places.ef_search = at + 12;
    places.storage = at + 20;
    assert_memory_equal(data + places.storage, "IxF", 3);
    return places;
}

static void the_graphs_that_crashed_faiss_are_refused(void **state)
{
    (void)state;
    char path[160];
    im_faiss_record record = build_file(&library, NULL, IM_ENGINE_HNSW, 0);
    faiss_path(&library, &record, path);
    file_bytes bytes = read_whole(path, (size_t)record.bytes);
    hnsw_places places = walk_hnsw(bytes.data);
    const int32_t far = 999999999, negative = -5, neighbour = 77777777, ef = 1 << 30;
    const uint64_t offset = UINT64_C(1) << 33, code_size = UINT64_C(1) << 34;
    uint8_t exponent = bytes.data[places.storage + 60] ^ 0x40;
    struct {
        size_t at;
        const void *value;
        size_t size;
    } cases[] = {
        {places.entry_point, &far, 4},
        {places.entry_point, &negative, 4},
        {places.neighbours + 40, &neighbour, 4},
        {places.offsets + 80, &offset, 8},
        {places.ef_search, &ef, 4},
        {places.storage + 60, &exponent, 1},
        {places.storage + 37, &code_size, 8}, /* how many bytes of codes follow */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_at(path, cases[i].at, cases[i].value, cases[i].size);
        assert_damaged(IM_ENGINE_HNSW, &record, "SHA-256");
        write_file(path, bytes.data, bytes.size);
    }
    memset(bytes.data + places.neighbours, 0xff, 4 * places.n_neighbours); /* all -1 */
    write_file(path, bytes.data, bytes.size);
    assert_damaged(IM_ENGINE_HNSW, &record, "SHA-256");
    free(bytes.data);
}

static void other_lengths_and_kinds_of_file_are_refused(void **state)
{
    (void)state;
    static const uint8_t junk[64] = "junk behind the end";
    for (size_t e = 0; e < 2; e++) {
        char path[160];
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        faiss_path(&library, &record, path);
        assert_ok(im_index_faiss_check(library.folder, &record, err));
        file_bytes bytes = read_whole(path, (size_t)record.bytes);
        memcpy(bytes.data + bytes.size, junk, 64);
        write_file(path, bytes.data, bytes.size + 64);
        assert_damaged_file(both_engines[e], &record, "bytes, the library recorded");
        static const size_t cuts[] = {0, 1, 100, 4096};
        for (size_t i = 0; i < 4; i++) {
            write_file(path, bytes.data, cuts[i]);
            assert_damaged_file(both_engines[e], &record, "bytes, the library recorded");
        }
        unlink(path);
        assert_damaged_file(both_engines[e], &record, "gone");
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_damaged_file(both_engines[e], &record, "not a regular file");
        unlink(path);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_damaged_file(both_engines[e], &record, "not a regular file");
        rmdir(path);
        free(bytes.data);
    }
}

/* ---- records that lie ---- */

static void a_record_of_another_file_is_refused(void **state)
{
    (void)state;
    im_index *index = NULL;
    im_faiss_record ivf = build_file(&library, NULL, IM_ENGINE_IVF, 0);
    im_faiss_record wrong = ivf;
    assert_damaged(IM_ENGINE_HNSW, &ivf, "expected 'hnsw.1.faiss'");
    snprintf(wrong.name, sizeof(wrong.name), "../ivf.1.faiss");
    assert_damaged(IM_ENGINE_IVF, &wrong, "expected 'ivf.1.faiss'");
    memset(wrong.name, 'x', sizeof(wrong.name)); /* without an end */
    assert_damaged(IM_ENGINE_IVF, &wrong, "expected 'ivf.1.faiss'");
    assert_refused(im_index_faiss_check(library.folder, &wrong, err), "index_damaged");
    snprintf(wrong.name, sizeof(wrong.name), "../ivf.1.faiss");
    assert_refused(im_index_faiss_check(library.folder, &wrong, err), "index_damaged");
    wrong = ivf;
    wrong.generation = 2;
    assert_damaged(IM_ENGINE_IVF, &wrong, "of generation 2");
    wrong = ivf;
    wrong.n_rows = ROWS + 1;
    assert_damaged(IM_ENGINE_IVF, &wrong, "covers 1201 rows");
    wrong = ivf;
    wrong.n_rows = ROWS - 1; /* labels beyond what is said to be covered */
    assert_damaged(IM_ENGINE_IVF, &wrong, "it holds 1200 rows, expected 1199");
    wrong = ivf;
    wrong.digest[5] = wrong.digest[5] == 'a' ? 'b' : 'a';
    assert_damaged(IM_ENGINE_IVF, &wrong, "SHA-256");
    assert_refused(try_open(&library, NULL, IM_ENGINE_IVF, NULL, as_default, &index, err),
                   "invalid");
}

/* A file that was recorded rightly but holds something else: our own mistake, found all the same.
 */
static void a_file_that_holds_another_index_is_refused(void **state)
{
    (void)state;
    char ivf_path[160], hnsw_path[160];
    im_faiss_record ivf = build_file(&library, NULL, IM_ENGINE_IVF, 0);
    im_faiss_record hnsw = build_file(&library, NULL, IM_ENGINE_HNSW, 0);
    faiss_path(&library, &ivf, ivf_path);
    faiss_path(&library, &hnsw, hnsw_path);
    assert_int_equal(rename(ivf_path, hnsw_path), 0);
    im_faiss_record mixed = ivf;
    memcpy(mixed.name, hnsw.name, sizeof(mixed.name));
    assert_damaged(IM_ENGINE_HNSW, &mixed, "another kind");
    random_state random = {103};
    test_library other;
    library_make(&other, &random, ROWS, DIM + 1, 0);
    im_faiss_record wide = build_file(&other, NULL, IM_ENGINE_IVF, 0);
    char wide_path[160];
    faiss_path(&other, &wide, wide_path);
    assert_int_equal(rename(wide_path, ivf_path), 0);
    assert_damaged(IM_ENGINE_IVF, &wide, "another model");
    library_free(&other);
}

/* Nonsense that was recorded: FAISS's reader gives up, in a sentence. */
static void what_faiss_cannot_read_is_damaged(void **state)
{
    (void)state;
#if defined(THROWING_IS_IMPOSSIBLE)
    print_message("skipped: clang's sanitizer and exceptions in loaded modules\n");
    skip();
#endif
    static const char nonsense[] = "no index at all";
    char path[160];
    uint8_t digest[IM_SHA256_BYTES];
    im_faiss_record record = build_file(&library, NULL, IM_ENGINE_IVF, 0);
    faiss_path(&library, &record, path);
    write_file(path, nonsense, strlen(nonsense));
    record.bytes = strlen(nonsense);
    im_sha256_of(nonsense, strlen(nonsense), digest);
    im_sha256_hex(digest, record.digest);
    assert_damaged(IM_ENGINE_IVF, &record, "not recognized");
    write_file(path, nonsense, 0);
    record.bytes = 0;
    im_sha256_of(NULL, 0, digest);
    im_sha256_hex(digest, record.digest);
    assert_damaged(IM_ENGINE_IVF, &record, "read error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_corruption_is_refused_by_the_digest),
        cmocka_unit_test(the_graphs_that_crashed_faiss_are_refused),
        cmocka_unit_test(other_lengths_and_kinds_of_file_are_refused),
        cmocka_unit_test(a_record_of_another_file_is_refused),
        cmocka_unit_test(a_file_that_holds_another_index_is_refused),
        cmocka_unit_test(what_faiss_cannot_read_is_damaged),
    };
    return cmocka_run_group_tests(tests, set_up, close_clusters);
}
