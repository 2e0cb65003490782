"""The judge's file: shared, damaged, locked, unwritable; and the counter of what was spent."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from rtt_lightning.types import OutsideFailure
from rtt_lightning.verifiers.judge.store import Store

YES = {"met": True, "reason": 'it says "tea" — 茶'}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs/judge.sqlite"


def test_verdicts_outlive_the_run_as_json(file: Path) -> None:
    Store(file).put("a", YES)
    assert Store(file).get("a") == YES
    assert Store(file).get("b") is None
    assert sqlite3.connect(file).execute("SELECT json_extract(verdict, '$.met') FROM verdicts").fetchall() == [(1,)]


def _spend(file: Path) -> None:
    store = Store(file)
    for number in range(200):
        store.put(str(number), YES)
        store.reserve(10, 5, 0.5)
        store.settle(-1, -2, -0.25)


def test_processes_share_a_file_and_lose_nothing(file: Path) -> None:
    processes = [multiprocessing.get_context("spawn").Process(target=_spend, args=(file,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert Store(file).spent() == {"calls": 400, "prompt_tokens": 3600, "completion_tokens": 1200, "money": 100}
    assert Store(file).get("199") == YES


def test_a_call_beyond_the_budget_is_refused_before_it_is_made(file: Path) -> None:
    tokens = Store(file, budget_tokens=30)
    tokens.reserve(10, 5, 0.0)
    tokens.reserve(10, 5, 0.0)  # exactly all
    with pytest.raises(OutsideFailure, match=r"\(tokens: 0 left of 30, and the next call may take up to 1\), .* raise"):
        tokens.reserve(1, 0, 0.0)
    tokens.settle(-5, 0, 0.0)
    tokens.reserve(5, 0, 0.0)
    money = Store(file, budget_money=1.0)
    money.reserve(0, 0, 0.99975)
    with pytest.raises(OutsideFailure, match=r"\(money: 0.00025 left of 1, .* take up to 0.001\)"):
        money.reserve(0, 0, 0.001)
    assert Store(file).spent()["calls"] == 4  # those refused are not counted


def test_a_damaged_file_is_moved_aside(file: Path) -> None:
    first = Store(file)
    first.put("a", YES)
    first._file.close()  # which empties the journal beside it; that would fix the damage
    file.write_bytes(b"what a full disk leaves" * 500)
    with pytest.warns(UserWarning, match=r"judge.sqlite is damaged .* it is now .*damaged-"):
        store = Store(file)
    assert store.get("a") is None
    store.put("a", YES)
    assert Store(file).get("a") == YES
    assert len([*file.parent.glob("*.damaged-*")]) == 1


def _read_all(file: Path) -> Store:
    store = Store(file)
    for number in range(300):
        store.get(str(number))
    return store


def test_damage_in_the_middle_of_a_run_is_survived(file: Path) -> None:
    store = Store(file)
    for number in range(300):
        store.put(str(number), YES)
    store._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * 60_000)
    with pytest.warns(UserWarning, match="is damaged"):
        other = _read_all(file)
    other.put("new", YES)
    assert other.get("new") == YES


def test_a_file_that_another_holds_or_that_cannot_be_written_is_done_without(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(file)
    monkeypatch.setattr("rtt_lightning.verifiers.judge.store.LOCK_SECONDS", 0.1)
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.warns(UserWarning, match=r"cannot be used \(database is locked\); verdicts stay in memory"):
        store = Store(file)
    store.put("a", YES)
    assert store.get("a") == YES
    with pytest.warns(UserWarning, match=r"cannot be used .*File exists"):
        assert Store(Path("/dev/null/judge.sqlite")).get("a") is None


def test_with_a_budget_a_file_that_cannot_be_used_ends_the_run(file: Path) -> None:
    Store(file)._file.close()
    file.write_bytes(b"damaged" * 1000)
    with pytest.raises(OutsideFailure, match=r"budget cannot be kept in .*; fix it, or move it away"):
        Store(file, budget_money=5.0)


def test_a_verdict_that_cannot_be_read_is_asked_for_again(file: Path) -> None:
    store = Store(file)
    store._file.execute("INSERT INTO verdicts VALUES ('a', '[1]'), ('b', 'x')")
    assert store.get("a") is None
    assert store.get("b") is None
