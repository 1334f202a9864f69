/* query/language_write.c — a query as text that reads back as the same: texts and paths quoted,
 * filters in the fewest parentheses that keep the tree. */
#include "base/base.h"
#include "query/language_internal.h"
#include <math.h>
#include <string.h>

static void write_quoted(im_str *out, const char *data, size_t size)
{
    im_str_add_char(out, '"');
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '"' || data[i] == '\\') {
            im_str_add_char(out, '\\');
        }
        im_str_add_char(out, data[i]);
    }
    im_str_add_char(out, '"');
}

/* ---- parts ---- */

static void write_weight(im_str *out, const im_query_part *part)
{
    char number[IM_NUMBER_BYTES];
    if (part->weight == IM_WEIGHT_POSITIVE || part->weight == IM_WEIGHT_NEGATIVE) {
        return;
    }
    im_str_addf(out, " ^%s", im_text_double(fabs(part->weight), number));
}

static void write_box(im_str *out, const im_box *box)
{
    const double values[4] = {box->x, box->y, box->w, box->h};
    for (size_t i = 0; i < 4; i++) {
        char number[IM_NUMBER_BYTES];
        im_str_addf(out, "%c%s%s", i == 0 ? '[' : ',', im_text_double(values[i], number),
                    box->percent[i] ? "%" : "");
    }
    im_str_add_char(out, ']');
}

static void write_picture(im_str *out, const im_query_part *part)
{
    im_str_add_char(out, '@');
    if (part->standard_input) {
        im_str_add_char(out, '-');
    } else if (part->item != 0) {
        im_str_addf(out, "#%llu", (unsigned long long)part->item);
    } else {
        write_quoted(out, part->path, strlen(part->path));
    }
    if (part->has_box) {
        write_box(out, &part->box);
    }
}

/* ---- filters ---- */

static bool is_plain(const char *value)
{
    for (const char *at = value; *at != '\0'; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                     (*at >= '0' && *at <= '9') || strchr(".,:*/+-_%", *at) != NULL;
        if (!plain) {
            return false;
        }
    }
    return value[0] != '\0';
}

static void write_test(im_str *out, const im_filter *test)
{
    static const char *const signs[] = {
        [IM_FILTER_IS] = ":",   [IM_FILTER_LESS] = "<",      [IM_FILTER_AT_MOST] = "<=",
        [IM_FILTER_MORE] = ">", [IM_FILTER_AT_LEAST] = ">=", [IM_FILTER_EQUAL] = "=",
    };
    im_str_addf(out, "%s%s", test->field, signs[test->op]);
    if (is_plain(test->value)) {
        im_str_add_c(out, test->value);
    } else {
        write_quoted(out, test->value, strlen(test->value));
    }
}

/* One operand: a comparison, a minus before one, or parentheses. */
static void write_filter(im_str *out, const im_filter *filter)
{
    if (filter->kind == IM_FILTER_TEST) {
        write_test(out, filter);
    } else if (filter->kind == IM_FILTER_NOT) {
        bool twice = filter->children[0]->kind == IM_FILTER_NOT;
        im_str_add_c(out, twice ? "-(" : "-");
        write_filter(out, filter->children[0]);
        im_str_add_c(out, twice ? ")" : "");
    } else {
        im_str_add_char(out, '(');
        for (size_t i = 0; i < filter->n_children; i++) {
            const char *word = filter->kind == IM_FILTER_OR ? " or " : " and ";
            im_str_add_c(out, i > 0 ? word : "");
            write_filter(out, filter->children[i]);
        }
        im_str_add_char(out, ')');
    }
}

void im_query_write(const im_query *query, im_str *out)
{
    const char *gap = "";
    for (size_t i = 0; i < query->n_parts; i++) {
        const im_query_part *part = &query->parts[i];
        if (part->bytes.data != NULL || part->upload != NULL) {
            continue;
        }
        im_str_addf(out, "%s%s", gap, part->weight < 0 ? "-" : part->must ? "+" : "");
        if (part->kind == IM_PART_TEXT) {
            write_quoted(out, part->text.data, part->text.size);
        } else {
            write_picture(out, part);
        }
        write_weight(out, part);
        gap = " ";
    }
    bool joined = query->filter != NULL && query->filter->kind == IM_FILTER_AND;
    for (size_t i = 0; joined && i < query->filter->n_children; i++) {
        im_str_add_c(out, gap);
        write_filter(out, query->filter->children[i]);
        gap = " ";
    }
    if (query->filter != NULL && !joined) {
        im_str_add_c(out, gap);
        write_filter(out, query->filter);
    }
}
