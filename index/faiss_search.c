/* index/faiss_search.c — the approximate engines: FAISS proposes candidates out of its file, the
 * mapped rows decide. Rows behind those the file covers are scored all. More candidates are asked
 * for, and looked for harder, until min(k, matches) hits are found and the last of them lies well
 * before the last candidate; when that does not come about, or FAISS fails, or so few rows pass
 * the filter that reading them is the faster way, the scan answers and the answer says so. */
#include "base/base.h"
#include "base/log.h"
#include "index/faiss_internal.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define EF_SEARCH 128u
#define CANDIDATES 4u  /* for each hit */
#define MARGIN 64u     /* candidates at least */
#define ROUNDS 6u      /* of asking for more; each is four times the last */
#define LINKS_READ 32u /* rows an HNSW looks at for each entry of its queue, about */
#define FILTERED 0.9   /* share of rows that pass from which a filter counts as none */
#define LISTED 4.0
/* Rows the scan reads while FAISS reads one, as rows_read counts them (lists near a query are
 * larger than the mean: that is in it). bench_faiss, processor time, 60,000 rows of 512, AVX-512
 * against Debian's FAISS 1.7.3: a row costs the scan 0.17 to 0.23 us, an IVF 0.43 to 0.72 us by
 * texts (ratio 2.5 to 3.4) and 0.46 to 1.1 us by pictures (2.4 to 4.9), nprobe 16 to 1024; an HNSW
 * of 16 links 0.30 to 0.59 us (1.6 to 2.9), ef 64 to 1024; of 32, the default, 0.5 to 0.8 us
 * (100,000 rows). */
#define SCAN_SPEED 3.5
#define CANDIDATES_LIMIT (4u << 20) /* of all parts together: 64 MB */
#define EFFORT_LIMIT 65536u

typedef struct faiss_engine_data {
    const im_faiss_engine *faiss;
    void *index;
    im_faiss_facts facts;
    uint64_t n_rows; /* slots covered */
    uint64_t bytes;
    char digest[65];
    im_faiss_effort effort;
} faiss_engine_data;

/* What one search works with. */
typedef struct faiss_search {
    im_index *index;
    const faiss_engine_data *data;
    const index_request *request;
    const im_faiss_effort *effort;
    uint64_t *selected;   /* [words] alive, passing the bitmap and covered by the file */
    uint64_t *candidates; /* [words] */
    uint64_t within;      /* bits in selected */
    bool is_all;          /* every row of the file is in selected */
    float *unit;          /* [padded] a fold, made a unit vector for FAISS */
    size_t asked, tries;  /* candidates of each fold; nprobe or efSearch */
    float *scores;        /* [reach_of] */
    int64_t *labels;      /* [reach_of] */
    size_t found[IM_LIMIT_QUERY_PARTS]; /* of each fold */
    float *kept;                        /* [folds, asked] their scores, as the query counts */
    char message[IM_FAISS_MESSAGE_BYTES];
} faiss_search;

/* ---- opening ---- */

static void faiss_close(im_index *index)
{
    faiss_engine_data *data = index->engine_data;
    if (data != NULL && data->index != NULL) {
        data->faiss->close(data->index);
    }
    im_free(data);
    index->engine_data = NULL;
}

/* The record against what is opened: it names the file, so it must not name another. */
static im_code check_record(const im_index *index, im_engine kind, const im_index_state *state,
                            im_error *err)
{
    const im_faiss_record *record = index->faiss;
    char name[IM_FAISS_NAME_BYTES];
    if (record == NULL) {
        return im_fail(err, IM_ERR_INVALID, "engine '%s' needs the record of its file",
                       index->engine->name);
    }
    faiss_file_name(kind, state->generation, name);
    if (strncmp(record->name, name, sizeof(name)) != 0 || record->generation != state->generation) {
        im_code rc = im_fail_as(err, IM_REASON_INDEX_DAMAGED,
                                "the FAISS file's record names '%.39s' of generation %" PRIu64
                                ", expected '%s'",
                                record->name, record->generation, name);
        im_hint(err, "'imago rebuild' makes it again from the library");
        return rc;
    }
    if (record->n_rows > state->n_rows) {
        return im_fail_as(err, IM_REASON_INDEX_DAMAGED,
                          "the FAISS file '%s' covers %" PRIu64 " rows, the index has %" PRIu64,
                          name, record->n_rows, state->n_rows);
    }
    return IM_OK;
}

