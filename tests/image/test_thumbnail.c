/* tests/image/test_thumbnail.c — thumbnails, their colour profiles (T13), and the hash. */
#include "tests/image/help.h"
#include <lcms2.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static bytes saved(cmsHPROFILE profile)
{
    bytes b = {0};
    cmsUInt32Number size = 0;
    assert_true(cmsSaveProfileToMem(profile, NULL, &size));
    bytes_fill(&b, 0, size);
    assert_true(cmsSaveProfileToMem(profile, b.data, &size));
    cmsCloseProfile(profile);
    return b;
}

/* sRGB with the red and the blue primary exchanged. */
static bytes swapped_profile(void)
{
    cmsCIExyY white;
    cmsCIExyYTRIPLE primaries = {{0.15, 0.06, 1}, {0.30, 0.60, 1}, {0.64, 0.33, 1}};
    cmsToneCurve *curve = cmsBuildGamma(NULL, 2.2);
    cmsToneCurve *curves[3] = {curve, curve, curve};
    cmsWhitePointFromTemp(&white, 6504);
    bytes b = saved(cmsCreateRGBProfile(&white, &primaries, curves));
    cmsFreeToneCurve(curve);
    return b;
}

static bytes grey_profile(void)
{
    cmsCIExyY white;
    cmsToneCurve *curve = cmsBuildGamma(NULL, 1.0);
    cmsWhitePointFromTemp(&white, 6504);
    bytes b = saved(cmsCreateGrayProfile(&white, curve));
    cmsFreeToneCurve(curve);
    return b;
}

static cmsInt32Number all_white(const cmsUInt16Number in[], cmsUInt16Number out[], void *cargo)
{
    (void)in;
    (void)cargo;
    out[0] = 0xFFFF; /* L* 100 */
    out[1] = 0x8080;
    out[2] = 0x8080;
    return 1;
}

/* Version 4 with a table from RGB to Lab that makes everything white. */
static bytes table_profile(void)
{
    cmsHPROFILE profile = cmsCreateProfilePlaceholder(NULL);
    cmsPipeline *pipeline = cmsPipelineAlloc(NULL, 3, 3);
    cmsStage *table = cmsStageAllocCLut16bit(NULL, 9, 3, 3, NULL);
    cmsToneCurve *linear[3];
    for (size_t i = 0; i < 3; i++) {
        linear[i] = cmsBuildGamma(NULL, 1.0);
    }
    cmsSetProfileVersion(profile, 4.3);
    cmsSetDeviceClass(profile, cmsSigInputClass);
    cmsSetColorSpace(profile, cmsSigRgbData);
    cmsSetPCS(profile, cmsSigLabData);
    cmsStageSampleCLut16bit(table, all_white, NULL, 0);
    cmsPipelineInsertStage(pipeline, cmsAT_BEGIN, cmsStageAllocToneCurves(NULL, 3, linear));
    cmsPipelineInsertStage(pipeline, cmsAT_END, table);
    cmsPipelineInsertStage(pipeline, cmsAT_END, cmsStageAllocToneCurves(NULL, 3, linear));
    assert_true(cmsWriteTag(profile, cmsSigAToB0Tag, pipeline));
    cmsPipelineFree(pipeline);
    for (size_t i = 0; i < 3; i++) {
        cmsFreeToneCurve(linear[i]);
    }
    return saved(profile);
}

/* Puts a profile into a JPEG in pieces; order[i] is the number of the piece written ith. */
static void add_icc(bytes *file, const bytes *profile, unsigned total, const unsigned *order,
                    unsigned n)
{
    bytes all = {0};
    size_t step = (profile->size + total - 1) / total;
    for (unsigned i = 0; i < n; i++) {
        bytes s = {0};
        size_t at = (order[i] - 1) * step;
        bytes_add(&s, "ICC_PROFILE\0", 12);
        bytes_u8(&s, order[i]);
        bytes_u8(&s, total);
        bytes_add(&s, profile->data + at, IM_MIN(step, profile->size - at));
        jpeg_segment(&all, 0xE2, s.data, s.size);
        bytes_free(&s);
    }
    bytes_insert(file, 2, all.data, all.size);
    bytes_free(&all);
}

static void add_iccp(bytes *file, const bytes *profile)
{
    bytes packed = deflated(profile->data, profile->size);
    bytes body = {0};
    bytes chunk = {0};
    bytes_add(&body, "p\0\0", 3);
    bytes_add(&body, packed.data, packed.size);
    png_chunk(&chunk, "iCCP", body.data, body.size);
    bytes_insert(file, 33, chunk.data, chunk.size);
    bytes_free(&packed);
    bytes_free(&body);
    bytes_free(&chunk);
}

static im_image thumbnail_of(const bytes *file, uint32_t max_px)
{
    im_bytes out = {NULL, 0};
    im_error err = IM_ERROR_INIT;
    im_code rc = im_image_thumbnail(file->data, file->size, "t", NULL, max_px, &out, &err);
    if (rc != IM_OK) {
        fail_msg("%s", err.message);
    }
    bytes jpeg = {out.data, out.size, out.size};
    im_image image = decode_ok(&jpeg, NULL, NULL);
    im_bytes_clear(&out);
    return image;
}

