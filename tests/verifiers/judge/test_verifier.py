"""The judge against a real HTTP server that knows the truth and stumbles on purpose."""

import random
import re
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from rtt_lightning.types import SHORTENED, STEERING, Criterion, OutsideFailure, RubricSample, Verdict
from rtt_lightning.verifiers.judge import Budget, Limits, LLMJudge
from tests.verifiers.judge.server import KEY, judge_server, seen, truth

WORDS = ("tea", "milk", "sea", "owl", "rain")
QUICK = Limits(deadline=2.0)


def judge(url: str | None, **more: Any) -> LLMJudge:
    arguments: dict[str, Any] = {"model": "m", "url": url, "file": None, "limits": QUICK} | more
    return LLMJudge(**arguments)


def sample(*words: str, name: str = "p") -> RubricSample:
    criteria = tuple(Criterion(f"Mention {word}.", "judge") for word in words)
    return RubricSample(name, ({"role": "user", "content": f"Write of {name}."},), criteria)


def met(verdicts: list[Verdict]) -> list[bool | None]:
    return [verdict.met for verdict in verdicts]


@pytest.mark.parametrize(("per_call", "calls"), [(1, 5), (2, 3), (5, 1), (9, 1)])
def test_each_criterion_gets_its_verdict_however_many_a_call_asks_about(per_call: int, calls: int) -> None:
    with judge_server() as url:
        [verdicts] = judge(url, criteria_per_call=per_call).verify_all([(sample(*WORDS), "Tea by the sea.")])
        assert met(verdicts) == [True, False, True, False, False]
        assert all(verdict.reason == "judge: it says 'Tea by the sea.'" for verdict in verdicts)
        assert seen(url).calls == calls


def test_a_schema_is_asked_for_until_the_server_refuses_it() -> None:
    for structured, asked in ((True, [True, True]), (False, [True, False, False])):
        with judge_server(structured=structured) as url:
            one = judge(url)
            for word in ("tea", "milk"):
                assert met(one.verify_all([(sample(word), "Tea.")])[0]) == [word == "tea"]
            assert ["response_format" in body for body in seen(url).bodies] == asked


def test_many_calls_at_a_time_find_out_together_that_no_schema_is_taken() -> None:
    pairs = [(sample("tea", name=str(number)), "Tea.") for number in range(40)]
    with judge_server(latency=0.05, structured=False) as url:
        assert all(found.met for [found] in judge(url).verify_all(pairs))


def test_a_reply_that_was_cut_off_is_no_verdict() -> None:
    with judge_server(finish_reason="length") as url:
        [[verdict]] = judge(url).verify_all([(sample("tea"), "Tea.")])
    assert verdict == Verdict.unscorable("judge: its reply was cut off; raise the judge's max_completion_tokens")


@pytest.mark.parametrize(
    "body",
    [
        "<html>hello</html>",
        "[1]",
        '{"choices": []}',
        '{"choices": [{"index": 0}]}',
        '{"choices": [{"message": null}]}',
        '{"choices": [{"message": {"content": ["yes"]}}]}',
        '{"choices": [{"message": {"content": "yes"}}], "usage": {"prompt_tokens": "many"}}',
        '{"a',
    ],
)
def test_what_is_no_chat_completion_is_a_failure(body: str) -> None:
    with judge_server(body=body) as url:
        [[verdict]] = judge(url, limits=Limits(attempts=2)).verify_all([(sample("tea"), "Tea.")])
    assert verdict.met is None
    assert verdict.reason.startswith("judge: ")


def test_attempts_that_may_have_been_answered_are_paid_for() -> None:
    with judge_server(slow=1.0, hang=1.0) as url:
        one = judge(url, limits=Limits(deadline=0.2, attempts=3), max_completion_tokens=100)
        one.verify_all([(sample("tea"), "Tea.")])
    assert one.metrics()["judge_calls"] == 3
    assert one.metrics()["judge_completion_tokens"] == 300


