/* IMAGO_FUZZ_ROOMS: base image vlm
 * tests/fuzz/fuzz_vlm.c — answers of servers: whatever the bytes, a judgement is within its bounds
 * and nothing is read beyond them. */
#include "vlm/vlm_internal.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const vlm_reply *reply)
{
    for (int mode = IM_VLM_MODE_NONE; mode < IM_VLM_MODE_COUNT; mode++) {
        im_vlm_judgement judgement = {.error = IM_ERROR_INIT};
        vlm_reply_judge(reply, (im_vlm_mode)mode, &judgement);
        bool judged = judgement.outcome == IM_VLM_JUDGED;
        if (!isfinite(judgement.s) || fabs(judgement.s) > 20.001 ||
            !(judgement.mass >= 0 && judgement.mass <= 1.02) ||
            (judged && !(judgement.p_yes >= 0 && judgement.p_yes <= 1))) {
            abort();
        }
    }
    json_t *object = NULL;
    if (vlm_reply_object(reply, &object, NULL) == IM_OK) {
        json_decref(object);
    }
}

static void read_rerank(im_view body)
{
    double scores[3];
    bool has[3];
    size_t strange = 0;
    uint64_t tokens = 0;
    if (vlm_rerank_read(body, 3, scores, has, &strange, &tokens, NULL) == IM_OK) {
        for (size_t i = 0; i < 3; i++) {
            if (has[i] && !(scores[i] >= 0 && scores[i] <= 1)) {
                abort();
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const im_vlm_server server = {.ids = {363, 365}, .n_yes = 1, .n_no = 1};
    const im_view body = im_view_of((const char *)data, size);
    for (int codec = 0; codec < 3; codec++) {
        vlm_reply reply;
        vlm_reply_init(&reply);
        im_code rc = codec == 0   ? vlm_chat_read(&server, body, &reply, NULL)
                     : codec == 1 ? vlm_gemini_read(&server, body, &reply, NULL)
                                  : vlm_systemone_read(body, &reply, NULL);
        if (rc == IM_OK) {
            look_at(&reply);
        }
        vlm_reply_clear(&reply);
    }
    read_rerank(body);
    im_http_answer answer = {.status = 429};
    double wait_s = 0;
    im_str_init(&answer.body, SIZE_MAX / 2);
    im_str_add(&answer.body, body.data, body.size);
    if (vlm_status(&server, &answer, &wait_s, NULL) == IM_OK) {
        abort();
    }
    im_http_answer_clear(&answer);
    im_str clean;
    im_str_init(&clean, SIZE_MAX / 2);
    im_vlm_clean(&clean, body);
    im_str_clear(&clean);
    im_vlm_server read;
    (void)!im_vlm_server_read(body, &read, NULL);
    return 0;
}
