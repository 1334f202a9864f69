/* daemon/http_head.c — request heads, byte for byte as RFC 9112 writes them, and nothing that it
 * merely tolerates: no bare line feeds, no folded lines, one Host, one way to tell a body's length.
 */
#include "daemon/http_internal.h"

#include <stdarg.h>
#include <string.h>

http_state http_refuse(http_fault *fault, int status, im_reason reason, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fault->status = status;
    fault->error = (im_error)IM_ERROR_INIT;
    (void)!im_fail_as(&fault->error, reason, "%s", text);
    return HTTP_REFUSED;
}

#define REFUSE(...) http_refuse(fault, 400, IM_REASON_HTTP_HEAD, __VA_ARGS__)

/* ---- bytes ---- */

static bool is_token_char(char c)
{
    return im_ascii_is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(im_view text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!is_token_char(text.data[i])) {
            return false;
        }
    }
    return text.size > 0;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

bool http_same_word(im_view text, const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i < size && text.size == size; i++) {
        if (im_ascii_lower(text.data[i]) != word[i]) {
            return false;
        }
    }
    return text.size == size;
}

static im_view trim(im_view text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = im_view_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

static im_view until(im_view text, char c)
{
    const char *end = text.size > 0 ? memchr(text.data, c, text.size) : NULL;
    return end != NULL ? im_view_of(text.data, (size_t)(end - text.data)) : text;
}

static im_view behind(im_view text, size_t n)
{
    n = IM_MIN(n, text.size);
    return im_view_of(text.data + n, text.size - n);
}

/* ---- the request line ---- */

static http_state read_target(im_view target, http_head *out, http_fault *fault)
{
    if (target.size > HTTP_TARGET_BYTES) {
        return http_refuse(fault, 414, IM_REASON_HTTP_TOO_LARGE,
                           "the address has %zu bytes, the limit is %u", target.size,
                           HTTP_TARGET_BYTES);
    }
    for (size_t i = 0; i < target.size; i++) {
        if ((unsigned char)target.data[i] <= 0x20 || (unsigned char)target.data[i] >= 0x7f) {
            return REFUSE("the address holds a byte 0x%02x at place %zu",
                          (unsigned)(unsigned char)target.data[i], i + 1);
        }
    }
    if (http_same_word(out->method_name, "connect")) {
        return HTTP_READY; /* an authority; refused as a method */
    }
    if (!im_view_equal_c(target, "*") && (target.size == 0 || target.data[0] != '/')) {
        return REFUSE("the address does not begin with '/'");
    }
    out->path = until(until(target, '#'), '?');
    if (memchr(target.data, '#', target.size) != NULL) {
        return REFUSE("the address holds a '#'");
    }
    out->query = behind(target, out->path.size + 1);
    return HTTP_READY;
}

static http_state read_version(im_view version, http_head *out, http_fault *fault)
{
    bool looks = version.size == 8 && memcmp(version.data, "HTTP/", 5) == 0 &&
                 version.data[5] >= '0' && version.data[5] <= '9' && version.data[6] == '.' &&
                 version.data[7] >= '0' && version.data[7] <= '9';
    if (!looks) {
        return REFUSE("the first line does not end in an HTTP version");
    }
    if (version.data[5] != '1' || version.data[7] > '1') {
        return http_refuse(fault, 505, IM_REASON_HTTP_HEAD,
                           "HTTP version %.3s is not spoken here, 1.1 is", version.data + 5);
    }
    out->close = version.data[7] == '0'; /* unless it asks to stay, which 1.0 does not get */
    return HTTP_READY;
}

static http_state read_request_line(im_view line, http_head *out, http_fault *fault)
{
    static const struct {
        const char *name;
        http_method method;
    } methods[] = {{"GET", HTTP_GET},
                   {"HEAD", HTTP_HEAD},
                   {"POST", HTTP_POST},
                   {"PATCH", HTTP_PATCH},
                   {"DELETE", HTTP_DELETE}};
    out->method_name = until(line, ' ');
    im_view rest = behind(line, out->method_name.size + 1);
    im_view target = until(rest, ' ');
    if (!is_token(out->method_name) || out->method_name.size > 32) {
        return REFUSE("the request does not begin with a method");
    }
    out->method = HTTP_OTHER;
    for (size_t i = 0; i < IM_COUNT(methods); i++) {
        if (im_view_equal_c(out->method_name, methods[i].name)) {
            out->method = methods[i].method;
        }
    }
    http_state state = read_version(behind(rest, target.size + 1), out, fault);
    return state == HTTP_READY ? read_target(target, out, fault) : state;
}

/* ---- headers ---- */

static bool port_is_sound(im_view port)
{
    unsigned value = 0;
    for (size_t i = 0; i < port.size; i++) {
        if (port.data[i] < '0' || port.data[i] > '9' || i >= 5) {
            return false;
        }
        value = value * 10 + (unsigned)(port.data[i] - '0');
    }
    return port.size > 0 && value <= 65535;
}

static http_state read_host(im_view value, http_head *out, http_fault *fault)
{
    bool bracket = value.size > 0 && value.data[0] == '[';
    im_view name = bracket ? until(value, ']') : until(value, ':');
    if (out->host.data != NULL) {
        return REFUSE("there are two 'Host' headers");
    }
    name.size += bracket && name.size < value.size ? 1 : 0;
    im_view port = behind(value, name.size);
    bool sound = name.size > (bracket ? 2u : 0u) && name.size <= 255 &&
                 (!bracket || name.data[name.size - 1] == ']');
    for (size_t i = bracket ? 1 : 0; sound && i < name.size - (bracket ? 1 : 0); i++) {
        char c = name.data[i];
        sound = im_ascii_is_alnum(c) || c == '.' || c == '-' || c == '_' ||
                (bracket && (c == ':' || c == '%'));
    }
    sound = sound && (port.size == 0 || (port.data[0] == ':' && port_is_sound(behind(port, 1))));
    if (!sound) {
        return REFUSE("header 'Host' names no host, expected NAME or NAME:PORT");
    }
    out->host = name;
    out->authority = value;
    return HTTP_READY;
}

static http_state read_length(im_view value, http_head *out, http_fault *fault)
{
    uint64_t length = 0;
    if (out->has_length) {
        return REFUSE("there are two 'Content-Length' headers");
    }
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return REFUSE("header 'Content-Length' is no number");
        }
        if (!im_u64_mul(length, 10, &length) ||
            !im_u64_add(length, (uint64_t)(value.data[i] - '0'), &length)) {
            length = UINT64_MAX;
        }
    }
    if (value.size == 0) {
        return REFUSE("header 'Content-Length' is empty");
    }
    out->has_length = true;
    out->length = length;
    return HTTP_READY;
}

