/* vlm/partial.c — of a text that a model is still writing: the value of one key, as far as it is
 * there. For showing only; what counts is the whole answer. */
#include "vlm/vlm_internal.h"

typedef struct scanner {
    const char *at, *end;
} scanner;

static bool hex4(const scanner *s, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = s->at + i < s->end ? im_ascii_lower(s->at[i]) : '\0';
        bool digit = c >= '0' && c <= '9';
        if (!digit && !(c >= 'a' && c <= 'f')) {
            return false;
        }
        *out = *out * 16 + (uint32_t)(digit ? c - '0' : c - 'a' + 10);
    }
    return true;
}

/* "\uD83D\uDE00" at the "u"; false when it is no character, or not all of it is there. */
static bool read_unicode(scanner *s, im_str *out)
{
    char bytes[4];
    uint32_t code = 0;
    uint32_t low = 0;
    s->at++;
    if (!hex4(s, &code) || code == 0 || (code >= 0xdc00 && code < 0xe000)) {
        return false;
    }
    s->at += 4;
    if (code >= 0xd800 && code < 0xdc00) {
        if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u') {
            return false;
        }
        s->at += 2;
        if (!hex4(s, &low) || low < 0xdc00 || low >= 0xe000) {
            return false;
        }
        s->at += 4;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    im_str_add(out, bytes, im_utf8_encode(code, bytes));
    return true;
}

/* A string behind its quote into out; true when its end was seen. */
static bool read_string(scanner *s, im_str *out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    while (s->at < s->end) {
        char c = *s->at;
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c != '\\') {
            im_str_add_char(out, c);
            s->at++;
            continue;
        }
        s->at++;
        const char *name = s->at < s->end && *s->at != '\0' ? strchr(names, *s->at) : NULL;
        if (name != NULL) {
            im_str_add_char(out, meant[name - names]);
            s->at++;
        } else if (s->at >= s->end || *s->at != 'u' || !read_unicode(s, out)) {
            return false;
        }
    }
    return false;
}

static void skip_blanks(scanner *s)
{
    while (s->at < s->end &&
           (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) {
        s->at++;
    }
}

void im_vlm_partial(im_view text, const char *key, im_str *out)
{
    scanner s = {text.data, text.data + text.size};
    im_str name;
    unsigned depth = 0;
    im_str_init(&name, text.size + 1);
    while (s.at < s.end && *s.at != '{') {
        s.at++;
    }
    for (bool more = true; more && s.at < s.end;) {
        char c = *s.at++;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']' ? IM_MIN(depth, 1u) : 0;
        if (c != '"') {
            continue;
        }
        im_str_reset(&name);
        more = read_string(&s, &name);
        skip_blanks(&s);
        if (more && depth == 1 && s.at < s.end && *s.at == ':' &&
            strcmp(im_str_text(&name), key) == 0) {
            s.at++;
            skip_blanks(&s);
            more = s.at < s.end && *s.at == '"';
            if (more) {
                s.at++;
                (void)read_string(&s, out);
                more = false;
            }
        }
    }
    out->failed = out->failed || name.failed;
    im_str_clear(&name);
}
