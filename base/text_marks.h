/* base/text_marks.h — canonical order of combining marks, between utf8proc's decomposing and composing:
 * its own ordering takes the square of a run (63 ms for the worst 8 KiB). */
#ifndef IM_BASE_TEXT_MARKS_H
#define IM_BASE_TEXT_MARKS_H

#include <stddef.h>
#include <stdint.h>

/** Brings each run of marks into canonical order: by combining class, equal ones as they stood.
 * @param codes [n] decomposed code points @param keys [n] scratch */
void im_text_order_marks(int32_t *codes, size_t n, uint64_t *keys);

#endif
