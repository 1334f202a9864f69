/* app/search.c — one query: parts to vectors, plan, index, then the metadata of k rows only. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/file.h"

static void add_warning(im_answer *answer, const char *sentence)
{
    if (answer->n_warnings < IM_COUNT(answer->warnings)) {
        char *copy = im_strdup(sentence);
        answer->warnings[answer->n_warnings] = copy;
        answer->n_warnings += copy != NULL;
    }
}

/* Warnings of lower rooms land in the answer. */
static void warn_answer(void *context, const char *sentence)
{
    add_warning(context, sentence);
}

/* ---- vectors of the parts ---- */

static im_code text_vector(im_library *library, const im_query_part *part, float *vector,
                           im_answer *answer, im_error *err)
{
    bool cut = false;
    char sentence[96];
    im_code rc = im_encoder_texts(library->encoder, &part->text, 1, vector, &cut, err);
    if (rc == IM_OK && cut) {
        (void)snprintf(sentence, sizeof(sentence), "text was cut at %zu tokens",
                       im_encoder_describe(library->encoder)->context);
        add_warning(answer, sentence);
    }
    return rc;
}

static im_code bytes_vector(im_library *library, const im_search_request *request, im_view bytes,
                            const char *name, const im_box *box, float *vector, im_error *err)
{
    im_image_options options = {.limits = request->limits, .exact_decode = request->exact_decode};
    uint8_t *pixels = im_alloc(1, picture_pixels_bytes(library->encoder));
    im_code rc =
        pixels != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for the picture '%s'", name);
    if (rc == IM_OK) {
        rc = picture_pixels(library->encoder, bytes, name, &options, box, pixels, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_pictures(library->encoder, pixels, 1, vector, NULL, err);
    }
    im_free(pixels);
    return rc;
}

/* An item of the library: its stored vector, or its file when a box is to be cut. */
static im_code item_vector(im_library *library, const im_search_request *request,
                           const im_query_part *part, float *vector, im_error *err)
{
    uint64_t slot = 0;
    char *path = NULL;
    im_bytes bytes = {0};
    if (!part->has_box) {
        im_item item; /* asked first: "no such picture" says more than "no vector" */
        im_code known = im_store_get_item(library->store, part->item, &item, err);
        return known != IM_OK
                   ? known
                   : im_store_get_embedding(library->store, part->item, library->model.id, vector,
                                            library->model.dim, &slot, err);
    }
    im_code rc =
        picture_read_item(library->store, part->item, &request->limits, &bytes, &path, err);
    if (rc == IM_OK) {
        rc = bytes_vector(library, request, im_view_of((const char *)bytes.data, bytes.size), path,
                          &part->box, vector, err);
    }
    im_bytes_clear(&bytes);
    im_free(path);
    return rc;
}

static im_code part_vector(im_library *library, const im_search_request *request,
                           const im_query_part *part, float *vector, im_answer *answer,
                           im_error *err)
{
    im_bytes bytes = {0};
    const im_box *box = part->has_box ? &part->box : NULL;
    if (part->kind == IM_PART_TEXT) {
        return text_vector(library, part, vector, answer, err);
    }
    if (part->item != 0) {
        return item_vector(library, request, part, vector, err);
    }
    if (part->bytes.data != NULL) {
        return bytes_vector(library, request, part->bytes, "the picture sent", box, vector, err);
    }
    im_code rc = picture_read(part->path, &request->limits, &bytes, err);
    if (rc == IM_OK) {
        rc = bytes_vector(library, request, im_view_of((const char *)bytes.data, bytes.size),
                          part->path, box, vector, err);
    }
    im_bytes_clear(&bytes);
    return rc;
}

/* Opens just the towers that the parts need. */
static im_code open_towers(im_library *library, const im_search_request *request, im_error *err)
{
    bool text = false;
    bool picture = false;
    for (size_t i = 0; i < request->n_parts; i++) {
        const im_query_part *part = &request->parts[i];
        text = text || part->kind == IM_PART_TEXT;
        picture = picture || (part->kind == IM_PART_PICTURE && (part->item == 0 || part->has_box));
    }
    if (!text && !picture) {
        return library_model(library, err);
    }
    im_towers towers = text && picture ? IM_TOWERS_BOTH : text ? IM_TOWERS_TEXT : IM_TOWERS_IMAGE;
    return library_encoder(library, towers, err);
}

/* ---- the answer ---- */

static im_code copy_parts(const im_search_request *request, im_answer *answer, im_error *err)
{
    answer->n_parts = request->n_parts;
    answer->parts = im_alloc_zero(request->n_parts, sizeof(*answer->parts));
    bool ok = answer->parts != NULL;
    for (size_t i = 0; ok && i < request->n_parts; i++) {
        const im_query_part *part = &request->parts[i];
        im_query_part *copy = &answer->parts[i];
        *copy = *part;
        copy->bytes = im_view_of(NULL, 0);
        copy->path = NULL;
        copy->text = im_view_of(NULL, 0);
        if (part->kind == IM_PART_TEXT) {
            char *text = im_alloc(part->text.size + 1, 1);
            ok = text != NULL;
            if (ok) {
                memcpy(text, part->text.data, part->text.size);
                text[part->text.size] = '\0';
                copy->text = im_view_of(text, part->text.size);
            }
        } else if (part->path != NULL) {
            copy->path = im_strdup(part->path);
            ok = copy->path != NULL;
        }
    }
    if (ok && request->query != NULL) {
        answer->query = im_strdup(request->query);
        ok = answer->query != NULL;
    }
    return ok ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for an answer");
}

static im_code fill_hit(im_library *library, const im_plan *plan, const im_index_query *query,
                        const im_hit *found, im_search_hit *hit, im_error *err)
{
    float score = 0;
    hit->score = found->score;
    hit->cosines = im_alloc(plan->n_parts, sizeof(float));
    hit->contributions = im_alloc(plan->n_parts, sizeof(float));
    if (hit->cosines == NULL || hit->contributions == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a hit");
    }
    im_code rc = im_index_score(library->index, query, found->slot, &score, hit->cosines, err);
    for (size_t i = 0; rc == IM_OK && i < plan->n_parts; i++) {
        hit->contributions[i] = im_plan_contribution(plan, i, hit->cosines[i]);
    }
    if (rc == IM_OK) {
        rc = im_store_get_item(library->store, found->item, &hit->item, err);
    }
    if (rc == IM_OK) {
        rc = im_store_item_path(library->store, found->item, &hit->path, &hit->online, err);
    }
    return rc;
}

static im_code check_request(const im_search_request *request, im_error *err)
{
    if (request->k < 1 || request->k > IM_LIMIT_K) {
        return im_fail(err, IM_ERR_INVALID, "k is %zu, expected 1 to %u", request->k, IM_LIMIT_K);
    }
    if (request->offset > IM_LIMIT_OFFSET_PLUS_K - request->k) {
        im_code rc =
            im_fail(err, IM_ERR_INVALID, "offset + k is %llu, the limit is %u",
                    (unsigned long long)(request->offset + request->k), IM_LIMIT_OFFSET_PLUS_K);
        im_hint(err, "page with the cursor of the last answer");
        return rc;
    }
    if (request->cursor != NULL && request->offset != 0) {
        return im_fail(err, IM_ERR_INVALID, "cursor and offset exclude each other");
    }
    return im_query_check(request->parts, request->n_parts, request->combine, err);
}

/* The page: offset rows are found and dropped, the rest are the hits. */
static im_code find_page(im_library *library, const im_search_request *request, const im_plan *plan,
                         im_answer *answer, im_error *err)
{
    im_index_answer facts;
    im_cursor after = {0};
    size_t wanted = request->k + (size_t)request->offset;
    im_index_query query = {.parts = plan->parts,
                            .n_parts = plan->n_parts,
                            .combine = request->combine,
                            .k = wanted,
                            .leave_out = request->leave_out != 0 ? request->leave_out : IM_NO_ITEM,
                            .mode = request->mode};
    im_hit *found = im_alloc(wanted, sizeof(*found));
    uint64_t start = im_clock_ns();
    im_code rc =
        found != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for %zu hits", wanted);
    if (rc == IM_OK && request->cursor != NULL) {
        rc = im_cursor_read(request->cursor, &after, err);
        query.has_after = true;
        query.after_score = after.score;
        query.after_item = after.item;
    }
    if (rc == IM_OK) {
        const im_events events = {.context = answer, .warning = warn_answer};
        rc = engine_search(library, &query, &events, found, &facts, err);
    }
    answer->search_ms = im_clock_ms_since(start);
    if (rc != IM_OK) {
        im_free(found);
        return rc;
    }
    start = im_clock_ns();
    size_t skip = IM_MIN((size_t)request->offset, facts.n_hits);
    answer->filtered = facts.filtered;
    answer->total = facts.filtered - (request->leave_out != 0 && facts.filtered > 0);
    answer->scanned = facts.scanned;
    answer->exact = facts.exact;
    answer->engine = facts.engine;
    if (facts.codes == IM_CODES_DAMAGED) {
        add_warning(answer, "the codes of the index are damaged: slower, and as right as ever "
                            "(imago rebuild makes them anew)");
    }
    answer->hits = im_alloc_zero(facts.n_hits - skip, sizeof(*answer->hits));
    if (answer->hits == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for hits");
    }
    for (size_t i = skip; i < facts.n_hits && rc == IM_OK; i++) {
        im_search_hit *hit = &answer->hits[answer->n_hits++];
        hit->rank = i + 1;
        rc = fill_hit(library, plan, &query, &found[i], hit, err);
    }
    if (rc == IM_OK && facts.n_hits == wanted && answer->n_hits > 0) {
        im_cursor next = {found[facts.n_hits - 1].score, found[facts.n_hits - 1].item,
                          library->index_seq};
        im_cursor_write(&next, answer->cursor);
    }
    answer->fetch_ms = im_clock_ms_since(start);
    im_free(found);
    return rc;
}

static void clear_hits(im_answer *answer)
{
    for (size_t i = 0; i < answer->n_hits; i++) {
        im_free(answer->hits[i].path);
        im_free(answer->hits[i].cosines);
        im_free(answer->hits[i].contributions);
    }
    im_free(answer->hits);
    answer->hits = NULL;
    answer->n_hits = 0;
}

/* Everything that must see one moment of the library. */
static im_code search_snapshot(im_library *library, const im_search_request *request,
                               im_answer *answer, im_error *err)
{
    im_events events = {.context = answer, .warning = warn_answer};
    im_plan plan = {0};
    float *vectors = NULL;
    uint64_t start = im_clock_ns();
    im_code rc = open_towers(library, request, err);
    if (rc != IM_OK) {
        return rc;
    }
    size_t dim = library->model.dim;
    (void)snprintf(answer->model, sizeof(answer->model), "%s", library->model.name);
    vectors = im_alloc(request->n_parts, dim * sizeof(float));
    if (vectors == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the vectors of a query");
    }
    for (size_t i = 0; i < request->n_parts && rc == IM_OK; i++) {
        rc = part_vector(library, request, &request->parts[i], vectors + i * dim, answer, err);
    }
    if (rc == IM_OK) {
        rc = im_query_plan(request->parts, vectors, request->n_parts, dim, request->combine,
                           library->model.background, library->model.n_background, &plan, err);
    }
    answer->encode_ms = im_clock_ms_since(start);
    if (rc == IM_OK) {
        rc = library_index(library, &events, err);
    }
    if (rc == IM_OK && plan.only_negative) {
        add_warning(answer, "only negative parts: ranked by absence");
    }
    if (rc == IM_OK) {
        im_error cause = IM_ERROR_INIT;
        rc = find_page(library, request, &plan, answer, &cause);
        if (rc == IM_ERR_FORMAT) { /* a row failed its checksum at its first touch */
            clear_hits(answer);
            rc = library_mend_index(library, &cause, &events, err);
            rc = rc == IM_OK ? find_page(library, request, &plan, answer, err) : rc;
        } else if (rc != IM_OK && err != NULL) {
            *err = cause;
        }
    }
    im_plan_clear(&plan);
    im_free(vectors);
    return rc;
}

im_code im_app_search(im_library *library, const im_search_request *request, im_answer *out_answer,
                      im_error *err)
{
    im_answer answer = {.combine = request->combine, .k = request->k, .engine = ""};
    uint64_t start = im_clock_ns();
    im_code rc = check_request(request, err);
    if (rc == IM_OK) {
        rc = copy_parts(request, &answer, err);
    }
    answer.parse_ms = im_clock_ms_since(start);
    if (rc == IM_OK) {
        rc = im_store_begin_read(library->store, err);
    }
    if (rc == IM_OK) {
        rc = search_snapshot(library, request, &answer, err);
        im_store_end_read(library->store);
    }
    if (rc != IM_OK) {
        im_answer_clear(&answer);
        return rc;
    }
    *out_answer = answer;
    return IM_OK;
}

void im_answer_clear(im_answer *answer)
{
    clear_hits(answer);
    for (size_t i = 0; answer->parts != NULL && i < answer->n_parts; i++) {
        im_free((void *)(uintptr_t)answer->parts[i].text.data);
        im_free((void *)(uintptr_t)answer->parts[i].path);
    }
    for (size_t i = 0; i < answer->n_warnings; i++) {
        im_free(answer->warnings[i]);
    }
    im_free(answer->parts);
    im_free(answer->query);
    memset(answer, 0, sizeof(*answer));
}
