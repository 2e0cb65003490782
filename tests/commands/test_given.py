"""Arguments as they are read before the parser: the model's class comes first, and different algorithms are said."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rtt_lightning.commands.given import as_arguments, note_replaced, nulls_as_yaml, read_arguments, with_model_class
from rtt_lightning.commands.run import main

OTHER = "a.Module"
DEFAULT = "--model=rtt_lightning.PolicyModule"
SCHEME = """
from rtt_lightning.modules import PolicyModule

class Wide(PolicyModule):
    def __init__(self, model: str, clip_high: float = 0.5, **kwargs):
        super().__init__(model, clip_high=clip_high, **kwargs)
"""


def model_of(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """The parsed model."""
    with pytest.raises(SystemExit) as ended:
        main(["fit", *args, "--print_config"])
    assert ended.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)["model"]


def test_arguments_are_read_as_nested_settings_and_written_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: {init_args: {lora: null}}")
    args = ["fit", f"--config={tmp_path}/mine.yaml", "--trainer.max_steps", "-1", "--print_config", "--data.seed="]
    given = read_arguments(args)
    assert as_arguments(given) == args
    lora, steps, seed = (
        {"model": {"init_args": {"lora": None}}},
        {"trainer": {"max_steps": -1}},
        {"data": {"seed": ""}},
    )
    assert [each.tree for each in given] == [{}, lora, steps, {}, seed]
    assert read_arguments(["--config", "--no"])[0].tree == {}  # the parser says what is wrong


@pytest.mark.parametrize(
    ("args", "first"),
    [
        ([], DEFAULT),
        (["--model.init_args.lora.rank=4", "--trainer.logger", "null"], DEFAULT),
        (["--config", "model: {init_args: {model: class_path}}"], DEFAULT),
        (["--config", "model: ["], DEFAULT),
        (["--config", f"model: {{class_path: {OTHER}}}"], f"--model={OTHER}"),
        ([f"-c=model: {OTHER}"], f"--model={OTHER}"),
        ([f"--model={OTHER}"], f"--model={OTHER}"),
        (["--model", OTHER, "--model.x", "1"], f"--model={OTHER}"),
        (["--model.class_path", OTHER], f"--model={OTHER}"),
        ([f"--model={{class_path: {OTHER}}}"], f"--model={OTHER}"),
        (["--config=model: b.Earlier", f"--model={OTHER}"], f"--model={OTHER}"),
    ],
)
def test_the_class_that_is_named_last_comes_first(args: list[str], first: str) -> None:
    assert as_arguments(with_model_class(read_arguments(["fit", *args]))) == ["fit", first, *args]


def test_a_file_names_the_class_also_before_the_subcommand(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"fit: {{model: {{class_path: {OTHER}}}}}")
    before = ["--config", f"{tmp_path}/mine.yaml", "fit"]
    assert as_arguments(with_model_class(read_arguments(before))) == [*before, f"--model={OTHER}"]
    assert as_arguments(with_model_class(read_arguments(["--help"]))) == ["--help"]


def test_defaults_of_the_default_class_reach_no_other_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wide_scheme.py").write_text(SCHEME)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert model_of(capsys, "--config", "demo/discriminator.yaml")["init_args"]["lora"] is None
    mine = model_of(capsys, "--config=methods/gdpo.yaml", "--config=model: wide_scheme.Wide", "--model.model=none")
    assert mine["class_path"] == "wide_scheme.Wide"
    assert mine["init_args"]["clip_high"] == 0.5
    assert mine["init_args"]["algorithm"]["class_path"] == "rtt_lightning.GDPO"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--config=methods/rtt.yaml", "--config=demo/policy.yaml", "--config=methods/rtt-demo.yaml"], []),
        (
            ["--config=methods/rtt.yaml", "--config=methods/gdpo.yaml"],
            [
                "methods/rtt.yaml names RTT, methods/gdpo.yaml GDPO: the latter counts",
                "methods/rtt.yaml names DiscriminatorRelevance, methods/gdpo.yaml UniformRelevance: the latter counts",
            ],
        ),
        (
            ["--config", "configs/methods/rtt.yaml", "--model.algorithm=my.RTT", "--model.init_args.algorithm=GRPO"],
            [
                "configs/methods/rtt.yaml names RTT, --model.algorithm my.RTT, "
                "--model.init_args.algorithm GRPO: the last counts"
            ],
        ),
        (
            ["--rollout.relevance=my.Source", "--config=rollout: {relevance: {class_path: Other}}"],
            ["--rollout.relevance names my.Source, --config Other: the latter counts"],
        ),
        (["--model.algorithm.class_path=rtt_lightning.algorithms.rtt.RTT", "--config=methods/rtt.yaml"], []),
    ],
)
def test_files_that_name_different_algorithms_or_relevance_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert note_replaced(read_arguments(["fit", *args])) == said


def test_what_is_said_of_algorithms_is_one_line_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config=methods/rtt.yaml", "--config=methods/gdpo.yaml", "--model.model=no", "--print_config"])
    said = capsys.readouterr()
    assert "rtt: methods/rtt.yaml names RTT, methods/gdpo.yaml GDPO: the latter counts\n" in said.err
    assert yaml.safe_load(said.out)["model"]["init_args"]["algorithm"]["class_path"] == "rtt_lightning.GDPO"


# -- null ----------------------------------------------------------------------------------------------------------

JUDGE = "--rollout.verifier.init_args.judge.init_args"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--a.init_args.b", "null"], ["--config", "{a: {init_args: {b: null}}}"]),
        (["--a.init_args.b=~", "--c", "null"], ["--config", "{a: {init_args: {b: null}}}", "--c", "null"]),
        (["--a.init_args.b={x: [1, null]}"], ["--config", "{a: {init_args: {b: {x: [1, null]}}}}"]),
        (["--a.init_args.b", "None"], ["--a.init_args.b", "None"]),  # a text, in YAML
        (["--a.init_args.b="], ["--a.init_args.b="]),
        (["--a.init_args.b", "{x: ["], ["--a.init_args.b", "{x: ["]),
        (["--trainer.callbacks+=null", "--a.init_args.b"], ["--trainer.callbacks+=null", "--a.init_args.b"]),
    ],
)
def test_flags_with_null_become_yaml(given: list[str], expected: list[str]) -> None:
    assert as_arguments(nulls_as_yaml(read_arguments(given))) == expected


def test_null_arrives_two_classes_deep_and_within_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([
            "fit", "--config", "demo/policy.yaml", "--config", "judges/vllm.yaml", f"{JUDGE}.temperature", "0.5",
            f"{JUDGE}.temperature", "null", f"{JUDGE}.options={{seed: null, top_p: 0.5}}",
            "--model.init_args.optimizer.init_args.foreach=null", "--print_config",
        ])  # fmt: skip
    shown = capsys.readouterr().out
    assert "temperature: null" in shown
    assert "seed: null" in shown
    assert "foreach: null" in shown
    assert "lr: 0.0004" in shown
