/* tests/encoder/test_damage.c — models with values that are no numbers (T34), files that change
 * while they are open (T31), and files cut or changed anywhere: a verdict or sound vectors, never
 * death. */
#include "help.h"
#include "tests/help_bus.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- T34: values that are no numbers ---- */

static const char *const tensors[] = {
    "vision_model.embeddings.class_embedding",
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.embeddings.position_embedding.weight",
    "vision_model.pre_layrnorm.weight",
    "vision_model.pre_layrnorm.bias",
    "vision_model.encoder.layers.0.layer_norm1.weight",
    "vision_model.encoder.layers.0.self_attn.q_proj.weight",
    "vision_model.encoder.layers.0.self_attn.k_proj.bias",
    "vision_model.encoder.layers.0.self_attn.v_proj.weight",
    "vision_model.encoder.layers.0.self_attn.out_proj.weight",
    "vision_model.encoder.layers.0.mlp.fc1.weight",
    "vision_model.encoder.layers.0.mlp.fc1.bias",
    "vision_model.encoder.layers.1.mlp.fc2.weight",
    "vision_model.encoder.layers.1.layer_norm2.bias",
    "vision_model.post_layernorm.weight",
    "visual_projection.weight",
    "text_model.embeddings.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight",
    "text_model.encoder.layers.0.layer_norm1.bias",
    "text_model.encoder.layers.0.self_attn.q_proj.weight",
    "text_model.encoder.layers.1.self_attn.v_proj.bias",
    "text_model.encoder.layers.1.self_attn.out_proj.weight",
    "text_model.encoder.layers.1.mlp.fc1.weight",
    "text_model.encoder.layers.1.mlp.fc2.bias",
    "text_model.final_layer_norm.weight",
    "text_projection.weight",
};

/* Every vector that comes out is finite and of length 1; false when the model was refused. */
static bool encodes_soundly(im_encoder *encoder)
{
    static const char *const texts[] = {"", "a photo", "the red flower and 12 cars!",
                                        "0123456789 abcdefghijklmnopqrstuvwxyz"};
    uint8_t rgb[SIDE * SIDE * 3];
    bool all = true;
    for (unsigned i = 0; i < 8; i++) {
        float out[DIM] = {0};
        im_error err = IM_ERROR_INIT;
        im_code rc = IM_OK;
        size_t bad = 9;
        double squares = 0;
        if (i < 4) {
            im_view view = im_view_from(texts[i]);
            rc = im_encoder_texts(encoder, &view, 1, out, NULL, &err);
        } else {
            fill_picture(rgb, i);
            rc = im_encoder_pictures(encoder, rgb, 1, out, &bad, &err);
        }
        if (rc != IM_OK) {
            assert_refused(rc, &err, IM_ERR_FORMAT, "model_bad_output", "not finite", NULL);
            assert_true(i < 4 || bad == 0);
            all = false;
            continue;
        }
        for (size_t d = 0; d < DIM; d++) {
            squares += (double)out[d] * (double)out[d];
        }
        assert_true(fabs(squares - 1) < 1e-5);
    }
    return all;
}

static void one_value_that_is_no_number_is_noticed_wherever_it_stands(void **state)
{
    static const float values[] = {NAN, INFINITY, -INFINITY};
    char folder[HELP_FOLDER_BYTES];
    size_t at_open = 0;
    size_t at_item = 0;
    (void)state;
    srandom(17);
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    im_bytes file = read_file(folder, "model.safetensors");
    for (size_t i = 0; i < IM_COUNT(tensors) * IM_COUNT(values); i++) {
        im_encoder *encoder = NULL;
        im_error err = IM_ERROR_INIT;
        size_t n = 0;
        float *values_of = find_values(&file, tensors[i / IM_COUNT(values)], &n);
        float *value = &values_of[(size_t)random() % n];
        float sound = 0;
        memcpy(&sound, value, sizeof(sound)); /* only 4-byte aligned by luck */
        memcpy(value, &values[i % IM_COUNT(values)], sizeof(*value));
        write_file(folder, "model.safetensors", file.data, file.size);
        im_code rc = im_encoder_open(folder, NULL, &encoder, &err);
        if (rc == IM_OK) { /* a token or a place that neither check needs */
            at_item += !encodes_soundly(encoder);
        } else {
            assert_refused(rc, &err, IM_ERR_FORMAT, "model_bad_output", folder, NULL);
            at_open++;
        }
        im_encoder_close(encoder);
        memcpy(value, &sound, sizeof(sound));
    }
    assert_true(at_open >= 60); /* of 78; the rest are rows of tables */
    assert_true(at_open + at_item >= 66);
    im_bytes_clear(&file);
    remove_folder(folder);
}