static uint8_t *red(void)
{
    uint8_t *rgb = malloc(64 * 48 * 3);
    for (size_t i = 0; i < 64 * 48; i++) {
        memcpy(rgb + i * 3, (uint8_t[]){220, 30, 30}, 3);
    }
    return rgb;
}

static void assert_ignored(const bytes *file, const char *why)
{
    im_image_info info;
    im_image image = decode_ok(file, NULL, &info);
    assert_non_null(strstr(info.warning, why));
    im_image_clear(&image);
    image = thumbnail_of(file, 32);
    assert_true(image.rgb[0] > 200 && image.rgb[2] < 60); /* still red */
    im_image_clear(&image);
    cost c = cost_of(file, NULL);
    assert_cheap(&c, 1000, 32 * MIB);
    assert_int_equal(im_live_allocations(), 0);
}

static void a_sound_profile_turns_the_thumbnail_but_not_the_pixels(void **state)
{
    (void)state;
    uint8_t *rgb = red();
    bytes profile = swapped_profile();
    bytes table = table_profile();
    const unsigned order[] = {3, 1, 2};
    for (int kind = 0; kind < 2; kind++) {
        bytes file = kind == 0 ? jpeg_of(rgb, 64, 48, (jpeg_kind){0}) : png_of(rgb, 64, 48, 4096);
        bytes other = bytes_copy(&file);
        if (kind == 0) {
            add_icc(&file, &profile, 3, order, 3);
            add_icc(&other, &table, 1, &order[1], 1);
        } else {
            add_iccp(&file, &profile);
            add_iccp(&other, &table);
        }
        im_image_info info;
        im_image image = decode_ok(&file, NULL, &info);
        assert_string_equal(info.warning, "");
        assert_true(image.rgb[0] > 200 && image.rgb[2] < 60); /* stored numbers: red */
        im_image_clear(&image);
        image = thumbnail_of(&file, 32);
        assert_true(image.rgb[0] < 60 && image.rgb[2] > 200); /* shown: blue */
        im_image_clear(&image);
        image = thumbnail_of(&other, 32);
        assert_true(image.rgb[0] > 240 && image.rgb[1] > 240 && image.rgb[2] > 240);
        im_image_clear(&image);
        bytes_free(&file);
        bytes_free(&other);
    }
    bytes_free(&profile);
    bytes_free(&table);
    free(rgb);
}

static void a_grey_profile_serves_a_grey_picture(void **state)
{
    (void)state;
    uint8_t grey[64 * 48];
    memset(grey, 128, sizeof grey);
    bytes profile = grey_profile();
    bytes file = jpeg_of(grey, 64, 48, (jpeg_kind){.channels = 1});
    const unsigned one = 1;
    add_icc(&file, &profile, 1, &one, 1);
    im_image image = thumbnail_of(&file, 32);
    assert_true(image.rgb[0] > 170); /* linear 0.5 is 188 in sRGB */
    assert_int_equal(image.rgb[0], image.rgb[1]);
    im_image_clear(&image);
    bytes_free(&file);
    bytes_free(&profile);
}

static void profiles_that_are_not_sound_are_ignored_with_a_warning(void **state)
{
    (void)state;
    uint8_t *rgb = red();
    const unsigned order[] = {1, 2, 4, 3};
    bytes good = swapped_profile();
    bytes grey = grey_profile();
    bytes cmyk = bytes_copy(&good);
    memcpy(cmyk.data + 16, "CMYK", 4);
    bytes lies = bytes_copy(&good);
    lies.data[1] = 0x7f; /* length field */
    bytes tags = bytes_copy(&good);
    memset(tags.data + 128, 0xff, 4);
    bytes huge = {0}; /* swells to 7.9 MB */
    bytes_fill(&huge, 0, 7900000);
    memcpy(huge.data, (uint8_t[]){0, 0x78, 0x8b, 0x60}, 4);
    const struct {
        const bytes *profile;
        const char *why;
    } cases[] = {{&grey, "another kind of colour"},
                 {&cmyk, "another kind of colour"},
                 {&lies, "length"},
                 {&tags, "tag table"}};
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        bytes file = jpeg_of(rgb, 64, 48, (jpeg_kind){0});
        add_icc(&file, cases[i].profile, 1, order, 1);
        assert_ignored(&file, cases[i].why);
        bytes_free(&file);
    }
    bytes file = jpeg_of(rgb, 64, 48, (jpeg_kind){0});
    add_icc(&file, &good, 4, order, 3); /* 1, 2 and 4 of 4 */
    assert_ignored(&file, "lacks a piece");
    bytes_free(&file);
    file = png_of(rgb, 64, 48, 4096);
    add_iccp(&file, &huge);
    assert_ignored(&file, "too large");
    bytes_free(&file);
    /* tags that lcms refuses, though the header is right */
    bytes hollow = bytes_copy(&good);
    memset(hollow.data + 200, 0xEE, hollow.size - 200);
    file = jpeg_of(rgb, 64, 48, (jpeg_kind){0});
    add_icc(&file, &hollow, 1, order, 1);
    im_image image = thumbnail_of(&file, 32);
    assert_true(image.rgb[0] > 200 && image.rgb[2] < 60);
    im_image_clear(&image);
    bytes_free(&file);
    bytes_free(&hollow);
    bytes_free(&good);
    bytes_free(&grey);
    bytes_free(&cmyk);
    bytes_free(&lies);
    bytes_free(&tags);
    bytes_free(&huge);
    free(rgb);
}

