/* tests/image/help.c — see help.h. */
#include "tests/image/help.h"
#include "base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void bytes_add(bytes *b, const void *data, size_t size)
{
    if (b->size + size > b->capacity) {
        b->capacity = (b->size + size) * 2 + 64;
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    if (size > 0) {
        memcpy(b->data + b->size, data, size);
    }
    b->size += size;
}

void bytes_text(bytes *b, const char *text)
{
    bytes_add(b, text, strlen(text));
}

void bytes_fill(bytes *b, uint8_t value, size_t n)
{
    if (b->size + n > b->capacity) {
        b->capacity = b->size + n;
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    memset(b->data + b->size, value, n);
    b->size += n;
}

void bytes_u8(bytes *b, unsigned value)
{
    uint8_t byte = (uint8_t)value;
    bytes_add(b, &byte, 1);
}

void bytes_be16(bytes *b, unsigned value)
{
    bytes_u8(b, value >> 8 & 255);
    bytes_u8(b, value & 255);
}

void bytes_be32(bytes *b, uint32_t value)
{
    bytes_be16(b, value >> 16);
    bytes_be16(b, value & 65535);
}

void bytes_insert(bytes *b, size_t at, const void *data, size_t size)
{
    bytes_fill(b, 0, size);
    memmove(b->data + at + size, b->data + at, b->size - size - at);
    memcpy(b->data + at, data, size);
}

bytes bytes_copy(const bytes *b)
{
    bytes copy = {0};
    bytes_add(&copy, b->data, b->size);
    return copy;
}

void bytes_free(bytes *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}

bytes file_bytes(const char *path)
{
    bytes b = {0};
    char block[65536];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("could not open %s", path);
        abort();
    }
    for (size_t n = 0; (n = fread(block, 1, sizeof block, file)) > 0;) {
        bytes_add(&b, block, n);
    }
    fclose(file);
    return b;
}

bytes golden(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/golden/image/%s", IMAGO_SOURCE_DIR, name);
    return file_bytes(path);
}

bytes golden_picture(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "pictures/%s", name);
    return golden(path);
}

uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

uint8_t *scene(uint32_t width, uint32_t height)
{
    uint8_t *rgb = malloc((size_t)width * height * 3);
    assert_non_null(rgb);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            uint8_t *p = rgb + ((size_t)y * width + x) * 3;
            bool inside = x > width / 4 && x < width / 2 && y > height / 4 && y < height / 3;
            p[0] = (uint8_t)(inside ? 230 : x * 255 / width);
            p[1] = (uint8_t)(inside ? 40 : y * 255 / height);
            p[2] = (uint8_t)(inside ? 60 : (x / 5 + y / 7) * 3);
        }
    }
    return rgb;
}

double mean_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += abs(a[i] - b[i]);
    }
    return n > 0 ? sum / (double)n : 0.0;
}

int max_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
    int worst = 0;
    for (size_t i = 0; i < n; i++) {
        int d = abs(a[i] - b[i]);
        worst = d > worst ? d : worst;
    }
    return worst;
}

im_image decode_ok(const bytes *file, const im_image_options *options, im_image_info *out_info)
{
    im_image image = {0};
    im_error err = IM_ERROR_INIT;
    im_code rc = im_image_decode(file->data, file->size, "test", options, &image, out_info, &err);
    if (rc != IM_OK) {
        fail_msg("%s: %s", err.reason, err.message);
    }
    return image;
}

const char *decode_fails(const bytes *file, const im_image_options *options, const char *reason)
{
    static im_error err;
    im_image image = {.width = 77};
    im_image_info info = {.width = 78};
    err = (im_error)IM_ERROR_INIT;
    im_code rc = im_image_decode(file->data, file->size, "a.jpg", options, &image, &info, &err);
    if (rc == IM_OK) {
        fail_msg("decoded, expected %s", reason);
    }
    assert_string_equal(err.reason, reason);
    assert_non_null(strstr(err.message, "a.jpg"));
    assert_null(image.rgb); /* outputs stay untouched */
    assert_int_equal(image.width, 77);
    assert_int_equal(info.width, 78);
    assert_int_equal(im_live_allocations(), 0);
    return err.message;
}

/* A line "Name:  123 kB" of /proc/self/status, in bytes. */
static size_t status_bytes(const char *name)
{
    char line[256];
    size_t kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kb = strtoul(line + strlen(name) + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kb * 1024;
}

static void reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file != NULL) {
        fputs("5", file);
        fclose(file);
    }
}

/* Of this process: what others take of the machine does not count. */
static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void decode_in_child(const bytes *file, const im_image_options *options, im_image_wish *wish,
                            int to)
{
    cost c = {0};
    im_image image = {0};
    im_error err = IM_ERROR_INIT;
    reset_peak();
    size_t before = status_bytes("VmRSS");
    double start = cpu_ms();
    c.code = wish != NULL
                 ? im_image_read(file->data, file->size, "a.jpg", options, wish, &c.info, &err)
                 : im_image_decode(file->data, file->size, "a.jpg", options, &image, &c.info, &err);
    c.ms = cpu_ms() - start;
    size_t peak = status_bytes("VmHWM");
    c.peak_bytes = peak > before ? peak - before : 0;
    snprintf(c.reason, sizeof c.reason, "%s", err.reason);
    memcpy(c.message, err.message, sizeof c.message);
    c.width = image.width;
    c.height = image.height;
    im_image_clear(&image);
    ssize_t written = write(to, &c, sizeof c);
    _exit(written == (ssize_t)sizeof c ? 0 : 1);
}

cost cost_of(const bytes *file, const im_image_options *options)
{
    return cost_of_read(file, options, NULL);
}

cost cost_of_read(const bytes *file, const im_image_options *options, im_image_wish *wish)
{
    cost c = {0};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        decode_in_child(file, options, wish, ends[1]);
    }
    close(ends[1]);
    size_t got = 0;
    for (ssize_t n = 1; n > 0 && got < sizeof c;) {
        n = read(ends[0], (char *)&c + got, sizeof c - got);
        got += n > 0 ? (size_t)n : 0;
    }
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    c.died = !WIFEXITED(status) || WEXITSTATUS(status) != 0 || got != sizeof c;
    assert_false(c.died);
    return c;
}

bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

void assert_cheap(const cost *c, double max_ms, size_t max_bytes)
{
    if (sanitized()) {
        return;
    }
    if (c->ms > max_ms || c->peak_bytes > max_bytes) {
        fail_msg("%.1f ms (limit %.1f), %zu bytes (limit %zu)", c->ms, max_ms, c->peak_bytes,
                 max_bytes);
    }
}
