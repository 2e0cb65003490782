"""What `transformers` reports of loading a body, but for what is expected of every discriminator."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

ROW = re.compile(r"^(\S+) +\| (?:\x1b\[[\d;]+m)?([A-Z]{3,})\b", re.MULTILINE)
"""A row of the report: a weight, or several that differ in their layer (``layers.{3...29}.mlp``), and its status."""
EXPECTED = {
    # The heads that predict tokens, and what an encoder has for whole texts.
    "UNEXPECTED": re.compile(r"(lm_head|embed_out|cls|(\w+\.)?pooler)\.[\w.]+"),
    "MISSING": re.compile(r"(score|classifier)\.\w+"),  # the one that rates them, which is to be trained
}


@contextmanager
def expected_unsaid(layers: int | None) -> Iterator[None]:
    """Drop the report if all of it is expected; with anything else in it, it is shown whole.

    Args:
        layers: Number of first layers that are kept; ``None`` for all.
    """

    def tells(record: logging.LogRecord) -> bool:
        rows = ROW.findall(record.getMessage())
        return not rows or not all(_expected(weight, status, layers) for weight, status in rows)

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(tells)
    try:
        yield
    finally:
        logger.removeFilter(tells)


def _expected(weight: str, status: str, layers: int | None) -> bool:
    head, first = EXPECTED.get(status), re.search(r"\.\{?(\d+)", weight)
    left_out = status == "UNEXPECTED" and layers is not None and first is not None and int(first[1]) >= layers
    return left_out or (head is not None and head.fullmatch(weight) is not None)
