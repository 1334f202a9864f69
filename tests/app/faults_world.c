/* tests/app/faults_world.c — libraries that the operations of test_faults.c start with, and the
 * files that they read; see faults.h. */
#include "app/npy_internal.h"
#include "base/file.h"
#include "tests/app/faults.h"

#include <sys/stat.h>
#include <unistd.h>

fault_world world;

const char *world_folder(const char *name)
{
    return help_path(world.home.base, name);
}

uint64_t world_item_of_c(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_file_row row = {0};
    help_ok(im_store_find_file(im_library_store(library), 1, im_view_from("c.png"), &row, &err),
            &err);
    assert_int_not_equal(row.id, 0);
    return row.item;
}

static void remember_vectors(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_model_row model = {0};
    help_ok(im_store_active_model(im_library_store(library), &model, &err), &err);
    assert_int_equal(model.dim, HELP_DIM);
    for (uint64_t id = 1; id <= N_OLD; id++) {
        help_ok(im_store_get_embedding(im_library_store(library), id, model.id,
                                       world.old_vectors[id - 1], HELP_DIM, NULL, &err),
                &err);
    }
    world.old_c = world_item_of_c(library);
    im_model_row_clear(&model);
}

/* "gap": as "filled", but one item has lost its vector. */
static void make_gap(void)
{
    im_error err = IM_ERROR_INIT;
    im_model_row model = {0};
    im_library *library = help_open(&world.home, true);
    help_ok(im_store_active_model(im_library_store(library), &model, &err), &err);
    help_ok(im_store_drop_embedding(im_library_store(library), 1, model.id, &err), &err);
    im_model_row_clear(&model);
    im_library_close(library);
}

/* "engined": as "filled", with a FAISS file; and texts to audit it with. */
static void make_engined(void)
{
    static const char texts[] = "a red car\n\na dog in the snow\nthe sea";
    im_error err = IM_ERROR_INIT;
    im_rebuild_report report;
    const im_rebuild_request request = {.has_engine = true, .engine = IM_ENGINE_IVF};
    const char *path = help_path(world.home.places.share, "calibration/texts.txt");
    help_ok(im_file_write_atomic(path, texts, sizeof(texts) - 1, &err), &err);
    assert_int_equal(setenv("IMAGO_MODULES", IMAGO_BINARY_DIR "/index", 1), 0);
    help_copy(world_folder("filled"), world.home.library);
    im_library *library = help_open(&world.home, true);
    help_ok(im_app_rebuild(library, &request, NULL, &report, &err), &err);
    assert_int_equal(report.file.n_rows, N_OLD);
    im_library_close(library);
    help_copy(world.home.library, world_folder("engined"));
    (void)help_remove_folder(world.home.library);
}

static void link_changed(const char *from, const char *to)
{
    char target[256];
    (void)snprintf(target, sizeof(target), "%s/changed/%s", world.home.base, to);
    assert_int_equal(link(help_path(world.home.pictures, from), target), 0);
}

/* The pictures as an `add` finds them later: one moved, one has new content, one is gone, two are
 * new. Hard links keep the stamps of what stayed. */
static void make_changed(void)
{
    assert_int_equal(mkdir(help_path(world.home.base, "changed"), 0755), 0);
    link_changed("a.png", "a.png");
    link_changed("b.png", "b2.png");
    help_png(help_path(world.home.base, "changed/c.png"), 77);
    help_png(help_path(world.home.base, "changed/e.png"), 78);
    help_png_sized(help_path(world.home.base, "changed/f.png"), 79, 60, 50);
}

void world_show_pictures(bool changed)
{
    static bool are_changed;
    if (changed != are_changed) {
        const char *aside = help_path(world.home.base, "aside");
        const char *other = help_path(world.home.base, "changed");
        assert_int_equal(rename(world.home.pictures, aside), 0);
        assert_int_equal(rename(other, world.home.pictures), 0);
        assert_int_equal(rename(aside, other), 0);
        are_changed = changed;
    }
}

static void write_lines(void)
{
    FILE *file = fopen(help_path(world.home.base, "meta.jsonl"), "wb");
    assert_non_null(file);
    assert_true(fputs("{\"path\":\"pictures/a.png\",\"key\":\"one\",\"n\":1,\"tags\":[\"x\"],"
                      "\"caption\":\"c\"}\n"
                      "{\"key\":\"one\",\"d\":{\"date\":\"2024\"}}\n"
                      "{\"id\":2,\"n\":2,\"gone\":null,\"tags\":null}\n",
                      file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Vectors of unit length with all that a line can say, but for a digest. */
static void make_import(void)
{
    im_error err = IM_ERROR_INIT;
    im_str text;
    uint8_t head[NPY_HEAD_BYTES];
    char in[160];
    (void)snprintf(in, sizeof(in), "%s/in", world.home.base);
    assert_int_equal(mkdir(in, 0755), 0);
    im_str_init(&text, 1u << 16);
    npy_write_head(N_IMPORTED, HELP_DIM, head);
    im_str_add(&text, (const char *)head, sizeof(head));
    for (size_t i = 0; i < N_IMPORTED; i++) {
        float row[HELP_DIM] = {0};
        row[i] = 1;
        im_str_add(&text, (const char *)row, sizeof(row));
    }
    help_ok(im_file_write_atomic(help_path(in, "vectors.npy"), text.data, text.size, &err), &err);
    im_str_reset(&text);
    for (size_t i = 0; i < N_IMPORTED; i++) {
        im_str_addf(&text,
                    "{\"key\":\"k%zu\",\"tags\":[\"t\"],\"captions\":[\"c\"],\"fields\":"
                    "{\"price\":%zu}}\n",
                    i, i);
    }
    help_ok(im_file_write_atomic(help_path(in, "items.jsonl"), text.data, text.size, &err), &err);
    im_str_clear(&text);
}

int world_make(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    const char *text = getenv("IMAGO_TEST_SEED");
    world.seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    print_message("seed %llu\n", (unsigned long long)world.seed);
    help_home_make(&world.home);
    assert_int_equal(mkdir(help_path(world.home.places.share, "calibration"), 0755), 0);
    for (uint32_t i = 0; i < 3; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "share/calibration/%u.png", i);
        help_png(help_path(world.home.base, name), 500 + i);
    }
    help_ok(im_app_init(&world.home.places, &err), &err);
    help_copy(world.home.library, world_folder("empty"));
    for (uint32_t i = 0; i < N_OLD; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%c.png", (char)('a' + i));
        help_png(help_path(world.home.pictures, name), i);
    }
    im_library *library = help_open(&world.home, true);
    assert_int_equal(help_add(library, world.home.pictures).added, N_OLD);
    remember_vectors(library);
    im_library_close(library);
    help_copy(world.home.library, world_folder("filled"));
    make_gap();
    help_copy(world.home.library, world_folder("gap"));
    (void)help_remove_folder(world.home.library);
    make_engined();
    make_changed();
    write_lines();
    make_import();
    return 0;
}

int world_end(void **state)
{
    (void)state;
    help_home_remove(&world.home);
    return 0;
}

im_code open_it(bool writable, im_library **out, im_error *err)
{
    im_library_options options = {.places = &world.home.places,
                                  .writable = writable,
                                  .model = world.home.model,
                                  .threads = 2};
    return im_library_open(&options, out, err);
}
