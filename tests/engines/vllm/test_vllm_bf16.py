"""vLLM in bf16, its default, beside a trainer in fp32; other tests of vLLM sample in fp32, in which CPUs are fast."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.lm.forward import response_logprobs
from tests.engines.common import as_batch, run_on_vllm, two_steps


@pytest.mark.slow
def test_log_probs_of_bf16_are_as_far_from_fp32_as_rounding_puts_them(vllm_model: str, tmp_path: Path) -> None:
    """How far depends on the tokens that were sampled: the same model in bf16 without vLLM says how far for these.

    Both round states and logits to bf16 in their own order, so their errors are of one size and not equal.
    """
    engine = ("--rollout.engine=rtt_lightning.VLLMEngine", "--rollout.engine.init_args.max_model_len=256")
    lr = "--model.init_args.optimizer.init_args.lr=1e-7"
    with run_on_vllm(two_steps(vllm_model, tmp_path, *engine, lr)) as run:
        [rollouts] = (c for c in run.trainer.callbacks if isinstance(c, RolloutCallback))
        rows = [item.rollout for item in rollouts.judged]
        batch = as_batch(rows)
        # The update after these responses moved the weights by 1e-7: far below what bf16 resolves.
        trained, rounded = (_logprobs(model, batch) for model in (run.model.model, _in_bf16(run.model)))
    sampled = torch.tensor([logprob for row in rows for logprob in row.logprobs or ()])
    expected = (rounded - trained).abs().mean()
    assert 0.3 * expected < (sampled - trained).abs().mean() < 3 * expected


def _in_bf16(policy) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(policy.base_model, dtype=torch.bfloat16)
    model.load_state_dict(policy.model.state_dict())
    return model


@torch.no_grad()
def _logprobs(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of all response tokens, in one row."""
    return response_logprobs(model, batch)[0][batch["response_mask"]]
