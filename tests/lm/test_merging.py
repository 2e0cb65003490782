"""Merged weights compute what weights and adapters compute apart: by whatever layer of PEFT, in every family."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoraConfig,
    OFTConfig,
    PeftModel,
    PromptTuningConfig,
    get_peft_model,
)
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from rtt_lightning.lm.loading import Lora, adapters_count, adapters_merged, add_adapters, load_model, merged_weights
from rtt_lightning.lm.mergeable import check_mergeable
from rtt_lightning.lm.stored import as_stored
from tests.families import FAMILIES, saved, tiny

IDS = torch.arange(3, 21).reshape(2, 9)
LINEAR = ["q_proj", "down_proj"]
HOST: dict[str, Any] = {"task_type": "CAUSAL_LM"}


def moved(model: Any) -> Any:
    """The model after training, as it were."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


@torch.no_grad()
def logits(model: Any) -> Tensor:
    return model(input_ids=IDS).logits.float()


def filled(family: str, weights: dict[str, Tensor], **changes: Any) -> Any:
    """A plain model with other weights in place of its own; every one but a tied head must be given."""
    model = tiny(family, **changes)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert set(missing) <= set(model.all_tied_weights_keys or ())
    assert not unexpected
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_merged_in_place_and_in_a_copy(family: str, tmp_path: Path) -> None:
    lora = Lora(rank=4, alpha=8.0)
    base = load_model(AutoModelForCausalLM, saved(family, tmp_path), lora)
    policy = moved(add_adapters(base, lora, "CAUSAL_LM"))
    expected = logits(policy)
    with policy.disable_adapter():
        assert (logits(policy) - expected).abs().mean() > 0.05  # the adapters matter
    with adapters_merged(policy):
        torch.testing.assert_close(logits(policy), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(logits(policy), expected)
    weights = dict(merged_weights(policy))
    torch.testing.assert_close(logits(filled(family, weights)), expected, atol=1e-4, rtol=1e-4)
    reference = policy.merge_and_unload().state_dict()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, reference[name], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("family", ["llama", "qwen3_moe", "mixtral", "deepseek_v3"])
def test_servers_get_the_names_shapes_and_dtypes_of_the_files(family: str, tmp_path: Path) -> None:
    lora = Lora(rank=4, alpha=8.0)
    base = load_model(AutoModelForCausalLM, saved(family, tmp_path), lora, torch.bfloat16)
    policy = add_adapters(base, lora, "CAUSAL_LM")  # which add nothing yet
    on_disk = load_file(tmp_path / "model.safetensors")
    handed_over = dict(as_stored(policy, merged_weights(policy), torch.bfloat16))
    assert handed_over.keys() == on_disk.keys()
    alone = {name for name in on_disk if name.endswith("e_score_correction_bias")}
    assert len(alone) == (family == "deepseek_v3")
    for name, weight in handed_over.items():
        assert torch.equal(weight, on_disk[name] if name in alone else on_disk[name].bfloat16()), name


KINDS = {
    "ranks and scales by pattern": LoraConfig(
        target_modules=LINEAR, rank_pattern={"q_proj": 3}, alpha_pattern={"down_proj": 5}, **HOST
    ),
    "rank-stabilised": LoraConfig(target_modules=LINEAR, use_rslora=True, **HOST),
    "DoRA": LoraConfig(target_modules=LINEAR, use_dora=True, **HOST),
    "with biases": LoraConfig(target_modules=["q_proj"], lora_bias=True, **HOST),
    "base biases": LoraConfig(target_modules=["q_proj"], bias="all", **HOST),
    "parameters": LoraConfig(target_modules=[], target_parameters=["q_proj.weight", "up_proj.weight"], **HOST),
    "embedding": LoraConfig(target_modules=[*LINEAR, "embed_tokens"], **HOST),
    "head": LoraConfig(target_modules=[*LINEAR, "lm_head"], **HOST),
    "head in full": LoraConfig(target_modules=LINEAR, modules_to_save=["lm_head"], **HOST),
    "embedding in full": LoraConfig(target_modules=LINEAR, modules_to_save=["embed_tokens"], **HOST),
    "norms in full": LoraConfig(target_modules=LINEAR, modules_to_save=["input_layernorm"], **HOST),
    "some tokens": LoraConfig(target_modules=LINEAR, trainable_token_indices=[5, 6, 7], **HOST),
    "LoHa": LoHaConfig(target_modules=LINEAR, **HOST),
    "OFT": OFTConfig(target_modules=LINEAR, r=0, oft_block_size=8, **HOST),
    "IA3": IA3Config(target_modules=LINEAR, feedforward_modules=["down_proj"], **HOST),
    "norms": LNTuningConfig(target_modules=["input_layernorm"], **HOST),
}


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_of_peft_is_merged(kind: str, tied: bool) -> None:
    changes = {"attention_bias": True, "tie_word_embeddings": tied}
    policy: PeftModel = get_peft_model(tiny("llama", **changes), KINDS[kind])  # pyright: ignore[reportAssignmentType]
    check_mergeable(policy)
    expected = logits(moved(policy))
    with adapters_merged(policy):
        torch.testing.assert_close(logits(policy), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(logits(policy), expected)
    weights = dict(merged_weights(policy))
    untied = changes | {"tie_word_embeddings": "lm_head.weight" not in weights}
    torch.testing.assert_close(logits(filled("llama", weights, **untied)), expected, atol=1e-4, rtol=1e-4)
    assert adapters_count(policy)


def test_tied_weights_that_came_apart_are_not_handed_over_as_one() -> None:
    policy = moved(get_peft_model(tiny("llama"), KINDS["embedding"]))
    with pytest.raises(ValueError, match=r"lm_head\.weight is tied to another weight.*without adapters"):
        list(as_stored(policy, merged_weights(policy), torch.float32))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (LoraConfig(target_modules=LINEAR, alora_invocation_tokens=[3, 4], **HOST), "does not support merging"),
        (LoraConfig(target_modules=["down_proj"], lora_bias=True, **HOST), "the base layer has no bias"),
        (PromptTuningConfig(num_virtual_tokens=3, **HOST), "no weights of the model"),
    ],
    ids=["activated", "bias of nothing", "prompt"],
)
def test_what_cannot_be_merged_is_refused_before_it_trains(config: Any, reason: str) -> None:
    policy = get_peft_model(tiny("llama"), config)
    with pytest.raises(ValueError, match=rf"llama: .* cannot be merged .*{reason}.*lora null"):
        check_mergeable(policy)


def test_a_merge_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora.layer import ParamWrapper

    policy = add_adapters(tiny("qwen3_moe"), Lora(4, 8.0), "CAUSAL_LM")
    modes = [module.training for module in policy.modules()]
    check_mergeable(policy)
    assert [module.training for module in policy.modules()] == modes
    monkeypatch.setattr(ParamWrapper, "get_delta_weight", lambda *args: torch.zeros(()))
    with pytest.raises(ValueError, match=r"qwen3_moe: .*ParamWrapper.*it gives another output"):
        check_mergeable(policy)


def test_a_layer_that_peft_mistakes_for_a_linear_one_is_refused() -> None:
    """The router of PhiMoE is a subclass of a linear layer that gives a pair."""
    policy = add_adapters(tiny("phimoe", num_local_experts=4, num_experts_per_tok=2), Lora(4, 8.0), "CAUSAL_LM")
    with pytest.raises(ValueError, match=r"phimoe: adapters cannot be merged.*does not run"):
        check_mergeable(policy)
