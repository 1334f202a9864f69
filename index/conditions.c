/* index/conditions.c — makes conditions ready: columns found and checked, ends closed, texts looked
 * up in the words once, so that rows are compared by number, places boxed. */
#include "base/base.h"
#include "index/conditions_internal.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define EARTH_METRES 6371008.8 /* mean radius, IUGG */
#define DEGREE (3.14159265358979323846 / 180.0)
#define SLACK 1e-9 /* the box may be larger than the circle, never smaller */

void im_condition_free(im_condition *condition)
{
    if (condition == NULL) {
        return;
    }
    for (size_t i = 0; condition->children != NULL && i < condition->n_children; i++) {
        im_condition_free(condition->children[i]);
    }
    im_free(condition->children);
    im_free(condition->column);
    im_free(condition->text);
    im_free(condition->slots);
    im_free(condition);
}

/* ---- places ---- */

double conditions_metres(double lat_a, double lon_a, double lat_b, double lon_b)
{
    double up = sin((lat_b - lat_a) * DEGREE / 2);
    double along = sin((lon_b - lon_a) * DEGREE / 2);
    double a = up * up + cos(lat_a * DEGREE) * cos(lat_b * DEGREE) * along * along;
    return 2 * EARTH_METRES * asin(fmin(1.0, sqrt(a)));
}

/* The box around a circle: whole turns of longitude when it holds a pole. */
static void plan_near(const im_condition *condition, condition_plan *out)
{
    memcpy(out->near, condition->place, sizeof(out->near));
    double reach = out->near[2] / EARTH_METRES;
    double up = reach / DEGREE * (1 + SLACK) + SLACK;
    out->min = out->near[0] - up;
    out->max = out->near[0] + up;
    out->west = -180;
    out->east = 180;
    if (!(out->min > -90 && out->max < 90)) {
        return;
    }
    double along = asin(fmin(1.0, sin(reach) / cos(out->near[0] * DEGREE))) / DEGREE;
    along = along * (1 + SLACK) + SLACK;
    if (along < 180) {
        out->west = out->near[1] - along;
        out->east = out->near[1] + along;
        out->west += out->west < -180 ? 360 : 0;
        out->east -= out->east > 180 ? 360 : 0;
    }
}

static void plan_box(const im_condition *condition, condition_plan *out)
{
    out->min = condition->place[0];
    out->west = condition->place[1];
    out->max = condition->place[2];
    out->east = condition->place[3];
    /* 180 and -180 are one meridian */
    if (out->west > -180 && out->west <= out->east && out->east >= 180) {
        out->east = -180;
    } else if (out->west <= -180 && out->west <= out->east && out->east < 180) {
        out->west = 180;
    }
}

/* ---- words ---- */

