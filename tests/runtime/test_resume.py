"""A resumed run equals the unbroken one: weights, logged losses and data order, wherever it was broken off."""

import json
import random
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from rtt_lightning.commands.run import main
from rtt_lightning.runtime.checkpoints import newest, read_checkpoint
from tests.modules.test_discriminator import discriminator_args
from tests.processes import start

UPDATES = 6
TWO_UPDATES = (
    "--data.view.init_args.updates=2",
    "--model.init_args.warmup_steps=4",
    "--model.init_args.kl_coef=0.1",
    "--model.init_args.kl_target=0.1",
    "--model.init_args.kl_gain=1",
)


def saving(folder: Path, *, updates: int = UPDATES, keep: int = 2) -> tuple[str, ...]:
    """Flags of a run that saves after each update and journals beside."""
    class_path = "rtt_lightning.Checkpoints"
    checkpoints = f"{{class_path: {class_path}, init_args: {{folder: {folder}/ckpt, every: 1, keep: {keep}}}}}"
    journal = f"{{class_path: tests.distributed.recorder.Journal, init_args: {{path: {folder}/journal.jsonl}}}}"
    return (
        f"--trainer.callbacks=[{checkpoints},{journal}]",
        f"--ckpt_path={folder}/ckpt",
        f"--trainer.max_steps={updates}",
        "--trainer.enable_checkpointing=true",
    )


def journal(folder: Path) -> dict[int, dict]:
    """What each update logged; one that was done twice must have done the same."""
    updates: dict[int, dict] = {}
    for line in (folder / "journal.jsonl").read_text().splitlines():
        entry = json.loads(line)
        assert updates.setdefault(entry["update"], entry) == entry
    return updates


def final(folder: Path) -> dict[str, torch.Tensor]:
    path = newest(folder / "ckpt")
    assert path is not None
    assert path.name == f"step-{UPDATES:08d}.ckpt"
    return read_checkpoint(path)["state_dict"]


def assert_same(one: Path, other: Path) -> None:
    assert journal(one) == journal(other)
    mine, theirs = final(one), final(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Path]:
    """Folders of unbroken runs by the module they train, each made by the first test that needs it."""
    return {}


@pytest.fixture
def whole(policy_args, unbroken: dict[str, Path], tmp_path: Path) -> Path:
    """The unbroken run of the policy."""
    if "policy" not in unbroken:
        unbroken["policy"] = tmp_path / "whole"
        unbroken["policy"].mkdir()
        main(policy_args("fit", *TWO_UPDATES, *saving(unbroken["policy"])))
    return unbroken["policy"]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_policy_equals_the_unbroken_one(policy_args, whole: Path, tmp_path: Path, stop: int) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    main(policy_args("fit", *TWO_UPDATES, *saving(broken, updates=stop)))
    main(policy_args("fit", *TWO_UPDATES, *saving(broken)))
    assert_same(whole, broken)


def test_tokens_seen_are_those_of_all_windows_and_go_on_after_resuming(policy_args, tmp_path: Path) -> None:
    counts: list[int] = []
    for updates in (3, UPDATES):  # broken off within the second of three windows, which is not sampled anew
        run = main(policy_args("fit", *TWO_UPDATES, *saving(tmp_path, updates=updates)))
        windows = sorted((tmp_path / "completions").glob("window-*.parquet"))
        counts.append(sum(len(ids) for path in windows for ids in pq.read_table(path)["response_ids"].to_pylist()))
        assert run.trainer.callback_metrics["rollout/tokens_seen"] == counts[-1]
    assert 0 < counts[0] < counts[1]


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_a_resumed_discriminator_equals_the_unbroken_one(
    tiny_model: str, unbroken: dict[str, Path], tmp_path: Path, stop: int
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    flags = ("--seed_everything=3", "--trainer.accumulate_grad_batches=2", "--model.init_args.warmup_steps=4")
    if "discriminator" not in unbroken:
        unbroken["discriminator"] = whole = tmp_path / "whole"
        whole.mkdir()
        main(discriminator_args(tmp_path, tiny_model, *flags, *saving(whole)))
    whole = unbroken["discriminator"]
    main(discriminator_args(tmp_path, tiny_model, *flags, *saving(broken, updates=stop)))
    main(discriminator_args(tmp_path, tiny_model, *flags, *saving(broken)))
    assert_same(whole, broken)


def _wait_for(path: Path, process: ForkServerProcess) -> None:
    while not path.exists():
        assert process.is_alive(), f"ended with {process.exitcode} before {path} was there"
        time.sleep(0.01)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_lose_nothing(policy_args, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    start(["--version"], tmp_path / "log").join()  # afterwards all is imported, and all start equally fast
    began = time.monotonic()
    process = start(policy_args("fit", *TWO_UPDATES, *saving(whole)), tmp_path / "log")
    _wait_for(whole / "ckpt", process)
    ready = time.monotonic() - began
    process.join()
    done = time.monotonic() - began
    rng, kills, runs = random.Random(0), 0, 0
    while kills < 20:
        broken = tmp_path / f"broken-{runs}"
        broken.mkdir(exist_ok=True)
        process = start(policy_args("fit", *TWO_UPDATES, *saving(broken)), tmp_path / "log")
        began = time.monotonic()
        process.join(rng.uniform(0.8 * ready, done))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        kills += process.exitcode == -signal.SIGKILL
        if process.exitcode == 0:
            quicker = (time.monotonic() - began) / done  # what else ran beside the first run may have ended since
            ready, done = quicker * ready, quicker * done
            assert_same(whole, broken)
            runs += 1
    main(policy_args("fit", *TWO_UPDATES, *saving(broken)))
    assert_same(whole, broken)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.3, 0.7])
def test_sigterm_saves_and_exits_143(policy_args, whole: Path, tmp_path: Path, moment: float) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    process = start(policy_args("fit", *TWO_UPDATES, *saving(broken)), tmp_path / "log")
    _wait_for(broken / "ckpt", process)
    time.sleep(moment)
    process.terminate()
    process.join()
    assert process.exitcode in (143, 0)  # 0 where all was done before it came
    if moment == 0:
        assert process.exitcode == 143
    main(policy_args("fit", *TWO_UPDATES, *saving(broken)))
    assert_same(whole, broken)
