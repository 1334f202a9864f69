/* app/answer.c — the answer as the JSON object of design section 6: one writer for the command line
 * and every server. */
#include "app/app_internal.h"

#include <time.h>

/* "2021-06-03T10:11:12", with its offset when the camera gave one. */
static void put_taken(im_json_writer *w, const im_item *item)
{
    char text[40];
    struct tm parts;
    time_t seconds = (time_t)item->taken_s;
    if (!item->has_taken || gmtime_r(&seconds, &parts) == NULL) {
        im_json_put_null(w, "taken");
        return;
    }
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    if (item->has_taken_offset) {
        int minutes = item->taken_offset_min;
        int size = minutes < 0 ? -minutes : minutes;
        (void)snprintf(text + n, sizeof(text) - n, "%c%02d:%02d", minutes < 0 ? '-' : '+',
                       size / 60, size % 60);
    }
    im_json_put_string(w, "taken", text);
}

/* A path that is not UTF-8 has U+FFFD in "path" and its bytes in "path_b64". */
void answer_put_moment(im_json_writer *w, const char *key, int64_t wall_ns)
{
    char text[32];
    struct tm parts;
    time_t seconds = (time_t)(wall_ns / 1000000000);
    bool known = wall_ns > 0 && gmtime_r(&seconds, &parts) != NULL &&
                 strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) > 0;
    im_json_put_string(w, key, known ? text : NULL);
}

void answer_put_path(im_json_writer *w, const char *path)
{
    im_str base64;
    if (path == NULL) {
        im_json_put_null(w, "path");
        return;
    }
    im_json_put_string(w, "path", path);
    if (im_utf8_valid(path, strlen(path), NULL)) {
        return;
    }
    im_str_init(&base64, 2 * IM_LIMIT_PATH_BYTES);
    im_text_base64(&base64, path, strlen(path));
    im_json_put_string(w, "path_b64", im_str_text(&base64));
    w->out.failed = w->out.failed || base64.failed; /* half of the bytes must not pass for all */
    im_str_clear(&base64);
}

void answer_put_item(im_json_writer *w, const im_item *item)
{
    im_json_put_uint(w, "width", item->width);
    im_json_put_uint(w, "height", item->height);
    put_taken(w, item);
}

static void put_box(im_json_writer *w, const im_box *box)
{
    const double value[4] = {box->x, box->y, box->w, box->h};
    im_json_key(w, "crop");
    im_json_begin_array(w);
    for (size_t i = 0; i < 4; i++) {
        char text[32];
        if (box->percent[i]) {
            (void)snprintf(text, sizeof(text), "%g%%", value[i]);
            im_json_string_c(w, text);
        } else {
            im_json_double(w, value[i]);
        }
    }
    im_json_end_array(w);
}

static void put_part(im_json_writer *w, const im_query_part *part)
{
    im_json_begin_object(w);
    im_json_put_string(w, "type", part->kind == IM_PART_TEXT ? "text" : "picture");
    if (part->kind == IM_PART_TEXT) {
        im_json_key(w, "text");
        im_json_string(w, part->text.data, part->text.size);
    } else if (part->item != 0) { /* written as the query language writes it: #17 */
        char source[24];
        (void)snprintf(source, sizeof(source), "#%llu", (unsigned long long)part->item);
        im_json_put_string(w, "source", source);
    } else {
        im_json_put_string(w, "source",
                           part->path != NULL         ? part->path
                           : part->bytes.data != NULL ? "data"
                                                      : "-");
    }
    im_json_put_double(w, "weight", part->weight);
    if (part->must) {
        im_json_put_bool(w, "must", true);
    }
    if (part->has_box) {
        put_box(w, &part->box);
    }
    im_json_end_object(w);
}

