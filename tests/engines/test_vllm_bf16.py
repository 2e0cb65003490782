"""vLLM in bf16, its default, beside a trainer in fp32; other tests of vLLM sample in fp32, in which CPUs are fast."""

from pathlib import Path

import pytest

from tests.engines.common import run_on_vllm, two_steps


@pytest.mark.slow
def test_log_probs_of_bf16_are_near_those_of_the_trainer(real_model: str, tmp_path: Path) -> None:
    """Each rounds its logits to 1/16 on this model: about 0.035 nats per token off fp32."""
    engine = "--rollout.engine=rtt_lightning.engines.vllm.VLLMEngine"
    with run_on_vllm(two_steps(real_model, tmp_path, engine, "--rollout.engine.init_args.max_model_len=256")) as run:
        assert 0 < run.trainer.logged_metrics["train/logprob_gap"] <= 0.05
