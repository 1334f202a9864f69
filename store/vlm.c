/* store/vlm.c — what a vision-language model answered, so that nothing is asked twice, and what was
 * sent to it, so that nothing leaves without a trace. */
#include "base/clock.h"
#include "store/store_internal.h"

/* ---- answers ---- */

im_code im_store_get_vlm_answer(im_store *store, const uint8_t key[32], char **out_json,
                                int64_t *out_made_ns, im_error *err)
{
    statement st;
    bool row = false;
    char *json = NULL;
    im_code rc = statement_open(store, STORE_SQL_GET_VLM_ANSWER, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_blob(&st, key, 32);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && row) {
        json = statement_strdup(&st, 0);
        *out_made_ns = statement_i64(&st, 1);
        rc = json != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for an answer");
    }
    statement_close(&st);
    if (rc == IM_OK) {
        *out_json = json;
    }
    return rc;
}

static im_code put_answer(im_store *store, const uint8_t key[32], const char *model,
                          const char *prompt_version, const char *json, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_PUT_VLM_ANSWER, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_blob(&st, key, 32);
    statement_put_text(&st, model);
    statement_put_text(&st, prompt_version);
    statement_put_text(&st, json);
    statement_put_i64(&st, im_clock_wall_ns());
    return statement_run(&st, NULL, err);
}

im_code im_store_put_vlm_answer(im_store *store, const uint8_t key[32], const char *model,
                                const char *prompt_version, const char *json, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_answer(store, key, model, prompt_version, json, err),
                           err);
}

/* ---- sends ---- */

static im_code begin_send(im_store *store, const im_vlm_send *send, uint64_t *out_id, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_ADD_VLM_SEND, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_i64(&st, im_clock_wall_ns());
    statement_put_text(&st, send->host);
    statement_put_text(&st, send->model);
    statement_put_text(&st, send->purpose);
    statement_put_text(&st, send->items);
    statement_put_u64(&st, send->bytes_sent);
    statement_put_u64(&st, send->tokens);
    statement_put_text(&st, "sending");
    statement_put_u64(&st, send->cost_nano);
    rc = statement_run(&st, NULL, err);
    if (rc == IM_OK) {
        *out_id = (uint64_t)sqlite3_last_insert_rowid(store->db);
    }
    return rc;
}

im_code im_store_begin_vlm_send(im_store *store, const im_vlm_send *send, uint64_t *out_id,
                                im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, begin_send(store, send, out_id, err), err);
}

static im_code end_send(im_store *store, uint64_t id, const im_vlm_send *send, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_END_VLM_SEND, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, id);
    statement_put_u64(&st, send->bytes_sent);
    statement_put_u64(&st, send->tokens);
    statement_put_u64(&st, send->ms);
    statement_put_text(&st, send->outcome);
    statement_put_u64(&st, send->cost_nano);
    return statement_run(&st, NULL, err);
}

im_code im_store_end_vlm_send(im_store *store, uint64_t id, const im_vlm_send *send, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = send->outcome != NULL ? end_send(store, id, send, err)
                               : store_run_u64(store, STORE_SQL_DROP_VLM_SEND, id, NULL, err);
    return store_write_end(store, &write, rc, err);
}

im_code im_store_vlm_spent_since(im_store *store, int64_t since_ns, im_vlm_spent *out,
                                 im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_VLM_SPENT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_i64(&st, since_ns);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out = row ? (im_vlm_spent){statement_u64(&st, 0), statement_u64(&st, 1),
                                    statement_u64(&st, 2)}
                   : (im_vlm_spent){0};
    }
    statement_close(&st);
    return rc;
}

/* ---- what may be sent ---- */

im_code im_store_vlm_allowed(im_store *store, uint64_t item, bool *out_allowed, im_error *err)
{
    uint64_t one = 0;
    bool found = false;
    im_code rc = store_number_of(store, STORE_SQL_VLM_DENIED, item, &found, &one, err);
    if (rc == IM_OK) {
        *out_allowed = !found;
    }
    return rc;
}
