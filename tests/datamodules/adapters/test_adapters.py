"""Formats that people hold: a row of each becomes a record; bad rows are named by field."""

import json
from pathlib import Path
from typing import Any

import pytest

from rtt_lightning.commands.run import main
from rtt_lightning.datamodules import RecordFiles, RubricDataModule
from rtt_lightning.datamodules.adapters import FORMATS, Adapter, adapter_named
from rtt_lightning.datamodules.adapters.labels import Labels
from rtt_lightning.datamodules.adapters.weighted import Weighted
from rtt_lightning.datamodules.records import Record, read_records
from rtt_lightning.datamodules.views import labelled_pairs
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.types import Criterion
from rtt_lightning.verifiers.rules import RuleVerifier

IFEVAL = {
    "key": 7,
    "prompt": "Write of tea.",
    "instruction_id_list": ["punctuation:no_comma", "keywords:existence"],
    "kwargs": [{"keywords": None, "num_words": None}, {"keywords": ["tea"], "num_words": None}],
}
MULDIMIF = {
    "id": "4093",
    "conversations": [{"role": "user", "content": "News of Somalia?"}],
    "constraints": [
        ["Content", "Keywords", "Must include the keyword 'Somalia'"],
        ["Length", "Words", "At most 50 words"],
        ["Format", "XML", "Number of attributes must be exactly 5"],
        ["Format", "JSON", "Nesting depth must not exceed 2 levels"],
        ["Content", "Style", "Be formal"],
    ],
    "constraint_pattern": "Listing",
}
WEIGHTED = {
    "prompt_id": "h1",
    "prompt": [{"role": "user", "content": "I have a cough."}],
    "rubrics": [
        {"criterion": "Asks how long.", "points": 5, "tags": ["level:example"]},
        {"criterion": "Prescribes antibiotics.", "points": -8, "tags": []},
    ],
}
RAR = {"question": "Why?", "rubric": [{"title": "Reason", "description": "Gives a reason.", "weight": 3}]}
TRL = {
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}],
    "criteria": ["Greets."],
}


VERIF = {
    "id": "v1",
    "prompt": "[Draft] of tea",
    "checker": ["[llm] Be vivid.", "[rule] No commas."],
    "functions": ["", "def check_following(instruction, response):\n    return ',' not in response"],
}
ADVANCEDIF = {
    "conversation_history": json.dumps(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    ),
    "response": json.dumps([{"role": "assistant", "content": "Hello."}]),
    "benchmark_name": "if_system_steerability_oss",
    "prompt_metadata": json.dumps({"rubrics": json.dumps(["Is it brief?", "Does it greet?"])}),
}
HIR = [
    {"id": 1, "prompt": "Of tea.", "source": "type1", "criteria": ["Use no comma."],
     "ground_truth": json.dumps({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]})},
    {"id": 2, "prompt": "Of tea.", "source": "type2", "rubrics": [{"id": 1, "description": "Use three numbers."}],
     "ground_truth": {"instruction_id_list": ["count:numbers"], "kwargs": [{"N": 3, "word": None}]}},
    {"id": 3, "prompt": "Of tea.", "source": "type3", "rubrics": ["It is short."],
     "ground_truth": {"constraints": [["Length", "Words", "At most 50 words"]]}},
    {"id": 4, "prompt": "Of tea.", "source": "type4", "rubrics": ["It is vivid.", "It has no comma."],
     "ground_truth": {"checker": VERIF["checker"], "functions": VERIF["functions"]}},
]  # fmt: skip


def read(tmp_path: Path, format: str, *rows: Any) -> list[Record]:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return read_records(path, adapter_named(format))


@pytest.mark.parametrize("format", ["ifeval", "ifbench"])
def test_ifeval(tmp_path: Path, format: str) -> None:
    [record] = read(tmp_path, format, IFEVAL)
    assert (record.sample.id, record.sample.messages[0]["content"]) == ("7", "Write of tea.")
    no_comma, existence = record.sample.criteria
    assert (no_comma.checker, no_comma.kwargs) == ("punctuation:no_comma", {})
    assert existence == Criterion(
        "Include keywords ['tea'] in the response.", "keywords:existence", {"keywords": ["tea"]}
    )


