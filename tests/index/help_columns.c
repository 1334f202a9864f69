/* tests/index/help_columns.c — see help_columns.h. */
#include "help_columns.h"
#include "base/memory.h"
#include "index/conditions_internal.h"
#include <math.h>

const im_column_spec table_specs[N_COLUMNS] = {
    {"taken", IM_COLUMN_INTEGER},       {"width", IM_COLUMN_INTEGER},
    {"lat", IM_COLUMN_NUMBER},          {"lon", IM_COLUMN_NUMBER},
    {"camera", IM_COLUMN_TEXT},         {"field.price", IM_COLUMN_NUMBER},
    {"field.Category", IM_COLUMN_TEXT}, {"missing", IM_COLUMN_INTEGER},
};

static const char *const words[] = {"Canon EOS R5",
                                    "canon eos r5",
                                    "CANON",
                                    "Nikon",
                                    "nikon Z6",
                                    "Caf\xc3\xa9",
                                    "cafe\xcc\x81",
                                    "CAFE",
                                    "stra\xc3\x9f"
                                    "e",
                                    "STRASSE",
                                    "\xc3\x84pfel",
                                    "a",
                                    "b",
                                    "ab",
                                    "\xe6\x97\xa5\xe6\x9c\xac",
                                    "\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82",
                                    "*",
                                    "a*b",
                                    "\xf0\x9f\x93\xb7 phone",
                                    "shoes",
                                    "Shoes",
                                    "shoe",
                                    "\xff\xfe"
                                    "bad"};
static const char *const parts[] = {
    "canon", "EOS", "a",        "AF\xc3\x89", "ss", "\xc3\x9f",     "*",
    "z",     "",    "\xcf\x83", "nikon z6",   "x",  "\xe6\x9c\xac", "shoe"};
static const char *const globs[] = {"*",         "shoe*", "*e*", "SHOES", "a*b",
                                    "*\xc3\xa9", "c*n*5", "**",  "",      "b*a"};

static im_view random_text(test_table *table)
{
    uint64_t dice = random_below(&table->random, 10);
    if (dice < 2) {
        return im_view_of(NULL, 0);
    }
    if (dice < 9 || table->n_texts == 4096) {
        const char *word = words[random_below(&table->random, sizeof(words) / sizeof(*words))];
        return im_view_from(word);
    }
    char *text = malloc(24);
    assert_non_null(text);
    snprintf(text, 24, "%s%llu", random_below(&table->random, 2) ? "Word" : "wORD",
             (unsigned long long)random_below(&table->random, 900));
    table->texts[table->n_texts++] = text;
    return im_view_from(text);
}

static double random_number(test_table *table, double size, unsigned steps)
{
    return ((double)random_below(&table->random, 2 * (uint64_t)steps + 1) - steps) * size / steps;
}

void table_change(test_table *table, size_t slot)
{
    random_state *random = &table->random;
    im_column_value *values = table->rows[slot].values;
    bool placed = random_below(random, 3) > 0;
    values[TAKEN].integer = random_below(random, 4) == 0
                                ? IM_COLUMN_NO_INTEGER
                                : (int64_t)random_below(random, 4000000000u) - 1000000000;
    values[WIDTH].integer =
        random_below(random, 50) == 0 ? INT64_MAX : (int64_t)random_below(random, 40);
    values[LAT].number = placed ? random_number(table, 90, 360) : (double)NAN;
    values[LON].number = placed ? random_number(table, 180, 720) : (double)NAN;
    values[CAMERA].text = random_text(table);
    values[PRICE].number =
        random_below(random, 4) == 0 ? (double)NAN : random_number(table, 10, 20) * 0.5;
    if (random_below(random, 30) == 0) {
        values[PRICE].number = -0.0;
    }
    values[CATEGORY].text = random_text(table);
    values[MISSING].integer = (int64_t)random_below(random, 2);
}

void table_change_some(test_table *table, bool *changed, unsigned per_cent)
{
    for (size_t i = 0; i < table->n; i++) {
        if (random_below(&table->random, 100) < per_cent) {
            changed[i] = true;
            table_change(table, i);
        }
    }
}

