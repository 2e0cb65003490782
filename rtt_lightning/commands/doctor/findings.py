"""The findings of `rtt doctor`, and how they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape


@dataclass(frozen=True)
class Finding:
    """The result of one inspection.

    Attributes:
        name: What was inspected.
        found: What was found.
        fine: Whether it is fine; ``None`` if it is not, but nothing needed depends on it.
        advice: What to do.
    """

    name: str
    found: str
    fine: bool | None = True
    advice: str = ""


def show(title: str, findings: Sequence[Finding]) -> Sequence[Finding]:
    """Print findings, a line each, and return them."""
    console = Console()
    if title:
        console.print(f"[bold]{title}[/]")
    width = max((len(finding.name) for finding in findings), default=0)
    for finding in findings:
        label = {True: "[green]ok    [/]", None: "[yellow]note  [/]", False: "[red]BROKEN[/]"}[finding.fine]
        text = f"{finding.found}; {finding.advice}" if finding.advice else finding.found
        console.print(f"  {label} {escape(finding.name):<{width}}  {escape(text)}", soft_wrap=True, highlight=False)
    return findings
