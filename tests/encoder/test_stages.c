/* tests/encoder/test_stages.c — one picture and one text through the towers, stage by stage,
 * against what forward hooks saw in transformers (tests/golden/encoder/stages): when a vector
 * drifts, the first stage that does is named. */
#include "help.h"

#include <math.h>
#include <stdlib.h>

#define TOLERANCE 2e-5f /* of the largest value of a stage; measured: 1e-6 */

/* What the reference saw, and how far the comparison has come. */
typedef struct golden {
    json_t *root;
    im_bytes values, picture;
    const char *tower; /* "image", "text" */
    size_t n_seen;
    const char *drifted; /* the first stage that did, "tower stage" */
    char text[64];
} golden;

static void golden_load(golden *g)
{
    char folder[1024];
    memset(g, 0, sizeof(*g));
    golden_path(folder, sizeof(folder), "stages", "");
    im_bytes json = read_file(folder, "stages.json");
    assert_int_equal(
        im_json_parse((const char *)json.data, json.size, "stages.json", &g->root, NULL), IM_OK);
    im_bytes_clear(&json);
    g->values = read_file(folder, "stages.f32");
    g->picture = read_file(folder, "picture.u8");
}

static void golden_clear(golden *g)
{
    json_decref(g->root);
    im_bytes_clear(&g->values);
    im_bytes_clear(&g->picture);
}

/* The reference's values of a stage, NULL when it has none of that name. */
static const float *golden_stage(const golden *g, const char *name, size_t *out_rows,
                                 size_t *out_width)
{
    const json_t *stages = json_object_get(g->root, "stages");
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(stages); i++) {
        const json_t *stage = json_array_get(stages, i);
        const json_t *shape = json_object_get(stage, "shape");
        *out_rows = (size_t)json_integer_value(json_array_get(shape, 0));
        *out_width = (size_t)json_integer_value(json_array_get(shape, 1));
        if (strcmp(json_string_value(json_object_get(stage, "stage")), name) == 0 &&
            strcmp(json_string_value(json_object_get(stage, "tower")), g->tower) == 0) {
            return (const float *)(void *)g->values.data + at;
        }
        at += *out_rows * *out_width;
    }
    return NULL;
}

static void see(void *context, const char *stage, size_t layer, const float *rows, size_t pitch,
                size_t n_rows, size_t width)
{
    golden *g = context;
    char name[32];
    size_t golden_rows = 0;
    size_t golden_width = 0;
    float largest = 0;
    float difference = 0;
    (void)snprintf(name, sizeof(name), strcmp(stage, "block") == 0 ? "%s %zu" : "%s", stage, layer);
    const float *expected = golden_stage(g, name, &golden_rows, &golden_width);
    if (expected == NULL || golden_rows < n_rows || golden_width != width) {
        fail_msg("%s %s: %zu rows of %zu, the reference has no such stage", g->tower, name, n_rows,
                 width);
        return;
    }
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t i = 0; i < width; i++) {
            float value = expected[r * width + i];
            largest = fmaxf(largest, fabsf(value));
            difference = fmaxf(difference, fabsf(rows[r * pitch + i] - value));
        }
    }
    if (!(difference <= TOLERANCE * largest) && g->drifted == NULL) {
        (void)snprintf(g->text, sizeof(g->text), "%s %s", g->tower, name);
        g->drifted = g->text;
        print_message("%s: largest difference %.3g, largest value %.3g\n", g->text,
                      (double)difference, (double)largest);
    }
    g->n_seen++;
}

static im_encoder *open_tapped(golden *g, stage_tap *tap)
{
    char folder[1024];
    im_encoder *encoder = NULL;
    golden_path(folder, sizeof(folder), json_string_value(json_object_get(g->root, "model")), "");
    assert_int_equal(im_encoder_open(folder, NULL, &encoder, NULL), IM_OK);
    *tap = (stage_tap){see, g};
    encoder->image.tower.tap = tap;
    encoder->text.tower.tap = tap;
    return encoder;
}

static void run_picture(im_encoder *encoder, golden *g)
{
    float out[64];
    g->tower = "image";
    image_tower_run(encoder, g->picture.data, NULL, 1, out, true);
}

static void run_text(im_encoder *encoder, golden *g)
{
    float out[64];
    const json_t *ids = json_object_get(g->root, "ids");
    size_t n = json_array_size(ids);
    size_t got = 0;
    im_view text = im_view_from(json_string_value(json_object_get(g->root, "text")));
    assert_int_equal(im_encoder_tokenize(encoder, text, encoder->text.ids, &got, NULL, NULL),
                     IM_OK);
    assert_int_equal(got, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(encoder->text.ids[i], json_integer_value(json_array_get(ids, i)));
    }
    sequence whole = {0, n, n - 1};
    g->tower = "text";
    text_tower_run(encoder, &whole, 1, out, true);
}

static void compare_stages(const char *kernel_name)
{
    golden g;
    stage_tap tap;
    golden_load(&g);
    im_encoder *encoder = open_tapped(&g, &tap);
    run_picture(encoder, &g);
    run_text(encoder, &g);
    if (g.drifted != NULL) {
        fail_msg("%s: '%s' is the first stage that differs", kernel_name, g.drifted);
    }
    assert_int_equal(g.n_seen, json_array_size(json_object_get(g.root, "stages")));
    im_encoder_close(encoder);
    golden_clear(&g);
}

static void each_stage_is_that_of_the_reference(void **state)
{
    (void)state;
    in_every_kernel(compare_stages);
}

/* The comparison itself: a weight that is changed drifts at its own stage. */
static void a_drift_is_named_at_the_stage_where_it_begins(void **state)
{
    golden g;
    stage_tap tap;
    (void)state;
    golden_load(&g);
    im_encoder *encoder = open_tapped(&g, &tap);
    const struct {
        float *value;
        const char *stage;
    } changes[] = {{&encoder->image.patch.matrix.panels[3], "image patches"},
                   {&encoder->image.positions[50], "image embeddings"},
                   {&encoder->image.pre.bias[1], "image pre-norm"},
                   {&encoder->image.tower.blocks[0].fc2.bias[5], "image block 0"},
                   {&encoder->image.tower.blocks[1].qkv.matrix.panels[7], "image block 1"},
                   {&encoder->image.post.weight[0], "image pooled"},
                   {&encoder->image.projection.matrix.panels[0], "image projection"},
                   {&encoder->text.positions[0], "text embeddings"},
                   {&encoder->text.tower.blocks[0].norm2.weight[3], "text block 0"},
                   {&encoder->text.tower.blocks[1].out.bias[9], "text block 1"},
                   {&encoder->text.final.bias[0], "text pooled"},
                   {&encoder->text.projection.matrix.panels[2], "text projection"}};
    for (size_t i = 0; i < IM_COUNT(changes); i++) {
        float sound = *changes[i].value;
        *changes[i].value += 0.05f;
        g.drifted = NULL;
        run_picture(encoder, &g);
        run_text(encoder, &g);
        *changes[i].value = sound;
        assert_non_null(g.drifted);
        assert_string_equal(g.drifted, changes[i].stage);
    }
    im_encoder_close(encoder);
    golden_clear(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_stage_is_that_of_the_reference),
        cmocka_unit_test(a_drift_is_named_at_the_stage_where_it_begins),
    };
    return cmocka_run_group_tests_name("encoder stages", tests, NULL, NULL);
}
