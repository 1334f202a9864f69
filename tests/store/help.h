/* tests/store/help.h — folders, rows and checks that the tests of store/ share. */
#ifndef IM_TESTS_STORE_HELP_H
#define IM_TESTS_STORE_HELP_H

#include "store/store.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define HELP_DIM 8

/** A fresh folder below the system's temporary one; freed by help_folder_remove. */
char *help_folder(void);
/** The same in memory where the system has /dev/shm: for loops of a thousand libraries, where the
 * syncs of a disk that others use too would set the pace. */
char *help_memory_folder(void);
/** Removes it with all that is in it. */
void help_folder_remove(char *folder);
/** "folder/name" in a static buffer (two take turns). */
const char *help_path(const char *folder, const char *name);

void help_create(const char *folder);
im_store *help_open(const char *folder, im_store_mode mode);
/** Asserts that rc is IM_OK, printing the error's sentence when it is not. */
void help_ok(im_code rc, const im_error *err);

/** The item number n: content, sizes and texts follow from n alone. */
im_item help_item(uint64_t n);
void help_sha256(uint64_t n, uint8_t out[32]);
/** A vector that follows from n alone. */
void help_vector(uint64_t n, float *out, size_t dim);
/** Puts a model of HELP_DIM dimensions and makes it the active one; returns its id. */
uint64_t help_model(im_store *store, const char *digest_of);
/** Puts item n, a file "n.jpg" below root, and its embedding at `slot`; returns the item's id. */
uint64_t help_put(im_store *store, uint64_t root, uint64_t model, uint64_t n, uint64_t slot);
uint64_t help_root(im_store *store, const char *path);

/** A library in memory and what tests of its rows begin with. */
typedef struct help_fixture {
    char *folder;
    im_store *store; /* open for writing */
    uint64_t root;
    uint64_t model, other_root; /* 0 until a test makes one */
    uint64_t *items;            /* ids by number; NULL until help_fixture_fill */
} help_fixture;

/** A new library, open, with a root and without a model. Freed by help_fixture_free. */
help_fixture *help_fixture_new(const char *root);
/** Puts the items 0 … n_items - 1, each with its file and embedding, into the slots of their
 * numbers, or backwards: item n into slot n_items - 1 - n. */
void help_fixture_fill(help_fixture *f, uint64_t n_items, bool backwards);
/** Asserts that nothing is left half read and that the library is sound; removes it. */
void help_fixture_free(help_fixture *f);
/** The same as a tear-down of cmocka. */
int help_fixture_tear_down(void **state);
/** Closes the store and opens it again; returns how many allocations lived in between. */
size_t help_reopen(help_fixture *f);

/** A new library in memory with root, model and the items 0 … n_items - 1, closed again; returns
 * its folder. */
char *help_filled(uint64_t n_items, uint64_t *out_root, uint64_t *out_model);

/** Asserts that im_store_check finds nothing. */
void help_check_clean(im_store *store);
/** Asserts that no statement of the store is left half read: it would keep a snapshot open. */
void help_check_idle(im_store *store);
/** Findings of im_store_check. */
uint64_t help_findings(im_store *store);

/** Whole file; freed with im_free. */
uint8_t *help_read(const char *path, size_t *out_size);
void help_write(const char *path, const void *data, size_t size);

/** Pseudo-random numbers from a printed seed. */
uint64_t help_random(uint64_t *state);

/** Ends this test program as skipped, saying why. */
void help_say_skipped(const char *why);

#endif
