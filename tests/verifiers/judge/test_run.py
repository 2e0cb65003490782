"""Runs whose criteria a judge decides: it goes down, the run stops, and goes on as if nothing had happened."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rtt_lightning.commands.run import main
from rtt_lightning.types import OutsideFailure
from tests.runtime.test_resume import TWO_UPDATES, assert_same, saving
from tests.verifiers.judge.server import KEY, judge_server, truth

PolicyArgs = Callable[..., list[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight prompts with two soft criteria and a hard one each."""
    criteria = [{"text": f"Mention {word}.", "checker": "judge"} for word in ("a", "is")]
    criteria.append({"text": "Use at least two words.", "checker": "rtt:min_words", "kwargs": {"n": 2}})
    file = tmp_path / "data.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Write of {n}.", "criteria": criteria}) + "\n" for n in range(8)))
    return file


def judged_by(url: str, data: Path, file: Path, *more: str) -> tuple[str, ...]:
    judge = "--rollout.verifier.judge"
    return (
        f"--data.source={{class_path: rtt_lightning.RecordFiles, init_args: {{train: {data}}}}}",
        "--rollout.verifier=rtt_lightning.Router",
        f"{judge}=rtt_lightning.LLMJudge",
        f"{judge}.model=m",
        f"{judge}.url={url}",
        f"{judge}.file={file}",
        f"{judge}.limits={{concurrency: 4, attempts: 1}}",
        f"{judge}.budget={{prompt_price: 1.0, completion_price: 2.0, money: 5.0}}",
        f"{judge}.failures_in_a_row=4",
        *more,
    )


def test_a_judge_that_goes_down_stops_the_run_which_goes_on_with_nothing_lost(
    policy_args: PolicyArgs, data: Path, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()

    def run(folder: Path, url: str) -> None:
        flags = judged_by(url, data, folder / "judge.sqlite", f"--rollout.output={folder}/windows")
        main([*policy_args("fit", *TWO_UPDATES), *saving(folder), *flags])

    with judge_server() as url:
        run(whole, url)
    with (
        judge_server(dies_after=16) as url,  # 12 calls a window: 8 fail in the second of three
        pytest.raises(
            OutsideFailure, match=r"failed 4 times in a row, .* none was made up: .* resume with --ckpt_path"
        ),
    ):
        run(broken, url)
    assert [path.name for path in (broken / "windows").iterdir()] == ["window-000000.parquet"]
    with judge_server() as url:
        run(broken, url)
    assert_same(whole, broken)  # weights, losses and the order of the data
    paid, paid_again = (spent(folder / "judge.sqlite") for folder in (whole, broken))
    assert paid["money"] > 0
    # Nothing is paid for twice; a call that was cut off stays charged at the most that it can have cost.
    assert 0.999 * paid["money"] <= paid_again["money"] <= paid["money"] + 8 * 0.0025
    rows = [row for path in sorted((broken / "windows").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert len(rows) == 18
    for row in rows:
        for criterion in json.loads(row["criteria"])[:2]:
            assert criterion["met"] is (truth(row["response"], criterion["text"]) and bool(row["response"].strip()))


def spent(file: Path) -> dict[str, float]:
    connection = sqlite3.connect(file)
    connection.row_factory = sqlite3.Row
    return dict(connection.execute("SELECT * FROM spent").fetchone())


def test_the_key_stands_in_no_file_and_in_no_message(
    policy_args: PolicyArgs,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    logger = f"{{class_path: lightning.pytorch.loggers.CSVLogger, init_args: {{save_dir: {tmp_path}/logs}}}}"
    flags = (f"--trainer.logger={logger}", *saving(tmp_path)[1:])
    with judge_server() as url:
        main([*policy_args("fit", *flags), *judged_by(url, data, tmp_path / "judge.sqlite"), "--rollout.table_every=1"])
    with judge_server(status=401) as url, pytest.raises(OutsideFailure) as error:
        main([*policy_args("fit"), *judged_by(url, data, tmp_path / "other.sqlite")])
    assert KEY not in str(error.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {".parquet", ".yaml", ".csv", ".sqlite"} <= {suffix for path in files for suffix in path.suffixes}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capfd.readouterr())
    assert os.environ["OPENAI_API_KEY"] == KEY


def test_what_the_judge_did_is_logged(policy_args: PolicyArgs, data: Path, tmp_path: Path) -> None:
    with judge_server() as url:
        run = main([*policy_args("fit"), *judged_by(url, data, tmp_path / "judge.sqlite")])
    logged = run.trainer.callback_metrics
    assert logged["rollout/judge_calls"] >= 20
    assert logged["rollout/judge_money"] == pytest.approx(logged["rollout/judge_calls"] * 120e-6)
    assert logged["rollout/steering"] == 0
    assert logged["rollout/unscorable"] == 0
