"""What `rtt doctor` found, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        found: What there is.
        fine: ``None`` where it is not, and nothing that is needed depends on it.
        advice: What to do about it.
    """

    name: str
    found: str
    fine: bool | None = True
    advice: str = ""


def show(title: str, findings: Sequence[Finding]) -> Sequence[Finding]:
    """Print findings, a line each, and hand them on."""
    console = Console()
    if title:
        console.print(f"[bold]{title}[/]")
    width = max((len(finding.name) for finding in findings), default=0)
    for finding in findings:
        label = {True: "[green]ok    [/]", None: "[yellow]note  [/]", False: "[red]BROKEN[/]"}[finding.fine]
        text = f"{finding.found}; {finding.advice}" if finding.advice else finding.found
        console.print(f"  {label} {escape(finding.name):<{width}}  {escape(text)}", soft_wrap=True, highlight=False)
    return findings
