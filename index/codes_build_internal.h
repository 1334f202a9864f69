/* index/codes_build_internal.h — whether a codes file was made from this vector file. */
#ifndef IM_INDEX_CODES_BUILD_INTERNAL_H
#define IM_INDEX_CODES_BUILD_INTERNAL_H

#include "index/codes_internal.h"
#include "index/index_internal.h"

/** Compares the checksums of the anchors with those of the rows there; rows behind the index's
 * are not looked at. */
bool index_codes_fit(const codes_file *file, const im_index *index);

#endif
