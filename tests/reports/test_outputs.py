"""A folder of completions holds one course of training."""

from pathlib import Path

import pytest

from rtt_lightning.reports.outputs import set_aside_later

FILES = [
    "val-000004.json",
    "val-000004.jsonl",
    "val-000006.parquet",
    "validate-000002.json",
    "validate-000006.parquet",
    "validate.parquet",
    "window-000001.parquet",
    "window-000002-rank0.parquet",
    "window-000002-rank1.parquet",
    "window-000010.parquet",
    "windows.parquet",
]


@pytest.mark.parametrize(
    ("window", "update", "kept"),
    [
        (0, 0, {"validate.parquet", "windows.parquet"}),
        (2, 4, {*FILES[:2], "validate-000002.json", "validate.parquet", "window-000001.parquet", "windows.parquet"}),
    ],
)
def test_what_is_no_past_of_this_run_is_set_aside(tmp_path: Path, window: int, update: int, kept: set[str]) -> None:
    for name in FILES:
        (tmp_path / name).touch()
    with pytest.warns(UserWarning, match=rf"held {len(FILES) - len(kept)} files .* set aside"):
        set_aside_later(tmp_path, window, update)
    assert {path.name for path in tmp_path.iterdir()} == kept | {f"{name}.abandoned" for name in set(FILES) - kept}


def test_a_new_folder_needs_nothing(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    set_aside_later(tmp_path / "new", 0, 0)
    assert not (tmp_path / "new").exists()
    assert not recwarn.list