static http_state read_coding(im_view value, http_head *out, http_fault *fault)
{
    if (out->chunked) {
        return REFUSE("there are two 'Transfer-Encoding' headers");
    }
    if (!http_same_word(value, "chunked")) {
        return http_refuse(fault, 501, IM_REASON_HTTP_HEAD,
                           "header 'Transfer-Encoding' is '%.*s', only 'chunked' is understood",
                           (int)IM_MIN(value.size, (size_t)40), value.data);
    }
    if (out->close) {
        return REFUSE("HTTP/1.0 has no 'Transfer-Encoding'");
    }
    out->chunked = true;
    return HTTP_READY;
}

static bool any_of(im_view list, bool (*is_it)(im_view entry))
{
    bool found = false;
    while (!found && list.size > 0) {
        im_view entry = until(list, ',');
        found = is_it(trim(entry));
        list = behind(list, entry.size + 1);
    }
    return found;
}

static bool is_close(im_view entry)
{
    return http_same_word(entry, "close");
}

/* A media type; what stands behind ";" (a weight) is not looked at. */
static bool is_events(im_view entry)
{
    return http_same_word(trim(until(entry, ';')), "text/event-stream");
}

/* "PROTOCOL NAME" with a comment, perhaps. */
static bool is_imago(im_view entry)
{
    im_view name = trim(behind(entry, until(entry, ' ').size));
    return http_same_word(until(name, ' '), HTTP_VIA_NAME);
}

/* Whatever is wrong with credentials, the answer is that they are wrong. */
static void read_credentials(im_view value, http_head *out)
{
    bool odd = out->authorization.data != NULL;
    for (size_t i = 0; i < value.size; i++) {
        odd = odd || is_control(value.data[i]);
    }
    out->odd_credentials = out->odd_credentials || odd;
    out->authorization = out->odd_credentials ? im_view_of("", 0) : value;
}

static http_state read_origin(im_view value, http_head *out, http_fault *fault)
{
    if (out->origin.data != NULL) {
        return REFUSE("there are two 'Origin' headers");
    }
    out->origin = value;
    return HTTP_READY;
}

/* One that is there twice is worth nothing: the whole answer is always right. */
static void read_condition(im_view name, im_view value, http_head *out)
{
    im_view *to = http_same_word(name, "range")           ? &out->range
                  : http_same_word(name, "if-range")      ? &out->if_range
                  : http_same_word(name, "last-event-id") ? &out->last_event_id
                  : http_same_word(name, "if-none-match") ? &out->if_none_match
                                                          : NULL;
    if (to != NULL) {
        *to = to->data == NULL ? value : im_view_of(value.data, 0);
    }
}

