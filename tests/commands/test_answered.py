"""`rtt score FILE`: what other systems produced is scored as a model's responses are."""

import json
from pathlib import Path
from typing import Any

import nltk
import pytest

from rtt_lightning.cli import answer
from rtt_lightning.commands.score import command
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.types.errors import UserError

ROWS = [
    {"key": key, "prompt": prompt, "instruction_id_list": names, "kwargs": [{}] * len(names)}
    for key, prompt, names in (
        (1, "One.", ["punctuation:no_comma", "startend:quotation"]),
        (2, "Two.", ["detectable_format:title"]),
        (3, "Three.", ["punctuation:no_comma"]),
    )
]
ANSWERS = [
    {"prompt": "One.", "response": '"quoted"', "model": "another system"},
    {"prompt": "Two.", "response": "Sure:\n<<title>>"},
    {"prompt": "Three.", "response": "Sure, here:\nno comma"},
]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def validate(tmp_path: Path, *args: str, responses: list[Any] = ANSWERS, rows: list[Any] = ROWS) -> None:
    command(
        "score",
        [
            str(write(tmp_path / "responses.jsonl", responses)),
            "--config=benchmarks/ifeval.yaml",
            f"--data.source.init_args.val={write(tmp_path / 'rows.jsonl', rows)}",
            f"--rollout.output={tmp_path}/out",
            *args,
        ],
    )


