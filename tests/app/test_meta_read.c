/* tests/app/test_meta_read.c — the readers of `add --meta`: what is written is read back, and what
 * is wrong fails its own line, with the right number, and no other. Covers meta_source.c,
 * meta_read.c, meta_csv.c and meta_json.c. */
#include "app/meta_internal.h"
#include "base/fault.h"
#include "tests/app/help.h"

#include <unistd.h>

static im_error err = IM_ERROR_INIT;
static char folder[HELP_FOLDER_BYTES];

static int make_folder(void **state)
{
    (void)state;
    return help_temporary_in_memory(folder) == NULL;
}

static int drop_folder(void **state)
{
    (void)state;
    (void)help_remove_folder(folder);
    return 0;
}

static const char *write_bytes(const char *name, const void *data, size_t size)
{
    const char *path = help_path(folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static const char *write_text(const char *name, const char *text)
{
    return write_bytes(name, text, strlen(text));
}

/* ---- rows as text ---- */

static void put_pair(im_str *out, const meta_pair *pair)
{
    static const char *const kinds[] = {
        [META_VALUE] = "", [META_TEXT] = "?", [META_CELL] = "~", [META_DROP] = "-"};
    im_str_addf(out, " %s%s", kinds[pair->kind], pair->name);
    if (pair->kind != META_DROP) {
        im_str_addf(out, ":%s=", im_value_type_name(pair->value.type));
        im_value_print(out, &pair->value);
    }
}

/* "2 path=a.png price:number=3;" a row, "3 !reason;" one that is wrong. */
static void put_row(im_str *out, const meta_row *row)
{
    im_str_addf(out, "%llu", (unsigned long long)row->line);
    if (row->error.code != IM_OK) {
        im_str_addf(out, " !%s;", row->error.reason);
        assert_true(row->error.message[0] != '\0');
        return;
    }
    if (row->path != NULL) {
        im_str_addf(out, " path=%s", row->path);
    }
    if (row->id != 0) {
        im_str_addf(out, " id=%llu", (unsigned long long)row->id);
    }
    if (row->key != NULL || row->drops_key) {
        im_str_addf(out, row->drops_key ? " -key" : " key=%s", row->key);
    }
    for (size_t i = 0; i < row->n_tags; i++) {
        im_str_addf(out, " #%s", row->tags[i]);
    }
    im_str_add_c(out, row->drops_tags ? " -tags" : "");
    if (row->caption.data != NULL) {
        im_str_addf(out, " caption=%.*s", (int)row->caption.size, row->caption.data);
    }
    im_str_add_c(out, row->drops_caption ? " -caption" : "");
    for (size_t i = 0; i < row->n_pairs; i++) {
        put_pair(out, &row->pairs[i]);
    }
    im_str_add_char(out, ';');
}

static im_code read_all(const char *path, im_str *out, im_error *error)
{
    meta_reader *reader = NULL;
    bool more = true;
    im_code rc = meta_reader_open(path, &reader, error);
    while (rc == IM_OK && more) {
        meta_row row;
        rc = meta_reader_next(reader, &row, &more, error);
        if (rc == IM_OK && more) {
            put_row(out, &row);
        }
        meta_row_clear(&row);
    }
    meta_reader_close(reader);
    return rc;
}

static void expect_rows(const char *path, const char *expected)
{
    im_str rows;
    size_t before = im_live_allocations();
    im_str_init(&rows, SIZE_MAX / 2);
    help_ok(read_all(path, &rows, &err), &err);
    if (strcmp(im_str_text(&rows), expected) != 0) {
        print_error("found    %s\nexpected %s\n", im_str_text(&rows), expected);
    }
    assert_string_equal(im_str_text(&rows), expected);
    im_str_clear(&rows);
    assert_int_equal(im_live_allocations(), before);
}

static void expect_refused(const char *path, im_code code, const char *reason, const char *part)
{
    meta_reader *reader = NULL;
    im_error error = IM_ERROR_INIT;
    size_t before = im_live_allocations();
    im_code rc = meta_reader_open(path, &reader, &error);
    if (rc != code || strcmp(error.reason, reason) != 0 || strstr(error.message, part) == NULL) {
        print_error("%s: %s (%s) %s\nexpected %s with '%s'\n", path, im_code_name(rc), error.reason,
                    error.message, reason, part);
    }
    assert_int_equal(rc, code);
    assert_string_equal(error.reason, reason);
    assert_non_null(strstr(error.message, part));
    assert_null(reader);
    assert_int_equal(im_live_allocations(), before);
}

/* ---- CSV ---- */

static void columns_give_cells_their_types(void **state)
{
    (void)state;
    expect_rows(
        write_text("a.csv",
                   "path,Key,price:number,since:date,sold:bool,note:text,free,tags,caption\n"
                   "a.png,k 1, 1.5e1 ,2024-05,TRUE,\" x \", y ,\"b; c d;;\",\"A, b\"\n"
                   "b.png,,,,,,,,\n"
                   "c.png,,-0,2024-05-01T10:11:12,no,1,2,,\n"),
        "2 path=a.png key=k 1 #b #c d caption=A, b price:number=15 since:date=2024-05-01 "
        "sold:bool=true note:text= x  ~free:text= y ;"
        "3 path=b.png;"
        "4 path=c.png price:number=-0 since:date=2024-05-01T10:11:12 sold:bool=false "
        "note:text=1 ~free:text=2;");
    expect_rows(write_text("a.csv", "id\n17\nid:18\n#19\nx\n0\n-1\n"),
                "2 id=17;3 id=18;4 id=19;5 !invalid;6 !invalid;7 !invalid;");
}

static void line_ends_and_marks_do_not_matter(void **state)
{
    (void)state;
    const char *rows = "2 path=a ~x:text=1;3 path=b ~x:text=2;";
    expect_rows(write_text("a.csv", "path,x\na,1\nb,2\n"), rows);
    expect_rows(write_text("a.csv", "path,x\na,1\nb,2"), rows);
    expect_rows(write_text("a.csv", "path,x\r\na,1\r\nb,2\r\n"), rows);
    expect_rows(write_text("a.csv", "path,x\ra,1\rb,2\r"), rows);
    expect_rows(write_text("a.csv", "\xef\xbb\xbfpath,x\na,1\nb,2\n"), rows);
    expect_rows(write_text("A.CSV", "\"path\",\"x\"\n\"a\",\"1\"\n\"b\",\"2\""), rows);
    expect_rows(write_text("a.csv", "path,x\n\n\r\na,1\n\n\n\nb,2\n\n"),
                "4 path=a ~x:text=1;8 path=b ~x:text=2;");
    expect_rows(write_text("a.csv", "path,x\na,\"1\r\n\n2\"\nb,2\n"),
                "2 path=a ~x:text=1\r\n\n2;5 path=b ~x:text=2;");
}

static void a_broken_row_fails_alone(void **state)
{
    (void)state;
    expect_rows(write_text("a.csv", "path,x\na,1\nb,c\"d\ne,\"f\"g\nh,i,j\nk\nl,\"m\"\n"),
                "2 path=a ~x:text=1;3 !format;4 !format;5 !format;6 !format;7 path=l ~x:text=m;");
    /* a quote left open takes what follows up to the next quote, no more */
    expect_rows(write_text("a.csv", "path,x\na,\"1\nb,2\nc,\"3\"\nd,4\n"),
                "2 !format;5 path=d ~x:text=4;");
    expect_rows(write_text("a.csv", "path,x\na,1\nb,\"2\nc,3\n"), "2 path=a ~x:text=1;3 !format;");
    expect_rows(write_bytes("a.csv", "path,x\na\0b,1\nc,2\0\nd,3\n", 22),
                "2 !field_value;3 !field_value;4 path=d ~x:text=3;");
    expect_rows(write_text("a.csv", "path,x\na,\xff\nb,caf\xc3\xa9\n\xff\xfe,1\n"),
                "2 !field_value;3 path=b ~x:text=caf\xc3\xa9;4 path=\xff\xfe ~x:text=1;");
    expect_rows(write_text("a.csv",
                           "path,key,n:number,d:date,b:bool,id\n"
                           "a,,x,,,\nb,,,yesterday,,\nc,,,,maybe,\nd,,,,,4\n,,,,,\n,k,,,,\n"
                           "e,\xff,,,,\nf,,inf,,,\n"),
                "2 !field_value;3 !field_value;4 !field_value;5 !invalid;6 !invalid;7 key=k;"
                "8 !field_value;9 !field_value;");
}

static void large_cells_fail_their_line(void **state)
{
    (void)state;
    const size_t sizes[] = {IM_LIMIT_FIELD_BYTES, IM_LIMIT_FIELD_BYTES + 1, 1u << 20,
                            IM_LIMIT_META_LINE_BYTES, 3 * IM_LIMIT_META_LINE_BYTES};
    const char *reasons[] = {NULL, "field_value", "field_value", "limit", "limit"};
    char *text = im_alloc(4 * (size_t)IM_LIMIT_META_LINE_BYTES, 1);
    assert_non_null(text);
    for (size_t i = 0; i < IM_COUNT(sizes) * 2; i++) {
        bool csv = i % 2 == 0;
        size_t size = sizes[i / 2];
        const char *reason = reasons[i / 2];
        const char *head = csv ? "path,x\na," : "\n{\"path\":\"a\",\"x\":\"";
        const char *tail = csv ? "\nb,2\n" : "\"}\n{\"path\":\"b\",\"x\":\"2\"}\n";
        char *at = text;
        memcpy(at, head, strlen(head));
        at += strlen(head);
        memset(at, 'y', size);
        at += size;
        memcpy(at, tail, strlen(tail));
        at += strlen(tail);
        const char *path = write_bytes(csv ? "a.csv" : "a.jsonl", text, (size_t)(at - text));
        meta_reader *reader = NULL;
        meta_row row;
        bool more = false;
        help_ok(meta_reader_open(path, &reader, &err), &err);
        help_ok(meta_reader_next(reader, &row, &more, &err), &err);
        assert_true(more && row.line == 2);
        assert_string_equal(row.error.reason, reason != NULL ? reason : "ok");
        meta_row_clear(&row);
        help_ok(meta_reader_next(reader, &row, &more, &err), &err);
        assert_true(more && row.line == 3 && row.error.code == IM_OK);
        assert_string_equal(row.path, "b");
        meta_row_clear(&row);
        help_ok(meta_reader_next(reader, &row, &more, &err), &err);
        assert_false(more);
        meta_row_clear(&row);
        meta_reader_close(reader);
    }
    im_free(text);
}

static void a_wrong_header_refuses_the_file(void **state)
{
    static const struct {
        const char *text;
        im_code code;
        const char *reason, *part;
    } rows[] = {
        {"", IM_ERR_FORMAT, "format", "empty"},
        {"\n\n", IM_ERR_FORMAT, "format", "empty"},
        {"price,note\n1,2\n", IM_ERR_INVALID, "invalid", "'path', 'id' or 'key'"},
        {"path;price\na;2\n", IM_ERR_FORMAT, "format", "semicolons"},
        {"path\tprice\na\t2\n", IM_ERR_FORMAT, "format", "tabs"},
        {"path,price,Price\n", IM_ERR_INVALID, "field_name", "'Price' is there twice"},
        {"path,path\n", IM_ERR_INVALID, "field_name", "'path' is there twice"},
        {"path,taken:text\n", IM_ERR_INVALID, "field_name", "'taken'"},
        {"path,Tag\n", IM_ERR_INVALID, "field_name", "'Tag'"},
        {"path,price:money\n", IM_ERR_INVALID, "invalid", "'money' is no type"},
        {"path,price:\n", IM_ERR_INVALID, "invalid", "'' is no type"},
        {"path:text,x\n", IM_ERR_INVALID, "invalid", "'path' takes no type"},
        {"path,\n", IM_ERR_INVALID, "field_name", "field ''"},
        {"path,two words\n", IM_ERR_INVALID, "field_name", "'two words'"},
        {"path,caf\xc3\xa9\n", IM_ERR_INVALID, "field_name", "expected a letter"},
        {"path,\"x\n", IM_ERR_FORMAT, "format", "never closed"},
        {"path,x\"y\n", IM_ERR_FORMAT, "format", "quote"},
        {"\xff\xfep\0a\0", IM_ERR_FORMAT, "format", "UTF-16"},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        const char *path = write_text("h.csv", rows[i].text);
        expect_refused(path, rows[i].code, rows[i].reason, rows[i].part);
        expect_refused(path, rows[i].code, rows[i].reason, "h.csv");
    }
    expect_refused(write_bytes("h.csv", "path,a\0b\n", 9), IM_ERR_INVALID, "field_name", "NUL");
    im_str wide;
    im_str_init(&wide, 1u << 20);
    im_str_add_c(&wide, "path");
    for (size_t i = 0; i < IM_LIMIT_META_COLUMNS - 1; i++) {
        im_str_addf(&wide, ",c%zu", i);
    }
    expect_rows(write_text("h.csv", im_str_text(&wide)), "");
    im_str_add_c(&wide, ",more\n");
    expect_refused(write_text("h.csv", im_str_text(&wide)), IM_ERR_LIMIT, "limit", "1025 columns");
    im_str_clear(&wide);
}

static void what_is_no_file_of_lines_is_refused(void **state)
{
    (void)state;
    expect_refused(help_path(folder, "none.csv"), IM_ERR_NOT_FOUND, "not_found", "none.csv");
    expect_refused("/", IM_ERR_INVALID, "invalid", ".jsonl or .csv");
    expect_refused(write_text("a.txt", "path\n"), IM_ERR_INVALID, "invalid", ".jsonl or .csv");
    expect_refused(".csv", IM_ERR_INVALID, "invalid", ".jsonl or .csv");
    assert_int_equal(symlink("/", help_path(folder, "dir.jsonl")), 0);
    expect_refused(help_path(folder, "dir.jsonl"), IM_ERR_FORMAT, "not_a_regular_file",
                   "dir.jsonl");
    expect_rows(write_text("a.jsonl", ""), "");
    expect_rows(write_text("a.ndjson", "\n \n\t\r\n"), "");
}

/* ---- JSON ---- */

static void json_types_give_field_types(void **state)
{
    (void)state;
    expect_rows(
        write_text("a.jsonl",
                   "{\"path\":\"a\",\"key\":\"k\",\"tags\":[\"x\",\"y z\"],\"caption\":\"c\"}\r\n"
                   "\n"
                   "{\"ID\":7,\"t\":\"1\",\"n\":-1.5,\"i\":12,\"b\":true,\"f\":false,\"z\":null,"
                   "\"d\":{\"date\":\"2024-05\"}}\n"
                   "{\"id\":\"id:8\",\"key\":null,\"tags\":null,\"caption\":null}\n"
                   "{\"key\":\"k\",\"n\":9007199254740992,\"tags\":[]}"),
        "1 path=a key=k #x #y z caption=c;"
        "3 id=7 ?t:text=1 n:number=-1.5 i:number=12 b:bool=true f:bool=false -z "
        "d:date=2024-05-01;"
        "4 id=8 -key -tags -caption;"
        "5 key=k n:number=9007199254740992;");
}

static void a_wrong_line_of_json_fails_alone(void **state)
{
    static const char *const lines[] = {
        "[1]",
        "7",
        "{",
        "{\"path\":\"a\",",
        "{\"path\":\"a\"} x",
        "{\"path\":\"a\",\"path\":\"b\"}",
        "{\"path\":\"a\",\"Path\":\"b\"}",
        "{\"path\":\"a\",\"x\":1,\"X\":2}",
        "{\"path\":\"a\",\"x\":[1]}",
        "{\"path\":\"a\",\"x\":{}}",
        "{\"path\":\"a\",\"x\":{\"date\":7}}",
        "{\"path\":\"a\",\"x\":{\"date\":\"2024\",\"y\":1}}",
        "{\"path\":\"a\",\"x\":{\"date\":\"soon\"}}",
        "{\"path\":\"a\",\"x\":9007199254740993}",
        "{\"path\":\"a\",\"x\":\"\"}",
        "{\"path\":\"a\",\"x\":\"\\u0000\"}",
        "{\"path\":\"a\",\"x\":\"\xff\"}",
        "{\"path\":\"a\",\"taken\":\"x\"}",
        "{\"path\":\"a\",\"two words\":1}",
        "{\"path\":\"a\",\"\":1}",
        "{\"path\":7}",
        "{\"path\":null,\"key\":\"k\"}",
        "{\"path\":\"\"}",
        "{\"path\":\"a\",\"id\":1}",
        "{\"id\":0}",
        "{\"id\":-1}",
        "{\"id\":\"x\"}",
        "{\"id\":1.5}",
        "{\"key\":null}",
        "{\"key\":\"\"}",
        "{\"key\":7}",
        "{\"x\":1}",
        "{}",
        "{\"path\":\"a\",\"tags\":\"x\"}",
        "{\"path\":\"a\",\"tags\":[7]}",
        "{\"path\":\"a\",\"tags\":[\" x\"]}",
        "{\"path\":\"a\",\"tags\":[\"\"]}",
        "{\"path\":\"a\",\"caption\":\"\"}",
        "{\"path\":\"a\",\"caption\":7}",
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(lines); i++) {
        im_str text;
        im_str rows;
        im_str_init(&text, 4096);
        im_str_init(&rows, 4096);
        im_str_addf(&text, "{\"path\":\"a\"}\n%s\n{\"path\":\"b\"}\n", lines[i]);
        help_ok(read_all(write_text("a.jsonl", im_str_text(&text)), &rows, &err), &err);
        if (strncmp(im_str_text(&rows), "1 path=a;2 !", 12) != 0 ||
            strstr(im_str_text(&rows), ";3 path=b;") == NULL) {
            fail_msg("%s gives %s", lines[i], im_str_text(&rows));
        }
        im_str_clear(&text);
        im_str_clear(&rows);
    }
}

static void the_sentence_of_broken_json_names_the_column(void **state)
{
    (void)state;
    meta_reader *reader = NULL;
    meta_row row;
    bool more = false;
    help_ok(meta_reader_open(write_text("a.jsonl", "\n{\"path\":}\n"), &reader, &err), &err);
    help_ok(meta_reader_next(reader, &row, &more, &err), &err);
    meta_error_place(&row.error, "a.jsonl", row.line);
    assert_memory_equal(row.error.message, "a.jsonl:2: column ", 18);
    assert_string_equal(row.error.reason, "format");
    meta_row_clear(&row);
    meta_reader_close(reader);
}

/* ---- properties ---- */

static uint64_t random_state = 42;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

static void add_random_text(im_str *out)
{
    static const char *const pieces[] = {"a",        "B7",           ",",    "\"",  "\n",
                                         "\r",       "\r\n",         " ",    "\t",  ";",
                                         "\xc3\xa9", "\xe2\x82\xac", "\"\"", "x y", ":"};
    for (uint32_t n = random_below(6) + 1; n > 0; n--) {
        im_str_add_c(out, pieces[random_below(IM_COUNT(pieces))]);
    }
}

static void add_cell(im_str *out, const char *text)
{
    bool quote = strpbrk(text, ",\"\n\r") != NULL || random_below(3) == 0;
    im_str_add_c(out, quote ? "\"" : "");
    for (const char *c = text; *c != '\0'; c++) {
        im_str_add_c(out, *c == '"' ? "\"" : "");
        im_str_add_char(out, *c);
    }
    im_str_add_c(out, quote ? "\"" : "");
}

static uint64_t line_ends(const char *text)
{
    uint64_t n = 0;
    for (const char *c = text; *c != '\0'; c++) {
        n += *c == '\r' || (*c == '\n' && (c == text || c[-1] != '\r'));
    }
    return n;
}

/* One random file, and what must be read of it. */
static void make_random_csv(im_str *csv, im_str *expected)
{
    const char *end = random_below(2) == 0 ? "\n" : "\r\n";
    uint32_t n_columns = random_below(5) + 1;
    uint64_t line = 2;
    im_str_add_c(csv, random_below(2) == 0 ? "\xef\xbb\xbf" : "");
    im_str_add_c(csv, "path");
    for (uint32_t c = 0; c < n_columns; c++) {
        im_str_addf(csv, ",c%u", c);
    }
    for (uint32_t rows = random_below(20); rows > 0; rows--) {
        im_str_add_c(csv, end);
        im_str_addf(csv, "p%u", rows);
        im_str_addf(expected, "%llu path=p%u", (unsigned long long)line, rows);
        for (uint32_t c = 0; c < n_columns; c++) {
            im_str text;
            im_str_init(&text, 256);
            im_str_add_char(csv, ',');
            if (random_below(4) > 0) {
                add_random_text(&text);
                add_cell(csv, im_str_text(&text));
                im_str_addf(expected, " ~c%u:text=%s", c, im_str_text(&text));
                line += line_ends(im_str_text(&text));
            }
            im_str_clear(&text);
        }
        im_str_add_char(expected, ';');
        line++;
    }
    im_str_add_c(csv, random_below(2) == 0 ? end : "");
}

static void random_csv_is_read_back(void **state)
{
    (void)state;
    print_message("seed %llu\n", (unsigned long long)random_state);
    for (size_t i = 0; i < 500; i++) {
        im_str csv;
        im_str expected;
        im_str_init(&csv, 1u << 20);
        im_str_init(&expected, 1u << 20);
        make_random_csv(&csv, &expected);
        expect_rows(write_text("r.csv", im_str_text(&csv)), im_str_text(&expected));
        im_str_clear(&csv);
        im_str_clear(&expected);
    }
}

/* Cut anywhere, with any byte changed: rows or refusals, and an end. */
static void damaged_files_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3000; i++) {
        static const char json[] = "{\"path\":\"a\",\"x\":1,\"tags\":[\"b\"]}\n{\"key\":\"k\","
                                   "\"d\":{\"date\":\"2024\"}}\n";
        im_str text;
        im_str rows;
        im_error ignored = IM_ERROR_INIT;
        size_t before = im_live_allocations();
        bool csv = i % 2 == 0;
        im_str_init(&text, 1u << 20);
        im_str_init(&rows, 1u << 20);
        if (csv) {
            make_random_csv(&text, &rows);
        } else {
            im_str_add_c(&text, json);
        }
        im_str_reset(&rows);
        for (uint32_t n = random_below(3); n > 0; n--) {
            text.data[random_below((uint32_t)text.size)] = "\",\n\r\0x\xff{}:"[random_below(11)];
        }
        const char *path = write_bytes(csv ? "d.csv" : "d.jsonl", text.data,
                                       random_below((uint32_t)text.size + 1));
        (void)!read_all(path, &rows, &ignored);
        im_str_clear(&text);
        im_str_clear(&rows);
        assert_int_equal(im_live_allocations(), before);
    }
}

