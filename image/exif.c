/* image/exif.c — the few EXIF tags that imago keeps (EXIF 2.32, CIPA DC-008). libexif reads the
 * block; each value is then judged here: what is not valid is absent, never guessed. */
#include "base/date.h"
#include "image/image_internal.h"
#include <libexif/exif-data.h>
#include <math.h>
#include <strings.h>

#define EXIF_HEADER "Exif\0\0"
#define EXIF_HEADER_BYTES 6u
#define EXIF_MAX_BYTES 0xFFF0u /* libexif's own limit, that of a JPEG segment */

/* libexif leaves a value out when memory is, in some places without a word, and its allocator hooks
 * carry no context: the one place where a thread-local serves. */
static _Thread_local bool out_of_memory;

static void *mem_alloc(ExifLong size)
{
    void *block = im_alloc_zero(size, 1); /* libexif counts on cleared memory */
    out_of_memory = out_of_memory || block == NULL;
    return block;
}

static void *mem_realloc(void *old, ExifLong size)
{
    void *block = im_realloc(old, size, 1);
    out_of_memory = out_of_memory || block == NULL;
    return block;
}

/* NULL when memory is out. */
static ExifData *load(const uint8_t *tiff, size_t size)
{
    out_of_memory = false;
    ExifData *data = NULL;
    size_t taken = IM_MIN(size, EXIF_MAX_BYTES);
    uint8_t *block = im_alloc(EXIF_HEADER_BYTES + taken, 1);
    ExifMem *mem = exif_mem_new(mem_alloc, mem_realloc, im_free);
    if (block != NULL && mem != NULL) {
        data = exif_data_new_mem(mem);
    }
    if (data != NULL) {
        memcpy(block, EXIF_HEADER, EXIF_HEADER_BYTES);
        memcpy(block + EXIF_HEADER_BYTES, tiff, taken);
        /* by default libexif adds missing tags and changes types: that would invent values */
        exif_data_unset_option(data, EXIF_DATA_OPTION_FOLLOW_SPECIFICATION);
        exif_data_set_option(data, EXIF_DATA_OPTION_IGNORE_UNKNOWN_TAGS);
        exif_data_load_data(data, block, (unsigned)(EXIF_HEADER_BYTES + taken));
    }
    if (out_of_memory) {
        exif_data_unref(data);
        data = NULL;
    }
    exif_mem_unref(mem);
    im_free(block);
    return data;
}

/* The entry when it has the type and at least n values, else NULL. */
static const ExifEntry *entry_of(const ExifData *data, ExifIfd ifd, int tag, ExifFormat format,
                                 unsigned long n)
{
    const ExifEntry *entry = exif_content_get_entry(data->ifd[ifd], (ExifTag)tag);
    bool fits = entry != NULL && entry->data != NULL && entry->format == format &&
                entry->components >= n &&
                entry->size >= n * (unsigned long)exif_format_get_size(format);
    return fits ? entry : NULL;
}

static uint8_t read_orientation(ExifData *data)
{
    const ExifEntry *entry = entry_of(data, EXIF_IFD_0, EXIF_TAG_ORIENTATION, EXIF_FORMAT_SHORT, 1);
    if (entry == NULL) {
        return 1;
    }
    ExifShort value = exif_get_short(entry->data, exif_data_get_byte_order(data));
    return value >= 1 && value <= 8 ? (uint8_t)value : 1;
}

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ';
}

/* A text tag as trimmed, valid UTF-8 without control bytes; "" when absent. Latin-1 and other bad
 * bytes become U+FFFD; what does not fit into `capacity` is cut at a character. */
static void read_text(ExifData *data, ExifIfd ifd, int tag, char *out, size_t capacity)
{
    const ExifEntry *entry = entry_of(data, ifd, tag, EXIF_FORMAT_ASCII, 1);
    size_t used = 0;
    out[0] = '\0';
    if (entry == NULL) {
        return;
    }
    const char *text = (const char *)entry->data;
    size_t size = strnlen(text, entry->size);
    while (size > 0 && is_blank(text[size - 1])) {
        size--;
    }
    for (size_t at = 0; at < size;) {
        char unit[4];
        uint32_t code = 0;
        size_t step = im_utf8_decode(text + at, size - at, &code);
        at += step > 0 ? step : 1;
        bool control = step > 0 && (code < 0x20 || (code >= 0x7F && code < 0xA0));
        size_t length = im_utf8_encode(step == 0 ? 0xFFFD : control ? ' ' : code, unit);
        if (used == 0 && is_blank(unit[0])) {
            continue;
        }
        if (used + length >= capacity) {
            break;
        }
        memcpy(out + used, unit, length);
        used += length;
    }
    out[used] = '\0';
}

/* "Canon" + "Canon EOS R5" is "Canon EOS R5"; "NIKON CORPORATION" + "NIKON D850" is kept short too:
 * the make is left out when the model begins with its first word. */
static void read_camera(ExifData *data, char *out, size_t capacity)
{
    char make[48];
    char model[48];
    read_text(data, EXIF_IFD_0, EXIF_TAG_MAKE, make, sizeof make);
    read_text(data, EXIF_IFD_0, EXIF_TAG_MODEL, model, sizeof model);
    size_t word = strcspn(make, " ,");
    bool repeated = word > 0 && strncasecmp(make, model, word) == 0;
    bool both = make[0] != '\0' && model[0] != '\0' && !repeated;
    snprintf(out, capacity, "%s%s%s", repeated ? "" : make, both ? " " : "", model);
}