bool conditions_glob(im_view pattern, im_view text)
{
    size_t p = 0, t = 0;
    size_t star = SIZE_MAX, mark = 0; /* the last '*', and the text it was tried at */
    while (t < text.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.size && pattern.data[p] == text.data[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.size;
}

static void set_bit(uint32_t *set, uint32_t word)
{
    set[word / 32] |= UINT32_C(1) << (word % 32);
}

/* Word whose folded text holds a place of all folded texts. */
static uint32_t word_at(const columns_texts *texts, uint64_t place)
{
    size_t low = 0;
    size_t high = texts->n - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (texts->ends[middle].folded <= place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (uint32_t)low;
}

/* All folded texts lie behind each other, with NULs between, which the part cannot hold: one search
 * goes through them all. */
static void set_holding(const columns_texts *texts, im_view part, uint32_t *set)
{
    uint64_t at = 0;
    while (texts->n > 0 && at < texts->folded_bytes) {
        const char *found =
            memmem(texts->folded + at, (size_t)(texts->folded_bytes - at), part.data, part.size);
        if (found == NULL) {
            return;
        }
        uint64_t place = (uint64_t)(found - texts->folded);
        uint32_t word = word_at(texts, place);
        set_bit(set, word);
        at = IM_MAX(texts->ends[word].folded, place + 1); /* a file that was cut reads as zeros */
    }
}

static void set_matching(const columns_texts *texts, im_condition_kind kind, im_view text,
                         uint32_t *set)
{
    if (kind == IM_CONDITION_TEXT_PART && text.size > 0) {
        set_holding(texts, text, set);
        return;
    }
    for (uint32_t word = 0; word < texts->n; word++) {
        im_view folded = words_folded(texts, word);
        bool matches = kind == IM_CONDITION_TEXT_EQUAL  ? im_view_equal(folded, text)
                       : kind == IM_CONDITION_TEXT_GLOB ? conditions_glob(text, folded)
                                                        : true;
        if (matches) {
            set_bit(set, word);
        }
    }
}

static im_code plan_words(im_columns *columns, const im_condition *condition, condition_plan *out,
                          im_error *err)
{
    const char *text = condition->text != NULL ? condition->text : "";
    im_code rc = columns_touch_words(columns, out->column, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_str folded;
    im_str_init(&folded, SIZE_MAX / 2);
    im_text_fold(&folded, text, strlen(text));
    columns_texts in_file = columns_texts_of(out->column);
    columns_texts patched = words_texts(&out->column->patched);
    out->n_set = (uint32_t)in_file.n;
    out->n_patched_set = (uint32_t)patched.n;
    out->set = im_alloc_zero(in_file.n / 32 + 1, sizeof(uint32_t));
    out->patched_set = im_alloc_zero(patched.n / 32 + 1, sizeof(uint32_t));
    if (folded.failed || out->set == NULL || out->patched_set == NULL) {
        im_str_clear(&folded);
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu texts of a column",
                       in_file.n + patched.n);
    }
    im_view view = im_view_of(im_str_text(&folded), folded.size);
    set_matching(&in_file, condition->kind, view, out->set);
    set_matching(&patched, condition->kind, view, out->patched_set);
    im_str_clear(&folded);
    out->kind = IM_CONDITION_TEXT_EQUAL;
    return IM_OK;
}

/* ---- the tree ---- */

static im_code find(im_columns *columns, const char *name, im_column_kind kind,
                    columns_column **out, im_error *err)
{
    im_code rc = columns_find(columns, name, out, err);
    if (rc == IM_OK && (*out)->kind != kind) {
        rc =
            im_fail(err, IM_ERR_INVALID, "column '%s' is of another kind than the condition", name);
    }
    return rc;
}

static im_code plan_present(im_columns *columns, const im_condition *condition, condition_plan *out,
                            im_error *err)
{
    im_code rc = columns_find(columns, condition->column, &out->column, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (out->column->kind == IM_COLUMN_TEXT) {
        return plan_words(columns, condition, out, err);
    }
    bool number = out->column->kind == IM_COLUMN_NUMBER;
    out->kind = number ? IM_CONDITION_NUMBERS : IM_CONDITION_INTEGERS;
    out->min = -(double)INFINITY;
    out->max = (double)INFINITY;
    out->min_i = INT64_MIN + 1;
    out->max_i = INT64_MAX;
    return IM_OK;
}

static void plan_numbers(const im_condition *condition, condition_plan *out)
{
    out->min = condition->min;
    out->max = condition->max;
    if (condition->open_min) {
        out->min = isinf(out->min) && out->min > 0 ? (double)NAN : nextafter(out->min, HUGE_VAL);
    }
    if (condition->open_max) {
        out->max = isinf(out->max) && out->max < 0 ? (double)NAN : nextafter(out->max, -HUGE_VAL);
    }
}

static im_code plan_place(im_columns *columns, const im_condition *condition, condition_plan *out,
                          im_error *err)
{
    im_code rc = find(columns, "lat", IM_COLUMN_NUMBER, &out->column, err);
    if (rc == IM_OK) {
        rc = find(columns, "lon", IM_COLUMN_NUMBER, &out->longitude, err);
    }
    if (condition->kind == IM_CONDITION_NEAR) {
        plan_near(condition, out);
    } else {
        plan_box(condition, out);
    }
    return rc;
}

static im_code plan_children(im_columns *columns, const im_condition *condition, unsigned depth,
                             condition_plan *out, im_error *err)
{
    if (depth >= COLUMNS_DEPTH ||
        (condition->kind == IM_CONDITION_NOT && condition->n_children != 1)) {
        return im_fail(err, IM_ERR_INVALID,
                       "condition of depth %u with %zu children, expected a depth below %u and, "
                       "for not, one child",
                       depth, condition->n_children, COLUMNS_DEPTH);
    }
    out->children = im_alloc_zero(condition->n_children, sizeof(*out->children));
    if (out->children == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a condition");
    }
    out->n_children = condition->n_children;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < out->n_children; i++) {
        rc = conditions_plan(columns, condition->children[i], depth + 1, &out->children[i], err);
    }
    return rc;
}

im_code conditions_plan(im_columns *columns, const im_condition *condition, unsigned depth,
                        condition_plan *out, im_error *err)
{
    im_code rc = IM_OK;
    *out = (condition_plan){.kind = condition->kind};
    switch (condition->kind) {
    case IM_CONDITION_AND:
    case IM_CONDITION_OR:
    case IM_CONDITION_NOT:
        return plan_children(columns, condition, depth, out, err);
    case IM_CONDITION_PRESENT:
        return plan_present(columns, condition, out, err);
    case IM_CONDITION_INTEGERS:
        out->min_i = IM_MAX(condition->min_i, INT64_MIN + 1); /* the smallest is "no value" */
        out->max_i = condition->max_i;
        return find(columns, condition->column, IM_COLUMN_INTEGER, &out->column, err);
    case IM_CONDITION_NUMBERS:
        plan_numbers(condition, out);
        return find(columns, condition->column, IM_COLUMN_NUMBER, &out->column, err);
    case IM_CONDITION_TEXT_PART:
    case IM_CONDITION_TEXT_EQUAL:
    case IM_CONDITION_TEXT_GLOB:
        rc = find(columns, condition->column, IM_COLUMN_TEXT, &out->column, err);
        return rc == IM_OK ? plan_words(columns, condition, out, err) : rc;
    case IM_CONDITION_NEAR:
    case IM_CONDITION_BOX:
        return plan_place(columns, condition, out, err);
    case IM_CONDITION_SLOTS:
        out->slots = condition->slots;
        out->n_slots = condition->slots != NULL ? condition->n_slots : 0;
        return IM_OK;
    }
    return im_fail(err, IM_ERR_INVALID, "condition of kind %u", (unsigned)condition->kind);
}

void conditions_clear(condition_plan *plan)
{
    for (size_t i = 0; plan->children != NULL && i < plan->n_children; i++) {
        conditions_clear(&plan->children[i]);
    }
    im_free(plan->children);
    im_free(plan->set);
    im_free(plan->patched_set);
    *plan = (condition_plan){0};
}