def test_verdicts_figures_and_completions_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validate(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "out/validate.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == ["One.", "Two.", "Three."]
    assert [row["verdicts_strict"] for row in rows] == [[True, True], [True], [False]]
    assert [row["verdicts_loose"] for row in rows] == [[True, True], [True], [True]]
    metrics = json.loads((tmp_path / "out/validate.json").read_text())
    assert metrics["instruction_accuracy_strict"]["mean"] == pytest.approx(2 / 3)
    assert metrics["rubric_accuracy_strict"]["mean"] == pytest.approx(3 / 4)
    exact = {"mean": 1, "low": pytest.approx(0.025 ** (1 / 3)), "high": 1}  # none of three prompts failed
    assert metrics["instruction_accuracy_loose"] == exact
    assert (metrics["responses"], metrics["prompts"]) == (3, 3)
    judged = read_judged(tmp_path / "out/validate.parquet")
    assert [item.rollout.answer for item in judged] == [row["response"] for row in ANSWERS]
    assert [[verdict.met for verdict in item.loose or ()] for item in judged] == [[True, True], [True], [True]]
    printed = capsys.readouterr().out
    assert "validate: 3 responses to 3 prompts" in printed
    assert "instruction-level" in printed
    assert "loosely" in printed


PARAGRAPHS = {
    "key": 1,
    "prompt": "Two paragraphs.",
    "instruction_id_list": ["length_constraints:nth_paragraph_first_word"],
    "kwargs": [{"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "hello"}],
}


ANSWER = "Hello there.\n\nBye now."
STARTS = {
    "": True,
    "\n\n": False,  # no reasoning: a response is judged as it is
    "<think>\nTwo.\n</think>\n\n": True,
    "Two.\n</think>\n\n": True,  # its prompt opened it
    "[THINK]Two.[/THINK]\n\n": True,
    "<|channel|>analysis<|message|>Two.<|end|><|start|>assistant<|channel|>final<|message|>": True,
    "Thoughts: two. Reply:\n\n": False,
}
"""What may stand before an answer, and whether the answer is judged without it."""


@pytest.mark.parametrize(("flags", "judged_without"), [
    ((), STARTS),
    (('--rollout.reasoning=[["Thoughts:", "Reply:"]]',), {start: start[:8] in ("", "Thoughts") for start in STARTS}),
    (("--rollout.reasoning=[]",), {start: not start for start in STARTS}),
])  # fmt: skip
def test_an_answer_begins_behind_the_reasoning_and_its_blank_lines(
    tmp_path: Path, flags: tuple[str, ...], judged_without: dict[str, bool]
) -> None:
    responses = [{"prompt": "Two paragraphs.", "response": start + ANSWER} for start in judged_without]
    validate(tmp_path, *flags, responses=responses, rows=[PARAGRAPHS])
    rows = [json.loads(line) for line in (tmp_path / "out/validate.jsonl").read_text().splitlines()]
    assert [row["verdicts_strict"] for row in rows] == [[met] for met in judged_without.values()]


def test_training_prompts_are_known_as_well_and_without_data_that_is_said(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [{**ROWS[0], "key": 9, "prompt": "Nine."}])
    responses = [*ANSWERS, {"prompt": "Nine.", "response": "no comma"}]
    validate(tmp_path, f"--data.source.init_args.train={train}", responses=responses)
    rows = [json.loads(line) for line in (tmp_path / "out/validate.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in rows] == ["One.", "Two.", "Three.", "Nine."]
    with pytest.raises(UserError, match=r"not in the built-in prompts \(no data is named\), .* by --config or --data"):
        command("score", [str(tmp_path / "responses.jsonl")])


def test_several_responses_to_a_prompt_are_samples_of_it(tmp_path: Path) -> None:
    responses = [*ANSWERS, {"prompt": "Three.", "response": "no comma"}, {"prompt": "Three.", "response": "a, b"}]
    validate(tmp_path, responses=responses)
    rows = [json.loads(line) for line in (tmp_path / "out/validate.jsonl").read_text().splitlines()]
    assert [(row["id"], row["sample_index"]) for row in rows] == [("1", 0), ("2", 0), ("3", 0), ("3", 1), ("3", 2)]


def test_a_response_is_judged_by_every_rubric_of_its_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*ROWS, {**ROWS[0], "key": 4, "instruction_id_list": ["detectable_format:title"], "kwargs": [{}]}]
    validate(tmp_path, rows=rows, responses=[*ANSWERS, {"prompt": "One.", "response": "<<title>>"}])
    found = [json.loads(line) for line in (tmp_path / "out/validate.jsonl").read_text().splitlines()]
    assert [(row["id"], row["sample_index"], row["verdicts_strict"]) for row in found] == [
        ("1", 0, [True, True]),
        ("1", 1, [True, False]),
        ("2", 0, [True]),
        ("3", 0, [False]),
        ("4", 0, [False]),
        ("4", 1, [True]),
    ]
    assert "no response" not in capsys.readouterr().out


def test_prompts_without_a_response_are_counted_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validate(tmp_path, responses=ANSWERS[:1])
    assert "2 of 3 held-out prompts have no response" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/validate.json").read_text())["prompts"] == 1


def test_conversations_are_told_apart_by_all_their_turns(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Bye."},
    ]
    criteria = [{"text": "No commas.", "checker": "rtt:no_commas"}]
    rows = [{"messages": turns, "criteria": criteria}, {"messages": [turns[0], turns[2]], "criteria": criteria}]
    responses = [{"prompt": [turns[0], turns[2]], "response": "a, b"}, {"prompt": turns, "response": "ab"}]
    validate(tmp_path, "--data.format=rtt", rows=rows, responses=responses)
    found = [json.loads(line) for line in (tmp_path / "out/validate.jsonl").read_text().splitlines()]
    assert [(row["prompt"], row["verdicts_strict"]) for row in found] == [
        (turns, [True]),
        ([turns[0], turns[2]], [False]),
    ]


@pytest.mark.parametrize(
    ("responses", "problem"),
    [
        (
            [{"prompt": "Four.", "response": "x"}],
            "1 of 1 responses are to prompts that are not in the train and val data, such as 'Four.'; give the data",
        ),
        ([{"prompt": "One."}], r"each row needs `prompt` .* and `response` .*\n  line 1: {'prompt': 'One.'}"),
        ([{"prompt": "One.", "response": None}], "line 1: {'prompt': 'One.', 'response': None}"),
        (["One."], "line 1: One."),
        ([{"prompt": ["One."], "response": "x"}], r"line 1: {'prompt': \['One.'\]"),
        ([], "holds no responses"),
    ],
)
def test_wrong_responses_are_named(tmp_path: Path, responses: list[Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        validate(tmp_path, responses=responses)


def test_the_spelling_of_version_0_2_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, rows = write(tmp_path / "responses.jsonl", ANSWERS), write(tmp_path / "rows.jsonl", ROWS)
    flags = ["--config=benchmarks/ifeval.yaml", f"--data.source.init_args.val={rows}", f"--rollout.output={tmp_path}"]
    answer(["validate", *flags, f"--responses={path}"])
    assert "validate: 3 responses to 3 prompts" in capsys.readouterr().out


def test_verdicts_are_compared_with_those_of_a_gold_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validate(tmp_path)
    validate(tmp_path, f"--against={tmp_path}/out/validate.parquet")
    assert "agreement with the gold verdicts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "answered"),
    [("Say it. ", "Say it."), ("Say it.", " Say it.\n"), ("One\ntwo.", "One\r\ntwo."), ("Say it.\u00a0", "Say it.")],
)
def test_prompts_that_lost_white_space_match(tmp_path: Path, data: str, answered: str) -> None:
    validate(tmp_path, rows=[{**ROWS[0], "prompt": data}], responses=[{"prompt": answered, "response": '"a"'}])
    (row,) = [json.loads(line) for line in (tmp_path / "out/validate.jsonl").read_text().splitlines()]
    assert (row["prompt"], row["verdicts_strict"]) == (data, [True, True])


def test_of_prompts_that_differ_in_white_space_the_same_one_is_meant(tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[1], "prompt": "One. "}]
    validate(tmp_path, rows=rows, responses=[{"prompt": "One. ", "response": "<<a>>"}])
    (row,) = [json.loads(line) for line in (tmp_path / "out/validate.jsonl").read_text().splitlines()]
    assert (row["id"], row["verdicts_strict"]) == ("2", [True])
    with pytest.raises(ValueError, match="1 of 1 responses are to prompts that several of the data differ from"):
        validate(tmp_path, rows=rows, responses=[{"prompt": "One.\n", "response": "<<a>>"}])


def test_checks_whose_nltk_resources_are_missing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the official evaluator would: an accuracy of what is left would be another benchmark's."""
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    sentences = {"instruction_id_list": ["length_constraints:number_sentences"]}
    rows = [*ROWS[:2], {**ROWS[2], **sentences, "kwargs": [{"num_sentences": 3, "relation": "at least"}]}]
    with pytest.raises(ValueError, match=r"number_sentences needs NLTK's 'punkt_tab'; set NLTK_DATA .* prompt '3'"):
        validate(tmp_path, rows=rows)
