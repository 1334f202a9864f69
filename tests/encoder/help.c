/* tests/encoder/help.c — see help.h. */
#include "help.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t memory_before;

char *temporary_folder(char out[HELP_FOLDER_BYTES])
{
    assert_non_null(help_temporary(out));
    return out;
}

void remove_folder(const char *folder)
{
    assert_int_equal(help_remove_folder(folder), 0);
}

char *path_in(const char *folder, const char *name)
{
    char *path = im_path_join(folder, name);
    assert_non_null(path);
    return path;
}

void write_file(const char *folder, const char *name, const void *data, size_t size)
{
    char *path = path_in(folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    im_free(path);
}

void write_text(const char *folder, const char *name, const char *text)
{
    write_file(folder, name, text, strlen(text));
}

im_bytes read_file(const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    im_bytes bytes = {0};
    assert_int_equal(im_file_read(path, 64u << 20, &bytes, NULL), IM_OK);
    im_free(path);
    return bytes;
}

void remove_file(const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    assert_int_equal(unlink(path), 0);
    im_free(path);
}

void golden_path(char *out, size_t size, const char *model, const char *file)
{
    (void)snprintf(out, size, "%s/tests/golden/encoder/%s/%s", IMAGO_SOURCE_DIR, model, file);
}

void copy_model(const char *folder, const char *model)
{
    char from[1024];
    im_model_file *files = NULL;
    size_t n = 0;
    (void)snprintf(from, sizeof(from), "%s/tests/golden/encoder/%s", IMAGO_SOURCE_DIR, model);
    assert_int_equal(im_encoder_files(from, &files, &n, NULL), IM_OK);
    for (size_t i = 0; i < n; i++) {
        im_bytes bytes = read_file(from, files[i].name);
        write_file(folder, files[i].name, bytes.data, bytes.size);
        im_bytes_clear(&bytes);
    }
    im_free(files);
}

void edit_text(const char *folder, const char *name, const char *from, const char *to)
{
    im_bytes bytes = read_file(folder, name);
    const char *text = (const char *)bytes.data;
    const char *at = strstr(text, from);
    if (at == NULL) {
        fail_msg("'%s' is not in %s", from, name);
    }
    im_str edited;
    im_str_init(&edited, 64u << 20);
    im_str_add(&edited, text, (size_t)(at - text));
    im_str_add_c(&edited, to);
    im_str_add_c(&edited, at + strlen(from));
    write_file(folder, name, im_str_text(&edited), edited.size);
    im_str_clear(&edited);
    im_bytes_clear(&bytes);
}

void write_raw_weights(const char *folder, uint64_t length, const void *rest, size_t rest_bytes)
{
    uint8_t *file = im_alloc(rest_bytes + 8, 1);
    assert_non_null(file);
    for (size_t i = 0; i < 8; i++) {
        file[i] = (uint8_t)(length >> (8 * i));
    }
    memcpy(file + 8, rest, rest_bytes);
    write_file(folder, "model.safetensors", file, rest_bytes + 8);
    im_free(file);
}

void write_weights(const char *folder, const char *header, size_t data_bytes)
{
    size_t n = strlen(header);
    char *rest = im_alloc_zero(n + data_bytes, 1);
    assert_non_null(rest);
    memcpy(rest, header, n);
    write_raw_weights(folder, n, rest, n + data_bytes);
    im_free(rest);
}

float *find_values(const im_bytes *file, const char *name, size_t *out_n)
{
    uint64_t length = 0;
    json_t *header = NULL;
    memcpy(&length, file->data, 8);
    assert_int_equal(
        im_json_parse((const char *)file->data + 8, (size_t)length, "header", &header, NULL),
        IM_OK);
    const json_t *offsets = json_object_get(json_object_get(header, name), "data_offsets");
    assert_non_null(offsets);
    size_t from = (size_t)json_integer_value(json_array_get(offsets, 0));
    size_t to = (size_t)json_integer_value(json_array_get(offsets, 1));
    json_decref(header);
    *out_n = (to - from) / sizeof(float);
    return (float *)(void *)(file->data + 8 + length + from);
}

void check_refused(const char *place, im_code rc, const im_error *err, im_code code,
                   const char *reason, ...)
{
    va_list texts;
    if (rc != code || err->code != code || strcmp(err->reason, reason) != 0) {
        fail_msg("%s: %s (%s) '%s', expected %s (%s)", place, im_code_name(rc), err->reason,
                 err->message, im_code_name(code), reason);
    }
    va_start(texts, reason);
    for (const char *text; (text = va_arg(texts, const char *)) != NULL;) {
        if (strstr(err->message, text) == NULL) {
            fail_msg("%s: '%s' does not name '%s'", place, err->message, text);
        }
    }
    va_end(texts);
}

im_encoder *open_sound(const char *folder)
{
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    im_code rc = im_encoder_open(folder, NULL, &encoder, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(rc, IM_OK);
    return encoder;
}

im_code try_open(const char *folder, const im_encoder_options *options, im_error *err)
{
    im_encoder *encoder = NULL;
    im_code rc = im_encoder_open(folder, options, &encoder, err);
    assert_true((rc == IM_OK) == (encoder != NULL));
    im_encoder_close(encoder);
    return rc;
}

void fill_picture(uint8_t *rgb, unsigned seed)
{
    for (size_t i = 0; i < (size_t)SIDE * SIDE * 3; i++) {
        seed = seed * 1103515245u + 12345u;
        rgb[i] = (uint8_t)(seed >> 16);
    }
}

void in_every_kernel(void (*run)(const char *kernel_name))
{
    static const kernel *const sets[] = {&kernel_avx512_bf16, &kernel_avx512_vnni, &kernel_avx512,
                                         &kernel_avx2, &kernel_portable};
    for (size_t i = 0; i < IM_COUNT(sets); i++) {
        if (kernel_runs(sets[i])) {
            setenv("IMAGO_KERNEL", sets[i]->name, 1);
            run(sets[i]->name);
            unsetenv("IMAGO_KERNEL");
        }
    }
}

void check_time(const char *what, uint64_t start_ns, double ms)
{
    double took = im_clock_ms_since(start_ns);
    if (took > ms * (TEST_SANITIZED ? 20 : 1)) {
        fail_msg("%s took %.0f ms, expected at most %.0f", what, took, ms);
    }
}

static uint64_t status_bytes(const char *key)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = strtoull(line + strlen(key), NULL, 10);
        }
    }
    fclose(file);
    return kib << 10;
}

void memory_start(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) { /* "5" resets the peak */
        (void)!write(fd, "5", 1);
        close(fd);
    }
    memory_before = status_bytes("VmRSS:");
}

void link_to(const char *target, const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    (void)unlink(path);
    assert_int_equal(symlink(target, path), 0);
    im_free(path);
}

uint64_t memory_peak(void)
{
    uint64_t peak = status_bytes("VmHWM:");
    return peak > memory_before ? peak - memory_before : 0;
}
