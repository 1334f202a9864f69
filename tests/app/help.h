/* tests/app/help.h — a library, small pictures and a tiny model for the tests of app/. */
#ifndef IM_TESTS_APP_HELP_H
#define IM_TESTS_APP_HELP_H

#include "app/app_internal.h"
#include "tests/help_folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HELP_MODEL IMAGO_SOURCE_DIR "/tests/golden/encoder/f32-quick-gelu"
#define HELP_DIM 24
#define HELP_OTHER_MODEL IMAGO_SOURCE_DIR "/tests/golden/encoder/bf16-sharded"

/** A folder of a test's own (in memory where there is /dev/shm) with library/, pictures/ and share/
 * in it; share/ has no calibration pictures, so that scores are plain cosines. */
typedef struct help_home {
    char base[HELP_FOLDER_BYTES];
    char library[160]; /* not made yet */
    char pictures[160];
    im_places places;
    const char *model; /* of help_open; HELP_MODEL unless changed */
} help_home;

void help_home_make(help_home *home);
void help_home_remove(help_home *home);

/** Asserts that rc is IM_OK, printing the error's sentence when it is not. */
void help_ok(im_code rc, const im_error *err);
/** "folder/name" in a static buffer (four take turns). */
const char *help_path(const char *folder, const char *name);
/** Copies a folder with all that is in it; `to` must not be there. */
void help_copy(const char *from, const char *to);
/** A noisy RGB picture that follows from `seed` alone, its date too: long ago, so that its stamp is
 * trusted. */
void help_png(const char *path, uint32_t seed);
/** The same of another size. */
void help_png_sized(const char *path, uint32_t seed, uint32_t width, uint32_t height);

im_library *help_open(const help_home *home, bool writable);
/** Adds a path with the yes to every question, one file after the other (so that ids follow the
 * names); asserts success. */
im_add_report help_add(im_library *library, const char *path);
/** Asserts that a check finds nothing. */
void help_check(im_library *library);
im_store_counts help_counts(im_library *library);

bool help_long(void);

#endif
