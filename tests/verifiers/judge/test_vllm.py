"""The judge on a real vLLM server: the demo model judges, structured output on, and a run trains on its verdicts."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtt_lightning.commands.run import main
from rtt_lightning.engines.vllm.http import wait_until_up
from rtt_lightning.engines.vllm.process import CPU_SETTINGS
from rtt_lightning.runtime.processes import free_port
from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.verifiers.judge import Limits, LLMJudge
from tests.verifiers.judge.test_run import data, judged_by

__all__ = ["data"]


@pytest.fixture(scope="module")
def vllm(real_model: str) -> Iterator[str]:
    """The address of a chat server, up to ``/v1``."""
    assert importlib.util.find_spec("vllm"), "vLLM is missing; run the tests with `make test`"
    port = free_port()
    arguments = f"--model {real_model} --served-model-name m --host 127.0.0.1 --port {port} --dtype float32"
    arguments += " --max-model-len 2048 --enforce-eager --no-enable-chunked-prefill"
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "rtt_lightning.engines.vllm.process", *arguments.split()],
            stdin=subprocess.PIPE,  # it ends with this process
            stdout=log,
            stderr=log,
            env=CPU_SETTINGS | os.environ | {"VLLM_SERVER_DEV_MODE": "1"},
            start_new_session=True,
        )

        def check() -> None:
            log.seek(0)
            assert server.poll() is None, log.read().decode()[-3000:]

        wait_until_up(f"http://127.0.0.1:{port}", 300, check)
        yield f"http://127.0.0.1:{port}/v1"
        assert server.stdin is not None
        server.stdin.close()
        server.wait(30)


@pytest.mark.slow
def test_a_small_model_judges_within_the_schema(vllm: str) -> None:
    sample = RubricSample(
        "p", ({"role": "user", "content": "Write of tea."},), (Criterion("It is about tea.", "judge"),) * 3
    )
    judge = LLMJudge("m", vllm, max_completion_tokens=160, criteria_per_call=1, file=None, limits=Limits(deadline=240))
    [verdicts] = judge.verify_all([(sample, "Tea is warm and good.")])
    for verdict in verdicts:  # so small a model may go on about its reasons for ever: that is no verdict
        assert verdict.reason.startswith("judge: ")
        assert verdict.met is not None or "cut off" in verdict.reason, verdict
    spent = judge.metrics()
    assert spent["judge_prompt_tokens"] > 100
    assert spent["judge_completion_tokens"] > 5


@pytest.mark.slow
def test_a_run_trains_on_its_verdicts(
    vllm: str, policy_args: Callable[..., list[str]], data: Path, tmp_path: Path
) -> None:
    slow = ("--rollout.verifier.judge.limits={concurrency: 4, deadline: 240}", "--trainer.max_steps=1")
    flags = judged_by(
        vllm, data, tmp_path / "judge.sqlite", "--rollout.verifier.judge.max_completion_tokens=160", *slow
    )
    run = main([*policy_args("fit"), *flags])
    assert run.trainer.global_step == 1
    assert run.trainer.callback_metrics["rollout/judge_calls"] > 0
    assert run.trainer.callback_metrics["rollout/unscorable"] < 1
