"""Small memory: NF4 bases under adapters, and 8-bit AdamW, on the real model."""

from typing import Any

import pytest
import torch
from bitsandbytes.optim import AdamW8bit
from transformers import AutoModelForCausalLM

from rtt_lightning.commands.run import main
from rtt_lightning.lm import loading
from rtt_lightning.lm.forward import response_logprobs
from rtt_lightning.lm.loading import Lora, adapters_count, adapters_merged, add_adapters, load_model, merged_weights
from rtt_lightning.modules import PolicyModule
from rtt_lightning.runtime.sharding import PACKED, shard

QLORA = "--model.init_args.lora={rank: 4, alpha: 8, nf4: true}"


def small_policy(real_model: str, **arguments: Any) -> PolicyModule:
    torch.manual_seed(0)
    policy = PolicyModule(model=real_model, **arguments)
    policy.configure_model()
    return policy


def fixed_batch(policy: PolicyModule) -> dict[str, torch.Tensor]:
    prompt = policy.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    response = policy.tokenizer(" Paris, on the river Seine.", return_tensors="pt")["input_ids"]
    return {
        "prompt_ids": prompt,
        "prompt_lengths": torch.tensor([prompt.shape[1]]),
        "response_ids": response,
        "response_mask": torch.ones_like(response, dtype=torch.bool),
        "temperature": torch.tensor([1.0]),
    }


def losses(policy: PolicyModule, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """The mean negative log-prob of a fixed response before each of some updates, and after the last."""
    batch = fixed_batch(policy)
    seen = []
    for _ in range(steps):
        loss = -policy.response_logprobs(batch)[0].mean()
        seen.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return [*seen, -policy.response_logprobs(batch)[0].mean().item()]


def test_two_steps_over_an_nf4_base_lower_the_loss_and_leave_the_base_alone(real_model: str) -> None:
    policy = small_policy(real_model, lora=Lora(nf4=True), optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3))
    packed = {name: p.clone() for name, p in policy.model.named_parameters() if p.dtype == PACKED}
    assert len(packed) == 30 * 7  # the linear layers of each decoder layer
    assert packed["base_model.model.model.layers.0.mlp.up_proj.base_layer.weight"].numel() == 576 * 1536 // 2
    assert {p.dtype for p in policy.parameters() if p.requires_grad} == {torch.float32}
    first, second, third = losses(policy, policy.configure_optimizers(), steps=2)
    assert first > second > third
    assert all(torch.equal(packed[name], p) for name, p in policy.model.named_parameters() if name in packed)


def test_an_nf4_base_passes_gradients_on_after_it_has_sampled(real_model: str) -> None:
    policy = small_policy(real_model, lora=Lora(nf4=True))
    batch = fixed_batch(policy)
    policy.eval()
    with torch.no_grad():
        sampled = policy.response_logprobs(batch)[0]
    policy.train()
    trained = policy.response_logprobs(batch)[0]
    torch.testing.assert_close(trained, sampled)
    trained.sum().backward()
    gradients = {name: p.grad for name, p in policy.model.named_parameters() if "lora_B" in name}
    assert len(gradients) == 30 * 7
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())


def test_two_steps_of_8_bit_adamw_lower_the_loss(real_model: str) -> None:
    policy = small_policy(real_model, optimizer=lambda p: AdamW8bit(p, lr=1e-3))
    optimizer = policy.configure_optimizers()
    first, second, third = losses(policy, optimizer, steps=2)
    assert first > second > third
    small = {p for p in optimizer.state if p.numel() < 4096}  # bitsandbytes keeps the states of these in fp32
    assert {optimizer.state[p]["state1"].dtype for p in optimizer.state if p not in small} == {torch.uint8}


def test_weights_merged_from_an_nf4_base_are_what_base_and_adapters_compute(real_model: str) -> None:
    policy = small_policy(real_model, lora=Lora(nf4=True))
    layer = policy.model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
    torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.2)
    weights = dict(merged_weights(policy.model))
    with torch.no_grad():
        computed = layer(torch.eye(576)).T.float()  # W x for each unit vector x
        without = layer.base_layer(torch.eye(576)).T.float()
    merged = weights["model.layers.0.mlp.up_proj.weight"].float()
    torch.testing.assert_close(merged, computed, rtol=2e-2, atol=1e-3)  # both round to bf16
    assert (without - computed).abs().mean() > 0.01
    plain = small_policy(real_model, lora=None)
    assert plain.model.load_state_dict(weights, strict=False) == (["lm_head.weight"], [])


def test_responses_are_sampled_over_an_nf4_base_as_it_is(real_model: str) -> None:
    policy = small_policy(real_model, lora=Lora(nf4=True))
    batch = fixed_batch(policy)
    with torch.no_grad():
        expected = policy.response_logprobs(batch)[0]
        with adapters_merged(policy.model):
            assert torch.equal(response_logprobs(policy.model, batch)[0], expected)


def test_qlora_with_8_bit_adamw_trains_through_the_command_line(policy_args) -> None:
    flags = (QLORA, "--model.init_args.optimizer=bitsandbytes.optim.AdamW8bit", "--trainer.precision=bf16-mixed")
    run = main(policy_args("fit", *flags))
    assert run.trainer.global_step == 2
    assert all(p.abs().max() > 0 for name, p in run.model.named_parameters() if "lora_B" in name)


def test_a_4_bit_base_is_not_sharded(real_model: str) -> None:
    policy = small_policy(real_model, lora=Lora(nf4=True))
    with pytest.raises(ValueError, match=r"a 4-bit base cannot be sharded: .* use DDP, or LoRA over bf16"):
        shard(policy.model, mesh=None, low_precision=False)  # refused before the mesh matters


def test_4_bits_without_bitsandbytes_say_what_to_install(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"lora\.nf4 needs bitsandbytes.*pip install 'rtt-lightning\[quant\]'"):
        small_policy(tiny_model, lora=Lora(nf4=True))


def test_adapters_count_once_they_add_something(tiny_model: str) -> None:
    model = load_model(AutoModelForCausalLM, tiny_model, Lora(4, 8))
    assert adapters_count(model)  # without adapters all weights may have moved
    adapted = add_adapters(model, Lora(4, 8), "CAUSAL_LM")
    assert not adapters_count(adapted)
    [first, *_] = [p for name, p in adapted.named_parameters() if ".lora_B." in name]
    with torch.no_grad():
        first[0, 0] = 1e-9
    assert adapters_count(adapted)