/* "rerank" of a hit: null for what no judgement gave. */
static void put_judgement(im_json_writer *w, const im_search_hit *hit)
{
    bool judged = hit->judgement.outcome == IM_VLM_JUDGED;
    im_json_key(w, "rerank");
    im_json_begin_object(w);
    im_json_put_uint(w, "from_rank", hit->from_rank);
    im_json_put_double(w, "final", hit->final);
    im_json_put_string(w, "outcome", im_vlm_outcome_name(hit->judgement.outcome));
    if (judged) {
        im_json_put_double(w, "s", hit->s);
        im_json_put_double(w, "p_yes", hit->judgement.p_yes);
    } else {
        im_json_put_null(w, "s");
        im_json_put_null(w, "p_yes");
    }
    im_json_put_double(w, "mass", hit->judgement.mass);
    im_json_end_object(w);
}

static void put_hit(im_json_writer *w, const im_answer *answer, const im_search_hit *hit)
{
    im_json_begin_object(w);
    im_json_put_uint(w, "rank", hit->rank);
    im_json_put_uint(w, "id", hit->item.id);
    answer_put_path(w, hit->path);
    if (hit->name != NULL) {
        im_json_put_string(w, "name", hit->name);
    }
    im_json_put_bool(w, "online", hit->online);
    if (answer->n_parts > 0) {
        im_json_put_float(w, "score", hit->score);
    } else {
        im_json_put_null(w, "score");
    }
    im_json_put_null(w, "relevance"); /* until a model is calibrated */
    if (answer->n_parts == 1) {
        im_json_put_float(w, "cosine", hit->cosines[0]);
    } else {
        im_json_put_null(w, "cosine");
    }
    answer_put_item(w, &hit->item);
    if (hit->has_rerank) {
        put_judgement(w, hit);
    }
    im_json_key(w, "parts");
    im_json_begin_array(w);
    for (size_t i = 0; i < answer->n_parts; i++) {
        im_json_begin_object(w);
        im_json_put_uint(w, "part", i);
        im_json_put_float(w, "cosine", hit->cosines[i]);
        im_json_put_float(w, "contribution", hit->contributions[i]);
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}

void im_answer_json(im_json_writer *w, const im_answer *answer)
{
    im_json_begin_object(w);
    im_json_put_string(w, "query", answer->query);
    im_json_put_string(w, "model", answer->model);
    im_json_put_uint(w, "k", answer->k);
    if (answer->has_total) {
        im_json_put_uint(w, "total", answer->total);
    } else {
        im_json_put_null(w, "total");
    }
    im_json_put_uint(w, "filtered", answer->filtered);
    im_json_put_uint(w, "scanned", answer->scanned);
    im_json_put_bool(w, "exact", answer->exact);
    im_json_put_string(w, "engine", answer->engine);
    if (answer->has_min_score) {
        im_json_put_float(w, "min_score", answer->min_score);
    }
    im_json_put_string(w, "cursor", answer->cursor);
    im_json_key(w, "parts");
    im_json_begin_array(w);
    for (size_t i = 0; i < answer->n_parts; i++) {
        put_part(w, &answer->parts[i]);
    }
    im_json_end_array(w);
    im_json_key(w, "took_ms");
    im_json_begin_object(w);
    im_json_put_double(w, "parse", answer->parse_ms);
    im_json_put_double(w, "encode", answer->encode_ms);
    im_json_put_double(w, "search", answer->search_ms);
    im_json_put_double(w, "fetch", answer->fetch_ms);
    im_json_put_double(w, "vlm", answer->rerank.ms);
    im_json_end_object(w);
    if (answer->rerank.status != NULL) {
        im_json_key(w, "rerank");
        im_rerank_json(w, &answer->rerank);
    }
    im_json_key(w, "warnings");
    im_json_begin_array(w);
    for (size_t i = 0; i < answer->n_warnings; i++) {
        im_json_string_c(w, answer->warnings[i]);
    }
    im_json_end_array(w);
    im_json_key(w, "hits");
    im_json_begin_array(w);
    for (size_t i = 0; i < answer->n_hits; i++) {
        put_hit(w, answer, &answer->hits[i]);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}

void answer_put_gps(im_json_writer *w, const im_item *item)
{
    if (!item->has_gps) {
        im_json_put_null(w, "gps");
        return;
    }
    im_json_key(w, "gps");
    im_json_begin_object(w);
    im_json_put_double(w, "latitude", item->latitude);
    im_json_put_double(w, "longitude", item->longitude);
    im_json_end_object(w);
}
