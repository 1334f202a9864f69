/* tests/app/help_rows.h — libraries of vectors without pictures: items by the thousand, quickly. */
#ifndef IM_TESTS_APP_HELP_ROWS_H
#define IM_TESTS_APP_HELP_ROWS_H

#include "tests/app/help.h"

/** Makes home->library with HELP_MODEL as its model and opens it for writing. */
im_library *help_rows_library(const help_home *home);
/** The unit vector [HELP_DIM] of a name. Names that differ by a multiple of `equal` share one, so
 * that there are ties; 0: none does. */
void help_rows_vector(uint32_t name, uint32_t equal, float *out);
/** Adds an item of each name, as `add` does: rows synced, then one commit. out_ids [n] may be NULL.
 * The names' own ids are in the first bytes of their SHA-256 (help_rows_name). */
void help_rows_add(im_library *library, const uint32_t *names, size_t n, uint32_t equal,
                   uint64_t *out_ids);
/** The same without an assertion. */
im_code help_rows_try_add(im_library *library, const uint32_t *names, size_t n, uint32_t equal,
                          uint64_t *out_ids, im_error *err);
/** The name of a hit. */
uint32_t help_rows_name(const im_item *item);
im_index_record help_rows_record(im_library *library);
/** The k best for a text; not yet cleared. */
im_answer help_rows_search(im_library *library, const char *text, size_t k, im_search_mode mode);
/** Number of files of the library's index folder but for columns, of which there is one at most. */
size_t help_rows_files(im_library *library);

#endif
