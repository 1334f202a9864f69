/* daemon/answer_page.c — the page and its files, which are part of the program. Names are compared
 * whole, as they came: nothing here opens a file. */
#include "daemon/daemon_internal.h"
#include "daemon/page_internal.h"

#include <string.h>

/* Scripts and styles are files of ours alone; pictures may also be made by the page itself. */
#define PAGE_POLICY                                                       \
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; " \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

static const page_asset *find_asset(const char *name)
{
    for (size_t i = 0; i < page_n_assets; i++) {
        if (strcmp(page_assets[i].name, name) == 0) {
            return &page_assets[i];
        }
    }
    return NULL;
}

static void answer_asset(exchange *ex, const char *name)
{
    im_error error = IM_ERROR_INIT;
    const page_asset *asset = find_asset(name);
    if (asset == NULL) {
        (void)!im_fail_as(&error, IM_REASON_ROUTE_NOT_FOUND, "the page has no file '%.60s'", name);
        exchange_fail(ex, 0, &error);
        return;
    }
    im_str_add(&ex->answer.out, (const char *)asset->bytes, asset->size);
    ex->policy = PAGE_POLICY;
    exchange_done_tagged(ex, asset->type, asset->etag);
    ex->cache = "no-cache"; /* asked again each time, sent only when it changed */
}

void answer_page(server *s, exchange *const *list, size_t n)
{
    (void)s;
    (void)n;
    answer_asset(list[0], "index.html");
}

void answer_page_asset(server *s, exchange *const *list, size_t n)
{
    (void)s;
    (void)n;
    answer_asset(list[0], list[0]->name);
}
