/* index/engine_load.c — finds and loads imago-faiss.so when its engine is first asked for. Once
 * loaded it stays: OpenMP's run-time library cannot be unloaded safely. */
#include "base/base.h"
#include "base/file.h"
#include "index/engine_load_internal.h"
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE_NAME "imago-faiss.so"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const im_faiss_engine *loaded; /* guarded by lock */

/* Folders tried in turn, relative to the folder of the program or of the library this code is in:
 * a program in bin/, a library in lib/ or lib/<triplet>/, and a tree that was just built. */
static const char *const beside[] = {
    "../" IMAGO_LIBDIR "/imago", "../lib/imago", "imago", "../index", "index", "."};

/* Cuts the last part off a path; false when there is none. */
static bool to_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return false;
    }
    *slash = '\0';
    return true;
}

static bool program_folder(char *out, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", out, size - 1);
    if (length <= 0) {
        return false;
    }
    out[length] = '\0';
    return to_folder(out);
}

static bool library_folder(char *out, size_t size)
{
    Dl_info info;
    if (dladdr((const void *)&loaded, &info) == 0 || info.dli_fname == NULL) {
        return false;
    }
    int length = snprintf(out, size, "%s", info.dli_fname);
    return length > 0 && (size_t)length < size && to_folder(out);
}

/* folder/part/imago-faiss.so into out when it is there. */
static bool find_in(const char *folder, const char *part, char *out, size_t size)
{
    int length = snprintf(out, size, "%s/%s/%s", folder, part, MODULE_NAME);
    return length > 0 && (size_t)length < size && im_file_exists(out);
}

/* IMAGO_MODULES, when set, is the only place: a test or an installation that means one file must
 * not get another. */
static bool find_module(char *out, size_t size)
{
    char folder[PATH_MAX];
    const char *named = getenv("IMAGO_MODULES");
    if (named != NULL && named[0] != '\0') {
        return find_in(named, ".", out, size);
    }
    for (int round = 0; round < 2; round++) {
        if (!(round == 0 ? program_folder(folder, sizeof(folder))
                         : library_folder(folder, sizeof(folder)))) {
            continue;
        }
        for (size_t i = 0; i < IM_COUNT(beside); i++) {
            if (find_in(folder, beside[i], out, size)) {
                return true;
            }
        }
    }
    return false;
}

static im_code refuse(im_error *err, const char *what)
{
    im_code rc = im_fail(err, IM_ERR_UNSUPPORTED, "the FAISS engine cannot be used: %s", what);
    im_hint(err, "install imago's FAISS module, or set IMAGO_MODULES to its folder");
    return rc;
}

static im_code load(const im_faiss_engine **out_engine, im_error *err)
{
    char path[PATH_MAX + 64];
    if (!find_module(path, sizeof(path))) {
        return refuse(err, "its module " MODULE_NAME " was not found");
    }
    /* else OpenBLAS starts a thread for each processor when it is loaded */
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        const char *why = dlerror();
        return refuse(err, why != NULL ? why : "its module could not be loaded");
    }
    const im_faiss_engine *engine = dlsym(module, IM_FAISS_ENGINE_SYMBOL);
    if (engine == NULL || engine->version != IM_FAISS_ENGINE_VERSION ||
        engine->struct_bytes != sizeof(*engine)) {
        dlclose(module);
        return refuse(err, "its module " MODULE_NAME " is of another version");
    }
    *out_engine = engine;
    return IM_OK;
}

im_code index_engine_load(const im_faiss_engine **out_engine, im_error *err)
{
    im_code rc = IM_OK;
    pthread_mutex_lock(&lock);
    if (loaded == NULL) {
        rc = load(&loaded, err);
    }
    if (rc == IM_OK) {
        *out_engine = loaded;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}