static http_state read_header(im_view name, im_view value, http_head *out, bool *close,
                              http_fault *fault)
{
    if (http_same_word(name, "host")) {
        return read_host(value, out, fault);
    }
    if (http_same_word(name, "content-length")) {
        return read_length(value, out, fault);
    }
    if (http_same_word(name, "transfer-encoding")) {
        return read_coding(value, out, fault);
    }
    if (http_same_word(name, "origin")) {
        return read_origin(value, out, fault);
    }
    if (http_same_word(name, "authorization")) {
        read_credentials(value, out);
    } else if (http_same_word(name, "connection")) {
        *close = *close || any_of(value, is_close);
    } else if (http_same_word(name, "expect")) {
        if (!http_same_word(value, "100-continue")) {
            return http_refuse(fault, 417, IM_REASON_HTTP_HEAD,
                               "header 'Expect' asks for something else than '100-continue'");
        }
        out->expects_continue = true;
    } else if (http_same_word(name, "content-encoding") && !http_same_word(value, "identity")) {
        return http_refuse(fault, 415, IM_REASON_HTTP_TYPE,
                           "header 'Content-Encoding' is '%.*s', expected a body as it is",
                           (int)IM_MIN(value.size, (size_t)40), value.data);
    } else if (http_same_word(name, "content-type")) {
        if (out->content_type.data != NULL) {
            return REFUSE("there are two 'Content-Type' headers");
        }
        out->content_type = value;
    } else if (http_same_word(name, "accept")) {
        out->wants_events = out->wants_events || any_of(value, is_events);
    } else if (http_same_word(name, "via")) {
        out->forwarded = out->forwarded || any_of(value, is_imago);
    } else {
        read_condition(name, value, out);
    }
    return HTTP_READY;
}

static http_state read_header_line(im_view line, http_head *out, bool *close, http_fault *fault)
{
    im_view name = until(line, ':');
    if (line.data[0] == ' ' || line.data[0] == '\t') {
        return REFUSE("a header is folded over two lines");
    }
    if (name.size == line.size || !is_token(name)) {
        return REFUSE("a header has no name, or no ':' directly behind it");
    }
    return read_header(name, trim(behind(line, name.size + 1)), out, close, fault);
}

/* ---- lines ---- */

/* The next line, without its end. HTTP_MORE: its end has not come yet. */
static http_state next_line(im_view bytes, size_t *at, im_view *out_line, http_fault *fault)
{
    im_view rest = behind(bytes, *at);
    im_view line = until(rest, '\n');
    bool whole = line.size < rest.size;
    if (whole && (line.size == 0 || line.data[line.size - 1] != '\r')) {
        return REFUSE("a line ends in a line feed alone");
    }
    size_t size = line.size > 0 && line.data[line.size - 1] == '\r' ? line.size - 1 : line.size;
    /* a key with a NUL is a wrong key, not a head that cannot be read */
    bool credentials = http_same_word(until(im_view_of(line.data, size), ':'), "authorization");
    for (size_t i = 0; i < size; i++) {
        if (is_control(line.data[i]) && (!credentials || line.data[i] == '\r')) {
            return REFUSE("the head holds a byte 0x%02x", (unsigned)(unsigned char)line.data[i]);
        }
    }
    *out_line = im_view_of(line.data, size);
    *at += whole ? line.size + 1 : 0;
    return whole ? HTTP_READY : HTTP_MORE;
}

/* What a head that is not whole can be refused for already. */
static http_state unfinished(im_view bytes, im_view line, bool first, http_fault *fault)
{
    if (first && line.size > 0 && !is_token(until(line, ' '))) {
        return REFUSE("the request does not begin with a method");
    }
    if (first && line.size > HTTP_TARGET_BYTES + 64) {
        return http_refuse(fault, 414, IM_REASON_HTTP_TOO_LARGE,
                           "the address has more than %u bytes", HTTP_TARGET_BYTES);
    }
    if (bytes.size >= HTTP_HEAD_BYTES) {
        return http_refuse(fault, 431, IM_REASON_HTTP_TOO_LARGE, "the head has more than %u bytes",
                           HTTP_HEAD_BYTES);
    }
    return HTTP_MORE;
}

static http_state check_whole(http_head *out, bool close, http_fault *fault)
{
    if (out->host.data == NULL) {
        return REFUSE("there is no 'Host' header");
    }
    if (out->chunked && out->has_length) {
        return REFUSE("'Content-Length' and 'Transfer-Encoding' tell the body's length twice");
    }
    /* a chunked request is the last one, as is one that a proxy may have read otherwise */
    out->close = out->close || close || out->chunked || out->odd_credentials;
    return HTTP_READY;
}

http_state http_head_read(im_view bytes, http_head *out, http_fault *fault)
{
    http_head head = {0};
    im_view line = {0};
    size_t at = 0;
    bool close = false;
    im_view whole = im_view_of(bytes.data, IM_MIN(bytes.size, (size_t)HTTP_HEAD_BYTES));
    for (size_t n = 0;; n++) {
        http_state state = next_line(whole, &at, &line, fault);
        if (state == HTTP_MORE) {
            return unfinished(whole, line, n == 0, fault);
        }
        if (state == HTTP_READY && n == 0) {
            state = read_request_line(line, &head, fault);
        } else if (state == HTTP_READY && line.size == 0) {
            head.size = at;
            state = check_whole(&head, close, fault);
            *out = head;
            return state;
        } else if (state == HTTP_READY && n > HTTP_MOST_HEADERS) {
            return http_refuse(fault, 431, IM_REASON_HTTP_TOO_LARGE,
                               "the head has more than %u headers", HTTP_MOST_HEADERS);
        } else if (state == HTTP_READY) {
            state = read_header_line(line, &head, &close, fault);
        }
        if (state == HTTP_REFUSED) {
            return state;
        }
    }
}
