/* cli/parts.c — a query as it stands among the arguments: words make one text in the query
 * language, options are literal parts, --weight and --crop belong to the part before them. */
#include "cli/cli_internal.h"

static cli_part *new_part(cli_args *args, cli_part_kind kind, const char *text)
{
    cli_part *part = &args->parts[args->n_parts++]; /* one a word at most: there is room */
    memset(part, 0, sizeof(*part));
    part->kind = kind;
    part->text = text;
    return part;
}

/* The part that was touched last. */
static cli_part *last_part(cli_args *args)
{
    return args->n_parts > 0 ? &args->parts[args->n_parts - 1] : NULL;
}

static im_code set_weight(cli_args *args, const char *value, im_error *err)
{
    cli_part *part = last_part(args);
    double weight = 0;
    if (part == NULL) {
        im_code rc = im_fail(err, IM_ERR_INVALID,
                             "option '--weight' follows none of --text, --not, --image, --id");
        im_hint(err, "in the query itself write ^%s behind what it weighs", value);
        return rc;
    }
    if (!im_parse_double(value, &weight) || !(weight > 0) || weight > 100) {
        im_code rc =
            im_fail(err, IM_ERR_INVALID,
                    "option '--weight': '%s' is not a number above 0 and at most 100", value);
        im_hint(err, "what must not be there is a part of its own: --not TEXT");
        return rc;
    }
    if (part->has_weight) {
        return im_fail(err, IM_ERR_INVALID, "option '--weight %s': '%s' has a weight already",
                       value, part->text);
    }
    part->has_weight = true;
    part->weight = weight;
    return IM_OK;
}

static im_code set_crop(cli_args *args, const char *value, im_error *err)
{
    cli_part *part = last_part(args);
    if (part == NULL || part->kind == IM_CLI_TEXT) {
        im_code rc =
            im_fail(err, IM_ERR_INVALID, "option '--crop %s' does not follow a picture", value);
        im_hint(err, "write it behind the picture: --image FILE --crop %s", value);
        return rc;
    }
    if (part->crop != NULL) {
        return im_fail(err, IM_ERR_INVALID, "option '--crop %s': '%s' has a box already", value,
                       part->text);
    }
    part->crop = value;
    return IM_OK;
}

/* Several filters must all pass. */
static im_code add_filter(cli_args *args, const char *value, im_error *err)
{
    im_str *filter = &args->filter;
    if (filter->size > 0) {
        im_str joined;
        im_str_init(&joined, SIZE_MAX / 2);
        im_str_addf(&joined, "(%s) (%s)", im_str_text(filter), value);
        im_str_clear(filter);
        *filter = joined;
    } else {
        im_str_add_c(filter, value);
    }
    if (filter->failed) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the query");
    }
    return filter->size > 0 ? IM_OK : im_fail(err, IM_ERR_INVALID, "option '--filter' is empty");
}

im_code cli_parts_option(cli_args *args, cli_option_id id, const char *value, im_error *err)
{
    switch (id) {
    case IM_OPT_TEXT:
        new_part(args, IM_CLI_TEXT, value);
        return IM_OK;
    case IM_OPT_NOT:
        new_part(args, IM_CLI_TEXT, value)->negative = true;
        return IM_OK;
    case IM_OPT_IMAGE:
        new_part(args, IM_CLI_FILE, value);
        return IM_OK;
    case IM_OPT_NOT_IMAGE:
        new_part(args, IM_CLI_FILE, value)->negative = true;
        return IM_OK;
    case IM_OPT_ITEM:
        new_part(args, IM_CLI_ITEM, value);
        return IM_OK;
    case IM_OPT_WEIGHT:
        return set_weight(args, value, err);
    case IM_OPT_FILTER:
        return add_filter(args, value, err);
    case IM_OPT_CROP:
        return set_crop(args, value, err);
    default:
        return im_fail(err, IM_ERR_INTERNAL, "option %d is no part", (int)id);
    }
}

im_code cli_parts_word(cli_args *args, const char *word, im_error *err)
{
    if (args->n_operands > 1) {
        im_str_add_char(&args->query, ' ');
    }
    im_str_add_c(&args->query, word);
    return args->query.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for the query") : IM_OK;
}

im_code cli_parts_operand(cli_args *args, const char *operand, im_error *err)
{
    (void)err;
    new_part(args, IM_CLI_OPERAND, operand);
    return IM_OK;
}

double cli_part_weight(const cli_part *part, double positive, double negative)
{
    if (!part->has_weight) {
        return part->negative ? negative : positive;
    }
    return part->negative ? -part->weight : part->weight;
}
