"""What only a GPU can show: that everything is right on it, and how long the parts take.

    make gpu-check                      (python benchmarks/gpu.py [--output figures.json])

Needs torch, transformers, lightning, peft, torchmetrics, pyarrow, safetensors and rich alone: no installation of this
project, network, weights or vLLM. Prints JSON with the card and the versions; the exit code is 1 if a check fails. At
most 8 minutes on a GPU of 80 GB; where TRL is installed, updates are timed beside its own. Without a GPU the same
checks run at tiny shapes on the CPU, without NCCL and times.
"""

import argparse
import importlib.metadata
import json
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the project need not be installed

from benchmarks import gpu_checks as checks
from benchmarks.gpu_attention import attends
from benchmarks.gpu_scoring import scoring
from benchmarks.gpu_times import times
from benchmarks.random_models import QWEN3_06B, TINY, save_random_model
from benchmarks.update import ON_A_GPU, compare
from rtt_lightning.lm.loading import Lora
from rtt_lightning.runtime.terminal import quieten

PACKAGES = ("torch", "transformers", "lightning", "peft", "torchmetrics", "pyarrow", "safetensors", "triton")
WIDER = TINY | {"num_hidden_layers": 3, "hidden_size": 96}
"""What stands for the large policy on a CPU."""

Check = Callable[[checks.Setting], dict[str, float]]


def main(arguments: list[str]) -> int:
    """Run all checks, then take times where there is a GPU; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    output = parser.parse_args(arguments).output
    quieten()
    has_gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as name:
        setting = _setting(Path(name), has_gpu)
        found = [_checked(what, check, setting) for what, check in _checks(setting).items()]
        measured = _measured(setting) if has_gpu else {"skipped": ["NCCL", "times"], "because": "no GPU"}
    passed = all(check["passed"] for check in found) and "failed" not in measured
    text = json.dumps({**_machine(has_gpu), "passed": passed, "checks": found, **measured}, indent=2)
    print(text)
    if output:
        output.write_text(f"{text}\n")
    return 0 if passed else 1


def _setting(folder: Path, has_gpu: bool) -> checks.Setting:
    return checks.Setting(
        device="cuda" if has_gpu else "cpu",
        tiny=save_random_model(folder / "tiny", TINY),
        policy=save_random_model(folder / "policy", QWEN3_06B if has_gpu else WIDER),
        folder=folder,
        tokens=64 if has_gpu else 12,
    )


def _checks(setting: checks.Setting) -> dict[str, Check]:
    """By what they show; the discriminator learns from the responses of the runs before it."""
    policies = {"tiny policy": setting.tiny, "policy": setting.policy}
    trained = {"LoRA": Lora(), "all weights": None}
    return {
        **{
            f"the {name} trains in bf16-mixed, {what}": partial(checks.trains, model=model, lora=lora)
            for name, model in policies.items()
            for what, lora in trained.items()
        },
        "fp32 equals the CPU": checks.equals_the_cpu,
        "attention over segments equals that with a mask": attends,
        "FSDP2 on one device equals no strategy": checks.shards_on_one_device,
        "a resumed run equals the unbroken one": checks.resumes,
        "a discriminator trains and weighs": checks.trains_a_discriminator,
        "one pass, by decoder and encoder, equals the CPU": checks.reads_in_one_pass,
        "the sampler's log-probs are the trainer's": checks.samples,
    }


def _checked(what: str, check: Check, setting: checks.Setting) -> dict[str, Any]:
    """Run one check; whatever it raises is its result, so that the others run too."""
    began = time.monotonic()
    try:
        result: dict[str, Any] = {"passed": True, **check(setting)}
    except Exception as error:
        traceback.print_exc()
        result = {"passed": False, "error": f"{type(error).__name__}: {error}"}
    seconds = time.monotonic() - began
    print(f"{'passed' if result['passed'] else 'FAILED'} in {seconds:5.1f} s: {what}", file=sys.stderr, flush=True)
    return {"check": what, "seconds": round(seconds, 1), **result}


def _measured(setting: checks.Setting) -> dict[str, Any]:
    model = setting.policy
    try:
        rows = times(model)
        matmul = 2 * 8192**3 / (rows[0]["milliseconds"] / 1000)
        measured: dict[str, Any] = {"times": rows, "scoring": scoring(setting.folder, matmul)}
        if find_spec("trl"):
            measured["beside TRL"] = [compare(work, model, sys.executable, repeats=5) for work in ON_A_GPU]
        return measured
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}


def _machine(has_gpu: bool) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if has_gpu else f"CPU, {platform.machine()}",
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
