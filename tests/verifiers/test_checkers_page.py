"""`docs/checkers.md` lists every checker; `python -m tests.verifiers.test_checkers_page` writes it anew."""

import html
import json
import re
from inspect import signature
from textwrap import shorten
from typing import Any

from rtt_lightning.verifiers.ifeval.checkers import describe, ifeval_checkers, without_nulls
from rtt_lightning.verifiers.rules import RULES
from rtt_lightning.verifiers.rules.arguments import listed_parameters
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
To add it to this library:

1. Put it into a family of `rtt_lightning/verifiers/rules/` under a line such as
   `@rule("local", Phrasing(("Use {n} semicolons or more.",), number(1, 3)), read)`: its scope, the sentences and
   arguments of the built-in sampler, and what reads the arguments from a sentence; the last two may be left out.
   Annotate the arguments: their kinds are checked, and numbers must be 0 or more.
2. The scope is `"local"` where some characters decide, which the spans name: what satisfies a positive rule that is
   met, or violates a negative one that is not. It is `"global"` where the whole answer does, as for counts, tone or
   language.
3. `conflicts` of a `Phrasing` are groups such as `"start"` or `"length"`, of each of which a prompt has one rule at
   most. Prompts draw a rule where `kinds` of `ConstraintPrompts` names it, and by default once it is in
   `TRAIN_KINDS`, which gives other prompts for every seed.
4. A reading is `reads(pattern, arguments=...)` of `grammar.py`, with its parts such as `SUBJECT`, `HAVE` and
   `QUOTED`, which must match the whole sentence; or `read_bounds(sentence, "semicolon")` of `bounds.py` for how many
   there may be. It is `None` unless it is certain. The first rule that reads a sentence gets it, in the order of the
   families.
5. Add an answer that meets it and one that does not to `EXAMPLES` of `tests/datamodules/test_prompt_sampler.py`; and
   for a reading a sentence to `DECIDED` of `tests/verifiers/rules/test_known.py` or `BOUNDS` of `test_bounds.py`,
   answers on which readers differ to `DOUBTED`, and what must not be read to `LEFT`. The tests ask for the first two.

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


def page() -> str:
    """Docstrings of ours say what is met; the benchmarks' classes say it of the arguments of a row in the assets."""
    rows = [json.loads(line) for line in (ROOT / "tests/assets/official_verdicts.jsonl").read_text().splitlines()]
    examples: dict[str, dict[str, Any]] = {each["id"]: without_nulls(each["kwargs"]) for each in reversed(rows)}
    text = ABOUT
    for name, checker in RULES.items():
        sentence = str(checker.__doc__).splitlines()[0].replace("``", "`").partition(";")[0].rstrip(".")
        text += row(name, listed_parameters(signature(checker)), f"{sentence}.")
    text += BENCHMARKS
    for name in sorted(ifeval_checkers()):
        text += row(name, ", ".join(f"`{key}`" for key in examples[name]), describe(name, examples[name]))
    return text


def test_the_page_lists_every_checker_as_it_is() -> None:
    assert PAGE.read_text() == page(), f"write it anew: {__doc__}"


if __name__ == "__main__":
    PAGE.write_text(page())
