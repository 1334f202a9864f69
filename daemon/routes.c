/* daemon/routes.c — the table of routes, and which of its rows a request means. */
#include "daemon/daemon_internal.h"

#include <string.h>

#define HTTP_METHOD_GET HTTP_GET
#define HTTP_METHOD_POST HTTP_POST

const route daemon_routes[ROUTE_COUNT] = {
#define X(ID, method, path, place, most, function, summary, body, answer) \
    {ROUTE_##ID, HTTP_METHOD_##method, path, PLACE_##place, most, function, summary, body, answer},
#include "daemon/routes.def"
#undef X
};

typedef struct parameter_row {
    route_id route;
    const char *name;
    bool required;
} parameter_row;

static const parameter_row parameter_rows[] = {
#define X(ROUTE, name, schema, required, text) {ROUTE_##ROUTE, name, required},
#include "daemon/parameters.def"
#undef X
};

static bool path_fits(const char *pattern, im_view path, im_view *out_id)
{
    const char *hole = strchr(pattern, '{');
    *out_id = im_view_of("", 0);
    if (hole == NULL) {
        return im_view_equal_c(path, pattern);
    }
    size_t size = (size_t)(hole - pattern);
    if (path.size <= size || memcmp(path.data, pattern, size) != 0 ||
        memchr(path.data + size, '/', path.size - size) != NULL) {
        return false;
    }
    *out_id = im_view_of(path.data + size, path.size - size);
    return true;
}

const route *route_find(http_method method, im_view path, im_view *out_id, char out_allow[32])
{
    http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
    out_allow[0] = '\0';
    bool get = path.size == 0 || im_view_equal_c(path, "*");
    bool post = get; /* CONNECT and OPTIONS *: what the server as a whole has */
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (path_fits(daemon_routes[i].path, path, out_id)) {
            if (daemon_routes[i].method == wanted) {
                return &daemon_routes[i];
            }
            get = get || daemon_routes[i].method == HTTP_GET;
            post = post || daemon_routes[i].method == HTTP_POST;
        }
    }
    (void)snprintf(out_allow, 32, "%s%s%s", get ? "GET, HEAD" : "", get && post ? ", " : "",
                   post ? "POST" : "");
    return NULL;
}

im_code route_check_parameters(const route *r, const http_parameters *parameters, im_error *err)
{
    for (size_t i = 0; i < parameters->n; i++) {
        bool known = false;
        for (size_t j = 0; j < IM_COUNT(parameter_rows); j++) {
            known = known || (parameter_rows[j].route == r->id &&
                              strcmp(parameter_rows[j].name, parameters->list[i].name) == 0);
        }
        if (!known) {
            im_code rc = im_fail_as(err, IM_REASON_HTTP_PARAMETER, "%s has no parameter '%.40s'",
                                    r->path, parameters->list[i].name);
            im_hint(err, "GET /openapi.json lists those that there are");
            return rc;
        }
    }
    for (size_t j = 0; j < IM_COUNT(parameter_rows); j++) {
        if (parameter_rows[j].route == r->id && parameter_rows[j].required &&
            http_parameter_of(parameters, parameter_rows[j].name) == NULL) {
            return im_fail_as(err, IM_REASON_HTTP_PARAMETER, "%s needs the parameter '%s'", r->path,
                              parameter_rows[j].name);
        }
    }
    return IM_OK;
}
