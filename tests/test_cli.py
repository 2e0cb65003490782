"""The command line: how configurations compose, and what a user sees of a mistake."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import huggingface_hub
import pytest
import yaml

from rtt_lightning.cli import COMMANDS, answer, run
from rtt_lightning.commands.doctor.dry_run import ParsedOnly
from rtt_lightning.commands.given import SUBCOMMANDS
from rtt_lightning.commands.run import main
from rtt_lightning.runtime.checkpoints import point_to
from rtt_lightning.types.errors import UserError
from tests.processes import start

ROOT = Path(__file__).parents[1]
GOOD = {
    "prompt": "Say hi.",
    "criteria": [{"text": "Use tea.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}}],
}
WRONG_CHECKER = {**GOOD, "criteria": [{**GOOD["criteria"][0], "checker": "rtt:include_wrd"}]}


def records(folder: Path, *rows: Any) -> tuple[str, ...]:
    """Flags for a data file of these rows."""
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ("--data.source=rtt_lightning.RecordFiles", f"--data.source.init_args.train={folder}/data.jsonl")


def config(folder: Path, text: str, name: str = "extra.yaml") -> tuple[str, str]:
    """Flags for a configuration file."""
    (folder / name).write_text(text)
    return ("--config", str(folder / name))


def file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def message_of(stderr: str) -> str:
    """The one error message, with nothing around it that would hide it."""
    assert "Traceback" not in stderr
    assert "usage:" not in stderr
    before, _, message = stderr.rpartition("rtt: ")
    assert not before or before.endswith("\n")
    message, _, after = message.partition("\n(RTT_TRACEBACK=1 shows where this was raised)\n")
    assert after == ""
    assert len(message.splitlines()) < 8
    return message


# -- help ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["rtt_lightning", "rtt_lightning.cli"])
def test_it_runs_as_a_module(module: str) -> None:
    ended = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.startswith("usage: rtt COMMAND")


QUICK = [["--help"], ["--version"], ["configs"], ["configs", "demo/policy.yaml"], ["data", "--help"]]
HEAVY = "{'torch', 'lightning', 'transformers', 'jsonargparse', 'numpy'}"


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_what_needs_no_model_imports_nothing_heavy(words: list[str]) -> None:
    code = f"import sys; from rtt_lightning.cli import answer; answer({words}); sys.exit({HEAVY} & {{*sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.stderr.strip() == "set()"
    assert ended.stdout


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What `rtt` prints where it ends well."""
    with suppress(SystemExit):
        assert not answer(words)
    return capsys.readouterr().out


def test_help_lists_every_command_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--help").splitlines()
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in COMMANDS)
    assert max(map(len, lines)) <= 80
    assert {*SUBCOMMANDS} < {*COMMANDS}
    assert "data check" in shown(capsys, "data", "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"usage: rtt {name} " in shown(capsys, *name.split(), "--help")


def test_help_of_fit_begins_with_its_groups_and_says_how_to_see_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    first = shown(capsys, "fit", "--help").splitlines()[:24]
    assert max(map(len, first)) <= 80
    assert all(any(line.startswith(f"  {group} ") for line in first) for group in ("model", "data", "rollout"))
    assert any("rtt fit --model.help" in line for line in first)
    assert "--model.clip_high" in shown(capsys, "fit", "--model.help")
    assert "--algorithm.beta" in shown(capsys, "fit", "--model.algorithm.help", "RTT")
    assert "--rollout.verifier.url" in shown(capsys, "fit", "--rollout.verifier.help", "LLMJudge")


def test_a_file_that_comes_along_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "configs", "demo/policy.yaml") == (ROOT / "configs/demo/policy.yaml").read_text()
    with pytest.raises(UserError, match=r"no file 'demo/polcy.yaml' is shipped.*did you mean 'demo/policy.yaml'\?"):
        answer(["configs", "demo/polcy.yaml"])


