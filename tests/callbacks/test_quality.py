"""`rtt validate` of a discriminator measures it, and writes numbers and a page."""

import json
from pathlib import Path

import pytest

from rtt_lightning import DiscriminatorQuality, RolloutCallback
from rtt_lightning.commands.run import main
from tests.modules.test_discriminator import discriminator_args


def test_a_trained_discriminator_is_measured(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = discriminator_args(tmp_path, tiny_model)
    run = main([*arguments, f"--quality.output={tmp_path / 'out'}"])
    assert not (tmp_path / "out").exists()  # training measures only what it logs
    run.trainer.save_checkpoint(tmp_path / "d.ckpt")
    capsys.readouterr()
    again = ["validate", *arguments[1:], f"--ckpt_path={tmp_path / 'd.ckpt'}"]
    metrics = main([*again, f"--quality.output={tmp_path / 'out'}"]).trainer.callback_metrics
    said = capsys.readouterr().out
    step = run.trainer.global_step
    assert f"page: {tmp_path}/out/validate-{step:06d}.html" in said
    found = json.loads((tmp_path / f"out/validate-{step:06d}.json").read_text())
    for name in ("average_precision", "average_precision_per_cell", "f1", "brier", "calibration_error", "base_rate"):
        assert found["overall"][name]["mean"] == pytest.approx(float(metrics[f"val/{name}"]), abs=1e-6)
    assert found["trained_kinds"] == ["rtt:include_word"]
    assert found["trained"].keys() == {"seen"}
    faithful = found["faithfulness"]["deletion"]
    assert faithful["cells"] == found["overall"]["cells"]
    assert faithful["sources"]["spans of rules"]["curve"][0]["mean"] == 1
    assert faithful["sources"]["discriminator"]["curve"][0]["mean"] > 0.9  # it has learned to find the word
    assert faithful["sources"]["random"]["curve"][0]["mean"] < 0.5
    assert "Faithfulness" in (tmp_path / f"out/validate-{step:06d}.html").read_text()

    main([*again, "--quality.faithfulness=0"])  # without a logger and a folder nothing is written
    said = capsys.readouterr().out
    assert "--quality.output FOLDER writes" in said
    assert "deletion" not in said


def test_a_negative_number_of_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        DiscriminatorQuality(RolloutCallback(), faithfulness=-1)