/* n digits at p as a number, -1 when one is not a digit. */
static int digits(const char *p, size_t n)
{
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return -1;
        }
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

/* "2024:05:31 17:04:09" (some write dashes or a T): a date of the calendar or none. */
static bool parse_date(const char *text, size_t size, int64_t *out_s)
{
    if (size < 19) {
        return false;
    }
    int year = digits(text, 4);
    int month = digits(text + 5, 2);
    int day = digits(text + 8, 2);
    int hour = digits(text + 11, 2);
    int minute = digits(text + 14, 2);
    int second = digits(text + 17, 2);
    bool shape = (text[4] == ':' || text[4] == '-') && text[7] == text[4] &&
                 (text[10] == ' ' || text[10] == 'T') && text[13] == ':' && text[16] == ':';
    if (!shape || year < 1 || month < 1 || month > 12 || day < 1 ||
        day > im_date_month_days(year, month) || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 59) {
        return false;
    }
    *out_s = im_date_seconds(year, month, day, hour, minute, second);
    return true;
}

/* "+02:00": local time minus UTC in minutes. */
static bool parse_offset(const char *text, size_t size, int16_t *out_min)
{
    if (size < 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') {
        return false;
    }
    int hours = digits(text + 1, 2);
    int minutes = digits(text + 4, 2);
    if (hours < 0 || hours > 14 || minutes < 0 || minutes > 59) {
        return false;
    }
    int total = hours * 60 + minutes;
    *out_min = (int16_t)(text[0] == '-' ? -total : total);
    return true;
}

static void read_taken(ExifData *data, im_image_info *info)
{
    const ExifEntry *date =
        entry_of(data, EXIF_IFD_EXIF, EXIF_TAG_DATE_TIME_ORIGINAL, EXIF_FORMAT_ASCII, 19);
    const ExifEntry *offset =
        entry_of(data, EXIF_IFD_EXIF, EXIF_TAG_OFFSET_TIME_ORIGINAL, EXIF_FORMAT_ASCII, 6);
    info->has_taken =
        date != NULL && parse_date((const char *)date->data, date->size, &info->taken_s);
    info->has_taken_offset =
        info->has_taken && offset != NULL &&
        parse_offset((const char *)offset->data, offset->size, &info->taken_offset_min);
}

/* Degrees, minutes, seconds as three fractions; false for n/0, 60 minutes and the like. */
static bool read_angle(ExifData *data, int tag, int tag_ref, const char *refs, double limit,
                       double *out)
{
    const ExifEntry *angle = entry_of(data, EXIF_IFD_GPS, tag, EXIF_FORMAT_RATIONAL, 3);
    const ExifEntry *ref = entry_of(data, EXIF_IFD_GPS, tag_ref, EXIF_FORMAT_ASCII, 1);
    double parts[3];
    if (angle == NULL || ref == NULL || (ref->data[0] != refs[0] && ref->data[0] != refs[1])) {
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        ExifRational r = exif_get_rational(angle->data + 8 * i, exif_data_get_byte_order(data));
        if (r.denominator == 0) {
            return false;
        }
        parts[i] = (double)r.numerator / (double)r.denominator;
    }
    double value = parts[0] + parts[1] / 60.0 + parts[2] / 3600.0;
    if (parts[1] >= 60.0 || parts[2] >= 60.0 || !(value <= limit)) {
        return false;
    }
    *out = ref->data[0] == refs[1] ? -value : value;
    return true;
}

static void read_place(ExifData *data, im_image_info *info)
{
    double latitude = 0.0;
    double longitude = 0.0;
    const ExifEntry *status =
        entry_of(data, EXIF_IFD_GPS, EXIF_TAG_GPS_STATUS, EXIF_FORMAT_ASCII, 1);
    bool sound =
        read_angle(data, EXIF_TAG_GPS_LATITUDE, EXIF_TAG_GPS_LATITUDE_REF, "NS", 90.0, &latitude) &&
        read_angle(data, EXIF_TAG_GPS_LONGITUDE, EXIF_TAG_GPS_LONGITUDE_REF, "EW", 180.0,
                   &longitude);
    /* a receiver without a fix says V (void), or writes zeros for both */
    bool fixed = (status == NULL || status->data[0] != 'V') &&
                 (fabs(latitude) > 0.0 || fabs(longitude) > 0.0);
    if (sound && fixed) {
        info->has_gps = true;
        info->latitude = latitude;
        info->longitude = longitude;
    }
}

bool exif_read(const uint8_t *tiff, size_t size, im_image_info *info)
{
    ExifData *data = load(tiff, size);
    if (data == NULL) {
        return false;
    }
    info->orientation = read_orientation(data);
    read_taken(data, info);
    read_place(data, info);
    read_camera(data, info->camera, sizeof info->camera);
    read_text(data, EXIF_IFD_EXIF, EXIF_TAG_LENS_MODEL, info->lens, sizeof info->lens);
    exif_data_unref(data);
    return true;
}

bool exif_preview(const uint8_t *tiff, size_t size, im_bytes *out)
{
    ExifData *data = load(tiff, size);
    if (data == NULL || data->data == NULL || data->size == 0) {
        exif_data_unref(data);
        return false;
    }
    im_bytes preview = {im_alloc(data->size, 1), data->size};
    if (preview.data != NULL) {
        memcpy(preview.data, data->data, data->size);
        *out = preview; /* the caller owns it from here */
    }
    exif_data_unref(data);
    return preview.data != NULL;
}
