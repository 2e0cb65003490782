"""Real vLLM servers, on a small model, over HTTP: two for all of these tests; the last tests kill them."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import torch

from rtt_lightning.commands.run import main
from rtt_lightning.engines import SampleRequest, Sampling
from rtt_lightning.engines.vllm.http import wait_until_up
from rtt_lightning.engines.vllm.nccl_handover import NCCLHandover
from rtt_lightning.engines.vllm.process import VLLMProcess
from rtt_lightning.engines.vllm.server import VLLMServerEngine
from rtt_lightning.modules import PolicyModule
from rtt_lightning.types import OutsideFailure, Rollout
from tests.conftest import ROOT
from tests.engines.common import ask, logprob_gap, sample, tokens, two_steps
from tests.engines.vllm import cpu_communicator
from tests.pids import wait_for_end

GAP = 0.01
"""Mean |sampler - trainer| per token; both compute in fp32."""
QUESTIONS = ("Write one sentence about tea.", "Name three colours.", "Why is the sky blue?")
SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def servers(vllm_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[VLLMProcess]]:
    assert importlib.util.find_spec("vllm"), "vLLM is missing; run the tests with `make test`"
    plugin = tmp_path_factory.mktemp("plugin") / "cpu_communicator-0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: cpu-communicator\nVersion: 0\n")
    (plugin / "entry_points.txt").write_text(cpu_communicator.ENTRY_POINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{plugin.parent}:{ROOT}")
        servers = [VLLMProcess(vllm_model, "float32", 256, 0.1, NCCLHandover.server_arguments) for _ in range(2)]
    for server in servers:
        wait_until_up(server.url, 300, server.check_running)
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def policy(vllm_model: str) -> PolicyModule:
    policy = PolicyModule(model=vllm_model, lora=None)
    policy.configure_model()
    return policy


@pytest.fixture(scope="module")
def engine(servers: list[VLLMProcess], policy: PolicyModule) -> VLLMServerEngine:
    engine = VLLMServerEngine([server.url for server in servers], dtype="float32")
    engine.start(policy)
    return engine


@pytest.mark.slow
def test_rows_come_from_the_policy_s_weights_with_exact_tokens(engine: VLLMServerEngine, policy: PolicyModule) -> None:
    requests = ask(policy, *QUESTIONS)
    rows = sample(engine, requests, Sampling(max_new_tokens=16, temperature=0.8), version=3)
    assert [(row.group_id, row.sample_index) for row in rows] == [(g, i) for g in range(3) for i in range(4)]
    end = policy.tokenizer.eos_token_id
    for row in rows:
        assert (row.prompt_ids, row.policy_version) == (requests[row.group_id].prompt_ids, 3)
        assert row.text == policy.tokenizer.decode(row.response_ids, skip_special_tokens=True)
        assert row.finish_reason == ("stop" if row.response_ids[-1] == end else "length")
    assert logprob_gap(policy, rows).mean() <= GAP
    assert tokens(sample(engine, requests, Sampling(max_new_tokens=16, temperature=0.8))) == tokens(rows)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["norm", "embed_tokens"])  # the latter is the output head too
def test_reloaded_weights_are_sampled_from_on_every_server(
    engine: VLLMServerEngine, policy: PolicyModule, layer: str
) -> None:
    requests = ask(policy, *QUESTIONS)
    before = sample(engine, requests, SHORT)
    weight = policy.model.model.get_submodule(layer).weight
    original = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(1 + 0.5 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)))
    engine.sync(policy)
    changed = sample(engine, requests, SHORT)
    assert tokens(changed) != tokens(before)
    assert logprob_gap(policy, changed).max() <= 5 * GAP  # each of them, whichever server it comes from
    with torch.no_grad():
        weight.copy_(original)
    engine.sync(policy)
    assert tokens(sample(engine, requests, SHORT)) == tokens(before)


@pytest.mark.slow
def test_a_few_tokens_beside_top_p_come_from_every_server(engine: VLLMServerEngine, policy: PolicyModule) -> None:
    rows = list(engine.probe(ask(policy, "Name three colours.", n=1), Sampling(temperature=0.7, top_p=0.9), 0))
    assert sorted(row.sample_index for row in rows) == list(range(len(engine.urls)))
    assert logprob_gap(policy, rows).mean() <= GAP


@pytest.mark.slow
def test_vllm_s_own_weight_transfer_reaches_every_server(
    engine: VLLMServerEngine, servers: list[VLLMProcess], policy: PolicyModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_communicator.register(monkeypatch.setattr)
    handover = NCCLHandover("127.0.0.1", packed=False)
    direct = VLLMServerEngine([server.url for server in servers], handover, "float32")
    direct.start(policy)
    requests = ask(policy, *QUESTIONS)
    before = sample(direct, requests, SHORT)
    assert logprob_gap(policy, before).max() <= 5 * GAP
    weight = policy.model.model.norm.weight
    original = weight.detach().clone()
    with torch.no_grad():
        weight.mul_(1 + 0.5 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)))
    direct.sync(policy)
    changed = sample(direct, requests, SHORT)
    assert tokens(changed) != tokens(before)
    assert logprob_gap(policy, changed).max() <= 5 * GAP
    with torch.no_grad():
        weight.copy_(original)
    direct.sync(policy)
    assert tokens(sample(direct, requests, SHORT)) == tokens(before)
    direct.urls = (*direct.urls, "http://127.0.0.1:9")
    with pytest.warns(UserWarning, match=r"http://127.0.0.1:9 is left out .*refused"):
        direct.sync(policy)
    assert direct._alive == [server.url for server in servers]
    engine.sync(policy)  # the next tests go on with it


@pytest.mark.slow
def test_top_k_gives_no_log_probs_and_a_long_prompt_is_named(engine: VLLMServerEngine, policy: PolicyModule) -> None:
    rows = sample(engine, ask(policy, "Name three colours."), Sampling(max_new_tokens=4, top_k=5))
    assert [row.logprobs for row in rows] == [None] * 4
    with pytest.raises(ValueError, match=r"it exceeds max_model_len 256"):
        next(engine.generate(ask(policy, "tea " * 300), SHORT, 0))


@pytest.mark.slow
def test_what_any_server_would_refuse_ends_the_run_at_once(engine: VLLMServerEngine) -> None:
    with pytest.raises(ValueError, match=r"the vLLM server at http.* refused a request: .*token_ids"):
        sample(engine, [SampleRequest("empty", 0, (), (0,))], SHORT)
    assert engine._alive == list(engine.urls)


@pytest.mark.slow
def test_a_closed_generator_stops_the_servers(
    engine: VLLMServerEngine, policy: PolicyModule, servers: list[VLLMProcess]
) -> None:
    rows = engine.generate(ask(policy, *QUESTIONS), Sampling(max_new_tokens=96), 0)
    next(rows)
    rows.close()
    ends = time.monotonic() + 30
    while sum(httpx.get(f"{server.url}/load").json()["server_load"] for server in servers):
        assert time.monotonic() < ends, "requests are still running"
        time.sleep(0.2)
    engine.sync(policy)  # would fail while responses are being sampled


@pytest.mark.slow
def test_a_server_with_other_weights_is_found_out(
    engine: VLLMServerEngine, policy: PolicyModule, servers: list[VLLMProcess]
) -> None:
    httpx.post(f"{servers[0].url}/update_weight_version", json={"new_version": "another run"})
    with pytest.warns(UserWarning, match="sampled with weights .'another run'. in place of"):
        rows = sample(engine, ask(policy, *QUESTIONS), SHORT)
    assert len(rows) == 12
    engine.sync(policy)  # takes it in again
    assert engine._alive == list(engine.urls)


@pytest.mark.slow
def test_a_run_on_servers_trains(servers: list[VLLMProcess], vllm_model: str, tmp_path: Path) -> None:
    """The second window was sampled while the first one trained: from the weights before its update."""
    ahead = ("--rollout.ahead=1", "--model.init_args.importance_cap=2")
    metrics = []
    for more in ((), ahead):
        run = main([*arguments(servers, vllm_model, tmp_path), *more])
        assert run.trainer.global_step == 2
        metrics.append({name: float(value) for name, value in run.trainer.logged_metrics.items()})
    now, old = (each["train/logprob_gap"] for each in metrics)
    assert 0 < now <= GAP < old
    assert metrics[1]["rollout/staleness"] == 1
    assert 0.5 < metrics[1]["train/importance_weight"] < 2


@pytest.mark.slow
def test_servers_killed_while_sampling_are_replaced_by_the_others_until_none_is_left(
    engine: VLLMServerEngine, policy: PolicyModule, servers: list[VLLMProcess], vllm_model: str, tmp_path: Path
) -> None:
    engine.sync(policy)  # the run before left its own weights
    # Long enough that short answers come while others are still being sampled.
    rows = engine.generate(ask(policy, *QUESTIONS), Sampling(max_new_tokens=200), 0)
    first = next(rows)

    def lose_a_server() -> list[Rollout]:
        servers[1].stop()  # its loss may be noticed before it has ended
        return [first, *rows]

    with pytest.warns(UserWarning, match=f"{servers[1].url} is left out until the next change of weights"):
        all_rows = lose_a_server()
    assert sorted((row.group_id, row.sample_index) for row in all_rows) == [(g, i) for g in range(3) for i in range(4)]
    assert logprob_gap(policy, all_rows).mean() <= GAP

    # Now a run with the one that is left, which dies within the second window.
    global doomed
    doomed = servers[0]
    with pytest.raises(OutsideFailure, match=r"no vLLM server is left .* Nothing of this window was trained on"):
        main(
            [
                *arguments(servers[:1], vllm_model, tmp_path),
                f"--rollout.engine={__name__}.Doomed",
                "--rollout.engine.init_args.concurrency=2",  # else all might have come when the first one is seen
                "--trainer.enable_checkpointing=true",
                "--trainer.callbacks=rtt_lightning.Checkpoints",
                f"--trainer.callbacks.init_args.folder={tmp_path}/c",
                "--trainer.callbacks.init_args.every=1",
            ]
        )
    assert [path.name for path in (tmp_path / "c").glob("*.ckpt")] == ["step-00000001.ckpt"]  # the first update alone


doomed: VLLMProcess


class Doomed(VLLMServerEngine):
    """Loses its server after the first response of the second window."""

    def generate(self, *args: Any) -> Iterator[Any]:
        self.windows = getattr(self, "windows", 0) + 1
        for row in super().generate(*args):
            if self.windows == 2:
                doomed.stop()
            yield row


def arguments(servers: list[VLLMProcess], model: str, folder: Path) -> list[str]:
    return two_steps(
        model,
        folder,
        "--rollout.engine=rtt_lightning.VLLMServerEngine",
        f"--rollout.engine.init_args.urls=[{','.join(server.url for server in servers)}]",
        "--rollout.engine.init_args.dtype=float32",
        "--model.init_args.optimizer.init_args.lr=1e-4",  # far enough from the weights before to tell
    )


def test_a_server_that_nobody_runs_is_named(policy: PolicyModule) -> None:
    with pytest.raises(ValueError, match=r"no vLLM server answers at http://127.0.0.1:9 after 0.1 seconds: .*refused"):
        VLLMServerEngine(["http://127.0.0.1:9/"], start_deadline=0.1).start(policy)


def test_a_server_that_cannot_start_ends_the_wait_with_its_log(tmp_path: Path) -> None:
    server = VLLMProcess(str(tmp_path), "bfloat16", None, 0.1)  # a hub's name would be asked for again and again
    server.wait(timeout=120)
    with pytest.raises(
        ValueError, match=r"(?s)the vLLM server ended with exit code 1; its log, .*, ends with:\n.*Error"
    ):
        server.check_running()


def test_a_server_ends_with_a_parent_that_is_killed(vllm_model: str) -> None:
    code = f"""
import time
from rtt_lightning.engines.vllm.nccl_handover import NCCLHandover
from rtt_lightning.engines.vllm.http import wait_until_up
from rtt_lightning.engines.vllm.process import VLLMProcess
print(VLLMProcess({vllm_model!r}, "float32", None, 0.1).pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    os.kill(server, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for_end(server)  # its interpreter may still be starting