def test_ifeval_arguments_as_pandas_and_parquet_leave_them(tmp_path: Path) -> None:
    """Whole floats, NaN and nulls for what is absent, arguments as JSON text."""
    name = "length_constraints:nth_paragraph_first_word"
    given = {"num_paragraphs": 2.0, "nth_paragraph": 1.0, "first_word": "hello", "n": float("nan")}
    expected = {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "hello"}
    for kwargs in (given, json.dumps(given), expected | {"keywords": None}):
        [record] = read(tmp_path, "ifeval", {**IFEVAL, "instruction_id_list": [name], "kwargs": [kwargs]})
        [criterion] = record.sample.criteria
        assert criterion.kwargs == expected
        assert all(type(criterion.kwargs[key]) is int for key in ("num_paragraphs", "nth_paragraph"))
        assert "2.0" not in criterion.text


@pytest.mark.parametrize(
    "truth",
    [
        "[{'instruction_id': ['punctuation:no_comma', 'keywords:existence'], 'kwargs': [None, {'keywords': ['tea']}]}]",
        json.dumps([
            {"instruction_id": ["punctuation:no_comma"], "kwargs": [None]},
            {"instruction_id": ["keywords:existence"], "kwargs": [{"keywords": ["tea"]}]},
        ]),
    ],
)  # fmt: skip
def test_ids_beside_messages_and_in_a_ground_truth_that_python_printed(tmp_path: Path, truth: str) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tea?"}]
    row = {"key": "a", "messages": turns, "ground_truth": truth, "constraint_type": "multi"}
    [record] = read(tmp_path, "ifeval", row)
    assert record.sample.messages == tuple(turns)
    assert [(c.checker, c.kwargs) for c in record.sample.criteria] == [
        ("punctuation:no_comma", {}),
        ("keywords:existence", {"keywords": ["tea"]}),
    ]


def test_weights_in_words_and_in_digits(tmp_path: Path) -> None:
    rubric = [{"description": "a", "weight": "Essential"}, {"description": "b", "weight": "-2"}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({**RAR, "rubric": rubric}))
    [record] = read_records(tmp_path / "rows.jsonl", Weighted({"Essential": 1.5}))
    assert [c.weight for c in record.sample.criteria] == [1.5, -2]


def test_weights_of_hir_are_kept(tmp_path: Path) -> None:
    rubrics = [{"description": "Is vivid.", "weight": 3}, {"description": "Has a comma.", "weight": -1}]
    [record] = read(tmp_path, "hir", {**HIR[3], "rubrics": rubrics})
    assert [c.weight for c in record.sample.criteria] == [3, -1]
    [record] = read(tmp_path, "hir", HIR[3])
    assert [c.weight for c in record.sample.criteria] == [1, 1]


def test_muldimif(tmp_path: Path) -> None:
    [record] = read(tmp_path, "muldimif", MULDIMIF)
    assert [(c.checker, dict(c.kwargs)) for c in record.sample.criteria] == [
        ("rtt:keywords", {"words": ["Somalia"]}),
        ("rtt:count_words", {"low": 0, "high": 50}),
        ("rtt:is_xml", {"low": 5, "high": 5}),
        ("rtt:is_json", {"low": 0, "high": 2}),
        ("judge", {}),
    ]
    assert record.sample.id == "4093"


def test_weighted(tmp_path: Path) -> None:
    first, second = read(tmp_path, "weighted", WEIGHTED, RAR)
    assert [(c.text, c.weight) for c in first.sample.criteria] == [
        ("Asks how long.", 5),
        ("Prescribes antibiotics.", -8),
    ]
    assert [(c.text, c.checker, c.weight) for c in second.sample.criteria] == [("Gives a reason.", "judge", 3)]
    assert (first.sample.id, second.sample.id) == ("h1", "data.jsonl:2")


