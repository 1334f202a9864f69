/* tests/image/test_exif.c — EXIF values are right, or absent; orientation turns pixels (T11, T12).
 */
#include "tests/image/help.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
#define ASCII(number, text)                       \
    {                                             \
        number, 2, sizeof text, text, sizeof text \
    }
#define SHORT(number, bytes)   \
    {                          \
        number, 3, 1, bytes, 2 \
    }
#define RATIONALS(number, bytes)                         \
    {                                                    \
        number, 5, sizeof bytes / 8, bytes, sizeof bytes \
    }

static im_image_info probe(const bytes *file)
{
    im_image_info info;
    im_error err = IM_ERROR_INIT;
    im_code rc = im_image_probe(file->data, file->size, "t", NULL, &info, &err);
    if (rc != IM_OK) {
        fail_msg("%s", err.message);
    }
    return info;
}

/* The same block in a JPEG and in a PNG says the same. */
static im_image_info info_of(const bytes *tiff)
{
    bytes jpeg = golden_picture("jpeg_420.jpg");
    bytes png = golden_picture("png_2_08.png");
    bytes chunk = {0};
    jpeg_add_exif(&jpeg, tiff);
    png_chunk(&chunk, "eXIf", tiff->data, tiff->size);
    bytes_insert(&png, png_find(&png, "IEND", 0), chunk.data, chunk.size);
    im_image_info a = probe(&jpeg);
    im_image_info b = probe(&png);
    assert_int_equal(a.orientation, b.orientation);
    assert_int_equal(a.has_taken, b.has_taken);
    assert_int_equal(a.taken_s, b.taken_s);
    assert_int_equal(a.has_gps, b.has_gps);
    assert_string_equal(a.camera, b.camera);
    assert_string_equal(a.lens, b.lens);
    bytes_free(&jpeg);
    bytes_free(&png);
    bytes_free(&chunk);
    assert_int_equal(im_live_allocations(), 0);
    return a;
}

static im_image_info info_of_tags(const tag *ifd0, size_t n0, const tag *exif, size_t n_exif,
                                  const tag *gps, size_t n_gps)
{
    bytes tiff = tiff_of(ifd0, n0, exif, n_exif, gps, n_gps);
    im_image_info info = info_of(&tiff);
    bytes_free(&tiff);
    return info;
}

static const uint8_t latitude[24] = {48, 0, 0, 0, 1,  0, 0, 0, 51, 0, 0, 0,
                                     1,  0, 0, 0, 30, 0, 0, 0, 1,  0, 0, 0};
static const uint8_t longitude[24] = {2, 0, 0, 0, 1, 0, 0, 0, 15, 0, 0, 0,
                                      1, 0, 0, 0, 0, 0, 0, 0, 1,  0, 0, 0};

static void a_camera_s_tags_are_read(void **state)
{
    (void)state;
    const uint8_t six[2] = {6, 0};
    const tag ifd0[] = {ASCII(0x010F, "Canon"), ASCII(0x0110, "Canon EOS R5"), SHORT(0x0112, six)};
    const tag exif[] = {ASCII(0x9003, "2024:02:29 17:04:09"), ASCII(0x9011, "+02:00"),
                        ASCII(0xA434, "RF24-70mm F2.8 L IS USM")};
    const tag gps[] = {ASCII(1, "N"), RATIONALS(2, latitude), ASCII(3, "W"),
                       RATIONALS(4, longitude)};
    im_image_info info = info_of_tags(ifd0, 3, exif, 3, gps, 4);
    assert_int_equal(info.orientation, 6);
    assert_int_equal(info.width, 45); /* turned */
    assert_int_equal(info.height, 61);
    assert_true(info.has_taken);
    assert_int_equal(info.taken_s, 1709226249); /* date -u -d '2024-02-29 17:04:09' +%s */
    assert_true(info.has_taken_offset);
    assert_int_equal(info.taken_offset_min, 120);
    assert_true(info.has_gps);
    assert_true(fabs(info.latitude - (48 + 51 / 60.0 + 30 / 3600.0)) < 1e-9);
    assert_true(fabs(info.longitude + 2.25) < 1e-9);
    assert_string_equal(info.camera, "Canon EOS R5");
    assert_string_equal(info.lens, "RF24-70mm F2.8 L IS USM");
}

