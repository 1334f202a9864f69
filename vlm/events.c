/* vlm/events.c — server-sent events, from bytes that come in any pieces: each event's data is one
 * object. An answer that is no stream is one object too, once it has ended. */
#include "vlm/vlm_internal.h"

#define SURE_BYTES 5u /* that tell a stream from another answer */

void vlm_events_init(vlm_events *events, vlm_object_fn *fn, void *context)
{
    *events = (vlm_events){.fn = fn, .context = context};
    im_str_init(&events->line, VLM_ANSWER_BYTES);
    im_str_init(&events->data, VLM_ANSWER_BYTES);
}

void vlm_events_clear(vlm_events *events)
{
    im_str_clear(&events->line);
    im_str_clear(&events->data);
}

static im_view view(const im_str *text)
{
    return im_view_of(im_str_text(text), text->size);
}

static im_code one_object(vlm_events *events, im_view text, im_error *err)
{
    json_t *root = NULL;
    im_code rc = vlm_parse(text, &root, err);
    if (rc == IM_OK) {
        rc = events->fn(events->context, root, err);
    }
    json_decref(root);
    return rc;
}

/* Whether what came last has found room. */
static im_code check_room(const vlm_events *events, size_t last, im_error *err)
{
    if (!events->line.failed && !events->data.failed) {
        return IM_OK;
    }
    return IM_MAX(events->line.size, events->data.size) + last + 1 >= VLM_ANSWER_BYTES
               ? im_fail(err, IM_ERR_UPSTREAM, "the server's answer has more than %u bytes",
                         VLM_ANSWER_BYTES)
               : im_fail(err, IM_ERR_NOMEM, "no memory for an answer");
}

/* An empty line ends an event; "[DONE]" ends all. */
static im_code end_event(vlm_events *events, im_error *err)
{
    im_code rc = IM_OK;
    if (im_view_equal_c(view(&events->data), "[DONE]")) {
        events->done = true;
    } else if (events->data.size > 0) {
        rc = one_object(events, view(&events->data), err);
    }
    im_str_reset(&events->data);
    return rc;
}

/* "data: …", and "error: …" as older llama-servers write; other fields say nothing of an answer. */
static im_code end_line(vlm_events *events, im_error *err)
{
    static const char *const fields[] = {"data:", "error:"};
    im_view line = view(&events->line);
    im_code rc = check_room(events, 0, err);
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(fields); i++) {
        size_t n = strlen(fields[i]);
        if (line.size >= n && memcmp(line.data, fields[i], n) == 0) {
            n += line.size > n && line.data[n] == ' ';
            im_str_add_c(&events->data, events->data.size > 0 ? "\n" : "");
            im_str_add(&events->data, line.data + n, line.size - n);
        }
    }
    if (rc == IM_OK && line.size == 0) {
        rc = end_event(events, err);
    }
    im_str_reset(&events->line);
    return rc;
}

static im_code add_byte(vlm_events *events, char c, im_error *err)
{
    bool second = c == '\n' && events->after_cr; /* of a line end that was seen */
    events->after_cr = c == '\r';
    if (second || events->done) {
        return IM_OK;
    }
    if (c == '\r' || c == '\n') {
        return end_line(events, err);
    }
    im_str_add_char(&events->line, c);
    return IM_OK;
}

static bool is_stream(im_view head)
{
    return head.size >= 1 &&
           (head.data[0] == ':' ||
            (head.size >= SURE_BYTES &&
             (memcmp(head.data, "data:", 5) == 0 || memcmp(head.data, "event", 5) == 0 ||
              memcmp(head.data, "error", 5) == 0 || memcmp(head.data, "id: ", 4) == 0 ||
              memcmp(head.data, "retry", 5) == 0)));
}

