"""Checkpoint files are whole or absent, and say what to do when they are damaged."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from rtt_lightning.commands.export import export
from rtt_lightning.relevance.discriminator.checkpoint import CHECKPOINT_KEY, load
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.runtime.checkpoints import newest, point_to, read_checkpoint, write_file, write_shards
from rtt_lightning.runtime.resume import find_checkpoint


def save(folder: Path, *steps: int) -> list[Path]:
    paths = [folder / f"step-{step:08d}.ckpt" for step in steps]
    for path in paths:
        write_file({"state_dict": {"w": torch.ones(2)}, "global_step": 1}, path)
        point_to(path)
    return paths


def test_a_damaged_checkpoint_names_the_next_older_one(tmp_path: Path) -> None:
    older, newer = save(tmp_path, 1, 2)
    newer.write_bytes(newer.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"the next older one is {older}"):
        read_checkpoint(newer)
    older.write_bytes(b"")
    with pytest.raises(ValueError, match="there is no older one"):
        read_checkpoint(older)


def test_a_folder_means_its_newest(tmp_path: Path) -> None:
    _, newer = save(tmp_path, 1, 2)
    assert find_checkpoint(tmp_path, begin=False) == str(newer)
    newer.unlink()
    with pytest.raises(ValueError, match=r"which is gone; complete checkpoints there: .*step-00000001.ckpt"):
        newest(tmp_path)


def test_a_folder_without_any_begins_a_run_but_ends_a_validation(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path / "runs", begin=True) is None
    with pytest.raises(ValueError, match="no checkpoint in"):
        find_checkpoint(tmp_path / "runs", begin=False)
    with pytest.raises(ValueError, match="no checkpoint at"):
        find_checkpoint(tmp_path / "mistyped.ckpt", begin=True)


def test_nothing_was_saved_yet_in_a_new_folder_and_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert find_checkpoint(tmp_path / "empty", begin=True) is None
    (tmp_path / "killed/step-00000001.ckpt.partial").mkdir(parents=True)
    (tmp_path / "killed/step-00000002.ckpt.abandoned").touch()
    (tmp_path / "killed/.nfs01").touch()
    assert find_checkpoint(tmp_path / "killed", begin=True) is None


def test_ours_are_found_without_their_pointer_by_the_pointer_and_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, newer = save(tmp_path / "ck", 9, 10)
    assert find_checkpoint(tmp_path / "ck/latest", begin=True) == str(newer)
    (tmp_path / "ck/latest").unlink()
    assert find_checkpoint(tmp_path / "ck", begin=True) == str(newer)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_checkpoint("~/ck", begin=True) == str(newer)
    assert find_checkpoint("~/ck/step-00000009.ckpt", begin=True) == str(tmp_path / "ck/step-00000009.ckpt")


def test_a_file_that_has_the_name_of_a_keyword_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (one,) = save(tmp_path / "best", 1)
    assert find_checkpoint("best", begin=True) == str(Path("best") / one.name)


NOT_YET = {
    "files of ModelCheckpoint": ("ck", ["ck/epoch=0-step=2.ckpt", "ck/last.ckpt"], "give one of them.*last.ckpt"),
    "a folder around the right one": ("run", ["run/ck/step-00000001.ckpt", "run/logs"], "did you mean .*run/ck?"),
    "a folder of a model": ("model", ["model/config.json"], r"not empty either: it holds .*config.json"),
    "an empty pointer": ("ck", ["ck/latest"], "latest names none, which is gone"),
    "a name without its suffix": ("ck/step-00000002", ["ck/step-00000002.ckpt"], "did you mean .*2.ckpt?"),
    "a pointer that is not there": ("ck/latest", ["ck/last.ckpt"], "no checkpoint at"),
    "a mistyped file": ("ck/weights.safetensors", [], "no checkpoint at"),
    "a keyword": ("last", [], "this keyword of Lightning finds no checkpoint of ours"),
    "another keyword": ("hpc", [], "keyword"),
    "a registry": ("registry:mine", [], "keyword"),
    "a place on the net": ("s3://bucket/ck", [], "only local files are read"),
}


@pytest.mark.parametrize(("given", "files", "message"), NOT_YET.values(), ids=NOT_YET)
def test_what_is_no_new_folder_does_not_begin_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, files: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in map(Path, files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for begin in (True, False):
        with pytest.raises(ValueError, match=message):
            find_checkpoint(given, begin)


def test_a_link_to_nothing_does_not_begin_a_run(tmp_path: Path) -> None:
    (tmp_path / "ck").symlink_to(tmp_path / "unmounted")
    with pytest.raises(ValueError, match=r"is a link to .*unmounted, which is gone"):
        find_checkpoint(tmp_path / "ck", begin=True)


def test_a_half_written_one_is_not_seen(tmp_path: Path) -> None:
    (first,) = save(tmp_path, 1)
    (tmp_path / "step-00000002.ckpt.partial").write_bytes(b"half")
    (tmp_path / "step-00000003.ckpt.partial").mkdir()
    assert newest(tmp_path) == first
    assert find_checkpoint(tmp_path, begin=True) == str(first)


def test_shards_need_a_new_name(tmp_path: Path) -> None:
    write_shards({"a": [1, {"b": torch.arange(3)}]}, tmp_path / "one.ckpt", 0, 1, lambda: None)
    assert read_checkpoint(tmp_path / "one.ckpt")["a"][1]["b"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="needs a new name"):
        write_shards({}, tmp_path / "one.ckpt", 0, 1, lambda: None)


def test_a_missing_shard_is_noticed_on_saving_and_on_loading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has 1 of 2 shards; save to a disk that all nodes share"):
        write_shards({}, tmp_path / "two.ckpt", 0, 2, lambda: None)
    assert not (tmp_path / "two.ckpt").exists()
    write_shards({"a": 1}, tmp_path / "one.ckpt", 0, 1, lambda: None)
    (tmp_path / "one.ckpt/shard-00000.pt").unlink()
    with pytest.raises(ValueError, match=r"is damaged or not a checkpoint \(0 of 1 shards are there\)"):
        read_checkpoint(tmp_path / "one.ckpt")


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    torch.save({"x": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match="is damaged or not a checkpoint"):
        read_checkpoint(tmp_path / "evil.ckpt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["state_dict", "optimizer_states"])
def test_a_checkpoint_with_numbers_that_are_not_finite_is_refused_by_whoever_reads_it(
    tmp_path: Path, value: float, part: str
) -> None:
    older, newer = save(tmp_path, 1, 2)
    weight, average = torch.ones(2), torch.ones(2)
    broken: dict[str, Any] = {"state_dict": {"w": weight}, "optimizer_states": [{"state": {0: {"exp_avg": average}}}]}
    broken[CHECKPOINT_KEY] = asdict(RelevanceConfig("body"))  # as of a discriminator
    (weight if part == "state_dict" else average)[1] = value
    write_file(broken, newer)
    with pytest.raises(ValueError, match=rf"not finite, in {part}/.*; the next older one is {older}"):
        read_checkpoint(newer)
    for reader in (partial(export, folder=tmp_path / "model"), lambda path: load(str(path))):
        with pytest.raises(ValueError, match="holds numbers that are not finite"):
            reader(newer)
    write_shards(broken, tmp_path / "step-00000003.ckpt", 0, 1, lambda: None)
    with pytest.raises(ValueError, match=f"the next older one is {newer}"):
        read_checkpoint(tmp_path / "step-00000003.ckpt")


def test_figures_of_callbacks_may_be_infinite_as_a_best_score_is_at_first(tmp_path: Path) -> None:
    write_file(
        {"state_dict": {}, "callbacks": {"EarlyStopping": {"best_score": torch.tensor(torch.inf)}}}, tmp_path / "c"
    )
    assert read_checkpoint(tmp_path / "c")["callbacks"]["EarlyStopping"]["best_score"] == torch.inf
