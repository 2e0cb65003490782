"""The benchmark of partitions: no figure without equality."""

import json

import pytest

from benchmarks import advantages


def test_it_prints_figures_of_every_partition(capsys: pytest.CaptureFixture[str]) -> None:
    advantages.main(batch=8, rubric=2, token=50, repeats=2, threads=1)
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"clone", *advantages.NAMES} < printed["rows"].keys()
    assert all(row["warm / clone"][0] > 0 for row in printed["rows"].values())


def test_a_partition_that_differs_from_its_formula_ends_it(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = advantages.advantages.inter_sample
    monkeypatch.setattr(
        advantages.advantages, "inter_sample", lambda *given: (right(*given)[0] * 1.0001, right(*given)[1])
    )
    with pytest.raises(SystemExit, match="inter_sample"):
        advantages.main(batch=8, rubric=2, token=50, repeats=2)
    assert not capsys.readouterr().out