/* What FAISS read against what was recorded: a file of a right digest may still be another's. */
static im_code check_facts(const im_index *index, const faiss_engine_data *data, im_engine kind,
                           const char *path, im_error *err)
{
    const im_faiss_facts *facts = &data->facts;
    bool is_ivf = kind == IM_ENGINE_IVF;
    if (facts->kind != (is_ivf ? IM_FAISS_IVF : IM_FAISS_HNSW)) {
        return faiss_file_damaged(path, "it holds an index of another kind", err);
    }
    if (facts->dim != index->layout.dim || !facts->is_inner_product) {
        return faiss_file_damaged(path, "it holds vectors of another model", err);
    }
    if (facts->n_rows > data->n_rows || (!is_ivf && facts->n_rows != data->n_rows)) {
        char what[120];
        snprintf(what, sizeof(what), "it holds %" PRIu64 " rows, expected %" PRIu64, facts->n_rows,
                 data->n_rows);
        return faiss_file_damaged(path, what, err);
    }
    return IM_OK;
}

/* The FAISS index of an index opened before, when it is that of the same file: nothing of it
 * depends on which rows are alive, or on how many there are behind those of the file. */
static bool take_over(im_index *index, faiss_engine_data *data)
{
    const im_index *from = index->from;
    faiss_engine_data *theirs = from != NULL ? from->engine_data : NULL;
    if (theirs == NULL || from->engine != index->engine || theirs->index == NULL ||
        theirs->bytes != data->bytes || strcmp(theirs->digest, data->digest) != 0) {
        return false;
    }
    data->index = theirs->index;
    theirs->index = NULL;
    return true;
}

