/* cli/operands.c — what operands and parts name: items, files, standard input. */
#include "base/file.h"
#include "cli/commands_internal.h"

#include <errno.h>
#include <unistd.h>

static bool only_digits(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

im_code cli_item_or_path(const char *operand, uint64_t *out_id, im_error *err)
{
    *out_id = 0;
    if (!im_item_id_parse(operand, out_id)) {
        bool id_meant = strncmp(operand, "id:", 3) == 0 && !im_file_exists(operand);
        if (id_meant || (only_digits(operand) && !im_file_exists(operand))) {
            im_code rc = im_fail(err, IM_ERR_INVALID, "'%s' is no id of an item", operand);
            im_hint(err, "ids look like id:17; a file of that name is ./%s", operand);
            return rc;
        }
        *out_id = 0;
        return IM_OK;
    }
    if (only_digits(operand) && im_file_exists(operand)) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'%s' is both an id and a file here", operand);
        im_hint(err, "write id:%s for the item, ./%s for the file", operand, operand);
        return rc;
    }
    return IM_OK;
}

im_code cli_named_read(const cli_args *args, cli_named *out, im_error *err)
{
    out->items = im_alloc_zero(IM_MAX(args->n_operands, 1), sizeof(*out->items));
    out->paths = im_alloc_zero(IM_MAX(args->n_operands, 1), sizeof(*out->paths));
    if (out->items == NULL || out->paths == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the arguments");
    }
    for (size_t i = 0; i < args->n_operands; i++) {
        uint64_t id = 0;
        im_code rc = cli_item_or_path(args->operands[i], &id, err);
        if (rc != IM_OK) {
            return rc;
        }
        if (id != 0) {
            out->items[out->n_items++] = id;
        } else {
            out->paths[out->n_paths++] = args->operands[i];
        }
    }
    return IM_OK;
}

void cli_named_clear(cli_named *named)
{
    im_free(named->items);
    im_free(named->paths);
    *named = (cli_named){0};
}

im_code cli_read_stdin(uint64_t most, const char *what, im_bytes *out, im_error *err)
{
    size_t capacity = 1u << 16;
    uint8_t *data = im_alloc(capacity, 1);
    size_t size = 0;
    im_code rc = data != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for standard input");
    while (rc == IM_OK) {
        ssize_t n = read(STDIN_FILENO, data + size, capacity - size);
        if (n == 0) {
            break;
        }
        if (n < 0) {
            rc =
                errno == EINTR ? IM_OK : im_fail_errno(err, errno, "could not read standard input");
            continue;
        }
        size += (size_t)n;
        if (size > most) {
            rc = im_fail_as(err, IM_REASON_FILE_TOO_LARGE,
                            "standard input: more than %llu bytes, the limit of %s",
                            (unsigned long long)most, what);
        } else if (size == capacity) {
            uint8_t *larger = im_realloc(data, capacity, 2);
            if (larger == NULL) {
                rc = im_fail(err, IM_ERR_NOMEM, "no memory for standard input");
            } else {
                data = larger;
                capacity *= 2;
            }
        }
    }
    if (rc != IM_OK) {
        im_free(data);
        return rc;
    }
    out->data = data;
    out->size = size;
    return IM_OK;
}

im_code cli_stdin_picture(im_bytes *out, im_error *err)
{
    if (out->data != NULL) {
        return im_fail(err, IM_ERR_INVALID, "standard input ('-') can be only one picture");
    }
    if (isatty(STDIN_FILENO) == 1) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "standard input is a terminal, not a picture");
        im_hint(err, "send one in: imago similar - < photo.jpg");
        return rc;
    }
    im_code rc = cli_read_stdin(IM_LIMIT_PICTURE_BYTES, "a picture", out, err);
    if (rc == IM_OK && out->size == 0) {
        rc =
            im_fail_as(err, IM_REASON_PICTURE_EMPTY, "standard input is empty, expected a picture");
    }
    return rc;
}

static im_code set_file(im_query_part *part, const char *path, im_bytes *input, im_error *err)
{
    part->kind = IM_PART_PICTURE;
    if (strcmp(path, "-") != 0) {
        part->path = path;
        return IM_OK;
    }
    im_code rc = cli_stdin_picture(input, err);
    part->bytes = im_view_of((const char *)input->data, input->size);
    return rc;
}

static im_code set_operand(im_query_part *part, const char *operand, im_bytes *input, im_error *err)
{
    uint64_t id = 0;
    im_code rc = cli_item_or_path(operand, &id, err);
    if (rc != IM_OK || id == 0) {
        return rc != IM_OK ? rc : set_file(part, operand, input, err);
    }
    part->kind = IM_PART_PICTURE;
    part->item = id;
    return IM_OK;
}

static im_code set_item(im_query_part *part, const char *text, im_error *err)
{
    part->kind = IM_PART_PICTURE;
    if (!im_item_id_parse(text, &part->item)) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "option '--id': '%s' is no id of an item", text);
        im_hint(err, "ids look like 17 or id:17");
        return rc;
    }
    return IM_OK;
}

static im_code set_part(const cli_part *from, im_query_part *part, im_bytes *input, im_error *err)
{
    im_code rc = IM_OK;
    memset(part, 0, sizeof(*part));
    part->weight = cli_part_weight(from, IM_WEIGHT_POSITIVE, IM_WEIGHT_NEGATIVE);
    switch (from->kind) {
    case IM_CLI_TEXT:
        part->kind = IM_PART_TEXT;
        part->text = im_view_from(from->text);
        break;
    case IM_CLI_FILE:
        rc = set_file(part, from->text, input, err);
        break;
    case IM_CLI_OPERAND:
        rc = set_operand(part, from->text, input, err);
        break;
    case IM_CLI_ITEM:
        rc = set_item(part, from->text, err);
        break;
    }
    if (rc == IM_OK && from->crop != NULL) {
        part->has_box = true;
        rc = im_box_parse(from->crop, &part->box, err);
    }
    return rc;
}

im_code cli_query_parts(const cli_args *args, im_query_part *out_parts, im_bytes *out_stdin,
                        im_error *err)
{
    for (size_t i = 0; i < args->n_parts; i++) {
        im_code rc = set_part(&args->parts[i], &out_parts[i], out_stdin, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}
