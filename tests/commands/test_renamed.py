"""Spellings of version 0.1 still parse, with one line that names those of today."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import Tensor

from rtt_lightning import algorithms
from rtt_lightning.commands.given import read_arguments
from rtt_lightning.commands.renamed import CLASSES, GRPO, MODELS, OF_GRPO, OF_RTT, POLICY, RTT, renamed
from rtt_lightning.commands.run import main
from tests.conftest import ROOT

OLD = ROOT / "tests/assets/v0.1.0/config.yaml"
"""What version 0.1.0 printed for `rtt fit --config configs/demo/policy.yaml`, as it saved it beside logs."""
OLD_DISCRIMINATOR = "rtt_lightning.discriminator.DiscriminatorModule"
NO_MODEL = "--model.init_args.model=none"
SOURCE = "--rollout.relevance=rtt_lightning.DiscriminatorRelevance"


def parsed(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[dict[str, Any], str]:
    """The configuration, and what was said."""
    with pytest.raises(SystemExit) as ended:
        main(["fit", *args, "--print_config"])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    return yaml.safe_load(printed.out), "".join(line for line in printed.err.splitlines() if line.startswith("rtt: "))


@pytest.mark.parametrize("path", [POLICY, *MODELS.values(), *CLASSES.values()])
def test_every_new_name_is_there(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_an_old_saved_configuration_says_what_it_said(capsys: pytest.CaptureFixture[str]) -> None:
    before, (now, said) = yaml.safe_load(OLD.read_text()), parsed(capsys, "--config", str(OLD))
    old, new = before["model"]["init_args"], now["model"]["init_args"]
    assert now["model"]["class_path"] == POLICY
    assert new.pop("algorithm") == {"class_path": RTT, "init_args": {name: old.pop(name) for name in OF_RTT}}
    later = {"importance_cap": None, "dual_clip": None, "kl_target": None, "kl_gain": 0.1}
    later["ratio"] = "rtt_lightning.functional.losses.token_ratio"
    assert new == old | later  # settings since then change nothing
    since = {"rollout": {"ahead": 0, "micro_batch_tokens": None}}
    for group in ("data", "rollout", "canary", "watch", "idle", "guard"):
        text = yaml.safe_dump(before[group])
        for name, path in CLASSES.items():
            text = text.replace(name, path)
        text = text.replace("batch_size: 64", "batch_tokens: null")
        text = text.replace("    withheld: 0", "    withheld: 0\n    unseen: 0")
        assert now[group] == yaml.safe_load(text) | since.get(group, {}), group
    assert said.count("rtt: ") == 1
    assert "rtt_lightning.policy.RTT is now rtt_lightning.PolicyModule with rtt_lightning.RTT" in said
    assert "rtt_lightning.engines.transformers.TransformersEngine is now rtt_lightning.TransformersEngine" in said


def test_an_old_flag_of_the_demo_goes_to_the_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    now, said = parsed(capsys, "--config", "configs/demo/policy.yaml", "--model.init_args.beta", "0.25")
    assert now["model"]["init_args"]["algorithm"]["class_path"] == RTT
    assert now["model"]["init_args"]["algorithm"]["init_args"]["beta"] == 0.25
    assert said.endswith(f"model.init_args.beta is now in model.init_args.algorithm.init_args, of {RTT}")


def algorithm(path: str, **arguments: Any) -> dict[str, Any]:
    return {"model": {"class_path": POLICY, "init_args": {"algorithm": {"class_path": path, "init_args": arguments}}}}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--model=rtt_lightning.policy.RTT"], algorithm(RTT)),
        (["--model.class_path", "rtt_lightning.policy.PolicyModule"], algorithm(GRPO)),
        (["--model.beta=0.1"], algorithm(RTT, beta=0.1)),
        (["--model.init_args.advantage_clip", "null"], algorithm(RTT, advantage_clip=None)),
        (["--model.scale_rewards=false"], algorithm(GRPO, scale_rewards=False)),
        (["--model=PolicyModule", "--model.alpha=0"], algorithm(RTT, alpha=0)),
        ([f"--model.algorithm={RTT}", "--model.scale_rewards=false"], algorithm(RTT, scale_rewards=False)),
        (["--model.algorithm=mine.Scheme", "--model.init_args.beta=2"], algorithm("mine.Scheme", beta=2)),
        (["--model.algorithm.class_path=a.B", "--config=model: {init_args: {beta: 1}}"], algorithm("a.B", beta=1)),
        (
            ["--model={class_path: RTT, init_args: {beta: 1, algorithm: {init_args: {alpha: 2}}}}"],
            algorithm(RTT, beta=1, alpha=2),
        ),
    ],
)
def test_arguments_of_old_policies_become_those_of_an_algorithm(args: list[str], expected: dict[str, Any]) -> None:
    given, [said] = renamed(read_arguments(["fit", *args]))
    assert given[-1].tree == expected
    assert given[:-1] == read_arguments(["fit", *args])[:-1]
    assert said.startswith("spelt as in version 0.1, which the next release will not read: ")


def test_values_of_a_file_with_old_spellings_are_those_of_yaml(tmp_path: Path) -> None:
    values = "{a: 1.0e-06, b: 2026-11-28, c: .inf, d: 'null', e: null, f: 'é: [', g: 00:00:12:00, h: {'x y': [1, two]}}"
    (tmp_path / "old.yaml").write_text(f"model: {{class_path: {OLD_DISCRIMINATOR}}}\nvalues: {values}\n")
    [_, given], _ = renamed(read_arguments(["fit", f"--config={tmp_path}/old.yaml"]))
    assert yaml.safe_load(given.words[1]) == given.tree
    assert given.tree["values"] == yaml.safe_load(values)


def test_a_method_that_is_named_later_takes_the_place_of_an_old_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yaml").write_text("model: {class_path: rtt_lightning.policy.RTT, init_args: {beta: 0.1}}")
    now, said = parsed(capsys, f"--config={tmp_path}/old.yaml", "--config=methods/gdpo.yaml", NO_MODEL)
    assert now["model"]["init_args"]["algorithm"] == {"class_path": "rtt_lightning.GDPO", "init_args": {}}
    assert f"{tmp_path}/old.yaml names RTT, methods/gdpo.yaml GDPO: the latter counts" in said


@pytest.mark.parametrize(
    "args",
    [
        ["--model=mine.Scheme", "--model.init_args.beta", "0.25"],
        ["--model.init_args.beta", "0.25", "--config", "model: {class_path: mine.Scheme, init_args: {alpha: 1}}"],
        ["--config", "demo/discriminator.yaml", "--model.init_args.lora.rank", "4"],
        ["--config", "methods/rtt.yaml", "--config", "demo/policy.yaml", "--responses", "x"],
        ["--config", "model: 3", "--model", "null", "--model.init_args", "text"],
        [SOURCE, "--rollout.relevance=mine.Source", "--rollout.relevance.batch_size", "8"],
    ],
)
def test_what_is_no_old_spelling_is_left_as_it_is(args: list[str]) -> None:
    given = read_arguments(["fit", *args])
    assert renamed(given) == (given, [])


@pytest.mark.parametrize("flag", ["init_args.batch_size=8", "batch_size=8", "init_args={batch_size: 8}"])
def test_the_pairs_that_a_discriminator_read_at_a_time_are_no_longer_given(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = "--rollout.relevance.init_args.checkpoint=d.ckpt"
    now, said = parsed(capsys, SOURCE, f"--rollout.relevance.{flag}", checkpoint, NO_MODEL)
    expected = {"checkpoint": "d.ckpt", "batch_tokens": None, "model": None, "accept_mismatch": False}
    assert now["rollout"]["relevance"]["init_args"] == expected
    assert "rollout.relevance.init_args.batch_size, of pairs, is now batch_tokens, by default what suits" in said


@pytest.mark.parametrize(("old", "new"), CLASSES.items())
def test_classes_that_moved_are_found_in_flags_and_yaml(old: str, new: str) -> None:
    given, [said] = renamed(read_arguments(["fit", f"--a.b={old}", "--config", f"a: [{{b: {{class_path: {old}}}}}]"]))
    assert [each.tree for each in given[1:]] == [{"a": {"b": new}}, {"a": [{"b": {"class_path": new}}]}]
    assert given[1].words == ("--a.b", new)
    assert said.endswith(f": {old} is now {new}")


def test_the_tables_hold_the_arguments_of_the_algorithms(capsys: pytest.CaptureFixture[str]) -> None:
    for path, names in ((RTT, OF_RTT), (GRPO, OF_GRPO)):
        now, _ = parsed(capsys, f"--model.algorithm={path}", NO_MODEL)
        assert now["model"]["init_args"]["algorithm"]["init_args"].keys() == {*names}


def test_old_imports_work_or_say_what_to_write() -> None:
    old = importlib.import_module("rtt_lightning.policy")
    with pytest.warns(FutureWarning, match=r"is now rtt_lightning\.PolicyModule"):
        assert old.PolicyModule is importlib.import_module("rtt_lightning.modules").PolicyModule
    with pytest.raises(ImportError, match=r"write PolicyModule\(model, RTT\(beta=0.5\)\)"):
        old.RTT  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        old.other  # noqa: B018


def reward(met: Tensor, scorable: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    return (met & scorable).float().mean(1), weights.any(1)


def combine(response: Tensor, token: Tensor, response_mask: Tensor, alpha: float, beta: float) -> Tensor:
    return response[:, None] * response_mask * alpha + beta * token


def test_functions_of_the_users_that_take_what_they_took_are_refused_at_once() -> None:
    called = r"reward\(met: .* cannot be called with \(experience\), as since version 0.2: .* argument: 'scorable'"
    with pytest.raises(ValueError, match=called):
        algorithms.GRPO(response_reward=reward)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"cannot be called with \(response, token, alpha, beta\)"):
        algorithms.RTT(combine=combine)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"cannot be called with \(experience, std_floor\)"):
        algorithms.RTT(partition=reward)  # pyright: ignore[reportArgumentType]


def test_the_changelog_lists_every_old_spelling() -> None:
    listed = (ROOT / "CHANGELOG.md").read_text()
    models = {old: f"{POLICY}` with algorithm `{path}" for old, path in MODELS.items() if "." in old}
    arguments = {f"model.init_args.{name}": f"model.init_args.algorithm.init_args.{name}" for name in OF_RTT}
    for old, new in (models | CLASSES | arguments).items():
        assert f"| `{old}` | `{new}` |\n" in listed