def test_trl(tmp_path: Path) -> None:
    own = {"prompt": "Hi.", "rubric": [{"text": "No commas.", "checker": "rtt:no_commas"}]}
    first, second = read(tmp_path, "trl", TRL, own)
    assert [message["role"] for message in first.sample.messages] == ["system", "user"]
    assert first.sample.criteria == (Criterion("Greets.", "judge"),)
    assert second.sample.criteria == (Criterion("No commas.", "rtt:no_commas"),)


def test_a_sentence_without_a_checker_is_read_as_in_our_own_format(tmp_path: Path) -> None:
    rows = {
        "trl": {**TRL, "criteria": ["At most 50 words", "Greets."]},
        "weighted": {**RAR, "rubric": [{"text": text, "weight": -1 + 3 * n} for n, text in
                                       enumerate(("At most 50 words", "Greets."))]},
        "rtt": {"prompt": "Hi.", "criteria": ["At most 50 words", {"text": "Greets."}]},
    }  # fmt: skip
    for format, row in rows.items():
        [record] = read(tmp_path, format, row)
        found = [(c.checker, dict(c.kwargs)) for c in record.sample.criteria]
        assert found == [("rtt:count_words", {"low": 0, "high": 50}), ("judge", {})], format


def test_verif(tmp_path: Path) -> None:
    unmarked = {
        "id": "NA",
        "prompt": TRL["prompt"],
        "checkers": ["Vivid", "Short"],
        "functions": [
            "from llm_call import llm_score\ndef check_following(i, r): return llm_score(i, r, 'x')",
            "def f(): ...",
        ],
    }
    first, second, third = read(tmp_path, "verif", VERIF, unmarked, unmarked)
    assert [c.checker for c in second.sample.criteria] == ["judge", "code"]
    assert third.sample.id == "data.jsonl:3"
    assert first.sample.criteria == (
        Criterion("Be vivid.", "judge"),
        Criterion("No commas.", "code", {"source": VERIF["functions"][1]}),
    )
    assert first.sample.messages[0]["content"] == "[Draft] of tea"
    assert len(second.sample.messages) == 2


def test_hir(tmp_path: Path) -> None:
    records = read(tmp_path, "hir", *HIR)
    found = [(c.text, c.checker, dict(c.kwargs)) for record in records for c in record.sample.criteria]
    assert found == [
        ("Use no comma.", "punctuation:no_comma", {}),
        ("Use three numbers.", "count:numbers", {"N": 3}),
        ("It is short.", "rtt:count_words", {"low": 0, "high": 50}),
        ("It is vivid.", "judge", {}),
        ("It has no comma.", "code", {"source": VERIF["functions"][1]}),
    ]


def test_advancedif(tmp_path: Path) -> None:
    [record] = read(tmp_path, "advancedif", ADVANCEDIF)
    assert [message["role"] for message in record.sample.messages] == ["system", "user"]
    assert [(c.text, c.checker) for c in record.sample.criteria] == [
        ("Is it brief?", "judge"),
        ("Does it greet?", "judge"),
    ]
    assert record.judged is None


LABELS = {"criteria": "Mention tea.", "response": "I like tea", "char_labels": [0] * 7 + [1] * 3}
TOKENS = {**LABELS, "char_labels": None, "token_labels": [0, 1, 1], "tokens": ["I", " like", " tea"]}