/* Many lines take no more memory than few; each tenth is wrong. */
static void a_hundred_thousand_lines_pass_through(void **state)
{
    (void)state;
    im_str csv;
    meta_reader *reader = NULL;
    bool more = true;
    uint64_t n = 0;
    uint64_t n_wrong = 0;
    im_str_init(&csv, SIZE_MAX / 2);
    im_str_add_c(&csv, "path,price:number,note\n");
    for (uint32_t i = 0; i < 100000; i++) {
        im_str_addf(&csv, i % 10 == 7 ? "p%u,x,\"a, b\"\n" : "p%u,%u,\"a, b\"\n", i, i);
    }
    const char *path = write_text("big.csv", im_str_text(&csv));
    im_str_clear(&csv);
    help_ok(meta_reader_open(path, &reader, &err), &err);
    size_t open = im_live_allocations();
    while (more) {
        meta_row row;
        help_ok(meta_reader_next(reader, &row, &more, &err), &err);
        if (more) {
            assert_int_equal(row.line, n + 2);
            assert_int_equal(row.error.code != IM_OK, n % 10 == 7);
            n_wrong += row.error.code != IM_OK;
            n++;
        }
        meta_row_clear(&row);
        assert_in_range(im_live_allocations(), open, open + 2);
    }
    assert_int_equal(n, 100000);
    assert_int_equal(n_wrong, 10000);
    meta_reader_close(reader);
}

