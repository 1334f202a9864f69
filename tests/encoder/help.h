/* tests/encoder/help.h — model folders made by hand: the tiny checkpoints of tests/golden/encoder
 * copied into a temporary folder and damaged, and weights files written byte by byte. */
#ifndef IM_TESTS_ENCODER_HELP_H
#define IM_TESTS_ENCODER_HELP_H

#include "base/base.h"
#include "base/clock.h"
#include "base/file.h"
#include "encoder/encoder_internal.h"
#include "tests/help_folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the above first */
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#else
#define TEST_SANITIZED 0
#endif

#define F32_MODEL "f32-quick-gelu" /* the checkpoint that most cases start from */
#define DIM 24u                    /* of its vectors */
#define SIDE 28u                   /* of its pictures */

/** A new folder; removed with remove_folder. */
char *temporary_folder(char out[HELP_FOLDER_BYTES]);
void remove_folder(const char *folder);

/** "folder/name"; free with im_free. */
char *path_in(const char *folder, const char *name);
void write_file(const char *folder, const char *name, const void *data, size_t size);
void write_text(const char *folder, const char *name, const char *text);
/** Content with a NUL behind it; free with im_bytes_clear. */
im_bytes read_file(const char *folder, const char *name);
void remove_file(const char *folder, const char *name);
/** Puts a link in the place of whatever is there. */
void link_to(const char *target, const char *folder, const char *name);
void golden_path(char *out, size_t size, const char *model, const char *file);

/** Copies the files of a golden checkpoint that make up a model. */
void copy_model(const char *folder, const char *model);
/** Replaces the first `from` in a text file by `to`; fails the test when it is not there. */
void edit_text(const char *folder, const char *name, const char *from, const char *to);

/** model.safetensors of this header and `data_bytes` zeros. */
void write_weights(const char *folder, const char *header, size_t data_bytes);
/** As write_weights with any length word, and any bytes behind it. */
void write_raw_weights(const char *folder, uint64_t length, const void *rest, size_t rest_bytes);
/** The values of a tensor of an F32 file that was read into memory. */
float *find_values(const im_bytes *file, const char *name, size_t *out_n);

/** Fails unless the call was refused with this code and reason, and the sentence holds each of the
 * texts (up to a NULL); names the place of the caller. */
void check_refused(const char *place, im_code rc, const im_error *err, im_code code,
                   const char *reason, ...) __attribute__((sentinel));
#define STRING_OF(x) #x
#define LINE_OF(x) STRING_OF(x)
#define assert_refused(rc, err, code, reason, ...) \
    check_refused(__FILE__ ":" LINE_OF(__LINE__), rc, err, code, reason, __VA_ARGS__)

/** Opens a model that must open. */
im_encoder *open_sound(const char *folder);
/** Opens, and closes what was opened. */
im_code try_open(const char *folder, const im_encoder_options *options, im_error *err);
/** A picture of F32_MODEL's size, [SIDE, SIDE, 3]; the same for the same seed. */
void fill_picture(uint8_t *rgb, unsigned seed);
/** Calls `run` with IMAGO_KERNEL naming each kernel set that this machine runs, one after the
 * other. */
void in_every_kernel(void (*run)(const char *kernel_name));

/** Fails when more than `ms` went by since `start_ns`; sanitizers get twenty times as long. */
void check_time(const char *what, uint64_t start_ns, double ms);

/** Peak of resident memory since the last memory_start, above what was there then, in bytes. */
void memory_start(void);
uint64_t memory_peak(void);

#endif
