"""What several tests share: the real 135M model, a tiny random one with its tokenizer, and short configurations."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "models/SmolLM2-135M-Instruct"
END = 2
"""The end token of its tokenizer."""
ENCODER = ROOT / "models/all-MiniLM-L6-v2"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Pytest's workers, and the servers and processes that they start, share few cores: spinning threads would block others.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
torch.set_num_threads(1)  # `make test` runs as many tests at a time as there are cores


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take minutes come first, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: "vllm" not in item.path.stem)
    for item in items:
        if isinstance(item, pytest.Function) and "real_model" in item.fixturenames:
            item.add_marker("model")


def pytest_collection_finish() -> None:
    """What imports have made is there to stay: looking through it for garbage was a tenth of the time of the tests."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else extensions report at the exit what they take for leaks


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """A trainer leaves ranks and addresses in the environment: runs that other tests start would wait for processes."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@pytest.fixture(scope="session")
def real_model() -> str:
    """SmolLM2-135M-Instruct; `make test` unpacks it."""
    assert MODEL.is_dir(), f"{MODEL} is missing; run the tests with `make test`"
    return str(MODEL)


@pytest.fixture(scope="session")
def real_encoder() -> str:
    """all-MiniLM-L6-v2, uncased; `make test` unpacks it."""
    assert ENCODER.is_dir(), f"{ENCODER} is missing; run the tests with `make test`"
    return str(ENCODER)


@pytest.fixture(scope="session")
def tiny_model(real_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random two-layer Llama with the real tokenizer."""
    return _save(_llama(hidden_size=32, heads=4), real_model, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def vllm_model(real_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Likewise, with heads as wide as vLLM's kernels take, and an end token that comes now and then."""
    model = _llama(hidden_size=64, heads=2)
    with torch.no_grad():
        model.lm_head.weight[END].mul_(5)  # tied; likely after every twentieth token or so
    return _save(model, real_model, tmp_path_factory.mktemp("vllm"))


def _llama(hidden_size: int, heads: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=hidden_size,
            intermediate_size=2 * hidden_size,
            num_hidden_layers=2,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            bos_token_id=1,
            eos_token_id=END,
            pad_token_id=END,
            tie_word_embeddings=True,
            initializer_range=0.2,
        )
    )


def _save(model: LlamaForCausalLM, tokenizer: str, folder: Path) -> str:
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def policy_args(tiny_model: str, tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a short `rtt` run with the tiny policy; ``policy_args("fit", "--flag", ...)``."""

    def arguments(command: str, *more: str) -> list[str]:
        return [
            command,
            "--config",
            str(ROOT / "tests/assets/tiny_policy.yaml"),
            "--model.init_args.model",
            tiny_model,
            "--model.init_args.algorithm=rtt_lightning.algorithms.RTT",
            "--trainer.default_root_dir",
            str(tmp_path),
            "--rollout.output",
            str(tmp_path / "completions"),
            *more,
        ]

    return arguments