@pytest.mark.parametrize(
    ("row", "met", "spans"),
    [
        (LABELS, None, ((7, 10),)),
        ({**LABELS, "label": 1}, True, ((7, 10),)),
        ({**LABELS, "met": False, "char_labels": [0] * 10}, False, ()),
        (
            {**LABELS, "char_labels": [True, False] * 3 + [1.0, 1.0, 0.0, 1.0]},
            None,
            ((0, 1), (2, 3), (4, 5), (6, 8), (9, 10)),
        ),
        ({**LABELS, "char_labels": str([1] * 10)}, None, ((0, 10),)),
        (TOKENS, None, ((1, 10),)),
        ({**TOKENS, "offsets": [[0, 1], [2, 6], [7, 10]], "token_labels": [1, 0, 1]}, None, ((0, 1), (7, 10))),
    ],
)
def test_labels(tmp_path: Path, row: Any, met: bool | None, spans: Any) -> None:
    [record] = read(tmp_path, "labels", row)
    assert record.judged is not None
    [verdict] = record.judged.verdicts
    assert (verdict.met, verdict.spans, verdict.spans_by) == (met, spans, "labels")
    assert record.sample.messages == ({"role": "user", "content": "Mention tea."},)
    [pair] = labelled_pairs([record])
    assert (pair["criterion"], pair["response"], pair["spans"]) == ("Mention tea.", "I like tea", spans)


def test_labels_of_several_criteria_and_by_a_tokenizer(tmp_path: Path, tiny_model: str) -> None:
    both = {"prompt": "Tea?", "criteria": ["Mention tea.", "Be kind."], "response": "I like tea ☕", "met": [1, 0]}
    ids = load_tokenizer(tiny_model)(both["response"])["input_ids"]
    assert len(ids) > 5  # the cup is several tokens
    marks = [[0, 0, 1] + [0] * (len(ids) - 3), [0] * (len(ids) - 1) + [1]]
    (tmp_path / "a.jsonl").write_text(json.dumps({**both, "token_labels": marks}))
    [record] = read_records(tmp_path / "a.jsonl", Labels(tiny_model))
    assert record.judged is not None
    assert [(v.met, v.spans) for v in record.judged.verdicts] == [(True, ((6, 10),)), (False, ((11, 12),))]
    assert record.sample.asked == "Tea?"


