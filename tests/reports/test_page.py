import csv
import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from rtt_lightning.reports.comparison import compare
from rtt_lightning.reports.completions import write_completions
from rtt_lightning.reports.markup import merge_tokens, paint_tokens, round_ticks, running_mean
from rtt_lightning.reports.page import write_report
from rtt_lightning.runtime.phases import PHASES

NAMES = ("epoch", "step", "rollout/reward", "train/kl", "train/entropy", "other")
HOSTILE = "</style><script>alert('x')</script><img src=x onerror=\"alert(1)\"> & {body}"


class Outline(HTMLParser):
    """Checks that every tag is closed in order; gathers tags, attributes and text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(markup)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture
def folder(tmp_path, judge):
    """A finished demo of two prompts; texts of data and model are hostile."""
    offsets = ((0, 8), (8, len(HOSTILE)), (len(HOSTILE), len(HOSTILE)))
    before = [judge("a", HOSTILE, [True, False], offsets=offsets, words=HOSTILE), judge("b", "owl", [False, None])]
    after = [judge("a", HOSTILE, [True, True], offsets=offsets, words=HOSTILE), judge("b", "owls", [True, None])]
    files = {name: tmp_path / name / "validate.parquet" for name in ("before", "after")}
    write_completions(files["before"], before)
    write_completions(files["after"], after)
    results = compare(**files)
    for name in files:
        results[name] |= {"kl": 0.0125, "kl_per_response": 0.375}
    results["discriminator"] = {"average_precision": 0.8125, "base_rate": 0.25, "f1": 0.75, "brier": 0.0625}
    results["seconds"] = {"rl" + HOSTILE: 61.0}
    results["settings"] = {"model": HOSTILE, "sampling": {"n": 8}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path


@pytest.fixture
def trained(folder, judge):
    """The same with training windows and metrics."""
    windows = folder / "rl/windows"
    write_completions(windows / "window-000000.parquet", [judge("old", "not shown", [True])], torch.zeros(1, 1, 9))
    offsets = ((0, 8), (8, len(HOSTILE)), (len(HOSTILE), len(HOSTILE)))
    item = judge("a", HOSTILE, [True, False], offsets=offsets, words=HOSTILE)
    relevance = torch.tensor([[0.125, 0.875, 0.0], [0.5, 0.25, 0.0]])
    write_completions(windows / "window-000001.parquet", [item], relevance[None], torch.tensor([[-1.5, 0.75, 0.0]]))
    killed = [{"step": 0, "rollout/reward": 0.125}, {"step": 0, "train/kl": "nan", "other": "text"}]
    write_log(folder, 0, [*killed, {"step": 1, "rollout/reward": 0.625}])
    slow = {"time/sampling": 6.0, "time/update": 1.0, "time/idle": 0.5}
    fast = {"time/sampling": 2.0, "time/update": 1.0, "time/idle": 0.0}
    write_log(folder, 10, [{"step": 1, "rollout/reward": 0.375} | slow, {"step": 3} | fast])
    return folder


def write_log(folder: Path, version: int, rows: Sequence[Mapping[str, object]]) -> None:
    """As `CSVLogger` does, a version for each part of a run that was resumed."""
    log = folder / f"rl/logs/version_{version}/metrics.csv"
    log.parent.mkdir(parents=True)
    with log.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, [*NAMES, *(f"time/{phase}" for phase in PHASES)])
        writer.writeheader()
        writer.writerows(rows)


def test_report_is_well_formed_and_holds_the_numbers(trained):
    path = write_report(trained)
    assert path == trained / "report.html"
    text = Outline(path.read_text()).text.replace("\u202f", " ")
    # Before: 1 of 3 scorable criteria, and both responses fail; after: 3 of 3, one passes and one is undecided.
    for number in ("33.3 %", "100.0 %", "+66.7", "0.013", "0.375", "0.812", "1:01"):
        assert number in text, number
    for number in ("0.0 % to 0.0 % → 50.0 % to 100.0 %", "between +50.0 and +100.0 points"):
        assert number in text, number
    for words in ("Reward", "step 1: 0.375", "criterion 1", "rtt:kind1", "task of b", "owls", "window-000001"):
        assert words in text, words
    assert "0.625" not in text  # a step taken again after a kill
    assert "not shown" not in text
    assert not list(trained.glob("*.partial"))


def test_the_seconds_of_phases_are_means_over_windows(trained):
    """Of 6 and 2, 1 and 1, 0.5 and 0 seconds; the sum of the means is 5.25."""
    page = write_report(trained).read_text()
    table = page.split("<h2>Time</h2>")[1].split("<table>")[1].split("</table>")[0]
    rows = [row.split() for row in re.sub("<[^>]*>", " ", table).strip().splitlines()[1:]]
    assert rows == [["sampling", "4.00", "76%"], ["update", "1.00", "19%"], ["idle", "0.25", "5%"]]


def test_texts_of_models_and_data_stay_text(trained):
    outline = Outline(write_report(trained).read_text())
    assert not {"script", "img", "link", "iframe"} & set(outline.tags)
    assert outline.tags.count("style") == 1
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name in ("src", "href")]
    # Shown whole: setting, phase, 2 kinds; held-out prompt, 2 responses and 2 x 2 criteria; coloured prompt, 2
    # criteria and 3 times the response.
    assert outline.text.count("alert('x')") == 4 + 7 + 6
    assert "{body}" in outline.text


def test_tokens_carry_their_values(trained):
    outline = Outline(write_report(trained).read_text())
    titles = [value for name, value in outline.attributes if name == "title"]
    assert {"0.12", "0.88", "0.50", "0.25", "-1.50", "+0.75"} <= set(titles)
    assert "+0.00 (a token without text, such as end of sequence)" in titles


def test_training_parts_are_optional(folder):
    text = Outline(write_report(folder).read_text()).text
    assert text.count("not recorded") == 3


def test_discriminator_seconds_and_settings_are_optional(folder):
    results = json.loads((folder / "results.json").read_text())
    kept = {name: results[name] for name in ("before", "after", "difference")}
    (folder / "results.json").write_text(json.dumps(kept))
    assert Outline(write_report(folder).read_text()).text.count("not recorded") == 5


@pytest.mark.parametrize("name", ["results.json", "before/validate.parquet", "after/validate.parquet"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name.removesuffix("/validate.parquet")):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_incomplete_results_are_refused(folder):
    (folder / "results.json").write_text(json.dumps({"before": {}, "after": {}, "difference": {}}))
    with pytest.raises(ValueError, match="lacks before, after or difference"):
        write_report(folder)


def test_tokens_that_share_a_character_are_merged():
    # "a🦉b": the owl is one character over three tokens; the end token carries none.
    offsets = ((0, 1), (1, 2), (1, 2), (1, 2), (2, 3), (3, 3))
    assert merge_tokens(offsets) == [((0, 1), [0]), ((1, 2), [1, 2, 3]), ((2, 3), [4]), ((3, 3), [5])]
    painted = paint_tokens("a🦉b", offsets, [0.0, 0.25, 0.5, 0.75, 1.0, 0.0], lambda value: ("r", value), ".2f")
    assert painted.count("🦉") == 1
    assert '<span class="r" style="--a:0.35" title="0.50 (mean of 3 tokens)">🦉</span>' in painted


def test_text_is_shown_once_whatever_the_offsets():
    # A token without bytes within a character, a gap, and an end that no token carries.
    text = "ab🦉cd!"
    for offsets in (((0, 1), (2, 3), (2, 2), (2, 3), (4, 5)), ((0, 6), (6, 6)), ()):
        painted = paint_tokens(text, offsets, [0.0] * len(offsets), lambda value: ("r", value), ".2f")
        assert Outline(painted).text.replace("∎", "") == text


def test_ticks_span_the_values():
    assert round_ticks(0.0, 1.0) == pytest.approx([0.0, 0.5, 1.0])
    assert round_ticks(0.42, 0.61) == pytest.approx([0.4, 0.5, 0.6, 0.7])
    assert round_ticks(0.0, 0.0) == pytest.approx([0.0, 0.5])
    assert round_ticks(-3.0, -3.0) == pytest.approx([-3.0, -2.0])


def test_running_mean_by_hand():
    assert running_mean([1.0, 3.0]) == [1.0, 3.0]  # too few to smooth
    # 8 values: one neighbour on each side.
    assert running_mean([0, 3, 0, 3, 0, 3, 0, 3]) == pytest.approx([1.5, 1, 2, 1, 2, 1, 2, 1.5])
