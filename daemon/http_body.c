/* daemon/http_body.c — what stands outside a head: chunked bodies and the parameters of an address,
 * read as strictly; and the words that belong to a status. */
#include "daemon/http_internal.h"

#include <string.h>

/* ---- chunks ---- */

#define REFUSE(...) http_refuse(fault, 400, IM_REASON_HTTP_BODY, __VA_ARGS__)

static int hex_value(char c)
{
    char lower = im_ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* "1a" or "1a;extension", which is passed over. */
static http_state read_size(http_chunks *chunks, uint64_t room, http_fault *fault)
{
    uint64_t size = 0;
    size_t n = 0;
    while (n < chunks->line_size && hex_value(chunks->line[n]) >= 0 && n < 17) {
        size = (size << 4) | (uint64_t)hex_value(chunks->line[n++]);
    }
    if (n == 0 || n > 16 || (n < chunks->line_size && chunks->line[n] != ';')) {
        return REFUSE("a chunk begins with no size of 1 to 16 hexadecimal digits");
    }
    for (size_t i = n; i < chunks->line_size; i++) {
        if ((unsigned char)chunks->line[i] < 0x20 && chunks->line[i] != '\t') {
            return REFUSE("a chunk's first line holds a control byte");
        }
    }
    if (size > room) {
        return http_refuse(fault, 413, IM_REASON_HTTP_TOO_LARGE, "the body is above its limit");
    }
    chunks->left = size;
    chunks->state = size > 0 ? CHUNK_DATA : CHUNK_LAST;
    return HTTP_READY;
}

/* One byte of a line; HTTP_READY at its end, which is CR LF. */
static http_state take_byte(http_chunks *chunks, char c, http_fault *fault)
{
    bool after_cr = chunks->line_size > 0 && chunks->line[chunks->line_size - 1] == '\r';
    if (c == '\n' && after_cr) {
        chunks->line_size--;
        return HTTP_READY;
    }
    if (c == '\n' || after_cr) {
        return REFUSE("a chunk's line does not end in CR LF");
    }
    if (chunks->line_size == sizeof(chunks->line)) {
        return REFUSE("a chunk's line has more than %u bytes", HTTP_CHUNK_LINE_BYTES);
    }
    chunks->line[chunks->line_size++] = c;
    return HTTP_MORE;
}

static http_state end_line(http_chunks *chunks, uint64_t room, http_fault *fault)
{
    http_state state = HTTP_READY;
    if (chunks->state == CHUNK_SIZE) {
        state = read_size(chunks, room, fault);
    } else if (chunks->line_size > 0) {
        return chunks->state == CHUNK_LAST ? REFUSE("a chunked body has trailers")
                                           : REFUSE("a chunk is longer than its size");
    } else {
        chunks->state = chunks->state == CHUNK_LAST ? CHUNK_DONE : CHUNK_SIZE;
    }
    chunks->line_size = 0;
    return state;
}

http_state http_chunks_read(http_chunks *chunks, im_view bytes, size_t *out_used, im_str *body,
                            uint64_t limit, http_fault *fault)
{
    size_t at = 0;
    http_state state = HTTP_READY;
    while (state != HTTP_REFUSED && chunks->state != CHUNK_DONE && at < bytes.size) {
        if (chunks->state == CHUNK_DATA) {
            size_t n = (size_t)IM_MIN(chunks->left, (uint64_t)(bytes.size - at));
            im_str_add(body, bytes.data + at, n);
            at += n;
            chunks->left -= n;
            chunks->state = chunks->left == 0 ? CHUNK_END : CHUNK_DATA;
            continue;
        }
        state = take_byte(chunks, bytes.data[at++], fault);
        if (state == HTTP_READY) {
            state = end_line(chunks, limit - body->size, fault);
        }
    }
    *out_used = at;
    if (state != HTTP_REFUSED && body->failed) {
        return http_refuse(fault, 503, IM_REASON_NOMEM, "no memory for a body");
    }
    return state == HTTP_REFUSED ? state : chunks->state == CHUNK_DONE ? HTTP_READY : HTTP_MORE;
}

/* ---- parameters ---- */

static im_code bad_parameter(im_error *err, const char *what)
{
    return im_fail_as(err, IM_REASON_HTTP_PARAMETER, "a parameter of the address %s", what);
}

/* Decodes `text` into `out`, which has room for it and a NUL. */
static im_code decode(im_view text, char *out, im_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i] == '+' ? ' ' : text.data[i];
        if (c == '%') {
            bool whole = text.size - i > 2;
            int high = whole ? hex_value(text.data[i + 1]) : -1;
            int low = whole ? hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return bad_parameter(err, "has a '%' without two hexadecimal digits behind it");
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0') {
            return bad_parameter(err, "holds a NUL");
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return im_utf8_valid(out, n, NULL) ? IM_OK : bad_parameter(err, "is not UTF-8");
}

static im_code add_parameter(im_view pair, char **at, http_parameters *out, im_error *err)
{
    const char *equals = memchr(pair.data, '=', pair.size);
    size_t name_size = equals != NULL ? (size_t)(equals - pair.data) : pair.size;
    size_t value_at = IM_MIN(name_size + 1, pair.size);
    if (out->n == HTTP_MOST_PARAMETERS) {
        return im_fail_as(err, IM_REASON_HTTP_PARAMETER, "the address has more than %u parameters",
                          HTTP_MOST_PARAMETERS);
    }
    http_parameter *parameter = &out->list[out->n];
    parameter->name = *at;
    parameter->value = *at + name_size + 1;
    *at += pair.size + 2;
    im_code rc = decode(im_view_of(pair.data, name_size), parameter->name, err);
    if (rc == IM_OK) {
        rc = decode(im_view_of(pair.data + value_at, pair.size - value_at), parameter->value, err);
    }
    if (rc == IM_OK && http_parameter_of(out, parameter->name) != NULL) {
        rc = im_fail_as(err, IM_REASON_HTTP_PARAMETER, "parameter '%.40s' is there twice",
                        parameter->name);
    }
    out->n += rc == IM_OK;
    return rc;
}

im_code http_parameters_read(im_view query, http_parameters *out, im_error *err)
{
    *out = (http_parameters){0};
    im_code rc = IM_OK;
    out->text = im_alloc_zero(2 * query.size + 2, 1);
    if (out->text == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for parameters");
    }
    char *at = out->text;
    for (size_t i = 0; rc == IM_OK && i < query.size;) {
        const char *end = memchr(query.data + i, '&', query.size - i);
        size_t size = end != NULL ? (size_t)(end - query.data) - i : query.size - i;
        if (size > 0) {
            rc = add_parameter(im_view_of(query.data + i, size), &at, out, err);
        }
        i += size + 1;
    }
    if (rc != IM_OK) {
        http_parameters_clear(out);
    }
    return rc;
}

const char *http_parameter_of(const http_parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->n; i++) {
        if (strcmp(parameters->list[i].name, name) == 0) {
            return parameters->list[i].value;
        }
    }
    return NULL;
}

void http_parameters_clear(http_parameters *parameters)
{
    im_free(parameters->text);
    *parameters = (http_parameters){0};
}

/* ---- names ---- */

bool http_host_is_loopback(im_view host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    char name[16];
    if (host.size >= sizeof(name)) {
        return false;
    }
    for (size_t i = 0; i < host.size; i++) {
        name[i] = im_ascii_lower(host.data[i]);
    }
    name[host.size] = '\0';
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

const char *http_status_title(int status)
{
    static const struct {
        int status;
        const char *title;
    } rows[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        if (rows[i].status == status) {
            return rows[i].title;
        }
    }
    return "Unknown";
}