static void the_make_is_not_said_twice(void **state)
{
    (void)state;
    const struct {
        const char *make, *model, *camera;
    } cases[] = {{"Canon", "Canon EOS R5", "Canon EOS R5"},
                 {"NIKON CORPORATION", "NIKON D850", "NIKON D850"},
                 {"SONY", "ILCE-7M4", "SONY ILCE-7M4"},
                 {"Apple", "", "Apple"},
                 {"", "iPhone 15", "iPhone 15"},
                 {"  LG  ", " G6 \n", "LG G6"}};
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        const tag ifd0[] = {{0x010F, 2, (uint32_t)strlen(cases[i].make) + 1, cases[i].make,
                             strlen(cases[i].make) + 1},
                            {0x0110, 2, (uint32_t)strlen(cases[i].model) + 1, cases[i].model,
                             strlen(cases[i].model) + 1}};
        im_image_info info = info_of_tags(ifd0, 2, NULL, 0, NULL, 0);
        assert_string_equal(info.camera, cases[i].camera);
    }
}

static void texts_become_clean_utf8_that_fits(void **state)
{
    (void)state;
    char wide[240];
    memset(wide, 0, sizeof wide);
    for (size_t i = 0; i + 3 < sizeof wide; i += 2) {
        memcpy(wide + i, "\xc3\xa9", 2);
    }
    const tag ifd0[] = {ASCII(0x0110, "x\x1b[31m\x07y\xe9\xff"), ASCII(0x010F, "")};
    const tag exif[] = {{0xA434, 2, sizeof wide, wide, sizeof wide}};
    im_image_info info = info_of_tags(ifd0, 2, exif, 1, NULL, 0);
    assert_string_equal(info.camera, "x [31m y\xef\xbf\xbd\xef\xbf\xbd");
    assert_true(im_utf8_valid(info.lens, strlen(info.lens), NULL));
    assert_true(strlen(info.lens) >= sizeof info.lens - 2);
}

static void dates_that_no_calendar_has_are_absent(void **state)
{
    (void)state;
    const char *const bad[] = {"0000:00:00 00:00:00", "2024:13:45 99:99:99", "2023:02:29 10:00:00",
                               "2024:00:10 10:00:00", "2024:04:31 10:00:00", "2024:04:30 24:00:00",
                               "    :  :     :  :  ", "2024:04:30",          "20240430 101010     ",
                               "2024:04:30 10:00:6x", "-024:04:30 10:00:00"};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        const tag exif[] = {{0x9003, 2, (uint32_t)strlen(bad[i]) + 1, bad[i], strlen(bad[i]) + 1}};
        im_image_info info = info_of_tags(NULL, 0, exif, 1, NULL, 0);
        assert_false(info.has_taken);
        assert_false(info.has_taken_offset);
        assert_int_equal(info.taken_s, 0);
    }
    const struct {
        const char *text;
        int64_t seconds;
    } good[] = {{"1970:01:01 00:00:00", 0},
                {"2000-02-29T23:59:59", 951868799},
                {"1969:12:31 23:59:59", -1},
                {"2100:03:01 00:00:00", 4107542400}};
    for (size_t i = 0; i < IM_COUNT(good); i++) {
        const tag exif[] = {{0x9003, 2, 20, good[i].text, 20}, ASCII(0x9011, "-03:30")};
        im_image_info info = info_of_tags(NULL, 0, exif, 2, NULL, 0);
        assert_true(info.has_taken);
        assert_int_equal(info.taken_s, good[i].seconds);
        assert_int_equal(info.taken_offset_min, -210);
    }
    const tag odd[] = {ASCII(0x9003, "2024:04:30 10:00:00"), ASCII(0x9011, "+99:00")};
    assert_false(info_of_tags(NULL, 0, odd, 2, NULL, 0).has_taken_offset);
}

