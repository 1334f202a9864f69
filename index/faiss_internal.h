/* index/faiss_internal.h — files of FAISS indexes as streams, and what building and searching them
 * share. */
#ifndef IM_INDEX_FAISS_INTERNAL_H
#define IM_INDEX_FAISS_INTERNAL_H

#include "base/hash.h"
#include "index/engine_load_internal.h"
#include "index/index_internal.h"
#include <stdio.h>

/** Rows that are handed to FAISS at once: enough for its matrix products, 32 MB at d = 512. */
#define FAISS_ADD_ROWS 16384u

/** "ivf.<generation>.faiss" or "hnsw.<generation>.faiss". */
void faiss_file_name(im_engine kind, uint64_t generation, char out[IM_FAISS_NAME_BYTES]);
/** The generation in such a name; false for any other. */
bool faiss_file_parse_name(const char *name, uint64_t *out_generation);

/** The error of a failed call of the module; IM_ERR_NOMEM or IM_ERR_INTERNAL. */
IM_NODISCARD im_code faiss_error(im_faiss_result result, const char *message, im_error *err);
/** index_damaged, naming the file. */
IM_NODISCARD im_code faiss_file_damaged(const char *path, const char *what, im_error *err);

/** Writes index into a temporary beside path, synced and renamed over it.
 * @param out_bytes, out_digest of the file, as written */
IM_NODISCARD im_code faiss_file_write(const im_faiss_engine *faiss, const void *index,
                                      const char *path, uint64_t *out_bytes,
                                      char out_digest[IM_SHA256_HEX], im_error *err);
/** Reads the file of a record: its length and SHA-256 are compared before FAISS sees a byte, and
 * what FAISS then reads is compared with what was summed, block by block.
 * @param faiss NULL: nothing is read after the check, out_index is not looked at
 * @param out_index closed with faiss->close */
IM_NODISCARD im_code faiss_file_read(const im_faiss_engine *faiss, const char *path,
                                     const im_faiss_record *record, void **out_index,
                                     im_error *err);

#endif
