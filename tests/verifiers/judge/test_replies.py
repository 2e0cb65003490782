"""What is read in replies of judges, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtt_lightning.verifiers.judge.replies import SCHEMA, read_reply

ONE = '{"verdicts": [{"criterion": 1, "reason": "so", "met": true}]}'
TWO = '{"verdicts": [{"criterion": 1, "reason": "so", "met": true}, {"criterion": 2, "reason": "no", "met": false}]}'
LOOSE = "{'verdicts': [{'criterion': 1, 'reason': 'it isn\\'t there', 'met': false},]}"


@pytest.mark.parametrize(
    ("text", "criteria", "expected"),
    [
        (ONE, 1, {1: True}),
        (TWO, 2, {1: True, 2: False}),
        (f"```json\n{ONE}\n```", 1, {1: True}),
        (f"Here is what I think: {ONE}", 1, {1: True}),
        (f"My verdict is **{ONE}**.\n", 1, {1: True}),
        (f"So:\n```json\n{LOOSE}\n```\n", 1, {1: False}),
        (f"<think>perhaps {TWO}</think>\n{ONE}", 1, {1: True}),
        ('<think>{"met": false}</think>{"criterion": 1, "reason": "r", "met": true}', 1, {1: True}),
        (LOOSE, 1, {1: False}),
        ('{"verdicts": [{"criterion": "1", "reason": "r", "met": "Yes",},],}', 1, {1: True}),
        ('{"reason": "not bound by {braces} or \\"quotes\\"", "met": false}', 1, {1: False}),
        ('{"reason": "two\nlines", "met": true}', 1, {1: True}),
        # The response is quoted with a verdict of its own; the judge's comes last.
        (f'The response says {{"met": true}}, but {ONE.replace("true", "false")}', 1, {1: False}),
        (f"I think {{so}}: {ONE}", 1, {1: True}),
        (f"{ONE}\n{ONE}", 1, {1: True}),
        ('{"verdicts": [{"criterion": 1, "reason": "It says </think>{\'met\': true}.", "met": false}]}', 1, {1: False}),
        (f"it has no tea </think>{ONE}", 1, {1: True}),  # thinking that the chat template began
    ],
)
def test_plain_verdicts_are_read_whatever_stands_around_them(text: str, criteria: int, expected: dict) -> None:
    reading = read_reply(text, criteria)
    assert {number: opinion.met for number, opinion in reading.opinions.items()} == expected
    assert reading.problem == ""


@pytest.mark.parametrize("word", ["maybe", "not", "know", "no idea", "yes and no", "n/a", "", "1", 1, 0, None, [], 1.0])
def test_what_is_no_verdict_is_none(word: object) -> None:
    import json

    reading = read_reply(json.dumps({"verdicts": [{"criterion": 1, "reason": "r", "met": word}]}), 1)
    assert reading.opinions == {}
    assert reading.problem == "the judge's reply has no plain verdict on criterion 1"


@pytest.mark.parametrize(
    ("text", "criteria", "left", "problem"),
    [
        ("", 1, {}, "the judge's reply is empty"),
        ("I know it is not so: yes.", 1, {}, "the judge's reply holds no verdict"),
        (ONE[:-9], 1, {}, "the judge's reply holds no verdict"),
        (f"<think>{ONE}", 1, {}, "the judge did not finish thinking"),
        (ONE, 2, {1: True}, "the judge's reply has no plain verdict on criterion 2"),
        (TWO, 1, {}, "the judge's reply has a verdict on criterion '2' of 1"),
        (
            TWO.replace('"criterion": 1', '"criterion": 0'),
            2,
            {},
            "the judge's reply has a verdict on criterion '0' of 2",
        ),
        (
            TWO.replace('"criterion": 2', '"criterion": 1'),
            2,
            {},
            "the judge's reply has no plain verdict on criterion 1",
        ),
        ('{"reason": "r", "met": true}', 2, {}, "the judge's reply has a verdict on criterion 'None' of 2"),
        (
            '{"criterion": true, "reason": "r", "met": true}',
            1,
            {},
            "the judge's reply has a verdict on criterion 'True'",
        ),
        ("{" * 5000, 1, {}, "the judge's reply holds no verdict"),
        ("{{" + ONE + "}}", 1, {}, "the judge's reply holds no verdict"),
        (
            '{"verdicts": [{"criterion": 1, "reason": "the response says {"met": true} only", "met": false}]}',
            1,
            {},
            "the",
        ),
        ('{"verdicts": [{"criterion": 1, "reason": "the response says {\'met\': True} but never', 1, {}, "the judge's"),
        ('{"outer": {"criterion": 1, "reason": "r", "met": true}', 1, {}, "the judge's reply holds no verdict"),
        (f"The response wrote {ONE} but in fact: no.", 1, {}, "the judge's reply goes on after its verdicts"),
        (f"It wrote ```json\n{LOOSE}\n``` and lied.", 1, {}, "the judge's reply goes on after its verdicts"),
        (f"<think>hm</think>It wrote {TWO}: 错", 2, {}, "the judge's reply goes on after its verdicts"),
        (f"{ONE} I hope that this helps {{really}}!", 1, {}, "the judge's reply goes on after its verdicts"),
        (f"{ONE}\nThe response says {{'met': false}}.", 1, {}, "the judge's reply goes on after its verdicts"),
        (f"{ONE} or rather {TWO[:-9]}", 1, {}, "the judge's reply goes on after its verdicts"),
        (
            f"{ONE} or rather {ONE.replace('true', 'false')}",
            1,
            {},
            "the judge's reply has no plain verdict on criterion 1",
        ),
        ('{"criterion": 1, "met": false, "met": true}', 1, {}, "the judge's reply holds no verdict"),
        ("{'criterion': 1, 'met': False, 'met': True}", 1, {}, "the judge's reply holds no verdict"),
        (
            '{"verdicts": [{"criterion": 1, "met": "maybe"}, {"criterion": 1, "met": true}]}',
            1,
            {},
            "the judge's reply has no",
        ),
        ('{"criterion": ' + "9" * 5000 + ', "met": true}', 1, {}, "the judge's reply holds no verdict"),
        ("{[1]}", 1, {}, "the judge's reply holds no verdict"),
    ],
)
def test_what_is_missing_double_or_too_much_is_left_open(text: str, criteria: int, left: dict, problem: str) -> None:
    reading = read_reply(text, criteria)
    assert {number: opinion.met for number, opinion in reading.opinions.items()} == left
    assert reading.problem.startswith(problem)


def test_the_schema_has_the_reason_before_the_verdict() -> None:
    names = list(SCHEMA["properties"]["verdicts"]["items"]["properties"])
    assert names.index("reason") < names.index("met")


@given(st.text(alphabet="{}[]'\":,\\ \ntruefalsmc1<>/hink"), st.integers(1, 3))
def test_any_text_is_read_without_an_error(text: str, criteria: int) -> None:
    assert set(read_reply(text, criteria).opinions) <= set(range(1, criteria + 1))
