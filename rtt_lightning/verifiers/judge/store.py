"""What a judge or an annotator answered, as JSON, and its costs, in one SQLite file that processes share."""

import hashlib
import json
import sqlite3
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rtt_lightning.types import OutsideFailure

LOCK_SECONDS = 10.0
TABLES = """
CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, verdict TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    one INTEGER PRIMARY KEY CHECK (one = 1), calls INTEGER, prompt INTEGER, completion INTEGER, money REAL
);
INSERT OR IGNORE INTO spent VALUES (1, 0, 0, 0, 0.0);
"""
Value = TypeVar("Value")


def key_of(question: Mapping[str, Any]) -> str:
    """The key of an answer: a hash of all that it depends on."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()


class Store:
    """Verdicts, or other answers on a criterion, by key; and what was spent.

    If the file cannot be used, it warns and keeps verdicts in memory; with a budget it ends the run instead, as
    spending would be unknown. A damaged file is moved aside.

    Args:
        path: The file; its folder is created. ``None`` keeps everything in memory.
        budget_tokens: Tokens, of prompts and replies together, that may be spent over all runs that share the file.
        budget_money: The same, in the currency of the prices.
    """

    def __init__(self, path: Path | None, budget_tokens: int | None = None, budget_money: float | None = None) -> None:
        self.path, self.budget_tokens, self.budget_money = path, budget_tokens, budget_money
        self.remembered = 0
        """Number of verdicts found so far."""
        self._forgetful = False
        self._inode = 0  # of the file that was opened
        try:
            self._open(path)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def forget(self) -> None:
        """Neither find nor keep verdicts from now on; those in the file stay, for other runs."""
        self._forgetful = True

    def get(self, key: str) -> dict[str, Any] | None:
        """The verdict of a key, if any."""
        if self._forgetful:
            return None
        row = self._do(lambda: self._file.execute("SELECT verdict FROM verdicts WHERE key = ?", (key,)).fetchone())
        try:
            found = json.loads(row[0]) if row else None
        except ValueError:
            return None
        if not isinstance(found, dict):
            return None
        self.remembered += 1
        return found

    def put(self, key: str, verdict: Mapping[str, Any]) -> None:
        """Keep a verdict."""
        if self._forgetful:
            return
        text = json.dumps(verdict)
        self._do(lambda: self._file.execute("INSERT OR REPLACE INTO verdicts VALUES (?, ?)", (key, text)))

    def reserve(self, prompt: int, completion: int, money: float) -> None:
        """Count a call at the most that it can cost; `settle` corrects this afterwards.

        Raises:
            OutsideFailure: If that exceeds the budget: the call must not be made.
        """
        statement = """UPDATE spent SET calls = calls + 1, prompt = prompt + :prompt,
            completion = completion + :completion, money = money + :money
            WHERE (:tokens IS NULL OR prompt + completion + :prompt + :completion <= :tokens)
            AND (:most IS NULL OR money + :money <= :most)"""
        values = {"prompt": prompt, "completion": completion, "money": money}
        values |= {"tokens": self.budget_tokens, "most": self.budget_money}
        if not self._do(lambda: self._file.execute(statement, values).rowcount):
            raise OutsideFailure(self._over_budget(prompt + completion, money))

    def settle(self, prompt: int, completion: int, money: float) -> None:
        """Add what a call cost beyond what was reserved; negative if it cost less."""
        statement = "UPDATE spent SET prompt = prompt + ?, completion = completion + ?, money = money + ?"
        self._do(lambda: self._file.execute(statement, (prompt, completion, money)))

    def spent(self) -> dict[str, float]:
        """Total of all runs that share the file: calls, prompt_tokens, completion_tokens, money."""
        row = self._do(lambda: self._file.execute("SELECT calls, prompt, completion, money FROM spent").fetchone())
        return dict(zip(("calls", "prompt_tokens", "completion_tokens", "money"), map(float, row), strict=True))

    def _over_budget(self, tokens: int, money: float) -> str:
        """The message about a call of up to so many tokens and so much money."""
        spent = self.spent()
        used = spent["prompt_tokens"] + spent["completion_tokens"]
        limits = [
            f"{what}: {most - was:.8g} left of {most:.8g}, and the next call may take up to {least:.8g}"
            for what, was, most, least in (
                ("tokens", used, self.budget_tokens, tokens),
                ("money", spent["money"], self.budget_money, money),
            )
            if most is not None
        ]
        return (
            f"the judge's budget does not cover another call ({'; '.join(limits)}), as {self.path or 'memory'} counts. "
            "What it answered is kept: raise the budget"
        )

    def _open(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        ends = time.monotonic() + LOCK_SECONDS
        while True:
            self._file = sqlite3.connect(
                path or ":memory:", timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._file.execute("PRAGMA journal_mode = WAL")
                self._file.execute("PRAGMA synchronous = NORMAL")  # a power failure may lose the last verdicts
                self._file.executescript(TABLES)
            except sqlite3.OperationalError as error:  # changing the mode does not wait for others
                self._file.close()
                if "locked" not in str(error) or time.monotonic() > ends:
                    raise
                time.sleep(0.05)
            else:
                self._inode = path.stat().st_ino if path else 0
                return

    def _do(self, work: Callable[[], Value]) -> Value:
        try:
            return work()
        except sqlite3.Error as error:
            self._give_up(error)
            return work()

    def _give_up(self, error: sqlite3.Error | OSError) -> None:
        """Continue without the file, or with a new one in place of a damaged one."""
        assert self.path is not None, "a database in memory does not fail"
        if self.budget_tokens is not None or self.budget_money is not None:
            raise OutsideFailure(
                f"the judge's budget cannot be kept in {self.path}: {error}; fix it, or move it away to count from 0"
            ) from error
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._file.close()
            self._move_aside(self.path, error)
        else:
            warnings.warn(
                f"the judge's file {self.path} cannot be used ({error}); verdicts stay in memory", stacklevel=4
            )
            self.path = None
        self._open(self.path)

    def _move_aside(self, path: Path, error: Exception) -> None:
        if self._inode not in (0, path.stat().st_ino if path.exists() else None):
            return  # another process has put a new one in its place
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        path.rename(aside)
        for journal in ("-wal", "-shm"):
            Path(f"{path}{journal}").unlink(missing_ok=True)
        warnings.warn(f"the judge's file {path} is damaged ({error}); it is now {aside}", stacklevel=5)
