/* daemon/openapi.c — GET /openapi.json, made from the tables that dispatch. */
#include "daemon/daemon_internal.h"

#include <string.h>

typedef struct parameter_text {
    route_id route;
    const char *name, *schema;
    bool required;
    const char *text;
} parameter_text;

static const parameter_text parameters[] = {
#define X(ROUTE, name, schema, required, text) {ROUTE_##ROUTE, name, schema, required, text},
#include "daemon/parameters.def"
#undef X
};

static const struct {
    route_id route;
    int status;
    const char *type, *schema, *text;
} answers[] = {
#define X(ROUTE, status, type, schema, text) {ROUTE_##ROUTE, status, type, schema, text},
#include "daemon/answers.def"
#undef X
};

static const struct {
    const char *name, *schema;
} schemas[] = {
#define X(name, schema) {name, schema},
#include "daemon/schemas.def"
#undef X
};

/* A JSON string of one of our own texts. */
static void put_text(im_str *out, const char *text)
{
    im_str_add_char(out, '"');
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            im_str_add_char(out, '\\');
        }
        im_str_add_char(out, *p);
    }
    im_str_add_char(out, '"');
}

static void put_parameters(im_str *out, const route *r)
{
    const char *comma = "";
    im_str_add_c(out, ",\"parameters\":[");
    if (strchr(r->path, '{') != NULL) {
        im_str_add_c(out,
                     strstr(r->path, "{id}") != NULL
                         ? "{\"name\":\"id\",\"in\":\"path\",\"required\":true,\"schema\":"
                           "{\"type\":\"integer\",\"minimum\":1,\"maximum\":9223372036854775807}}"
                         : "{\"name\":\"name\",\"in\":\"path\",\"required\":true,"
                           "\"schema\":{\"type\":\"string\",\"minLength\":1}}");
        comma = ",";
    }
    for (size_t i = 0; i < IM_COUNT(parameters); i++) {
        if (parameters[i].route == r->id) {
            im_str_addf(out, "%s{\"name\":\"%s\",\"in\":\"query\",\"required\":%s,\"schema\":%s,",
                        comma, parameters[i].name, parameters[i].required ? "true" : "false",
                        parameters[i].schema);
            im_str_add_c(out, "\"description\":");
            put_text(out, parameters[i].text);
            im_str_add_char(out, '}');
            comma = ",";
        }
    }
    im_str_add_char(out, ']');
}

/* Whose key is asked for; the empty list takes away what the description as a whole says. */
static void put_security(im_str *out, const route *r)
{
    if (r->scope == SCOPE_PUBLIC) {
        im_str_add_c(out, ",\"security\":[]");
    } else {
        im_str_addf(out, ",\"security\":[{\"key\":[\"%s\"]}]",
                    im_key_scope_name((im_key_scope)r->scope));
    }
}

static void put_bodies(im_str *out, const route *r)
{
    const char *comma = "";
    if (!body_is_taken(r)) {
        return;
    }
    im_str_add_c(out, ",\"requestBody\":{\"required\":true,\"content\":{");
    if (r->body != NULL) {
        im_str_addf(out,
                    "\"application/json\":{\"schema\":{\"$ref\":"
                    "\"#/components/schemas/%s\"}}",
                    r->body);
        comma = ",";
    }
    for (size_t i = 0; i < daemon_n_bodies; i++) {
        if (daemon_bodies[i].route == r->id) {
            im_str_addf(out, "%s\"%s\":{\"schema\":%s}", comma, daemon_bodies[i].type,
                        daemon_bodies[i].schema);
            comma = ",";
        }
    }
    im_str_add_c(out, "}}");
}

static void put_answers(im_str *out, const route *r)
{
    size_t n = 0;
    im_str_add_c(out, ",\"responses\":{");
    if (r->answer != NULL) {
        im_str_addf(out,
                    "\"200\":{\"description\":\"done\",\"content\":{\"application/json\":"
                    "{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}",
                    r->answer);
        for (size_t i = 0; i < IM_COUNT(answers); i++) { /* the same in other forms */
            if (answers[i].route == r->id && answers[i].status == 200) {
                im_str_addf(out, ",\"%s\":{\"schema\":%s}", answers[i].type, answers[i].schema);
            }
        }
        im_str_add_c(out, "}}");
        n++;
    }
    for (size_t i = 0; i < IM_COUNT(answers); i++) {
        if (answers[i].route != r->id || (r->answer != NULL && answers[i].status == 200)) {
            continue;
        }
        im_str_addf(out, "%s\"%d\":{\"description\":", n++ > 0 ? "," : "", answers[i].status);
        put_text(out, answers[i].text);
        if (answers[i].type != NULL) {
            im_str_addf(out, ",\"content\":{\"%s\":{\"schema\":%s}}", answers[i].type,
                        answers[i].schema);
        }
        im_str_add_char(out, '}');
    }
    if (n == 0) {
        im_str_add_c(out, "\"200\":{\"description\":\"done\",\"content\":"
                          "{\"text/plain\":{\"schema\":{\"type\":\"string\"}}}}");
    }
}

static void put_operation(im_str *out, const route *r)
{
    im_str_addf(out,
                "\"%s\":{\"operationId\":\"%s%s\",\"summary\":", route_method_name(r->method, true),
                route_method_name(r->method, true), r->path);
    put_text(out, r->summary);
    put_security(out, r);
    put_parameters(out, r);
    put_bodies(out, r);
    put_answers(out, r);
    im_str_add_c(out, ",\"default\":{\"description\":\"a problem\",\"content\":"
                      "{\"application/problem+json\":{\"schema\":{\"$ref\":"
                      "\"#/components/schemas/Problem\"}}}}}}");
}

/* All methods of a path stand together, at its first row. */
static bool is_first_of_path(size_t row)
{
    for (size_t i = 0; i < row; i++) {
        if (strcmp(daemon_routes[i].path, daemon_routes[row].path) == 0) {
            return false;
        }
    }
    return true;
}

void im_daemon_openapi(im_str *out)
{
    im_str_addf(out,
                "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"imago\",\"version\":\"%s\"},"
                "\"paths\":{",
                IM_VERSION);
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (daemon_routes[i].scope == SCOPE_IMMICH || !is_first_of_path(i)) {
            continue;
        }
        im_str_addf(out, "%s\"%s\":{", i > 0 ? "," : "", daemon_routes[i].path);
        for (size_t j = i; j < ROUTE_COUNT; j++) {
            if (strcmp(daemon_routes[i].path, daemon_routes[j].path) == 0) {
                im_str_add_c(out, j > i ? "," : "");
                put_operation(out, &daemon_routes[j]);
            }
        }
        im_str_add_char(out, '}');
    }
    im_str_add_c(out, "},\"components\":{\"schemas\":{");
    for (size_t i = 0; i < IM_COUNT(schemas); i++) {
        im_str_addf(out, "%s\"%s\":%s", i > 0 ? "," : "", schemas[i].name, schemas[i].schema);
    }
    im_str_add_c(out, "},\"securitySchemes\":{\"key\":{\"type\":\"http\",\"scheme\":\"bearer\","
                      "\"description\":\"an API key with the scope that the operation names, or a "
                      "larger one (read, write, admin); not asked for on loopback while the "
                      "library has never had a key\"}}}}");
}
