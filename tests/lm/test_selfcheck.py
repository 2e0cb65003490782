"""The training forward is held against the model's own logits: shared, one by one, or refused with the reason."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    BartForCausalLM,
    DeepseekV32Config,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from rtt_lightning.lm.attention import use_segments
from rtt_lightning.lm.forward import may_share, response_logprobs
from rtt_lightning.lm.loading import Lora, add_adapters, checkpoint_activations
from rtt_lightning.lm.selfcheck import ForwardCheck, a_few_tokens, check_forward
from rtt_lightning.modules import PolicyModule
from tests.lm.test_forward import BATCH

WORDS = range(3, 100)
SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
DECODER: dict[str, Any] = {
    "vocab_size": 100,
    "d_model": 32,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 64,
    "init_std": 0.3,
}
OPT = OPTConfig(
    vocab_size=100, hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=32,
    init_std=0.3, dropout=0.1,
)  # fmt: skip
EXPERTS = Qwen3MoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)


def checked(model: Any) -> ForwardCheck:
    return check_forward(model, partial(response_logprobs, model), a_few_tokens(WORDS))


def made(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    model = kind(config).eval()
    use_segments(model)
    return model


class CountsOnItsOwn(LlamaForCausalLM):
    """Takes positions, and counts through the sequence all the same."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model.register_forward_pre_hook(
            lambda _, args, kwargs: (args, {**kwargs, "position_ids": None}), with_kwargs=True
        )


class Scaled(LlamaForCausalLM):
    """A head with a scale that no configuration names."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output: Any = super().forward(*args, **kwargs)
        output.logits = output.logits * 0.7
        return output


class LeavesWordsOut(LlamaForCausalLM):
    """Padding of the vocabulary is no word."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output: Any = super().forward(*args, **kwargs)
        output.logits = output.logits[..., :90]
        return output


