/* tests/app/help.c — see help.h. */
#include "tests/app/help.h"
#include "base/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void help_ok(im_code rc, const im_error *err)
{
    if (rc != IM_OK) {
        fail_msg("%s (%s): %s", im_code_name(rc), err->reason, err->message);
    }
}

const char *help_path(const char *folder, const char *name)
{
    static char buffers[4][PATH_MAX];
    static int turn;
    turn = (turn + 1) % 4;
    (void)snprintf(buffers[turn], PATH_MAX, "%s/%s", folder, name);
    return buffers[turn];
}

void help_home_make(help_home *home)
{
    memset(home, 0, sizeof(*home));
    home->model = HELP_MODEL;
    assert_non_null(help_temporary_in_memory(home->base));
    (void)snprintf(home->library, sizeof(home->library), "%s/library", home->base);
    (void)snprintf(home->pictures, sizeof(home->pictures), "%s/pictures", home->base);
    home->places.library = im_strdup(home->library);
    home->places.models = im_strdup(help_path(home->base, "models"));
    home->places.share = im_strdup(help_path(home->base, "share"));
    assert_int_equal(mkdir(home->pictures, 0755), 0);
    assert_int_equal(mkdir(home->places.share, 0755), 0);
}

void help_home_remove(help_home *home)
{
    (void)help_remove_folder(home->base);
    im_places_clear(&home->places);
}

/* ---- folders ---- */

static const char *copy_from;
static const char *copy_to;

static void copy_file(const char *from, const char *to)
{
    im_bytes bytes = {0};
    im_error err = IM_ERROR_INIT;
    int fd = -1;
    help_ok(im_file_read(from, UINT64_MAX, &bytes, &err), &err);
    help_ok(im_file_open(to, O_WRONLY | O_CREAT | O_EXCL, 0644, &fd, &err), &err);
    help_ok(im_file_pwrite(fd, bytes.data, bytes.size, 0, to, &err), &err);
    (void)close(fd);
    im_bytes_clear(&bytes);
}

static int copy_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    char to[PATH_MAX];
    (void)kind;
    (void)place;
    (void)snprintf(to, sizeof(to), "%s%s", copy_to, path + strlen(copy_from));
    if (S_ISDIR(info->st_mode)) {
        return mkdir(to, 0755);
    }
    copy_file(path, to);
    return 0;
}

void help_copy(const char *from, const char *to)
{
    copy_from = from;
    copy_to = to;
    assert_int_equal(nftw(from, copy_entry, 16, FTW_PHYS), 0);
}

/* ---- pictures ---- */

typedef struct png_out {
    uint8_t bytes[1u << 17];
    size_t n;
} png_out;

static void put_u32(png_out *out, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        out->bytes[out->n++] = (uint8_t)(value >> shift);
    }
}

/* CRC-32 of PNG (reflected polynomial 0xEDB88320), bit by bit: the pictures are small. */
static uint32_t crc32_of(const uint8_t *data, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static void put_chunk(png_out *out, const char *kind, const uint8_t *data, size_t n)
{
    put_u32(out, (uint32_t)n);
    size_t from = out->n;
    memcpy(out->bytes + out->n, kind, 4);
    memcpy(out->bytes + out->n + 4, data, n);
    out->n += 4 + n;
    put_u32(out, crc32_of(out->bytes + from, 4 + n));
}

static void put_be32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

/* A zlib stream of one stored block: no compressor is needed for noise. */
static size_t store_rows(uint8_t *to, const uint8_t *rows, size_t n)
{
    uint32_t a = 1;
    uint32_t b = 0;
    const uint8_t head[7] = {
        0x78, 0x01, 1, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)~n, (uint8_t)(~n >> 8)};
    for (size_t i = 0; i < n; i++) {
        a = (a + rows[i]) % 65521;
        b = (b + a) % 65521;
    }
    memcpy(to, head, sizeof(head));
    memcpy(to + sizeof(head), rows, n);
    put_be32(to + sizeof(head) + n, b << 16 | a);
    return sizeof(head) + n + 4;
}

void help_png_sized(const char *path, uint32_t seed, uint32_t width, uint32_t height)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static png_out out;
    static uint8_t rows[1u << 16];
    static uint8_t stream[(1u << 16) + 16];
    uint8_t head[13] = {0};
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    size_t n = 0;
    assert_true((size_t)height * (3 * (size_t)width + 1) < 65535);
    for (uint32_t y = 0; y < height; y++) {
        rows[n++] = 0; /* no filter */
        for (uint32_t x = 0; x < 3 * width; x++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
            rows[n++] = (uint8_t)(state >> 56);
        }
    }
    put_be32(head, width);
    put_be32(head + 4, height);
    head[8] = 8;
    head[9] = 2; /* RGB */
    out.n = 0;
    memcpy(out.bytes, signature, sizeof(signature));
    out.n = sizeof(signature);
    put_chunk(&out, "IHDR", head, sizeof(head));
    put_chunk(&out, "IDAT", stream, store_rows(stream, rows, n));
    put_chunk(&out, "IEND", head, 0);

    im_error err = IM_ERROR_INIT;
    int fd = -1;
    const time_t long_ago = 1600000000 + (time_t)seed;
    const struct timespec then[2] = {{long_ago, 0}, {long_ago, 0}};
    help_ok(im_file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644, &fd, &err), &err);
    help_ok(im_file_pwrite(fd, out.bytes, out.n, 0, path, &err), &err);
    assert_int_equal(futimens(fd, then), 0);
    (void)close(fd);
}

void help_png(const char *path, uint32_t seed)
{
    help_png_sized(path, seed, 24, 18);
}

/* ---- libraries ---- */

im_library *help_open(const help_home *home, bool writable)
{
    im_library *library = NULL;
    im_error err = IM_ERROR_INIT;
    im_library_options options = {
        .places = &home->places, .writable = writable, .model = home->model, .threads = 2};
    help_ok(im_library_open(&options, &library, &err), &err);
    return library;
}

static bool say_yes(void *context, const char *question)
{
    (void)context;
    (void)question;
    return true;
}

static void print_failed(void *context, const char *path, const im_error *error)
{
    (void)context;
    print_message("failed: %s: %s\n", path, error->message);
}

im_add_report help_add(im_library *library, const char *path)
{
    im_error err = IM_ERROR_INIT;
    im_add_report report;
    im_add_request request = {.paths = &path, .n_paths = 1, .decoders = 1};
    im_events events = {.confirm = say_yes, .failed = print_failed};
    help_ok(im_app_add(library, &request, &events, &report, &err), &err);
    return report;
}

static void print_finding(void *context, const char *sentence)
{
    (void)context;
    print_message("finding: %s\n", sentence);
}

void help_check(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_check_report report;
    im_check_request request = {0};
    im_events events = {.warning = print_finding};
    help_ok(im_app_check(library, &request, &events, &report, &err), &err);
    assert_int_equal(report.findings, 0);
    assert_int_equal(report.index_findings, 0);
}

im_store_counts help_counts(im_library *library)
{
    im_store_counts counts;
    im_error err = IM_ERROR_INIT;
    help_ok(im_store_count(im_library_store(library), 0, &counts, &err), &err);
    return counts;
}

bool help_long(void)
{
    const char *text = getenv("IMAGO_TEST_LONG");
    return text != NULL && text[0] != '\0' && text[0] != '0';
}
