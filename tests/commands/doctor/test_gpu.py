"""What `rtt doctor` says, on a CPU, of runs on GPUs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen3Config, Qwen3ForCausalLM

from benchmarks.random_models import QWEN3_06B, word_tokenizer
from rtt_lightning.commands.doctor.imagined import imagine, imagined
from rtt_lightning.commands.doctor.measure import Rows, frozen_bytes, policy_forward, training_memory
from rtt_lightning.lm.attention import use_segments
from rtt_lightning.lm.loading import Lora, add_adapters
from tests.commands.doctor.test_machine import Doctor, doctor, line_of
from tests.conftest import ROOT

__all__ = ["doctor"]
SHAPES = {
    "one-gpu-24gb": Qwen2Config(  # of Qwen2.5-1.5B-Instruct
        vocab_size=151_936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    ),
    "one-gpu-80gb": Qwen3Config(  # of Qwen3-4B-Instruct-2507
        vocab_size=151_936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SHAPES)
def test_recipes_for_one_gpu_need_what_their_headers_say(doctor: Doctor, recipe: str, tmp_path: Path) -> None:
    """With a prompt that is as long as they allow."""
    SHAPES[recipe].save_pretrained(tmp_path / "model")
    word_tokenizer(1024).save_pretrained(tmp_path / "model")
    rule = {"text": "Hi.", "checker": "rtt:include_word", "kwargs": {"word": "hi"}}
    rows = [{"prompt": f"Say hi {n}." + " now" * 1000 * (n == 1), "criteria": [rule]} for n in range(80)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    header = (ROOT / f"configs/recipes/{recipe}.yaml").read_text().partition("\nmodel:")[0]
    gib, needed = re.findall(r"--gpu_memory (\d+).* ([\d.]+) GiB", header, re.DOTALL)[0]
    configs = ["--config=methods/grpo-csr.yaml", f"--config=recipes/{recipe}.yaml"]
    data = [f"--data.source.init_args.train={tmp_path}/data.jsonl", "--data.overlong=truncate"]
    code, output = doctor("--gpu_memory", gib, *configs, *data, f"--model.init_args.model={tmp_path}/model")
    assert code == 0, output
    assert f"{needed} GiB a process of {gib}.0 GiB" in line_of(output, "memory")


def test_an_estimate_is_near_what_a_gpu_took() -> None:
    """Of Qwen3-0.6B's shape, measured on an H200 with responses of several lengths; here all have the mean.

    PEFT computed its adapters then, which keep copies in fp32: with these the estimate was within 3 %.
    """
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(40, 221, (8,), generator=generator)
    lengths[0] = 220
    with torch.device("meta"):
        network: Any = Qwen3ForCausalLM(Qwen3Config(**QWEN3_06B, tie_word_embeddings=True))
        use_segments(network)
        network = add_adapters(network.bfloat16().eval(), Lora(), "CAUSAL_LM")
    rows = Rows(1, 8, 300, int(lengths.float().mean().round()))
    forward, *_ = policy_forward(network, rows, gpu=True)
    with imagined() as memory:
        imagine(network)
        passing = training_memory(network, forward, memory, bf16=True, accumulates=False)
    trained = sum(weight.nbytes for weight in network.parameters() if weight.requires_grad)
    estimated = frozen_bytes(network) + 2 * trained + sum(passing.values())  # weights and their gradients
    measured = json.loads((ROOT / "benchmarks/results/gpu-h200.json").read_text())["times"]
    [took] = [row for row in measured if row["what"] == "update, LoRA: prompt 300, 8 responses of 40 to 220"]
    assert 0.85 < estimated / 2**30 / took["peak GiB"] < 1


def test_a_gpu_that_is_not_here_is_taken_to_be(doctor: Doctor, policy_args: Any) -> None:
    """With vLLM's share of it, and without a vLLM here."""
    engine = ("--rollout.engine=rtt_lightning.VLLMEngine", "--rollout.engine.init_args.gpu_memory_utilization=0.25")
    flags = policy_args("fit", "--trainer.accelerator=auto", "--trainer.precision=auto", *engine)[1:]
    code, output = doctor(*flags, "--gpu_memory=24")
    assert code == 0, output
    assert "GPUs of 24 GiB" in line_of(output, "devices")
    assert "engine 6.00 6.00" in " ".join(output.split())  # a quarter, from training on
    assert "in bf16-mixed" in line_of(output, "micro-batch")
    assert "of 24.0 GiB" in line_of(output, "memory")


@pytest.mark.parametrize("value", ["none", "-1", "0", "nan", "inf"])
def test_memory_that_is_no_number_is_a_mistake(doctor: Doctor, value: str) -> None:
    code, output = doctor(f"--gpu_memory={value}")
    assert code == 2
    assert f"--gpu_memory must be a number of GiB above 0, such as 24, got '{value}'" in output
