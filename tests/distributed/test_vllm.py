"""vLLM inside each process of a sharded run, beside its process group."""

import csv
from pathlib import Path

import pytest

from tests.distributed.conftest import FSDP, ROOT, Run

GAP = 0.01
"""Mean |sampler - trainer| per token; both compute in fp32."""


@pytest.mark.slow
def test_each_process_samples_with_a_vllm_of_its_own_from_weights_in_shards(
    rtt: Run, real_model: str, tmp_path: Path
) -> None:
    rtt(
        "fit",
        f"--config={ROOT / 'tests/assets/tiny_policy.yaml'}",
        *FSDP,
        f"--model.init_args.model={real_model}",
        "--model.init_args.optimizer.init_args.lr=1e-2",
        "--rollout.engine=rtt_lightning.engines.vllm.VLLMEngine",
        "--rollout.engine.init_args={max_model_len: 256, dtype: float32}",
        "--rollout.sampling={n: 4, max_new_tokens: 12}",
        "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
        f"--trainer.logger.init_args={{save_dir: {tmp_path}, name: log, version: ''}}",
        processes=2,
    )
    with (tmp_path / "log/metrics.csv").open() as lines:
        gaps = [float(row["train/logprob_gap"]) for row in csv.DictReader(lines) if row["train/logprob_gap"]]
    assert len(gaps) == 2  # the second one after an update, so of adapters that were gathered from both processes
    assert 0 < max(gaps) <= GAP