void table_make(test_table *table, uint64_t seed, size_t n)
{
    *table = (struct test_table){.n = n, .random = {seed}, .fail_after = SIZE_MAX};
    temporary_folder(table->folder);
    table->state = (im_index_state){.dim = 4, .generation = 3, .n_rows = n};
    memset(table->state.library_id, 9, sizeof(table->state.library_id));
    memset(table->state.model_digest, 'b', 64);
    table->rows = calloc(n + 1, sizeof(table_row));
    assert_non_null(table->rows);
    for (size_t i = 0; i < n; i++) {
        table->rows[i].item = (uint64_t)(i * 7919 % (n + 1)) + 1; /* no order, now and then twice */
        table_change(table, i);
    }
}

void table_free(test_table *table)
{
    remove_folder(table->folder);
    for (size_t i = 0; i < table->n_texts; i++) {
        free(table->texts[i]);
    }
    free(table->rows);
}

static im_code give(const test_table *table, size_t slot, im_columns_sink take, void *sink,
                    im_error *err)
{
    im_columns_row row = {slot, table->rows[slot].item, table->rows[slot].values};
    if (row.item == IM_NO_ITEM || (table->only != NULL && !table->only[slot])) {
        return IM_OK;
    }
    return take(sink, &row, err);
}

im_code table_source(void *context, im_columns_sink take, void *sink, im_error *err)
{
    test_table *table = context;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < table->n; i++) {
        size_t slot = table->shuffled ? table->n - 1 - i : i;
        if (i == table->fail_after) {
            return im_fail(err, IM_ERR_DAMAGED, "the source failed");
        }
        if (table->shuffled && i % 3 == 0) { /* first with values that do not stay */
            table_row kept = table->rows[slot];
            table_change(table, slot);
            rc = give(table, slot, take, sink, err);
            table->rows[slot] = kept;
        }
        rc = rc == IM_OK ? give(table, slot, take, sink, err) : rc;
    }
    return rc;
}

void table_build(test_table *table, uint64_t change_seq)
{
    assert_ok(im_columns_build(table->folder, &table->state, table_specs, N_COLUMNS, change_seq,
                               table_source, table, err));
}

im_columns *table_open(const test_table *table, uint64_t change_seq)
{
    im_columns *columns = NULL;
    assert_ok(im_columns_open(table->folder, &table->state, change_seq, table_specs, N_COLUMNS,
                              &columns, err));
    return columns;
}

void table_path(const test_table *table, char out[160])
{
    snprintf(out, 160, "%s/columns.%llu", table->folder,
             (unsigned long long)table->state.generation);
}

/* ---- conditions ---- */

static im_condition *new_condition(im_condition_kind kind)
{
    im_condition *condition = im_alloc_zero(1, sizeof(*condition));
    assert_non_null(condition);
    condition->kind = kind;
    return condition;
}

static void random_leaf(test_table *table, im_condition *leaf)
{
    random_state *random = &table->random;
    static const size_t integers[] = {TAKEN, WIDTH, MISSING};
    static const size_t numbers[] = {LAT, LON, PRICE};
    static const size_t texts[] = {CAMERA, CATEGORY};
    size_t column = 0;
    switch (leaf->kind) {
    case IM_CONDITION_PRESENT:
        column = (size_t)random_below(random, N_COLUMNS);
        break;
    case IM_CONDITION_INTEGERS:
        column = integers[random_below(random, 3)];
        leaf->min_i = (int64_t)random_below(random, 4) == 0
                          ? INT64_MIN
                          : (int64_t)random_below(random, column == TAKEN ? 3000000000u : 45) - 3;
        leaf->max_i = random_below(random, 4) == 0
                          ? INT64_MAX
                          : leaf->min_i / 2 + (int64_t)random_below(random, 2000000000u);
        leaf->max_i = column == TAKEN || leaf->max_i == INT64_MAX ? leaf->max_i : leaf->max_i % 50;
        break;
    case IM_CONDITION_NUMBERS:
        column = numbers[random_below(random, 3)];
        leaf->min = random_below(random, 4) == 0 ? -HUGE_VAL : random_number(table, 10, 20) * 0.5;
        leaf->max = random_below(random, 4) == 0 ? HUGE_VAL : random_number(table, 10, 20) * 0.5;
        leaf->open_min = random_below(random, 2) != 0;
        leaf->open_max = random_below(random, 2) != 0;
        break;
    default:
        column = texts[random_below(random, 2)];
        leaf->text =
            im_strdup(leaf->kind == IM_CONDITION_TEXT_PART   ? parts[random_below(random, 14)]
                      : leaf->kind == IM_CONDITION_TEXT_GLOB ? globs[random_below(random, 10)]
                                                             : words[random_below(random, 22)]);
    }
    leaf->column = im_strdup(table_specs[column].name);
}

