/* app/places.c — where libraries, models and shipped data lie. */
#include "app/app_internal.h"
#include "base/file.h"
#include "base/hash.h"

#include <limits.h>
#include <unistd.h>

/* "$XDG_DATA_HOME/imago/TAIL" or "$HOME/.local/share/imago/TAIL", a new string. */
static char *data_home(const char *tail)
{
    im_str path;
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    im_str_init(&path, PATH_MAX);
    if (xdg != NULL && xdg[0] == '/') { /* the specification: relative ones are ignored */
        im_str_addf(&path, "%s/imago/%s", xdg, tail);
    } else {
        im_str_addf(&path, "%s/.local/share/imago/%s", home != NULL ? home : "", tail);
    }
    char *copy = path.failed ? NULL : im_strdup(im_str_text(&path));
    im_str_clear(&path);
    return copy;
}

/* "$XDG_CACHE_HOME/imago/packed" or "$HOME/.cache/imago/packed", a new string; NULL without either.
 * False when memory is out. */
static bool packed_home(char **out)
{
    im_str path;
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    im_str_init(&path, PATH_MAX);
    if (xdg != NULL && xdg[0] == '/') {
        im_str_addf(&path, "%s/imago/packed", xdg);
    } else if (home != NULL && home[0] == '/') {
        im_str_addf(&path, "%s/.cache/imago/packed", home);
    }
    bool failed = path.failed;
    if (!failed && path.size > 0) {
        *out = im_strdup(im_str_text(&path));
        failed = *out == NULL;
    }
    im_str_clear(&path);
    return !failed;
}

/* Cuts the last part of an absolute path off, in place. */
static void parent_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
}

static bool is_share(const char *folder)
{
    char *models = im_path_join(folder, "models");
    bool found = models != NULL && im_file_exists(models);
    im_free(models);
    return found;
}

/* Looks beside the running program: PREFIX/bin/imago finds PREFIX/share/imago; a program in a build
 * folder of the source tree finds the tree's data/. NULL when neither is there. */
static char *share_beside_program(void)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n <= 0) {
        return NULL;
    }
    program[n] = '\0';
    parent_of(program);
    for (int up = 0; up < 5 && program[0] != '\0'; up++) {
        static const char *const tails[] = {"share/imago", "data"};
        for (size_t i = 0; i < IM_COUNT(tails); i++) {
            char *folder = im_path_join(program, tails[i]);
            if (folder != NULL && is_share(folder)) {
                return folder;
            }
            im_free(folder);
        }
        parent_of(program);
    }
    return NULL;
}

static char *find_share(void)
{
    const char *named = getenv("IMAGO_DATA");
    if (named != NULL && named[0] != '\0') {
        return im_strdup(named);
    }
    char *beside = share_beside_program();
    if (beside != NULL) {
        return beside;
    }
    return im_strdup(is_share("/usr/local/share/imago") ? "/usr/local/share/imago"
                                                        : "/usr/share/imago");
}

im_code im_places_find(const char *library, im_places *out, im_error *err)
{
    const char *named = getenv("IMAGO_LIBRARY");
    im_places places = {0};
    if (library != NULL && library[0] == '\0') {
        return im_fail(err, IM_ERR_INVALID, "the library's folder is empty text");
    }
    if (library == NULL && named != NULL && named[0] != '\0') {
        library = named;
    }
    places.library = library != NULL ? im_strdup(library) : data_home("default");
    places.models = data_home("models");
    bool no_memory = !packed_home(&places.packed);
    places.share = find_share();
    if (no_memory || places.library == NULL || places.models == NULL || places.share == NULL) {
        im_places_clear(&places);
        return im_fail(err, IM_ERR_NOMEM, "no memory for the names of folders");
    }
    *out = places;
    return IM_OK;
}

void im_places_clear(im_places *places)
{
    im_free(places->library);
    im_free(places->models);
    im_free(places->packed);
    im_free(places->share);
    memset(places, 0, sizeof(*places));
}

/* sockaddr_un holds so much, with the NUL. */
#define SOCKET_PATH_BYTES 108u

im_code im_app_socket_path(const im_places *places, char **out_path, im_error *err)
{
    uint8_t digest[IM_SHA256_BYTES];
    char hex[IM_SHA256_HEX];
    char real[PATH_MAX];
    im_str path;
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    *out_path = NULL;
    if (runtime == NULL || runtime[0] != '/' || realpath(places->library, real) == NULL) {
        return IM_OK;
    }
    im_sha256_of(real, strlen(real), digest);
    im_sha256_hex(digest, hex);
    im_str_init(&path, SOCKET_PATH_BYTES - 1);
    im_str_addf(&path, "%s/imago/%.32s.sock", runtime, hex);
    bool fits = !path.failed;
    *out_path = fits ? im_strdup(im_str_text(&path)) : NULL;
    im_str_clear(&path);
    return fits && *out_path == NULL ? im_fail(err, IM_ERR_NOMEM, "no memory for a path") : IM_OK;
}