class MixesRows(LlamaForCausalLM):
    """Rows depend on those beside them, as with experts of limited capacity."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model.norm.register_forward_hook(lambda _, args, states: states + states.mean((0, 1)))


@pytest.mark.parametrize(
    ("kind", "config"),
    [(LlamaForCausalLM, LlamaConfig(**SIZES)), (Qwen3MoeForCausalLM, EXPERTS), (OPTForCausalLM, OPT)],
    ids=["llama", "experts", "opt"],
)
@pytest.mark.parametrize("low", [False, True], ids=["fp32", "bf16-mixed"])
def test_families_that_take_positions_and_masks_share_prompts(kind: Any, config: Any, low: bool) -> None:
    model = made(kind, config)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        found = checked(model)
    assert found.share
    assert found.error < found.rounding < (1.0 if low else 1e-3)


def test_four_forward_passes_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[torch.Size] = []
    for kind in (LlamaForCausalLM, CountsOnItsOwn, Scaled):
        model = made(kind, LlamaConfig(**SIZES))
        model.model.layers[0].register_forward_pre_hook(lambda _, args: passes.append(args[0].shape))
        try:
            checked(model)
        except ValueError:
            assert kind is Scaled
    assert len(passes) <= 12
    assert max(shape[0] * shape[1] for shape in passes) <= 2 * (8 + 16)


@pytest.mark.parametrize("low", [False, True], ids=["fp32", "bf16-mixed"])
def test_a_family_that_ignores_positions_is_computed_row_by_row(low: bool) -> None:
    model = made(CountsOnItsOwn, LlamaConfig(**SIZES))
    assert may_share(model)  # nothing but a trial shows it
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        found = checked(model)
    assert not found.share
    assert found.error < found.rounding


def test_a_family_that_takes_no_positions_is_computed_row_by_row() -> None:
    model = made(BartForCausalLM, BartConfig(**DECODER))
    assert not may_share(model)
    assert not checked(model).share


@pytest.mark.parametrize("kind", [Scaled, LeavesWordsOut, MixesRows])
@pytest.mark.parametrize("adapters", [False, True], ids=["all-weights", "lora"])
def test_logits_that_are_more_than_a_linear_head_are_refused(kind: Any, adapters: bool) -> None:
    model = made(kind, LlamaConfig(**SIZES))
    if adapters:
        model = add_adapters(model, Lora(4, 8), "CAUSAL_LM")
    with pytest.raises(ValueError, match=rf"log-probs of {kind.__name__} .* nats per token off .* plain linear head"):
        checked(model)


def test_a_scaled_head_is_refused_in_low_precision() -> None:
    with pytest.raises(ValueError, match="off those by its own logits"), torch.autocast("cpu", torch.bfloat16):
        checked(made(Scaled, LlamaConfig(**SIZES)))


def test_dropout_that_stays_on_is_named() -> None:
    model = made(OPTForCausalLM, OPT)
    for layer in model.model.decoder.layers:
        layer.training = True
    torch.manual_seed(1)
    with pytest.raises(ValueError, match=r"right in evaluation mode: it drops out"):
        checked(model)


def test_weights_that_are_no_numbers_are_refused() -> None:
    model = made(LlamaForCausalLM, LlamaConfig(**SIZES))
    nn.init.constant_(model.model.norm.weight, torch.nan)
    with pytest.raises(FloatingPointError, match=r"LlamaForCausalLM computes NaN .* by its own logits"):
        checked(model)


@pytest.mark.parametrize(("kind", "config"), [(OPTForCausalLM, OPT), (BartForCausalLM, BartConfig(**DECODER))])
def test_recomputed_layers_do_not_drop_out(kind: Any, config: Any) -> None:
    """Families whose layers drop out by their own mode: log-probs and gradients are those without recomputing."""
    model = made(kind, config)
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    runs = []
    for recompute in (False, True, True):
        if recompute:
            checkpoint_activations(model)
        model.zero_grad()
        logprobs = response_logprobs(model, BATCH, share=False)[0]
        (logprobs * weight).sum().backward()
        runs.append([logprobs.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for run in runs[1:]:
        for one, other in zip(runs[0], run, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert all(layer.training for layer in model.model.decoder.layers)


def passes(policy: PolicyModule) -> int:
    """How often the body runs when a batch is computed for the first time."""
    seen: list[int] = []
    layer = policy.model.get_submodule("base_model.model.model.layers.0")
    hook = layer.register_forward_pre_hook(lambda *_: seen.append(1))
    policy.response_logprobs(BATCH)
    hook.remove()
    return len(seen)


def test_what_a_checkpoint_knows_is_not_checked_again(tiny_model: str) -> None:
    def policy(found: dict[str, Any], **arguments: Any) -> PolicyModule:
        policy = PolicyModule(model=tiny_model, **arguments)
        policy.configure_model()
        policy.on_load_checkpoint({"state_dict": policy.state_dict() and _trained(policy), "forward_check": found})
        return policy

    first = policy({})
    assert passes(first) == 5
    assert passes(first) == 1
    saved: dict[str, Any] = {"state_dict": first.state_dict()}
    first.on_save_checkpoint(saved)
    assert passes(policy(saved["forward_check"])) == 1
    assert passes(policy(saved["forward_check"], gradient_checkpointing=True)) == 5  # it may have changed the outcome
    with torch.autocast("cpu", torch.bfloat16):
        assert passes(policy(saved["forward_check"])) == 5


def _trained(policy: PolicyModule) -> dict[str, torch.Tensor]:
    return {name: p for name, p in policy.named_parameters() if p.requires_grad}


def test_the_first_computation_leaves_gradients_as_they_are(tiny_model: str) -> None:
    """Under autocast, weights cast while no gradient was asked for must not stand in for those of the update."""
    gradients = []
    for check_before in (True, False):
        policy = PolicyModule(model=tiny_model, lora=None)
        policy.configure_model()
        if check_before:
            policy.response_logprobs(BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            policy.response_logprobs(BATCH)[0].sum().backward()
        gradients.append({name: p.grad for name, p in policy.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None
        torch.testing.assert_close(gradient, gradients[1][name])


LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 6,
}
INDEXED: dict[str, Any] = {
    **{"num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8},
    **{"v_head_dim": 8, "index_n_heads": 2, "index_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2},
    **{"n_group": 1, "topk_group": 1, "moe_intermediate_size": 32, "first_k_dense_replace": 1, "n_shared_experts": 1},
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (Phi3Config(**SIZES, pad_token_id=0, original_max_position_embeddings=5, rope_parameters=dict(LONGROPE)), 5),
        (LlamaConfig(**SIZES, rope_parameters=dict(LONGROPE)), 6),
        (LlamaConfig(**SIZES, rope_parameters=dict(DYNAMIC), max_position_embeddings=5), 5),
        (DeepseekV32Config(**SIZES | INDEXED, index_topk=5), 5),
        (LlamaConfig(**SIZES, max_position_embeddings=5), None),
    ],
    ids=["phi3", "longrope", "dynamic", "sparse", "default"],
)
def test_rows_beyond_the_original_length_are_refused(config: Any, limit: int | None) -> None:
    """They would change the log-probs of rows beside them, or theirs be chance. Those of `BATCH` have 3 to 5 tokens."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    response_logprobs(model, BATCH)
    longer = {name: value.clone() for name, value in BATCH.items()}
    longer["response_ids"] = torch.cat([BATCH["response_ids"], BATCH["response_ids"][:, :2]], dim=1)
    longer["response_mask"] = torch.ones_like(longer["response_ids"], dtype=torch.bool)
    if limit is None:
        response_logprobs(model, longer)
        return
    with pytest.raises(ValueError, match=f"own up to {limit} tokens: .*up to 8: lower data.max_prompt_tokens"):
        response_logprobs(model, longer)


def test_layers_that_select_among_keys_read_plain_rows() -> None:
    """A few tokens are all selected, so that only the configuration can tell."""
    sparse: dict[str, Any] = {"index_topk_blocks": 16, "index_block_size": 128}
    assert not may_share(made(LlamaForCausalLM, LlamaConfig(**SIZES, **sparse)))
    assert may_share(made(LlamaForCausalLM, LlamaConfig(**SIZES)))