static void damaged_profiles_never_crash(void **state)
{
    (void)state;
    uint8_t *rgb = red();
    bytes profiles[2] = {swapped_profile(), table_profile()};
    const unsigned one = 1;
    uint64_t seed = 77;
    for (int round = 0; round < 400; round++) {
        bytes bad = bytes_copy(&profiles[round % 2]);
        for (int k = 0; k < 3; k++) {
            bad.data[132 + next_random(&seed) % (IM_MIN(bad.size, (size_t)600) - 132)] =
                (uint8_t)next_random(&seed);
        }
        bytes file = jpeg_of(rgb, 64, 48, (jpeg_kind){0});
        add_icc(&file, &bad, 1, &one, 1);
        im_image image = thumbnail_of(&file, 8);
        im_image_clear(&image);
        bytes_free(&file);
        bytes_free(&bad);
    }
    assert_int_equal(im_live_allocations(), 0);
    bytes_free(&profiles[0]);
    bytes_free(&profiles[1]);
    free(rgb);
}

static void a_thumbnail_keeps_the_shape_and_never_grows(void **state)
{
    (void)state;
    const uint32_t shapes[][4] = {
        {1000, 500, 200, 100}, {500, 1000, 100, 200}, {30, 20, 30, 20},      {2000, 3, 200, 1},
        {200, 200, 200, 200},  {201, 100, 200, 100},  {1601, 1201, 200, 150}};
    for (size_t i = 0; i < IM_COUNT(shapes); i++) {
        uint32_t w = shapes[i][0];
        uint32_t h = shapes[i][1];
        uint8_t *rgb = scene(w, h);
        bytes file = jpeg_of(rgb, w, h, (jpeg_kind){0});
        im_image image = thumbnail_of(&file, 200);
        assert_int_equal(image.width, shapes[i][2]);
        assert_int_equal(image.height, shapes[i][3]);
        if (h > 100) { /* close to a plain resize */
            uint8_t *small = malloc((size_t)image.width * image.height * 3);
            im_image whole = {.rgb = rgb, .width = w, .height = h};
            im_error err = IM_ERROR_INIT;
            assert_int_equal(
                im_image_resize(&whole, 0, 0, w, h, image.width, image.height, small, &err), IM_OK);
            assert_true(mean_difference(small, image.rgb, (size_t)image.width * image.height * 3) <
                        4.0);
            free(small);
        }
        im_image_clear(&image);
        bytes_free(&file);
        free(rgb);
    }
    bytes file = golden_picture("jpeg_420.jpg");
    im_bytes out = {NULL, 0};
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_image_thumbnail(file.data, file.size, "t", NULL, 0, &out, &err),
                     IM_ERR_INVALID);
    bytes_free(&file);
}

static void near_duplicates_hash_alike_and_others_do_not(void **state)
{
    (void)state;
    uint8_t *rgb = scene(320, 240);
    bytes big = png_of(rgb, 320, 240, 65536);
    bytes rough = jpeg_of(rgb, 320, 240, (jpeg_kind){.quality = 40});
    uint8_t *turned = malloc(320 * 240 * 3);
    for (size_t i = 0; i < 320 * 240; i++) {
        memcpy(turned + i * 3, rgb + (320 * 240 - 1 - i) * 3, 3);
    }
    bytes other = png_of(turned, 320, 240, 65536);
    uint64_t hashes[3];
    const bytes *const files[] = {&big, &rough, &other};
    for (size_t i = 0; i < 3; i++) {
        im_image image = decode_ok(files[i], NULL, NULL);
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_image_phash(&image, &hashes[i], &err), IM_OK);
        im_image_clear(&image);
    }
    assert_true(__builtin_popcountll(hashes[0] ^ hashes[1]) <= 4);
    assert_true(__builtin_popcountll(hashes[0] ^ hashes[2]) > 16);
    bytes_free(&big);
    bytes_free(&rough);
    bytes_free(&other);
    free(turned);
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_profile_turns_the_thumbnail_but_not_the_pixels),
        cmocka_unit_test(a_grey_profile_serves_a_grey_picture),
        cmocka_unit_test(profiles_that_are_not_sound_are_ignored_with_a_warning),
        cmocka_unit_test(damaged_profiles_never_crash),
        cmocka_unit_test(a_thumbnail_keeps_the_shape_and_never_grows),
        cmocka_unit_test(near_duplicates_hash_alike_and_others_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
