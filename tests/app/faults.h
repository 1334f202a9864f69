/* tests/app/faults.h — what test_faults.c walks: the world that operations start with, the
 * operations themselves, and what must hold behind them. */
#ifndef IM_TESTS_APP_FAULTS_H
#define IM_TESTS_APP_FAULTS_H

#include "tests/app/help.h"

/* ---- faults_world.c: libraries to start with, made once ---- */

#define N_OLD 4 /* pictures of the library that an operation starts with */
#define N_IMPORTED 3

typedef struct fault_world {
    help_home home;
    float old_vectors[N_OLD][HELP_DIM];
    uint64_t old_c; /* whose only file is c.png */
    uint64_t seed;
} fault_world;

extern fault_world world;

/** Set-up and tear-down of the group of tests. */
int world_make(void **state);
int world_end(void **state);
/** A folder of a library to start with: "empty", "filled", "gap", "engined". */
const char *world_folder(const char *name);
/** Puts the folder "pictures" or "changed" where the library knows its pictures. */
void world_show_pictures(bool changed);
/** The picture that c.png holds. */
uint64_t world_item_of_c(im_library *library);

/* ---- the operations: each opens, acts and closes ---- */

/** Opens the library with two threads. */
im_code open_it(bool writable, im_library **out, im_error *err);

/* faults_writers.c */
im_code do_init(im_error *err);
im_code do_add(im_error *err);
im_code do_meta(im_error *err);
im_code do_tag(im_error *err);
im_code do_remove(im_error *err);
im_code do_upload(im_error *err);
im_code do_rebuild(im_error *err);
im_code do_engine(im_error *err);
im_code do_drop_engine(im_error *err);
im_code do_audit(im_error *err);
im_code do_compact(im_error *err);
im_code do_model_use(im_error *err);
im_code do_import(im_error *err);

/* faults_readers.c */
im_code do_search(im_error *err);
im_code do_filter(im_error *err);
im_code do_serve(im_error *err);
im_code do_check(im_error *err);
im_code do_tell(im_error *err);
im_code do_export(im_error *err);

/* ---- faults_sights.c: what must hold behind each ---- */

void sees_old_items(im_library *library);
void sees_nothing(im_library *library);
void sees_all_or_none_removed(im_library *library);
void sees_added(im_library *library);
void sees_added_first(im_library *library);
void sees_imported_first(im_library *library);
void sees_imported(im_library *library);
void sees_embedded(im_library *library);
void sees_compacted(im_library *library);
void sees_removed(im_library *library);
void sees_uploads_with_files(im_library *library);
void sees_uploaded(im_library *library);
void sees_lines(im_library *library);
void sees_all_or_no_lines(im_library *library);

#endif
