"""Sampling, judging and weighing of a window one after another, and as `Collector` does them.

    python -m benchmarks.overlap                     # the embedded engine; the judge answers after 50 and after 200 ms
    python -m benchmarks.overlap --elsewhere true    # a vLLM server on one core, the discriminator on another

Both ways do the same work and take turns: responses to built-in prompts, a judge over HTTP that sees one criterion a
call, and a discriminator of 10 layers with random weights. *Hidden* is what the second way saves, as a share of what
could be: here the judge's seconds lie behind those of the device; where sampling is elsewhere the longest of the three
would remain. Wall time, so on a machine that does nothing else; one thread.
"""

import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jsonargparse import auto_cli

from benchmarks.advantages import spread
from benchmarks.machine import describe
from rtt_lightning.datamodules.prompt_sampler import TRAIN_KINDS, sample_prompts
from rtt_lightning.engines import Sampling, TransformersEngine, VLLMServerEngine
from rtt_lightning.lm.loaded import LoadedModel
from rtt_lightning.modules import DiscriminatorModule
from rtt_lightning.relevance import DiscriminatorRelevance
from rtt_lightning.rollout.collect import Collector
from rtt_lightning.rollout.requests import make_requests
from rtt_lightning.runtime.trainer import computes_bf16
from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.judge import Limits, LLMJudge
from rtt_lightning.verifiers.judging import judge
from tests.verifiers.judge.server import judge_server

LATENCIES = (0.05, 0.2)
Seconds = dict[str, float]


def main(
    model: str = "models/SmolLM2-135M-Instruct",
    prompts: int = 8,
    responses: int = 8,
    tokens: int = 64,
    concurrency: int = 16,
    repeats: int = 5,
    elsewhere: bool = False,
    output: str | None = None,
) -> None:
    """Time both ways.

    Args:
        model: Folder of the policy and of the discriminator's body.
        prompts: Of a window.
        responses: Per prompt.
        tokens: Of the longest response.
        concurrency: Calls of the judge at a time.
        repeats: Windows that count, each collected in both ways, after one that does not.
        elsewhere: Sample with a vLLM server on the last core, and use the first one here.
        output: JSON file for what is printed.
    """
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    if elsewhere:
        os.sched_setaffinity(0, cores[-1:])
    policy = LoadedModel.from_folder(model)
    engine = VLLMServerEngine(max_model_len=512) if elsewhere else TransformersEngine(batch_size=prompts * responses)
    engine.start(policy)
    if elsewhere:
        os.sched_setaffinity(0, cores[:1])
    sampling, rows = Sampling(n=responses, max_new_tokens=tokens, temperature=0.8), []
    with TemporaryDirectory() as folder:
        relevance = DiscriminatorRelevance(_discriminator(model, Path(folder)))
        for latency in LATENCIES:
            with judge_server(latency=latency) as url:
                collector = Collector(engine, relevance=relevance)
                collector.sync(policy)
                windows = [
                    _window(collector, url, concurrency, _samples(prompts, number), sampling)
                    for number in range(repeats + 1)
                ][1:]
            hidden = spread([_hidden(seconds, elsewhere) for seconds in windows])
            rows.append({"latency": latency, "windows": windows, "hidden": hidden})
            print(_line(rows[-1]), flush=True)
    found = {"machine": describe(), "elsewhere": elsewhere, "concurrency": concurrency, "rows": rows}
    if output:
        Path(output).write_text(json.dumps(found, indent=1) + "\n")


def _window(
    collector: Collector, url: str, concurrency: int, samples: list[RubricSample], sampling: Sampling
) -> Seconds:
    """Seconds of each part and of the whole; both ways see a judge that knows nothing yet."""

    def new_judge() -> LLMJudge:
        return LLMJudge("m", url, file=None, limits=Limits(concurrency=concurrency))

    with torch.autocast("cpu", torch.bfloat16, enabled=computes_bf16()):
        began = time.perf_counter()
        collector.verifier = new_judge()
        collector.experience(collector.collect(samples, sampling, weigh=True))
        seconds = {"as one": time.perf_counter() - began}
        return seconds | _one_after_another(collector, new_judge(), samples, sampling)


def _one_after_another(
    collector: Collector, verifier: LLMJudge, samples: list[RubricSample], sampling: Sampling
) -> Seconds:
    assert collector._policy is not None
    requests = make_requests(samples, collector._policy.render, None, (collector.seed, 0, sampling.n))
    times = [time.perf_counter()]
    rows = list(collector.engine.generate(requests, sampling, 0))
    times.append(time.perf_counter())
    found = judge(verifier, [(samples[row.group_id], row) for row in rows], loose=False, mask_truncated=False)
    times.append(time.perf_counter())
    collector.experience(found)
    times.append(time.perf_counter())
    return {
        name: end - start
        for name, start, end in zip(("sampling", "judging", "weighing"), times, times[1:], strict=False)
    }


def _hidden(seconds: Seconds, elsewhere: bool) -> float:
    """Share of the seconds that can be hidden which is."""
    sampling, judging, weighing = (seconds[name] for name in ("sampling", "judging", "weighing"))
    least = max(sampling, judging, weighing) if elsewhere else max(sampling + weighing, judging)
    total = sampling + judging + weighing
    return (total - seconds["as one"]) / (total - least)


def _line(row: dict[str, Any]) -> str:
    middle = {name: spread([window[name] for window in row["windows"]])[0] for name in row["windows"][0]}
    alone = ", ".join(f"{name} {middle[name]:.2f} s" for name in ("sampling", "judging", "weighing"))
    share = "{:.2f} ({:.2f}-{:.2f})".format(*row["hidden"])
    return f"judge of {1000 * row['latency']:.0f} ms: {alone}; as one {middle['as one']:.2f} s: {share} hidden"


def _samples(prompts: int, number: int) -> list[RubricSample]:
    """Built-in prompts with five criteria for a judge; another number gives others."""
    words = ("tea", "owl", "sea", "map", "sky")
    criteria = tuple(Criterion(f"Mention {word}.", "judge") for word in words)
    found = sample_prompts(prompts, seed=number, kinds=TRAIN_KINDS)
    return [RubricSample(sample.id, sample.messages, criteria) for sample in found]


def _discriminator(model: str, folder: Path) -> str:
    """The checkpoint of one that was not trained."""
    module = DiscriminatorModule(model, layers=10)
    module.configure_model()
    saved: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(saved)
    torch.save(saved, folder / "d.ckpt")
    return str(folder / "d.ckpt")


if __name__ == "__main__":
    auto_cli(main)
