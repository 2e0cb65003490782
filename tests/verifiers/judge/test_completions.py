"""What is read of a server's answers, and what is said of those that are no chat completion."""

import json
from typing import Any

import httpx2 as httpx
import pytest

from rtt_lightning.verifiers.judge.completions import NoCompletion, read_completion
from rtt_lightning.verifiers.judge.silence import BROKEN_OFF, EMPTY, REASONING_ALONE

THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see"}]}
TEXT = {"type": "text", "text": "Yes."}


def answer(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=(body if isinstance(body, str) else json.dumps(body)).encode())


def completion(message: Any, finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish_reason}], **more}


@pytest.mark.parametrize(
    ("content", "text", "silence"),
    [
        ("Yes.", "Yes.", ""),
        ([TEXT], "Yes.", ""),
        ([THINKING, TEXT, {"type": "output_text", "text": " It is."}], "Yes. It is.", ""),
        (["Yes.", " It is."], "Yes. It is.", ""),
        ({"type": "text", "text": "Yes."}, "Yes.", ""),
        ([{"type": "reasoning", "text": "hm"}], "", REASONING_ALONE),
        ([THINKING], "", REASONING_ALONE),
        ([{"type": "refusal", "refusal": "I can't."}], "", 'the judge declines: "I can\'t."'),
        ([], "", EMPTY),
        (None, "", EMPTY),
    ],
)
def test_content_in_parts_is_read_as_text(content: Any, text: str, silence: str) -> None:
    reply = read_completion(answer(completion({"content": content}))).reply
    assert (reply.text, reply.silence) == (text, silence)


def test_a_byte_order_mark_and_strange_usage_do_not_matter() -> None:
    body = completion({"content": "Yes."}, usage={"prompt_tokens": "many", "completion_tokens": 7})
    found = read_completion(answer("\ufeff" + json.dumps(body)))
    assert (found.reply.text, found.prompt_tokens, found.completion_tokens) == ("Yes.", 0, 7)
    assert read_completion(answer(completion({"content": "Yes."}, error=None, usage=[]))).reply.text == "Yes."


@pytest.mark.parametrize(
    ("body", "status", "said", "means"),
    [
        ({"error": {"message": "overloaded", "code": 502}}, 200, "overloaded", 502),
        ({"error": {"message": "slow down", "code": "429"}, "choices": None}, 200, "slow down", 429),
        ({"error": "no quota"}, 200, "no quota", 200),
        (completion({"content": "Ye"}, error={"message": "broke off", "code": "x"}), 200, "broke off", 200),
        ({"choices": [{"error": {"message": "broke", "code": 500}, "message": {}}]}, 200, "broke", 500),
        ({"error": {"message": "no"}}, 503, "no", 503),
        ({"choices": []}, 200, 'it answers with no chat completion but {"choices": []}', 200),
        ({"choices": ["x"]}, 200, 'it answers with no chat completion but {"choices": ["x"]}', 200),
        ([], 200, "it answers with no chat completion but []", 200),
        ('"Yes."', 200, "it answers with no chat completion but Yes", 200),
        ("", 200, "it answers with no chat completion but an empty answer", 200),
        ("<html><title>Sign in</title></html>", 200, "the URL is no API, it answers with a web page, 'Sign in'", 200),
        ("data: {}\n\ndata: [DONE]", 200, "it answers with no chat completion but an event stream", 200),
    ],
)
def test_anything_else_is_said_in_the_server_s_words(body: Any, status: int, said: str, means: int) -> None:
    with pytest.raises(NoCompletion) as error:
        read_completion(answer(body, status))
    assert (str(error.value), error.value.status) == (said, means)


@pytest.mark.parametrize("finish_reason", ["error", "abort"])
def test_a_reply_that_the_server_broke_off_is_not_read(finish_reason: str) -> None:
    assert read_completion(answer(completion({"content": "Yes."}, finish_reason))).reply.silence == BROKEN_OFF
