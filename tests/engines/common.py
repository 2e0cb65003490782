"""What the engine tests share: requests, and the trainer's own log-probs of sampled responses."""

import gc
import importlib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.commands.run import RTTCommandLine, main
from rtt_lightning.engines import RolloutEngine, SampleRequest, Sampling
from rtt_lightning.engines.vllm.engine import VLLMEngine
from rtt_lightning.lm.tokenizers import render_prompt
from rtt_lightning.modules import PolicyModule
from rtt_lightning.types import Rollout
from tests.conftest import ROOT


def ask(policy: PolicyModule, *questions: str, n: int = 4) -> list[SampleRequest]:
    """One request per question in the chat template, with seeds 0 to n - 1 for the first and so on."""
    return [
        SampleRequest(
            prompt_id=f"question {number}",
            group_id=number,
            prompt_ids=render_prompt(policy.tokenizer, [{"role": "user", "content": question}]),
            seeds=tuple(range(n * number, n * (number + 1))),
        )
        for number, question in enumerate(questions)
    ]


def two_steps(model: str, folder: Path, *engine: str) -> list[str]:
    """Arguments of two steps of RTT on all weights, in fp32, with an engine."""
    return [
        "fit",
        f"--config={ROOT / 'tests/assets/tiny_policy.yaml'}",
        f"--model.init_args.model={model}",
        "--model.init_args.algorithm=rtt_lightning.algorithms.RTT",
        "--model.init_args.lora=null",
        "--model.init_args.optimizer.init_args.lr=1e-5",
        *engine,
        "--rollout.sampling={n: 4, max_new_tokens: 16}",
        f"--trainer.default_root_dir={folder}",
    ]


@contextmanager
def run_on_vllm(arguments: Sequence[str]) -> Iterator[RTTCommandLine]:
    """A run with vLLM in this process, which is afterwards as free of it as it can be."""
    assert importlib.util.find_spec("vllm"), "vLLM is missing; run the tests with `make test`"
    environment, threads = dict(os.environ), torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine vLLM's threads wait for each other
    run = main(arguments)
    yield run
    [engine] = (c.collector.engine for c in run.trainer.callbacks if isinstance(c, RolloutCallback))
    assert isinstance(engine, VLLMEngine)
    engine._engine.engine_core.shutdown()
    del engine._engine
    importlib.import_module("vllm.distributed").cleanup_dist_env_and_memory()  # its process group of one
    gc.collect()
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(environment)
    assert not torch.distributed.is_initialized()


def sample(engine: RolloutEngine, requests: Sequence[SampleRequest], sampling: Sampling, version: int = 0):
    """All responses, in order of prompt and sample index."""
    rows = engine.generate(requests, sampling, version)
    return sorted(rows, key=lambda row: (row.group_id, row.sample_index))


def tokens(rows: Iterable[Rollout]) -> list[tuple[int, ...]]:
    return [row.response_ids for row in rows]


def logprob_gap(policy: PolicyModule, rows: Sequence[Rollout]) -> Tensor:
    """|sampler - trainer| of every response token, in one row; the trainer's as `response_logprobs` computes them."""
    batch = as_batch(rows)
    with torch.no_grad():
        logprobs = policy.response_logprobs(batch)[0][batch["response_mask"]]
    sampled = torch.tensor([logprob for row in rows for logprob in row.logprobs or ()])
    assert len(sampled) == len(logprobs) > 0
    return (sampled - logprobs).abs()


def as_batch(rows: Sequence[Rollout]) -> dict[str, Tensor]:
    """What `response_logprobs` takes."""
    return {
        "prompt_ids": _padded([row.prompt_ids for row in rows]),
        "prompt_lengths": torch.tensor([len(row.prompt_ids) for row in rows]),
        "response_ids": _padded([row.response_ids for row in rows]),
        "response_mask": _padded([[1] * len(row.response_ids) for row in rows]).bool(),
        "temperature": torch.tensor([row.temperature for row in rows]),
    }


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
