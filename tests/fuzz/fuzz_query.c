/* IMAGO_FUZZ_ROOMS: base index query
 * tests/fuzz/fuzz_query.c — the query language and queries as JSON: any bytes parse, or the
 * sentence points into them; what parses is the same when it is written and read again. Bytes that
 * begin with "{" are read as JSON as well. */
#include "tests/query/help_query.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_json(im_view text)
{
    im_query_requests requests = {0};
    im_error err = IM_ERROR_INIT;
    im_code rc =
        im_query_requests_read(text, "fuzz", language_fields, N_LANGUAGE_FIELDS, &requests, &err);
    if (rc == IM_OK && (requests.n == 0 || requests.requests[0].k == 0)) {
        abort();
    }
    if (rc != IM_OK && (requests.n != 0 || err.message[0] == '\0')) {
        abort();
    }
    im_query_requests_clear(&requests);
}

static void read_filter(im_view text)
{
    im_filter *filter = NULL;
    if (im_filter_parse(text, language_fields, N_LANGUAGE_FIELDS, &filter, NULL) == IM_OK &&
        filter_depth(filter) > 190) {
        abort();
    }
    im_filter_free(filter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    im_view text = im_view_of((const char *)data, size);
    if (broken_promise(text) != NULL) {
        abort();
    }
    read_filter(text);
    if (size > 0 && data[0] == '{') {
        read_json(text);
    }
    return 0;
}
