"""A relevance source asks a policy that processes hold together, each for its own responses."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rtt_lightning.relevance import CriteriaContrast, Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.runtime.processes import gather, rank
from rtt_lightning.types import JudgedRollout
from tests.distributed.conftest import DDP, FSDP, Run
from tests.distributed.test_parity import assert_equal_runs, recorded
from tests.relevance.test_contrast import METHOD, records

pytestmark = pytest.mark.slow


class OneAfterTheOther(CriteriaContrast):
    """While a process asks for its responses, the others ask for none."""

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        own = [judged if turn == rank() else [] for turn in range(len(gather(0)))]
        return [row for asked in own for row in super(OneAfterTheOther, self).weigh(asked, policy)]


def test_two_processes_contrast_as_one_does(rtt: Run, policy_args, tmp_path: Path) -> None:
    tasks = (f"Of tea number {number}." for number in range(6))
    arguments = policy_args(
        "fit",
        *METHOD,
        records(tmp_path / "data.jsonl", *tasks),
        "--rollout.engine=tests.distributed.recorder.SeededEngine",
        "--rollout.sampling={n: 9, max_new_tokens: 24}",  # the first process has more responses than one pass holds
        "--model.init_args.lora=null",
        "--model.init_args.optimizer.class_path=torch.optim.SGD",
        "--model.init_args.optimizer.init_args={lr: 0.1}",
        "--data.view.init_args.prompts=3",
        "--canary={warn: 100, stop: 100}",
        "--idle.stop=0",
    )[1:]
    sources: dict[type[RelevanceSource], str] = {
        each: f"--rollout.relevance={each.__module__}.{each.__name__}" for each in (CriteriaContrast, OneAfterTheOther)
    }
    one = recorded(rtt, tmp_path / "one.pt", *arguments, sources[CriteriaContrast])
    assert all(gradient.any() for update in one["updates"] for gradient in update["gradients"].values())
    for strategy, source in ((DDP, CriteriaContrast), (FSDP, CriteriaContrast), (FSDP, OneAfterTheOther)):
        two = recorded(rtt, tmp_path / "two.pt", *arguments, sources[source], *strategy, processes=2)
        assert_equal_runs(one, two)