static void reading_survives_each_failed_allocation(void **state)
{
    static const char *const files[] = {"n.csv", "n.jsonl"};
    (void)state;
    write_text("n.csv", "path,price:number,tags,note\na,1,x;y,\"q\"\"\nr\"\nb,2,z,t\nc\n");
    write_text("n.jsonl",
               "{\"path\":\"a\",\"tags\":[\"x\"],\"n\":1}\n{\"key\":\"k\",\"t\":\"u\"}\n{\n");
    for (size_t i = 0; i < IM_COUNT(files); i++) {
        im_code rc = IM_ERR_NOMEM;
        bool fired = true;
        size_t nth = 0;
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        for (; fired; nth++) {
            im_str rows;
            im_error error = IM_ERROR_INIT;
            size_t before = im_live_allocations();
            im_str_init(&rows, 1u << 20);
            im_str_add_c(&rows, "x"); /* its own memory is there before */
            im_fault_set(IM_FAULT_ALLOC, nth, 0);
            rc = read_all(path, &rows, &error);
            fired = im_fault_fired(IM_FAULT_ALLOC);
            im_fault_clear();
            /* libcsv asks for less when it does not get much */
            assert_true(rc == IM_OK || (fired && rc == IM_ERR_NOMEM));
            im_str_clear(&rows);
            assert_int_equal(im_live_allocations(), before);
        }
        assert_int_equal(rc, IM_OK);
        assert_true(nth > 8);
    }
}

