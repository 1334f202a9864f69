/* vlm/reply.c — from what a model said to a judgement: log-probabilities of yes and no, a score, a
 * word, an object. */
#include "vlm/vlm_internal.h"

#include <math.h>

#define MOST_LOGIT 20.0 /* beyond it numbers of f16 caches say nothing */

void vlm_reply_init(vlm_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    im_str_init(&reply->text, VLM_ANSWER_BYTES);
}

void vlm_reply_clear(vlm_reply *reply)
{
    im_str_clear(&reply->text);
}

/* ---- log-probabilities ---- */

/* 1 for a spelling of yes, -1 of no, else 0: "yes", "Yes", "YES", with or without one leading
 * blank, which tokenizers also write as "▁" or "Ġ". */
static int label_of(im_view token)
{
    static const char *const blanks[] = {" ", "\xe2\x96\x81", "\xc4\xa0"};
    static const char *const spellings[] = {"yes", "Yes", "YES", "no", "No", "NO"};
    for (size_t i = 0; i < IM_COUNT(blanks); i++) {
        size_t n = strlen(blanks[i]);
        if (token.size > n && memcmp(token.data, blanks[i], n) == 0) {
            token = im_view_of(token.data + n, token.size - n);
            break;
        }
    }
    for (size_t i = 0; i < IM_COUNT(spellings); i++) {
        if (im_view_equal_c(token, spellings[i])) {
            return i < 3 ? 1 : -1;
        }
    }
    return 0;
}

static int label_of_id(const im_vlm_server *server, int64_t id)
{
    for (size_t i = 0; i < server->n_yes + server->n_no && i < IM_VLM_IDS; i++) {
        if (server->ids[i] == id) {
            return i < server->n_yes ? 1 : -1;
        }
    }
    return 0;
}

/* "token_id:363", as vLLM writes tokens when it is told to. */
static bool id_in_text(im_view token, int64_t *out)
{
    char digits[24];
    uint64_t id = 0;
    if (token.size <= 9 || token.size >= 9 + sizeof(digits) ||
        memcmp(token.data, "token_id:", 9) != 0) {
        return false;
    }
    memcpy(digits, token.data + 9, token.size - 9);
    digits[token.size - 9] = '\0';
    bool good = im_parse_u64(digits, 0, INT64_MAX, &id);
    *out = (int64_t)id;
    return good;
}

/* Whether the very same entry came before: two ids may spell alike, one id may not come twice. */
static bool is_new(vlm_labels *labels, bool has_id, int64_t id, im_view bytes, double logprob)
{
    for (size_t i = 0; i < labels->n_seen; i++) {
        bool same = has_id && labels->seen[i].has_id
                        ? labels->seen[i].id == id
                        : labels->seen[i].logprob == logprob &&
                              labels->seen[i].size == bytes.size &&
                              memcmp(labels->seen[i].bytes, bytes.data, bytes.size) == 0;
        if (same) {
            return false;
        }
    }
    if (labels->n_seen == IM_COUNT(labels->seen) || bytes.size > sizeof(labels->seen[0].bytes)) {
        return false;
    }
    labels->seen[labels->n_seen].has_id = has_id;
    labels->seen[labels->n_seen].id = id;
    labels->seen[labels->n_seen].size = bytes.size;
    labels->seen[labels->n_seen].logprob = logprob;
    memcpy(labels->seen[labels->n_seen++].bytes, bytes.data, bytes.size);
    return true;
}

void vlm_labels_add(vlm_labels *labels, const im_vlm_server *server, const json_t *id,
                    im_view bytes, double logprob)
{
    int64_t number = json_is_integer(id) ? json_integer_value(id) : 0;
    bool has_id = json_is_integer(id) || id_in_text(bytes, &number);
    if (!(logprob > -1000.0 && logprob <= 0.001)) { /* -9999: minus infinity, or no number at all */
        return;
    }
    double p = exp(IM_MIN(logprob, 0.0));
    int label = has_id ? label_of_id(server, number) : 0;
    label = label != 0 ? label : label_of(bytes);
    if (label != 0 && !is_new(labels, has_id, number, bytes, logprob)) {
        return;
    }
    labels->n++;
    labels->listed += p;
    labels->least = labels->n == 1 ? logprob : IM_MIN(labels->least, logprob);
    if (label > 0) {
        labels->yes += p;
        labels->n_yes++;
    } else if (label < 0) {
        labels->no += p;
        labels->n_no++;
    }
}

static double bounded(double s)
{
    return IM_MAX(-MOST_LOGIT, IM_MIN(MOST_LOGIT, s));
}

double vlm_logit(double p)
{
    return bounded(log(IM_MAX(p, 1e-12)) - log(IM_MAX(1 - p, 1e-12)));
}

static double probability(double s)
{
    return 1 / (1 + exp(-s));
}

/* What is not listed is at most as likely as the least that is, and as what is left over. */
static double unlisted(const vlm_labels *labels)
{
    return IM_MAX(IM_MIN(exp(labels->least), 1 - labels->listed), 1e-9);
}