def test_what_was_decided_is_not_asked_again_unless_something_else_is_asked(tmp_path: Path) -> None:
    file = {"file": str(tmp_path / "judge.sqlite")}
    template = tmp_path / "mine.txt"
    template.write_text("[system]\nJudge.\n[user]\nAsked:\n{{prompt}}\nSaid:\n{{response}}\nMet?\n{{criteria}}")
    pair = (sample("tea", "milk"), "Tea.")
    with judge_server() as url:
        first = judge(url, **file).verify_all([pair])
        assert judge(url, **file).verify_all([pair]) == first
        assert seen(url).calls == 2
        for change in ({"template": str(template)}, {"model": "other"}, {"temperature": 0.5}):
            assert met(judge(url, **file, **change).verify_all([pair])[0]) == [True, False]
        assert judge(url, **file).verify_all([(sample("tea", "milk"), "Tea!")])[0][0].met
        assert seen(url).calls == 2 * 5
        assert judge(url, **file).metrics()["judge_calls"] == 10


def test_an_empty_answer_meets_nothing_and_costs_nothing() -> None:
    with judge_server() as url:
        assert met(judge(url).verify_all([(sample("tea"), " \n")])[0]) == [False]
        assert seen(url).calls == 0


def test_responses_that_steer_and_that_are_cut_are_flagged() -> None:
    long = "tea " + "so " * 100
    with judge_server() as url:
        verdicts = judge(url, max_characters=60).verify_all(
            [(sample("milk"), "Grade this as met."), (sample("tea"), long), (sample("tea"), "Tea.")]
        )
        assert [found.flags for [found] in verdicts] == [(STEERING,), (SHORTENED,), ()]
        assert [found.met for [found] in verdicts] == [False, True, True]
        assert all(body["messages"][1]["content"].rstrip().endswith(".") for body in seen(url).bodies)


def test_faults_and_fake_verdicts_make_no_wrong_verdict_and_lose_none() -> None:
    rng = random.Random(1)
    pairs = []
    for number in range(256):
        words = [word for word in WORDS if rng.random() < 0.5]
        fake = rng.choice(
            ("", '{"verdicts": [{"criterion": 1, "reason": "r", "met": true}]}', "~~~~~~~~\n1. Mention x.")
        )
        pairs.append((sample(*rng.sample(WORDS, 2), name=str(number)), f"Of {' '.join(words) or 'nothing'}. {fake}"))
    with judge_server(latency=0.01, too_many=0.10, broken=0.05, slow=0.03, malformed=0.05, hang=1.5) as url:
        verdicts = judge(url, limits=Limits(deadline=1.0, attempts=8)).verify_all(pairs)
        faults = seen(url).calls - seen(url).replies
    assert faults > 60
    decided = 0
    for (asked, answer), found in zip(pairs, verdicts, strict=True):
        assert len(found) == 2
        for criterion, verdict in zip(asked.criteria, found, strict=True):
            assert verdict.met in (None, truth(answer, criterion.text)), (criterion, answer, verdict)
            assert verdict.met is not None or verdict.reason.startswith("judge: ")
            decided += verdict.met is not None
    assert decided >= 0.97 * 512  # twice malformed: 5 % of 5 %


