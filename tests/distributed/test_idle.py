"""A window teaches nothing if it does so on no process; then all of them end, with one count."""

import os
from pathlib import Path

import pytest

from rtt_lightning.types import RubricSample, Verdict
from rtt_lightning.verifiers.base import Verifier
from tests.distributed.conftest import DDP, Run

pytestmark = pytest.mark.slow
THREE = 3  # responses per window and process


class SecondProcessIsIdle(Verifier):
    """All is met on the second process; on the first one, responses differ in the first two windows."""

    asked = 0

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        self.asked += 1
        unmet = os.environ["LOCAL_RANK"] == "0" and self.asked in (1, THREE + 1)
        return [Verdict(not unmet, "said")] * len(sample.criteria)


def test_processes_count_together_and_end_together(rtt: Run, policy_args, tmp_path: Path) -> None:
    flags = (
        "--model.init_args.algorithm=rtt_lightning.GRPO",
        "--rollout.engine=tests.distributed.recorder.SeededEngine",
        f"--rollout.verifier={__name__}.{SecondProcessIsIdle.__name__}",
        "--idle.stop=2",
        "--trainer.max_steps=9",
    )
    printed = rtt(*policy_args("fit"), *DDP, *flags, processes=2, expect=1)
    assert "window 2 teaches nothing: all criteria met: no response of 6 is better than another" in printed
    assert "window 0 teaches" not in printed
    assert "rtt: 2 windows in a row taught nothing" in printed
    windows = {path.name for path in (tmp_path / "completions").iterdir()}
    assert windows == {f"window-{number:06d}-rank{rank}.parquet" for number in range(4) for rank in range(2)}