static void places_that_cannot_be_are_absent(void **state)
{
    (void)state;
    for (size_t which = 0; which < 8; which++) {
        uint8_t lat[24];
        uint8_t lon[24];
        memcpy(lat, latitude, 24);
        memcpy(lon, longitude, 24);
        const char *ref = "N";
        const char *status = "A";
        switch (which) {
        case 0:
            lat[4] = 0; /* n / 0 */
            break;
        case 1:
            lon[20] = 0;
            break;
        case 2:
            lat[0] = 91;
            break;
        case 3:
            lon[0] = 181;
            break;
        case 4:
            lat[8] = 60; /* minutes */
            break;
        case 5:
            ref = "X";
            break;
        case 6:
            status = "V"; /* void: no fix */
            break;
        default:
            memset(lat, 0, 24);
            memset(lon, 0, 24);
            for (size_t i = 4; i < 24; i += 8) {
                lat[i] = lon[i] = 1;
            }
            break;
        }
        const tag gps[] = {{1, 2, 2, ref, 2},
                           RATIONALS(2, lat),
                           ASCII(3, "E"),
                           RATIONALS(4, lon),
                           {9, 2, 2, status, 2}};
        im_image_info info = info_of_tags(NULL, 0, NULL, 0, gps, 5);
        assert_false(info.has_gps);
        assert_true(!(fabs(info.latitude) > 0) && !(fabs(info.longitude) > 0));
    }
}

static void orientations_that_do_not_exist_are_upright(void **state)
{
    (void)state;
    const unsigned bad[] = {0, 9, 255, 65535};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        bytes tiff = tiff_orientation(bad[i]);
        assert_int_equal(info_of(&tiff).orientation, 1);
        bytes_free(&tiff);
    }
    const tag ascii[] = {ASCII(0x0112, "6")};
    assert_int_equal(info_of_tags(ascii, 1, NULL, 0, NULL, 0).orientation, 1);
}

static void the_first_of_two_blocks_counts(void **state)
{
    (void)state;
    bytes file = golden_picture("jpeg_420.jpg");
    bytes three = tiff_orientation(3);
    bytes eight = tiff_orientation(8);
    jpeg_add_exif(&file, &eight);
    jpeg_add_exif(&file, &three); /* goes in front */
    assert_int_equal(probe(&file).orientation, 3);
    bytes_free(&file);
    bytes_free(&three);
    bytes_free(&eight);
}

/* Blocks whose structure lies: the picture is decoded all the same, cheaply. */
static void broken_blocks_are_harmless(void **state)
{
    (void)state;
    bytes loop = tiff_orientation(6);
    loop.data[loop.size - 4] = 8; /* the next IFD is this one */
    bytes many = {0};
    bytes_add(&many, "II*\0\x08\0\0\0\xff\xff", 10); /* 65,535 entries, as many as fit */
    while (many.size + 12 < 65000) {
        unsigned n = (unsigned)(many.size / 12) % 400;
        bytes_u8(&many, (0x100 + n) & 255);
        bytes_u8(&many, (0x100 + n) >> 8);
        bytes_add(&many, "\x02\0\xc0\xfd\0\0\x08\0\0\0", 10); /* each of 65,000 letters */
    }
    bytes past = tiff_orientation(6);
    past.data[12] = 0xff; /* count: value now outside */
    past.data[18] = 0xff;
    past.data[19] = 0xff;
    past.data[20] = 0x7f;
    bytes first_ifd = {0};
    bytes_add(&first_ifd, "MM\0*\xff\xff\xff\xff", 8);
    bytes tiny = {0};
    bytes_add(&tiny, "II", 2);
    bytes *const blocks[] = {&loop, &many, &past, &first_ifd, &tiny};
    for (size_t i = 0; i < IM_COUNT(blocks); i++) {
        bytes file = golden_picture("jpeg_420.jpg");
        jpeg_add_exif(&file, blocks[i]);
        cost c = cost_of(&file, NULL);
        assert_int_equal(c.code, IM_OK);
        assert_false(c.info.has_taken || c.info.has_gps);
        assert_int_equal(c.info.orientation, i == 0 ? 6 : 1);
        assert_cheap(&c, 200, 16 * MIB);
        bytes_free(&file);
        bytes_free(blocks[i]);
    }
}

static void two_thousand_blocks_of_64_kb_are_cheap(void **state)
{
    (void)state;
    bytes file = golden_picture("jpeg_420.jpg");
    bytes many = {0};
    uint8_t *body = calloc(1, 65533);
    memcpy(body, "Exif\0\0", 6);
    for (int i = 0; i < 2000; i++) {
        jpeg_segment(&many, 0xE1, body, 65533);
    }
    bytes_insert(&file, 2, many.data, many.size);
    cost c = cost_of(&file, NULL);
    assert_int_equal(c.code, IM_OK);
    assert_cheap(&c, 200, 16 * MIB);
    free(body);
    bytes_free(&many);
    bytes_free(&file);
}

