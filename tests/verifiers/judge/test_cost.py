"""What a judge would be asked, beside counts by hand, and beside what it is asked."""

from pathlib import Path

import pytest

from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.forecast import Expected, Forecast, of_answers
from rtt_lightning.verifiers.judge import Budget
from rtt_lightning.verifiers.router import Router
from rtt_lightning.verifiers.rules import RuleVerifier
from tests.verifiers.judge.server import judge_server, seen
from tests.verifiers.judge.test_verifier import judge, sample

URL = "http://127.0.0.1:9/v1"
RULE = Criterion("Use two words.", "rtt:min_words", {"n": 2})


@pytest.fixture
def template(tmp_path: Path) -> str:
    """Of 6 bytes, and two pairs of fences with their line ends: 36. The prompt "user: Write of p." has 17."""
    (tmp_path / "template.txt").write_text("[system]\nJudge.\n[user]\n{{prompt}}{{response}}{{criteria}}")
    return str(tmp_path / "template.txt")


def test_calls_tokens_and_money_are_those_counted_by_hand(template: str) -> None:
    one = judge(URL, template=template, max_completion_tokens=50, budget=Budget(None, None, 1.0, 10.0))
    # 59 bytes, a response of 300, and "1. Mention tea." with 15 or "1. Mention milk." with 16: 374 and 375 bytes,
    # both of 125 tokens. So a response costs 2 calls, 250 tokens and 100 of replies.
    [found] = one.foresee([Expected(sample("tea", "milk"), 4, 300)])
    assert found == Forecast("m", 8, 1000, 400, money=0.005)
    assert str(found) == (
        "judge m: about 8 calls with up to 1,000 tokens of prompts (3 bytes each) and 400 of replies, for up to "
        "0.0050; less what was asked before"
    )


def test_votes_criteria_per_call_and_several_prompts(template: str) -> None:
    one = judge(URL, template=template, criteria_per_call=2, votes=3, temperature=1.0, max_completion_tokens=50)
    # "1. Mention tea.\n2. Mention milk." has 32 bytes, "1. Mention sea." 15: 59 + 31 + 32 and 59 + 31 + 15 bytes are 41
    # and 35 tokens. Of the other prompt, half a response: 59 + 1 + 15 bytes, 25 tokens.
    expected = [Expected(sample("tea", "milk", "sea"), 2, 31), Expected(sample("owl", name="q"), 0.5, 1)]
    assert one.foresee(expected) == [Forecast("m", 3 * 4.5, 3 * (2 * 76 + 12.5), 3 * 4.5 * 50, None)]


def test_no_more_of_a_prompt_or_a_response_counts_than_is_shown(template: str) -> None:
    long = RubricSample("p", ({"role": "user", "content": "x" * 1000},), sample("tea").criteria)
    one = judge(URL, template=template, max_characters=60)
    # Of the prompt 60 characters and "\n[... 946 characters are left out here ...]\n", 104 in place of 17; of the
    # response, where 9940 are left out, 105: 59 - 17 + 104 + 105 + 15 = 266 bytes.
    [found] = one.foresee([Expected(long, 1, 10_000)])
    assert found.prompt_tokens == 89


def test_a_router_asks_a_judge_about_its_own_criteria_alone(template: str) -> None:
    router = Router(judge=judge(URL, template=template, criteria_per_call=5))
    mixed = RubricSample("p", sample("tea").messages, (RULE, *sample("tea").criteria))
    rules = RubricSample("q", mixed.messages, (RULE,))
    [found] = router.foresee([Expected(mixed, 2, 1), Expected(rules, 2, 1)])
    assert (found.calls, found.prompt_tokens) == (2, 50)
    assert router.foresee([Expected(rules, 2, 1)]) == []
    assert RuleVerifier(undecidable="unscorable").foresee([Expected(mixed, 2, 1)]) == []
    assert judge(URL).foresee([]) == []


@pytest.mark.parametrize(
    ("limits", "over"),
    [
        ({"tokens": 75}, ""),
        ({"tokens": 74}, "budget.tokens 74, of which 0 is spent"),
        ({"money": 0.000075, "prompt_price": 1.0, "completion_price": 1.0}, ""),
        (
            {"tokens": 9, "money": 1e-6, "prompt_price": 1.0},
            "budget.money 1e-06, of which 0 is spent and budget.tokens 9, of which 0 is spent",
        ),
    ],
)
def test_a_budget_that_is_less_is_named(template: str, limits: dict, over: str) -> None:
    one = judge(URL, template=template, max_completion_tokens=50, budget=Budget(**limits))
    [found] = one.foresee([Expected(sample("tea"), 1, 1)])  # 25 tokens and 50
    assert found.over == over
    assert str(found).endswith(f"; more than {over}: the run may end early" if over else "asked before")


def test_what_other_runs_have_spent_of_a_budget_counts(tmp_path: Path) -> None:
    expected = [Expected(sample("milk"), 1, 4)]
    with judge_server() as url:
        file = str(tmp_path / "judge.sqlite")
        need = judge(url).foresee(expected)[0]
        budget = Budget(tokens=round(need.prompt_tokens + need.reply_tokens) + 109)
        judge(url, file=file).verify_all([(sample("tea"), "Tea.")])  # 100 tokens and 10
        [found] = judge(url, file=file, budget=budget).foresee(expected)
    assert found.over == f"budget.tokens {budget.tokens:,}, of which 110 is spent"


def test_it_is_asked_as_foreseen() -> None:
    answers = [(sample("tea", "milk", "sea"), "Tea by the sea."), (sample("owl", name="q"), "é"), (sample("tea"), " ")]
    with judge_server() as url:
        one = judge(url, criteria_per_call=2)
        [found] = one.foresee(of_answers(answers))
        assert seen(url).calls == 0
        one.verify_all(answers)
        bodies = seen(url).bodies
    assert found.calls == len(bodies) == 3
    sizes = [sum(len(message["content"].encode()) for message in body["messages"]) for body in bodies]
    assert found.prompt_tokens == sum(-(-size // 3) for size in sizes)
    assert found.reply_tokens == sum(body["max_completion_tokens"] for body in bodies)
