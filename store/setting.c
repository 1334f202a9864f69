/* store/setting.c — named values of the library. */
#include "store/store_internal.h"

im_code im_store_get_setting(im_store *store, const char *name, char **out_value, im_error *err)
{
    statement st;
    bool row = false;
    char *value = NULL;
    im_code rc = statement_open(store, STORE_SQL_GET_SETTING, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, name);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && row) {
        value = statement_strdup(&st, 0);
        if (value == NULL) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for setting '%s'", name);
        }
    }
    statement_close(&st);
    if (rc == IM_OK) {
        *out_value = value;
    }
    return rc;
}

static im_code set_value(im_store *store, const char *name, const char *value, im_error *err)
{
    statement st;
    store_sql sql = value != NULL ? STORE_SQL_SET_SETTING : STORE_SQL_UNSET_SETTING;
    im_code rc = statement_open(store, sql, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, name);
    if (value != NULL) {
        statement_put_text(&st, value);
    }
    return statement_run(&st, NULL, err);
}

im_code im_store_set_setting(im_store *store, const char *name, const char *value, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, set_value(store, name, value, err), err);
}
