/* app/search_request.c — what is asked, whether as words and options or as JSON, becomes one form.
 */
#include "app/search_internal.h"

/* ---- words, options and literal parts ---- */

static im_code copy_part(const im_query_part *part, im_query_part *out, im_error *err)
{
    const im_view from = part->kind == IM_PART_TEXT ? part->text
                         : part->path != NULL       ? im_view_from(part->path)
                         : part->bytes.data != NULL ? part->bytes
                                                    : im_view_of("", 0);
    char *copy = im_alloc(from.size + 1, 1);
    if (copy == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    if (from.size > 0) {
        memcpy(copy, from.data, from.size);
    }
    copy[from.size] = '\0';
    *out = *part;
    out->upload = NULL;
    if (part->kind == IM_PART_TEXT) {
        out->text = im_view_of(copy, from.size);
    } else if (part->path != NULL) {
        out->path = copy;
    } else if (part->bytes.data != NULL) {
        out->bytes = im_view_of(copy, from.size);
    } else {
        im_free(copy);
    }
    return IM_OK;
}

/* Literal parts stand behind those of the text. */
static im_code add_parts(const im_search_request *from, im_query *query, im_error *err)
{
    size_t n = query->n_parts + from->n_parts;
    if (n > IM_LIMIT_QUERY_PARTS) {
        return im_fail(err, IM_ERR_LIMIT, "query has %zu parts, the limit is %u", n,
                       IM_LIMIT_QUERY_PARTS);
    }
    im_query_part *grown = im_realloc(query->parts, IM_MAX(n, (size_t)1), sizeof(*grown));
    if (grown == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    query->parts = grown;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < from->n_parts; i++) {
        rc = copy_part(&from->parts[i], &query->parts[query->n_parts], err);
        query->n_parts += rc == IM_OK;
    }
    return rc;
}

/* Joined to the filter of the text. */
static im_code add_filter(const im_library *library, const char *text, im_query *query,
                          im_error *err)
{
    im_filter *filter = NULL;
    im_filter *before = query->filter;
    im_code rc = im_filter_parse(im_view_from(text), library->fields.fields, library->fields.n,
                                 &filter, err);
    if (rc != IM_OK) {
        return rc;
    }
    query->filter = NULL; /* im_filter_and takes it */
    return im_filter_and(before, filter, &query->filter, err);
}

/* "FIELD" or "FIELD:n". */
static im_code set_group(const im_library *library, const char *group, im_query_request *out,
                         im_error *err)
{
    const char *colon = strrchr(group, ':');
    uint64_t n = 1;
    char name[IM_LIMIT_FIELD_NAME_BYTES + 1] = {0};
    size_t size = colon != NULL ? (size_t)(colon - group) : strlen(group);
    if (colon != NULL && (!im_parse_u64(colon + 1, 1, IM_LIMIT_K, &n))) {
        return im_fail(err, IM_ERR_INVALID,
                       "'group' is '%.80s', expected FIELD or FIELD:n, n 1 to %u", group,
                       IM_LIMIT_K);
    }
    memcpy(name, group, IM_MIN(size, sizeof(name) - 1));
    out->group_n = (size_t)n;
    return im_query_column(size < sizeof(name) ? name : group, library->fields.fields,
                           library->fields.n, &out->group_column, err);
}

static im_code set_order(const im_library *library, const im_search_request *from,
                         im_query_request *out, im_error *err)
{
    im_code rc = IM_OK;
    out->by_score = from->sort != NULL && strcmp(from->sort, "score") == 0;
    if (from->sort != NULL && !out->by_score) {
        rc = im_query_column(from->sort, library->fields.fields, library->fields.n,
                             &out->sort_column, err);
    }
    return rc == IM_OK && from->group != NULL ? set_group(library, from->group, out, err) : rc;
}

/* What was asked, as JSON would have asked for it. Needs library->fields. */
static im_code make_request(const im_library *library, const im_search_request *from,
                            im_query_request *out, im_error *err)
{
    im_code rc = IM_OK;
    *out = (im_query_request){.combine = from->combine,
                              .k = from->k,
                              .offset = from->offset,
                              .order = from->order,
                              .has_min_score = from->has_min_score,
                              .min_score = from->min_score,
                              .exact = from->mode == IM_MODE_EXACT,
                              .fast = from->mode == IM_MODE_FAST};
    if (from->text != NULL) {
        rc = im_query_parse(im_view_from(from->text), library->fields.fields, library->fields.n,
                            &out->query, err);
    }
    if (rc == IM_OK) {
        rc = add_parts(from, &out->query, err);
    }
    if (rc == IM_OK && from->filter != NULL) {
        rc = add_filter(library, from->filter, &out->query, err);
    }
    if (rc == IM_OK && out->query.n_parts == 0 && out->query.filter == NULL && !from->all) {
        rc = im_fail_as(err, IM_REASON_QUERY_EMPTY, "nothing to search for");
    }
    if (rc == IM_OK && from->cursor != NULL) {
        out->cursor = im_strdup(from->cursor);
        rc = out->cursor != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    return rc == IM_OK ? set_order(library, from, out, err) : rc;
}

im_code im_app_read_search(im_library *library, const im_search_request *request,
                           im_query_request *out, im_error *err)
{
    im_query_request read = {0};
    im_code rc = own_fields_load(library->store, &library->fields, err);
    if (rc == IM_OK) {
        rc = make_request(library, request, &read, err);
    }
    if (rc != IM_OK) {
        im_query_request_clear(&read);
        return rc;
    }
    *out = read;
    return IM_OK;
}

/* ---- JSON ---- */

im_code im_app_read_requests(im_library *library, im_view json, const char *name,
                             im_query_requests *out, im_error *err)
{
    im_code rc = own_fields_load(library->store, &library->fields, err);
    return rc == IM_OK ? im_query_requests_read(json, name, library->fields.fields,
                                                library->fields.n, out, err)
                       : rc;
}
