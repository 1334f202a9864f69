/* base/http_curl_internal.h — libcurl, loaded when the first server is asked: it brings two dozen
 * libraries with it, which would make every start of the program 6 ms longer. */
#ifndef IM_BASE_HTTP_CURL_INTERNAL_H
#define IM_BASE_HTTP_CURL_INTERNAL_H

#include "base/error.h"
#include <curl/curl.h>

/* The functions that are used; each is called as http_curl()->name. */
#define HTTP_CURL_FUNCTIONS(X)                                                             \
    X(CURLcode, global_init, (long flags))                                                 \
    X(CURL *, easy_init, (void))                                                           \
    X(CURLcode, easy_setopt, (CURL * curl, CURLoption option, ...))                        \
    X(CURLcode, easy_perform, (CURL * curl))                                               \
    X(CURLcode, easy_getinfo, (CURL * curl, CURLINFO info, ...))                           \
    X(void, easy_reset, (CURL * curl))                                                     \
    X(void, easy_cleanup, (CURL * curl))                                                   \
    X(const char *, easy_strerror, (CURLcode code))                                        \
    X(struct curl_slist *, slist_append, (struct curl_slist * list, const char *line))     \
    X(void, slist_free_all, (struct curl_slist * list))                                    \
    X(CURLU *, url, (void))                                                                \
    X(CURLUcode, url_set, (CURLU * url, CURLUPart part, const char *text, unsigned flags)) \
    X(CURLUcode, url_get, (const CURLU *url, CURLUPart part, char **text, unsigned flags)) \
    X(void, url_cleanup, (CURLU * url))                                                    \
    X(void, free, (void *block))

typedef struct http_curl_functions {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): a type and a list of parameters */
#define X(type, name, args) type(*name) args;
    HTTP_CURL_FUNCTIONS(X)
#undef X
} http_curl_functions;

/** Loads and starts libcurl once; IM_ERR_UNSUPPORTED where there is none. */
IM_NODISCARD im_code http_curl_load(im_error *err);
/** After http_curl_load. */
const http_curl_functions *http_curl(void);

#endif
