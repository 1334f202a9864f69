/* daemon/page_internal.h — the files of daemon/page/ as the build puts them into the program. */
#ifndef IM_DAEMON_PAGE_INTERNAL_H
#define IM_DAEMON_PAGE_INTERNAL_H

#include <stddef.h>

typedef struct page_asset {
    const char *name; /* "app.js" */
    const char *type; /* media type */
    const char *etag; /* quoted; changes with the bytes */
    const unsigned char *bytes;
    size_t size;
} page_asset;

extern const page_asset page_assets[];
extern const size_t page_n_assets;

#endif