static im_code open_kind(im_index *index, im_engine kind, im_error *err)
{
    const im_faiss_engine *faiss = NULL;
    im_code rc = check_record(index, kind, index->state, err);
    if (rc == IM_OK) {
        rc = index_engine_load(&faiss, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    char *path = im_path_join(index->folder, index->faiss->name);
    faiss_engine_data *data = im_alloc_zero(1, sizeof(*data));
    index->engine_data = data; /* freed by faiss_close, also after a failure below */
    if (path == NULL || data == NULL) {
        im_free(path);
        return im_fail(err, IM_ERR_NOMEM, "no memory for the FAISS engine");
    }
    data->faiss = faiss;
    data->n_rows = index->faiss->n_rows;
    data->bytes = index->faiss->bytes;
    data->effort = index->effort;
    memcpy(data->digest, index->faiss->digest, sizeof(data->digest));
    if (!take_over(index, data)) {
        rc = faiss_file_read(faiss, path, index->faiss, &data->index, err);
    }
    if (rc == IM_OK) {
        faiss->describe(data->index, &data->facts);
        rc = check_facts(index, data, kind, path, err);
    }
    im_free(path);
    return rc;
}

static im_code ivf_open(im_index *index, im_error *err)
{
    return open_kind(index, IM_ENGINE_IVF, err);
}

static im_code hnsw_open(im_index *index, im_error *err)
{
    return open_kind(index, IM_ENGINE_HNSW, err);
}

static uint64_t faiss_private_bytes(const im_index *index)
{
    const faiss_engine_data *data = index->engine_data;
    return data->bytes;
}

size_t index_faiss_lists(const im_index *index)
{
    const faiss_engine_data *data = index->engine_data;
    return data->facts.n_lists;
}

/* ---- effort ---- */

/* nprobe or efSearch for `asked` candidates of the rows that pass. Behind a filter the wanted rows
 * are further away: as many more lists or entries of the queue as there are fewer rows that pass,
 * so that as many of them are looked at as without it. */
static size_t effort_of(const faiss_search *search, size_t asked)
{
    const im_faiss_facts *facts = &search->data->facts;
    double passing = (double)search->within / (double)IM_MAX(facts->n_rows, (uint64_t)1);
    passing = IM_MIN(IM_MAX(passing, 1e-6), 1.0);
    double tries = 0;
    if (facts->kind == IM_FAISS_IVF) {
        tries = search->effort->n_probe != 0 ? (double)search->effort->n_probe
                                             : sqrt((double)facts->n_lists);
        tries /= passing;
        if (passing < FILTERED) {
            tries = IM_MAX(tries, LISTED * (double)asked * (double)facts->n_lists /
                                      (double)IM_MAX(search->within, (uint64_t)1));
        }
        tries = IM_MIN(tries, (double)facts->n_lists);
    } else {
        tries = search->effort->ef_search != 0 ? (double)search->effort->ef_search : EF_SEARCH;
        tries = IM_MAX(tries, (double)asked) / passing;
        tries = IM_MIN(tries, IM_MIN((double)EFFORT_LIMIT, (double)facts->n_rows));
    }
    return (size_t)IM_MAX(ceil(tries), 1.0);
}

/* Rows FAISS reads in a search. */
static double rows_read(const faiss_search *search, size_t tries)
{
    const im_faiss_facts *facts = &search->data->facts;
    if (facts->kind == IM_FAISS_HNSW) {
        return (double)tries * LINKS_READ;
    }
    double lists = (double)IM_MAX(facts->n_lists, (size_t)1);
    return lists + (double)search->within * (double)tries / lists;
}

/* Few rows pass a filter, or a large part of them is asked for: reading each is faster, and exact.
 */
static bool is_scan_faster(const faiss_search *search)
{
    uint64_t filtered = search->request->filtered;
    if (2 * (uint64_t)search->asked > search->within + 1 ||
        search->asked > CANDIDATES_LIMIT / search->request->scoring->n) {
        return search->within > 0;
    }
    return filtered <= search->index->n_alive / 2 &&
           (double)filtered <= SCAN_SPEED * rows_read(search, search->tries);
}

/* ---- candidates ---- */

static void search_clear(faiss_search *search)
{
    im_free(search->selected);
    im_free(search->candidates);
    im_free(search->unit);
    im_free(search->scores);
    im_free(search->labels);
    im_free(search->kept);
}

static im_code search_init(faiss_search *search, im_index *index, const index_request *request,
                           im_error *err)
{
    size_t n_words = index_words(index);
    memset(search, 0, sizeof(*search));
    search->index = index;
    search->data = index->engine_data;
    search->request = request;
    search->effort = request->effort != NULL ? request->effort : &search->data->effort;
    search->selected = im_alloc_zero(n_words, sizeof(uint64_t));
    search->candidates = im_alloc(n_words, sizeof(uint64_t));
    search->unit = im_alloc_aligned(index_padded(index->layout.dim), sizeof(float));
    if (search->selected == NULL || search->candidates == NULL || search->unit == NULL) {
        search_clear(search);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a search of %zu words", n_words);
    }
    uint64_t covered = search->data->n_rows;
    for (size_t at = 0; at < n_words && (uint64_t)at * WORD_BITS < covered; at++) {
        uint64_t rest = covered - (uint64_t)at * WORD_BITS;
        uint64_t bits = index_selected(index, request->bitmap, at);
        bits &= rest < WORD_BITS ? (UINT64_C(1) << rest) - 1 : UINT64_MAX;
        search->selected[at] = bits;
        search->within += (uint64_t)__builtin_popcountll(bits);
    }
    search->is_all = search->within == covered;
    size_t factor = search->effort->candidates != 0 ? search->effort->candidates : CANDIDATES;
    uint64_t asked = 0;
    if (!im_u64_mul(request->query->k, factor, &asked)) {
        asked = UINT64_MAX;
    }
    search->asked = (size_t)IM_MIN(IM_MAX(asked, request->query->k + MARGIN), search->within);
    search->tries = effort_of(search, search->asked);
    return IM_OK;
}

/* Rows FAISS is asked for. HNSW of 1.7.3 does not listen to efSearch among a search's parameters,
 * but its queue is never shorter than that: what is behind the candidates is not looked at. */
static size_t reach_of(const faiss_search *search)
{
    bool is_hnsw = search->data->facts.kind == IM_FAISS_HNSW;
    return IM_MAX(search->asked, is_hnsw ? search->tries : (size_t)1);
}

static im_code make_room(faiss_search *search, im_error *err)
{
    size_t n = reach_of(search);
    im_free(search->scores);
    im_free(search->labels);
    im_free(search->kept);
    search->scores = im_alloc(n, sizeof(float));
    search->labels = im_alloc(n, sizeof(int64_t));
    search->kept = im_alloc(n, search->request->scoring->n * sizeof(float));
    if (search->scores == NULL || search->labels == NULL || search->kept == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu candidates", n);
    }
    return IM_OK;
}

/* A fold as a unit vector: FAISS multiplies in float, which a weight of 1e30 would overflow. false
 * when it has no direction: all rows score alike. */
static bool make_unit(const index_scoring *scoring, size_t fold, float *out, double *out_size)
{
    const float *vector = scoring->folds + fold * index_padded(scoring->dim);
    double sum = 0;
    for (size_t i = 0; i < scoring->dim; i++) {
        sum += (double)vector[i] * (double)vector[i];
    }
    double size = sqrt(sum);
    if (!(size > (double)FLT_MIN)) {
        return false;
    }
    for (size_t i = 0; i < scoring->dim; i++) {
        out[i] = (float)((double)vector[i] / size);
    }
    *out_size = size;
    return true;
}

/* Adds a fold's best rows to the candidates and keeps their scores. */
static im_faiss_result propose_fold(faiss_search *search, size_t fold)
{
    const faiss_engine_data *data = search->data;
    const index_scoring *scoring = search->request->scoring;
    double size = 0;
    if (!make_unit(scoring, fold, search->unit, &size)) {
        snprintf(search->message, sizeof(search->message), "a part without direction");
        return IM_FAISS_FAILED;
    }
    size_t n_bytes = index_words(search->index) * sizeof(uint64_t);
    const uint8_t *bits = search->is_all ? NULL : (const uint8_t *)search->selected;
    im_faiss_result result = data->faiss->find(data->index, data->facts.kind, search->unit,
                                               reach_of(search), search->tries, bits, n_bytes,
                                               search->scores, search->labels, search->message);
    if (result != IM_FAISS_OK) {
        return result;
    }
    size_t n = 0;
    for (; n < search->asked && search->labels[n] >= 0; n++) {
        uint64_t slot = (uint64_t)search->labels[n];
        uint64_t bit = UINT64_C(1) << (slot % WORD_BITS);
        if (slot >= data->n_rows || (search->selected[slot / WORD_BITS] & bit) == 0) {
            snprintf(search->message, sizeof(search->message), "it names a row that does not pass");
            return IM_FAISS_FAILED;
        }
        search->candidates[slot / WORD_BITS] |= bit;
        search->kept[fold * search->asked + n] =
            (float)((double)search->scores[n] * size - (double)scoring->shifts[fold]);
    }
    search->found[fold] = n;
    return IM_FAISS_OK;
}

/* Candidates of all folds, and the rows that the file does not cover. */
static im_faiss_result propose(faiss_search *search)
{
    const im_index *index = search->index;
    memset(search->candidates, 0, index_words(index) * sizeof(uint64_t));
    for (size_t f = 0; search->within > 0 && f < search->request->scoring->n; f++) {
        im_faiss_result result = propose_fold(search, f);
        if (result != IM_FAISS_OK) {
            return result;
        }
    }
    uint64_t covered = search->data->n_rows;
    for (size_t at = (size_t)(covered / WORD_BITS); at < index_words(index); at++) {
        uint64_t bits = index_selected(index, search->request->bitmap, at);
        if ((uint64_t)at * WORD_BITS < covered) {
            bits &= ~((UINT64_C(1) << (covered % WORD_BITS)) - 1);
        }
        search->candidates[at] |= bits;
    }
    return IM_FAISS_OK;
}

/* ---- deciding ---- */

/* A fold reaches far enough: CANDIDATES candidates for each row that scores above `level`, or all
 * that FAISS can find with these tries. */
static bool is_deep(const faiss_search *search, size_t fold, double level)
{
    const float *kept = search->kept + fold * search->asked;
    size_t factor = search->effort->candidates != 0 ? search->effort->candidates : CANDIDATES;
    size_t above = 0;
    while (above < search->found[fold] && (double)kept[above] > level) {
        above++;
    }
    if (search->found[fold] < search->asked) {
        return above < search->found[fold];
    }
    return above < search->asked / factor;
}

/* True when asking for more would hardly bring another hit. `any`: each part's list must reach far
 * enough. `all`: one list is enough, a row outside it scores below its last by that part alone. */
static bool is_settled(const faiss_search *search, const im_hit *hits,
                       const im_index_answer *answer)
{
    const im_index_query *query = search->request->query;
    const index_scoring *scoring = search->request->scoring;
    bool is_full = answer->n_hits == query->k;
    if (!is_full && !query->has_floor) {
        return false; /* unless every row was a candidate, which the caller knows */
    }
    double level = is_full ? (double)hits[answer->n_hits - 1].score : (double)query->floor;
    bool all = scoring->combine == IM_COMBINE_ALL;
    for (size_t f = 0; f < scoring->n; f++) {
        if (is_deep(search, f, level) == all) {
            return all;
        }
    }
    return !all;
}

/* Scores the candidates; *out_complete: they were all rows that pass. */
static im_code decide(faiss_search *search, im_hit *hits, im_index_answer *answer,
                      bool *out_complete, im_error *err)
{
    index_request own = *search->request;
    own.bitmap = search->candidates;
    own.filtered = index_count_selected(search->index, search->candidates);
    answer->n_hits = 0;
    answer->scanned = own.filtered;
    if (own.filtered > 0) {
        im_code rc = index_engine_scan.search(search->index, &own, hits, answer, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    *out_complete = own.filtered == search->request->filtered;
    answer->exact = *out_complete;
    answer->engine = search->index->engine->name;
    return IM_OK;
}

/* Four times the candidates, twice the tries; false when there are no more. */
static bool ask_for_more(faiss_search *search)
{
    const im_faiss_facts *facts = &search->data->facts;
    size_t most = facts->kind == IM_FAISS_IVF ? facts->n_lists : (size_t)EFFORT_LIMIT;
    if (search->asked >= search->within && search->tries >= most) {
        return false;
    }
    search->asked = (size_t)IM_MIN((uint64_t)search->asked * 4, search->within);
    search->tries = IM_MIN(IM_MAX(2 * search->tries, effort_of(search, search->asked)), most);
    return 2 * (uint64_t)search->asked <= search->within; /* else reading all is as good */
}

static im_code scan_instead(const faiss_search *search, im_hit *hits, im_index_answer *answer,
                            im_error *err)
{
    if (search->message[0] != '\0') {
        im_log(IM_LOG_DEBUG, "faiss_failed", "message=%s", search->message);
    }
    answer->n_hits = 0;
    return index_engine_scan.search(search->index, search->request, hits, answer, err);
}

static im_code faiss_find(im_index *index, const index_request *request, im_hit *hits,
                          im_index_answer *answer, im_error *err)
{
    faiss_search search;
    im_code rc = search_init(&search, index, request, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool settled = false;
    bool scan = is_scan_faster(&search);
    for (unsigned round = 0; rc == IM_OK && !settled && !scan; round++) {
        bool complete = false;
        rc = make_room(&search, err);
        if (rc != IM_OK) {
            break;
        }
        if (propose(&search) != IM_FAISS_OK) {
            scan = true;
            break;
        }
        rc = decide(&search, hits, answer, &complete, err);
        settled = complete || (rc == IM_OK && is_settled(&search, hits, answer));
        scan = !settled && (round >= ROUNDS || !ask_for_more(&search));
    }
    if (rc == IM_OK && scan) {
        rc = scan_instead(&search, hits, answer, err);
    }
    search_clear(&search);
    return rc;
}

const index_engine index_engine_ivf = {"ivf",      ivf_open,   faiss_close,
                                       faiss_find, faiss_find, faiss_private_bytes};
const index_engine index_engine_hnsw = {"hnsw",     hnsw_open,  faiss_close,
                                        faiss_find, faiss_find, faiss_private_bytes};
