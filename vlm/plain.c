/* vlm/plain.c — what a model wrote becomes plain text of bounded length: no chat markers, no HTML,
 * no control characters, nothing that turns the direction of a line. What is left is somebody's
 * data. */
#include "vlm/vlm_internal.h"

#define TAG_BYTES 2048u /* a tag that is longer is none */
#define PASSES 16

/* ---- HTML ---- */

static const char *const tags[] = {
    "a",          "abbr",     "address",  "applet",   "area",       "article",  "aside",
    "audio",      "b",        "base",     "bdi",      "bdo",        "big",      "blink",
    "blockquote", "body",     "br",       "button",   "canvas",     "caption",  "center",
    "cite",       "code",     "col",      "colgroup", "data",       "datalist", "dd",
    "del",        "details",  "dfn",      "dialog",   "dir",        "div",      "dl",
    "dt",         "em",       "embed",    "fieldset", "figcaption", "figure",   "font",
    "footer",     "form",     "frame",    "frameset", "h1",         "h2",       "h3",
    "h4",         "h5",       "h6",       "head",     "header",     "hgroup",   "hr",
    "html",       "i",        "iframe",   "image",    "img",        "input",    "ins",
    "kbd",        "label",    "legend",   "li",       "link",       "main",     "map",
    "mark",       "marquee",  "math",     "menu",     "meta",       "meter",    "nav",
    "noembed",    "noframes", "noscript", "object",   "ol",         "optgroup", "option",
    "output",     "p",        "param",    "picture",  "plaintext",  "pre",      "progress",
    "q",          "rp",       "rt",       "ruby",     "s",          "samp",     "script",
    "section",    "select",   "slot",     "small",    "source",     "span",     "strike",
    "strong",     "style",    "sub",      "summary",  "sup",        "svg",      "table",
    "tbody",      "td",       "template", "textarea", "tfoot",      "th",       "thead",
    "time",       "title",    "tr",       "track",    "tt",         "u",        "ul",
    "var",        "video",    "wbr",      "xmp"};
/* Those whose content is no text either. */
static const char *const mute[] = {"script",   "style", "iframe", "object",
                                   "template", "svg",   "math"};

static bool is_one_of(im_view name, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(words[i]) == name.size && strncasecmp(words[i], name.data, name.size) == 0) {
            return true;
        }
    }
    return false;
}

static im_view name_at(const char *p, size_t size)
{
    size_t n = 0;
    while (n < size && (im_ascii_is_alnum(p[n]) || p[n] == '-' || p[n] == ':')) {
        n++;
    }
    return im_view_of(p, n);
}

/* Bytes of what begins at a '<' and is HTML; 0 when it is text, like "a < b" or "list<int>". */
static size_t tag_at(const char *p, size_t size)
{
    if (size >= 4 && memcmp(p, "<!--", 4) == 0) {
        const char *end = memmem(p + 4, size - 4, "-->", 3);
        return end != NULL ? (size_t)(end - p) + 3 : size;
    }
    size_t head = size > 1 && p[1] == '/' ? 2 : 1;
    bool declaration = size > 1 && (p[1] == '!' || p[1] == '?');
    im_view name = name_at(p + head, size - head);
    const char *end = memchr(p, '>', IM_MIN(size, (size_t)TAG_BYTES));
    bool known = is_one_of(name, tags, IM_COUNT(tags));
    if (end == NULL) { /* cut short, it is still one; "a<b then" is none */
        bool bare = size == head + name.size;
        return known && size <= TAG_BYTES && (bare || memchr(p, '=', size) != NULL) ? size : 0;
    }
    size_t whole = (size_t)(end - p) + 1;
    bool attribute = name.size > 0 && memchr(p, '=', whole) != NULL;
    return known || attribute || (declaration && size > 2 && im_ascii_is_alnum(p[2])) ? whole : 0;
}

/* Where the content of "<script …>" ends: at its closing tag, or with the text. */
static size_t content_of(const char *p, size_t size, im_view name)
{
    for (size_t i = 0; i + 2 + name.size <= size; i++) {
        if (p[i] == '<' && p[i + 1] == '/' && strncasecmp(p + i + 2, name.data, name.size) == 0) {
            return i;
        }
    }
    return size;
}

