/* app/backup.c — `backup` and `restore`. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/file.h"

im_code im_app_backup(im_library *library, const char *file, const im_events *events,
                      im_backup_facts *out, im_error *err)
{
    char sentence[160];
    meter_relay progress = {.events = events};
    meter_start(&progress.meter, "saving", 0);
    im_code rc = im_store_backup(library->store, file, meter_relay_on, &progress, out, err);
    meter_end(&progress.meter, events);
    if (rc == IM_OK && out->findings > 0) {
        (void)snprintf(sentence, sizeof sentence,
                       "the library has %llu damaged places, and so has the backup: see 'imago "
                       "check'",
                       (unsigned long long)out->findings);
        event_warning(events, sentence);
    }
    return rc;
}

static im_code confirm_replacing(const char *folder, const im_events *events, im_error *err)
{
    im_str question;
    bool yes = false;
    char *path = im_path_join(folder, "library.db");
    if (path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    bool there = im_file_exists(path);
    im_free(path);
    if (!there) {
        return IM_OK;
    }
    im_str_init(&question, 1 << 16);
    im_str_addf(&question, "Replace the library in '%s' by the backup?", folder);
    yes = !question.failed && event_confirm(events, im_str_text(&question));
    im_str_clear(&question);
    if (yes) {
        return IM_OK;
    }
    im_code rc =
        im_fail_as(err, IM_REASON_CONFIRM, "the library in '%s' would be replaced", folder);
    im_hint(err, "answer for it: --yes, or restore elsewhere: --library DIR");
    return rc;
}

/* The index is no part of a backup: made here, so that the library is whole. Without it the first
 * search would make it; a failure is told and no more. */
static void make_index(const im_places *places, const im_events *events)
{
    const im_library_options options = {.places = places, .writable = true};
    im_library *library = NULL;
    im_error error = IM_ERROR_INIT;
    uint64_t n_rows = 0;
    char *folder = NULL;
    im_code rc = im_library_open(&options, &library, &error);
    if (rc == IM_OK) {
        rc = library_model(library, &error);
    }
    if (rc == IM_OK) {
        folder = library_index_folder(library, library->model.digest);
        rc = folder != NULL ? rebuild_index(library->store, folder, &library->model, 0, events,
                                            &n_rows, &error)
                            : im_fail(&error, IM_ERR_NOMEM, "no memory for a path");
    }
    if (rc == IM_OK) {
        engine_rebuild(library->store, folder, &library->model, 0, events);
    }
    im_free(folder);
    im_library_close(library);
    if (rc != IM_OK && strcmp(error.reason, im_reason_name(IM_REASON_LIBRARY_EMPTY)) != 0) {
        im_str sentence;
        im_str_init(&sentence, 1024);
        im_str_addf(&sentence, "the first search will make the index: %s", error.message);
        event_warning(events, im_str_text(&sentence));
        im_str_clear(&sentence);
    }
}

im_code im_app_restore(const im_places *places, const char *file, bool accept_damage,
                       const im_events *events, im_backup_facts *out, im_error *err)
{
    meter_relay progress = {.events = events};
    im_code rc = confirm_replacing(places->library, events, err);
    if (rc != IM_OK) {
        return rc;
    }
    meter_start(&progress.meter, "restoring", 0);
    rc =
        im_store_restore(file, places->library, accept_damage, meter_relay_on, &progress, out, err);
    meter_end(&progress.meter, events);
    if (rc == IM_OK) {
        make_index(places, events);
    }
    return rc;
}
