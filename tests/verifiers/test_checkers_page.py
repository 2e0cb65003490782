"""`docs/checkers.md` lists every checker; `python -m tests.verifiers.test_checkers_page` writes it anew."""

import html
import json
import re
from inspect import Parameter, signature
from textwrap import shorten
from typing import Any

from rtt_lightning.verifiers.ifeval.checkers import describe, ifeval_checkers, without_nulls
from rtt_lightning.verifiers.rules import RULES
from tests.conftest import ROOT

PAGE = ROOT / "docs/checkers.md"
ABOUT = """# Checkers

What a criterion may name as its `checker`, with its `kwargs`: `{"text": "Mention tea.", "checker": "rtt:include_word",
"kwargs": {"word": "tea"}}`. Arguments with a value may be left out. `judge` and `code` are in `docs/judging.md`; those
of your own are `checkers` of `RuleVerifier`. `python -m tests.verifiers.test_checkers_page` writes this page.

A checker of your own is a function of an answer and arguments that returns a `Verdict`, here in `my_package.py`:

```python
def semicolons(answer: str, n: int) -> Verdict:
    spans = tuple((at, at + 1) for at, mark in enumerate(answer) if mark == ";")
    return Verdict(len(spans) >= n, f"{len(spans)} semicolons", spans)
```

`--rollout.verifier=RuleVerifier --rollout.verifier.checkers='{mine:semicolons: my_package.semicolons}'` makes it one.
To add it to this library, put it into a family of `rtt_lightning/verifiers/rules/` under a line such as
`@rule("local", Phrasing(("Use {n} semicolons or more.",), number(1, 3)), read)`: its scope, the sentences and arguments
of the built-in sampler, and a function that reads the arguments from a sentence, if any; and add its test beside the
family's. The first rule that reads a sentence gets it, in the order of the families. Prompts draw it where `kinds` of
`ConstraintPrompts` names it, and by default once it is in `TRAIN_KINDS`.

## Of this library

| id | arguments | met where |
|---|---|---|
"""
BENCHMARKS = """
## Of IFEval and IFBench

| id | arguments | for example |
|---|---|---|
"""


def row(name: str, arguments: str, sentence: str) -> str:
    said = re.sub("[*_]", r"\\\g<0>", html.escape(shorten(sentence, 160, placeholder=" …"), quote=False))
    return f"| `{name}` | {arguments} | {said} |\n"


def argument(of: Parameter) -> str:
    return f"`{of.name}`" if of.default is Parameter.empty else f"`{of.name}={of.default}`"


def page() -> str:
    """Docstrings of ours say what is met; the benchmarks' classes say it of the arguments of a row in the assets."""
    rows = [json.loads(line) for line in (ROOT / "tests/assets/official_verdicts.jsonl").read_text().splitlines()]
    examples: dict[str, dict[str, Any]] = {each["id"]: without_nulls(each["kwargs"]) for each in reversed(rows)}
    text = ABOUT
    for name, checker in RULES.items():
        _, *arguments = signature(checker).parameters.values()
        sentence = str(checker.__doc__).splitlines()[0].replace("``", "`").partition(";")[0].rstrip(".")
        text += row(name, ", ".join(map(argument, arguments)), f"{sentence}.")
    text += BENCHMARKS
    for name in sorted(ifeval_checkers()):
        text += row(name, ", ".join(f"`{key}`" for key in examples[name]), describe(name, examples[name]))
    return text


def test_the_page_lists_every_checker_as_it_is() -> None:
    assert PAGE.read_text() == page(), f"write it anew: {__doc__}"


if __name__ == "__main__":
    PAGE.write_text(page())
