/* image/sniff.c — which format bytes are, by their content; names never decide. */
#include "image/image_internal.h"
#include <strings.h>

typedef struct format_row {
    const char *name;  /* JSON */
    const char *title; /* sentences */
} format_row;

static const format_row formats[IM_FORMAT_COUNT] = {
    [IM_FORMAT_UNKNOWN] = {"unknown", "of no known format"},
    [IM_FORMAT_JPEG] = {"jpeg", "JPEG"},
    [IM_FORMAT_PNG] = {"png", "PNG"},
    [IM_FORMAT_GIF] = {"gif", "GIF"},
    [IM_FORMAT_WEBP] = {"webp", "WebP"},
    [IM_FORMAT_HEIC] = {"heic", "HEIC"},
    [IM_FORMAT_AVIF] = {"avif", "AVIF"},
    [IM_FORMAT_TIFF] = {"tiff", "TIFF"},
    [IM_FORMAT_BMP] = {"bmp", "BMP"},
    [IM_FORMAT_JXL] = {"jxl", "JPEG XL"},
    [IM_FORMAT_JP2] = {"jp2", "JPEG 2000"},
    [IM_FORMAT_SVG] = {"svg", "SVG"},
    [IM_FORMAT_PDF] = {"pdf", "PDF"},
    [IM_FORMAT_ZIP] = {"zip", "a ZIP archive"},
    [IM_FORMAT_HTML] = {"html", "HTML"},
    [IM_FORMAT_ICO] = {"ico", "an icon (ICO)"},
    [IM_FORMAT_PSD] = {"psd", "a Photoshop document"},
    [IM_FORMAT_RAW] = {"raw", "a camera's raw format"},
    [IM_FORMAT_VIDEO] = {"video", "a video"},
};

const char *im_format_name(im_format format)
{
    return (unsigned)format < IM_FORMAT_COUNT ? formats[format].name : "unknown";
}

const char *sniff_title(im_format format)
{
    return formats[format].title;
}

bool im_format_decodes(im_format format)
{
    return format == IM_FORMAT_JPEG || format == IM_FORMAT_PNG;
}

/* A signature is matched at its offset; the first row that matches wins, so the special come before
 * the general (a Canon raw file is also a TIFF). */
typedef struct signature {
    im_format format;
    uint8_t offset, size;
    const char *bytes;
} signature;

static const signature signatures[] = {
    {IM_FORMAT_JPEG, 0, 3, "\xff\xd8\xff"},
    {IM_FORMAT_PNG, 0, 8, "\x89PNG\r\n\x1a\n"},
    {IM_FORMAT_GIF, 0, 6, "GIF87a"},
    {IM_FORMAT_GIF, 0, 6, "GIF89a"},
    {IM_FORMAT_WEBP, 8, 4, "WEBP"},
    {IM_FORMAT_VIDEO, 8, 4, "AVI "},
    {IM_FORMAT_RAW, 0, 10, "II*\0\x10\0\0\0CR"},
    {IM_FORMAT_RAW, 0, 4, "IIRO"},
    {IM_FORMAT_RAW, 0, 4, "IIU\0"},
    {IM_FORMAT_RAW, 0, 15, "FUJIFILMCCD-RAW"},
    {IM_FORMAT_TIFF, 0, 4, "II*\0"},
    {IM_FORMAT_TIFF, 0, 4, "MM\0*"},
    {IM_FORMAT_TIFF, 0, 4, "II+\0"},
    {IM_FORMAT_TIFF, 0, 4, "MM\0+"},
    {IM_FORMAT_JXL, 0, 2, "\xff\x0a"},
    {IM_FORMAT_JXL, 0, 12, "\0\0\0\x0cJXL \r\n\x87\n"},
    {IM_FORMAT_JP2, 0, 12, "\0\0\0\x0cjP  \r\n\x87\n"},
    {IM_FORMAT_JP2, 0, 4, "\xff\x4f\xff\x51"},
    {IM_FORMAT_PDF, 0, 5, "%PDF-"},
    {IM_FORMAT_ZIP, 0, 4, "PK\x03\x04"},
    {IM_FORMAT_ZIP, 0, 4, "PK\x05\x06"},
    {IM_FORMAT_ICO, 0, 4, "\0\0\x01\0"},
    {IM_FORMAT_PSD, 0, 4, "8BPS"},
    {IM_FORMAT_VIDEO, 0, 4, "\x1a\x45\xdf\xa3"},
    {IM_FORMAT_VIDEO, 0, 4, "\0\0\x01\xba"},
    {IM_FORMAT_VIDEO, 0, 4, "\0\0\x01\xb3"},
    {IM_FORMAT_VIDEO, 0, 4, "FLV\x01"},
};