# -- mistakes ------------------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Callable[[Path], tuple[str, ...]], str]] = {
    "a wrong key in YAML": (lambda f: config(f, "trainer: {max_stepz: 3}"), "did you mean 'trainer.max_steps'?"),
    "a wrong argument of a class": (lambda f: config(f, "model: {init_args: {loraa: 3}}"), "did you mean 'lora'?"),
    "a wrong argument of the algorithm": (
        lambda f: config(f, "model: {init_args: {algorithm: {init_args: {betta: 3}}}}"),
        "Option 'betta' is not accepted; did you mean 'beta'?",
    ),
    "a wrong flag": (lambda f: ("--trainer.max_stepz=3",), "--trainer.max_stepz=3; did you mean 'trainer.max_steps'?"),
    "a wrong flag of a part": (lambda f: ("--model.algorithm.betta=3",), "did you mean 'beta'?"),
    "a wrong group": (lambda f: config(f, "rolout: {seed: 3}"), "did you mean 'rollout.seed'?"),
    "a class by a wrong name": (lambda f: ("--model=PolicyModul",), "did you mean 'PolicyModule'?"),
    "a wrong type": (lambda f: ("--rollout.sampling.n=many",), "rollout.sampling.n: expected int, got 'many'"),
    "a class in the place of a number": (
        lambda f: ("--model.optimizer.init_args.lr=big",),
        "model.optimizer.lr: expected float or a class, got 'big'",
    ),
    "no class of that name": (
        lambda f: ("--model.optimizer=torch.optim.Adamx",),
        "model.optimizer: there is no Adamx in torch.optim; did you mean 'Adam",
    ),
    "an algorithm by a wrong name": (
        lambda f: ("--model.algorithm=RTTT",),
        "model.algorithm: expected a class, got 'RTTT'; did you mean 'RTT'?",
    ),
    "an argument of another algorithm": (
        lambda f: ("--model.algorithm=GRPO", "--model.algorithm.zeta=3"),
        "Option 'zeta' is not accepted; it takes response_reward, scale_rewards",
    ),
    "a flag of a part that is deeper": (
        lambda f: ("--data.train=f.jsonl",),
        "--data.train=f.jsonl; did you mean 'data.source.init_args.train'?",
    ),
    "an unknown model class": (lambda f: ("--model=rtt_lightning.PolicyModul",), "did you mean 'PolicyModule'?"),
    "an unknown class in YAML": (
        lambda f: config(f, "rollout: {relevance: {class_path: rtt_lightning.Nope}}"),
        "rollout.relevance: there is no Nope in rtt_lightning",
    ),
    "no YAML file": (lambda f: ("--config", f"{f}/none.yaml"), "File does not exist: '"),
    "broken YAML": (lambda f: config(f, "trainer: {max_steps: 3\n  x: ["), "line 2, column"),
    "no checkpoint": (lambda f: ("--ckpt_path", f"{f}/none.ckpt"), "no checkpoint at "),
    "a damaged checkpoint": (lambda f: ("--ckpt_path", str(file(f / "a.ckpt", "PK"))), "a.ckpt is damaged or no"),
    "no model folder": (lambda f: (f"--model.init_args.model={f}/none",), "cannot read a tokenizer from"),
    "no criteria": (lambda f: records(f, {**GOOD, "criteria": []}), "at least one criterion, got []"),
    "an unknown checker": (
        lambda f: records(f, GOOD, WRONG_CHECKER),
        "unknown checker 'rtt:include_wrd'; did you mean 'rtt:include_word'? (1 criteria, first in prompt 'data.jsonl",
    ),
    "an overlong prompt": (lambda f: ("--data.max_prompt_tokens=3",), "raise data.max_prompt_tokens, or set data."),
    "an empty data file": (lambda f: records(f), "data.jsonl holds no records; it needs at least one row"),
    "too few prompts": (lambda f: ("--data.view.init_args.prompts=9",), "8 training prompts do not fill a window of 9"),
    "a share above 1": (lambda f: (*records(f, GOOD), "--data.val_share=2"), "must be in [0, 1)"),
    "a negative learning rate": (lambda f: ("--model.init_args.optimizer.init_args.lr=-1",), "learning rate: -1.0"),
    "groups of none": (lambda f: ("--rollout.sampling.n=0",), "sampling needs n >= 1"),
    "a missing device": (lambda f: ("--trainer.accelerator=hpu",), "'hpu'"),
    "an output folder that is a file": (lambda f: (f"--rollout.output={file(f / 'out', '')}",), "File exists: '"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_one_short_message_and_exit_code_2(
    mistake: str, policy_args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, expected = MISTAKES[mistake]
    monkeypatch.setattr(sys, "argv", ["rtt", *policy_args("fit", *flags(tmp_path))])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    message = message_of(capsys.readouterr().err)
    assert expected in message
    assert "Union subtypes" not in message


def test_a_folder_of_another_run_is_named_before_anything_is_loaded(policy_args, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "step-00000003.ckpt").touch()
    point_to(folder / "step-00000003.ckpt")
    flags = [f"--trainer.callbacks={{class_path: rtt_lightning.Checkpoints, init_args: {{folder: {folder}}}}}"]
    flags.append("--trainer.enable_checkpointing=true")
    with (
        patch("rtt_lightning.callbacks.rollout.say_cost", side_effect=AssertionError("it began")),
        pytest.raises(UserError, match=r"up to step-00000003.ckpt; add --ckpt_path .*--trainer.callbacks.folder NEW"),
    ):
        main(policy_args("fit", *flags))
    run = main(policy_args("fit", *flags, f"--trainer.callbacks.folder={tmp_path}/new", "--trainer.max_steps=1"))
    assert (tmp_path / "new/latest").is_file()
    assert run.trainer.global_step == 1


def test_a_wrong_command_is_answered_with_the_nearest(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["rtt", "vaildate"])
    with pytest.raises(SystemExit, match="2"):
        run()
    assert message_of(capsys.readouterr().err).endswith("did you mean 'validate'?")


def test_what_is_no_mistake_of_the_user_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, args: Sequence[str]) -> None:
        raise ValueError("of a library, in the middle of a run")

    monkeypatch.setattr("rtt_lightning.commands.check_data.command", broken)
    monkeypatch.setattr(sys, "argv", ["rtt", "data", "check", "x"])
    with pytest.raises(ValueError, match="of a library"):
        run()


def test_the_console_shows_the_message_and_no_traceback(policy_args) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "rtt_lightning", *policy_args("fit", "--model.init_args.model=no/model")],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 2
    assert "cannot read a tokenizer from 'no/model'" in message_of(ended.stderr)


