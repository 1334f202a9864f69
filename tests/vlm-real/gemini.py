#!/usr/bin/env python3
"""Gemini's form by Google's own published protobufs (PyPI google-ai-generativelanguage): what imago
sends is a GenerateContentRequest, down to the last field, and what a GenerateContentResponse may say
is read. usage: gemini.py CODEC SOURCE"""
import json
import math
import pathlib
import subprocess
import sys
import tempfile

from google.ai import generativelanguage_v1beta as g
from google.protobuf import json_format

CODEC, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
PICTURES = sorted((SOURCE / "tests/vlm/pictures").glob("*.png"))


def codec(*args, given=b""):
    return subprocess.run([CODEC, *map(str, args)], input=given, check=True, capture_output=True).stdout


def read(mode, response):
    text = json_format.MessageToJson(g.GenerateContentResponse.pb(response))
    return json.loads(codec("read", "gemini", mode, given=text.encode()))


def requests_are_what_google_takes():
    with tempfile.TemporaryDirectory() as work:
        sent = []
        for i, picture in enumerate(PICTURES[:2]):
            sent.append(pathlib.Path(work, f"{i}.jpg"))
            sent[-1].write_bytes(codec("picture", picture))
        for mode in ("logprobs", "score", "word", "none"):
            for n in (1, 2):
                body = json.loads(codec("write", "gemini", mode, "Query: a “red” car.", *sent[:n]))
                message = g.GenerateContentRequest()
                json_format.ParseDict(body, g.GenerateContentRequest.pb(message), ignore_unknown_fields=False)
                parts = message.contents[0].parts
                assert message.contents[0].role == "user" and len(message.contents) == 1 and len(parts) == n + 1
                for part, picture in zip(parts, sent[:n]):
                    assert part.inline_data.mime_type == "image/jpeg" and part.inline_data.data == picture.read_bytes()
                assert parts[n].text == "Query: a “red” car."
                config = message.generation_config
                assert config.temperature == 0 and config.max_output_tokens > 0
                assert config.response_logprobs == (mode == "logprobs") and config.logprobs == 20 * (mode == "logprobs")
                assert (config.response_mime_type == "application/json") == (mode == "score")
                if mode == "score":
                    schema = json_format.MessageToDict(g.GenerationConfig.pb(config))
                    schema = schema.get("responseJsonSchema", schema.get("_responseJsonSchema"))
                    assert schema["required"] == ["score"] and schema["properties"]["score"]["maximum"] == 10, schema


def texts_are_joined_and_thoughts_left_out():
    response = g.GenerateContentResponse(
        candidates=[g.Candidate(content=g.Content(role="model", parts=[
            g.Part(text="hm, yes?", thought=True), g.Part(text='{"sco'), g.Part(text='re": 7}')]),
            finish_reason=g.Candidate.FinishReason.STOP)],
        usage_metadata=g.GenerateContentResponse.UsageMetadata(prompt_token_count=270, candidates_token_count=9,
                                                               total_token_count=300, thoughts_token_count=21))
    got = read("score", response)
    assert got["outcome"] == "judged" and abs(got["p_yes"] - 7.5 / 11) < 1e-9, got
    assert got["tokens"] == 300 and got["tokens_out"] == 30 and got["text"] == '{"score": 7}', got


def log_probabilities_are_read():
    def candidate(token, p, id):
        return g.LogprobsResult.Candidate(token=token, token_id=id, log_probability=math.log(p))
    response = g.GenerateContentResponse(candidates=[g.Candidate(
        content=g.Content(parts=[g.Part(text="yes")]), finish_reason=g.Candidate.FinishReason.MAX_TOKENS,
        logprobs_result=g.LogprobsResult(
            chosen_candidates=[candidate("yes", 0.6, 1)],
            top_candidates=[g.LogprobsResult.TopCandidates(candidates=[
                candidate("yes", 0.6, 1), candidate(" Yes", 0.1, 2), candidate("no", 0.2, 3), candidate("A", 0.05, 4)])]))])
    got = read("logprobs", response)
    assert got["outcome"] == "judged" and abs(got["p_yes"] - 0.7 / 0.9) < 1e-6 and abs(got["mass"] - 0.9) < 1e-6, got


def every_finish_reason_has_its_outcome():
    refusals = {"SAFETY", "RECITATION", "BLOCKLIST", "SPII", "PROHIBITED_CONTENT", "IMAGE_SAFETY",
                "IMAGE_RECITATION", "IMAGE_PROHIBITED_CONTENT"}
    seen = set()
    for reason in g.Candidate.FinishReason:
        content = g.Content(parts=[g.Part(text='{"score": 7}')])
        got = read("score", g.GenerateContentResponse(candidates=[g.Candidate(content=content, finish_reason=reason)]))
        want = "refused" if reason.name in refusals else "unreadable" if reason.name == "MAX_TOKENS" else "judged"
        assert got["code"] == 0 and got["outcome"] == want, (reason.name, got)
        seen.add(reason.name)
    print("finish reasons: " + ", ".join(sorted(seen)))
    assert refusals <= seen


def every_block_is_a_refusal():
    for reason in g.GenerateContentResponse.PromptFeedback.BlockReason:
        if reason == 0:
            continue
        feedback = g.GenerateContentResponse.PromptFeedback(block_reason=reason)
        got = read("logprobs", g.GenerateContentResponse(prompt_feedback=feedback))
        assert got["code"] == 0 and got["outcome"] == "refused", (reason, got)
    got = read("logprobs", g.GenerateContentResponse())
    assert got["code"] == 12 and "candidates" in got["message"], got


for test in (requests_are_what_google_takes, texts_are_joined_and_thoughts_left_out, log_probabilities_are_read,
             every_finish_reason_has_its_outcome, every_block_is_a_refusal):
    test()
    print(f"ok   gemini: {test.__name__}")
