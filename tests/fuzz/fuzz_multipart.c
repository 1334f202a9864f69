/* IMAGO_FUZZ_ROOMS: base daemon_http
 * tests/fuzz/fuzz_multipart.c — first line: a Content-Type; the rest: a body. What is taken lies in
 * the body, each name once, and a body that is cut is never taken. Also ranges and tags. */
#include "base/base.h"
#include "daemon/http_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

static bool is_inside(im_view part, im_view body)
{
    return part.data >= body.data && part.size <= body.size &&
           (size_t)(part.data - body.data) <= body.size - part.size;
}

static void check_parts(im_view body, const char *boundary)
{
    http_parts parts;
    http_parts cut;
    if (http_multipart_read(body, boundary, &parts, NULL) != IM_OK) {
        return;
    }
    require(parts.n >= 1 && parts.n <= HTTP_MOST_PARTS);
    for (size_t i = 0; i < parts.n; i++) {
        require(is_inside(parts.list[i].name, body) && is_inside(parts.list[i].data, body));
        require(http_part_of(&parts, parts.list[i].name) == &parts.list[i]);
        require(parts.list[i].file_name.data == NULL || is_inside(parts.list[i].file_name, body));
    }
    require(http_multipart_read(im_view_of(body.data, body.size - 3), boundary, &cut, NULL) !=
            IM_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char boundary[HTTP_BOUNDARY_BYTES + 1];
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    uint64_t at = 0;
    uint64_t n = 0;
    if (end == NULL) {
        return 0;
    }
    im_view head = im_view_of(text, (size_t)(end - text));
    im_view body = im_view_of(end + 1, size - head.size - 1);
    if (http_boundary_read(head, boundary, NULL) == IM_OK) {
        require(boundary[0] != '\0' && strlen(boundary) <= HTTP_BOUNDARY_BYTES);
        check_parts(body, boundary);
    }
    if (http_range_read(head, size, &at, &n) == HTTP_RANGE_PART) {
        require(n > 0 && at < size && n <= size - at);
    }
    (void)http_etag_listed(head, "\"abc\"");
    return 0;
}
