/* IMAGO_FUZZ_ROOMS: base image */
/* tests/fuzz/fuzz_png.c — whatever the bytes, the PNG path ends in a sentence or a sound picture.
 * The signature is put in and checksums are mended for half of the inputs, so that they reach what
 * lies behind. */
#include "base/fault.h"
#include "tests/fuzz/pictures.h"
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend_checksums(uint8_t *file, size_t size)
{
    for (size_t at = 8; size - at >= 12;) {
        size_t n = (size_t)file[at] << 24 | (size_t)file[at + 1] << 16 | (size_t)file[at + 2] << 8 |
                   file[at + 3];
        if (n > size - at - 12) {
            return;
        }
        uint32_t crc = (uint32_t)crc32_z(0, file + at + 4, n + 4);
        for (size_t i = 0; i < 4; i++) {
            file[at + 8 + n + i] = (uint8_t)(crc >> (24 - 8 * i));
        }
        at += 12 + n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8) {
        return 0;
    }
    uint8_t *file = malloc(size);
    require(file != NULL);
    memcpy(file, data, size);
    memcpy(file, "\x89PNG\r\n\x1a\n", 8);
    if (data[1] % 2 == 0) {
        mend_checksums(file, size);
    }
    im_image_options options = {.limits = {.max_pixels = 500000,
                                           .max_decoder_bytes = 16u << 20,
                                           .max_scans = 20,
                                           .max_decode_ms = 5000},
                                .target_px = data[0] % 2 == 0 ? 0 : 16};
    im_image image = {0};
    im_image_info info;
    im_bytes thumbnail = {NULL, 0};
    im_error err = IM_ERROR_INIT;
    if (im_image_probe(file, size, "fuzz", &options, &info, &err) == IM_OK) {
        check_info(&info);
    }
    im_code rc = im_image_decode(file, size, "fuzz", &options, &image, &info, &err);
    check_read(file, size, &options, &image, rc);
    if (rc == IM_OK) {
        check_info(&info);
        check_picture(&image, &info, options.target_px);
        require(im_image_thumbnail(file, size, "fuzz", &options, 16, &thumbnail, &err) == IM_OK);
    } else {
        require(err.message[0] != '\0' && image.rgb == NULL);
    }
    im_bytes_clear(&thumbnail);
    im_image_clear(&image);
    require(im_live_allocations() == 0);
    free(file);
    return 0;
}
