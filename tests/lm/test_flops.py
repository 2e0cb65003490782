"""Operations of an update, against those that PyTorch counts."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from rtt_lightning.lm.flops import peak_flops, update_flops


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("lora", [True, False])
def test_they_are_those_that_pytorch_counts_but_for_attention(lora: bool, tied: bool) -> None:
    """Counted for a long row and for a short one twice: attention grows with the square.

    Of the lowest layer nobody needs the gradient of the input, if its weights are frozen.
    """
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=8, num_attention_heads=4,
        tie_word_embeddings=tied, attn_implementation="eager",
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    if lora:
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))

    def counted(tokens: int) -> int:
        with FlopCounterMode(display=False) as counter:
            model(input_ids=torch.ones(1, tokens, dtype=torch.long), use_cache=False).logits.sum().backward()
        return counter.get_total_flops()

    without_attention = 2 * counted(32) - counted(64) / 2  # a T + b T²
    assert update_flops(model, 32, 32) == pytest.approx(without_attention, rel=0.04)


def test_a_cpu_has_no_known_peak() -> None:
    if not torch.cuda.is_available():
        assert peak_flops("bf16-mixed") is None