static void random_place(test_table *table, im_condition *leaf)
{
    random_state *random = &table->random;
    static const double radii[] = {1, 1000, 50000, 1e6, 5e6, 1.2e7, 2.1e7};
    double lats[2] = {random_number(table, 90, 36), random_number(table, 90, 36)};
    if (leaf->kind == IM_CONDITION_NEAR) {
        leaf->place[0] = lats[0];
        leaf->place[1] = random_number(table, 180, 72);
        leaf->place[2] = radii[random_below(random, 7)];
        return;
    }
    leaf->place[0] = fmin(lats[0], lats[1]);
    leaf->place[1] = random_number(table, 180, 36);
    leaf->place[2] = fmax(lats[0], lats[1]);
    leaf->place[3] = random_number(table, 180, 36);
}

im_condition *random_condition(test_table *table, unsigned depth)
{
    random_state *random = &table->random;
    im_condition *condition =
        new_condition((im_condition_kind)random_below(random, IM_CONDITION_SLOTS + 1));
    if (condition->kind <= IM_CONDITION_NOT && depth == 0) {
        condition->kind = IM_CONDITION_PRESENT;
    }
    if (condition->kind <= IM_CONDITION_NOT) {
        condition->n_children =
            condition->kind == IM_CONDITION_NOT ? 1 : (size_t)random_below(random, 4);
        condition->children = im_alloc_zero(condition->n_children, sizeof(im_condition *));
        for (size_t i = 0; i < condition->n_children; i++) {
            condition->children[i] = random_condition(table, depth - 1);
        }
    } else if (condition->kind == IM_CONDITION_SLOTS) {
        condition->n_slots = random_below(random, table->n + 100);
        size_t n_words = (size_t)((condition->n_slots + 63) / 64);
        condition->slots = im_alloc_zero(n_words, sizeof(uint64_t));
        for (size_t i = 0; i < n_words; i++) {
            condition->slots[i] = random_next(random);
        }
    } else if (condition->kind == IM_CONDITION_NEAR || condition->kind == IM_CONDITION_BOX) {
        random_place(table, condition);
    } else {
        random_leaf(table, condition);
    }
    return condition;
}

/* ---- the plain evaluation ---- */

static size_t column_of(const char *name)
{
    size_t i = 0;
    while (strcmp(table_specs[i].name, name) != 0) {
        i++;
    }
    return i;
}

static bool has(im_column_kind kind, const im_column_value *value)
{
    return kind == IM_COLUMN_NUMBER    ? !isnan(value->number)
           : kind == IM_COLUMN_INTEGER ? value->integer != IM_COLUMN_NO_INTEGER
                                       : value->text.size > 0;
}

bool has_value(const test_table *table, size_t column, size_t slot)
{
    return has(table_specs[column].kind, &table->rows[slot].values[column]);
}

static bool slow_glob(const char *pattern, const char *text)
{
    if (*pattern == '\0') {
        return *text == '\0';
    }
    if (*pattern == '*') {
        return slow_glob(pattern + 1, text) || (*text != '\0' && slow_glob(pattern, text + 1));
    }
    return *pattern == *text && slow_glob(pattern + 1, text + 1);
}

static bool text_passes(const im_condition *condition, im_view value)
{
    im_str folded, wanted;
    im_str_init(&folded, 1000);
    im_str_init(&wanted, 1000);
    im_text_fold(&folded, value.data, value.size);
    im_text_fold(&wanted, condition->text, strlen(condition->text));
    const char *text = im_str_text(&folded);
    const char *pattern = im_str_text(&wanted);
    bool passes = condition->kind == IM_CONDITION_TEXT_PART    ? strstr(text, pattern) != NULL
                  : condition->kind == IM_CONDITION_TEXT_EQUAL ? strcmp(text, pattern) == 0
                                                               : slow_glob(pattern, text);
    im_str_clear(&folded);
    im_str_clear(&wanted);
    return passes;
}

static bool place_passes(const im_condition *condition, double lat, double lon)
{
    const double *place = condition->place;
    if (isnan(lat)) {
        return false;
    }
    if (condition->kind == IM_CONDITION_NEAR) {
        return conditions_metres(place[0], place[1], lat, lon) <= place[2];
    }
    bool along = false; /* 180 and -180 are the same */
    for (int turn = -1; turn <= 1; turn++) {
        double x = lon + 360 * turn;
        double east = place[3] + (place[1] > place[3] ? 360 : 0);
        along = along || (x >= place[1] && x <= east);
    }
    return lat >= place[0] && lat <= place[2] && along;
}

