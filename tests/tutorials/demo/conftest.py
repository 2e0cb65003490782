"""Judged responses, as the tests of the report make them."""

from tests.reports.conftest import judge

__all__ = ["judge"]
