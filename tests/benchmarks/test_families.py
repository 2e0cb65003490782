"""The table of families says of each how it is computed."""

import pytest

from benchmarks.families import line, outcome, page


def test_families_are_told_apart() -> None:
    found = {family: outcome(family) for family in ("llama", "mistral", "cohere", "opt", "glm_moe_dsa")}
    assert [found[family].way for family in ("llama", "mistral", "opt")] == ["shared", "rows", "shared"]
    assert found["cohere"].way.startswith("refused: cohere changes its logits by logit_scale")
    assert found["glm_moe_dsa"].way == "rows, up to 64 tokens"
    for family in ("llama", "mistral", "opt", "glm_moe_dsa"):
        assert found[family].error == pytest.approx(0, abs=1e-4)
        assert found[family].recomputed == "yes"
    table = page(found, {"other": "KeyError: 'x'"})
    assert "5 of 6: 2 shared, 2 rows, 1 refused" in table
    assert "In bf16-mixed\nall are decided alike" in table
    assert line("cohere", found["cohere"]) in table
