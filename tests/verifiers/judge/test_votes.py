"""What several opinions of a judge make, and how sure that is."""

import json
import sqlite3
from pathlib import Path

import pytest

from rtt_lightning.types import Criterion, RubricSample, Verdict
from rtt_lightning.verifiers.judge import LLMJudge
from rtt_lightning.verifiers.judge.replies import Opinion
from rtt_lightning.verifiers.judge.votes import majority
from tests.verifiers.judge.server import judge_server, seen

YES, NO = Opinion(True, "it is"), Opinion(False, "it is not")


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        ([YES], Verdict(True, "judge: it is")),
        ([YES, NO, YES], Verdict(True, "judge: it is (2 of 3 votes)", confidence=2 / 3)),
        ([NO, NO, NO, YES], Verdict(False, "judge: it is not (3 of 4 votes)", confidence=0.75)),
        ([NO, "judge: down", NO], Verdict(False, "judge: it is not (2 of 2 votes)")),
        ([YES, NO], Verdict.unscorable("judge: a tie of 2 votes")),
        (["judge: down", "judge: slow"], Verdict.unscorable("judge: down")),
    ],
)
def test_the_confidence_is_the_share_of_opinions_that_agree(votes: list[Opinion | str], verdict: Verdict) -> None:
    assert majority(votes) == verdict


def test_opinions_that_were_kept_make_the_same_verdict_again(tmp_path: Path) -> None:
    """One of three in the file is turned round, as if the judge had not been sure."""
    file = tmp_path / "judge.sqlite"
    pairs = [(RubricSample("p", ({"role": "user", "content": "x"},), (Criterion("Mention tea.", "judge"),)), "Tea.")]

    def judge(url: str) -> Verdict:
        return LLMJudge("m", url, file=str(file), votes=3, temperature=1.0).verify_all(pairs)[0][0]

    with judge_server() as url:
        assert judge(url).confidence == 1
        with sqlite3.connect(file) as kept:
            said = json.dumps({"met": False, "reason": "no"})
            kept.execute("UPDATE verdicts SET verdict = ? WHERE key = (SELECT min(key) FROM verdicts)", (said,))
        again = judge(url)
        assert (again.met, again.confidence, seen(url).calls) == (True, pytest.approx(2 / 3), 3)
