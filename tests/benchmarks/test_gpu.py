"""`make gpu-check` on a machine without a GPU: the same checks at tiny shapes, and an exit code that they decide."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu, gpu_scoring
from benchmarks.random_models import TINY
from rtt_lightning.engines.embedded import engine as embedded

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys

ABSENT = {"jsonargparse", "omegaconf", "datasets", "if_verifiable", "jaxtyping", "beartype"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        package = name.partition(".")[0]
        # huggingface_hub has httpx2 for itself, where it needs it
        if package in ABSENT or (package == "httpx2" and "huggingface_hub" not in sys.modules):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def test_it_needs_no_more_than_gpu_images_have(tmp_path: Path) -> None:
    """From a folder that is not the project's, with packages away that such images lack."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    output = tmp_path / "figures.json"
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--output", output]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    metrics = json.loads(output.read_text())
    assert metrics["passed"] is True
    assert metrics["skipped"] == ["NCCL", "times"]
    assert [check["check"] for check in metrics["checks"] if not check["passed"]] == []
    assert len(metrics["checks"]) == 11


def test_a_fault_ends_it_with_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sampler that reports log-probs of another temperature."""
    right = embedded.draw

    def wrong(*arguments):
        tokens, logprobs = right(*arguments)
        return tokens, logprobs * 0.5

    monkeypatch.setattr(embedded, "draw", wrong)
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--output", str(tmp_path / "figures.json")]) == 1
    metrics = json.loads((tmp_path / "figures.json").read_text())
    passed = {check["check"]: check["passed"] for check in metrics["checks"]}
    assert not passed["the sampler's log-probs are the trainer's"]
    assert passed["fp32 equals the CPU"]


def test_scoring_counts_what_it_reads(tmp_path: Path) -> None:
    """At a tiny shape on the CPU: times mean nothing, the number of tokens does."""
    once, pairs = gpu_scoring.rows(tmp_path, "tiny", TINY, 1e12, "cpu", responses=20, tokens=12)
    prompt = len("Identify which tokens in the response are relevant to the criteria.\n\nCriteria: \n\nResponse: ")
    criterion = len("Mention tea 0 times, group 0.")
    assert once["tokens"] == 3 * 5 * (prompt + criterion) + 20 * 12  # three groups
    assert pairs["tokens"] == 10 * (5 * (prompt + criterion) + 2 * 5 * 12)  # a tenth, times ten
    assert once["seconds"] > 0
