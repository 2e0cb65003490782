"""What a run says of its judges before it asks them, beside what it asks."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer

from rtt_lightning.callbacks.cost import judged_by_watch, judged_in_run, planned
from rtt_lightning.commands.run import main
from rtt_lightning.commands.score import command
from rtt_lightning.datamodules import LabelledPairs, PromptWindows, RubricDataModule
from rtt_lightning.datamodules.records import Record
from rtt_lightning.datamodules.sources import Split
from rtt_lightning.engines.base import Sampling
from tests.datamodules.test_limits import fit
from tests.verifiers.judge.server import judge_server, seen
from tests.verifiers.judge.test_run import data as data_of_a_judge
from tests.verifiers.judge.test_run import judged_by
from tests.verifiers.judge.test_verifier import sample

data = data_of_a_judge  # the fixture
Args = Callable[..., list[str]]
FOUR, TWO = Sampling(n=4, max_new_tokens=10), Sampling(n=2, max_new_tokens=20)


def loaded(train: int = 7, val: int = 5, **more: Any) -> RubricDataModule:
    """Windows of 2 prompts, evaluated 2 at a time."""
    found = RubricDataModule(view=PromptWindows(prompts=2, updates=2, eval_prompts=2), **more)
    of: dict[Split, int] = {"train": train, "val": val, "test": val}
    found.records = {split: [Record(sample("tea", name=str(n))) for n in range(of[split])] for split in of}
    return found


def trainer(**flags: Any) -> Trainer:
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    settings = {"accumulate_grad_batches": 2, "enable_checkpointing": False, "accelerator": "cpu", "max_epochs": -1}
    return Trainer(**{**quiet, **settings, "num_sanity_val_steps": 0, **flags})


@pytest.mark.parametrize(
    "flags",
    [
        {"max_steps": 6},
        {"max_steps": 14},
        {"max_steps": -1, "max_epochs": 2},
        {"max_steps": 100, "max_epochs": 1},
        {"max_steps": 14, "check_val_every_n_epoch": 2},
        {"max_steps": 20, "val_check_interval": 4},
        {"max_steps": 20, "val_check_interval": 8, "check_val_every_n_epoch": None},
        {"max_steps": -1, "max_epochs": 2, "limit_train_batches": 8, "val_check_interval": 0.5},
        {"max_steps": 8, "fast_dev_run": 3},
    ],
)
def test_windows_and_validations_are_those_of_a_run(flags: dict[str, Any]) -> None:
    _, module = fit(**flags)  # 12 micro-batches an epoch, 4 a window
    windows, validations = planned(trainer(**flags), PromptWindows(prompts=2, updates=2), prompts=7)
    assert windows == -(-len(module.seen) // 4)
    assert validations == len(module.validated_after)


def test_a_run_that_no_limit_ends_is_counted_for_an_epoch_and_one_without_windows_for_nothing() -> None:
    view = PromptWindows(prompts=2, updates=2)
    assert planned(trainer(max_steps=-1), view, prompts=7) == (3, 1)
    assert planned(trainer(max_steps=4), view, prompts=1) == (0, 0)
    assert planned(trainer(max_steps=-1, val_check_interval="00:01:00:00"), view, prompts=7) == (3, 1)


def test_responses_of_each_stage_by_hand() -> None:
    def counts(stage: str, **flags: Any) -> list[tuple[float, int]]:
        found = judged_in_run(trainer(**flags), loaded(), FOUR, TWO, stage)
        return sorted({(round(each.responses * 35, 6), each.length) for each in found})

    # 6 updates are 3 windows of 2 prompts of 4 responses, 24 over 7 prompts; and a validation, 5 prompts twice.
    assert counts("fit", max_steps=6) == [(2 * 35, 60), (24 * 5, 30)]
    assert counts("fit", max_steps=6, limit_val_batches=0) == [(24 * 5, 30)]
    assert counts("validate") == counts("test") == [(2 * 35, 60)]
    assert counts("validate", limit_val_batches=2) == [(4 * 2 * 7, 60)]  # 2 batches of 2 prompts, over 5
    assert counts("test", limit_test_batches=0) == []
    assert counts("predict", limit_predict_batches=0.5) == [(4 * 2 * 5, 60)]  # 2 of 4 batches, over 7 prompts
    pairs = loaded()
    pairs.view = LabelledPairs()
    assert judged_in_run(trainer(), pairs, FOUR, TWO, "fit") == judged_by_watch(trainer(), pairs, FOUR, 1, 1) == []


def test_a_held_out_judge_sees_some_responses_of_some_windows() -> None:
    def total(every: int, responses: int) -> float:
        found = judged_by_watch(trainer(max_steps=6), loaded(), FOUR, every, responses)
        return sum(each.responses for each in found)

    assert total(1, 16) == pytest.approx(3 * 8)  # no more than there are
    assert total(2, 3) == pytest.approx(2 * 3)  # of the first window and the third


# -- in runs -------------------------------------------------------------------------------------------------------


def line_of(printed: str) -> tuple[int, ...]:
    """Calls, tokens of prompts and of replies, of the one line that says them."""
    pattern = r"judge m: about ([\d,]+) calls with up to ([\d,]+) tokens of prompts .* and ([\d,]+) of replies"
    [found] = re.findall(pattern, printed)
    return tuple(int(number.replace(",", "")) for number in found)


def test_a_run_says_what_it_asks_before_it_does(
    policy_args: Args, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with judge_server() as url:
        main([*policy_args("fit"), *judged_by(url, data, tmp_path / "judge.sqlite")])
        bodies = seen(url).bodies[1:]  # without the question that tries it out
    printed = capsys.readouterr().out
    calls, prompt, reply = line_of(printed)
    assert calls == 24  # 2 windows of 2 prompts of 3 responses to 2 criteria that are the judge's
    assert 20 <= len(bodies) <= calls  # empty responses are not asked about
    texts = ["".join(message["content"] for message in body["messages"]) for body in bodies]
    longest = "x" * 8 * 3  # 8 tokens
    texts = [re.sub(r"(is:\n~+\n).*?(\n~+\n\nIs)", rf"\1{longest}\2", text, flags=re.DOTALL) for text in texts]
    assert prompt == pytest.approx(24 * sum(-(-len(text) // 3) for text in texts) / len(texts))
    assert reply == 24 * 512
    assert printed.index("judge m: about") < printed.index("weights are trained")


def test_a_budget_that_will_not_do_is_a_warning_and_no_error(policy_args: Args, data: Path, tmp_path: Path) -> None:
    with judge_server() as url:
        flags = judged_by(url, data, tmp_path / "judge.sqlite")
        flags = [flag.replace("train:", "val:").replace("money: 5.0", "tokens: 7000") for flag in flags]
        with pytest.warns(UserWarning, match=r"about 12 calls .* more than budget.tokens 7,000, of"):
            main([*policy_args("validate", "--trainer.limit_val_batches=2"), *flags])


@pytest.mark.parametrize("verdicts", [{}, {"met": True}], ids=["responses", "completions"])
def test_so_does_scoring_of_responses_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verdicts: dict[str, bool]
) -> None:
    prompts, answers = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    rows = [{"prompt": f"Write {n}.", "criteria": [{"text": "Mention tea.", "checker": "judge"}]} for n in range(3)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if verdicts:
        rows = [row | {"criteria": [row["criteria"][0] | verdicts]} for row in rows]
    else:
        rows = [{"prompt": row["prompt"]} for row in rows]
    given = zip(rows, ("Tea.", "", "Milk and tea."), strict=True)
    answers.write_text("".join(json.dumps(row | {"response": answer}) + "\n" for row, answer in given))
    with judge_server() as url:
        source = f"{{class_path: rtt_lightning.RecordFiles, init_args: {{train: {prompts}, val: {prompts}}}}}"
        made = ("=rtt_lightning.LLMJudge", ".model=m", f".url={url}", ".file=null", ".max_completion_tokens=7")
        command("score", [str(answers), f"--data.source={source}", *(f"--rollout.verifier{flag}" for flag in made)])
        bodies = seen(url).bodies
    calls, prompt, reply = line_of(capsys.readouterr().out)
    assert calls == len(bodies) == 2
    sizes = [sum(len(message["content"]) for message in body["messages"]) for body in bodies]
    assert (prompt, reply) == (sum(-(-size // 3) for size in sizes), 14)


def test_nothing_is_said_without_a_judge(policy_args: Args, capsys: pytest.CaptureFixture[str]) -> None:
    main(policy_args("fit", "--trainer.max_steps=1"))
    assert "calls" not in capsys.readouterr().out
