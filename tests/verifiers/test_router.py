"""Each criterion goes to the verifier that decides it, and its verdict comes back to its place."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from rtt_lightning.commands.run import main
from rtt_lightning.types import Criterion, Rollout, RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.code import CodeVerifier
from rtt_lightning.verifiers.judging import judge as judged
from rtt_lightning.verifiers.router import Router
from rtt_lightning.verifiers.rules import RuleVerifier

SAMPLE = RubricSample(
    "p",
    ({"role": "user", "content": "Of tea?"},),
    (
        Criterion("Be kind.", "judge"),
        Criterion("Mention tea.", "rtt:include_word", {"word": "tea"}),
        Criterion("Be brief.", "code", {"source": "def check(r): return len(r) < 5"}),
        Criterion("Be true.", "judge"),
        Criterion("No commas.", "rtt:no_commas"),
    ),
)


class Kind(Verifier):
    """Finds all met that is kind, within its session only."""

    is_open = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        self.is_open = True
        yield
        self.is_open = False

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        assert self.is_open
        return [Verdict(criterion.text == "Be kind.", "judge") for criterion in sample.criteria]

    async def verify_loosely(self, sample: RubricSample, answer: str, strict: Sequence[Verdict]) -> list[Verdict]:
        assert [verdict.reason for verdict in strict] == ["judge"] * len(sample.criteria)
        return list(strict)

    def metrics(self) -> dict[str, float]:
        return {"judge_calls": 7.0}


def test_verdicts_come_back_to_their_places() -> None:
    kind = Kind()
    router = Router(RuleVerifier(workers=0), judge=kind, code=CodeVerifier())
    [verdicts] = router.verify_all([(SAMPLE, "I like tea, so.")])
    assert [verdict.met for verdict in verdicts] == [True, True, False, False, False]
    assert not kind.is_open
    assert router.metrics() == {"judge_calls": 7.0}
    assert router.problems(SAMPLE) == []


def test_what_nobody_decides_is_refused_or_left_open() -> None:
    refusing = Router(RuleVerifier(workers=0), code=CodeVerifier())
    assert refusing.problems(SAMPLE) == ["no rule decides this criterion; it needs a judge"] * 2
    leaving = Router(RuleVerifier(workers=0, undecidable="unscorable"), judge=Kind())
    assert leaving.problems(SAMPLE) == []
    [verdicts] = leaving.verify_all([(SAMPLE, "tea")])
    assert [verdict.met for verdict in verdicts] == [True, True, None, False, True]


def test_loose_verdicts_are_asked_of_each_with_its_own_strict_ones(rollout_of) -> None:
    router = Router(RuleVerifier(workers=0), judge=Kind(), code=CodeVerifier())
    [row] = judged(router, [(SAMPLE, rollout_of("Sure, here:\ntea"))], loose=True, mask_truncated=False)
    assert [verdict.met for verdict in row.verdicts] == [True, True, False, False, False]
    assert row.loose is not None
    assert [verdict.met for verdict in row.loose] == [True, True, False, False, True]  # without its first line


def test_a_router_is_composed_in_yaml_and_logged(policy_args, tmp_path) -> None:
    (tmp_path / "router.yaml").write_text(
        f"""
rollout:
  verifier:
    class_path: rtt_lightning.Router
    init_args:
      rules: {{class_path: rtt_lightning.RuleVerifier, init_args: {{workers: 0}}}}
      judge: {{class_path: {__name__}.Kind}}
      code: {{class_path: rtt_lightning.CodeVerifier, init_args: {{native: true}}}}
"""
    )
    run = main(policy_args("fit", "--config", str(tmp_path / "router.yaml")))
    assert run.trainer.callback_metrics["rollout/judge_calls"] == 7
    assert run.trainer.callback_metrics["rollout/steering"] == 0


@pytest.fixture
def rollout_of():
    return lambda text: Rollout.of_text("p", text, (0, len(text)))