static void weights_that_are_all_zero_are_refused(void **state)
{
    static const im_towers towers[] = {IM_TOWERS_BOTH, IM_TOWERS_TEXT, IM_TOWERS_IMAGE};
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    im_bytes file = read_file(folder, "model.safetensors");
    uint64_t header = 0;
    memcpy(&header, file.data, 8);
    memset(file.data + 8 + header, 0, file.size - 8 - header);
    write_file(folder, "model.safetensors", file.data, file.size);
    for (size_t i = 0; i < IM_COUNT(towers); i++) {
        im_error err = IM_ERROR_INIT;
        im_encoder_options options = {.towers = towers[i]};
        im_code rc = try_open(folder, &options, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_bad_output", folder, NULL);
    }
    im_bytes_clear(&file);
    remove_folder(folder);
}

/* A patch embedding so large that grey, which is near 0 after standardising, passes the check and
 * white does not. */
static void a_model_that_fails_for_one_picture_only_says_which(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    size_t n = 0;
    uint8_t rgb[5 * SIDE * SIDE * 3];
    float out[5 * DIM];
    size_t bad = 99;
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    write_text(folder, "preprocessor_config.json",
               "{\"image_mean\": [0.49803922, 0.49803922, 0.49803922],"
               " \"image_std\": [0.5, 0.5, 0.5]}");
    im_bytes file = read_file(folder, "model.safetensors");
    float *patch = find_values(&file, "vision_model.embeddings.patch_embedding.weight", &n);
    for (size_t i = 0; i < n; i++) {
        static const float huge = 3e38f;
        memcpy(&patch[i], &huge, sizeof(huge));
    }
    write_file(folder, "model.safetensors", file.data, file.size);
    im_bytes_clear(&file);
    memset(rgb, 127, sizeof(rgb));
    memset(rgb + 3 * SIDE * SIDE * 3, 255, SIDE * SIDE * 3);
    for (size_t batch = 1; batch <= 8; batch++) {
        im_encoder *encoder = NULL;
        im_encoder_options options = {.batch = batch};
        assert_int_equal(im_encoder_open(folder, &options, &encoder, &err), IM_OK);
        im_code rc = im_encoder_pictures(encoder, rgb, 5, out, &bad, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_bad_output", folder, NULL);
        assert_int_equal(bad, 3);
        for (size_t i = 0; i < 3 * DIM; i++) {
            assert_true(isfinite(out[i])); /* the rows before it are good */
        }
        assert_int_equal(im_encoder_pictures(encoder, rgb, 3, out, &bad, &err), IM_OK);
        im_encoder_close(encoder);
    }
    remove_folder(folder);
}

/* ---- T31: files that change while they are open ---- */

static void weights_cut_while_open_are_an_error_and_no_death(void **state)
{
    static const double parts[] = {0, 0.01, 0.1, 0.5, 0.99};
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    use_bus_handler();
    temporary_folder(folder);
    for (size_t i = 0; i < 2 * IM_COUNT(parts); i++) {
        float out[DIM];
        uint8_t rgb[SIDE * SIDE * 3];
        im_view text = im_view_from("the quick brown fox 0123456789 !?");
        im_error err = IM_ERROR_INIT;
        copy_model(folder, F32_MODEL);
        im_encoder *encoder = open_sound(folder);
        char *path = path_in(folder, "model.safetensors");
        uint64_t bytes = im_encoder_describe(encoder)->weights_bytes;
        assert_int_equal(truncate(path, (off_t)((double)bytes * parts[i / 2])), 0);
        im_free(path);
        fill_picture(rgb, 1);
        im_code rc = i % 2 == 0 ? im_encoder_texts(encoder, &text, 1, out, NULL, &err)
                                : im_encoder_pictures(encoder, rgb, 1, out, NULL, &err);
        assert_refused(rc, &err, IM_ERR_IO, "model_lost", folder, "cut", NULL);
        rc = im_encoder_texts(encoder, &text, 1, out, NULL, &err); /* and it stays lost */
        assert_refused(rc, &err, IM_ERR_IO, "model_lost", folder, "cut", NULL);
        im_encoder_close(encoder);
    }
    remove_folder(folder);
}

static void weights_replaced_or_removed_while_open_stay_as_they_were(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    float before[DIM];
    float after[DIM];
    im_view text = im_view_from("the red flower");
    (void)state;
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    im_encoder *encoder = open_sound(folder);
    assert_int_equal(im_encoder_texts(encoder, &text, 1, before, NULL, NULL), IM_OK);
    char *from = path_in(folder, "new");
    char *to = path_in(folder, "model.safetensors");
    write_text(folder, "new", "something else");
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(im_encoder_texts(encoder, &text, 1, after, NULL, NULL), IM_OK);
    assert_memory_equal(before, after, sizeof(before));
    remove_folder(folder);
    text = im_view_from("words 0123456789 that touch other rows of the table");
    assert_int_equal(im_encoder_texts(encoder, &text, 1, after, NULL, NULL), IM_OK);
    im_encoder_close(encoder);
    im_free(from);
    im_free(to);
}

typedef struct cutter {
    const char *path;
    const im_bytes *whole;
    atomic_bool stop;
} cutter;

static void *cut_and_mend(void *context)
{
    cutter *c = context;
    while (!atomic_load(&c->stop)) {
        (void)!truncate(c->path, (off_t)(c->whole->size / 3));
        FILE *file = fopen(c->path, "r+b");
        if (file != NULL) {
            (void)!fwrite(c->whole->data, 1, c->whole->size, file);
            fclose(file);
        }
        usleep(300);
    }
    return NULL;
}

/* The file is cut and written again all the time: any verdict but death and a wrong vector. */
static void weights_cut_while_they_are_opened_are_an_error_and_no_death(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    float expected[DIM];
    float out[DIM];
    im_view text = im_view_from("the red flower");
    pthread_t thread;
    size_t n_opened = 0;
    (void)state;
    use_bus_handler();
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    im_encoder *sound = open_sound(folder);
    assert_int_equal(im_encoder_texts(sound, &text, 1, expected, NULL, NULL), IM_OK);
    im_encoder_close(sound);
    im_bytes whole = read_file(folder, "model.safetensors");
    cutter c = {.path = path_in(folder, "model.safetensors"), .whole = &whole};
    assert_int_equal(pthread_create(&thread, NULL, cut_and_mend, &c), 0);
    uint64_t start = im_clock_ns();
    for (size_t i = 0; im_clock_ms_since(start) < 700; i++) {
        im_encoder *encoder = NULL;
        im_error err = IM_ERROR_INIT;
        im_code rc = im_encoder_open(folder, NULL, &encoder, &err);
        n_opened += rc == IM_OK;
        if (rc != IM_OK && rc != IM_ERR_IO && rc != IM_ERR_FORMAT) {
            fail_msg("%s: %s", im_code_name(rc), err.message);
        }
        im_encoder_close(encoder);
    }
    atomic_store(&c.stop, true);
    pthread_join(thread, NULL);
    write_file(folder, "model.safetensors", whole.data, whole.size);
    sound = open_sound(folder);
    assert_int_equal(im_encoder_texts(sound, &text, 1, out, NULL, NULL), IM_OK);
    assert_memory_equal(out, expected, sizeof(out));
    im_encoder_close(sound);
    im_free((char *)(uintptr_t)c.path);
    im_bytes_clear(&whole);
    remove_folder(folder);
    print_message("opened %zu times between the cuts\n", n_opened);
}

/* ---- damage anywhere ---- */

static void weights_cut_to_any_length_are_refused(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    im_bytes whole = read_file(folder, "model.safetensors");
    for (size_t size = 0; size < whole.size; size += 1 + size / 60) {
        im_error err = IM_ERROR_INIT;
        write_file(folder, "model.safetensors", whole.data, size);
        im_code rc = try_open(folder, NULL, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_weights", "model.safetensors", NULL);
    }
    im_bytes_clear(&whole);
    remove_folder(folder);
}

static void a_byte_changed_anywhere_is_refused_or_harmless(void **state)
{
    static const char *const files[] = {"config.json", "preprocessor_config.json", "vocab.json",
                                        "merges.txt", "model.safetensors"};
    char folder[HELP_FOLDER_BYTES];
    size_t n_refused = 0;
    (void)state;
    srandom(23);
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    for (size_t f = 0; f < IM_COUNT(files); f++) {
        im_bytes whole = read_file(folder, files[f]);
        for (size_t round = 0; round < 250; round++) {
            /* the header of the file, not only their values */
            size_t at = (size_t)random() % (round % 2 == 0 ? whole.size : IM_MIN(whole.size, 8000));
            uint8_t sound = whole.data[at];
            im_encoder *encoder = NULL;
            im_error err = IM_ERROR_INIT;
            whole.data[at] = (uint8_t)random();
            write_file(folder, files[f], whole.data, whole.size);
            im_code rc = im_encoder_open(folder, NULL, &encoder, &err);
            if (rc == IM_OK && im_encoder_describe(encoder)->dim == DIM &&
                im_encoder_describe(encoder)->preprocess.crop_w == SIDE) {
                (void)encodes_soundly(encoder);
            }
            if (rc != IM_OK) {
                assert_true(rc == IM_ERR_FORMAT || rc == IM_ERR_UNSUPPORTED);
                assert_true(strncmp(err.reason, "model_", 6) == 0);
                assert_non_null(strstr(err.message, folder));
                n_refused++;
            }
            im_encoder_close(encoder);
            whole.data[at] = sound;
        }
        write_file(folder, files[f], whole.data, whole.size);
        im_bytes_clear(&whole);
    }
    assert_true(n_refused > 300);
    im_encoder_close(open_sound(folder));
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_value_that_is_no_number_is_noticed_wherever_it_stands),
        cmocka_unit_test(weights_that_are_all_zero_are_refused),
        cmocka_unit_test(a_model_that_fails_for_one_picture_only_says_which),
        cmocka_unit_test(weights_cut_while_open_are_an_error_and_no_death),
        cmocka_unit_test(weights_replaced_or_removed_while_open_stay_as_they_were),
        cmocka_unit_test(weights_cut_while_they_are_opened_are_an_error_and_no_death),
        cmocka_unit_test(weights_cut_to_any_length_are_refused),
        cmocka_unit_test(a_byte_changed_anywhere_is_refused_or_harmless),
    };
    learn_bus_handler();
    return cmocka_run_group_tests_name("encoder damage", tests, NULL, NULL);
}
