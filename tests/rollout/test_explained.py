"""What tokens earn, from what a file has recorded, or computed again."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtt_lightning.algorithms import GRPO, RTT
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.relevance import Relevance, RelevanceSource, RuleSpans, ScoresResponses, UniformRelevance
from rtt_lightning.rollout.explained import explain, with_tokens, words
from rtt_lightning.types import JudgedRollout

TEA = {"text": "Mention tea.", "met": True, "reason": "found", "spans": [[0, 3]]}
NOT = {"text": "Mention tea.", "met": False, "reason": "absent", "spans": []}


def judged(folder: Path, *rows: dict[str, Any]) -> list[JudgedRollout]:
    path = folder / "judged.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": "Write.", "id": "a"} | row) for row in rows))
    return read_judged(path)


class Nothing(RelevanceSource):
    """Must not be asked."""

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        raise AssertionError(judged)


def test_words_keep_the_space_before_them_and_characters_without_spaces_are_tokens() -> None:
    def cut(text: str) -> list[str]:
        return [text[start:end] for start, end in words(text)]

    assert cut("Tea, 茶茶") == ["Tea", ",", " 茶", "茶"]
    assert cut("  a_1\n\n b!? ") == ["  a_1", "\n\n b", "!", "?"]
    assert cut("नमस्ते दुनिया") == ["नमस्ते", " दुनिया"]  # accents belong to the letter
    assert cut("شاي أخضر") == ["شاي", " أخضر"]
    assert cut(" ") == cut("") == []


def test_a_single_response_has_the_token_level_alone(tmp_path: Path) -> None:
    """p = (1, 0, 0, 0): mean 1/4, std sqrt(3)/4; (1 - 1/4) / std = sqrt(3), -1/4 / std = -1/sqrt(3); times beta 1/2."""
    [found] = explain(judged(tmp_path, {"response": "Tea is nice.", "criteria": [TEA]}), [0], RuleSpans(), RTT(), words)
    assert found.row == 1
    assert found.item.rollout.offsets == ((0, 3), (3, 6), (6, 11), (11, 12))
    assert found.item.relevance == ((1.0, 0.0, 0.0, 0.0),)
    assert found.item.advantages == pytest.approx([0.866025, -0.288675, -0.288675, -0.288675], abs=1e-5)
    assert found.relevance_from == "computed by RuleSpans"
    assert found.advantages_from.startswith("token level of RTT alone")


def test_responses_to_a_prompt_are_compared_and_those_to_others_are_not(tmp_path: Path) -> None:
    """Rewards 1 and 0: mean 1/2, sample std sqrt(1/2), so +- 0.7071; nothing is relevant to what is absent."""
    other = {"id": "b", "response": "Tea", "criteria": [TEA]}
    rows = {"response": "Tea is", "criteria": [TEA]}, other, {"response": "Milk is nice", "criteria": [NOT]}
    first, second = explain(judged(tmp_path, *rows), [2, 0], RuleSpans(), RTT(), words)
    assert (first.row, second.row) == (3, 1)
    assert first.item.advantages == pytest.approx([-0.7071] * 3, abs=1e-4)
    assert second.item.advantages == pytest.approx([0.7071 + 0.5, 0.7071 - 0.5], abs=1e-4)
    assert first.advantages_from == "computed by RTT from the 2 responses to this prompt that are here"
    [alone] = explain(judged(tmp_path, *rows), [1], RuleSpans(), GRPO(), words)
    assert alone.item.advantages is None
    assert alone.advantages_from == "unknown: GRPO compares responses to a prompt, and here is one"


SAMPLED: dict[str, Any] = {
    "group_id": 0, "sample_index": 0, "response_ids": [5, 6, 2], "text": "Tea is", "offsets": [[0, 3], [3, 6], [6, 6]],
    "answer_span": [0, 6], "finish_reason": "stop", "policy_version": 0, "temperature": 1.0, "prompt_ids": [1],
}  # fmt: skip


def test_what_is_recorded_counts_and_nothing_is_asked_for_it(tmp_path: Path) -> None:
    row = SAMPLED | {"response": "Tea is", "criteria": [TEA]}
    recorded = judged(tmp_path, row | {"relevance": [[0.25, 0.75, 0.5]], "advantages": [0.5, -0.5, 0.125]})
    [found] = explain(recorded, [0], Nothing(), GRPO(), words)
    assert found.item == recorded[0]
    assert (found.relevance_from, found.advantages_from) == ("as recorded", "as recorded")


def test_an_undecided_criterion_has_no_relevance(tmp_path: Path) -> None:
    open_ = {"text": "Be nice.", "met": None, "reason": "no judge"}
    [found] = explain(judged(tmp_path, SAMPLED | {"response": "Tea is", "criteria": [TEA, open_]}), [0],
                      UniformRelevance(), RTT(), words)  # fmt: skip
    assert found.item.relevance == ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def test_groups_of_two_windows_with_the_same_number_stay_apart(tmp_path: Path) -> None:
    rows = [SAMPLED | {"response": "Tea is", "criteria": [TEA], "policy_version": version} for version in (0, 0, 1)]
    found = explain(judged(tmp_path, *rows), [0, 2], RuleSpans(), RTT(), words)
    assert "from the 2 responses" in found[0].advantages_from
    assert "alone" in found[1].advantages_from


def test_reasoning_is_cut_into_words_and_only_the_answer_into_given_tokens(tmp_path: Path) -> None:
    text = "<think>so so</think> Tea"
    [item] = judged(tmp_path, {"response": "Tea", "text": text, "criteria": [TEA]})
    item = replace(item, rollout=replace(item.rollout, text=text, answer_span=(21, 24)))
    rollout = with_tokens(item, lambda answer: [(0, 1), (1, len(answer))]).rollout
    assert [text[start:end] for start, end in rollout.offsets][-4:] == ["think", ">", "T", "ea"]
    assert rollout.answer_tokens[-3:] == [False, True, True]
    assert with_tokens(replace(item, rollout=rollout), words).rollout is rollout  # known tokens stay
