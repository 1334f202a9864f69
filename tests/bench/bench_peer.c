/* tests/bench/bench_peer.c — the encoder as a peer for bench_peers.py: opens a model once, then
 * does what each line of standard input says and answers with one line.
 *
 *     bench_peer MODEL PRECISION THREADS RGB TEXTS
 *
 * RGB is a file of pictures [N, S, S, 3] uint8, TEXTS a file with a text a line. Lines:
 *     ids                 token ids of each text (JSON)
 *     pictures N          encodes the first N pictures in one call: milliseconds
 *     texts N             the same of texts
 *     save pictures FILE  vectors of all pictures one by one, [N, D] float32
 *     save texts FILE     the same of texts
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/pool.h"
#include "encoder/encoder.h"
#include "tests/bench/help_bench.h"

#include <string.h>

#define MAX_TEXTS 64u
#define CONTEXT 77u

typedef struct bench {
    im_encoder *encoder;
    uint8_t *rgb;
    size_t n_pictures, picture_bytes;
    im_view texts[MAX_TEXTS];
    size_t n_texts, dim;
    float *out;
} bench;

static void split_texts(bench *b, char *lines)
{
    char *rest = NULL;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL && b->n_texts < MAX_TEXTS;
         line = strtok_r(NULL, "\n", &rest)) {
        b->texts[b->n_texts++] = im_view_from(line);
    }
}

static void print_ids(const bench *b)
{
    im_error err;
    for (size_t i = 0; i < b->n_texts; i++) {
        uint32_t ids[CONTEXT];
        size_t n = 0;
        stop_on(im_encoder_tokenize(b->encoder, b->texts[i], ids, &n, NULL, &err), &err);
        for (size_t j = 0; j < n; j++) {
            printf("%s%u", j > 0 ? "," : (i > 0 ? ",[" : "[["), (unsigned)ids[j]);
        }
        printf("]");
    }
    printf("]\n");
}

static void encode(bench *b, bool pictures, size_t from, size_t n)
{
    im_error err;
    if (pictures) {
        stop_on(im_encoder_pictures(b->encoder, b->rgb + from * b->picture_bytes, n, b->out, NULL,
                                    &err),
                &err);
    } else {
        stop_on(im_encoder_texts(b->encoder, b->texts + from, n, b->out, NULL, &err), &err);
    }
}

static void save(bench *b, bool pictures, const char *path)
{
    FILE *file = fopen(path, "wb");
    size_t n = pictures ? b->n_pictures : b->n_texts;
    for (size_t i = 0; file != NULL && i < n; i++) {
        encode(b, pictures, i, 1);
        fwrite(b->out, sizeof(float), b->dim, file);
    }
    if (file == NULL || fclose(file) != 0) {
        fprintf(stderr, "%s cannot be written\n", path);
        exit(1);
    }
    printf("%zu\n", n);
}

static void obey(bench *b, char *line)
{
    char *rest = NULL;
    char *verb = strtok_r(line, " \n", &rest);
    char *what = strtok_r(NULL, " \n", &rest);
    char *last = strtok_r(NULL, " \n", &rest);
    if (verb != NULL && strcmp(verb, "ids") == 0) {
        print_ids(b);
    } else if (last != NULL) {
        save(b, strcmp(what, "pictures") == 0, last);
    } else if (verb != NULL && what != NULL) {
        bool pictures = strcmp(verb, "pictures") == 0;
        size_t n = strtoul(what, NULL, 10);
        if (n < 1 || n > (pictures ? b->n_pictures : b->n_texts)) {
            fprintf(stderr, "there are not %zu %s\n", n, verb);
            exit(1);
        }
        uint64_t begun = im_clock_ns();
        encode(b, pictures, 0, n);
        printf("%.4f\n", im_clock_ms_since(begun));
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    im_encoder_options options = {.towers = IM_TOWERS_BOTH};
    bench b = {0};
    im_error err;
    im_pool *pool = NULL;
    im_bytes rgb = {0};
    im_bytes lines = {0};
    if (argc != 6) {
        fprintf(stderr, "usage: bench_peer MODEL PRECISION THREADS RGB TEXTS\n");
        return 2;
    }
    for (int p = IM_PRECISION_AUTO; p <= IM_PRECISION_INT8; p++) {
        if (strcmp(argv[2], im_precision_name((im_precision)p)) == 0) {
            options.precision = (im_precision)p;
        }
    }
    stop_on(im_pool_open(strtoul(argv[3], NULL, 10), &pool, &err), &err);
    options.pool = pool;
    stop_on(im_encoder_open(argv[1], &options, &b.encoder, &err), &err);
    const im_encoder_info *info = im_encoder_describe(b.encoder);
    b.dim = info->dim;
    b.picture_bytes = (size_t)info->preprocess.crop_w * info->preprocess.crop_h * 3;
    stop_on(im_file_read(argv[4], UINT64_MAX, &rgb, &err), &err);
    stop_on(im_file_read(argv[5], 1u << 20, &lines, &err), &err);
    b.rgb = rgb.data;
    b.n_pictures = rgb.size / b.picture_bytes;
    split_texts(&b, (char *)lines.data);
    b.out = malloc((b.n_pictures + MAX_TEXTS) * b.dim * sizeof(float));
    if (b.out == NULL) {
        return 1;
    }
    printf("{\"kernel\": \"%s\", \"precision\": \"%s\"}\n", info->kernel, info->precision);
    fflush(stdout);
    char line[4096];
    while (fgets(line, sizeof line, stdin) != NULL) {
        obey(&b, line);
    }
    free(b.out);
    im_bytes_clear(&lines);
    im_bytes_clear(&rgb);
    im_encoder_close(b.encoder);
    im_pool_close(pool);
    return 0;
}
