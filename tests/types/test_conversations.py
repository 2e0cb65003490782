"""Whose turn is what: rows whose prompt is not what it seems are bad rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from rtt_lightning.datamodules.records import read_records
from rtt_lightning.types import Criterion, RubricSample

CRITERIA = [{"text": "Has a number.", "checker": "rtt:include_number"}]
RUBRIC = (Criterion("Has a number.", "rtt:include_number"),)
ASKS = {"role": "user", "content": "Say 5."}
CALL = [{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]


def test_turns_are_read_with_their_texts_alone() -> None:
    turns = [
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "4."}], "name": "me"},
        {"role": "assistant", "content": "4", "tool_calls": None},
        ASKS,
    ]
    assert RubricSample("p", turns, RUBRIC).messages == (
        {"role": "system", "content": ""},
        {"role": "user", "content": "Say 4."},
        {"role": "assistant", "content": "4"},
        ASKS,
    )


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        (
            [ASKS, {"role": "assistant", "content": "5"}],
            "`messages` ends with a turn of the assistant, which",
        ),
        ([ASKS, {"role": "system", "content": "Be brief."}], "must end with a turn of the user, .* got 'system'"),
        ([{"role": "human", "content": "Say 5."}], r"`messages\[0\].role` must be one of .* did you mean 'user'"),
        ([{"role": "User", "content": "Say 5."}], "got 'User'; did you mean 'user'"),
        ([{"role": "user", "content": " \n"}], r"`messages\[0\].content` is empty"),
        ([ASKS, {"role": "assistant", "content": "", "tool_calls": CALL}, ASKS], "tool calls are not supported"),
        ([ASKS, {"role": "tool", "content": "4"}, ASKS], r"`messages\[1\]`: tool calls are not supported"),
        ([ASKS, {"role": "assistant", "content": ""}, ASKS], r"`messages\[1\].content` is empty"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "must be a string, or a list of parts of text"),
        ([{"role": "user", "content": None}], r"`messages\[0\].content` must be a string"),
        ([], "must be a list of"),
        ("Say 5.", "must be a list of"),
    ],
)
def test_what_is_no_prompt_of_a_user_is_a_bad_row_and_no_sample(tmp_path: Path, turns: Any, problem: str) -> None:
    row = {"messages": turns, "criteria": CRITERIA}
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "Fine.", "criteria": CRITERIA}) + "\n" + json.dumps(row))
    with pytest.raises(ValueError, match=f"line 2: field .*{problem}"):
        read_records(tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match=f"^field .*{problem}"):
        RubricSample("p", turns, RUBRIC)


@pytest.mark.parametrize("prompt", ["", "  "])
def test_an_empty_prompt_is_a_bad_row(tmp_path: Path, prompt: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": prompt, "criteria": CRITERIA}))
    with pytest.raises(ValueError, match="line 1: field `prompt` is empty"):
        read_records(tmp_path / "rows.jsonl")
