"""How a judge's requests are put to servers that do not take all of them, and say so in words of their own."""

from typing import Any

import pytest

from rtt_lightning.types import OutsideFailure
from rtt_lightning.verifiers.judge import Limits
from rtt_lightning.verifiers.judge.dialect import request_settings
from tests.proxy import refusing_proxy
from tests.verifiers.judge.server import judge_server, seen
from tests.verifiers.judge.test_verifier import judge, sample

FORMAT, NEW, OLD = "response_format", "max_completion_tokens", "max_tokens"


def judged(url: str, times: int = 1, **more: Any) -> tuple[list[bool | None], str, list[dict[str, Any]]]:
    """Verdicts on some answers, one after the other, the last reason, and what the server was asked."""
    one = judge(url, **({"limits": Limits(attempts=1, concurrency=1)} | more))
    found = [one.verify_all([(sample("tea", name=str(number)), "Tea.")])[0][0] for number in range(times)]
    return [verdict.met for verdict in found], found[-1].reason, seen(url).bodies


@pytest.mark.parametrize(
    "words",
    [
        "Unknown field: max_completion_tokens",
        "body.max_completion_tokens: Extra inputs are not permitted",
        {"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"}]},
    ],
)
def test_a_server_that_knows_the_older_name_alone_gets_it(words: Any) -> None:
    with judge_server(refuses=(NEW,), words=words) as url:
        met, _, bodies = judged(url, times=2, max_completion_tokens=99)
    assert met == [True, True]
    assert [(body.get(NEW), body.get(OLD)) for body in bodies] == [(99, None), (None, 99), (None, 99)]


def test_the_older_name_in_options_is_sent_in_its_place_until_a_server_wants_the_newer() -> None:
    with judge_server() as url:
        _, _, [body] = judged(url, options={OLD: 77})
    assert (body.get(NEW), body[OLD]) == (None, 77)
    with judge_server(
        refuses=(OLD,), words="'max_tokens' is not supported with this model, use 'max_completion_tokens'"
    ) as url:
        met, _, bodies = judged(url, options={OLD: 77})
    assert met == [True]
    assert [(body.get(NEW), body.get(OLD)) for body in bodies] == [(None, 77), (77, None)]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "response_format is not supported"),
        (400, "Failed to compile json schema: unsupported keyword additionalProperties"),
        (422, "Grammar error: unimplemented"),
        (500, "JSON schema conversion failed: Unrecognized schema"),
        (501, "guided decoding is off"),
        (400, "invalid request"),  # says nothing of the reason, which shows when it is asked without
        (422, ""),
    ],
)
def test_whatever_a_server_says_that_takes_no_schema_it_is_asked_without(status: int, words: str) -> None:
    with (
        judge_server(refuses=(FORMAT,), refusal=status, words=words) as url,
        pytest.warns(UserWarning, match=r"takes no JSON schema .*; structured: false does so"),
    ):
        met, _, bodies = judged(url, times=2)
    assert met == [True, True]
    assert [FORMAT in body for body in bodies] == [True, False, False]


def test_a_server_that_took_the_schema_once_is_not_asked_without_it_for_another_reason() -> None:
    with judge_server(refuses=("Write of 1.",), words="maximum context length is 9 tokens") as url:
        met, _, bodies = judged(url, times=3)
    assert met == [True, None, True]
    assert [FORMAT in body for body in bodies] == [True, True, True]


def test_two_things_that_a_server_does_not_take_are_left_out_in_one_call() -> None:
    with (
        judge_server(refuses=(FORMAT, NEW), words="unknown: {field}") as url,
        pytest.warns(UserWarning, match="takes no JSON schema"),
    ):
        met, _, bodies = judged(url)
    assert met == [True]
    assert len(bodies) == 3


