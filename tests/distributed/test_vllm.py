"""Sharded training with vLLM in the same processes: its weights are gathered from the shards after each update."""

import csv
from pathlib import Path

import pytest

from tests.distributed.conftest import Run
from tests.engines.common import two_steps


@pytest.mark.slow
def test_each_shard_samples_from_the_weights_of_all(rtt: Run, vllm_model: str, tmp_path: Path) -> None:
    arguments = two_steps(
        vllm_model,
        tmp_path,
        "--rollout.engine=rtt_lightning.VLLMEngine",
        "--rollout.engine.init_args={max_model_len: 256, dtype: float32}",
        "--model.init_args.optimizer.init_args.lr=1e-2",  # far enough from the first weights to tell
        f"--trainer.logger={{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {{save_dir: {tmp_path}}}}}",
        "--trainer.log_every_n_steps=1",
    )
    rtt(*arguments, "--config=configs/strategies/fsdp.yaml", processes=2)
    [log] = tmp_path.rglob("metrics.csv")
    with log.open() as lines:
        gaps = [float(row["train/logprob_gap"]) for row in csv.DictReader(lines) if row.get("train/logprob_gap")]
    assert len(gaps) == 2
    assert 0 < max(gaps) <= 1e-3
