/* IMAGO_FUZZ_ROOMS: base image */
/* tests/fuzz/fuzz_jpeg.c — whatever the bytes, the JPEG path ends in a sentence or a sound picture.
 * A start that no JPEG has is replaced, so that no input is wasted on the sniffer. */
#include "base/fault.h"
#include "tests/fuzz/pictures.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) {
        return 0;
    }
    uint8_t *file = malloc(size);
    require(file != NULL);
    memcpy(file, data, size);
    memcpy(file, "\xff\xd8\xff", 3);
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
