"""Why a judge's reply says nothing, as chat completions of real servers have it."""

import json
from typing import Any

import pytest

from rtt_lightning.verifiers.judge.replies import read_reply
from rtt_lightning.verifiers.judge.silence import why_silent
from tests.verifiers.judge.server import judge_server
from tests.verifiers.judge.test_verifier import judge, sample

ONE = '{"verdicts": [{"criterion": 1, "reason": "so", "met": true}]}'
CALL = {"id": "1", "type": "function", "function": {"name": "verdicts", "arguments": ONE}}
MESSAGES: list[tuple[dict[str, Any], str, str]] = [
    ({"content": None, "reasoning_content": f"I think {ONE}"}, "stop", "is reasoning alone; turn its reasoning off"),
    ({"content": "\n\n", "reasoning": f"I think {ONE}"}, "stop", "is reasoning alone"),
    ({"content": None, "reasoning_content": "I think"}, "length", "its reasoning was cut off before any reply"),
    ({"content": ONE}, "length", "its reply was cut off; raise the judge's max_completion_tokens"),
    ({"content": None}, "length", "its reply was cut off"),
    ({"content": None, "refusal": "I'm sorry,\nI can't."}, "stop", "the judge declines: \"I'm sorry, I can't.\""),
    ({"content": None}, "content_filter", "withheld by a content filter"),
    ({"content": None, "tool_calls": [CALL]}, "tool_calls", "the judge calls a tool"),
    ({"content": "", "function_call": CALL["function"]}, "function_call", "the judge calls a tool"),
    ({"content": None}, "stop", "the judge's reply is empty"),
    ({}, "stop", "the judge's reply is empty"),
]


@pytest.mark.parametrize(("message", "finish_reason", "reason"), MESSAGES)
def test_a_message_without_text_is_told_apart(message: dict[str, Any], finish_reason: str, reason: str) -> None:
    assert reason in why_silent(message, finish_reason)


def test_a_message_with_text_is_read_whatever_stands_beside_it() -> None:
    beside = {"reasoning_content": "Let me see", "refusal": None, "tool_calls": []}
    assert why_silent({"content": ONE, **beside}, "stop") == ""
    assert why_silent({"content": "no", **beside}, None) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n", "the judge's reply is empty"),
        (f"<think>{ONE}</think>\n", "the judge's reply is reasoning alone"),
        ("it is so </think>\n", "the judge's reply is reasoning alone"),
        ("I’m sorry, but I can’t assist with that.", "the judge declines: 'I’m sorry, but I can’t assist with that.'"),
        ("Unfortunately, I cannot judge this text.", "the judge declines"),
        ("<think>hm</think>I can't help with this.", "the judge declines"),
        ('<tool_call>\n{"name": "verdicts"}\n</tool_call>', "the judge calls a tool"),
        ('[TOOL_CALLS][{"name": "verdicts", "arguments": {}}]', "the judge calls a tool"),
        ('{"name": "verdicts", "parameters": {}}', "the judge calls a tool"),
        ("I cannot find tea in it, so: no.", "the judge's reply holds no verdict"),
        ("Yes.", "the judge's reply holds no verdict"),
    ],
)
def test_a_text_without_verdict_is_told_apart(text: str, reason: str) -> None:
    reading = read_reply(text, 1)
    assert not reading.opinions
    assert reading.problem.startswith(reason)


def test_the_reason_stands_in_the_verdict() -> None:
    message, finish_reason, reason = MESSAGES[5]
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]})
    with judge_server(body=body) as url:
        [[verdict]] = judge(url).verify_all([(sample("tea"), "Tea.")])
    assert verdict.met is None
    assert verdict.reason == f"judge: {reason}"
