/* app/precision.c — which numbers a model computes with when --precision is auto: the cosine of
 * bf16 to fp32 and its speed beside fp32 are measured once, on the calibration pictures and texts,
 * and kept in the library's settings beside the model; those of int8 when that was asked for. The
 * cosine is the model's; the speed is the processor's, and counts on that one alone. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/file.h"

#define PRECISION_SAMPLE 64u /* pictures, and texts, spread over all there are */

/* ---- measuring ---- */

/* Vectors of the sample in one precision, pictures first. */
typedef struct sample {
    float *vectors; /* [n, dim], owned */
    size_t n, capacity, dim;
    uint64_t least_ns; /* the fastest picture: all are the same work, others had company */
} sample;

static im_code add_picture(im_encoder *encoder, const uint8_t *pixels, sample *s, im_error *err)
{
    uint64_t start = im_clock_ns();
    im_code rc = im_encoder_pictures(encoder, pixels, 1, s->vectors + s->n * s->dim, NULL, err);
    s->least_ns = IM_MIN(s->least_ns, im_clock_ns() - start);
    s->n++;
    return rc;
}

static im_code add_pictures(im_encoder *encoder, const char *folder, sample *s, im_error *err)
{
    name_list names = {0};
    uint8_t *pixels = im_alloc(1, picture_pixels_bytes(encoder));
    im_code rc = pixels != NULL ? calibration_names(folder, &names, err)
                                : im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    size_t step = names.n / PRECISION_SAMPLE + 1;
    for (size_t i = 0; i < names.n && rc == IM_OK; i += step) {
        rc = calibration_picture(encoder, folder, names.names[i], pixels, err);
        if (rc == IM_OK) {
            rc = add_picture(encoder, pixels, s, err);
        }
        if (rc == IM_OK && im_stop_asked()) {
            rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while preparing the model");
        }
    }
    name_list_clear(&names);
    im_free(pixels);
    return rc;
}

static im_code add_texts(im_encoder *encoder, const char *folder, sample *s, im_error *err)
{
    im_bytes bytes = {0};
    char *path = im_path_join(folder, "texts.txt");
    im_code rc = path != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    if (rc == IM_OK && im_file_exists(path)) {
        rc = im_file_read(path, 1u << 20, &bytes, err);
    }
    const char *at = (const char *)bytes.data;
    const char *end = at != NULL ? at + bytes.size : NULL;
    for (size_t n = 0; rc == IM_OK && n < PRECISION_SAMPLE && at != end; n++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end != NULL ? line_end : end;
        im_view text = im_view_of(at, (size_t)(line_end - at));
        rc = im_encoder_texts(encoder, &text, 1, s->vectors + s->n * s->dim, NULL, err);
        s->n++;
        at = line_end != end ? line_end + 1 : end;
    }
    im_bytes_clear(&bytes);
    im_free(path);
    return rc;
}

/* One model is open at a time: two would not fit a budget that one fits. */
static im_code take_sample(const im_encoder_options *options, im_precision precision,
                           const char *model_folder, const char *folder, sample *s, im_error *err)
{
    im_encoder *encoder = NULL;
    im_encoder_options own = *options;
    own.precision = precision;
    own.towers = IM_TOWERS_BOTH;
    im_code rc = im_encoder_open(model_folder, &own, &encoder, err);
    if (rc != IM_OK) {
        return rc;
    }
    s->dim = im_encoder_describe(encoder)->dim;
    s->least_ns = UINT64_MAX;
    s->capacity = 2 * (size_t)PRECISION_SAMPLE;
    s->vectors = im_alloc(s->capacity, s->dim * sizeof(float));
    rc = s->vectors != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for vectors");
    if (rc == IM_OK) {
        rc = add_pictures(encoder, folder, s, err);
    }
    if (rc == IM_OK) {
        rc = add_texts(encoder, folder, s, err);
    }
    im_encoder_close(encoder);
    return rc;
}

static double least_cosine(const sample *a, const sample *b)
{
    double least = 1;
    for (size_t i = 0; i < IM_MIN(a->n, b->n); i++) {
        double dot = 0;
        for (size_t c = 0; c < a->dim; c++) {
            dot += (double)a->vectors[i * a->dim + c] * (double)b->vectors[i * a->dim + c];
        }
        least = dot < least ? dot : least;
    }
    return least;
}

