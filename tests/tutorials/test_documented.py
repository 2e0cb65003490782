"""The Python that the documents show runs as it stands, after the imports that a reader would write."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

IMPORTS = """
from dataclasses import replace
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from rtt_lightning.algorithms import RTT, Algorithm, Wrapper
from rtt_lightning.engines import Sampling
from rtt_lightning.functional.advantages import group_normalize
from rtt_lightning.lm.loaded import LoadedModel
from rtt_lightning.modules import PolicyModule
from rtt_lightning.relevance import RuleSpans
from rtt_lightning.reports.completions import print_window
from rtt_lightning.rollout.collect import Collector
from rtt_lightning.types import Credited, Criterion, Experience, RubricSample
"""


@pytest.mark.parametrize("document", ["README.md", "docs/algorithms.md"])
def test_what_a_document_shows_runs(document: str, tiny_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", Path(ROOT / document).read_text(), flags=re.S)
    names: dict[str, Any] = {"folder": tiny_model, "__name__": "shown"}
    exec(IMPORTS, names)
    for block in blocks:
        exec(block, names)
    if document == "README.md":
        shown = capsys.readouterr().out
        assert "batch 6 (groups 1), rubric 2" in shown
        assert "At most 15 words." in shown
    else:
        names["test_one_missed_criterion_is_forgiven"]()
