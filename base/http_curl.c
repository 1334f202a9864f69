/* base/http_curl.c — loads libcurl, whichever flavour the system has. */
#include "base/base.h"
#include "base/http_curl_internal.h"

#include <dlfcn.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static http_curl_functions functions; /* these two are written once */
static const char *problem;

static bool find(void *library, const char *name, void *out)
{
    void *symbol = dlsym(library, name);
    memcpy(out, &symbol,
           sizeof(symbol)); /* C has no cast from an object's to a function's address */
    return symbol != NULL;
}

static void load(void)
{
    static const char *const names[] = {"libcurl-gnutls.so.4", "libcurl.so.4"};
    void *library = NULL;
    for (size_t i = 0; library == NULL && i < IM_COUNT(names); i++) {
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (library == NULL) {
        problem = "libcurl is not there";
        return;
    }
    bool whole = true;
#define X(type, name, args) whole = find(library, "curl_" #name, &functions.name) && whole;
    HTTP_CURL_FUNCTIONS(X)
#undef X
    if (!whole || functions.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        problem = "libcurl cannot be used: it is older than 7.85, or does not start";
    }
}

im_code http_curl_load(im_error *err)
{
    (void)pthread_once(&once, load);
    if (problem != NULL) {
        im_code rc = im_fail(err, IM_ERR_UNSUPPORTED, "no server can be asked: %s", problem);
        im_hint(err, "install it: apt install libcurl3-gnutls");
        return rc;
    }
    return IM_OK;
}

const http_curl_functions *http_curl(void)
{
    return &functions;
}
