/* daemon/routes.c — the table of routes, and which of its rows a request means. */
#include "daemon/daemon_internal.h"

#include <stdio.h>
#include <string.h>

const route daemon_routes[ROUTE_COUNT] = {
#define X(ID, method, path, scope, place, most, function, summary, body, answer) \
    {ROUTE_##ID, HTTP_##method, path,    SCOPE_##scope, PLACE_##place,           \
     most,       function,      summary, body,          answer},
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

static const struct {
    http_method method;
    const char *name, *lower;
} methods[] = {{HTTP_GET, "GET", "get"},
               {HTTP_HEAD, "HEAD", "head"},
               {HTTP_POST, "POST", "post"},
               {HTTP_PATCH, "PATCH", "patch"},
               {HTTP_DELETE, "DELETE", "delete"}};

const char *route_method_name(http_method method, bool lower)
{
    for (size_t i = 0; i < IM_COUNT(methods); i++) {
        if (methods[i].method == method) {
            return lower ? methods[i].lower : methods[i].name;
        }
    }
    return "-";
}

static bool path_fits(const char *pattern, im_view path, im_view *out_hole)
{
    const char *hole = strchr(pattern, '{');
    *out_hole = im_view_of("", 0);
    if (hole == NULL) {
        return im_view_equal_c(path, pattern);
    }
    const char *tail = strchr(hole, '}') + 1;
    size_t before = (size_t)(hole - pattern);
    size_t after = strlen(tail);
    if (path.size <= before + after || memcmp(path.data, pattern, before) != 0 ||
        memcmp(path.data + path.size - after, tail, after) != 0) {
        return false;
    }
    im_view text = im_view_of(path.data + before, path.size - before - after);
    if (memchr(text.data, '/', text.size) != NULL) {
        return false;
    }
    *out_hole = text;
    return true;
}

const route *route_find(http_method method, im_view path, bool immich, im_view *out_hole,
                        char out_allow[ROUTE_ALLOW_BYTES])
{
    http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
    bool all = path.size == 0 || im_view_equal_c(path, "*"); /* CONNECT and OPTIONS * */
    bool has[HTTP_OTHER + 1] = {false};
    size_t used = 0;
    out_allow[0] = '\0';
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if ((daemon_routes[i].scope == SCOPE_IMMICH) != immich) {
            continue;
        }
        if (all || path_fits(daemon_routes[i].path, path, out_hole)) {
            if (!all && daemon_routes[i].method == wanted) {
                out_allow[0] = '\0';
                return &daemon_routes[i];
            }
            has[daemon_routes[i].method] = true;
        }
    }
    has[HTTP_HEAD] = has[HTTP_GET];
    for (size_t i = 0; i < IM_COUNT(methods); i++) {
        if (has[methods[i].method]) {
            int n = snprintf(out_allow + used, ROUTE_ALLOW_BYTES - used, "%s%s",
                             used > 0 ? ", " : "", methods[i].name);
            used += n > 0 ? (size_t)n : 0;
        }
    }
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
            im_at_field(err, "%s", parameters->list[i].name);
            im_hint(err, "GET /openapi.json lists those that there are");
            return rc;
        }
    }
    for (size_t j = 0; j < IM_COUNT(parameter_rows); j++) {
        if (parameter_rows[j].route == r->id && parameter_rows[j].required &&
            http_parameter_of(parameters, parameter_rows[j].name) == NULL) {
            im_code rc = im_fail_as(err, IM_REASON_HTTP_PARAMETER, "%s needs the parameter '%s'",
                                    r->path, parameter_rows[j].name);
            im_at_field(err, "%s", parameter_rows[j].name);
            return rc;
        }
    }
    return IM_OK;
}