static void judge_labels(const vlm_labels *labels, im_vlm_judgement *out)
{
    out->mass = labels->yes + labels->no;
    if (labels->n == 0 || labels->listed > 1.01) { /* none, or no probabilities */
        out->outcome = IM_VLM_UNREADABLE;
        out->mass = 0;
    } else if (out->mass < VLM_LEAST_MASS) {
        out->outcome = IM_VLM_LOW_MASS;
    } else {
        double yes = labels->n_yes > 0 ? labels->yes : unlisted(labels);
        double no = labels->n_no > 0 ? labels->no : unlisted(labels);
        out->outcome = IM_VLM_JUDGED;
        out->s = bounded(log(IM_MAX(yes, 1e-12)) - log(IM_MAX(no, 1e-12)));
        out->p_yes = probability(out->s);
    }
}

/* ---- texts ---- */

im_view vlm_reply_plain(const vlm_reply *reply)
{
    im_view text = im_view_of(im_str_text(&reply->text), reply->text.size);
    const char *thought = strstr(text.data, "</think>");
    if (thought != NULL) {
        size_t skip = (size_t)(thought - text.data) + strlen("</think>");
        text = im_view_of(text.data + skip, text.size - skip);
    }
    for (int pass = 0; pass < 2; pass++) {
        while (text.size > 0 && strchr(" \t\r\n", text.data[0]) != NULL) {
            text = im_view_of(text.data + 1, text.size - 1);
        }
        while (text.size > 0 && strchr(" \t\r\n", text.data[text.size - 1]) != NULL) {
            text.size--;
        }
        if (pass == 0 && text.size >= 6 && memcmp(text.data, "```", 3) == 0 &&
            memcmp(text.data + text.size - 3, "```", 3) == 0) {
            size_t skip = 3;
            while (skip < text.size - 3 && im_ascii_is_alnum(text.data[skip])) {
                skip++; /* ```json */
            }
            text = im_view_of(text.data + skip, text.size - skip - 3);
        }
    }
    return text;
}

im_code vlm_reply_object(const vlm_reply *reply, json_t **out, im_error *err)
{
    im_view text = vlm_reply_plain(reply);
    json_t *root = NULL;
    im_error cause = IM_ERROR_INIT;
    if (reply->refused) {
        return im_fail(err, IM_ERR_UPSTREAM, "the model refused to answer");
    }
    if (reply->cut || text.size == 0) {
        return im_fail(err, IM_ERR_UPSTREAM, "the model's answer is %s",
                       text.size == 0 ? "empty" : "cut");
    }
    im_code rc = im_json_parse(text.data, text.size, "the model's answer", &root, &cause);
    if (rc == IM_ERR_NOMEM) {
        return im_fail(err, rc, "%s", cause.message);
    }
    if (rc != IM_OK) {
        return im_fail(err, IM_ERR_UPSTREAM, "%s", cause.message);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return im_fail(err, IM_ERR_UPSTREAM, "the model's answer is no object");
    }
    *out = root;
    return IM_OK;
}

static void judge_score(const vlm_reply *reply, im_vlm_judgement *out)
{
    json_t *root = NULL;
    out->outcome = IM_VLM_UNREADABLE;
    if (vlm_reply_object(reply, &root, NULL) != IM_OK) {
        return;
    }
    const json_t *score = json_object_get(root, "score");
    double value = json_number_value(score);
    if (json_is_number(score) && value >= 0 && value <= 10) {
        out->outcome = IM_VLM_JUDGED;
        out->p_yes = (value + 0.5) / 11; /* neither 0 nor 1 */
        out->s = vlm_logit(out->p_yes);
        out->mass = 1;
    }
    json_decref(root);
}

static void judge_word(const vlm_reply *reply, im_vlm_judgement *out)
{
    im_view text = vlm_reply_plain(reply);
    char word[4] = "";
    size_t n = 0;
    while (n < text.size && n < 3 && im_ascii_is_letter(text.data[n])) {
        word[n] = im_ascii_lower(text.data[n]);
        n++;
    }
    bool ends = n == text.size || !im_ascii_is_letter(text.data[n]);
    bool yes = ends && strcmp(word, "yes") == 0;
    if (yes || (ends && strcmp(word, "no") == 0)) {
        out->outcome = IM_VLM_JUDGED;
        out->s = yes ? 1 : -1; /* one bit: not worth more */
        out->p_yes = probability(out->s);
        out->mass = 1;
    } else {
        out->outcome = text.size > 0 ? IM_VLM_LOW_MASS : IM_VLM_UNREADABLE;
        out->mass = 0;
    }
}

void vlm_reply_judge(const vlm_reply *reply, im_vlm_mode mode, im_vlm_judgement *out)
{
    out->s = out->p_yes = out->mass = 0;
    if (reply->refused) {
        out->outcome = IM_VLM_REFUSED;
    } else if (mode == IM_VLM_MODE_LOGPROBS) {
        judge_labels(&reply->labels, out);
    } else if (mode == IM_VLM_MODE_SCORE) {
        judge_score(reply, out);
    } else if (mode == IM_VLM_MODE_WORD) {
        judge_word(reply, out);
    } else if (reply->has_p) {
        out->outcome = IM_VLM_JUDGED;
        out->s = vlm_logit(reply->p);
        out->p_yes = reply->p;
        out->mass = 1;
    } else {
        out->outcome = IM_VLM_UNREADABLE;
    }
}