def test_an_unreachable_hub_is_an_error_of_the_model(policy_args, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the hub's own attempts
    with pytest.raises(ValueError, match=r"cannot read a tokenizer from 'no/model': .* while the hub is reachable\."):
        main(policy_args("fit", "--model.init_args.model=no/model"))


def test_a_traceback_is_shown_on_demand(policy_args, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTT_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["rtt", *policy_args("fit", "--rollout.sampling.n=0")])
    with pytest.raises(ValueError, match="sampling needs n >= 1"):
        run()


# -- composition ---------------------------------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*args, "--print_config"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_a_printed_configuration_can_be_fed_back(policy_args, tmp_path: Path, capsys) -> None:
    shown = printed(capsys, *policy_args("fit"))
    assert printed(capsys, "fit", *config(tmp_path, shown)) == shown


def test_the_configuration_is_saved_with_the_logs_and_only_there(policy_args, tmp_path: Path, capsys) -> None:
    main(policy_args("fit", "--trainer.max_steps=1"))
    assert [*tmp_path.rglob("config.yaml")] == []
    logger = json.dumps({"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": str(tmp_path)}})
    main(policy_args("fit", "--trainer.max_steps=1", f"--trainer.logger={logger}"))
    [saved] = tmp_path.rglob("config.yaml")
    capsys.readouterr()
    again = yaml.safe_load(printed(capsys, "fit", "--config", str(saved)))
    assert again == yaml.safe_load(saved.read_text())
    assert again["trainer"]["max_steps"] == 1