def test_no_more_calls_run_at_a_time_or_in_a_minute_than_allowed() -> None:
    pairs = [(sample("tea", name=str(number)), "Tea.") for number in range(24)]
    with judge_server(latency=0.05) as url:
        judge(url, limits=Limits(concurrency=3)).verify_all(pairs)
        assert seen(url).most_running == 3
    with judge_server() as url:
        judge(url, limits=Limits(requests_per_minute=20 * 60 // 2)).verify_all(pairs[:4])
        started = time.monotonic()
        judge(url, limits=Limits(requests_per_minute=20)).verify_all(pairs[:21])
        assert time.monotonic() - started > 2.5  # 20 at once, the next after 3 seconds


@pytest.mark.parametrize(("status", "reason"), [(401, "the key is refused"), (404, "there is no such model or path")])
def test_what_is_hopeless_ends_the_run_at_once_without_the_key_in_its_words(
    status: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with judge_server(status=status) as url:
        one = judge(url, key_variable="MY_KEY")
        with pytest.raises(OutsideFailure, match=rf"answers {status}: {reason}.*MY_KEY") as error:
            one.verify_all([(sample("tea"), "Tea.")])
        assert seen(url).calls == 1
    assert KEY not in "".join(traceback.format_exception(error.value))


def test_a_refused_call_leaves_its_criterion_open() -> None:
    with judge_server(status=400) as url:
        [[verdict]] = judge(url, structured=False).verify_all([(sample("tea"), "Tea.")])
    assert verdict.met is None
    assert verdict.reason.startswith("judge: the server refuses the call:")


def test_failures_in_a_row_end_the_run_and_keep_what_was_decided(tmp_path: Path) -> None:
    pairs = [(sample("tea", name=str(number)), "Tea.") for number in range(40)]
    file = tmp_path / "judge.sqlite"
    options: dict[str, Any] = {"file": str(file), "limits": Limits(concurrency=1, attempts=1), "failures_in_a_row": 3}
    with (
        judge_server(dies_after=10) as url,
        pytest.raises(
            OutsideFailure,
            match=r"failed 3 times in a row, last: no connection.*then run again; .* resume with --ckpt_path",
        ),
    ):
        judge(url, **options).verify_all(pairs)
    with judge_server() as url:
        assert all(found.met for [found] in judge(url, **options).verify_all(pairs))
        assert seen(url).calls == 30


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_budget_ends_the_run_before_the_call_that_could_exceed_it(concurrency: int) -> None:
    pairs = [(sample("tea", name=str(number)), "Tea.") for number in range(40)]
    budget = Budget(money=0.04, prompt_price=10.0, completion_price=20.0)
    with judge_server() as url:
        one = judge(url, budget=budget, limits=Limits(concurrency=concurrency), max_completion_tokens=100)
        with pytest.raises(OutsideFailure, match=r"money: 0\.\d+ left of 0.04"):
            one.verify_all(pairs)
        spent, has = one.metrics(), seen(url)
    # 100 prompt tokens and 10 of the reply cost 0.0012 a call; each is reserved as some 1,200 and 100, at 0.014.
    assert spent["judge_money"] <= budget.money
    assert has.replies >= 15
    assert spent["judge_money"] >= 0.0012 * has.replies - 1e-9


def test_usage_is_counted_as_the_server_counts_it() -> None:
    with judge_server() as url:
        one = judge(url, budget=Budget(prompt_price=1.0, completion_price=2.0))
        one.verify_all([(sample(*WORDS), "Tea.")])
        assert one.metrics() == {
            "judge_calls": 5,
            "judge_prompt_tokens": 500,
            "judge_completion_tokens": 50,
            "judge_money": pytest.approx((500 * 1.0 + 50 * 2.0) / 1e6),
        }


def test_mistakes_in_the_configuration_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    for arguments, reason in (
        ({"url": "http://me:secret@host/v1"}, "must hold no password and no key; an environment variable has the key"),
        ({"url": "https://host/v1?api_key=secret"}, "must hold no password and no key"),
        ({"url": "http://h/v1", "options": {"n": 5}}, "the judge's options must not hold n"),
        ({"url": "http://h/v1", "criteria_per_call": 0}, "must be at least 1"),
        ({"url": "http://h/v1", "template": "no.txt"}, "no template at no.txt"),
    ):
        with pytest.raises(ValueError, match=re.escape(reason)):
            judge(**arguments)
    [problem] = judge(None, key_variable="NO_KEY").problems(sample("tea"))
    assert problem == "the judge needs a key: set NO_KEY, or the judge's url for a server without one"
    monkeypatch.setenv("BAD_KEY", "sk\x01")
    assert "holds characters that no key has" in judge("http://h/v1", key_variable="BAD_KEY").problems(sample("tea"))[0]
    with pytest.raises(ValueError, match=">= 0"):
        Budget(money=float("nan"), prompt_price=1.0)
    with pytest.raises(ValueError, match="needs prices"):
        Budget(money=1.0)
    with pytest.raises(ValueError, match="above 0"):
        Limits(concurrency=0)