/* The first bytes are held back until they tell what follows. */
static im_code decide(vlm_events *events, im_error *err)
{
    char head[SURE_BYTES];
    size_t size = events->line.size;
    im_code rc = IM_OK;
    events->decided = true;
    events->stream = is_stream(view(&events->line));
    if (!events->stream) {
        return IM_OK; /* what is in `line` stays, and the rest joins it */
    }
    memcpy(head, events->line.data, size);
    im_str_reset(&events->line);
    for (size_t i = 0; rc == IM_OK && i < size; i++) {
        rc = add_byte(events, head[i], err);
    }
    return rc;
}

im_code vlm_events_add(vlm_events *events, im_view piece, im_error *err)
{
    im_code rc = IM_OK;
    size_t i = 0;
    while (rc == IM_OK && !events->decided && i < piece.size) {
        im_str_add_char(&events->line, piece.data[i++]);
        if (events->line.size == SURE_BYTES) {
            rc = decide(events, err);
        }
    }
    if (events->decided && !events->stream) {
        im_str_add(&events->line, piece.data + i, piece.size - i);
        i = piece.size;
    }
    for (; rc == IM_OK && i < piece.size; i++) {
        rc = add_byte(events, piece.data[i], err);
    }
    return rc == IM_OK ? check_room(events, piece.size, err) : rc;
}

im_code vlm_events_end(vlm_events *events, im_error *err)
{
    im_code rc = events->decided ? IM_OK : decide(events, err);
    if (rc == IM_OK && !events->stream) {
        return one_object(events, view(&events->line), err);
    }
    if (rc == IM_OK && events->line.size > 0) {
        rc = end_line(events, err); /* without its line end */
        rc = rc == IM_OK ? check_room(events, 0, err) : rc;
    }
    return rc == IM_OK && !events->done ? end_event(events, err) : rc;
}

im_code vlm_each_object(im_view body, vlm_object_fn *fn, void *context, im_error *err)
{
    vlm_events events;
    vlm_events_init(&events, fn, context);
    im_code rc = vlm_events_add(&events, body, err);
    if (rc == IM_OK) {
        rc = vlm_events_end(&events, err);
    }
    vlm_events_clear(&events);
    return rc;
}

/* ---- an answer as it comes ---- */

void vlm_stream_init(vlm_stream *stream, const im_vlm_server *server, vlm_reply *reply,
                     vlm_told_fn *told, void *context)
{
    *stream = (vlm_stream){.reading = {server, reply, false}, .told = told, .context = context};
    vlm_events_init(&stream->events,
                    server->profile == IM_VLM_GEMINI ? vlm_gemini_object : vlm_chat_object,
                    &stream->reading);
}

void vlm_stream_clear(vlm_stream *stream)
{
    vlm_events_clear(&stream->events);
}

static im_code tell(vlm_stream *stream, im_error *err)
{
    vlm_reply *reply = stream->reading.out;
    size_t before = stream->n_told;
    stream->n_told = reply->text.size;
    return reply->text.size > before && stream->told != NULL
               ? stream->told(stream->context, view(&reply->text), err)
               : IM_OK;
}

im_code vlm_stream_add(void *context, im_view piece, im_error *err)
{
    vlm_stream *stream = context;
    im_code rc = vlm_events_add(&stream->events, piece, err);
    im_code told = tell(stream, rc == IM_OK ? err : NULL);
    return rc == IM_OK ? told : rc;
}

im_code vlm_stream_end(vlm_stream *stream, im_error *err)
{
    const vlm_reply *reply = stream->reading.out;
    im_code rc = vlm_events_end(&stream->events, err);
    if (rc == IM_OK && !stream->reading.has_answer) {
        rc = im_fail(err, IM_ERR_UPSTREAM, "the server's answer is empty");
    }
    if (rc == IM_OK && stream->events.stream && !stream->events.done && !reply->ended) {
        rc = im_fail(err, IM_ERR_UPSTREAM, "the server's answer broke off after %zu bytes of text",
                     reply->text.size);
    }
    return rc == IM_OK ? tell(stream, err) : rc;
}
