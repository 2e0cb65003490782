"""The judge against a local HTTP server of known latency: wall and CPU time of calls, and their overlap with sampling.

    python -m benchmarks.judge [--calls 512] [--repeats 3] [--model models/SmolLM2-135M-Instruct]

The overlap compares training steps whose soft criteria are judged at once and after 200 ms, in turn in one run.
"""

import gc
import tempfile
import time
from pathlib import Path
from statistics import median

from jsonargparse import auto_cli

from rtt_lightning.commands.run import main as rtt
from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.judge import Limits, LLMJudge
from tests.verifiers.judge.server import judge_server, seen

CONCURRENCY = 64


def main(calls: int = 512, repeats: int = 3, model: str | None = "models/SmolLM2-135M-Instruct") -> None:
    """Time the judge.

    Args:
        calls: Per repeat, each of half a second, 64 at a time.
        repeats: Of each figure.
        model: Policy of the overlap; null leaves it out.
    """
    for _ in range(repeats):
        _calls(calls)
    if model:
        latencies: dict[float, list[float]] = {0.0: [], 0.2: []}
        for _ in range(repeats):
            for latency, seconds in latencies.items():
                seconds.append(_step(model, latency))
        instant, late = (median(seconds) for seconds in latencies.values())
        print(
            f"a step: {instant:.2f} s with an instant judge, {late:.2f} s at 200 ms: {late / instant:.3f} x", latencies
        )


def _calls(calls: int) -> None:
    pairs = [(_sample(str(number)), "Tea by the sea.") for number in range(calls)]
    with judge_server(latency=0.5) as url:
        judge = LLMJudge("m", url, file=None, limits=Limits(concurrency=CONCURRENCY))
        judge.verify_all(pairs[:1])  # imports
        gc.collect()  # of what they leave, which takes a third of a second
        cpu, began = time.process_time(), time.perf_counter()
        verdicts = judge.verify_all(pairs)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert all(verdict.met for [verdict] in verdicts)
        assert seen(url).calls == calls  # the first was kept
    ideal = 0.5 * -(-(calls - 1) // CONCURRENCY)
    print(
        f"{calls} calls: {wall:.2f} s, {wall / ideal:.2f} x the ideal {ideal:g} s, {1000 * cpu / calls:.1f} ms CPU each"
    )


def _sample(name: str) -> RubricSample:
    return RubricSample(name, ({"role": "user", "content": f"Of {name}?"},), (Criterion("Mention tea.", "judge"),))


def _step(model: str, latency: float) -> float:
    """Seconds of one training step: the difference between runs of three and of one."""
    with judge_server(latency=latency) as url, tempfile.TemporaryDirectory() as folder:
        return (_run(model, url, Path(folder), 3) - _run(model, url, Path(folder), 1)) / 2


def _run(model: str, url: str, folder: Path, steps: int) -> float:
    data = folder / "data.jsonl"
    criterion = '{"text": "Mention tea.", "checker": "judge"}'
    data.write_text("".join(f'{{"prompt": "Write of {n}.", "criteria": [{criterion}]}}\n' for n in range(16)))
    began = time.perf_counter()
    rtt(
        [
            "fit",
            "--config=tests/assets/tiny_policy.yaml",
            f"--model.init_args.model={model}",
            f"--data.source={{class_path: rtt_lightning.RecordFiles, init_args: {{train: {data}}}}}",
            "--data.view.init_args.prompts=4",
            "--rollout.sampling={n: 4, max_new_tokens: 48}",
            "--rollout.verifier=rtt_lightning.Router",
            "--rollout.verifier.judge=rtt_lightning.LLMJudge",
            "--rollout.verifier.judge.model=m",
            f"--rollout.verifier.judge.url={url}",
            f"--rollout.verifier.judge.file={folder}/judge.sqlite",
            f"--trainer.max_steps={steps}",
            f"--trainer.default_root_dir={folder}",
        ]
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    auto_cli(main)