static void a_failed_read_ends_the_file(void **state)
{
    (void)state;
    const char *path = write_text("a.jsonl", "{\"path\":\"a\"}\n");
    for (size_t nth = 0; nth < 2; nth++) {
        meta_reader *reader = NULL;
        im_fault_set(nth == 0 ? IM_FAULT_OPEN : IM_FAULT_READ, 0, 0);
        assert_int_equal(meta_reader_open(path, &reader, &err), IM_ERR_IO);
        assert_true(im_fault_fired(nth == 0 ? IM_FAULT_OPEN : IM_FAULT_READ));
        im_fault_clear();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_give_cells_their_types),
        cmocka_unit_test(line_ends_and_marks_do_not_matter),
        cmocka_unit_test(a_broken_row_fails_alone),
        cmocka_unit_test(large_cells_fail_their_line),
        cmocka_unit_test(a_wrong_header_refuses_the_file),
        cmocka_unit_test(what_is_no_file_of_lines_is_refused),
        cmocka_unit_test(json_types_give_field_types),
        cmocka_unit_test(a_wrong_line_of_json_fails_alone),
        cmocka_unit_test(the_sentence_of_broken_json_names_the_column),
        cmocka_unit_test(random_csv_is_read_back),
        cmocka_unit_test(damaged_files_end),
        cmocka_unit_test(a_hundred_thousand_lines_pass_through),
        cmocka_unit_test(reading_survives_each_failed_allocation),
        cmocka_unit_test(a_failed_read_ends_the_file),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
