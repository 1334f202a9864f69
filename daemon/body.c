/* daemon/body.c — what a request brings: which types a route takes, and where the bytes are kept.
 * Long ones lie in a file without a name on the library's disk, so that memory stays bounded and
 * nothing is left of a client that goes away, or of a daemon that is killed. */
#include "base/file.h"
#include "daemon/daemon_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_BYTES (64u << 10) /* most that waits in memory for the file */

const body_kind daemon_bodies[] = {
#define X(ROUTE, type, most, KEEP, schema) {ROUTE_##ROUTE, type, most, BODY_##KEEP, schema},
#include "daemon/bodies.def"
#undef X
};
const size_t daemon_n_bodies = IM_COUNT(daemon_bodies);

static const body_kind json_body = {.type = "application/json", .keep = BODY_MEMORY};

/* ---- types ---- */

bool body_is_taken(const route *r)
{
    for (size_t i = 0; i < daemon_n_bodies; i++) {
        if (daemon_bodies[i].route == r->id) {
            return true;
        }
    }
    return r->most > 0;
}

/* Whether a header's value is this type, whatever parameters stand behind. */
static bool is_type(im_view value, const char *type)
{
    size_t size = strlen(type);
    if (value.size < size || !http_same_word(im_view_of(value.data, size), type)) {
        return false;
    }
    char next = value.size > size ? value.data[size] : ';';
    return next == ';' || next == ' ' || next == '\t';
}

static void add_type(char *out, size_t room, const char *type)
{
    size_t used = strlen(out);
    (void)snprintf(out + used, room - used, "%s'%s'", used > 0 ? " or " : "", type);
}

im_code body_choose(exchange *ex, im_view content_type, im_error *err)
{
    char types[160] = "";
    const body_kind *found = NULL;
    if (ex->route->most > 0) {
        found = is_type(content_type, json_body.type) ? &json_body : NULL;
        add_type(types, sizeof(types), json_body.type);
    }
    for (size_t i = 0; i < daemon_n_bodies && found == NULL; i++) {
        if (daemon_bodies[i].route == ex->route->id) {
            found = is_type(content_type, daemon_bodies[i].type) ? &daemon_bodies[i] : NULL;
            add_type(types, sizeof(types), daemon_bodies[i].type);
        }
    }
    if (found == NULL) {
        return im_fail_as(err, IM_REASON_HTTP_TYPE, "header 'Content-Type' is '%.*s', expected %s",
                          (int)IM_MIN(content_type.size, (size_t)60),
                          content_type.data != NULL ? content_type.data : "", types);
    }
    ex->kind = found;
    return is_type(content_type, "multipart/form-data")
               ? http_boundary_read(content_type, ex->boundary, err)
               : IM_OK;
}

/* ---- bytes ---- */

size_t body_most(const exchange *ex)
{
    return ex->kind == &json_body ? ex->route->most : ex->kind->most;
}

static uint64_t *counter(server *s, const exchange *ex)
{
    return ex->spool >= 0 ? &s->spool_bytes : &s->body_bytes;
}

im_code body_count(server *s, exchange *ex, im_error *err)
{
    uint64_t *sum = counter(s, ex);
    uint64_t most = ex->spool >= 0 ? DAEMON_SPOOLS_BYTES : DAEMON_BODIES_BYTES;
    *sum += body_size(ex) - ex->body_counted;
    ex->body_counted = body_size(ex);
    return *sum <= most ? IM_OK
                        : im_fail_as(err, IM_REASON_QUEUE_FULL,
                                     "the bodies of all requests are above %llu bytes together",
                                     (unsigned long long)most);
}

void body_uncount(server *s, exchange *ex)
{
    *counter(s, ex) -= ex->body_counted;
    ex->body_counted = 0;
}

/* A file without a name; where the file system has no such, one that loses it at once. */
static im_code open_spool(const char *folder, int *out_fd, im_error *err)
{
    im_code rc = im_file_open(folder, O_TMPFILE | O_RDWR, 0600, out_fd, NULL);
    if (rc == IM_OK) {
        return rc;
    }
    char *path = im_path_join(folder, "upload.XXXXXX");
    if (path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a body");
    }
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        rc = im_fail_errno(err, errno, "could not make a file for the body in '%s'", folder);
    } else {
        (void)unlink(path);
        *out_fd = fd;
        rc = IM_OK;
    }
    im_free(path);
    return rc;
}

im_code body_begin(const server *s, exchange *ex, im_error *err)
{
    if (ex->kind->keep == BODY_MEMORY) {
        im_str_init(&ex->body, body_most(ex));
        return IM_OK;
    }
    im_str_init(&ex->body, 2 * FLUSH_BYTES);
    return open_spool(s->options->library.places->library, &ex->spool, err);
}

uint64_t body_size(const exchange *ex)
{
    return ex->spooled + ex->body.size;
}

im_code body_flush(exchange *ex, im_error *err)
{
    if (ex->spool < 0 || ex->body.size == 0) {
        return IM_OK;
    }
    im_code rc =
        im_file_pwrite(ex->spool, ex->body.data, ex->body.size, ex->spooled, "the body", err);
    if (rc == IM_OK) {
        ex->spooled += ex->body.size;
        im_str_reset(&ex->body);
    }
    return rc;
}

im_code body_view(exchange *ex, im_view *out, im_error *err)
{
    if (ex->spool < 0 || ex->spooled == 0) {
        *out = im_view_of(im_str_text(&ex->body), ex->body.size);
        return IM_OK;
    }
    if (ex->map == NULL) {
        im_code rc = im_map_fd(ex->spool, (size_t)ex->spooled, "the body", &ex->map, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    *out = im_view_of((const char *)im_map_data(ex->map), im_map_size(ex->map));
    return IM_OK;
}

im_code body_object(const exchange *ex, json_t **out_root, im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    im_code rc =
        im_json_parse(im_str_text(&ex->body), ex->body.size, "request body", out_root, &cause);
    if (rc != IM_OK) { /* not JSON is a wrong request, not a damaged file */
        return rc == IM_ERR_NOMEM ? im_fail(err, rc, "%s", cause.message)
                                  : im_fail_as(err, IM_REASON_HTTP_BODY, "%s", cause.message);
    }
    return json_is_object(*out_root)
               ? IM_OK
               : im_fail_as(err, IM_REASON_HTTP_BODY, "request body: expected an object");
}

im_code body_parts(exchange *ex, http_parts *out, im_error *err)
{
    im_view body;
    im_code rc = body_view(ex, &body, err);
    return rc == IM_OK ? http_multipart_read(body, ex->boundary, out, err) : rc;
}