/* stored = the picture that, oriented by `orientation`, becomes upright. */
static void store_for(unsigned orientation, const uint8_t *upright, uint32_t w, uint32_t h,
                      uint8_t *stored, uint32_t *out_w, uint32_t *out_h)
{
    *out_w = orientation >= 5 ? h : w;
    *out_h = orientation >= 5 ? w : h;
    for (uint32_t y = 0; y < *out_h; y++) {
        for (uint32_t x = 0; x < *out_w; x++) {
            uint32_t fx = *out_w - 1 - x;
            uint32_t fy = *out_h - 1 - y;
            const uint32_t at[9][2] = {{0},    {x, y},  {fx, y},  {fx, fy}, {x, fy},
                                       {y, x}, {fy, x}, {fy, fx}, {y, fx}};
            memcpy(stored + ((size_t)y * *out_w + x) * 3,
                   upright + ((size_t)at[orientation][1] * w + at[orientation][0]) * 3, 3);
        }
    }
}

static void one_scene_in_eight_orientations_is_one_picture(void **state)
{
    (void)state;
    const uint32_t w = 48;
    const uint32_t h = 37;
    uint8_t *upright = scene(w, h);
    uint8_t *stored = malloc((size_t)w * h * 3);
    uint64_t first_hash = 0;
    for (unsigned orientation = 1; orientation <= 8; orientation++) {
        uint32_t sw = 0;
        uint32_t sh = 0;
        store_for(orientation, upright, w, h, stored, &sw, &sh);
        bytes tiff = tiff_orientation(orientation);
        bytes chunk = {0};
        png_chunk(&chunk, "eXIf", tiff.data, tiff.size);
        bytes png = png_of(stored, sw, sh, 1 << 20);
        bytes_insert(&png, 33, chunk.data, chunk.size);
        /* XMP that says otherwise is not asked */
        bytes jpeg = jpeg_of(stored, sw, sh, (jpeg_kind){.quality = 98, .full_chroma = true});
        const char xmp[] = "http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='3'/>";
        bytes segment = {0};
        jpeg_segment(&segment, 0xE1, xmp, sizeof xmp);
        bytes_insert(&jpeg, 2, segment.data, segment.size);
        jpeg_add_exif(&jpeg, &tiff);
        im_image_info info;
        im_image image = decode_ok(&png, NULL, &info);
        assert_int_equal(info.width, w);
        assert_int_equal(info.height, h);
        assert_int_equal(image.width, w);
        assert_memory_equal(image.rgb, upright, (size_t)w * h * 3);
        im_image_clear(&image);
        image = decode_ok(&jpeg, NULL, &info);
        assert_int_equal(info.orientation, orientation);
        assert_int_equal(image.width, w);
        assert_true(mean_difference(image.rgb, upright, (size_t)w * h * 3) < 2.0);
        uint64_t hash = 0;
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_image_phash(&image, &hash, &err), IM_OK);
        first_hash = orientation == 1 ? hash : first_hash;
        assert_true(__builtin_popcountll(hash ^ first_hash) <= 4);
        im_image_clear(&image);
        im_bytes thumbnail = {NULL, 0};
        assert_int_equal(im_image_thumbnail(jpeg.data, jpeg.size, "t", NULL, 24, &thumbnail, &err),
                         IM_OK);
        assert_int_equal(im_image_probe(thumbnail.data, thumbnail.size, "t", NULL, &info, &err),
                         IM_OK);
        assert_int_equal(info.width, 24);
        assert_int_equal(info.orientation, 1);
        im_bytes_clear(&thumbnail);
        bytes_free(&segment);
        bytes_free(&chunk);
        bytes_free(&tiff);
        bytes_free(&png);
        bytes_free(&jpeg);
    }
    free(stored);
    free(upright);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_camera_s_tags_are_read),
        cmocka_unit_test(the_make_is_not_said_twice),
        cmocka_unit_test(texts_become_clean_utf8_that_fits),
        cmocka_unit_test(dates_that_no_calendar_has_are_absent),
        cmocka_unit_test(places_that_cannot_be_are_absent),
        cmocka_unit_test(orientations_that_do_not_exist_are_upright),
        cmocka_unit_test(the_first_of_two_blocks_counts),
        cmocka_unit_test(broken_blocks_are_harmless),
        cmocka_unit_test(two_thousand_blocks_of_64_kb_are_cheap),
        cmocka_unit_test(one_scene_in_eight_orientations_is_one_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