@pytest.mark.parametrize(
    ("format", "row", "problem"),
    [
        ("labels", {**LABELS, "char_labels": None}, "field `char_labels` or `token_labels` is missing"),
        (
            "labels",
            {**LABELS, "char_labels": [0, 1]},
            "for each character of `response`, 10 in all, got 2 of them; leave",
        ),
        ("labels", {**TOKENS, "token_labels": [0] * 4}, "for each token of `response`, 3 in all, got 4 of them"),
        (
            "labels",
            {**LABELS, "char_labels": [0] * 9 + [0.5]},
            "must have 0 or 1 for each, got 0.5; choose a threshold",
        ),
        ("labels", {**LABELS, "char_labels": 1}, "field `char_labels` must be a list, got '1'"),
        ("labels", {**LABELS, "criteria": ["a"], "char_labels": [1]}, "10 in all, got 1; leave out"),
        ("labels", {**LABELS, "criteria": ["a", "b"]}, "field `criteria` has 2 entries, `char_labels` 10, and the"),
        ("labels", {**LABELS, "label": "yes"}, "field `met` or `verdict` or `label` must be 0, 1 or null, got 'yes'"),
        (
            "labels",
            {**TOKENS, "tokens": None},
            "is there without the tokens: add `tokens` or `offsets` to the rows, or",
        ),
        ("labels", {**TOKENS, "tokens": ["I", "like"]}, "after 1 character that goes on ' like tea', got 'like'"),
        ("labels", {**TOKENS, "tokens": ["I"]}, "after 1 character that goes on ' like tea', got no token"),
        (
            "labels",
            {**TOKENS, "offsets": [[0, 1], [2, 6], [7, 11]]},
            "within the 10 characters of `response`, got [7, 11]",
        ),
        ("ifeval", {"prompt": "x", "kwargs": []}, "field `instruction_id_list` is missing"),
        ("ifeval", {**IFEVAL, "kwargs": [{}]}, "field `kwargs` has 1 entries for 2 instructions"),
        ("ifeval", {**IFEVAL, "kwargs": [{"tea": 1}, {}]}, "field `kwargs[0]` does not fit 'punctuation:no_comma'"),
        ("ifeval", {**IFEVAL, "kwargs": [{}, {}]}, "field `kwargs[1]` does not fit 'keywords:existence'"),
        ("ifeval", {**IFEVAL, "kwargs": "[{"}, "field `kwargs` is not JSON"),
        (
            "ifeval",
            {**IFEVAL, "instruction_id_list": [], "kwargs": []},
            "field `criteria` must be a list with at least one",
        ),
        ("muldimif", {"conversations": []}, "field `constraints` is missing"),
        ("muldimif", {**MULDIMIF, "constraints": ["At most 5 words"]}, "must be [category, subcategory, description]"),
        (
            "muldimif",
            {**MULDIMIF, "conversations": [{"content": "x"}]},
            "field `messages[0]` must be an object with `role` and `content`",
        ),
        ("weighted", {"rubric": []}, "field `prompt or question or messages` is missing"),
        ("weighted", {**RAR, "rubric": ["Be kind."]}, "must be an object with a text and a weight"),
        ("weighted", {**RAR, "rubric": [{"description": "x", "weight": -1}]}, "has no positive weight"),
        (
            "weighted",
            {**RAR, "rubric": [{"description": "x", "weight": 0}]},
            "must be a list with at least one criterion",
        ),
        ("weighted", {**RAR, "rubric": [{"description": "x", "weight": float("nan")}]}, "must be a finite number"),
        (
            "weighted",
            {**RAR, "rubric": [{"description": "x", "weight": "Essential"}]},
            "field `rubric[0].weight` must be a finite number, got Essential; say what weight each word means",
        ),
        ("weighted", {**RAR, "rubric": [{"description": "x", "weight": True}]}, "must be a finite number, got True"),
        ("verif", {**VERIF, "functions": ["", " "]}, "field `functions[1]` is empty: nothing can decide the rule"),
        ("trl", {**TRL, "tools": [{"type": "function"}]}, "field `tools` holds tools, and tool calls are not"),
        ("ifeval", {"prompt": "x", "ground_truth": "[1]"}, "field `ground_truth[0]` must be an object, got 1"),
        ("ifeval", {"prompt": "x", "ground_truth": "open('x')"}, "field `ground_truth` is not JSON of a list"),
        ("weighted", {**RAR, "rubric": [{"description": "x"}]}, "field `points or weight or score` is missing"),
        ("trl", {"prompt": 3, "criteria": ["x"]}, "field `prompt` must be a list"),
        ("trl", {"prompt": "x", "criteria": [""]}, "criterion text is empty"),
        ("trl", {"prompt": "x"}, "field `rubric` is missing"),
        ("verif", {**VERIF, "functions": [""]}, "field `functions` has 1 entries for 2 checkers"),
        ("hir", {**HIR[0], "ground_truth": '{"instruction_id_list": ['}, "field `ground_truth` is not JSON"),
        ("hir", {**HIR[0], "source": "type5"}, "field `source` must be type1, type2, type3 or type4, got 'type5'"),
        (
            "hir",
            {**HIR[3], "rubrics": ["It is vivid."]},
            "field `ground_truth` decides 2 criteria, but `rubrics` has 1",
        ),
        ("hir", {**HIR[2], "ground_truth": {}}, "field `constraints` is missing"),
        ("advancedif", {**ADVANCEDIF, "prompt_metadata": "{}"}, "field `rubrics` is missing"),
        ("advancedif", {**ADVANCEDIF, "conversation_history": "Hi."}, "field `conversation_history` is not JSON"),
        ("rtt", {"prompt": "x", "criteria": []}, "must be a list with at least one criterion"),
    ],
)
def test_bad_rows_are_named_by_line_and_field(tmp_path: Path, format: str, row: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=r"data.jsonl: 1 of 1 rows are not valid records\n  line 1: ") as error:
        read(tmp_path, format, row)
    assert problem in str(error.value)


