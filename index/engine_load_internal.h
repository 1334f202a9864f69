/* index/engine_load_internal.h — the FAISS module, loaded on demand. */
#ifndef IM_INDEX_ENGINE_LOAD_INTERNAL_H
#define IM_INDEX_ENGINE_LOAD_INTERNAL_H

#include "base/error.h"
#include "index/faiss_engine.h"

/** The module's table, loaded at the first call: from the folder IMAGO_MODULES names, else from
 * imago's folder of modules, found relative to the program and to the library. Thread-safe.
 * IM_ERR_UNSUPPORTED when it is not there or is of another version; a later call tries again. */
IM_NODISCARD im_code index_engine_load(const im_faiss_engine **out_engine, im_error *err);

#endif
