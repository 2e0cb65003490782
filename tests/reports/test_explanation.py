"""The page of an explanation, parsed; `test_explanation_browser.py` opens it."""

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rtt_lightning.reports.explanation import MOST, write_explanation
from tests.reports.explanations import HOSTILE, examples, long_response


class Parts(HTMLParser):
    """Its tags with their attributes, and what is in scripts and style."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag in ("script", "style") and data.strip():
            self.raw[attributes.get("id") or tag] = data


@pytest.fixture
def page(judge, tmp_path: Path) -> Parts:
    write_explanation(tmp_path / "new/page.html", examples(judge), f"file{HOSTILE}", 30)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    return Parts((tmp_path / "new/page.html").read_text("utf-8"))


@pytest.fixture
def data(page: Parts) -> dict[str, Any]:
    return json.loads(page.raw["data"])


def test_nothing_is_loaded_and_only_its_own_script_and_style_are_allowed(page: Parts) -> None:
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("script"), tags.count("style")) == (2, 1)
    assert not {"img", "iframe", "link", "object", "a", "form"} & {*tags}
    assert not {"src", "href", "style"} & {name for _, attributes in page.tags for name in attributes}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    [policy] = [each["content"] for tag, each in page.tags if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for name in ("style", "script"):
        assert f"{name}-src 'sha256-{b64encode(sha256(page.raw[name].encode()).digest()).decode()}'" in policy


def test_texts_stand_in_it_as_ascii_json_that_ends_no_element(page: Parts, data: dict[str, Any]) -> None:
    assert page.raw["data"].isascii()
    assert "<" not in page.raw["data"]
    assert "</script><script>window.hacked=1" in data["responses"][0]["prompt"][0][1]
    assert "{{data}}" in data["source"]  # a text is no part of the template
    texts = json.dumps(data, ensure_ascii=False)
    assert not re.search("[\u2028\u202a-\u202e\u2066-\u2069\ud800-\udfff]", texts)


def test_its_numbers_are_those_of_the_tokens_in_thousandths(data: dict[str, Any]) -> None:
    first, arabic, chinese = data["responses"]
    assert first["pieces"][:3] == ["Tea", " is", "🍵"]
    assert first["pieces"][4] == "∎"
    assert first["several"] == {"2": 2}
    assert first["outside"] == [4]
    assert [each["sign"] for each in first["criteria"]] == [1, -1, 0]
    assert first["criteria"][0]["p"] == [900, 123, 250, 0, 0]  # the bowl of tea has two tokens: their mean
    assert first["criteria"][0]["threshold"] == 0.45
    assert first["criteria"][0]["decides"].startswith("2 of 5 tokens decide it")
    assert first["criteria"][0]["said"].startswith("as desired: reason </script>")
    assert "(weight -2)" in first["criteria"][2]["text"]
    assert first["advantages"] == [1500, -250, 250, None, -100]
    assert (first["desired"], first["tokens"]) == ("1 of 3 as desired", "6 tokens")
    assert arabic["name"] == "row 2, prompt ar, sample 1"
    assert "".join(arabic["pieces"]) == "الشاي لذيذ"
    assert chinese["advantages"] is None
    assert data["leftOut"] == 27
    assert 0.5 <= data["bound"] <= 1.5


def test_text_between_tokens_and_after_them_is_kept(judge, tmp_path: Path) -> None:
    [each] = examples(judge)[1:2]
    item = judge("a", "one  two end", [True], offsets=((0, 3), (5, 8)))
    each = replace(each, item=replace(item, relevance=((1.0, 0.0),)))
    write_explanation(tmp_path / "page.html", [each], "file", 1)
    [response] = json.loads(Parts((tmp_path / "page.html").read_text()).raw["data"])["responses"]
    assert (response["pieces"], response["gaps"], response["tail"]) == (["one", "two"], {"1": "  "}, " end")


def test_a_page_is_bounded(judge, tmp_path: Path) -> None:
    """Twenty responses of 500 tokens to ten criteria are below 2 MB; more or greater ones are left out."""
    path, each = tmp_path / "page.html", long_response(judge, 500, 10)
    assert len(write_explanation(path, [each] * 30, "file", 30)) == MOST == 20
    assert path.stat().st_size < 2_000_000
    greater = long_response(judge, 4000, 24)
    assert len(write_explanation(path, [greater] * 30, "file", 30)) == 4
    assert path.stat().st_size < 3_000_000
    assert json.loads(Parts(path.read_text()).raw["data"])["leftOut"] == 26
    assert len(write_explanation(path, [long_response(judge, 20_000, 24)] * 2, "file", 2)) == 1  # one at least
