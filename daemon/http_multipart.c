/* daemon/http_multipart.c — multipart/form-data (RFC 7578), read from a body that is there as a
 * whole: what is not closed by its last line is refused, so that half a picture is never taken for
 * one. Nothing is decoded: names are what was sent, file names are for showing alone. */
#include "daemon/http_internal.h"

#include <string.h>

#define REFUSE(...) im_fail_as(err, IM_REASON_HTTP_MULTIPART, __VA_ARGS__)

static im_view behind(im_view view, size_t n)
{
    n = IM_MIN(n, view.size);
    return im_view_of(view.data + n, view.size - n);
}

static bool begins_with(im_view view, const char *text)
{
    size_t size = strlen(text);
    return view.size >= size && memcmp(view.data, text, size) == 0;
}

static im_view trim(im_view view)
{
    while (view.size > 0 && (view.data[0] == ' ' || view.data[0] == '\t')) {
        view = behind(view, 1);
    }
    while (view.size > 0 && (view.data[view.size - 1] == ' ' || view.data[view.size - 1] == '\t')) {
        view.size--;
    }
    return view;
}

/* ---- "; name=value" ---- */

static bool is_token_char(char c)
{
    return im_ascii_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* The length of a value, with its quotes; SIZE_MAX when they do not end. */
static size_t value_size(im_view text)
{
    size_t n = 1;
    if (text.size == 0 || text.data[0] != '"') {
        n = 0;
        while (n < text.size && text.data[n] != ';' && text.data[n] != ' ' &&
               text.data[n] != '\t') {
            n++;
        }
        return n;
    }
    while (n < text.size && text.data[n] != '"') {
        n += text.data[n] == '\\' ? 2 : 1;
    }
    return n < text.size ? n + 1 : SIZE_MAX;
}

/* Takes one parameter off *rest, which begins behind the value that it belongs to. HTTP_MORE: there
 * is none any more. */
static http_state next_parameter(im_view *rest, im_view *out_name, im_view *out_value)
{
    *rest = trim(*rest);
    if (rest->size == 0) {
        return HTTP_MORE;
    }
    if (rest->data[0] != ';') {
        return HTTP_REFUSED;
    }
    im_view text = trim(behind(*rest, 1));
    size_t n = 0;
    while (n < text.size && is_token_char(text.data[n])) {
        n++;
    }
    if (n == 0 || n >= text.size || text.data[n] != '=') {
        return HTTP_REFUSED;
    }
    im_view value = behind(text, n + 1);
    size_t size = value_size(value);
    if (size == SIZE_MAX || size == 0) {
        return HTTP_REFUSED;
    }
    bool quoted = value.data[0] == '"';
    *out_name = im_view_of(text.data, n);
    *out_value = quoted ? im_view_of(value.data + 1, size - 2) : im_view_of(value.data, size);
    *rest = behind(value, size);
    return HTTP_READY;
}

/* ---- the boundary ---- */

/* RFC 2046, 5.1.1. */
static bool boundary_is_sound(im_view value)
{
    bool sound =
        value.size > 0 && value.size <= HTTP_BOUNDARY_BYTES && value.data[value.size - 1] != ' ';
    for (size_t i = 0; i < value.size && sound; i++) {
        char c = value.data[i];
        sound = im_ascii_is_alnum(c) || (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL);
    }
    return sound;
}

im_code http_boundary_read(im_view content_type, char out[HTTP_BOUNDARY_BYTES + 1], im_error *err)
{
    im_view name;
    im_view value;
    im_view boundary = {0};
    const char *first = memchr(content_type.data, ';', content_type.size);
    im_view rest = first != NULL ? behind(content_type, (size_t)(first - content_type.data))
                                 : im_view_of("", 0);
    http_state state = HTTP_READY;
    while ((state = next_parameter(&rest, &name, &value)) == HTTP_READY) {
        if (http_same_word(name, "boundary")) {
            if (boundary.data != NULL) {
                return REFUSE("header 'Content-Type' names two boundaries");
            }
            boundary = value;
        }
    }
    if (state == HTTP_REFUSED || boundary.data == NULL) {
        return REFUSE("header 'Content-Type' names no boundary, expected "
                      "'multipart/form-data; boundary=…'");
    }
    if (!boundary_is_sound(boundary)) {
        return REFUSE("the boundary in 'Content-Type' is not 1 to %u bytes of those that RFC 2046 "
                      "allows",
                      HTTP_BOUNDARY_BYTES);
    }
    memcpy(out, boundary.data, boundary.size);
    out[boundary.size] = '\0';
    return IM_OK;
}

/* ---- the head of a part ---- */

static im_code read_disposition(im_view value, http_part *part, im_error *err)
{
    static const char kind[] = "form-data";
    im_view name;
    im_view text;
    http_state state = HTTP_READY;
    if (part->name.data != NULL) {
        return REFUSE("a part has two 'Content-Disposition' headers");
    }
    im_view head = im_view_of(value.data, IM_MIN(value.size, sizeof(kind) - 1));
    if (!http_same_word(head, kind)) {
        return REFUSE("a part's 'Content-Disposition' is not 'form-data'");
    }
    im_view rest = behind(value, sizeof(kind) - 1);
    while ((state = next_parameter(&rest, &name, &text)) == HTTP_READY) {
        im_view *to = http_same_word(name, "name")       ? &part->name
                      : http_same_word(name, "filename") ? &part->file_name
                                                         : NULL;
        if (to != NULL && to->data != NULL) {
            return REFUSE("a part's 'Content-Disposition' gives '%.*s' twice", (int)name.size,
                          name.data);
        }
        if (to != NULL) {
            *to = text;
        }
    }
    if (state == HTTP_REFUSED) {
        return REFUSE("a part's 'Content-Disposition' is not 'form-data; name=\"…\"'");
    }
    if (part->name.data == NULL || part->name.size == 0 || part->name.size > HTTP_PART_NAME_BYTES ||
        !im_utf8_valid(part->name.data, part->name.size, NULL) ||
        memchr(part->name.data, '\\', part->name.size) != NULL) {
        return REFUSE("a part has no name of 1 to %u bytes of UTF-8", HTTP_PART_NAME_BYTES);
    }
    return IM_OK;
}

static im_code read_part_header(im_view line, http_part *part, im_error *err)
{
    const char *colon = memchr(line.data, ':', line.size);
    if (line.data[0] == ' ' || line.data[0] == '\t' || colon == NULL || colon == line.data) {
        return REFUSE("a part's header is folded, or has no name");
    }
    im_view name = im_view_of(line.data, (size_t)(colon - line.data));
    im_view value = trim(behind(line, name.size + 1));
    for (size_t i = 0; i < name.size; i++) {
        if (!is_token_char(name.data[i])) {
            return REFUSE("a part's header has no name");
        }
    }
    if (http_same_word(name, "content-disposition")) {
        return read_disposition(value, part, err);
    }
    if (http_same_word(name, "content-type")) {
        if (part->content_type.data != NULL) {
            return REFUSE("a part has two 'Content-Type' headers");
        }
        part->content_type = value;
        if (http_same_word(im_view_of(value.data, IM_MIN(value.size, (size_t)10)), "multipart/")) {
            return REFUSE("a part is 'multipart' itself, which is not taken");
        }
    } else if (http_same_word(name, "content-transfer-encoding") &&
               !http_same_word(value, "binary") && !http_same_word(value, "8bit") &&
               !http_same_word(value, "7bit")) {
        return REFUSE("a part's 'Content-Transfer-Encoding' is '%.*s', expected 'binary'",
                      (int)IM_MIN(value.size, (size_t)40), value.data);
    }
    return IM_OK;
}

/* Reads headers up to and with the empty line, off *rest. */
static im_code read_part_head(im_view *rest, http_part *part, im_error *err)
{
    size_t left = HTTP_PART_HEAD_BYTES;
    *part = (http_part){0};
    for (;;) {
        size_t most = IM_MIN(rest->size, left);
        const char *end = most > 0 ? memchr(rest->data, '\n', most) : NULL;
        size_t size = end != NULL ? (size_t)(end - rest->data) : most;
        if (end == NULL && rest->size >= left) {
            return REFUSE("a part's head has more than %u bytes", HTTP_PART_HEAD_BYTES);
        }
        if (end == NULL || size == 0 || rest->data[size - 1] != '\r') {
            return REFUSE("a part's head is not lines that end in CR LF, and an empty one");
        }
        im_view line = im_view_of(rest->data, size - 1);
        for (size_t i = 0; i < line.size; i++) {
            unsigned char c = (unsigned char)line.data[i];
            if ((c < 0x20 && c != '\t') || c == 0x7f) {
                return REFUSE("a part's head holds a byte 0x%02x", (unsigned)c);
            }
        }
        *rest = behind(*rest, size + 1);
        left -= size + 1;
        if (line.size == 0) {
            break;
        }
        im_code rc = read_part_header(line, part, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    return part->name.data != NULL ? IM_OK : REFUSE("a part has no 'Content-Disposition'");
}

/* ---- parts ---- */

/* Takes the part's data and the line behind it off *rest. */
static im_code read_data(im_view *rest, im_view delimiter, http_part *part, bool *out_last,
                         im_error *err)
{
    const char *end = memmem(rest->data, rest->size, delimiter.data, delimiter.size);
    if (end == NULL) {
        return REFUSE("the body ends before the line that closes its last part");
    }
    part->data = im_view_of(rest->data, (size_t)(end - rest->data));
    *rest = behind(*rest, part->data.size + delimiter.size);
    *out_last = begins_with(*rest, "--");
    if (!*out_last && !begins_with(*rest, "\r\n")) {
        return REFUSE("the boundary stands inside the data of part '%.*s'",
                      (int)IM_MIN(part->name.size, (size_t)60), part->name.data);
    }
    *rest = behind(*rest, 2);
    return IM_OK;
}

static im_code add_part(im_view *rest, im_view delimiter, http_parts *out, bool *out_last,
                        im_error *err)
{
    http_part part;
    if (out->n == HTTP_MOST_PARTS) {
        return REFUSE("the body has more than %u parts", HTTP_MOST_PARTS);
    }
    im_code rc = read_part_head(rest, &part, err);
    if (rc == IM_OK) {
        rc = read_data(rest, delimiter, &part, out_last, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (http_part_of(out, part.name) != NULL) {
        return REFUSE("two parts have the name '%.*s'", (int)IM_MIN(part.name.size, (size_t)60),
                      part.name.data);
    }
    out->list[out->n++] = part;
    return IM_OK;
}

im_code http_multipart_read(im_view body, const char *boundary, http_parts *out, im_error *err)
{
    char line[HTTP_BOUNDARY_BYTES + 5] = "\r\n--";
    size_t size = 4 + strlen(boundary);
    bool last = false;
    im_code rc = IM_OK;
    memcpy(line + 4, boundary, size - 4 + 1);
    out->n = 0;
    if (!begins_with(body, line + 2) || !begins_with(behind(body, size - 2), "\r\n")) {
        return REFUSE("the body does not begin with a part behind '--' and the boundary");
    }
    im_view rest = behind(body, size);
    while (rc == IM_OK && !last) {
        rc = add_part(&rest, im_view_of(line, size), out, &last, err);
    }
    if (rc == IM_OK && rest.size > 0 && !im_view_equal_c(rest, "\r\n")) {
        rc = REFUSE("there is more behind the line that closes the body");
    }
    return rc;
}

const http_part *http_part_of(const http_parts *parts, im_view name)
{
    for (size_t i = 0; i < parts->n; i++) {
        if (im_view_equal(parts->list[i].name, name)) {
            return &parts->list[i];
        }
    }
    return NULL;
}