/* Takes tags out once. What stood on both sides may make a new one. */
static void drop_tags(im_str *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->size;) {
        char *p = text->data + i;
        size_t left = text->size - i;
        size_t skip = *p == '<' ? tag_at(p, left) : 0;
        if (skip == 0) {
            text->data[n++] = *p;
            i++;
            continue;
        }
        im_view name = name_at(p + 1, left - 1);
        if (is_one_of(name, mute, IM_COUNT(mute)) && p[skip - 1] == '>') {
            skip += content_of(p + skip, left - skip, name);
        }
        text->data[n++] = ' ';
        i += skip;
    }
    if (text->data != NULL) {
        text->data[n] = '\0';
    }
    text->size = n;
}

/* ---- characters ---- */

/* Neither seen nor heard, or turning what stands around it; U+E000 parts texts in the index. */
static bool is_hidden(uint32_t c)
{
    return (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e || c == 0x200b ||
           c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || (c >= 0xe000 && c <= 0xf8ff) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe ||
           (c >= 0xe0000 && c <= 0xe0fff) || c >= 0xf0000;
}

static bool is_space(uint32_t c)
{
    return c <= 32 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool ends_line(uint32_t c)
{
    return c == '\n' || c == '\v' || c == '\f' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

/* A run of blanks becomes one; with `lines` one line end, or two for an empty line between. */
static void add_characters(im_str *out, const im_str *text, bool lines)
{
    size_t ends = 0;
    bool blank = false;
    for (size_t i = 0; i < text->size;) {
        uint32_t c = 0;
        size_t n = im_utf8_decode(text->data + i, text->size - i, &c);
        if (n == 0) { /* was made valid before */
            return;
        }
        if (is_space(c) || ends_line(c)) {
            blank = true;
            ends += lines && ends_line(c);
        } else if (!is_hidden(c)) {
            if (blank && out->size > 0) {
                im_str_add_c(out, ends == 0 ? " " : ends == 1 ? "\n" : "\n\n");
            }
            im_str_add(out, text->data + i, n);
            blank = false;
            ends = 0;
        }
        i += n;
    }
}

/* ---- length ---- */

/* Cuts behind a sentence when one ends in the last third, else behind a word. */
static void bound(im_str *text, size_t most)
{
    size_t end = most;
    size_t sentence = 0;
    size_t word = 0;
    if (text->size <= most) {
        return;
    }
    while (end > 0 && ((unsigned char)text->data[end] & 0xc0u) == 0x80u) {
        end--; /* not inside a character */
    }
    for (size_t i = 0; i < end; i++) {
        bool gap = text->data[i + 1] == ' ' || text->data[i + 1] == '\n';
        word = gap ? i + 1 : word;
        sentence = gap && strchr(".!?", text->data[i]) != NULL ? i + 1 : sentence;
    }
    end = sentence > most / 3 * 2 ? sentence : word > most / 2 ? word : end;
    text->data[end] = '\0';
    text->size = end;
}

/* Lines of their own, so that markers are found which a line end would part. */
static void take_markers_out(im_str *text)
{
    im_str clean;
    im_str_init(&clean, 4 * text->size + 1);
    for (size_t from = 0; from < text->size;) {
        size_t size = 0;
        while (from + size < text->size && text->data[from + size] != '\n') {
            size++;
        }
        im_vlm_clean(&clean, im_view_of(text->data + from, size));
        from += size;
        if (from < text->size) {
            im_str_add_char(&clean, '\n');
            from++;
        }
    }
    clean.failed = clean.failed || text->failed;
    im_str_clear(text);
    *text = clean;
}

/* Blanks and hidden characters again: what was taken out may leave some. */
static void tidy(im_str *text, bool lines)
{
    im_str tidied;
    im_str_init(&tidied, text->size + 1);
    add_characters(&tidied, text, lines);
    tidied.failed = tidied.failed || text->failed;
    im_str_clear(text);
    *text = tidied;
}

bool im_vlm_plain(im_str *out, im_view text, size_t most, bool lines)
{
    im_str work;
    size_t before = SIZE_MAX;
    im_str_init(&work, 4 * text.size + 1);
    (void)im_text_lossy(&work, text.data, text.size);
    tidy(&work, lines); /* first: what is hidden may part a marker or a tag */
    for (int pass = 0; work.size != before && !work.failed;
         pass++) { /* each step only shrinks it */
        before = work.size;
        take_markers_out(&work);
        drop_tags(&work);
        for (size_t i = 0; pass == PASSES && i < work.size; i++) { /* so deep is no text */
            work.data[i] = (char)(work.data[i] == '<' ? ' ' : work.data[i]);
        }
        tidy(&work, lines);
        bound(&work, most); /* inside: a cut may make a tag of what was none */
    }
    im_str_add(out, im_str_text(&work), work.size);
    bool good = !work.failed && !out->failed;
    im_str_clear(&work);
    return good;
}