static bool has_at(const uint8_t *bytes, size_t size, size_t offset, const char *text, size_t n)
{
    return size >= offset + n && memcmp(bytes + offset, text, n) == 0;
}

/* ISO base media files ("....ftyp"): the major brand decides, else the first compatible one. */
static im_format sniff_ftyp(const uint8_t *bytes, size_t size)
{
    static const struct {
        char brand[5];
        im_format format;
    } brands[] = {
        {"avif", IM_FORMAT_AVIF}, {"avis", IM_FORMAT_AVIF}, {"heic", IM_FORMAT_HEIC},
        {"heix", IM_FORMAT_HEIC}, {"heim", IM_FORMAT_HEIC}, {"heis", IM_FORMAT_HEIC},
        {"hevc", IM_FORMAT_HEIC}, {"hevx", IM_FORMAT_HEIC}, {"crx ", IM_FORMAT_RAW},
    };
    size_t box = (size_t)bytes[2] << 8 | bytes[3];
    size_t end = IM_MIN(size, IM_MAX(box, (size_t)12));
    bool heif = false;
    for (size_t at = 8; at + 4 <= end; at += at == 8 ? 8 : 4) { /* 12: version of the brand */
        for (size_t i = 0; i < IM_COUNT(brands); i++) {
            if (memcmp(bytes + at, brands[i].brand, 4) == 0) {
                return brands[i].format;
            }
        }
        heif = heif || memcmp(bytes + at, "mif1", 4) == 0 || memcmp(bytes + at, "msf1", 4) == 0;
    }
    return heif ? IM_FORMAT_HEIC : IM_FORMAT_VIDEO;
}

static bool sniff_bmp(const uint8_t *bytes, size_t size)
{
    /* "BM" alone begins many texts: the size of the info header must be a known one */
    return size >= 18 && bytes[0] == 'B' && bytes[1] == 'M' && bytes[15] == 0 && bytes[16] == 0 &&
           bytes[17] == 0 && (bytes[14] == 12 || (bytes[14] >= 16 && bytes[14] <= 124));
}

/* The name of the first element of a text, comments, <?xml?> and other doctypes skipped. */
static im_format sniff_markup(const uint8_t *bytes, size_t size)
{
    size_t end = IM_MIN(size, (size_t)4096);
    size_t at = has_at(bytes, size, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < end) {
        const char *text = (const char *)bytes + at;
        size_t left = end - at;
        if (strchr(" \t\r\n", *text) != NULL && *text != '\0') {
            at++;
            continue;
        }
        if (*text != '<') {
            break;
        }
        if (left >= 4 && strncasecmp(text, "<svg", 4) == 0) {
            return IM_FORMAT_SVG;
        }
        if ((left >= 14 && strncasecmp(text, "<!doctype html", 14) == 0) ||
            (left >= 5 && strncasecmp(text, "<html", 5) == 0) ||
            (left >= 5 && strncasecmp(text, "<head", 5) == 0) ||
            (left >= 5 && strncasecmp(text, "<body", 5) == 0)) {
            return IM_FORMAT_HTML;
        }
        if (left < 2 || (text[1] != '?' && text[1] != '!')) {
            break;
        }
        bool comment = left >= 4 && memcmp(text, "<!--", 4) == 0;
        const char *close = comment ? memmem(text, left, "-->", 3) : memchr(text, '>', left);
        if (close == NULL) {
            break;
        }
        at += (size_t)(close - text) + (comment ? 3 : 1);
    }
    return IM_FORMAT_UNKNOWN;
}

im_format im_image_sniff(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < IM_COUNT(signatures); i++) {
        const signature *s = &signatures[i];
        if (has_at(bytes, size, s->offset, s->bytes, s->size)) {
            if (s->offset == 8 && !has_at(bytes, size, 0, "RIFF", 4)) {
                continue;
            }
            return s->format;
        }
    }
    if (has_at(bytes, size, 4, "ftyp", 4) && size >= 12) {
        return sniff_ftyp(bytes, size);
    }
    if (sniff_bmp(bytes, size)) {
        return IM_FORMAT_BMP;
    }
    return sniff_markup(bytes, size);
}

bool im_image_name_is_picture(const char *name)
{
    static const char *const endings[] = {
        "jpg",  "jpeg", "jpe",  "jfif", "png", "apng", "gif", "webp", "heic", "heif",
        "avif", "tif",  "tiff", "bmp",  "dib", "jxl",  "jp2", "j2k",  "svg",  "ico",
        "psd",  "mpo",  "cr2",  "cr3",  "nef", "arw",  "dng", "orf",  "rw2",  "raf",
        "pef",  "srw",  "ppm",  "pgm",  "pbm", "pnm",  "tga"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < IM_COUNT(endings); i++) {
        if (strcasecmp(dot + 1, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}