def test_all_of_25_criteria_are_scored(tmp_path: Path) -> None:
    constraints = [["Content", "Keywords", f"Must include the keyword 'w{n}'"] for n in range(25)]
    [record] = read(tmp_path, "muldimif", {**MULDIMIF, "constraints": constraints})
    [verdicts] = RuleVerifier(workers=0).verify_all([(record.sample, " ".join(f"w{n}" for n in range(24)))])
    assert [verdict.met for verdict in verdicts] == [True] * 24 + [False]


def test_two_prompts_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 2: field `id` is '7', as on line 1; each prompt needs its own"):
        read(tmp_path, "ifeval", IFEVAL, {**IFEVAL, "prompt": "Another."})


@pytest.mark.parametrize(
    "text", ["你好，世界", "👍🏽 😀", "a\x00b", "שלום", "{} {0} $C$ %s </response>", "{{ x }}\n{% y %}"]
)
def test_text_of_any_kind_stays_as_it_is(tmp_path: Path, text: str) -> None:
    [record] = read(tmp_path, "ifeval", {**IFEVAL, "prompt": text})
    assert record.sample.messages == ({"role": "user", "content": text},)


def test_an_unknown_format_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown data.format 'ifevl'; did you mean 'ifeval'\? Known are rtt, ifeval,"
    ):
        RubricDataModule(format="ifevl")


class Mine(Adapter):
    """An adapter of one's own, as the tutorial shows it."""

    def __call__(self, row: Any) -> Any:
        criteria = [{"text": rule, "checker": "rtt:include_word", "kwargs": {"word": rule}} for rule in row["words"]]
        return {"prompt": row["ask"], "criteria": criteria}


def test_a_format_is_picked_by_name_or_by_class_path(tmp_path: Path, tiny_model: str) -> None:
    (tmp_path / "mine.jsonl").write_text(json.dumps({"ask": "Of tea.", "words": ["tea"]}))
    (tmp_path / "ifeval.jsonl").write_text(json.dumps(IFEVAL))
    for format, name in ((f"{__name__}.Mine", "mine"), ("ifeval", "ifeval")):
        run = main(
            [
                "validate",
                "--model=rtt_lightning.PolicyModule",
                f"--model.init_args.model={tiny_model}",
                "--data.source=rtt_lightning.RecordFiles",
                f"--data.source.init_args.val={tmp_path}/{name}.jsonl",
                f"--data.format={format}",
                "--rollout.evaluation.max_new_tokens=2",
                "--trainer.accelerator=cpu",
                "--trainer.logger=false",
                "--trainer.enable_progress_bar=false",
            ]
        )
        assert isinstance(run.datamodule.adapter, Mine if name == "mine" else FORMATS["ifeval"])
        assert 0 <= float(run.trainer.callback_metrics["val/rubric_accuracy"]) <= 1


def test_training_and_validation_may_have_formats_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps(TRL))
    (tmp_path / "val.jsonl").write_text(json.dumps(IFEVAL))
    source = RecordFiles(train=str(tmp_path / "train.jsonl"), val=str(tmp_path / "val.jsonl"))
    data = RubricDataModule(source, format="trl", val_format="ifeval")
    data.setup("fit")
    assert [len(data.records[split]) for split in ("train", "val")] == [1, 1]
    assert data.records["val"][0].sample.criteria[0].checker == IFEVAL["instruction_id_list"][0]


def test_a_folder_with_a_dataset_is_read_as_one_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(TRL))
    data = RubricDataModule(RecordFiles(val=f"{tmp_path}:test"), format="trl")
    data.setup("validate")
    assert data.records["val"][0].sample.id == f"{tmp_path}:test:1"


def test_data_that_is_nowhere_is_named(tmp_path: Path) -> None:
    data = RubricDataModule(RecordFiles(val=f"{tmp_path}/none"))
    with pytest.raises(ValueError, match=r"no data at .*/none; give a .jsonl, .json or .parquet file, or a dataset"):
        data.setup("validate")
