/* store/glob.c — globs of paths, and the functions that SQL statements of this room call: nothing
 * here knows of the library. */
#include "store/store_internal.h"

/* ---- globs ---- */

/* One character at p: a code point, or a byte that is none (told apart from all code points). */
static size_t next_char(const char *p, size_t size, uint32_t *out)
{
    size_t taken = im_utf8_decode(p, size, out);
    if (taken == 0) {
        *out = UINT32_C(0x80000000) | (unsigned char)*p;
        taken = 1;
    }
    return taken;
}

/* The set that begins behind a '[': its length with the ']', 0 when it is not closed; *out_in tells
 * whether `c` is in it. A ']' in the first place is one of the set. */
static size_t match_set(im_view glob, size_t at, uint32_t c, bool *out_in)
{
    size_t i = at;
    bool negated = i < glob.size && (glob.data[i] == '!' || glob.data[i] == '^');
    bool in = false;
    i += negated ? 1 : 0;
    size_t first = i;
    while (i < glob.size && (glob.data[i] != ']' || i == first)) {
        uint32_t low = 0;
        i += next_char(glob.data + i, glob.size - i, &low);
        uint32_t high = low;
        if (i + 1 < glob.size && glob.data[i] == '-' && glob.data[i + 1] != ']') {
            i++;
            i += next_char(glob.data + i, glob.size - i, &high);
        }
        in = in || (low <= c && c <= high);
    }
    if (i >= glob.size) {
        return 0;
    }
    *out_in = in != negated;
    return i + 1 - at;
}

/* Matches one character of the path with what stands at glob[at] and is no '*'. */
static bool match_one(im_view glob, size_t *at, uint32_t c)
{
    bool in = false;
    uint32_t wanted = 0;
    if (glob.data[*at] == '?') {
        (*at)++;
        return true;
    }
    if (glob.data[*at] == '[') {
        size_t size = match_set(glob, *at + 1, c, &in);
        if (size > 0) {
            *at += 1 + size;
            return in;
        }
    }
    *at += next_char(glob.data + *at, glob.size - *at, &wanted);
    return wanted == c;
}

/* Only the last '*' is ever moved on: what an earlier one could do, it can too. So the time is at
 * most the product of the lengths. */
bool store_glob_match(im_view glob, im_view path)
{
    size_t at = 0;
    size_t i = 0;
    size_t star = SIZE_MAX; /* behind the last '*' */
    size_t star_i = 0;      /* from where it has taken nothing yet */
    while (i < path.size) {
        uint32_t c = 0;
        if (at < glob.size && glob.data[at] == '*') {
            star = ++at;
            star_i = i;
            continue;
        }
        size_t taken = next_char(path.data + i, path.size - i, &c);
        if (at < glob.size && match_one(glob, &at, c)) {
            i += taken;
            continue;
        }
        if (star == SIZE_MAX) {
            return false;
        }
        star_i += next_char(path.data + star_i, path.size - star_i, &c);
        i = star_i;
        at = star;
    }
    while (at < glob.size && glob.data[at] == '*') {
        at++;
    }
    return at == glob.size;
}

/* ---- as functions of SQL ---- */

static im_view view_of(sqlite3_value *value)
{
    const char *data = sqlite3_value_blob(value);
    int size = sqlite3_value_bytes(value);
    return data != NULL ? im_view_of(data, (size_t)size) : im_view_of("", 0);
}

/* imago_glob(glob, path) */
static void sql_glob(sqlite3_context *context, int n_values, sqlite3_value **values)
{
    (void)n_values;
    sqlite3_result_int(context, store_glob_match(view_of(values[0]), view_of(values[1])));
}

/* imago_text(bytes): as UTF-8, U+FFFD in place of what is none, without NUL */
static void sql_text(sqlite3_context *context, int n_values, sqlite3_value **values)
{
    (void)n_values;
    im_view bytes = view_of(values[0]);
    im_str text;
    im_str_init(&text, SIZE_MAX / 2);
    (void)im_text_lossy(&text, bytes.data, bytes.size);
    if (text.failed) {
        sqlite3_result_error_nomem(context);
    } else {
        for (size_t i = 0; i < text.size; i++) {
            text.data[i] = text.data[i] == '\0' ? ' ' : text.data[i];
        }
        sqlite3_result_text64(context, im_str_text(&text), text.size, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
    }
    im_str_clear(&text);
}

int store_register_text_functions(sqlite3 *db)
{
    static const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
    int rc =
        sqlite3_create_function_v2(db, "imago_glob", 2, flags, NULL, sql_glob, NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_create_function_v2(db, "imago_text", 1, flags, NULL, sql_text,
                                                        NULL, NULL, NULL)
                           : rc;
}