@pytest.mark.parametrize(
    ("more", "field", "words", "fix"),
    [
        (
            {},
            "temperature",
            "Unsupported value: 'temperature' does not support 0.0. Only the default (1) value is supported.",
            "Only the default (1) value is supported; set the judge's temperature: null, which leaves it to the server",
        ),
        ({}, "temperature", "Temperature must be 1 for this model", "set the judge's temperature: null"),
        (
            {"options": {"chat_template_kwargs": {"enable_thinking": False}}},
            "chat_template_kwargs",
            "chat_template_kwargs: Extra inputs",
            "chat_template_kwargs is of the judge's options, where null leaves it out",
        ),
        ({"votes": 3, "temperature": 1.0}, "seed", "unknown field `seed`", "set the judge's votes: 1"),
    ],
)
def test_a_refusal_that_names_a_setting_comes_with_the_mend(
    more: dict[str, Any], field: str, words: str, fix: str
) -> None:
    with judge_server(refuses=(field,), words=words) as url:
        [met], reason, bodies = judged(url, **more)
    assert met is None
    assert reason.startswith("judge: the server refuses the call: ")
    assert fix in reason
    assert all(FORMAT in body for body in bodies)  # the words name another reason


def test_null_leaves_a_field_out() -> None:
    with judge_server(refuses=("temperature",), words="no temperature") as url:
        met, _, [body] = judged(url, temperature=None)
    assert met == [True]
    with judge_server() as url:
        _, _, [body] = judged(url, options={"temperature": None, NEW: None, "top_k": 1})
    assert {"temperature", NEW, OLD} & set(body) == set()
    assert body["top_k"] == 1


def test_what_a_judge_sets_itself_is_refused_in_its_options() -> None:
    for name in ("n", "stream", "model", "messages"):
        with pytest.raises(ValueError, match=f"must not hold {name}"):
            judge("http://h/v1", options={name: 1})
    with pytest.raises(ValueError, match="response_format needs structured: false"):
        judge("http://h/v1", options={FORMAT: {}})
    assert request_settings(5, None, False, {FORMAT: {"type": "json_object"}})[FORMAT] == {"type": "json_object"}
    for wrong in ("many", 0, -5, 1.5, True):
        with pytest.raises(ValueError, match="must be a number of tokens"):
            request_settings(5, None, True, {OLD: wrong})


def test_a_server_that_only_fails_gets_a_hint_at_the_switch() -> None:
    with judge_server(status=500) as url:
        _, reason, _ = judged(url)
    assert reason.startswith("judge: HTTP status 500: no, ")
    assert reason.endswith("if it cannot follow a JSON schema, set the judge's structured: false")


def test_hopeless_answers_end_the_run_with_the_server_s_words() -> None:
    quota = '{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    for status, body, words in (
        (429, quota, r"429: the account's quota is used up .*It says: You exceeded your current quota\. Fix"),
        (402, '{"error": {"message": "Insufficient Balance"}}', "402: the account cannot pay .*Insufficient Balance"),
        (404, "<html><title>Not here</title></html>", "404: the URL is no API .*a web page, 'Not here'"),
        (200, '{"error": {"message": "No credentials", "code": 401}}', "401: the key is refused .*No credentials"),
    ):
        with judge_server(status=status, body=body) as url, pytest.raises(OutsideFailure, match=words):
            judged(url)


def test_a_judge_on_loopback_is_not_asked_through_a_proxy_and_elsewhere_the_proxy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with refusing_proxy() as (proxy, asked), judge_server() as url:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert judged(url)[0] == [True]
        assert asked == []
        elsewhere = judge("http://judge.example/v1", limits=Limits(attempts=1))
        with pytest.raises(OutsideFailure, match=r"of http_proxy; .*403: the URL is no API .*Blocked by the company"):
            elsewhere.verify_all([(sample("tea"), "Tea.")])
    [[verdict]] = elsewhere.verify_all([(sample("tea"), "Tea.")])
    assert "no connection: " in verdict.reason
    assert f"through the proxy {proxy} of http_proxy; NO_PROXY=judge.example goes without it" in verdict.reason
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    [problem] = elsewhere.problems(sample("tea"))
    assert problem.endswith("which needs a package: pip install socksio")