precision_measured precision_nothing(void)
{
    return (precision_measured){{-1, -1}, {-1, -1}};
}

/* Another precision beside the sample of fp32. */
static im_code measure_one(const im_encoder_options *options, im_precision precision,
                           const char *model_folder, const char *folder, const sample *fp32,
                           precision_gain *out, im_error *err)
{
    sample other = {0};
    im_error own = IM_ERROR_INIT;
    im_code rc = take_sample(options, precision, model_folder, folder, &other, &own);
    if (rc != IM_OK && strcmp(own.reason, "model_bad_output") == 0) {
        rc = IM_OK; /* values that are not finite speak against it, they are no failure */
        out->cosine = 0;
    } else if (rc != IM_OK && err != NULL) {
        *err = own;
    } else if (rc == IM_OK && fp32->n > 0) {
        out->cosine = IM_MAX(least_cosine(fp32, &other), 0.0);
        out->speed = fp32->least_ns < UINT64_MAX
                         ? (double)fp32->least_ns / (double)IM_MAX(other.least_ns, (uint64_t)1)
                         : -1;
    }
    im_free(other.vectors);
    return rc;
}

im_code precision_measure(const im_places *places, const char *model_folder,
                          const im_encoder_options *options, bool int8, precision_measured *out,
                          im_error *err)
{
    sample fp32 = {0};
    char *folder = im_path_join(places->share, "calibration");
    *out = precision_nothing();
    im_code rc = folder != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    if (rc == IM_OK) {
        rc = take_sample(options, IM_PRECISION_FP32, model_folder, folder, &fp32, err);
    }
    if (rc == IM_OK) {
        rc = measure_one(options, IM_PRECISION_BF16, model_folder, folder, &fp32, &out->bf16, err);
    }
    if (rc == IM_OK && int8) {
        rc = measure_one(options, IM_PRECISION_INT8, model_folder, folder, &fp32, &out->int8, err);
    }
    im_free(fp32.vectors);
    im_free(folder);
    return rc;
}

im_code precision_check_int8(const char *model, const precision_measured *measured, im_error *err)
{
    double cosine = measured->int8.cosine;
    if (cosine < 0 || cosine >= PRECISION_LEAST_INT8) { /* below 0: nothing to measure it on */
        return IM_OK;
    }
    im_code rc = im_fail(err, IM_ERR_UNSUPPORTED,
                         "model '%s' loses too much in int8: its vectors have cosine %.4f to those "
                         "of fp32, at least %.2f is wanted",
                         model, cosine, PRECISION_LEAST_INT8);
    im_hint(err, "use --precision bf16 or fp32");
    return rc;
}

/* ---- choosing ---- */

im_precision precision_choose(const precision_gain *bf16, bool expected_fast, const char **out_why)
{
    if (bf16->cosine < 0) {
        *out_why = "bf16 was not measured for this model";
        return IM_PRECISION_FP32;
    }
    if (!(bf16->cosine >= PRECISION_LEAST_COSINE)) {
        *out_why = "bf16 loses too much with this model";
        return IM_PRECISION_FP32;
    }
    if (bf16->speed >= 0) {
        bool fast = bf16->speed >= PRECISION_LEAST_SPEED;
        *out_why = fast ? "bf16 was measured to be as good, and faster on this processor"
                        : "bf16 would be as good, but was measured to be no faster here";
        return fast ? IM_PRECISION_BF16 : IM_PRECISION_FP32;
    }
    *out_why = expected_fast ? "bf16 was measured to be as good, and should be faster here"
                             : "bf16 would be as good, but should be no faster here";
    return expected_fast ? IM_PRECISION_BF16 : IM_PRECISION_FP32;
}

/* A name of the settings: "int8_speed <digest>". */
static void setting_name(im_precision precision, const char *what, const char *digest, char out[96])
{
    (void)snprintf(out, 96, "%s_%s %s", im_precision_name(precision), what, digest);
}

