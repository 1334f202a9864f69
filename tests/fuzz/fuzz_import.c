/* IMAGO_FUZZ_ROOMS: base image encoder store index query vlm app
 * tests/fuzz/fuzz_import.c — a folder of `import`: vectors.npy and items.jsonl of foreign bytes.
 * What a pass gives out are finite vectors of unit length, one for each row of the header, and the
 * second pass gives as many.
 *
 * The first byte says how: bit 0 vectors are made unit length, bit 1 there is an items.jsonl, bit 2
 * vectors.npy gets a sound header that fits its bytes, bits 3–5 of that many dimensions less one.
 * The next two are the length of vectors.npy; the rest is items.jsonl. */
#include "app/exchange_internal.h"
#include "tests/fuzz/files.h"
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_vectors(const float *vectors, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < dim; j++) {
            sum += (double)vectors[i * dim + j] * (double)vectors[i * dim + j];
        }
        require(fabs(sqrt(sum) - 1) <= 2e-3); /* false for what is not finite */
    }
}

static uint64_t pass(import_source *source, import_row *rows, float *vectors, im_code *rc)
{
    uint64_t n_rows = 0;
    size_t n = 0;
    import_source_rewind(source);
    do {
        n = 0;
        *rc = import_source_read(source, rows, vectors, &n, NULL);
        require(n <= IMPORT_ROWS);
        if (*rc == IM_OK) {
            check_vectors(vectors, n, source->head.dim);
            n_rows += n;
        }
        for (size_t i = 0; i < n; i++) {
            import_row_clear(&rows[i]);
        }
    } while (*rc == IM_OK && n > 0);
    require(*rc != IM_OK || n_rows == source->head.rows);
    return n_rows;
}

static void read_folder(bool normalise)
{
    import_source source;
    im_code first = IM_OK, second = IM_OK;
    if (import_source_open(fuzz_folder(), normalise, &source, NULL) == IM_OK) {
        import_row *rows = im_alloc_zero(IMPORT_ROWS, sizeof(*rows));
        float *vectors = im_alloc(IMPORT_ROWS, source.head.dim * sizeof(float));
        if (rows != NULL && vectors != NULL) {
            uint64_t n = pass(&source, rows, vectors, &first);
            require(n == pass(&source, rows, vectors, &second) && first == second);
        }
        im_free(rows);
        im_free(vectors);
    }
    import_source_close(&source);
}

static void put_vectors(const uint8_t *data, size_t size, unsigned how)
{
    static uint8_t file[NPY_HEAD_BYTES + UINT16_MAX];
    if ((how & 4) == 0) {
        fuzz_file(EXCHANGE_VECTORS, data, size);
        return;
    }
    size_t dim = (how >> 3 & 7) + 1;
    size_t rows = size / (dim * sizeof(float));
    npy_write_head(rows, dim, file);
    memcpy(file + NPY_HEAD_BYTES, data, size);
    fuzz_file(EXCHANGE_VECTORS, file, NPY_HEAD_BYTES + rows * dim * sizeof(float));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char items[128];
    if (size < 3) {
        return 0;
    }
    size_t n = IM_MIN(size - 3, (size_t)data[1] | (size_t)data[2] << 8);
    put_vectors(data + 3, n, data[0]);
    (void)snprintf(items, sizeof(items), "%s/%s", fuzz_folder(), EXCHANGE_ITEMS);
    (void)unlink(items);
    if ((data[0] & 2) != 0) {
        fuzz_file(EXCHANGE_ITEMS, data + 3 + n, size - 3 - n);
    }
    read_folder((data[0] & 1) != 0);
    return 0;
}
