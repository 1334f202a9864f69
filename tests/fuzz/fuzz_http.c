/* IMAGO_FUZZ_ROOMS: base daemon_http
 * tests/fuzz/fuzz_http.c — heads, chunked bodies and parameters: what a head says of itself must be
 * in its bytes, and neither what follows nor the pieces it comes in may change the verdict. */
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

static void check_head(im_view bytes, const http_head *head)
{
    http_head again;
    http_fault fault;
    require(head->size <= bytes.size && head->size <= HTTP_HEAD_BYTES);
    require(memcmp(bytes.data + head->size - 4, "\r\n\r\n", 4) == 0);
    require(!(head->chunked && head->has_length) && head->host.size > 0);
    require(memchr(bytes.data, '\0', head->size) == NULL);
    require(head->method_name.data == bytes.data);
    require(http_head_read(im_view_of(bytes.data, head->size), &again, &fault) == HTTP_READY);
    require(again.size == head->size && again.length == head->length &&
            again.chunked == head->chunked);
    require(http_head_read(im_view_of(bytes.data, head->size - 1), &again, &fault) == HTTP_MORE);
}

static void check_chunks(im_view bytes)
{
    http_fault fault;
    http_chunks whole = {0};
    http_chunks pieces = {0};
    im_str a;
    im_str b;
    size_t used = 0;
    size_t at = 0;
    http_state second = HTTP_MORE;
    im_str_init(&a, 1u << 16);
    im_str_init(&b, 1u << 16);
    http_state first = http_chunks_read(&whole, bytes, &used, &a, 1u << 16, &fault);
    while (second == HTTP_MORE && at < bytes.size) {
        size_t n = 0;
        second =
            http_chunks_read(&pieces, im_view_of(bytes.data + at, 1), &n, &b, 1u << 16, &fault);
        at += n;
    }
    require(first == second && at == used && a.size == b.size && a.size <= bytes.size);
    require(a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
    im_str_clear(&a);
    im_str_clear(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    http_head head;
    http_fault fault;
    http_parameters parameters;
    im_view bytes = im_view_of((const char *)data, size);
    if (http_head_read(bytes, &head, &fault) == HTTP_READY) {
        check_head(bytes, &head);
        bytes = im_view_of(bytes.data + head.size, bytes.size - head.size);
        if (http_parameters_read(head.query, &parameters, NULL) == IM_OK) {
            http_parameters_clear(&parameters);
        }
    }
    if (bytes.size > 0) {
        check_chunks(bytes);
    }
    if (http_parameters_read(bytes, &parameters, NULL) == IM_OK) {
        require(parameters.n <= HTTP_MOST_PARAMETERS);
        http_parameters_clear(&parameters);
    }
    return 0;
}