static im_code keep_one(im_store *store, im_precision precision, const char *digest,
                        const precision_gain *gain, im_error *err)
{
    char name[96];
    char value[IM_MACHINE_TEXT + 32];
    char machine[IM_MACHINE_TEXT];
    if (gain->cosine < 0) {
        return IM_OK;
    }
    setting_name(precision, "cosine", digest, name);
    (void)snprintf(value, sizeof(value), "%.6f", gain->cosine);
    im_code rc = im_store_set_setting(store, name, value, err);
    if (rc == IM_OK && gain->speed >= 0) {
        im_encoder_machine(machine);
        setting_name(precision, "speed", digest, name);
        (void)snprintf(value, sizeof(value), "%.3f %s", gain->speed, machine);
        rc = im_store_set_setting(store, name, value, err);
    }
    return rc;
}

im_code precision_keep(im_store *store, const char *digest, const precision_measured *measured,
                       im_error *err)
{
    im_code rc = keep_one(store, IM_PRECISION_BF16, digest, &measured->bf16, err);
    return rc == IM_OK ? keep_one(store, IM_PRECISION_INT8, digest, &measured->int8, err) : rc;
}

/* What was kept; the speed only when it was measured on a processor like this one. */
static im_code recall(im_store *store, im_precision precision, const char *digest,
                      precision_gain *out, im_error *err)
{
    char name[96];
    char machine[IM_MACHINE_TEXT];
    char *cosine = NULL;
    char *speed = NULL;
    setting_name(precision, "cosine", digest, name);
    im_code rc = im_store_get_setting(store, name, &cosine, err);
    if (rc == IM_OK) {
        setting_name(precision, "speed", digest, name);
        rc = im_store_get_setting(store, name, &speed, err);
    }
    if (rc == IM_OK && cosine != NULL) {
        out->cosine = strtod(cosine, NULL);
    }
    if (rc == IM_OK && speed != NULL) {
        char *end = NULL;
        double value = strtod(speed, &end);
        im_encoder_machine(machine);
        if (*end == ' ' && strcmp(end + 1, machine) == 0) {
            out->speed = value;
        }
    }
    im_free(cosine);
    im_free(speed);
    return rc;
}

static void choose(im_precision wanted, bool int8, bool expected_fast, precision_choice *out)
{
    out->precision = precision_choose(&out->measured.bf16, expected_fast, &out->why);
    if (int8 && wanted == IM_PRECISION_AUTO) {
        out->precision = IM_PRECISION_INT8;
        out->why = "the library's vectors are int8";
    } else if (wanted != IM_PRECISION_AUTO) {
        out->precision = wanted;
        out->why = "asked for";
    }
}

precision_choice precision_unmeasured(im_precision wanted)
{
    precision_choice choice = {.measured = precision_nothing()};
    choose(wanted, false, false, &choice);
    return choice;
}

im_code precision_of(im_store *store, const char *digest, bool int8, im_precision wanted,
                     precision_choice *out, im_error *err)
{
    out->measured = precision_nothing();
    im_code rc = recall(store, IM_PRECISION_BF16, digest, &out->measured.bf16, err);
    if (rc == IM_OK) {
        rc = recall(store, IM_PRECISION_INT8, digest, &out->measured.int8, err);
    }
    if (rc == IM_OK) {
        choose(wanted, int8, im_encoder_bf16_pays(), out);
    }
    return rc;
}

im_code precision_of_row(im_store *store, const im_model_row *row, im_precision wanted,
                         precision_choice *out, im_error *err)
{
    char digest[65];
    model_files_digest(row, digest);
    return precision_of(store, digest, precision_is_int8(row->precision), wanted, out, err);
}

static void put_measured(im_json_writer *w, const char *key, double value)
{
    im_json_key(w, key);
    if (value >= 0) {
        im_json_double(w, value);
    } else {
        im_json_null(w);
    }
}

void precision_put(im_json_writer *w, const precision_choice *choice)
{
    im_json_put_string(w, "precision", im_precision_name(choice->precision));
    im_json_put_string(w, "precision_why", choice->why);
    put_measured(w, "bf16_cosine", choice->measured.bf16.cosine);
    put_measured(w, "bf16_speed", choice->measured.bf16.speed);
    put_measured(w, "int8_cosine", choice->measured.int8.cosine);
    put_measured(w, "int8_speed", choice->measured.int8.speed);
}
