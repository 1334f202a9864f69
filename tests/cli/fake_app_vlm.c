/* tests/cli/fake_app_vlm.c — prepared answers of app/app_vlm.h. */
#include "base/base.h"
#include "fake_app.h"

im_code im_app_vlm_rerank(im_library *library, const im_vlm_request *request, size_t n,
                          im_answer *answer, im_error *err)
{
    (void)library;
    fake.vlm = *request;
    answer->rerank = (im_rerank_report){.status = "partial",
                                        .reason = "1 failed: the server answered 500",
                                        .mode = "logprobs",
                                        .n = n,
                                        .judged = n - 1};
    return fake_outcome(err);
}

im_code im_app_vlm_probe(im_library *library, const im_vlm_request *request,
                         im_vlm_server *out_server, im_error *err)
{
    (void)library;
    fake.vlm = *request;
    im_code rc = im_vlm_server_of(request->url, "tiny", IM_VLM_VLLM, out_server, err);
    return rc == IM_OK ? fake_outcome(err) : rc;
}

im_code im_app_describe(im_library *library, const im_describe_request *request,
                        const im_events *events, im_describe_report *out_report, im_error *err)
{
    (void)library;
    (void)events;
    fake.describe = *request;
    *out_report = (im_describe_report){.items = 3, .described = 2, .none = 1, .stopped = "limit"};
    request->told(request->context, 17, "/a.jpg", "a red\033[2J car");
    request->told(request->context, 18, NULL, NULL);
    return fake_outcome(err);
}

void im_describe_report_json(im_json_writer *w, const im_describe_report *report)
{
    im_json_begin_object(w);
    im_json_put_string(w, "event", "done");
    im_json_put_uint(w, "described", report->described);
    im_json_end_object(w);
}

im_code im_app_vlm_keep_check(const im_vlm_keep_request *request, im_error *err)
{
    (void)request;
    return fake_outcome(err);
}

im_code im_app_vlm_keep(im_library *library, const im_vlm_keep_request *request,
                        const im_events *events, im_error *err)
{
    im_vlm_server server = {.url = "http://127.0.0.1:1", .model = "tiny"};
    (void)library;
    (void)events;
    fake.keep = *request;
    request->line(request->context, "loading");
    request->ready(request->context, &server, 7);
    return fake_outcome(err);
}

im_code im_app_vlm_status_json(im_library *library, im_json_writer *w, im_error *err)
{
    (void)library;
    im_json_begin_object(w);
    im_json_put_string(w, "local", "none");
    im_json_end_object(w);
    return fake_outcome(err);
}

im_code im_app_vlm_stop(im_library *library, im_error *err)
{
    (void)library;
    return fake_outcome(err);
}

im_code im_app_vlm_allow(im_library *library, const char *folder, bool allowed, im_error *err)
{
    (void)library;
    (void)folder;
    (void)allowed;
    return fake_outcome(err);
}

im_code im_app_vlm_calibrate(im_library *library, const im_vlm_request *request, const char *file,
                             size_t n, const im_events *events, im_vlm_calibration *out,
                             im_error *err)
{
    (void)library;
    (void)events;
    (void)file;
    fake.vlm = *request;
    *out = (im_vlm_calibration){.n_queries = n};
    return fake_outcome(err);
}

im_code im_app_explain(im_library *library, const im_search_request *request, uint64_t item,
                       const im_vlm_request *vlm, im_json_writer *w, im_error *err)
{
    (void)library;
    (void)vlm;
    im_json_begin_object(w);
    im_json_put_uint(w, "id", item);
    im_json_put_string(w, "query", request->text);
    im_json_end_object(w);
    return fake_outcome(err);
}

/* Answers with the question itself, and refers to the first picture. */
im_code im_app_ask(im_library *library, const im_vlm_request *request, im_view question,
                   const im_answer *answer, const im_ask_told *told, im_ask_result *out,
                   im_error *err)
{
    (void)library;
    (void)told;
    fake.vlm = *request;
    *out = (im_ask_result){.status = IM_ASK_ANSWERED, .n_items = 1, .n_references = 1};
    out->items[0] = answer->n_hits > 0 ? answer->hits[0].item.id : 1;
    out->references[0] = 1;
    out->text = im_alloc_zero(question.size + 1, 1);
    memcpy(out->text, question.data, question.size);
    return fake_outcome(err);
}

void im_ask_result_clear(im_ask_result *result)
{
    im_free(result->text);
    result->text = NULL;
}

void im_ask_json(im_json_writer *w, im_view question, const im_answer *answer,
                 const im_ask_result *result)
{
    (void)answer;
    im_json_begin_object(w);
    im_json_key(w, "question");
    im_json_string(w, question.data, question.size);
    im_json_put_string(w, "answer", result->text);
    im_json_end_object(w);
}
