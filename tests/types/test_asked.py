"""Prompts without one criterion, whose rubric keeps it, and without all."""

from rtt_lightning.types import Criterion, RubricSample
from rtt_lightning.types.asked import bare, without


def test_the_text_leaves_one_criterion_out_and_the_rubric_keeps_all() -> None:
    criteria = tuple(Criterion(text, "judge") for text in ("Be kind.", "Be brief.", "Rhyme."))
    messages = ({"role": "system", "content": "s"}, {"role": "user", "content": "Write.\n- Be kind.\n- Be brief."})
    found = without(RubricSample("p", messages, criteria, "Write."), 1)
    assert found.messages == (messages[0], {"role": "user", "content": "Write. Be kind."})  # "Rhyme." was not asked for
    assert (found.id, found.criteria, found.task) == ("p/without/2", criteria, "Write.")


def test_criteria_in_other_words_are_all_asked_for() -> None:
    criteria = tuple(Criterion(text, "judge") for text in ("Be kind.", "Be brief.", "Rhyme."))
    found = without(RubricSample("p", ({"role": "user", "content": "A kind, short rhyme."},), criteria, "Write."), 0)
    assert found.text == "Write. Be brief. Rhyme."


def test_the_bare_task_keeps_the_turns_before_it() -> None:
    criteria = (Criterion("Be kind.", "judge"),)
    messages = ({"role": "system", "content": "s"}, {"role": "user", "content": "Write. Be kind."})
    assert bare(RubricSample("p", messages, criteria, "Write.")) == (messages[0], {"role": "user", "content": "Write."})