bool slow_passes(const test_table *table, const im_condition *condition, size_t slot)
{
    const im_column_value *values = table->rows[slot].values;
    bool all = condition->kind == IM_CONDITION_AND;
    switch (condition->kind) {
    case IM_CONDITION_AND:
    case IM_CONDITION_OR:
        for (size_t i = 0; i < condition->n_children; i++) {
            if (slow_passes(table, condition->children[i], slot) != all) {
                return !all;
            }
        }
        return all;
    case IM_CONDITION_NOT:
        return !slow_passes(table, condition->children[0], slot);
    case IM_CONDITION_NEAR:
    case IM_CONDITION_BOX:
        return place_passes(condition, values[LAT].number, values[LON].number);
    case IM_CONDITION_SLOTS:
        return slot < condition->n_slots && bit_of(condition->slots, slot);
    default:
        break;
    }
    size_t column = column_of(condition->column);
    const im_column_value *value = &values[column];
    if (!has_value(table, column, slot)) {
        return false;
    }
    switch (condition->kind) {
    case IM_CONDITION_PRESENT:
        return true;
    case IM_CONDITION_INTEGERS:
        return value->integer >= condition->min_i && value->integer <= condition->max_i;
    case IM_CONDITION_NUMBERS:
        return (condition->open_min ? value->number > condition->min
                                    : value->number >= condition->min) &&
               (condition->open_max ? value->number < condition->max
                                    : value->number <= condition->max);
    default:
        return text_passes(condition, value->text);
    }
}

void assert_filter(im_columns *columns, const test_table *table, const im_condition *condition,
                   const uint64_t *alive)
{
    size_t n_words = (table->n + 63) / 64;
    uint64_t count = 99, expected = 0;
    uint64_t *bits = malloc((n_words + 1) * sizeof(*bits));
    assert_non_null(bits);
    memset(bits, 0xa5, (n_words + 1) * sizeof(*bits));
    assert_ok(im_columns_filter(columns, condition, alive, bits, &count, err));
    for (size_t i = 0; i < n_words * 64; i++) {
        bool passes = i < table->n && (alive == NULL || bit_of(alive, i)) &&
                      (condition == NULL || slow_passes(table, condition, i));
        if (passes != bit_of(bits, i)) {
            fail_msg("slot %zu: %d, expected %d (kind %d)", i, bit_of(bits, i), passes,
                     condition != NULL ? (int)condition->kind : -1);
        }
        expected += passes;
    }
    assert_int_equal(count, expected);
    assert_int_equal(bits[n_words], 0xa5a5a5a5a5a5a5a5u);
    free(bits);
}

/* ---- order ---- */

static int compare_texts(im_view a, im_view b)
{
    im_str x, y;
    im_str_init(&x, 1000);
    im_str_init(&y, 1000);
    im_text_fold(&x, a.data, a.size);
    im_text_fold(&y, b.data, b.size);
    int order = strcmp(im_str_text(&x), im_str_text(&y));
    im_str_clear(&x);
    im_str_clear(&y);
    if (order == 0) {
        size_t common = a.size < b.size ? a.size : b.size;
        order = memcmp(a.data, b.data, common);
        order = order != 0 ? order : (a.size > b.size) - (a.size < b.size);
    }
    return order;
}

int slow_order(const test_table *table, size_t column, bool descending, size_t a, size_t b)
{
    const im_column_value *x = &table->rows[a].values[column];
    const im_column_value *y = &table->rows[b].values[column];
    im_column_kind kind = table_specs[column].kind;
    int order = 0;
    if (has(kind, x) != has(kind, y)) {
        return has(kind, x) ? -1 : 1;
    }
    if (has(kind, x)) {
        order = kind == IM_COLUMN_INTEGER  ? (x->integer > y->integer) - (x->integer < y->integer)
                : kind == IM_COLUMN_NUMBER ? (x->number > y->number) - (x->number < y->number)
                                           : compare_texts(x->text, y->text);
        order = descending ? -order : order;
    }
    uint64_t i = table->rows[a].item, j = table->rows[b].item;
    return order != 0 ? order : i != j ? (i > j) - (i < j) : (a > b) - (a < b);
}