def test_what_comes_later_wins_and_the_rest_stays(policy_args, tmp_path: Path, capsys) -> None:
    earlier = config(tmp_path, "rollout: {sampling: {n: 5, top_k: 7}, seed: 1}", "earlier.yaml")
    later = config(tmp_path, "rollout: {sampling: {n: 6}}", "later.yaml")
    args = policy_args("fit", *earlier, *later, "--rollout.seed=3")
    rollout = yaml.safe_load(printed(capsys, *args))["rollout"]
    assert rollout["seed"] == 3
    assert (rollout["sampling"]["n"], rollout["sampling"]["top_k"]) == (6, 7)
    assert rollout["sampling"]["max_new_tokens"] == 8  # from the first file of all


def test_one_seed_is_that_of_training_data_and_sampling(policy_args) -> None:
    def seeds(*flags: str) -> tuple[int, int, int]:
        made = main(policy_args("fit", *flags), ParsedOnly).config.fit
        return made.seed_everything, made.data.seed, made.rollout.seed

    assert seeds() == (0, 0, 0)
    assert seeds("--seed_everything=3") == (3, 3, 3)
    assert seeds("--seed_everything=3", "--data.seed=4", "--rollout.seed=0") == (3, 4, 0)


def test_a_later_file_switches_a_component_and_keeps_its_neighbours(policy_args, tmp_path: Path, capsys) -> None:
    noise = "rollout: {relevance: {class_path: rtt_lightning.RandomRelevance, init_args: {seed: 3}}}"
    switch = "rollout: {relevance: {class_path: rtt_lightning.DiscriminatorRelevance, init_args: {checkpoint: d}}}"
    args = policy_args("fit", *config(tmp_path, noise, "1.yaml"), *config(tmp_path, switch, "2.yaml"))
    rollout = yaml.safe_load(printed(capsys, *args))["rollout"]
    assert rollout["relevance"]["class_path"] == "rtt_lightning.DiscriminatorRelevance"
    assert rollout["relevance"]["init_args"]["checkpoint"] == "d"
    assert "seed" not in rollout["relevance"]["init_args"]
    assert rollout["sampling"]["n"] == 3


def test_a_class_of_the_working_directory_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """By the `rtt` script, whose own folder is what Python puts first on the path."""
    (tmp_path / "lenient_scheme.py").write_text(
        "from rtt_lightning.modules import PolicyModule\n\n\nclass Lenient(PolicyModule):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT / ".venv/bin"), *(path for path in sys.path if path)])
    arguments = ["--model.class_path", "lenient_scheme.Lenient", "--model.init_args.model", "none", "--print_config"]
    monkeypatch.setattr(sys, "argv", ["rtt", "fit", *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 0
    assert "class_path: lenient_scheme.Lenient" in capsys.readouterr().out


CHECKPOINTS = "{class_path: rtt_lightning.Checkpoints, init_args: {folder: ck, every: 1}}"
LOGGER = "{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: logs}}"


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_a_trial_leaves_nothing_behind(
    policy_args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = (
        f"--trainer.callbacks=[{CHECKPOINTS}]",
        f"--trainer.logger={LOGGER}",
        "--trainer.enable_checkpointing=true",
    )
    command_line = main(policy_args(command, *flags, "--trainer.fast_dev_run=true"))
    assert command_line.trainer.global_step == (command == "fit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [(), ("-v",)])
def test_libraries_talk_only_if_asked(policy_args, tmp_path: Path, flags: tuple[str, ...]) -> None:
    log = tmp_path / "log"
    process = start([*flags, *policy_args("fit")], log)
    process.join(100)
    assert process.exitcode == 0, log.read_text()
    said = log.read_text()
    assert "2/2 reward" in said
    assert [words in said for words in ("GPU available", "Seed set to")] == [bool(flags)] * 2
