"""`rtt rejudge`: saved responses scored again by another judge, template or rule, and how far both agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torchmetrics.functional.classification import binary_cohen_kappa

from rtt_lightning.commands.configs import find_configs
from rtt_lightning.commands.flags import nulls_as_yaml
from rtt_lightning.commands.given import read, written
from rtt_lightning.datamodules.records import Record, criteria_json, read_records, sample_row
from rtt_lightning.reports.evaluation import accuracies, show_accuracies
from rtt_lightning.runtime.terminal import counted, three_decimals
from rtt_lightning.types import Verdict
from rtt_lightning.verifiers.base import Verifier

MOST_ROWS = 20


def rejudge_command(args: Sequence[str]) -> None:
    """Entry point of `rtt rejudge`; the verifier is configured as in a run, so that the same YAML files serve."""
    description = (rejudge.__doc__ or "").partition("\n")[0]
    parser = ArgumentParser(prog="rtt rejudge", description=description, parser_mode="omegaconf", exit_on_error=False)
    parser.add_argument("path", type=str, help="Completions: a parquet or JSONL file, or a folder of parquet files.")
    parser.add_argument("--config", action="config", help="YAML with `rollout.verifier`, e.g. judges/vllm.yaml.")
    parser.add_subclass_arguments(Verifier, "rollout.verifier", required=True, help="Who judges now.")
    parser.add_argument("--gold", type=str | None, default=None, help="Compare with this file's verdicts instead.")
    parser.add_argument("--output", type=str | None, default=None, help="Parquet file for the new verdicts.")
    parser.add_argument("--fresh", action="store_true", help="Ask a judge again also about what it has judged before.")
    config = parser.parse_args(written(nulls_as_yaml(read(find_configs(args)))))
    made = parser.instantiate(config)
    rejudge(Path(config.path), made.rollout.verifier, config.gold, config.output, config.fresh)


@dataclass
class Agreement:
    """Whether the same criteria are as desired, by the first verdicts and by the second ones."""

    pairs: list[tuple[bool | None, bool | None]] = field(default_factory=list)

    @property
    def decided(self) -> list[tuple[bool, bool]]:
        """Those that both sides decide."""
        return [(a, b) for a, b in self.pairs if a is not None and b is not None]

    @property
    def accuracy(self) -> float:
        """Share of equal ones; NaN without any."""
        return sum(a == b for a, b in self.decided) / len(self.decided) if self.decided else float("nan")

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond chance; NaN where one side says the same of all, or nothing is decided."""
        if not self.decided:
            return float("nan")
        first, second = (torch.tensor(side) for side in zip(*self.decided, strict=True))
        return float(binary_cohen_kappa(second.int(), first.int()))

    def flips(self, to: bool) -> int:
        """Criteria that changed to ``to``."""
        return sum(b is to and a is not to for a, b in self.decided)

    @property
    def unscorable(self) -> int:
        """Criteria that the second side leaves open."""
        return sum(b is None for _, b in self.pairs)


def rejudge(
    path: Path, verifier: Verifier, gold: str | None = None, output: str | None = None, fresh: bool = False
) -> Agreement:
    """Score saved responses again, and show how far the verdicts agree with the first ones, or with a gold file's.

    Args:
        path: Completions: a parquet or JSONL file, or a folder of parquet files.
        verifier: Who judges now.
        gold: File of the same responses with verdicts to compare with, such as people's.
        output: Parquet file for the responses with their new verdicts.
        fresh: Ask a judge again also about what it has judged before, which its file would answer otherwise: the same
            judge always agrees with its file. The file stays as it is.

    Raises:
        ValueError: If there are no responses, or the gold file lacks some of them.
    """
    records = _responses(path)
    if problems := sorted({problem for record in records for problem in verifier.problems(record.sample)}):
        raise ValueError("; ".join(problems))
    for memory in verifier.memories() if fresh else ():
        memory.forget()
    first = _gold(records, gold) if gold else [record.verdicts for record in records]
    found = verifier.verify_all([(record.sample, record.response or "") for record in records])
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        rows = [
            sample_row(record.sample)
            | {"criteria": criteria_json(record.sample.criteria, verdicts), "response": record.response}
            for record, verdicts in zip(records, found, strict=True)
        ]
        pq.write_table(pa.Table.from_pylist(rows), output)
    total, by_criterion = Agreement(), dict[str, Agreement]()
    for record, old, new in zip(records, first, found, strict=True):
        for criterion, before, after in zip(record.sample.criteria, old, new, strict=True):
            for agreement in (total, by_criterion.setdefault(criterion.label, Agreement())):
                agreement.pairs.append((before.as_desired(criterion), after.as_desired(criterion)))
    others, samples = "gold" if gold else "first", [record.sample for record in records]
    _show(total, by_criterion, others)
    ways = {others: list(zip(samples, first, strict=True)), "again": list(zip(samples, found, strict=True))}
    show_accuracies(accuracies(ways), list(ways), len(records))
    if remembered := sum(memory.remembered for memory in verifier.memories()):
        print(f"{counted(remembered, 'verdict')} kept from before, not asked for again; --fresh asks for all")
    for reason, count in Counter(v.reason for row in found for v in row if v.met is None).most_common(5):
        Console().print(Text(f"{count} unscorable: {reason}", style="yellow"))
    return total


def _responses(path: Path) -> list[Record]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    records = [record for file in files for record in read_records(file) if record.response is not None]
    if not records:
        raise ValueError(f"{path} holds no responses; `rtt fit` and `rtt validate` write them to rollout.output")
    return records


def _gold(records: Sequence[Record], file: str) -> list[tuple[Verdict, ...]]:
    """Verdicts of a file, by the response and by the words of its criteria."""
    known = {
        (record.sample.id, record.response): dict(
            zip((criterion.text for criterion in record.sample.criteria), record.verdicts, strict=False)
        )
        for record in read_records(file)
    }
    texts = [[criterion.text for criterion in record.sample.criteria] for record in records]
    found = [known.get((record.sample.id, record.response), {}) for record in records]
    missing = [r.sample.id for r, has, wanted in zip(records, found, texts, strict=True) if not set(wanted) <= set(has)]
    if missing:
        raise ValueError(
            f"{file} lacks {len(missing)} of {len(records)} responses, or some of their criteria, such as one to "
            f"{missing[0]!r}"
        )
    return [tuple(has[text] for text in wanted) for has, wanted in zip(found, texts, strict=True)]


def _show(total: Agreement, by_criterion: dict[str, Agreement], others: str) -> None:
    table = Table(title=f"agreement with the {others} verdicts", title_justify="left")
    for name in ("criterion", "verdicts", "accuracy", "kappa", "to desired", "to undesired", "unscorable"):
        table.add_column(name, justify="left" if name == "criterion" else "right")
    rows = sorted(by_criterion.items(), key=lambda item: -(item[1].flips(True) + item[1].flips(False)))
    for text, agreement in [("all", total), *rows[:MOST_ROWS]]:
        figures = (len(agreement.pairs), three_decimals(agreement.accuracy), three_decimals(agreement.kappa))
        changed = (agreement.flips(True), agreement.flips(False), agreement.unscorable)
        table.add_row(Text(text), *map(str, (*figures, *changed)), end_section=text == "all")
    Console().print(table)
    if len(rows) > MOST_ROWS:
        print(f"{len(rows) - MOST_ROWS} more criteria with fewer changes")
