/* app/audit_record.c — the recall of the last audit, kept as a setting of the library, so that a
 * server can tell it. */
#include "app/app_internal.h"

#include <time.h>

#define AUDIT_SETTING "audit"
#define AUDIT_BYTES 1024u

static void put_recall(im_json_writer *w, const char *key, const im_audit_recall *recall)
{
    if (recall->n_wanted > 0) {
        im_json_put_double(w, key, recall->recall);
    } else {
        im_json_put_null(w, key);
    }
}

static im_code put(im_store *store, const char *text, im_error *err)
{
    im_code rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc == IM_OK) {
        rc = im_store_set_setting(store, AUDIT_SETTING, text, err);
        im_store_unlock(store);
    }
    return rc;
}

void audit_record_put(im_library *library, const im_audit_report *report, const im_events *events)
{
    im_json_writer w;
    im_error error = IM_ERROR_INIT;
    im_json_init(&w, AUDIT_BYTES);
    im_json_begin_object(&w);
    im_json_put_double(&w, "time", (double)time(NULL));
    im_json_put_string(&w, "engine", report->engine);
    put_recall(&w, "texts", &report->audit.texts);
    put_recall(&w, "pictures", &report->audit.pictures);
    im_json_end_object(&w);
    im_code rc = im_json_ok(&w) ? put(library->store, im_str_text(&w.out), &error)
                                : im_fail(&error, IM_ERR_NOMEM, "no memory for the audit's record");
    im_json_clear(&w);
    if (rc != IM_OK) {
        char sentence[sizeof(error.message) + 64];
        (void)snprintf(sentence, sizeof(sentence), "the audit's result could not be kept: %s",
                       error.message);
        event_warning(events, sentence);
    }
}

static double number_of(const json_t *root, const char *key, double otherwise)
{
    const json_t *value = json_object_get(root, key);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

im_code audit_record_get(im_store *store, im_library_facts *out, im_error *err)
{
    char *text = NULL;
    json_t *root = NULL;
    out->audited_at = 0;
    im_code rc = im_store_get_setting(store, AUDIT_SETTING, &text, err);
    if (rc == IM_OK && text != NULL) {
        rc = im_json_parse(text, strlen(text), "setting 'audit'", &root, err);
    }
    if (rc == IM_OK && root != NULL) {
        const char *engine = json_string_value(json_object_get(root, "engine"));
        out->audited_at = number_of(root, "time", 0);
        out->recall[0] = number_of(root, "texts", -1);
        out->recall[1] = number_of(root, "pictures", -1);
        (void)snprintf(out->audited_engine, sizeof(out->audited_engine), "%s",
                       engine != NULL ? engine : "");
    }
    json_decref(root);
    im_free(text);
    return rc;
}
