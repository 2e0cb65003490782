"""Null by flag, for arguments of classes within classes."""

import pytest

from rtt_lightning.commands.flags import nulls_as_yaml
from rtt_lightning.commands.given import read, written
from rtt_lightning.commands.run import main

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
    assert written(nulls_as_yaml(read(given))) == expected


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
