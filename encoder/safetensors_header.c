/* encoder/safetensors_header.c — walks the header of a weights file member by member. A tree of
 * the whole would take ten times the header, which may have 100 MB: here each member is found by
 * its brackets, bounded, and only then parsed. */
#include "encoder/encoder_internal.h"

#define MAX_NAME_BYTES 4096u
#define MAX_VALUE_BYTES (2u << 20) /* __metadata__ is the only long one */

static im_code wrong_header(const header_reader *r, const char *what, im_error *err)
{
    return im_fail_as(err, IM_REASON_MODEL_WEIGHTS, "weights '%s': header byte %zu: %s", r->file,
                      r->at, what);
}

static void skip_blanks(header_reader *r)
{
    while (r->at < r->size && (r->text[r->at] == ' ' || r->text[r->at] == '\t' ||
                               r->text[r->at] == '\n' || r->text[r->at] == '\r')) {
        r->at++;
    }
}

static char peek(header_reader *r)
{
    skip_blanks(r);
    return r->at < r->size ? r->text[r->at] : '\0';
}

/* Where the string that begins at `at` ends (behind its quote), SIZE_MAX when it does not. */
static size_t string_end(const header_reader *r, size_t at)
{
    for (size_t i = at + 1; i < r->size; i++) {
        if (r->text[i] == '\\') {
            i++;
        } else if (r->text[i] == '"') {
            return i + 1;
        }
    }
    return SIZE_MAX;
}

/* Where the value at r->at ends: a comma, a closing bracket or the end at its own depth. Whether it
 * is JSON is the parser's to say. */
static im_code value_end(const header_reader *r, size_t *out_end, im_error *err)
{
    size_t depth = 0;
    for (size_t i = r->at; i < r->size; i++) {
        char c = r->text[i];
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
            *out_end = i;
            return IM_OK;
        }
        if (c == '"') {
            size_t end = string_end(r, i);
            if (end == SIZE_MAX) {
                return wrong_header(r, "a text that does not end", err);
            }
            i = end - 1;
        } else if (c == '[' || c == '{') {
            depth++;
            if (depth > IM_LIMIT_JSON_DEPTH) {
                return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                                  "weights '%s': header byte %zu: nested too deeply, expected at "
                                  "most %u levels",
                                  r->file, i, IM_LIMIT_JSON_DEPTH);
            }
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    *out_end = r->size;
    if (depth == 0) {
        return IM_OK;
    }
    return wrong_header(r, "a value that does not end", err);
}

static im_code parse_piece(const header_reader *r, size_t end, size_t most, json_t **out,
                           im_error *err)
{
    char name[300];
    if (end - r->at > most) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': header byte %zu: %zu bytes of one name or entry, expected "
                          "at most %zu",
                          r->file, r->at, end - r->at, most);
    }
    (void)snprintf(name, sizeof(name), "weights '%.200s', counted from header byte %zu", r->file,
                   r->at);
    return im_json_parse(r->text + r->at, end - r->at, name, out, err);
}

static im_code read_member(header_reader *r, json_t **out_name, json_t **out_value, im_error *err)
{
    size_t end = 0;
    if (peek(r) != '"') {
        return wrong_header(r, "expected the name of a tensor", err);
    }
    end = string_end(r, r->at);
    if (end == SIZE_MAX) {
        return wrong_header(r, "a name that does not end", err);
    }
    im_code rc = parse_piece(r, end, MAX_NAME_BYTES, out_name, err);
    if (rc != IM_OK) {
        return rc;
    }
    r->at = end;
    if (peek(r) != ':') {
        return wrong_header(r, "expected ':' behind a name", err);
    }
    r->at++;
    skip_blanks(r);
    rc = value_end(r, &end, err);
    if (rc == IM_OK) {
        rc = parse_piece(r, end, MAX_VALUE_BYTES, out_value, err);
        r->at = end;
    }
    return rc;
}

im_code header_next(header_reader *r, json_t **out_name, json_t **out_value, im_error *err)
{
    size_t end = 0;
    bool first = r->at == 0;
    *out_name = NULL;
    *out_value = NULL;
    char next = peek(r);
    if (first && next != '{') {
        im_code rc = next == '[' ? value_end(r, &end, err) : IM_OK; /* names too deep a nesting */
        return rc != IM_OK ? rc : wrong_header(r, "expected a JSON object", err);
    }
    if (next != '}' && next != (first ? '{' : ',')) {
        return wrong_header(r, "expected ',' or '}'", err);
    }
    if (next != '}') {
        r->at++;
        if (!first || peek(r) != '}') {
            return read_member(r, out_name, out_value, err);
        }
    }
    r->at++; /* the closing bracket: only blanks may follow */
    skip_blanks(r);
    return r->at == r->size ? IM_OK : wrong_header(r, "bytes behind the JSON object", err);
}
